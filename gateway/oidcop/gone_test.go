package oidcop_test

import (
	"context"
	"crypto/rsa"
	"math/big"
	"net/http"
	"net/http/httptest"
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
	if rec, _ := post(short, oidcop.TokenPath, "long", secret, refreshForm(got.Refresh)); read(rec).Error != "invalid_grant" {
		t.Errorf("refresh: %d %s", rec.Code, rec.Body)
	}
	rec, _ := post(short, oidcop.TokenPath, "long", secret, exchangeForm(code))
	if got := read(rec); got.Access == "" || got.Refresh != "" {
		t.Errorf("token of the changed client: %d %s", rec.Code, rec.Body)
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
		if token.Serve(rec, r, &waiting{left: left}); rec.Code != http.StatusTooManyRequests || rec.Header().Get("Retry-After") != want {
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
