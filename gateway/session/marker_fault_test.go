package session_test

import (
	"context"
	"errors"
	"sync"
	"testing"

	"github.com/caddy-sso/caddy-sso/gateway/gatewaytest"
	"github.com/caddy-sso/caddy-sso/gateway/refusal"
	"github.com/caddy-sso/caddy-sso/gateway/session"
	"github.com/caddy-sso/caddy-sso/gateway/store"
	"github.com/caddy-sso/caddy-sso/gateway/vault"
)

func TestMarkerFaults(t *testing.T) {
	t.Parallel()
	t.Run("memory can't be read", func(t *testing.T) {
		t.Parallel()
		memory, store := &frailMarker{load: gatewaytest.ErrFault}, gatewaytest.NewMemStore()
		s := openNodeWith(t, store, memory)
		if err := s.MayCreate(t.Context()); !errors.Is(err, gatewaytest.ErrFault) || refusal.CodeOf(err) == refusal.StoreReplaced {
			t.Errorf("got %v", err)
		}
		if keys := store.Keys(); len(keys) != 0 {
			t.Errorf("%q were made meanwhile", keys)
		}
	})
	t.Run("memory can't be written", func(t *testing.T) {
		t.Parallel()
		memory, store := &frailMarker{save: gatewaytest.ErrFault}, gatewaytest.NewMemStore()
		s := openNodeWith(t, store, memory)
		for range 2 { // not even the second time, when the marker is there
			if _, err := trySignIn(s, "alice"); !errors.Is(err, gatewaytest.ErrFault) {
				t.Errorf("signing in: %v", err)
			}
		}
		if keys := store.Keys(); len(keys) != 1 || keys[0] != nameKeyAt {
			t.Errorf("%q were made meanwhile", keys)
		}
		memory.save = nil
		signInAt(t, s, "alice")
		if memory.Remembered != markerIn(t, s) {
			t.Errorf("it remembers %q", memory.Remembered)
		}
	})
	t.Run("store fails", func(t *testing.T) {
		t.Parallel()
		memory, store := &gatewaytest.Marker{}, gatewaytest.NewMemStore()
		s := openNodeWith(t, store, memory)
		mustDo(t, s.MayCreate(t.Context()))
		store.SetHook(gatewaytest.Faulty())
		if err := s.MayCreate(t.Context()); !errors.Is(err, gatewaytest.ErrFault) || refusal.CodeOf(err) == refusal.StoreReplaced {
			t.Errorf("got %v", err)
		}
	})
	t.Run("marker is damaged", func(t *testing.T) {
		t.Parallel()
		memory, st := &gatewaytest.Marker{}, gatewaytest.NewMemStore()
		s := openNodeWith(t, st, memory)
		mustDo(t, s.MayCreate(t.Context()))
		mustDo(t, st.Put(t.Context(), st.Keys()[0], []byte("\x01damaged"), store.NoExpiry))
		for _, s := range []*session.Node{s, openNodeWith(t, st, memory), openNode(t, st)} {
			if err := s.MayCreate(t.Context()); !errors.Is(err, vault.ErrRecord) {
				t.Errorf("got %v", err)
			}
		}
	})
}

// Nodes that start at once on an empty store agree.
func TestMarkerFirstStartOfMany(t *testing.T) {
	t.Parallel()
	gatewaytest.EachStore(t, func(t *testing.T, store store.Store) {
		var memories [8]gatewaytest.Marker
		var nodes [8]*session.Node
		var wg sync.WaitGroup
		for i := range memories {
			nodes[i] = openNodeWith(t, store, &memories[i])
			wg.Go(func() {
				if err := nodes[i].MayCreate(context.Background()); err != nil {
					t.Error(err)
				}
			})
		}
		wg.Wait()
		marker := markerIn(t, nodes[0])
		signInAt(t, nodes[0], "alice")
		for i := range memories {
			mustDo(t, nodes[i].MayCreate(t.Context()))
			if m := memories[i].Remembered; len(m) != 43 || m != marker || markerIn(t, nodes[i]) != marker {
				t.Errorf("node %d remembers %q, the store has %q", i, m, markerIn(t, nodes[i]))
			}
		}
	})
}

// The first start dies at any moment: the next goes on.
func TestMarkerCrash(t *testing.T) {
	t.Parallel()
	eachMoment(t, 5, func(at int) bool {
		memory, store := &gatewaytest.Marker{}, gatewaytest.NewMemStore()
		crashAt(store, at)
		err := openNodeWith(t, store, memory).MayCreate(t.Context())
		store.SetHook(nil)
		if err == nil {
			return false
		}
		s := openNodeWith(t, store, memory)
		mustDo(t, s.MayCreate(t.Context()))
		if memory.Remembered == "" || memory.Remembered != markerIn(t, s) {
			t.Errorf("moment %d: it remembers %q, the store has %q", at, memory.Remembered, markerIn(t, s))
		}
		return true
	})
}
