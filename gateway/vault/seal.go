package vault

import (
	"context"
	"crypto/aes"
	"crypto/cipher"
	"crypto/hkdf"
	"crypto/sha256"
	"errors"
	"fmt"
	"strings"
	"time"

	"github.com/caddy-sso/caddy-sso/gateway/store"
)

// recordFormat is the first byte of every record. A release must read a format before
// the next one writes it; an unknown format is a fault.
const recordFormat = 1

func deriveSeal(secret []byte) (cipher.AEAD, error) {
	key, err := hkdf.Key(sha256.New, secret, []byte("caddy-sso"), "record sealing 1", 32)
	if err != nil {
		return nil, err
	}
	block, err := aes.NewCipher(key)
	if err != nil {
		return nil, err
	}
	return cipher.NewGCMWithRandomNonce(block)
}

// seal encrypts value for a key under the first secret.
func (v *Vault) seal(key string, value []byte) []byte {
	out := make([]byte, 1, 1+len(value)+v.seals[0].Overhead())
	out[0] = recordFormat
	// The nonce is nil: this AEAD makes a random one and puts it in front.
	return v.seals[0].Seal(out, nil, value, associated(key)) //nolint:gosec // G407: see above
}

func (v *Vault) open(key string, sealed []byte) (*Record, error) {
	kind, _, _ := strings.Cut(key, ":")
	fault := func(why string) error { return fmt.Errorf("a record of kind %s: %w: %s", kind, ErrRecord, why) }
	if len(sealed) == 0 {
		return nil, fault("it is empty")
	}
	if sealed[0] != recordFormat {
		return nil, fault(fmt.Sprintf("it has format %d, which this release does not know: a newer release wrote it", sealed[0]))
	}
	for i, seal := range v.seals {
		if plain, err := seal.Open([]byte{}, nil, sealed[1:], associated(key)); err == nil {
			return &Record{Value: plain, Key: key, sealed: sealed, sealedBy: i}, nil
		}
	}
	return nil, fault("it was changed in the store, or the secret is not the one that sealed it")
}

func associated(key string) []byte { return append([]byte{recordFormat}, key...) }

// Reseal seals a record under the first secret, in its place. It returns 1 if the
// second secret had sealed it, also if another caller has changed it meanwhile: that
// change is kept.
func (v *Vault) Reseal(ctx context.Context, rec *Record, ttl time.Duration) (resealed int, err error) {
	if rec == nil || rec.sealedBy == 0 {
		return 0, nil
	}
	err = v.store.CompareAndPut(ctx, rec.Key, rec.sealed, v.seal(rec.Key, rec.Value), ttl)
	if lostRace(err) {
		err = nil
	}
	return 1, err
}

// ResealShared reseals every Shared record, then the name key. The name key comes
// last: if the old secret is dropped too early, the whole store fails, which nobody
// overlooks.
func (v *Vault) ResealShared(ctx context.Context) (resealed int, err error) {
	if !v.Changing() {
		return 0, nil
	}
	v.sharedMu.Lock()
	refs := append([]Ref(nil), v.shared...)
	v.sharedMu.Unlock()
	recs, err := v.GetAll(ctx, refs...)
	if err != nil {
		return 0, err
	}
	names, err := v.GetAt(ctx, kindNames, nameKeyAt)
	if err != nil && !errors.Is(err, store.ErrNotFound) {
		return 0, err
	}
	for _, rec := range append(recs, names) {
		one, err := v.Reseal(ctx, rec, store.NoExpiry)
		if err != nil {
			return resealed, err
		}
		resealed += one
	}
	return resealed, nil
}

// Changing reports whether the secret is being changed.
func (v *Vault) Changing() bool { return len(v.seals) > 1 }
