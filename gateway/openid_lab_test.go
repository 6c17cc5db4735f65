package gateway_test

import (
	"crypto/sha256"
	"encoding/base64"
	"encoding/json"
	"net/http"
	"net/http/httptest"
	"net/url"
	"strings"
	"sync"
	"testing"

	"github.com/caddy-sso/caddy-sso/gateway"
	"github.com/caddy-sso/caddy-sso/gateway/oidcop"
	"github.com/caddy-sso/caddy-sso/gateway/signing"
	"github.com/caddy-sso/caddy-sso/mapping"
)

const (
	opAuthorize  = "/.sso/op/authorize"
	wikiCallback = "https://wiki.example/callback"
	wikiBye      = "https://wiki.example/bye"
	wikiSecret   = "the wiki's secret"
	verifier     = "0123456789012345678901234567890123456789012"
)

// opKeys sign the tokens of all tests.
var opKeys = sync.OnceValues(signing.NewEphemeral)

// lets lets a group in as a role.
func lets(role, group string) mapping.Rules {
	return mapping.Rules{Role: []mapping.Line{{To: []string{role}, From: []string{group}}}}
}

// withClients makes the app an OpenID provider for a wiki, which takes everybody, and a
// vault, which takes admins alone. It has no rules of its own.
func withClients(o *gateway.AppOptions) {
	wiki := gateway.Client{Rules: lets("Reader", "*"), Client: oidcop.Client{
		ID: "wiki", Secrets: []string{wikiSecret}, RedirectURIs: []string{wikiCallback}, PostLogoutURIs: []string{wikiBye}, Algorithm: oidcop.ES256,
	}}
	vault := wiki
	vault.ID, vault.Rules = "vault", lets("Owner", "admins")
	o.Clients, o.Rules = []gateway.Client{wiki, vault}, mapping.Rules{}
}

// openID makes an OpenID provider at https://app.example.
func (l *lab) openID(change ...func(*gateway.Options)) *site { return l.openIDOf(l.gateway(change...)) }

func (l *lab) openIDOf(g *gateway.Gateway, change ...func(*gateway.AppOptions)) *site {
	l.t.Helper()
	s := l.siteOf(g, appHost, append([]func(*gateway.AppOptions){withClients}, change...)...)
	keys, err := opKeys()
	mustDo(l.t, err)
	g.BindOpenID(func(issuer string, _ []oidcop.Algorithm) oidcop.Backing {
		return oidcop.Backing{Issuer: issuer, Records: l.sessions.Vault(), Index: l.store, Signers: map[oidcop.Algorithm]oidcop.Signer{oidcop.ES256: keys}}
	})
	return s
}

// wikiAsks is a request of the wiki for a code, with changes: names and values in pairs.
func wikiAsks(change ...string) string {
	sum := sha256.Sum256([]byte(verifier))
	params := url.Values{
		"client_id": {"wiki"}, "redirect_uri": {wikiCallback}, "response_type": {"code"}, "scope": {"openid profile email"}, "state": {"st&te"},
		"nonce": {"n"}, "code_challenge_method": {"S256"}, "code_challenge": {base64.RawURLEncoding.EncodeToString(sum[:])},
	}
	for i := 0; i < len(change); i += 2 {
		params.Set(change[i], change[i+1])
	}
	return opAuthorize + "?" + params.Encode()
}

// backAt returns what a client gets by the browser.
func backAt(t testing.TB, w *httptest.ResponseRecorder, callback string) url.Values {
	t.Helper()
	wantStatus(t, w, http.StatusSeeOther)
	at, query, _ := strings.Cut(w.Header().Get("Location"), "?")
	params, err := url.ParseQuery(query)
	if at != callback || err != nil {
		t.Fatalf("the browser was sent to %q, not to the client", w.Header().Get("Location"))
	}
	return params
}

// wantCode returns the code that the wiki gets.
func wantCode(t testing.TB, w *httptest.ResponseRecorder) string {
	t.Helper()
	got := backAt(t, w, wikiCallback)
	if got.Get("code") == "" || got.Get("state") != "st&te" || got.Get("iss") != "https://app.example/.sso/op" {
		t.Fatalf("the client gets %v", got)
	}
	return got.Get("code")
}

// wantError wants the wiki to get an error.
func wantError(t testing.TB, w *httptest.ResponseRecorder, code string) {
	t.Helper()
	if got := backAt(t, w, wikiCallback); got.Get("error") != code || got.Has("code") || got.Get("state") != "st&te" {
		t.Fatalf("the client gets %v, want %s", got, code)
	}
}

// token exchanges a code as the wiki does.
func (s *site) token(code, secret string) (status int, tokens map[string]any) {
	s.t.Helper()
	return s.askAs("wiki", secret, "/.sso/op/token", url.Values{
		"grant_type": {"authorization_code"}, "code": {code}, "redirect_uri": {wikiCallback}, "code_verifier": {verifier},
	})
}

func (s *site) askAs(client, secret, path string, params url.Values) (status int, got map[string]any) {
	s.t.Helper()
	r := httptest.NewRequest(http.MethodPost, path, strings.NewReader(params.Encode()))
	r.Host = s.host
	r.Header.Set("Content-Type", "application/x-www-form-urlencoded")
	r.SetBasicAuth(client, url.QueryEscape(secret))
	w := s.serve(r, false)
	if strings.HasPrefix(w.Header().Get("Content-Type"), "application/json") {
		mustDo(s.t, json.Unmarshal(w.Body.Bytes(), &got))
	}
	return w.Code, got
}

// userinfo asks who an access token is for.
func (s *site) userinfo(token any) (status int, claims map[string]any) {
	s.t.Helper()
	r := httptest.NewRequest(http.MethodGet, "/.sso/op/userinfo", nil)
	r.Host = s.host
	bearer, _ := token.(string)
	r.Header.Set("Authorization", "Bearer "+bearer)
	w := s.serve(r, false)
	if w.Code == http.StatusOK {
		mustDo(s.t, json.Unmarshal(w.Body.Bytes(), &claims))
	}
	return w.Code, claims
}

// tokens signs the browser in to the wiki.
func (b *browser) tokens() map[string]any {
	b.t.Helper()
	status, tokens := b.token(wantCode(b.t, b.follow(b.open(wikiAsks()))), wikiSecret)
	if status != http.StatusOK || tokens["access_token"] == nil || tokens["id_token"] == nil {
		b.t.Fatalf("the token endpoint responds %d %v", status, tokens)
	}
	return tokens
}
