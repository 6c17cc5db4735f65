//go:build integration

package integration

import (
	"errors"
	"net/http"
	"net/url"
	"os"
	"path/filepath"
	"testing"
	"time"

	"github.com/caddy-sso/caddy-sso/gateway/gatewaytest"
)

// TestOpenIDClientsRefuse shows that the libraries, as these tests drive them, notice a
// provider that misbehaves. So what they accept from the gateway says something.
func TestOpenIDClientsRefuse(t *testing.T) {
	t.Parallel()
	for name, library := range openIDLibraries {
		t.Run(name, func(t *testing.T) {
			t.Parallel()
			op := gatewaytest.NewOP(t, gatewaytest.OPOptions{})
			op.ClientSecret = "plain" // Authlib encodes none for Basic
			op.ClientID = "client"
			ca := filepath.Join(t.TempDir(), "ca.pem")
			if err := os.WriteFile(ca, op.Roots, 0o600); err != nil {
				t.Fatal(err)
			}
			rp := openIDApp{t, library(t, ca)}
			rp.configure(openIDSetup{
				Issuer: op.Issuer, ClientID: op.ClientID, Secret: op.ClientSecret, Method: "client_secret_basic", Alg: "ES256",
				RedirectURI: "https://rp.test/callback", Scope: "openid",
			})
			signIn := func() (*openIDTokens, error) {
				location, state := rp.begin(nil)
				answer, err := op.Visit(location)
				if err != nil {
					t.Fatal(err)
				}
				tokens, err := rp.finish(openIDAnswer{State: state, URL: "https://rp.test/callback?" + answer.Encode()})
				if err == nil {
					_, err = rp.userinfo(tokens.AccessToken, tokens.Claims["sub"])
				}
				return tokens, err
			}
			if tokens, err := signIn(); err != nil || tokens.Claims["preferred_username"] != "alice" {
				t.Fatalf("the control: %+v, %v", tokens, err)
			}
			claim := func(name string, value any) gatewaytest.OPHooks {
				return gatewaytest.OPHooks{Claims: func(claims map[string]any) { claims[name] = value }}
			}
			param := func(change func(params url.Values)) gatewaytest.OPHooks { return gatewaytest.OPHooks{Answer: change} }
			foreign := gatewaytest.NewOPKey("ES256", "foreign")
			foreign.KID = op.Key.KID
			for name, fault := range map[string]struct {
				hooks gatewaytest.OPHooks
				code  string // "" is any
			}{
				"another issuer's token":  {claim("iss", "https://evil.test"), ""},
				"another client's token":  {claim("aud", "other"), ""},
				"another nonce":           {claim("nonce", "0123456789abcdef"), ""},
				"an old token":            {claim("exp", time.Now().Add(-10*time.Minute).Unix()), ""},
				"another key":             {gatewaytest.OPHooks{Key: &foreign}, ""},
				"no ID token":             {gatewaytest.OPHooks{Token: func(response map[string]any) { delete(response, "id_token") }}, ""},
				"userinfo about another":  {gatewaytest.OPHooks{UserInfo: func(claims map[string]any) { claims["sub"] = "b0b" }}, ""},
				"another issuer's answer": {param(func(params url.Values) { params.Set("iss", "https://evil.test") }), ""},
				"an answer without iss":   {param(func(params url.Values) { params.Del("iss") }), ""},
				"another state":           {param(func(params url.Values) { params.Set("state", "0123456789abcdef") }), ""},
				"an error":                {param(func(params url.Values) { params.Del("code"); params.Set("error", "access_denied") }), "access_denied"},
				"a refused code": {gatewaytest.OPHooks{Serve: map[string]http.HandlerFunc{gatewaytest.OPTokenPath: func(w http.ResponseWriter, _ *http.Request) {
					w.Header().Set("Content-Type", "application/json")
					w.WriteHeader(http.StatusBadRequest)
					_, _ = w.Write([]byte(`{"error":"invalid_grant"}`))
				}}}, "invalid_grant"},
			} {
				op.SetHooks(fault.hooks)
				tokens, err := signIn()
				var refused *openIDError
				if !errors.As(err, &refused) || fault.code != "" && refused.Code != fault.code {
					t.Errorf("%s: it accepts %+v, or refuses by %v", name, tokens, err)
				}
			}
		})
	}
}
