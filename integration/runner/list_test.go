package main

import (
	"os"
	"strings"
	"testing"
	"time"
)

func TestParseList(t *testing.T) {
	t.Parallel()
	l, err := parseList(strings.NewReader(`
# a comment
suite functional 10 15m test -race ./...
suite lint 0 5m check go vet ./...

not-run lint  the linter is on holiday
`))
	if err != nil {
		t.Fatal(err)
	}
	s := l.suite("functional")
	if s == nil || s.minimum != 10 || s.timeout != 15*time.Minute || s.kind != "test" || strings.Join(s.args, " ") != "-race ./..." {
		t.Errorf("suite functional was read as %+v", s)
	}
	if got := l.notRun["lint"]; got != "the linter is on holiday" {
		t.Errorf("the reason was read as %q", got)
	}
}

func TestParseListRefuses(t *testing.T) {
	t.Parallel()
	const good = "suite a 1 1m test ./...\n"
	for name, c := range map[string]struct{ text, want string }{
		"empty":           {"# nothing\n", "none in it"},
		"unknown word":    {good + "siute b 1 1m test ./...", `line 2 of the list of suites: expected suite or not-run, found "siute"`},
		"short":           {"suite a 1 1m", "needs a name"},
		"no arguments":    {"suite a 1 1m test", "no arguments"},
		"minimum":         {"suite a x 1m test ./...", `no number: "x"`},
		"negative":        {"suite a -1 1m test ./...", `no number: "-1"`},
		"timeout":         {"suite a 1 1 test ./...", `no duration: "1"`},
		"no timeout":      {"suite a 1 0s test ./...", `no duration: "0s"`},
		"kind":            {"suite a 1 1m tset ./...", `"tset"`},
		"fuzz":            {"suite fuzz 1 1m test ./...", "no suite is called fuzz"},
		"twice":           {good + good, "suite a is there twice"},
		"no reason":       {good + "not-run a", "needs a name and a reason"},
		"left out twice ": {good + "not-run a x\nnot-run a y", "left out twice"},
	} {
		t.Run(name, func(t *testing.T) {
			t.Parallel()
			if _, err := parseList(strings.NewReader(c.text)); err == nil || !strings.Contains(err.Error(), c.want) {
				t.Errorf("got %v, want an error with %q", err, c.want)
			}
		})
	}
}

func TestListOfTheRepository(t *testing.T) {
	t.Parallel()
	f, err := os.Open("../suites")
	if err != nil {
		t.Fatal(err)
	}
	defer f.Close()
	l, err := parseList(f)
	if err != nil {
		t.Fatal(err)
	}
	if last := l.suites[len(l.suites)-1].name; last != "lint" {
		t.Errorf("the last suite is %s; lint comes last", last)
	}
}
