package gatewaytest

import (
	"context"
	"path/filepath"
	"strings"
	"sync"
	"testing"

	"github.com/caddy-sso/caddy-sso/gateway/boltstore"
	"github.com/caddy-sso/caddy-sso/gateway/store"
)

// EachStore runs a test on the store in memory and on boltstore.
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

// Secret returns a secret made of one letter.
func Secret(letter string) []byte { return []byte(strings.Repeat(letter, 32)) }

// A Marker is a session.MarkerMemory in memory.
type Marker struct {
	mu sync.Mutex
	// Remembered is set before first use.
	Remembered string
}

// Load implements session.MarkerMemory.
func (m *Marker) Load(context.Context) (string, error) {
	m.mu.Lock()
	defer m.mu.Unlock()
	return m.Remembered, nil
}

// Forget clears the memory, as deleting the file does.
func (m *Marker) Forget() { _ = m.Save(context.Background(), "") }

// Save implements session.MarkerMemory.
func (m *Marker) Save(_ context.Context, marker string) error {
	m.mu.Lock()
	defer m.mu.Unlock()
	m.Remembered = marker
	return nil
}
