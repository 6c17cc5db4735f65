package main

import (
	"bytes"
	"strings"
	"testing"
	"time"
)

// tallyOf makes a tally from test names by state.
func tallyOf(states map[string]string) *tally {
	t := newTally()
	for name, state := range states {
		t.set(testID{module + "/p", name}, state)
	}
	return t
}

func TestReport(t *testing.T) {
	t.Parallel()
	tests := []testID{{module + "/p", "TestA"}}
	for name, c := range map[string]struct {
		list     string
		result   result
		declared []testID
		last     string
		status   int
		mentions string
	}{
		"all is well": {
			result:   result{tally: tallyOf(map[string]string{"TestA": "pass", "TestA/x": "pass"})},
			declared: tests, last: "2 passed, 0 failed, 0 skipped", mentions: "suites:\n  a                  2s  2 passed",
		},
		"a failure": {
			result: result{tally: tallyOf(map[string]string{"TestA": "fail"})},
			last:   "0 passed, 1 failed, 0 skipped", status: 1, mentions: "--- FAIL: " + module + "/p.TestA",
		},
		"a fault": {
			result: result{tally: newTally(), faults: []string{"ran 3 tests; its minimum is 5"}},
			last:   "0 passed, 1 failed, 0 skipped", status: 1, mentions: "suite a: ran 3 tests; its minimum is 5",
		},
		"a skip that is not listed": {
			result: result{tally: tallyOf(map[string]string{"TestA": "skip"})},
			last:   "0 passed, 0 failed, 1 skipped", status: 1, mentions: "p.TestA is not in the list",
		},
		"a skip that is listed": {
			list:   "not-run p.TestA there is no hardware for it",
			result: result{tally: tallyOf(map[string]string{"TestA": "skip"})},
			last:   "0 passed, 0 failed, 1 skipped", mentions: "allowed: there is no hardware for it",
		},
		"a suite that is left out": {
			list:   "not-run a no licence",
			result: result{tally: newTally(), notRun: "no licence"},
			last:   "0 passed, 0 failed, 1 skipped", mentions: "a            not run: no licence",
		},
		"a suite that was not asked for": {
			result: result{tally: newTally(), notRun: "not asked for"},
			last:   "0 passed, 0 failed, 1 skipped", status: 1, mentions: "not run: not asked for",
		},
		"a declared test that no suite runs": {
			result: result{tally: newTally()}, declared: tests,
			last: "0 passed, 0 failed, 1 skipped", status: 1, mentions: "NOT RUN: " + module + "/p.TestA",
		},
		"a listed exception that fits nothing": {
			list:   "not-run p.TestOld is gone",
			result: result{tally: tallyOf(map[string]string{"TestA": "pass"})}, declared: tests,
			last: "1 passed, 1 failed, 0 skipped", status: 1, mentions: "p.TestOld may be left out",
		},
	} {
		t.Run(name, func(t *testing.T) {
			t.Parallel()
			l, err := parseList(strings.NewReader("suite a 1 1m test ./...\n" + c.list))
			if err != nil {
				t.Fatal(err)
			}
			var out bytes.Buffer
			rep := &report{list: l, out: &out}
			c.result.suite, c.result.took = l.suites[0], 2*time.Second
			rep.begin(l.suites[0])
			rep.end(&c.result)
			rep.undeclared(c.declared)
			status := rep.finish()
			lines := strings.Split(strings.TrimSuffix(out.String(), "\n"), "\n")
			if last := lines[len(lines)-1]; last != c.last {
				t.Errorf("the last line is %q, want %q", last, c.last)
			}
			if status != c.status {
				t.Errorf("the status is %d, want %d", status, c.status)
			}
			if !strings.Contains(out.String(), c.mentions) {
				t.Errorf("no %q in:\n%s", c.mentions, out.String())
			}
		})
	}
}
