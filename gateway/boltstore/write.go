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
	// maxBatch is the number of writes that may share a transaction.
	maxBatch = 256
	// sweepEvery and sweepBatch bound how long a sweep delays writes. Expired values
	// are invisible before it; it only frees their space.
	sweepEvery = time.Second
	sweepBatch = 1000
)

// A write waits for the writing goroutine. If do returns an error, it must not have
// changed anything.
type write struct {
	ctx    context.Context //nolint:containedctx // of the waiting call: the write goes to another goroutine
	do     func(*bolt.Tx) error
	then   func() // called once the write is on the disk, before update returns
	answer chan error
}

// update calls do within a transaction and returns when that is on the disk. If ctx
// ends first, the write may still happen.
func (s *Store) update(ctx context.Context, do func(*bolt.Tx) error) error {
	return s.updateThen(ctx, func() {}, do)
}

// updateThen does what update does, and calls then if the write succeeds, even if ctx
// has ended.
func (s *Store) updateThen(ctx context.Context, then func(), do func(*bolt.Tx) error) error {
	if err := ctx.Err(); err != nil {
		return err
	}
	w := write{ctx, do, then, make(chan error, 1)}
	select {
	case s.writes <- w:
	case <-ctx.Done():
		return ctx.Err()
	case <-s.closing:
		return ErrClosed
	}
	select {
	case err := <-w.answer:
		return err
	case <-ctx.Done():
		return ctx.Err()
	}
}

// read calls do within a read-only transaction.
func (s *Store) read(ctx context.Context, do func(*bolt.Tx) error) error {
	if err := ctx.Err(); err != nil {
		return err
	}
	if s.broken.Load() {
		return errBroken
	}
	return guard(func() error { return s.db.View(do) })
}

// run is the writing goroutine. It puts all waiting writes into one transaction, so
// that logins that begin at the same time share an fsync. A single write does not
// wait for others, as it would in bbolt's own Batch.
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
			s.commit([]write{{context.Background(), do, func() {}, make(chan error, 1)}})
		case <-s.closing:
			return
		}
	}
}

// probe tests whether the file can be written again.
func probe(tx *bolt.Tx) error { return save(tx, "health", nil, time.Second) }

// gather returns the first write and all that wait now.
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

// commit does the writes of a batch in one transaction and reports their results.
func (s *Store) commit(batch []write) {
	errs := make([]error, len(batch))
	var own error // error of the only write's do, not of the file
	err := guard(func() error {
		if s.broken.Load() {
			return errBroken
		}
		return s.db.Update(func(tx *bolt.Tx) error {
			for i, w := range batch {
				if errs[i] = w.ctx.Err(); errs[i] == nil {
					errs[i] = w.do(tx)
				}
			}
			if len(batch) == 1 {
				own = errs[0]
				return own // nothing to write: no fsync
			}
			return nil
		})
	})
	if err == nil || own == nil {
		s.remember(err)
	}
	for i, w := range batch {
		if err != nil {
			errs[i] = err
		}
		if errs[i] == nil {
			w.then()
		}
		w.answer <- errs[i]
	}
}

// remember keeps what the file did with a transaction: why it refuses writes, if it does.
func (s *Store) remember(err error) {
	switch {
	case err == nil:
		s.refuses.Store(nil)
	case errors.Is(err, errBroken):
		s.broken.Store(true)
		s.refuses.Store(&err)
	default:
		refuses := fmt.Errorf("writing %s: %w: is its disk full (df -h %[1]s), or failing (dmesg)?", s.db.Path(), err)
		s.refuses.Store(&refuses)
	}
}

// errBroken replaces a panic of bbolt. After a panic during a write, bbolt may hold
// its locks for ever: the store is unusable until it is reopened.
var errBroken = errors.New("the structure of the store's file is damaged: restore a backup, or move it away to begin with an empty one")

// guard turns a panic into an error. bbolt panics if the file's structure is broken.
// A truncated file causes a memory fault, because the file is mapped.
func guard(do func() error) (err error) {
	defer debug.SetPanicOnFault(debug.SetPanicOnFault(true))
	defer func() {
		if r := recover(); r != nil {
			err = fmt.Errorf("%w: %v", errBroken, r)
		}
	}()
	return do()
}
