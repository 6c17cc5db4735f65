package gateway_test

import (
	"net/http"
	"strings"
	"testing"

	"github.com/caddy-sso/caddy-sso/gateway"
	"github.com/caddy-sso/caddy-sso/gateway/pages"
	"github.com/caddy-sso/caddy-sso/gateway/refusal"
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
	s := l.site(protect("/shut/*"))
	b := s.browser()
	for _, path := range []string{
		"/.sso", "/.sso/", "/.sso/x", "/.sso/login/", "/.sso/login/x", "/.sso/Login", "/.sso//login", "/.sso/./login", "/.sso/%6cogin", "/.sso/oidc", "/.sso/oidc/callback/",
		"/.sso/session.json", "/.sso/..", "/.sso/../", "/.sso/logout;x", "/.sso/login%00", "/.sso/.sso/login",
	} {
		w := b.open(path)
		wantRefused(t, w, refusal.NotFound)
	}
	for _, path := range []string{"/.sso/assets/", "/.sso/assets/nothing", "/.sso/assets/../login", "/.sso/assets/%2e%2e/pages.go", "/.sso/assets/style.css/"} {
		wantStatus(t, b.open(path), http.StatusNotFound)
	}
	if s.reached() > 0 {
		t.Error("the app was reached")
	}
	// These are the app's, and private ones at that, but that only /shut is protected.
	for path, private := range map[string]bool{"/.ssox": false, "/.SSO/login": false, "/x/.sso/login": false, "//.sso/login": true, "/%2esso/login": true, "/x/../.sso/login": true} {
		before := s.reached()
		w := b.fetch(path)
		if private {
			wantRefused(t, w, refusal.Unauthenticated)
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
	callback := b.begin("/wanted").target
	if !strings.HasPrefix(callback, "/auth/sso?") {
		t.Fatalf("callback %q", callback)
	}
	wantRefused(t, b.open(strings.Replace(callback, "/auth/sso", "/auth/gate/oidc/callback", 1)), refusal.NotFound)
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

// TestBrand: each site has its own name and logo on our pages.
func TestBrand(t *testing.T) {
	t.Parallel()
	logo, err := pages.NewLogo([]byte(`<svg xmlns="http://www.w3.org/2000/svg"/>`))
	mustDo(t, err)
	l := newLab(t)
	branded := l.site(func(o *gateway.AppOptions) {
		o.Brand, o.Autologin = pages.Brand{Title: "Team wiki", Logo: logo, Help: "it@example.com"}, "off"
	}).browser()
	plain := l.siteOf(l.gateway(), "other.example.com", func(o *gateway.AppOptions) { o.Autologin = "off" }).browser()
	for b, want := range map[*browser]int{branded: http.StatusOK, plain: http.StatusNotFound} {
		page := b.open("/.sso/login").Body.String()
		for _, part := range []string{"Team wiki", "/.sso/assets/logo?v=", "mailto:it@example.com"} {
			if strings.Contains(page, part) != (want == http.StatusOK) {
				t.Errorf("%s: %t in %s", part, want != http.StatusOK, page)
			}
		}
		wantStatus(t, b.open("/.sso/assets/logo"), want)
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
		code  refusal.Code
	}{
		"huge":          {"a=" + strings.Repeat("a", 64<<10), refusal.TooLarge},
		"huge, no name": {strings.Repeat("&", 65<<10), refusal.TooLarge},
		"semicolon":     {"provider=corp;return=/", refusal.BadRequest},
		"bad escape":    {"return=%zz", refusal.BadRequest},
		"cut escape":    {"return=%2", refusal.BadRequest},
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
