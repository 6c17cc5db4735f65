package gatewaytest

import (
	"context"
	"errors"
	"path/filepath"
	"slices"
	"strings"
	"sync"
	"testing"

	"github.com/caddy-sso/caddy-sso/gateway/boltstore"
	"github.com/caddy-sso/caddy-sso/gateway/store"
)

// ErrFault is the fault of a store that Faulty makes.
var ErrFault = errors.New("the test lets the store fail")

// Faulty returns a hook for MemStore that lets the named methods fail, all if
// none is named.
func Faulty(methods ...string) func(MemOp) error {
	return func(op MemOp) error {
		if len(methods) == 0 || slices.Contains(methods, op.Method) {
			return ErrFault
		}
		return nil
	}
}

// Counting returns a hook for MemStore that counts calls of a method in n, which
// mu guards.
func Counting(method string, n *int, mu *sync.Mutex) func(MemOp) error {
	return func(op MemOp) error {
		if op.Method == method && !op.Done {
			mu.Lock()
			defer mu.Unlock()
			*n++
		}
		return nil
	}
}

// EachStore runs a test on the store in memory and on bolt.
func EachStore(t *testing.T, run func(t *testing.T, store store.Store)) {
	t.Helper()
	t.Run("memory", func(t *testing.T) {
		t.Parallel()
		run(t, NewMemStore())
	})
	t.Run("bolt", func(t *testing.T) {
		t.Parallel()
		store, err := boltstore.Open(filepath.Join(t.TempDir(), "sso.db"))
		if err != nil {
			t.Fatal(err)
		}
		t.Cleanup(func() { _ = store.Close() })
		run(t, store)
	})
}

// Secret returns a secret that is named by a letter.
func Secret(letter string) []byte { return []byte(strings.Repeat(letter, 32)) }

// A Marker remembers which store a machine works with, in memory.
type Marker struct {
	mu sync.Mutex
	// Remembered is set before first use.
	Remembered string
}

// Load returns what is remembered.
func (m *Marker) Load(context.Context) (string, error) {
	m.mu.Lock()
	defer m.mu.Unlock()
	return m.Remembered, nil
}

// Save remembers a marker.
func (m *Marker) Save(_ context.Context, marker string) error {
	m.mu.Lock()
	defer m.mu.Unlock()
	m.Remembered = marker
	return nil
}
