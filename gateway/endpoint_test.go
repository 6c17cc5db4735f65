package gateway_test

import (
	"encoding/json"
	"errors"
	"fmt"
	"maps"
	"net/http"
	"net/http/httptest"
	"net/url"
	"slices"
	"strings"
	"testing"
	"testing/synctest"
	"time"

	"github.com/caddy-sso/caddy-sso/gateway"
)

// HEAD is answered as GET is, without a body.
func TestHead(t *testing.T) {
	t.Parallel()
	s := newLab(t).site()
	b := s.browser()
	b.signIn()
	for _, path := range []string{"/.sso/login", "/.sso/session", "/.sso/logout", "/.sso/logged-out", "/.sso/jwks.json", "/.sso/assets/style.css", "/.sso/nothing", "/.sso/login?provider=x"} {
		for _, accept := range []string{"text/html", "application/json"} {
			get := b.send(b.request(http.MethodGet, path, "Accept", accept))
			head := b.send(b.request(http.MethodHead, path, "Accept", accept))
			if head.Code != get.Code || head.Body.Len() > 0 {
				t.Errorf("HEAD %s: status %d with %d bytes, GET has %d", path, head.Code, head.Body.Len(), get.Code)
			}
			if h, g := head.Header(), get.Header(); h.Get("Content-Type") != g.Get("Content-Type") || h.Get("Cache-Control") != g.Get("Cache-Control") || h.Get("Location") != g.Get("Location") {
				t.Errorf("HEAD %s: headers %v, GET has %v", path, h, g)
			}
		}
	}
}

func TestUnknownEndpoints(t *testing.T) {
	t.Parallel()
	l := newLab(t)
	s := l.site(public("/*"))
	b := s.browser()
	for _, path := range []string{
		"/.sso", "/.sso/", "/.sso/x", "/.sso/login/", "/.sso/login/x", "/.sso/Login", "/.sso//login", "/.sso/./login", "/.sso/%6cogin", "/.sso/oidc", "/.sso/oidc/callback/",
		"/.sso/session.json", "/.sso/..", "/.sso/../", "/.sso/logout;x", "/.sso/login%00", "/.sso/.sso/login",
	} {
		w := b.open(path)
		wantRefused(t, w, gateway.CodeNotFound)
	}
	for _, path := range []string{"/.sso/assets/", "/.sso/assets/nothing", "/.sso/assets/../login", "/.sso/assets/%2e%2e/pages.go", "/.sso/assets/style.css/"} {
		wantStatus(t, b.open(path), http.StatusNotFound)
	}
	if s.reached() > 0 {
		t.Error("the app was reached")
	}
	// These are the app's, and private ones at that, but for the public pattern.
	for path, private := range map[string]bool{"/.ssox": false, "/.SSO/login": false, "/x/.sso/login": false, "//.sso/login": true, "/%2esso/login": true, "/x/../.sso/login": true} {
		before := s.reached()
		w := b.fetch(path)
		if private {
			wantRefused(t, w, gateway.CodeUnauthenticated)
		} else if s.reached() != before+1 {
			t.Errorf("%s did not reach the app", path)
		}
	}
}

func TestOwnPrefixAndCallback(t *testing.T) {
	t.Parallel()
	l := newLab(t)
	s := l.site(func(o *gateway.AppOptions) { o.Prefix, o.CallbackPath = "/auth/gate", "/auth/sso" })
	b := s.browser()
	callback := b.begin("/wanted")
	if !strings.HasPrefix(callback, "/auth/sso?") {
		t.Fatalf("callback %q", callback)
	}
	wantRefused(t, b.open(strings.Replace(callback, "/auth/sso", "/auth/gate/oidc/callback", 1)), gateway.CodeNotFound)
	wantRedirect(t, b.open(callback), "https://app.example/wanted")
	for _, path := range []string{"/auth/sso/reset", "/auth/sso/", "/auth/sso/corp/x", "/auth/ssox"} {
		wantStatus(t, b.open(path), http.StatusOK)
		if s.got().path != path {
			t.Errorf("%s did not reach the app", path)
		}
	}
	wantStatus(t, b.fetch("/auth/gate/session"), http.StatusOK)
	wantStatus(t, b.open("/.sso/session"), http.StatusOK)
	if s.got().path != "/.sso/session" {
		t.Error("/.sso/ is the app's if the prefix is another")
	}
	wantRedirect(t, b.post("/auth/gate/logout"), "https://app.example/auth/gate/logged-out")
	for _, bad := range []string{"auth", "/auth/", "/", "/a b", "/a%20b", "/a/../b", "/a/*", "//a", "/a;b"} {
		if _, err := l.gateway().NewApp(gateway.AppOptions{Rules: everyone, Prefix: bad}); err == nil {
			t.Errorf("prefix %q was taken", bad)
		}
		if _, err := l.gateway().NewApp(gateway.AppOptions{Rules: everyone, CallbackPath: bad}); err == nil {
			t.Errorf("callback path %q was taken", bad)
		}
	}
}

func TestSessionEndpoint(t *testing.T) {
	t.Parallel()
	synctest.Test(t, func(t *testing.T) {
		l := newLab(t)
		s := l.site(func(o *gateway.AppOptions) { o.Rules.Template = append(o.Rules.Template, line("Editor", "staff")) })
		b := s.browser()
		b.signIn()
		began := time.Now().UTC()
		time.Sleep(time.Minute)
		wantStatus(t, b.open("/"), http.StatusOK)
		p := s.got().principal
		w := b.fetch("/.sso/session")
		wantStatus(t, w, http.StatusOK)
		if h := w.Header(); h.Get("Content-Type") != "application/json" || h.Get("Cache-Control") != "no-store" || h.Get("X-Content-Type-Options") != "nosniff" {
			t.Errorf("headers %v", h)
		}
		var got map[string]any
		if err := json.Unmarshal(w.Body.Bytes(), &got); err != nil {
			t.Fatal(err)
		}
		want := map[string]any{
			"username": "alice", "email": "alice@corp.example", "name": "Alice Example", "roles": "[Admin User]", "groups": "[admins staff]",
			"template": "Editor", "provider": "corp", "account": p.Account, "session": p.SessionID,
			"since": began.Format(time.RFC3339), "expires": began.Add(8 * time.Hour).Format(time.RFC3339),
		}
		if !maps.EqualFunc(got, want, func(a, b any) bool { return fmt.Sprint(a) == fmt.Sprint(b) }) {
			t.Errorf("session\n%v\nwant\n%v", got, want)
		}
		if body := w.Body.String(); strings.Contains(body, b.cookie("__Host-sso")) || strings.Contains(body, "hint-") {
			t.Error("the answer has a secret in it")
		}

		page := b.open("/.sso/session")
		wantStatus(t, page, http.StatusOK)
		if h := page.Header(); !strings.HasPrefix(h.Get("Content-Type"), "text/html") || h.Get("Cache-Control") != "no-store" || !strings.Contains(h.Get("Content-Security-Policy"), "default-src 'none'") {
			t.Errorf("headers %v", h)
		}
		for _, want := range []string{"alice", "Admin", "Editor", "/.sso/logout"} {
			if !strings.Contains(page.Body.String(), want) {
				t.Errorf("the page does not say %q", want)
			}
		}

		// Who is signed in but denied here is told so.
		denied := b.at(l.siteOf(l.gateway(), appHost, func(o *gateway.AppOptions) { o.Rules = mappingFor("nobody") }))
		wantRefused(t, denied.fetch("/.sso/session"), gateway.CodeAccessDenied)
		w = denied.open("/.sso/session")
		wantRefused(t, w, gateway.CodeAccessDenied)
		if body := w.Body.String(); !strings.Contains(body, "alice") || !strings.Contains(body, "/.sso/logout") {
			t.Error("the page does not say who is signed in, or offers no way out")
		}
	})
}

func TestChooser(t *testing.T) {
	t.Parallel()
	l := newLab(t)
	second := newFakeIDP("https://second.example")
	g := l.gateway(func(o *gateway.Options) {
		o.Providers = append(o.Providers, gateway.NamedProvider{Name: "second", DisplayName: "Second <b>", Provider: second})
	})
	s := l.siteOf(g, appHost)
	b := s.browser()
	w := b.open("/deep?a=b&c")
	wantRedirect(t, w, "https://app.example/.sso/login?return="+url.QueryEscape("/deep?a=b&c"))
	w = b.open(strings.TrimPrefix(w.Header().Get("Location"), "https://app.example"))
	wantStatus(t, w, http.StatusOK)
	body := w.Body.String()
	if !strings.Contains(body, "Corp") || !strings.Contains(body, "Second &lt;b&gt;") || strings.Contains(body, "Second <b>") {
		t.Errorf("chooser\n%s", body)
	}
	if len(w.Header()["Set-Cookie"]) > 0 || l.store.written() > 0 {
		t.Error("showing the chooser began something")
	}
	target := "/.sso/login?provider=second&return=" + url.QueryEscape("/deep?a=b&c")
	if !strings.Contains(body, strings.ReplaceAll(target, "&", "&amp;")) {
		t.Errorf("chooser has no link %s\n%s", target, body)
	}
	w = b.open(target)
	wantStatus(t, w, http.StatusSeeOther)
	wantRedirect(t, b.open(second.visit(t, w.Header().Get("Location"), "alice")), "https://app.example/deep?a=b&c")
	wantStatus(t, b.open("/"), http.StatusOK)
	if got := s.got().principal.Provider; got != "second" {
		t.Errorf("signed in by %q", got)
	}
	stranger := s.browser()
	for _, name := range []string{"nobody", "CORP", "corp ", "../corp"} {
		wantRefused(t, stranger.open("/.sso/login?"+url.Values{"provider": {name}}.Encode()), gateway.CodeProviderUnknown)
	}

	// The same with a provider to go to straight away, or none although one
	// is all there is.
	auto := l.siteOf(l.gateway(func(o *gateway.Options) {
		o.Providers = append(o.Providers, gateway.NamedProvider{Name: "second", Provider: second})
	}), appHost, func(o *gateway.AppOptions) { o.Autologin = "second" })
	if w := auto.browser().open("/"); !strings.HasPrefix(w.Header().Get("Location"), "https://second.example/authorize?") {
		t.Errorf("autologin led to %q", w.Header().Get("Location"))
	}
	off := l.siteOf(l.gateway(), appHost, func(o *gateway.AppOptions) { o.Autologin = "off" })
	wantRedirect(t, off.browser().open("/"), "https://app.example/.sso/login?return=%2F")
	wantStatus(t, off.browser().open("/.sso/login"), http.StatusOK)
}

// The chooser remembers where a login last succeeded.
func TestChooserRemembers(t *testing.T) {
	t.Parallel()
	l := newLab(t)
	second := newFakeIDP("https://second.example")
	s := l.siteOf(l.gateway(func(o *gateway.Options) {
		o.Providers = append(o.Providers, gateway.NamedProvider{Name: "second", DisplayName: "Second", Provider: second})
	}), appHost)
	chooser := func(b *browser) string {
		t.Helper()
		w := b.open("/.sso/login")
		wantStatus(t, w, http.StatusOK)
		return w.Body.String()
	}
	wantOrder := func(body string, marked bool, labels ...string) {
		t.Helper()
		at := -1
		for _, label := range labels {
			next := strings.Index(body, "<bdi>"+label+"</bdi>")
			if next <= at {
				t.Errorf("not in the order %q:\n%s", labels, body)
			}
			at = next
		}
		mark, first := strings.Index(body, "Last used"), strings.Index(body, "</a>")
		if (mark >= 0) != marked || mark > first || strings.Count(body, "Last used") > 1 {
			t.Errorf("the mark is not at the first:\n%s", body)
		}
	}
	b := s.browser()
	wantOrder(chooser(b), false, "Corp", "Second")

	w := b.open("/.sso/login?provider=second")
	wantStatus(t, w, http.StatusSeeOther)
	wantOrder(chooser(b), false, "Corp", "Second") // begun is not signed in
	w = b.open(second.visit(t, w.Header().Get("Location"), "alice"))
	wantStatus(t, w, http.StatusSeeOther)
	cookies := w.Header()["Set-Cookie"]
	if i := slices.IndexFunc(cookies, func(c string) bool { return strings.HasPrefix(c, "__Host-sso-p=") }); i < 0 ||
		cookies[i] != "__Host-sso-p=second; Path=/; Max-Age=31536000; HttpOnly; Secure; SameSite=Lax" {
		t.Errorf("cookies %q", cookies)
	}
	wantStatus(t, b.open("/"), http.StatusOK)
	if got := s.got().header.Get("Cookie"); got != "" {
		t.Errorf("the app saw %q", got)
	}
	wantStatus(t, b.post("/.sso/logout"), http.StatusSeeOther)
	wantOrder(chooser(b), true, "Second", "Corp")
	// It is no more than a label: nobody is sent anywhere by it.
	wantRedirect(t, b.open("/"), "https://app.example/.sso/login?return=%2F")

	for _, value := range []string{"", "nobody", "SECOND", "second ", "%73econd", `"second"`, "second,corp", "<b>", strings.Repeat("second", 1000)} {
		r := s.browser().request(http.MethodGet, "/.sso/login", append([]string{"Cookie", "__Host-sso-p=" + value}, navigating...)...)
		body := s.serve(r, false).Body.String()
		wantOrder(body, value == "second ", map[bool][]string{true: {"Second", "Corp"}, false: {"Corp", "Second"}}[value == "second "]...)
	}

	// Where there is nothing to choose there is nothing to remember.
	alone := l.site().browser()
	if alone.signIn(); alone.cookie("__Host-sso-p") != "" {
		t.Error("the only provider was remembered")
	}
}

// A visitor without a session goes straight to the provider, or is asked.
func TestAutologin(t *testing.T) {
	t.Parallel()
	for name, tc := range map[string]struct {
		autologin string
		providers int
		chooser   bool
		at        string
	}{
		"A5 the only provider":               {"", 1, false, "https://id.example/"},
		"A5 one of two, named":               {"second", 2, false, "https://second.example/"},
		"A5 two, none named: the login page": {"", 2, true, ""},
		"A5 off: the login page":             {"off", 1, true, ""},
	} {
		t.Run(name, func(t *testing.T) {
			t.Parallel()
			l := newLab(t)
			g := l.gateway(func(o *gateway.Options) {
				all := append(o.Providers, gateway.NamedProvider{Name: "second", Provider: newFakeIDP("https://second.example")})
				o.Providers = all[:tc.providers]
			})
			b := l.siteOf(g, appHost, func(o *gateway.AppOptions) { o.Autologin = tc.autologin }).browser()
			w := b.open("/wanted")
			wantStatus(t, w, http.StatusSeeOther)
			if !tc.chooser {
				if at := w.Header().Get("Location"); !strings.HasPrefix(at, tc.at) {
					t.Errorf("sent to %q", at)
				}
				return
			}
			wantRedirect(t, w, "https://app.example/.sso/login?return=%2Fwanted")
			w = b.open("/.sso/login?return=%2Fwanted")
			wantStatus(t, w, http.StatusOK)
			if body := w.Body.String(); !strings.Contains(body, "Sign in with <bdi>Corp</bdi>") {
				t.Errorf("the login page:\n%s", body)
			}
			if begun, _ := l.idp.counts(); begun > 0 {
				t.Error("a login was begun")
			}
		})
	}
}

func TestLogout(t *testing.T) {
	t.Parallel()
	l := newLab(t)
	s := l.site()
	b := s.browser()
	wantRedirect(t, b.open("/.sso/logout"), "https://app.example/.sso/logged-out")
	wantRedirect(t, b.post("/.sso/logout"), "https://app.example/.sso/logged-out")
	b.signIn()
	stolen := b.cookie("__Host-sso")

	// GET asks.
	for _, method := range []string{http.MethodGet, http.MethodHead} {
		w := b.send(b.request(method, "/.sso/logout", navigating...))
		wantStatus(t, w, http.StatusOK)
		if len(w.Header()["Set-Cookie"]) > 0 {
			t.Errorf("%s changed a cookie", method)
		}
	}
	wantStatus(t, b.open("/"), http.StatusOK)
	body := b.open("/.sso/logout").Body.String()
	for _, want := range []string{`method="post"`, `action="/.sso/logout"`, "alice"} {
		if !strings.Contains(body, want) {
			t.Errorf("the page has no %s:\n%s", want, body)
		}
	}

	w := b.post("/.sso/logout")
	wantRedirect(t, w, "https://app.example/.sso/logged-out")
	if c := onlyCookie(t, w); c != "__Host-sso=; Path=/; Max-Age=0; HttpOnly; Secure; SameSite=Lax" {
		t.Errorf("cookie %q", c)
	}
	r := httptest.NewRequest(http.MethodGet, "/", nil)
	r.Host = appHost
	r.Header.Set("Cookie", "__Host-sso="+stolen)
	wantRefused(t, s.serve(r, false), gateway.CodeUnauthenticated)
	wantKept(t, l, 1, 0, 0)
	ev := l.seen()
	if last := ev[len(ev)-1]; last.Type != gateway.EventLogout || last.Username != "alice" || last.Provider != "corp" {
		t.Errorf("events %+v", ev)
	}
	page := b.open("/.sso/logged-out")
	wantStatus(t, page, http.StatusOK)
	if page.Header().Get("Cache-Control") != "no-store" {
		t.Errorf("headers %v", page.Header())
	}
}

// A login that this app takes no more, because its own limit has passed, can
// still be ended here.
func TestLogoutOfOverdueLogin(t *testing.T) {
	t.Parallel()
	synctest.Test(t, func(t *testing.T) {
		l := newLab(t)
		s := l.site(func(o *gateway.AppOptions) { o.Lifetime = time.Hour })
		b := s.browser()
		b.signIn()
		time.Sleep(2 * time.Hour)
		wantRefused(t, b.fetch("/"), gateway.CodeUnauthenticated)
		wantStatus(t, b.open("/.sso/logout"), http.StatusOK)
		wantStatus(t, b.post("/.sso/logout"), http.StatusSeeOther)
		wantKept(t, l, 1, 0, 0)
	})
}

func TestLogoutCSRF(t *testing.T) {
	t.Parallel()
	for name, tc := range map[string]struct {
		header []string
		ends   bool
	}{
		"same origin":                 {[]string{"Sec-Fetch-Site", "same-origin"}, true},
		"typed in":                    {[]string{"Sec-Fetch-Site", "none"}, true},
		"an old browser, own origin":  {[]string{"Origin", "https://app.example"}, true},
		"no browser":                  {nil, true},
		"cross-site":                  {[]string{"Sec-Fetch-Site", "cross-site"}, false},
		"cross-site, forged origin":   {[]string{"Sec-Fetch-Site", "cross-site", "Origin", "https://app.example"}, false},
		"another name of the site":    {[]string{"Sec-Fetch-Site", "same-site", "Origin", "https://other.example"}, false},
		"an old browser, foreign":     {[]string{"Origin", "https://evil.example"}, false},
		"an old browser, null origin": {[]string{"Origin", "null"}, false},
		"another port":                {[]string{"Origin", "https://app.example:8443"}, false},
	} {
		t.Run(name, func(t *testing.T) {
			t.Parallel()
			l := newLab(t)
			b := l.site().browser()
			b.signIn()
			w := b.send(b.request(http.MethodPost, "/.sso/logout", append([]string{"Accept", "text/html"}, tc.header...)...))
			if tc.ends {
				wantStatus(t, w, http.StatusSeeOther)
				wantKept(t, l, 1, 0, 0)
				return
			}
			wantRefused(t, w, gateway.CodeCrossSite)
			if len(w.Header()["Set-Cookie"]) > 0 {
				t.Error("a cookie was changed")
			}
			wantStatus(t, b.open("/"), http.StatusOK)
		})
	}
}

func TestProviderLogout(t *testing.T) {
	t.Parallel()
	for name, tc := range map[string]struct {
		url  string
		err  error
		want string
	}{
		"ends there too":           {"https://id.example/logout?hint=1", nil, "https://id.example/logout?hint=1"},
		"offers no such thing":     {"", nil, "https://app.example/.sso/logged-out"},
		"can't be reached for it":  {"", errors.New("down"), "https://app.example/.sso/logged-out"},
		"can't be reached, hangs":  {"", errHang, "https://app.example/.sso/logged-out"},
		"can't be reached, by URL": {"https://id.example/logout", gateway.NewError(gateway.CodeProviderUnavailable, nil), "https://app.example/.sso/logged-out"},
	} {
		t.Run(name, func(t *testing.T) {
			t.Parallel()
			synctest.Test(t, func(t *testing.T) {
				l := newLab(t)
				var asked []gateway.LogoutRequest
				s := l.siteOf(l.gateway(func(o *gateway.Options) {
					o.Providers[0].Provider = leavingIDP{l.idp, func(req gateway.LogoutRequest) (string, error) {
						asked = append(asked, req)
						return tc.url, tc.err
					}}
				}), appHost)
				b := s.browser()
				b.signIn()
				began := time.Now()
				page := b.open("/.sso/logout")
				wantStatus(t, page, http.StatusOK)
				if policy := page.Header().Get("Content-Security-Policy"); !strings.Contains(policy, "form-action 'self';") {
					t.Errorf("policy %q", policy)
				}
				w := b.post("/.sso/logout")
				if tc.want == tc.url {
					// No redirect, which form-action would stop in Chromium.
					wantStatus(t, w, http.StatusOK)
					if body := w.Body.String(); !strings.Contains(body, `content="0; url=`+tc.want+`"`) || !strings.Contains(body, `href="`+tc.want+`"`) {
						t.Errorf("the page does not lead to %s:\n%s", tc.want, body)
					}
					if c := onlyCookie(t, w); !strings.HasPrefix(c, "__Host-sso=;") {
						t.Errorf("cookie %q", c)
					}
				} else {
					wantRedirect(t, w, tc.want)
				}
				if w.Header().Get("Cache-Control") != "no-store" {
					t.Errorf("headers %v", w.Header())
				}
				wantKept(t, l, 1, 0, 0)
				if took := time.Since(began); took > 10*time.Second {
					t.Errorf("a provider that hangs held the logout up for %v", took)
				}
				for _, req := range asked {
					if req.Hint != "hint-alice" || req.ReturnURL != "https://app.example/.sso/logged-out" {
						t.Errorf("the provider was asked %+v", req)
					}
				}
				if len(asked) != 2 {
					t.Errorf("the provider was asked %d times", len(asked))
				}
			})
		})
	}
}

func TestJWKS(t *testing.T) {
	t.Parallel()
	l := newLab(t)
	b := l.site().browser()
	w := b.fetch("/.sso/jwks.json")
	wantStatus(t, w, http.StatusOK)
	if h := w.Header(); h.Get("Content-Type") != "application/jwk-set+json" || h.Get("Cache-Control") != "public, max-age=300" || h.Get("X-Content-Type-Options") != "nosniff" {
		t.Errorf("headers %v", h)
	}
	if got := w.Body.String(); got != `{"keys":[]}` {
		t.Errorf("body %q", got)
	}
	l.signer.setErr(errors.New("no key yet"))
	w = b.fetch("/.sso/jwks.json")
	wantRefused(t, w, gateway.CodeStoreUnavailable)
	if w.Header().Get("Retry-After") == "" {
		t.Error("no Retry-After")
	}
}

func TestAssets(t *testing.T) {
	t.Parallel()
	b := newLab(t).site().browser()
	w := b.open("/.sso/assets/style.css")
	wantStatus(t, w, http.StatusOK)
	if !strings.HasPrefix(w.Header().Get("Content-Type"), "text/css") || w.Body.Len() == 0 {
		t.Errorf("headers %v, %d bytes", w.Header(), w.Body.Len())
	}
}

func TestQueryLimits(t *testing.T) {
	t.Parallel()
	l := newLab(t)
	s := l.site()
	b, signedIn := s.browser(), s.browser()
	signedIn.signIn()
	writes := l.store.written()
	for name, tc := range map[string]struct {
		query string
		code  gateway.Code
	}{
		"huge":          {"a=" + strings.Repeat("a", 64<<10), gateway.CodeTooLarge},
		"huge, no name": {strings.Repeat("&", 65<<10), gateway.CodeTooLarge},
		"semicolon":     {"provider=corp;return=/", gateway.CodeBadRequest},
		"bad escape":    {"return=%zz", gateway.CodeBadRequest},
		"cut escape":    {"return=%2", gateway.CodeBadRequest},
	} {
		for _, path := range []string{"/.sso/login", "/.sso/oidc/callback"} {
			for _, b := range []*browser{b, signedIn} {
				w := b.open(path + "?" + tc.query)
				if codeIn(w) != tc.code {
					t.Errorf("%s %s: code %q (%d), want %q", name, path, codeIn(w), w.Code, tc.code)
				}
			}
		}
	}
	if l.store.written() != writes {
		t.Error("something was written")
	}
	// The app's own queries are its own business.
	for _, query := range []string{"a;b", "%zz", strings.Repeat("a", 64<<10)} {
		r := signedIn.request(http.MethodGet, "/")
		r.URL.RawQuery, r.RequestURI = query, "/?"+query
		wantStatus(t, s.serve(r, false), http.StatusOK)
	}
}
