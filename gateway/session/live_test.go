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
)

func TestSessionsChangesReachTheOtherNode(t *testing.T) {
	t.Parallel()
	for name := range endings("", "") {
		t.Run(name, func(t *testing.T) {
			t.Parallel()
			inBubbleOfTwo(t, func(t *testing.T, store *gatewaytest.MemStore, here, there *session.Node) {
				cookie := signInAt(t, here, "alice")
				f := wantSession(t, here, cookie)
				live := enterLive(t, wantSession(t, there, cookie))
				liveHere := enterLive(t, f)
				// The caller disconnects as soon as it is written.
				ctx, cancel := context.WithCancel(t.Context())
				store.SetHook(func(op gatewaytest.MemOp) error {
					if op.Done && (op.Method == "Delete" || op.Method == "CompareAndPut") {
						cancel()
					}
					return nil
				})
				mustDo(t, endings(cookie, f.ID())[name](ctx, here))
				synctest.Wait() // no time passes: it is told at once
				for _, ctx := range []context.Context{live, liveHere} {
					if context.Cause(ctx) != session.ErrSessionOver {
						t.Errorf("a live request: %v", context.Cause(ctx))
					}
				}
				wantNoSession(t, here, cookie)
				wantNoSession(t, there, cookie)
			})
		})
	}
}

func TestSessionsCacheIsBounded(t *testing.T) {
	t.Parallel()
	s := openNode(t, gatewaytest.NewMemStore())
	runNode(t, s)
	ended := make(chan struct{})
	busy := map[string]context.Context{}
	var leaves []func()
	fill := func(n int) {
		for i := range n {
			f := wantSession(t, s, signInAt(t, s, fmt.Sprint("user", i)))
			if i%10 == 0 {
				ctx, leave := enter(t.Context(), f, time.Now().Add(nodeLife))
				busy[f.ID()], leaves = ctx, append(leaves, leave)
			}
		}
	}
	s.Bound(20, 1<<30)
	fill(100)
	n, cookies, bytes := s.Cached()
	if n > 20 || cookies > 20 {
		t.Errorf("%d logins and %d cookies are cached, 20 are allowed", n, cookies)
	}
	s.Bound(1000, 2*bytes)
	fill(100)
	if n, _, now := s.Cached(); now > 2*bytes || n > 50 {
		t.Errorf("%d logins of %d bytes are cached, %d bytes are allowed", n, now, 2*bytes)
	}
	s.Bound(3, 1<<30)
	wantSession(t, s, signInAt(t, s, "one more"))
	if n, _, _ := s.Cached(); n < len(busy) || n > len(busy)+1 {
		t.Errorf("%d logins are cached, %d have live requests", n, len(busy))
	}
	// Those with live requests were never lost: they are still cut.
	for key := range busy {
		mustDo(t, s.RevokeLogin(t.Context(), key))
	}
	go func() {
		defer close(ended)
		for _, ctx := range busy {
			<-ctx.Done()
		}
	}()
	select {
	case <-ended:
	case <-time.After(30 * time.Second):
		t.Error("a session with a live request was lost from the cache")
	}
	for _, leave := range leaves {
		leave()
	}
	wantSession(t, s, signInAt(t, s, "the last"))
	if n, _, _ := s.Cached(); n > 3 {
		t.Errorf("%d logins are cached after their requests, 3 are allowed", n)
	}
}

func TestSessionsLiveRequestEndsWithTheLogin(t *testing.T) {
	t.Parallel()
	inBubble(t, func(t *testing.T, _ *gatewaytest.MemStore, s *session.Node) {
		f := wantSession(t, s, signInAt(t, s, "alice"))
		short, leave := enter(t.Context(), f, time.Now().Add(time.Minute))
		defer leave()
		long := enterLive(t, f)
		time.Sleep(time.Minute - time.Millisecond)
		if short.Err() != nil {
			t.Error("cut before its time")
		}
		time.Sleep(time.Second + time.Millisecond)
		if context.Cause(short) != session.ErrSessionOver {
			t.Errorf("after its time: %v", context.Cause(short))
		}
		if long.Err() != nil {
			t.Errorf("another's request was cut: %v", context.Cause(long))
		}
	})
}

// Five seconds are counted from the last confirmation, whenever it was, and
// from an announcement after which nobody could look.
func TestSessionsLiveRequestsAreCutInTime(t *testing.T) {
	t.Parallel()
	for after := 30 * time.Second; after < 31*time.Second; after += 100 * time.Millisecond {
		for name, fails := range map[string][]string{"nothing answers": {"Get", "Watch", "Ping"}, "announced, and reads fail": {"Get"}} {
			t.Run(name+" after "+after.String(), func(t *testing.T) {
				t.Parallel()
				inBubble(t, func(t *testing.T, store *gatewaytest.MemStore, s *session.Node) {
					ctx := enterLive(t, wantSession(t, s, signInAt(t, s, "alice")))
					time.Sleep(after)
					store.SetHook(gatewaytest.Faulty(fails...))
					mustDo(t, store.Announce(t.Context(), []byte("all")))
					time.Sleep(session.Stale - 300*time.Millisecond)
					if ctx.Err() != nil {
						t.Fatalf("cut before five seconds: %v", context.Cause(ctx))
					}
					time.Sleep(320 * time.Millisecond)
					if context.Cause(ctx) != session.ErrUnconfirmed {
						t.Errorf("after five seconds: %v", context.Cause(ctx))
					}
				})
			})
		}
	}
}

// Once nobody looks after live requests any more, as after a reload with
// another store, none goes on.
func TestSessionsLiveRequestsEndWithRun(t *testing.T) {
	t.Parallel()
	synctest.Test(t, func(t *testing.T) {
		s := openNode(t, gatewaytest.NewMemStore())
		stop := runNode(t, s)
		synctest.Wait()
		cookie := signInAt(t, s, "alice")
		found := wantSession(t, s, cookie)
		live := enterLive(t, found)
		stop()
		if context.Cause(live) != session.ErrUnconfirmed {
			t.Errorf("after the end: %v", context.Cause(live))
		}
		if _, leave := enter(context.Background(), found, time.Now().Add(nodeLife)); leave != nil {
			t.Error("a session that was found before can be entered")
		}
		if f, err := s.Find(t.Context(), cookie, nodeHost); err == nil {
			if _, leave := enter(context.Background(), f, time.Now().Add(nodeLife)); leave != nil {
				t.Error("a session that is found after the end can be entered")
			}
		}
	})
}

func TestSessionsLiveRequestsLiveWhileTheStoreAnswers(t *testing.T) {
	t.Parallel()
	synctest.Test(t, func(t *testing.T) {
		store := gatewaytest.NewMemStore()
		store.SetHook(gatewaytest.Faulty("Watch")) // announcements can't be followed, all else is well
		s := openNode(t, store)
		runNode(t, s)
		cookie := signInAt(t, s, "alice")
		f := wantSession(t, s, cookie)
		ctx := enterLive(t, f)
		time.Sleep(time.Minute)
		if ctx.Err() != nil {
			t.Fatalf("cut although the store was asked: %v", context.Cause(ctx))
		}
		mustDo(t, openNode(t, store).BlockAccount(t.Context(), keyOf("alice")))
		time.Sleep(session.Stale)
		if context.Cause(ctx) != session.ErrSessionOver {
			t.Errorf("after a block: %v", context.Cause(ctx))
		}
	})
}

func TestSessionsIdleLimit(t *testing.T) {
	t.Parallel()
	const idle = 30 * time.Minute
	inBubbleOfTwo(t, func(t *testing.T, store *gatewaytest.MemStore, here, there *session.Node) {
		cookie := signInAt(t, here, "alice")
		use := func(s *session.Node) error {
			t.Helper()
			err := wantSession(t, s, cookie).Touch(t.Context(), idle)
			synctest.Wait() // what it notes, it notes in the background
			return err
		}
		var puts int
		var mu sync.Mutex
		store.SetHook(gatewaytest.Counting("CompareAndPut", &puts, &mu))
		for range 60 { // used all the time, it goes on
			time.Sleep(time.Minute)
			mustDo(t, use(here))
		}
		if puts < 10 || puts > 21 {
			t.Errorf("%d writes for 60 requests in an hour: noted every three minutes", puts)
		}
		// The other node has an old state in its cache, and asks.
		mustDo(t, use(there))
		time.Sleep(idle - 4*time.Minute)
		mustDo(t, use(here))
		time.Sleep(5 * time.Minute)
		if err := use(there); err != nil {
			t.Fatalf("used on another node five minutes ago: %v", err)
		}
		time.Sleep(idle)
		for _, s := range []*session.Node{here, there} {
			if err := use(s); !errors.Is(err, session.ErrNone) {
				t.Errorf("not used for the whole limit: %v", err)
			}
		}
	})
}

// Noting a use must not undo an end that comes at the same time.
func TestSessionsNotingAUseDoesNotRevive(t *testing.T) {
	t.Parallel()
	inBubble(t, func(t *testing.T, store *gatewaytest.MemStore, s *session.Node) {
		cookie := signInAt(t, s, "alice")
		f := wantSession(t, s, cookie)
		time.Sleep(10 * time.Minute)
		ended := false
		store.SetHook(func(op gatewaytest.MemOp) error {
			if op.Method == "CompareAndPut" && !op.Done && !ended {
				ended = true
				return f.End(context.Background())
			}
			return nil
		})
		mustDo(t, f.Touch(t.Context(), 30*time.Minute))
		synctest.Wait()
		if !ended {
			t.Fatal("the use was not noted")
		}
		wantNoSession(t, s, cookie)
		wantNoSession(t, openNode(t, store), cookie)
	})
}
