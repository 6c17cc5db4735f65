package caddymodule

import (
	"errors"
	"slices"
	"strings"

	"github.com/caddyserver/caddy/v2/caddyconfig/caddyfile"

	"github.com/caddy-sso/caddy-sso/gateway"
	"github.com/caddy-sso/caddy-sso/gateway/usernames"
	"github.com/caddy-sso/caddy-sso/mapping"
)

// People says whose people a provider's are, where a site has several providers.
type People struct {
	// Where the provider's user names lie, so that they can't be those of another
	// provider: `prefix` or `suffix` is added to each, or each must be an address
	// in `domain`. It holds at every site, and for everything that an app is told.
	// Of a site's providers all but one need it, unless they are the same people
	// (`same_people`). A name that falls into the name space of another provider
	// of the site is refused, whatever its case. Default: names as they are.
	Users usernames.Space `json:"users,omitzero"`

	// The domains whose e-mail addresses the provider may name at a site with
	// several name spaces. There, an app is told no other address of its people,
	// and without this option none. A subdomain is another domain.
	EmailDomains []string `json:"email_domains,omitempty"`
}

// peopleUsage are the options of People, which providers of every protocol have.
var peopleUsage = usages{
	"users":         "users prefix <text> | users suffix <text> | users domain <domain>",
	"email_domains": "email_domains <domain>…",
}

// unmarshalOption parses one option of a provider's block. Syntax:
//
//	users prefix|suffix|domain <text>
//	email_domains <domain>…
func (p *People) unmarshalOption(d *caddyfile.Dispenser) (known bool, err error) {
	switch d.Val() {
	case "users":
		err = p.unmarshalUsers(d)
	case "email_domains":
		p.EmailDomains, err = unmarshalArgs(d, peopleUsage)
		for _, domain := range p.EmailDomains {
			if err := usernames.CheckDomain(domain); err != nil {
				return true, d.Errf("'email_domains': %v", err)
			}
		}
	default:
		return false, nil
	}
	return true, err
}

// spaceKinds are the kinds of name spaces.
var spaceKinds = []string{"prefix", "suffix", "domain"}

func (p *People) unmarshalUsers(d *caddyfile.Dispenser) error {
	var kind, text string
	if !d.NextArg() {
		return peopleUsage.wrong(d, "users")
	}
	kind = d.Val()
	to, ok := map[string]*string{"prefix": &p.Users.Prefix, "suffix": &p.Users.Suffix, "domain": &p.Users.Domain}[kind]
	if !ok {
		return unknownWord(d, "kind of name space", slices.Clone(spaceKinds))
	}
	if !d.AllArgs(&text) || text == "" {
		return peopleUsage.wrong(d, "users")
	}
	*to = text
	if strings.HasSuffix(p.Users.Suffix, "@") {
		return d.Err("'users suffix': there is no domain behind the @: write `users suffix @partner`, by which alice is called alice@partner; or `users domain partner.example`, if the provider's user names are such addresses already")
	}
	if err := p.Users.Check(); err != nil {
		return d.Errf("'users %s': %v", kind, err)
	}
	return nil
}

// From are rules for the people of some of a site's providers, and for nobody
// else.
type From struct {
	// The providers, by their names.
	Provider []string `json:"provider,omitempty"`

	// Rules that give roles, as the handler's own.
	Role []mapping.Line `json:"role,omitempty"`

	// Rules that give the one template, as the handler's own.
	Template []mapping.Line `json:"template,omitempty"`

	// Rules that give the app's groups, as the handler's own.
	Group []mapping.Line `json:"group,omitempty"`
}

func (f *From) rules() mapping.Rules {
	return mapping.Rules{Role: f.Role, Template: f.Template, Group: f.Group}
}

// siteRules are the words of rules, in a site and in a `from` block.
var siteRules = usages{
	"role":     "role <app_role>[,<app_role>…] <group>…",
	"template": "template <app_template> <group>…",
	"group":    "group <app_group>[,<app_group>…] <group>…",
}

// unmarshal parses `from <provider>… { … }`.
func (f *From) unmarshal(d *caddyfile.Dispenser) (err error) {
	at := position(d)
	if f.Provider, err = unmarshalNames(d, siteUsage, 1); err != nil {
		return err
	}
	for nesting := d.Nesting(); d.NextBlock(nesting); {
		switch d.Val() {
		case "role":
			err = appendLine(&f.Role, d)
		case "template":
			err = appendLine(&f.Template, d)
		case "group":
			err = appendLine(&f.Group, d)
		default:
			return siteRules.unknown(d)
		}
		if err != nil {
			return err
		}
	}
	if len(f.Role)+len(f.Template)+len(f.Group) == 0 {
		return d.Errf("the block of 'from' at %s has no rule: expected `%s`", at, siteUsage["from"])
	}
	return nil
}

// unmarshalSamePeople parses `same_people <provider> <provider>…`.
func unmarshalSamePeople(lists *[][]string, d *caddyfile.Dispenser, u usages) error {
	names, err := unmarshalNames(d, u, 2)
	*lists = append(*lists, names)
	return err
}

// unmarshalNames parses the names of so many providers or more, each once.
func unmarshalNames(d *caddyfile.Dispenser, u usages, least int) ([]string, error) {
	word := d.Val()
	names, err := unmarshalArgs(d, u)
	if err == nil && len(names) < least {
		err = u.wrong(d, word)
	}
	if err != nil {
		return nil, err
	}
	for i, name := range names {
		switch {
		case !validName(name):
			return nil, d.Errf("'%s': '%s' cannot be a provider's name: %s", word, name, nameRule)
		case slices.Contains(names[:i], name):
			return nil, d.Errf("'%s' names '%s' twice", word, name)
		}
	}
	return names, nil
}

// bound are the rules of the blocks, as the gateway takes them.
func (h *Handler) bound() []gateway.ProviderRules {
	var rules []gateway.ProviderRules
	for i := range h.From {
		rules = append(rules, gateway.ProviderRules{Providers: h.From[i].Provider, Rules: h.From[i].rules()})
	}
	return rules
}

// checkRules finds the mistakes of rules that show without the providers.
func (h *Handler) checkRules() error {
	var errs []error
	if own := h.rules(); len(h.From) == 0 || len(own.Role)+len(own.Template)+len(own.Group) > 0 {
		_, err := mapping.Compile(own)
		errs = append(errs, err)
	}
	for i := range h.From {
		_, err := mapping.Compile(h.From[i].rules())
		errs = append(errs, err)
	}
	return errors.Join(errs...)
}
