package gateway_test

import (
	"errors"
	"net/http"
	"net/http/httptest"
	"strings"
	"sync/atomic"
	"testing"
	"testing/synctest"
	"time"

	"github.com/caddy-sso/caddy-sso/gateway"
	"github.com/caddy-sso/caddy-sso/gateway/gatewaytest"
	"github.com/caddy-sso/caddy-sso/gateway/provider"
	"github.com/caddy-sso/caddy-sso/gateway/refusal"
	"github.com/caddy-sso/caddy-sso/gateway/session"
)

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
	wantRefused(t, s.browser().fetch("/", "Cookie", "__Host-sso="+stolen), refusal.Unauthenticated)
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
		wantRefused(t, b.fetch("/"), refusal.Unauthenticated)
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
			wantRefused(t, w, refusal.CrossSite)
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
		"can't be reached, by URL": {"https://id.example/logout", refusal.New(refusal.ProviderUnavailable, nil), "https://app.example/.sso/logged-out"},
	} {
		t.Run(name, func(t *testing.T) {
			t.Parallel()
			synctest.Test(t, func(t *testing.T) {
				l := newLab(t)
				var asked []provider.LogoutRequest
				s := l.siteOf(l.gateway(func(o *gateway.Options) {
					o.Providers[0].Provider = leavingIDP{l.idp, func(req provider.LogoutRequest) (string, error) {
						asked = append(asked, req)
						return tc.url, tc.err
					}}
				}), appHost)
				b := s.browser()
				b.signIn()
				began := time.Now()
				page := b.open("/.sso/logout")
				wantStatus(t, page, http.StatusOK)
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

// TestLogoutForgetsPages: the pages after a logout bring an image that has the browser
// forget the app's pages. A script that signs out sees no page: its answer says so.
func TestLogoutForgetsPages(t *testing.T) {
	t.Parallel()
	s := newLab(t).site()
	const image, header, cache = "/.sso/logged-out/forget", "Clear-Site-Data", `"cache"`
	b := s.browser()
	b.signIn()
	w := b.post("/.sso/logout", "Sec-Fetch-Mode", "navigate")
	if w.Header().Get(header) != "" {
		t.Error("the person waits until the cache is cleared")
	}
	if page := b.open("/.sso/logged-out"); !strings.Contains(page.Body.String(), `src="`+image+`"`) || page.Header().Get(header) != "" {
		t.Errorf("%s: %s", page.Header().Get(header), page.Body)
	}
	for _, from := range [][]string{{"Sec-Fetch-Site", "same-origin"}, nil} {
		w := b.send(b.request(http.MethodGet, image, from...))
		wantStatus(t, w, http.StatusOK)
		if w.Header().Get(header) != cache || w.Header().Get("Cache-Control") != "no-store" || w.Header().Get("Content-Type") != "image/svg+xml" {
			t.Errorf("the image has %v", w.Header())
		}
	}
	for _, site := range []string{"cross-site", "same-site", "none"} {
		w := b.send(b.request(http.MethodGet, image, "Sec-Fetch-Site", site))
		wantRefused(t, w, refusal.CrossSite)
		if w.Header().Get(header) != "" {
			t.Errorf("%s: any page can have this site's cache cleared", site)
		}
	}
	for range 2 { // signed in, and not any more
		script := s.browser()
		script.signIn()
		if got := script.post("/.sso/logout", "Sec-Fetch-Mode", "cors").Header().Get(header); got != cache {
			t.Errorf("%s is %q", header, got)
		}
		if got := script.post("/.sso/logout", "Sec-Fetch-Mode", "cors").Header().Get(header); got != cache {
			t.Errorf("%s is %q", header, got)
		}
	}
	// Somebody else signs in.
	c := s.browser()
	c.signIn()
	w = c.post("/.sso/login?as=other&provider=corp&return=%2F")
	w = c.bring(c.idp.answer(t, w, "bob"))
	wantRedirect(t, w, "https://app.example/")
	if got := w.Header().Get(header); got != cache {
		t.Errorf("%s is %q", header, got)
	}
}

// A logout that the store did not announce is answered 503, and so is its retry,
// which finds no login any more: until the other nodes have heard of it.
func TestLogoutAgain(t *testing.T) {
	t.Parallel()
	l := newLab(t)
	other := newLabOn(t, l.store)
	b := l.site().browser()
	b.signIn()
	stolen := b.cookie("__Host-sso")
	there := &browser{site: other.site(), jar: b.jar}
	wantStatus(t, there.fetch("/"), http.StatusOK)
	var deaf atomic.Bool
	l.store.SetHook(func(op gatewaytest.MemOp) error {
		if op.Method == "Announce" && deaf.Load() {
			return gatewaytest.ErrFault
		}
		return nil
	})
	deaf.Store(true)
	for try := range 3 {
		w := b.post("/.sso/logout")
		wantRefused(t, w, refusal.StoreUnavailable)
		if len(w.Header()["Set-Cookie"]) > 0 {
			t.Errorf("try %d takes the cookie away, so that no other try can name the login", try)
		}
	}
	wantRefused(t, b.fetch("/"), refusal.Unauthenticated)
	deaf.Store(false)
	wantRedirect(t, b.post("/.sso/logout"), "https://app.example/.sso/logged-out")
	eventually(t, "the other node refuses the cookie", func() bool {
		return there.fetch("/", "Cookie", "__Host-sso="+stolen).Code == http.StatusUnauthorized
	})
}

// TestLogoutOfOldCookieIsLimited holds that a cookie whose login is over does not have
// the nodes work without end, and that one which was never made has them do nothing.
func TestLogoutOfOldCookieIsLimited(t *testing.T) {
	t.Parallel()
	l := newLab(t)
	s := limitedSite(l, session.Limit{Requests: 5})
	b := s.browser()
	b.signIn()
	old := b.cookie("__Host-sso")
	wantRedirect(t, b.post("/.sso/logout"), "https://app.example/.sso/logged-out")
	again := func(cookie string) *httptest.ResponseRecorder {
		return s.browser().post("/.sso/logout", "Cookie", "__Host-sso="+cookie)
	}
	forged := strings.Repeat("A", len(old))
	for range 20 {
		written := l.store.written()
		wantRedirect(t, again(forged), "https://app.example/.sso/logged-out")
		if n := l.store.written() - written; n > 0 {
			t.Fatalf("a cookie that nobody made costs %d writes", n)
		}
	}
	refused := 0
	for range 20 {
		if codeIn(again(old)) == refusal.TooManyAttempts {
			refused++
		}
	}
	if refused != 15 {
		t.Errorf("%d of 20 are refused, want 15", refused)
	}
}
