package boltstore

import (
	"encoding/binary"
	"errors"
	"fmt"
	"math"
	"time"

	bolt "go.etcd.io/bbolt"

	"github.com/caddy-sso/caddy-sso/gateway/store"
)

const (
	recordFormat = 1
	recordHead   = 1 + 8
	// maxKey leaves room for the prefix of a key in the buckets.
	maxKey = bolt.MaxKeySize - 8
)

// errDamaged is a fault: an unreadable record is not "not found".
var errDamaged = errors.New("the store's file is damaged")

// decodeRecord reads a record. value is a slice of raw.
func decodeRecord(raw []byte) (expires uint64, value []byte, err error) {
	if len(raw) < recordHead || raw[0] != recordFormat {
		return 0, nil, fmt.Errorf("%w: a record of %d bytes has no known format", errDamaged, len(raw))
	}
	return binary.BigEndian.Uint64(raw[1:]), raw[recordHead:], nil
}

// load returns a copy of the unexpired value under key, or ErrNotFound.
func load(tx *bolt.Tx, key string) ([]byte, error) {
	raw := tx.Bucket(valuesBucket).Get([]byte(key))
	if raw == nil {
		return nil, store.ErrNotFound
	}
	expires, value, err := decodeRecord(raw)
	if err != nil {
		return nil, err
	}
	if expires != 0 && expires <= uint64(time.Now().UnixMilli()) {
		return nil, store.ErrNotFound
	}
	return append([]byte{}, value...), nil
}

// save replaces the value under key.
func save(tx *bolt.Tx, key string, value []byte, ttl time.Duration) error {
	if err := remove(tx, key); err != nil {
		return err
	}
	var expires uint64
	if ttl != store.NoExpiry {
		expires = uint64(time.Now().Add(min(ttl, math.MaxInt64-time.Millisecond) + time.Millisecond - 1).UnixMilli())
		if err := tx.Bucket(expiryBucket).Put(expiryKey(expires, key), nil); err != nil {
			return err
		}
	}
	raw := binary.BigEndian.AppendUint64([]byte{recordFormat}, expires)
	return tx.Bucket(valuesBucket).Put([]byte(key), append(raw, value...))
}

// remove deletes the value under key and its expiry. It deletes a damaged record too;
// a sweep removes the expiry, which is unknown here.
func remove(tx *bolt.Tx, key string) error {
	values := tx.Bucket(valuesBucket)
	expires, _, err := decodeRecord(values.Get([]byte(key)))
	if err == nil && expires != 0 {
		if err := tx.Bucket(expiryBucket).Delete(expiryKey(expires, key)); err != nil {
			return err
		}
	}
	return values.Delete([]byte(key))
}

func expiryKey(expires uint64, key string) []byte {
	return append(binary.BigEndian.AppendUint64(nil, expires), key...)
}

// errNothingDue rolls an empty sweep back, which saves the fsync.
var errNothingDue = errors.New("nothing has expired")

// sweep removes at most sweepBatch expired values.
func sweep(tx *bolt.Tx) error {
	now := uint64(time.Now().UnixMilli())
	var due [][]byte
	cursor := tx.Bucket(expiryBucket).Cursor()
	for entry, _ := cursor.First(); entry != nil && len(due) < sweepBatch; entry, _ = cursor.Next() {
		if len(entry) >= 8 && binary.BigEndian.Uint64(entry) > now {
			break
		}
		due = append(due, append([]byte{}, entry...))
	}
	if len(due) == 0 {
		return errNothingDue
	}
	for _, entry := range due {
		if err := expire(tx, entry); err != nil {
			return err
		}
	}
	return nil
}

// expire removes an entry of the expiry bucket, and the value unless a later write
// replaced it.
func expire(tx *bolt.Tx, entry []byte) error {
	if err := tx.Bucket(expiryBucket).Delete(entry); err != nil || len(entry) < 8 {
		return err
	}
	values, key := tx.Bucket(valuesBucket), entry[8:]
	// A damaged record stays: reading it must fail, not return "not found".
	if expires, _, err := decodeRecord(values.Get(key)); err == nil && expires == binary.BigEndian.Uint64(entry) {
		return values.Delete(key)
	}
	return nil
}
