package boltstore

import (
	"bytes"
	"context"
	"time"

	"github.com/caddy-sso/caddy-sso/gateway/store"
)

const (
	// tick is within the second that store.Store promises.
	tick = 900 * time.Millisecond
	// maxQueue bounds what waits for a watcher that does not keep up. It
	// loses what waits, and is told so by a Reset.
	maxQueue = 10_000
)

type watcher struct {
	queue [][]byte
	lost  bool
	wake  chan struct{}
}

// Announce implements store.Store. It never waits for a watcher.
func (s *Store) Announce(ctx context.Context, message []byte) error {
	if err := ctx.Err(); err != nil {
		return err
	}
	if s.isClosed() {
		return ErrClosed
	}
	s.mu.Lock()
	defer s.mu.Unlock()
	for w := range s.watchers {
		if len(w.queue) == maxQueue {
			w.queue, w.lost = nil, true
		}
		w.queue = append(w.queue, bytes.Clone(message))
		select {
		case w.wake <- struct{}{}:
		default:
		}
	}
	return nil
}

// Watch implements store.Store. It returns the context's error, or ErrClosed.
func (s *Store) Watch(ctx context.Context, on func(store.Change)) error {
	w := &watcher{wake: make(chan struct{}, 1), lost: true}
	s.join(w)
	defer s.leave(w)
	ticker := time.NewTicker(tick)
	defer ticker.Stop()
	for {
		if s.isClosed() {
			return ErrClosed
		}
		if err := ctx.Err(); err != nil {
			return err
		}
		on(s.collect(w))
		select {
		case <-w.wake:
		case <-ticker.C:
		case <-ctx.Done():
		case <-s.closing:
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

func (s *Store) join(w *watcher) {
	s.mu.Lock()
	defer s.mu.Unlock()
	s.watchers[w] = true
}

func (s *Store) leave(w *watcher) {
	s.mu.Lock()
	defer s.mu.Unlock()
	delete(s.watchers, w)
}

// collect takes what waits for a watcher. Began is taken under the lock: all
// that was announced before is among the messages, or lost.
func (s *Store) collect(w *watcher) store.Change {
	s.mu.Lock()
	defer s.mu.Unlock()
	change := store.Change{Reset: w.lost, Began: time.Now(), Messages: w.queue}
	w.queue, w.lost = nil, false
	return change
}
