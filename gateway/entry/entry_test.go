package entry_test

import (
	"context"
	"errors"
	"fmt"
	"slices"
	"strings"
	"testing"
	"time"

	"go.uber.org/zap"

	"github.com/caddy-sso/caddy-sso/gateway/entry"
	"github.com/caddy-sso/caddy-sso/gateway/oidcop"
	"github.com/caddy-sso/caddy-sso/gateway/provider"
	"github.com/caddy-sso/caddy-sso/gateway/refusal"
	"github.com/caddy-sso/caddy-sso/gateway/session"
	"github.com/caddy-sso/caddy-sso/gateway/usernames"
	"github.com/caddy-sso/caddy-sso/mapping"
)

// A known is a provider that is only asked who it is.
type known struct {
	provider.Provider
	protocol           provider.Protocol
	issuer, definition string
}

func (k *known) Protocol() provider.Protocol { return k.protocol }
func (k *known) Issuer() string              { return k.issuer }
func (k *known) Definition() string          { return k.definition }

// named returns a provider with an issuer of its own.
func named(name string) *entry.Provider {
	return &entry.Provider{Name: name, Provider: &known{protocol: provider.OIDC, issuer: "https://" + name + ".example", definition: "1"}}
}

func lines(to, from string) []mapping.Line {
	return []mapping.Line{{To: []string{to}, From: []string{from}}}
}

func policyOf(t *testing.T, opts entry.Options) *entry.Policy {
	t.Helper()
	opts.Logger, opts.App, opts.Once = zap.NewNop(), func() string { return "app.example" }, func(string, any) bool { return true }
	p, err := entry.New(opts)
	if err != nil {
		t.Fatal(err)
	}
	return p
}

func wantCode(t *testing.T, refused *refusal.Error, want refusal.Code) {
	t.Helper()
	var got refusal.Code
	if refused != nil {
		got = refused.Code
	}
	if got != want {
		t.Errorf("refused with %q (%v), want %q", got, refused, want)
	}
}

// TestAdmit has one name space: user names stay as they are.
func TestAdmit(t *testing.T) {
	t.Parallel()
	roles := mapping.Rules{Role: lines("Admin", "admins")}
	everybody := mapping.Rules{Role: lines("User", "*")}
	editors := mapping.Rules{Template: []mapping.Line{
		{To: []string{"Owner"}, From: []string{"owners"}}, {To: []string{"Editor"}, From: []string{"staff"}},
	}}
	for name, tt := range map[string]struct {
		rules                   mapping.Rules
		id                      provider.Identity
		code                    refusal.Code
		roles, groups, template string
	}{
		"a role":                      {rules: roles, id: provider.Identity{Groups: []string{"admins", "others"}}, roles: "Admin", groups: "admins"},
		"another group":               {rules: roles, id: provider.Identity{Groups: []string{"Admins"}}, code: refusal.AccessDenied},
		"no group":                    {rules: roles, code: refusal.AccessDenied},
		"everybody":                   {rules: everybody, roles: "User"},
		"a group called *":            {rules: roles, id: provider.Identity{Groups: []string{"*"}}, code: refusal.AccessDenied},
		"a group of the app's":        {rules: mapping.Rules{Group: lines("wiki", "admins")}, id: provider.Identity{Groups: []string{"admins"}}, groups: "wiki"},
		"a template":                  {rules: editors, id: provider.Identity{Groups: []string{"staff"}}, template: "Editor", groups: "staff"},
		"a template, groups partial":  {rules: editors, id: provider.Identity{Groups: []string{"staff"}, GroupsPartial: true}, code: refusal.AccessDenied},
		"first template, partial":     {rules: editors, id: provider.Identity{Groups: []string{"owners"}, GroupsPartial: true}, template: "Owner", groups: "owners"},
		"a group with control":        {rules: everybody, id: provider.Identity{Groups: []string{"a\nb"}}, roles: "User"}, // the app is not told of it
		"no visible character":        {rules: everybody, id: provider.Identity{Username: "\u200b\u2060"}, code: refusal.NoUsername},
		"blank user name":             {rules: everybody, id: provider.Identity{Username: "  "}, code: refusal.NoUsername},
		"a blank before":              {rules: everybody, id: provider.Identity{Username: " alice"}, code: refusal.BadCharacters},
		"a blank behind":              {rules: everybody, id: provider.Identity{Username: "alice\u00a0"}, code: refusal.BadCharacters},
		"control in the user name":    {rules: everybody, id: provider.Identity{Username: "a\nb"}, code: refusal.BadCharacters},
		"user name not UTF-8":         {rules: everybody, id: provider.Identity{Username: "a\xff"}, code: refusal.BadCharacters},
		"control in the e-mail":       {rules: everybody, id: provider.Identity{Email: "a\x7f@b.example"}, code: refusal.BadCharacters},
		"a line separator in names":   {rules: everybody, id: provider.Identity{DisplayName: "A\u2028B"}, code: refusal.BadCharacters},
		"control in acr":              {rules: everybody, id: provider.Identity{ACR: "a\rb"}, code: refusal.BadCharacters},
		"control in amr":              {rules: everybody, id: provider.Identity{AMR: []string{"pwd", "\x00"}}, code: refusal.BadCharacters},
		"bad characters and no group": {rules: roles, id: provider.Identity{ACR: "a\rb"}, code: refusal.BadCharacters},
	} {
		t.Run(name, func(t *testing.T) {
			t.Parallel()
			corp := named("corp")
			p := policyOf(t, entry.Options{Providers: []*entry.Provider{corp}, Rules: tt.rules})
			if tt.id.Username == "" {
				tt.id.Username = "alice"
			}
			id, res, refused := p.Admit(corp, tt.id)
			wantCode(t, refused, tt.code)
			got := [...]string{strings.Join(res.Roles, ","), strings.Join(res.Groups, ","), res.Template}
			if want := [...]string{tt.roles, tt.groups, tt.template}; got != want || (id.Username != "") != (tt.code == "") {
				t.Errorf("%q gets %q, want %q", id.Username, got, want)
			}
		})
	}
	t.Run("no user name", func(t *testing.T) {
		t.Parallel()
		corp := named("corp")
		p := policyOf(t, entry.Options{Providers: []*entry.Provider{corp}, Rules: everybody})
		_, _, refused := p.Admit(corp, provider.Identity{UsernameNote: "no claim uid"})
		if wantCode(t, refused, refusal.NoUsername); !strings.Contains(refused.Error(), "no claim uid") {
			t.Errorf("%v", refused)
		}
	})
	t.Run("no rules", func(t *testing.T) {
		t.Parallel()
		corp := named("corp")
		p := policyOf(t, entry.Options{Providers: []*entry.Provider{corp}, SomeProviders: true})
		_, _, refused := p.Admit(corp, provider.Identity{Username: "alice", Groups: []string{"admins"}})
		if wantCode(t, refused, refusal.AccessDenied); !strings.Contains(refused.Error(), "the site has no rules of its own") {
			t.Errorf("%v", refused)
		}
		other := named("other")
		p = policyOf(t, entry.Options{
			Providers: []*entry.Provider{corp, other}, SamePeople: [][]string{{"corp", "other"}}, SomeProviders: true,
			From: []entry.From{{Providers: []string{"other"}, Rules: roles}},
		})
		_, _, refused = p.Admit(corp, provider.Identity{Username: "alice", Groups: []string{"admins"}})
		if wantCode(t, refused, refusal.AccessDenied); !strings.Contains(refused.Error(), "no rule is for the people of provider corp") {
			t.Errorf("%v", refused)
		}
	})
}

// An app gets only names that a rule has, and no rule can have one with a control
// character.
func TestNewRefusesControlCharacters(t *testing.T) {
	t.Parallel()
	for _, name := range []string{"a\nb", "a\rb", "a\x00b", "a\x7fb", "a\u0085b", "a\u2028b", "a\u2029b", "a\xffb"} {
		if !provider.Unfit(name) {
			t.Errorf("%q fits", name)
		}
		for what, rules := range map[string]mapping.Rules{
			"role": {Role: lines(name, "*")}, "template": {Template: lines(name, "*")}, "group": {Group: lines(name, "*")}, "provider's group": {Role: lines("User", name)},
		} {
			_, err := entry.New(entry.Options{Providers: []*entry.Provider{named("corp")}, Rules: rules})
			if err == nil || !strings.Contains(err.Error(), fmt.Sprintf("%q", name)) {
				t.Errorf("%s %q: %v", what, name, err)
			}
		}
	}
}

// TestAdmitApart has two name spaces: neither provider speaks for the other's people.
func TestAdmitApart(t *testing.T) {
	t.Parallel()
	corp, partner := named("corp"), named("partner")
	corp.EmailDomains = []string{"corp.example"}
	partner.Users, partner.EmailDomains = usernames.Space{Prefix: "p-"}, []string{"partner.example"}
	p := policyOf(t, entry.Options{Providers: []*entry.Provider{corp, partner}, From: []entry.From{
		{Providers: []string{"corp"}, Rules: mapping.Rules{Role: lines("Admin", "admins")}},
		{Providers: []string{"partner"}, Rules: mapping.Rules{Role: lines("Guest", "admins")}},
	}})
	for name, tt := range map[string]struct {
		from              *entry.Provider
		username, email   string
		code              refusal.Code
		asName, as, roles string
	}{
		"corp":                   {from: corp, username: "alice", email: "alice@corp.example", asName: "alice", as: "alice@corp.example", roles: "Admin"},
		"partner":                {from: partner, username: "alice", email: "alice@partner.example", asName: "p-alice", as: "alice@partner.example", roles: "Guest"},
		"the other's name":       {from: corp, username: "p-alice", code: refusal.UsernameForeign},
		"the other's name, case": {from: corp, username: "P-Alice", code: refusal.UsernameForeign},
		"the other's address":    {from: partner, username: "eve", email: "alice@corp.example", asName: "p-eve", roles: "Guest"},
	} {
		t.Run(name, func(t *testing.T) {
			t.Parallel()
			id, res, refused := p.Admit(tt.from, provider.Identity{Username: tt.username, Email: tt.email, EmailVerified: true, Groups: []string{"admins"}})
			wantCode(t, refused, tt.code)
			if id.Username != tt.asName || id.Email != tt.as || id.EmailVerified != (tt.as != "") || strings.Join(res.Roles, ",") != tt.roles {
				t.Errorf("%+v with %q, want %q", id, res.Roles, tt.roles)
			}
			if len(res.Groups) > 0 {
				t.Errorf("the app is told of the provider's own groups: %q", res.Groups)
			}
		})
	}
}

func TestProviderOf(t *testing.T) {
	t.Parallel()
	like := func(of *entry.Provider, name string, change func(*known)) *entry.Provider {
		k := *of.Provider.(*known)
		if change != nil {
			change(&k)
		}
		return &entry.Provider{Name: name, Provider: &k}
	}
	corp := named("corp")
	second := like(corp, "second", func(k *known) { k.definition = "2" })
	saml := like(corp, "saml", func(k *known) { k.protocol = provider.SAML })
	twin, late := like(corp, "twin", nil), like(corp, "late", func(k *known) { k.issuer = "" })
	login := func(change func(*session.Login)) *session.Login {
		l := &session.Login{Provider: "corp", Definition: "1", Account: session.AccountKey{Protocol: provider.OIDC, Issuer: "https://corp.example", Subject: "1"}}
		if change != nil {
			change(l)
		}
		return l
	}
	for name, tt := range map[string]struct {
		providers []*entry.Provider
		login     *session.Login
		rival     bool // a provider turns out to have the issuer of corp
		want      *entry.Provider
	}{
		"its own":            {providers: []*entry.Provider{corp, saml}, login: login(nil), want: corp},
		"renamed":            {providers: []*entry.Provider{corp}, login: login(func(l *session.Login) { l.Provider = "old" }), want: corp},
		"another issuer":     {providers: []*entry.Provider{corp}, login: login(func(l *session.Login) { l.Account.Issuer = "https://evil.example" })},
		"another protocol":   {providers: []*entry.Provider{corp}, login: login(func(l *session.Login) { l.Account.Protocol = provider.SAML })},
		"another definition": {providers: []*entry.Provider{corp}, login: login(func(l *session.Login) { l.Definition = "0" })},
		"no definition":      {providers: []*entry.Provider{corp}, login: login(func(l *session.Login) { l.Definition = "" })},
		"by definition":      {providers: []*entry.Provider{corp, second}, login: login(func(l *session.Login) { l.Definition = "2" }), want: second},
		"by name":            {providers: []*entry.Provider{corp, twin}, login: login(func(l *session.Login) { l.Provider = "twin" }), want: twin},
		"the first":          {providers: []*entry.Provider{corp, twin}, login: login(func(l *session.Login) { l.Provider = "old" }), want: corp},
		"issuer not known":   {providers: []*entry.Provider{late}, login: login(nil)},
		"a rival":            {providers: []*entry.Provider{corp, late}, login: login(nil), rival: true},
	} {
		t.Run(name, func(t *testing.T) {
			t.Parallel()
			names := make([]string, len(tt.providers))
			opts := entry.Options{Rules: mapping.Rules{Role: lines("User", "*")}}
			for i, p := range tt.providers {
				opts.Providers, names[i] = append(opts.Providers, like(p, p.Name, nil)), p.Name
			}
			if len(names) > 1 {
				opts.SamePeople = [][]string{names}
			}
			if tt.rival {
				opts.SamePeople, opts.Rules, opts.Providers[1].Users = nil, mapping.Rules{}, usernames.Space{Prefix: "late-"}
				for _, name := range names {
					opts.From = append(opts.From, entry.From{Providers: []string{name}, Rules: mapping.Rules{Role: lines("User", "*")}})
				}
			}
			p := policyOf(t, opts)
			if tt.rival {
				opts.Providers[1].Provider.(*known).issuer = tt.login.Account.Issuer
			}
			got := p.ProviderOf(tt.login)
			if (got == nil) != (tt.want == nil) || got != nil && got.Name != tt.want.Name {
				t.Errorf("got %+v, want %+v", got, tt.want)
			}
			if err := p.RivalOf(opts.Providers[0]); (err != nil) != tt.rival {
				t.Errorf("rivals: %v", err)
			}
		})
	}
}

// TestPerson asks for a person of a client as the OpenID provider does.
func TestPerson(t *testing.T) {
	t.Parallel()
	signedIn, end, fault := time.Now().Add(-time.Hour).Truncate(time.Second), time.Now().Add(time.Hour), errors.New("the store is down")
	corp := named("corp")
	corp.EmailDomains = []string{"corp.example"}
	logins := map[string]*session.Login{}
	for name, groups := range map[string][]string{"alice": {"admins", "staff"}, "bob": {"staff"}, "over": {"admins"}, "foreign": {"admins"}, "redefined": {"admins"}} {
		logins[name] = &session.Login{
			Provider: "corp", Definition: "1", Created: time.Now(), Expires: end,
			Account: session.AccountKey{Protocol: provider.OIDC, Issuer: "https://corp.example", Subject: name},
			Identity: provider.Identity{
				Username: name, Email: name + "@corp.example", EmailVerified: true, FirstName: "A", LastName: "B", Groups: groups, ACR: "high", AMR: []string{"pwd"}, AuthTime: signedIn,
			},
		}
	}
	logins["over"].Expires = time.Now().Add(-time.Second)
	logins["foreign"].Account.Issuer = "https://evil.example"
	logins["redefined"].Definition = "0"
	site := policyOf(t, entry.Options{Providers: []*entry.Provider{corp}, SomeProviders: true})
	client := func(id string, rules mapping.Rules) entry.Client {
		return entry.Client{Client: oidcop.Client{ID: id, Secrets: []string{strings.Repeat(id, 20)}, RedirectURIs: []string{"https://" + id + ".example/cb"}}, Rules: rules}
	}
	all, err := site.NewClients(entry.ClientOptions{
		Clients: []entry.Client{client("wiki", mapping.Rules{Role: lines("Admin", "admins")}), client("chat", mapping.Rules{Group: lines("people", "*")})},
		Login: func(_ context.Context, id string) (*session.Login, error) {
			if id == "fault" {
				return nil, fault
			}
			if l := logins[id]; l != nil {
				return l, nil
			}
			return nil, session.ErrNone
		},
		End: func(l *session.Login) time.Time { return l.Expires },
	})
	if err != nil {
		t.Fatal(err)
	}
	for name, tt := range map[string]struct {
		client, login string
		want          string // of the roles and groups
		err           func(error) bool
	}{
		"a role":             {client: "wiki", login: "alice", want: "[Admin] [admins]"},
		"another client's":   {client: "chat", login: "alice", want: "[] [people]"},
		"for everybody":      {client: "chat", login: "bob", want: "[] [people]"},
		"no rule":            {client: "wiki", login: "bob", err: denied},
		"no login":           {client: "wiki", login: "gone", err: over},
		"over":               {client: "wiki", login: "over", err: over},
		"another issuer":     {client: "wiki", login: "foreign", err: notHere},
		"another definition": {client: "wiki", login: "redefined", err: notHere},
		"unknown client":     {client: "other", login: "alice", err: notHere},
		"the store fails": {client: "wiki", login: "fault", err: func(err error) bool {
			return errors.Is(err, fault) && !errors.Is(err, oidcop.ErrNoLogin) && !denied(err)
		}},
	} {
		t.Run(name, func(t *testing.T) {
			t.Parallel()
			p, err := all.Person(t.Context(), tt.client, tt.login)
			if tt.err != nil {
				if p != nil || !tt.err(err) {
					t.Errorf("got %+v, %v", p, err)
				}
				return
			}
			if err != nil {
				t.Fatal(err)
			}
			if got := fmt.Sprint(p.Roles, p.Groups); got != tt.want {
				t.Errorf("roles and groups %s, want %s", got, tt.want)
			}
			l := logins[tt.login]
			if p.Subject != l.Account.ID() || p.Username != tt.login || p.Email != l.Identity.Email || !p.EmailVerified || p.Name != "A B" || p.Provider != "corp" ||
				p.ACR != "high" || !slices.Equal(p.AMR, l.Identity.AMR) || !p.AuthTime.Equal(signedIn) || !p.Expires.Equal(end) {
				t.Errorf("got %+v", p)
			}
		})
	}
	noRules := refusal.New(refusal.AccessDenied, errors.New("the site has no rules"))
	if id, refused := all.Admit(corp, logins["bob"].Identity, "wiki", noRules); refused != nil || id.Username != "bob" || !all.ReadsGroups(corp) {
		t.Errorf("bob is nobody's, or no client reads groups: %+v, %v", id, refused)
	}
	odd := provider.Identity{Username: " odd"}
	for client, cause := range map[string]string{"wiki": "client wiki: the user name has blanks", "": "no client of the site's `op` admits the person; groups named by the provider: 0", "other": "no client"} {
		if id, refused := all.Admit(corp, odd, client, noRules); refused == nil || !strings.HasPrefix(refused.Err.Error(), cause) || id.Username != "" {
			t.Errorf("%q: %+v, %v", client, id, refused)
		}
	}
	other := refusal.New(refusal.BadCharacters, errors.New("blanks"))
	if _, refused := all.Admit(corp, odd, "", other); refused != other {
		t.Errorf("another refusal of the site becomes %v", refused)
	}
}

func over(err error) bool { return errors.Is(err, oidcop.ErrNoLogin) && !notHere(err) }

func notHere(err error) bool { return errors.Is(err, oidcop.ErrNotHere) }

func denied(err error) bool {
	var refused *refusal.Error
	return errors.As(err, &refused) && refused.Code == refusal.AccessDenied
}
