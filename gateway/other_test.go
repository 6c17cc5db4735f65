package gateway_test

import (
	"html"
	"net/http"
	"net/http/httptest"
	"regexp"
	"strings"
	"testing"

	"github.com/caddy-sso/caddy-sso/gateway"
	"github.com/caddy-sso/caddy-sso/gateway/provider"
	"github.com/caddy-sso/caddy-sso/gateway/refusal"
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
	wantStatus(t, w, http.StatusSeeOther)
	idp, ok := p.Provider.(*fakeIDP)
	if ok {
		w = b.open(idp.visit(t, w.Header().Get("Location"), "bob"))
	} else {
		saml := p.Provider.(*samlIDP)
		idp, w = saml.fakeIDP, b.bring(saml.answer(t, w, "bob"))
	}
	if last := idp.begun[len(idp.begun)-1]; !last.OtherPerson {
		t.Errorf("the provider was asked %+v", last)
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

// A link that began a login while nobody was signed in can't have it finished
// over the session of somebody who has signed in since.
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
					if idp, ok := corp.Provider.(*samlIDP); ok {
						return b.bring(idp.answer(t, w, tc.person))
					}
					return b.open(corp.Provider.(*fakeIDP).visit(t, w.Header().Get("Location"), tc.person))
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
