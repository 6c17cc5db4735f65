package gateway_test

import (
	"bytes"
	"context"
	"errors"
	"slices"
	"strings"
	"sync"
	"time"

	"github.com/caddy-sso/caddy-sso/gateway"
)

// errDown is what a heapStore says while it is down.
var errDown = errors.New("the test has taken the store down")

// A heapStore is a Store in memory that can be taken down.
type heapStore struct {
	mu      sync.Mutex
	down    bool
	failing map[string]bool // names of methods that fail
	values  map[string]heapValue
	index   map[string]map[string]bool
	watches map[chan []byte]chan struct{} // closed when the store goes down
	writes  int
	reports int // by Watch
}

type heapValue struct {
	value []byte
	end   time.Time
}

func newHeapStore() *heapStore {
	return &heapStore{
		values: map[string]heapValue{}, index: map[string]map[string]bool{},
		watches: map[chan []byte]chan struct{}{}, failing: map[string]bool{},
	}
}

// setDown takes the store down, which breaks every Watch, or up again.
func (s *heapStore) setDown(down bool) {
	s.mu.Lock()
	defer s.mu.Unlock()
	s.down = down
	if down {
		for c, broken := range s.watches {
			close(broken)
			delete(s.watches, c)
		}
	}
}

// setFailing lets one method fail, or work again.
func (s *heapStore) setFailing(method string, fails bool) {
	s.mu.Lock()
	defer s.mu.Unlock()
	s.failing[method] = fails
}

// keys returns the keys of a kind that hold something.
func (s *heapStore) keys(kind string) []string {
	s.mu.Lock()
	defer s.mu.Unlock()
	var keys []string
	for k := range s.values {
		if _, ok := s.at(k); ok && strings.HasPrefix(k, kind+":") {
			keys = append(keys, k)
		}
	}
	slices.Sort(keys)
	return keys
}

// followed counts the nodes that began to follow the announcements.
func (s *heapStore) followed() int {
	s.mu.Lock()
	defer s.mu.Unlock()
	return s.reports
}

// written counts the writes so far, announcements included.
func (s *heapStore) written() int {
	s.mu.Lock()
	defer s.mu.Unlock()
	return s.writes
}

func (s *heapStore) at(key string) ([]byte, bool) {
	v, ok := s.values[key]
	if ok && !v.end.IsZero() && !time.Now().Before(v.end) {
		return nil, false
	}
	return v.value, ok
}

// enter locks the store for a method, or says why it fails.
func (s *heapStore) enter(ctx context.Context, method string, writes bool) (leave func(), err error) {
	if err := ctx.Err(); err != nil {
		return nil, err
	}
	s.mu.Lock()
	if s.down || s.failing[method] {
		s.mu.Unlock()
		return nil, errDown
	}
	if writes {
		s.writes++
	}
	return s.mu.Unlock, nil
}

func (s *heapStore) Get(ctx context.Context, keys ...string) ([][]byte, error) {
	leave, err := s.enter(ctx, "Get", false)
	if err != nil {
		return nil, err
	}
	defer leave()
	out := make([][]byte, len(keys))
	for i, k := range keys {
		if v, ok := s.at(k); ok {
			out[i] = append([]byte{}, v...)
		}
	}
	return out, nil
}

func (s *heapStore) put(key string, value []byte, ttl time.Duration) {
	v := heapValue{value: bytes.Clone(value)}
	if ttl > 0 {
		v.end = time.Now().Add(ttl)
	}
	s.values[key] = v
}

func (s *heapStore) Put(ctx context.Context, key string, value []byte, ttl time.Duration) error {
	leave, err := s.enter(ctx, "Put", true)
	if err != nil {
		return err
	}
	defer leave()
	s.put(key, value, ttl)
	return nil
}

func (s *heapStore) PutNew(ctx context.Context, key string, value []byte, ttl time.Duration) error {
	leave, err := s.enter(ctx, "PutNew", true)
	if err != nil {
		return err
	}
	defer leave()
	if _, ok := s.at(key); ok {
		return gateway.ErrExists
	}
	s.put(key, value, ttl)
	return nil
}

func (s *heapStore) Take(ctx context.Context, key string) ([]byte, error) {
	leave, err := s.enter(ctx, "Take", true)
	if err != nil {
		return nil, err
	}
	defer leave()
	v, ok := s.at(key)
	if !ok {
		return nil, gateway.ErrNotFound
	}
	delete(s.values, key)
	return v, nil
}

func (s *heapStore) CompareAndPut(ctx context.Context, key string, old, value []byte, ttl time.Duration) error {
	leave, err := s.enter(ctx, "CompareAndPut", true)
	if err != nil {
		return err
	}
	defer leave()
	v, ok := s.at(key)
	if !ok {
		return gateway.ErrNotFound
	}
	if !bytes.Equal(v, old) {
		return gateway.ErrChanged
	}
	s.put(key, value, ttl)
	return nil
}

func (s *heapStore) Delete(ctx context.Context, keys ...string) error {
	leave, err := s.enter(ctx, "Delete", true)
	if err != nil {
		return err
	}
	defer leave()
	for _, k := range keys {
		delete(s.values, k)
	}
	return nil
}

func (s *heapStore) Add(ctx context.Context, index string, members ...string) error {
	leave, err := s.enter(ctx, "Add", true)
	if err != nil {
		return err
	}
	defer leave()
	if s.index[index] == nil {
		s.index[index] = map[string]bool{}
	}
	for _, m := range members {
		s.index[index][m] = true
	}
	return nil
}

func (s *heapStore) Remove(ctx context.Context, index string, members ...string) error {
	leave, err := s.enter(ctx, "Remove", true)
	if err != nil {
		return err
	}
	defer leave()
	for _, m := range members {
		delete(s.index[index], m)
	}
	return nil
}

func (s *heapStore) Range(ctx context.Context, index, prefix, after string, limit int) ([]string, error) {
	leave, err := s.enter(ctx, "Range", false)
	if err != nil {
		return nil, err
	}
	defer leave()
	var out []string
	for m := range s.index[index] {
		if strings.HasPrefix(m, prefix) && m > after {
			out = append(out, m)
		}
	}
	slices.Sort(out)
	return out[:min(limit, len(out))], nil
}

func (s *heapStore) Announce(ctx context.Context, message []byte) error {
	leave, err := s.enter(ctx, "Announce", true)
	if err != nil {
		return err
	}
	defer leave()
	for c := range s.watches {
		c <- bytes.Clone(message)
	}
	return nil
}

func (s *heapStore) Watch(ctx context.Context, on func(gateway.Change)) error {
	leave, err := s.enter(ctx, "Watch", false)
	if err != nil {
		return err
	}
	messages, broken := make(chan []byte, 1000), make(chan struct{})
	s.watches[messages] = broken
	leave()
	defer func() {
		s.mu.Lock()
		delete(s.watches, messages)
		s.mu.Unlock()
	}()
	on(gateway.Change{Reset: true, Began: time.Now()})
	s.mu.Lock()
	s.reports++
	s.mu.Unlock()
	tick := time.NewTicker(250 * time.Millisecond)
	defer tick.Stop()
	for {
		began := time.Now()
		select {
		case <-ctx.Done():
			return ctx.Err()
		case <-broken:
			return errDown
		case m := <-messages:
			on(gateway.Change{Began: began, Messages: [][]byte{m}})
		case <-tick.C:
			on(gateway.Change{Began: began})
		}
	}
}

func (s *heapStore) Ping(ctx context.Context) error {
	leave, err := s.enter(ctx, "Ping", false)
	if err != nil {
		return err
	}
	leave()
	return nil
}

var _ gateway.Store = (*heapStore)(nil)
