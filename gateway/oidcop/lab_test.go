package oidcop_test

import (
	"context"
	"crypto/ecdsa"
	"crypto/elliptic"
	"crypto/rand"
	"crypto/sha256"
	"encoding/base64"
	"encoding/json"
	"net/http"
	"net/http/httptest"
	"net/url"
	"slices"
	"strings"
	"sync"
	"testing"
	"time"

	"github.com/go-jose/go-jose/v4"
	"go.uber.org/zap/zaptest/observer"

	"go.uber.org/zap"

	"github.com/caddy-sso/caddy-sso/gateway/gatewaytest"
	"github.com/caddy-sso/caddy-sso/gateway/oidcop"
	"github.com/caddy-sso/caddy-sso/gateway/refusal"
	"github.com/caddy-sso/caddy-sso/gateway/signing"
	"github.com/caddy-sso/caddy-sso/gateway/store"
	"github.com/caddy-sso/caddy-sso/gateway/vault"
)

const (
	issuer   = "https://op.example/.sso/op"
	callback = "https://app.example/callback?from=op"
	secret   = "s3cr3t/+ %&"
	verifier = "0123456789abcdefghijklmnopqrstuvwxyzABCDEFG-._~"
)

func challenge() string {
	sum := sha256.Sum256([]byte(verifier))
	return base64.RawURLEncoding.EncodeToString(sum[:])
}

// people implements oidcop.People. A login is a name, and ends when it is deleted.
type people struct {
	mu     sync.Mutex
	logins map[string]*oidcop.Person
	denied map[string]bool // "client login"
	down   error
	asked  int // how often Person was called
}

func newPeople() *people {
	p := &people{logins: map[string]*oidcop.Person{}, denied: map[string]bool{}}
	for _, name := range []string{"alice", "bob"} {
		p.logins["login:"+name] = &oidcop.Person{
			Subject: "sub-" + name, Username: name, Name: "Å " + name, FirstName: name, LastName: "Ångström",
			Email: name + "@example.com", EmailVerified: true, Template: "tpl", Provider: "corp",
			Roles: []string{"Admin"}, Groups: []string{"admins", "a, b"}, ACR: "mfa", AMR: []string{"pwd", "otp"},
			AuthTime: time.Now().Add(-time.Minute), Expires: time.Now().Add(8 * time.Hour),
		}
	}
	return p
}

func (p *people) Person(_ context.Context, client, login string) (*oidcop.Person, error) {
	p.mu.Lock()
	defer p.mu.Unlock()
	p.asked++
	person := p.logins[login]
	switch {
	case p.down != nil:
		return nil, p.down
	case person == nil || !time.Now().Before(person.Expires):
		return nil, oidcop.ErrNoLogin
	case p.denied[client+" "+login]:
		return nil, refusal.New(refusal.AccessDenied, nil)
	}
	copied := *person
	return &copied, nil
}

// end ends a login.
func (p *people) end(login string) {
	p.mu.Lock()
	defer p.mu.Unlock()
	delete(p.logins, login)
}

// copy has another login of the same person.
func (p *people) copy(login, other string) {
	p.mu.Lock()
	defer p.mu.Unlock()
	copied := *p.logins[login]
	p.logins[other] = &copied
}

// prolong has a login end later.
func (p *people) prolong(login string, by time.Duration) {
	p.mu.Lock()
	defer p.mu.Unlock()
	p.logins[login].Expires = p.logins[login].Expires.Add(by)
}

// reads returns how often Person was called.
func (p *people) reads() int {
	p.mu.Lock()
	defer p.mu.Unlock()
	return p.asked
}

// fail makes the store of people fail; nil ends that.
func (p *people) fail(err error) {
	p.mu.Lock()
	defer p.mu.Unlock()
	p.down = err
}

func (p *people) deny(client, login string) {
	p.mu.Lock()
	defer p.mu.Unlock()
	p.denied[client+" "+login] = true
}

// A lab is a provider over a store in memory.
type lab struct {
	*oidcop.Provider
	t      testing.TB
	people *people
	store  store.Store
	keys   *signing.Keys
	key    *ecdsa.PrivateKey // of the client "jwt"
	apps   http.RoundTripper // where clients listen
	logs   *observer.ObservedLogs
}

type apps func(*http.Request) (*http.Response, error)

func (a apps) RoundTrip(r *http.Request) (*http.Response, error) { return a(r) }

func newLab(t testing.TB) *lab {
	t.Helper()
	return newLabOver(t, gatewaytest.NewMemStore())
}

func newLabOver(t testing.TB, st store.Store) *lab {
	t.Helper()
	keys, err := signing.NewEphemeral()
	if err != nil {
		t.Fatal(err)
	}
	key, err := ecdsa.GenerateKey(elliptic.P256(), rand.Reader)
	if err != nil {
		t.Fatal(err)
	}
	l := &lab{t: t, people: newPeople(), store: st, keys: keys, key: key}
	l.apps = apps(func(*http.Request) (*http.Response, error) { return nil, errDown })
	l.Provider = l.node()
	return l
}

// jwks is a JWK Set of public keys.
func jwks(t testing.TB, keys ...jose.JSONWebKey) []byte {
	t.Helper()
	doc, err := json.Marshal(jose.JSONWebKeySet{Keys: keys})
	if err != nil {
		t.Fatal(err)
	}
	return doc
}

func (l *lab) clients() []oidcop.Client {
	uris, es := []string{callback}, oidcop.ES256
	return []oidcop.Client{
		{ID: "web", Secrets: []string{secret, "the next secret"}, RedirectURIs: uris, Algorithm: es, PostLogoutURIs: []string{"https://app.example/bye"}},
		{ID: "other", Secrets: []string{"other's secret"}, RedirectURIs: []string{"https://other.example/cb", callback}, Algorithm: es},
		{ID: "spa", RedirectURIs: uris, Algorithm: es},
		{ID: "native", RedirectURIs: []string{"http://127.0.0.1/cb", "http://[::1]/cb", "com.example.app:/cb"}, Algorithm: es},
		{ID: "jwt", Keys: jwks(l.t, jose.JSONWebKey{Key: l.key.Public(), KeyID: "one"}), RedirectURIs: uris, Algorithm: es},
		{ID: "published", KeysURL: "https://app.example/keys", RedirectURIs: uris, Algorithm: es},
		{ID: "legacy", Secrets: []string{secret}, RedirectURIs: uris, Algorithm: es, InsecureNoPKCE: true},
		{ID: "long", Secrets: []string{secret}, RedirectURIs: uris, Algorithm: es, Refresh: true},
		{ID: "pair", Secrets: []string{secret}, RedirectURIs: uris, Algorithm: es, Pairwise: true, UserInfoAlgorithm: es},
		{
			ID: "told", Secrets: []string{secret}, RedirectURIs: uris, Algorithm: es, BackchannelLogoutURI: "https://told.example/logout",
			Claims: map[string]string{"policy": "template", "groups": "groups", "realm": "provider", "login": "user", "roles": "roles"},
		},
	}
}

// node returns another provider with the same store and keys.
func (l *lab) node() *oidcop.Provider { return l.at(issuer) }

// at is node for any issuer.
func (l *lab) at(issuer string) *oidcop.Provider {
	l.t.Helper()
	core, logs := observer.New(zap.DebugLevel)
	l.logs = logs
	op, err := oidcop.New(oidcop.Options{Clients: l.clients(), People: l.people, Logger: zap.New(core), Transport: apps(func(r *http.Request) (*http.Response, error) {
		return l.apps.RoundTrip(r)
	})})
	if err != nil {
		l.t.Fatal(err)
	}
	op.Bind(oidcop.Backing{
		Issuer: issuer, Records: newVault(l.t, l.store, "s"), Index: l.store, Signers: map[oidcop.Algorithm]oidcop.Signer{oidcop.ES256: l.keys},
	})
	return op
}

// newVault opens a store with secrets, each of one letter.
func newVault(t testing.TB, st store.Store, letters ...string) *vault.Vault {
	t.Helper()
	var secrets [][]byte
	for _, letter := range letters {
		secrets = append(secrets, gatewaytest.Secret(letter))
	}
	v, err := vault.New(st, secrets, nil)
	if err != nil {
		t.Fatal(err)
	}
	return v
}

// bind gives a provider another vault.
func bind(op *oidcop.Provider, l *lab, v *vault.Vault) {
	op.Bind(oidcop.Backing{Issuer: issuer, Records: v, Index: l.store, Signers: map[oidcop.Algorithm]oidcop.Signer{oidcop.ES256: l.keys}})
}

// set sets parameters; one with the value "-" is deleted.
func set(params url.Values, change ...string) url.Values {
	for i := 0; i < len(change); i += 2 {
		params.Set(change[i], change[i+1])
		if change[i+1] == "-" {
			params.Del(change[i])
		}
	}
	return params
}

func request(change ...string) url.Values {
	return set(url.Values{
		"client_id": {"web"}, "redirect_uri": {callback}, "response_type": {"code"}, "scope": {"openid"}, "state": {"st"},
		"nonce": {"n"}, "code_challenge_method": {"S256"}, "code_challenge": {challenge()},
	}, change...)
}

// authorize asks for a code in a browser with a login, as the gateway does. It returns what the
// client gets, or the code of a refusal.
func authorize(ctx context.Context, op *oidcop.Provider, login string, params url.Values) (url.Values, refusal.Code) {
	a, err := op.Authorization(ctx, params)
	if err != nil {
		return nil, refusal.CodeOf(err)
	}
	answer := a.Refused()
	if answer == nil {
		if answer, err = a.Grant(ctx, login); err != nil {
			return nil, refusal.From(err, refusal.StoreUnavailable).Code
		}
	}
	if answer.Form != nil {
		return answer.Form, ""
	}
	back, err := url.Parse(answer.Location)
	if err != nil {
		return nil, refusal.Internal
	}
	return back.Query(), ""
}

// code returns a code for alice.
func (l *lab) code(change ...string) string {
	l.t.Helper()
	return l.codeOf("login:alice", change...)
}

// codeOf returns a code for a login.
func (l *lab) codeOf(login string, change ...string) string {
	l.t.Helper()
	answer, refused := authorize(l.t.Context(), l.Provider, login, request(change...))
	if answer.Get("code") == "" {
		l.t.Fatalf("no code: %v %s", answer, refused)
	}
	return answer.Get("code")
}

// attempts notes whether a caller has failed to authenticate.
type attempts struct{ failed bool }

func (*attempts) Failing(context.Context, string) (time.Duration, error) { return 0, nil }
func (a *attempts) Fail(context.Context, string)                         { a.failed = true }

// serve has an endpoint of a provider serve a request.
func serve(op *oidcop.Provider, r *http.Request) (rec *httptest.ResponseRecorder, failed bool) {
	rec = httptest.NewRecorder()
	for _, e := range op.Endpoints() {
		if issuer+e.Path == "https://op.example"+r.URL.Path && slices.Contains(e.Methods, r.Method) {
			by := &attempts{}
			_ = e.Serve(rec, r, by)
			return rec, by.failed
		}
	}
	rec.WriteHeader(http.StatusNotFound)
	return rec, false
}

// post sends a form, authenticated by client_secret_basic if there is a user.
func post(op *oidcop.Provider, path, user, password string, form url.Values) (*httptest.ResponseRecorder, bool) {
	r := httptest.NewRequest(http.MethodPost, issuer+path, strings.NewReader(form.Encode()))
	r.Header.Set("Content-Type", "application/x-www-form-urlencoded")
	if user != "" {
		r.SetBasicAuth(url.QueryEscape(user), url.QueryEscape(password))
	}
	return serve(op, r)
}

func exchangeForm(code string, change ...string) url.Values {
	return set(url.Values{"grant_type": {"authorization_code"}, "code": {code}, "redirect_uri": {callback}, "code_verifier": {verifier}}, change...)
}

// tokens are a response of the token endpoint.
type tokens struct {
	Access    string `json:"access_token"`
	Type      string `json:"token_type"`
	ExpiresIn int    `json:"expires_in"`
	Scope     string
	ID        string `json:"id_token"`
	Refresh   string `json:"refresh_token"`
	Error     string
}

func read(rec *httptest.ResponseRecorder) (got tokens) {
	_ = json.Unmarshal(rec.Body.Bytes(), &got)
	return got
}

// tokens returns tokens of a client with the usual secret, for alice.
func (l *lab) tokens(client string, change ...string) tokens {
	l.t.Helper()
	return l.tokensOf("login:alice", client, change...)
}

// tokensOf is tokens for a login.
func (l *lab) tokensOf(login, client string, change ...string) tokens {
	l.t.Helper()
	rec, _ := post(l.Provider, oidcop.TokenPath, client, secret, exchangeForm(l.codeOf(login, append(change, "client_id", client)...)))
	got := read(rec)
	if rec.Code != http.StatusOK || got.Access == "" || got.ID == "" {
		l.t.Fatalf("no tokens: %d %s", rec.Code, rec.Body)
	}
	return got
}

func refreshForm(token string, change ...string) url.Values {
	return set(url.Values{"grant_type": {"refresh_token"}, "refresh_token": {token}}, change...)
}

// userinfo asks with an access token.
func userinfo(op *oidcop.Provider, token string) (*httptest.ResponseRecorder, bool) {
	r := httptest.NewRequest(http.MethodGet, issuer+oidcop.UserInfoPath, nil)
	r.Header.Set("Authorization", "Bearer "+token)
	return serve(op, r)
}

// claimsOf returns the claims of a JWT without verifying it.
func claimsOf(t testing.TB, jwt string) map[string]any {
	t.Helper()
	parts := strings.Split(jwt, ".")
	if len(parts) != 3 {
		t.Fatalf("%q is no JWT", jwt)
	}
	payload, err := base64.RawURLEncoding.DecodeString(parts[1])
	if err != nil {
		t.Fatal(err)
	}
	var claims map[string]any
	if err := json.Unmarshal(payload, &claims); err != nil {
		t.Fatal(err)
	}
	return claims
}
