package session_test

import (
	"context"
	"testing"
	"testing/synctest"
	"time"

	"github.com/caddy-sso/caddy-sso/gateway/gatewaytest"
	"github.com/caddy-sso/caddy-sso/gateway/session"
	"github.com/caddy-sso/caddy-sso/gateway/store"
)

// logout ends alice's login as she does herself.
func logout(cookie string) func(context.Context, *session.Node) error {
	return func(ctx context.Context, s *session.Node) error {
		f, err := s.Find(ctx, cookie, nodeHost)
		if err != nil {
			return err
		}
		return f.End(ctx)
	}
}

// The store does what it is asked for, and its answer is lost. The
// caller gets a fault, but the login is over, and no node may go on serving it.
func TestRevokeWhenTheAnswerIsLost(t *testing.T) {
	t.Parallel()
	ways := map[string]func(context.Context, *session.Node) error{"logout": nil}
	for _, r := range revocations {
		if !r.alice {
			ways[r.name] = r.do
		}
	}
	for name, do := range ways {
		t.Run(name, func(t *testing.T) {
			t.Parallel()
			inBubbleOfTwo(t, func(t *testing.T, store *gatewaytest.MemStore, here, there *session.Node) {
				cookie := signInAt(t, here, "alice")
				wantSession(t, here, cookie)
				ctx := enterLive(t, wantSession(t, there, cookie))
				if do == nil {
					do = logout(cookie)
				}
				lost := false
				store.SetHook(func(op gatewaytest.MemOp) error {
					if op.Done && (op.Method == "Delete" || op.Method == "CompareAndPut") {
						lost = true
						return gatewaytest.ErrFault
					}
					return nil
				})
				if err := do(t.Context(), here); err == nil || !lost {
					t.Fatalf("got %v, want a fault", err)
				}
				store.SetHook(nil)
				time.Sleep(time.Second)
				synctest.Wait()
				wantNoSession(t, openNode(t, store), cookie)
				wantNoSession(t, here, cookie)
				wantNoSession(t, there, cookie)
				if ctx.Err() == nil {
					t.Error("a live request goes on")
				}
			})
		})
	}
}

// A user who signs out and closes the tab at once has signed out.
func TestRevokeOutlivesWhoAsked(t *testing.T) {
	t.Parallel()
	gatewaytest.EachStore(t, func(t *testing.T, store store.Store) {
		s := openNode(t, store)
		runNode(t, s)
		cookie := signInAt(t, s, "alice")
		f := wantSession(t, s, cookie)
		gone, cancel := context.WithCancel(t.Context())
		cancel()
		mustDo(t, f.End(gone))
		wantNoSession(t, s, cookie)
		wantNoSession(t, openNode(t, store), cookie)
	})
}
