package gateway_test

import (
	"context"
	"fmt"
	"net/http"
	"net/http/httptest"
	"net/url"
	"os"
	"slices"
	"strings"
	"testing"
	"testing/synctest"
	"time"

	"github.com/caddy-sso/caddy-sso/gateway"
	"github.com/caddy-sso/caddy-sso/gateway/gatewaytest"
	"github.com/caddy-sso/caddy-sso/gateway/refusal"
)

// TestOpenIDRefusalsAreObserved tells the audit log of each refusal: of which client, and why.
func TestOpenIDRefusalsAreObserved(t *testing.T) {
	t.Parallel()
	l := newLab(t)
	s := l.openIDOf(l.gateway(), func(o *gateway.AppOptions) { o.Clients[0].Refresh = true })
	b := s.browser()
	b.tokens()
	noted := b.returning(wikiAsks("prompt", "login")) // the person did not sign in again
	code := func() string { return wantCode(t, b.open(wikiAsks())) }
	ask := func(client, secret string, change ...string) {
		form := url.Values{"grant_type": {"authorization_code"}, "code": {code()}, "redirect_uri": {wikiCallback}, "code_verifier": {verifier}}
		for i := 0; i < len(change); i += 2 {
			form.Set(change[i], change[i+1])
		}
		s.askAs(client, secret, "/.sso/op/token", form)
	}
	for name, tc := range map[string]struct {
		request func()
		code    refusal.Code
		client  string
		cause   string // a part; "": nothing is observed
	}{
		"wrong secret":       {func() { ask("wiki", "guess-7f3a") }, refusal.ClientRefused, "wiki", `invalid_client: `},
		"unknown client":     {func() { ask("wikki", wikiSecret) }, refusal.ClientRefused, "", `client_id is "wikki"; the clients of op are vault, wiki`},
		"wrong way round":    {func() { ask(wikiSecret, "wiki") }, refusal.ClientRefused, "", `client_id is the secret of the client "`},
		"too large":          {func() { b.open(wikiAsks("state", strings.Repeat("s", 9000))) }, refusal.TooLarge, "wiki", "the app's request: it has 9"},
		"a parameter twice":  {func() { b.open(wikiAsks() + "&scope=openid") }, refusal.ClientRefused, "wiki", "scope stands twice"},
		"other client":       {func() { ask("vault", wikiSecret) }, refusal.ClientRefused, "vault", `"code client"`},
		"other verifier":     {func() { ask("wiki", wikiSecret, "code_verifier", strings.Repeat("guess-7f3a", 5)) }, refusal.ClientRefused, "wiki", `"code verifier"`},
		"other redirect URI": {func() { ask("wiki", wikiSecret, "redirect_uri", "https://guess-7f3a.example/") }, refusal.ClientRefused, "wiki", `"code redirect URI"`},
		"unknown code":       {func() { ask("wiki", wikiSecret, "code", "guess-7f3a") }, refusal.ClientRefused, "wiki", "invalid_grant: "},
		"grant type":         {func() { ask("wiki", wikiSecret, "grant_type", "guess-7f3a") }, refusal.ClientRefused, "wiki", "unsupported_grant_type: "},
		"used code": {func() {
			c := code()
			s.token(c, wikiSecret)
			s.token(c, wikiSecret)
		}, refusal.TokenReused, "wiki", `"code once"`},
		"used refresh token": {func() {
			_, tokens := s.token(code(), wikiSecret)
			for range 2 {
				s.askAs("wiki", wikiSecret, "/.sso/op/token", url.Values{"grant_type": {"refresh_token"}, "refresh_token": {tokens["refresh_token"].(string)}})
			}
		}, refusal.TokenReused, "wiki", `"refresh newest"`},
		"prompt=none, the store is down": {func() {
			l.store.down.Store(true)
			defer l.store.down.Store(false)
			wantError(t, b.open(wikiAsks("prompt", "none")), "temporarily_unavailable")
		}, refusal.StoreUnavailable, "wiki", errDown.Error()},
		"access token":     {func() { s.userinfo("guess-7f3a") }, refusal.ClientRefused, "", "invalid_token: "},
		"by redirect":      {func() { b.open(wikiAsks("code_challenge", "")) }, refusal.ClientRefused, "wiki", "invalid_request: code_challenge"},
		"stayed signed in": {func() { b.open(noted) }, refusal.ClientRefused, "wiki", "login_required: "},
		"prompt=none":      {func() { s.browser().open(wikiAsks("prompt", "none")) }, "", "", ""},
		"client ID":        {func() { b.open(wikiAsks("client_id", "Wiki")) }, refusal.BadRequest, "", `client_id is "Wiki"; the clients of op are vault, wiki`},
		"redirect URI":     {func() { b.open(wikiAsks("redirect_uri", "https://x.example/")) }, refusal.BadRequest, "wiki", `"https://x.example/", none of the client's, which are ["https://wiki.example/callback"]`},
		"logout client":    {func() { b.open("/.sso/op/logout?client_id=Wiki") }, refusal.BadRequest, "", `client_id is "Wiki"; the clients of op are vault, wiki`},
	} {
		before := len(l.seen())
		tc.request()
		var refused []gateway.Event
		for _, ev := range l.seen()[before:] {
			if ev.Type == gateway.EventRefused {
				refused = append(refused, ev)
			}
		}
		if tc.cause == "" && len(refused) == 0 {
			continue
		}
		if len(refused) != 1 || refused[0].Code != tc.code || refused[0].Client != tc.client || !strings.Contains(fmt.Sprint(refused[0].Err), tc.cause) {
			t.Errorf("%s: events %+v", name, refused)
		}
		if said := fmt.Sprint(refused); strings.Contains(said, "7f3a") || strings.Contains(said, wikiSecret) || strings.Contains(said, url.QueryEscape(wikiSecret)) {
			t.Errorf("%s: what the caller sent is in the log", name)
		}
	}
	var checks []string
	for _, change := range [][]string{{"client_id", "Wiki"}, {"redirect_uri", "https://x.example/"}, {"code_challenge", ""}, {"response_type", "token"}} {
		before := len(l.seen())
		b.open(wikiAsks(change...))
		checks = append(checks, l.seen()[before].Check)
	}
	if want := []string{"", "redirect URI", "PKCE", "response type"}; !slices.Equal(checks, want) {
		t.Errorf("checks %q, want %q", checks, want)
	}
	// bob may not use the vault.
	other := s.browser()
	other.bring(other.beginAs(wikiAsks(), "bob"))
	before := len(l.seen())
	wantRefused(t, other.open(wikiAsks("client_id", "vault")), refusal.AccessDenied)
	if ev := l.seen()[before:]; len(ev) != 1 || ev[0].Client != "vault" || ev[0].Username != "bob" {
		t.Errorf("events %+v", ev)
	}
}

// If the store is down, a client that wants no page gets none: whether the login is cached or not,
// and while its request is read.
func TestOpenIDSilentFault(t *testing.T) {
	t.Parallel()
	synctest.Test(t, func(t *testing.T) {
		l := newLab(t)
		b := l.openID().browser()
		hint := b.tokens()["id_token"].(string)
		l.store.down.Store(true)
		for _, wait := range []time.Duration{0, 10 * time.Second, time.Hour} {
			time.Sleep(wait)
			for _, change := range [][]string{{"prompt", "none"}, {"prompt", "none", "id_token_hint", hint}, {"prompt", "none", "sso_asked", "1.x"}} {
				wantError(t, b.open(wikiAsks(change...)), "temporarily_unavailable")
			}
			wantRefused(t, b.open(wikiAsks()), refusal.StoreUnavailable)
		}
	})
}

// While the store is down, the audit log says so of each endpoint, with the client and the
// code that has the fix.
func TestOpenIDStoreDownIsObserved(t *testing.T) {
	t.Parallel()
	l := newLab(t)
	s := l.openID()
	b := s.browser()
	tokens, code := b.tokens(), wantCode(t, b.open(wikiAsks()))
	l.store.SetHook(func(gatewaytest.MemOp) error { return gatewaytest.ErrFault })
	before := len(l.seen())
	for range 2 {
		if status, got := s.token(code, wikiSecret); status != http.StatusServiceUnavailable || got["error"] != "temporarily_unavailable" {
			t.Errorf("/token: %d %v", status, got)
		}
	}
	s.userinfo(tokens["access_token"])
	ev := l.seen()[before:]
	if len(ev) != 3 {
		t.Fatalf("events %+v", ev)
	}
	for i, client := range []string{"wiki", "wiki", ""} {
		if ev[i].Code != refusal.StoreUnavailable || ev[i].Client != client || !strings.Contains(fmt.Sprint(ev[i].Err), gatewaytest.ErrFault.Error()) {
			t.Errorf("event %+v", ev[i])
		}
	}
}

// The page has a row for each code and error that an app's sign-in can end in, under the
// heading that the log names.
func TestOpenIDPage(t *testing.T) {
	t.Parallel()
	page, err := os.ReadFile("../docs/openid-provider.md")
	mustDo(t, err)
	const heading = "When it does not work"
	_, section, found := strings.Cut(string(page), "## "+heading+"\n")
	section, _, _ = strings.Cut(section, "\n## ")
	if !found || !strings.Contains(refusal.ClientRefused.Meaning().Fix, "“"+heading+"”") {
		t.Errorf("the fix does not name the heading: %s", refusal.ClientRefused.Meaning().Fix)
	}
	for _, code := range []string{
		string(refusal.BadRequest), string(refusal.AccessDenied), string(refusal.TooLarge), string(refusal.AppLoop), string(refusal.OIDCTime),
		"invalid_request", "invalid_client", "invalid_grant", "login_required", "temporarily_unavailable", "post_logout_redirect_uri",
	} {
		if !strings.Contains(section, code) {
			t.Errorf("the page has no row for %s", code)
		}
	}
}

// If an app disconnects, neither the store nor the provider is at fault.
func TestOpenIDDisconnect(t *testing.T) {
	t.Parallel()
	l := newLab(t)
	s := l.openID()
	b := s.browser()
	b.tokens()
	code := wantCode(t, b.open(wikiAsks()))
	before := len(l.seen())
	ctx, cancel := context.WithCancel(t.Context())
	l.store.SetHook(func(gatewaytest.MemOp) error {
		cancel()
		return ctx.Err()
	})
	form := url.Values{"grant_type": {"authorization_code"}, "code": {code}, "redirect_uri": {wikiCallback}, "code_verifier": {verifier}}
	r := httptest.NewRequestWithContext(ctx, http.MethodPost, "/.sso/op/token", strings.NewReader(form.Encode()))
	r.Host = s.host
	r.Header.Set("Content-Type", "application/x-www-form-urlencoded")
	r.SetBasicAuth("wiki", url.QueryEscape(wikiSecret))
	s.serve(r, false)
	if ev := l.seen()[before:]; len(ev) > 0 {
		t.Errorf("events %+v", ev)
	}
}

// The log names the client that a login is for, wherever the login begins.
func TestOpenIDLoginOfAClient(t *testing.T) {
	t.Parallel()
	l := newLab(t)
	b := l.openID().browser()
	l.idp.failBegin(errDown)
	b.choose("corp", wikiAsks())
	if ev := l.seen(); len(ev) != 1 || ev[0].Client != "wiki" {
		t.Errorf("events %+v", ev)
	}
}
