package signing

import (
	"bytes"
	"context"
	"crypto"
	"errors"
	"fmt"
	"sync"
	"sync/atomic"
	"time"

	"go.uber.org/zap"

	"github.com/caddy-sso/caddy-sso/gateway"
)

// SPKeys hold the key and the certificate of the SAML service provider, which
// sign requests to identity providers. There is one pair for all sites and
// nodes. It is made when it is asked for the first time, and then stays: every
// identity provider was told the certificate by hand, and would refuse another.
//
// The pair lies in the store as one sealed record. SPKeys are safe for
// concurrent use.
type SPKeys struct {
	vault     *gateway.Vault
	mayCreate func(context.Context) error
	logger    *zap.Logger

	loading sync.Mutex // one load at a time
	loaded  atomic.Pointer[spPair]
}

// NewSPKeys returns SPKeys without any: it does no I/O. mayCreate is asked
// before the pair is made, or put back into a store that has lost it, and
// refuses where the store is not the one that this node knows; it must not be
// nil.
func NewSPKeys(vault *gateway.Vault, mayCreate func(context.Context) error, logger *zap.Logger) *SPKeys {
	return &SPKeys{vault: vault, mayCreate: mayCreate, logger: logger}
}

// KeyPair returns the private RSA key and its self-signed certificate in DER,
// which must not be changed. The store is asked only as long as nothing is
// loaded. Errors are *gateway.Error.
func (k *SPKeys) KeyPair(ctx context.Context) (crypto.Signer, []byte, error) {
	pair := k.loaded.Load()
	if pair == nil {
		if err := k.load(ctx, true); err != nil {
			return nil, nil, err
		}
		pair = k.loaded.Load()
	}
	return pair.key, pair.certificate, nil
}

// Load reads the pair if the store has one, and carries it over when the
// gateway's secret is being changed (see gateway.Vault.CarryOver). It makes
// none, but puts back what the store has lost. Errors are *gateway.Error; what
// was loaded before stays in use.
func (k *SPKeys) Load(ctx context.Context) error { return k.load(ctx, false) }

// Run loads the pair at once and then every minute until ctx ends.
func (k *SPKeys) Run(ctx context.Context) {
	failing := false
	for {
		err := k.loadWithin(ctx, loadTimeout)
		if ctx.Err() != nil {
			return
		}
		if err != nil && !failing {
			k.logger.Error("the key for SAML requests can't be loaded", zap.Bool("signing", k.loaded.Load() != nil), zap.Error(err))
		}
		failing = err != nil
		select {
		case <-ctx.Done():
			return
		case <-time.After(reloadEvery):
		}
	}
}

func (k *SPKeys) loadWithin(ctx context.Context, d time.Duration) error {
	ctx, cancel := context.WithTimeout(ctx, d)
	defer cancel()
	return k.Load(ctx)
}

func (k *SPKeys) load(ctx context.Context, needed bool) error {
	k.loading.Lock()
	defer k.loading.Unlock()
	err := k.adoptOrCreate(ctx, needed)
	if _, coded := errors.AsType[*gateway.Error](err); err == nil || coded {
		return err
	}
	return gateway.NewError(gateway.CodeStoreUnavailable, err)
}

func (k *SPKeys) adoptOrCreate(ctx context.Context, needed bool) error {
	for range loadRounds {
		rec, err := k.vault.Get(ctx, gateway.KindKeys, spRecordName)
		switch {
		case err == nil:
			if err := k.adopt(rec.Value); err != nil {
				return err
			}
			return k.vault.CarryOver(ctx, gateway.KindKeys, spRecordName)
		case !errors.Is(err, gateway.ErrNotFound):
			return fmt.Errorf("reading the key for SAML requests: %w", err)
		case !needed && k.loaded.Load() == nil:
			return nil
		}
		// Whether this node writes or another was faster: what lies there then
		// is what all nodes use, so it is read again.
		if err := k.create(ctx); err != nil && !errors.Is(err, gateway.ErrExists) {
			return err
		}
	}
	return errors.New("loading the key for SAML requests: the record went each time it was written")
}

func (k *SPKeys) adopt(value []byte) error {
	before := k.loaded.Load()
	if before != nil && bytes.Equal(before.raw, value) {
		return nil
	}
	pair, err := readSPPair(value)
	if err != nil {
		return fmt.Errorf("reading the key for SAML requests: %w", err)
	}
	if before != nil {
		k.logger.Warn("the key for SAML requests is another one now; identity providers that know the old one need the new metadata")
	}
	k.loaded.Store(pair)
	return nil
}

// create writes the record. A node that has the pair in memory puts that back:
// the store lost it, the identity providers did not.
func (k *SPKeys) create(ctx context.Context) error {
	if err := k.mayCreate(ctx); err != nil {
		return fmt.Errorf("making a key for SAML requests: %w", err)
	}
	var value []byte
	if pair := k.loaded.Load(); pair != nil {
		value = pair.raw
	} else {
		var err error
		if value, err = newSPRecord(time.Now()); err != nil {
			return err
		}
	}
	if err := k.vault.PutNew(ctx, gateway.KindKeys, spRecordName, value, gateway.NoExpiry); err != nil {
		return fmt.Errorf("storing the key for SAML requests: %w", err)
	}
	k.logger.Info("key for SAML requests made")
	return nil
}
