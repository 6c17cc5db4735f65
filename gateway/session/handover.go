package session

import (
	"context"
	"errors"
	"time"
)

// A reload and live requests: a node outlives configurations, so they go
// on, but the new configuration decides whether they may. If it has another node,
// as with another secret or another password of the store, that one takes them
// over.

// A Policy is what a configuration says of live requests. It is a pointer.
type Policy interface {
	// Admits returns when a live request ends at the latest; a time that has passed
	// ends it now. id names the login.
	Admits(c Connection, l *Login, id string) (until time.Time)
	// IdleLimit is how long a login may go unused. Zero: for ever.
	IdleLimit() time.Duration
}

// Start makes p the policy if there is none.
func (s *Node) Start(p Policy) { s.policy.CompareAndSwap(nil, &p) }

// HandTo makes p the policy, and cuts the live requests that it does not admit.
// next, if it is another node, takes over what is left when Run ends.
func (s *Node) HandTo(next *Node, p Policy) {
	if next != s {
		s.next.Store(next)
	}
	s.policy.Store(&p) // before the look: what enters later looks for itself
	for _, c := range s.busy(false) {
		for _, lr := range c.lives() {
			lr.admit(p, c.key)
		}
	}
}

// admit has the request end when p says. It is false if that is now.
func (lr *Live) admit(p Policy, id string) bool {
	until := p.Admits(lr.Connection, lr.reading.Login, id)
	if !time.Now().Before(until) {
		lr.end(errNotAdmitted)
		return false
	}
	c := lr.lock()
	defer c.mu.Unlock()
	lr.until = until
	return true
}

// lives returns the live requests.
func (c *cached) lives() (all []*Live) {
	c.mu.Lock()
	defer c.mu.Unlock()
	for lr := c.live; lr != nil; lr = lr.next {
		all = append(all, lr)
	}
	return all
}

// handOver gives the live requests of a login to the node that comes after this
// one, if its store has the login too. Otherwise nothing would end them with it.
func (s *Node) handOver(ctx context.Context, c *cached) {
	next := s.next.Load()
	for range maxEnters {
		if next == nil {
			break
		}
		to, r, err := next.load(ctx, c.bits, cookieKey{})
		if errors.Is(err, ErrNone) {
			c.cut(errSessionOver)
			return
		}
		if err != nil {
			break
		}
		if c.moveTo(to) {
			if to.last.Load() != r {
				next.reloadLater(to) // as in Enter
			}
			return
		}
		if next.hasEnded() {
			next = next.next.Load()
		}
	}
	c.cut(errUnconfirmed)
}

// moveTo moves the live requests to the login of another node. It is false if that
// has left its cache.
func (c *cached) moveTo(to *cached) bool {
	c.mu.Lock() // always that of the older node first
	defer c.mu.Unlock()
	to.mu.Lock()
	defer to.mu.Unlock()
	if to.retired {
		return false
	}
	for lr := c.live; lr != nil; {
		next := lr.next
		lr.moved.Store(to)
		lr.prev, lr.next = nil, to.live
		if to.live != nil {
			to.live.prev = lr
		}
		to.live, lr = lr, next
	}
	c.live = nil
	return true
}

// hasEnded says whether Run has ended.
func (s *Node) hasEnded() bool {
	s.mu.RLock()
	defer s.mu.RUnlock()
	return s.ended
}
