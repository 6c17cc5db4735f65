package oidcrp_test

import (
	"slices"
	"strings"
	"testing"

	"github.com/caddy-sso/caddy-sso/gateway/gatewaytest"
	"github.com/caddy-sso/caddy-sso/gateway/oidcrp"
	"github.com/caddy-sso/caddy-sso/gateway/refusal"
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
		"in other case":              {standard + " groups", "openid PROFILE Email Groups", nil, true},
		"by another name":            {standard + " groups", "openid profile groupsx xgroups groups:all", nil, false},
		"not said":                   {standard + " groups", nil, nil, true},
		"said as nothing":            {standard + " groups", "", nil, true},
		"said as an empty list":      {standard + " groups", []any{}, nil, true},
		"said as a number":           {standard + " groups", 1, nil, true},
		"said as a list":             {standard + " groups", []any{"openid", "profile"}, nil, false},
		"said as a list, all":        {standard + " groups", []any{"openid", "profile", "groups"}, nil, true},
		"a list of one text":         {standard + " groups", []any{"openid profile groups"}, nil, true},
		"commas between":             {standard + " groups", "openid,profile,groups", nil, true},
		"plus signs between":         {standard + " groups", "openid+profile+groups", nil, true},
		"commas, one taken out":      {standard + " groups", "openid, profile", nil, false},
		"an address in its place":    {standard, "openid https://www.googleapis.com/auth/userinfo.email https://www.googleapis.com/auth/userinfo.profile", nil, true},
		"an address behind a slash":  {standard + " groups", "openid profile https://graph.example.com/Groups", nil, true},
		"no refresh token":           {standard + " offline_access address phone", "openid profile", nil, true},
		"profile taken out":          {standard, "openid email", nil, false},
		"profile taken out, a list":  {standard, []any{"openid", "email"}, nil, false},
		"profile out, groups there":  {standard, "openid email", []any{"staff"}, true},
		"profile not asked for":      {"openid email", "openid email", nil, true},
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
			if got.GroupsPartial == tt.known || tt.known && strings.Contains(got.GroupsNote, "scope") || !tt.known && !strings.Contains(got.GroupsNote, "not granted the scope \"") {
				t.Errorf("partial is %t, %q", got.GroupsPartial, got.GroupsNote)
			}
			if list, ok := tt.groups.([]any); ok && len(list) != len(got.Groups) || slices.Contains(got.Groups, "admins") {
				t.Errorf("got %q", got.Groups)
			}
		})
	}
}

// Nor can the person hide by it that their address is unverified: a user name that is
// an address counts as such a one then.
func TestEmailScopeNotGranted(t *testing.T) {
	t.Parallel()
	const alice = "alice@example.com"
	asked, unasked := []string{"openid", "profile", "email"}, []string{"openid", "profile"}
	for name, tt := range map[string]struct {
		scopes  []string
		granted any
		user    string
		email   any // nil: there is no such claim
		trusted bool
		refused bool
	}{
		"taken out":                   {scopes: asked, granted: "openid profile", user: alice, refused: true},
		"taken out, said as a list":   {scopes: asked, granted: []any{"openid", "profile"}, user: alice, refused: true},
		"taken out, an odd address":   {scopes: asked, granted: "openid profile", user: alice, email: []any{alice}, refused: true},
		"taken out, a plain name":     {scopes: asked, granted: "openid profile", user: "alice"},
		"taken out, trusted":          {scopes: asked, granted: "openid profile", user: alice, trusted: true},
		"taken out, an address there": {scopes: asked, granted: "openid profile", user: alice, email: alice},
		"granted":                     {scopes: asked, granted: "openid profile email", user: alice},
		"granted by an address":       {scopes: asked, granted: "openid https://www.googleapis.com/auth/userinfo.email", user: alice},
		"not asked for":               {scopes: unasked, granted: "openid profile", user: alice},
		"nothing said":                {scopes: asked, user: alice},
	} {
		t.Run(name, func(t *testing.T) {
			t.Parallel()
			op := inProcess(t)
			claims := func(m map[string]any) {
				deleteFrom("email", "email_verified")(m)
				if m["preferred_username"], m["name"] = tt.user, "Alice <alice@example.com>"; tt.email != nil {
					m["email"] = tt.email
				}
			}
			op.SetHooks(gatewaytest.OPHooks{Claims: claims, UserInfo: claims, Token: setIn("scope", tt.granted)})
			p := newProvider(t, op, func(c *oidcrp.Config) { c.Scopes, c.TrustEmail = tt.scopes, tt.trusted })
			if tt.refused {
				_, err := op.Login(t.Context(), p)
				wantCode(t, err, refusal.OIDCEmailUnverified)
				return
			}
			got := mustLogin(t, op, p).Identity
			if got.Username != tt.user || (got.DisplayName == "") != (name == "taken out, a plain name") {
				t.Errorf("got %+v", got)
			}
		})
	}
}
