package samlsp

import (
	"context"
	"encoding/json"
	"errors"

	"github.com/caddy-sso/caddy-sso/gateway/provider"
	"github.com/caddy-sso/caddy-sso/gateway/refusal"
)

// Complete implements provider.Provider for the HTTP-POST binding (SAML Bindings
// 3.5.4). Nothing of the document is believed that no signature covers: the
// assertion is read anew from what was signed. A signature that no known key
// fits has the metadata fetched once more, if their age permits it.
func (p *Provider) Complete(ctx context.Context, req provider.CompleteRequest) (*provider.Answer, error) {
	ctx, cancel := context.WithTimeout(ctx, callTimeout)
	defer cancel()
	var f flow
	if err := json.Unmarshal(req.Private, &f); err != nil || f.ID == "" {
		return nil, refusal.New(refusal.FlowUnknown, errors.New("reading the flow: it was not begun here"))
	}
	idp, err := p.identityProvider(ctx)
	if err != nil {
		return nil, err
	}
	if f.EntityID != idp.entityID {
		return nil, refusal.New(refusal.FlowUnknown, errors.New("reading the flow: it was begun at another provider"))
	}
	root, err := p.document(req.Params)
	if err != nil {
		return nil, err
	}
	found, err := p.verified(ctx, root, idp)
	if err != nil {
		return nil, err
	}
	return p.answer(found, &expectation{
		issuer: idp.entityID, audience: p.spEntityID(req.MetadataURL), acs: req.CallbackURL,
		request: f.ID, begun: f.begun(), forced: f.Forced, now: p.now(), skew: p.config.ClockSkew,
		format: p.config.heldFormat(),
	})
}

// answer checks what was verified, and makes the answer of it.
func (p *Provider) answer(f *found, x *expectation) (*provider.Answer, error) {
	if err := p.checks.response.Run(readResponse(f.response, f.signed, x)); err != nil {
		return nil, err
	}
	a := readAssertion(f.assertion, x)
	if err := p.checks.assertion.Run(a); err != nil {
		return nil, err
	}
	confirmed := p.confirm(a)
	if err := p.checks.confirmed.Run(confirmed); err != nil {
		return nil, err
	}
	who, err := p.profile(a)
	if err != nil {
		return nil, a.about(err)
	}
	account := accountOf(a.nameID(), x)
	if who.id != nil {
		account = accountOfAttribute(p.config.IDAttribute, who.id.first())
	} else if err := p.checks.account.Run(a); err != nil {
		return nil, a.about(err)
	}
	return &provider.Answer{
		Identity: who.identity(a), Subject: account, NotAfter: a.sessionEnd(), SessionID: who.session,
		ReplayID: a.ID, ReplayUntil: a.usableUntil(confirmed.until),
	}, nil
}
