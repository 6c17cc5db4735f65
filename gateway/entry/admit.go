package entry

import (
	"cmp"
	"errors"
	"fmt"
	"strings"

	"go.uber.org/zap"

	"github.com/caddy-sso/caddy-sso/gateway/provider"
	"github.com/caddy-sso/caddy-sso/gateway/refusal"
	"github.com/caddy-sso/caddy-sso/gateway/usernames"
	"github.com/caddy-sso/caddy-sso/gateway/wording"
	"github.com/caddy-sso/caddy-sso/mapping"
)

// Admit decides whether a person of a provider may enter the app, and returns their
// identity there and what the rules give them. If the app has several name spaces, it is
// told only the group names that the rules make, never the provider's own.
func (p *Policy) Admit(from *Provider, id provider.Identity) (provider.Identity, mapping.Result, *refusal.Error) {
	people := p.people[from]
	refused := people.identify(&id)
	var granted mapping.Result
	if refused == nil {
		granted, refused = p.grant(from, &id)
	}
	if refused != nil {
		return provider.Identity{}, mapping.Result{}, refused
	}
	return id, granted, nil
}

// identify makes a person's identity at the provider that at the app.
func (p *population) identify(id *provider.Identity) *refusal.Error {
	if !strings.ContainsFunc(id.Username, usernames.Visible) {
		why := cmp.Or(id.UsernameNote, fmt.Sprintf("the user name is %s, and has no visible character", wording.Quoted(id.Username)))
		return refusal.New(refusal.NoUsername, errors.New(why))
	}
	if field := id.Unfit(); field != "" {
		return refusal.New(refusal.BadCharacters, errors.New("the "+field+" has control characters"))
	}
	if strings.TrimSpace(id.Username) != id.Username { // HTTP drops blanks around a header's value
		return refusal.New(refusal.BadCharacters, errors.New("the user name has blanks around it"))
	}
	name, err := p.Username(id.Username)
	if err != nil {
		return refusal.New(refusal.UsernameForeign, err)
	}
	id.Username = name
	if !p.Speaks(id.Email) {
		id.Email, id.EmailVerified = "", false
	}
	return nil
}

// grant returns what the rules give a person. It refuses those whom no rule matches.
func (p *Policy) grant(from *Provider, id *provider.Identity) (mapping.Result, *refusal.Error) {
	people := p.people[from]
	switch {
	case people.rules != nil:
	case p.NobodyEnters():
		return mapping.Result{}, refusal.New(refusal.AccessDenied, errors.New("the site has no rules of its own: it only signs people in for the clients of its `op`"))
	default:
		return mapping.Result{}, refusal.New(refusal.AccessDenied, fmt.Errorf("no rule is for the people of provider %s", from.Name))
	}
	apply := people.rules.Apply
	if id.GroupsPartial {
		apply = people.rules.ApplyPartial
	}
	res := apply(id.Groups)
	if !res.Matched {
		p.explain(from, id, people.rules)
		return mapping.Result{}, refusal.New(refusal.AccessDenied, noMatch(id, res))
	}
	if !people.mapsGroups {
		res.Groups = res.Named
	}
	res.Groups = p.boundGroups(res.Groups)
	return res, nil
}

// NobodyEnters says whether the policy refuses everybody, because it has no rule.
func (p *Policy) NobodyEnters() bool { return count(p.opts.Rules)+len(p.opts.From) == 0 }

func (p *Policy) boundGroups(groups []string) []string {
	sent := p.opts.Format.BoundGroups(groups)
	if len(sent) < len(groups) && p.opts.Once("too many groups", p) {
		p.opts.Logger.Warn("a person's groups exceed what is passed on; the rest is left out",
			zap.String("app", p.opts.App()), zap.Int("groups", len(groups)), zap.Int("sent", len(sent)))
	}
	return sent
}

// noMatch returns the cause of AccessDenied for a person whom no rule matches.
func noMatch(id *provider.Identity, res mapping.Result) error {
	note := strings.TrimSuffix(": "+id.GroupsNote, ": ")
	switch {
	case res.TemplateUnknown:
		return fmt.Errorf("a template line matched, but not all groups could be read, and a line before it might match%s", note)
	case len(id.Groups) == 0:
		return fmt.Errorf("the provider sent no groups of this person%s", note)
	}
	return fmt.Errorf("groups named by the provider: %d; no line has one of them, byte for byte%s", len(id.Groups), note)
}

// explain says at DEBUG why no rule let a person in: with the first of their groups.
func (p *Policy) explain(from *Provider, id *provider.Identity, rules *mapping.RuleSet) {
	const most = 50
	if c := p.opts.Logger.Check(zap.DebugLevel, "no line of the rules has a group of this person"); c != nil {
		c.Write(zap.String("app", p.opts.App()), zap.String("provider", from.Name), zap.String("user", id.Username), zap.Int("count", len(id.Groups)),
			zap.Strings("groups", id.Groups[:min(len(id.Groups), most)]), zap.Stringer("nearest", rules.Nearest(id.Groups)))
	}
}
