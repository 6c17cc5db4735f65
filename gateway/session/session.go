package session

import (
	"context"
	"time"
)

// A Session is a login that a request has found.
type Session struct {
	node    *Node
	cached  *cached
	reading *reading
}

// Login returns the login, which must not be modified.
func (s Session) Login() *Login { return s.reading.Login }

// ID identifies the login. It is a LoginInfo's ID, and opens nothing.
func (s Session) ID() string { return s.cached.key }

// Enter makes live a context below parent that ends with the login, and at until at
// the latest. live.Leave must be called when the request is done.
//
// It returns false if the session has left the cache meanwhile: find it again.
func (s Session) Enter(parent context.Context, live *Live, until time.Time) bool {
	live.Context, live.entered, live.reading, live.until = parent, s.cached, s.reading, until
	if !s.cached.enter(live) {
		return false
	}
	s.catchUp()
	return true
}

// catchUp reads the login again if there was an announcement after the session was
// found. If that ended the login, it missed the requests that have come since.
func (s Session) catchUp() {
	if s.cached.last.Load() != s.reading {
		s.node.reloadLater(s.cached)
	}
}

// Admitted reports whether a live request that the policy by has let in may go on:
// another policy may have replaced it meanwhile.
func (s Session) Admitted(live *Live, by Policy) bool {
	policy := s.node.policy.Load()
	return policy == nil || *policy == by || live.admit(*policy, s.cached.key)
}

// End ends the login on every node.
func (s Session) End(ctx context.Context) error {
	return s.node.endListed(ctx, s.cached.key, s.reading.Login)
}

// A Memo is data of the caller beside a login in this node's cache. All memos are
// pointers of one type.
type Memo interface {
	// Size is the memo's approximate size in bytes, for the bounds of the cache.
	Size() int
}

// Memo returns the memo of the login, or nil.
func (s Session) Memo() Memo {
	memo, _ := s.reading.memo.Load().(Memo)
	return memo
}

// Remember replaces the memo and returns true, unless it is no longer old.
func (s Session) Remember(old, memo Memo) bool {
	var before any // an untyped nil
	if old != nil {
		before = old
	}
	if !s.reading.memo.CompareAndSwap(before, memo) {
		return false
	}
	s.node.resize(s.cached.key, s.reading.size+memo.Size())
	return true
}
