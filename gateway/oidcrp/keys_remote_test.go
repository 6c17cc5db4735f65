package oidcrp_test

import (
	"fmt"
	"testing"
	"testing/synctest"
	"time"

	"github.com/caddy-sso/caddy-sso/gateway/gatewaytest"
	"github.com/caddy-sso/caddy-sso/gateway/oidcrp"
	"github.com/caddy-sso/caddy-sso/gateway/refusal"
)

func TestRotation(t *testing.T) {
	t.Parallel()
	synctest.Test(t, func(t *testing.T) {
		op := inProcess(t)
		p := newProvider(t, op)
		mustLogin(t, op, p)
		rotate := func(kid string) {
			key := gatewaytest.NewOPKey("ES256", kid)
			op.SetHooks(gatewaytest.OPHooks{Key: &key, JWKS: setIn("keys", []any{key.JWK()})})
		}
		rotate("two")
		mustLogin(t, op, p) // at once
		wantRequests(t, op, gatewaytest.OPJWKSPath, 2)

		// And however many more, since each brings a key.
		for i, kid := range []string{"three", "four", "five"} {
			time.Sleep(time.Second)
			rotate(kid)
			mustLogin(t, op, p)
			wantRequests(t, op, gatewaytest.OPJWKSPath, 3+i)
		}
		// A key that is not published yet is looked for once.
		unpublished := gatewaytest.NewOPKey("ES256", "six")
		op.SetHooks(gatewaytest.OPHooks{Key: &unpublished})
		for range 10 {
			_, err := op.Login(t.Context(), p)
			wantCode(t, err, refusal.OIDCSignature)
		}
		wantRequests(t, op, gatewaytest.OPJWKSPath, 6)
		rotate("six")
		time.Sleep(oidcrp.RenewEvery)
		mustLogin(t, op, p)
	})
}

// TestWithdrawnKeys holds that a key counts until the provider's keys are fetched the
// next time, which is an hour later at the latest, whether anybody signed in
// meanwhile or not.
func TestWithdrawnKeys(t *testing.T) {
	t.Parallel()
	two := gatewaytest.NewOPKey("ES256", "two")
	for name, withdraw := range map[string]func(set map[string]any){
		"another in its place": setIn("keys", []any{two.JWK()}),
		"none at all":          setIn("keys", []any{}),
		"none of ours":         setIn("keys", []any{rawJSON(`{"kty":"AKP","alg":"ML-DSA-44","pub":"AAAA"}`)}),
		"it is for encryption now": func(set map[string]any) {
			set["keys"].([]any)[0].(map[string]any)["use"] = "enc"
		},
	} {
		t.Run(name, func(t *testing.T) {
			t.Parallel()
			synctest.Test(t, func(t *testing.T) {
				op := inProcess(t)
				p := newProvider(t, op)
				mustLogin(t, op, p)
				jws := gatewaytest.SignJWS(map[string]any{"alg": "ES256", "kid": "one"}, []byte("{}"), op.Key.Signer)
				verify := func() error {
					_, err := oidcrp.Keys(p).VerifySignature(t.Context(), jws)
					return err
				}
				hooks := gatewaytest.OPHooks{JWKS: withdraw}
				op.SetHooks(hooks)
				time.Sleep(oidcrp.WaitAfter)
				if verify() == nil {
					t.Error("it counts after an hour in which nobody signed in")
				}
				op.SetHooks(gatewaytest.OPHooks{})
				time.Sleep(oidcrp.RenewEvery)
				if err := verify(); err != nil {
					t.Errorf("it is published again: %v", err)
				}
				// A fetch failed before: the next one is not far.
				time.Sleep(oidcrp.RefreshAfter)
				op.SetHooks(at(gatewaytest.OPJWKSPath, broken))
				if err := verify(); err != nil {
					t.Error(err)
				}
				synctest.Wait()
				op.SetHooks(hooks)
				time.Sleep(oidcrp.WaitAfter - oidcrp.RefreshAfter)
				if verify() == nil {
					t.Error("it counts an hour after a failed fetch")
				}
			})
		})
	}
}

// TestRotationUnderOneKid is for providers that never change the kid, or have
// none.
func TestRotationUnderOneKid(t *testing.T) {
	t.Parallel()
	for _, kid := range []string{"one", ""} {
		t.Run("kid "+kid, func(t *testing.T) {
			t.Parallel()
			op := inProcess(t)
			p := newProvider(t, op)
			unnamed := func(key gatewaytest.OPKey) {
				key.KID = kid
				jwk := key.JWK()
				header := func(h map[string]any) {
					if kid == "" {
						delete(h, "kid")
						delete(jwk, "kid")
					}
				}
				header(map[string]any{})
				op.SetHooks(gatewaytest.OPHooks{Key: &key, Header: header, JWKS: setIn("keys", []any{jwk})})
			}
			unnamed(op.Key)
			mustLogin(t, op, p)
			unnamed(gatewaytest.NewOPKey("ES256", "two"))
			mustLogin(t, op, p)
		})
	}
}

// TestKeysTried holds that a token that names no key has us try a few, however
// many there are, and that one that names its key needs no luck.
func TestKeysTried(t *testing.T) {
	t.Parallel()
	op := inProcess(t)
	p := newProvider(t, op)
	var keys []gatewaytest.OPKey
	var jwks []any
	for i := range 18 {
		keys = append(keys, gatewaytest.NewOPKey("ES256", fmt.Sprint("key", i)))
		jwks = append(jwks, keys[i].JWK())
	}
	op.SetHooks(gatewaytest.OPHooks{JWKS: setIn("keys", jwks)})
	for i, key := range keys {
		for _, header := range []map[string]any{{"alg": "ES256", "kid": key.KID}, {"alg": "ES256"}} {
			_, err := oidcrp.Keys(p).VerifySignature(t.Context(), gatewaytest.SignJWS(header, []byte("{}"), key.Signer))
			if named := header["kid"] != nil; (err == nil) != (named || i < 16) {
				t.Errorf("key %d, named %v: got %v", i, named, err)
			}
		}
	}
}

func TestOneBrokenKey(t *testing.T) {
	t.Parallel()
	for name, jwk := range map[string]string{
		"no object":             `"x"`,
		"null":                  `null`,
		"empty":                 `{}`,
		"unknown type":          `{"kty":"AKP","alg":"ML-DSA-44","pub":"AAAA"}`,
		"RSA without e":         `{"kty":"RSA","n":"AAAA"}`,
		"RSA with e of null":    `{"kty":"RSA","n":"AAAA","e":null}`,
		"no base64":             `{"kty":"EC","crv":"P-256","x":"?","y":"?"}`,
		"off its curve":         `{"kty":"EC","crv":"P-256","x":"AAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAA","y":"AAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAA"}`,
		"short Ed25519":         `{"kty":"OKP","crv":"Ed25519","x":"AAAA"}`,
		"X25519":                `{"kty":"OKP","crv":"X25519","x":"AAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAA"}`,
		"a name twice":          `{"kty":"RSA","kty":"EC"}`,
		"half a surrogate pair": `{"kid":"\ud800"}`,
		"symmetric":             `{"kty":"oct","k":"c2VjcmV0"}`,
	} {
		t.Run(name, func(t *testing.T) {
			t.Parallel()
			op := inProcess(t)
			op.SetHooks(gatewaytest.OPHooks{JWKS: func(set map[string]any) {
				set["keys"] = []any{rawJSON(jwk), set["keys"].([]any)[0], rawJSON(jwk)}
			}})
			mustLogin(t, op, newProvider(t, op))
		})
	}
	t.Run("a key that says what it is good for", func(t *testing.T) {
		t.Parallel()
		op := inProcess(t)
		op.SetHooks(gatewaytest.OPHooks{JWKS: func(set map[string]any) {
			set["keys"].([]any)[0].(map[string]any)["key_ops"] = []string{"sign", "verify"}
		}})
		mustLogin(t, op, newProvider(t, op))
	})
	t.Run("a broken x5c beside a good key", func(t *testing.T) {
		t.Parallel()
		op := inProcess(t)
		op.SetHooks(gatewaytest.OPHooks{JWKS: func(set map[string]any) {
			set["keys"].([]any)[0].(map[string]any)["x5c"] = []string{"!"}
		}})
		mustLogin(t, op, newProvider(t, op))
	})
}

// TestKeysDownDuringRotation tells "nobody knows this key" from "nobody can
// say", and mends itself as soon as the keys are there again.
func TestKeysDownDuringRotation(t *testing.T) {
	t.Parallel()
	synctest.Test(t, func(t *testing.T) {
		op := inProcess(t)
		p := newProvider(t, op)
		mustLogin(t, op, p)
		two, evil := gatewaytest.NewOPKey("ES256", "two"), gatewaytest.NewOPKey("ES256", "evil")
		verify := func(kid string, key gatewaytest.OPKey) error {
			jws := gatewaytest.SignJWS(map[string]any{"alg": "ES256", "kid": kid}, []byte("{}"), key.Signer)
			_, err := oidcrp.Keys(p).VerifySignature(t.Context(), jws)
			return err
		}
		op.SetHooks(at(gatewaytest.OPJWKSPath, broken))
		wantCode(t, verify("two", two), refusal.ProviderUnavailable)
		wantCode(t, verify("one", evil), refusal.OIDCSignature)

		op.SetHooks(gatewaytest.OPHooks{JWKS: setIn("keys", []any{two.JWK()})})
		time.Sleep(oidcrp.FailureKept)
		if err := verify("two", two); err != nil {
			t.Errorf("is not mended after %v: %v", oidcrp.FailureKept, err)
		}
	})
}
