// Package boltstore keeps the gateway's records in a file: the store for a single
// node, without a server.
//
// The file has three buckets:
//
//   - values: key → record. A record is the format byte 1, eight bytes with the
//     time of expiry (milliseconds since 1970, big-endian, 0 for never) and
//     the value.
//   - expiry: time of expiry and key → nothing. In this order a sweep finds
//     what is due without reading the rest.
//   - members: length of the index's name (four bytes, big-endian), name and
//     member → nothing.
//
// The gateway seals values before they come here. The file has mode 0600 in a
// directory with mode 0700, and only one process at a time can open it. Announcements
// stay in the process. A write that succeeded is on the disk.
package boltstore

import (
	"bytes"
	"context"
	"encoding/binary"
	"errors"
	"fmt"
	"io/fs"
	"os"
	"path/filepath"
	"slices"
	"sync"
	"sync/atomic"
	"time"

	bolt "go.etcd.io/bbolt"
	bolterrors "go.etcd.io/bbolt/errors"

	"github.com/caddy-sso/caddy-sso/gateway/store"
)

// ErrClosed is the error of all methods after Close.
var ErrClosed = bolterrors.ErrDatabaseNotOpen

var (
	valuesBucket  = []byte("values")
	expiryBucket  = []byte("expiry")
	membersBucket = []byte("members")
)

// A Store implements store.Store in a file.
type Store struct {
	db       *bolt.DB
	broken   atomic.Bool
	refuses  atomic.Pointer[error] // why the last write failed; nil if it succeeded
	writes   chan write
	closing  chan struct{}
	finished chan struct{}
	close    func() error
	counters store.Counters
	// reached is the newest transaction that this process knows of. A position beyond
	// it comes from a newer file.
	reached atomic.Int64

	mu       sync.Mutex
	watchers map[*watcher]bool
}

// Open opens the file. It makes the file and its directory if they are missing. If
// another process, or an earlier Store of this one, has the file open, Open waits at
// most a second.
func Open(path string) (*Store, error) {
	if err := os.MkdirAll(filepath.Dir(path), 0o700); err != nil {
		return nil, fmt.Errorf("making the store's directory: %w", err)
	}
	s := &Store{
		writes:   make(chan write),
		closing:  make(chan struct{}),
		finished: make(chan struct{}),
		watchers: map[*watcher]bool{},
	}
	err := guard(func() error { return s.open(path) })
	switch {
	case errors.Is(err, bolterrors.ErrTimeout):
		return nil, fmt.Errorf("opening the store %s: another process has the file open: stop it (does a second server run?), or give each its own file", path)
	case errors.As(err, new(*fs.PathError)):
		return nil, fmt.Errorf("opening the store: %w", err) // permissions, not the file's contents
	case err != nil:
		return nil, fmt.Errorf("opening the store %s: if the file is no store or is damaged, restore a backup, or move it away to begin with an empty one: %w", path, err)
	}
	s.close = sync.OnceValue(func() error {
		close(s.closing)
		<-s.finished
		if s.broken.Load() {
			// bbolt may hold its own lock for ever, and its Close would wait for it:
			// the file stays open until the process ends.
			return errBroken
		}
		return guard(s.db.Close)
	})
	go s.run()
	return s, nil
}

func (s *Store) open(path string) (err error) {
	s.db, err = bolt.Open(path, 0o600, &bolt.Options{Timeout: time.Second, FreelistType: bolt.FreelistMapType})
	if err != nil {
		return err
	}
	err = s.db.Update(func(tx *bolt.Tx) error {
		s.reached.Store(int64(tx.ID()) - 1) // the last transaction of an earlier process
		for _, name := range [][]byte{valuesBucket, expiryBucket, membersBucket} {
			if _, err := tx.CreateBucketIfNotExists(name); err != nil {
				return err
			}
		}
		return nil
	})
	if err != nil {
		return errors.Join(err, s.db.Close())
	}
	return nil
}

// Close ends every Watch, waits for the write under way and closes the file, unless
// its structure is damaged. It can be called again.
func (s *Store) Close() error { return s.close() }

// Ping reads the file.
func (s *Store) Ping(ctx context.Context) error {
	_, err := s.Get(ctx, "ping")
	return err
}

// Get implements store.Store.
func (s *Store) Get(ctx context.Context, keys ...string) ([][]byte, error) {
	values := make([][]byte, len(keys))
	err := s.read(ctx, func(tx *bolt.Tx) (err error) {
		for i, key := range keys {
			values[i], err = load(tx, key)
			if err != nil && !errors.Is(err, store.ErrNotFound) {
				return err
			}
		}
		return nil
	})
	if err != nil {
		return nil, err
	}
	return values, nil
}

// Put implements store.Store.
func (s *Store) Put(ctx context.Context, key string, value []byte, ttl time.Duration) error {
	return s.put(ctx, key, value, ttl, func(*bolt.Tx) error { return nil })
}

// PutNew implements store.Store.
func (s *Store) PutNew(ctx context.Context, key string, value []byte, ttl time.Duration) error {
	return s.put(ctx, key, value, ttl, func(tx *bolt.Tx) error {
		_, err := load(tx, key)
		switch {
		case errors.Is(err, store.ErrNotFound):
			return nil
		case err != nil:
			return err
		}
		return store.ErrExists
	})
}

// CompareAndPut implements store.Store.
func (s *Store) CompareAndPut(ctx context.Context, key string, old, value []byte, ttl time.Duration) error {
	old = bytes.Clone(old)
	return s.put(ctx, key, value, ttl, func(tx *bolt.Tx) error { return holds(tx, key, old) })
}

// put stores value unless check fails.
func (s *Store) put(ctx context.Context, key string, value []byte, ttl time.Duration, check func(*bolt.Tx) error) error {
	if ttl < 0 || len(key) > maxKey {
		return fmt.Errorf("storing a value: the ttl is negative (%v) or the key too long (%d bytes)", ttl, len(key))
	}
	value = bytes.Clone(value) // the write may outlive the call
	return s.update(ctx, func(tx *bolt.Tx) error {
		if err := check(tx); err != nil {
			return err
		}
		return save(tx, key, value, ttl)
	})
}

// holds returns ErrChanged or ErrNotFound unless the key holds old.
func holds(tx *bolt.Tx, key string, old []byte) error {
	found, err := load(tx, key)
	if err == nil && !bytes.Equal(found, old) {
		return store.ErrChanged
	}
	return err
}

// Take implements store.Store.
func (s *Store) Take(ctx context.Context, key string) ([]byte, error) {
	var taken []byte
	err := s.update(ctx, func(tx *bolt.Tx) (err error) {
		if taken, err = load(tx, key); err != nil {
			return err
		}
		return remove(tx, key)
	})
	if err != nil {
		return nil, err // taken may be written still
	}
	return taken, nil
}

// Delete implements store.Store.
func (s *Store) Delete(ctx context.Context, keys ...string) error {
	return s.each(ctx, keys, remove)
}

// Count implements store.Store. Counters are in memory only.
func (s *Store) Count(ctx context.Context, key string, delta int, ttl time.Duration) (n int, left time.Duration, err error) {
	if err := ctx.Err(); err != nil {
		return 0, 0, err
	}
	n, left = s.counters.Count(key, delta, ttl)
	return n, left, nil
}

// Add implements store.Store.
func (s *Store) Add(ctx context.Context, index string, members ...string) error {
	for _, member := range members {
		if len(index)+len(member) > maxKey {
			return fmt.Errorf("adding to an index: %d bytes are too long", len(index)+len(member))
		}
	}
	return s.each(ctx, members, func(tx *bolt.Tx, member string) error {
		return tx.Bucket(membersBucket).Put(memberKey(index, member), nil)
	})
}

// Remove implements store.Store.
func (s *Store) Remove(ctx context.Context, index string, members ...string) error {
	return s.each(ctx, members, func(tx *bolt.Tx, member string) error {
		return tx.Bucket(membersBucket).Delete(memberKey(index, member))
	})
}

func (s *Store) each(ctx context.Context, names []string, do func(*bolt.Tx, string) error) error {
	names = slices.Clone(names)
	return s.update(ctx, func(tx *bolt.Tx) error {
		for _, name := range names {
			if err := do(tx, name); err != nil {
				return err
			}
		}
		return nil
	})
}

// Range implements store.Store.
func (s *Store) Range(ctx context.Context, index, prefix, after string, limit int) (members []string, err error) {
	err = s.read(ctx, func(tx *bolt.Tx) error {
		head, within, last := len(memberKey(index, "")), memberKey(index, prefix), memberKey(index, after)
		cursor := tx.Bucket(membersBucket).Cursor()
		key, _ := cursor.Seek(memberKey(index, max(prefix, after)))
		for ; len(members) < limit && bytes.HasPrefix(key, within); key, _ = cursor.Next() {
			if !bytes.Equal(key, last) {
				members = append(members, string(key[head:]))
			}
		}
		return nil
	})
	return members, err
}

// memberKey begins with a length, so that the indexes "a" and "ab" stay apart.
func memberKey(index, member string) []byte {
	key := binary.BigEndian.AppendUint32(nil, uint32(len(index)))
	return append(append(key, index...), member...)
}
