package oidcrp_test

import (
	"fmt"
	"maps"
	"net/http"
	"testing"

	"github.com/caddy-sso/caddy-sso/gateway/gatewaytest"
	"github.com/caddy-sso/caddy-sso/gateway/oidcrp"
	"github.com/caddy-sso/caddy-sso/gateway/refusal"
)

// TestPlainHTTPEndpoints has endpoints without TLS where the issuer is without,
// and where the option permits it.
func TestPlainHTTPEndpoints(t *testing.T) {
	t.Parallel()
	for _, tt := range []struct {
		issuer, jwks string
		insecure     bool
		want         refusal.Code
	}{
		{"http://localhost:8080", "http://127.0.0.1:8080/jwks", false, ""},
		{"http://localhost:8080", "http://id.test/jwks", false, refusal.ProviderUnavailable},
		{"HTTPS://id.test", "http://localhost/jwks", false, refusal.ProviderUnavailable},
		{"https://id.test", "HTTP://localhost/jwks", false, refusal.ProviderUnavailable},
		{"https://id.test", "HTTPS://id.test/jwks", false, ""},
		{"https://id.test", "http://id.test/jwks", true, ""},
	} {
		p, err := oidcrp.New(oidcrp.Config{Issuer: tt.issuer, ClientID: "x", InsecureHTTP: tt.insecure}, oidcrp.Deps{})
		if err != nil {
			t.Fatal(err)
		}
		doc := fmt.Sprintf(`{"issuer":%q,"authorization_endpoint":%[1]q,"token_endpoint":%[1]q,"jwks_uri":%q}`, tt.issuer, tt.jwks)
		if _, err := oidcrp.ParseDiscovery(p, []byte(doc)); (err == nil) != (tt.want == "") || err != nil && refusal.CodeOf(err) != tt.want {
			t.Errorf("%s with %s: got %v, want %q", tt.issuer, tt.jwks, err, tt.want)
		}
	}
}

// TestConnectionsWithSecrets holds that what brings tokens comes by a connection
// that is not kept: net/http logs what a server sends behind an answer, and can't
// repeat a POST by a kept connection that is just being closed.
func TestConnectionsWithSecrets(t *testing.T) {
	t.Parallel()
	op := inProcess(t)
	op.SetHooks(gatewaytest.OPHooks{Claims: deleteFrom("groups")})
	kept := map[string]bool{}
	tap := roundTrip(func(r *http.Request) (*http.Response, error) {
		kept[r.URL.Path] = !r.Close
		return op.Transport().RoundTrip(r)
	})
	mustLogin(t, op, newWith(t, op, oidcrp.Deps{Transport: tap}))
	want := map[string]bool{
		gatewaytest.OPDiscoveryPath: true, gatewaytest.OPJWKSPath: true, gatewaytest.OPTokenPath: false, gatewaytest.OPUserInfoPath: false,
	}
	if !maps.Equal(kept, want) {
		t.Errorf("connections are kept: %v, want %v", kept, want)
	}
}
