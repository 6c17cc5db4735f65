package vault

import (
	"bytes"
	"context"
	"errors"
	"fmt"
	"sync"
	"sync/atomic"
	"time"

	"github.com/caddy-sso/caddy-sso/gateway/store"
)

// How often a Shared record is read.
const (
	sharedEvery   = time.Minute
	sharedRetry   = 2 * time.Second // until it was loaded once
	sharedTimeout = 10 * time.Second

	// sharedTries bounds how often one load reads what it wrote: a record that
	// was put back may be due to be replaced at once.
	sharedTries = 3
)

// KindKeys holds keys, each of them a Shared.
const KindKeys Kind = "keys"

// A Shared is one sealed record without an end that all nodes use, such as
// signing keys. Whichever node comes first makes it, or replaces it when that
// is due; the others follow within a minute, in the background.
//
// Once loaded, the value stays in use while the store is down, and is put back if the
// store has lost it. A record that does not open, or that Read refuses, is a
// fault: it is never overwritten. A Shared is safe for concurrent use.
type Shared[T any] struct {
	vault *Vault
	opts  SharedOptions[T]

	loading sync.Mutex // one load at a time
	loaded  atomic.Pointer[sharedValue[T]]
	fault   atomic.Pointer[error] // why nothing is loaded
}

type sharedValue[T any] struct {
	raw   []byte // as stored
	value *T
}

// SharedOptions say what a Shared holds. Kind to Class are required.
type SharedOptions[T any] struct {
	Kind Kind
	Name string
	// What is the record's name in errors.
	What string
	// Read reads a record. Its errors must hold none of it.
	Read func(record []byte) (*T, error)
	// Next returns the record that follows current, or nil while none is due.
	// If current is nil, it returns the first.
	Next func(current *T) (record []byte, err error)
	// MayCreate is asked before anything is written, and refuses where the
	// store is not the one that this node knows.
	MayCreate func(context.Context) error
	// Class groups errors. Run calls Report once when the class changes, and once
	// with nil when loading works again.
	Report func(err error)
	Class  func(err error) string

	// OnDemand has the first record made by Need alone.
	OnDemand bool
	// Wrote, if set, is called after this node has made the record (then
	// current is nil), or has replaced current.
	Wrote func(current *T)
	// Swapped, if set, is called when another record takes the place of the one
	// that was in use.
	Swapped func()
}

// NewShared returns a Shared that has loaded nothing: it does no I/O.
func NewShared[T any](vault *Vault, opts SharedOptions[T]) *Shared[T] {
	vault.sharedMu.Lock()
	defer vault.sharedMu.Unlock()
	vault.shared = append(vault.shared, Ref{opts.Kind, opts.Name})
	s := &Shared[T]{vault: vault, opts: opts}
	_ = s.failed(errors.New("it has not been loaded yet"))
	return s
}

// Loaded returns what is loaded, from memory, or why nothing is.
func (s *Shared[T]) Loaded() (*T, error) {
	if v := s.loaded.Load(); v != nil {
		return v.value, nil
	}
	return nil, *s.fault.Load()
}

// Need returns what is loaded. As long as nothing is, it loads the record, and
// makes it if there is none.
func (s *Shared[T]) Need(ctx context.Context) (*T, error) {
	if v := s.loaded.Load(); v != nil {
		return v.value, nil
	}
	if err := s.load(ctx, true); err != nil {
		return nil, err
	}
	return s.Loaded()
}

// Load reads the record, and writes it if it is missing or due. If it fails,
// what is loaded stays in use, also if that could be read but not replaced.
func (s *Shared[T]) Load(ctx context.Context) error { return s.load(ctx, !s.opts.OnDemand) }

// Run loads the record at once and then every minute until ctx ends; until the
// first success every two seconds, unless it is made on demand.
func (s *Shared[T]) Run(ctx context.Context) {
	failing := ""
	for {
		err := s.loadWithin(ctx, sharedTimeout)
		if ctx.Err() != nil {
			return
		}
		failing = s.report(err, failing)
		wait := sharedEvery
		if s.loaded.Load() == nil && !s.opts.OnDemand {
			wait = sharedRetry
		}
		select {
		case <-ctx.Done():
			return
		case <-time.After(wait):
		}
	}
}

func (s *Shared[T]) loadWithin(ctx context.Context, d time.Duration) error {
	ctx, cancel := context.WithTimeout(ctx, d)
	defer cancel()
	return s.Load(ctx)
}

// report reports a fault once, and its end. It returns the class that goes on.
func (s *Shared[T]) report(err error, failing string) string {
	class := ""
	if err != nil {
		class = s.opts.Class(err)
	}
	if class != failing {
		s.opts.Report(err)
	}
	return class
}

func (s *Shared[T]) failed(err error) error {
	err = fmt.Errorf("loading %s: %w", s.opts.What, err)
	s.fault.Store(&err)
	return err
}

func (s *Shared[T]) load(ctx context.Context, needed bool) error {
	s.loading.Lock()
	defer s.loading.Unlock()
	for range sharedTries {
		wrote, err := s.step(ctx, needed)
		if errors.Is(err, errNotNeeded) {
			return nil
		}
		if err != nil {
			return s.failed(err)
		}
		if !wrote {
			return nil
		}
	}
	return s.failed(ErrBusy)
}

// errNotNeeded is a record that is missing, and that nobody has asked for.
var errNotNeeded = errors.New("record is not needed yet")

// step adopts the record as it lies in the store, or writes the next one.
func (s *Shared[T]) step(ctx context.Context, needed bool) (wrote bool, err error) {
	var current *T
	err = s.vault.Update(ctx, s.opts.Kind, s.opts.Name, store.NoExpiry, func(old *Record) (value []byte, err error) {
		wrote, current = false, nil
		if old == nil {
			value, err = s.missing(ctx, needed)
		} else if current, err = s.adopt(old.Value); err == nil {
			value, err = s.due(ctx, current)
		}
		if value == nil && err == nil {
			return old.Value, nil
		}
		wrote = true
		return value, err
	})
	if err != nil || !wrote {
		return false, err
	}
	if s.opts.Wrote != nil {
		s.opts.Wrote(current)
	}
	return true, nil
}

// missing returns what to write where there is no record: what is in use, for
// the store has lost it, or the first one.
func (s *Shared[T]) missing(ctx context.Context, needed bool) ([]byte, error) {
	used := s.loaded.Load()
	if used == nil && !needed {
		return nil, errNotNeeded
	}
	if err := s.opts.MayCreate(ctx); err != nil {
		return nil, err
	}
	if used != nil {
		return used.raw, nil
	}
	return s.opts.Next(nil)
}

// due returns what to write in the place of current, or nil.
func (s *Shared[T]) due(ctx context.Context, current *T) ([]byte, error) {
	value, err := s.opts.Next(current)
	if err != nil || value == nil {
		return nil, err
	}
	return value, s.opts.MayCreate(ctx)
}

// adopt puts a record into use.
func (s *Shared[T]) adopt(raw []byte) (*T, error) {
	used := s.loaded.Load()
	if used != nil && bytes.Equal(used.raw, raw) {
		return used.value, nil
	}
	value, err := s.opts.Read(raw)
	if err != nil {
		return nil, err
	}
	if used != nil && s.opts.Swapped != nil {
		s.opts.Swapped()
	}
	s.loaded.Store(&sharedValue[T]{raw, value})
	return value, nil
}
