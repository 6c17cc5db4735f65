package oidcrp_test

import (
	"testing"
	"testing/synctest"
	"time"

	"github.com/caddy-sso/caddy-sso/gateway/gatewaytest"
	"github.com/caddy-sso/caddy-sso/gateway/oidcrp"
	"github.com/caddy-sso/caddy-sso/gateway/refusal"
)

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
				for floods := range 2 {
					for _, err := range crowd(300, func(i int) error {
						time.Sleep(time.Duration(i) * time.Millisecond)
						_, err := oidcrp.Keys(p).VerifySignature(t.Context(), gatewaytest.SignJWS(header(i), []byte("{}"), evil.Signer))
						return err
					}) {
						wantCode(t, err, refusal.OIDCSignature)
					}
					if n := op.Requests(gatewaytest.OPJWKSPath) - before; n > floods+1 {
						t.Errorf("the keys were fetched %d times", n)
					}
					time.Sleep(oidcrp.RenewEvery)
				}
				mustLogin(t, op, p)
			})
		})
	}
}
