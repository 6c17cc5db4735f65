package strip

import (
	"errors"
	"fmt"
	"strings"
)

// Aliases are the names under which other gateways, proxies and server modules
// tell an app who makes a request. An app may believe any of them, so a client
// can't send them, unless its site keeps one (AppOptions.KeepHeaders). A name
// that ends in "-*" is a family. docs/options.md has the same list.
var Aliases = []string{
	// oauth2-proxy, and what follows its example
	"X-Forwarded-User", "X-Forwarded-Username", "X-Forwarded-Groups", "X-Forwarded-Group", "X-Forwarded-Roles", "X-Forwarded-Email",
	"X-Forwarded-Name", "X-Forwarded-Preferred-Username", "X-Forwarded-Access-Token", "X-Auth-Request-*",
	// web servers that sign in themselves, and the apps that are made for them
	"X-Remote-User", "X-Remote-User-*", "X-Remote-Group", "X-Remote-Groups", "X-Remote-Roles", "X-Remote-Email", "X-Remote-Name",
	"X-Remote-Extra-*", "Http-Remote-User", "Auth-User", "Remote-Group", "Remote-Role", "X-Webauth-*", "X-Proxy-User",
	"X-Proxy-Remote-User", "X-Auth-User", "X-Auth-Username", "X-Auth-Email", "X-Auth-Name", "X-Auth-Groups", "X-Auth-Roles",
	"X-Authenticated-*",
	// products, each by its name
	"X-Authentik-*", "X-Authelia-*", "X-Vouch-*", "X-Pomerium-*", "X-Token-Subject", "X-Token-User-*", "X-Consumer-*", "X-Userinfo",
	"X-Goog-Authenticated-*", "X-Goog-Iap-*", "X-Amzn-Oidc-*", "X-Ms-Client-Principal", "X-Ms-Client-Principal-*", "X-Ms-Token-*",
	"Cf-Access-*", "Tailscale-User-*", "Oidc-*", "Shib-*", "Mellon-*", "Sm-User", "Iv-User", "Iv-Groups", "Iv-Creds", "Oam-Remote-User",
}

// Names are a set of header names and families, both normalised.
type Names struct {
	names    map[string]struct{}
	families []string // each up to its last hyphen
}

// NewNames returns a set. A name that ends in a star stands for a family.
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

// has says whether a normalised name is in the set.
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

// Has says whether a name is in the set.
func (s Names) Has(name string) bool { return s.has(AppendNormal(nil, name)) }

var aliasSet = NewNames(Aliases)

// CheckKept refuses names that would not be taken away: a typing error would keep
// nothing, and nobody would know why.
func CheckKept(keep []string) error {
	var errs []error
	for _, name := range keep {
		bare, _ := strings.CutSuffix(name, "-*")
		if strings.Contains(bare, "*") || !aliasSet.has(AppendNormal(nil, strings.TrimSuffix(name, "*"))) {
			errs = append(errs, fmt.Errorf("%q is no header that is taken away for its name: expected one of those that docs/options.md lists, such as X-Forwarded-User or X-Auth-Request-*", name))
		}
	}
	return errors.Join(errs...)
}
