// Package signing holds the keys that sign the assertion, and those of the OpenID
// provider, and publishes their public halves.
//
// Of each set there are three keys after the first rotation: next, current and previous. All are
// in the JWK Set; only current signs. A rotation, every 30 days, makes next current
// and current previous. So a key is published for 30 days before and after it signs:
// a verifier may keep a JWK Set for days and never misses a key. Only the first
// current key is used at once.
//
// The store has the keys as one sealed record for all nodes. The first node that
// finds them missing, or due, makes or rotates them. The others load the new record
// within a minute, in the background.
package signing

import (
	"bytes"
	"context"
	"fmt"
	"time"

	"github.com/go-jose/go-jose/v4"
	"go.uber.org/zap"

	"github.com/caddy-sso/caddy-sso/gateway/refusal"
	"github.com/caddy-sso/caddy-sso/gateway/vault"
)

const rotateEvery = 30 * 24 * time.Hour

// Keys signs with the current key. It is safe for concurrent use.
//
// Sign and JWKS work from memory and never read the store: Load and Run do. Loaded
// keys stay in use while the store is down, and are put back if the store has lost
// them, if mayCreate permits it.
type Keys struct {
	shared *vault.Shared[keySet]
	loaded func() (*keySet, error)
	need   func(context.Context) (*keySet, error)
}

// New returns the keys of the assertion, without any key. It does no I/O. mayCreate is
// called before anything is created in the store. It refuses if the store is not the one
// that this node knows, and must not be nil.
func New(v *vault.Vault, mayCreate func(context.Context) error, logger *zap.Logger) *Keys {
	return newKeys(Assertion, false, v, mayCreate, logger)
}

// NewSet returns the keys of another set. Unlike those of New, they are made when they are
// first needed: by Make, SignAs or Published.
func NewSet(set Set, v *vault.Vault, mayCreate func(context.Context) error, logger *zap.Logger) *Keys {
	return newKeys(set, true, v, mayCreate, logger.With(zap.String("set", string(set))))
}

func newKeys(set Set, onDemand bool, v *vault.Vault, mayCreate func(context.Context) error, logger *zap.Logger) *Keys {
	k := &Keys{}
	k.shared = vault.NewShared(v, vault.SharedOptions[keySet]{
		Kind: vault.KindKeys, Name: string(set), What: "the signing keys", OnDemand: onDemand,
		Read: set.read, Next: set.next, MayCreate: mayCreate, Class: codeOf,
		Report: func(err error) {
			if err == nil {
				logger.Info("signing keys can be loaded again")
				return
			}
			_, unloaded := k.loaded()
			logger.Error("signing keys can't be loaded or renewed",
				zap.String("code", codeOf(err)), zap.Bool("signing", unloaded == nil), zap.Error(err))
		},
		Wrote: func(current *keySet) {
			if current == nil {
				logger.Info("signing keys made")
				return
			}
			logger.Info("signing keys rotated", zap.String("kid", current.record.Next.KeyID))
		},
	})
	k.loaded, k.need = k.shared.Loaded, k.shared.Need
	return k
}

// NewEphemeral returns Keys for ES256 in memory: they are not stored, never rotated, and
// must not be loaded. They are for a demonstration, or for anything else that ends with
// the process.
func NewEphemeral() (*Keys, error) {
	value, err := Assertion.next(nil)
	if err != nil {
		return nil, err
	}
	set, err := Assertion.read(value)
	return &Keys{
		loaded: func() (*keySet, error) { return set, nil },
		need:   func(context.Context) (*keySet, error) { return set, nil },
	}, err
}

// Make makes the keys unless there are some. RSA keys take a second: call it in the
// background before they are needed.
func (k *Keys) Make(ctx context.Context) error {
	_, err := k.need(ctx)
	return faultOf(err)
}

// Sign returns claims, a JSON object, as a JWT (RFC 7519) in compact form. Its header has
// alg, kid (the key's RFC 7638 thumbprint) and typ "JWT". Before the first successful Load
// the error is that of the last Load, or StoreUnavailable, as a *refusal.Error.
func (k *Keys) Sign(claims []byte) (string, error) {
	set, err := k.loaded()
	if err != nil {
		return "", faultOf(err)
	}
	return signBy(set.signer, claims)
}

// SignAs is Sign for JWTs of any type. It makes the keys if there are none.
func (k *Keys) SignAs(ctx context.Context, typ string, claims []byte) (string, error) {
	set, err := k.need(ctx)
	if err != nil {
		return "", faultOf(err)
	}
	signer, err := set.signerFor(jose.ContentType(typ))
	if err != nil {
		return "", faultOf(refusal.New(refusal.Internal, err))
	}
	return signBy(signer, claims)
}

func signBy(signer jose.Signer, claims []byte) (string, error) {
	jws, err := signer.Sign(claims)
	if err != nil {
		return "", refusal.New(refusal.Internal, fmt.Errorf("signing a token: %w", err))
	}
	token, err := jws.CompactSerialize()
	if err != nil {
		return "", refusal.New(refusal.Internal, fmt.Errorf("serializing a token: %w", err))
	}
	return token, nil
}

// JWKS returns the public keys as a JWK Set (RFC 7517 §5): current, next and,
// after the first rotation, previous. Errors are those of Sign.
func (k *Keys) JWKS() ([]byte, error) {
	set, err := k.loaded()
	if err != nil {
		return nil, faultOf(err)
	}
	return bytes.Clone(set.jwks), nil
}

// Published is JWKS, and makes the keys if there are none.
func (k *Keys) Published(ctx context.Context) ([]byte, error) {
	if err := k.Make(ctx); err != nil {
		return nil, err
	}
	return k.JWKS()
}

// Load reads the keys from the store, makes them if there are none, and rotates them
// if that is due. Its error is a *refusal.Error. Keys that are already loaded, or
// were read but not rotated, stay in use.
//
// A record that does not open, or that a newer release wrote, is a fault: it is never
// overwritten.
func (k *Keys) Load(ctx context.Context) error { return faultOf(k.shared.Load(ctx)) }

// Run loads the keys at once and then every minute until ctx ends, and every two
// seconds before the first success.
func (k *Keys) Run(ctx context.Context) { k.shared.Run(ctx) }

// faultOf returns err as a *refusal.Error. An error without a code comes from the
// store.
func faultOf(err error) error {
	if err == nil {
		return nil
	}
	return refusal.From(err, refusal.StoreUnavailable)
}

func codeOf(err error) string { return string(refusal.CodeOf(faultOf(err))) }
