//go:build integration

package main

import (
	"fmt"
	"slices"
	"time"
)

// A sample is what one turn took.
type sample struct {
	cpu, wall time.Duration
	requests  int
}

func (s sample) each() float64      { return float64(s.cpu.Microseconds()) / float64(s.requests) }
func (s sample) perSecond() float64 { return float64(s.requests) / s.wall.Seconds() }

// A table has one sample for each row in each round.
type table struct {
	rows   []*proxy
	rounds [][]sample
	rss    []int // in MB, at the end
}

// print prints the table with the ratios of CPU to the rows of controls.
func (t *table) print(title string, controls ...int) {
	fmt.Printf("\n### %s\n\n| proxy | CPU per request | requests/s | memory |", title)
	for _, c := range controls {
		fmt.Printf(" CPU : %s |", t.rows[c].name)
	}
	fmt.Print("\n|---|---|---|---|")
	for range controls {
		fmt.Print("---|")
	}
	fmt.Println()
	for i, p := range t.rows {
		each, perSecond := t.sorted(func(turn []sample) float64 { return turn[i].each() }), t.sorted(func(turn []sample) float64 { return turn[i].perSecond() })
		fmt.Printf("| %s | %.1f µs | %.0f | %d MB |", p.name, at(each, 0.5), at(perSecond, 0.5), t.rss[i])
		for _, c := range controls {
			if i == c {
				fmt.Print(" 1 |")
				continue
			}
			ratios := t.sorted(func(turn []sample) float64 { return turn[i].each() / turn[c].each() })
			fmt.Printf(" **%.3f** (middle half %.3f–%.3f, all %.3f–%.3f) |", at(ratios, 0.5), at(ratios, 0.25), at(ratios, 0.75), ratios[0], ratios[len(ratios)-1])
		}
		fmt.Println()
	}
	fmt.Printf("\n%d rounds of %d requests; medians, and of the ratios within a round: median (quartiles, minimum–maximum).\n", len(t.rounds), t.rounds[0][0].requests)
}

// sorted returns a value of each round, in order.
func (t *table) sorted(of func(turn []sample) float64) []float64 {
	var values []float64
	for _, turn := range t.rounds {
		values = append(values, of(turn))
	}
	slices.Sort(values)
	return values
}

// at returns a quantile of sorted values.
func at(sorted []float64, quantile float64) float64 {
	return sorted[int(quantile*float64(len(sorted)-1)+0.5)]
}
