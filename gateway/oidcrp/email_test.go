package oidcrp_test

import (
	"strings"
	"testing"

	"go.uber.org/zap"
	"go.uber.org/zap/zapcore"
	"go.uber.org/zap/zaptest/observer"

	"github.com/caddy-sso/caddy-sso/gateway/gatewaytest"
	"github.com/caddy-sso/caddy-sso/gateway/oidcrp"
	"github.com/caddy-sso/caddy-sso/gateway/refusal"
)

// TestEmail says for each thing that email_verified can be who may be known by
// the address, and who is told of it.
func TestEmail(t *testing.T) {
	t.Parallel()
	const alice = "alice@example.com"
	byEmail := func(c *oidcrp.Config) { c.UsernameClaim = "email" }
	trusted := func(c *oidcrp.Config) { c.TrustEmail = true }
	flag := func(v any) func(map[string]any) { return setIn("email_verified", v) }
	noFlag, noEmail, noGroups := deleteFrom("email_verified"), deleteFrom("email", "email_verified"), deleteFrom("groups")
	for name, tt := range map[string]struct {
		claims, userinfo func(map[string]any)
		config           []func(*oidcrp.Config)
		user, email      string // no user: refused; "-": there is no user name
		verified         bool
	}{
		"verified":                              {user: "alice", email: alice, verified: true},
		"verified, as a string":                 {claims: flag("true"), user: "alice", email: alice, verified: true},
		"nothing is said":                       {claims: noFlag, user: "alice", email: alice},
		"null is said":                          {claims: flag(nil), user: "alice", email: alice},
		"unverified":                            {claims: flag(false), user: "alice"},
		"unverified, as a string":               {claims: flag("false"), user: "alice"},
		"something else is said":                {claims: flag("TRUE"), user: "alice"},
		"a number is said":                      {claims: flag(1), user: "alice"},
		"an object is said":                     {claims: flag(map[string]any{"email": true}), user: "alice"},
		"a list is said":                        {claims: flag([]any{true}), user: "alice"},
		"unverified, in capitals":               {claims: all(noFlag, setIn("EMAIL_VERIFIED", false)), user: "alice", email: alice},
		"no address, and it is unverified":      {claims: all(noEmail, flag(false)), userinfo: noEmail, user: "alice"},
		"unverified, and trusted":               {claims: flag(false), config: []func(*oidcrp.Config){trusted}, user: "alice", email: alice},
		"the user name, verified":               {config: []func(*oidcrp.Config){byEmail}, user: alice, email: alice, verified: true},
		"the user name, verified, as a string":  {claims: flag("true"), config: []func(*oidcrp.Config){byEmail}, user: alice, email: alice, verified: true},
		"the user name, unverified":             {claims: flag(false), config: []func(*oidcrp.Config){byEmail}},
		"the user name, nothing is said":        {claims: noFlag, config: []func(*oidcrp.Config){byEmail}},
		"the user name, trusted, nothing said":  {claims: noFlag, config: []func(*oidcrp.Config){byEmail, trusted}, user: alice, email: alice},
		"the user name, trusted, unverified":    {claims: flag(false), config: []func(*oidcrp.Config){byEmail, trusted}, user: alice, email: alice},
		"the user name, trusted, verified":      {config: []func(*oidcrp.Config){byEmail, trusted}, user: alice, email: alice, verified: true},
		"the user name, all of userinfo":        {claims: noEmail, config: []func(*oidcrp.Config){byEmail}, user: alice, email: alice, verified: true},
		"the user name, userinfo says nothing":  {claims: noEmail, userinfo: noFlag, config: []func(*oidcrp.Config){byEmail}},
		"the flag of userinfo":                  {claims: all(noFlag, noGroups), config: []func(*oidcrp.Config){byEmail}},
		"the flag of the ID token":              {claims: deleteFrom("email"), userinfo: noFlag, config: []func(*oidcrp.Config){byEmail}},
		"the flags contradict":                  {claims: all(flag(false), noGroups), userinfo: flag(true), user: "alice"},
		"the flags contradict, the other way":   {claims: noGroups, userinfo: flag(false), user: "alice", email: alice, verified: true},
		"userinfo calls its own unverified":     {claims: noEmail, userinfo: flag(false), user: "alice"},
		"a name that is the address":            {claims: setIn("preferred_username", alice), user: alice, email: alice, verified: true},
		"a name that is the address, unsaid":    {claims: all(setIn("preferred_username", alice), noFlag), user: alice, email: alice},
		"a name that is the address, not":       {claims: all(setIn("preferred_username", alice), flag(false))},
		"a name that is the address, trusted":   {claims: all(setIn("preferred_username", alice), flag(false)), config: []func(*oidcrp.Config){trusted}, user: alice, email: alice},
		"a name that looks like an address":     {claims: all(setIn("preferred_username", "alice@corp"), flag(false)), user: "alice@corp"},
		"an address as name, and a list":        {claims: all(setIn("preferred_username", alice), setIn("email", []any{alice}), flag(false)), userinfo: noEmail},
		"an address as name, a blank behind":    {claims: all(setIn("preferred_username", alice), setIn("email", alice+" "), flag("false")), userinfo: noEmail},
		"an address as name, there is none":     {claims: all(noEmail, setIn("preferred_username", alice), flag(false)), userinfo: noEmail},
		"an address as name, an empty one":      {claims: all(setIn("preferred_username", alice), setIn("email", ""), flag(0)), userinfo: noEmail},
		"an address as name, userinfo's list":   {claims: all(noEmail, setIn("preferred_username", alice)), userinfo: all(setIn("email", []any{alice}), flag(false))},
		"an address as name, another's is fine": {claims: all(setIn("preferred_username", alice), setIn("email", []any{alice}), flag(false)), userinfo: setIn("email", "al@example.com")},
		"an address as name, all of userinfo":   {claims: deleteFrom("preferred_username", "email", "email_verified"), userinfo: all(setIn("preferred_username", alice), setIn("email", alice+"\n"), flag(false))},
		"an address as name, odd, trusted":      {claims: all(setIn("preferred_username", alice), setIn("email", []any{alice}), flag(false)), userinfo: noEmail, config: []func(*oidcrp.Config){trusted}, user: alice},
		"an address as name, odd, nothing said": {claims: all(noFlag, setIn("preferred_username", alice), setIn("email", []any{alice})), userinfo: noEmail, user: alice},
		"an address as name, none, unsaid":      {claims: all(noEmail, setIn("preferred_username", alice)), userinfo: noEmail, user: alice},
		"an address as name, none, null said":   {claims: all(noEmail, setIn("preferred_username", alice), flag(nil)), userinfo: noEmail, user: alice},
		"an address as name, none, verified":    {claims: all(noEmail, setIn("preferred_username", alice), flag(true)), userinfo: noEmail, user: alice},
		"a plain name, an odd address":          {claims: all(setIn("email", []any{alice}), flag(false)), userinfo: noEmail, user: "alice"},
		"another claim with the address":        {claims: setIn("mail", alice), config: []func(*oidcrp.Config){func(c *oidcrp.Config) { c.UsernameClaim = "mail" }}, user: alice, email: alice, verified: true},
		"another claim with another address":    {claims: setIn("https://x/E-Mail", "root@example.com"), config: []func(*oidcrp.Config){func(c *oidcrp.Config) { c.UsernameClaim = "https://x/E-Mail" }}},
		"another claim with another, trusted":   {claims: setIn("mail", "al@example.com"), config: []func(*oidcrp.Config){trusted, func(c *oidcrp.Config) { c.UsernameClaim = "mail" }}, user: "al@example.com", email: alice, verified: true},
		"the address under a name in capitals":  {claims: all(noEmail, setIn("Email", alice)), userinfo: noEmail, config: []func(*oidcrp.Config){byEmail}, user: "-"},
		"no address where it is the user name":  {claims: noEmail, userinfo: noEmail, config: []func(*oidcrp.Config){byEmail}, user: "-"},
		"trusted, no address, it is the name's": {claims: noEmail, userinfo: noEmail, config: []func(*oidcrp.Config){byEmail, trusted}, user: "-"},
	} {
		t.Run(name, func(t *testing.T) {
			t.Parallel()
			op := inProcess(t)
			op.SetHooks(gatewaytest.OPHooks{Claims: tt.claims, UserInfo: tt.userinfo})
			p := newProvider(t, op, tt.config...)
			if tt.user == "" {
				_, err := op.Login(t.Context(), p)
				wantCode(t, err, refusal.OIDCEmailUnverified)
				return
			}
			if tt.user == "-" {
				_, err := op.Login(t.Context(), p)
				wantCode(t, err, refusal.NoUsername)
				return
			}
			if got := mustLogin(t, op, p).Identity; got.Username != tt.user || got.Email != tt.email || got.EmailVerified != tt.verified {
				t.Errorf("got %+v", got)
			}
		})
	}
}

// With trust_email a claim such as mail may hold plain names. A value with an @ must
// still be one address.
func TestEmailTrustedNoAddress(t *testing.T) {
	t.Parallel()
	for _, claim := range []string{"mail", "Email", "https://x/E-Mail"} {
		for value, plain := range map[string]bool{
			"alice": true, "CORP\\alice": true, "alice@example.com": true, "alice@example.com,root@example.com": false, "alice@": false, "@example.com": false,
			"alice@@example.com": false, "alice＠example.com": false, "alice﹫example.com": false, "<alice@example.com>": false, "alice@example.com root": false,
		} {
			t.Run(claim+", "+value, func(t *testing.T) {
				t.Parallel()
				op := inProcess(t)
				claims := func(m map[string]any) { m[claim], m["email_verified"] = value, false }
				op.SetHooks(gatewaytest.OPHooks{Claims: claims, UserInfo: claims})
				config := func(trusted bool) func(*oidcrp.Config) {
					return func(c *oidcrp.Config) { c.UsernameClaim, c.TrustEmail = claim, trusted }
				}
				if _, err := op.Login(t.Context(), newProvider(t, op, config(false))); err == nil {
					t.Error("it is let in without trust_email")
				}
				p := newProvider(t, op, config(true))
				if !plain {
					_, err := op.Login(t.Context(), p)
					wantCode(t, err, refusal.OIDCClaimInvalid)
					return
				}
				if got := mustLogin(t, op, p).Identity; got.Username != value {
					t.Errorf("got %+v", got)
				}
			})
		}
	}
}

// An unverified address is told under no other name either.
func TestEmailAsName(t *testing.T) {
	t.Parallel()
	op := inProcess(t)
	names := func(m map[string]any) {
		m["name"], m["given_name"], m["family_name"] = "Alice@Example.com", "alice@example.com", "Alice"
	}
	op.SetHooks(gatewaytest.OPHooks{Claims: names})
	if got := mustLogin(t, op, newProvider(t, op)).Identity; got.DisplayName != "Alice@Example.com" || got.FirstName != "alice@example.com" {
		t.Errorf("verified: got %+v", got)
	}
	noEmail := deleteFrom("email", "email_verified")
	for _, email := range []any{"alice@example.com", "alice@example.com ", []any{"alice@example.com"}, nil} {
		op.SetHooks(gatewaytest.OPHooks{UserInfo: noEmail, Claims: func(m map[string]any) {
			names(m)
			m["email"], m["email_verified"] = email, false
			m["groups"] = []any{"staff", "Alice@example.com"}
		}})
		got := mustLogin(t, op, newProvider(t, op)).Identity
		if got.Name() != "Alice" || email != nil && (len(got.Groups) != 1 || !got.GroupsPartial) {
			t.Errorf("unverified, %v: got %+v", email, got)
		}
	}
}

// Nor is one told among other words.
func TestEmailWithinName(t *testing.T) {
	t.Parallel()
	const alice = "alice@example.com"
	for name, known := range map[string]bool{ // whether it is told
		"Alice <Alice@example.com>": false, "Alice (alice@example.com)": false, "mailto:alice@example.com": false, "alice@example.com, Alice": false,
		"Alice, alice@example.com.": false, "Alice alice@example.com": false, "Alice at example.com": true, "@lice": true, "Alice O'Hara (Corp, Ltd.)": true,
	} {
		for from, email := range map[string]any{"the same": alice, "a list": []any{alice}, "none": nil} {
			t.Run(name+", "+from, func(t *testing.T) {
				t.Parallel()
				op := inProcess(t)
				for _, flag := range []bool{true, false} {
					op.SetHooks(gatewaytest.OPHooks{UserInfo: deleteFrom("email", "email_verified"), Claims: func(m map[string]any) {
						m["name"], m["email"], m["email_verified"] = name, email, flag
						delete(m, "given_name")
						delete(m, "family_name")
					}})
					if got := mustLogin(t, op, newProvider(t, op)).Identity.DisplayName; (got == name) != (flag || known) || got != name && got != "" {
						t.Errorf("verified %t: the name is %q", flag, got)
					}
				}
			})
		}
	}
}

// Nor as one with marks in it or around it, be it the address or only look like it.
func TestEmailWithMarks(t *testing.T) {
	t.Parallel()
	const alice = "alice@example.com"
	for name, email := range map[string]string{ // the name, and the address; none: any is unverified
		"o'brien@example.com": "o'brien@example.com", "O'Brien@Example.com": "o'brien@example.com", " o'brien@example.com ": "", "d'arcy@example.com": "",
		"a=b@example.com": "a=b@example.com", "b/x@example.com": "b/x@example.com", "a|b@example.com": "a|b@example.com", "{a}@example.com": "{a}@example.com",
		"Al <a=b@example.com>": "a=b@example.com", ".alice@example.com": ".alice@example.com", "alice@example.com.": "alice@example.com.",
		"“alice@example.com”": alice, "„Alice@example.com“": "", "«alice@example.com»": "", "alice@example.com!": alice, "alice@example.com?": "", "~alice@example.com": alice,
		"#alice@example.com": "", "a&alice@example.com": alice, "Alice–alice@example.com": alice, "ALICE@EXAMPLE.COM…": alice,
	} {
		t.Run(name+", "+email, func(t *testing.T) {
			t.Parallel()
			op := inProcess(t)
			op.SetHooks(gatewaytest.OPHooks{UserInfo: deleteFrom("email", "email_verified"), Claims: func(m map[string]any) {
				m["name"], m["given_name"], m["family_name"], m["email"], m["email_verified"] = name, name, name, email, false
			}})
			if got := mustLogin(t, op, newProvider(t, op)).Identity; got.DisplayName+got.FirstName+got.LastName+got.Email != "" {
				t.Errorf("got %+v", got)
			}
		})
	}
}

// The refusal names the claim, what is said, and the option; the log of a login
// that goes on says that the address was left out. Neither shows the address.
func TestEmailIsReported(t *testing.T) {
	t.Parallel()
	op := inProcess(t)
	op.SetHooks(gatewaytest.OPHooks{Claims: setIn("email_verified", false)})
	_, err := op.Login(t.Context(), newProvider(t, op, func(c *oidcrp.Config) { c.UsernameClaim = "email" }))
	for _, want := range []string{`"email"`, "email_verified is not true", `the subject "a1ice-0001"`} {
		if err == nil || !strings.Contains(err.Error(), want) {
			t.Errorf("got %v, want %s", err, want)
		}
	}
	if fix := refusal.OIDCEmailUnverified.Meaning().Fix; !strings.Contains(fix, "`trust_email`") {
		t.Errorf("the fix is %s", fix)
	}
	core, logs := observer.New(zapcore.DebugLevel)
	mustLogin(t, op, newWith(t, op, oidcrp.Deps{Logger: zap.New(core)}))
	if logs.FilterMessageSnippet("leaving out an e-mail address").FilterField(zap.String("subject", "a1ice-0001")).FilterField(zap.String("issuer", op.Issuer)).Len() != 1 {
		t.Errorf("the log says %v", logs.All())
	}
	for _, line := range logs.All() {
		if strings.Contains(line.Message, "alice@") {
			t.Errorf("the log shows the address: %s", line.Message)
		}
	}
}
