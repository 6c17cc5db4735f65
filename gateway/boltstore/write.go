package boltstore

import (
	"context"
	"errors"
	"fmt"
	"runtime/debug"
	"time"

	bolt "go.etcd.io/bbolt"
)

const (
	// maxBatch bounds how many writes share a transaction.
	maxBatch = 256
	// sweepEvery and sweepBatch bound how long a sweep keeps writes waiting.
	// Expired values are invisible before it; it only frees their space.
	sweepEvery = time.Second
	sweepBatch = 1000
)

// A write waits for the writing goroutine. If do returns an error, it must not
// have changed anything.
type write struct {
	ctx    context.Context //nolint:containedctx // the call that waits: the write goes to another goroutine
	do     func(*bolt.Tx) ([]byte, error)
	then   func() // once it is on the disk, before anybody is answered; may be nil
	answer chan outcome
}

type outcome struct {
	value []byte
	err   error
}

// update has do called within a transaction and returns when that is on the
// disk. If ctx ends first, the write may still happen.
func (s *Store) update(ctx context.Context, do func(*bolt.Tx) ([]byte, error)) ([]byte, error) {
	return s.updateThen(ctx, nil, do)
}

// updateThen does what update does, and calls then if the write has succeeded,
// also if the caller has left.
func (s *Store) updateThen(ctx context.Context, then func(), do func(*bolt.Tx) ([]byte, error)) ([]byte, error) {
	if err := ctx.Err(); err != nil {
		return nil, err
	}
	w := write{ctx, do, then, make(chan outcome, 1)}
	select {
	case s.writes <- w:
	case <-ctx.Done():
		return nil, ctx.Err()
	case <-s.closing:
		return nil, ErrClosed
	}
	select {
	case o := <-w.answer:
		return o.value, o.err
	case <-ctx.Done():
		return nil, ctx.Err()
	}
}

// view has do called within a read-only transaction.
func (s *Store) view(ctx context.Context, do func(*bolt.Tx) error) error {
	if err := ctx.Err(); err != nil {
		return err
	}
	if s.broken.Load() {
		return errBroken
	}
	return guard(func() error { return s.db.View(do) })
}

// run is the writing goroutine. It takes all that waits into one transaction:
// logins that begin at the same time share an fsync, and a single one is not
// kept waiting for others, as it would be by bbolt's own Batch.
func (s *Store) run() {
	defer close(s.finished)
	tick := time.NewTicker(sweepEvery)
	defer tick.Stop()
	for {
		select {
		case w := <-s.writes:
			s.commit(s.gather(w))
		case <-tick.C:
			do := sweep
			if s.refuses.Load() != nil {
				do = probe
			}
			s.commit([]write{{context.Background(), do, nil, make(chan outcome, 1)}})
		case <-s.closing:
			return
		}
	}
}

// probe proves that the file can be written again.
func probe(tx *bolt.Tx) ([]byte, error) { return nil, save(tx, "health", nil, time.Second) }

// gather adds to the first write those that wait at this moment.
func (s *Store) gather(first write) []write {
	batch := []write{first}
	for len(batch) < maxBatch {
		select {
		case w := <-s.writes:
			batch = append(batch, w)
		default:
			return batch
		}
	}
	return batch
}

// commit does the writes of a batch in one transaction and answers them.
func (s *Store) commit(batch []write) {
	outcomes := make([]outcome, len(batch))
	var own error // of the only write, and none of the file's
	err := guard(func() error {
		if s.broken.Load() {
			return errBroken
		}
		return s.db.Update(func(tx *bolt.Tx) error {
			for i, w := range batch {
				if outcomes[i].err = w.ctx.Err(); outcomes[i].err == nil {
					outcomes[i].value, outcomes[i].err = w.do(tx)
				}
			}
			if len(batch) == 1 {
				own = outcomes[0].err
				return own // Nothing to write: no fsync.
			}
			return nil
		})
	})
	if errors.Is(err, errBroken) {
		s.broken.Store(true)
	}
	switch {
	case err == nil:
		s.refuses.Store(nil)
	case errors.Is(err, errBroken):
		s.refuses.Store(&err)
	case own == nil:
		refuses := fmt.Errorf("writing %s: %w: is its disk full (df -h %[1]s), or failing (dmesg)?", s.db.Path(), err)
		s.refuses.Store(&refuses)
	}
	for i, w := range batch {
		if err != nil {
			outcomes[i] = outcome{err: err}
		}
		if w.then != nil && outcomes[i].err == nil {
			w.then()
		}
		w.answer <- outcomes[i]
	}
}

// errBroken is what is left of a panic of bbolt. After one in a write bbolt may
// never let go of its locks: the store is not used again until it is reopened.
var errBroken = errors.New("the structure of the store's file is damaged: restore a backup, or move it away to begin with an empty one")

// guard turns a panic into an error. bbolt panics where the file's structure is
// broken, and a file cut short is a memory fault, because it is mapped.
func guard(do func() error) (err error) {
	defer debug.SetPanicOnFault(debug.SetPanicOnFault(true))
	defer func() {
		if r := recover(); r != nil {
			err = fmt.Errorf("%w: %v", errBroken, r)
		}
	}()
	return do()
}
