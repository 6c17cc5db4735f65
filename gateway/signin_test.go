package gateway_test

import (
	"context"
	"fmt"
	"net/http"
	"net/http/httptest"
	"strings"
	"testing"

	"github.com/caddy-sso/caddy-sso/gateway"
	"github.com/caddy-sso/caddy-sso/gateway/provider"
	"github.com/caddy-sso/caddy-sso/gateway/refusal"
)

func TestSignIn(t *testing.T) {
	t.Parallel()
	eachProtocol(t, func(t *testing.T, l *lab) {
		s := l.site()
		b := s.browser()
		w := b.open("/deep/page?x=1")
		if s.reached() > 0 || w.Header().Get("Cache-Control") != "no-store" {
			t.Fatalf("without a session the app was reached, or the answer may be kept: %v", w.Header())
		}
		brought := l.idp.answer(t, w, "alice")
		w = b.bring(brought)
		wantRedirect(t, w, "https://app.example/deep/page?x=1")
		if w.Header().Get("Cache-Control") != "no-store" || w.Header().Get("Referrer-Policy") != "no-referrer" {
			t.Errorf("the response to the answer: %v", w.Header())
		}
		wantStatus(t, b.open("/deep/page?x=1"), http.StatusOK)
		if got := s.got(); got.principal == nil || got.principal.Username != "alice" || got.header.Get("Remote-User") != "alice" {
			t.Errorf("the app was told %+v", got)
		}
		begun, asked := l.idp.begun, l.idp.asked
		at, params := "https://app.example/.sso/oidc/callback", brought.form
		if params != nil {
			at = "https://app.example/.sso/saml/acs"
		}
		want := provider.BeginRequest{State: begun[0].State, CallbackURL: at, MetadataURL: "https://app.example/.sso/saml/metadata"}
		if len(begun) != 1 || begun[0] != want || len(want.State) != 43 {
			t.Errorf("begun %+v", begun)
		}
		if len(asked) != 1 || asked[0].CallbackURL != at || asked[0].MetadataURL != want.MetadataURL || params != nil && asked[0].Params.Encode() != params.Encode() {
			t.Errorf("asked to verify %+v", asked)
		}
		wantKept(t, l, 1, 1, 0)
		events := l.seen()
		event := gateway.Event{Type: gateway.EventLogin, App: appHost, Provider: "corp", Username: "alice", Addr: clientAddr, Host: appHost, Roles: []string{"Admin", "User"}, AppGroups: []string{"admins"}, Groups: 2}
		if len(events) != 1 || fmt.Sprintf("%+v", events[0]) != fmt.Sprintf("%+v", event) {
			t.Errorf("events %+v", events)
		}
	})
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
			s := l.siteAt(l.gateway(), tc.host, gateway.Hosts{Any: true, Scheme: "https"}, func(o *gateway.AppOptions) { *o = tc.opts })
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
			r := b.request(http.MethodGet, l.idp.answer(t, w, "alice").target, navigating...)
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

// However many logins a browser starts, it keeps two cookies at most, and the app
// sees neither.
func TestCookiesAreBoundedAndKept(t *testing.T) {
	t.Parallel()
	s := newLab(t).site(public("/public"))
	b := s.browser()
	var callbacks []answer
	for i := range 20 {
		callbacks = append(callbacks, b.begin(fmt.Sprintf("/%d", i)))
	}
	if got := b.jar.Cookies(b.url(appHost)); len(got) != 1 {
		t.Errorf("after twenty logins begun the browser has the cookies %v", got)
	}
	for i, callback := range callbacks {
		wantRedirect(t, b.bring(callback), fmt.Sprintf("https://app.example/%d", i))
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
		wantRefused(t, s.browser().fetch("/", "Cookie", cookie), refusal.Unauthenticated)
		if s.reached() > 0 {
			t.Fatalf("%s: let in", name)
		}
	}
	for _, host := range []string{"other.example", "app.example.evil.example"} {
		r := b.request(http.MethodGet, "/")
		r.Host = host // with the cookie of this one
		wantRefused(t, s.serve(r, false), refusal.Unauthenticated)
	}
	wantStatus(t, b.open("/"), http.StatusOK)
}

func TestNewSessionAtEachLogin(t *testing.T) {
	t.Parallel()
	l := newLab(t)
	s := l.site()
	seen := map[string]bool{}
	b := s.browser()
	for range 3 {
		callback := b.begin("/")
		r := b.bringing(callback)
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
		wantRefused(t, s.browser().fetch("/", "Cookie", "__Host-sso="+old), refusal.Unauthenticated)
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
		"answering":         b.bringing(callback),
	} {
		ctx, cancel := context.WithCancel(r.Context())
		cancel()
		node := fresh.site()
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
