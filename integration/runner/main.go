// Command runner runs the suites that integration/suites lists, prints the
// time of each, and ends with a line "N passed, N failed, N skipped". Its exit
// status is not 0 if anything failed, or was left out without being listed.
//
// With the word fuzz and perhaps a duration it runs no suite: it looks for new
// inputs that make a fuzz target fail.
//
// It is started by integration/run, in the module's root.
package main

import (
	"context"
	"flag"
	"fmt"
	"os"
	"os/signal"
	"slices"
	"syscall"
)

func main() {
	work := flag.String("work", "", "directory for temporary files; removed at the end")
	flag.Parse()
	status, err := run(*work, flag.Args())
	if err != nil {
		fmt.Fprintln(os.Stderr, "integration/runner:", err)
		status = 1
	}
	if *work != "" {
		_ = os.RemoveAll(*work)
	}
	os.Exit(status)
}

func run(work string, args []string) (int, error) {
	if err := adoptOrphans(); err != nil {
		return 1, err
	}
	if work != "" {
		// What a suite puts into the temporary directory goes with it, however
		// the suite ends.
		if err := os.Setenv("TMPDIR", work); err != nil {
			return 1, err
		}
	}
	ctx, stop := signal.NotifyContext(context.Background(), syscall.SIGINT, syscall.SIGTERM, syscall.SIGHUP)
	defer stop()
	if len(args) > 0 && args[0] == "fuzz" {
		return fuzz(ctx, args[1:])
	}
	return suites(ctx, args)
}

// fuzz looks for new inputs that make a fuzz target fail.
func fuzz(ctx context.Context, args []string) (int, error) {
	each, err := fuzzArgs(args)
	if err != nil {
		return 1, err
	}
	rep := &report{list: &list{}, out: os.Stdout}
	rep.begin(suite{name: "fuzz"})
	rep.end(runFuzz(ctx, each))
	return rep.finish(), nil
}

// suites runs all suites of the list, or only those that are named.
func suites(ctx context.Context, only []string) (int, error) {
	f, err := os.Open("integration/suites")
	if err != nil {
		return 1, fmt.Errorf("opening the list of suites: %w", err)
	}
	defer f.Close()
	l, err := parseList(f)
	if err != nil {
		return 1, err
	}
	for _, name := range only {
		if l.suite(name) == nil {
			return 1, fmt.Errorf("there is no suite %q in integration/suites", name)
		}
	}
	tests, err := declared(".", module)
	if err != nil {
		return 1, err
	}
	rep := &report{list: l, out: os.Stdout}
	for _, s := range l.suites {
		rep.begin(s)
		rep.end(oneSuite(ctx, l, s, only))
	}
	if len(only) == 0 {
		rep.undeclared(tests)
	}
	return rep.finish(), nil
}

// oneSuite runs a suite unless it is left out, or the run is being stopped.
func oneSuite(ctx context.Context, l *list, s suite, only []string) *result {
	switch {
	case ctx.Err() != nil:
		return &result{suite: s, tally: newTally(), faults: []string{"not run: stopped by a signal"}}
	case l.notRun[s.name] != "":
		return &result{suite: s, tally: newTally(), notRun: l.notRun[s.name]}
	case len(only) > 0 && !slices.Contains(only, s.name):
		return &result{suite: s, tally: newTally(), notRun: "not asked for"}
	}
	return runSuite(ctx, s)
}
