package oidcrp

import "github.com/caddy-sso/caddy-sso/gateway/provider"

// definition has what decides whom an answer is about and whether it is
// believed. The issuer is compared beside it. c has its defaults.
func (c Config) definition() provider.Definition {
	return provider.Definition{
		"protocol":         string(provider.OIDC),
		"client_id":        c.ClientID,
		"ca":               c.CAFile,
		"username_claim":   c.UsernameClaim,
		"groups_claim":     c.GroupsClaim,
		"trust_email":      provider.Enabled(c.TrustEmail),
		"insecure_no_pkce": provider.Enabled(c.InsecureNoPKCE),
		"insecure_http":    provider.Enabled(c.InsecureHTTP),
	}
}

// Definition implements provider.Provider.
func (p *Provider) Definition() string { return p.defined }
