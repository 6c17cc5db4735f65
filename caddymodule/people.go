package caddymodule

import (
	"errors"
	"slices"
	"strings"

	"github.com/caddyserver/caddy/v2/caddyconfig/caddyfile"

	"github.com/caddy-sso/caddy-sso/gateway"
	"github.com/caddy-sso/caddy-sso/gateway/usernames"
	"github.com/caddy-sso/caddy-sso/gateway/wording"
	"github.com/caddy-sso/caddy-sso/mapping"
)

// People tells a provider's people from those of a site's other providers.
type People struct {
	// The name space of the provider's user names: `prefix` or `suffix` is added to each
	// name, or each must be an address in `domain`. So they can't be names of another
	// provider. It holds at every site, in headers, placeholders, assertion and logs. All
	// but one of a site's providers need it, unless they sign in the same people
	// (`same_people`). A name in the name space of another provider of the site is
	// refused, whatever its case. Default: names as they are.
	Users usernames.Space `json:"users,omitzero"`

	// The domains of the provider's e-mail addresses. At a site with several name spaces
	// an app gets only addresses in these domains, and none without this option. A
	// subdomain is another domain.
	EmailDomains []string `json:"email_domains,omitempty"`
}

// block returns the options of People. Providers of both protocols have them.
func (p *People) block() block {
	return block{
		once("users prefix|suffix|domain <text>", p.setUsers),
		once("email_domains <domain>…", list(&p.EmailDomains).then(func(d *caddyfile.Dispenser) error {
			for _, domain := range p.EmailDomains {
				if err := usernames.CheckDomain(domain); err != nil {
					return d.Errf("'email_domains': %v", err)
				}
			}
			return nil
		})),
	}
}

// spaceKinds are the kinds of name spaces.
var spaceKinds = []string{"prefix", "suffix", "domain"}

func (p *People) setUsers(d *caddyfile.Dispenser, e entry) error {
	var text string
	if !d.NextArg() {
		return e.wrong(d)
	}
	kind := d.Val()
	to, ok := map[string]*string{"prefix": &p.Users.Prefix, "suffix": &p.Users.Suffix, "domain": &p.Users.Domain}[kind]
	if !ok {
		return unknownWord(d, "kind of name space", slices.Clone(spaceKinds))
	}
	if !d.AllArgs(&text) || text == "" {
		return e.wrong(d)
	}
	*to = text
	if strings.HasSuffix(p.Users.Suffix, "@") {
		return d.WrapErr(wording.Errorf("'users suffix': there is no domain after the @: write %s, so that alice becomes alice@partner; or %s, if the provider's user names are such addresses already",
			wording.Option{Word: "users", Args: "suffix @partner"}, wording.Option{Word: "users", Args: "domain partner.example"}))
	}
	if err := p.Users.Check(); err != nil {
		return d.Errf("'users %s': %v", kind, err)
	}
	return nil
}

// From has rules for the people of some of a site's providers.
type From struct {
	// The providers, by their names.
	Provider []string `json:"provider,omitempty"`

	// Rules for their people.
	mapping.Rules
}

// ruleBlock returns the options for rules, in a site and in a `from` block.
func ruleBlock(r *mapping.Rules) block {
	return block{
		many("role <app_role>[,<app_role>…] <group>…", lines(&r.Role)),
		many("template <app_template> <group>…", lines(&r.Template)),
		many("group <app_group>[,<app_group>…] <group>…", lines(&r.Group)),
	}
}

// setFrom parses `from <provider>… { … }`.
func setFrom(to *[]From) setter {
	return func(d *caddyfile.Dispenser, e entry) error {
		at := position(d)
		var f From
		if err := names(&f.Provider, 1)(d, e); err != nil {
			return err
		}
		if err := ruleBlock(&f.Rules).parse(d); err != nil {
			return err
		}
		if len(f.Role)+len(f.Template)+len(f.Group) == 0 {
			return d.Errf("the block of 'from' at %s has no rule: expected `%s`", at, e.usage)
		}
		*to = append(*to, f)
		return nil
	}
}

// setSamePeople adds a list of two providers or more.
func setSamePeople(lists *[][]string) setter {
	return func(d *caddyfile.Dispenser, e entry) error {
		var same []string
		err := names(&same, 2)(d, e)
		*lists = append(*lists, same)
		return err
	}
}

// names takes at least so many names of providers, each once.
func names(to *[]string, least int) setter {
	return func(d *caddyfile.Dispenser, e entry) error {
		if err := list(to)(d, e); err != nil {
			return err
		}
		if len(*to) < least {
			return e.wrong(d)
		}
		for i, name := range *to {
			switch {
			case !validName(name):
				return d.Errf("'%s': '%s' cannot be a provider's name: %s", e.word(), name, nameRule)
			case slices.Contains((*to)[:i], name):
				return d.Errf("'%s' names '%s' twice: write each name once", e.word(), name)
			}
		}
		return nil
	}
}

// bound returns the rules of the `from` blocks.
func bound(blocks []From) (rules []gateway.From) {
	for _, from := range blocks {
		rules = append(rules, gateway.From{Providers: from.Provider, Rules: from.Rules})
	}
	return rules
}

// checkRules finds mistakes in rules that can be found without the providers.
func checkRules(rules mapping.Rules, blocks []From) error {
	var errs []error
	if len(blocks) == 0 || len(rules.Role)+len(rules.Template)+len(rules.Group) > 0 {
		_, err := mapping.Compile(rules)
		errs = append(errs, err)
	}
	for _, from := range blocks {
		_, err := mapping.Compile(from.Rules)
		errs = append(errs, err)
	}
	return errors.Join(errs...)
}
