package session

import (
	"context"
	"errors"
	"time"
)

// A node outlives configurations, so its live requests survive a reload. The new
// configuration decides whether they may go on. If it has another node, because the
// secret or the store's password changed, that node takes them over.

// A Policy is the part of a configuration that decides on live requests. It is a
// pointer.
type Policy interface {
	// Admits returns the latest end of a live request; a time in the past ends it
	// now. id identifies the login.
	Admits(c Connection, l *Login, id string) (until time.Time)
	// IdleLimit is how long a login may go unused. Zero: no limit.
	IdleLimit() time.Duration
	// LoginsChanged tells that the login with this id may have ended; if id is empty,
	// that any may have. It must not wait.
	LoginsChanged(id string)
}

// Start makes p the policy if there is none.
func (s *Node) Start(p Policy) { s.policy.CompareAndSwap(nil, &p) }

// HandTo makes p the policy and cuts the live requests that it does not admit. If
// next is another node, it takes the others over when Run ends.
func (s *Node) HandTo(next *Node, p Policy) {
	if next != s {
		s.next.Store(next)
	}
	s.policy.Store(&p) // before the check: later requests check it themselves
	for _, c := range s.busy(false) {
		for _, lr := range c.lives() {
			lr.admit(p, c.key)
		}
	}
}

// admit sets the request's end by p. It returns false if that is now.
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

func (c *cached) lives() (all []*Live) {
	c.mu.Lock()
	defer c.mu.Unlock()
	for lr := c.live; lr != nil; lr = lr.next {
		all = append(all, lr)
	}
	return all
}

// handOver moves the live requests of a login to the next node, if its store has the
// login too. Otherwise nothing would end them with the login.
func (s *Node) handOver(ctx context.Context, c *cached) {
	next := s.next.Load()
	for range maxEnters {
		if next == nil {
			break
		}
		found, err := next.load(ctx, c.bits, cookieKey{})
		if errors.Is(err, ErrNone) {
			c.cut(errSessionOver)
			return
		}
		if err != nil {
			break
		}
		if c.moveTo(found.cached) {
			found.catchUp()
			return
		}
		if next.hasEnded() {
			next = next.next.Load()
		}
	}
	c.cut(errUnconfirmed)
}

// moveTo moves the live requests to the login of another node. It returns false if
// that login has left its cache.
func (c *cached) moveTo(to *cached) bool {
	c.mu.Lock() // lock order: always the older node first
	defer c.mu.Unlock()
	to.mu.Lock()
	defer to.mu.Unlock()
	if to.retired {
		return false
	}
	for lr := c.live; lr != nil; {
		next := lr.next
		lr.moved.Store(to)
		to.link(lr)
		lr = next
	}
	c.live = nil
	return true
}

// hasEnded reports whether Run has ended.
func (s *Node) hasEnded() bool {
	s.mu.RLock()
	defer s.mu.RUnlock()
	return s.ended
}
