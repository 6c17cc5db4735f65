package gateway

import (
	"errors"
	"fmt"
	"slices"
	"strings"

	"github.com/caddy-sso/caddy-sso/gateway/session"
	"github.com/caddy-sso/caddy-sso/gateway/usernames"
	"github.com/caddy-sso/caddy-sso/gateway/wording"
	"github.com/caddy-sso/caddy-sso/mapping"
)

// ProviderRules are rules for the people of some providers, and for nobody else.
type ProviderRules struct {
	Providers []string
	Rules     mapping.Rules
}

// people are the people of one provider at one app: their names, and the rules for them.
type people struct {
	*usernames.People
	rules      *mapping.RuleSet
	mapsGroups bool // the rules have group lines
}

func (p *NamedProvider) checkNames() error {
	var faults faults
	faults.add(fmt.Sprintf("provider %q: users", p.Name), p.Users.Check())
	for _, domain := range p.EmailDomains {
		faults.add(fmt.Sprintf("provider %q: email_domains", p.Name), usernames.CheckDomain(domain))
	}
	return errors.Join(faults...)
}

// divide gives each provider of the app its people, with their rules.
func (a *App) divide() error {
	if len(a.providers) == 0 {
		_, err := mapping.Compile(a.opts.Rules)
		return err
	}
	var faults faults
	for _, names := range a.opts.SamePeople {
		faults.add("", usernames.CheckSame(names, a.providerNames(), ""))
	}
	for _, from := range a.opts.From {
		for _, name := range from.Providers {
			if a.provider(name) == nil {
				faults.add("from", fmt.Errorf("there is no provider %q at this site: write one of %s", name, strings.Join(a.providerNames(), ", ")))
			}
		}
	}
	var members []usernames.Member
	for _, p := range a.providers {
		m := usernames.Member{Name: p.Name, Space: p.Users, EmailDomains: p.EmailDomains}
		if issuer := p.Provider.Issuer(); issuer != "" {
			m.Issuer = string(p.Provider.Protocol()) + " " + issuer
		}
		members = append(members, m)
	}
	all, err := usernames.Divide(members, slices.Concat(a.gw.opts.SamePeople, a.opts.SamePeople))
	faults.add("", err)
	if len(faults) == 0 {
		faults.add("", a.bindRules(all))
	}
	return errors.Join(faults...)
}

func (a *App) bindRules(all []*usernames.People) error {
	common := a.opts.Rules
	if all[0].Apart() && count(common) > 0 {
		return wording.Errorf("this site has several name spaces, and its providers may use one group name for different people: "+
			"put each role, template and group line into a block for its providers: %s", wording.Blocks(", ", a.providerNames()...))
	}
	var faults faults
	told := map[string]bool{}
	a.people = map[*NamedProvider]*people{}
	for i, p := range a.providers {
		rules := common
		for k, from := range a.opts.From {
			if slices.Contains(from.Providers, p.Name) {
				rules.Role = slices.Concat(rules.Role, placed(from.Rules.Role, k, mapping.KindRole))
				rules.Template = slices.Concat(rules.Template, placed(from.Rules.Template, k, mapping.KindTemplate))
				rules.Group = slices.Concat(rules.Group, placed(from.Rules.Group, k, mapping.KindGroup))
			}
		}
		mapsGroups := len(rules.Group) > 0 || all[i].Apart()
		set, err := mapping.Compile(rules)
		if err == nil {
			err = a.opts.HeaderFormat.Check(rules.Names(mapsGroups))
		}
		switch {
		case err == nil:
		case len(a.opts.From) > 0 && count(rules) == 0:
			faults.add("", wording.Errorf("provider %s has no rule, so nobody could get in by it: write %s with a role, template or group line, or leave the provider out of the site by %s",
				p.Name, wording.Blocks("", p.Name), wording.Option{Word: "provider"}))
		case !told[err.Error()]:
			told[err.Error()] = true
			faults.add("", err)
		}
		if err == nil && set.ReadsGroups() {
			a.gw.grouped.Store(p, true)
		}
		a.people[p] = &people{People: all[i], rules: set, mapsGroups: mapsGroups}
	}
	return errors.Join(faults...)
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

func (a *App) providerNames() (names []string) {
	for _, p := range a.providers {
		names = append(names, p.Name)
	}
	return names
}

// nameOf returns the name of a person on pages and in the audit log. It is the one that
// apps are told, if there is one.
func (g *Gateway) nameOf(l *session.Login) string {
	from := func(p *NamedProvider) bool {
		return p.Provider.Protocol() == l.Account.Protocol && p.Provider.Issuer() == l.Account.Issuer
	}
	p := g.byName[l.Provider] // unless it was renamed since
	if p == nil || !from(p) {
		i := slices.IndexFunc(g.providers, from)
		if i < 0 {
			return l.Identity.Username
		}
		p = g.providers[i]
	}
	name, err := p.Users.Name(l.Identity.Username)
	if err != nil || l.Identity.Username == "" {
		return l.Identity.Username
	}
	return name
}
