package oidcrp_test

import (
	"slices"
	"strings"
	"testing"

	"github.com/caddy-sso/caddy-sso/gateway/gatewaytest"
	"github.com/caddy-sso/caddy-sso/gateway/oidcrp"
)

// The person can take a scope out of the request. Groups that are missing then are
// not known: what depends on not being in one does not hold.
func TestScopeNotGranted(t *testing.T) {
	t.Parallel()
	const standard = "openid profile email"
	for name, tt := range map[string]struct {
		asked   string
		granted any
		groups  any // nil: there is no such claim
		known   bool
	}{
		"all granted":                {standard + " groups", "groups email profile openid", nil, true},
		"one taken out":              {standard + " groups", "openid email profile", nil, false},
		"one of several taken out":   {standard + " groups roles", "openid roles", nil, false},
		"by another name":            {standard + " groups", "openid Groups", nil, false},
		"not said":                   {standard + " groups", nil, nil, true},
		"said as nothing":            {standard + " groups", "", nil, true},
		"said as a list":             {standard + " groups", []any{"openid"}, nil, true},
		"an address in its place":    {standard, "openid https://www.googleapis.com/auth/userinfo.email", nil, true},
		"no refresh token":           {standard + " offline_access", "openid", nil, true},
		"groups are there":           {standard + " groups", "openid", []any{"staff"}, true},
		"an empty list is an answer": {standard + " groups", "openid", []any{}, true},
	} {
		t.Run(name, func(t *testing.T) {
			t.Parallel()
			op := inProcess(t)
			groups := setIn("groups", tt.groups)
			if tt.groups == nil {
				groups = deleteFrom("groups")
			}
			op.SetHooks(gatewaytest.OPHooks{Claims: groups, UserInfo: groups, Token: setIn("scope", tt.granted)})
			got := mustLogin(t, op, newProvider(t, op, func(c *oidcrp.Config) { c.Scopes = strings.Fields(tt.asked) })).Identity
			if got.GroupsPartial == tt.known || tt.known && strings.Contains(got.GroupsNote, "scope") || !tt.known && !strings.Contains(got.GroupsNote, `not granted the scope "groups"`) {
				t.Errorf("partial is %t, %q", got.GroupsPartial, got.GroupsNote)
			}
			if list, ok := tt.groups.([]any); ok && len(list) != len(got.Groups) || slices.Contains(got.Groups, "admins") {
				t.Errorf("got %q", got.Groups)
			}
		})
	}
}
