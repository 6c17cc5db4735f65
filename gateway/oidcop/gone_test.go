package oidcop_test

import (
	"context"
	"crypto/rsa"
	"encoding/json"
	"math/big"
	"net/http"
	"net/http/httptest"
	"net/url"
	"slices"
	"strings"
	"testing"
	"time"

	"github.com/go-jose/go-jose/v4"

	"github.com/caddy-sso/caddy-sso/gateway/oidcop"
	"github.com/caddy-sso/caddy-sso/gateway/refusal"
)

// without returns another provider, of a configuration that lacks a client or changes it.
func (l *lab) without(id string, change func(*oidcop.Client)) *oidcop.Provider {
	l.t.Helper()
	clients := l.clients()
	i := slices.IndexFunc(clients, func(c oidcop.Client) bool { return c.ID == id })
	if change == nil {
		clients = slices.Delete(clients, i, i+1)
	} else {
		change(&clients[i])
	}
	op, err := oidcop.New(oidcop.Options{Clients: clients, People: l.people, Transport: l.apps})
	if err != nil {
		l.t.Fatal(err)
	}
	bind(op, l, newVault(l.t, l.store, "s"))
	return op
}

// TestClientChanged: a reload that takes a client out ends its tokens; one that takes refresh
// tokens from it ends those.
func TestClientChanged(t *testing.T) {
	t.Parallel()
	l := newLab(t)
	got, code := l.tokens("long"), l.code("client_id", "long")
	gone := l.without("long", nil)
	if rec, _ := userinfo(gone, got.Access); rec.Code != http.StatusUnauthorized {
		t.Errorf("userinfo: %d %s", rec.Code, rec.Body)
	}
	if rec, failed := post(gone, oidcop.TokenPath, "long", secret, exchangeForm(code)); rec.Code != http.StatusUnauthorized || !failed {
		t.Errorf("token: %d %s", rec.Code, rec.Body)
	}
	if _, refused := authorize(t.Context(), gone, "login:alice", request("client_id", "long")); refused == "" {
		t.Error("authorization: not refused")
	}
	short := l.without("long", func(c *oidcop.Client) { c.Refresh = false })
	if rec, _ := post(short, oidcop.TokenPath, "long", secret, refreshForm(got.Refresh)); rec.Code != http.StatusBadRequest || read(rec).Error != "unauthorized_client" {
		t.Errorf("refresh: %d %s", rec.Code, rec.Body)
	}
	rec, _ := post(short, oidcop.TokenPath, "long", secret, exchangeForm(code))
	if got := read(rec); got.Access == "" || got.Refresh != "" {
		t.Errorf("token of the changed client: %d %s", rec.Code, rec.Body)
	}
}

// TestClientElsewhere: while another configuration is rolled out, a node whose client may not use
// a code or token ends no grant for the others.
func TestClientElsewhere(t *testing.T) {
	t.Parallel()
	l := newLab(t)
	for client, tc := range map[string]struct {
		form   url.Values
		change func(*oidcop.Client)
		want   string
	}{
		"long": {refreshForm(l.tokens("long").Refresh), func(c *oidcop.Client) { c.Refresh = false }, "unauthorized_client"},
		"told": {exchangeForm(l.code("client_id", "told")), func(c *oidcop.Client) { c.RedirectURIs = []string{"https://app.example/new"} }, "invalid_grant"},
		"legacy": {
			exchangeForm(l.code("client_id", "legacy", "code_challenge", "-", "code_challenge_method", "-"), "code_verifier", "-"),
			func(c *oidcop.Client) { c.InsecureNoPKCE = false }, "invalid_grant",
		},
		"pair": {exchangeForm(l.code("client_id", "pair")), func(c *oidcop.Client) { c.Secrets = []string{"another"} }, "invalid_client"},
	} {
		if rec, _ := post(l.without(client, tc.change), oidcop.TokenPath, client, secret, tc.form); read(rec).Error != tc.want {
			t.Errorf("%s: %d %s, want %s", client, rec.Code, rec.Body, tc.want)
		}
		if rec, _ := post(l.Provider, oidcop.TokenPath, client, secret, tc.form); rec.Code != http.StatusOK {
			t.Errorf("%s, at another node: %d %s", client, rec.Code, rec.Body)
		}
	}
}

// TestPairwiseChanged: all that a client gets by one sign-in is about one sub, and so at a node
// whose configuration has changed. The next sign-in has the other.
func TestPairwiseChanged(t *testing.T) {
	t.Parallel()
	l := newLab(t)
	for client, pairwise := range map[string]bool{"long": true, "pair": false} {
		first, code := l.tokens(client), l.code("client_id", client)
		sub := claimsOf(t, first.ID)["sub"]
		changed := l.without(client, func(c *oidcop.Client) { c.Pairwise, c.Refresh, c.UserInfoAlgorithm = pairwise, true, "" })
		rec, _ := post(changed, oidcop.TokenPath, client, secret, exchangeForm(code))
		second := read(rec)
		rec, _ = post(changed, oidcop.TokenPath, client, secret, refreshForm(second.Refresh))
		third := read(rec)
		for what, text := range map[string]string{"code": second.ID, "refresh": third.ID} {
			if text == "" || claimsOf(t, text)["sub"] != sub {
				t.Errorf("%s, by %s: %q", client, what, text)
			}
		}
		for _, access := range []string{first.Access, third.Access} {
			var info, active struct{ Sub any }
			rec, _ := userinfo(changed, access)
			_ = json.Unmarshal(rec.Body.Bytes(), &info)
			rec, _ = post(changed, oidcop.IntrospectionPath, client, secret, url.Values{"token": {access}})
			if _ = json.Unmarshal(rec.Body.Bytes(), &active); info.Sub != sub || active.Sub != sub {
				t.Errorf("%s: userinfo says %v, introspection %v, want %v", client, info.Sub, active.Sub, sub)
			}
		}
		answer, _ := authorize(t.Context(), changed, "login:alice", request("client_id", client))
		rec, _ = post(changed, oidcop.TokenPath, client, secret, exchangeForm(answer.Get("code")))
		if next := read(rec).ID; next == "" || claimsOf(t, next)["sub"] == sub {
			t.Errorf("%s: the next sign-in has the same sub: %s", client, rec.Body)
		}
	}
}

// TestTwoHeaders: of two headers a proxy may have checked another than we read.
func TestTwoHeaders(t *testing.T) {
	t.Parallel()
	l := newLab(t)
	r := httptest.NewRequest(http.MethodPost, issuer+oidcop.TokenPath, strings.NewReader(exchangeForm(l.code()).Encode()))
	r.Header.Set("Content-Type", formType)
	r.Header["Authorization"] = []string{basic("web:" + secret), basic("web:" + secret)}
	if rec, _ := serve(l.Provider, r); rec.Code != http.StatusUnauthorized {
		t.Errorf("token: %d %s", rec.Code, rec.Body)
	}
	r = httptest.NewRequest(http.MethodGet, issuer+oidcop.UserInfoPath, nil)
	access := l.tokens("web").Access
	r.Header["Authorization"] = []string{"Bearer " + access, "Bearer " + access}
	if rec, _ := serve(l.Provider, r); rec.Code != http.StatusBadRequest {
		t.Errorf("userinfo: %d %s", rec.Code, rec.Body)
	}
}

// A waiting caller has failed too often.
type waiting struct {
	attempts
	left time.Duration
}

func (w *waiting) Failing(context.Context, string) (time.Duration, error) {
	return w.left, refusal.New(refusal.TooManyAttempts, errDown)
}

// TestRetryAfter: a caller that comes after so many seconds need not wait any more.
func TestRetryAfter(t *testing.T) {
	t.Parallel()
	l := newLab(t)
	endpoints := l.Endpoints()
	token := endpoints[slices.IndexFunc(endpoints, func(e oidcop.Endpoint) bool { return e.Path == oidcop.TokenPath })]
	for left, want := range map[time.Duration]string{time.Millisecond: "1", time.Second: "1", time.Second + time.Millisecond: "2"} {
		rec, r := httptest.NewRecorder(), httptest.NewRequest(http.MethodPost, issuer+oidcop.TokenPath, strings.NewReader("grant_type=x"))
		r.Header.Set("Content-Type", formType)
		r.Header.Set("Authorization", basic("web:"+secret))
		if _ = token.Serve(rec, r, &waiting{left: left}); rec.Code != http.StatusTooManyRequests || rec.Header().Get("Retry-After") != want {
			t.Errorf("%v before the end: %d, %v", left, rec.Code, rec.Header())
		}
	}
}

// TestClientKeys: of a JWK Set only public signing keys of sufficient size count.
func TestClientKeys(t *testing.T) {
	t.Parallel()
	l := newLab(t)
	ofBits := func(n uint) jose.JSONWebKey {
		return jose.JSONWebKey{Key: &rsa.PublicKey{N: new(big.Int).SetBit(big.NewInt(1), int(n)-1, 1), E: 65537}}
	}
	for name, test := range map[string]struct {
		key  jose.JSONWebKey
		want int
	}{
		"public":          {jose.JSONWebKey{Key: l.key.Public()}, 1},
		"for signatures":  {jose.JSONWebKey{Key: l.key.Public(), Use: "sig"}, 1},
		"for encryption":  {jose.JSONWebKey{Key: l.key.Public(), Use: "enc"}, 0},
		"private":         {jose.JSONWebKey{Key: l.key}, 0},
		"a shared secret": {jose.JSONWebKey{Key: []byte(secret)}, 0},
		"weak":            {ofBits(2047), 0},
		"strong":          {ofBits(2048), 1},
		"as go-jose may":  {ofBits(4096), 1},
		"huge":            {ofBits(4097), 0},
	} {
		if n, err := oidcop.ParseKeys(jwks(t, test.key)); n != test.want || (err == nil) != (n > 0) {
			t.Errorf("%s: %d, %v", name, n, err)
		}
	}
	for n, good := range map[int]bool{16: true, 17: false} {
		if _, err := oidcop.ParseKeys(jwks(t, slices.Repeat([]jose.JSONWebKey{{Key: l.key.Public()}}, n)...)); (err == nil) != good {
			t.Errorf("%d keys: %v", n, err)
		}
	}
}
