package oidcrp_test

import (
	"strings"
	"testing"

	"github.com/caddy-sso/caddy-sso/gateway/gatewaytest"
	"github.com/caddy-sso/caddy-sso/gateway/oidcrp"
	"github.com/caddy-sso/caddy-sso/gateway/refusal"
)

// Groups that no rule reads refuse nobody, however odd they are; the log says once
// that they were left out.
func TestGroupsUnused(t *testing.T) {
	t.Parallel()
	for name, odd := range map[string]any{
		"too many":  numbered(10001),
		"an object": map[string]any{"a": 1},
		"a number":  7,
	} {
		for from, hooks := range map[string]gatewaytest.OPHooks{
			"the ID token": {Claims: setIn("groups", odd)},
			"userinfo":     {Claims: deleteFrom("groups", "email"), UserInfo: setIn("groups", odd)},
			"both":         {Claims: func(c map[string]any) { delete(c, "email"); c["groups"] = odd }, UserInfo: setIn("groups", odd)},
		} {
			t.Run(name+" in "+from, func(t *testing.T) {
				t.Parallel()
				op := inProcess(t)
				op.SetHooks(hooks)
				_, _, err := logged(t, op)
				wantCode(t, err, refusal.OIDCClaimInvalid) // a rule reads them
				got, text, err := loggedUsing(t, op, true)
				if err != nil {
					t.Fatal(err)
				}
				if id := got.Identity; id.Username != "alice" || len(id.Groups) > 0 || !id.GroupsPartial || id.GroupsNote == "" {
					t.Errorf("got %d groups, partial %t, %q", len(id.Groups), id.GroupsPartial, id.GroupsNote)
				}
				if strings.Count(text, "claim: groups;") != 1 {
					t.Errorf("the log says %q", text)
				}
			})
		}
	}
}

// The path to the user name is read strictly, too: if the ID token has another type on
// the way, the name is not taken from userinfo.
func TestUsernamePath(t *testing.T) {
	t.Parallel()
	byPath := func(c *oidcrp.Config) { c.UsernameClaim = "corp.user.name" }
	in := func(user any) map[string]any { return map[string]any{"user": user} }
	good := in(map[string]any{"name": "alice"})
	for name, tt := range map[string]struct {
		token, userinfo any
		says            string // in the refusal; empty: alice gets in
	}{
		"in the ID token":              {good, "x", ""},
		"in userinfo":                  {nil, good, ""},
		"null on the way":              {in(nil), good, ""},
		"nothing at the end":           {in(map[string]any{}), good, ""},
		"a text in the ID token":       {"x", good, `reading "corp.user.name": "corp" on the path to it is no object`},
		"a list further down":          {in([]any{"x"}), good, `reading "corp.user.name": "corp.user" on the path to it is no object`},
		"a number in userinfo":         {nil, 7, `reading "corp.user.name": "corp" on the path to it is no object`},
		"a wrong type at the end":      {in(map[string]any{"name": 7}), good, `reading "corp.user.name": is not a string`},
		"an empty text, and then none": {in(map[string]any{"name": ""}), good, ""},
	} {
		t.Run(name, func(t *testing.T) {
			t.Parallel()
			op := inProcess(t)
			op.SetHooks(gatewaytest.OPHooks{Claims: setIn("corp", tt.token), UserInfo: setIn("corp", tt.userinfo)})
			got, _, err := logged(t, op, byPath)
			if tt.says == "" {
				if err != nil || got.Identity.Username != "alice" {
					t.Errorf("got %+v, %v", got, err)
				}
				return
			}
			wantCode(t, err, refusal.OIDCClaimInvalid)
			if !strings.Contains(err.Error(), tt.says) {
				t.Errorf("got %v, want %q", err, tt.says)
			}
		})
	}
}

// So is a path with an empty name on it.
func TestUsernamePathWithEmptyName(t *testing.T) {
	t.Parallel()
	op := inProcess(t)
	op.SetHooks(gatewaytest.OPHooks{Claims: setIn("corp", map[string]any{"": "x"}), UserInfo: setIn("corp", map[string]any{"": map[string]any{"name": "alice"}})})
	_, _, err := logged(t, op, func(c *oidcrp.Config) { c.UsernameClaim = "corp..name" })
	wantCode(t, err, refusal.OIDCClaimInvalid)
}

// An empty user name counts as absent, and the log says so, once for each sign-in
// and without a value.
func TestEmptyUsername(t *testing.T) {
	t.Parallel()
	op := inProcess(t)
	const line = "claim: preferred_username; reason: is empty"
	op.SetHooks(gatewaytest.OPHooks{Claims: setIn("preferred_username", ""), UserInfo: setIn("preferred_username", "bob")})
	got, text, err := logged(t, op)
	if err != nil || got.Identity.Username != "bob" || strings.Count(text, line) != 1 || strings.Contains(text, "bob") {
		t.Errorf("got %+v, %v; the log says %q", got, err, text)
	}
	op.SetHooks(gatewaytest.OPHooks{Claims: setIn("preferred_username", ""), UserInfo: setIn("preferred_username", "")})
	_, text, err = logged(t, op)
	wantCode(t, err, refusal.NoUsername)
	if strings.Count(text, line) != 1 {
		t.Errorf("the log says %q", text)
	}
}

// By whatever claim an e-mail address is the user name: it is one that can't be read
// as two, also where the provider is trusted for its addresses.
func TestUsernameIsAddress(t *testing.T) {
	t.Parallel()
	for _, claim := range []string{"email", "mail", "corp.emailAddress", "https://example.com/email"} {
		t.Run(claim, func(t *testing.T) {
			t.Parallel()
			byMail := func(c *oidcrp.Config) { c.UsernameClaim, c.TrustEmail = claim, true }
			op := inProcess(t)
			for address, good := range map[string]bool{
				"boss@corp.test": true, "boss@corp.test,al@corp.test": false, "boss@corp.test@evil.test": false, "boss": claim != "email", // which has addresses alone
				"boss <boss@corp.test>": false, "boss@corp.test ": false, "@corp.test": false,
			} {
				set := setIn(claim, address)
				if claim == "corp.emailAddress" {
					set = setIn("corp", map[string]any{"emailAddress": address})
				}
				op.SetHooks(gatewaytest.OPHooks{Claims: set})
				got, _, err := logged(t, op, byMail)
				if good != (err == nil) || good && got.Identity.Username != address {
					t.Errorf("%q: got %+v, %v", address, got, err)
				}
				if !good {
					wantCode(t, err, refusal.OIDCClaimInvalid)
				}
			}
		})
	}
}

// Only an answer without any claim of groups says so. A person who is in none has an empty
// list, and an overage is known.
func TestNoGroups(t *testing.T) {
	t.Parallel()
	none := deleteFrom("groups")
	for name, tt := range map[string]struct {
		token, userinfo func(map[string]any)
		want            bool
	}{
		"none":                   {none, none, true},
		"null":                   {setIn("groups", nil), none, true},
		"an empty list":          {setIn("groups", []any{}), none, false},
		"an empty list, later":   {none, setIn("groups", []any{}), false},
		"an empty text":          {setIn("groups", ""), none, false},
		"in userinfo":            {none, nil, false},
		"an overage":             {func(c map[string]any) { none(c); c["hasgroups"] = true }, none, false},
		"nothing that is usable": {setIn("groups", []any{""}), none, false},
	} {
		t.Run(name, func(t *testing.T) {
			t.Parallel()
			op := inProcess(t)
			op.SetHooks(gatewaytest.OPHooks{Claims: tt.token, UserInfo: tt.userinfo})
			got := mustLogin(t, op, newProvider(t, op)).Identity.NoGroups
			if tt.want != (got != "") || tt.want && !strings.Contains(got, "`groups_claim`") {
				t.Errorf("got %q", got)
			}
		})
	}
}
