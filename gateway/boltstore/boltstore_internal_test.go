package boltstore

import (
	"bytes"
	"context"
	"encoding/binary"
	"errors"
	"path/filepath"
	"testing"
	"time"

	bolt "go.etcd.io/bbolt"
)

// TestAfterPanic: bbolt that panics in a write, then again while it rolls back
// (seen on a file cut short, before its freelist), keeps its lock for ever.
// Nothing may wait for that lock.
func TestAfterPanic(t *testing.T) {
	t.Parallel()
	s, err := Open(filepath.Join(t.TempDir(), "sso.db"))
	if err != nil {
		t.Fatal(err)
	}
	ctx, cancel := context.WithTimeout(t.Context(), 30*time.Second)
	defer cancel()
	err = s.update(ctx, func(*bolt.Tx) error { panic("page 7 already freed") })
	if !errors.Is(err, errBroken) {
		t.Fatalf("the write that panicked: %v", err)
	}
	held, err := s.db.Begin(true)
	if err != nil {
		t.Fatal(err)
	}
	_, err = s.Get(ctx, "key")
	if !errors.Is(err, errBroken) {
		t.Errorf("reading: %v", err)
	}
	if err := s.Put(ctx, "key", nil, time.Minute); !errors.Is(err, errBroken) {
		t.Errorf("writing: %v", err)
	}
	closed := make(chan error, 1)
	go func() { closed <- s.Close() }()
	select {
	case err := <-closed:
		if !errors.Is(err, errBroken) {
			t.Errorf("closing: %v", err)
		}
	case <-ctx.Done():
		t.Error("Close waits for bbolt's lock")
	}
	if err := errors.Join(held.Rollback(), s.db.Close()); err != nil {
		t.Error(err)
	}
}

func FuzzDecodeRecord(f *testing.F) {
	for _, seed := range []string{"", "\x01", "\x01\x00\x00\x00\x00\x00\x00\x00\x00", "\x01\xff\xff\xff\xff\xff\xff\xff\xffvalue", "\x02\x00\x00\x00\x00\x00\x00\x00\x00value"} {
		f.Add([]byte(seed))
	}
	f.Fuzz(func(t *testing.T, raw []byte) {
		expires, value, err := decodeRecord(raw)
		if err != nil {
			if !errors.Is(err, errDamaged) || value != nil {
				t.Errorf("value %q with the error %v", value, err)
			}
			return
		}
		again := append(binary.BigEndian.AppendUint64([]byte{recordFormat}, expires), value...)
		if !bytes.Equal(again, raw) {
			t.Errorf("%q was read as %d and %q", raw, expires, value)
		}
	})
}
