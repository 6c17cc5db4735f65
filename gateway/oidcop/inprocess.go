package oidcop

import (
	"context"
	"errors"
	"net/url"

	"github.com/caddy-sso/caddy-sso/gateway/refusal"
)

// An app whose sign-in the gateway drives itself has its codes made here, without a browser.
// They are those of any client: judged, counted, for one use, and over with the login.

// Issuer returns the issuer identifier, or "" before Bind.
func (p *Provider) Issuer() string { return p.issuer() }

// Code answers a request of a client for a login with a code. The error is a
// *refusal.Error if the person or the request is refused, ErrNoLogin if the login is over,
// else a fault.
func (p *Provider) Code(ctx context.Context, request url.Values, login string) (string, error) {
	a, err := p.Authorization(ctx, request)
	if err != nil {
		return "", err
	}
	answer := a.Refused()
	if answer == nil {
		if answer, err = a.Grant(ctx, login); err != nil {
			return "", err
		}
	}
	if answer.Refusal != nil {
		return "", refusal.New(refusal.ClientRefused, answer.Refusal)
	}
	at, err := url.Parse(answer.Location)
	if err != nil || answer.Form != nil {
		return "", refusal.New(refusal.ClientRefused, errors.New("making a code: the app wants to get it by a form"))
	}
	return at.Query().Get("code"), nil
}

// Redeemed reports whether the client has got tokens for a code.
func (p *Provider) Redeemed(ctx context.Context, code string) bool {
	g, err := p.find(ctx, code, kindCode)
	return err == nil && g.Used
}

// Groups returns the groups that a client is told of the person of a login.
func (p *Provider) Groups(ctx context.Context, client, login string) ([]string, error) {
	person, err := p.people.Person(ctx, client, login)
	if err != nil {
		return nil, err
	}
	return person.Groups, nil
}
