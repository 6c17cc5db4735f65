package oidcop_test

import (
	"errors"
	"net/http"
	"net/http/httptest"
	"net/url"
	"strings"
	"testing"
	"testing/synctest"
	"time"

	"github.com/caddy-sso/caddy-sso/gateway/oidcop"
	"github.com/caddy-sso/caddy-sso/gateway/store"
)

// TestCauses: an app hears the same of all bad codes, tokens and credentials. The log tells
// them apart: by the check, the client and the cause. It has nothing secret.
func TestCauses(t *testing.T) {
	t.Parallel()
	stray := func(token string) string { return token[:len(token)-43] + strings.Repeat("A", 43) }
	asked := func(client, user, password string, change ...string) func(*lab) *oidcop.RefusedError {
		return func(l *lab) *oidcop.RefusedError {
			return l.refused(user, password, exchangeForm(l.code("client_id", client), change...))
		}
	}
	byJWT := func(client string) func(*lab) *oidcop.RefusedError {
		return func(l *lab) *oidcop.RefusedError {
			text := assert(t, l.key, "", map[string]any{"sub": client})
			return l.refusedBy(exchangeForm(l.code("client_id", client), "client_assertion_type", jwtBearer, "client_assertion", text))
		}
	}
	for name, test := range map[string]struct {
		ask           func(l *lab) *oidcop.RefusedError
		client, check string
		cause         string // a part
	}{
		"no code":       {func(l *lab) *oidcop.RefusedError { return l.refused("web", secret, exchangeForm("nonsense")) }, "web", "token form", "does not look like a code"},
		"guessed code":  {func(l *lab) *oidcop.RefusedError { return l.refused("web", secret, exchangeForm(stray(l.code()))) }, "web", "token genuine", "guessed"},
		"refresh token": {func(l *lab) *oidcop.RefusedError { return l.refused("long", secret, refreshForm(l.code())) }, "long", "token form", "a refresh token"},
		"old code": {func(l *lab) *oidcop.RefusedError {
			code := l.code()
			time.Sleep(time.Minute)
			return l.refused("web", secret, exchangeForm(code))
		}, "web", "token known", "60 seconds"},
		"code after the logout": {func(l *lab) *oidcop.RefusedError {
			code := l.code()
			l.people.end("login:alice")
			return l.refused("web", secret, exchangeForm(code))
		}, "web", "login alive", "the login is over"},
		"code of a denied person": {func(l *lab) *oidcop.RefusedError {
			code := l.code()
			l.people.deny("web", "login:alice")
			return l.refused("web", secret, exchangeForm(code))
		}, "web", "person admitted", "access_denied"},
		"code of a login of another node": {func(l *lab) *oidcop.RefusedError {
			code := l.code()
			l.people.fail(oidcop.ErrNotHere)
			return l.refused("web", secret, exchangeForm(code))
		}, "web", "login here", "this node"},
		"other verifier":  {asked("web", "web", secret, "code_verifier", "guess"), "web", "code verifier", ""},
		"other client":    {asked("web", "other", "other's secret"), "other", "code client", ""},
		"wrong secret":    {asked("web", "web", "guess"), "web", "client secret", "differs"},
		"unknown client":  {asked("web", "Web\n", secret), "", "client known", `client_id is "Web%0A"; the clients of op are jwt, `},
		"a long id":       {asked("web", strings.Repeat("x", 1000), secret), "", "client known", strings.Repeat("x", 200) + `";`},
		"no client":       {asked("web", "", ""), "", "client known", `client_id is ""`},
		"wrong way round": {asked("web", secret, "web"), "", "client known", "the secret of the client"},
		"another scheme": {func(l *lab) *oidcop.RefusedError {
			return l.refusedBy(exchangeForm(l.code()), "Authorization", "Bearer x")
		}, "", "authorization header", "Basic"},
		"no JWT":              {asked("web", "", "", "client_id", "jwt", "client_assertion", "guess"), "jwt", "assertion form", "no signed JWT"},
		"no JWT, no client":   {asked("web", "", "", "client_assertion", "guess"), "", "assertion form", "no signed JWT"},
		"client without keys": {byJWT("web"), "web", "client method", "by private_key_jwt, and the client has client_secret_basic"},
		"client with keys":    {asked("web", "jwt", secret), "jwt", "client method", "by client_secret_basic, and the client has private_key_jwt"},
		"keys that are down":  {byJWT("published"), "published", "client keys", "keys"},
		"two clients":         {asked("web", "web", secret, "client_id", "spa"), "web", "one client", "several"},
		"a field twice": {func(l *lab) *oidcop.RefusedError {
			return l.refusedBy(url.Values{"code": {"x", "y"}})
		}, "", "form", "two fields code"},
		"no grant type": {asked("web", "web", secret, "grant_type", "-"), "web", "", ""},
		"access token":  {func(l *lab) *oidcop.RefusedError { return l.refusedAt("Bearer nonsense") }, "", "token form", "an access token"},
		"another token's scheme": {func(l *lab) *oidcop.RefusedError {
			return l.refusedAt("Basic x")
		}, "", "token scheme", "Bearer"},
		"access token after the logout": {func(l *lab) *oidcop.RefusedError {
			token := l.tokens("web").Access
			l.people.end("login:alice")
			return l.refusedAt("Bearer " + token)
		}, "web", "login alive", "the login is over"},
		"guessed access token": {func(l *lab) *oidcop.RefusedError { return l.refusedAt("Bearer " + stray(l.tokens("web").Access)) }, "web", "token genuine", "guessed"},
		"old access token": {func(l *lab) *oidcop.RefusedError {
			token := l.tokens("web").Access
			time.Sleep(6 * time.Minute)
			return l.refusedAt("Bearer " + token)
		}, "", "token known", "too old"},
	} {
		t.Run(name, func(t *testing.T) {
			t.Parallel()
			synctest.Test(t, func(t *testing.T) {
				got := test.ask(newLab(t))
				if got == nil || got.Client != test.client || got.Check != test.check || got.Fault != nil || !strings.Contains(got.Error(), test.cause) {
					t.Fatalf("%+v: %v", got, got)
				}
				for _, private := range []string{"s3cr3t", verifier, strings.Repeat("A", 43), "x" + strings.Repeat("x", 200), "\n"} {
					if strings.Contains(got.Error(), private) {
						t.Errorf("the log has %q: %v", private, got)
					}
				}
			})
		})
	}
}

// A fault is told with the client that met it.
func TestFaultsAreTold(t *testing.T) {
	t.Parallel()
	l := newLab(t)
	code := l.code()
	l.people.fail(errDown)
	if got := l.refused("web", secret, exchangeForm(code)); got == nil || got.Client != "web" || !errors.Is(got.Fault, errDown) {
		t.Errorf("the store of logins is down: %+v", got)
	}
	op, err := oidcop.New(oidcop.Options{Clients: l.clients(), People: l.people})
	if err != nil {
		t.Fatal(err)
	}
	l.Provider = op
	if got := l.refused("web", secret, exchangeForm(code)); got == nil || got.Fault == nil || errors.Is(got.Fault, store.ErrNotFound) {
		t.Errorf("before the start: %+v", got)
	}
}

// refused posts a form to /token, and returns what the log hears.
func (l *lab) refused(user, password string, form url.Values) *oidcop.RefusedError {
	if user == "" {
		return l.refusedBy(form)
	}
	r := httptest.NewRequest(http.MethodPost, "/", nil)
	r.SetBasicAuth(url.QueryEscape(user), url.QueryEscape(password))
	return l.refusedBy(form, "Authorization", r.Header.Get("Authorization"))
}

func (l *lab) refusedBy(form url.Values, header ...string) *oidcop.RefusedError {
	r := httptest.NewRequest(http.MethodPost, issuer+oidcop.TokenPath, strings.NewReader(form.Encode()))
	r.Header.Set("Content-Type", formType)
	if len(header) == 2 {
		r.Header.Set(header[0], header[1])
	}
	return l.refusedOf(r)
}

// refusedAt asks userinfo.
func (l *lab) refusedAt(authorization string) *oidcop.RefusedError {
	r := httptest.NewRequest(http.MethodGet, issuer+oidcop.UserInfoPath, http.NoBody)
	r.Header.Set("Authorization", authorization)
	return l.refusedOf(r)
}

func (l *lab) refusedOf(r *http.Request) *oidcop.RefusedError {
	for _, e := range l.Endpoints() {
		if strings.HasSuffix(r.URL.Path, e.Path) {
			return e.Serve(httptest.NewRecorder(), r, &attempts{})
		}
	}
	return nil
}
