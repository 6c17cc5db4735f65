package main

import (
	"bytes"
	"context"
	"errors"
	"fmt"
	"strings"
	"time"
)

// A result is what became of one suite.
type result struct {
	suite suite
	took  time.Duration
	tally *tally
	// faults are failures of the suite itself: too few tests, a check that
	// failed, a hang, processes left behind. Each counts as one failure.
	faults []string
	// notRun, if not empty, is why the suite was not run.
	notRun string
}

func (r *result) fault(format string, args ...any) {
	r.faults = append(r.faults, fmt.Sprintf(format, args...))
}

var errTimeout = errors.New("the suite's time is over")

// runSuite runs one suite within its time.
func runSuite(ctx context.Context, s suite) *result {
	r := &result{suite: s, tally: newTally()}
	began := time.Now()
	ctx, cancel := context.WithTimeoutCause(ctx, s.timeout, errTimeout)
	defer cancel()
	switch s.kind {
	case "test":
		r.goTest(ctx, s.args...)
	case "serial":
		r.goTest(ctx, append([]string{"-p", "1", "-run", "^Test(Alloc|Time)", "-bench", ".", "-benchtime", "20x"}, s.args...)...)
	case "check":
		r.check(ctx)
	}
	if left := endLeftovers(5 * time.Second); len(left) > 0 {
		r.fault("left processes behind: %s", strings.Join(left, ", "))
	}
	for id, n := range r.tally.seeds() {
		if n == 0 && s.kind == "test" {
			r.fault("%s ran no seed: give it some by f.Add, or in testdata/fuzz", id)
		}
	}
	if n := len(r.tally.with("pass")) + len(r.tally.with("fail")); n < s.minimum {
		r.fault("ran %d tests; its minimum is %d", n, s.minimum)
	}
	r.took = time.Since(began)
	return r
}

// goTest runs `go test` with the arguments and counts its tests.
func (r *result) goTest(ctx context.Context, args ...string) {
	// The suite's own time ends a test binary first: that names the tests
	// that hang with their stacks.
	own := r.suite.timeout * 9 / 10
	args = append([]string{"test", "-json", "-timeout", own.String()}, args...)
	err := execute(ctx, r.tally.line, "go", args...)
	if ctx.Err() != nil {
		r.fault("%v, stopped; still running: %s", err, orNone(r.tally.abort()))
		return
	}
	if err != nil && len(r.tally.with("fail")) == 0 {
		r.fault("%v\n%s", err, r.tally.stray.String())
	}
}

func orNone(names []string) string {
	if len(names) == 0 {
		return "no test"
	}
	return strings.Join(names, ", ")
}

// check runs commands that have nothing to count; each must succeed.
func (r *result) check(ctx context.Context) {
	for command := range strings.SplitSeq(strings.Join(r.suite.args, " "), "&&") {
		words := strings.Fields(command)
		var out bytes.Buffer
		keep := func(line []byte) { out.Write(append(line, '\n')) }
		if err := execute(ctx, keep, words[0], words[1:]...); err != nil {
			r.fault("%s: %v\n%s", strings.TrimSpace(command), err, out.String())
		}
	}
}
