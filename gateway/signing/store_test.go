package signing_test

import (
	"bytes"
	"context"
	"errors"
	"strings"
	"sync"
	"time"

	"github.com/caddy-sso/caddy-sso/gateway/store"
)

// memStore is as much of a store as signing keys need. Any other method
// panics: keys have no use for it. The key that names the records is neither
// counted nor lost: it is the vault's.
type memStore struct {
	store.Store

	mu      sync.Mutex
	values  map[string][]byte
	down    error  // returned by every method while set
	asked   int    // calls so far
	written int    // successful writes so far
	before  func() // called before each write, without the lock
}

var errDown = errors.New("store is down")

func newMemStore() *memStore { return &memStore{values: map[string][]byte{}} }

func (s *memStore) setDown(err error) {
	s.mu.Lock()
	defer s.mu.Unlock()
	s.down = err
}

func (s *memStore) clear() {
	s.mu.Lock()
	defer s.mu.Unlock()
	for key := range s.values {
		if !isNameKey(key) {
			delete(s.values, key)
		}
	}
}

func isNameKey(key string) bool { return strings.HasPrefix(key, "names:") }

func (s *memStore) calls() (asked, written int) {
	s.mu.Lock()
	defer s.mu.Unlock()
	return s.asked, s.written
}

func (s *memStore) Get(_ context.Context, keys ...string) ([][]byte, error) {
	s.mu.Lock()
	defer s.mu.Unlock()
	if !isNameKey(keys[0]) {
		s.asked++
	}
	if s.down != nil {
		return nil, s.down
	}
	values := make([][]byte, len(keys))
	for i, key := range keys {
		values[i] = s.values[key]
	}
	return values, nil
}

func (s *memStore) Put(_ context.Context, key string, value []byte, ttl time.Duration) error {
	return s.write(key, value, ttl, func([]byte) error { return nil })
}

func (s *memStore) PutNew(_ context.Context, key string, value []byte, ttl time.Duration) error {
	return s.write(key, value, ttl, func(there []byte) error {
		if there != nil {
			return store.ErrExists
		}
		return nil
	})
}

func (s *memStore) CompareAndPut(_ context.Context, key string, old, value []byte, ttl time.Duration) error {
	return s.write(key, value, ttl, func(there []byte) error {
		switch {
		case there == nil:
			return store.ErrNotFound
		case !bytes.Equal(there, old):
			return store.ErrChanged
		}
		return nil
	})
}

func (s *memStore) write(key string, value []byte, ttl time.Duration, permit func(there []byte) error) error {
	counted := !isNameKey(key)
	if counted && s.before != nil {
		s.before()
	}
	s.mu.Lock()
	defer s.mu.Unlock()
	if counted {
		s.asked++
	}
	if s.down != nil {
		return s.down
	}
	if ttl != store.NoExpiry {
		return errors.New("signing keys must not expire")
	}
	if err := permit(s.values[key]); err != nil {
		return err
	}
	s.values[key] = value
	if counted {
		s.written++
	}
	return nil
}
