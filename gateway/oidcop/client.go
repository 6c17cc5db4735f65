package oidcop

import (
	"crypto/sha256"
	"crypto/subtle"
	"errors"
	"fmt"
	"net/url"
	"slices"
	"strings"

	"github.com/caddy-sso/caddy-sso/gateway/fetch"
)

// A Client is an app that signs its people in here.
type Client struct {
	ID string
	// Secrets has one secret, or two while it is being changed. A client without secrets
	// and keys is public: it has PKCE alone.
	Secrets []string
	// Keys, a JWK Set, or KeysURL, where one is published, verify the client's
	// assertions (private_key_jwt, OIDC Core §9) instead of a secret.
	Keys    []byte
	KeysURL string
	// RedirectURIs are compared byte for byte (RFC 9700 §2.1). If a public client has
	// http://127.0.0.1/… or http://[::1]/… without a port, any port will do (RFC 8252
	// §7.3).
	RedirectURIs []string
	// PostLogoutURIs are where the client may have a logout return to.
	PostLogoutURIs []string
	// BackchannelLogoutURI gets a logout token when a login ends.
	BackchannelLogoutURI string
	// Algorithm signs ID and logout tokens. Empty: RS256.
	Algorithm Algorithm
	// UserInfoAlgorithm signs userinfo. Empty: it is plain JSON.
	UserInfoAlgorithm Algorithm
	// InsecureNoPKCE accepts requests without a code challenge. It needs a secret or
	// keys.
	InsecureNoPKCE bool
	// Refresh issues refresh tokens.
	Refresh bool
	// Pairwise gives the client subjects of its own (OIDC Core §8.1).
	Pairwise bool
	// Claims are told beyond those of the scope, by name. The values are the Kinds.
	Claims map[string]string
}

// A client is a Client that has been checked.
type client struct {
	Client
	keys *clientKeys   // nil: it has no keys
	due  chan struct{} // wakes its sender of logout tokens
}

// maxSecrets counts the old and the new secret, while it is being changed.
const maxSecrets = 2

// newClient returns c checked, or every fault of it.
func (p *Provider) newClient(c Client) (*client, error) {
	if c.Algorithm == "" {
		c.Algorithm = RS256
	}
	made := &client{Client: c, due: make(chan struct{}, 1)}
	var errs []error
	fault := func(wrong bool, format string, args ...any) {
		if wrong {
			errs = append(errs, fmt.Errorf(format, args...))
		}
	}
	fault(c.ID == "" || !visible(c.ID, maxClientID), "the id must be visible ASCII of at most %d characters", maxClientID)
	fault(len(c.Secrets) > maxSecrets, "%d secrets: expected one, or two while it is being changed", len(c.Secrets))
	fault(slices.Contains(c.Secrets, ""), "a secret is empty")
	hasKeys := len(c.Keys) > 0 || c.KeysURL != ""
	fault(hasKeys && len(c.Secrets) > 0 || len(c.Keys) > 0 && c.KeysURL != "", "a client has secrets, keys or the URL of keys: one of them")
	fault(c.InsecureNoPKCE && made.isPublic(), "a client without a secret or keys needs PKCE: anybody could use its codes")
	fault(len(c.RedirectURIs) == 0, "it needs a redirect URI")
	for _, alg := range []Algorithm{c.Algorithm, c.UserInfoAlgorithm} {
		fault(alg != "" && alg != RS256 && alg != ES256, "algorithm %q: expected RS256 or ES256", alg)
	}
	errs = append(errs, p.checkURIs(made))
	for name, kind := range c.Claims {
		fault(name == "" || reserved(name), "claim %q: it has a meaning of its own, choose another name", name)
		fault(!slices.Contains(Kinds(), kind), "claim %q is of the kind %q: expected one of %s", name, kind, strings.Join(Kinds(), ", "))
	}
	var err error
	if hasKeys {
		made.keys, err = p.newClientKeys(c)
	}
	return made, errors.Join(append(errs, err)...)
}

const maxClientID = 200

// checkURIs returns every fault of the client's URIs.
func (p *Provider) checkURIs(c *client) error {
	var errs []error
	for _, uri := range c.RedirectURIs {
		errs = append(errs, c.checkURI(uri, "code", "state", "iss", "error", "error_description"))
	}
	for _, uri := range c.PostLogoutURIs {
		errs = append(errs, c.checkURI(uri, "state"))
	}
	if c.BackchannelLogoutURI != "" {
		if err := p.outbound.CheckURL(c.BackchannelLogoutURI); err != nil {
			errs = append(errs, fmt.Errorf("back-channel logout: %w", err))
		}
	}
	return errors.Join(errs...)
}

// checkURI checks a URI to which browsers are sent: https, http with this machine alone,
// or an app's own scheme, which has a dot (RFC 8252 §7.1). Its query has none of the
// parameters that a response adds: of two, apps may read the first.
func (c *client) checkURI(uri string, added ...string) error {
	u, err := url.Parse(uri)
	if err == nil {
		for _, name := range added {
			if u.Query().Has(name) {
				return fmt.Errorf("URI %.100q: its query has %s, which every answer adds: remove it", uri, name)
			}
		}
	}
	switch {
	case err != nil || !visible(uri, maxURI) || strings.Contains(uri, "#") || u.User != nil:
		return fmt.Errorf("URI %.100q: expected an absolute URL without fragment and user name", uri)
	case u.Scheme == "https" && u.Host != "", u.Scheme == "http" && fetch.IsLoopback(u.Hostname()):
		return nil
	case c.isPublic() && strings.Contains(u.Scheme, "."):
		return nil
	}
	return fmt.Errorf("URI %.100q: expected https; http stays on this machine only", uri)
}

func (c *client) isPublic() bool { return len(c.Secrets) == 0 && len(c.Keys) == 0 && c.KeysURL == "" }

// proves reports whether secret is one of the client's, in constant time.
func (c *client) proves(secret string) bool {
	given, found := sha256.Sum256([]byte(secret)), 0
	for _, s := range c.Secrets {
		own := sha256.Sum256([]byte(s))
		found |= subtle.ConstantTimeCompare(own[:], given[:])
	}
	return found == 1
}

// mayReturnTo reports whether uri is one of the client's redirect URIs.
func (c *client) mayReturnTo(uri string) bool {
	return slices.ContainsFunc(c.RedirectURIs, func(own string) bool {
		return own == uri || c.isPublic() && sameButPort(own, uri)
	})
}

// sameButPort reports whether uri is own, a URI on loopback without a port, with a port.
func sameButPort(own, uri string) bool {
	for _, host := range []string{"http://127.0.0.1", "http://[::1]"} {
		path, ours := strings.CutPrefix(own, host)
		rest, theirs := strings.CutPrefix(uri, host+":")
		if !ours || !theirs || path != "" && path[0] == ':' {
			continue
		}
		digits := len(rest) - len(strings.TrimLeft(rest, "0123456789"))
		return 1 <= digits && digits <= 5 && rest[digits:] == path
	}
	return false
}

// visible reports whether text is visible ASCII of at most limit bytes.
func visible(text string, limit int) bool {
	return len(text) <= limit && !strings.ContainsFunc(text, func(r rune) bool { return r <= ' ' || r > '~' })
}
