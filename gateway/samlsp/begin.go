package samlsp

import (
	"cmp"
	"context"
	"crypto/rand"
	"encoding/hex"
	"encoding/json"
	"fmt"
	"time"

	"github.com/caddy-sso/caddy-sso/gateway/fetch"
	"github.com/caddy-sso/caddy-sso/gateway/provider"
	"github.com/caddy-sso/caddy-sso/gateway/refusal"
)

// A flow is our record of one login under way. The gateway keeps it, sealed.
type flow struct {
	ID       string `json:"r"`           // of the AuthnRequest
	EntityID string `json:"i"`           // of the provider that was asked
	Begun    int64  `json:"t"`           // seconds since the epoch
	Forced   bool   `json:"f,omitempty"` // a new login was asked for
}

func (f *flow) begun() time.Time { return time.Unix(f.Begun, 0) }

// Begin implements provider.Provider.
func (p *Provider) Begin(ctx context.Context, req provider.BeginRequest) (*provider.Begun, error) {
	ctx, cancel := context.WithTimeout(ctx, callTimeout)
	defer cancel()
	to, err := p.reachable(ctx)
	if err != nil {
		return nil, err
	}
	location, binding, err := to.location(p.config.RequestBinding)
	if err != nil {
		return nil, fetch.Unavailable("%w", err)
	}
	signer, err := p.signer(ctx, to)
	if err != nil {
		return nil, err
	}
	now, forced := p.now(), req.ForceLogin || req.OtherPerson
	r := &authnRequest{
		id: newID(), issued: now, destination: location, callback: req.CallbackURL,
		issuer: p.spEntityID(req.MetadataURL), nameIDFormat: p.config.NameIDFormat, force: forced,
	}
	send := r.redirect
	if binding == BindingPOST {
		send = r.post
	}
	begun, err := send(req.State, signer)
	if err != nil {
		return nil, refusal.New(refusal.Internal, fmt.Errorf("making the request: %w", err))
	}
	begun.Private, err = json.Marshal(&flow{ID: r.id, EntityID: to.entityID, Begun: now.Unix(), Forced: forced})
	if err != nil {
		return nil, refusal.New(refusal.Internal, err)
	}
	return begun, nil
}

// spEntityID returns our entity ID at a site.
func (p *Provider) spEntityID(metadataURL string) string {
	return cmp.Or(p.config.SPEntityID, metadataURL)
}

// newID returns a fresh xs:ID of 160 random bits (SAML Core 1.3.4).
func newID() string {
	var b [20]byte
	_, _ = rand.Read(b[:]) // it never fails
	return "_" + hex.EncodeToString(b[:])
}
