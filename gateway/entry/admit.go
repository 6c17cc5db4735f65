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
	deny := func(code refusal.Code, cause error) (provider.Identity, mapping.Result, *refusal.Error) {
		return provider.Identity{}, mapping.Result{}, refusal.New(code, cause)
	}
	if !strings.ContainsFunc(id.Username, usernames.Visible) {
		why := cmp.Or(id.UsernameNote, fmt.Sprintf("the user name is %s, and has no visible character", wording.Quoted(id.Username)))
		return deny(refusal.NoUsername, errors.New(why))
	}
	if field := id.Unfit(); field != "" {
		return deny(refusal.BadCharacters, errors.New("the "+field+" has control characters"))
	}
	if strings.TrimSpace(id.Username) != id.Username { // HTTP drops blanks around a header's value
		return deny(refusal.BadCharacters, errors.New("the user name has blanks around it"))
	}
	people := p.people[from]
	name, err := people.Username(id.Username)
	if err != nil {
		return deny(refusal.UsernameForeign, err)
	}
	id.Username = name
	if !people.Speaks(id.Email) {
		id.Email, id.EmailVerified = "", false
	}
	if people.rules == nil {
		if p.opts.NobodyEnters {
			return deny(refusal.AccessDenied, errors.New("the site has no rules of its own: it only signs people in for the clients of its `op`"))
		}
		return deny(refusal.AccessDenied, fmt.Errorf("no rule is for the people of provider %s", from.Name))
	}
	apply := people.rules.Apply
	if id.GroupsPartial {
		apply = people.rules.ApplyPartial
	}
	res := apply(id.Groups)
	if !res.Matched {
		p.explain(from, &id, people.rules)
		return deny(refusal.AccessDenied, noMatch(&id, res))
	}
	if !people.mapsGroups {
		res.Groups = res.Named
	}
	res.Groups = p.boundGroups(res.Groups)
	return id, res, nil
}

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
