// Package samlsp is the SAML 2.0 service provider: a provider.Provider that
// signs people in by the Web Browser SSO Profile (SAML Profiles 4.1). A login is
// always begun here; a response that nobody asked for is refused.
//
// # What is believed
//
// An answer is hostile until a signature says otherwise: the person at the browser
// chooses every octet, may hold genuine responses of other days, people and service
// providers, and may be anonymous. So a response is read strictly first, in one pass and
// within bounds. Then its signature is verified by the identity provider's keys. From then
// on only the very octets that were signed count: they are read anew (package xmlsec). The
// checklist in checks.go has all that is compared after that (issuer, audience, recipient,
// times, the request's ID, the subject), and the code of each refusal.
// Nothing is ever fetched or opened because a document names it.
//
// The identity provider is believed in what it says about its people, and about
// itself in its metadata. Those are trusted for the way they came: out of the
// configuration, or by TLS from the configured address. Their own signature is
// not looked at. They are read as strictly as a response. Of an aggregate only
// the configured entity counts. The entity ID is part of every account's key;
// once known it never changes by itself, only by the option entity_id. A key
// counts as long as the metadata name it: what its certificate says of dates,
// names and issuers does not matter (SAML V2.0 Metadata Interoperability
// Profile 2.6.1), but RSA keys below 2048 bits are left out.
//
// Not defended against: whoever controls an identity provider, its key or the server of its
// metadata can sign in as any of its people. If there are several providers, that server
// could also name the entity ID of another one; the option entity_id prevents it.
//
// # Time and failure
//
// Metadata are fetched in the background when the gateway starts, not when a Provider is
// made, and then every hour; cacheDuration is ignored. A copy of the last good ones survives
// restarts (Deps.LastGood). If validUntil is over, nobody can sign in, but no session ends.
// If a signature is by an unknown key, they are fetched at once, every 30 seconds at most.
// If the identity provider itself serves its metadata, Begin asks whether it is up, at most
// every 10 seconds: if it is down, the browser would see no page of ours. The errors of all
// that are ProviderUnavailable, within 10 seconds. Every other error is a refusal.
//
// # What is sent
//
// The AuthnRequest travels by HTTP-Redirect, or HTTP-POST, and is signed with
// RSA-SHA256 where the option sign_requests or the metadata ask for it. Our
// metadata name the AssertionConsumerService and the key. There is no SingleLogoutService,
// since logout messages are not supported, and no key for encryption, since encrypted
// answers are refused.
package samlsp

import (
	"context"
	"crypto/sha256"
	"crypto/x509"
	"encoding/hex"
	"errors"
	"fmt"
	"net/url"
	"time"

	"go.uber.org/zap"

	"github.com/caddy-sso/caddy-sso/gateway/fetch"
	"github.com/caddy-sso/caddy-sso/gateway/provider"
	"github.com/caddy-sso/caddy-sso/gateway/wording"
)

const (
	// callTimeout bounds Begin, Complete and Metadata as a whole.
	callTimeout = 10 * time.Second
	// aliveFor is how long the provider counts as being there.
	aliveFor = 10 * time.Second
)

// A Provider signs people in at one SAML identity provider. It is safe for
// concurrent use and needs no closing.
type Provider struct {
	config   Config
	defined  string // the digest of config's definition
	checks   *checklist
	outbound *fetch.Client
	keys     Keys // may be nil
	logger   *zap.Logger
	now      func() time.Time

	// One of the two: what the configuration holds, or what is fetched.
	fixed  *idp
	remote *fetch.Document[*idp]
}

// New returns a Provider for config, or every fault of it at once. It does no
// network I/O.
func New(config Config, deps Deps) (*Provider, error) {
	config = config.withDefaults()
	roots, poolErr := fetch.Pool(config.RootCAs)
	p := &Provider{config: config, checks: allChecks(), keys: deps.Keys, logger: deps.Logger, now: time.Now}
	p.outbound = fetch.New(fetch.Options{
		RootCAs: roots, InsecureHTTP: config.InsecureHTTP, Transport: deps.Transport,
	})
	if p.logger == nil {
		p.logger = zap.NewNop()
	}
	p.logger = p.logger.With(config.label())
	if err := errors.Join(config.validate(p.outbound), poolErr); err != nil {
		return nil, err
	}
	if config.MetadataURL != "" {
		p.defined = config.definition(nil).Digest()
		p.remote = &fetch.Document[*idp]{
			What: "metadata", Name: fetch.Name("saml", "metadata", config.RootCAs, config.MetadataURL, config.EntityID),
			Fetch: p.fetchMetadata, Parse: p.parseMetadata, Accept: p.acceptMetadata, LastGood: deps.LastGood, Logger: p.logger,
		}
		return p, nil
	}
	var err error
	if p.fixed, err = p.readConfig(); err != nil {
		return nil, fmt.Errorf("checking %w", wording.About(config.identityOption(), err))
	}
	p.defined = config.definition(p.fixed).Digest()
	if err := p.fixed.usable(p.now()); err != nil {
		p.logger.Error("nobody can sign in at the provider", zap.Error(err))
	}
	return p, nil
}

// readConfig returns the provider that is given without a URL.
func (p *Provider) readConfig() (*idp, error) {
	if !p.config.byHand() {
		return p.readMetadata(p.config.Metadata)
	}
	known := &idp{entityID: p.config.EntityID}
	if p.config.RequestBinding == BindingPOST {
		known.ssoPost = p.config.SSOURL
	} else {
		known.ssoRedirect = p.config.SSOURL
	}
	var certs []*x509.Certificate
	for _, text := range p.config.Certificates {
		got, err := parseCertificates(text)
		if err != nil {
			return nil, err
		}
		certs = append(certs, got...)
	}
	var err error
	known.keys, err = p.signingKeys(certs, certs)
	return known, err
}

// warnOfDates logs that a certificate is outside of its time. It is used all
// the same: SAML trusts the key that the metadata name, the certificate is but
// its wrapping (SAML V2.0 Metadata Interoperability Profile 2.6.1).
func (p *Provider) warnOfDates(cert *x509.Certificate) {
	if now := p.now(); now.Before(cert.NotBefore) || now.After(cert.NotAfter) {
		sum := sha256.Sum256(cert.Raw)
		p.logger.Warn("a certificate of the provider is outside of its time; its key is used all the same",
			zap.Time("not_before", cert.NotBefore), zap.Time("not_after", cert.NotAfter), zap.String("sha256", hex.EncodeToString(sum[:])))
	}
}

// label names the provider in the log: its entity ID, or where its metadata
// are, without a query.
func (c Config) label() zap.Field {
	if c.EntityID != "" || c.MetadataURL == "" {
		return zap.String("entity_id", c.EntityID)
	}
	u, err := url.Parse(c.MetadataURL)
	if err != nil {
		return zap.Skip()
	}
	return zap.String("metadata", u.Scheme+"://"+u.Host+u.EscapedPath())
}

// Protocol returns provider.SAML.
func (p *Provider) Protocol() provider.Protocol { return provider.SAML }

// Issuer returns the provider's entity ID. It is empty as long as the
// configuration does not name it and no metadata were ever loaded.
func (p *Provider) Issuer() string {
	if p.config.EntityID != "" {
		return p.config.EntityID
	}
	if known := p.known(); known != nil {
		return known.entityID
	}
	return ""
}

// known returns what is known of the provider, nil for nothing, without waiting.
func (p *Provider) known() *idp {
	if p.remote == nil {
		return p.fixed
	}
	known, _ := p.remote.Known()
	return known
}

// KeepIn says where the last good metadata and our keys are kept, in place of those
// of Deps. Call it before Start.
func (p *Provider) KeepIn(kept fetch.LastGood, keys Keys) {
	p.keys = keys
	if p.remote != nil {
		p.remote.KeepIn(kept)
	}
}

// Start implements provider.Starter: it takes the last good metadata from the
// store, so that Issuer is known, and has new ones fetched in the background.
func (p *Provider) Start(ctx context.Context) {
	if p.remote != nil {
		p.remote.Start(ctx)
	}
}

// identityProvider returns what is known of the provider, which is waited for
// if it is nothing yet. The metadata's time is not over.
func (p *Provider) identityProvider(ctx context.Context) (*idp, error) {
	known := p.fixed
	if p.remote != nil {
		var err error
		if known, err = p.remote.Current(ctx); err != nil {
			return nil, err
		}
		if known.usable(p.now()) != nil { // new ones may have been published
			if known, err = p.remote.Recent(ctx, aliveFor); err != nil {
				return nil, fetch.Unavailable("replacing metadata that have run out: %w", err)
			}
		}
	}
	if err := known.usable(p.now()); err != nil {
		return nil, fetch.Unavailable("%w", err)
	}
	return known, nil
}

// reachable is identityProvider with an error if the provider is down: the browser would see
// no page of ours. That is known only if the provider itself serves its metadata. A server
// that answers with something else than metadata is up, too.
func (p *Provider) reachable(ctx context.Context) (*idp, error) {
	known, err := p.identityProvider(ctx)
	if err != nil || p.remote == nil || !known.serves(p.config.MetadataURL) {
		return known, err
	}
	_, err = p.remote.Recent(ctx, aliveFor)
	if _, answered := errors.AsType[answeredError](err); err != nil && !answered {
		return nil, err
	}
	return p.identityProvider(ctx)
}

// renewKeys fetches the metadata anew, every 30 seconds at most, and returns what is known
// then. It is called if a signature is by no known key.
func (p *Provider) renewKeys(ctx context.Context) (*idp, error) {
	if p.remote != nil {
		if _, err := p.remote.Renew(ctx); err != nil {
			return nil, err
		}
	}
	return p.identityProvider(ctx)
}

// Interface guards.
var (
	_ provider.Starter   = (*Provider)(nil)
	_ provider.Publisher = (*Provider)(nil)
)
