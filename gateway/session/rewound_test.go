package session_test

import (
	"context"
	"errors"
	"fmt"
	"strings"
	"testing"
	"testing/synctest"
	"time"

	"go.uber.org/zap"
	"go.uber.org/zap/zaptest/observer"

	"github.com/caddy-sso/caddy-sso/gateway/gatewaytest"
	"github.com/caddy-sso/caddy-sso/gateway/session"
	"github.com/caddy-sso/caddy-sso/gateway/store"
)

// startNode runs a node that remembers in position, until stop is called.
func startNode(t *testing.T, store store.Store, position session.MarkerMemory, log *zap.Logger) (s *session.Node, stop func()) {
	t.Helper()
	s = open(t, session.Options{Store: store, Position: position, Logger: log})
	return s, runNode(t, s)
}

// A store that goes back in time has lost logouts. So nobody is signed in any more
// at any node, whether it was up meanwhile or not, and the log says so.
func TestStoreRewound(t *testing.T) {
	t.Parallel()
	for _, restarted := range []bool{false, true} {
		t.Run(map[bool]string{false: "nodes are up", true: "nodes are down"}[restarted], func(t *testing.T) {
			t.Parallel()
			synctest.Test(t, func(t *testing.T) {
				core, logged := observer.New(zap.WarnLevel)
				st := gatewaytest.NewMemStore()
				positions := []*gatewaytest.Marker{{}, {}}
				var nodes [2]*session.Node
				var stops [2]func()
				start := func() {
					for i := range nodes {
						nodes[i], stops[i] = startNode(t, st, positions[i], zap.New(core))
					}
					time.Sleep(2 * time.Second) // they remember how far they have followed
				}
				start()
				stays, leaves := signInAt(t, nodes[0], "alice"), signInAt(t, nodes[0], "bob")
				live := enterLive(t, wantSession(t, nodes[1], stays))
				snapshot := st.Clone()
				mustDo(t, wantSession(t, nodes[0], leaves).End(t.Context()))
				if restarted {
					stops[0]()
					stops[1]()
				}
				st.Rewind(snapshot)
				if restarted {
					start()
				}
				time.Sleep(5 * time.Second) // one of them may have to look again
				synctest.Wait()
				for _, s := range nodes {
					wantNoSession(t, s, leaves)
					wantNoSession(t, s, stays)
				}
				if live.Err() == nil {
					t.Error("a stream goes on")
				}
				loud := logged.FilterLevelExact(zap.ErrorLevel).Len()
				if loud != 1 { // one node deals with it, also if they look at once
					t.Errorf("%d lines are loud", loud)
				}
				// From then on it is a store as any.
				fresh := signInAt(t, nodes[1], "bob")
				time.Sleep(5 * time.Second)
				for i := range nodes {
					stops[i]()
				}
				start()
				wantSession(t, nodes[0], fresh)
				if n := logged.FilterLevelExact(zap.ErrorLevel).Len(); n != loud {
					t.Errorf("%d lines are loud after a restart", n)
				}
			})
		})
	}
}

// If the store comes up after the process, and went back in time meanwhile, nobody is
// served by a session that was ended: not even before the node has looked.
func TestStoreRewoundBeforeTheFirstLook(t *testing.T) {
	t.Parallel()
	synctest.Test(t, func(t *testing.T) {
		st, position := gatewaytest.NewMemStore(), &gatewaytest.Marker{}
		s, stop := startNode(t, st, position, nil)
		time.Sleep(2 * time.Second)
		leaves := signInAt(t, s, "alice")
		snapshot := st.Clone()
		mustDo(t, wantSession(t, s, leaves).End(t.Context()))
		stop()
		st.SetHook(gatewaytest.Faulty())
		s, _ = startNode(t, st, position, nil)
		synctest.Wait()
		st.Rewind(snapshot)
		st.SetHook(nil)
		wantFault(t, s, leaves)
		time.Sleep(time.Second)
		wantNoSession(t, s, leaves)
		signInAt(t, s, "alice")
	})
}

// While nothing is read, since nobody knows whether the store went back in time, errors
// say why nobody does. They are no verdict, whatever the store says.
func TestStoreNotLookedAt(t *testing.T) {
	t.Parallel()
	for name, tt := range map[string]struct {
		method string // empty: all
		fault  error
	}{
		"it is down":           {"", gatewaytest.ErrFault},
		"it can't be followed": {"Watch", gatewaytest.ErrFault},
		"it lacks something":   {"Watch", fmt.Errorf("no stream: %w", store.ErrNotFound)},
	} {
		t.Run(name, func(t *testing.T) {
			t.Parallel()
			synctest.Test(t, func(t *testing.T) {
				st := gatewaytest.NewMemStore()
				st.SetHook(func(op gatewaytest.MemOp) error {
					if tt.method == "" || op.Method == tt.method {
						return tt.fault
					}
					return nil
				})
				s, _ := startNode(t, st, &gatewaytest.Marker{}, nil)
				synctest.Wait()
				_, err := s.Vault().LoadLastGood(t.Context(), "x")
				if err == nil || errors.Is(err, store.ErrNotFound) || !strings.Contains(err.Error(), "not known yet") || !strings.Contains(err.Error(), tt.fault.Error()) {
					t.Errorf("got %v, want why it is not known", err)
				}
				st.SetHook(nil)
				time.Sleep(time.Second)
				signInAt(t, s, "alice")
			})
		})
	}
}

// A lateStore begins to watch late, and tells late that it went back in time.
type lateStore struct {
	store.Store
	begins, tells time.Duration
}

func (s lateStore) Watch(ctx context.Context, since string, on func(store.Change)) error {
	time.Sleep(s.begins)
	return s.Store.Watch(ctx, since, func(change store.Change) {
		if change.Rewound {
			time.Sleep(s.tells)
		}
		on(change)
	})
}

// If two nodes find the same rewind, the first ends all sessions. The second leaves
// those that began since.
func TestStoreRewoundOnce(t *testing.T) {
	t.Parallel()
	synctest.Test(t, func(t *testing.T) {
		st := gatewaytest.NewMemStore()
		first, _ := startNode(t, lateStore{st, 0, 100 * time.Millisecond}, nil, nil)
		second, _ := startNode(t, lateStore{st, 0, 2 * time.Second}, nil, nil)
		synctest.Wait()
		before := signInAt(t, first, "alice")
		st.Rewind(st.Clone())
		time.Sleep(1500 * time.Millisecond)
		synctest.Wait()
		wantNoSession(t, first, before)
		anew := signInAt(t, first, "alice")
		time.Sleep(10 * time.Second)
		for _, s := range []*session.Node{first, second} {
			wantNoSession(t, s, before)
			wantSession(t, s, anew)
			signInAt(t, s, "bob") // it is a store as any
		}
	})
}

// If the first node dies over it, another one ends the sessions.
func TestStoreRewoundTakenOver(t *testing.T) {
	t.Parallel()
	synctest.Test(t, func(t *testing.T) {
		st := gatewaytest.NewMemStore()
		s, _ := startNode(t, st, nil, nil)
		synctest.Wait()
		before := signInAt(t, s, "alice")
		st.Rewind(st.Clone())
		mustDo(t, st.PutNew(t.Context(), session.ClaimKey, []byte("another node"), 10*time.Second))
		time.Sleep(5 * time.Second)
		if _, err := s.Find(t.Context(), before, nodeHost); err == nil {
			t.Error("a session is served before it is known to hold")
		}
		time.Sleep(7 * time.Second)
		wantNoSession(t, s, before)
		signInAt(t, s, "alice")
	})
}

// Until sessions are ended, a store that went back in time is not followed.
func TestStoreRewoundAndSick(t *testing.T) {
	t.Parallel()
	synctest.Test(t, func(t *testing.T) {
		st := gatewaytest.NewMemStore()
		s, _ := startNode(t, st, nil, nil)
		synctest.Wait()
		cookie, leaves := signInAt(t, s, "alice"), signInAt(t, s, "bob")
		live := enterLive(t, wantSession(t, s, cookie))
		snapshot := st.Clone()
		mustDo(t, wantSession(t, s, leaves).End(t.Context()))
		st.Rewind(snapshot)
		st.SetHook(gatewaytest.Faulty("CompareAndPut", "Announce"))
		time.Sleep(session.Stale + time.Second)
		synctest.Wait()
		if live.Err() == nil {
			t.Error("a stream goes on")
		}
		st.SetHook(nil)
		time.Sleep(time.Second)
		synctest.Wait()
		wantNoSession(t, s, cookie)
		wantNoSession(t, s, leaves)
	})
}

// A node remembers the marker as soon as it has looked: a store that is emptied a moment
// later is not taken for a new one.
func TestMarkerIsNotedAtTheFirstLook(t *testing.T) {
	t.Parallel()
	synctest.Test(t, func(t *testing.T) {
		st := gatewaytest.NewMemStore()
		signInAt(t, openNode(t, st), "alice")
		s, _ := startNode(t, lateStore{st, 300 * time.Millisecond, 0}, &gatewaytest.Marker{}, nil)
		time.Sleep(400 * time.Millisecond)
		synctest.Wait()
		st.Rewind(gatewaytest.NewMemStore())
		time.Sleep(5 * time.Second)
		if err := s.MayCreate(t.Context()); err == nil {
			t.Error("an emptied store is taken for a new one")
		}
	})
}
