package checktest_test

import (
	"errors"
	"slices"
	"strings"
	"testing"

	"github.com/caddy-sso/caddy-sso/gateway/check"
	"github.com/caddy-sso/caddy-sso/gateway/check/checktest"
)

// A checklist has its lists where checklists have them.
type checklist struct {
	part
	read  func()
	short check.List[string]
	*below
}

type part struct{ long check.List[int] }

type below struct{ last check.List[string] }

var errRefused = errors.New("refused")

func refuse[T any](T) error { return errRefused }

func newChecklist() *checklist {
	return &checklist{
		read:  func() {},
		part:  part{check.All(check.That("a", "", refuse[int]), check.That("b", "", refuse[int]))},
		short: check.All(check.That("c", "", refuse[string])),
		below: &below{check.All(check.That("d", "", refuse[string]))},
	}
}

func TestNames(t *testing.T) {
	t.Parallel()
	if got := checktest.Names(newChecklist()); !slices.Equal(got, []string{"a", "b", "c", "d"}) {
		t.Errorf("got %q", got)
	}
}

func TestDrop(t *testing.T) {
	t.Parallel()
	c := newChecklist()
	checktest.Drop(c, "a", "d")
	if c.long.Run(1) == nil || c.short.Run("") == nil || c.last.Run("") != nil {
		t.Error("others were dropped")
	}
	checktest.Drop(c, "b")
	if c.long.Run(1) != nil {
		t.Error("b was not dropped")
	}
}

// TestPanics holds that a name that is wrong does not make a test say nothing.
func TestPanics(t *testing.T) {
	t.Parallel()
	for name, f := range map[string]func(){
		"no such check": func() { checktest.Drop(newChecklist(), "a", "e") },
		"two of a name": func() {
			checktest.Names(&checklist{part: newChecklist().part, short: check.All(check.That("a", "", refuse[string]))})
		},
		"an empty list":  func() { checktest.Names(&checklist{}) },
		"dropped before": func() { c := newChecklist(); checktest.Drop(c, "a"); checktest.Drop(c, "a") },
	} {
		func() {
			defer func() {
				if recover() == nil {
					t.Errorf("%s: no panic", name)
				}
			}()
			f()
		}()
	}
}

// A recorder is a test that keeps its errors.
type recorder struct {
	testing.TB
	faults int
}

func (r *recorder) Errorf(string, ...any) { r.faults++ }
func (r *recorder) Helper()               {}

func TestStoppedBy(t *testing.T) {
	t.Parallel()
	for names, want := range map[string]int{"a b": 0, "a": 1, "a b c": 1, "c": 1} {
		r := &recorder{TB: t}
		checktest.StoppedBy(r, strings.Fields(names), func(without ...string) error {
			if slices.Contains(without, "a") && slices.Contains(without, "b") {
				return nil
			}
			return errRefused
		})
		if r.faults != want {
			t.Errorf("%s: %d faults, want %d", names, r.faults, want)
		}
	}
}
