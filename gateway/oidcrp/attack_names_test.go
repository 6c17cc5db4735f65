package oidcrp_test

import (
	"testing"
	"testing/synctest"
	"time"

	"github.com/caddy-sso/caddy-sso/gateway"
	"github.com/caddy-sso/caddy-sso/gateway/gatewaytest"
	"github.com/caddy-sso/caddy-sso/gateway/oidcrp"
)

// nameAttacks write a claim's name as encoding/json reads it too, and so
// go-oidc: in another case, or with a character that folds to it.
func nameAttacks() []attack {
	rename := func(from, to string) opHooks {
		return claims(func(c map[string]any) {
			c[to] = c[from]
			delete(c, from)
		})
	}
	return []attack{
		{name: "names/SUB for sub", hooks: rename("sub", "SUB"), stops: []string{"sub"}, code: gateway.CodeOIDCClaimInvalid},
		{name: "names/a long s in sub", hooks: rename("sub", "ſub"), stops: []string{"sub"}, code: gateway.CodeOIDCClaimInvalid},
		{name: "names/Nonce for nonce", hooks: rename("nonce", "Nonce"), stops: []string{"nonce"}, code: gateway.CodeOIDCNonce},
		{name: "names/AUD for aud", hooks: rename("aud", "AUD"), stops: []string{"aud"}, code: gateway.CodeOIDCAudience},
		{name: "names/EXP for exp", hooks: rename("exp", "EXP"), stops: []string{"exp"}, code: gateway.CodeOIDCTime},
		{name: "names/ISS behind another's iss", hooks: func(op *gatewaytest.OP) gatewaytest.OPHooks {
			return gatewaytest.OPHooks{Claims: setIn("iss", "https://evil.test"), Payload: func(p []byte) []byte {
				return append(p[:len(p)-1], `,"ISS":"`+op.Issuer+`"}`...)
			}}
		}, stops: []string{"iss"}, code: gateway.CodeOIDCIssuerMismatch},
	}
}

// TestAttackKeyFlood holds that nobody makes us flood a provider with requests
// for its keys, however bad the tokens are that he has us verify.
func TestAttackKeyFlood(t *testing.T) {
	t.Parallel()
	evil := gatewaytest.NewOPKey("ES256", "evil")
	for name, header := range map[string]func(i int) map[string]any{
		"unknown kids": func(i int) map[string]any { return map[string]any{"alg": "ES256", "kid": string(rune('a' + i))} },
		"no kid":       func(int) map[string]any { return map[string]any{"alg": "ES256"} },
		"the kid of a key that is known": func(int) map[string]any {
			return map[string]any{"alg": "ES256", "kid": "one"}
		},
		"an algorithm that no key has": func(int) map[string]any { return map[string]any{"alg": "ES384", "kid": "one"} },
	} {
		t.Run(name, func(t *testing.T) {
			t.Parallel()
			synctest.Test(t, func(t *testing.T) {
				op := inProcess(t)
				p := newProvider(t, op)
				mustLogin(t, op, p) // the control
				before := op.Requests(gatewaytest.OPJWKSPath)
				for _, err := range crowd(300, func(i int) error {
					time.Sleep(time.Duration(i) * time.Millisecond)
					jws := gatewaytest.SignJWS(header(i), []byte("{}"), evil.Signer)
					_, err := oidcrp.Keys(p).VerifySignature(t.Context(), jws)
					return err
				}) {
					wantCode(t, err, gateway.CodeOIDCSignature)
				}
				if n := op.Requests(gatewaytest.OPJWKSPath) - before; n > 1 {
					t.Errorf("the keys were fetched %d times", n)
				}
				mustLogin(t, op, p)
			})
		})
	}
}
