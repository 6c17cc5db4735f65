package strip

import (
	"errors"
	"fmt"
	"maps"
	"slices"
	"strings"
)

// Aliases are the headers by which other gateways, proxies and server modules tell an
// app who makes a request. An app may believe any of them, so a client can't send
// them, unless its site keeps one (AppOptions.KeepHeaders). A name that ends in "-*"
// is a family. docs/headers.md has the same list.
var Aliases = []string{
	// oauth2-proxy, and what follows its example
	"X-Forwarded-User", "X-Forwarded-Username", "X-Forwarded-User-Id", "X-Forwarded-Userid", "X-Forwarded-Uid", "X-Forwarded-Login",
	"X-Forwarded-Subject", "X-Forwarded-Groups", "X-Forwarded-Group", "X-Forwarded-Roles", "X-Forwarded-Role", "X-Forwarded-Email",
	"X-Forwarded-Mail", "X-Forwarded-Name", "X-Forwarded-Fullname", "X-Forwarded-Full-Name", "X-Forwarded-Displayname",
	"X-Forwarded-Display-Name", "X-Forwarded-Preferred-Username", "X-Forwarded-Access-Token", "X-Forwarded-Id-Token", "X-Auth-Request-*",
	// web servers that sign in themselves, and the apps that are made for them
	"X-Remote-User", "X-Remote-User-*", "X-Remote-Username", "X-Remote-Uid", "X-Remote-Group", "X-Remote-Groups", "X-Remote-Role",
	"X-Remote-Roles", "X-Remote-Email", "X-Remote-Mail", "X-Remote-Name", "X-Remote-Fullname", "X-Remote-Full-Name",
	"X-Remote-Displayname", "X-Remote-Display-Name", "X-Remote-Extra-*", "Http-Remote-User", "Remote-User-Group", "Remote-User-Groups", "Remote-User-Email",
	"Remote-User-Name", "Remote-User-First-Name", "Remote-User-Last-Name", "Remote-Username", "Remote-Userid",
	"Remote-Fullname", "Remote-Full-Name", "Remote-Displayname", "Remote-Display-Name", "Remote-Mail", "Remote-Group", "Remote-Role",
	"Auth-User", "Auth-Mail", "Auth-Groups", "X-Webauth-*", "X-Proxy-User", "X-Proxy-Roles", "X-Proxy-Ext-*", "X-Proxy-Remote-User",
	"Proxy-Remote-User", "X-Auth-User", "X-Auth-Username", "X-Auth-Userid", "X-Auth-User-Id", "X-Auth-Subject", "X-Auth-Email",
	"X-Auth-Name", "X-Auth-Groups", "X-Auth-Roles", "X-Authenticated-*", "X-User", "X-Username", "X-User-Name", "X-User-Email",
	"X-User-Groups", "X-User-Roles", "X-Email",
	// gateways that pass a token, its claims or its owner on
	"X-Jwt-Assertion", "X-Jwt-Payload", "X-Jwt-Claim-*", "X-Id-Token", "X-Access-Token", "X-Userinfo", "X-Token-Subject",
	"X-Token-User-*", "X-Consumer-*", "X-Anonymous-Consumer", "X-Credential-*", "X-Endpoint-Api-Userinfo", "X-Apigateway-Api-Userinfo",
	"Sec-Istio-Auth-Userinfo", "Impersonate-*",
	// proxies that check certificates of clients
	"Client-Cert", "Client-Cert-Chain", "X-Forwarded-Client-Cert", "X-Forwarded-Tls-Client-Cert", "X-Forwarded-Tls-Client-Cert-*",
	"X-Ssl-Client-*", "Ssl-Client-*", "X-Ssl-Cert", "X-Ssl-Subject", "X-Client-Cert", "X-Client-Cert-*", "X-Client-Dn",
	"X-Client-Verify", "X-Amzn-Mtls-*", "X-Arr-Clientcert", "Cf-Client-Cert-*",
	// products, each by its name
	"X-Authentik-*", "X-Authelia-*", "X-Vouch-*", "X-Pomerium-*", "Teleport-Jwt-Assertion", "X-Organizr-*", "X-Sandstorm-*",
	"X-Cosmos-User", "X-Cosmos-Role", "Ynh-User", "Ynh-User-*", "X-Goog-Authenticated-*", "X-Goog-Iap-*", "X-Appengine-User-*",
	"X-Amzn-Oidc-*", "X-Amzn-Ava-*", "X-Ms-Client-Principal", "X-Ms-Client-Principal-*", "X-Ms-Token-*", "X-Iisnode-*",
	"Ms-Aspnetcore-*", "Cf-Access-*", "Tailscale-*", "Oidc-*", "Mellon-*", "Shib-*", "Eppn", "Persistent-Id", "Targeted-Id",
	"Affiliation", "Unscoped-Affiliation", "Entitlement", "Cas-*", "Sm-*", "Iv-User", "Iv-User-L", "Iv-Groups", "Iv-Creds", "Oam-*",
	"Osso-*",
}

// Names is a set of header names and families, both normalised.
type Names struct {
	names    map[string]struct{}
	families []string // each with its last hyphen
}

// NewNames returns a set. A name that ends in "*" is a family.
func NewNames(names []string) Names {
	s := Names{names: map[string]struct{}{}}
	for _, name := range names {
		if family, ok := strings.CutSuffix(name, "*"); ok {
			s.families = append(s.families, string(AppendNormal(nil, family)))
			continue
		}
		s.names[string(AppendNormal(nil, name))] = struct{}{}
	}
	return s
}

// has reports whether a normalised name is in the set.
func (s Names) has(normal []byte) bool {
	if _, ok := s.names[string(normal)]; ok {
		return true
	}
	for _, family := range s.families {
		if len(normal) >= len(family) && normal[2] == family[2] && string(normal[:len(family)]) == family {
			return true
		}
	}
	return false
}

// Has reports whether a name is in the set.
func (s Names) Has(name string) bool { return s.has(AppendNormal(nil, name)) }

var aliasSet = NewNames(Aliases)

// CheckKept refuses names in keep that can't be kept: those that are never removed,
// because a typing error would silently keep nothing; and our own, including own, the
// names of this site.
func (f *Filter) CheckKept(keep, own []string) error {
	var errs []error
	f = New(own, slices.Collect(maps.Keys(f.names)))
	for _, name := range keep {
		bare, family := strings.CutSuffix(name, "-*")
		normal := AppendNormal(nil, strings.TrimSuffix(name, "*"))
		switch {
		case !strings.Contains(bare, "*") && aliasSet.has(normal):
		case f.Claim(name, Names{}) == Ours || family && len(bare) > 1 && f.ownsSome(string(normal)):
			errs = append(errs, fmt.Errorf("%q can't be kept: it is a header of this gateway, which tells apps who is signed in, so no client may send it: leave it out; if the app needs it from another sender, that sender must use another name", name))
		default:
			errs = append(errs, fmt.Errorf("%q is not among the headers that are removed from requests: expected one that docs/headers.md lists, such as X-Forwarded-User or X-Auth-Request-*", name))
		}
	}
	return errors.Join(errs...)
}

// ownsSome reports whether one of our names begins with prefix.
func (f *Filter) ownsSome(prefix string) bool {
	for name := range f.names {
		if strings.HasPrefix(name, prefix) {
			return true
		}
	}
	return false
}
