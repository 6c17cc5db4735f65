package session_test

import (
	"context"
	"errors"
	"fmt"
	"sync"
	"testing"
	"testing/synctest"
	"time"

	"github.com/caddy-sso/caddy-sso/gateway/gatewaytest"
	"github.com/caddy-sso/caddy-sso/gateway/session"
	"github.com/caddy-sso/caddy-sso/gateway/store"
)

// endings are the ways to end alice's login, each as somebody does it who tries
// again after a failure.
func endings(cookie, id string) map[string]func(context.Context, *session.Node) error {
	ways := map[string]func(context.Context, *session.Node) error{
		"logout": func(ctx context.Context, s *session.Node) error {
			f, err := s.Find(ctx, cookie, nodeHost)
			if errors.Is(err, session.ErrNone) {
				return s.EndCookie(ctx, cookie, nodeHost, freely)
			}
			if err != nil {
				return err
			}
			return f.End(ctx)
		},
		"login": func(ctx context.Context, s *session.Node) error { return s.RevokeLogin(ctx, id) },
	}
	for _, r := range revocations {
		if !r.alice {
			ways[r.name] = r.do
		}
	}
	return ways
}

// A failAt has a hook that lets the store fail at its nth write, before or after it
// is done: once, or from then on.
type failAt struct {
	n       int
	done    bool
	lasting bool // until it is mended

	mu     sync.Mutex // for what follows
	calls  int
	failed bool
	mended bool
}

func (f *failAt) hook(op gatewaytest.MemOp) error {
	f.mu.Lock()
	defer f.mu.Unlock()
	if !op.Writes() || f.mended || op.Done != f.done {
		return nil
	}
	f.calls++
	if f.calls == f.n || f.lasting && f.calls > f.n {
		f.failed = true
		return gatewaytest.ErrFault
	}
	return nil
}

func (f *failAt) mend() {
	f.mu.Lock()
	defer f.mu.Unlock()
	f.mended = true
}

// TestRevokeWithAFaultAnywhere lets the store fail at each command of each
// revocation in turn: before or after the command, once or until it is mended.
// Records and announcements are apart in this store, as in a cluster. After an
// answer of success the other node serves nothing. After a failure the nodes
// agree as soon as the store is well, and the next attempt works.
func TestRevokeWithAFaultAnywhere(t *testing.T) {
	t.Parallel()
	for name := range endings("", "") {
		for _, again := range []bool{false, true} {
			for _, lasting := range []bool{false, true} {
				for _, done := range []bool{false, true} {
					t.Run(fmt.Sprintf("%s again=%v lasting=%v done=%v", name, again, lasting, done), func(t *testing.T) {
						t.Parallel()
						faults := 0
						for n := 1; ; n++ {
							f := &failAt{n: n, done: done, lasting: lasting}
							inBubbleOfTwo(t, func(t *testing.T, mem *gatewaytest.MemStore, here, there *session.Node) {
								revokeWithFault(t, f, name, again, mem, here, there)
							})
							if !f.failed {
								break
							}
							faults++
						}
						if faults == 0 {
							t.Error("no fault happened")
						}
					})
				}
			}
		}
	}
}

func revokeWithFault(t *testing.T, f *failAt, name string, again bool, mem *gatewaytest.MemStore, here, there *session.Node) {
	t.Helper()
	cookie := signInAt(t, here, "alice")
	id := wantSession(t, here, cookie).ID()
	ctx := enterLive(t, wantSession(t, there, cookie))
	end := func() error {
		err := endings(cookie, id)[name](t.Context(), here)
		if errors.Is(err, store.ErrNotFound) {
			return nil // it is gone, and the answer says so
		}
		return err
	}
	mem.SetHook(f.hook)
	err := end()
	if again && err != nil {
		err = end()
	}
	if err == nil {
		// A node that answers success has announced.
		synctest.Wait()
		wantEnded(ctx, t, there, cookie, f)
	}
	f.mend()
	time.Sleep(time.Second)
	synctest.Wait()
	if err != nil && ctx.Err() == nil {
		// Nothing was promised, and nothing may have been done. But both nodes
		// agree, and nobody serves what is over.
		_, own := openNode(t, mem).Find(t.Context(), cookie, nodeHost)
		_, other := there.Find(t.Context(), cookie, nodeHost)
		if errors.Is(own, session.ErrNone) || errors.Is(other, session.ErrNone) {
			t.Errorf("write %d (done %v): the store says %v, the other node %v and its stream goes on", f.n, f.done, own, other)
		}
		mustDo(t, end()) // the next attempt works
		synctest.Wait()
	}
	wantEnded(ctx, t, there, cookie, f)
	wantNoSession(t, here, cookie)
	wantNoSession(t, openNode(t, mem), cookie)
	wantAccounts(t, here, "", "alice")
}

func wantEnded(live context.Context, t *testing.T, s *session.Node, cookie string, f *failAt) {
	t.Helper()
	if _, err := s.Find(t.Context(), cookie, nodeHost); !errors.Is(err, session.ErrNone) {
		t.Errorf("write %d (done %v): the other node answers %v", f.n, f.done, err)
	}
	if live.Err() == nil {
		t.Errorf("write %d (done %v): the other node's stream goes on", f.n, f.done)
	}
}

// However many announcements the store does not take, a node remembers a bounded
// number, and everything is heard of in the end.
func TestOwedAnnouncementsAreBounded(t *testing.T) {
	t.Parallel()
	inBubbleOfTwo(t, func(t *testing.T, store *gatewaytest.MemStore, here, there *session.Node) {
		var cookies []string
		for i := range 1500 {
			cookies = append(cookies, signInAt(t, here, fmt.Sprint("user", i)))
			wantSession(t, there, cookies[i])
		}
		store.SetHook(gatewaytest.Faulty("Announce"))
		for _, cookie := range cookies {
			if err := wantSession(t, here, cookie).End(t.Context()); err == nil {
				t.Fatal("a logout that was not announced is answered with success")
			}
		}
		if n := here.Owed(); n > 1000 {
			t.Errorf("%d announcements are remembered", n)
		}
		wantSession(t, there, cookies[0])
		store.SetHook(nil)
		time.Sleep(time.Second)
		synctest.Wait()
		for _, cookie := range cookies {
			wantNoSession(t, there, cookie)
		}
		if n := here.Owed(); n != 0 {
			t.Errorf("%d announcements are owed still", n)
		}
	})
}

// The index is for listing. A logout whose entry can't be removed is a logout, and the
// other nodes hear of it.
func TestLogoutWithoutItsIndex(t *testing.T) {
	t.Parallel()
	inBubbleOfTwo(t, func(t *testing.T, store *gatewaytest.MemStore, here, there *session.Node) {
		cookie := signInAt(t, here, "alice")
		wantSession(t, there, cookie)
		store.SetHook(gatewaytest.Faulty("Remove"))
		mustDo(t, wantSession(t, here, cookie).End(t.Context()))
		time.Sleep(time.Second)
		wantNoSession(t, here, cookie)
		wantNoSession(t, there, cookie)
	})
}

// A cookie that was never made is none to announce: nobody may have the nodes work.
func TestEndCookieOfOthers(t *testing.T) {
	t.Parallel()
	store := gatewaytest.NewMemStore()
	s := openNode(t, store)
	cookie := signInAt(t, s, "alice")
	store.SetHook(func(op gatewaytest.MemOp) error {
		if op.Writes() {
			t.Errorf("%s is called", op.Method)
		}
		return nil
	})
	for _, other := range []string{"", "x", cookie + "x", "A" + cookie[1:]} {
		if other != cookie {
			mustDo(t, s.EndCookie(t.Context(), other, nodeHost, freely))
		}
	}
	mustDo(t, s.EndCookie(t.Context(), cookie, "another.example", freely))
}

func freely() error { return nil }
