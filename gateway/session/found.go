package session

import (
	"context"
	"time"
)

// A Found is the session of a request: a login as this node knows it.
type Found struct {
	node *Node
	ses  *session
	st   *state
}

// Find returns the session that a cookie opens at host. ErrNone if there is
// none; any other error is a fault of the store, never "no session".
func (s *Node) Find(ctx context.Context, cookie, host string) (Found, error) {
	ses, st, err := s.find(ctx, cookie, host)
	if err != nil {
		return Found{}, err
	}
	return Found{s, ses, st}, nil
}

// Login returns the login, which must not be changed.
func (f Found) Login() *Login { return f.st.Login }

// ID names the login. It is a LoginInfo's ID, and opens nothing.
func (f Found) ID() string { return f.ses.key }

// Enter makes live a context below parent that ends with the login, and at until
// at the latest. live.Leave must be called when the request is done.
//
// It is false if the session has left the cache meanwhile: find it anew.
func (f Found) Enter(parent context.Context, live *Live, until time.Time) bool {
	if !f.ses.enter(parent, live, until) {
		return false
	}
	if f.ses.state.Load() != f.st {
		// Something was announced after the session was found. If it was the end
		// of this login, it missed this request: look again.
		f.node.reloadLater(f.ses)
	}
	return true
}

// Touch keeps an idle limit: ErrNone if the login was not used for idle.
// Otherwise it notes the use, now and then, and off the request's way.
func (f Found) Touch(ctx context.Context, idle time.Duration) error {
	return f.node.touch(ctx, f.ses, f.st, idle)
}

// End ends the login on every node.
func (f Found) End(ctx context.Context) error { return f.node.endLogin(ctx, f.ses.key, f.st.Login) }

// A Memo is what a caller keeps beside a login in this node's cache. All memos
// are pointers of one type.
type Memo interface {
	// Size is roughly how many bytes the memo takes. They count for the bounds of
	// the cache.
	Size() int
}

// Memo returns the memo of the login, or nil.
func (f Found) Memo() Memo {
	memo, _ := f.st.memo.Load().(Memo)
	return memo
}

// Remember replaces the memo if it is still old, else it returns false.
func (f Found) Remember(old, memo Memo) bool {
	var before any // nil, not a nil Memo
	if old != nil {
		before = old
	}
	if !f.st.memo.CompareAndSwap(before, memo) {
		return false
	}
	f.node.resize(f.ses.key, f.st.size+memo.Size())
	return true
}
