package oidcop

import "github.com/caddy-sso/caddy-sso/gateway/check/checktest"

// Drop takes the named checks out of p's own checklist. It panics over a name that it does
// not have.
func Drop(p *Provider, names ...string) { checktest.Drop(p.checks, names...) }

// CheckNames returns the names of all checks.
func CheckNames() []string { return checktest.Names(allChecks()) }

// The parsers, for fuzzing.

// TokenParts takes a token apart.
func TokenParts(token, kind string) (grantID, rest string) { return tokenParts(token, kind) }

// ReadClaims reads the claims parameter, and returns the names that it wants.
func ReadClaims(text string) (names []string, err error) {
	r, err := readClaimsRequest(text)
	return append(r.IDToken, r.UserInfo...), err
}

// ParseKeys returns how many keys of a JWK Set can be used.
func ParseKeys(doc []byte) (int, error) {
	keys, err := parseKeys(doc)
	return len(keys), err
}

// SameButPort reports whether uri is own with a port.
func SameButPort(own, uri string) bool { return sameButPort(own, uri) }
