package samlsp

import (
	"cmp"
	"crypto/sha256"
	"crypto/x509"
	"encoding/hex"
	"slices"
	"strings"

	"github.com/caddy-sso/caddy-sso/gateway/provider"
)

// definition has what decides whom an answer is about and whether it is
// believed. The provider's entity ID is compared beside it: metadata may be what
// says it. Where the keys come from is in it, since that decides whose answers
// count: an address or a file, whose keys a provider may change and stay who it
// is. Where the configuration itself holds them (fixed), they are in it. c has
// its defaults.
func (c Config) definition(fixed *idp) provider.Definition {
	d := provider.Definition{
		"protocol":               string(provider.SAML),
		"metadata":               cmp.Or(c.MetadataURL, c.MetadataFile),
		"ca":                     c.CAFile,
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
	if d["metadata"] == "" && fixed != nil {
		d["keys"], d["sso_url"] = fixed.keyNames(), cmp.Or(fixed.ssoRedirect, fixed.ssoPost)
	}
	return d
}

// keyNames returns the hashes of the keys, whatever order they stand in.
func (i *idp) keyNames() string {
	names := make([]string, len(i.keys))
	for n, key := range i.keys {
		der, _ := x509.MarshalPKIXPublicKey(key) // each was read from such a form
		sum := sha256.Sum256(der)
		names[n] = hex.EncodeToString(sum[:])
	}
	slices.Sort(names)
	return strings.Join(names, " ")
}

// Definition implements provider.Provider.
func (p *Provider) Definition() string { return p.defined }
