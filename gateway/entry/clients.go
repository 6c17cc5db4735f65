package entry

import (
	"context"
	"errors"
	"fmt"
	"maps"
	"net/http"
	"time"

	"github.com/caddy-sso/caddy-sso/gateway/forward"
	"github.com/caddy-sso/caddy-sso/gateway/oidcop"
	"github.com/caddy-sso/caddy-sso/gateway/provider"
	"github.com/caddy-sso/caddy-sso/gateway/refusal"
	"github.com/caddy-sso/caddy-sso/gateway/session"
	"github.com/caddy-sso/caddy-sso/gateway/wording"
	"github.com/caddy-sso/caddy-sso/mapping"
)

// A Client is an app that signs people in at the site's OpenID provider.
type Client struct {
	oidcop.Client
	// Rules and From decide who may sign in to the app, and what it is told of them.
	Rules mapping.Rules
	From  []From
}

// Clients are those of a site's OpenID provider. They implement oidcop.People.
type Clients struct {
	// Provider is the OpenID provider.
	Provider *oidcop.Provider
	opts     ClientOptions
	site     *Policy
	policies map[string]*Policy
}

// ClientOptions are what Clients are made of.
type ClientOptions struct {
	Clients []Client
	// Login finds a login (see session.Node.LoginByID), and End says when it ends at the
	// site.
	Login func(ctx context.Context, id string) (*session.Login, error)
	End   func(*session.Login) time.Time
	// Transport replaces the network to the clients, for tests.
	Transport http.RoundTripper
}

// NewClients returns the clients of a site with this policy. Its error names every fault.
func (p *Policy) NewClients(of ClientOptions) (*Clients, error) {
	all := &Clients{opts: of, site: p, policies: map[string]*Policy{}}
	op := oidcop.Options{People: all, Logger: p.opts.Logger, Transport: of.Transport}
	var errs []error
	for _, c := range of.Clients {
		op.Clients = append(op.Clients, c.told())
		if count(c.Rules)+len(c.From) == 0 {
			errs = append(errs, fmt.Errorf("client %q has no rule, so nobody could sign in to it: write role, template or group lines in its block; `role user *` lets in everybody", c.ID))
			continue
		}
		opts := p.opts
		opts.Rules, opts.From, opts.Format = c.Rules, c.From, forward.Format{}
		opts.App = func() string { return c.ID }
		policy, err := New(opts)
		if err != nil {
			errs = append(errs, fmt.Errorf("client %q: %w", c.ID, err))
		}
		all.policies[c.ID] = policy
	}
	for _, from := range p.opts.Providers {
		if len(errs) == 0 && !all.anyRule(from) {
			errs = append(errs, wording.Errorf("provider %s has no rule at the site or at a client, so nobody could get in by it: write %s into a client, or leave the provider out of the site by %s",
				from.Name, wording.Blocks("", from.Name), wording.Option{Word: "provider"}))
		}
	}
	var err error
	all.Provider, err = oidcop.New(op)
	return all, errors.Join(append(errs, err)...)
}

// anyRule says whether the site or a client has a rule for the people of a provider.
func (c *Clients) anyRule(of *Provider) bool {
	has := c.site.people[of].rules != nil
	for _, policy := range c.policies {
		has = has || policy.people[of].rules != nil
	}
	return has
}

// told returns the client with one claim for each kind of rule it has, sent with any scope.
func (c Client) told() oidcop.Client {
	rules := []mapping.Rules{c.Rules}
	for _, from := range c.From {
		rules = append(rules, from.Rules)
	}
	told := c.Client
	told.Claims = map[string]string{}
	for _, r := range rules {
		for kind, lines := range map[string][]mapping.Line{"roles": r.Role, "groups": r.Group, "template": r.Template} {
			if len(lines) > 0 {
				told.Claims[kind] = kind
			}
		}
	}
	maps.Copy(told.Claims, c.Claims)
	return told
}

// ReadsGroups says whether a rule of a client depends on the groups of the provider's
// people.
func (c *Clients) ReadsGroups(of *Provider) bool {
	for _, policy := range c.policies {
		if policy.ReadsGroups(of) {
			return true
		}
	}
	return false
}

// Known returns the id of a client, or "" if there is no such client.
func (c *Clients) Known(id string) string {
	if c.policies[id] == nil {
		return ""
	}
	return id
}

// Offered is Policy.Offered for a client.
func (c *Clients) Offered(client string) (all []*Provider, auto *Provider) {
	return c.policies[client].Offered()
}

// Admit returns the identity of a person of a provider if one of the clients admits them.
// Otherwise it returns why the client refuses them that they were asked for. If they were asked
// for none (""), the site's refusal counts, but not that the site has no rules.
func (c *Clients) Admit(from *Provider, id provider.Identity, client string, bySite *refusal.Error) (provider.Identity, *refusal.Error) {
	why := bySite
	if bySite.Code == refusal.AccessDenied && c.site.NobodyEnters() {
		why = refusal.New(refusal.AccessDenied, fmt.Errorf("no client of the site's `op` admits the person; groups named by the provider: %d", len(id.Groups)))
	}
	for name := range c.policies {
		admitted, _, refused := c.admit(from, id, name)
		if refused == nil {
			return admitted, nil
		}
		if name == client {
			why = refused
		}
	}
	return provider.Identity{}, why
}

// admit decides whether a person may sign in to a client.
func (c *Clients) admit(from *Provider, id provider.Identity, client string) (provider.Identity, mapping.Result, *refusal.Error) {
	id, granted, refused := c.policies[client].Admit(from, id)
	if refused != nil {
		refused = refusal.New(refused.Code, fmt.Errorf("client %s: %w", client, refused.Err))
	}
	return id, granted, refused
}

// Person implements oidcop.People.
func (c *Clients) Person(ctx context.Context, client, login string) (*oidcop.Person, error) {
	l, err := c.opts.Login(ctx, login)
	if errors.Is(err, session.ErrNone) {
		return nil, oidcop.ErrNoLogin
	}
	if err != nil {
		return nil, session.Fault(err)
	}
	if !time.Now().Before(c.opts.End(l)) {
		return nil, oidcop.ErrNoLogin
	}
	p := c.site.ProviderOf(l)
	if p == nil || c.policies[client] == nil {
		return nil, oidcop.ErrNotHere
	}
	id, granted, refused := c.admit(p, l.Identity, client)
	if refused != nil {
		return nil, refused
	}
	return &oidcop.Person{
		Subject: l.Account.ID(), Username: id.Username, Name: id.Name(), FirstName: id.FirstName, LastName: id.LastName,
		Email: id.Email, EmailVerified: id.EmailVerified,
		Template: granted.Template, Roles: granted.Roles, Groups: granted.Groups, Provider: p.Name,
		ACR: id.ACR, AMR: id.AMR, AuthTime: l.Identity.AuthTime, Expires: c.opts.End(l),
	}, nil
}
