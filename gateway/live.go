package gateway

import (
	"context"
	"errors"
	"net/http"
	"time"
)

// Why a live request was cut: the cause of its context.
var (
	errSessionOver = errors.New("the login this request lives by is over")
	errUnconfirmed = errors.New("the store has not confirmed the login for too long")
)

// A liveRequest is a request on its way through the app. Its context ends with
// the login, which cuts WebSockets, event streams and long polls.
type liveRequest struct {
	cancel context.CancelCauseFunc
	until  time.Time
}

// enter returns r with a context that ends with the session, at until at the
// latest. leave must be called when the request is done; it is nil if the
// session has left the cache meanwhile and has to be found anew.
func (ses *session) enter(r *http.Request, until time.Time) (_ *http.Request, leave func()) {
	ctx, cancel := context.WithCancelCause(r.Context())
	lr := &liveRequest{cancel, until}
	ses.mu.Lock()
	if ses.retired {
		ses.mu.Unlock()
		cancel(nil)
		return r, nil
	}
	if ses.live == nil {
		ses.live = make(map[*liveRequest]struct{}, 4)
	}
	ses.live[lr] = struct{}{}
	ses.mu.Unlock()
	return r.WithContext(ctx), func() {
		ses.mu.Lock()
		delete(ses.live, lr)
		ses.mu.Unlock()
		cancel(nil)
	}
}

// retire marks a session that leaves the cache. Unless forced it refuses while
// there are live requests.
func (ses *session) retire(force bool) bool {
	ses.mu.Lock()
	defer ses.mu.Unlock()
	if len(ses.live) > 0 && !force {
		return false
	}
	ses.retired = true
	return true
}

func (ses *session) busy() bool {
	ses.mu.Lock()
	defer ses.mu.Unlock()
	return len(ses.live) > 0
}

// cut ends all live requests.
func (ses *session) cut(cause error) {
	ses.mu.Lock()
	defer ses.mu.Unlock()
	for lr := range ses.live {
		lr.cancel(cause)
	}
}

// cutBefore ends the live requests whose time is up.
func (ses *session) cutBefore(now time.Time) {
	ses.mu.Lock()
	defer ses.mu.Unlock()
	for lr := range ses.live {
		if !now.Before(lr.until) {
			lr.cancel(errSessionOver)
		}
	}
}

// sawGood notes a look at the store, begun at t, by which the login held.
func (ses *session) sawGood(t time.Time) {
	ses.mu.Lock()
	defer ses.mu.Unlock()
	if t.After(ses.checked) {
		ses.checked = t
	}
}

// confirmed returns until when the login is known to have held. follows is
// when the last confirmed read of the announcements began. It is for tendLive
// alone.
func (ses *session) confirmed(now, follows time.Time) time.Time {
	ses.mu.Lock()
	defer ses.mu.Unlock()
	if ses.state.Load() != nil {
		ses.missing = time.Time{}
		if ses.checked.After(follows) {
			return ses.checked
		}
		return follows
	}
	// Something was announced, and there was no quiet moment to look since.
	if ses.missing.IsZero() {
		ses.missing = now
	}
	if ses.checked.After(ses.missing) {
		return ses.checked
	}
	return ses.missing
}

// outdated says whether the login has to be read anew although nothing more
// was announced.
func (ses *session) outdated(now time.Time) bool {
	st := ses.state.Load()
	return st == nil || now.Sub(st.loaded) > reloadAfter
}
