// Package check keeps checks as data. Code that verifies hostile input runs lists of
// named checks instead of a chain of ifs. The lists show what is refused, and a test
// shows for each check which attack gets in without it.
//
// The product cannot drop a check: a List is opaque and immutable. Only the package
// checktest removes checks, by reflection, and only tests import that package.
package check

import (
	"errors"

	"github.com/caddy-sso/caddy-sso/gateway/refusal"
)

// A Check is one thing that must hold before a T is believed.
type Check[T any] struct {
	name string
	code refusal.Code // of the refusal; empty: see That
	run  func(T) error
}

// That returns a check. Its name is unique in the calling package; files of an attack
// corpus refer to it. A failure is a refusal with code, unless run returns a
// *refusal.Error. If code is empty, it is a *FailedError, and the caller of List.Run decides.
func That[T any](name string, code refusal.Code, run func(T) error) Check[T] {
	return Check[T]{name, code, run}
}

// A List holds checks in order. The zero value checks nothing: make a List with All.
type List[T any] struct {
	checks []Check[T]
}

// All returns a list of the checks.
func All[T any](checks ...Check[T]) List[T] { return List[T]{checks} }

// FailedError is the failure of a check without a code. It reads as its error.
type FailedError struct {
	// Name is that of the check.
	Name string
	Err  error
}

func (f *FailedError) Error() string { return f.Err.Error() }
func (f *FailedError) Unwrap() error { return f.Err }

// Run runs the checks in order and returns the first refusal, or nil.
func (l List[T]) Run(subject T) error {
	for i := range l.checks {
		c := &l.checks[i]
		err := c.run(subject)
		if err == nil {
			continue
		}
		if _, coded := errors.AsType[*refusal.Error](err); coded {
			return err
		}
		if c.code == "" {
			return &FailedError{c.name, err}
		}
		return &refusal.Error{Code: c.code, Err: err, Check: c.name}
	}
	return nil
}
