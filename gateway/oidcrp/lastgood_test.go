package oidcrp_test

import (
	"encoding/json"
	"errors"
	"strings"
	"testing"
	"testing/synctest"
	"time"

	"go.uber.org/zap"
	"go.uber.org/zap/zapcore"
	"go.uber.org/zap/zaptest/observer"

	"github.com/caddy-sso/caddy-sso/gateway/gatewaytest"
	"github.com/caddy-sso/caddy-sso/gateway/oidcrp"
	"github.com/caddy-sso/caddy-sso/gateway/refusal"
)

type rawJSON = json.RawMessage

func down(op *gatewaytest.OP) {
	h := at(gatewaytest.OPDiscoveryPath, broken)
	h.Serve[gatewaytest.OPJWKSPath] = broken
	op.SetHooks(h)
}

func TestLastGood(t *testing.T) {
	t.Parallel()
	setUp := func(t *testing.T) (*gatewaytest.OP, *gatewaytest.Shelf, string) {
		t.Helper()
		op, s := inProcess(t), &gatewaytest.Shelf{}
		mustLogin(t, op, newWith(t, op, oidcrp.Deps{LastGood: s}))
		synctest.Wait()
		if len(s.Names()) != 2 {
			t.Fatalf("saved %d documents", len(s.Names()))
		}
		down(op)
		return op, s, gatewaytest.SignJWS(map[string]any{"alg": "ES256", "kid": "one"}, []byte("{}"), op.Key.Signer)
	}
	verify := func(t *testing.T, p *oidcrp.Provider, jws string) error {
		t.Helper()
		_, err := oidcrp.Keys(p).VerifySignature(t.Context(), jws)
		return err
	}

	t.Run("restart while the provider is down", func(t *testing.T) {
		t.Parallel()
		synctest.Test(t, func(t *testing.T) {
			op, s, jws := setUp(t)
			p := newWith(t, op, oidcrp.Deps{LastGood: s})
			if err := verify(t, p, jws); err != nil {
				t.Errorf("the last good keys are not used: %v", err)
			}
			wantCode(t, begin(t.Context(), p), refusal.ProviderUnavailable)
			wantCode(t, verify(t, p, gatewaytest.SignJWS(map[string]any{"alg": "ES256", "kid": "new"}, []byte("{}"), op.Key.Signer)),
				refusal.ProviderUnavailable) // whether the key exists, nobody knows now
			op.SetHooks(gatewaytest.OPHooks{})
			time.Sleep(oidcrp.FailureKept)
			mustLogin(t, op, p)
		})
	})
	t.Run("not taken under other certificates", func(t *testing.T) {
		t.Parallel()
		roots := gatewaytest.NewOP(t, gatewaytest.OPOptions{}).Roots
		synctest.Test(t, func(t *testing.T) {
			op, s, jws := setUp(t)
			other := newWith(t, op, oidcrp.Deps{LastGood: s}, func(c *oidcrp.Config) { c.RootCAs = roots })
			wantCode(t, verify(t, other, jws), refusal.ProviderUnavailable)
			if err := verify(t, newWith(t, op, oidcrp.Deps{LastGood: s}), jws); err != nil {
				t.Errorf("the control: %v", err)
			}
		})
	})
	t.Run("names differ by issuer and hide it", func(t *testing.T) {
		t.Parallel()
		synctest.Test(t, func(t *testing.T) {
			op, s, jws := setUp(t)
			for _, name := range s.Names() {
				if strings.Contains(name, "op.test") {
					t.Errorf("the name %q shows the issuer", name)
				}
			}
			other := newWith(t, op, oidcrp.Deps{LastGood: s}, func(c *oidcrp.Config) { c.Issuer = "https://op.test/other" })
			wantCode(t, verify(t, other, jws), refusal.ProviderUnavailable)
		})
	})
	for name, doc := range map[string]string{
		"garbage":                       "x",
		"another issuer":                `{"issuer":"https://evil.test","authorization_endpoint":"https://evil.test/a","token_endpoint":"https://evil.test/t","jwks_uri":"https://evil.test/j"}`,
		"endpoints that are not https":  `{"issuer":"https://op.test","authorization_endpoint":"https://op.test/a","token_endpoint":"http://op.test/t","jwks_uri":"https://op.test/j"}`,
		"no keys and no endpoints":      `{"keys":[]}`,
		"nothing":                       ``,
		"a list of keys with a key off": `{"keys":[{"kty":"oct","k":"AAAA"}]}`,
	} {
		t.Run("not taken: "+name, func(t *testing.T) {
			t.Parallel()
			synctest.Test(t, func(t *testing.T) {
				op, s, jws := setUp(t)
				s.Spoil(doc)
				wantCode(t, verify(t, newWith(t, op, oidcrp.Deps{LastGood: s}), jws), refusal.ProviderUnavailable)
			})
		})
	}
	t.Run("a store that is down harms no login", func(t *testing.T) {
		t.Parallel()
		synctest.Test(t, func(t *testing.T) {
			core, logs := observer.New(zapcore.WarnLevel)
			op := inProcess(t)
			mustLogin(t, op, newWith(t, op, oidcrp.Deps{LastGood: &gatewaytest.Shelf{Err: errors.New("store is down")}, Logger: zap.New(core)}))
			synctest.Wait()
			if logs.Len() != 2 {
				t.Errorf("got %d warnings, want one for each document", logs.Len())
			}
		})
	})
}
