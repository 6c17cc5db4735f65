package boltstore_test

import (
	"bytes"
	"context"
	"errors"
	"fmt"
	"os"
	"path/filepath"
	"slices"
	"strings"
	"testing"
	"time"

	bolt "go.etcd.io/bbolt"

	"github.com/caddy-sso/caddy-sso/gateway/boltstore"
)

// TestDamagedRecord: a record that can't be read is a fault for all that would
// read it, and can be replaced and deleted.
func TestDamagedRecord(t *testing.T) {
	t.Parallel()
	for name, record := range map[string][]byte{"empty": {}, "short": {1, 0, 0}, "newer format": {2, 0, 0, 0, 0, 0, 0, 0, 0, 'x'}} {
		t.Run(name, func(t *testing.T) {
			t.Parallel()
			path := filepath.Join(t.TempDir(), "sso.db")
			must(t, open(t, path).Close())
			db, err := bolt.Open(path, 0o600, nil)
			must(t, err)
			must(t, db.Update(func(tx *bolt.Tx) error { return tx.Bucket([]byte("values")).Put([]byte("key"), record) }))
			must(t, db.Close())

			s := open(t, path)
			_, errGet := s.Get(t.Context(), "other", "key")
			_, errTake := s.Take(t.Context(), "key")
			for verb, err := range map[string]error{
				"Get": errGet, "Take": errTake,
				"PutNew":        s.PutNew(t.Context(), "key", nil, 0),
				"CompareAndPut": s.CompareAndPut(t.Context(), "key", nil, nil, 0),
			} {
				if err == nil || !strings.Contains(err.Error(), "damaged") {
					t.Errorf("%s: %v", verb, err)
				}
			}
			must(t, s.Put(t.Context(), "key", []byte("new"), time.Minute))
			if values, err := s.Get(t.Context(), "key"); err != nil || string(values[0]) != "new" {
				t.Errorf("replaced: %q, %v", values, err)
			}
			must(t, s.Delete(t.Context(), "key"))
		})
	}
}

// TestDamagedFile spoils one page after the other, by its head or whole, and
// cuts the file short. Nothing panics, no value is returned that was not
// stored, and every call returns, Close too.
func TestDamagedFile(t *testing.T) {
	t.Parallel()
	path := filepath.Join(t.TempDir(), "sso.db")
	s := open(t, path)
	inParallel(t, 300, func(i int) error {
		return errors.Join(s.Put(t.Context(), fmt.Sprint("key", i), []byte("value"), time.Hour), s.Add(t.Context(), "index", fmt.Sprint(i)))
	})
	must(t, s.Delete(t.Context(), "key7", "key77")) // For a freelist.
	must(t, s.Close())
	whole, err := os.ReadFile(path)
	must(t, err)
	page, faults, broken := os.Getpagesize(), 0, 0
	if len(whole) < 10*page {
		t.Fatalf("only %d bytes to spoil", len(whole))
	}
	for at := 0; at < len(whole); at += page {
		damaged := [][]byte{whole[:at]}
		for _, size := range []int{16, 64, page} {
			for _, with := range []byte{0x00, 0xff} {
				damaged = append(damaged, slices.Concat(whole[:at], bytes.Repeat([]byte{with}, size), whole[at+size:]))
			}
		}
		for _, content := range damaged {
			err := useDamaged(t, content)
			if err != nil {
				faults++
			}
			if err != nil && strings.Contains(err.Error(), "structure") {
				broken++
			}
		}
	}
	t.Logf("%d faults, %d of them in the structure", faults, broken)
	if faults == 0 || broken == 0 {
		t.Error("no damage was noticed")
	}
}

func useDamaged(t *testing.T, content []byte) error {
	t.Helper()
	path := filepath.Join(t.TempDir(), "sso.db")
	must(t, os.WriteFile(path, content, 0o600))
	s, err := boltstore.Open(path)
	if err != nil {
		return err
	}
	return useAll(t, s)
}

func useAll(t *testing.T, s *boltstore.Store) (err error) {
	t.Helper()
	ctx, cancel := context.WithTimeout(t.Context(), 30*time.Second)
	defer cancel()
	for i := range 300 {
		key := fmt.Sprint("key", i)
		values, getErr := s.Get(ctx, key)
		if getErr == nil && values[0] != nil && string(values[0]) != "value" {
			t.Errorf("%s holds %q", key, values[0])
		}
		err = errors.Join(err, getErr)
	}
	_, rangeErr := s.Range(ctx, "index", "", "", 1000)
	err = errors.Join(err, rangeErr, s.Put(ctx, "new", nil, time.Minute), s.Delete(ctx, "key1", "key200"), s.Put(ctx, "new", nil, time.Minute))
	closed := make(chan error, 1)
	go func() { closed <- s.Close() }()
	select {
	case closeErr := <-closed:
		err = errors.Join(err, closeErr)
	case <-time.After(30 * time.Second):
		t.Fatalf("Close hangs after: %v", err)
	}
	if errors.Is(err, context.DeadlineExceeded) {
		t.Errorf("a call hung: %v", err)
	}
	return err
}
