package gateway_test

import (
	"encoding/json"
	"fmt"
	"maps"
	"net/http"
	"slices"
	"strings"
	"testing"

	"go.uber.org/zap"
	"go.uber.org/zap/zaptest/observer"

	"github.com/caddy-sso/caddy-sso/gateway"
	"github.com/caddy-sso/caddy-sso/gateway/forward"
	"github.com/caddy-sso/caddy-sso/gateway/provider"
	"github.com/caddy-sso/caddy-sso/gateway/refusal"
	"github.com/caddy-sso/caddy-sso/gateway/usernames"
	"github.com/caddy-sso/caddy-sso/mapping"
)

// bound are rules for the people of each provider.
func bound(o *gateway.AppOptions) {
	o.Rules = mapping.Rules{}
	o.From = []gateway.From{
		{Providers: []string{"corp"}, Rules: mapping.Rules{
			Role: []mapping.Line{line("Admin", "admins"), line("User", "staff")}, Template: []mapping.Line{line("full", "admins")}, Group: []mapping.Line{line("team", "staff")},
		}},
		{Providers: []string{"partner"}, Rules: mapping.Rules{Role: []mapping.Line{line("Guest", "*")}, Template: []mapping.Line{line("guest", "*")}}},
	}
	o.Headers = forward.DefaultNames
	o.Headers.Provider = "Remote-Provider"
}

// apart is a site with the providers corp and partner, whose people lie in spaces
// of their own.
func (l *lab) apart(partner provider.Provider, space usernames.Space, change ...func(*gateway.Options)) *site {
	l.t.Helper()
	with := func(o *gateway.Options) {
		o.Providers[0].EmailDomains = []string{"corp.example"}
		o.Providers = append(o.Providers, gateway.NamedProvider{Name: "partner", DisplayName: "Partner", Provider: partner, Users: space})
	}
	return l.siteOf(l.gateway(append([]func(*gateway.Options){with}, change...)...), appHost, bound)
}

// inAt signs a person in at a provider that is no SAML provider.
func (b *browser) inAt(idp *fakeIDP, name, person string) {
	b.t.Helper()
	wantRedirect(b.t, b.bring(idp.answer(b.t, b.choose(name, "/"), person)), "https://app.example/")
}

// told is all that the app is told of a person, by header and claim.
func (b *browser) told() (headers, claims map[string]string) {
	b.t.Helper()
	wantStatus(b.t, b.open("/"), http.StatusOK)
	r := b.got()
	headers, claims = map[string]string{}, map[string]string{}
	for name, values := range r.header {
		if strings.HasPrefix(name, "Remote-") {
			headers[name] = strings.Join(values, "|")
		}
	}
	for name, value := range claimsOf(b.t, r.header.Get("X-Sso-Assertion")) {
		text, err := json.Marshal(value)
		mustDo(b.t, err)
		claims[name] = string(text)
	}
	return headers, claims
}

// TestPeopleAreKeptApart has two providers say the same of their alice, word for
// word.
func TestPeopleAreKeptApart(t *testing.T) {
	t.Parallel()
	l := newLab(t)
	partner := newFakeIDP("https://partner.example")
	s := l.apart(partner, usernames.Space{Prefix: "partner-"})
	ours, theirs := s.browser(), s.browser()
	ours.inAt(l.idp, "corp", "alice")
	theirs.inAt(partner, "partner", "alice")
	ourHeaders, ourClaims := ours.told()
	theirHeaders, theirClaims := theirs.told()

	want := map[string]string{"Remote-User": "alice", "Remote-Email": "alice@corp.example", "Remote-Name": "Alice Example", "Remote-Roles": "Admin,User", "Remote-Groups": "team", "Remote-Provider": "corp"}
	if !maps.Equal(ourHeaders, want) {
		t.Errorf("corp's alice is %v", ourHeaders)
	}
	want = map[string]string{"Remote-User": "partner-alice", "Remote-Name": "Alice Example", "Remote-Roles": "Guest", "Remote-Provider": "partner"}
	if !maps.Equal(theirHeaders, want) {
		t.Errorf("the partner's alice is %v", theirHeaders)
	}
	for _, claim := range []string{"sub", "preferred_username", "email", "email_verified", "roles", "groups", "template", "sid", "idp"} {
		if ourClaims[claim] == theirClaims[claim] {
			t.Errorf("the claim %s of both is %s", claim, ourClaims[claim])
		}
	}
	if theirClaims["preferred_username"] != `"partner-alice"` || theirClaims["email_verified"] != "false" || theirClaims["groups"] != "[]" {
		t.Errorf("the partner's alice is %v", theirClaims)
	}

	// Our pages and the audit log have the same name.
	for path, page := range map[string]string{
		"/.sso/session": theirs.open("/.sso/session").Body.String(), "/.sso/logout": theirs.open("/.sso/logout").Body.String(),
		"JSON": theirs.fetch("/.sso/session").Body.String(),
	} {
		if !strings.Contains(page, "partner-alice") {
			t.Errorf("%s does not name partner-alice:\n%s", path, page)
		}
	}
	wantStatus(t, theirs.post("/.sso/logout"), http.StatusSeeOther)
	for _, ev := range l.seen() {
		if ev.Provider == "partner" && ev.Username != "partner-alice" {
			t.Errorf("the audit log has %+v", ev)
		}
	}
}

// TestForeignUserNames refuses names of another provider's space, before
// anything is kept, and such as are not of the provider's own.
func TestForeignUserNames(t *testing.T) {
	t.Parallel()
	for name, tc := range map[string]struct {
		space    usernames.Space
		of       string // the provider
		username string
	}{
		"corp says a name with the prefix":    {usernames.Space{Prefix: "partner-"}, "corp", "partner-alice"},
		"in capitals":                         {usernames.Space{Prefix: "partner-"}, "corp", "PARTNER-alice"},
		"corp says a name with the suffix":    {usernames.Space{Suffix: "@partner"}, "corp", "alice@partner"},
		"corp says an address of the partner": {usernames.Space{Domain: "partner.example"}, "corp", "alice@Partner.example"},
		"the partner says a bare name":        {usernames.Space{Domain: "partner.example"}, "partner", "alice"},
		"the partner says corp's address":     {usernames.Space{Domain: "partner.example"}, "partner", "alice@corp.example"},
	} {
		t.Run(name, func(t *testing.T) {
			t.Parallel()
			l := newLab(t)
			partner := newFakeIDP("https://partner.example")
			idp := map[string]*fakeIDP{"corp": l.idp, "partner": partner}[tc.of]
			idp.person("mallory", provider.Identity{Username: tc.username, Groups: []string{"admins"}})
			s := l.apart(partner, tc.space)
			b := s.browser()
			wantRefused(t, b.open(idp.answer(t, b.choose(tc.of, "/"), "mallory").target), refusal.UsernameForeign)
			wantKept(t, l, 0, 0, 0)
			if b.cookie("__Host-sso") != "" || s.reached() > 0 {
				t.Error("the person came in")
			}
			if ev := l.seen()[len(l.seen())-1]; ev.Code != refusal.UsernameForeign || ev.Err == nil || !strings.HasSuffix(ev.Username, tc.username) {
				t.Errorf("the audit log has %+v", ev)
			} else if !strings.Contains(ev.Err.Error(), tc.space.String()) {
				t.Errorf("the audit log names no space: %v", ev.Err)
			}
		})
	}
}

// TestNewSpacesHoldAtOnce changes name spaces under people who are signed in.
func TestNewSpacesHoldAtOnce(t *testing.T) {
	t.Parallel()
	l := newLab(t)
	partner := newFakeIDP("https://partner.example")
	partner.person("bob", provider.Identity{Username: "ext-bob", Email: "bob@partner.example", Groups: []string{"staff"}})
	l.idp.person("bob", provider.Identity{Username: "ext-bob", Groups: []string{"staff"}})
	load := func(space usernames.Space, domains ...string) *site {
		return l.apart(partner, space, func(o *gateway.Options) { o.Providers[1].EmailDomains = domains })
	}
	before := load(usernames.Space{Prefix: "p-"})
	theirs, ours := before.browser(), before.browser()
	theirs.inAt(partner, "partner", "bob")
	ours.inAt(l.idp, "corp", "bob")
	account := ""
	for _, step := range []struct {
		space   usernames.Space
		domains []string
		user    string
		email   string
		ours    refusal.Code
	}{
		{usernames.Space{Prefix: "p-"}, nil, "p-ext-bob", "", ""},
		{usernames.Space{Suffix: "@p"}, []string{"partner.example"}, "ext-bob@p", "bob@partner.example", ""},
		{usernames.Space{Prefix: "ext-"}, nil, "ext-ext-bob", "", refusal.UsernameForeign},
		{usernames.Space{Domain: "partner.example"}, nil, "", "", ""},
		{usernames.Space{Prefix: "p-"}, nil, "p-ext-bob", "", ""},
	} {
		s := load(step.space, step.domains...)
		switch w := theirs.at(s).fetch("/"); {
		case step.user == "":
			wantRefused(t, w, refusal.UsernameForeign)
		default:
			wantStatus(t, w, http.StatusOK)
			h, p := s.got().header, s.got().principal
			if h.Get("Remote-User") != step.user || h.Get("Remote-Email") != step.email || p.Username != step.user {
				t.Errorf("%s: the partner's bob is %q, %q", step.space, h.Get("Remote-User"), h.Get("Remote-Email"))
			}
			if account != "" && p.Account != account {
				t.Errorf("%s: the account has changed", step.space)
			}
			account = p.Account
		}
		if w := ours.at(s).fetch("/"); step.ours != "" {
			wantRefused(t, w, step.ours)
		} else {
			wantStatus(t, w, http.StatusOK)
		}
	}
}

// TestSamePeople has two providers of the same people, and rules for all of them
// and for one.
func TestSamePeople(t *testing.T) {
	t.Parallel()
	l := newLab(t)
	entra := newFakeIDP("https://entra.example")
	s := l.siteOf(l.gateway(beside(named("entra", entra))), appHost, func(o *gateway.AppOptions) {
		o.From = []gateway.From{{Providers: []string{"entra"}, Rules: mapping.Rules{Role: []mapping.Line{line("Mobile", "staff")}}}}
	})
	for name, idp := range map[string]*fakeIDP{"corp": l.idp, "entra": entra} {
		b := s.browser()
		b.inAt(idp, name, "alice")
		headers, _ := b.told()
		want := map[string]string{"corp": "Admin,User", "entra": "Admin,User,Mobile"}[name]
		if headers["Remote-User"] != "alice" || headers["Remote-Email"] != "alice@corp.example" || headers["Remote-Roles"] != want {
			t.Errorf("%s: %v", name, headers)
		}
	}
}

// TestOneIssuerTwice has a SAML provider whose metadata turn out to name the
// entity ID of another provider with other people.
func TestOneIssuerTwice(t *testing.T) {
	t.Parallel()
	l := newLab(t)
	partner := newFakeIDP("")
	log, logs := observer.New(zap.ErrorLevel)
	s := l.apart(partner, usernames.Space{Prefix: "partner-"}, func(o *gateway.Options) { o.Logger = zap.New(log) })
	b := s.browser()
	b.inAt(l.idp, "corp", "alice")
	wantStatus(t, b.open("/"), http.StatusOK)
	if logs.Len() > 0 {
		t.Errorf("logged: %v", logs.All())
	}
	partner.issuer, partner.protocol = l.idp.issuer, l.idp.protocol
	const cause = "providers corp and partner name one issuer, \"https://id.example\""
	for name, idp := range map[string]*fakeIDP{"corp": l.idp, "partner": partner} {
		wantRefused(t, b.fetch("/"), refusal.Unauthenticated)
		late := s.browser()
		wantRefused(t, late.open(idp.answer(t, late.choose(name, "/"), "alice").target), refusal.UsernameForeign)
		if ev := l.seen()[len(l.seen())-1]; ev.Err == nil || !strings.Contains(ev.Err.Error(), cause) {
			t.Errorf("at %s: the audit log has %v", name, ev.Err)
		}
	}
	lines := logs.All()
	if len(lines) != 1 {
		t.Fatalf("logged: %v", lines)
	}
	for _, want := range []string{cause, "write `same_people corp partner`, and the same `users` for both, for they have different ones;", "one of them has the other's metadata", "app.example"} {
		if text := fmt.Sprint(lines[0].ContextMap()); !strings.Contains(text, want) {
			t.Errorf("the line has no %q: %s", want, text)
		}
	}
}

// TestWithoutEmails lists the providers whose people come to an app without an e-mail
// address.
func TestWithoutEmails(t *testing.T) {
	t.Parallel()
	for name, tc := range map[string]struct {
		corp, partner []string
		same          bool
		headers       forward.HeaderNames
		want          []string
	}{
		"one has none":        {corp: []string{"corp.example"}, headers: forward.DefaultNames, want: []string{"partner"}},
		"both have none":      {headers: forward.DefaultNames, want: []string{"corp", "partner"}},
		"both have some":      {corp: []string{"corp.example"}, partner: []string{"partner.example"}, headers: forward.DefaultNames},
		"the same people":     {same: true, headers: forward.DefaultNames},
		"no header for it":    {headers: forward.HeaderNames{User: "Remote-User"}},
		"the assertion alone": {headers: forward.HeaderNames{Assertion: "X-Sso-Assertion"}, want: []string{"corp", "partner"}},
	} {
		t.Run(name, func(t *testing.T) {
			t.Parallel()
			l := newLab(t)
			g := l.gateway(func(o *gateway.Options) {
				o.Providers[0].EmailDomains = tc.corp
				partner := gateway.NamedProvider{Name: "partner", Provider: newFakeIDP("https://partner.example"), EmailDomains: tc.partner}
				if !tc.same {
					partner.Users.Prefix = "partner-"
				}
				o.Providers = append(o.Providers, partner)
			})
			got := l.siteOf(g, appHost, func(o *gateway.AppOptions) {
				if bound(o); tc.same {
					o.Rules, o.From = everyone, nil
				}
				o.Headers = tc.headers
			}).app.WithoutEmails()
			if !slices.Equal(got, tc.want) {
				t.Errorf("named are %q, want %q", got, tc.want)
			}
		})
	}
}

// TestPeopleFaults has configurations that don't say whose people they mean.
func TestPeopleFaults(t *testing.T) {
	t.Parallel()
	l := newLab(t)
	partner := gateway.NamedProvider{Name: "partner", Provider: newFakeIDP("https://partner.example"), Users: usernames.Space{Prefix: "p-"}}
	g := l.gateway(beside(partner))
	var raw forward.Format
	for i := range raw.Encodings {
		raw.Encodings[i] = forward.UTF8
	}
	role := mapping.Rules{Role: []mapping.Line{line("User", "*")}}
	for name, tc := range map[string]struct {
		opts gateway.AppOptions
		want []string
	}{
		"a role that would be two": {
			gateway.AppOptions{HeaderFormat: raw, From: []gateway.From{{Providers: []string{"corp"}, Rules: mappingFor("a")}, {Providers: []string{"partner"}, Rules: mapping.Rules{Role: []mapping.Line{line("a,b", "*")}}}}},
			[]string{`header_encoding: with utf8 the app would misread "a,b" in the list of roles`, "`headers roles off`"},
		},
		"rules for everybody":     {gateway.AppOptions{Rules: role}, []string{"`from corp { … }`, `from partner { … }`"}},
		"no rules for one":        {gateway.AppOptions{From: []gateway.From{{Providers: []string{"corp"}, Rules: role}}}, []string{"provider partner has no rule", "`from partner { … }`"}},
		"no rules at all":         {gateway.AppOptions{}, []string{"no role, template or group line"}},
		"rules for nobody here":   {gateway.AppOptions{From: []gateway.From{{Providers: []string{"corp", "partner", "x"}, Rules: role}}}, []string{`from: there is no provider "x" at this site: write one of corp, partner`}},
		"the same line twice":     {gateway.AppOptions{From: []gateway.From{{Providers: []string{"corp", "partner"}, Rules: role}, {Providers: []string{"corp"}, Rules: role}}}, []string{"from[1].role[0]", "says the same as the line at from[0].role[0]"}},
		"same people, nobody":     {gateway.AppOptions{SamePeople: [][]string{{"corp", "x"}}}, []string{`same_people: there is no provider "x" here`}},
		"same people, twice":      {gateway.AppOptions{SamePeople: [][]string{{"corp", "corp"}}}, []string{`"corp" is named twice`}},
		"same people, one":        {gateway.AppOptions{SamePeople: [][]string{{"corp"}}}, []string{"two providers or more"}},
		"same people, two spaces": {gateway.AppOptions{SamePeople: [][]string{{"corp", "partner"}}}, []string{"(no `users`, and `users prefix p-`)"}},
	} {
		if _, err := g.NewApp(tc.opts); err == nil {
			t.Errorf("%s: was taken", name)
		} else {
			wantFaults(t, err, tc.want...)
		}
	}
	_, err := gateway.New(gateway.Options{
		SamePeople: [][]string{{"corp", "x"}, {"corp"}},
		Providers:  []gateway.NamedProvider{{Name: "corp", Provider: l.idp, Users: usernames.Space{Prefix: "a b"}, EmailDomains: []string{"@x"}}},
	})
	wantFaults(t, err, `"x"`, "two providers or more", `provider "corp": users: "a b"`, `provider "corp": email_domains: "@x"`)
}
