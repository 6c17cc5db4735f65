package main

import (
	"encoding/json"
	"fmt"
	"io"
	"slices"
	"strings"
	"sync"
	"time"
)

// A testID names a test by its package's import path and its full name.
type testID struct{ pkg, name string }

func (id testID) String() string { return id.pkg + "." + id.name }

// A result has the tests of a suite, from `go test -json`, and the faults of the suite
// itself, such as a hang. A fault counts as one failure.
type result struct {
	suite  string
	took   time.Duration
	mu     sync.Mutex        // while commands run
	state  map[testID]string // run, pass, fail or skip
	order  []testID
	output map[testID]string // of a test that did not pass
	builds map[string]string // output of the compiler, by import path
	stray  strings.Builder   // lines that are no events
	faults []string
}

func newResult(suite string) *result {
	return &result{suite: suite, state: map[testID]string{}, output: map[testID]string{}, builds: map[string]string{}}
}

func (r *result) fault(format string, args ...any) {
	r.faults = append(r.faults, fmt.Sprintf(format, args...))
}

// with returns the tests in a state, in the order of their start.
func (r *result) with(state string) []testID {
	return slices.DeleteFunc(slices.Clone(r.order), func(id testID) bool { return r.state[id] != state })
}

func (r *result) failed() int { return len(r.with("fail")) + len(r.faults) }

// line reads one line of output: an event of `go test -json` (go doc test2json) or of its
// build, or any other text.
func (r *result) line(line []byte) {
	r.mu.Lock()
	defer r.mu.Unlock()
	var e struct{ Action, Package, Test, Output, ImportPath, FailedBuild string }
	if json.Unmarshal(line, &e) != nil || e.Action == "" {
		r.stray.Write(append(line, '\n'))
		return
	}
	id := testID{e.Package, e.Test}
	switch e.Action {
	case "run":
		r.set(id, "run")
	case "output":
		r.say(id, e.Output)
	case "build-output":
		r.builds[e.ImportPath] += e.Output
	case "pass", "fail", "skip":
		if e.Test == "" {
			r.packageEnd(e.Package, e.Action, r.builds[e.FailedBuild])
			return
		}
		r.set(id, e.Action)
	}
}

func (r *result) say(id testID, output string) {
	if len(r.output[id]) < 1<<16 {
		r.output[id] += output
	}
}

func (r *result) set(id testID, state string) {
	if _, seen := r.state[id]; !seen {
		r.order = append(r.order, id)
	}
	r.state[id] = state
	if state == "pass" {
		delete(r.output, id)
	}
}

// packageEnd ends the tests of a package that have no end event. Benchmarks never have
// one: one with a result has passed. Any other test has failed, because it did not finish.
// If the package failed without a failing test (build, TestMain, a panic), that counts as
// one failure, under the package's name.
func (r *result) packageEnd(pkg, action, build string) {
	failed := false
	for _, id := range r.order {
		if id.pkg != pkg {
			continue
		}
		if r.state[id] == "run" {
			if strings.HasPrefix(id.name, "Benchmark") && (action == "pass" || strings.Contains(r.output[id], " ns/op")) {
				r.set(id, "pass")
			} else {
				r.set(id, "fail")
				r.say(id, "did not finish\n")
			}
		}
		failed = failed || r.state[id] == "fail"
	}
	if action == "fail" && !failed {
		r.set(testID{pkg, ""}, "fail")
		r.say(testID{pkg, ""}, build)
	}
}

// abort counts all running tests as failed, because the suite was stopped, and returns
// them.
func (r *result) abort() []testID {
	running := r.with("run")
	for _, id := range running {
		r.set(id, "fail")
		r.say(id, "still running when the suite was stopped\n")
	}
	return running
}

// seeds checks that each fuzz target ran a seed. A seed is a subtest of its target.
func (r *result) seeds() {
	ran := map[testID]bool{}
	for _, id := range r.order {
		if target, _, isSeed := strings.Cut(id.name, "/"); isSeed && r.state[id] != "skip" {
			ran[testID{id.pkg, target}] = true
		}
	}
	for _, id := range r.order {
		if strings.HasPrefix(id.name, "Fuzz") && !strings.Contains(id.name, "/") && !ran[id] {
			r.fault("%s ran no seed: give it some by f.Add, or in testdata/fuzz", id)
		}
	}
}

// print prints the tests that did not pass, and the faults.
func (r *result) print(out io.Writer) {
	for _, state := range []string{"fail", "skip"} {
		for _, id := range r.with(state) {
			fmt.Fprintf(out, "--- %s: %s\n%s\n", strings.ToUpper(state), id, tail(r.output[id]))
		}
	}
	for _, fault := range r.faults {
		fmt.Fprintf(out, "--- FAIL: %s\n", tail(fault))
	}
}

// tail returns the last 200 lines of s, indented.
func tail(s string) string {
	lines := strings.Split(strings.TrimSpace(s), "\n")
	return strings.Join(lines[max(0, len(lines)-200):], "\n    ")
}
