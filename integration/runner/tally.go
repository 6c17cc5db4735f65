package main

import (
	"encoding/json"
	"regexp"
	"slices"
	"strings"
)

// A testID names a test by its package's import path and its full name.
type testID struct{ pkg, name string }

func (id testID) String() string { return id.pkg + "." + id.name }

// event is what `go test -json` writes per line (go doc test2json), and the
// build output that `go build -json` mixes in.
type event struct {
	Action, Package, Test, Output, ImportPath, FailedBuild string
}

// A tally counts the tests of one suite from the events of `go test -json`.
type tally struct {
	state  map[testID]string // run, pass, fail or skip
	order  []testID
	output map[testID]*strings.Builder
	builds map[string]*strings.Builder // build output by import path
	stray  strings.Builder             // what was no event
}

func newTally() *tally {
	return &tally{state: map[testID]string{}, output: map[testID]*strings.Builder{}, builds: map[string]*strings.Builder{}}
}

// line takes one line of output.
func (t *tally) line(line []byte) {
	var e event
	if json.Unmarshal(line, &e) != nil || e.Action == "" {
		t.stray.Write(line)
		t.stray.WriteByte('\n')
		return
	}
	id := testID{e.Package, e.Test}
	switch e.Action {
	case "run":
		t.set(id, "run")
	case "output":
		appendTo(t.output, id, e.Output)
	case "build-output":
		appendTo(t.builds, e.ImportPath, e.Output)
	case "pass", "fail", "skip":
		if e.Test == "" {
			t.packageEnd(e)
			return
		}
		t.set(id, e.Action)
		if e.Action == "pass" {
			delete(t.output, id)
		}
	}
}

func appendTo[K comparable](m map[K]*strings.Builder, key K, s string) {
	b := m[key]
	if b == nil {
		b = &strings.Builder{}
		m[key] = b
	}
	if b.Len() < 1<<16 {
		b.WriteString(s)
	}
}

func (t *tally) set(id testID, state string) {
	if _, seen := t.state[id]; !seen {
		t.order = append(t.order, id)
	}
	t.state[id] = state
}

// packageEnd settles what a package left open when it ended: a benchmark that
// passes has no end event of its own, and a test that is still running when
// its package ends did not pass. A package that failed without a failing test
// (build, TestMain, a panic) counts as one failure under its own name.
func (t *tally) packageEnd(e event) {
	failed := false
	for _, id := range t.order {
		if id.pkg != e.Package {
			continue
		}
		if t.state[id] == "run" {
			if strings.HasPrefix(id.name, "Benchmark") && (e.Action == "pass" || t.measured(id)) {
				t.set(id, "pass")
			} else {
				t.set(id, "fail")
				appendTo(t.output, id, "did not finish\n")
			}
		}
		failed = failed || t.state[id] == "fail"
	}
	if e.Action == "fail" && !failed {
		id := testID{e.Package, ""}
		if b := t.builds[e.FailedBuild]; b != nil {
			appendTo(t.output, id, b.String())
		}
		t.set(id, "fail")
	}
}

func (t *tally) measured(id testID) bool {
	b := t.output[id]
	return b != nil && strings.Contains(b.String(), " ns/op")
}

// abort counts every test that is still running as failed and returns their
// names: the suite was stopped.
func (t *tally) abort() []string {
	var names []string
	for _, id := range t.with("run") {
		t.set(id, "fail")
		appendTo(t.output, id, "still running when the suite was stopped\n")
		names = append(names, id.String())
	}
	return names
}

// ranOut says whether all that failed is a fuzz target that found nothing and
// whose time ended while an input ran: `go test -fuzz` before Go 1.27 may take
// that for a failure (https://go.dev/issue/75804). It is run once more.
func (t *tally) ranOut() bool {
	failed := t.with("fail")
	return len(failed) == 1 && strings.HasPrefix(failed[0].name, "Fuzz") && timeRanOut.MatchString(t.outputOf(failed[0]))
}

var timeRanOut = regexp.MustCompile(`(?s)--- FAIL: Fuzz\w+ \([\d.]+s\)\n    context deadline exceeded\n$`)

// add adds the tests of another tally.
func (t *tally) add(other *tally) {
	for _, id := range other.order {
		t.set(id, other.state[id])
		if b := other.output[id]; b != nil {
			t.output[id] = b
		}
	}
	t.stray.WriteString(other.stray.String())
}

// with returns the tests in a state, in the order in which they began.
func (t *tally) with(state string) []testID {
	return slices.DeleteFunc(slices.Clone(t.order), func(id testID) bool { return t.state[id] != state })
}

// outputOf returns what a test printed.
func (t *tally) outputOf(id testID) string {
	if b := t.output[id]; b != nil {
		return b.String()
	}
	return ""
}
