package gateway_test

import (
	"fmt"
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

// mixed is a site with an OpenID Provider and two SAML providers, of which the
// second is asked by form.
func (l *lab) mixed(t *testing.T) (s *site, one, two *samlIDP) {
	t.Helper()
	one, two = newSAMLIDP("https://one.example"), newSAMLIDP("https://two.example")
	two.byForm = true
	g := l.gateway(func(o *gateway.Options) {
		o.Providers = append(o.Providers,
			gateway.NamedProvider{Name: "one", DisplayName: "One", Provider: one},
			gateway.NamedProvider{Name: "two", DisplayName: "Two", Provider: two})
	})
	return l.siteOf(g, appHost), one, two
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
		w := b.open(l.idp.visit(t, b.choose("corp", "/1").Header().Get("Location"), "alice"))
		wantRedirect(t, w, "https://app.example/1")
		wantStatus(t, b.open("/"), http.StatusOK)
		if begun := l.idp.begun[0]; begun.CallbackURL != "https://app.example/.sso/oidc/callback" {
			t.Errorf("the only OpenID Provider was told the callback %s", begun.CallbackURL)
		}
		for _, idp := range []*samlIDP{one, two} {
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
		// The flow decides which provider judges, not the document.
		second.Set("SAMLResponse", first.Get("SAMLResponse"))
		wantRedirect(t, b.bring(second), "https://app.example/2")
		if len(one.asked) != 0 || len(two.asked) != 1 {
			t.Errorf("%d and %d answers were judged, want the second provider's one", len(one.asked), len(two.asked))
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
		target := l.idp.visit(t, b.choose("corp", "/").Header().Get("Location"), "alice")
		u, err := url.Parse(target)
		mustDo(t, err)
		wantRefused(t, b.bring(response("alice", u.Query().Get("state"))), refusal.SAMLIssuerMismatch)
		if _, completed := l.idp.counts(); completed > 0 {
			t.Error("the OpenID Provider was asked to judge")
		}
		wantRedirect(t, b.open(target), "https://app.example/")
	})
	t.Run("a RelayState at the callback of OpenID Connect", func(t *testing.T) {
		t.Parallel()
		l := newLab(t)
		s, one, _ := l.mixed(t)
		b := s.browser()
		answer := one.answer(t, b.choose("one", "/"), "alice")
		state := answer.Get("RelayState")
		for _, query := range []url.Values{{"state": {state}, "code": {"alice"}}, {"state": {state}, "SAMLResponse": answer["SAMLResponse"], "RelayState": {state}}} {
			wantRefused(t, b.open("/.sso/oidc/callback?"+query.Encode()), refusal.OIDCIssuerMismatch)
		}
		wantRefused(t, b.postForm("/.sso/oidc/callback", answer), refusal.MethodNotAllowed)
		if len(one.asked) > 0 {
			t.Error("the SAML provider was asked to judge")
		}
		wantRedirect(t, b.bring(answer), "https://app.example/")
	})
	t.Run("a provider that changed its protocol meanwhile", func(t *testing.T) {
		t.Parallel()
		l := newLab(t)
		idp := newSAMLIDP("https://idp.example")
		before := l.samlSite(idp)
		b := before.browser()
		answer := idp.answer(t, b.open("/"), "alice")
		after := l.siteOf(l.gateway(func(o *gateway.Options) {
			o.Providers[0].Name = "saml"
			o.Providers = append(o.Providers, gateway.NamedProvider{Name: "other", Provider: idp})
		}), appHost)
		wantRefused(t, b.at(after).bring(answer), refusal.SAMLIssuerMismatch)

		callback := after.browser()
		target := l.idp.visit(t, callback.choose("saml", "/").Header().Get("Location"), "alice")
		wantRefused(t, callback.at(before).open(target), refusal.OIDCIssuerMismatch)
		if len(idp.asked) > 0 {
			t.Error("the SAML provider was asked to judge")
		}
	})
	t.Run("a provider that is gone", func(t *testing.T) {
		t.Parallel()
		l, idp := newLab(t), newSAMLIDP("https://idp.example")
		b := l.samlSite(idp).browser()
		answer := idp.answer(t, b.open("/"), "alice")
		renamed := l.siteOf(l.samlGateway(idp, func(o *gateway.Options) { o.Providers[0].Name = "renamed" }), appHost)
		wantRefused(t, b.at(renamed).bring(answer), refusal.ProviderUnknown)
	})
}

// followSAML brings a tab to its page, in as many steps as it takes.
func (b *browser) followSAML(idp *samlIDP, w *httptest.ResponseRecorder) *httptest.ResponseRecorder {
	b.t.Helper()
	for range 12 {
		own, isOwn := strings.CutPrefix(w.Header().Get("Location"), "https://"+b.host)
		switch {
		case isOwn:
			w = b.open(own)
		case w.Code == http.StatusSeeOther, strings.Contains(w.Body.String(), "SAMLRequest"):
			w = b.bring(idp.answer(b.t, w, "alice"))
		default:
			return w
		}
	}
	b.t.Fatal("the browser was sent round for ever")
	return nil
}

// The ten tabs of TestTenTabs, by SAML.
func TestACSTenTabs(t *testing.T) {
	t.Parallel()
	for name, byForm := range map[string]bool{"asked by redirect": false, "asked by form": true} {
		t.Run(name, func(t *testing.T) {
			t.Parallel()
			l, idp := newLab(t), newSAMLIDP("https://idp.example")
			idp.byForm = byForm
			s := l.samlSite(idp)
			b := s.browser()
			requests := make([]*http.Request, 10)
			for i := range requests {
				requests[i] = b.request(http.MethodGet, fmt.Sprintf("/tab/%d", i), navigating...)
			}
			tabs := make([]*httptest.ResponseRecorder, 10)
			for i, r := range requests {
				tabs[i] = b.send(r)
			}
			for i := range tabs {
				tab := i * 7 % 10
				w := b.followSAML(idp, tabs[tab])
				if w.Code != http.StatusOK || s.got().path != fmt.Sprintf("/tab/%d", tab) {
					t.Errorf("tab %d ended with %d at %s", tab, w.Code, s.got().path)
				}
			}
			if logins := len(l.store.keys("login")); logins > 2 {
				t.Errorf("%d logins, want 2 at most", logins)
			}
		})
	}
}

// A login begun before a reload ends after it, on another node too.
func TestACSReloadAndSecondNode(t *testing.T) {
	t.Parallel()
	one := newLab(t)
	two := newLabOn(t, one.store)
	idp := newSAMLIDP("https://idp.example")
	b := one.samlSite(idp).browser()
	answer := idp.answer(t, b.open("/wanted"), "alice")
	after := one.samlSite(idp)
	action, fields := formOf(t, b.at(after).postFromAfar(acs, answer))
	wantRedirect(t, b.at(two.samlSite(idp)).postForm(action, fields), "https://app.example/wanted")
	wantStatus(t, b.at(after).open("/wanted"), http.StatusOK)
}

func TestACSExpiredFlow(t *testing.T) {
	t.Parallel()
	synctest.Test(t, func(t *testing.T) {
		l, idp := newLab(t), newSAMLIDP("https://idp.example")
		s := l.samlSite(idp)
		in, out := s.browser(), s.browser()
		early, late := idp.answer(t, in.open("/a"), "alice"), idp.answer(t, out.open("/b"), "alice")
		time.Sleep(15*time.Minute - time.Second)
		wantRedirect(t, in.bring(early), "https://app.example/a")
		time.Sleep(time.Second)
		wantRefused(t, out.bring(late), refusal.FlowUnknown)
	})
}

func TestACSLimit(t *testing.T) {
	t.Parallel()
	stray := response("alice", strings.Repeat("A", 43))
	limitedSAML := func(t *testing.T, limit session.Limit) (*site, *samlIDP) {
		l, idp := newLab(t), newSAMLIDP("https://idp.example")
		return l.siteOf(l.samlGateway(idp, limited(limit)), appHost), idp
	}
	t.Run("D5 every post is a request", func(t *testing.T) {
		t.Parallel()
		synctest.Test(t, func(t *testing.T) {
			s, _ := limitedSAML(t, session.Limit{Requests: 20})
			for range 10 {
				wantRefused(t, s.browser().bring(stray), refusal.FlowUnknown) // by two posts
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
			wantRefused(t, s.browser().bring(stray), refusal.FlowUnknown)
		})
	})
	t.Run("D5 one limit for both protocols", func(t *testing.T) {
		t.Parallel()
		s, _ := limitedSAML(t, session.Limit{})
		for range 150 {
			wantRefused(t, s.browser().postFromAfar(acs, url.Values{}), refusal.BadRequest)
			wantRefused(t, s.browser().open(badAnswer), refusal.FlowUnknown)
		}
		wantRefused(t, s.browser().postFromAfar(acs, stray), refusal.TooManyAttempts)
		wantRefused(t, s.browser().open(badAnswer), refusal.TooManyAttempts)
	})
	t.Run("D5 strays lock nobody out", func(t *testing.T) {
		t.Parallel()
		s, idp := limitedSAML(t, session.Limit{})
		for range 12 {
			wantRefused(t, s.browser().bring(stray), refusal.FlowUnknown)
			wantRefused(t, s.browser().postFromAfar(acs, url.Values{}), refusal.BadRequest)
		}
		b := s.browser()
		wantRedirect(t, b.bring(idp.answer(t, b.open("/"), "alice")), "https://app.example/")
	})
	t.Run("D5 answers that fail", func(t *testing.T) {
		t.Parallel()
		s, idp := limitedSAML(t, session.Limit{})
		idp.judge(func(provider.CompleteRequest, *provider.Answer) error { return refusal.New(refusal.SAMLSignature, nil) })
		for range 10 {
			b := s.browser()
			wantRefused(t, b.bring(idp.answer(t, b.open("/"), "alice")), refusal.SAMLSignature)
		}
		wantRefused(t, s.browser().postFromAfar(acs, stray), refusal.TooManyAttempts)
	})
	t.Run("D5 a login that succeeds gives back its start and its answer", func(t *testing.T) {
		t.Parallel()
		s, idp := limitedSAML(t, session.Limit{Failed: 1, Requests: 14, UnderWay: 1})
		for range 11 { // each leaves the post that came without a cookie
			b := s.browser()
			wantRedirect(t, b.bring(idp.answer(t, b.open("/"), "alice")), "https://app.example/")
		}
		b := s.browser()
		wantRedirect(t, b.bring(idp.answer(t, b.open("/"), "alice")), "https://app.example/")
	})
	t.Run("D5 a provider that is down is nobody's failure", func(t *testing.T) {
		t.Parallel()
		s, idp := limitedSAML(t, session.Limit{Failed: 2})
		idp.judge(func(provider.CompleteRequest, *provider.Answer) error {
			return refusal.New(refusal.ProviderUnavailable, nil)
		})
		for range 5 {
			b := s.browser()
			wantRefused(t, b.bring(idp.answer(t, b.open("/"), "alice")), refusal.ProviderUnavailable)
		}
	})
	t.Run("D5 ten tabs that come at once all sign in", func(t *testing.T) {
		t.Parallel()
		s, idp := limitedSAML(t, session.Limit{Failed: 1})
		type tab struct {
			b      *browser
			fields url.Values
		}
		var tabs []tab
		for range 10 {
			b := s.browser()
			_, fields := formOf(t, b.postFromAfar(acs, idp.answer(t, b.open("/"), "alice")))
			tabs = append(tabs, tab{b, fields})
		}
		for _, tab := range tabs {
			wantRedirect(t, tab.b.postForm(acs, tab.fields), "https://app.example/")
		}
	})
	t.Run("D5 the mark of a second post alone gives nothing back that was not taken", func(t *testing.T) {
		t.Parallel()
		s, idp := limitedSAML(t, session.Limit{Requests: 4})
		wantRefused(t, s.browser().postFromAfar(acs, url.Values{}), refusal.BadRequest)
		for range 3 {
			b := s.browser()
			answer := idp.answer(t, b.open("/"), "alice")
			answer.Set("sso_repost", "1")
			wantRedirect(t, b.postForm(acs, answer), "https://app.example/")
		}
		for range 3 {
			wantRefused(t, s.browser().postFromAfar(acs, url.Values{}), refusal.BadRequest)
		}
		wantRefused(t, s.browser().postFromAfar(acs, url.Values{}), refusal.TooManyAttempts)
	})
}
