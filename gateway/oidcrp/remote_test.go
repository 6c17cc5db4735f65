package oidcrp_test

import (
	"context"
	"crypto/tls"
	"crypto/x509"
	"errors"
	"fmt"
	"net/http"
	"strings"
	"sync"
	"testing"
	"testing/synctest"
	"time"

	"github.com/caddy-sso/caddy-sso/gateway/fetch"
	"github.com/caddy-sso/caddy-sso/gateway/gatewaytest"
	"github.com/caddy-sso/caddy-sso/gateway/oidcrp"
	"github.com/caddy-sso/caddy-sso/gateway/provider"
	"github.com/caddy-sso/caddy-sso/gateway/refusal"
)

// hang never answers; the request's own time limit ends it.
func hang(_ http.ResponseWriter, r *http.Request) { <-r.Context().Done() }

// slow answers as the OP would, after d.
func slow(op *gatewaytest.OP, d time.Duration) http.HandlerFunc {
	return func(w http.ResponseWriter, r *http.Request) {
		select {
		case <-time.After(d):
			op.ServeAltered(w, r, http.StatusOK, "application/json")
		case <-r.Context().Done():
		}
	}
}

func broken(w http.ResponseWriter, _ *http.Request) { w.WriteHeader(http.StatusBadGateway) }

func at(path string, h http.HandlerFunc) gatewaytest.OPHooks {
	return gatewaytest.OPHooks{Serve: map[string]http.HandlerFunc{path: h}}
}

func begin(ctx context.Context, p provider.Provider) error {
	_, err := p.Begin(ctx, provider.BeginRequest{State: strings.Repeat("s", 43), CallbackURL: gatewaytest.OPCallback})
	return err
}

func took(t *testing.T, want time.Duration, f func()) {
	t.Helper()
	start := time.Now()
	f()
	if got := time.Since(start); got != want {
		t.Errorf("took %v, want %v", got, want)
	}
}

func wantRequests(t *testing.T, op *gatewaytest.OP, path string, want int) {
	t.Helper()
	if got := op.Requests(path); got != want {
		t.Errorf("%s had %d requests, want %d", path, got, want)
	}
}

// crowd runs n calls at once and returns their errors.
func crowd(n int, call func(i int) error) []error {
	errs := make([]error, n)
	var wg sync.WaitGroup
	for i := range n {
		wg.Go(func() { errs[i] = call(i) })
	}
	wg.Wait()
	return errs
}

func TestProviderDown(t *testing.T) {
	t.Parallel()
	synctest.Test(t, func(t *testing.T) {
		op := inProcess(t)
		p := newProvider(t, op)
		op.SetHooks(at(gatewaytest.OPDiscoveryPath, hang))
		took(t, fetch.Timeout, func() {
			for _, err := range crowd(100, func(int) error { return begin(t.Context(), p) }) {
				if refusal.CodeOf(err) != refusal.ProviderUnavailable {
					t.Fatalf("got %v", err)
				}
			}
		})
		wantRequests(t, op, gatewaytest.OPDiscoveryPath, 1)

		// Who comes right afterwards is told so at once, without a request.
		took(t, 0, func() { wantCode(t, begin(t.Context(), p), refusal.ProviderUnavailable) })
		wantRequests(t, op, gatewaytest.OPDiscoveryPath, 1)

		// And it mends itself.
		op.SetHooks(gatewaytest.OPHooks{})
		time.Sleep(oidcrp.RetryAfter)
		mustLogin(t, op, p)
	})
}

func TestProviderGoesDown(t *testing.T) {
	t.Parallel()
	synctest.Test(t, func(t *testing.T) {
		op := inProcess(t)
		p := newProvider(t, op)
		mustLogin(t, op, p)
		op.SetHooks(at(gatewaytest.OPDiscoveryPath, broken))
		if err := begin(t.Context(), p); err != nil {
			t.Errorf("asked again too early: %v", err)
		}
		time.Sleep(oidcrp.AliveFor)
		wantCode(t, begin(t.Context(), p), refusal.ProviderUnavailable)
		op.SetHooks(gatewaytest.OPHooks{})
		time.Sleep(oidcrp.RetryAfter)
		mustLogin(t, op, p)
	})
}

func TestSlowEndpoints(t *testing.T) {
	t.Parallel()
	for _, tt := range []struct {
		name  string
		serve func(op *gatewaytest.OP) map[string]http.HandlerFunc
		took  time.Duration
		code  refusal.Code
	}{
		{"slow but there", func(op *gatewaytest.OP) map[string]http.HandlerFunc {
			return map[string]http.HandlerFunc{gatewaytest.OPTokenPath: slow(op, 3*time.Second), gatewaytest.OPUserInfoPath: slow(op, 3*time.Second)}
		}, 6 * time.Second, ""},
		{"token endpoint hangs", func(*gatewaytest.OP) map[string]http.HandlerFunc {
			return map[string]http.HandlerFunc{gatewaytest.OPTokenPath: hang}
		}, 5 * time.Second, refusal.ProviderUnavailable},
		{"keys hang", func(*gatewaytest.OP) map[string]http.HandlerFunc {
			return map[string]http.HandlerFunc{gatewaytest.OPJWKSPath: hang}
		}, 5 * time.Second, refusal.ProviderUnavailable},
		{"userinfo hangs", func(*gatewaytest.OP) map[string]http.HandlerFunc {
			return map[string]http.HandlerFunc{gatewaytest.OPUserInfoPath: hang}
		}, 5 * time.Second, refusal.ProviderUnavailable},
		{"all of them slow", func(op *gatewaytest.OP) map[string]http.HandlerFunc {
			return map[string]http.HandlerFunc{
				gatewaytest.OPTokenPath: slow(op, 4*time.Second), gatewaytest.OPJWKSPath: slow(op, 4*time.Second), gatewaytest.OPUserInfoPath: slow(op, 4*time.Second),
			}
		}, 10 * time.Second, refusal.ProviderUnavailable},
	} {
		t.Run(tt.name, func(t *testing.T) {
			t.Parallel()
			synctest.Test(t, func(t *testing.T) {
				op := inProcess(t)
				op.SetHooks(gatewaytest.OPHooks{Claims: deleteFrom("groups"), Serve: tt.serve(op)})
				took(t, tt.took, func() {
					if _, err := op.Login(t.Context(), newProvider(t, op)); tt.code != "" {
						wantCode(t, err, tt.code)
					} else if err != nil {
						t.Error(err)
					}
				})
				wantRequests(t, op, gatewaytest.OPTokenPath, 1)
			})
		})
	}
}

// TestCancelledClient has the client that began a fetch go away.
func TestCancelledClient(t *testing.T) {
	t.Parallel()
	synctest.Test(t, func(t *testing.T) {
		op := inProcess(t)
		p := newProvider(t, op)
		op.SetHooks(at(gatewaytest.OPDiscoveryPath, slow(op, 2*time.Second)))
		ctx, cancel := context.WithCancel(t.Context())
		time.AfterFunc(time.Second, cancel)
		errs := crowd(2, func(i int) error {
			if i == 0 {
				return begin(ctx, p)
			}
			time.Sleep(time.Millisecond)
			return begin(t.Context(), p)
		})
		if !errors.Is(errs[0], context.Canceled) || errs[1] != nil {
			t.Errorf("got %v", errs)
		}
		wantRequests(t, op, gatewaytest.OPDiscoveryPath, 1)
	})
}

func TestSingleFlight(t *testing.T) {
	t.Parallel()
	op := gatewaytest.NewOP(t, gatewaytest.OPOptions{}) // real sockets, for the race detector
	p := newProvider(t, op)
	for _, err := range crowd(50, func(int) error { _, err := op.Login(t.Context(), p); return err }) {
		if err != nil {
			t.Fatal(err)
		}
	}
	wantRequests(t, op, gatewaytest.OPDiscoveryPath, 1)
	wantRequests(t, op, gatewaytest.OPJWKSPath, 1)
}

func TestUnknownKidFlood(t *testing.T) {
	t.Parallel()
	synctest.Test(t, func(t *testing.T) {
		op := inProcess(t)
		p := newProvider(t, op)
		mustLogin(t, op, p)
		keys := oidcrp.Keys(p)
		flood := func() {
			t.Helper()
			for _, err := range crowd(1000, func(i int) error {
				time.Sleep(time.Duration(i) * time.Millisecond)
				jws := gatewaytest.SignJWS(map[string]any{"alg": "ES256", "kid": string(rune('a' + i))}, []byte("{}"), op.Key.Signer)
				_, err := keys.VerifySignature(t.Context(), jws)
				return err
			}) {
				wantCode(t, err, refusal.OIDCSignature)
			}
		}
		flood()
		wantRequests(t, op, gatewaytest.OPJWKSPath, 2) // the first one ever, and one for the flood
		time.Sleep(oidcrp.RenewEvery)
		flood()
		wantRequests(t, op, gatewaytest.OPJWKSPath, 3)
	})
}

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

func TestRefresh(t *testing.T) {
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
		two := gatewaytest.NewOPKey("ES256", "two")
		op.SetHooks(gatewaytest.OPHooks{
			JWKS:  setIn("keys", []any{two.JWK()}),
			Serve: map[string]http.HandlerFunc{gatewaytest.OPJWKSPath: slow(op, time.Second)},
		})
		time.Sleep(oidcrp.RefreshAfter)
		took(t, 0, func() { // old, and used while the new ones are fetched
			if err := verify(); err != nil {
				t.Error(err)
			}
		})
		time.Sleep(2 * time.Second)
		wantRequests(t, op, gatewaytest.OPJWKSPath, 2)
		wantCode(t, verify(), refusal.OIDCSignature) // withdrawn

		// A provider that is down takes no keys away.
		op.SetHooks(at(gatewaytest.OPJWKSPath, broken))
		time.Sleep(2 * oidcrp.RefreshAfter)
		jws = gatewaytest.SignJWS(map[string]any{"alg": "ES256", "kid": "two"}, []byte("{}"), two.Signer)
		for range 3 {
			if err := verify(); err != nil {
				t.Error(err)
			}
			time.Sleep(oidcrp.RetryAfter)
		}
		synctest.Wait()
	})
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

func TestPanicWhileReading(t *testing.T) {
	t.Parallel()
	op := inProcess(t)
	p := newProvider(t, op)
	oidcrp.PanicOnDiscovery(p)
	err := begin(t.Context(), p)
	wantCode(t, err, refusal.Internal)
	if strings.Contains(err.Error(), "secret") {
		t.Errorf("the error shows what the panic said: %v", err)
	}
}

func TestTLS(t *testing.T) {
	t.Parallel()
	op := gatewaytest.NewOP(t, gatewaytest.OPOptions{})
	p := newProvider(t, op, func(c *oidcrp.Config) { c.RootCAs = nil })
	err := begin(t.Context(), p)
	wantCode(t, err, refusal.ProviderUnavailable)
	if !strings.Contains(err.Error(), "certificate") {
		t.Errorf("the error does not say why: %v", err)
	}
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
		time.Sleep(oidcrp.RetryAfter)
		if err := verify("two", two); err != nil {
			t.Errorf("is not mended after %v: %v", oidcrp.RetryAfter, err)
		}
	})
}

// TestOverSockets is one login with a browser that follows real redirects.
func TestOverSockets(t *testing.T) {
	t.Parallel()
	op := gatewaytest.NewOP(t, gatewaytest.OPOptions{Alg: "RS256"})
	p := newProvider(t, op)
	begun, err := p.Begin(t.Context(), provider.BeginRequest{State: strings.Repeat("s", 43), CallbackURL: gatewaytest.OPCallback})
	if err != nil {
		t.Fatal(err)
	}
	roots := x509.NewCertPool()
	roots.AppendCertsFromPEM(op.Roots)
	browser := &http.Client{
		Transport:     &http.Transport{TLSClientConfig: &tls.Config{RootCAs: roots}},
		CheckRedirect: func(*http.Request, []*http.Request) error { return http.ErrUseLastResponse },
	}
	resp, err := browser.Get(begun.Location)
	if err != nil {
		t.Fatal(err)
	}
	_ = resp.Body.Close()
	back, err := resp.Location()
	if err != nil || !strings.HasPrefix(back.String(), gatewaytest.OPCallback+"?") {
		t.Fatalf("sent to %v, %v", back, err)
	}
	answer, err := p.Complete(t.Context(), provider.CompleteRequest{Params: back.Query(), Private: begun.Private, CallbackURL: gatewaytest.OPCallback})
	if err != nil || answer.Subject != "a1ice-0001" {
		t.Fatalf("got %+v, %v", answer, err)
	}
}
