package refusal

import (
	"errors"
	"time"
)

// A DelayedError is a fault of a server that said when to come back (RFC 9110 §10.2.3).
type DelayedError struct {
	Err error
	// After is how long to wait, within the bounds of the reader.
	After time.Duration
}

// Error returns what Err says.
func (d *DelayedError) Error() string { return d.Err.Error() }

// Unwrap returns Err.
func (d *DelayedError) Unwrap() error { return d.Err }

// RetryAfter returns how long to wait before asking the server again. Zero: it did not
// say.
func RetryAfter(err error) time.Duration {
	if d, ok := errors.AsType[*DelayedError](err); ok {
		return d.After
	}
	return 0
}
