// Package check is checks as data. Code that judges something hostile has
// lists of named checks instead of a chain of ifs. So the lists can be read as
// what they are, the promise of what is refused, and a test can show for each
// check which attack gets in without it.
//
// The product cannot drop a check. A List shows its checks to nobody and
// cannot be changed. Only the package checktest takes checks out of it, by
// reflection, and only tests import that package.
package check

import (
	"errors"

	"github.com/caddy-sso/caddy-sso/gateway/refusal"
)

// A Check is one thing that must hold before a T is believed.
type Check[T any] struct {
	name string
	code refusal.Code // of the refusal; empty: the caller decides
	run  func(T) error
}

// That returns a check. Its name is unique in the package that judges: files of
// an attack corpus name it. A refusal has the code, unless run returns a
// *refusal.Error. If the code is empty, the error of run stays as it is, and
// the caller of List.Run decides.
func That[T any](name string, code refusal.Code, run func(T) error) Check[T] {
	return Check[T]{name, code, run}
}

// A List is everything that must hold, in order. The zero value checks nothing: make a List with All.
type List[T any] struct {
	checks []Check[T]
}

// All returns the list of checks.
func All[T any](checks ...Check[T]) List[T] { return List[T]{checks} }

// Run runs the checks in order and returns the first refusal.
func (l List[T]) Run(subject T) error {
	for i := range l.checks {
		c := &l.checks[i]
		err := c.run(subject)
		if err == nil {
			continue
		}
		if _, coded := errors.AsType[*refusal.Error](err); coded || c.code == "" {
			return err
		}
		return refusal.New(c.code, err)
	}
	return nil
}
