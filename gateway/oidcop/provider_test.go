package oidcop_test

import (
	"bytes"
	"context"
	"crypto/sha256"
	"encoding/base64"
	"encoding/json"
	"io"
	"net/http"
	"net/http/httptest"
	"net/url"
	"strings"
	"testing"
	"testing/synctest"
	"time"

	"github.com/caddy-sso/caddy-sso/gateway/oidcop"
	"github.com/caddy-sso/caddy-sso/gateway/oidcrp"
	"github.com/caddy-sso/caddy-sso/gateway/provider"
	"github.com/caddy-sso/caddy-sso/gateway/refusal"
	"github.com/caddy-sso/caddy-sso/gateway/signing"
)

const (
	issuer   = "https://op.example/sso"
	callback = "https://app.example/callback?from=op"
	verifier = "0123456789abcdefghijklmnopqrstuvwxyzABCDEFG-._~"
)

var alice = oidcop.Person{
	Subject: "a1", Username: "alice", Name: "Alice Ångström", Email: "alice@example.com", EmailVerified: true, Groups: []string{"admins", "a, b"},
}

// signedIn is a Login for whom person is always at the browser.
func signedIn(person *oidcop.Person) oidcop.Login {
	return func(w http.ResponseWriter, _ *http.Request) *oidcop.Person {
		if person == nil {
			_, _ = io.WriteString(w, "who are you?")
		}
		return person
	}
}

func newProvider(t *testing.T, person *oidcop.Person) *oidcop.Provider {
	t.Helper()
	keys, err := signing.NewEphemeral()
	if err != nil {
		t.Fatal(err)
	}
	p, err := oidcop.New(oidcop.Options{
		Issuer: issuer, Signer: keys, Login: signedIn(person),
		Clients: []oidcop.Client{
			{ID: "app:1", Secret: "s3cr3t/+ %&", RedirectURIs: []string{callback}},
			{ID: "public", RedirectURIs: []string{callback}},
		},
	})
	if err != nil {
		t.Fatal(err)
	}
	return p
}

// into lets a client reach a Provider without a network.
type into struct{ p *oidcop.Provider }

func (i into) RoundTrip(r *http.Request) (*http.Response, error) {
	rec := httptest.NewRecorder()
	i.p.ServeHTTP(rec, r)
	return rec.Result(), nil
}

// TestSignIn signs in with our own relying party, the strictest client there
// is at hand.
func TestSignIn(t *testing.T) {
	t.Parallel()
	for _, client := range []struct{ id, secret, method string }{
		{"app:1", "s3cr3t/+ %&", "client_secret_basic"},
		{"app:1", "s3cr3t/+ %&", "client_secret_post"},
		{"public", "", "none"},
	} {
		t.Run(client.id+" by "+client.method, func(t *testing.T) {
			t.Parallel()
			op := newProvider(t, &alice)
			rp, err := oidcrp.New(oidcrp.Config{
				Issuer: issuer, ClientID: client.id, ClientSecret: oidcrp.Secret(client.secret), TokenEndpointAuthMethod: client.method,
			}, oidcrp.Deps{Transport: into{op}})
			if err != nil {
				t.Fatal(err)
			}
			begun, err := rp.Begin(t.Context(), provider.BeginRequest{State: "st", CallbackURL: callback})
			if err != nil {
				t.Fatal(err)
			}
			params := answer(t, op, begun.Location)
			if params.Get("from") != "op" {
				t.Errorf("the redirect URI's own query is lost: %v", params)
			}
			params.Del("from")
			got, err := rp.Complete(t.Context(), provider.CompleteRequest{Params: params, Private: begun.Private, CallbackURL: callback})
			if err != nil {
				t.Fatal(err)
			}
			id := got.Identity
			if got.Subject != "a1" || id.Username != "alice" || id.DisplayName != "Alice Ångström" || id.Email != "alice@example.com" ||
				!id.EmailVerified || strings.Join(id.Groups, "|") != "admins|a, b" {
				t.Errorf("signed in as %q %+v", got.Subject, id)
			}
			if _, err := rp.Complete(t.Context(), provider.CompleteRequest{Params: params, Private: begun.Private, CallbackURL: callback}); refusal.CodeOf(err) != refusal.OIDCCodeRejected {
				t.Errorf("the code a second time: %v", err)
			}
		})
	}
}

// answer follows the redirect that the authorization endpoint answers with.
func answer(t *testing.T, op http.Handler, location string) url.Values {
	t.Helper()
	rec := httptest.NewRecorder()
	op.ServeHTTP(rec, httptest.NewRequest(http.MethodGet, location, nil))
	back, err := url.Parse(rec.Header().Get("Location"))
	if err != nil || rec.Code != http.StatusSeeOther || !strings.HasPrefix(back.String(), "https://app.example/callback?") {
		t.Fatalf("%d to %v: %s", rec.Code, back, rec.Body)
	}
	return back.Query()
}

func request(change ...string) url.Values {
	sum := sha256.Sum256([]byte(verifier))
	params := url.Values{
		"client_id": {"app:1"}, "redirect_uri": {callback}, "response_type": {"code"}, "scope": {"openid email"}, "state": {"st"},
		"nonce": {"n"}, "code_challenge_method": {"S256"}, "code_challenge": {base64.RawURLEncoding.EncodeToString(sum[:])},
	}
	return set(params, change)
}

// set sets parameters; one with an empty value is deleted.
func set(params url.Values, change []string) url.Values {
	for i := 0; i < len(change); i += 2 {
		params.Set(change[i], change[i+1])
		if change[i+1] == "" {
			params.Del(change[i])
		}
	}
	return params
}

// TestAuthorizeAttack: none of these requests gets a code; only a known
// client's own redirect URI gets an answer.
func TestAuthorizeAttack(t *testing.T) {
	t.Parallel()
	op := newProvider(t, &alice)
	control := answer(t, op, issuer+"/authorize?"+request().Encode())
	if control.Get("code") == "" || control.Get("iss") != issuer || control.Get("state") != "st" {
		t.Fatalf("control: %v", control)
	}
	for _, test := range []struct{ name, query, code string }{
		{"unknown client", request("client_id", "other").Encode(), ""},
		{"no client", request("client_id", "").Encode(), ""},
		{"no redirect URI", request("redirect_uri", "").Encode(), ""},
		{"redirect URI of an attacker", request("redirect_uri", "https://evil.example/").Encode(), ""},
		{"redirect URI with more behind it", request("redirect_uri", callback+"&x").Encode(), ""},
		{"redirect URI without its query", request("redirect_uri", "https://app.example/callback").Encode(), ""},
		{"redirect URI in another case", request("redirect_uri", strings.ToUpper(callback)).Encode(), ""},
		{"client twice", request().Encode() + "&client_id=public", ""},
		{"redirect URI twice", request().Encode() + "&redirect_uri=https://evil.example/", ""},
		{"malformed", request().Encode() + "&x=%zz", ""},
		{"oversized", request("x", strings.Repeat("x", 17<<10)).Encode(), ""},
		{"implicit flow", request("response_type", "id_token token").Encode(), "unsupported_response_type"},
		{"hybrid flow", request("response_type", "code id_token").Encode(), "unsupported_response_type"},
		{"fragment", request("response_mode", "fragment").Encode(), "invalid_request"},
		{"request object", request("request", "e30.e30.").Encode(), "request_not_supported"},
		{"request object elsewhere", request("request_uri", "https://evil.example/").Encode(), "request_uri_not_supported"},
		{"no openid", request("scope", "email").Encode(), "invalid_scope"},
		{"openid as part of a word", request("scope", "openidx").Encode(), "invalid_scope"},
		{"no PKCE", request("code_challenge", "").Encode(), "invalid_request"},
		{"plain PKCE", request("code_challenge_method", "plain").Encode(), "invalid_request"},
		{"PKCE method left out, which means plain", request("code_challenge_method", "").Encode(), "invalid_request"},
		{"challenge of another length", request("code_challenge", "abc").Encode(), "invalid_request"},
		{"silently", request("prompt", "none").Encode(), "login_required"},
		{"huge nonce", request("nonce", strings.Repeat("n", 1025)).Encode(), "invalid_request"},
	} {
		t.Run(test.name, func(t *testing.T) {
			t.Parallel()
			rec := httptest.NewRecorder()
			op.ServeHTTP(rec, httptest.NewRequest(http.MethodGet, issuer+"/authorize?"+test.query, nil))
			if test.code == "" {
				if rec.Code != http.StatusBadRequest || rec.Header().Get("Location") != "" {
					t.Errorf("%d to %q", rec.Code, rec.Header().Get("Location"))
				}
				return
			}
			got := answer(t, op, issuer+"/authorize?"+test.query)
			if got.Get("error") != test.code || got.Has("code") || got.Get("state") != "st" || got.Get("iss") != issuer {
				t.Errorf("answered %v, want %s", got, test.code)
			}
		})
	}
}

func TestLoginAnswersItself(t *testing.T) {
	t.Parallel()
	op := newProvider(t, nil)
	for _, method := range []string{http.MethodGet, http.MethodPost} {
		rec := httptest.NewRecorder()
		op.ServeHTTP(rec, httptest.NewRequest(method, issuer+"/authorize?"+request().Encode(), nil))
		if rec.Code != http.StatusOK || rec.Body.String() != "who are you?" {
			t.Errorf("%s: %d %s", method, rec.Code, rec.Body)
		}
	}
}

// exchange posts to the token endpoint as app:1, without its secret in the
// form unless change says so.
func exchange(op http.Handler, code, user, password string, change ...string) *httptest.ResponseRecorder {
	form := set(url.Values{"grant_type": {"authorization_code"}, "code": {code}, "redirect_uri": {callback}, "code_verifier": {verifier}}, change)
	r := httptest.NewRequest(http.MethodPost, issuer+"/token", strings.NewReader(form.Encode()))
	r.Header.Set("Content-Type", "application/x-www-form-urlencoded")
	if user != "" {
		r.SetBasicAuth(url.QueryEscape(user), url.QueryEscape(password))
	}
	rec := httptest.NewRecorder()
	op.ServeHTTP(rec, r)
	return rec
}

// TestTokenAttack: none of these gets a token, and what reached the code used
// it up.
func TestTokenAttack(t *testing.T) {
	t.Parallel()
	op := newProvider(t, &alice)
	const user, secret = "app:1", "s3cr3t/+ %&"
	newCode := func(t *testing.T) string {
		t.Helper()
		return answer(t, op, issuer+"/authorize?"+request().Encode()).Get("code")
	}
	if rec := exchange(op, newCode(t), user, secret); rec.Code != http.StatusOK || !strings.Contains(rec.Body.String(), "id_token") {
		t.Fatalf("control: %d %s", rec.Code, rec.Body)
	}
	for _, test := range []struct {
		name, user, secret string
		change             []string
		want               string
		usedUp             bool
	}{
		{"wrong secret", user, "wrong", nil, "invalid_client", false},
		{"no secret", user, "", nil, "invalid_client", false},
		{"unknown client", "other", secret, nil, "invalid_client", false},
		{"no client", "", "", nil, "invalid_client", false},
		{"secret in header and form", user, secret, []string{"client_secret", secret}, "invalid_client", false},
		{"two clients", user, secret, []string{"client_id", "public"}, "invalid_client", false},
		{"code of another client", "", "", []string{"client_id", "public"}, "invalid_grant", true},
		{"other redirect URI", user, secret, []string{"redirect_uri", "https://app.example/other"}, "invalid_grant", true},
		{"no redirect URI", user, secret, []string{"redirect_uri", ""}, "invalid_grant", true},
		{"wrong verifier", user, secret, []string{"code_verifier", strings.Repeat("x", 43)}, "invalid_grant", true},
		{"no verifier", user, secret, []string{"code_verifier", ""}, "invalid_grant", true},
		{"the challenge as verifier", user, secret, []string{"code_verifier", request().Get("code_challenge")}, "invalid_grant", true},
		{"unknown code", user, secret, []string{"code", "x"}, "invalid_grant", false},
		{"other grant type", user, secret, []string{"grant_type", "password"}, "unsupported_grant_type", false},
	} {
		t.Run(test.name, func(t *testing.T) {
			t.Parallel()
			code := newCode(t)
			rec := exchange(op, code, test.user, test.secret, test.change...)
			var got struct{ Error string }
			if err := json.Unmarshal(rec.Body.Bytes(), &got); err != nil || got.Error != test.want || rec.Code/100 != 4 {
				t.Errorf("%d %s, want %s", rec.Code, rec.Body, test.want)
			}
			again := exchange(op, code, user, secret)
			if usedUp := again.Code != http.StatusOK; usedUp != test.usedUp {
				t.Errorf("used up: %v, want %v", usedUp, test.usedUp)
			}
		})
	}
}

func TestTokenForm(t *testing.T) {
	t.Parallel()
	op := newProvider(t, &alice)
	for name, r := range map[string]*http.Request{
		"query":     httptest.NewRequest(http.MethodPost, issuer+"/token?grant_type=authorization_code", nil),
		"JSON":      httptest.NewRequest(http.MethodPost, issuer+"/token", strings.NewReader(`{"grant_type":"authorization_code"}`)),
		"twice":     httptest.NewRequest(http.MethodPost, issuer+"/token", strings.NewReader("grant_type=authorization_code&grant_type=x")),
		"oversized": httptest.NewRequest(http.MethodPost, issuer+"/token", bytes.NewReader(make([]byte, 17<<10))),
	} {
		if name == "JSON" {
			r.Header.Set("Content-Type", "application/json")
		} else if name != "query" {
			r.Header.Set("Content-Type", "application/x-www-form-urlencoded")
		}
		rec := httptest.NewRecorder()
		op.ServeHTTP(rec, r)
		if rec.Code != http.StatusBadRequest || !strings.Contains(rec.Body.String(), "invalid_request") {
			t.Errorf("%s: %d %s", name, rec.Code, rec.Body)
		}
	}
}

func TestUserInfo(t *testing.T) {
	t.Parallel()
	synctest.Test(t, func(t *testing.T) {
		op := newProvider(t, &alice)
		code := answer(t, op, issuer+"/authorize?"+request("client_id", "public").Encode()).Get("code")
		ask := func(authorization string) *httptest.ResponseRecorder {
			r := httptest.NewRequestWithContext(context.Background(), http.MethodGet, issuer+"/userinfo", nil)
			r.Header.Set("Authorization", authorization)
			rec := httptest.NewRecorder()
			op.ServeHTTP(rec, r)
			return rec
		}
		if rec := ask("Bearer " + code); rec.Code != http.StatusUnauthorized {
			t.Errorf("a code as access token: %d %s", rec.Code, rec.Body)
		}
		var tokens struct {
			Access string `json:"access_token"`
			ID     string `json:"id_token"`
		}
		if err := json.Unmarshal(exchange(op, code, "", "", "client_id", "public").Body.Bytes(), &tokens); err != nil {
			t.Fatal(err)
		}
		if rec := ask("Bearer " + tokens.Access); rec.Code != http.StatusOK || !strings.Contains(rec.Body.String(), `"sub":"a1"`) {
			t.Errorf("%d %s", rec.Code, rec.Body)
		}
		for _, wrong := range []string{"", "Bearer", "Bearer x", "Basic " + tokens.Access, "Bearer " + tokens.ID} {
			if rec := ask(wrong); rec.Code != http.StatusUnauthorized || rec.Header().Get("WWW-Authenticate") == "" {
				t.Errorf("%q: %d %s", wrong, rec.Code, rec.Body)
			}
		}
		if rec := exchange(op, tokens.Access, "", "", "client_id", "public"); !strings.Contains(rec.Body.String(), "invalid_grant") {
			t.Errorf("an access token as code: %d %s", rec.Code, rec.Body)
		}
		code = answer(t, op, issuer+"/authorize?"+request("client_id", "public").Encode()).Get("code")
		time.Sleep(time.Minute)
		if rec := exchange(op, code, "", "", "client_id", "public"); !strings.Contains(rec.Body.String(), "invalid_grant") {
			t.Errorf("a code after a minute: %d %s", rec.Code, rec.Body)
		}
	})
}

func TestOptions(t *testing.T) {
	t.Parallel()
	keys, err := signing.NewEphemeral()
	if err != nil {
		t.Fatal(err)
	}
	good := oidcop.Options{Issuer: issuer, Signer: keys, Login: signedIn(nil)}
	for name, change := range map[string]func(*oidcop.Options){
		"issuer with a slash": func(o *oidcop.Options) { o.Issuer += "/" },
		"issuer with a query": func(o *oidcop.Options) { o.Issuer += "?x" },
		"relative issuer":     func(o *oidcop.Options) { o.Issuer = "/sso" },
		"no signer":           func(o *oidcop.Options) { o.Signer = nil },
		"no login":            func(o *oidcop.Options) { o.Login = nil },
		"client without id":   func(o *oidcop.Options) { o.Clients = []oidcop.Client{{RedirectURIs: []string{callback}}} },
		"client without URI":  func(o *oidcop.Options) { o.Clients = []oidcop.Client{{ID: "x"}} },
		"client twice": func(o *oidcop.Options) {
			c := oidcop.Client{ID: "x", RedirectURIs: []string{callback}}
			o.Clients = []oidcop.Client{c, c}
		},
		"redirect to a script": func(o *oidcop.Options) {
			o.Clients = []oidcop.Client{{ID: "x", RedirectURIs: []string{"javascript:alert(1)"}}}
		},
		"redirect to a fragment": func(o *oidcop.Options) {
			o.Clients = []oidcop.Client{{ID: "x", RedirectURIs: []string{callback + "#x"}}}
		},
	} {
		opts := good
		change(&opts)
		if _, err := oidcop.New(opts); err == nil {
			t.Errorf("%s is taken", name)
		}
	}
	if _, err := oidcop.New(good); err != nil {
		t.Errorf("control: %v", err)
	}
}
