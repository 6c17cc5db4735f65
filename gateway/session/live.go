package session

import (
	"context"
	"errors"
	"sync"
	"sync/atomic"
	"time"

	"github.com/caddy-sso/caddy-sso/gateway/refusal"
)

// Why a live request was cut: the cause of its context.
var (
	errSessionOver = errors.New("the login this request lives by is over")
	errUnconfirmed = errors.New("the store has not confirmed the login for too long")
	errUnused      = errors.New("the login this request lives by was not used for too long")
	errNotAdmitted = refusal.New(refusal.AccessDenied, errors.New("the new configuration does not let the person in"))
)

const (
	// severAfter is how long a request whose context has ended may take to end by
	// itself, before its connection is cut.
	severAfter = 300 * time.Millisecond
	// severAgain is how often it is cut again while its handler goes on: another
	// may have set a deadline of its own just then.
	severAgain = 100 * time.Millisecond
)

// A Connection is what a live request came by.
type Connection interface {
	// Sever makes the request's reads and writes fail, whichever of them its handler
	// waits for. It is called again until the request is left, and never after.
	Sever()
}

// A Live is the context of a request on its way through the app. It ends with
// the login: that cuts WebSockets, event streams and long polls. The zero value
// is for Session.Enter.
//
// Not every handler watches its context. If the request has not been left a
// moment later, its connection is severed.
//
// Most requests are over before anybody waits for their context. So the
// context that can be waited for is made when it is first asked for.
type Live struct {
	context.Context //nolint:containedctx // it is a context itself, and this is its parent
	// Connection is severed if the context is not enough. Set it before
	// Session.Enter. Optional.
	Connection Connection

	entered *cached
	moved   atomic.Pointer[cached] // where a node has handed it over to
	reading *reading               // by which it was let in

	// Guarded by the mu of the cached login whose list it is in.
	until      time.Time
	prev, next *Live

	mu    sync.Mutex
	ended bool
	left  bool
	// inner and cancel are not changed once made is set.
	made   atomic.Bool
	cause  error
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

// Over says why the request was ended before it was left: ErrNone if its login is
// over, AccessDenied if a new configuration does not let the person in, a fault of
// the store if nobody can tell any more. nil if it was not ended.
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

// enter makes lr a context below parent that ends with the session, at until at
// the latest. It is false if the session has left the cache meanwhile and has to
// be found anew.
func (c *cached) enter(parent context.Context, lr *Live, r *reading, until time.Time) bool {
	lr.Context, lr.entered, lr.reading, lr.until = parent, c, r, until
	c.mu.Lock()
	entered := !c.retired
	if entered {
		if lr.next = c.live; lr.next != nil {
			lr.next.prev = lr
		}
		c.live = lr
	}
	c.mu.Unlock()
	return entered
}

// cached returns the cached login whose list the request is in.
func (lr *Live) cached() *cached {
	if c := lr.moved.Load(); c != nil {
		return c
	}
	return lr.entered
}

// Leave ends the context and takes the request from its session. Call it once,
// when the request is done.
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
	lr.prev, lr.next = nil, nil // its context may be held for long
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

// lock locks the cached login that the request is in the list of.
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

// Again enters next for what comes after lr of the same request. It is false if
// the login is over.
func (lr *Live) Again(parent context.Context, next *Live) bool {
	lr.mu.Lock()
	cut := lr.cause != nil
	lr.mu.Unlock()
	c, r := lr.lock(), lr.reading
	until := lr.until
	c.mu.Unlock()
	for range maxEnters {
		if cut {
			return false
		}
		if (Session{c.node, c, r}).Enter(parent, next, until) {
			// A new policy may have come after lr was left.
			if policy := c.node.policy.Load(); policy != nil && !next.admit(*policy, c.key) {
				next.Leave()
				return false
			}
			return true
		}
		var err error
		c, r, err = c.node.load(parent, c.bits, cookieKey{})
		cut = err != nil
	}
	return false
}

// maxEnters bounds how often a login that leaves the cache is found anew.
const maxEnters = 10

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
