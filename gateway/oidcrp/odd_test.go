package oidcrp_test

import (
	"context"
	"maps"
	"net/http"
	"reflect"
	"slices"
	"strings"
	"testing"

	"go.uber.org/zap"
	"go.uber.org/zap/zapcore"
	"go.uber.org/zap/zaptest/observer"

	"github.com/caddy-sso/caddy-sso/gateway/gatewaytest"
	"github.com/caddy-sso/caddy-sso/gateway/oidcrp"
	"github.com/caddy-sso/caddy-sso/gateway/provider"
	"github.com/caddy-sso/caddy-sso/gateway/refusal"
)

// logged signs in at op, and returns who came in and what the log says.
func logged(t *testing.T, op *gatewaytest.OP, change ...func(*oidcrp.Config)) (*provider.Answer, string, error) {
	t.Helper()
	return loggedUsing(t, op, false, change...)
}

// loggedUsing is logged, where rules read the groups or do not.
func loggedUsing(t *testing.T, op *gatewaytest.OP, unused bool, change ...func(*oidcrp.Config)) (*provider.Answer, string, error) {
	t.Helper()
	core, logs := observer.New(zapcore.InfoLevel)
	answer, err := op.Login(t.Context(), unusing{newWith(t, op, oidcrp.Deps{Logger: zap.New(core)}, change...), unused})
	var text strings.Builder
	for _, line := range logs.All() {
		text.WriteString(line.Message)
		for _, name := range slices.Sorted(maps.Keys(line.ContextMap())) {
			if s, ok := line.ContextMap()[name].(string); ok && name != "issuer" {
				text.WriteString("; " + name + ": " + s)
			}
		}
		text.WriteByte('\n')
	}
	return answer, text.String(), err
}

// TestWhatDecidesNothing changes claims that only describe a person: the sign-in goes
// on, the rest stays as it was, and the log names what was left out.
func TestWhatDecidesNothing(t *testing.T) {
	t.Parallel()
	odd := []any{7, true, []any{"A", "B"}, map[string]any{"a": "b"}, []any{}, strings.Repeat("x", 1025)}
	for claim, lost := range map[string]func(*provider.Answer){
		"name":        func(a *provider.Answer) { a.Identity.DisplayName = "" },
		"given_name":  func(a *provider.Answer) { a.Identity.FirstName = "" },
		"family_name": func(a *provider.Answer) { a.Identity.LastName = "" },
		"acr":         func(a *provider.Answer) { a.Identity.ACR = "" },
		"sid":         func(a *provider.Answer) { a.SessionID = "" },
		"amr":         func(a *provider.Answer) { a.Identity.AMR = nil },
		"email":       func(a *provider.Answer) { a.Identity.Email, a.Identity.EmailVerified = "", false },
	} {
		t.Run(claim, func(t *testing.T) {
			t.Parallel()
			op := inProcess(t)
			noMail := gatewaytest.OPHooks{UserInfo: deleteFrom("email")} // it is asked for, and has none either
			op.SetHooks(noMail)
			want := mustLogin(t, op, newProvider(t, op)) // the control
			if want.Identity.Name() == "" || want.SessionID == "" || want.Identity.Email == "" {
				t.Fatalf("the control lacks something: %+v", want)
			}
			lost(want)
			for _, value := range append([]any{nil}, odd...) {
				if list, ok := value.([]any); ok && claim == "amr" && !slices.Contains(list, any(7)) {
					continue // that is in order
				}
				noMail.Claims = setIn(claim, value)
				op.SetHooks(noMail)
				got, text, err := logged(t, op)
				if err != nil {
					t.Fatalf("%v: %v", value, err)
				}
				got.Identity.AuthTime = want.Identity.AuthTime
				if !reflect.DeepEqual(got, want) {
					t.Errorf("%v: got %+v, want %+v", value, got, want)
				}
				if named := strings.Contains(text, "leaving out what can't be used of a claim; claim: "+claim+"; reason: "); named != (value != nil) {
					t.Errorf("%v: the log says %q", value, text)
				}
				if strings.Contains(text, "xxx") {
					t.Error("the log shows the value")
				}
			}
		})
	}
}

// TestOddGroups leaves odd entries out of the groups, and says that these are not
// all: what depends on not being in a group must not hold.
func TestOddGroups(t *testing.T) {
	t.Parallel()
	for name, tt := range map[string]struct {
		groups any
		want   []string
		note   string // within the note; empty: they are all
	}{
		"all in order":      {[]any{"staff", "admins"}, []string{"staff", "admins"}, ""},
		"an empty one":      {[]any{"staff", "", "admins"}, []string{"staff", "admins"}, "1 of 3 entries"},
		"null":              {[]any{nil, "staff"}, []string{"staff"}, "1 of 2 entries"},
		"a number":          {[]any{"staff", 7}, []string{"staff"}, "1 of 2 entries"},
		"an object":         {[]any{map[string]any{"name": "admins"}, "staff"}, []string{"staff"}, "1 of 2 entries"},
		"a list":            {[]any{"staff", []any{"admins"}}, []string{"staff"}, "1 of 2 entries"},
		"too long":          {[]any{strings.Repeat("x", 513), "staff"}, []string{"staff"}, "1 of 2 entries"},
		"a line break":      {[]any{"staff", "a\nb"}, []string{"staff"}, "1 of 2 entries"},
		"nothing but odd":   {[]any{nil, 7}, []string{}, "2 of 2 entries"},
		"no groups":         {[]any{}, []string{}, ""},
		"one text":          {"staff", []string{"staff"}, ""},
		"an empty text":     {"", []string{}, ""},
		"a long text alone": {strings.Repeat("x", 513), []string{}, "1 of 1 entries"},
	} {
		t.Run(name, func(t *testing.T) {
			t.Parallel()
			for _, from := range []string{"the ID token", "userinfo"} {
				op := inProcess(t)
				hooks := gatewaytest.OPHooks{Claims: setIn("groups", tt.groups)}
				if from == "userinfo" {
					hooks = gatewaytest.OPHooks{Claims: deleteFrom("groups"), UserInfo: setIn("groups", tt.groups)}
				}
				op.SetHooks(hooks)
				got, text, err := logged(t, op)
				if err != nil {
					t.Fatalf("%s: %v", from, err)
				}
				id := got.Identity
				if !slices.Equal(id.Groups, tt.want) || id.GroupsPartial != (tt.note != "") || !strings.Contains(id.GroupsNote, tt.note) {
					t.Errorf("%s: got %q, partial %t, %q", from, id.Groups, id.GroupsPartial, id.GroupsNote)
				}
				if strings.Contains(text, "claim: groups") != (tt.note != "") {
					t.Errorf("%s: the log says %q", from, text)
				}
			}
		})
	}
}

// TestOverage: groups that the provider names elsewhere (OIDC Core §5.6.2) are not known,
// and nothing is fetched from there.
func TestOverage(t *testing.T) {
	t.Parallel()
	for name, mark := range map[string]func(map[string]any){
		"claim names": func(c map[string]any) {
			c["_claim_names"] = map[string]any{"groups": "src1", "email": "src2"}
			c["_claim_sources"] = map[string]any{
				"src1": map[string]any{"endpoint": "https://graph.test/elsewhere", "access_token": "x"}, "src2": map[string]any{"JWT": "e30.e30."},
			}
		},
		"hasgroups":               setIn("hasgroups", true),
		"hasgroups, as a text":    setIn("hasgroups", "true"),
		"hasgroups, a number":     setIn("hasgroups", 1),
		"claim names, no sources": setIn("_claim_names", map[string]any{"groups": "src1"}),
		"claim names, a text":     setIn("_claim_names", `{"groups":"src1"}`),
		"claim names, a list":     setIn("_claim_names", []any{"groups"}),
		"claim names, a number":   setIn("_claim_names", 7),
		"hasgroups, a list":       setIn("hasgroups", []any{}),
	} {
		t.Run(name, func(t *testing.T) {
			t.Parallel()
			op := inProcess(t)
			hooks := gatewaytest.OPHooks{Claims: func(c map[string]any) { delete(c, "groups"); mark(c) }, UserInfo: deleteFrom("groups")}
			op.SetHooks(hooks)
			if id := mustLogin(t, op, newProvider(t, op)).Identity; !id.GroupsPartial || id.Groups != nil || !strings.Contains(id.GroupsNote, "overage") || id.Email != "alice@example.com" {
				t.Errorf("got %+v", id)
			}
			wantRequests(t, op, "/elsewhere", 0)
			hooks.UserInfo = nil // it names them all
			op.SetHooks(hooks)
			if id := mustLogin(t, op, newProvider(t, op)).Identity; id.GroupsPartial || len(id.Groups) != 2 {
				t.Errorf("with userinfo: got %+v", id)
			}
		})
	}
}

// TestGroupsOnAPath: what stands in the way of the path leaves the groups
// unknown, but a parent that is missing means none.
func TestGroupsOnAPath(t *testing.T) {
	t.Parallel()
	for name, tt := range map[string]struct {
		claims map[string]any
		known  bool
	}{
		"missing":              {nil, true},
		"null":                 {map[string]any{"realm_access": nil}, true},
		"an empty object":      {map[string]any{"realm_access": map[string]any{}}, true},
		"a null within":        {map[string]any{"realm_access": map[string]any{"app": nil}}, true},
		"there":                {map[string]any{"realm_access": map[string]any{"app": map[string]any{"roles": []any{"guests"}}}}, true},
		"there by its name":    {map[string]any{"realm_access": "x", "realm_access.app.roles": []any{"guests"}}, true},
		"a list":               {map[string]any{"realm_access": []any{map[string]any{"app": 1}}}, false},
		"a text":               {map[string]any{"realm_access": `{"app":{"roles":["guests"]}}`}, false},
		"a number":             {map[string]any{"realm_access": 7}, false},
		"a list within":        {map[string]any{"realm_access": map[string]any{"app": []any{"roles"}}}, false},
		"a name with a dot":    {map[string]any{"realm_access.app": "x"}, false},
		"elsewhere":            {map[string]any{"_claim_names": map[string]any{"realm_access.app.roles": "src1"}}, false},
		"its head elsewhere":   {map[string]any{"_claim_names": map[string]any{"realm_access": "src1"}}, false},
		"its middle elsewhere": {map[string]any{"_claim_names": map[string]any{"realm_access.app": "src1"}}, false},
		"another elsewhere":    {map[string]any{"_claim_names": map[string]any{"realm": "src1", "roles": "src1", "address": "src1"}}, true},
	} {
		t.Run(name, func(t *testing.T) {
			t.Parallel()
			for _, from := range []string{"the ID token", "userinfo"} {
				add := func(m map[string]any) { maps.Copy(m, tt.claims) }
				if tt.claims["_claim_names"] != nil {
					add = func(m map[string]any) {
						maps.Copy(m, tt.claims)
						m["_claim_sources"] = map[string]any{"src1": map[string]any{}}
					}
				}
				op := inProcess(t)
				op.SetHooks(gatewaytest.OPHooks{Claims: add})
				if from == "userinfo" {
					op.SetHooks(gatewaytest.OPHooks{UserInfo: add})
				}
				id := mustLogin(t, op, newProvider(t, op, func(c *oidcrp.Config) { c.GroupsClaim = "realm_access.app.roles" })).Identity
				if id.GroupsPartial == tt.known || tt.known == (strings.Contains(id.GroupsNote, "path") || strings.Contains(id.GroupsNote, "elsewhere")) {
					t.Errorf("%s: got %q, partial %t, %q", from, id.Groups, id.GroupsPartial, id.GroupsNote)
				}
			}
		})
	}
}

// unusing is a provider whose people's groups no rule reads.
type unusing struct {
	provider.Provider
	groups bool
}

func (p unusing) Complete(ctx context.Context, req provider.CompleteRequest) (*provider.Answer, error) {
	req.GroupsUnused = p.groups
	return p.Provider.Complete(ctx, req)
}

// TestUserInfoFails asks userinfo only for what somebody needs, and goes on
// without what nothing needs.
func TestUserInfoFails(t *testing.T) {
	t.Parallel()
	answers := func(status int) http.HandlerFunc {
		return func(w http.ResponseWriter, _ *http.Request) { w.WriteHeader(status) }
	}
	says := func(body string) http.HandlerFunc {
		return func(w http.ResponseWriter, _ *http.Request) {
			w.Header().Set("Content-Type", "application/json")
			_, _ = w.Write([]byte(body))
		}
	}
	html := func(w http.ResponseWriter, _ *http.Request) { w.Header().Set("Content-Type", "text/html") }
	for _, tt := range []struct {
		name    string
		missing string // of the ID token
		unused  bool   // no rule reads groups
		serve   http.HandlerFunc
		asked   bool
		code    refusal.Code
		says    string // in the error, or in the note on groups
	}{
		{name: "all is there", serve: answers(401)},
		{name: "groups, which no rule needs", missing: "groups", unused: true, serve: answers(401), says: "no rule needs it"},
		{name: "groups, refused", missing: "groups", serve: answers(401), asked: true, says: `the claim "groups" is not in the ID token, and userinfo can't be had: asking userinfo: checking the response: the status is 401`},
		{name: "groups, forbidden", missing: "groups", serve: answers(403), asked: true, says: "the status is 403"},
		{name: "groups, not there", missing: "groups", serve: answers(404), asked: true, says: "the status is 404"},
		{name: "groups, a web page", missing: "groups", serve: html, asked: true, says: `the content type is "text/html"`},
		{name: "groups, a passing fault", missing: "groups", serve: answers(502), asked: true, code: refusal.ProviderUnavailable, says: "502"},
		{name: "groups, too many requests", missing: "groups", serve: answers(429), asked: true, code: refusal.ProviderUnavailable, says: "429"},
		{name: "e-mail, refused", missing: "email", serve: answers(401), asked: true},
		{name: "e-mail, a passing fault", missing: "email", serve: answers(503), asked: true},
		{name: "e-mail, an empty answer", missing: "email", serve: says(""), asked: true},
		{name: "e-mail, half of an answer", missing: "email", serve: says(`{"sub":`), asked: true},
		{name: "e-mail, a list", missing: "email", serve: says("[]"), asked: true},
		{name: "e-mail, a name twice", missing: "email", serve: says(`{"sub":"x","a":1,"a":2}`), asked: true},
		{name: "e-mail, the subject twice", missing: "email", serve: says(`{"sub":"a1ice-0001","sub":"a1ice-0001"}`), asked: true, code: refusal.OIDCTokenMalformed, says: "stands twice"},
		{name: "e-mail, no subject", missing: "email", serve: says("{}"), asked: true, code: refusal.OIDCSubjectMismatch},
		{name: "e-mail, an odd subject", missing: "email", serve: says(`{"sub":7}`), asked: true, code: refusal.OIDCClaimInvalid},
		{name: "groups, an empty answer", missing: "groups", serve: says(""), asked: true, code: refusal.OIDCTokenMalformed, says: "no valid JSON"},
		{name: "groups, a name twice", missing: "groups", serve: says(`{"a":1,"a":2}`), asked: true, code: refusal.OIDCTokenMalformed, says: "stands twice"},
		{name: "groups no rule needs, and no e-mail", missing: "groups,email", unused: true, serve: says("x"), asked: true, says: "can't be had"},
		{name: "user name, refused", missing: "preferred_username", serve: answers(401), asked: true, code: refusal.NoUsername, says: `the claim "preferred_username" is not in the ID token, and userinfo can't be had: asking userinfo: checking the response: the status is 401`},
		{name: "user name, a passing fault", missing: "preferred_username", unused: true, serve: answers(500), asked: true, code: refusal.ProviderUnavailable, says: "500"},
	} {
		t.Run(tt.name, func(t *testing.T) {
			t.Parallel()
			op := inProcess(t)
			hooks := gatewaytest.OPHooks{Claims: deleteFrom(strings.Split(tt.missing, ",")...)}
			op.SetHooks(hooks)
			p := newProvider(t, op)
			if id := mustLogin(t, op, p).Identity; id.Username != "alice" || id.Email == "" || len(id.Groups) != 2 {
				t.Fatalf("the control: got %+v", id)
			}
			before := op.Requests(gatewaytest.OPUserInfoPath)
			hooks.Serve = map[string]http.HandlerFunc{gatewaytest.OPUserInfoPath: tt.serve}
			op.SetHooks(hooks)
			got, err := op.Login(t.Context(), unusing{p, tt.unused})
			if asked := op.Requests(gatewaytest.OPUserInfoPath) > before; asked != tt.asked {
				t.Errorf("userinfo was asked: %t", asked)
			}
			if tt.code != "" {
				wantCode(t, err, tt.code)
				if !strings.Contains(err.Error(), tt.says) {
					t.Errorf("got %v, want %q", err, tt.says)
				}
				return
			}
			if err != nil {
				t.Fatal(err)
			}
			id := got.Identity
			if id.Username != "alice" || strings.Contains(tt.missing, "email") != (id.Email == "") || id.GroupsPartial != strings.Contains(tt.missing, "groups") || !strings.Contains(id.GroupsNote, tt.says) {
				t.Errorf("got %+v", id)
			}
		})
	}
	t.Run("no user name anywhere", func(t *testing.T) {
		t.Parallel()
		op := inProcess(t)
		op.SetHooks(gatewaytest.OPHooks{Claims: setIn("preferred_username", nil), UserInfo: setIn("preferred_username", "")})
		_, err := op.Login(t.Context(), newProvider(t, op))
		wantCode(t, err, refusal.NoUsername)
		if want := `the claim "preferred_username" is neither in the ID token nor in userinfo`; !strings.Contains(err.Error(), want) {
			t.Errorf("got %v, want %q", err, want)
		}
	})
}
