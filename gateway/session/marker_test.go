package session_test

import (
	"bytes"
	"context"
	"errors"
	"strings"
	"testing"
	"testing/synctest"
	"time"

	"github.com/caddy-sso/caddy-sso/gateway/gatewaytest"
	"github.com/caddy-sso/caddy-sso/gateway/refusal"
	"github.com/caddy-sso/caddy-sso/gateway/session"
	"github.com/caddy-sso/caddy-sso/gateway/store"
	"github.com/caddy-sso/caddy-sso/gateway/vault"
)

// A frailMarker is a memory that can fail.
type frailMarker struct {
	gatewaytest.Marker
	load, save error
}

func (m *frailMarker) Load(ctx context.Context) (string, error) {
	if m.load != nil {
		return "", m.load
	}
	return m.Marker.Load(ctx)
}

func (m *frailMarker) Save(ctx context.Context, marker string) error {
	if m.save != nil {
		return m.save
	}
	return m.Marker.Save(ctx, marker)
}

func wantReplaced(t *testing.T, s *session.Node) {
	t.Helper()
	if err := s.MayCreate(context.Background()); refusal.CodeOf(err) != refusal.StoreReplaced {
		t.Fatalf("got %v, want %s", err, refusal.StoreReplaced)
	}
	for _, user := range []string{"newcomer", "alice"} {
		if _, err := trySignIn(s, user); refusal.CodeOf(err) != refusal.StoreReplaced {
			t.Fatalf("signing %s in: %v, want %s", user, err, refusal.StoreReplaced)
		}
	}
}

// empty takes everything out of a store.
func empty(t *testing.T, store *gatewaytest.MemStore) {
	t.Helper()
	mustDo(t, store.Delete(t.Context(), store.Keys()...))
	for _, index := range []string{session.IndexLogins, session.IndexAccounts, session.IndexEpochs} {
		mustDo(t, store.Remove(t.Context(), index, membersOf(t, store, index)...))
	}
}

func markerIn(t *testing.T, s *session.Node) string {
	t.Helper()
	marker, err := s.Vault().Marker(context.Background())
	if errors.Is(err, store.ErrNotFound) {
		return ""
	}
	mustDo(t, err)
	return marker
}

// A node that only follows a store, and never makes anything in it, knows it
// too: it must not take an emptied one for a first start.
func TestMarkerIsRememberedByFollowing(t *testing.T) {
	t.Parallel()
	for name, markedFirst := range map[string]bool{"a marked store": true, "a store that is marked later": false} {
		t.Run(name, func(t *testing.T) {
			t.Parallel()
			synctest.Test(t, func(t *testing.T) {
				memory, store := &gatewaytest.Marker{}, gatewaytest.NewMemStore()
				maker, follower := openNode(t, store), openNodeWith(t, store, memory)
				if markedFirst {
					mustDo(t, maker.MayCreate(t.Context()))
				}
				runNode(t, follower)
				synctest.Wait() // it is remembered at once
				if !markedFirst {
					if memory.Remembered != "" || markerIn(t, maker) != "" {
						t.Fatal("following marks the store")
					}
					mustDo(t, maker.MayCreate(t.Context()))
					time.Sleep(2 * time.Second)
					synctest.Wait()
				}
				if memory.Remembered == "" || memory.Remembered != markerIn(t, maker) {
					t.Errorf("it remembers %q", memory.Remembered)
				}
				empty(t, store)
				wantReplaced(t, follower)
				time.Sleep(2 * time.Second)
				synctest.Wait()
				wantReplaced(t, openNodeWith(t, store, memory)) // after a restart too
			})
		})
	}
}

// A node with another secret than the others must not begin a store of its own
// in the same place: it would see nobody's blocks. It says what is wrong.
func TestMarkerNodeWithAnotherSecretSaysSo(t *testing.T) {
	t.Parallel()
	gatewaytest.EachStore(t, func(t *testing.T, store store.Store) {
		cookie := signInAt(t, openNode(t, store), "alice")
		s := openNode(t, store, "b")
		wantFault(t, s, cookie)
		for what, err := range map[string]error{"making": s.MayCreate(t.Context()), "signing in": session.Fault(second(trySignIn(s, "bob")))} {
			if !errors.Is(err, vault.ErrRecord) || refusal.CodeOf(err) != refusal.StoreReplaced || !strings.Contains(err.Error(), "do all nodes have the same secret?") || !strings.Contains(err.Error(), "prefix") {
				t.Errorf("%s: %v", what, err)
			}
		}
		wantAccounts(t, openNode(t, store), "", "alice")
	})
}

func second[T any](_ T, err error) error { return err }

// Two nodes with different secrets start at once on an empty store: at every
// moment of the one the whole of the other happens. One of them wins.
func TestMarkerTwoSecretsAtOnce(t *testing.T) {
	t.Parallel()
	eachMoment(t, 10, func(at int) bool {
		store := gatewaytest.NewMemStore()
		nodes := []*session.Node{openNode(t, store, "a"), openNode(t, store, "b")}
		errs := make([]error, 2)
		came := atMoment(store, at, func() error { _, errs[1] = trySignIn(nodes[1], "alice"); return nil })
		_, errs[0] = trySignIn(nodes[0], "alice")
		if !came() {
			return false
		}
		if (errs[0] == nil) == (errs[1] == nil) {
			t.Fatalf("moment %d: %v, %v", at, errs[0], errs[1])
		}
		for _, err := range errs {
			if err != nil && (!errors.Is(err, vault.ErrRecord) || !strings.Contains(err.Error(), "do all nodes have the same secret?")) {
				t.Errorf("moment %d: %v", at, err)
			}
		}
		return true
	})
}

// The store has lost nothing but the key that names its records. No node makes
// another, not even one that sees the store for the first time: all blocks
// would be void.
func TestMarkerLostNameKey(t *testing.T) {
	t.Parallel()
	gatewaytest.EachStore(t, func(t *testing.T, st store.Store) {
		memory := &gatewaytest.Marker{}
		s := openNodeWith(t, st, memory)
		cookie := signInAt(t, s, "alice")
		mustDo(t, s.BlockAccount(t.Context(), keyOf("alice")))
		lost, err := st.Get(t.Context(), nameKeyAt)
		mustDo(t, err)
		mustDo(t, st.Delete(t.Context(), nameKeyAt))
		s.Vault().Forget()
		for _, s := range []*session.Node{s, openNodeWith(t, st, memory), openNode(t, st)} {
			wantNoSession(t, s, cookie)
			wantReplaced(t, s)
			for what, err := range map[string]error{
				"a flow":       s.Vault().PutNew(t.Context(), session.KindFlow, "x", nil, time.Minute),
				"a block":      s.BlockAccount(t.Context(), keyOf("alice")),
				"a revocation": s.RevokeAll(t.Context()),
			} {
				if err == nil {
					t.Errorf("%s was written", what)
				}
			}
		}
		mustDo(t, st.Put(t.Context(), nameKeyAt, lost[0], store.NoExpiry))
		wantBlocked(t, s, "alice")
	})
}

// A running node works with a store that is swapped behind it. It notices when
// it connects anew, and at the latest when it has to make something.
func TestMarkerSwappedStore(t *testing.T) {
	t.Parallel()
	for name, reset := range map[string]bool{"connected anew": true, "unnoticed": false} {
		t.Run(name, func(t *testing.T) {
			t.Parallel()
			memory, store := &gatewaytest.Marker{}, gatewaytest.NewMemStore()
			s := openNodeWith(t, store, memory)
			cookie := signInAt(t, s, "alice")
			empty(t, store)
			other := openNode(t, store) // has no memory
			theirs := signInAt(t, other, "bob")
			before := store.Dump()
			if reset {
				s.Vault().Forget()
			}
			wantNoSession(t, s, cookie)
			wantReplaced(t, s)
			wantReplaced(t, openNodeWith(t, store, memory)) // after a restart too
			if !bytes.Equal(store.Dump(), before) {
				t.Error("something was made in a store that is not ours")
			}
			wantSession(t, other, theirs)
			mustDo(t, memory.Save(t.Context(), ""))
			wantSession(t, s, signInAt(t, s, "alice"))
			wantSession(t, s, theirs)
			if memory.Remembered != markerIn(t, s) {
				t.Errorf("it remembers %q", memory.Remembered)
			}
			wantAccounts(t, other, "", "alice", "bob")
		})
	}
}

func TestMarkerFlushedStore(t *testing.T) {
	t.Parallel()
	memory, store := &gatewaytest.Marker{}, gatewaytest.NewMemStore()
	s := openNodeWith(t, store, memory)
	cookie := signInAt(t, s, "alice")
	was := memory.Remembered
	empty(t, store)
	wantNoSession(t, s, cookie)
	wantReplaced(t, s)
	wantReplaced(t, openNodeWith(t, store, memory)) // after a restart too
	if err := s.MayCreate(t.Context()); !strings.Contains(err.Error(), "emptied") {
		t.Errorf("it does not say what happened: %v", err)
	}
	if keys := store.Keys(); len(keys) != 0 {
		t.Errorf("%q were made in a store that is not ours", keys)
	}
	if memory.Remembered != was {
		t.Error("the memory was changed")
	}
	// Somebody confirms the new store. The node need not be restarted.
	mustDo(t, memory.Save(t.Context(), ""))
	wantSession(t, s, signInAt(t, s, "alice"))
	if memory.Remembered == "" || memory.Remembered == was || memory.Remembered != markerIn(t, s) {
		t.Errorf("it remembers %q, the store has %q", memory.Remembered, markerIn(t, s))
	}
	wantNoSession(t, s, cookie)
}
