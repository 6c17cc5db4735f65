package oidcop_test

import (
	"encoding/base64"
	"net/http"
	"net/http/httptest"
	"net/url"
	"strings"
	"testing"
	"time"

	"github.com/caddy-sso/caddy-sso/gateway/oidcop"
)

// TestToken is the table of token requests with a good code: the error that the client gets,
// its status, and whether the code is used up.
func TestToken(t *testing.T) {
	t.Parallel()
	l := newLab(t)
	for name, test := range map[string]struct {
		user, secret string
		change       []string
		want         string
		usedUp       bool
	}{
		"good, by header":          {user: "web", secret: secret, usedUp: true},
		"good, by form":            {change: []string{"client_id", "web", "client_secret", secret}, usedUp: true},
		"good, id in both":         {user: "web", secret: secret, change: []string{"client_id", "web"}, usedUp: true},
		"good, the second secret":  {user: "web", secret: "the next secret", usedUp: true},
		"good, unknown parameters": {user: "web", secret: secret, change: []string{"resource", "x"}, usedUp: true},
		"good, a wider scope":      {user: "web", secret: secret, change: []string{"scope", "openid email"}, usedUp: true},
		"wrong secret":             {user: "web", secret: "wrong", want: "invalid_client"},
		"wrong secret by form":     {change: []string{"client_id", "web", "client_secret", "wrong"}, want: "invalid_client"},
		"no secret":                {user: "web", want: "invalid_client"},
		"no secret by form":        {change: []string{"client_id", "web"}, want: "invalid_client"},
		"unknown client":           {user: "x", secret: secret, want: "invalid_client"},
		"no client":                {want: "invalid_client"},
		"two ways at once":         {user: "web", secret: secret, change: []string{"client_secret", secret}, want: "invalid_request"},
		"two clients":              {user: "web", secret: secret, change: []string{"client_id", "spa"}, want: "invalid_client"},
		"secret of a public one":   {user: "spa", secret: secret, want: "invalid_client"},
		"secret in place of a key": {user: "jwt", secret: secret, want: "invalid_client"},
		"no grant type":            {user: "web", secret: secret, change: []string{"grant_type", "-"}, want: "invalid_request"},
		"other grant type":         {user: "web", secret: secret, change: []string{"grant_type", "password"}, want: "unsupported_grant_type"},
		"no code":                  {user: "web", secret: secret, change: []string{"code", "-"}, want: "invalid_request"},
		"unknown code":             {user: "web", secret: secret, change: []string{"code", "x"}, want: "invalid_grant"},
		"code of another client":   {user: "other", secret: "other's secret", want: "invalid_grant", usedUp: true},
		"another redirect URI":     {user: "web", secret: secret, change: []string{"redirect_uri", "https://app.example/"}, want: "invalid_grant", usedUp: true},
		"no redirect URI":          {user: "web", secret: secret, change: []string{"redirect_uri", "-"}, want: "invalid_grant", usedUp: true},
		"wrong verifier":           {user: "web", secret: secret, change: []string{"code_verifier", strings.Repeat("x", 43)}, want: "invalid_grant", usedUp: true},
		"no verifier":              {user: "web", secret: secret, change: []string{"code_verifier", "-"}, want: "invalid_grant", usedUp: true},
		"the challenge again":      {user: "web", secret: secret, change: []string{"code_verifier", challenge()}, want: "invalid_grant", usedUp: true},
	} {
		t.Run(name, func(t *testing.T) {
			t.Parallel()
			code := l.code()
			rec, failed := post(l.Provider, oidcop.TokenPath, test.user, test.secret, exchangeForm(code, test.change...))
			status := map[string]int{"": http.StatusOK, "invalid_client": http.StatusUnauthorized}[test.want]
			if status == 0 {
				status = http.StatusBadRequest
			}
			if got := read(rec); rec.Code != status || got.Error != test.want || (got.Access != "") != (test.want == "") {
				t.Errorf("%d %s, want %q", rec.Code, rec.Body, test.want)
			}
			if want := test.want == "invalid_client" && test.user != "spa"; failed != want {
				t.Errorf("counts as failed: %v, want %v", failed, want)
			}
			if (rec.Header().Get("WWW-Authenticate") != "") != (test.want == "invalid_client") || rec.Header().Get("Cache-Control") != "no-store" {
				t.Errorf("headers are %v", rec.Header())
			}
			again, _ := post(l.Provider, oidcop.TokenPath, "web", secret, exchangeForm(code))
			if usedUp := again.Code != http.StatusOK; usedUp != test.usedUp {
				t.Errorf("used up: %v, want %v", usedUp, test.usedUp)
			}
		})
	}
}

// TestBasic: id and secret should be form-urlencoded. Clients that don't do it are understood.
func TestBasic(t *testing.T) {
	t.Parallel()
	l := newLab(t)
	for value, want := range map[string]int{
		basic("web:" + url.QueryEscape(secret)):                     http.StatusOK,
		basic("web:" + secret):                                      http.StatusOK,
		basic("w%65b:" + secret):                                    http.StatusOK,
		"basic" + strings.TrimPrefix(basic("web:"+secret), "Basic"): http.StatusOK,
		basic("web:" + secret + " "):                                http.StatusUnauthorized,
		basic("web"):                                                http.StatusUnauthorized,
		basic(":"):                                                  http.StatusUnauthorized,
		basic("web:%zz"):                                            http.StatusUnauthorized,
		"Digest" + strings.TrimPrefix(basic("web:"+secret), "Basic"): http.StatusUnauthorized,
		"Basic !":  http.StatusUnauthorized,
		"Basic":    http.StatusUnauthorized,
		"Bearer x": http.StatusUnauthorized,
	} {
		r := httptest.NewRequest(http.MethodPost, issuer+oidcop.TokenPath, strings.NewReader(exchangeForm(l.code()).Encode()))
		r.Header.Set("Content-Type", "application/x-www-form-urlencoded")
		r.Header.Set("Authorization", value)
		if rec, _ := serve(l.Provider, r); rec.Code != want {
			t.Errorf("%q: %d %s", value, rec.Code, rec.Body)
		}
	}
	// An id that looks encoded.
	const odd = "a+b%41"
	op := l.without("web", func(c *oidcop.Client) { c.ID = odd })
	for _, id := range []string{odd, url.QueryEscape(odd)} {
		r := httptest.NewRequest(http.MethodPost, issuer+oidcop.TokenPath, strings.NewReader("grant_type=x"))
		r.Header.Set("Content-Type", formType)
		r.Header.Set("Authorization", basic(id+":"+secret))
		if rec, _ := serve(op, r); rec.Code != http.StatusBadRequest {
			t.Errorf("%s: %d %s", id, rec.Code, rec.Body)
		}
	}
	// A public client with an empty secret.
	r := httptest.NewRequest(http.MethodPost, issuer+oidcop.TokenPath, strings.NewReader(exchangeForm(l.code("client_id", "spa")).Encode()))
	r.Header.Set("Content-Type", "application/x-www-form-urlencoded")
	r.Header.Set("Authorization", basic("spa:"))
	if rec, _ := serve(l.Provider, r); rec.Code != http.StatusOK {
		t.Errorf("public client: %d %s", rec.Code, rec.Body)
	}
}

func basic(text string) string { return "Basic " + base64.StdEncoding.EncodeToString([]byte(text)) }

func TestTokenForm(t *testing.T) {
	t.Parallel()
	l := newLab(t)
	const form = "application/x-www-form-urlencoded"
	for name, test := range map[string]struct{ query, contentType, body string }{
		"in the query": {"?grant_type=authorization_code", form, ""},
		"JSON":         {"", "application/json", `{"grant_type":"authorization_code"}`},
		"twice":        {"", form, "grant_type=authorization_code&grant_type=x"},
		"65 kB":        {"", form, "x=" + strings.Repeat("x", 64<<10)},
		"malformed":    {"", form, "grant_type=%zz"},
	} {
		r := httptest.NewRequest(http.MethodPost, issuer+oidcop.TokenPath+test.query, strings.NewReader(test.body))
		r.Header.Set("Content-Type", test.contentType)
		if rec, failed := serve(l.Provider, r); rec.Code != http.StatusBadRequest || read(rec).Error != "invalid_request" || failed {
			t.Errorf("%s: %d %s", name, rec.Code, rec.Body)
		}
	}
}

// TestIDToken holds what an ID token says.
func TestIDToken(t *testing.T) {
	t.Parallel()
	l := newLab(t)
	got := l.tokens("web", "scope", "openid profile x")
	if got.Type != "Bearer" || got.ExpiresIn != 300 || got.Scope != "openid profile" || got.Refresh != "" {
		t.Errorf("responded %+v", got)
	}
	claims := claimsOf(t, got.ID)
	for name, want := range map[string]any{"iss": issuer, "sub": "sub-alice", "aud": "web", "nonce": "n", "acr": "mfa"} {
		if claims[name] != want {
			t.Errorf("%s is %v, want %v", name, claims[name], want)
		}
	}
	for _, name := range []string{"iat", "exp", "auth_time", "at_hash", "amr", "sid", "preferred_username", "name", "given_name", "family_name"} {
		if claims[name] == nil {
			t.Errorf("%s is missing", name)
		}
	}
	if len(claims) != 15 {
		t.Errorf("claims are %v", claims)
	}
	told := claimsOf(t, l.tokens("told", "nonce", "-", "claims", `{"id_token":{"email":null,"email_verified":{"essential":true},"roles":null,"iss":{"value":"x"}}}`).ID)
	if told["policy"] != "tpl" || told["realm"] != "corp" || told["login"] != "alice" || told["roles"] == nil || told["groups"] == nil ||
		told["email"] != "alice@example.com" || told["email_verified"] != true || told["iss"] != issuer || told["nonce"] != nil {
		t.Errorf("claims are %v", told)
	}
	if a, b := told["sid"], claims["sid"]; a == b || a == "login:alice" {
		t.Errorf("sid is %v for both clients", a)
	}
	person := l.people.logins["login:alice"]
	person.AuthTime, person.ACR, person.AMR = time.Time{}, "", nil
	for name := range claimsOf(t, l.tokens("web").ID) {
		if name == "auth_time" || name == "acr" || name == "amr" {
			t.Errorf("%s is told, and nobody knows it", name)
		}
	}
}

func TestPairwise(t *testing.T) {
	t.Parallel()
	l := newLab(t)
	got := l.tokens("pair")
	sub := claimsOf(t, got.ID)["sub"]
	if sub == "sub-alice" || sub == "" || claimsOf(t, l.tokens("pair").ID)["sub"] != sub {
		t.Errorf("sub is %v", sub)
	}
	elsewhere := l.at("https://elsewhere.example")
	answer, _ := authorize(t.Context(), elsewhere, "login:alice", request("client_id", "pair"))
	rec, _ := post(elsewhere, oidcop.TokenPath, "pair", secret, exchangeForm(answer.Get("code")))
	if claimsOf(t, read(rec).ID)["sub"] == sub {
		t.Error("sub is the same at another issuer")
	}
	rec, _ = userinfo(l.Provider, got.Access)
	if rec.Header().Get("Content-Type") != "application/jwt" {
		t.Fatalf("userinfo is %v", rec.Header())
	}
	if claims := claimsOf(t, rec.Body.String()); claims["sub"] != sub || claims["iss"] != issuer || claims["aud"] != "pair" {
		t.Errorf("userinfo is %v", claims)
	}
}
