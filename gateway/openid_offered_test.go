package gateway_test

import (
	"net/http"
	"net/http/httptest"
	"slices"
	"strings"
	"testing"

	"github.com/caddy-sso/caddy-sso/gateway"
	"github.com/caddy-sso/caddy-sso/gateway/refusal"
	"github.com/caddy-sso/caddy-sso/mapping"
)

// vaultFrom has the vault's rules be for the people of some providers.
func vaultFrom(names ...string) func(*gateway.AppOptions) {
	return func(o *gateway.AppOptions) {
		o.Clients = slices.Clone(o.Clients)
		o.Clients[1].Rules, o.Clients[1].From = mapping.Rules{}, []gateway.From{{Providers: names, Rules: lets("Owner", "*")}}
	}
}

// wantOffered wants a page to offer providers, and no others.
func wantOffered(t *testing.T, w *httptest.ResponseRecorder, names ...string) {
	t.Helper()
	wantStatus(t, w, http.StatusOK)
	for _, name := range []string{"corp", "other", "third"} {
		if offered := strings.Contains(w.Body.String(), "provider="+name+"&amp;"); offered != slices.Contains(names, name) {
			t.Errorf("%s is offered: %v, want %q", name, offered, names)
		}
	}
}

// A person whom a client sends signs in at a provider for whose people the client has rules. Others
// are not offered, and `autologin` does not lead there.
func TestOpenIDOffered(t *testing.T) {
	t.Parallel()
	eachProtocol(t, func(t *testing.T, l *lab) {
		vault := wikiAsks("client_id", "vault")
		other, third := newFakeIDP("https://other.example"), newFakeIDP("https://third.example")
		providers := beside(named("other", other), named("third", third))
		site := func(autologin string, names ...string) *browser {
			return l.openIDOf(l.gateway(providers), vaultFrom(names...), func(o *gateway.AppOptions) { o.Autologin = autologin }).browser()
		}
		for _, autologin := range []string{"corp", ""} {
			b := site(autologin, "other")
			wantCode(t, b.follow(b.bring(other.answer(t, b.open(vault), "alice"))))
		}
		b := site("off", "other")
		wantOffered(t, b.follow(b.open(vault)), "other")
		wantOffered(t, b.open("/.sso/login"), "corp", "other", "third")
		b = site("corp", "other", "third")
		wantOffered(t, b.follow(b.open(vault)), "other", "third")

		// Signed in at another provider: the person can sign in as somebody else.
		wantCode(t, b.follow(b.bring(l.idp.answer(t, b.open(wikiAsks()), "alice"))))
		w := b.open(vault)
		wantRefused(t, w, refusal.AccessDenied)
		wantOffered(t, b.open(linkOf(t, w, "Sign in as somebody else")), "other", "third")
		b.wantForced(b.open(wikiAsks("prompt", "select_account")))
		choose := b.open(wikiAsks("client_id", "vault", "prompt", "select_account"))
		wantOffered(t, b.follow(choose), "other", "third")
		chosen := b.post(strings.TrimPrefix(choose.Header().Get("Location"), "https://app.example") + "&provider=other")
		wantCode(t, b.follow(b.bring(other.answer(t, chosen, "alice"))))
		b = site("corp", "other")
		wantCode(t, b.follow(b.bring(l.idp.answer(t, b.open(wikiAsks()), "alice"))))
		wantOffered(t, b.bring(other.answer(t, b.open(wikiAsks("client_id", "vault", "prompt", "select_account")), "alice")), "other")
	})
}

// A provider may be for a client alone: its people are refused at the app behind the site, where
// others sign in.
func TestOpenIDForAClientAlone(t *testing.T) {
	t.Parallel()
	eachProtocol(t, func(t *testing.T, l *lab) {
		other := newFakeIDP("https://other.example")
		own := func(o *gateway.AppOptions) {
			vaultFrom("other")(o)
			o.Clients, o.From = o.Clients[1:], []gateway.From{{Providers: []string{"corp"}, Rules: lets("Member", "*")}}
		}
		s := l.openIDOf(l.gateway(beside(named("other", other))), own)
		b := s.browser()
		wantCode(t, b.follow(b.bring(other.answer(t, b.open(wikiAsks("client_id", "vault")), "alice"))))
		wantRefused(t, b.open("/page"), refusal.AccessDenied)
		wantRefused(t, b.fetch("/"), refusal.AccessDenied)
		if s.reached() != 0 {
			t.Error("a request reached the app")
		}
		b = s.browser()
		wantRedirect(t, b.bring(l.idp.answer(t, b.open("/page"), "alice")), "https://app.example/page")
		wantStatus(t, b.open("/page"), http.StatusOK)
		wantRefused(t, b.open(wikiAsks("client_id", "vault")), refusal.AccessDenied)
	})
}
