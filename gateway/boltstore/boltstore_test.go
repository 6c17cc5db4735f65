package boltstore_test

import (
	"bytes"
	"context"
	"errors"
	"fmt"
	"io/fs"
	"os"
	"path/filepath"
	"strings"
	"sync"
	"testing"
	"testing/synctest"
	"time"

	bolt "go.etcd.io/bbolt"

	"github.com/caddy-sso/caddy-sso/gateway/boltstore"
	"github.com/caddy-sso/caddy-sso/gateway/gatewaytest"
	"github.com/caddy-sso/caddy-sso/gateway/store"
)

func TestConformance(t *testing.T) {
	t.Parallel()
	gatewaytest.TestStore(t, func(t *testing.T) (a, b store.Store) {
		s := open(t, filepath.Join(t.TempDir(), "store", "sso.db"))
		return s, s
	})
}

func TestOpenMakesPrivateFiles(t *testing.T) {
	t.Parallel()
	dir := filepath.Join(t.TempDir(), "a", "b")
	open(t, filepath.Join(dir, "sso.db"))
	for path, want := range map[string]fs.FileMode{dir: 0o700, filepath.Dir(dir): 0o700, filepath.Join(dir, "sso.db"): 0o600} {
		info, err := os.Stat(path)
		must(t, err)
		if got := info.Mode().Perm(); got != want {
			t.Errorf("%s has mode %o, want %o", path, got, want)
		}
	}
}

func TestOpenErrors(t *testing.T) {
	t.Parallel()
	dir := t.TempDir()
	held, text, long := filepath.Join(dir, "held"), filepath.Join(dir, "text"), filepath.Join(dir, "long")
	open(t, held)
	must(t, os.WriteFile(text, []byte("not a store"), 0o600))
	must(t, os.WriteFile(long, bytes.Repeat([]byte("not a store\n"), 10_000), 0o600))
	tests := map[string]struct{ path, want string }{
		"held by another": {held, "another process has the file open: stop it (does a second server run?), or give each its own file"},
		"a short text":    {text, "restore a backup, or move it away"},
		"a long text":     {long, "restore a backup, or move it away"},
		"a directory":     {dir, "is a directory"},
		"below a file":    {filepath.Join(text, "sso.db"), "making the store's directory"},
	}
	for name, test := range tests {
		t.Run(name, func(t *testing.T) {
			t.Parallel()
			var err error
			synctest.Test(t, func(t *testing.T) {
				start := time.Now()
				_, err = boltstore.Open(test.path)
				if took := time.Since(start); took > 1100*time.Millisecond {
					t.Errorf("took %v, want a second at most", took)
				}
			})
			if err == nil || !strings.Contains(err.Error(), test.want) {
				t.Fatalf("got %v, want %q", err, test.want)
			}
			// For a wrong mode or a full disk, to move the file away would lose the
			// sessions for nothing.
			if damaged := strings.HasSuffix(test.want, "move it away"); strings.Contains(err.Error(), "move it away") != damaged {
				t.Errorf("got %v, is it damaged: %v", err, damaged)
			}
		})
	}
}

func TestKeptOverReopening(t *testing.T) {
	t.Parallel()
	path := filepath.Join(t.TempDir(), "sso.db")
	s := open(t, path)
	must(t, s.Put(t.Context(), "key", []byte("value"), time.Hour))
	must(t, s.Add(t.Context(), "index", "member"))
	must(t, s.Close())
	s = open(t, path)
	values, err := s.Get(t.Context(), "key")
	members, err2 := s.Range(t.Context(), "index", "", "", 10)
	if err != nil || err2 != nil || string(values[0]) != "value" || len(members) != 1 {
		t.Errorf("found %q (%v) and %q (%v)", values, err, members, err2)
	}
}

func TestClosed(t *testing.T) {
	t.Parallel()
	s := open(t, filepath.Join(t.TempDir(), "sso.db"))
	ended := make(chan error, 1)
	began := make(chan struct{})
	go func() { ended <- s.Watch(context.Background(), "", func(store.Change) { close(began) }) }()
	<-began
	must(t, s.Close())
	must(t, s.Close())
	_, errGet := s.Get(t.Context(), "key")
	for name, err := range map[string]error{
		"Watch under way": <-ended,
		"Watch":           s.Watch(t.Context(), "", func(store.Change) { t.Error("reported by a closed store") }),
		"Get":             errGet,
		"Put":             s.Put(t.Context(), "key", nil, 0),
		"Announce":        s.Announce(t.Context(), nil),
		"Ping":            s.Ping(t.Context()),
	} {
		if !errors.Is(err, boltstore.ErrClosed) {
			t.Errorf("%s: %v", name, err)
		}
	}
}

// TestOverflow: a watch that is stuck loses messages beyond a bound, and is
// told so.
func TestOverflow(t *testing.T) {
	t.Parallel()
	s := open(t, filepath.Join(t.TempDir(), "sso.db"))
	ctx, cancel := context.WithCancel(t.Context())
	defer cancel()
	const bound, extra = 10_000, 5
	resets, messages := 0, 0
	err := s.Watch(ctx, "", func(c store.Change) {
		messages += len(c.Messages)
		if c.Reset {
			resets++
		}
		switch {
		case c.Reset && resets == 1: // Within the bound.
			for range bound {
				must(t, s.Announce(ctx, []byte("message")))
			}
		case resets == 1:
			if messages != bound {
				t.Errorf("%d messages of %d came", messages, bound)
			}
			for range bound + extra {
				must(t, s.Announce(ctx, []byte("message")))
			}
		default:
			if messages != bound+extra {
				t.Errorf("%d messages after the loss, want %d", messages-bound, extra)
			}
			cancel()
		}
	})
	if !errors.Is(err, context.Canceled) || resets != 2 {
		t.Errorf("%d times Reset, ended with %v", resets, err)
	}
}

func TestTime(t *testing.T) {
	t.Parallel()
	t.Run("expiry is exact to the millisecond", func(t *testing.T) {
		t.Parallel()
		path := filepath.Join(t.TempDir(), "sso.db")
		synctest.Test(t, func(t *testing.T) {
			s := open(t, path)
			time.Sleep(300 * time.Microsecond)
			must(t, s.Put(t.Context(), "key", []byte("value"), 10*time.Second))
			time.Sleep(10*time.Second - time.Nanosecond)
			values, err := s.Get(t.Context(), "key")
			must(t, err)
			if values[0] == nil {
				t.Error("gone too early")
			}
			time.Sleep(time.Millisecond)
			values, err = s.Get(t.Context(), "key")
			must(t, err)
			if values[0] != nil {
				t.Error("still there after its ttl")
			}
		})
	})
	t.Run("a watch ticks within the second", func(t *testing.T) {
		t.Parallel()
		path := filepath.Join(t.TempDir(), "sso.db")
		synctest.Test(t, func(t *testing.T) {
			s := open(t, path)
			ctx, cancel := context.WithTimeout(t.Context(), time.Minute)
			defer cancel()
			var last time.Time
			err := s.Watch(ctx, "", func(c store.Change) {
				if !last.IsZero() && c.Began.Sub(last) > time.Second {
					t.Errorf("a change %v after the last", c.Began.Sub(last))
				}
				last = c.Began
			})
			if !errors.Is(err, context.DeadlineExceeded) || time.Since(last) > time.Second {
				t.Errorf("ended with %v, the last change %v ago", err, time.Since(last))
			}
		})
	})
}

// TestSweep: what has expired goes from the file, in bounded steps, and what
// was replaced meanwhile stays.
func TestSweep(t *testing.T) {
	t.Parallel()
	path := filepath.Join(t.TempDir(), "sso.db")
	synctest.Test(t, func(t *testing.T) {
		s := open(t, path)
		const count = 2500
		inParallel(t, count, func(i int) error {
			return s.Put(t.Context(), fmt.Sprint("key", i), []byte("value"), time.Minute)
		})
		must(t, s.Put(t.Context(), "key0", []byte("longer"), time.Hour))
		must(t, s.Put(t.Context(), "key1", []byte("for ever"), store.NoExpiry))
		time.Sleep(2 * time.Minute)
		must(t, s.Close())
	})
	view(t, path, func(tx *bolt.Tx) {
		wantKeys(t, tx, "values", 2)
		wantKeys(t, tx, "expiry", 1)
	})
}

// view reads the file of a closed store.
func view(t *testing.T, path string, do func(*bolt.Tx)) {
	t.Helper()
	db, err := bolt.Open(path, 0o600, nil)
	must(t, err)
	defer db.Close()
	must(t, db.View(func(tx *bolt.Tx) error { do(tx); return nil }))
}

func wantKeys(t *testing.T, tx *bolt.Tx, bucket string, want int) {
	t.Helper()
	if got := tx.Bucket([]byte(bucket)).Stats().KeyN; got != want {
		t.Errorf("%s holds %d, want %d", bucket, got, want)
	}
}

func TestWritesShareTransactions(t *testing.T) {
	t.Parallel()
	path := filepath.Join(t.TempDir(), "sso.db")
	s := open(t, path)
	const count = 400
	inParallel(t, count, func(i int) error {
		err := s.PutNew(t.Context(), fmt.Sprint("key", i/2), []byte("value"), time.Minute)
		if errors.Is(err, store.ErrExists) {
			return nil
		}
		return err
	})
	must(t, s.Close())
	view(t, path, func(tx *bolt.Tx) {
		if tx.ID() > count/2 {
			t.Errorf("%d transactions for %d writes", tx.ID(), count)
		}
		wantKeys(t, tx, "values", count/2)
	})
}

func TestTooLong(t *testing.T) {
	t.Parallel()
	s := open(t, filepath.Join(t.TempDir(), "sso.db"))
	long := strings.Repeat("k", bolt.MaxKeySize)
	for name, err := range map[string]error{
		"Put":   s.Put(t.Context(), long, nil, time.Minute),
		"Add":   s.Add(t.Context(), "index", "short", long),
		"empty": s.Put(t.Context(), "", nil, time.Minute),
	} {
		if err == nil {
			t.Errorf("%s: no error", name)
		}
	}
	if members, err := s.Range(t.Context(), "index", "", "", 10); err != nil || len(members) != 0 {
		t.Errorf("a refused Add left %q, %v", members, err)
	}
}

func open(t *testing.T, path string) *boltstore.Store {
	t.Helper()
	s, err := boltstore.Open(path)
	must(t, err)
	t.Cleanup(func() {
		if err := s.Close(); err != nil {
			t.Errorf("closing: %v", err)
		}
	})
	return s
}

func inParallel(t *testing.T, count int, do func(i int) error) {
	t.Helper()
	errs := make([]error, count)
	var group sync.WaitGroup
	for i := range count {
		group.Go(func() { errs[i] = do(i) })
	}
	group.Wait()
	must(t, errors.Join(errs...))
}

func must(t *testing.T, err error) {
	t.Helper()
	if err != nil {
		t.Fatal(err)
	}
}
