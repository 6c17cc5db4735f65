package oidcrp

import (
	"maps"
	"net/http"
	"slices"

	"github.com/coreos/go-oidc/v3/oidc"

	"github.com/caddy-sso/caddy-sso/gateway/check/checktest"
	"github.com/caddy-sso/caddy-sso/gateway/fetch"
)

// Drop takes the named checks out of p's own checklist, and makes the named
// layers lax (see LayerNames), which reach the provider by transport. It panics
// over a name that neither has.
func Drop(p *Provider, transport http.RoundTripper, names ...string) {
	left := map[string]bool{}
	for _, name := range names {
		left[name] = true
	}
	p.checks.read, p.checks.split = laxJSON(left).read, laxSplit(left)
	p.outbound = laxOutbound(left, p.outbound, transport)
	p.config.InsecureNoPKCE = p.config.InsecureNoPKCE || take(left, layerPKCE)
	checktest.Drop(p.checks, slices.Collect(maps.Keys(left))...)
}

// CheckNames returns the names of all checks.
func CheckNames() []string { return checktest.Names(allChecks()) }

// The parsers, for fuzzing and for tests of reading alone.

// ReadObject reads JSON exactly.
func ReadObject(data []byte) (map[string]any, error) { return allChecks().object(data) }

// ParseToken reads a token and checks its header.
func ParseToken(p *Provider, raw string) error {
	_, err := p.parseToken(raw, []string{"ES256"})
	return err
}

// ParseDiscovery returns jwks_uri.
func ParseDiscovery(p *Provider, doc []byte) (string, error) {
	md, err := p.parseMetadata(doc)
	if err != nil {
		return "", err
	}
	return md.jwks, nil
}

// ParseKeys returns the kids of the usable keys.
func ParseKeys(p *Provider, doc []byte) ([]string, error) {
	ring, err := p.parseKeys(doc)
	var kids []string
	for _, k := range ring.usable {
		kids = append(kids, k.kid)
	}
	return kids, err
}

// Profile checks claims as one source about a person.
func Profile(p *Provider, data []byte) (username, email string, groups []string, err error) {
	claims, err := p.checks.object(data)
	if err != nil {
		return "", "", nil, err
	}
	f, err := p.idProfile(claims.dropNulls(), false)
	if err != nil {
		return "", "", nil, err
	}
	who := p.join(f, findings{})
	return who.Username, who.Email, who.Groups, nil
}

// Keys returns what verifies p's signatures.
func Keys(p *Provider) oidc.KeySet { return p.keys }

const (
	FailureKept  = fetch.FailureKept
	RenewEvery   = fetch.RenewEvery
	RefreshAfter = fetch.RefreshAfter
	WaitAfter    = fetch.WaitAfter
	AliveFor     = aliveFor
)

// PanicOnDiscovery makes reading the discovery document panic.
func PanicOnDiscovery(p *Provider) {
	p.discovery.Parse = func([]byte) (*metadata, error) { panic("secret") }
}

// Find looks a claim up by name or path in what ReadObject returned.
func Find(claims map[string]any, path string) any {
	claim, _ := object(claims).find(path)
	return claim
}

// DefinitionOf returns the digest of a configuration's definition.
func DefinitionOf(c Config) string { return c.withDefaults().definition().Digest() }
