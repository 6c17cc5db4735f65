package oidcrp

import (
	"errors"
	"fmt"
	"net/url"

	"github.com/caddy-sso/caddy-sso/gateway/provider"
	"github.com/caddy-sso/caddy-sso/gateway/refusal"
	"github.com/caddy-sso/caddy-sso/gateway/wording"
)

// maxCode bounds an authorization code, in bytes. Entra's have about 1,500.
const maxCode = 8 << 10

// An answer is an authorization response (RFC 6749 §4.1.2), for checklist.answer. The
// gateway has checked its state.
type answer struct {
	params      url.Values
	issuer      string
	issRequired bool
}

func answerSingle(a *answer) error {
	for name, values := range a.params {
		if len(values) != 1 {
			return fmt.Errorf("reading the answer: the parameter %s stands %d times", wording.Quoted(name), len(values))
		}
	}
	return nil
}

// answerIssuer is the defence against mix-up (RFC 9207 §2.4), for error answers
// as well.
func answerIssuer(a *answer) error {
	if a.params.Has("iss") && a.params.Get("iss") != a.issuer {
		return fmt.Errorf("reading the answer: its iss is %s, asked was %q", wording.Quoted(a.params.Get("iss")), a.issuer)
	}
	return nil
}

func answerErrorAlone(a *answer) error {
	if a.params.Has("error") && a.params.Has("code") {
		return errors.New("reading the answer: error beside code")
	}
	return nil
}

// answerNoTokens refuses the parameters of flows that we never ask for (implicit,
// hybrid, JARM).
func answerNoTokens(a *answer) error {
	for _, name := range []string{"id_token", "access_token", "response"} {
		if a.params.Has(name) {
			return fmt.Errorf("reading the answer: %s was not asked for", name)
		}
	}
	return nil
}

func answerError(a *answer) error {
	if !a.params.Has("error") {
		return nil
	}
	code := a.params.Get("error")
	err := fmt.Errorf("reading the answer: the provider says %s", said(code, a.params.Get("error_description"), a.params.Get("state")))
	switch {
	case passingError(code): // it refuses nobody
		return refusal.New(refusal.ProviderUnavailable, err)
	case isErrorCode(code) && code != "access_denied":
		return fmt.Errorf("%w; %w", err, provider.ErrRequestRefused)
	}
	return err
}

func answerIssuerThere(a *answer) error {
	if a.issRequired && !a.params.Has("iss") {
		return errors.New("reading the answer: iss is missing, though the provider announces it")
	}
	return nil
}

func answerCode(a *answer) error {
	if !printable(a.params.Get("code"), maxCode) {
		return fmt.Errorf("reading the answer: code is missing, longer than %d bytes, or not visible ASCII", maxCode)
	}
	return nil
}

// code checks the answer and returns its authorization code.
func (p *Provider) code(md *metadata, req provider.CompleteRequest) (string, error) {
	a := &answer{params: req.Params, issuer: p.config.Issuer, issRequired: md.issRequired}
	if err := p.checks.answer.Run(a); err != nil {
		return "", err
	}
	return a.params.Get("code"), nil
}
