package gateway_test

import (
	"net/http"
	"net/http/httptest"
	"net/url"
	"strings"
	"testing"
	"testing/synctest"
	"time"

	"github.com/caddy-sso/caddy-sso/gateway"
	"github.com/caddy-sso/caddy-sso/gateway/provider"
	"github.com/caddy-sso/caddy-sso/gateway/refusal"
	"github.com/caddy-sso/caddy-sso/gateway/session"
)

// mixed is a site with an OpenID Provider and two SAML providers, of which the second is
// asked by form.
func (l *lab) mixed(t *testing.T, change ...func(*gateway.AppOptions)) (s *site, one, two *fakeIDP) {
	t.Helper()
	one, two = newFakeIDP("https://one.example"), newFakeIDP("https://two.example")
	one.protocol, two.protocol, two.byForm = provider.SAML, provider.SAML, true
	return l.siteOf(l.gateway(beside(named("one", one), named("two", two))), appHost, change...), one, two
}

// choose picks a provider on the chooser, for a page.
func (b *browser) choose(provider, page string) *httptest.ResponseRecorder {
	b.t.Helper()
	return b.open("/.sso/login?" + url.Values{"provider": {provider}, "return": {page}}.Encode())
}

func TestBothProtocols(t *testing.T) {
	t.Parallel()
	t.Run("A1 SAML and OpenID Connect at one app", func(t *testing.T) {
		t.Parallel()
		l := newLab(t)
		s, one, two := l.mixed(t)
		chooser := s.browser().open("/.sso/login?return=/x").Body.String()
		for _, name := range []string{"corp", "one", "two"} {
			if !strings.Contains(chooser, "/.sso/login?provider="+name+"&amp;return=%2Fx") {
				t.Errorf("the chooser has no link to %s", name)
			}
		}
		b := s.browser()
		w := b.open(l.idp.answer(t, b.choose("corp", "/1"), "alice").target)
		wantRedirect(t, w, "https://app.example/1")
		wantStatus(t, b.open("/"), http.StatusOK)
		if begun := l.idp.begun[0]; begun.CallbackURL != "https://app.example/.sso/oidc/callback" {
			t.Errorf("the only OpenID Provider was told the callback %s", begun.CallbackURL)
		}
		for _, idp := range []*fakeIDP{one, two} {
			b := s.browser()
			wantRedirect(t, b.bring(idp.answer(t, b.choose(strings.ToLower(idp.issuer[8:11]), "/2"), "alice")), "https://app.example/2")
			wantStatus(t, b.open("/"), http.StatusOK)
		}
		wantKept(t, l, 3, 3, 0) // one subject, three accounts
	})
	t.Run("C11 one ACS for several providers", func(t *testing.T) {
		t.Parallel()
		l := newLab(t)
		s, one, two := l.mixed(t)
		b := s.browser()
		first, second := one.answer(t, b.choose("one", "/1"), "alice"), two.answer(t, b.choose("two", "/2"), "bob")
		// The flow decides which provider verifies the answer, not the document.
		second.form.Set("SAMLResponse", first.form.Get("SAMLResponse"))
		wantRedirect(t, b.bring(second), "https://app.example/2")
		if len(one.asked) != 0 || len(two.asked) != 1 {
			t.Errorf("%d and %d answers were verified, want the second provider's one", len(one.asked), len(two.asked))
		}
		if one.begun[0].CallbackURL != two.begun[0].CallbackURL || one.begun[0].MetadataURL != two.begun[0].MetadataURL {
			t.Errorf("the providers were told %+v and %+v", one.begun[0], two.begun[0])
		}
	})
}

// An answer by one protocol never ends a login by the other.
func TestProtocolsAreNotMixed(t *testing.T) {
	t.Parallel()
	t.Run("a state of OpenID Connect at the ACS", func(t *testing.T) {
		t.Parallel()
		l := newLab(t)
		s, _, _ := l.mixed(t)
		b := s.browser()
		target := l.idp.answer(t, b.choose("corp", "/"), "alice").target
		u, err := url.Parse(target)
		mustDo(t, err)
		wantRefused(t, b.bring(answer{acs, response("alice", u.Query().Get("state"))}), refusal.SAMLIssuerMismatch)
		if _, completed := l.idp.counts(); completed > 0 {
			t.Error("the OpenID Provider was asked to verify")
		}
		wantRedirect(t, b.open(target), "https://app.example/")
	})
	t.Run("a RelayState at the callback of OpenID Connect", func(t *testing.T) {
		t.Parallel()
		l := newLab(t)
		s, one, _ := l.mixed(t)
		b := s.browser()
		answer := one.answer(t, b.choose("one", "/"), "alice")
		state := answer.form.Get("RelayState")
		for _, query := range []url.Values{{"state": {state}, "code": {"alice"}}, {"state": {state}, "SAMLResponse": answer.form["SAMLResponse"], "RelayState": {state}}} {
			wantRefused(t, b.open("/.sso/oidc/callback?"+query.Encode()), refusal.OIDCIssuerMismatch)
		}
		wantRefused(t, b.postForm("/.sso/oidc/callback", answer.form), refusal.MethodNotAllowed)
		if len(one.asked) > 0 {
			t.Error("the SAML provider was asked to verify")
		}
		wantRedirect(t, b.bring(answer), "https://app.example/")
	})
	t.Run("a provider that changed its protocol meanwhile", func(t *testing.T) {
		t.Parallel()
		l := newLab(t)
		saml := newSAMLLab(t)
		saml.store, saml.sessions = l.store, l.sessions
		before := saml.site()
		b := before.browser()
		answer := b.begin("/")
		after := l.siteOf(l.gateway(beside(named("other", saml.idp))), appHost)
		wantRefused(t, b.at(after).bring(answer), refusal.SAMLIssuerMismatch)

		callback := after.browser()
		target := l.idp.answer(t, callback.choose("corp", "/"), "alice").target
		wantRefused(t, callback.at(before).open(target), refusal.OIDCIssuerMismatch)
		if len(saml.idp.asked) > 0 {
			t.Error("the SAML provider was asked to verify")
		}
	})
	t.Run("a provider that is gone", func(t *testing.T) {
		t.Parallel()
		l := newSAMLLab(t)
		b := l.site().browser()
		answer := b.begin("/")
		renamed := l.siteOf(l.gateway(func(o *gateway.Options) { o.Providers[0].Name = "renamed" }), appHost)
		wantRefused(t, b.at(renamed).bring(answer), refusal.ProviderUnknown)
	})
}

func TestACSLimit(t *testing.T) {
	t.Parallel()
	stray := response("alice", strings.Repeat("A", 43))
	limitedSAML := func(t *testing.T, limit session.Limit) *site { return limitedSite(newSAMLLab(t), limit) }
	t.Run("D5 every post is a request", func(t *testing.T) {
		t.Parallel()
		synctest.Test(t, func(t *testing.T) {
			s := limitedSAML(t, session.Limit{Requests: 20})
			for range 10 {
				wantRefused(t, s.browser().bring(answer{acs, stray}), refusal.FlowUnknown) // by two posts
			}
			for _, w := range []*httptest.ResponseRecorder{
				s.browser().postFromAfar(acs, stray), s.browser().postForm(acs, stray), s.browser().postForm(acs, url.Values{}),
			} {
				wantRefused(t, w, refusal.TooManyAttempts)
				if w.Header().Get("Retry-After") == "" {
					t.Error("no Retry-After")
				}
			}
			time.Sleep(time.Minute + time.Second)
			wantRefused(t, s.browser().bring(answer{acs, stray}), refusal.FlowUnknown)
		})
	})
	t.Run("D5 one limit for both protocols", func(t *testing.T) {
		t.Parallel()
		s := limitedSAML(t, session.Limit{})
		for range 150 {
			wantRefused(t, s.browser().postFromAfar(acs, url.Values{}), refusal.BadRequest)
			wantRefused(t, s.browser().open(badAnswer), refusal.FlowUnknown)
		}
		wantRefused(t, s.browser().postFromAfar(acs, stray), refusal.TooManyAttempts)
		wantRefused(t, s.browser().open(badAnswer), refusal.TooManyAttempts)
	})
	t.Run("D5 strays lock nobody out", func(t *testing.T) {
		t.Parallel()
		s := limitedSAML(t, session.Limit{})
		for range 12 {
			wantRefused(t, s.browser().bring(answer{acs, stray}), refusal.FlowUnknown)
			wantRefused(t, s.browser().postFromAfar(acs, url.Values{}), refusal.BadRequest)
		}
		b := s.browser()
		wantRedirect(t, b.bring(b.begin("/")), "https://app.example/")
	})
	t.Run("D5 a login that succeeds gives back its start and its answer", func(t *testing.T) {
		t.Parallel()
		s := limitedSAML(t, session.Limit{Failed: 1, Requests: 14, UnderWay: 1})
		for range 11 { // each leaves the post that came without a cookie
			b := s.browser()
			wantRedirect(t, b.bring(b.begin("/")), "https://app.example/")
		}
		b := s.browser()
		wantRedirect(t, b.bring(b.begin("/")), "https://app.example/")
	})
	t.Run("D5 the mark of a second post alone gives nothing back that was not taken", func(t *testing.T) {
		t.Parallel()
		s := limitedSAML(t, session.Limit{Requests: 4})
		wantRefused(t, s.browser().postFromAfar(acs, url.Values{}), refusal.BadRequest)
		for range 3 {
			b := s.browser()
			answer := b.begin("/")
			answer.form.Set("sso_repost", "1")
			wantRedirect(t, b.postForm(acs, answer.form), "https://app.example/")
		}
		for range 3 {
			wantRefused(t, s.browser().postFromAfar(acs, url.Values{}), refusal.BadRequest)
		}
		wantRefused(t, s.browser().postFromAfar(acs, url.Values{}), refusal.TooManyAttempts)
	})
}
