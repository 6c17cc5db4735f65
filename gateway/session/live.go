package session

import (
	"context"
	"errors"
	"sync"
	"sync/atomic"
	"time"
)

// Why a live request was cut: the cause of its context.
var (
	errSessionOver = errors.New("the login this request lives by is over")
	errUnconfirmed = errors.New("the store has not confirmed the login for too long")
)

// A Live is the context of a request on its way through the app. It ends with
// the login: that cuts WebSockets, event streams and long polls. The zero value
// is for Session.Enter.
//
// Most requests are over before anybody waits for their context. So the
// context that can be waited for is made when it is first asked for.
type Live struct {
	context.Context //nolint:containedctx // it is a context itself, and this is its parent
	cached          *cached
	until           time.Time
	prev, next      *Live // guarded by cached.mu

	mu    sync.Mutex
	ended bool
	cause error
	// inner and cancel are not changed once made is set.
	made   atomic.Bool
	inner  context.Context //nolint:containedctx // as above
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

// Value implements context.Context. The package context finds by it whose
// channel Done returns, and why it was closed.
func (lr *Live) Value(key any) any {
	if lr.made.Load() {
		return lr.inner.Value(key)
	}
	return lr.Context.Value(key)
}

// untouched says whether the request goes on as far as we are concerned, and
// nobody waits for its end.
func (lr *Live) untouched() bool {
	lr.mu.Lock()
	defer lr.mu.Unlock()
	return !lr.ended && !lr.made.Load()
}

// waited returns the context that can be waited for.
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

// end ends the request's context. Only the first cause counts.
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
}

// Over says whether the request was ended with its login: ErrNone if that is over,
// a fault if nobody can tell any more, else nil.
func (lr *Live) Over() error {
	lr.mu.Lock()
	defer lr.mu.Unlock()
	switch {
	case !lr.ended || lr.cause == nil:
		return nil
	case errors.Is(lr.cause, errSessionOver):
		return ErrNone
	}
	return lr.cause
}

// enter makes lr a context below parent that ends with the session, at until at
// the latest. It is false if the session has left the cache meanwhile and has to
// be found anew.
func (c *cached) enter(parent context.Context, lr *Live, until time.Time) bool {
	lr.Context, lr.cached, lr.until = parent, c, until
	c.mu.Lock()
	defer c.mu.Unlock()
	if c.retired {
		return false
	}
	lr.next = c.live
	if lr.next != nil {
		lr.next.prev = lr
	}
	c.live = lr
	return true
}

// Leave ends the context and takes the request from its session. Call it once,
// when the request is done.
func (lr *Live) Leave() {
	lr.cached.mu.Lock()
	if lr.prev == nil {
		lr.cached.live = lr.next
	} else {
		lr.prev.next = lr.next
	}
	if lr.next != nil {
		lr.next.prev = lr.prev
	}
	lr.prev, lr.next = nil, nil // its context may be held for long
	lr.cached.mu.Unlock()
	lr.end(nil)
}

// retire marks a session that leaves the cache. Unless forced it refuses while
// there are live requests.
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

// cut ends all live requests.
func (c *cached) cut(cause error) {
	c.mu.Lock()
	defer c.mu.Unlock()
	for lr := c.live; lr != nil; lr = lr.next {
		lr.end(cause)
	}
}

// cutBefore ends the live requests whose time is up.
func (c *cached) cutBefore(now time.Time) {
	c.mu.Lock()
	defer c.mu.Unlock()
	for lr := c.live; lr != nil; lr = lr.next {
		if !now.Before(lr.until) {
			lr.end(errSessionOver)
		}
	}
}

// sawGood notes a look at the store, begun at t, by which the login held.
func (c *cached) sawGood(t time.Time) {
	c.mu.Lock()
	defer c.mu.Unlock()
	if t.After(c.checked) {
		c.checked = t
	}
}

// unset forgets the last reading: something was announced.
func (c *cached) unset(now time.Time) {
	c.mu.Lock()
	defer c.mu.Unlock()
	if c.missing.IsZero() {
		c.missing = now
	}
	c.last.Store(nil)
}

// confirmed returns until when the login is known to have held. follows is
// when the last confirmed read of the announcements began. It is for tendLive
// alone.
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
	// Something was announced, and there was no quiet moment to look since.
	if c.missing.IsZero() {
		c.missing = now
	}
	if c.checked.After(c.missing) {
		return c.checked
	}
	return c.missing
}

// outdated says whether the login has to be read anew although nothing more
// was announced.
func (c *cached) outdated(now time.Time) bool {
	r := c.last.Load()
	return r == nil || now.Sub(r.loaded) > reloadAfter
}
