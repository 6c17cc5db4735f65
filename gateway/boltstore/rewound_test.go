package boltstore_test

import (
	"context"
	"os"
	"path/filepath"
	"slices"
	"testing"
	"time"

	"github.com/caddy-sso/caddy-sso/gateway/boltstore"
	"github.com/caddy-sso/caddy-sso/gateway/store"
)

// firstOf watches from a position on and returns whether the store went back in time,
// and the position that it has then.
func firstOf(t *testing.T, s *boltstore.Store, since string, rewound func()) (position string) {
	t.Helper()
	ctx, cancel := context.WithTimeout(t.Context(), 30*time.Second)
	defer cancel()
	_ = s.Watch(ctx, since, func(change store.Change) {
		if change.Rewound {
			rewound()
			return
		}
		if position == "" && !change.Reset {
			t.Error("the first report has no Reset")
		}
		position = change.Position
		cancel()
	})
	return position
}

// A file that was replaced by an older copy of itself is noticed when it is watched
// again, once. One that was closed and opened again is not.
func TestOlderCopy(t *testing.T) {
	t.Parallel()
	path := filepath.Join(t.TempDir(), "sso.db")
	use := func(do func(s *boltstore.Store)) {
		t.Helper()
		s, err := boltstore.Open(path)
		must(t, err)
		do(s)
		must(t, s.Close())
	}
	never := func() { t.Error("the file counts as an older copy") }
	var since string
	use(func(s *boltstore.Store) {
		since = firstOf(t, s, "", never)
		must(t, s.Put(t.Context(), "login", []byte("value"), time.Minute))
	})
	backup, err := os.ReadFile(path)
	must(t, err)
	use(func(s *boltstore.Store) {
		since = firstOf(t, s, since, never)
		for range 20 { // more than is written to the older copy below
			must(t, s.Announce(t.Context(), []byte("login"), store.Write{Key: "login"}))
		}
		since = firstOf(t, s, since, never)
	})
	use(func(s *boltstore.Store) { firstOf(t, s, since, never) })

	must(t, os.WriteFile(path, backup, 0o600))
	use(func(*boltstore.Store) {}) // to open it is no news
	var seen []string
	use(func(s *boltstore.Store) {
		ctx, cancel := context.WithCancel(t.Context())
		_ = s.Watch(ctx, since, func(change store.Change) {
			if !change.Rewound {
				t.Error("it does not count as an older copy")
			}
			cancel() // it could not be dealt with
		})
		for range 4 {
			must(t, s.Put(t.Context(), "more", []byte("value"), time.Minute)) // nor is what is written meanwhile
		}
		now := firstOf(t, s, since, func() { seen = append(seen, "first") })
		firstOf(t, s, since, never) // another node has the same memory
		since = now
	})
	use(func(s *boltstore.Store) { firstOf(t, s, since, never) })
	if !slices.Equal(seen, []string{"first"}) {
		t.Errorf("reported %q", seen)
	}
}

// An announcement moves the position, and other writes do not: each move is written
// to Caddy's storage.
func TestPosition(t *testing.T) {
	t.Parallel()
	s := open(t, filepath.Join(t.TempDir(), "sso.db"))
	positions := make(chan string, 100)
	ctx, cancel := context.WithTimeout(t.Context(), 30*time.Second)
	defer cancel()
	go func() { _ = s.Watch(ctx, "", func(change store.Change) { positions <- change.Position }) }()
	next := func() string {
		select {
		case p := <-positions:
			return p
		case <-ctx.Done():
			t.Fatal("nothing is reported")
			return ""
		}
	}
	first := next()
	must(t, s.Put(t.Context(), "key", []byte("value"), time.Minute))
	if got := next(); got != "" {
		t.Errorf("a write is reported as %q", got)
	}
	must(t, s.Announce(t.Context(), []byte("key"), store.Write{Key: "key"}))
	moved := next()
	for moved == "" {
		moved = next()
	}
	if first == "" || moved == first {
		t.Errorf("from %q to %q", first, moved)
	}
}
