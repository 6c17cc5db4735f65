// Package signing holds the keys that sign the assertion, and publishes their
// public halves.
//
// Three keys exist at any time after the first rotation: next, current and
// previous. All of them stand in the JWK Set; only current signs. A rotation,
// every 30 days, makes next current and current previous, so a key has been
// published for 30 days before it signs, and stays published for 30 days
// after: a verifier may keep a JWK Set for days and never misses a key. The
// first current key alone is used as soon as it is made.
//
// The keys lie in the store as one sealed record for all nodes. Whichever node
// comes first makes them, or rotates them; the others take over what it did
// within a minute, in the background.
package signing

import (
	"bytes"
	"context"
	"errors"
	"fmt"
	"sync"
	"sync/atomic"
	"time"

	"go.uber.org/zap"

	"github.com/caddy-sso/caddy-sso/gateway"
)

const (
	rotateEvery = 30 * 24 * time.Hour
	reloadEvery = time.Minute
	retryEvery  = 2 * time.Second // until keys were loaded once
	loadTimeout = 10 * time.Second

	// loadRounds bounds how often one Load starts anew because another node
	// was faster. Two is what a lost race takes; one more for a record that
	// is lost meanwhile, and one for the reading after that.
	loadRounds = 4
)

// Keys signs with the current key. It is safe for concurrent use.
//
// Sign and JWKS work from memory and never ask the store: Load or Run brings
// the keys in. Keys that were loaded once stay in use while the store is down,
// and are put back if the store lost them, as far as mayCreate permits.
type Keys struct {
	vault     *gateway.Vault
	mayCreate func(context.Context) error
	logger    *zap.Logger

	loading sync.Mutex // one load at a time
	loaded  atomic.Pointer[keySet]
	fault   atomic.Pointer[gateway.Error] // why nothing is loaded
}

var _ gateway.Signer = (*Keys)(nil)

// New returns Keys without any: it does no I/O. mayCreate is asked before
// anything is created in the store, and refuses where the store is not the one
// that this node knows; it must not be nil.
func New(vault *gateway.Vault, mayCreate func(context.Context) error, logger *zap.Logger) *Keys {
	k := &Keys{vault: vault, mayCreate: mayCreate, logger: logger}
	k.fault.Store(gateway.NewError(gateway.CodeStoreUnavailable, errors.New("signing keys have not been loaded yet")))
	return k
}

// NewEphemeral returns Keys that live and end with the process: they are kept
// nowhere, never rotated, and must not be loaded. For what is gone with the
// process anyway, such as a demonstration.
func NewEphemeral() (*Keys, error) {
	value, err := firstRecord(time.Now())
	if err != nil {
		return nil, err
	}
	k := &Keys{}
	_, err = k.adopt(value)
	return k, err
}

// Sign returns claims, a JSON object, as a JWT (RFC 7519) in compact form,
// signed with ES256. Its header has alg, kid (the key's RFC 7638 thumbprint)
// and typ "JWT". Before the first successful Load the error is a
// *gateway.Error: the last Load's, or CodeStoreUnavailable.
func (k *Keys) Sign(claims []byte) (string, error) {
	set := k.loaded.Load()
	if set == nil {
		return "", k.fault.Load()
	}
	jws, err := set.signer.Sign(claims)
	if err != nil {
		return "", gateway.NewError(gateway.CodeInternal, fmt.Errorf("signing an assertion: %w", err))
	}
	token, err := jws.CompactSerialize()
	if err != nil {
		return "", gateway.NewError(gateway.CodeInternal, fmt.Errorf("serializing an assertion: %w", err))
	}
	return token, nil
}

// JWKS returns the public keys as a JWK Set (RFC 7517 §5): current, next and,
// after the first rotation, previous. Errors are those of Sign.
func (k *Keys) JWKS() ([]byte, error) {
	set := k.loaded.Load()
	if set == nil {
		return nil, k.fault.Load()
	}
	return bytes.Clone(set.jwks), nil
}

// Load reads the keys from the store, makes them where there are none, and
// rotates them when that is due. Its error is a *gateway.Error; the keys that
// were loaded before, or that could be read but not rotated, stay in use.
//
// A record that does not open, or that a newer release wrote, is a fault: it
// is never overwritten.
func (k *Keys) Load(ctx context.Context) error {
	k.loading.Lock()
	defer k.loading.Unlock()
	err := k.load(ctx)
	if err == nil {
		return nil
	}
	fault, ok := errors.AsType[*gateway.Error](err)
	if !ok {
		fault = gateway.NewError(gateway.CodeStoreUnavailable, err)
	}
	k.fault.Store(fault)
	return fault
}

// Run loads the keys at once and then every minute until ctx ends; until the
// first success every two seconds.
func (k *Keys) Run(ctx context.Context) {
	var failing gateway.Code
	for {
		err := k.loadWithin(ctx, loadTimeout)
		if ctx.Err() != nil {
			return
		}
		failing = k.report(err, failing)
		wait := reloadEvery
		if k.loaded.Load() == nil {
			wait = retryEvery
		}
		select {
		case <-ctx.Done():
			return
		case <-time.After(wait):
		}
	}
}

func (k *Keys) loadWithin(ctx context.Context, d time.Duration) error {
	ctx, cancel := context.WithTimeout(ctx, d)
	defer cancel()
	return k.Load(ctx)
}

// report logs a fault once, and its end. It returns the code that goes on.
func (k *Keys) report(err error, failing gateway.Code) gateway.Code {
	if err == nil {
		if failing != "" {
			k.logger.Info("signing keys can be loaded again")
		}
		return ""
	}
	code := gateway.CodeOf(err)
	if code != failing {
		k.logger.Error("signing keys can't be loaded or renewed",
			zap.String("code", string(code)), zap.Bool("signing", k.loaded.Load() != nil), zap.Error(err))
	}
	return code
}

func (k *Keys) load(ctx context.Context) error {
	for range loadRounds {
		rec, err := k.vault.Get(ctx, gateway.KindKeys, recordName)
		switch {
		case errors.Is(err, gateway.ErrNotFound):
			err = k.create(ctx)
		case err != nil:
			return fmt.Errorf("reading the signing keys: %w", err)
		default:
			set, adoptErr := k.adopt(rec.Value)
			if adoptErr != nil {
				return adoptErr
			}
			if !set.due(time.Now()) {
				return k.vault.CarryOver(ctx, gateway.KindKeys, recordName)
			}
			err = k.rotate(ctx, rec, set)
		}
		// Whether this node wrote or another was faster: what lies there now
		// is what all nodes use, so it is read again.
		if err != nil && !errors.Is(err, gateway.ErrExists) && !errors.Is(err, gateway.ErrChanged) && !errors.Is(err, gateway.ErrNotFound) {
			return err
		}
	}
	return errors.New("loading the signing keys: the record changed each time it was read")
}

// adopt puts the record's keys into use.
func (k *Keys) adopt(value []byte) (*keySet, error) {
	if set := k.loaded.Load(); set != nil && bytes.Equal(set.raw, value) {
		return set, nil
	}
	set, err := readKeySet(value)
	if err != nil {
		return nil, fmt.Errorf("reading the signing keys: %w", err)
	}
	k.loaded.Store(set)
	return set, nil
}

// create writes the first record. A node that has keys in memory puts those
// back: the store lost them, the verifiers did not.
func (k *Keys) create(ctx context.Context) error {
	if err := k.mayCreate(ctx); err != nil {
		return fmt.Errorf("making signing keys: %w", err)
	}
	var value []byte
	if set := k.loaded.Load(); set != nil {
		value = set.raw
	} else {
		var err error
		if value, err = firstRecord(time.Now()); err != nil {
			return err
		}
	}
	if err := k.vault.PutNew(ctx, gateway.KindKeys, recordName, value, gateway.NoExpiry); err != nil {
		return fmt.Errorf("storing the signing keys: %w", err)
	}
	k.logger.Info("signing keys made")
	return nil
}

func (k *Keys) rotate(ctx context.Context, rec *gateway.Record, set *keySet) error {
	if err := k.mayCreate(ctx); err != nil {
		return fmt.Errorf("rotating the signing keys: %w", err)
	}
	value, err := set.rotated(time.Now())
	if err != nil {
		return err
	}
	if err := k.vault.Replace(ctx, rec, value, gateway.NoExpiry); err != nil {
		return fmt.Errorf("rotating the signing keys: %w", err)
	}
	k.logger.Info("signing keys rotated", zap.String("kid", set.record.Next.KeyID))
	return nil
}
