package pages_test

import (
	"net/http"
	"net/http/httptest"
	"strings"
	"testing"

	"github.com/caddy-sso/caddy-sso/gateway/pages"
)

func TestPageHeaders(t *testing.T) {
	t.Parallel()
	rd := newRenderer(t)
	const policy = "default-src 'none'; style-src 'self'; img-src 'self'; %; frame-ancestors @; base-uri 'none'"
	for name, page := range examples() {
		own := "form-action 'none'"
		switch name {
		case "logout", "logout_branded", "logout_nobody", "logout_at_provider":
			own = "form-action 'self'"
		case "chooser", "chooser_last", "chooser_one", "chooser_branded", "refusal_framed", "refusal_kept", "form_link", // keep the fragment
			"session", "session_many_groups": // shows local times
			own = "form-action 'none'; script-src 'self'"
		case "form", "repost": // may be redirected anywhere
			own = "script-src 'self'"
		case "other", "other_several": // so may this one, which has no script
			own = "script-src 'none'"
		}
		ancestors, options := "'none'", "DENY"
		if name == "refusal_framed" {
			ancestors, options = "'self'", "SAMEORIGIN"
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
			"Content-Security-Policy":      strings.NewReplacer("%", own, "@", ancestors).Replace(policy),
			"Cache-Control":                "no-store",
			"X-Frame-Options":              options,
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

// Pages that send people to the provider send them to an http(s) URL, or
// nowhere.
func TestPageLeadsToTheProvider(t *testing.T) {
	t.Parallel()
	rd := newRenderer(t)
	for name, test := range map[string]struct {
		url, want string // want: as in HTML
	}{
		"as it is":     {"https://id.example/logout?hint=a.b&back=https%3A%2F%2Fapp.example%2F#x", "https://id.example/logout?hint=a.b&amp;back=https%3A%2F%2Fapp.example%2F#x"},
		"port":         {"http://127.0.0.1:8080/x", "http://127.0.0.1:8080/x"},
		"IPv6":         {"https://[::1]:8443/", "https://[::1]:8443/"},
		"capitals":     {"HTTPS://ID.EXAMPLE/", "HTTPS://ID.EXAMPLE/"},
		"empty":        {"", "#"},
		"path":         {"/logout", "#"},
		"no scheme":    {"//id.example/", "#"},
		"no host":      {"https:///x", "#"},
		"opaque":       {"https:id.example", "#"},
		"another":      {"ftp://id.example/", "#"},
		"an app's own": {"com.example.app:/out", "#"},
		"javascript":   {"javascript://id.example/%0aalert(1)", "#"},
		"data":         {"data:text/html,x", "#"},
		"line break":   {"https://id.example/\nx", "#"},
		"a blank host": {"https://a b/", "#"},
	} {
		t.Run(name, func(t *testing.T) {
			t.Parallel()
			leave := render(t, rd, pages.Leave{Chrome: chrome, URL: test.url}).Body.String()
			back := render(t, rd, pages.Leave{Chrome: chrome, Back: true, URL: test.url}).Body.String()
			if want := "url=" + test.want + `">`; strings.HasPrefix(test.url, "com.") == strings.Contains(back, want) {
				t.Errorf("the page that goes back has no %s:\n%s", want, back)
			}
			form := render(t, rd, pages.Form{Chrome: chrome, Action: test.url, Fields: []pages.Field{{Name: "a", Value: "b"}}}).Body.String()
			link := render(t, rd, pages.Form{Chrome: chrome, Action: test.url}).Body.String()
			const refresh = `<meta http-equiv="refresh" content="0; url=%">`
			for html, part := range map[string]string{
				leave: refresh, leave + " ": `href="%">`, form: ` action="%">`, link: "<noscript>" + refresh + "</noscript>\n" + strings.Replace(refresh, "0", "2", 1), link + " ": `href="%">`,
			} {
				if part = strings.ReplaceAll(part, "%", test.want); !strings.Contains(html, part) {
					t.Errorf("the page has no %s:\n%s", part, html)
				}
			}
		})
	}
}
