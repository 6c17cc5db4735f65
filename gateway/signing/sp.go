package signing

import (
	"context"
	"crypto"

	"go.uber.org/zap"

	"github.com/caddy-sso/caddy-sso/gateway/vault"
)

// SPKeys holds the key and the certificate of the SAML service provider, which sign
// requests to identity providers. There is one pair for all sites and nodes. It is
// made at first use and then stays: every identity provider was given the certificate
// by hand, and would refuse another.
//
// The store has the pair as one sealed record. SPKeys is safe for concurrent use.
type SPKeys struct {
	shared *vault.Shared[spPair]
}

// NewSPKeys returns SPKeys without a pair. It does no I/O. mayCreate is called before
// the pair is made, or put back into a store that has lost it. It refuses if the
// store is not the one that this node knows, and must not be nil.
func NewSPKeys(v *vault.Vault, mayCreate func(context.Context) error, logger *zap.Logger) *SPKeys {
	k := &SPKeys{}
	k.shared = vault.NewShared(v, vault.SharedOptions[spPair]{
		Kind: vault.KindKeys, Name: spRecordName, What: "the key for SAML requests",
		Read: readSPPair, Next: nextSPRecord, MayCreate: mayCreate, OnDemand: true,
		Class: func(error) string { return "fault" }, // only the first fault is reported
		Report: func(err error) {
			if err == nil {
				logger.Info("the key for SAML requests can be loaded again")
				return
			}
			_, unloaded := k.shared.Loaded()
			logger.Error("the key for SAML requests can't be loaded", zap.Bool("signing", unloaded == nil), zap.Error(err))
		},
		Wrote: func(*spPair) { logger.Info("key for SAML requests made") },
		Swapped: func() {
			logger.Warn("the key for SAML requests is another one now; identity providers that know the old one need the new metadata")
		},
	})
	return k
}

// KeyPair returns the private RSA key and its self-signed certificate in DER, which
// must not be changed. It reads the store only while nothing is loaded. Errors are
// *refusal.Error.
func (k *SPKeys) KeyPair(ctx context.Context) (crypto.Signer, []byte, error) {
	pair, err := k.shared.Need(ctx)
	if err != nil {
		return nil, nil, faultOf(err)
	}
	return pair.key, pair.certificate, nil
}

// Load reads the pair if the store has one. It makes none, but puts a loaded pair
// back if the store has lost it. Errors are *refusal.Error; a loaded pair stays in
// use.
func (k *SPKeys) Load(ctx context.Context) error { return faultOf(k.shared.Load(ctx)) }

// Run loads the pair at once and then every minute until ctx ends.
func (k *SPKeys) Run(ctx context.Context) { k.shared.Run(ctx) }
