package gateway_test

import (
	"html"
	"net/http"
	"net/http/httptest"
	"regexp"
	"strings"
	"testing"
	"testing/synctest"
	"time"

	"github.com/caddy-sso/caddy-sso/gateway"
	"github.com/caddy-sso/caddy-sso/gateway/provider"
	"github.com/caddy-sso/caddy-sso/gateway/refusal"
	"github.com/caddy-sso/caddy-sso/gateway/session"
)

const otherAtCorp = "/.sso/login?as=other&provider=corp&return=%2Fwanted"

// wantAsked holds that an answer is the page that asks, and returns where its
// form posts to.
func wantAsked(t testing.TB, w *httptest.ResponseRecorder, person string) (action string) {
	t.Helper()
	wantStatus(t, w, http.StatusOK)
	body := w.Body.String()
	form := regexp.MustCompile(`<form [^>]*method="post" action="([^"]*)"`).FindStringSubmatch(body)
	if form == nil || !strings.Contains(body, "<bdi>"+person+"</bdi>") {
		t.Fatalf("the page does not ask %s:\n%s", person, body)
	}
	if cookies := w.Result().Cookies(); len(cookies) > 0 {
		t.Errorf("the page sets %v", cookies)
	}
	return html.UnescapeString(form[1])
}

// Only a page of the site itself may have somebody else signed in without a
// question: a page of another site that links here can't.
func TestOtherPersonIsAskedFor(t *testing.T) {
	t.Parallel()
	for _, p := range []provider.Protocol{provider.OIDC, provider.SAML} {
		for name, tc := range map[string]struct {
			asks   bool
			header []string
		}{
			"a link of another site":           {true, []string{"Sec-Fetch-Site", "cross-site"}},
			"a link of a sibling":              {true, []string{"Sec-Fetch-Site", "same-site"}},
			"a link in a mail":                 {true, []string{"Sec-Fetch-Site", "none"}},
			"a browser that says nothing":      {true, []string{"Sec-Fetch-Site", ""}},
			"a frame of its own":               {true, []string{"Sec-Fetch-Site", "same-origin", "Sec-Fetch-Dest", "iframe"}},
			"an image of its own":              {true, []string{"Sec-Fetch-Site", "same-origin", "Sec-Fetch-Dest", "image", "Sec-Fetch-Mode", "no-cors"}},
			"a page that is fetched in before": {true, []string{"Sec-Fetch-Site", "same-origin", "Sec-Purpose", "prefetch;prerender"}},
			"a link of its own":                {false, []string{"Sec-Fetch-Site", "same-origin"}},
		} {
			t.Run(string(p)+", "+name, func(t *testing.T) {
				t.Parallel()
				l := newLab(t)
				corp := defined(p, "corp", "")
				b := l.definedSite(corp).browser()
				b.signInAt(corp)
				before := b.cookie("__Host-sso")
				r := b.request(http.MethodGet, otherAtCorp, navigating...)
				for i := 0; i < len(tc.header); i += 2 {
					r.Header.Set(tc.header[i], tc.header[i+1])
				}
				w := b.send(r)
				if !tc.asks {
					wantOther(t, b, corp, w)
					var types []string
					for _, ev := range l.seen() {
						types = append(types, ev.Type+" "+ev.Username)
					}
					if got := strings.Join(types, ", "); got != "login alice, logout alice, login bob" {
						t.Errorf("events: %s", got)
					}
					return
				}
				action := wantAsked(t, w, "alice")
				if b.cookie("__Host-sso") != before || len(l.store.keys("flow")) > 0 {
					t.Error("something was changed")
				}
				wantRefused(t, b.send(b.request(http.MethodPost, action, "Accept", "text/html", "Sec-Fetch-Site", "cross-site")), refusal.CrossSite)
				wantStatus(t, b.open("/"), http.StatusOK)
				wantOther(t, b, corp, b.post(action))
			})
		}
	}
}

// wantOther holds that w begins a login as somebody else, and has bob signed in.
func wantOther(t testing.TB, b *browser, p gateway.NamedProvider, w *httptest.ResponseRecorder) {
	t.Helper()
	w = b.answered(p, w, "bob")
	if begun := fakeOf(p).begun; !begun[len(begun)-1].OtherPerson {
		t.Errorf("the provider was asked %+v", begun)
	}
	wantRedirect(t, w, "https://app.example/wanted")
	wantStatus(t, b.open("/"), http.StatusOK)
	if got := b.got().principal.Username; got != "bob" {
		t.Errorf("%s is signed in", got)
	}
	wantKept(t, b.lab, 2, 1, 0) // alice is signed out
}

func TestOtherPersonWithoutAnybody(t *testing.T) {
	t.Parallel()
	l := newLab(t)
	s := l.site()
	from := []string{"Sec-Fetch-Site", "cross-site"}
	wantStatus(t, s.browser().open(otherAtCorp, from...), http.StatusSeeOther)
	wantStatus(t, s.browser().post(otherAtCorp), http.StatusSeeOther)
	b := s.browser()
	b.signIn()
	t.Run("without a provider", func(t *testing.T) {
		action := wantAsked(t, b.open("/.sso/login?as=other", from...), "alice")
		if action != "/.sso/login?as=other&provider=corp&return=%2F" {
			t.Errorf("the form posts to %q", action)
		}
	})
	t.Run("as nobody else", func(t *testing.T) {
		wantRedirect(t, b.open("/.sso/login?provider=corp&return=%2Fa", from...), "https://app.example/a")
		wantRedirect(t, b.post("/.sso/login?provider=corp&return=%2Fa"), "https://app.example/a")
		loop := "/.sso/login?return=" + "%2F.sso%2Flogin%3Fas%3Dother%26provider%3Dcorp"
		wantRedirect(t, b.open(loop, from...), "https://app.example/")
	})
	t.Run("the chooser", func(t *testing.T) {
		off := b.at(l.siteOf(l.gateway(), appHost, func(o *gateway.AppOptions) { o.Autologin = "off" }))
		if w := off.open("/.sso/login?as=other", from...); w.Header()["Set-Cookie"] != nil || w.Code != http.StatusOK {
			t.Errorf("%d %v", w.Code, w.Header())
		}
	})
	t.Run("a session that this site does not take", func(t *testing.T) {
		elsewhere := b.at(l.definedSite(defined(provider.OIDC, "corp", "other")))
		wantAsked(t, elsewhere.open(otherAtCorp, from...), "alice")
	})
	t.Run("while nobody knows", func(t *testing.T) {
		cold := newLabOn(t, l.store)
		far := b.at(cold.site())
		l.store.down.Store(true)
		defer l.store.down.Store(false)
		wantRefused(t, far.open(otherAtCorp, from...), refusal.StoreUnavailable)
	})
}

// A link begins a login while nobody is signed in, and then somebody signs in. The
// link's login can't take the place of that session.
func TestOtherPersonSinceTheLoginBegan(t *testing.T) {
	t.Parallel()
	for _, p := range []provider.Protocol{provider.OIDC, provider.SAML} {
		for name, tc := range map[string]struct {
			target, site, person string
			asks                 bool
		}{
			"from another site":                   {"/.sso/login?provider=corp&return=%2Flater", "cross-site", "bob", true},
			"from another site, as somebody else": {"/.sso/login?as=other&provider=corp&return=%2Flater", "cross-site", "bob", true},
			"from a page of the app":              {"/later", "cross-site", "bob", true},
			"the same person":                     {"/.sso/login?provider=corp&return=%2Flater", "cross-site", "alice", false},
			"from the chooser":                    {"/.sso/login?provider=corp&return=%2Flater", "same-origin", "bob", false},
		} {
			t.Run(string(p)+", "+name, func(t *testing.T) {
				t.Parallel()
				l := newLab(t)
				corp := defined(p, "corp", "")
				b := l.definedSite(corp).browser()
				begun := b.open(tc.target, "Sec-Fetch-Site", tc.site)
				b.signInAt(corp)
				before := b.cookie("__Host-sso")
				finish := func(w *httptest.ResponseRecorder) *httptest.ResponseRecorder {
					return b.answered(corp, w, tc.person)
				}
				w := finish(begun)
				if !tc.asks {
					wantRedirect(t, w, "https://app.example/later")
					wantStatus(t, b.open("/"), http.StatusOK)
					if got := b.got().principal.Username; got != tc.person {
						t.Errorf("%s is signed in", got)
					}
					return
				}
				action := wantAsked(t, w, "alice")
				wantStatus(t, b.open("/"), http.StatusOK)
				if got := b.got().principal.Username; got != "alice" || b.cookie("__Host-sso") != before {
					t.Errorf("%s is signed in", got)
				}
				wantKept(t, l, 1, 1, 0) // the answer is used up, and nothing came of it
				wantRedirect(t, finish(b.post(action)), "https://app.example/later")
				wantKept(t, l, 2, 1, 0)
			})
		}
	}
}

// Any session that the browser has counts, also one that another sso of the host
// takes. A session that has ended does not count. Nor does one of the same person
// after their provider was defined anew.
func TestOtherPersonOverAStoredSession(t *testing.T) {
	t.Parallel()
	aliceAgain := func(_ provider.CompleteRequest, ans *provider.Answer) error {
		ans.Subject += " by another claim"
		return nil
	}
	calledAlice := func(_ provider.CompleteRequest, ans *provider.Answer) error {
		ans.Identity.Username = "alice"
		return nil
	}
	foreign := func(gateway.NamedProvider) string { return "https://two.example" }
	same := func(p gateway.NamedProvider) string { return p.Provider.Issuer() }
	for name, tc := range map[string]struct {
		issuer     func(gateway.NamedProvider) string
		definition string
		gone       bool // the provider of alice's session is no longer configured
		person     string
		verify     func(provider.CompleteRequest, *provider.Answer) error
		meanwhile  func(*testing.T, *lab)
		asks       bool
	}{
		"another definition, somebody else":                  {issuer: same, definition: "two", person: "bob", asks: true},
		"another definition, the same account":               {issuer: same, definition: "two", person: "alice"},
		"another definition, a subject of its own":           {issuer: same, definition: "two", person: "alice", verify: aliceAgain, asks: true},
		"another definition, somebody of that name":          {issuer: same, definition: "two", person: "bob", verify: calledAlice, asks: true},
		"another issuer, somebody else":                      {issuer: foreign, definition: "one", person: "bob", asks: true},
		"another issuer, somebody of that name":              {issuer: foreign, definition: "one", person: "alice", asks: true},
		"a disabled provider, somebody else":                 {issuer: foreign, definition: "two", gone: true, person: "bob", asks: true},
		"a disabled provider, somebody of that name":         {issuer: foreign, definition: "two", gone: true, person: "alice", asks: true},
		"an earlier definition, somebody else":               {issuer: same, definition: "two", gone: true, person: "bob", asks: true},
		"an earlier definition, the same account":            {issuer: same, definition: "two", gone: true, person: "alice"},
		"an earlier definition, the same person":             {issuer: same, definition: "two", gone: true, person: "alice", verify: aliceAgain},
		"one that has expired":                               {issuer: same, definition: "two", person: "bob", meanwhile: func(*testing.T, *lab) { time.Sleep(9 * time.Hour) }},
		"one that was idle for too long":                     {issuer: same, definition: "two", person: "bob", meanwhile: func(*testing.T, *lab) { time.Sleep(3 * time.Hour) }},
		"one of an account that was blocked":                 {issuer: same, definition: "two", person: "bob", meanwhile: func(t *testing.T, l *lab) { mustDo(t, l.sessions.BlockAccount(t.Context(), l.alice())) }},
		"one that was revoked with all":                      {issuer: same, definition: "two", person: "bob", meanwhile: func(t *testing.T, l *lab) { mustDo(t, l.sessions.RevokeAll(t.Context())) }},
		"one of an account that was revoked, another issuer": {issuer: foreign, definition: "two", person: "bob", meanwhile: func(t *testing.T, l *lab) { mustDo(t, l.sessions.RevokeAccount(t.Context(), l.alice())) }},
	} {
		for _, protocol := range []provider.Protocol{provider.OIDC, provider.SAML} {
			t.Run(string(protocol)+", "+name, func(t *testing.T) {
				t.Parallel()
				synctest.Test(t, func(t *testing.T) {
					l := newLab(t)
					one, two := defined(protocol, "one", "one"), defined(protocol, "two", tc.definition)
					idp := fakeOf(two)
					idp.issuer, idp.complete = tc.issuer(one), tc.verify
					l.idp = fakeOf(one)
					here := func(providers ...gateway.NamedProvider) func(*gateway.Options) {
						return func(o *gateway.Options) { o.Providers, o.Idle = providers, 2*time.Hour }
					}
					both := l.gateway(here(one, two))
					first := l.siteOf(both, appHost, func(o *gateway.AppOptions) { o.Providers = []string{"one"} })
					second := l.siteOf(both, appHost, func(o *gateway.AppOptions) { o.Providers, o.ID = []string{"two"}, "second" })
					if tc.gone {
						second = l.siteOf(l.gateway(here(two)), appHost)
					}
					b := first.browser()
					b.signInAt(one)
					if tc.meanwhile != nil {
						tc.meanwhile(t, l)
					}
					before := b.cookie("__Host-sso")
					b = b.at(second)
					w := b.answered(two, b.open("/.sso/login?provider=two&return=%2Flater", "Sec-Fetch-Site", "cross-site"), tc.person)
					if !tc.asks {
						wantRedirect(t, w, "https://app.example/later")
						b.wantTold("two")
						return
					}
					action := wantAsked(t, w, "alice")
					if b.cookie("__Host-sso") != before {
						t.Error("the session was replaced")
					}
					b.at(first).wantTold("one")
					wantRedirect(t, b.answered(two, b.post(action), tc.person), "https://app.example/later")
					b.wantTold("two")
				})
			})
		}
	}
}

// alice is the account of alice at the lab's provider.
func (l *lab) alice() session.AccountKey {
	return session.AccountKey{Protocol: l.idp.protocol, Issuer: l.idp.issuer, Subject: "sub-alice"}
}
