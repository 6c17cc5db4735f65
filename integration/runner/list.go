package main

import (
	"bufio"
	"fmt"
	"io"
	"slices"
	"strconv"
	"strings"
	"time"
)

// A suite is one line of the list: something that is run, timed and counted.
type suite struct {
	name    string
	minimum int
	timeout time.Duration
	kind    string
	args    []string
}

// A list is the content of integration/suites.
type list struct {
	suites []suite
	// notRun maps what may be left out, a suite or a test, to the reason.
	notRun map[string]string
}

var kinds = []string{"test", "serial", "check"}

// parseList reads the list. The format stands at the head of integration/suites.
func parseList(r io.Reader) (*list, error) {
	l := &list{notRun: map[string]string{}}
	sc := bufio.NewScanner(r)
	for n := 1; sc.Scan(); n++ {
		fields := strings.Fields(sc.Text())
		if len(fields) == 0 || strings.HasPrefix(fields[0], "#") {
			continue
		}
		if err := l.add(fields); err != nil {
			return nil, fmt.Errorf("reading line %d of the list of suites: %w", n, err)
		}
	}
	if err := sc.Err(); err != nil {
		return nil, fmt.Errorf("reading the list of suites: %w", err)
	}
	if len(l.suites) == 0 {
		return nil, fmt.Errorf("reading the list of suites: there is none in it")
	}
	return l, nil
}

func (l *list) add(fields []string) error {
	switch fields[0] {
	case "suite":
		s, err := parseSuite(fields[1:])
		if err != nil {
			return err
		}
		if l.suite(s.name) != nil {
			return fmt.Errorf("suite %s is there twice", s.name)
		}
		l.suites = append(l.suites, *s)
	case "not-run":
		if len(fields) < 3 {
			return fmt.Errorf("not-run needs a name and a reason")
		}
		if _, twice := l.notRun[fields[1]]; twice {
			return fmt.Errorf("%s is left out twice", fields[1])
		}
		l.notRun[fields[1]] = strings.Join(fields[2:], " ")
	default:
		return fmt.Errorf("expected suite or not-run, found %q", fields[0])
	}
	return nil
}

func parseSuite(fields []string) (*suite, error) {
	if len(fields) < 4 {
		return nil, fmt.Errorf("suite needs a name, a minimum, a timeout and a kind")
	}
	if fields[0] == "fuzz" {
		return nil, fmt.Errorf("no suite is called fuzz: the word starts open-ended fuzzing")
	}
	minimum, err := strconv.Atoi(fields[1])
	if err != nil || minimum < 0 {
		return nil, fmt.Errorf("the minimum of suite %s is no number: %q", fields[0], fields[1])
	}
	timeout, err := time.ParseDuration(fields[2])
	if err != nil || timeout <= 0 {
		return nil, fmt.Errorf("the timeout of suite %s is no duration: %q", fields[0], fields[2])
	}
	if !slices.Contains(kinds, fields[3]) {
		return nil, fmt.Errorf("the kind of suite %s is %q, not one of %s", fields[0], fields[3], strings.Join(kinds, ", "))
	}
	if len(fields) == 4 {
		return nil, fmt.Errorf("suite %s has no arguments", fields[0])
	}
	return &suite{fields[0], minimum, timeout, fields[3], fields[4:]}, nil
}

// suite returns the suite of that name, or nil.
func (l *list) suite(name string) *suite {
	for i := range l.suites {
		if l.suites[i].name == name {
			return &l.suites[i]
		}
	}
	return nil
}
