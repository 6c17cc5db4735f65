package samlsp

import (
	"context"
	"crypto"
	"crypto/x509"
	"time"
)

// What a provider knows of the other side, for tests.

// ParseCertificates reads certificates as they are exported.
func ParseCertificates(text string) ([]*x509.Certificate, error) { return parseCertificates(text) }

// A Known is what is known of an identity provider.
type Known struct {
	EntityID, Redirect, POST string
	Keys                     []crypto.PublicKey
	WantSigned               bool
	ValidUntil               time.Time
}

func known(i *idp, err error) (*Known, error) {
	if err != nil {
		return nil, err
	}
	return &Known{i.entityID, i.ssoRedirect, i.ssoPost, i.keys, i.wantSigned, i.validUntil}, nil
}

// IdentityProvider is what Complete would verify by.
func IdentityProvider(ctx context.Context, p *Provider) (*Known, error) {
	return known(p.identityProvider(ctx))
}

// RenewKeys is what Complete does about an unknown key.
func RenewKeys(ctx context.Context, p *Provider) (*Known, error) { return known(p.renewKeys(ctx)) }

// ReadMetadata reads metadata as p's configuration means them.
func ReadMetadata(p *Provider, doc []byte) (*Known, error) { return known(p.readMetadata(doc)) }

// The bounds and intervals that tests wait for.
const (
	AliveFor    = aliveFor
	MaxMetadata = maxMetadata
)
