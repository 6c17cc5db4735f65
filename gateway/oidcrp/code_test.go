package oidcrp_test

import (
	"context"
	"net/url"
	"testing"

	"github.com/caddy-sso/caddy-sso/gateway/gatewaytest"
	"github.com/caddy-sso/caddy-sso/gateway/oidcrp"
	"github.com/caddy-sso/caddy-sso/gateway/provider"
	"github.com/caddy-sso/caddy-sso/gateway/refusal"
)

// answered is the answer to a login that p begins.
func answered(t *testing.T, op *gatewaytest.OP, p *oidcrp.Provider) provider.CompleteRequest {
	t.Helper()
	begun, err := p.Begin(t.Context(), beginRequest)
	if err != nil {
		t.Fatal(err)
	}
	params, err := op.Visit(begun.Location)
	if err != nil {
		t.Fatal(err)
	}
	return provider.CompleteRequest{Params: params, Private: begun.Private, CallbackURL: gatewaytest.OPCallback}
}

func TestCodeInjection(t *testing.T) {
	t.Parallel()
	for _, tt := range []struct {
		name   string
		noPKCE bool
		code   refusal.Code
	}{
		{"PKCE stops it at the provider", false, refusal.OIDCCodeRejected},
		{"without PKCE the nonce stops it", true, refusal.OIDCNonce},
	} {
		t.Run(tt.name, func(t *testing.T) {
			t.Parallel()
			op := inProcess(t)
			p := newProvider(t, op, func(c *oidcrp.Config) { c.InsecureNoPKCE = tt.noPKCE })
			mustLogin(t, op, p)
			stolen, mine := answered(t, op, p), answered(t, op, p)
			mine.Params = stolen.Params
			_, err := p.Complete(t.Context(), mine)
			wantCode(t, err, tt.code)
		})
	}
}

func TestCodeUsedTwice(t *testing.T) {
	t.Parallel()
	op := inProcess(t)
	p := newProvider(t, op)
	req := answered(t, op, p)
	if _, err := p.Complete(t.Context(), req); err != nil {
		t.Fatal(err)
	}
	_, err := p.Complete(t.Context(), req)
	wantCode(t, err, refusal.OIDCCodeRejected)

	req.CallbackURL += "/other"
	_, err = p.Complete(t.Context(), req)
	wantCode(t, err, refusal.OIDCCodeRejected)
}

func TestFlowOfAnotherIssuer(t *testing.T) {
	t.Parallel()
	op := inProcess(t)
	p := newProvider(t, op)
	for name, private := range map[string]string{
		"none":           "",
		"garbage":        "x",
		"another issuer": `{"i":"https://other.test","n":"nonce","t":1}`,
		"no nonce":       `{"i":"https://op.test","t":1}`,
	} {
		_, err := p.Complete(context.Background(), provider.CompleteRequest{
			Params: url.Values{"code": {"x"}, "iss": {op.Issuer}}, Private: []byte(private), CallbackURL: gatewaytest.OPCallback,
		})
		if refusal.CodeOf(err) != refusal.FlowUnknown {
			t.Errorf("%s: got %v", name, err)
		}
	}
	if n := op.Requests(gatewaytest.OPTokenPath); n != 0 {
		t.Errorf("the token endpoint was asked %d times", n)
	}
}
