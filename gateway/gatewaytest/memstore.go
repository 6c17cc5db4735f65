package gatewaytest

import (
	"bytes"
	"context"
	"fmt"
	"maps"
	"slices"
	"strings"
	"sync"
	"time"

	"github.com/caddy-sso/caddy-sso/gateway/store"
)

// A MemStore is a store.Store in memory, for tests that inspect a store or make it
// fail. It runs in a synctest bubble.
type MemStore struct {
	mu      sync.Mutex
	values  map[string]memValue
	indexes map[string]map[string]bool
	watches map[*memWatch]bool
	sent    [][]byte
	past    int // incremented when the store goes back in time
	dealt   int // the last past that was handled
	hook    func(MemOp) error
	refuses error

	counters store.Counters
}

type memValue struct {
	value []byte
	end   time.Time
}

// A MemOp is one call of a method of a MemStore, for its hook.
type MemOp struct {
	// Method is the method's name, Key its first key, or its index.
	Method, Key string
	// Done is set if the method has done its work and is about to return.
	Done bool
}

// Writes reports whether the method changes the store or announces a change.
func (op MemOp) Writes() bool {
	switch op.Method {
	case "Get", "Range", "Watch", "Ping":
		return false
	}
	return true
}

// NewMemStore returns an empty store.
func NewMemStore() *MemStore {
	return &MemStore{values: map[string]memValue{}, indexes: map[string]map[string]bool{}, watches: map[*memWatch]bool{}}
}

// SetHook makes every method call hook at its beginning and end, outside of the
// store's lock: hook may use the store. Its error becomes the method's. At the
// beginning it also prevents the work. A Watch calls hook at least four times a
// second and ends at its first error.
func (s *MemStore) SetHook(hook func(MemOp) error) {
	s.mu.Lock()
	defer s.mu.Unlock()
	s.hook = hook
}

// Refuse makes every Watch report that the store accepts no writes; nil ends that.
func (s *MemStore) Refuse(why error) {
	s.mu.Lock()
	defer s.mu.Unlock()
	s.refuses = why
}

// Keys returns the keys with a value, in order.
func (s *MemStore) Keys() []string {
	s.mu.Lock()
	defer s.mu.Unlock()
	var keys []string
	for key := range s.values {
		if _, ok := s.load(key); ok {
			keys = append(keys, key)
		}
	}
	slices.Sort(keys)
	return keys
}

// Dump returns all that a reader of the store can see: keys, values, indexes,
// members, and every message so far.
func (s *MemStore) Dump() []byte {
	s.mu.Lock()
	defer s.mu.Unlock()
	var b bytes.Buffer
	for _, key := range slices.Sorted(maps.Keys(s.values)) {
		fmt.Fprintf(&b, "%s\n%s\n", key, s.values[key].value)
	}
	for _, index := range slices.Sorted(maps.Keys(s.indexes)) {
		fmt.Fprintln(&b, index)
		for _, m := range slices.Sorted(maps.Keys(s.indexes[index])) {
			fmt.Fprintln(&b, m)
		}
	}
	for _, m := range s.sent {
		fmt.Fprintf(&b, "%s\n", m)
	}
	return b.Bytes()
}

// Clone returns a store with the same values and indexes: a backup, or the store
// after a crash.
func (s *MemStore) Clone() *MemStore {
	s.mu.Lock()
	defer s.mu.Unlock()
	c := NewMemStore()
	for key, v := range s.values {
		c.values[key] = memValue{bytes.Clone(v.value), v.end}
	}
	for index, members := range s.indexes {
		c.indexes[index] = map[string]bool{}
		for m := range members {
			c.indexes[index][m] = true
		}
	}
	return c
}

// Rewind sets the store back to a clone of it: a restart from a snapshot. Every Watch
// ends.
func (s *MemStore) Rewind(to *MemStore) {
	c := to.Clone()
	s.mu.Lock()
	defer s.mu.Unlock()
	s.values, s.indexes = c.values, c.indexes
	s.past++
}

// do calls work, with the hook before and after.
func (s *MemStore) do(ctx context.Context, method, key string, work func() error) error {
	if err := ctx.Err(); err != nil {
		return err
	}
	s.mu.Lock()
	hook := s.hook
	s.mu.Unlock()
	if hook != nil {
		if err := hook(MemOp{method, key, false}); err != nil {
			return err
		}
	}
	s.mu.Lock()
	err := work()
	s.mu.Unlock()
	if hook != nil {
		if fault := hook(MemOp{method, key, true}); fault != nil {
			return fault
		}
	}
	return err
}

// load returns the unexpired value under key. The store is locked.
func (s *MemStore) load(key string) ([]byte, bool) {
	v, ok := s.values[key]
	if ok && !v.end.IsZero() && !time.Now().Before(v.end) {
		delete(s.values, key)
		return nil, false
	}
	return v.value, ok
}

// save stores a value under key. The store is locked.
func (s *MemStore) save(key string, value []byte, ttl time.Duration) error {
	if ttl < 0 {
		return fmt.Errorf("storing a value: the ttl is negative (%v)", ttl)
	}
	v := memValue{value: append([]byte{}, value...)}
	if ttl != store.NoExpiry {
		v.end = time.Now().Add((ttl + time.Millisecond - 1).Truncate(time.Millisecond))
	}
	s.values[key] = v
	return nil
}

// Get implements store.Store.
func (s *MemStore) Get(ctx context.Context, keys ...string) (values [][]byte, err error) {
	err = s.do(ctx, "Get", strings.Join(keys[:min(1, len(keys))], ""), func() error {
		values = make([][]byte, len(keys))
		for i, key := range keys {
			if v, ok := s.load(key); ok {
				values[i] = append([]byte{}, v...)
			}
		}
		return nil
	})
	if err != nil {
		return nil, err
	}
	return values, nil
}

// Put implements store.Store.
func (s *MemStore) Put(ctx context.Context, key string, value []byte, ttl time.Duration) error {
	return s.do(ctx, "Put", key, func() error { return s.save(key, value, ttl) })
}

// PutNew implements store.Store.
func (s *MemStore) PutNew(ctx context.Context, key string, value []byte, ttl time.Duration) error {
	return s.do(ctx, "PutNew", key, func() error {
		if _, ok := s.load(key); ok {
			return store.ErrExists
		}
		return s.save(key, value, ttl)
	})
}

// Take implements store.Store.
func (s *MemStore) Take(ctx context.Context, key string) (value []byte, err error) {
	err = s.do(ctx, "Take", key, func() error {
		var ok bool
		if value, ok = s.load(key); !ok {
			return store.ErrNotFound
		}
		delete(s.values, key)
		return nil
	})
	if err != nil {
		return nil, err
	}
	return value, nil
}

// CompareAndPut implements store.Store.
func (s *MemStore) CompareAndPut(ctx context.Context, key string, old, value []byte, ttl time.Duration) error {
	return s.do(ctx, "CompareAndPut", key, func() error {
		found, ok := s.load(key)
		switch {
		case !ok:
			return store.ErrNotFound
		case !bytes.Equal(found, old):
			return store.ErrChanged
		}
		return s.save(key, value, ttl)
	})
}

// Delete implements store.Store.
func (s *MemStore) Delete(ctx context.Context, keys ...string) error {
	return s.do(ctx, "Delete", strings.Join(keys[:min(1, len(keys))], ""), func() error {
		for _, key := range keys {
			delete(s.values, key)
		}
		return nil
	})
}

// Count implements store.Store.
func (s *MemStore) Count(ctx context.Context, key string, delta int, ttl time.Duration) (n int, left time.Duration, err error) {
	err = s.do(ctx, "Count", key, func() error {
		n, left = s.counters.Count(key, delta, ttl)
		return nil
	})
	return n, left, err
}

// Add implements store.Store.
func (s *MemStore) Add(ctx context.Context, index string, members ...string) error {
	return s.do(ctx, "Add", index, func() error {
		if s.indexes[index] == nil {
			s.indexes[index] = map[string]bool{}
		}
		for _, m := range members {
			s.indexes[index][m] = true
		}
		return nil
	})
}

// Remove implements store.Store.
func (s *MemStore) Remove(ctx context.Context, index string, members ...string) error {
	return s.do(ctx, "Remove", index, func() error {
		for _, m := range members {
			delete(s.indexes[index], m)
		}
		return nil
	})
}

// Range implements store.Store.
func (s *MemStore) Range(ctx context.Context, index, prefix, after string, limit int) (members []string, err error) {
	err = s.do(ctx, "Range", index, func() error {
		for m := range s.indexes[index] {
			if strings.HasPrefix(m, prefix) && (after == "" || m > after) {
				members = append(members, m)
			}
		}
		slices.Sort(members)
		members = members[:max(0, min(limit, len(members)))]
		return nil
	})
	if err != nil {
		return nil, err
	}
	return members, nil
}

// Ping implements store.Store.
func (s *MemStore) Ping(ctx context.Context) error {
	return s.do(ctx, "Ping", "", func() error { return nil })
}

var _ store.Store = (*MemStore)(nil)
