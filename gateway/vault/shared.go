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

const (
	sharedEvery   = time.Minute
	sharedRetry   = 2 * time.Second // before the first success
	sharedTimeout = 10 * time.Second

	// sharedTries bounds how often one load reads back what it wrote: a record that
	// was put back may be due for replacement at once.
	sharedTries = 3
)

// KindKeys holds keys, each of them a Shared.
const KindKeys Kind = "keys"

// A Shared is one sealed record that all nodes use and that never expires, such as
// signing keys. The first node makes it, and any node replaces it when that is due.
// The others follow within a minute, in the background.
//
// Once loaded, the value stays in use while the store is down, and is put back if the
// store has lost it. If a record does not open, or Read refuses it, that is a fault,
// and the record is never overwritten. A Shared is safe for concurrent use.
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

// SharedOptions define a Shared. Kind to Class are required.
type SharedOptions[T any] struct {
	Kind Kind
	Name string
	// What names the record in errors.
	What string
	// Read parses a record. Its errors must not contain any of it.
	Read func(record []byte) (*T, error)
	// Next returns the record that replaces current, or nil if none is due. If
	// current is nil, it returns the first.
	Next func(current *T) (record []byte, err error)
	// MayCreate is called before anything is written. It refuses if the store is not
	// the one that this node knows.
	MayCreate func(context.Context) error
	// Class groups errors. Run calls Report once when the class changes, and once
	// with nil when loading works again.
	Report func(err error)
	Class  func(err error) string

	// OnDemand leaves it to Need to make the first record.
	OnDemand bool
	// Wrote, if set, is called after this node has replaced current, or has made the
	// record (current is nil).
	Wrote func(current *T)
	// Swapped, if set, is called when another record replaces the one in use.
	Swapped func()
}

// NewShared returns a Shared without a value. It does no I/O.
func NewShared[T any](vault *Vault, opts SharedOptions[T]) *Shared[T] {
	vault.sharedMu.Lock()
	defer vault.sharedMu.Unlock()
	vault.shared = append(vault.shared, Ref{opts.Kind, opts.Name})
	s := &Shared[T]{vault: vault, opts: opts}
	_ = s.failed(errors.New("it has not been loaded yet"))
	return s
}

// Loaded returns the value from memory, or why there is none.
func (s *Shared[T]) Loaded() (*T, error) {
	if v := s.loaded.Load(); v != nil {
		return v.value, nil
	}
	return nil, *s.fault.Load()
}

// Need returns the value. If none is loaded, it loads the record, and makes it if
// there is none.
func (s *Shared[T]) Need(ctx context.Context) (*T, error) {
	if v := s.loaded.Load(); v != nil {
		return v.value, nil
	}
	if err := s.load(ctx, true); err != nil {
		return nil, err
	}
	return s.Loaded()
}

// Load reads the record, and writes it if it is missing or due. If that fails, even
// between reading and replacing, the value stays in use.
func (s *Shared[T]) Load(ctx context.Context) error { return s.load(ctx, !s.opts.OnDemand) }

// Run loads the record at once and then every minute until ctx ends. Before the first
// success it tries every two seconds, unless OnDemand is set.
func (s *Shared[T]) Run(ctx context.Context) {
	failing := ""
	for {
		err := s.loadWithin(ctx, sharedTimeout)
		if ctx.Err() != nil {
			return
		}
		class := ""
		switch {
		case errors.Is(err, ErrNameKey):
			class = failing // session.Node reports it once for all records
		case err != nil:
			class = s.opts.Class(err)
		}
		if class != failing {
			s.opts.Report(err)
		}
		failing = class
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
		switch {
		case errors.Is(err, errNotNeeded):
			return nil
		case err != nil:
			return s.failed(err)
		case !wrote:
			return nil
		}
	}
	return s.failed(ErrBusy)
}

// errNotNeeded means that the record is missing and that nobody has asked for it.
var errNotNeeded = errors.New("record is not needed yet")

// step loads the record, and writes the next one if it is missing or due.
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

// missing returns the record to write if the store has none: the one in use, which
// the store has lost, or the first.
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

// due returns the record to replace current with, or nil.
func (s *Shared[T]) due(ctx context.Context, current *T) ([]byte, error) {
	value, err := s.opts.Next(current)
	if err != nil || value == nil {
		return nil, err
	}
	return value, s.opts.MayCreate(ctx)
}

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
