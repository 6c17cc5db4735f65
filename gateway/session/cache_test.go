package session_test

import (
	"context"
	"strings"
	"sync"
	"testing"
	"testing/synctest"
	"time"

	"github.com/caddy-sso/caddy-sso/gateway/gatewaytest"
	"github.com/caddy-sso/caddy-sso/gateway/session"
)

func TestSessionsServeFromTheCacheForFiveSecondsAtMost(t *testing.T) {
	t.Parallel()
	inBubble(t, func(t *testing.T, store *gatewaytest.MemStore, s *session.Node) {
		cookie := signInAt(t, s, "alice")
		wantSession(t, s, cookie)
		var gets int
		var mu sync.Mutex
		store.SetHook(gatewaytest.Counting("Get", &gets, &mu))
		for range 20 {
			time.Sleep(time.Second)
			wantSession(t, s, cookie)
		}
		if gets != 0 {
			t.Errorf("%d reads for a cached session that is confirmed", gets)
		}
		// The store goes. The last confirmed read began within the last quarter
		// of a second.
		synctest.Wait()
		gone := time.Now()
		store.SetHook(gatewaytest.Faulty())
		time.Sleep(session.Stale - 300*time.Millisecond)
		wantSession(t, s, cookie)
		time.Sleep(time.Until(gone.Add(session.Stale)))
		wantFault(t, s, cookie)
		wantFault(t, s, cookie)
		// It comes back.
		store.SetHook(nil)
		time.Sleep(time.Second)
		wantSession(t, s, cookie)
	})
}

// Somebody deletes a login and dies before he announces it.
func TestSessionsAreReloadedAfterAMinute(t *testing.T) {
	t.Parallel()
	for name, live := range map[string]bool{"with requests": false, "with a live request": true} {
		t.Run(name, func(t *testing.T) {
			t.Parallel()
			inBubble(t, func(t *testing.T, store *gatewaytest.MemStore, s *session.Node) {
				cookie := signInAt(t, s, "alice")
				f := wantSession(t, s, cookie)
				mustDo(t, store.Delete(t.Context(), f.ID()))
				if live {
					ctx := enterLive(t, f)
					time.Sleep(session.ReloadAfter)
					if ctx.Err() != nil {
						t.Error("cut before it was looked at")
					}
					time.Sleep(2 * time.Second)
					if context.Cause(ctx) != session.ErrSessionOver {
						t.Errorf("the live request: %v", context.Cause(ctx))
					}
					return
				}
				time.Sleep(session.ReloadAfter)
				wantSession(t, s, cookie)
				time.Sleep(time.Nanosecond)
				wantSession(t, s, cookie) // and looked at in the background
				synctest.Wait()
				wantNoSession(t, s, cookie)
			})
		})
	}
}

func TestSessionsResetEmptiesTheCache(t *testing.T) {
	t.Parallel()
	inBubble(t, func(t *testing.T, store *gatewaytest.MemStore, s *session.Node) {
		cookie := signInAt(t, s, "alice")
		f := wantSession(t, s, cookie)
		// The node loses the store, and with it an announcement.
		store.SetHook(gatewaytest.Faulty("Watch"))
		time.Sleep(300 * time.Millisecond)
		mustDo(t, openNode(t, store).RevokeLogin(t.Context(), f.ID()))
		wantSession(t, s, cookie) // within the five seconds
		store.SetHook(nil)
		time.Sleep(time.Second)
		wantNoSession(t, s, cookie)
	})
}

// A change is not lost, at whichever moment of a load it comes.
func TestSessionsChangeDuringALoad(t *testing.T) {
	t.Parallel()
	eachMoment(t, 4, func(at int) (reached bool) {
		synctest.Test(t, func(t *testing.T) {
			store := gatewaytest.NewMemStore()
			here, there := openNode(t, store), openNode(t, store)
			runNode(t, here)
			synctest.Wait()
			cookie := signInAt(t, here, "alice")
			n := 0
			store.SetHook(func(op gatewaytest.MemOp) error {
				if op.Method != "Get" || reached {
					return nil
				}
				if n++; n == at {
					reached = true
					if err := there.RevokeAll(context.Background()); err != nil {
						t.Error(err)
					}
					synctest.Wait() // until the node has been told
				}
				return nil
			})
			_, _ = here.Find(t.Context(), cookie, nodeHost)
			store.SetHook(nil)
			if reached {
				wantNoSession(t, here, cookie)
			}
		})
		return reached
	})
}

func TestSessionsCacheDoesNotHoldTheRequest(t *testing.T) {
	t.Parallel()
	s := openNode(t, gatewaytest.NewMemStore())
	cookie := signInAt(t, s, "alice")
	head := strings.Repeat("x", 1<<20) + nodeHost
	if _, err := s.Find(t.Context(), cookie, head[len(head)-len(nodeHost):]); err != nil {
		t.Fatal(err)
	}
	if s.CacheHolds(head) {
		t.Error("the cache holds on to the head of a request")
	}
}
