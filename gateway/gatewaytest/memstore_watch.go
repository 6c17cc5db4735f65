package gatewaytest

import (
	"bytes"
	"context"
	"errors"
	"strconv"
	"time"

	"github.com/caddy-sso/caddy-sso/gateway/store"
)

type memWatch struct {
	queue [][]byte
	wake  chan struct{}
}

// Announce implements store.Store. It makes the writes first, as separate methods,
// like a store with parts in different places. So a test can put a fault between any
// two.
func (s *MemStore) Announce(ctx context.Context, message []byte, writes ...store.Write) error {
	for _, w := range writes {
		var err error
		if len(w.Value) > 0 {
			err = s.CompareAndPut(ctx, w.Key, w.Old, w.Value, w.TTL)
		} else {
			err = s.Delete(ctx, w.Key)
		}
		if err != nil {
			return err
		}
	}
	return s.do(ctx, "Announce", string(message), func() error {
		s.sent = append(s.sent, bytes.Clone(message))
		for w := range s.watches {
			w.queue = append(w.queue, bytes.Clone(message))
			select {
			case w.wake <- struct{}{}:
			default:
			}
		}
		return nil
	})
}

// errRewound ends a Watch.
var errRewound = errors.New("the test has set the store back")

// lookBack reports that the store went back in time after since, and returns the
// present past.
func (s *MemStore) lookBack(ctx context.Context, since string, on func(store.Change)) (past int, err error) {
	dealtWith := false
	err = s.do(ctx, "Watch", "", func() error {
		past = s.past
		dealtWith = since == "" || since == strconv.Itoa(past) || s.dealt == past
		return nil
	})
	if err != nil || dealtWith {
		return past, err
	}
	on(store.Change{Rewound: true})
	return past, s.do(ctx, "Watch", "", func() error { s.dealt = past; return nil })
}

// Watch implements store.Store.
func (s *MemStore) Watch(ctx context.Context, since string, on func(store.Change)) error {
	past, err := s.lookBack(ctx, since, on)
	if err != nil {
		return err
	}
	w := &memWatch{wake: make(chan struct{}, 1)}
	defer func() {
		s.mu.Lock()
		defer s.mu.Unlock()
		delete(s.watches, w)
	}()
	tick := time.NewTicker(250 * time.Millisecond)
	defer tick.Stop()
	for reset := true; ; reset = false {
		change := store.Change{Reset: reset, Position: strconv.Itoa(past)}
		err := s.do(ctx, "Watch", "", func() error {
			if s.past != past {
				return errRewound
			}
			s.watches[w] = true
			change.Refuses = s.refuses
			change.Began, change.Messages, w.queue = time.Now(), w.queue, nil
			return nil
		})
		if err != nil {
			return err
		}
		on(change)
		select {
		case <-w.wake:
		case <-tick.C:
		case <-ctx.Done():
		}
	}
}
