package gateway

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

// A nameSet is a set of header names and families, both normalised.
type nameSet struct {
	names    map[string]struct{}
	families []string // each up to its last hyphen
}

func newNameSet(names []string) nameSet {
	s := nameSet{names: map[string]struct{}{}}
	for _, name := range names {
		if family, ok := strings.CutSuffix(name, "*"); ok {
			s.families = append(s.families, string(appendNormal(nil, family)))
			continue
		}
		s.names[string(appendNormal(nil, name))] = struct{}{}
	}
	return s
}

// has says whether a normalised name is in the set.
func (s nameSet) has(normal []byte) bool {
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

var aliasSet = newNameSet(Aliases)

// checkKept refuses names that would not be taken away: a typing error would keep
// nothing, and nobody would know why.
func checkKept(keep []string) error {
	var errs []error
	for _, name := range keep {
		bare, _ := strings.CutSuffix(name, "-*")
		if strings.Contains(bare, "*") || !aliasSet.has(appendNormal(nil, strings.TrimSuffix(name, "*"))) {
			errs = append(errs, fmt.Errorf("%q is no header that is taken away for its name: expected one of those that docs/options.md lists, such as X-Forwarded-User or X-Auth-Request-*", name))
		}
	}
	return errors.Join(errs...)
}

// claimNames makes names ours on every app of the gateway. Nobody may keep them.
func (g *Gateway) claimNames(names HeaderNames, keep []string) error {
	g.mu.Lock()
	defer g.mu.Unlock()
	g.headers, g.kept = append(g.headers, names), append(g.kept, newNameSet(keep))
	g.strip.Store(newNameFilter(g.headers...))
	for _, kept := range g.kept {
		for _, names := range g.headers {
			for _, name := range names.all() {
				if name != "" && kept.has(appendNormal(nil, name)) {
					return fmt.Errorf("keep_headers: %s can't be kept: by it an app of this gateway learns who makes a request, so no client may send it; keep others by their full names", name)
				}
			}
		}
	}
	return nil
}
