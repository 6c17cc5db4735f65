//go:build integration

package integration

import (
	"crypto/ecdsa"
	"crypto/elliptic"
	"crypto/rand"
	"encoding/json"
	"fmt"
	"net/http"
	"net/http/httptest"
	"net/url"
	"strings"
	"testing"
	"time"

	"github.com/go-jose/go-jose/v4"
)

// An asserter makes assertions as the gateway does, and serves its keys.
type asserter struct {
	t   *testing.T
	key *ecdsa.PrivateKey
	url string
}

func newAsserter(t *testing.T) *asserter {
	t.Helper()
	a := &asserter{t: t, key: newECKey(t)}
	server := httptest.NewServer(http.HandlerFunc(func(w http.ResponseWriter, _ *http.Request) {
		_ = json.NewEncoder(w).Encode(jose.JSONWebKeySet{Keys: []jose.JSONWebKey{{Key: a.key.Public(), KeyID: "k1", Algorithm: "ES256", Use: "sig"}}})
	}))
	t.Cleanup(server.Close)
	a.url = server.URL + "/jwks.json"
	return a
}

func newECKey(t *testing.T) *ecdsa.PrivateKey {
	t.Helper()
	key, err := ecdsa.GenerateKey(elliptic.P256(), rand.Reader)
	if err != nil {
		t.Fatal(err)
	}
	return key
}

type claims = map[string]any

// of returns an assertion about a person, and signs it with key.
func (a *asserter) of(key *ecdsa.PrivateKey, user string, change ...claims) string {
	a.t.Helper()
	now := time.Now()
	all := claims{
		"iss": "https://dns.example", "aud": "dns.example", "sub": "account of " + user, "preferred_username": user, "name": strings.ToUpper(user),
		"email": user + "@example.com", "email_verified": false, "roles": []string{}, "groups": []string{}, "template": "Viewer", "sid": "session of " + user,
		"iat": now.Unix(), "nbf": now.Add(-30 * time.Second).Unix(), "exp": now.Add(time.Minute).Unix(), "jti": randomHex(8),
	}
	for _, c := range change {
		for name, value := range c {
			all[name] = value
		}
	}
	text, err := json.Marshal(all)
	if err != nil {
		a.t.Fatal(err)
	}
	signer, err := jose.NewSigner(jose.SigningKey{Algorithm: jose.ES256, Key: jose.JSONWebKey{Key: key, KeyID: "k1"}}, (&jose.SignerOptions{}).WithType("JWT"))
	if err != nil {
		a.t.Fatal(err)
	}
	signed, err := signer.Sign(text)
	if err != nil {
		a.t.Fatal(err)
	}
	token, err := signed.CompactSerialize()
	if err != nil {
		a.t.Fatal(err)
	}
	return token
}

// A asserting is a browser whose requests get an assertion, unless it is empty.
type asserting struct {
	http.RoundTripper
	assertion string
}

func (a *asserting) RoundTrip(r *http.Request) (*http.Response, error) {
	r = r.Clone(r.Context())
	if a.assertion != "" {
		r.Header.Set("X-Sso-Assertion", a.assertion)
	}
	return a.RoundTripper.RoundTrip(r)
}

func newAsserting(t *testing.T) (*client, *asserting) {
	t.Helper()
	c := newClient(t)
	a := &asserting{RoundTripper: c.http.Transport}
	c.http.Transport = a
	return c, a
}

// ownPrepend is the file of docs/poweradmin.md, for another site.
func ownPrepend(t *testing.T, issuer, audience, jwks string) string {
	t.Helper()
	return strings.NewReplacer("'https://dns.example.com/.sso/jwks.json'", "'"+jwks+"'", "'https://dns.example.com'", "'"+issuer+"'", "'dns.example.com'", "'"+audience+"'").
		Replace(poweradminDocs(t, "PHP"))
}

// TestPoweradminPrepend holds that Poweradmin, by the file that we ship, believes an
// assertion and nothing else, on each request.
func TestPoweradminPrepend(t *testing.T) {
	t.Parallel()
	a := newAsserter(t)
	p := newPoweradmin(t, "https://dns.example", ownPrepend(t, "https://dns.example", "dns.example", a.url))
	base := "http://" + p.address()
	admin := claims{"template": "Administrator"}
	alice := func(change ...claims) string { return a.of(a.key, "alice", append([]claims{admin}, change...)...) }
	c, with := newAsserting(t)
	session := func() string {
		for _, cookie := range c.cookies(base) {
			if cookie.Name == "PHPSESSID" {
				return cookie.Value
			}
		}
		return ""
	}
	want := func(t *testing.T, who string) {
		t.Helper()
		if got := atPoweradmin(c.navigate(base + "/")); got != who {
			t.Errorf("Poweradmin shows %s, want %s", got, who)
		}
	}
	want(t, "login")
	for name, bad := range map[string]string{
		"forged":             a.of(newECKey(t), "alice", admin),
		"for another app":    alice(claims{"aud": "wiki.example"}),
		"of another gateway": alice(claims{"iss": "https://evil.example"}),
		"expired":            alice(claims{"exp": time.Now().Add(-time.Hour).Unix()}),
		"from the future":    alice(claims{"iat": time.Now().Add(time.Hour).Unix()}),
		"without a signature": func() string {
			return "eyJhbGciOiJub25lIn0." + strings.Split(alice(), ".")[1] + "."
		}(),
		"without a session":   alice(claims{"sid": ""}),
		"without a user name": alice(claims{"preferred_username": ""}),
	} {
		t.Run("E2 "+name, func(t *testing.T) {
			with.assertion = alice()
			want(t, "ALICE")
			with.assertion = bad
			want(t, "login")
			with.assertion = ""
			want(t, "login")
		})
	}
	t.Run("E2 the assertion is gone, the cookie is not", func(t *testing.T) {
		with.assertion = alice()
		want(t, "ALICE")
		old := session()
		with.assertion = ""
		want(t, "login")
		if session() == old {
			t.Error("the session has the same name")
		}
		c.with(base, []*http.Cookie{{Name: "PHPSESSID", Value: old, Path: "/"}})
		want(t, "login")
	})
	t.Run("E2 a form with the app's own token", func(t *testing.T) {
		with.assertion = alice()
		if !addUser(c, base, "new1") {
			t.Error("a form with the token was refused")
		}
		if addUser(c, base, "new2", func(v url.Values) { v.Set("_token", "x") }) {
			t.Error("a form with another token was taken")
		}
	})
	t.Run("E2 demoted and promoted in mid-session", func(t *testing.T) {
		with.assertion = alice()
		want(t, "ALICE")
		form := c.navigate(base + "/users/add")
		before := session()
		with.assertion = alice(claims{"template": "Viewer"})
		if isAdministrator(c, base) {
			t.Error("demoted, she is an administrator")
		}
		want(t, "ALICE")
		with.assertion = alice(claims{"template": "", "roles": []string{"Administrator"}})
		fields := url.Values{"_token": {formToken.FindStringSubmatch(form.body)[1]}, "username": {"new3"}, "fullname": {"n"}, "password": {"Secret-12345"}, "email": {"n@example.com"}, "perm_templ": {"4"}, "active": {"1"}}
		if at := c.submit(form, "/users/add", fields).url.Path; at != "/users" || session() != before {
			t.Errorf("promoted, she was led to %s; the session was %s and is %s", at, before, session())
		}
		with.assertion = alice(claims{"template": "", "groups": []string{"Viewer"}})
		if isAdministrator(c, base) {
			t.Error("in another group, she is an administrator")
		}
	})
	t.Run("E2 another person, and another login, in the same browser", func(t *testing.T) {
		with.assertion = alice()
		token := formToken.FindStringSubmatch(c.navigate(base + "/users/add").body)[1]
		first := session()
		with.assertion = a.of(a.key, "bob")
		want(t, "BOB")
		if isAdministrator(c, base) || session() == first {
			t.Errorf("bob is an administrator, or has her session %s", session())
		}
		with.assertion = alice(claims{"sid": "the next one"})
		want(t, "ALICE")
		if again := formToken.FindStringSubmatch(c.navigate(base + "/users/add").body)[1]; again == token {
			t.Error("her next login has the form token of the first")
		}
	})
	t.Run("E2 a user name that is taken", func(t *testing.T) {
		with.assertion = a.of(a.key, "admin", claims{"name": "Another"})
		want(t, "Another")
		if isAdministrator(c, base) {
			t.Error("somebody named admin got the superuser's account")
		}
	})
	t.Run("E2 a session by the app's own form is left alone", func(t *testing.T) {
		with.assertion = ""
		c, with := newAsserting(t)
		form := c.navigate(base + "/login")
		got := c.submit(form, "/login", url.Values{
			"_token": {formToken.FindStringSubmatch(form.body)[1]}, "authenticate": {"1"}, "username": {"admin"}, "password": {poweradminPassword}, "userlang": {"en_EN"},
		})
		if atPoweradmin(got) != "Administrator" || !isAdministrator(c, base) {
			t.Fatalf("the superuser was shown %s", got)
		}
		with.assertion = a.of(a.key, "bob")
		if got := atPoweradmin(c.navigate(base + "/")); got != "BOB" || isAdministrator(c, base) {
			t.Errorf("bob with the superuser's cookie: %s", got)
		}
	})
	t.Run("E2 the account is not active", func(t *testing.T) {
		p.deactivate()
		with.assertion = alice(claims{"sid": "the third"})
		for range 2 {
			want(t, fmt.Sprint(http.StatusForbidden))
		}
		with.assertion = ""
		want(t, "login")
	})
	t.Run("E2 the gateway's keys can't be had", func(t *testing.T) {
		down := newPoweradmin(t, "https://dns.example", ownPrepend(t, "https://dns.example", "dns.example", "http://127.0.0.1:1/jwks.json"))
		with.assertion = alice()
		if got := c.navigate("http://" + down.address() + "/"); got.status != http.StatusServiceUnavailable {
			t.Errorf("answered %s", got)
		}
	})
}
