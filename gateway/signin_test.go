package gateway_test

import (
	"context"
	"errors"
	"fmt"
	"net/http"
	"net/http/httptest"
	"slices"
	"strings"
	"sync"
	"testing"
	"testing/synctest"
	"time"

	"github.com/caddy-sso/caddy-sso/gateway"
	"github.com/caddy-sso/caddy-sso/gateway/provider"
	"github.com/caddy-sso/caddy-sso/gateway/refusal"
	"github.com/caddy-sso/caddy-sso/gateway/session"
)

func TestSignIn(t *testing.T) {
	t.Parallel()
	l := newLab(t)
	s := l.site()
	b := s.browser()

	w := b.open("/deep/page?x=1")
	wantStatus(t, w, http.StatusSeeOther)
	if s.reached() > 0 {
		t.Fatal("the app was reached without a session")
	}
	if w.Header().Get("Cache-Control") != "no-store" {
		t.Errorf("the redirect may be kept: %v", w.Header())
	}
	w = b.open(l.idp.visit(t, w.Header().Get("Location"), "alice"))
	wantRedirect(t, w, "https://app.example/deep/page?x=1")
	if w.Header().Get("Cache-Control") != "no-store" || w.Header().Get("Referrer-Policy") != "no-referrer" {
		t.Errorf("the answer of the callback: %v", w.Header())
	}
	wantStatus(t, b.open("/deep/page?x=1"), http.StatusOK)

	got := s.got()
	if got.principal == nil || got.principal.Username != "alice" || got.header.Get("Remote-User") != "alice" {
		t.Errorf("the app was told %+v", got)
	}
	if begun := l.idp.begun; len(begun) != 1 || begun[0].CallbackURL != "https://app.example/.sso/oidc/callback" || len(begun[0].State) != 43 || begun[0].ForceLogin {
		t.Errorf("begun %+v", begun)
	}
	wantKept(t, l, 1, 1, 0)
	events := l.seen()
	if len(events) != 1 || events[0] != (gateway.Event{Type: gateway.EventLogin, App: appHost, Provider: "corp", Username: "alice", Addr: clientAddr}) {
		t.Errorf("events %+v", events)
	}
}

// wantKept checks how many accounts, logins and flows the store has.
func wantKept(t testing.TB, l *lab, accounts, logins, flows int) {
	t.Helper()
	if a, n, f := len(l.store.keys("account")), len(l.store.keys("login")), len(l.store.keys("flow")); a != accounts || n != logins || f != flows {
		t.Errorf("the store has %d accounts, %d logins and %d flows, want %d, %d and %d", a, n, f, accounts, logins, flows)
	}
}

func TestCookieAttributes(t *testing.T) {
	t.Parallel()
	for name, tc := range map[string]struct {
		host  string
		plain bool
		opts  gateway.AppOptions
		want  string // the attributes; "": refused
		name  string
	}{
		"https":                    {host: "a.example", want: "Path=/; HttpOnly; Secure; SameSite=Lax", name: "__Host-sso"},
		"https on loopback":        {host: "localhost", want: "Path=/; HttpOnly; Secure; SameSite=Lax", name: "__Host-sso"},
		"http":                     {host: "a.example", plain: true},
		"http on localhost":        {host: "localhost", plain: true, want: "Path=/; HttpOnly; SameSite=Lax", name: "sso"},
		"http on localhost's port": {host: "localhost:8080", plain: true, want: "Path=/; HttpOnly; SameSite=Lax", name: "sso"},
		"http below localhost":     {host: "App.Localhost", plain: true, want: "Path=/; HttpOnly; SameSite=Lax", name: "sso"},
		"http on 127.0.0.1":        {host: "127.0.0.1:80", plain: true, want: "Path=/; HttpOnly; SameSite=Lax", name: "sso"},
		"http on 127.9.9.9":        {host: "127.9.9.9", plain: true, want: "Path=/; HttpOnly; SameSite=Lax", name: "sso"},
		"http on ::1":              {host: "[::1]:8080", plain: true, want: "Path=/; HttpOnly; SameSite=Lax", name: "sso"},
		"http on ::2":              {host: "[::2]", plain: true},
		"http on 128.0.0.1":        {host: "128.0.0.1", plain: true},
		"http on 0.0.0.0":          {host: "0.0.0.0", plain: true},
		"http, localhost as label": {host: "localhost.example", plain: true},
		"http, 127.0.0.1 as label": {host: "127.0.0.1.example", plain: true},
		"http, localhost in name":  {host: "notlocalhost", plain: true},
		"http, permitted":          {host: "a.example", plain: true, opts: gateway.AppOptions{InsecureHTTP: true}, want: "Path=/; HttpOnly; SameSite=Lax", name: "sso"},
		"https base URL":           {host: "a.example", plain: true, opts: gateway.AppOptions{BaseURL: "https://a.example"}, want: "Path=/; HttpOnly; Secure; SameSite=Lax", name: "__Host-sso"},
		"http base URL":            {host: "a.example", plain: true, opts: gateway.AppOptions{BaseURL: "http://a.example"}},
	} {
		t.Run(name, func(t *testing.T) {
			t.Parallel()
			l := newLab(t)
			tc.opts.Rules = everyone
			app, err := l.gateway().NewApp(tc.opts)
			if err != nil {
				t.Fatal(err)
			}
			if err := app.Start(gateway.Hosts{Any: true, Scheme: "https"}); err != nil {
				t.Fatal(err)
			}
			s := &site{lab: l, app: app, host: tc.host}
			b := s.browser()
			b.plain = tc.plain
			w := b.open("/")
			if tc.want == "" {
				wantRefused(t, w, refusal.InsecureHTTP)
				if c := w.Header()["Set-Cookie"]; c != nil {
					t.Errorf("cookies %q were set", c)
				}
				// Neither does an answer make a session here.
				w = b.open("/.sso/oidc/callback?code=alice&state=" + strings.Repeat("A", 43))
				wantRefused(t, w, refusal.InsecureHTTP)
				wantKept(t, l, 0, 0, 0)
				return
			}
			cookie := onlyCookie(t, w)
			if attributes := attributesOf(cookie); attributes != tc.want || !strings.HasPrefix(cookie, tc.name+"-b=") {
				t.Errorf("browser cookie %q, want %s with %q", cookie, tc.name+"-b", tc.want)
			}
			r := b.request(http.MethodGet, l.idp.visit(t, w.Header().Get("Location"), "alice"), navigating...)
			r.Header.Set("Cookie", strings.SplitN(cookie, ";", 2)[0]) // a jar knows nothing of localhost
			w = s.serve(r, tc.plain)
			wantStatus(t, w, http.StatusSeeOther)
			session := onlyCookie(t, w)
			if attributes := attributesOf(session); attributes != tc.want || !strings.HasPrefix(session, tc.name+"=") {
				t.Errorf("session cookie %q, want %s with %q", session, tc.name, tc.want)
			}
			if len(session) > 250 {
				t.Errorf("session cookie of %d bytes", len(session))
			}
		})
	}
}

func onlyCookie(t testing.TB, w *httptest.ResponseRecorder) string {
	t.Helper()
	lines := w.Header()["Set-Cookie"]
	if len(lines) != 1 {
		t.Fatalf("%d cookies were set: %q", len(lines), lines)
	}
	return lines[0]
}

func attributesOf(cookie string) string {
	_, attributes, _ := strings.Cut(cookie, "; ")
	return attributes
}

// Whatever is started, the browser keeps two cookies at most, and the app sees
// neither.
func TestCookiesAreBoundedAndKept(t *testing.T) {
	t.Parallel()
	s := newLab(t).site(public("/public"))
	b := s.browser()
	var callbacks []string
	for i := range 20 {
		callbacks = append(callbacks, b.begin(fmt.Sprintf("/%d", i)))
	}
	if got := b.jar.Cookies(b.url(appHost)); len(got) != 1 {
		t.Errorf("after twenty logins begun the browser has the cookies %v", got)
	}
	for i, callback := range callbacks {
		wantRedirect(t, b.open(callback), fmt.Sprintf("https://app.example/%d", i))
	}
	if got := b.jar.Cookies(b.url(appHost)); len(got) != 2 {
		t.Errorf("after twenty logins the browser has the cookies %v", got)
	}
	for _, path := range []string{"/", "/public"} {
		wantStatus(t, b.open(path, "Cookie", "theme=dark; sso=plain; sso-b=plain", "Cookie", "lang=de"), http.StatusOK)
		for _, line := range s.got().header["Cookie"] {
			if strings.Contains(line, "sso") {
				t.Errorf("%s: the app got the cookie line %q", path, line)
			}
		}
		if all := strings.Join(s.got().header["Cookie"], "; "); !strings.Contains(all, "theme=dark") || !strings.Contains(all, "lang=de") {
			t.Errorf("%s: the app did not get its own cookies: %q", path, all)
		}
	}
}

// A session cookie that is malformed, or there twice, is none.
func TestBadCookieIsNoSession(t *testing.T) {
	t.Parallel()
	s := newLab(t).site()
	b := s.browser()
	b.signIn()
	good := b.cookie("__Host-sso")
	other := map[bool]string{true: "B", false: "A"} // than the first character
	for name, cookie := range map[string]string{
		"cut":            "__Host-sso=" + good[:len(good)-1],
		"longer":         "__Host-sso=" + good + "A",
		"changed":        "__Host-sso=" + other[good[0] == 'A'] + good[1:],
		"empty":          "__Host-sso=",
		"without prefix": "sso=" + good,
		"twice":          "__Host-sso=" + good + "; __Host-sso=" + good,
		"twice, differs": "__Host-sso=" + good + "; __Host-sso=x",
	} {
		r := httptest.NewRequest(http.MethodGet, "/", nil)
		r.Host = appHost
		r.Header.Set("Cookie", cookie)
		w := s.serve(r, false)
		wantRefused(t, w, refusal.Unauthenticated)
		if s.reached() > 0 {
			t.Fatalf("%s: let in", name)
		}
	}
	for _, host := range []string{"other.example", "app.example.evil.example"} {
		r := b.request(http.MethodGet, "/")
		r.Host = host
		wantRefused(t, s.serve(r, false), refusal.Unauthenticated)
	}
	wantStatus(t, b.open("/"), http.StatusOK)
}

// An attacker's answer in another person's browser signs nobody in (login
// CSRF), and does the attacker's login no harm.
func TestWrongBrowserConsumesNothing(t *testing.T) {
	t.Parallel()
	l := newLab(t)
	s := l.site()
	right, wrong := s.browser(), s.browser()
	callback := right.begin("/wanted")
	writes := l.store.written()

	w := wrong.open(callback)
	wantStatus(t, w, http.StatusSeeOther)
	if !strings.HasPrefix(w.Header().Get("Location"), "https://id.example/authorize?") {
		t.Fatalf("the wrong browser was sent to %q, want to the provider anew", w.Header().Get("Location"))
	}
	if _, completed := l.idp.counts(); completed > 0 {
		t.Error("the answer was judged for a browser that never started a login")
	}
	if wrong.cookie("__Host-sso") != "" {
		t.Error("the wrong browser has a session")
	}
	if got := l.store.written() - writes; got != 1 {
		t.Errorf("%d writes, want one: the new flow", got)
	}
	// A browser that has a cookie of its own is no better.
	wrong.begin("/")
	wantStatus(t, wrong.open(callback), http.StatusSeeOther)
	wantKept(t, l, 0, 0, 4)

	wantRedirect(t, right.open(callback), "https://app.example/wanted")
	wantStatus(t, right.open("/wanted"), http.StatusOK)
}

// Who signed in meanwhile in another tab goes where this tab wanted to go.
func TestSignedInByNow(t *testing.T) {
	t.Parallel()
	l := newLab(t)
	s := l.site()
	b := s.browser()
	stranger := s.browser().begin("/wanted")
	b.signIn()
	_, before := l.idp.counts()
	wantRedirect(t, b.open(stranger), "https://app.example/wanted")
	if _, completed := l.idp.counts(); completed != before {
		t.Error("a foreign answer was judged")
	}
	wantRedirect(t, b.open("/.sso/login?return=/there"), "https://app.example/there")
}

func TestRestartOnce(t *testing.T) {
	t.Parallel()
	l := newLab(t)
	s := l.site()
	w := s.browser().open("/wanted")
	wantStatus(t, w, http.StatusSeeOther)
	// Each time another browser comes, with a cookie of its own.
	for _, cookie := range []string{strings.Repeat("A", 43), strings.Repeat("E", 43)} {
		w = s.browser().open(l.idp.visit(t, w.Header().Get("Location"), "alice"), "Cookie", "__Host-sso-b="+cookie)
	}
	wantRefused(t, w, refusal.FlowOtherBrowser)
	wantKept(t, l, 0, 0, 2)

	// One that keeps them gets through by the restart.
	w = s.browser().open("/wanted")
	b := s.browser()
	wantRedirect(t, b.open(b.restarted(t, w)), "https://app.example/wanted")
}

// restarted carries a redirect to the provider over into this browser, which did
// not start the login, and returns the callback of the login begun anew.
func (b *browser) restarted(t *testing.T, w *httptest.ResponseRecorder) (callback string) {
	t.Helper()
	w = b.open(b.idp.visit(t, w.Header().Get("Location"), "alice"))
	wantStatus(t, w, http.StatusSeeOther)
	return b.idp.visit(t, w.Header().Get("Location"), "alice")
}

func TestLostFlows(t *testing.T) {
	t.Parallel()
	state := strings.Repeat("A", 43)
	for name, query := range map[string]string{
		"no state":          "code=alice",
		"nothing":           "",
		"empty state":       "code=alice&state=",
		"unknown state":     "code=alice&state=" + state,
		"short state":       "code=alice&state=abc",
		"long state":        "code=alice&state=" + state + "A",
		"no base64url":      "code=alice&state=" + strings.Repeat("+", 43),
		"a state of blanks": "code=alice&state=" + strings.Repeat("%20", 43),
		"NUL":               "code=alice&state=" + strings.Repeat("%00", 43),
	} {
		t.Run(name, func(t *testing.T) {
			t.Parallel()
			l := newLab(t)
			s := l.site()
			stranger, signedIn := s.browser(), s.browser()
			want := refusal.FlowUnknown
			if query == "" {
				want = refusal.AnswerLost // even with a question mark
			}
			wantRefused(t, stranger.open("/.sso/oidc/callback?"+query), want)
			if l.store.written() > 0 {
				t.Error("something was written")
			}
			signedIn.signIn()
			wantRedirect(t, signedIn.open("/.sso/oidc/callback?"+query), "https://app.example/")
			if _, completed := l.idp.counts(); completed != 1 {
				t.Errorf("%d answers were judged, want the one of the sign-in", completed)
			}
		})
	}
}

// A login begun at one app is none at another, even with its cookie.
func TestFlowOfAnotherApp(t *testing.T) {
	t.Parallel()
	l := newLab(t)
	g := l.gateway()
	one, two := l.siteOf(g, appHost), l.siteOf(g, "other.example")
	b := one.browser()
	callback := b.begin("/")
	r := two.browser().request(http.MethodGet, callback, navigating...)
	r.Header.Set("Cookie", cookieLine(b))
	w := two.serve(r, false)
	wantRefused(t, w, refusal.FlowUnknown)
	if _, completed := l.idp.counts(); completed > 0 || w.Header()["Set-Cookie"] != nil {
		t.Error("the answer was judged, or a cookie set")
	}
	wantRedirect(t, b.open(callback), "https://app.example/")
}

func TestStateTwice(t *testing.T) {
	t.Parallel()
	l := newLab(t)
	b := l.site().browser()
	callback := b.begin("/")
	_, query, _ := strings.Cut(callback, "?")
	wantRefused(t, b.open(callback+"&"+query), refusal.FlowUnknown)
	if _, completed := l.idp.counts(); completed > 0 {
		t.Error("the answer was judged")
	}
	wantRedirect(t, b.open(callback), "https://app.example/")
}

func TestExpiredFlow(t *testing.T) {
	t.Parallel()
	synctest.Test(t, func(t *testing.T) {
		s := newLab(t).site()
		in, out := s.browser(), s.browser()
		inTime, late := in.begin("/a"), out.begin("/b")
		time.Sleep(15*time.Minute - time.Second)
		wantRedirect(t, in.open(inTime), "https://app.example/a")
		time.Sleep(time.Second)
		wantRefused(t, out.open(late), refusal.FlowUnknown)
	})
}

func TestUsedFlow(t *testing.T) {
	t.Parallel()
	l := newLab(t)
	b := l.site().browser()
	callback := b.begin("/wanted")
	wantRedirect(t, b.open(callback), "https://app.example/wanted")
	first := b.cookie("__Host-sso")
	// The back button: no second login, no error for who is signed in.
	wantRedirect(t, b.open(callback), "https://app.example/")
	if b.cookie("__Host-sso") != first {
		t.Error("a used answer made a new session")
	}
	wantStatus(t, b.post("/.sso/logout"), http.StatusSeeOther)
	wantRefused(t, b.open(callback), refusal.FlowUnknown)
	if _, completed := l.idp.counts(); completed != 1 {
		t.Errorf("%d answers were judged", completed)
	}
}

// Of two equal answers at once one signs in.
func TestEqualAnswersAtOnce(t *testing.T) {
	t.Parallel()
	l := newLab(t)
	s := l.site()
	b := s.browser()
	callback := b.begin("/")
	var judged sync.WaitGroup
	judged.Add(2)
	l.idp.judge(func(provider.CompleteRequest, *provider.Answer) error {
		judged.Done()
		judged.Wait() // both have read the flow
		return nil
	})
	answers := make([]*httptest.ResponseRecorder, 2)
	var done sync.WaitGroup
	for i := range answers {
		r := b.request(http.MethodGet, callback, navigating...)
		done.Go(func() { answers[i] = s.serve(r, false) })
	}
	done.Wait()
	slices.SortFunc(answers, func(a, b *httptest.ResponseRecorder) int { return a.Code - b.Code })
	wantStatus(t, answers[0], http.StatusSeeOther)
	wantRefused(t, answers[1], refusal.AnswerReplayed)
	wantKept(t, l, 1, 1, 0)
}

// Ten tabs that are restored at once set ten browser cookies, of which nine
// are overwritten. All tabs must reach their pages.
func TestTenTabs(t *testing.T) {
	t.Parallel()
	for name, tabOrder := range map[string]func(i int) int{
		"in order": func(i int) int { return i }, "backwards": func(i int) int { return 9 - i }, "mixed": func(i int) int { return i * 7 % 10 },
	} {
		t.Run(name, func(t *testing.T) {
			t.Parallel()
			l := newLab(t)
			s := l.site()
			b := s.browser()
			// All first requests go out before the first answer comes in.
			requests := make([]*http.Request, 10)
			for i := range requests {
				requests[i] = b.request(http.MethodGet, fmt.Sprintf("/tab/%d", i), navigating...)
			}
			tabs := make([]*httptest.ResponseRecorder, 10)
			for i, r := range requests {
				tabs[i] = b.send(r)
			}
			for step := range 10 {
				i := tabOrder(step)
				w := b.follow(tabs[i])
				if w.Code != http.StatusOK || s.got().path != fmt.Sprintf("/tab/%d", i) {
					t.Errorf("tab %d ended with %d at %s", i, w.Code, s.got().path)
				}
			}
			// One of them has the browser cookie that won, and may sign in anew.
			if logins := len(l.store.keys("login")); logins > 2 {
				t.Errorf("%d logins, want 2 at most", logins)
			}
		})
	}
}

// The same with all answers side by side before anybody is signed in.
func TestTenTabsAnswersAtOnce(t *testing.T) {
	t.Parallel()
	l := newLab(t)
	s := l.site()
	b := s.browser()
	requests := make([]*http.Request, 10)
	for i := range requests {
		requests[i] = b.request(http.MethodGet, fmt.Sprintf("/tab/%d", i), navigating...)
	}
	at := make([]string, len(requests)) // where a tab ended
	for range 4 {
		answers := make([]*httptest.ResponseRecorder, len(requests))
		for i, r := range requests {
			if at[i] != "" {
				continue
			}
			if answers[i] = b.send(r); answers[i].Code == http.StatusOK {
				at[i] = s.got().path
			}
		}
		for i, w := range answers {
			if at[i] != "" {
				continue
			}
			location := w.Header().Get("Location")
			target, own := strings.CutPrefix(location, "https://app.example")
			if !own {
				target = l.idp.visit(t, location, "alice")
			}
			requests[i] = b.request(http.MethodGet, target, navigating...)
		}
	}
	for i, path := range at {
		if path != fmt.Sprintf("/tab/%d", i) {
			t.Errorf("tab %d ended at %q", i, path)
		}
	}
}

// A login begun before a reload ends after it.
func TestReloadWithinLogin(t *testing.T) {
	t.Parallel()
	l := newLab(t)
	b := l.site().browser()
	callback := b.begin("/wanted")
	after := b.at(l.siteOf(l.gateway(), appHost))
	wantRedirect(t, after.open(callback), "https://app.example/wanted")
	wantStatus(t, after.open("/wanted"), http.StatusOK)
}

// Two nodes share one store: a login begun on one ends on the other, and holds
// on both.
func TestSecondNode(t *testing.T) {
	t.Parallel()
	one := newLab(t)
	two := newLabOn(t, one.store)
	a := one.site().browser()
	b := a.at(two.site())
	callback := a.begin("/wanted")
	wantRedirect(t, b.open(callback), "https://app.example/wanted")
	wantStatus(t, a.open("/wanted"), http.StatusOK)
	wantStatus(t, b.open("/wanted"), http.StatusOK)
	wantRedirect(t, b.post("/.sso/logout"), "https://app.example/.sso/logged-out")
	eventually(t, "the other node refuses the session", func() bool {
		r := a.request(http.MethodGet, "/")
		return a.serve(r, false).Code == http.StatusUnauthorized
	})
}

// Each login has new bits, whatever the browser had before.
// TestUselessCodesAreCounted has a provider answer made-up codes by what is no
// answer of its own, as the firewall before it does. Nobody may use the gateway to
// ask it without end: it would shut the gateway out, and with it everybody. Each
// counts as a request, though none has failed.
func TestUselessCodesAreCounted(t *testing.T) {
	t.Parallel()
	l := newLab(t)
	s := limitedSite(l, session.Limit{Requests: 3})
	l.idp.judge(func(provider.CompleteRequest, *provider.Answer) error {
		return refusal.New(refusal.ProviderUnavailable, errors.New("the status is 403 instead of 200"))
	})
	b := s.browser()
	callback := b.begin("/")
	for range 2 {
		wantRefused(t, b.open(callback), refusal.ProviderUnavailable)
	}
	_, asked := l.idp.counts()
	for range 5 {
		wantRefused(t, b.open(callback), refusal.TooManyAttempts)
	}
	if _, n := l.idp.counts(); n != asked || asked == 0 {
		t.Errorf("the provider was asked %d times, want %d", n, asked)
	}
}

func TestNewSessionAtEachLogin(t *testing.T) {
	t.Parallel()
	l := newLab(t)
	s := l.site()
	seen := map[string]bool{}
	b := s.browser()
	for range 3 {
		callback := b.begin("/")
		r := b.request(http.MethodGet, callback, navigating...)
		r.AddCookie(&http.Cookie{Name: "__Host-sso", Value: strings.Repeat("A", 86)}) // fixation
		w := b.send(r)
		wantStatus(t, w, http.StatusSeeOther)
		cookie := b.cookie("__Host-sso")
		if seen[cookie] || strings.HasPrefix(cookie, "AAAA") {
			t.Error("a login took up old bits")
		}
		seen[cookie] = true
		wantStatus(t, b.post("/.sso/logout"), http.StatusSeeOther)
	}
	for old := range seen {
		r := httptest.NewRequest(http.MethodGet, "/", nil)
		r.Host = appHost
		r.AddCookie(&http.Cookie{Name: "__Host-sso", Value: old})
		wantRefused(t, s.serve(r, false), refusal.Unauthenticated)
	}
}

func TestNavigation(t *testing.T) {
	t.Parallel()
	const html = "text/html,application/xhtml+xml,*/*;q=0.8"
	for name, tc := range map[string]struct {
		method string
		header []string
		want   bool
	}{
		"navigation":                   {"GET", []string{"Sec-Fetch-Mode", "navigate", "Sec-Fetch-Dest", "document", "Accept", html}, true},
		"navigation from another site": {"GET", []string{"Sec-Fetch-Mode", "navigate", "Sec-Fetch-Dest", "document", "Sec-Fetch-Site", "cross-site", "Accept", html}, true},
		"HEAD":                         {"HEAD", []string{"Sec-Fetch-Mode", "navigate", "Sec-Fetch-Dest", "document", "Accept", html}, true},
		"by a service worker":          {"GET", []string{"Sec-Fetch-Mode", "navigate", "Sec-Fetch-Dest", "empty", "Sec-Fetch-Site", "same-origin", "Accept", html}, true},
		"without a destination":        {"GET", []string{"Sec-Fetch-Mode", "navigate", "Accept", html}, true},
		"an unknown destination":       {"GET", []string{"Sec-Fetch-Mode", "navigate", "Sec-Fetch-Dest", "tomorrow", "Accept", html}, true},
		"an old browser":               {"GET", []string{"Accept", html}, true},
		"an old browser's script":      {"GET", []string{"Accept", html, "X-Requested-With", "XMLHttpRequest"}, false},
		"curl":                         {"GET", []string{"Accept", "*/*"}, false},
		"nothing said":                 {"GET", nil, false},
		"JSON":                         {"GET", []string{"Accept", "application/json"}, false},
		"fetch":                        {"GET", []string{"Sec-Fetch-Mode", "cors", "Sec-Fetch-Dest", "empty", "Accept", "*/*"}, false},
		"fetch that takes HTML":        {"GET", []string{"Sec-Fetch-Mode", "cors", "Sec-Fetch-Dest", "empty", "Accept", html}, false},
		"image":                        {"GET", []string{"Sec-Fetch-Mode", "no-cors", "Sec-Fetch-Dest", "image", "Accept", "image/*,*/*"}, false},
		"iframe":                       {"GET", []string{"Sec-Fetch-Mode", "navigate", "Sec-Fetch-Dest", "iframe", "Accept", html}, false},
		"object":                       {"GET", []string{"Sec-Fetch-Mode", "navigate", "Sec-Fetch-Dest", "object", "Accept", html}, false},
		"frame":                        {"GET", []string{"Sec-Fetch-Mode", "navigate", "Sec-Fetch-Dest", "frame", "Accept", html}, false},
		"fenced frame":                 {"GET", []string{"Sec-Fetch-Mode", "navigate", "Sec-Fetch-Dest", "fencedframe", "Accept", html}, false},
		"embed":                        {"GET", []string{"Sec-Fetch-Mode", "navigate", "Sec-Fetch-Dest", "embed", "Accept", html}, false},
		"POST by a service worker":     {"POST", []string{"Sec-Fetch-Mode", "navigate", "Sec-Fetch-Dest", "empty", "Accept", html}, false},
		"prefetch":                     {"GET", []string{"Sec-Fetch-Mode", "navigate", "Sec-Fetch-Dest", "document", "Sec-Purpose", "prefetch", "Accept", html}, false},
		"prerender":                    {"GET", []string{"Sec-Fetch-Mode", "navigate", "Sec-Fetch-Dest", "document", "Sec-Purpose", "prefetch;prerender", "Accept", html}, false},
		"old prefetch":                 {"GET", []string{"Purpose", "prefetch", "Accept", html}, false},
		"websocket":                    {"GET", []string{"Sec-Fetch-Mode", "websocket", "Upgrade", "websocket", "Connection", "Upgrade", "Accept", html}, false},
		"upgrade":                      {"GET", []string{"Upgrade", "websocket", "Accept", html}, false},
		"POST of a form":               {"POST", []string{"Sec-Fetch-Mode", "navigate", "Sec-Fetch-Dest", "document", "Accept", html}, false},
		"PUT":                          {"PUT", []string{"Accept", html}, false},
		"OPTIONS":                      {"OPTIONS", []string{"Accept", html}, false},
	} {
		t.Run(name, func(t *testing.T) {
			t.Parallel()
			l := newLab(t)
			s := l.site()
			b := s.browser()
			for _, target := range []string{"/", "/.sso/session"} {
				if target != "/" && tc.method != "GET" && tc.method != "HEAD" {
					continue
				}
				w := b.send(b.request(tc.method, target, tc.header...))
				if tc.want {
					wantStatus(t, w, http.StatusSeeOther)
					continue
				}
				wantStatus(t, w, http.StatusUnauthorized)
				if w.Header().Get("Location") != "" || w.Header().Get("Set-Cookie") != "" {
					t.Errorf("headers %v", w.Header())
				}
				if got := w.Header().Get("WWW-Authenticate"); got != `Cookie realm="/.sso", cookie-name="__Host-sso"` {
					t.Errorf("WWW-Authenticate %q", got)
				}
				if begun, _ := l.idp.counts(); begun > 0 || l.store.written() > 0 {
					t.Error("a login was begun")
				}
			}
			if s.reached() > 0 {
				t.Error("the app was reached")
			}
		})
	}
}

// A client that hangs up is no fault of the store's or the provider's, and
// must not look like one in the metrics.
func TestClientGoesAway(t *testing.T) {
	t.Parallel()
	l := newLab(t)
	s := l.site()
	b := s.browser()
	callback := b.begin("/")
	other := s.browser()
	other.signIn()
	l.mu.Lock()
	l.events = nil
	l.mu.Unlock()
	fresh := newLabOn(t, l.store) // has nothing cached
	for name, r := range map[string]*http.Request{
		"asking for a page": other.request(http.MethodGet, "/"),
		"answering":         b.request(http.MethodGet, callback),
	} {
		ctx, cancel := context.WithCancel(r.Context())
		cancel()
		node := fresh.site2(t)
		if w := node.serve(r.WithContext(ctx), false); w.Code < 400 {
			t.Errorf("%s: status %d", name, w.Code)
		}
		if ev := fresh.seen(); len(ev) > 0 {
			t.Errorf("%s: events %+v", name, ev)
		}
		if node.reached() > 0 {
			t.Error("the app was reached")
		}
	}
}
