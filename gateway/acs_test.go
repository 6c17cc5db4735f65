package gateway_test

import (
	"net/http"
	"net/http/httptest"
	"net/url"
	"slices"
	"strings"
	"sync"
	"testing"

	"github.com/caddy-sso/caddy-sso/gateway"
	"github.com/caddy-sso/caddy-sso/gateway/provider"
	"github.com/caddy-sso/caddy-sso/gateway/refusal"
)

func TestACSSignIn(t *testing.T) {
	t.Parallel()
	for name, byForm := range map[string]bool{"asked by redirect": false, "asked by form": true} {
		t.Run(name, func(t *testing.T) {
			t.Parallel()
			l, idp := newLab(t), newSAMLIDP("https://idp.example")
			idp.byForm = byForm
			s := l.samlSite(idp)
			b := s.browser()
			answer := idp.answer(t, b.open("/deep/page?x=1"), "alice")
			writes := l.store.written()

			w := b.postFromAfar(acs, answer)
			action, fields := formOf(t, w)
			if action != acs || len(fields) != 3 || fields.Get("sso_repost") != "1" || fields.Get("SAMLResponse") != answer.Get("SAMLResponse") || fields.Get("RelayState") != answer.Get("RelayState") {
				t.Fatalf("the page posts %v to %q", fields, action)
			}
			if _, completed := idp.counts(); completed > 0 || l.store.written() != writes || w.Header()["Set-Cookie"] != nil {
				t.Error("the first post did more than ask for the second")
			}

			w = b.postForm(action, fields)
			wantRedirect(t, w, "https://app.example/deep/page?x=1")
			if w.Header().Get("Cache-Control") != "no-store" || w.Header().Get("Referrer-Policy") != "no-referrer" {
				t.Errorf("the answer of the ACS: %v", w.Header())
			}
			wantStatus(t, b.open("/deep/page?x=1"), http.StatusOK)
			if got := s.got(); got.principal == nil || got.principal.Username != "alice" || got.principal.Provider != "saml" {
				t.Errorf("the app was told %+v", got)
			}
			wantKept(t, l, 1, 1, 0)
			want := provider.BeginRequest{State: answer.Get("RelayState"), CallbackURL: "https://app.example/.sso/saml/acs", MetadataURL: "https://app.example/.sso/saml/metadata"}
			if len(idp.begun) != 1 || idp.begun[0] != want {
				t.Errorf("begun %+v, want %+v", idp.begun, want)
			}
			if len(idp.asked) != 1 || idp.asked[0].CallbackURL != want.CallbackURL || idp.asked[0].MetadataURL != want.MetadataURL ||
				len(idp.asked[0].Params) != 2 || idp.asked[0].Params.Encode() != answer.Encode() {
				t.Errorf("asked to judge %+v", idp.asked)
			}
		})
	}
}

// If the provider is on the same site, its posts bring our cookies, and no second
// post is needed.
func TestACSOnSameSite(t *testing.T) {
	t.Parallel()
	l, idp := newLab(t), newSAMLIDP("https://idp.example")
	b := l.samlSite(idp).browser()
	answer := idp.answer(t, b.open("/wanted"), "alice")
	wantRedirect(t, b.send(b.formRequest(acs, answer.Encode(), "Sec-Fetch-Site", "same-site", "Origin", "https://idp.example")), "https://app.example/wanted")
}

// Only a navigation gets a page with a provider's form in it.
func TestACSFormIsForNavigations(t *testing.T) {
	t.Parallel()
	l, idp := newLab(t), newSAMLIDP("https://idp.example")
	idp.byForm = true
	s := l.samlSite(idp)
	wantRefused(t, s.browser().fetch("/"), refusal.Unauthenticated)
	w := s.browser().send(s.browser().request(http.MethodHead, "/", navigating...))
	wantStatus(t, w, http.StatusOK)
	if w.Body.Len() > 0 {
		t.Error("HEAD has a body")
	}
	csp := s.browser().open("/").Header().Get("Content-Security-Policy")
	if !strings.Contains(csp, "script-src 'self';") || strings.Contains(csp, "form-action") || !strings.Contains(csp, "default-src 'none'") {
		t.Errorf("policy %q", csp)
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
		"order":                        {form: "RelayState=" + state + "&SAMLResponse=YQ%3D%3D"},
		"a field of the provider's":    {form: good + "&Submit=Continue"},
		"an empty field":               {form: good + "&"},
		"line breaks and blanks":       {form: "RelayState=" + state + "&SAMLResponse=YQ%0D%0A%3D+%3D%09"},
		"charset":                      {form: good, header: []string{"Content-Type", formType + "; charset=UTF-8"}},
		"type in capitals":             {form: good, header: []string{"Content-Type", "Application/X-WWW-Form-URLEncoded"}},
		"as large as it may be":        {form: good + "&x=" + strings.Repeat("a", 2<<20-len(good)-3)},
		"too large by one byte":        {form: good + "&x=" + strings.Repeat("a", 2<<20-len(good)-2), code: refusal.TooLarge},
		"empty":                        {form: "", code: refusal.BadRequest},
		"no SAMLResponse":              {form: "RelayState=" + state, code: refusal.BadRequest},
		"a request":                    {form: "SAMLRequest=YQ%3D%3D&RelayState=" + state, code: refusal.BadRequest},
		"an OpenID answer":             {form: "code=alice&state=" + state, code: refusal.BadRequest},
		"other case":                   {form: "samlresponse=YQ%3D%3D&relaystate=" + state, code: refusal.BadRequest},
		"two SAMLResponse":             {form: good + "&SAMLResponse=YQ%3D%3D", code: refusal.BadRequest},
		"two SAMLResponse, one hidden": {form: good + "&%53AMLResponse=YQ%3D%3D", code: refusal.BadRequest},
		"two SAMLResponse, equal":      {form: "SAMLResponse=YQ&RelayState=" + state + "&SAMLResponse=YQ", code: refusal.BadRequest},
		"two RelayState":               {form: good + "&RelayState=" + state, code: refusal.BadRequest},
		"two markers":                  {form: good + "&sso_repost=1&sso_repost=1", code: refusal.BadRequest},
		"another marker":               {form: good + "&sso_repost=2"},
		"semicolon":                    {form: strings.Replace(good, "&", ";", 1), code: refusal.BadRequest},
		"semicolon in another field":   {form: good + "&x=1;SAMLResponse=YQ", code: refusal.BadRequest},
		"bad escape":                   {form: "RelayState=" + state + "&SAMLResponse=%zz", code: refusal.BadRequest},
		"cut escape in a name":         {form: good + "&a%2", code: refusal.BadRequest},
		"many fields":                  {form: good + strings.Repeat("&a=b", 15), code: refusal.BadRequest},
		"a million fields":             {form: strings.Repeat("&", 1<<20), code: refusal.BadRequest},
		"empty SAMLResponse":           {form: "SAMLResponse=&RelayState=" + state, code: refusal.SAMLMalformed},
		"markup":                       {form: "SAMLResponse=" + url.QueryEscape(`"><script>`) + "&RelayState=" + state, code: refusal.SAMLMalformed},
		"base64url":                    {form: "SAMLResponse=ab-_&RelayState=" + state, code: refusal.SAMLMalformed},
		"NUL":                          {form: "SAMLResponse=YQ%00&RelayState=" + state, code: refusal.SAMLMalformed},
		"non-ASCII":                    {form: "SAMLResponse=YQ%C3%A4&RelayState=" + state, code: refusal.SAMLMalformed},
		"no RelayState":                {form: "SAMLResponse=YQ%3D%3D", code: refusal.FlowUnknown},
		"empty RelayState":             {form: "SAMLResponse=YQ%3D%3D&RelayState=", code: refusal.FlowUnknown},
		"RelayState of a portal":       {form: "SAMLResponse=YQ%3D%3D&RelayState=https://app.example/", code: refusal.FlowUnknown},
		"RelayState with markup":       {form: "SAMLResponse=YQ%3D%3D&RelayState=" + url.QueryEscape(`"><script>alert(1)</script>`), code: refusal.FlowUnknown},
		"RelayState too long":          {form: "SAMLResponse=YQ%3D%3D&RelayState=" + state + "A", code: refusal.FlowUnknown},
		"JSON":                         {form: `{"SAMLResponse":"YQ=="}`, header: []string{"Content-Type", "application/json"}, code: refusal.BadRequest},
		"multipart": {
			form:   "--x\r\nContent-Disposition: form-data; name=\"SAMLResponse\"\r\n\r\nYQ==\r\n--x--\r\n",
			header: []string{"Content-Type", "multipart/form-data; boundary=x"}, code: refusal.BadRequest,
		},
		"plain text":               {form: good, header: []string{"Content-Type", "text/plain"}, code: refusal.BadRequest},
		"no type":                  {form: good, header: []string{"Content-Type", ""}, code: refusal.BadRequest},
		"a broken type":            {form: good, header: []string{"Content-Type", formType + "; charset"}, code: refusal.BadRequest},
		"with a query":             {form: good, target: acs + "?x=1", code: refusal.BadRequest},
		"in the query":             {form: "x=y", target: acs + "?" + good, code: refusal.BadRequest},
		"state in the query alone": {form: "SAMLResponse=YQ%3D%3D", target: acs + "?RelayState=" + state, code: refusal.BadRequest},
	} {
		t.Run(name, func(t *testing.T) {
			t.Parallel()
			l, idp := newLab(t), newSAMLIDP("https://idp.example")
			s := l.samlSite(idp)
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
			if _, completed := idp.counts(); completed > 0 || l.store.written() > 0 || len(w.Header()["Set-Cookie"]) > 0 {
				t.Error("something was judged, written or set for who never started a login")
			}
		})
	}
}

// Two Content-Types are none.
func TestACSTwoContentTypes(t *testing.T) {
	t.Parallel()
	s := newLab(t).samlSite(newSAMLIDP("https://idp.example"))
	r := s.browser().formRequest(acs, response("alice", strings.Repeat("A", 43)).Encode())
	r.Header.Add("Content-Type", formType)
	wantRefused(t, s.serve(r, false), refusal.BadRequest)
}

func TestACSMethods(t *testing.T) {
	t.Parallel()
	l, idp := newLab(t), newSAMLIDP("https://idp.example")
	s := l.samlSite(idp)
	b := s.browser()
	answer := idp.answer(t, b.open("/"), "alice")
	for path, allowed := range map[string]string{acs: "POST", "/.sso/saml/metadata": "GET, HEAD", "/.sso/saml/metadata/saml": "GET, HEAD"} {
		for _, method := range []string{"GET", "HEAD", "POST", "PUT", "DELETE", "PATCH", "OPTIONS", "CONNECT"} {
			if slices.Contains(strings.Split(allowed, ", "), method) {
				continue
			}
			if path == acs && (method == "GET" || method == "HEAD") {
				continue // TestAnswerLost
			}
			r := b.formRequest(path, answer.Encode())
			r.Method = method
			w := b.send(r)
			wantStatus(t, w, http.StatusMethodNotAllowed)
			if got := w.Header().Get("Allow"); got != allowed {
				t.Errorf("%s %s: Allow %q, want %q", method, path, got, allowed)
			}
		}
	}
	wantRefused(t, b.open(acs+"?"+answer.Encode()), refusal.MethodNotAllowed)
	for _, path := range []string{"/.sso/saml", "/.sso/saml/", acs + "/", acs + "/saml", "/.sso/saml/slo", "/.sso/saml/ACS", "/.sso/saml/%61cs", "/.sso/saml/metadata/"} {
		if code := codeIn(b.send(b.formRequest(path, answer.Encode()))); code != refusal.NotFound && code != refusal.MethodNotAllowed {
			t.Errorf("%s: code %q", path, code)
		}
	}
	if _, completed := idp.counts(); completed > 0 {
		t.Error("an answer was judged")
	}
	wantRedirect(t, b.bring(answer), "https://app.example/")

	// Without a SAML provider there is nothing of it.
	other := l.siteOf(l.gateway(), "other.example").browser()
	for _, path := range []string{acs, "/.sso/saml/metadata", "/.sso/saml/metadata/corp"} {
		wantRefused(t, other.postForm(path, answer), refusal.NotFound)
	}
}

// Cross-site posts are the ACS's business, and nobody else's.
func TestACSIsTheOnlyPathForPostsFromAfar(t *testing.T) {
	t.Parallel()
	l, idp := newLab(t), newSAMLIDP("https://idp.example")
	s := l.samlSite(idp)
	b := s.browser()
	wantRedirect(t, b.bring(idp.answer(t, b.open("/"), "alice")), "https://app.example/")
	for _, path := range []string{"/.sso/logout", "/.sso/logout/saml/acs", "/.sso/logout?/.sso/saml/acs"} {
		w := b.send(b.formRequest(path, "", "Sec-Fetch-Site", "cross-site", "Origin", "null"))
		if code := codeIn(w); code != refusal.CrossSite && code != refusal.NotFound {
			t.Errorf("%s: status %d, code %q", path, w.Code, code)
		}
	}
	wantStatus(t, b.open("/"), http.StatusOK)
}

func TestCookiesBlocked(t *testing.T) {
	t.Parallel()
	t.Run("C13 a browser that keeps no cookies, by form", func(t *testing.T) {
		t.Parallel()
		l, idp := newLab(t), newSAMLIDP("https://idp.example")
		s := l.samlSite(idp)
		answer := idp.answer(t, s.browser().open("/"), "alice")
		wantRefused(t, s.browser().bring(answer), refusal.CookiesBlocked)
		if _, completed := idp.counts(); completed > 0 {
			t.Error("an answer was judged")
		}
		wantKept(t, l, 0, 0, 1) // and no second flow
	})
	t.Run("C13 a browser that keeps no cookies, by redirect", func(t *testing.T) {
		t.Parallel()
		l := newLab(t)
		s := l.site()
		w := s.browser().open("/wanted")
		wantStatus(t, w, http.StatusSeeOther)
		// Each of its requests is the first.
		w = s.browser().open(l.idp.visit(t, w.Header().Get("Location"), "alice"))
		wantStatus(t, w, http.StatusSeeOther)
		w = s.browser().open(l.idp.visit(t, w.Header().Get("Location"), "alice"))
		wantRefused(t, w, refusal.CookiesBlocked)
		wantKept(t, l, 0, 0, 2)
	})
	t.Run("C13 an ACS at another name of the site", func(t *testing.T) {
		t.Parallel()
		l, idp := newLab(t), newSAMLIDP("https://idp.example")
		s := &site{lab: l, app: newApp(t, l.samlGateway(idp)), host: "www.example"}
		if err := s.app.Start(gateway.Hosts{Exact: []string{appHost, "www.example"}, Scheme: "https"}); err != nil {
			t.Fatal(err)
		}
		b := s.browser()
		answer := idp.answer(t, b.open("/"), "alice")
		s.host = appHost
		wantRefused(t, b.bring(answer), refusal.SAMLDestination)
	})
	t.Run("a login that nobody knows of says nothing of cookies", func(t *testing.T) {
		t.Parallel()
		s := newLab(t).samlSite(newSAMLIDP("https://idp.example"))
		wantRefused(t, s.browser().bring(response("alice", strings.Repeat("A", 43))), refusal.FlowUnknown)
	})
}

func TestACSWrongBrowserConsumesNothing(t *testing.T) {
	t.Parallel()
	l, idp := newLab(t), newSAMLIDP("https://idp.example")
	s := l.samlSite(idp)
	right, wrong := s.browser(), s.browser()
	answer := idp.answer(t, right.open("/wanted"), "alice")
	wrong.open("/") // has a cookie of its own
	w := wrong.bring(answer)
	wantStatus(t, w, http.StatusSeeOther)
	if !strings.HasPrefix(w.Header().Get("Location"), "https://idp.example/sso?") {
		t.Fatalf("the wrong browser was sent to %q, want to the provider anew", w.Header().Get("Location"))
	}
	if _, completed := idp.counts(); completed > 0 || wrong.cookie("__Host-sso") != "" {
		t.Error("the answer was judged for a browser that never started the login")
	}
	wantKept(t, l, 0, 0, 3)
	// Once more, as from a third browser: it ends.
	again := idp.answer(t, w, "alice")
	third := s.browser()
	third.open("/")
	wantRefused(t, third.bring(again), refusal.FlowOtherBrowser)

	wantRedirect(t, right.bring(answer), "https://app.example/wanted")
	wantStatus(t, right.open("/wanted"), http.StatusOK)
}

// A person who is signed in by now goes on: with another tab's answer, with an answer
// that was used (the back button), and with one from the provider's portal.
func TestACSSignedInByNow(t *testing.T) {
	t.Parallel()
	l, idp := newLab(t), newSAMLIDP("https://idp.example")
	s := l.samlSite(idp)
	b := s.browser()
	foreign := idp.answer(t, s.browser().open("/there"), "bob")
	answer := idp.answer(t, b.open("/wanted"), "alice")
	wantRedirect(t, b.bring(answer), "https://app.example/wanted")
	session := b.cookie("__Host-sso")
	wantRedirect(t, b.bring(answer), "https://app.example/")
	wantRedirect(t, b.bring(foreign), "https://app.example/there")
	wantRedirect(t, b.postForm(acs, response("bob", "portal")), "https://app.example/")
	if b.cookie("__Host-sso") != session {
		t.Error("the session changed")
	}
	if _, completed := idp.counts(); completed != 1 {
		t.Errorf("%d answers were judged", completed)
	}
	wantStatus(t, b.post("/.sso/logout"), http.StatusSeeOther)
	wantRefused(t, b.bring(answer), refusal.FlowUnknown)
}

// Of two equal answers at once one signs in.
func TestACSEqualAnswersAtOnce(t *testing.T) {
	t.Parallel()
	l, idp := newLab(t), newSAMLIDP("https://idp.example")
	s := l.samlSite(idp)
	b := s.browser()
	answer := idp.answer(t, b.open("/"), "alice")
	var judged, done sync.WaitGroup
	judged.Add(2)
	idp.judge(func(provider.CompleteRequest, *provider.Answer) error {
		judged.Done()
		judged.Wait() // both have read the flow
		return nil
	})
	answers := make([]*httptest.ResponseRecorder, 2)
	for i := range answers {
		r := b.formRequest(acs, answer.Encode())
		done.Go(func() { answers[i] = s.serve(r, false) })
	}
	done.Wait()
	slices.SortFunc(answers, func(a, b *httptest.ResponseRecorder) int { return a.Code - b.Code })
	wantStatus(t, answers[0], http.StatusSeeOther)
	wantRefused(t, answers[1], refusal.AnswerReplayed)
	wantKept(t, l, 1, 1, 0)
}

// An issuer that is not known yet is nobody's: people of two providers must not
// become one.
func TestACSWithoutIssuer(t *testing.T) {
	t.Parallel()
	l, idp := newLab(t), newSAMLIDP("")
	b := l.samlSite(idp).browser()
	wantRefused(t, b.bring(idp.answer(t, b.open("/"), "alice")), refusal.Internal)
	wantKept(t, l, 0, 0, 1)
}
