package gateway_test

import (
	"net/http"
	"regexp"
	"strings"
	"testing"

	"github.com/caddy-sso/caddy-sso/gateway"
	"github.com/caddy-sso/caddy-sso/gateway/forward"
	"github.com/caddy-sso/caddy-sso/gateway/strip"
)

// A site strips headers of other gateways on every path, from trailers and from
// Connection too, but for those that it keeps. Package strip has all spellings.
func TestStripAliases(t *testing.T) {
	t.Parallel()
	names := []string{"x_forwarded_user", " X-Forwarded-User", "X_auth_request_user", "X-Webauth-Role"}
	for _, n := range strip.Aliases {
		names = append(names, strings.Replace(n, "*", "Some", 1))
	}
	kept := regexp.MustCompile(`(?i)^ ?x.(forwarded.user|auth.request.\w+|webauth.role)$`)
	l := newLab(t)
	g := l.gateway()
	strict := l.siteOf(g, appHost, public("/public/*"))
	lax := l.siteOf(g, "second.example", public("/public/*"), func(o *gateway.AppOptions) {
		o.KeepHeaders = []string{"X-Forwarded-User", "x-auth-request-*", "X-WEBAUTH-ROLE"}
	})
	for _, s := range []*site{strict, lax} {
		b := s.browser()
		b.signIn()
		for _, path := range []string{"/", "/public/a"} {
			t.Run(s.host+path, func(t *testing.T) {
				r := b.request(http.MethodGet, path)
				for _, n := range names {
					r.Header[n] = []string{"mallory"}
				}
				r.Header.Set("Connection", "X-Forwarded-User, close, x_remote_user")
				wantStatus(t, s.serve(r, false), http.StatusOK)
				got := s.got().header
				for _, n := range names {
					if want := s == lax && kept.MatchString(n); (got[n] != nil) != want {
						t.Errorf("%q arrived: %v, want %v", n, got[n] != nil, want)
					}
				}
				if c := got.Get("Connection"); strings.TrimSpace(c) != "close" {
					t.Errorf("Connection: %q", c)
				}
			})
		}
	}
}

func TestKeepHeadersFaults(t *testing.T) {
	t.Parallel()
	for name, tt := range map[string]struct {
		keep []string
		want string
	}{
		"a typing error":              {[]string{"X-Forwared-User"}, `keep_headers: "X-Forwared-User" is not among the headers that are removed from requests`},
		"a wider family":              {[]string{"X-*"}, `"X-*" is not among`},
		"everything":                  {[]string{"*"}, `"*" is not among`},
		"a family that is none":       {[]string{"X-Forwarded-*"}, `"X-Forwarded-*" is not among`},
		"one of ours":                 {[]string{"X-Sso-Assertion"}, `"X-Sso-Assertion" can't be kept: it is a header of this gateway`},
		"one of ours, spelled oddly":  {[]string{"remote_user"}, `"remote_user" can't be kept`},
		"a family with one of ours":   {[]string{"Remote-*"}, `"Remote-*" can't be kept`},
		"one of another site":         {[]string{"X-Webauth-User"}, "X-Webauth-User can't be kept"},
		"a family with another's one": {[]string{"X-Webauth-*"}, "X-Webauth-User can't be kept"},
	} {
		t.Run(name, func(t *testing.T) {
			t.Parallel()
			l := newLab(t)
			g := l.gateway()
			l.siteOf(g, "second.example", func(o *gateway.AppOptions) { o.Headers = forward.HeaderNames{User: "X-Webauth-User"} })
			_, err := g.NewApp(gateway.AppOptions{Rules: everyone, KeepHeaders: tt.keep})
			if err == nil || !strings.Contains(err.Error(), tt.want) {
				t.Errorf("got %v", err)
			}
		})
	}
}
