package signing_test

import (
	"context"
	"errors"
	"strings"
	"sync"
	"testing"
	"time"

	"github.com/caddy-sso/caddy-sso/gateway/gatewaytest"
	"github.com/caddy-sso/caddy-sso/gateway/store"
)

// A memStore counts what keys do in it. The key that names the records does not count: it
// is the vault's.
type memStore struct {
	*gatewaytest.MemStore
	before func() // called before each write

	mu             sync.Mutex
	asked, written int // calls, and successful writes
}

var errDown = errors.New("store is down")

func newMemStore() *memStore { return &memStore{MemStore: gatewaytest.NewMemStore()} }

func (s *memStore) setDown(err error) {
	s.SetHook(func(gatewaytest.MemOp) error { return err })
}

// clear loses the records of the keys.
func (s *memStore) clear(tb testing.TB) {
	tb.Helper()
	for _, key := range s.Keys() {
		if !isNameKey(key) {
			if err := s.Delete(tb.Context(), key); err != nil {
				tb.Fatal(err)
			}
		}
	}
}

func isNameKey(key string) bool { return strings.HasPrefix(key, "names:") }

func (s *memStore) calls() (asked, written int) {
	s.mu.Lock()
	defer s.mu.Unlock()
	return s.asked, s.written
}

func (s *memStore) count(key string, written bool) {
	s.mu.Lock()
	defer s.mu.Unlock()
	if !isNameKey(key) {
		s.asked++
		if written {
			s.written++
		}
	}
}

func (s *memStore) Get(ctx context.Context, keys ...string) ([][]byte, error) {
	s.count(keys[0], false)
	return s.MemStore.Get(ctx, keys...)
}

func (s *memStore) Put(ctx context.Context, key string, value []byte, ttl time.Duration) error {
	return s.write(key, ttl, func() error { return s.MemStore.Put(ctx, key, value, ttl) })
}

func (s *memStore) PutNew(ctx context.Context, key string, value []byte, ttl time.Duration) error {
	return s.write(key, ttl, func() error { return s.MemStore.PutNew(ctx, key, value, ttl) })
}

func (s *memStore) CompareAndPut(ctx context.Context, key string, old, value []byte, ttl time.Duration) error {
	return s.write(key, ttl, func() error { return s.MemStore.CompareAndPut(ctx, key, old, value, ttl) })
}

func (s *memStore) write(key string, ttl time.Duration, put func() error) error {
	if s.before != nil && !isNameKey(key) {
		s.before()
	}
	if ttl != store.NoExpiry {
		return errors.New("signing keys must not expire")
	}
	err := put()
	s.count(key, err == nil)
	return err
}
