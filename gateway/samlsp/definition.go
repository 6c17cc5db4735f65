package samlsp

import "github.com/caddy-sso/caddy-sso/gateway/provider"

// definition has what decides whom an answer is about and whether it is
// believed. The provider's entity ID is compared beside it: metadata may be what
// says it. Certificates and metadata documents are not in it, since a provider
// changes its keys and stays who it is; where the metadata come from is, since
// that decides whose keys count. c has its defaults.
func (c Config) definition() provider.Definition {
	return provider.Definition{
		"protocol":               string(provider.SAML),
		"metadata":               c.MetadataURL,
		"sp_entity_id":           c.SPEntityID,
		"name_id_format":         c.NameIDFormat,
		"id_attribute":           c.IDAttribute,
		"username_attribute":     c.UsernameAttribute,
		"email_attribute":        c.EmailAttribute,
		"first_name_attribute":   c.FirstNameAttribute,
		"last_name_attribute":    c.LastNameAttribute,
		"display_name_attribute": c.DisplayNameAttribute,
		"groups_attribute":       c.GroupsAttribute,
		"want_assertions_signed": provider.Enabled(c.WantAssertionsSigned != Off),
		"clock_skew":             c.ClockSkew.String(),
		"insecure_sha1":          provider.Enabled(c.InsecureSHA1),
		"insecure_http":          provider.Enabled(c.InsecureHTTP),
	}
}

// Definition implements provider.Provider.
func (p *Provider) Definition() string { return p.defined }
