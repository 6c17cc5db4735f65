package pages_test

import (
	"net/http"
	"net/http/httptest"
	"strings"
	"testing"

	"github.com/caddy-sso/caddy-sso/gateway"
)

func TestPageHeaders(t *testing.T) {
	t.Parallel()
	rd := newRenderer(t)
	const policy = "default-src 'none'; style-src 'self'; img-src 'self'; %; frame-ancestors 'none'; base-uri 'none'"
	for name, page := range examples() {
		own := "form-action 'none'"
		switch name {
		case "logout", "logout_nobody":
			own = "form-action 'self'"
		case "logout_at_provider":
			own = "form-action 'self' https://id.example.com"
		case "form", "repost": // may be redirected anywhere
			own = "script-src 'self'"
		}
		w := httptest.NewRecorder()
		// A page must not be softened by what was set before it.
		for _, h := range []string{"Content-Security-Policy", "Cache-Control", "Content-Type"} {
			w.Header().Set(h, "of somebody else")
		}
		w.Header().Set("Retry-After", "5")
		rd.Page(w, httptest.NewRequest(http.MethodGet, "/", nil), http.StatusOK, page)
		for header, want := range map[string]string{
			"Content-Type":                 "text/html; charset=utf-8",
			"Content-Security-Policy":      strings.Replace(policy, "%", own, 1),
			"Cache-Control":                "no-store",
			"X-Frame-Options":              "DENY",
			"X-Content-Type-Options":       "nosniff",
			"Referrer-Policy":              "strict-origin",
			"Cross-Origin-Resource-Policy": "same-origin",
			"Permissions-Policy":           "camera=(), display-capture=(), geolocation=(), microphone=(), payment=(), usb=()",
			"Retry-After":                  "5",
		} {
			if got := w.Header().Values(header); len(got) != 1 || got[0] != want {
				t.Errorf("%s: %s is %q, want %q", name, header, got, want)
			}
		}
	}
}

func TestLogoutPageFormOrigins(t *testing.T) {
	t.Parallel()
	rd := newRenderer(t)
	for name, test := range map[string]struct {
		origins []string
		want    string
	}{
		"none":               {nil, "'self'"},
		"origin":             {[]string{"https://id.example"}, "'self' https://id.example"},
		"port":               {[]string{"http://127.0.0.1:8080"}, "'self' http://127.0.0.1:8080"},
		"two":                {[]string{"https://a.example", "https://b.example"}, "'self' https://a.example https://b.example"},
		"URL is reduced":     {[]string{"https://id.example/logout?hint=secret#x"}, "'self' https://id.example"},
		"user info is left":  {[]string{"https://a:b@id.example/"}, "'self' https://id.example"},
		"empty":              {[]string{""}, "'self'"},
		"wildcard":           {[]string{"https://*.example"}, "'self'"},
		"everything":         {[]string{"*", "https:", "https://"}, "'self'"},
		"another directive":  {[]string{"https://id.example; script-src *"}, "'self'"},
		"another directive2": {[]string{"https://id.example;script-src"}, "'self'"},
		"another policy":     {[]string{"https://id.example,script-src"}, "'self'"},
		"keyword":            {[]string{"'unsafe-inline'"}, "'self'"},
		"javascript":         {[]string{"javascript://id.example/"}, "'self'"},
		"data":               {[]string{"data:text/html,x"}, "'self'"},
		"no scheme":          {[]string{"//id.example"}, "'self'"},
		"bad one is dropped": {[]string{"ftp://x.example", "https://id.example"}, "'self' https://id.example"},
	} {
		t.Run(name, func(t *testing.T) {
			t.Parallel()
			w := render(t, rd, gateway.LogoutPage{Chrome: chrome, FormOrigins: test.origins})
			want := "default-src 'none'; style-src 'self'; img-src 'self'; form-action " + test.want + "; frame-ancestors 'none'; base-uri 'none'"
			if got := w.Header().Get("Content-Security-Policy"); got != want {
				t.Errorf("got  %s\nwant %s", got, want)
			}
		})
	}
}
