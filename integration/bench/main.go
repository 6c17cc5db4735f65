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
	"flag"
	"fmt"
	"os"
)

// settings are the flags.
type settings struct {
	work        string
	profile     string
	rounds      int
	requests    int // a round
	connections int
	sessions    int
}

func main() {
	var s settings
	flag.StringVar(&s.work, "work", "", "directory with the binaries, for all files")
	flag.StringVar(&s.profile, "profile", "", "write a CPU profile of caddy-sso under load to this file")
	flag.IntVar(&s.rounds, "rounds", 21, "how often each proxy has its turn")
	flag.IntVar(&s.requests, "requests", 5000, "requests of one turn")
	flag.IntVar(&s.connections, "connections", 4, "connections of one turn")
	flag.IntVar(&s.sessions, "sessions", 1000, "people who are signed in and take turns")
	serve := flag.String("upstream", "", "be the app, at this address")
	flag.Parse()
	var err error
	if *serve != "" {
		err = upstream(*serve)
	} else {
		err = bench(s)
	}
	if err != nil {
		fmt.Fprintln(os.Stderr, "integration/bench:", err)
		os.Exit(1)
	}
}

func bench(s settings) error {
	if s.work == "" || s.rounds < 3 || s.requests < 100 || s.connections < 1 || s.sessions < 1 {
		return fmt.Errorf("reading the flags: started without integration/bench/run, or with too small numbers")
	}
	b := &lab{settings: s, tb: &tb{}}
	defer b.end()
	if err := b.begin(); err != nil {
		return err
	}
	fmt.Println(b.machine())
	if err := b.sameGC(); err != nil {
		return err
	}
	return b.asShipped()
}

// sameGC compares with the controls at the same GC settings: Go's own.
func (b *lab) sameGC() error {
	const gc = "GOGC=100"
	rows := []*proxy{
		{name: "reverse_proxy, static headers", binary: "caddy-sso", site: b.static(), want: staticUser, env: gc},
		{name: "the same once more: the noise", binary: "caddy-sso", site: b.static(), want: staticUser, env: gc},
		{name: "reverse_proxy", binary: "caddy-sso", site: b.plain(), env: gc},
		{name: "sso and reverse_proxy", binary: "caddy-sso", site: b.guarded(), want: eachUser, env: gc},
	}
	t, err := b.compare(rows)
	if err != nil {
		return err
	}
	t.print("Same binary, GOGC=100", 0, 2)
	return nil
}

// asShipped compares with Caddy as it is, and each with its own GC settings.
func (b *lab) asShipped() error {
	rows := []*proxy{
		{name: "stock Caddy, reverse_proxy", binary: "stock", site: b.plain()},
		{name: "the same once more: the noise", binary: "stock", site: b.plain()},
		{name: "caddy-sso as shipped, sso and reverse_proxy", binary: "caddy-sso", site: b.guarded(), want: eachUser, profile: b.profile},
	}
	t, err := b.compare(rows)
	if err != nil {
		return err
	}
	t.print("As shipped", 0)
	return nil
}

// compare lets the proxies take turns.
func (b *lab) compare(rows []*proxy) (*table, error) {
	for _, p := range rows {
		if err := b.start(p); err != nil {
			return nil, fmt.Errorf("%s: %w", p.name, err)
		}
		defer p.stop()
		if err := b.warm(p); err != nil {
			return nil, fmt.Errorf("%s: %w", p.name, err)
		}
	}
	t := &table{rows: rows}
	for round := range b.rounds {
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
