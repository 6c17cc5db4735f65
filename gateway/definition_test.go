package gateway_test

import (
	"net/http"
	"net/http/httptest"
	"strings"
	"testing"

	"github.com/caddy-sso/caddy-sso/gateway"
	"github.com/caddy-sso/caddy-sso/gateway/provider"
	"github.com/caddy-sso/caddy-sso/gateway/refusal"
	"github.com/caddy-sso/caddy-sso/mapping"
)

// defined is a provider of one issuer under a name and a definition.
func defined(p provider.Protocol, name, definition string) gateway.NamedProvider {
	idp := newFakeIDP("https://id.example")
	idp.definition, idp.protocol = definition, p
	return named(name, idp)
}

// definedSite is the lab's site with those providers, on a gateway of its own.
func (l *lab) definedSite(providers ...gateway.NamedProvider) *site {
	l.t.Helper()
	return l.siteOf(l.gateway(func(o *gateway.Options) { o.Providers = providers }), appHost)
}

// signInAt signs alice in at a provider of the site.
func (b *browser) signInAt(p gateway.NamedProvider) {
	b.t.Helper()
	wantRedirect(b.t, b.answered(p, b.choose(p.Name, "/wanted"), "alice"), "https://app.example/wanted")
}

// answered brings p's answer for a person. w sent them there.
func (b *browser) answered(p gateway.NamedProvider, w *httptest.ResponseRecorder, person string) *httptest.ResponseRecorder {
	b.t.Helper()
	return b.bring(fakeOf(p).answer(b.t, w, person))
}

// wantTold holds that the app takes the browser's login for one of a provider.
func (b *browser) wantTold(name string) {
	b.t.Helper()
	wantStatus(b.t, b.open("/"), http.StatusOK)
	got := b.got()
	if idp := claimsOf(b.t, got.header.Get("X-Sso-Assertion"))["idp"]; got.principal.Provider != name || idp != name {
		b.t.Errorf("the app is told of the provider %q, and the assertion of %v; want %q", got.principal.Provider, idp, name)
	}
}

// A login counts where the definition of its provider is the one that it was made under,
// and nowhere else: on another site, at another provider of the site, and after
// a reload. It is left stored.
func TestLoginCountsUnderItsDefinition(t *testing.T) {
	t.Parallel()
	for _, p := range []provider.Protocol{provider.OIDC, provider.SAML} {
		one, two := defined(p, "corp", "one"), defined(p, "corp", "two")
		t.Run(string(p)+", on two sites and over a reload", func(t *testing.T) {
			t.Parallel()
			l := newLab(t)
			b := l.definedSite(one).browser()
			b.signInAt(one)
			b.wantTold("corp")
			other := b.at(l.definedSite(two))
			wantRefused(t, other.fetch("/"), refusal.Unauthenticated)
			if w := other.open("/"); w.Code == http.StatusOK || other.reached() > 0 {
				t.Errorf("the login of another definition opened the app: %d", w.Code)
			}
			wantRefused(t, other.fetch("/.sso/session"), refusal.Unauthenticated)
			if body := other.open("/.sso/logout").Body.String(); strings.Contains(body, "Corp") {
				t.Errorf("the logout names a provider that the login did not come from:\n%s", body)
			}
			b.wantTold("corp") // back under the old one, it counts again
			wantKept(t, l, 1, 1, len(l.store.keys("flow")))
		})
		t.Run(string(p)+", on one site", func(t *testing.T) {
			t.Parallel()
			l := newLab(t)
			first, second := defined(p, "first", "one"), defined(p, "second", "two")
			s := l.definedSite(first, second)
			for _, by := range []gateway.NamedProvider{second, first} {
				b := s.browser()
				b.signInAt(by)
				b.wantTold(by.Name)
				left := second
				if by.Name == "second" {
					left = first
				}
				wantRefused(t, b.at(l.definedSite(left)).fetch("/"), refusal.Unauthenticated)
			}
		})
		t.Run(string(p)+", under another name", func(t *testing.T) {
			t.Parallel()
			l := newLab(t)
			b := l.definedSite(one).browser()
			b.signInAt(one)
			renamed := one
			renamed.Name = "renamed"
			b.at(l.definedSite(renamed)).wantTold("renamed")
			b.at(l.definedSite(two, renamed)).wantTold("renamed")
			alike := one
			alike.Name = "alike"
			b.at(l.definedSite(alike, one)).wantTold("corp")
		})
	}
}

// A person whom one site refuses does not get in there by way of another site, which
// decides by another claim.
func TestDefinitionsDoNotLendTheirRoles(t *testing.T) {
	t.Parallel()
	l := newLab(t)
	strict, lax := defined(provider.OIDC, "strict", "groups"), defined(provider.OIDC, "lax", "self-service groups")
	fakeOf(strict).person("alice", provider.Identity{Username: "alice", Groups: []string{"staff"}})
	g := l.gateway(func(o *gateway.Options) { o.Providers = []gateway.NamedProvider{strict, lax} })
	only := func(name string) func(*gateway.AppOptions) {
		return func(o *gateway.AppOptions) { o.Providers, o.ID = []string{name}, name }
	}
	admins := l.siteOf(g, appHost, only("strict"), rules(mapping.Rules{Role: []mapping.Line{line("Admin", "admins")}}))
	b := admins.browser()
	wantRefused(t, b.answered(strict, b.open("/"), "alice"), refusal.AccessDenied)
	b.at(l.siteOf(g, appHost, only("lax"))).signInAt(lax)
	wantRefused(t, b.fetch("/"), refusal.Unauthenticated)
	if admins.reached() > 0 {
		t.Error("the app was reached")
	}
}

// A login under way when its provider is defined anew starts again, once.
func TestFlowOfAnotherDefinition(t *testing.T) {
	t.Parallel()
	for _, p := range []provider.Protocol{provider.OIDC, provider.SAML} {
		t.Run(string(p), func(t *testing.T) {
			t.Parallel()
			l := newLab(t)
			old, mended := defined(p, "corp", "one"), defined(p, "corp", "two")
			before, after := l.definedSite(old).browser(), l.definedSite(mended).browser()
			before.jar = after.jar
			w := after.answered(mended, after.answered(old, before.open("/wanted"), "alice"), "alice")
			wantRedirect(t, w, "https://app.example/wanted")
			after.wantTold("corp")
			wantKept(t, l, 1, 1, 1)
			if n := len(fakeOf(old).asked); n > 0 {
				t.Errorf("the old definition verified %d answers", n)
			}
			// Nodes with different configurations take turns.
			w = before.answered(mended, after.answered(old, before.open("/wanted"), "alice"), "alice")
			wantRefused(t, w, refusal.FlowUnknown)
		})
	}
}
