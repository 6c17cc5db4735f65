package main

import (
	"fmt"
	"io"
	"slices"
	"strings"
	"time"
)

const module = "github.com/caddy-sso/caddy-sso"

// A report prints results as they come and adds them up.
type report struct {
	list    *list
	out     io.Writer
	results []*result
	// used are the entries of the list of what may be left out that were.
	used                            map[string]bool
	passed, failed, skipped, forbid int
}

func (rep *report) begin(s suite) { fmt.Fprintf(rep.out, "=== %s\n", s.name) }

// end takes and prints one result.
func (rep *report) end(r *result) {
	rep.results = append(rep.results, r)
	if r.notRun != "" {
		fmt.Fprintf(rep.out, "    not run: %s\n", r.notRun)
		rep.leftOut(r.suite.name)
		return
	}
	failed := r.tally.with("fail")
	for _, id := range failed {
		fmt.Fprintf(rep.out, "--- FAIL: %s\n%s", id, indent(tail(r.tally.outputOf(id), 200)))
		if file := r.tally.find(id); file != "" {
			fmt.Fprintf(rep.out, "--- FOUND: %s\n    Mend what it shows, and commit the file: it is a seed from then on.\n", file)
		}
	}
	for _, fault := range r.faults {
		fmt.Fprintf(rep.out, "--- FAIL: suite %s: %s\n", r.suite.name, tail(fault, 200))
	}
	for _, id := range r.tally.with("skip") {
		fmt.Fprintf(rep.out, "--- SKIP: %s\n%s", id, indent(tail(r.tally.outputOf(id), 5)))
		rep.leftOut(strings.TrimPrefix(id.String(), module+"/"))
	}
	rep.passed += len(r.tally.with("pass"))
	rep.failed += len(failed) + len(r.faults)
	if targets := r.tally.seeds(); r.suite.kind == "test" && len(targets) > 0 {
		total := 0
		for _, n := range targets {
			total += n
		}
		fmt.Fprintf(rep.out, "    %d seeds of %d fuzz targets ran\n", total, len(targets))
	}
	fmt.Fprintf(rep.out, "    %s\n", r.summary())
}

// leftOut counts one suite or test that did not run. If the list does not
// allow that, the run fails.
func (rep *report) leftOut(name string) {
	rep.skipped++
	if reason, ok := rep.list.notRun[name]; ok {
		if rep.used == nil {
			rep.used = map[string]bool{}
		}
		rep.used[name] = true
		fmt.Fprintf(rep.out, "    allowed: %s\n", reason)
		return
	}
	rep.forbid++
	fmt.Fprintf(rep.out, "    %s is not in the list of what may be left out\n", name)
}

// undeclared fails the run for every declared test that no suite ran, and for
// every entry of the list of what may be left out that fits nothing any more.
func (rep *report) undeclared(tests []testID) {
	seen := map[testID]bool{}
	for _, r := range rep.results {
		for _, id := range r.tally.order {
			seen[id] = true
		}
	}
	for _, id := range tests {
		if seen[id] {
			continue
		}
		fmt.Fprintf(rep.out, "--- NOT RUN: %s: no suite runs it\n", id)
		rep.leftOut(strings.TrimPrefix(id.String(), module+"/"))
	}
	for name := range rep.list.notRun {
		if !rep.used[name] {
			rep.failed++
			fmt.Fprintf(rep.out, "--- FAIL: %s may be left out, but nothing of that name was: mend integration/suites\n", name)
		}
	}
}

// finish prints the table of suites and the last line, and returns the exit
// status.
func (rep *report) finish() int {
	fmt.Fprintln(rep.out, "\nsuites:")
	for _, r := range rep.results {
		fmt.Fprintf(rep.out, "  %-12s %s\n", r.suite.name, r.summary())
	}
	fmt.Fprintf(rep.out, "%d passed, %d failed, %d skipped\n", rep.passed, rep.failed, rep.skipped)
	if rep.failed > 0 || rep.forbid > 0 {
		return 1
	}
	return 0
}

func (r *result) summary() string {
	if r.notRun != "" {
		return "not run: " + r.notRun
	}
	return fmt.Sprintf("%8s  %d passed, %d failed, %d skipped", r.took.Round(100*time.Millisecond),
		len(r.tally.with("pass")), len(r.tally.with("fail"))+len(r.faults), len(r.tally.with("skip")))
}

// tail returns the last n lines of s.
func tail(s string, n int) string {
	lines := slices.Collect(strings.Lines(s))
	if len(lines) <= n {
		return s
	}
	return fmt.Sprintf("… %d lines …\n", len(lines)-n) + strings.Join(lines[len(lines)-n:], "")
}

func indent(s string) string {
	var b strings.Builder
	for line := range strings.Lines(s) {
		b.WriteString("    " + line)
	}
	if s != "" && !strings.HasSuffix(s, "\n") {
		b.WriteByte('\n')
	}
	return b.String()
}
