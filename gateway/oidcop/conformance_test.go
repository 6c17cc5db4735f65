package oidcop_test

import (
	"encoding/json"
	"maps"
	"net/http"
	"slices"
	"strings"
	"testing"

	"github.com/caddy-sso/caddy-sso/gateway/oidcop"
)

// TestConformance sends what the OpenID Foundation's basic and form_post plans send, by the
// names of their modules. Their clients have no PKCE, but for the module about it. What these
// plans and those for logout ask beyond single requests is in TestOnce, TestUserInfo, TestHint,
// TestLogout and TestBackchannelLogout here, and in TestOpenIDSilent, TestOpenIDNewLogin and
// TestOpenIDPost of the gateway.
func TestConformance(t *testing.T) {
	t.Parallel()
	l := newLab(t)
	const profile = "family_name given_name name preferred_username"
	for module, test := range map[string]struct {
		change []string
		want   string // the error, or ""
		claims string // of userinfo
	}{
		"oidcc-server":                {},
		"oidcc-response-type-missing": {change: []string{"response_type", "-"}, want: "invalid_request"},
		"oidcc-ensure-request-without-nonce-succeeds-for-code-flow": {change: []string{"nonce", "-"}},
		"oidcc-scope-profile":                                  {change: []string{"scope", "openid profile"}, claims: profile},
		"oidcc-scope-email":                                    {change: []string{"scope", "openid email"}, claims: "email email_verified"},
		"oidcc-scope-address":                                  {change: []string{"scope", "openid address"}},
		"oidcc-scope-phone":                                    {change: []string{"scope", "openid phone"}},
		"oidcc-scope-all":                                      {change: []string{"scope", "openid profile email address phone"}, claims: "email email_verified " + profile},
		"oidcc-ensure-other-scope-order-succeeds":              {change: []string{"scope", "email openid"}, claims: "email email_verified"},
		"oidcc-display-page":                                   {change: []string{"display", "page"}},
		"oidcc-display-popup":                                  {change: []string{"display", "popup"}},
		"oidcc-prompt-none-logged-in":                          {change: []string{"prompt", "none"}},
		"oidcc-max-age-10000":                                  {change: []string{"max_age", "10000"}},
		"oidcc-ensure-request-with-unknown-parameter-succeeds": {change: []string{"extra", "foobar"}},
		"oidcc-id-token-hint":                                  {change: []string{"prompt", "none", "id_token_hint", l.tokens("legacy").ID}},
		"oidcc-login-hint":                                     {change: []string{"login_hint", "bob"}},
		"oidcc-ui-locales":                                     {change: []string{"ui_locales", "se"}},
		"oidcc-claims-locales":                                 {change: []string{"claims_locales", "se"}},
		"oidcc-ensure-request-with-acr-values-succeeds":        {change: []string{"acr_values", "1 2"}},
		"oidcc-claims-essential":                               {change: []string{"claims", `{"userinfo":{"name":{"essential":true}}}`}, claims: "name"},
		"oidcc-unsigned-request-object-supported-correctly-or-rejected-…": {change: []string{"request", "eyJhbGciOiJub25lIn0.e30."}, want: "request_not_supported"},
		"oidcc-request-uri-unsigned-supported-correctly-or-rejected-…":    {change: []string{"request_uri", "https://rp.example/x"}, want: "request_uri_not_supported"},
		"oidcc-ensure-request-with-valid-pkce-succeeds":                   {change: []string{"code_challenge", challenge(), "code_challenge_method", "S256"}},
	} {
		for _, mode := range []string{"query", "form_post"} {
			t.Run(module+" by "+mode, func(t *testing.T) {
				t.Parallel()
				params := request("client_id", "legacy", "code_challenge", "-", "code_challenge_method", "-", "response_mode", mode)
				got, refused := authorize(t.Context(), l.Provider, "login:alice", set(params, test.change...))
				if refused != "" || got.Get("error") != test.want || got.Get("state") != "st" {
					t.Fatalf("got %v, refused by %q", got, refused)
				}
				if test.want != "" {
					return
				}
				form := exchangeForm(got.Get("code"))
				if !params.Has("code_challenge") {
					form.Del("code_verifier")
				}
				rec, _ := post(l.Provider, oidcop.TokenPath, "legacy", secret, form)
				info, _ := userinfo(l.Provider, read(rec).Access)
				var told map[string]any
				if err := json.Unmarshal(info.Body.Bytes(), &told); err != nil || rec.Code != http.StatusOK {
					t.Fatalf("tokens: %d %s; userinfo: %d %s", rec.Code, rec.Body, info.Code, info.Body)
				}
				id := claimsOf(t, read(rec).ID)
				if id["sub"] != told["sub"] || id["aud"] != "legacy" || id["auth_time"] == nil || (id["nonce"] == "n") != params.Has("nonce") {
					t.Errorf("the ID token says %v", id)
				}
				delete(told, "sub")
				if got := strings.Join(slices.Sorted(maps.Keys(told)), " "); got != test.claims {
					t.Errorf("userinfo has %s, want %s", got, test.claims)
				}
			})
		}
	}
}
