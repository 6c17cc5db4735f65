package gateway_test

import (
	"net/http"
	"slices"
	"strings"
	"testing"

	"github.com/caddy-sso/caddy-sso/gateway"
	"github.com/caddy-sso/caddy-sso/gateway/forward"
)

// aliasNames are headers that no client may send, in spellings that an app may
// read them by.
var aliasNames = []string{
	"X-Forwarded-User", "x_forwarded_user", "X-Forwarded-Email", "X-Forwarded-Preferred-Username", "X.Remote.User", "X-Remote-Groups",
	"X-Auth-Request-User", "X-Auth-Request-Anything-New", "X_WEBAUTH_USER", "X-Webauth-Role", "X-Authentik-Username", "X-Token-User-Roles",
	"Shib-Session-Id", "Oidc_claim_sub", "Cf-Access-Jwt-Assertion", "Sm_user", " X-Forwarded-User", "Tailscale-User-Login", "X-Pomerium-Claim-Email",
	"X-Webauth-" + strings.Repeat("a", 90), "X-Jwt-Assertion", "x_id_token", "X-Access-Token", "X-Credential-Identifier", "X-Anonymous-Consumer",
	"X-Endpoint-API-UserInfo", "X-Apigateway-Api-Userinfo", "Teleport-Jwt-Assertion", "X-Forwarded-Client-Cert", "X-Forwarded-Tls-Client-Cert",
	"X-Forwarded-Tls-Client-Cert-Info", "X-SSL-Client-S-Dn", "ssl_client_verify", "X-Remote-Fullname", "X-Remote-Full-Name", "X-Remote-Username",
	"Remote-User-Group", "remote_user_groups", "Remote.User.Email", "REMOTE_USER_NAME", "remote-user_first-name", "Remote-User-Last-Name",
	"Remote-Username", "Remote-Displayname", "X-Forwarded-User-Id", "X-User", "X-Username", "X-Email", "Client-Cert", "X-Amzn-Mtls-Clientcert-Leaf",
	"X-Appengine-User-Is-Admin", "SM_UNIVERSALID", "Cas_user", "Eppn", "iv-user-l", "Impersonate-Extra-Scopes", "X-Organizr-Group", "X-Forwarded-Login",
}

// A site strips headers of other gateways on every path, from trailers and from
// Connection too, but for those that it keeps.
func TestStripAliases(t *testing.T) {
	t.Parallel()
	l := newLab(t)
	g := l.gateway()
	strict := l.siteOf(g, appHost, public("/public/*"))
	lax := l.siteOf(g, "second.example", public("/public/*"), func(o *gateway.AppOptions) {
		o.KeepHeaders = []string{"X-Forwarded-User", "x-auth-request-*", "X-WEBAUTH-ROLE"}
	})
	kept := []string{"X-Forwarded-User", "x_forwarded_user", "X-Auth-Request-User", "X-Auth-Request-Anything-New", "X-Webauth-Role", " X-Forwarded-User"}
	for _, s := range []*site{strict, lax} {
		b := s.browser()
		b.signIn()
		for _, path := range []string{"/", "/public/a"} {
			t.Run(s.host+path, func(t *testing.T) {
				r := b.request(http.MethodGet, path)
				for _, n := range aliasNames {
					r.Header[n] = []string{"mallory"}
				}
				r.Header.Set("Connection", "X-Forwarded-User, close, x_remote_user")
				wantStatus(t, s.serve(r, false), http.StatusOK)
				got := s.got().header
				for _, n := range aliasNames {
					if want := s == lax && slices.Contains(kept, n); (got[n] != nil) != want {
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
