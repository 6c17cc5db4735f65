//go:build integration

// Command bench measures what caddy-sso costs a request of who is signed in:
// CPU of the proxy's process and requests per second, beside controls in the
// same run. It is started by integration/bench/run.
//
// All proxies run side by side and take turns, a round each, in an order that
// rotates. What counts are the ratios within a round. The first control runs
// twice: the ratio of the one to the other is the noise.
package main

import (
	"errors"
	"flag"
	"fmt"
	"os"
)

var (
	work     = flag.String("work", "", "directory with the binaries, for all files")
	profile  = flag.String("profile", "", "write a CPU profile of caddy-sso under load to this file")
	rounds   = flag.Int("rounds", 21, "how often each proxy has its turn")
	requests = flag.Int("requests", 5000, "requests of one turn")
	serve    = flag.String("upstream", "", "be the app, at this address")
)

const (
	connections = 4    // of one turn
	sessions    = 1000 // of people who take turns
)

func main() {
	flag.Parse()
	run := bench
	if *serve != "" {
		run = upstream
	}
	if err := run(); err != nil {
		fmt.Fprintln(os.Stderr, "integration/bench:", err)
		os.Exit(1)
	}
}

func bench() error {
	if *work == "" || *rounds < 3 || *requests < 100 {
		return errors.New("reading the flags: started without integration/bench/run, or with too small numbers")
	}
	b := &lab{}
	if err := b.begin(); err != nil {
		return err
	}
	fmt.Println(b.machine())
	const gc = "GOGC=100" // Go's own
	same, err := b.compare([]*proxy{
		{name: "reverse_proxy, static headers", binary: "caddy-sso", site: b.static(), want: staticUser, env: gc},
		{name: "the same once more: the noise", binary: "caddy-sso", site: b.static(), want: staticUser, env: gc},
		{name: "reverse_proxy", binary: "caddy-sso", site: b.plain(), env: gc},
		{name: "sso and reverse_proxy", binary: "caddy-sso", site: b.guarded(), want: eachUser, env: gc},
	})
	if err != nil {
		return err
	}
	same.print("Same binary, GOGC=100", 0, 2)
	shipped, err := b.compare([]*proxy{ // each with its own GC settings
		{name: "stock Caddy, reverse_proxy", binary: "stock", site: b.plain()},
		{name: "the same once more: the noise", binary: "stock", site: b.plain()},
		{name: "caddy-sso as shipped, sso and reverse_proxy", binary: "caddy-sso", site: b.guarded(), want: eachUser, profile: *profile},
	})
	if err != nil {
		return err
	}
	shipped.print("As shipped", 0)
	return nil
}

// compare lets the proxies take turns.
func (b *lab) compare(rows []*proxy) (*table, error) {
	for _, p := range rows {
		err := b.start(p)
		if err == nil {
			defer p.stop()
			err = b.warm(p)
		}
		if err != nil {
			return nil, fmt.Errorf("%s: %w", p.name, err)
		}
	}
	t := &table{rows: rows}
	for round := range *rounds {
		turn := make([]sample, len(rows))
		for i := range rows {
			at := (i + round) % len(rows)
			var err error
			if turn[at], err = b.turn(rows[at]); err != nil {
				return nil, fmt.Errorf("%s: %w", rows[at].name, err)
			}
		}
		t.rounds = append(t.rounds, turn)
	}
	for _, p := range rows {
		t.rss = append(t.rss, p.rss())
		if err := b.writeProfile(p); err != nil {
			return nil, err
		}
	}
	return t, nil
}
