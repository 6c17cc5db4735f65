package oidcrp

import (
	"fmt"
	"maps"
	"net/http"
	"slices"

	"github.com/coreos/go-oidc/v3/oidc"

	"github.com/caddy-sso/caddy-sso/gateway"
)

// Drop takes the named checks out of p's own checklist, and makes the named
// layers lax (see LayerNames), which reach the provider by transport. It panics
// over a name that neither has, so that a renamed check can't make a test say
// nothing.
func Drop(p *Provider, transport http.RoundTripper, names ...string) {
	left := map[string]bool{}
	for _, name := range names {
		left[name] = true
	}
	c := p.checks
	p.checks = &checklist{
		read: laxJSON(left).read, split: laxSplit(left), keySet: drop(c.keySet, left), fit: drop(c.fit, left),
		json: drop(c.json, left), document: drop(c.document, left), discovery: drop(c.discovery, left),
		jwk: drop(c.jwk, left), publicKey: drop(c.publicKey, left), answer: drop(c.answer, left),
		token: drop(c.token, left), compact: drop(c.compact, left), header: drop(c.header, left),
		signature: drop(c.signature, left), idToken: drop(c.idToken, left),
		userInfoAnswer: drop(c.userInfoAnswer, left), userInfo: drop(c.userInfo, left), profile: drop(c.profile, left),
	}
	p.keys.checks = p.checks
	p.outbound = laxOutbound(left, p.outbound, transport)
	p.config.InsecureNoPKCE = p.config.InsecureNoPKCE || take(left, layerPKCE)
	if len(left) > 0 {
		panic(fmt.Sprintf("no such check: %q", slices.Sorted(maps.Keys(left))))
	}
}

func drop[T any](checks []check[T], left map[string]bool) []check[T] {
	var kept []check[T]
	for _, c := range checks {
		if left[c.name] {
			delete(left, c.name)
			continue
		}
		kept = append(kept, c)
	}
	return kept
}

// CheckNames returns the names of all checks.
func CheckNames() []string {
	c := allChecks()
	return slices.Concat(
		names(c.json), names(c.document), names(c.discovery), names(c.jwk), names(c.publicKey), names(c.answer),
		names(c.keySet), names(c.fit), names(c.token), names(c.compact), names(c.header), names(c.signature), names(c.idToken),
		names(c.userInfoAnswer), names(c.userInfo), names(c.profile),
	)
}

func names[T any](checks []check[T]) []string {
	var list []string
	for _, c := range checks {
		list = append(list, c.name)
	}
	return list
}

// The parsers, for fuzzing and for tests of reading alone.

// ReadObject reads JSON exactly.
func ReadObject(data []byte) (map[string]any, error) { return allChecks().object(data) }

// ParseToken reads a token and judges its header.
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
	keys, err := p.parseKeys(doc)
	var kids []string
	for _, k := range keys {
		kids = append(kids, k.kid)
	}
	return kids, err
}

// Profile judges claims as one source about a person.
func Profile(p *Provider, data []byte) (username, email string, groups []string, err error) {
	claims, err := p.checks.object(data)
	if err != nil {
		return "", "", nil, err
	}
	f, err := p.profile(claims)
	if err != nil {
		return "", "", nil, err
	}
	who := identity(f, nil)
	return who.Username, who.Email, who.Groups, nil
}

// Keys returns what verifies p's signatures.
func Keys(p *Provider) oidc.KeySet { return p.keys }

const (
	RetryAfter   = gateway.RemoteRetryAfter
	RenewEvery   = gateway.RemoteRenewEvery
	RefreshAfter = gateway.RemoteRefreshAfter
	AliveFor     = aliveFor
)

// PanicOnDiscovery makes reading the discovery document panic.
func PanicOnDiscovery(p *Provider) {
	p.discovery.Parse = func([]byte) (*metadata, error) { panic("secret") }
}

// Find looks a claim up by name or path in what ReadObject returned.
func Find(claims map[string]any, path string) (any, bool) { return object(claims).find(path) }
