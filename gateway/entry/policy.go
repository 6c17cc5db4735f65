package entry

import (
	"errors"
	"fmt"
	"slices"
	"strings"

	"go.uber.org/zap"

	"github.com/caddy-sso/caddy-sso/gateway/forward"
	"github.com/caddy-sso/caddy-sso/gateway/provider"
	"github.com/caddy-sso/caddy-sso/gateway/refusal"
	"github.com/caddy-sso/caddy-sso/gateway/session"
	"github.com/caddy-sso/caddy-sso/gateway/usernames"
	"github.com/caddy-sso/caddy-sso/gateway/wording"
	"github.com/caddy-sso/caddy-sso/mapping"
)

// From has rules for the people of some providers, and for nobody else.
type From struct {
	Providers []string
	Rules     mapping.Rules
}

// Options are what a Policy is made of.
type Options struct {
	// Providers sign people in here, in the chooser's order.
	Providers []*Provider
	// Autologin names the provider to use without showing the chooser; "off" is none.
	Autologin string
	// Rules decide which people get in. If the app has several name spaces, all rules
	// must be in From.
	Rules mapping.Rules
	From  []From
	// SomeProviders allows a provider that no rule is for: its people are refused.
	SomeProviders bool
	// SamePeople are lists of providers that sign in the same people.
	SamePeople [][]string
	// Format bounds the groups, and says which names a header can't have.
	Format forward.Format
	// App names the app in logs.
	App    func() string
	Logger *zap.Logger
	// Once reports whether it is asked for the first time about this fault of something.
	Once func(fault string, of any) bool
}

// A Policy decides who may enter one app.
type Policy struct {
	opts   Options
	people map[*Provider]*population
}

// A population is the people of one provider at one app: their names, and the rules for them.
type population struct {
	*usernames.People
	rules      *mapping.RuleSet // nil: nobody enters
	mapsGroups bool             // the rules have group lines
}

// New returns a Policy. Its error names every fault.
func New(opts Options) (*Policy, error) {
	p := &Policy{opts: opts}
	if len(opts.Providers) == 0 {
		_, err := mapping.Compile(opts.Rules)
		return p, err
	}
	var errs []error
	for _, from := range opts.From {
		for _, name := range from.Providers {
			if p.Provider(name) == nil {
				errs = append(errs, wording.Aboutf("from", "there is no provider %q at this site: write one of %s", name, strings.Join(p.Names(), ", ")))
			}
		}
	}
	var members []usernames.Member
	for _, of := range opts.Providers {
		m := usernames.Member{Name: of.Name, Space: of.Users, EmailDomains: of.EmailDomains}
		if issuer := of.Provider.Issuer(); issuer != "" {
			m.Issuer = string(of.Provider.Protocol()) + " " + issuer
		}
		members = append(members, m)
	}
	all, err := usernames.Divide(members, opts.SamePeople)
	if errs = append(errs, err); errors.Join(errs...) == nil {
		errs = append(errs, p.bindRules(all))
	}
	if name := opts.Autologin; name != "" && name != "off" && p.Provider(name) == nil {
		errs = append(errs, wording.Aboutf("autologin", "there is no provider %q here: write one of %s; or write %s, which shows the chooser",
			name, strings.Join(p.Names(), ", "), wording.Option{Word: "autologin", Args: "off"}))
	}
	return p, errors.Join(errs...)
}

func (p *Policy) bindRules(all []*usernames.People) error {
	common := p.opts.Rules
	if all[0].Apart() && count(common) > 0 {
		return wording.Errorf("this site has several name spaces, and its providers may use one group name for different people: "+
			"put each role, template and group line into a block for its providers: %s", wording.Blocks(", ", p.Names()...))
	}
	var errs []error
	told := map[string]bool{}
	p.people = map[*Provider]*population{}
	for i, from := range p.opts.Providers {
		named := slices.ContainsFunc(p.opts.From, func(f From) bool { return slices.Contains(f.Providers, from.Name) })
		if count(common) == 0 && !named && p.opts.SomeProviders {
			p.people[from] = &population{People: all[i]}
			continue
		}
		rules := p.rulesFor(from.Name)
		mapsGroups := len(rules.Group) > 0 || all[i].Apart()
		set, err := mapping.Compile(rules)
		if err == nil {
			err = p.opts.Format.Check(rules.Names(mapsGroups))
		}
		switch {
		case err == nil:
		case len(p.opts.From) > 0 && count(rules) == 0:
			errs = append(errs, wording.Errorf("provider %s has no rule, so nobody could get in by it: write %s with a role, template or group line, or leave the provider out of the site by %s",
				from.Name, wording.Blocks("", from.Name), wording.Option{Word: "provider"}))
		case !told[err.Error()]:
			told[err.Error()] = true
			errs = append(errs, err)
		}
		p.people[from] = &population{People: all[i], rules: set, mapsGroups: mapsGroups}
	}
	return errors.Join(errs...)
}

// rulesFor returns all rules for the people of a provider.
func (p *Policy) rulesFor(name string) mapping.Rules {
	rules := p.opts.Rules
	for k, from := range p.opts.From {
		if slices.Contains(from.Providers, name) {
			rules.Role = slices.Concat(rules.Role, placed(from.Rules.Role, k, mapping.KindRole))
			rules.Template = slices.Concat(rules.Template, placed(from.Rules.Template, k, mapping.KindTemplate))
			rules.Group = slices.Concat(rules.Group, placed(from.Rules.Group, k, mapping.KindGroup))
		}
	}
	return rules
}

func count(r mapping.Rules) int { return len(r.Role) + len(r.Template) + len(r.Group) }

// placed sets the position of a block's lines to that in the JSON, if they have none.
func placed(lines []mapping.Line, block int, kind mapping.Kind) []mapping.Line {
	lines = slices.Clone(lines)
	for i := range lines {
		if lines[i].Position == "" {
			lines[i].Position = fmt.Sprintf("from[%d].%s[%d]", block, kind, i)
		}
	}
	return lines
}

// Names returns the names of the providers.
func (p *Policy) Names() (names []string) {
	for _, of := range p.opts.Providers {
		names = append(names, of.Name)
	}
	return names
}

// Provider returns the provider with a name, or nil.
func (p *Policy) Provider(name string) *Provider {
	if i := slices.Index(p.Names(), name); i >= 0 {
		return p.opts.Providers[i]
	}
	return nil
}

// Offered returns the providers whose people rules are for, or all if there is no rule. auto is the
// one to use without showing the chooser, or nil.
func (p *Policy) Offered() (all []*Provider, auto *Provider) {
	all = slices.DeleteFunc(slices.Clone(p.opts.Providers), func(of *Provider) bool { return p.people[of].rules == nil && !p.NobodyEnters() })
	if named := p.Provider(p.opts.Autologin); slices.Contains(all, named) {
		return all, named
	}
	if len(all) == 1 && p.opts.Autologin != "off" {
		return all, all[0]
	}
	return all, nil
}

// NoProvider refuses a provider that is not one of this app.
func (p *Policy) NoProvider(name string) *refusal.Error {
	return refusal.New(refusal.ProviderUnknown, fmt.Errorf("there is no provider %s at this site, only %s", wording.Quoted(name), wording.List(p.Names())))
}

// ReadsGroups says whether a rule for the provider's people depends on their groups.
func (p *Policy) ReadsGroups(of *Provider) bool {
	rules := p.people[of].rules
	return rules != nil && rules.ReadsGroups()
}

// WithoutEmails names the providers whose people have no e-mail address here, because
// the provider has no EmailDomains.
func (p *Policy) WithoutEmails() (names []string) {
	for _, of := range p.opts.Providers {
		if p.people[of].Apart() && len(of.EmailDomains) == 0 {
			names = append(names, of.Name)
		}
	}
	return names
}

// ProviderOf returns the provider that a login came from. It is nil if no provider here
// has the login's issuer and definition: then the login is not accepted here, but stays
// stored. The provider's name may have changed. If several providers have both, the
// name picks one.
//
// If two providers turn out to have one issuer, it is nil as well, unless the
// configuration says that their people are the same: SAML metadata can name any issuer.
func (p *Policy) ProviderOf(l *session.Login) (found *Provider) {
	var first *Provider // with that issuer
	for _, of := range p.opts.Providers {
		switch {
		case !of.Made(l):
			continue
		case first == nil:
			first = of
		case !p.people[of].Same(p.people[first].People):
			_ = p.rivals(first, of)
			return nil
		}
		if of.Provider.Definition() == l.Definition && (found == nil || of.Name == l.Provider) {
			found = of
		}
	}
	return found
}

// CheckIssuer returns an error if a provider is the site's own OpenID provider, which has this issuer.
func (p *Policy) CheckIssuer(own string) error {
	for _, of := range p.opts.Providers {
		if of.Provider.Protocol() == provider.OIDC && strings.TrimSuffix(of.Provider.Issuer(), "/") == own {
			return fmt.Errorf("op: the issuer of provider %q is this site's own OpenID provider, so nobody could ever sign in: write the issuer of the provider that has the accounts", of.Name)
		}
	}
	return nil
}

// RivalOf returns an error if another provider turns out to have the issuer of this one,
// but not the same people.
func (p *Policy) RivalOf(one *Provider) error {
	for _, other := range p.opts.Providers {
		if other.Provider.Protocol() == one.Provider.Protocol() && other.Provider.Issuer() == one.Provider.Issuer() && !p.people[other].Same(p.people[one].People) {
			return p.rivals(one, other)
		}
	}
	return nil
}

// rivals returns the error about two such providers, and logs it once.
func (p *Policy) rivals(one, other *Provider) error {
	if slices.Index(p.opts.Providers, one) > slices.Index(p.opts.Providers, other) {
		one, other = other, one
	}
	err := fmt.Errorf("the metadata of providers %s and %s name one issuer, %q, and no `same_people` says that their people are the same, so nobody can sign in at either: "+
		"if they are the same people, write `same_people %[1]s %[2]s`, and the same `users` for both, for they have different ones; if not, one of them has the other's metadata",
		one.Name, other.Name, one.Provider.Issuer())
	if p.opts.Once("rivals", p) {
		p.opts.Logger.Error("two providers have the same issuer: nobody can sign in with either", zap.String("app", p.opts.App()),
			zap.Strings("providers", []string{one.Name, other.Name}), zap.Error(err))
	}
	return err
}
