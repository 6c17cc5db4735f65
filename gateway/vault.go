package gateway

import (
	"cmp"
	"context"
	"crypto/aes"
	"crypto/cipher"
	"crypto/hkdf"
	"crypto/hmac"
	"crypto/sha256"
	"encoding/base64"
	"errors"
	"fmt"
	"hash"
	"strings"
	"sync/atomic"
	"time"
)

// A Vault seals records before they reach a Store, and is the only way that
// this module writes one.
//
// A record's key is "kind:" and the HMAC-SHA-256 of kind and name, so that a
// reader of the store can't tell whose it is. Its value is AES-256-GCM with
// format and key as associated data: a record that was changed, or moved under
// another key, does not open. All keys are derived by HKDF (RFC 5869) from one
// secret, one per purpose.
//
// With two secrets what is new is written under the first, and everything is
// read under both, so that the secret can be changed without losing a session:
// add the new one second everywhere, then put it first everywhere, then drop
// the old one. Before the last step two things have to be waited for: that
// the logins of before have come to their end, and that Sessions.Run has
// carried over what has none, which it does, and logs, every hour.
type Vault struct {
	store Store
	keys  []vaultKeys
	// unfit, if set, is why the store counts as down although it answers.
	unfit atomic.Pointer[error]
}

// Kind says what a record is. It is part of the record's key.
type Kind string

// The kinds of records. docs/store.md describes them all.
const (
	kindLogin    Kind = "login"
	kindFlow     Kind = "flow"
	kindAccount  Kind = "account"
	kindEpoch    Kind = "epoch"
	kindReplay   Kind = "replay"
	kindMarker   Kind = "marker"
	kindLastGood Kind = "lastgood"

	// kindLimit names counters, which are not sealed.
	kindLimit Kind = "limit"

	// KindKeys holds signing keys.
	KindKeys Kind = "keys"
)

// The first byte of every record is its format. A format is read one release
// before it is written; one that this release does not know is a fault. Where
// a record lies under both of two secrets, the lower format holds.
const (
	recordFormat = 1
	// movedFormat marks a record that is being carried over to another secret.
	// It has the same form and is never written again: its value holds until
	// there is one in recordFormat under the other secret.
	movedFormat = 2
	// newFormat marks a record that was made while there were two secrets, by
	// somebody who has not looked yet whether it exists under the other. It
	// has the same form, and holds unless it does.
	newFormat = 3
)

// MinSecret is the least length of a secret in bytes. A secret is machine
// made: it is stretched by nothing but HKDF.
const MinSecret = 32

type vaultKeys struct {
	name   []byte // record keys
	cookie []byte // what binds cookies to a host
	aead   cipher.AEAD
}

// NewVault returns a Vault over store. secrets holds one or two secrets of at
// least MinSecret bytes, the one to write with first.
func NewVault(store Store, secrets ...[]byte) (*Vault, error) {
	if len(secrets) < 1 || len(secrets) > 2 {
		return nil, fmt.Errorf("opening the vault: %d secrets given, need one, or two while the secret is being changed", len(secrets))
	}
	v := &Vault{store: store}
	for i, secret := range secrets {
		if len(secret) < MinSecret {
			return nil, fmt.Errorf("opening the vault: secret %d has %d bytes, need at least %d of random text (make one: openssl rand -base64 32)", i+1, len(secret), MinSecret)
		}
		k, err := deriveKeys(secret)
		if err != nil {
			return nil, err
		}
		v.keys = append(v.keys, k)
	}
	if len(secrets) == 2 && hmac.Equal(secrets[0], secrets[1]) {
		return nil, errors.New("opening the vault: both secrets are the same, drop one")
	}
	return v, nil
}

func deriveKeys(secret []byte) (vaultKeys, error) {
	var k vaultKeys
	prk, err := hkdf.Extract(sha256.New, secret, []byte("caddy-sso"))
	if err != nil {
		return k, fmt.Errorf("deriving keys: %w", err)
	}
	var seal []byte
	for purpose, to := range map[string]*[]byte{
		"record names 1": &k.name, "cookie binding 1": &k.cookie, "record sealing 1": &seal,
	} {
		if *to, err = hkdf.Expand(sha256.New, prk, purpose, 32); err != nil {
			return k, fmt.Errorf("deriving keys: %w", err)
		}
	}
	block, err := aes.NewCipher(seal)
	if err != nil {
		return k, fmt.Errorf("deriving keys: %w", err)
	}
	if k.aead, err = cipher.NewGCMWithRandomNonce(block); err != nil {
		return k, fmt.Errorf("deriving keys: %w", err)
	}
	return k, nil
}

// A Record is an opened record, as it stood when it was read.
type Record struct {
	// Value is what was put in.
	Value []byte

	ref      ref    // what was asked for; not set if that was a key
	key      string // where it lay
	sealed   []byte // as it lay there
	sealedBy int    // which secret opened it
	format   byte
}

// errRecord is a record that does not open: tampered with, moved, of an
// unknown format, or sealed with a secret that this node does not have. It is
// a fault, never "no such record".
var errRecord = errors.New("record does not open")

// Get returns the record, or ErrNotFound.
func (v *Vault) Get(ctx context.Context, kind Kind, name string) (*Record, error) {
	recs, err := v.getAll(ctx, ref{kind, name})
	if err != nil {
		return nil, err
	}
	if recs[0] == nil {
		return nil, ErrNotFound
	}
	return recs[0], nil
}

// getKey reads a record by the key under which it lies, as an index names it.
// ErrNotFound also if the key is of another kind.
func (v *Vault) getKey(ctx context.Context, kind Kind, key string) (*Record, error) {
	if !strings.HasPrefix(key, string(kind)+":") {
		return nil, ErrNotFound
	}
	values, err := v.read(ctx, key)
	if err != nil {
		return nil, err
	}
	if values[0] == nil {
		return nil, ErrNotFound
	}
	for i := range v.keys {
		var rec *Record
		if rec, err = v.open(i, key, values[0]); err == nil {
			return rec, nil
		}
	}
	return nil, fmt.Errorf("reading a record of kind %s: %w", kind, err)
}

// read reads keys in one round trip.
func (v *Vault) read(ctx context.Context, keys ...string) ([][]byte, error) {
	if unfit := v.unfit.Load(); unfit != nil {
		return nil, *unfit
	}
	values, err := v.store.Get(ctx, keys...)
	if err != nil {
		return nil, err
	}
	if len(values) != len(keys) {
		return nil, fmt.Errorf("reading records: the store returned %d values for %d keys", len(values), len(keys))
	}
	return values, nil
}

// A ref names a record.
type ref struct {
	kind Kind
	name string
}

// getAll reads several records in one round trip. An entry is nil where there
// is no record.
func (v *Vault) getAll(ctx context.Context, refs ...ref) ([]*Record, error) {
	n := len(v.keys)
	keys := make([]string, 0, len(refs)*n)
	for _, r := range refs {
		for i := range v.keys {
			keys = append(keys, v.recordKey(i, r.kind, r.name))
		}
	}
	values, err := v.read(ctx, keys...)
	if err != nil {
		return nil, err
	}
	recs := make([]*Record, len(refs))
	for j := range keys {
		if values[j] == nil {
			continue
		}
		rec, err := v.open(j%n, keys[j], values[j])
		if err != nil {
			return nil, fmt.Errorf("reading a record of kind %s: %w", refs[j/n].kind, err)
		}
		rec.ref = refs[j/n]
		recs[j/n] = inForce(recs[j/n], rec)
	}
	return recs, nil
}

// inForce picks between a record under one secret and the same under another:
// the same one on every node, whatever the order of its secrets.
func inForce(a, b *Record) *Record {
	switch {
	case a == nil:
		return b
	case b == nil, a.format < b.format, a.format == b.format && a.key < b.key:
		return a
	}
	return b
}

// Put stores value, replacing what was there. It is not for what others change
// at the same time: with two secrets the older of two writes may win. For that
// there are PutNew and Replace.
func (v *Vault) Put(ctx context.Context, kind Kind, name string, value []byte, ttl time.Duration) error {
	key := v.recordKey(0, kind, name)
	if err := v.store.Put(ctx, key, v.seal(0, key, value), ttl); err != nil {
		return err
	}
	return v.deleteOld(ctx, kind, name)
}

// PutNew stores value if there is no such record, else ErrExists.
func (v *Vault) PutNew(ctx context.Context, kind Kind, name string, value []byte, ttl time.Duration) error {
	if unfit := v.unfit.Load(); unfit != nil {
		return *unfit
	}
	key := v.recordKey(0, kind, name)
	if len(v.keys) == 1 {
		return v.store.PutNew(ctx, key, v.seal(0, key, value), ttl)
	}
	// A node that has the secrets in the other order writes under the other
	// key. Looking after writing, two of them can both lose, never both win.
	sealed := v.sealAs(newFormat, 0, key, value)
	if err := v.store.PutNew(ctx, key, sealed, ttl); err != nil {
		return err
	}
	values, err := v.read(ctx, v.recordKey(1, kind, name))
	if err != nil {
		return err
	}
	if values[0] != nil {
		return cmp.Or(v.deleteAs(ctx, key, sealed), ErrExists)
	}
	return lostRace(v.store.CompareAndPut(ctx, key, sealed, v.seal(0, key, value), ttl))
}

// Replace stores value if the record is still as rec was read, else
// ErrChanged, or ErrNotFound if it is gone.
func (v *Vault) Replace(ctx context.Context, rec *Record, value []byte, ttl time.Duration) error {
	if rec.format == movedFormat {
		// Whoever was carrying it over has not come to the end: do it for him.
		if err := v.settle(ctx, rec); err != nil {
			return err
		}
		return ErrChanged
	}
	return v.store.CompareAndPut(ctx, rec.key, rec.sealed, v.seal(rec.sealedBy, rec.key, value), ttl)
}

// take returns the record and deletes it in one step; ErrNotFound if another
// caller was first.
func (v *Vault) take(ctx context.Context, kind Kind, name string) ([]byte, error) {
	for i := range v.keys {
		key := v.recordKey(i, kind, name)
		sealed, err := v.store.Take(ctx, key)
		if errors.Is(err, ErrNotFound) {
			continue
		}
		if err != nil {
			return nil, err
		}
		rec, err := v.open(i, key, sealed)
		if err != nil {
			return nil, fmt.Errorf("taking a record of kind %s: %w", kind, err)
		}
		return rec.Value, nil
	}
	return nil, ErrNotFound
}

// Delete removes a record. It is no error if there is none.
func (v *Vault) Delete(ctx context.Context, kind Kind, name string) error {
	keys := make([]string, len(v.keys))
	for i := range v.keys {
		keys[i] = v.recordKey(i, kind, name)
	}
	return v.store.Delete(ctx, keys...)
}

func (v *Vault) deleteOld(ctx context.Context, kind Kind, name string) error {
	if len(v.keys) == 1 {
		return nil
	}
	return v.store.Delete(ctx, v.recordKey(1, kind, name))
}

// recordKey returns where a record lies under the i-th secret.
func (v *Vault) recordKey(i int, kind Kind, name string) string {
	sum := keyedHash(v.keys[i].name, string(kind), name)
	return string(kind) + ":" + base64.RawURLEncoding.EncodeToString(sum)
}

// seal closes value for a key under the i-th secret.
func (v *Vault) seal(i int, key string, value []byte) []byte {
	return v.sealAs(recordFormat, i, key, value)
}

func (v *Vault) sealAs(format byte, i int, key string, value []byte) []byte {
	out := make([]byte, 1, 1+len(value)+v.keys[i].aead.Overhead())
	out[0] = format
	// No nonce is given: the AEAD makes a random one and puts it in front.
	return v.keys[i].aead.Seal(out, nil, value, associated(format, key)) //nolint:gosec // G407: see above
}

func (v *Vault) open(i int, key string, sealed []byte) (*Record, error) {
	if len(sealed) == 0 {
		return nil, fmt.Errorf("%w: it is empty", errRecord)
	}
	format := sealed[0]
	if format != recordFormat && format != movedFormat && format != newFormat {
		return nil, fmt.Errorf("%w: it has format %d, which this release does not know: a newer release wrote it", errRecord, format)
	}
	plain, err := v.keys[i].aead.Open([]byte{}, nil, sealed[1:], associated(format, key))
	if err != nil {
		return nil, fmt.Errorf("%w: it was changed in the store, or the secret is not the one that sealed it", errRecord)
	}
	return &Record{Value: plain, key: key, sealed: sealed, sealedBy: i, format: format}, nil
}

func associated(format byte, key string) []byte { return append([]byte{format}, key...) }

// keyedHash is HMAC-SHA-256 over parts, each preceded by its length, so that
// no two lists of parts have the same input.
func keyedHash(key []byte, parts ...string) []byte {
	mac := hmac.New(sha256.New, key)
	for _, p := range parts {
		writePart(mac, p)
	}
	return mac.Sum(nil)
}

func writePart(h hash.Hash, p string) {
	n := len(p)
	h.Write([]byte{byte(n >> 24), byte(n >> 16), byte(n >> 8), byte(n)})
	h.Write([]byte(p))
}

// handle is a public, stable name for something that parts name, of which one
// must be unguessable: a record's key is. 22 characters, the same on every
// node and under every secret.
func handle(parts ...string) string {
	h := sha256.New()
	writePart(h, "caddy-sso handle 1")
	for _, p := range parts {
		writePart(h, p)
	}
	return base64.RawURLEncoding.EncodeToString(h.Sum(nil)[:16])
}
