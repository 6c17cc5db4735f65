package oidcrp_test

import (
	"reflect"
	"slices"
	"strings"
	"testing"

	"github.com/caddy-sso/caddy-sso/gateway/gatewaytest"
	"github.com/caddy-sso/caddy-sso/gateway/oidcrp"
	"github.com/caddy-sso/caddy-sso/gateway/provider"
)

// TestUserInfo is about where a field comes from: always from one source.
func TestUserInfo(t *testing.T) {
	t.Parallel()
	for _, tt := range []struct {
		name     string
		claims   func(map[string]any)
		userinfo func(map[string]any)
		asked    int
		want     func(*provider.Identity)
	}{
		{name: "not asked when all is there", claims: nil, asked: 0},
		{name: "groups from userinfo", claims: deleteFrom("groups"), asked: 1},
		{name: "user name from userinfo", claims: deleteFrom("preferred_username"), asked: 1},
		{
			name: "e-mail without its verification", claims: deleteFrom("email"), userinfo: deleteFrom("email_verified"), asked: 1,
			want: func(i *provider.Identity) { i.EmailVerified = false },
		},
		{
			name: "verification without its e-mail is ignored", claims: all(deleteFrom("email"), setIn("email_verified", true)),
			userinfo: setIn("email", "other@example.com", "email_verified", false), asked: 1,
			want: func(i *provider.Identity) { i.Email, i.EmailVerified = "", false },
		},
		{
			name: "no e-mail at all", claims: deleteFrom("email"), userinfo: deleteFrom("email"), asked: 1,
			want: func(i *provider.Identity) { i.Email, i.EmailVerified = "", false },
		},
		{
			name: "an empty e-mail counts as absent", claims: setIn("email", ""), userinfo: setIn("email", ""), asked: 1,
			want: func(i *provider.Identity) { i.Email, i.EmailVerified = "", false },
		},
		{
			name: "the ID token goes first", claims: deleteFrom("groups"), asked: 1,
			userinfo: setIn("email", "evil@example.com", "preferred_username", "root", "name", "Root"),
		},
		{ // as Cognito's userinfo does, whose ID tokens are in order
			name: "an e-mail that is not needed is not checked", claims: deleteFrom("groups"), asked: 1,
			userinfo: setIn("email", "no address", "email_verified", "true"),
		},
		{
			name: "groups that are not needed are not checked", claims: deleteFrom("email"), asked: 1,
			userinfo: setIn("groups", map[string]any{"a": 1}),
		},
		{
			name: "too many groups that are not needed", claims: deleteFrom("email"), asked: 1,
			userinfo: setIn("groups", make([]int, 10001)),
		},
		{
			name: "a user name that is not needed is not checked", claims: deleteFrom("groups"), asked: 1,
			userinfo: setIn("preferred_username", []any{"root"}),
		},
		{
			name: "a long user name that is not needed", claims: deleteFrom("email"), asked: 1,
			userinfo: setIn("preferred_username", strings.Repeat("x", 1025)),
		},
		{
			name: "groups are never added up", claims: setIn("groups", []any{"staff"}, "email", ""), asked: 1,
			userinfo: setIn("groups", []any{"admins"}), want: func(i *provider.Identity) { i.Groups = []string{"staff"} },
		},
		{
			name: "an empty list of groups is an answer", claims: all(setIn("groups", []any{}), deleteFrom("email")), asked: 1,
			want: func(i *provider.Identity) { i.Groups = []string{} },
		},
		{
			name: "no groups", claims: deleteFrom("groups"), userinfo: deleteFrom("groups"), asked: 1,
			want: func(i *provider.Identity) {
				i.Groups, i.GroupsNote = nil, `the claim "groups" is neither in the ID token nor in userinfo`
				i.NoGroups = i.GroupsNote + `; the claims that came: "email", "email_verified", "family_name", "given_name", "name", "preferred_username", "sub"; ` +
					"name the right claim by `groups_claim`, or have the provider send it: by a scope (`scopes`), or by a mapper there"
			},
		},
		{
			name: "one string is one group", claims: setIn("groups", "staff, admins"),
			want: func(i *provider.Identity) { i.Groups = []string{"staff, admins"} },
		},
		{
			name: "duplicates go, order stays", claims: setIn("groups", []any{"b", "a", "b", "c", "a"}),
			want: func(i *provider.Identity) { i.Groups = []string{"b", "a", "c"} },
		},
		{
			name: "names are exact", claims: setIn("EMAIL", "root@example.com", "Groups", []any{"root"}, "preferred_userName", "root", "Email_Verified", false),
		},
	} {
		t.Run(tt.name, func(t *testing.T) {
			t.Parallel()
			op := inProcess(t)
			p := newProvider(t, op)
			want := mustLogin(t, op, p).Identity
			op.SetHooks(gatewaytest.OPHooks{Claims: tt.claims, UserInfo: tt.userinfo})
			got := mustLogin(t, op, p).Identity
			if tt.want != nil {
				tt.want(&want)
			}
			want.AuthTime = got.AuthTime
			if !reflect.DeepEqual(got, want) {
				t.Errorf("got  %+v\nwant %+v", got, want)
			}
			if n := op.Requests(gatewaytest.OPUserInfoPath); n != tt.asked {
				t.Errorf("userinfo was asked %d times, want %d", n, tt.asked)
			}
		})
	}
}

func TestUserInfoSigned(t *testing.T) {
	t.Parallel()
	op := inProcess(t)
	m, err := newMutator(op, "control delete claims/groups\njwt userinfo")
	if err != nil {
		t.Fatal(err)
	}
	m.play(true)
	got := mustLogin(t, op, newProvider(t, op))
	if !slices.Equal(got.Identity.Groups, []string{"staff", "admins"}) || op.Requests(gatewaytest.OPUserInfoPath) != 1 {
		t.Errorf("got %+v", got)
	}
}

func TestUserInfoNotOffered(t *testing.T) {
	t.Parallel()
	op := inProcess(t)
	op.SetHooks(gatewaytest.OPHooks{
		Discovery: func(doc map[string]any) { delete(doc, "userinfo_endpoint") },
		Claims:    func(claims map[string]any) { delete(claims, "groups") },
	})
	if got := mustLogin(t, op, newProvider(t, op)); got.Identity.Groups != nil {
		t.Errorf("got %+v", got)
	}
}

func TestClaimNames(t *testing.T) {
	t.Parallel()
	op := inProcess(t)
	op.SetHooks(gatewaytest.OPHooks{Claims: func(claims map[string]any) {
		claims["realm_access"] = map[string]any{"roles": []any{"r1"}}
		claims["resource_access"] = map[string]any{"my.app": map[string]any{"roles": []any{"r2"}}, "my": "x"}
		claims["cognito:groups"] = []any{"r3"}
		claims["https://example.com/groups"] = []any{"r4"}
		claims["realm_access.exact"] = []any{"r5"}
		claims["realm_access"].(map[string]any)["exact"] = []any{"wrong"}
	}})
	for claim, want := range map[string][]string{
		"realm_access.roles":           {"r1"},
		"resource_access.my.app.roles": {"r2"},
		"cognito:groups":               {"r3"},
		"https://example.com/groups":   {"r4"},
		"realm_access.exact":           {"r5"},
		"realm_access.missing":         nil,
		"email.x":                      nil,
	} {
		t.Run(claim, func(t *testing.T) {
			t.Parallel()
			p := newProvider(t, op, func(c *oidcrp.Config) { c.GroupsClaim, c.UsernameClaim = claim, "email" })
			got := mustLogin(t, op, p).Identity
			if !slices.Equal(got.Groups, want) || got.Username != "alice@example.com" {
				t.Errorf("got %+v", got)
			}
		})
	}
}
