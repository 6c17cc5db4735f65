package gateway_test

import (
	"context"
	"errors"
	"slices"
	"strings"
	"sync/atomic"

	"github.com/caddy-sso/caddy-sso/gateway/gatewaytest"
	"github.com/caddy-sso/caddy-sso/gateway/store"
)

// errDown is what a heapStore says while it is down.
var errDown = errors.New("the test has taken the store down")

// A heapStore is a store in memory that can be taken down and counts.
type heapStore struct {
	*gatewaytest.MemStore
	down     atomic.Bool
	writes   atomic.Int64
	followed atomic.Int64 // nodes that began to follow the announcements
}

func newHeapStore() *heapStore {
	s := &heapStore{MemStore: gatewaytest.NewMemStore()}
	s.SetHook(func(op gatewaytest.MemOp) error {
		if s.down.Load() {
			return errDown
		}
		if op.Writes() && op.Done {
			s.writes.Add(1)
		}
		return nil
	})
	return s
}

// Watch implements store.Store.
func (s *heapStore) Watch(ctx context.Context, since string, on func(store.Change)) error {
	return s.MemStore.Watch(ctx, since, func(c store.Change) {
		on(c)
		if c.Reset {
			s.followed.Add(1)
		}
	})
}

// keys returns the keys of a kind that hold something.
func (s *heapStore) keys(kind string) []string {
	return slices.DeleteFunc(s.Keys(), func(key string) bool { return !strings.HasPrefix(key, kind+":") })
}

// written counts the writes so far, announcements included.
func (s *heapStore) written() int { return int(s.writes.Load()) }
