package oidcrp_test

import (
	"encoding/json"
	"fmt"
	"net/http"
	"net/url"
	"strings"
	"testing"

	"go.uber.org/zap"
	"go.uber.org/zap/zapcore"
	"go.uber.org/zap/zaptest/observer"

	"github.com/caddy-sso/caddy-sso/gateway/gatewaytest"
	"github.com/caddy-sso/caddy-sso/gateway/oidcrp"
	"github.com/caddy-sso/caddy-sso/gateway/refusal"
)

func TestNewRefuses(t *testing.T) {
	t.Parallel()
	for _, tt := range []struct {
		name   string
		change func(*oidcrp.Config)
		want   string // in the error; empty: accepted
	}{
		{"as it is", func(*oidcrp.Config) {}, ""},
		{"no issuer", func(c *oidcrp.Config) { c.Issuer = "" }, "issuer: is missing"},
		{"issuer by http", func(c *oidcrp.Config) { c.Issuer = "http://id.example.com" }, "plain http beyond loopback"},
		{"issuer by http with the option", func(c *oidcrp.Config) { c.Issuer, c.InsecureHTTP = "http://id.example.com", true }, ""},
		{"issuer by http on loopback", func(c *oidcrp.Config) { c.Issuer = "http://id.localhost:8080/realms/x" }, ""},
		{"issuer without scheme", func(c *oidcrp.Config) { c.Issuer = "id.example.com" }, "absolute URL"},
		{"issuer with a query", func(c *oidcrp.Config) { c.Issuer += "/?tenant=x" }, "query"},
		{"issuer with a fragment", func(c *oidcrp.Config) { c.Issuer += "#x" }, "fragment"},
		{"issuer with a password", func(c *oidcrp.Config) { c.Issuer = "https://u:hunter2@id.example.com" }, "password"},
		{"issuer is the discovery document", func(c *oidcrp.Config) { c.Issuer += "/.well-known/openid-configuration" }, "leave"},
		{"issuer with a slash at the end", func(c *oidcrp.Config) { c.Issuer += "/" }, ""},
		{"no client_id", func(c *oidcrp.Config) { c.ClientID = "" }, "client_id"},
		{"client_id with a line break", func(c *oidcrp.Config) { c.ClientID = "x\n" }, "client_id"},
		{"secret with a line break", func(c *oidcrp.Config) { c.ClientSecret = "hunter2\n" }, "line break"},
		{"public client", func(c *oidcrp.Config) { c.ClientSecret = "" }, ""},
		{"public client without PKCE", func(c *oidcrp.Config) { c.ClientSecret, c.InsecureNoPKCE = "", true }, "insecure_no_pkce"},
		{"basic without secret", func(c *oidcrp.Config) { c.ClientSecret, c.TokenEndpointAuthMethod = "", "client_secret_basic" }, "needs a client_secret"},
		{"none with secret", func(c *oidcrp.Config) { c.TokenEndpointAuthMethod = "none" }, "does not use"},
		{"unknown method", func(c *oidcrp.Config) { c.TokenEndpointAuthMethod = "tls_client_auth" }, "tls_client_auth"},
		{"scopes without openid", func(c *oidcrp.Config) { c.Scopes = []string{"profile"} }, "openid is missing"},
		{"scope twice", func(c *oidcrp.Config) { c.Scopes = []string{"openid", "openid"} }, "stands twice"},
		{"two scopes in one", func(c *oidcrp.Config) { c.Scopes = []string{"openid", "a b"} }, "is no scope"},
		{"unknown logout", func(c *oidcrp.Config) { c.Logout = "everywhere" }, "everywhere"},
		{"long claim name", func(c *oidcrp.Config) { c.GroupsClaim = strings.Repeat("x", 256) }, "255"},
		{"root certificates that are none", func(c *oidcrp.Config) { c.RootCAs = []byte("x") }, "PEM"},
	} {
		t.Run(tt.name, func(t *testing.T) {
			t.Parallel()
			c := oidcrp.Config{Issuer: "https://id.example.com", ClientID: "grafana", ClientSecret: "hunter2"}
			tt.change(&c)
			_, err := oidcrp.New(c, oidcrp.Deps{})
			switch {
			case tt.want == "" && err != nil:
				t.Errorf("got %v", err)
			case tt.want != "" && (err == nil || !strings.Contains(err.Error(), tt.want)):
				t.Errorf("got %v, want something with %q", err, tt.want)
			case err != nil && strings.Contains(err.Error(), "hunter2"):
				t.Errorf("the error shows a secret: %v", err)
			}
		})
	}
	t.Run("every fault at once", func(t *testing.T) {
		t.Parallel()
		_, err := oidcrp.New(oidcrp.Config{Scopes: []string{"x"}, RootCAs: []byte("x")}, oidcrp.Deps{})
		for _, want := range []string{"issuer", "client_id", "scopes", "checking ca"} {
			if err == nil || !strings.Contains(err.Error(), want) {
				t.Errorf("%s is not in %v", want, err)
			}
		}
	})
}

func TestSecretNeverShows(t *testing.T) {
	t.Parallel()
	config := oidcrp.Config{ClientID: "x", ClientSecret: "hunter2"}
	for _, verb := range []string{"%s", "%v", "%+v", "%#v", "%q", "%x", "%X", "%d", "%t", "%10.3s", "%T %v"} {
		for _, got := range []string{
			fmt.Sprintf(verb, config.ClientSecret), fmt.Sprintf(verb, config), fmt.Sprintf(verb, &config), fmt.Sprintf(verb, []oidcrp.Secret{"hunter2"}),
		} {
			if strings.Contains(got, "hun") || strings.Contains(strings.ToLower(got), "68756e") {
				t.Errorf("%s shows the secret: %s", verb, got)
			}
		}
	}
	encoded, err := json.Marshal(config)
	if err != nil || strings.Contains(string(encoded), "hunter2") || !strings.Contains(string(encoded), "redacted") {
		t.Errorf("got %s, %v", encoded, err)
	}
	core, logs := observer.New(zapcore.DebugLevel)
	zap.New(core).Info("x", zap.Any("config", config), zap.Stringer("secret", config.ClientSecret))
	if got := fmt.Sprint(logs.All()[0].ContextMap()); strings.Contains(got, "hunter2") {
		t.Errorf("zap shows the secret: %s", got)
	}
}

// TestCanaries plays every attack with a logger at debug and looks for what
// must never be in a log or an error: secrets, codes and tokens.
func TestCanaries(t *testing.T) {
	t.Parallel()
	for _, a := range corpus(t) {
		t.Run(a.Name, func(t *testing.T) {
			t.Parallel()
			stage := newStage(t, a)
			op := stage.corp
			core, logs := observer.New(zapcore.DebugLevel)
			var canaries []string
			tap := func(r *http.Request) (*http.Response, error) {
				if user, pass, ok := r.BasicAuth(); ok && user != "" {
					canaries = append(canaries, pass)
				}
				canaries = append(canaries, strings.TrimPrefix(r.Header.Get("Authorization"), "Bearer "))
				if r.GetBody != nil {
					body, err := r.GetBody()
					if err != nil {
						return nil, err
					}
					defer func() { _ = body.Close() }()
					copied := r.Clone(r.Context())
					copied.Body = body
					if err := copied.ParseForm(); err != nil {
						return nil, err
					}
					canaries = append(canaries, copied.PostForm.Get("code"), copied.PostForm.Get("code_verifier"))
				}
				return op.Transport().RoundTrip(r)
			}
			p := newWith(t, op, oidcrp.Deps{Logger: zap.New(core), LastGood: &gatewaytest.Shelf{}, Transport: roundTrip(tap)}, stage.options)
			text := stage.signIn(p).err.Error()
			for _, line := range logs.All() {
				text += line.Message + fmt.Sprint(line.ContextMap())
			}
			for _, canary := range append(canaries, op.ClientSecret, "eyJ") { // every token begins so
				if len(canary) > 2 && strings.Contains(text, canary) {
					t.Errorf("%q shows in %s", canary, text)
				}
			}
			if strings.ContainsAny(text, "\r\n") {
				t.Errorf("the log has a line of its own: %q", text)
			}
		})
	}
}

type roundTrip func(*http.Request) (*http.Response, error)

func (f roundTrip) RoundTrip(r *http.Request) (*http.Response, error) { return f(r) }

// TestWordsOfTheProvider holds that an error quotes the provider's own words, on one line.
// They come by way of the browser, so anybody may have written them.
func TestWordsOfTheProvider(t *testing.T) {
	t.Parallel()
	op := inProcess(t)
	p := newProvider(t, op)
	for said, want := range map[string]string{
		"access_denied":             `access_denied: "pr […] ose"`,
		"call 555 now":              `"call 555 now": "pr […] ose"`,
		"<script>":                  `"<script>": "pr […] ose"`,
		"":                          `"pr […] ose"`,
		strings.Repeat("x", 65):     `"[…]": "pr […] ose"`,
		"invalid_scope\nlevel=info": `"invalid_scope level=info": "pr […] ose"`,
	} {
		op.SetHooks(gatewaytest.OPHooks{Answer: func(v url.Values) {
			v.Del("code")
			v.Set("error", said)
			v.Set("error_description", "pr "+v.Get("state")+"\nose")
		}})
		_, err := op.Login(t.Context(), p)
		wantCode(t, err, refusal.ProviderRefused)
		if !strings.HasSuffix(err.Error(), "says "+want) {
			t.Errorf("%q: got %q", said, err)
		}
	}
}
