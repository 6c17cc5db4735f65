package session

import (
	"context"
	"errors"
	"sync"
	"sync/atomic"
	"time"

	"github.com/caddy-sso/caddy-sso/gateway/refusal"
)

// Why a live request was cut: causes of its context.
var (
	errSessionOver = errors.New("the login this request lives by is over")
	errUnconfirmed = errors.New("the store has not confirmed the login for too long")
	errUnused      = errors.New("the login this request lives by was not used for too long")
	errNotAdmitted = refusal.New(refusal.AccessDenied, errors.New("the new configuration does not let the person in"))
)

const (
	// severAfter is the time that a request has to end after its context has ended,
	// before its connection is cut.
	severAfter = 300 * time.Millisecond
	// severAgain is the interval of cutting again while the handler runs: other code
	// may have reset the deadline.
	severAgain = 100 * time.Millisecond
)

// A Connection is the connection or stream of a live request.
type Connection interface {
	// Sever makes the request's reads and writes fail, also those under way. It is
	// called repeatedly until the request is left, and never after.
	Sever()
}

// A Live is the context of a request on its way through the app. It ends with the
// login: that cuts WebSockets, event streams and long polls. The zero value is for
// Session.Enter.
//
// Not every handler watches its context. If the request has not been left a moment
// later, its connection is severed.
//
// Most requests end before anything waits for their context, so a real context is
// made only when Done is first called.
type Live struct {
	context.Context //nolint:containedctx // it is a context itself, and this is its parent
	// Connection is severed if ending the context is not enough. Set it before
	// Session.Enter. Optional.
	Connection Connection

	entered *cached
	moved   atomic.Pointer[cached] // the login of another node that took the request over
	reading *reading               // which let the request in

	// Guarded by the mu of the cached login that lists the request.
	until      time.Time
	prev, next *Live

	mu    sync.Mutex
	ended bool
	left  bool
	// inner and cancel do not change once made is set.
	made   atomic.Bool
	cause  error
	inner  context.Context //nolint:containedctx // made on demand
	cancel context.CancelCauseFunc
}

// Done implements context.Context.
func (lr *Live) Done() <-chan struct{} { return lr.waited().Done() }

// Err implements context.Context.
func (lr *Live) Err() error {
	if lr.untouched() {
		return lr.Context.Err()
	}
	return lr.waited().Err()
}

// Value implements context.Context. The package context uses it to find the real
// context behind Done, and its cause.
func (lr *Live) Value(key any) any {
	if lr.made.Load() {
		return lr.inner.Value(key)
	}
	return lr.Context.Value(key)
}

// untouched reports whether the request is not ended and nobody waits for its end.
func (lr *Live) untouched() bool {
	lr.mu.Lock()
	defer lr.mu.Unlock()
	return !lr.ended && !lr.made.Load()
}

// waited returns the real context.
func (lr *Live) waited() context.Context {
	if lr.made.Load() {
		return lr.inner
	}
	lr.mu.Lock()
	defer lr.mu.Unlock()
	if !lr.made.Load() {
		parent := lr.Context
		if lr.ended {
			parent = context.WithoutCancel(parent) // the first cause counts
		}
		lr.inner, lr.cancel = context.WithCancelCause(parent)
		if lr.ended {
			lr.cancel(lr.cause)
		}
		lr.made.Store(true)
	}
	return lr.inner
}

// end ends the request's context; only the first cause counts.
func (lr *Live) end(cause error) {
	lr.mu.Lock()
	first := !lr.ended
	if first {
		lr.ended, lr.cause = true, cause
	}
	lr.mu.Unlock()
	if first && lr.made.Load() {
		lr.cancel(cause)
	}
	if first && lr.Connection != nil {
		time.AfterFunc(severAfter, lr.sever)
	}
}

// sever cuts the connection until the request is left. Leave waits for it.
func (lr *Live) sever() {
	lr.mu.Lock()
	defer lr.mu.Unlock()
	if lr.left {
		return
	}
	lr.Connection.Sever()
	time.AfterFunc(severAgain, lr.sever)
}

// Over returns why the request was ended before it was left: ErrNone if its login is
// over, AccessDenied if a new configuration does not let the person in, a fault of
// the store if the login can't be confirmed. It returns nil if the request was not
// ended.
func (lr *Live) Over() error {
	lr.mu.Lock()
	defer lr.mu.Unlock()
	switch {
	case !lr.ended || lr.cause == nil:
		return nil
	case errors.Is(lr.cause, errSessionOver), errors.Is(lr.cause, errUnused):
		return ErrNone
	}
	return lr.cause
}

// enter lists a live request, unless the session has left the cache.
func (c *cached) enter(lr *Live) bool {
	c.mu.Lock()
	defer c.mu.Unlock()
	if !c.retired {
		c.link(lr)
	}
	return !c.retired
}

// link puts a live request at the head of the list. mu is held.
func (c *cached) link(lr *Live) {
	lr.prev, lr.next = nil, c.live
	if c.live != nil {
		c.live.prev = lr
	}
	c.live = lr
}

// cached returns the cached login that lists the request.
func (lr *Live) cached() *cached {
	if c := lr.moved.Load(); c != nil {
		return c
	}
	return lr.entered
}

// Leave ends the context and removes the request from its session. Call it once, when
// the request is done.
func (lr *Live) Leave() {
	c := lr.lock()
	if lr.prev == nil {
		c.live = lr.next
	} else {
		lr.prev.next = lr.next
	}
	if lr.next != nil {
		lr.next.prev = lr.prev
	}
	lr.prev, lr.next = nil, nil // others may keep the context for long
	c.mu.Unlock()
	lr.mu.Lock()
	lr.left = true
	first := !lr.ended
	lr.ended = true
	lr.mu.Unlock()
	if first && lr.made.Load() {
		lr.cancel(nil)
	}
}

// lock locks the cached login that lists the request, and returns it.
func (lr *Live) lock() *cached {
	for {
		c := lr.cached()
		c.mu.Lock()
		if lr.cached() == c {
			return c
		}
		c.mu.Unlock() // handed over meanwhile
	}
}

// Again enters next, for a later part of the same request. It returns false if the
// login is over.
func (lr *Live) Again(parent context.Context, next *Live) bool {
	lr.mu.Lock()
	cut := lr.cause != nil
	lr.mu.Unlock()
	c := lr.lock()
	found, until := Session{c.node, c, lr.reading}, lr.until
	c.mu.Unlock()
	if cut {
		return false
	}
	for range maxEnters {
		if found.Enter(parent, next, until) {
			// A new policy may have replaced the old one after lr was left.
			if policy := c.node.policy.Load(); policy != nil && !next.admit(*policy, c.key) {
				next.Leave()
				return false
			}
			return true
		}
		var err error
		if found, err = c.node.load(parent, c.bits, cookieKey{}); err != nil {
			return false
		}
	}
	return false
}

// maxEnters bounds the retries if a login keeps leaving the cache.
const maxEnters = 10

// retire marks a session that leaves the cache. Unless forced, it refuses while there
// are live requests.
func (c *cached) retire(force bool) bool {
	c.mu.Lock()
	defer c.mu.Unlock()
	if c.live != nil && !force {
		return false
	}
	c.retired = true
	return true
}

func (c *cached) busy() bool {
	c.mu.Lock()
	defer c.mu.Unlock()
	return c.live != nil
}

func (c *cached) cut(cause error) {
	c.mu.Lock()
	defer c.mu.Unlock()
	for lr := c.live; lr != nil; lr = lr.next {
		lr.end(cause)
	}
}

// cutBefore ends the live requests that had to end by now.
func (c *cached) cutBefore(now time.Time) {
	c.mu.Lock()
	defer c.mu.Unlock()
	for lr := c.live; lr != nil; lr = lr.next {
		if !now.Before(lr.until) {
			lr.end(errSessionOver)
		}
	}
}

// sawGood notes that a read of the store, begun at t, confirmed the login.
func (c *cached) sawGood(t time.Time) {
	c.mu.Lock()
	defer c.mu.Unlock()
	if t.After(c.checked) {
		c.checked = t
	}
}

// unset clears the last reading after an announcement.
func (c *cached) unset(now time.Time) {
	c.mu.Lock()
	defer c.mu.Unlock()
	if c.missing.IsZero() {
		c.missing = now
	}
	c.last.Store(nil)
}

// confirmed returns until when the login is known to have been valid. follows is when
// the last confirmed read of the announcements began. For tendLive alone.
func (c *cached) confirmed(now, follows time.Time) time.Time {
	c.mu.Lock()
	defer c.mu.Unlock()
	if c.last.Load() != nil {
		c.missing = time.Time{}
		if c.checked.After(follows) {
			return c.checked
		}
		return follows
	}
	// There was an announcement, and no successful read since.
	if c.missing.IsZero() {
		c.missing = now
	}
	if c.checked.After(c.missing) {
		return c.checked
	}
	return c.missing
}

// outdated reports whether the login has to be read again even without an
// announcement.
func (c *cached) outdated(now time.Time) bool {
	r := c.last.Load()
	return r == nil || now.Sub(r.loaded) > reloadAfter
}
