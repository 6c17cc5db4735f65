// Package entry decides which people may enter an app, under which user name, and
// with which roles and groups. It decides for the sites that the gateway guards, and
// for the clients of its OpenID provider.
package entry

import (
	"errors"
	"fmt"
	"time"

	"github.com/caddy-sso/caddy-sso/gateway/provider"
	"github.com/caddy-sso/caddy-sso/gateway/session"
	"github.com/caddy-sso/caddy-sso/gateway/usernames"
)

// A Provider is a provider.Provider as configured.
type Provider struct {
	// Name is the label in configuration, URLs and logs: [A-Za-z0-9._-]+.
	Name string
	// DisplayName is what people see on our pages. Default: Name.
	DisplayName string
	// Lifetime bounds logins at this provider. Zero: the default of all.
	Lifetime time.Duration
	// Users is the name space of its people. Zero: user names stay as they are.
	Users usernames.Space
	// EmailDomains are the domains whose e-mail addresses this provider may name, at an
	// app with several name spaces.
	EmailDomains []string
	Provider     provider.Provider
}

// CheckNames returns what is wrong with the name space and the domains.
func (p *Provider) CheckNames() error {
	var errs []error
	if err := p.Users.Check(); err != nil {
		errs = append(errs, fmt.Errorf("provider %q: users: %w", p.Name, err))
	}
	for _, domain := range p.EmailDomains {
		if err := usernames.CheckDomain(domain); err != nil {
			errs = append(errs, fmt.Errorf("provider %q: email_domains: %w", p.Name, err))
		}
	}
	return errors.Join(errs...)
}

// Made says whether the login is one of the provider's issuer.
func (p *Provider) Made(l *session.Login) bool {
	return p.Provider.Protocol() == l.Account.Protocol && p.Provider.Issuer() == l.Account.Issuer
}

// Account returns the account that an answer of the provider is about.
func (p *Provider) Account(ans *provider.Answer) session.AccountKey {
	return session.AccountKey{Protocol: p.Provider.Protocol(), Issuer: p.Provider.Issuer(), Subject: ans.Subject}
}
