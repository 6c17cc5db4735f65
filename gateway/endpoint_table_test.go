package gateway_test

import (
	"fmt"
	"net/http"
	"net/http/httptest"
	"os"
	"slices"
	"strings"
	"testing"

	"github.com/caddy-sso/caddy-sso/gateway"
	"github.com/caddy-sso/caddy-sso/gateway/refusal"
)

// addressOf returns an address that an endpoint answers at.
func addressOf(e gateway.Endpoint) string {
	return strings.NewReplacer("assets/{file...}", "assets/style.css", "{provider}", "corp", "{provider...}", "saml").Replace(e.Path)
}

// TestEndpointsAreDescribed holds docs/endpoints.md and the table of endpoints to
// each other.
func TestEndpointsAreDescribed(t *testing.T) {
	t.Parallel()
	l := newLab(t)
	s, _, _ := l.mixed(t, withClients)
	page, err := os.ReadFile("../docs/endpoints.md")
	mustDo(t, err)
	var described []string
	for line := range strings.Lines(string(page)) {
		if cells := strings.Split(line, "|"); strings.HasPrefix(line, "| `/") && len(cells) == 7 {
			described = append(described, strings.Join(cells[1:5], "|"))
		}
	}
	yes := map[bool]string{true: "yes", false: "no"}
	var routed []string
	for _, e := range s.app.Endpoints() {
		routed = append(routed, fmt.Sprintf(" `%s` | %s | %s | %s ", e.Path, strings.Join(e.Methods, ", "), yes[e.Credentials], yes[e.CrossSite]))
	}
	if !slices.Equal(described, routed) {
		t.Errorf("docs/endpoints.md describes\n%s\nand there are\n%s", strings.Join(described, "\n"), strings.Join(routed, "\n"))
	}
}

func TestEndpointsOfApps(t *testing.T) {
	t.Parallel()
	for name, tc := range map[string]struct {
		saml    bool
		options func(*gateway.AppOptions)
		more    []string // than the first eight
	}{
		"one OpenID Provider": {false, func(*gateway.AppOptions) {}, []string{"/.sso/oidc/callback", "/.sso/oidc/callback/{provider}"}},
		"own callback":        {false, func(o *gateway.AppOptions) { o.CallbackPath = "/auth/sso" }, []string{"/auth/sso", "/auth/sso/corp"}},
		"own callback, SAML": {
			true, func(o *gateway.AppOptions) { o.CallbackPath = "/auth/sso" },
			[]string{"/.sso/saml/acs", "/.sso/saml/metadata", "/.sso/saml/metadata/{provider...}", "/auth/sso", "/auth/sso/corp"},
		},
		"own prefix": {false, func(o *gateway.AppOptions) { o.Prefix = "/a/b" }, []string{"/a/b/oidc/callback", "/a/b/oidc/callback/{provider}"}},
		"callback above the prefix": {
			false, func(o *gateway.AppOptions) { o.Prefix, o.CallbackPath = "/auth/gate", "/auth" },
			[]string{"/auth", "/auth/corp"},
		},
	} {
		t.Run(name, func(t *testing.T) {
			t.Parallel()
			l := newLab(t)
			if tc.saml {
				l = newSAMLLab(t)
			}
			var paths []string
			for _, e := range l.site(tc.options).app.Endpoints() {
				paths = append(paths, e.Path)
			}
			if len(paths) < 8 || !slices.Equal(paths[8:], tc.more) {
				t.Errorf("endpoints %q, want in the end %q", paths, tc.more)
			}
		})
	}
}

func TestMethods(t *testing.T) {
	t.Parallel()
	l := newLab(t)
	s, _, _ := l.mixed(t, withClients)
	b := s.browser()
	for _, e := range s.app.Endpoints() {
		path := addressOf(e)
		for _, method := range []string{"GET", "HEAD", "POST", "PUT", "DELETE", "PATCH", "OPTIONS", "TRACE", "CONNECT", "BREW"} {
			t.Run(method+" "+path, func(t *testing.T) {
				r := httptest.NewRequest(http.MethodGet, path, nil)
				r.Method, r.Host = method, appHost
				w := b.send(r)
				switch {
				case slices.Contains(e.Methods, method):
					if w.Code == http.StatusMethodNotAllowed || w.Code == http.StatusNotFound && !strings.Contains(path, "metadata") {
						t.Errorf("status %d", w.Code)
					}
					return
				case path == acs && (method == "GET" || method == "HEAD"):
					wantStatus(t, w, http.StatusBadRequest) // see TestAnswerLost
					return
				}
				wantStatus(t, w, http.StatusMethodNotAllowed)
				if got := w.Header().Get("Allow"); got != strings.Join(e.Methods, ", ") {
					t.Errorf("Allow %q, want %q", got, e.Methods)
				}
			})
		}
	}
}

// Pages of other sites may post only where the table says so.
func TestEndpointsCrossSite(t *testing.T) {
	t.Parallel()
	l := newLab(t)
	s, _, _ := l.mixed(t, withClients)
	b := s.browser()
	posted := 0
	for _, e := range s.app.Endpoints() {
		for _, header := range [][]string{{"Sec-Fetch-Site", "cross-site"}, {"Sec-Fetch-Site", "same-site"}, {"Origin", "https://evil.example"}, {"Origin", "null"}} {
			w := b.send(b.request(http.MethodPost, addressOf(e), header...))
			want := refusal.CrossSite
			switch {
			case !slices.Contains(e.Methods, http.MethodPost):
				want = refusal.MethodNotAllowed
			case e.CrossSite:
				want = refusal.BadRequest // for there is nothing in the form
			}
			if strings.Contains(e.Path, "/op/") && want == refusal.BadRequest && e.Path != opAuthorize && e.Path != "/.sso/op/logout" {
				want = "" // the provider answers as OAuth wants
			}
			if want != refusal.MethodNotAllowed {
				posted++
			}
			if got := codeIn(w); got != want {
				t.Errorf("%s with %q: code %q, want %q", e.Path, header, got, want)
			}
		}
	}
	if posted < 8 {
		t.Errorf("%d posts were taken, want some", posted)
	}
}

func TestSecret(t *testing.T) {
	t.Parallel()
	l := newLab(t)
	s := l.siteOf(l.gateway(), appHost, func(o *gateway.AppOptions) { o.CallbackPath = "/auth/sso" })
	for name, tc := range map[string]struct {
		method, target string
		owns, secret   bool
	}{
		"a callback":                  {"GET", "/auth/sso?code=x", true, true},
		"a callback without answer":   {"GET", "/auth/sso", true, true},
		"a provider's callback":       {"GET", "/auth/sso/corp?code=x", true, true},
		"in absolute form":            {"GET", "https://app.example/auth/sso?code=x", true, true},
		"a query at another endpoint": {"GET", "/.sso/session?code=x", true, true},
		"a query at no endpoint":      {"GET", "/.sso/nothing?code=x", true, true},
		"an empty query":              {"GET", "/.sso/nothing?", true, true},
		"a form at another endpoint":  {"POST", "/.sso/logout", true, true},
		"a form at no endpoint":       {"POST", "/.sso/saml/acs", true, true},
		"a form at the prefix":        {"POST", "/.sso", true, true},
		"an endpoint":                 {"GET", "/.sso/session", true, false},
		"no endpoint":                 {"GET", "/.sso/nothing", true, false},
		"the app's query":             {"GET", "/x?code=x", false, false},
		"the app's form":              {"POST", "/x", false, false},
		"nobody's callback":           {"GET", "/auth/sso/nobody?code=x", false, false},
		"below a callback":            {"GET", "/auth/sso/corp/x?code=x", false, false},
	} {
		if owns, secret := s.app.Owns(tc.target), s.app.HasCredentials(tc.method, tc.target); owns != tc.owns || secret != tc.secret {
			t.Errorf("%s: owned %t, secret %t", name, owns, secret)
		}
	}
}
