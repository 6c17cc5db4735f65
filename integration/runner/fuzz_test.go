package main

import (
	"bytes"
	"os"
	"path/filepath"
	"strings"
	"testing"
	"time"
)

func TestFuzzArgs(t *testing.T) {
	t.Parallel()
	for args, want := range map[string]time.Duration{"": fuzzEach, "1m": time.Minute, "0s": 0, "500ms": 0, "30": 0, "-1s": 0, "1s 2s": 0} {
		got, err := fuzzArgs(strings.Fields(args))
		if got != want || (err == nil) != (want > 0) {
			t.Errorf("%q: got %v, %v", args, got, err)
		}
	}
}

func TestRunFuzz(t *testing.T) {
	const target = "func FuzzX(f *testing.F) { f.Add([]byte(\"a\")); f.Fuzz(func(t *testing.T, b []byte) { %s }) }\n"
	for name, c := range map[string]struct {
		body           string
		passed, failed int
		found          bool
		fault          string
	}{
		"finds nothing": {body: strings.Replace(target, "%s", "", 1), passed: 1},
		"finds":         {body: strings.Replace(target, "%s", "if len(b) != 1 { t.Error(1) }", 1), failed: 1, found: true},
		"no target":     {body: "func TestX(t *testing.T) {}\n", fault: "there is no fuzz target"},
	} {
		t.Run(name, func(t *testing.T) {
			moduleOf(t, c.body)
			r := runFuzz(t.Context(), time.Second)
			passed, failed, _ := r.counts()
			if passed != c.passed || failed != c.failed || strings.Join(r.faults, "\n") != c.fault {
				t.Errorf("passed %d, failed %d, faults %q", passed, failed, r.faults)
			}
			var out bytes.Buffer
			rep := &report{list: &list{}, out: &out}
			rep.end(r)
			if status := rep.finish(); (status == 0) != (c.failed == 0 && c.fault == "") {
				t.Errorf("the status is %d", status)
			}
			seeds, err := filepath.Glob("testdata/fuzz/FuzzX/*")
			if err != nil || len(seeds) > 0 != c.found {
				t.Fatalf("it wrote %v, %v", seeds, err)
			}
			for _, seed := range seeds {
				if want := "--- FOUND: m/" + seed + "\n"; !strings.Contains(out.String(), want) {
					t.Errorf("no %q in:\n%s", want, out.String())
				}
			}
			if left := descendants(os.Getpid()); len(left) > 0 {
				t.Errorf("processes are left: %v", left)
			}
		})
	}
}

func TestFindIsBelowTheModule(t *testing.T) {
	t.Parallel()
	id := testID{module + "/gateway/pages", "FuzzAway"}
	tally := newTally()
	tally.set(id, "fail")
	appendTo(tally.output, id, "    Failing input written to testdata/fuzz/FuzzAway/0123\n    To re-run:\n")
	if got, want := tally.find(id), "gateway/pages/testdata/fuzz/FuzzAway/0123"; got != want {
		t.Errorf("it lies in %q, want %q", got, want)
	}
}
