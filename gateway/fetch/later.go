package fetch

import (
	"net/http"
	"strconv"
	"time"

	"github.com/caddy-sso/caddy-sso/gateway/refusal"
)

const (
	// MaxRetryAfter bounds a server's Retry-After: a server that says a day must not
	// keep people out for a day.
	MaxRetryAfter = 5 * time.Minute
	// maxHoldOff bounds how long Retry-After delays the next fetch of a Document.
	maxHoldOff = time.Minute
)

// retryAfter reads the header Retry-After (RFC 9110 §10.2.3): seconds, or a date. It
// returns zero if the value can't be read or lies in the past.
func retryAfter(h http.Header, now time.Time) time.Duration {
	value := h.Get("Retry-After")
	seconds, err := strconv.ParseUint(value, 10, 31)
	after := time.Duration(seconds) * time.Second
	if err != nil {
		date, err := http.ParseTime(value)
		if err != nil {
			return 0
		}
		after = date.Sub(now)
	}
	return min(max(after, 0), MaxRetryAfter)
}

// Fault returns err with the response's RetryAfter.
func (r *Response) Fault(err error) error {
	if r.RetryAfter == 0 || err == nil {
		return err
	}
	return &refusal.DelayedError{Err: err, After: r.RetryAfter}
}

// holdOff returns how much longer than FailureKept no fetch is tried after err.
func holdOff(err error) time.Duration {
	return max(min(refusal.RetryAfter(err), maxHoldOff)-FailureKept, 0)
}
