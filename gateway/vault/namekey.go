package vault

import (
	"context"
	"crypto/hmac"
	"crypto/sha256"
	"errors"
	"fmt"
	"hash"
	"strings"

	"github.com/caddy-sso/caddy-sso/gateway/store"
)

// The name key derives the keys of all other records of a store. It is 256 random
// bits in a sealed record of its own, under a fixed key, and lasts as long as the
// store. The secret only seals that record. So a new secret changes no key and no
// cookie.
//
// If the name key is lost, all records are lost, and all blocks with them. So a name
// key is never made silently (see New). It also identifies the store: Marker derives
// from it.
const (
	kindNames Kind = "names"
	nameKeyAt      = string(kindNames) + ":key"
)

// ErrNameKey means that the name key does not open. It wraps together with ErrRecord.
var ErrNameKey = errors.New("the secret does not open this store: did `secret` change, and do all nodes have the same secret? To change it, write both (`secret <new> <old>`). If none was set before, the old one is the file sso/secret in Caddy's storage. Gateways that have nothing to do with each other each need a prefix of their own")

// Sealed reports whether a store has a name key, which only the secret that sealed it
// opens.
func Sealed(ctx context.Context, s store.Store) (bool, error) {
	values, err := s.Get(ctx, nameKeyAt)
	return err == nil && values[0] != nil, err
}

// nameKey returns the name key, or store.ErrNotFound. It reads the store once, and
// again after Forget.
func (v *Vault) nameKey(ctx context.Context) ([]byte, error) {
	if names := v.names.Load(); names != nil {
		return *names, nil
	}
	return v.readNameKey(ctx)
}

func (v *Vault) readNameKey(ctx context.Context) ([]byte, error) {
	v.namesMu.Lock()
	forgets := v.forgets
	v.namesMu.Unlock()
	rec, err := v.GetAt(ctx, kindNames, nameKeyAt)
	switch {
	case errors.Is(err, ErrRecord):
		return nil, fmt.Errorf("%w: %w", ErrNameKey, err)
	case err != nil:
		return nil, err
	case len(rec.Value) != randomSize:
		return nil, fmt.Errorf("%w: %w: it has %d bytes", ErrNameKey, ErrRecord, len(rec.Value))
	}
	v.namesMu.Lock()
	defer v.namesMu.Unlock()
	if v.forgets == forgets {
		v.names.Store(&rec.Value)
	}
	return rec.Value, nil
}

// Forget makes the next use read the name key again: the store may have been
// replaced.
func (v *Vault) Forget() {
	v.namesMu.Lock()
	defer v.namesMu.Unlock()
	v.forgets++
	v.names.Store(nil)
}

// Marker identifies the store. It is public, and lasts as long as the name key. The
// error is store.ErrNotFound if the store has no name key. It always reads the store.
func (v *Vault) Marker(ctx context.Context) (string, error) {
	names, err := v.readNameKey(ctx)
	if err != nil {
		return "", err
	}
	return EncodeText(mac(names, "marker")), nil
}

// Initialize makes a store's name key and returns its Marker. If several nodes do
// this at once, one of the keys counts.
func (v *Vault) Initialize(ctx context.Context) (marker string, err error) {
	if err := v.fitError(ctx); err != nil {
		return "", err
	}
	fresh := RandomBytes()
	err = v.store.PutNew(ctx, nameKeyAt, v.seal(nameKeyAt, fresh), store.NoExpiry)
	if err != nil && !errors.Is(err, store.ErrExists) {
		return "", err
	}
	marker, err = v.Marker(ctx)
	if errors.Is(err, store.ErrNotFound) {
		err = ErrBusy // emptied again at once
	}
	return marker, err
}

// Key returns the key of a record to write. It initializes a new store first.
func (v *Vault) Key(ctx context.Context, kind Kind, name string) (string, error) {
	names, err := v.nameKey(ctx)
	if errors.Is(err, store.ErrNotFound) {
		if err := v.initialize(ctx); err != nil {
			return "", err
		}
		names, err = v.nameKey(ctx)
	}
	if errors.Is(err, store.ErrNotFound) {
		err = ErrBusy
	}
	if err != nil {
		return "", err
	}
	return recordKey(names, kind, name), nil
}

// MAC authenticates parts for a purpose. It is the same on every node and under every
// secret. The error is store.ErrNotFound if the store has no name key: then nothing
// was authenticated yet.
func (v *Vault) MAC(ctx context.Context, purpose string, parts ...string) ([]byte, error) {
	names, err := v.nameKey(ctx)
	if err != nil {
		return nil, err
	}
	return mac(names, purpose, parts...), nil
}

func recordKey(names []byte, kind Kind, name string) string {
	return string(kind) + ":" + EncodeText(keyedHash(names, "name", string(kind), name))
}

func mac(names []byte, purpose string, parts ...string) []byte {
	return keyedHash(names, append([]string{"mac", purpose}, parts...)...)
}

// keyedHash is HMAC-SHA-256 over parts. The length before each part makes the input
// unique to the list.
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

// IsKey reports whether text can be the key of a record of a kind.
func (v *Vault) IsKey(kind Kind, text string) bool {
	name, ok := strings.CutPrefix(text, string(kind)+":")
	return ok && DecodeText(name, sha256.Size) != nil
}
