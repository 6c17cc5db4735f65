package gateway_test

import (
	"maps"
	"net/http"
	"net/url"
	"strings"
	"testing"

	"github.com/caddy-sso/caddy-sso/gateway"
	"github.com/caddy-sso/caddy-sso/gateway/refusal"
)

// A form from the provider's page comes without our cookies. It leads to nothing but a page
// of ours, which posts it once more.
func TestRepost(t *testing.T) {
	t.Parallel()
	l := newSAMLLab(t)
	b := l.site().browser()
	brought := b.begin("/wanted")
	writes := l.store.written()
	w := b.postFromAfar(acs, brought.form)
	action, fields := formOf(t, w)
	want := maps.Clone(brought.form)
	want.Set("sso_repost", "1")
	if action != acs || fields.Encode() != want.Encode() {
		t.Fatalf("the page posts %v to %q", fields, action)
	}
	if _, completed := l.idp.counts(); completed > 0 || l.store.written() != writes || w.Header()["Set-Cookie"] != nil {
		t.Error("the first post did more than ask for the second")
	}
	wantRedirect(t, b.postForm(action, fields), "https://app.example/wanted")
	wantRedirect(t, b.postForm(acs, response("bob", "portal")), "https://app.example/") // signed in by now
}

// Only a navigation gets a page with a provider's form in it.
func TestACSFormIsForNavigations(t *testing.T) {
	t.Parallel()
	l := newSAMLLab(t)
	l.idp.byForm = true
	s := l.site()
	wantRefused(t, s.browser().fetch("/"), refusal.Unauthenticated)
	w := s.browser().send(s.browser().request(http.MethodHead, "/", navigating...))
	wantStatus(t, w, http.StatusOK)
	if w.Body.Len() > 0 {
		t.Error("HEAD has a body")
	}
}

func TestACSForms(t *testing.T) {
	t.Parallel()
	state := strings.Repeat("A", 43)
	good := response("alice", state).Encode()
	for name, tc := range map[string]struct {
		form   string
		header []string
		target string
		code   refusal.Code // "": the page that posts once more
	}{
		"control":                      {form: good},
		"a field of the provider's":    {form: good + "&Submit=Continue"},
		"line breaks and blanks":       {form: "RelayState=" + state + "&SAMLResponse=YQ%0D%0A%3D+%3D%09"},
		"as large as it may be":        {form: good + "&x=" + strings.Repeat("a", 2<<20-len(good)-3)},
		"too large by one byte":        {form: good + "&x=" + strings.Repeat("a", 2<<20-len(good)-2), code: refusal.TooLarge},
		"empty":                        {form: "", code: refusal.BadRequest},
		"no SAMLResponse":              {form: "RelayState=" + state, code: refusal.BadRequest},
		"a request":                    {form: "SAMLRequest=YQ%3D%3D&RelayState=" + state, code: refusal.BadRequest},
		"an OpenID answer":             {form: "code=alice&state=" + state, code: refusal.BadRequest},
		"two SAMLResponse, one hidden": {form: good + "&%53AMLResponse=YQ%3D%3D", code: refusal.BadRequest},
		"two RelayState":               {form: good + "&RelayState=" + state, code: refusal.BadRequest},
		"two markers":                  {form: good + "&sso_repost=1&sso_repost=1", code: refusal.BadRequest},
		"another marker":               {form: good + "&sso_repost=2"},
		"semicolon":                    {form: strings.Replace(good, "&", ";", 1), code: refusal.BadRequest},
		"empty SAMLResponse":           {form: "SAMLResponse=&RelayState=" + state, code: refusal.SAMLMalformed},
		"markup":                       {form: "SAMLResponse=" + url.QueryEscape(`"><script>`) + "&RelayState=" + state, code: refusal.SAMLMalformed},
		"base64url":                    {form: "SAMLResponse=ab-_&RelayState=" + state, code: refusal.SAMLMalformed},
		"no RelayState":                {form: "SAMLResponse=YQ%3D%3D", code: refusal.FlowUnknown},
		"RelayState of a portal":       {form: "SAMLResponse=YQ%3D%3D&RelayState=https://app.example/", code: refusal.FlowUnknown},
		"RelayState with markup":       {form: "SAMLResponse=YQ%3D%3D&RelayState=" + url.QueryEscape(`"><script>alert(1)</script>`), code: refusal.FlowUnknown},
		"RelayState too long":          {form: "SAMLResponse=YQ%3D%3D&RelayState=" + state + "A", code: refusal.FlowUnknown},
		"JSON":                         {form: `{"SAMLResponse":"YQ=="}`, header: []string{"Content-Type", "application/json"}, code: refusal.BadRequest},
		"with a query":                 {form: good, target: acs + "?x=1", code: refusal.BadRequest},
		"in the query":                 {form: "x=y", target: acs + "?" + good, code: refusal.BadRequest},
	} {
		t.Run(name, func(t *testing.T) {
			t.Parallel()
			l := newSAMLLab(t)
			s := l.site()
			target := tc.target
			if target == "" {
				target = acs
			}
			w := s.browser().send(s.browser().formRequest(target, tc.form, tc.header...))
			if tc.code == "" {
				formOf(t, w)
			} else {
				wantRefused(t, w, tc.code)
			}
			if body := w.Body.String(); strings.Contains(body, "alert(1)") || strings.Contains(body, "Continue=") || strings.Contains(body, "Submit") {
				t.Errorf("something else was sent back:\n%s", body)
			}
			if _, completed := l.idp.counts(); completed > 0 || l.store.written() > 0 || len(w.Header()["Set-Cookie"]) > 0 {
				t.Error("something was verified, written or set for who never started a login")
			}
		})
	}
}

func TestACSAddresses(t *testing.T) {
	t.Parallel()
	l := newSAMLLab(t)
	b := l.site().browser()
	brought := b.begin("/")
	wantRefused(t, b.open(acs+"?"+brought.form.Encode()), refusal.MethodNotAllowed)
	for _, path := range []string{"/.sso/saml", "/.sso/saml/", acs + "/", acs + "/saml", "/.sso/saml/slo", "/.sso/saml/ACS", "/.sso/saml/%61cs", "/.sso/saml/metadata/"} {
		if code := codeIn(b.postForm(path, brought.form)); code != refusal.NotFound && code != refusal.MethodNotAllowed {
			t.Errorf("%s: code %q", path, code)
		}
	}
	if _, completed := l.idp.counts(); completed > 0 {
		t.Error("an answer was verified")
	}
	wantRedirect(t, b.bring(brought), "https://app.example/")

	// Without a SAML provider there is nothing of it.
	other := newLab(t).site().browser()
	for _, path := range []string{acs, "/.sso/saml/metadata", "/.sso/saml/metadata/corp"} {
		wantRefused(t, other.postForm(path, brought.form), refusal.NotFound)
	}
}

func TestCookiesBlocked(t *testing.T) {
	t.Parallel()
	t.Run("C13 a browser that keeps no cookies, by form", func(t *testing.T) {
		t.Parallel()
		l := newSAMLLab(t)
		s := l.site()
		answer := s.browser().begin("/")
		wantRefused(t, s.browser().bring(answer), refusal.CookiesBlocked)
		if _, completed := l.idp.counts(); completed > 0 {
			t.Error("an answer was verified")
		}
		wantKept(t, l, 0, 0, 1) // and no second flow
	})
	t.Run("C13 a browser that keeps no cookies, by redirect", func(t *testing.T) {
		t.Parallel()
		l := newLab(t)
		s := l.site()
		// Each of its requests is the first.
		w := s.browser().bring(s.browser().begin("/wanted"))
		w = s.browser().bring(l.idp.answer(t, w, "alice"))
		wantRefused(t, w, refusal.CookiesBlocked)
		wantKept(t, l, 0, 0, 2)
	})
	t.Run("C13 an ACS at another name of the site", func(t *testing.T) {
		t.Parallel()
		l := newSAMLLab(t)
		s := l.siteAt(l.gateway(), "www.example", gateway.Hosts{Exact: []string{appHost, "www.example"}, Scheme: "https"})
		b := s.browser()
		answer := b.begin("/")
		s.host = appHost
		wantRefused(t, b.bring(answer), refusal.SAMLDestination)
	})
	t.Run("a login that nobody knows of says nothing of cookies", func(t *testing.T) {
		t.Parallel()
		s := newSAMLLab(t).site()
		wantRefused(t, s.browser().bring(answer{acs, response("alice", strings.Repeat("A", 43))}), refusal.FlowUnknown)
	})
}
