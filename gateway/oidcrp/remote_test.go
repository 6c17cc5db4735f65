package oidcrp_test

import (
	"context"
	"crypto/tls"
	"crypto/x509"
	"errors"
	"fmt"
	"io"
	"net/http"
	"strings"
	"sync"
	"testing"
	"testing/synctest"
	"time"

	"go.uber.org/zap"
	"go.uber.org/zap/zaptest/observer"

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

var beginRequest = provider.BeginRequest{State: strings.Repeat("s", 43), CallbackURL: gatewaytest.OPCallback}

func begin(ctx context.Context, p provider.Provider) error {
	_, err := p.Begin(ctx, beginRequest)
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
		time.Sleep(oidcrp.FailureKept)
		mustLogin(t, op, p)
	})
}

// TestStart fetches the discovery document in the background, and logs what is wrong
// with it before anybody signs in.
func TestStart(t *testing.T) {
	t.Parallel()
	for name, tt := range map[string]struct {
		serve http.HandlerFunc
		want  string
	}{
		"it is there":    {nil, ""},
		"it hangs":       {hang, "fetching the discovery document"},
		"another issuer": {says(`{"issuer":"https://other.example"}`), "write it in `issuer`, byte for byte"},
		"nothing there":  {http.NotFound, "the address is made of `issuer`: check that"},
	} {
		t.Run(name, func(t *testing.T) {
			t.Parallel()
			synctest.Test(t, func(t *testing.T) {
				op := inProcess(t)
				if tt.serve != nil {
					op.SetHooks(at(gatewaytest.OPDiscoveryPath, tt.serve))
				}
				core, logs := observer.New(zap.WarnLevel)
				p := newWith(t, op, oidcrp.Deps{Logger: zap.New(core)})
				took(t, 0, func() { p.Start(t.Context()) })
				time.Sleep(fetch.Timeout)
				synctest.Wait()
				wantRequests(t, op, gatewaytest.OPDiscoveryPath, 1)
				if tt.want == "" {
					if logs.Len() > 0 {
						t.Errorf("it logged %v", logs.All())
					}
					return
				}
				if logs.Len() != 1 || !strings.Contains(fmt.Sprint(logs.All()[0].ContextMap()), tt.want) {
					t.Errorf("it logged %v, want %s", logs.All(), tt.want)
				}
			})
		})
	}
}

// says answers with a document of its own.
func says(doc string) http.HandlerFunc {
	return func(w http.ResponseWriter, _ *http.Request) {
		w.Header().Set("Content-Type", "application/json")
		_, _ = io.WriteString(w, doc)
	}
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
		time.Sleep(oidcrp.FailureKept)
		mustLogin(t, op, p)
	})
}

func TestSlowEndpoints(t *testing.T) {
	t.Parallel()
	const token, keys, userInfo, never = gatewaytest.OPTokenPath, gatewaytest.OPJWKSPath, gatewaytest.OPUserInfoPath, time.Hour
	for _, tt := range []struct {
		name string
		slow map[string]time.Duration // by path
		took time.Duration
		code refusal.Code
	}{
		{"slow but there", map[string]time.Duration{token: 3 * time.Second, userInfo: 3 * time.Second}, 6 * time.Second, ""},
		{"token endpoint hangs", map[string]time.Duration{token: never}, 5 * time.Second, refusal.ProviderUnavailable},
		{"keys hang", map[string]time.Duration{keys: never}, 5 * time.Second, refusal.ProviderUnavailable},
		{"userinfo hangs", map[string]time.Duration{userInfo: never}, 5 * time.Second, refusal.ProviderUnavailable},
		{"all of them slow", map[string]time.Duration{token: 4 * time.Second, keys: 4 * time.Second, userInfo: 4 * time.Second}, 10 * time.Second, refusal.ProviderUnavailable},
	} {
		t.Run(tt.name, func(t *testing.T) {
			t.Parallel()
			synctest.Test(t, func(t *testing.T) {
				op := inProcess(t)
				hooks := gatewaytest.OPHooks{Claims: deleteFrom("groups"), Serve: map[string]http.HandlerFunc{}}
				for path, d := range tt.slow {
					hooks.Serve[path] = slow(op, d)
				}
				op.SetHooks(hooks)
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
	for _, err := range crowd(20, func(int) error { _, err := op.Login(t.Context(), p); return err }) {
		if err != nil {
			t.Fatal(err)
		}
	}
	wantRequests(t, op, gatewaytest.OPDiscoveryPath, 1)
	wantRequests(t, op, gatewaytest.OPJWKSPath, 1)
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
			time.Sleep(oidcrp.FailureKept)
		}
		synctest.Wait()
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

// TestOverSockets is one login with a browser that follows real redirects.
func TestOverSockets(t *testing.T) {
	t.Parallel()
	op := gatewaytest.NewOP(t, gatewaytest.OPOptions{Alg: "RS256"})
	p := newProvider(t, op)
	begun, err := p.Begin(t.Context(), beginRequest)
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
