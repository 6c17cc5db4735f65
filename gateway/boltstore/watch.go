package boltstore

import (
	"bytes"
	"context"
	"fmt"
	"slices"
	"strconv"
	"time"

	bolt "go.etcd.io/bbolt"

	"github.com/caddy-sso/caddy-sso/gateway/store"
)

const (
	// tick is less than the second that store.Store promises.
	tick = 900 * time.Millisecond
	// maxQueue bounds the messages that wait for a slow watcher. Beyond it they are
	// dropped, and a Reset tells the watcher.
	maxQueue = 10_000
)

type watcher struct {
	queue [][]byte
	lost  bool
	wake  chan struct{}
}

// Announce implements store.Store. It never waits for a watcher. If ctx ends during
// the writes, the message is still sent after them.
func (s *Store) Announce(ctx context.Context, message []byte, writes ...store.Write) error {
	if err := ctx.Err(); err != nil {
		return err
	}
	if s.isClosed() {
		return ErrClosed
	}
	message, writes = bytes.Clone(message), slices.Clone(writes)
	if len(writes) == 0 {
		s.send(message)
		return nil
	}
	for i, w := range writes {
		if w.TTL < 0 || len(w.Key) > maxKey {
			return fmt.Errorf("announcing a change: the ttl is negative (%v) or the key too long (%d bytes)", w.TTL, len(w.Key))
		}
		writes[i].Old, writes[i].Value = bytes.Clone(w.Old), bytes.Clone(w.Value) // The write may outlive the call.
	}
	return s.updateThen(ctx, func() { s.send(message) }, func(tx *bolt.Tx) error { return change(tx, writes) })
}

func change(tx *bolt.Tx, writes []store.Write) error {
	for _, w := range writes {
		if len(w.Value) > 0 {
			if err := holds(tx, w.Key, w.Old); err != nil {
				return err
			}
		}
	}
	for _, w := range writes {
		err := remove(tx, w.Key)
		if err == nil && len(w.Value) > 0 {
			err = save(tx, w.Key, w.Value, w.TTL)
		}
		if err != nil {
			return err
		}
	}
	return nil
}

func (s *Store) send(message []byte) {
	s.mu.Lock()
	defer s.mu.Unlock()
	for w := range s.watchers {
		if len(w.queue) == maxQueue {
			w.queue, w.lost = nil, true
		}
		w.queue = append(w.queue, message)
		select {
		case w.wake <- struct{}{}:
		default:
		}
	}
}

// Watch implements store.Store. It returns the context's error, or ErrClosed. An open
// file can't go back in time, but an older copy may have replaced it before: a
// Position is the number of the file's last transaction.
func (s *Store) Watch(ctx context.Context, since string, on func(store.Change)) error {
	if at, err := strconv.ParseInt(since, 10, 64); err == nil && at > s.reached.Load() {
		on(store.Change{Rewound: true})
		if err := ctx.Err(); err != nil {
			return err
		}
		s.reached.Store(at)
	}
	w := &watcher{wake: make(chan struct{}, 1), lost: true}
	defer s.join(w)()
	ticker := time.NewTicker(tick)
	defer ticker.Stop()
	for {
		if s.isClosed() {
			return ErrClosed
		}
		if err := ctx.Err(); err != nil {
			return err
		}
		change := s.collect(w)
		if change.Reset || len(change.Messages) > 0 { // losing other writes does no harm
			change.Position = s.position(ctx)
		}
		on(change)
		select {
		case <-w.wake:
		case <-ticker.C:
		case <-ctx.Done():
		case <-s.closing:
		}
	}
}

// position returns the number of the last transaction, or "" if the file can't be read.
func (s *Store) position(ctx context.Context) string {
	var last int64
	err := s.read(ctx, func(tx *bolt.Tx) error { last = int64(tx.ID()); return nil })
	if err != nil {
		return ""
	}
	for {
		known := s.reached.Load()
		if known >= last || s.reached.CompareAndSwap(known, last) {
			return strconv.FormatInt(last, 10)
		}
	}
}

func (s *Store) isClosed() bool {
	select {
	case <-s.closing:
		return true
	default:
		return false
	}
}

func (s *Store) join(w *watcher) (leave func()) {
	s.mu.Lock()
	defer s.mu.Unlock()
	s.watchers[w] = true
	return func() {
		s.mu.Lock()
		defer s.mu.Unlock()
		delete(s.watchers, w)
	}
}

// collect returns the waiting messages of a watcher. Began is set under the lock:
// everything announced before it is among the messages, or lost.
func (s *Store) collect(w *watcher) store.Change {
	s.mu.Lock()
	defer s.mu.Unlock()
	change := store.Change{Reset: w.lost, Began: time.Now(), Messages: w.queue}
	w.queue, w.lost = nil, false
	if refuses := s.refuses.Load(); refuses != nil {
		change.Refuses = *refuses
	}
	return change
}
