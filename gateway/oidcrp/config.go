package oidcrp

import (
	"cmp"
	"errors"
	"fmt"
	"io"
	"net/http"
	"slices"
	"strings"

	"go.uber.org/zap"

	"github.com/caddy-sso/caddy-sso/gateway/fetch"
	"github.com/caddy-sso/caddy-sso/gateway/provider"
)

// Config describes one OpenID Provider and our registration there. Issuer and
// ClientID are required; the zero value of everything else is the safe default.
type Config struct {
	// Issuer is the provider's issuer identifier, byte for byte as its
	// discovery document and its ID tokens name it: "https://id.example.com",
	// "https://id.example.com/realms/corp". No query, no fragment.
	Issuer string
	// ClientID is ours at the provider.
	ClientID string
	// ClientSecret belongs to it. Empty: a public client, which has PKCE alone.
	ClientSecret Secret
	// Scopes are asked for. Default: openid, profile, email. They must contain
	// openid. Some providers want "groups" as well before they name any (Dex,
	// Authelia, Okta); it is never asked for by itself, because others
	// (Keycloak) refuse the whole login over a scope that the client may not
	// have, though they announce it.
	Scopes []string
	// UsernameClaim names the claim that is the user name. Default:
	// preferred_username. There is no fallback to another claim: a value that
	// means something else (an e-mail that its owner may change, a sub) is no
	// user name. If the claim is missing, Identity.Username is empty, and the
	// gateway refuses. An e-mail must be verified: see TrustEmail. Written like
	// GroupsClaim.
	UsernameClaim string
	// TrustEmail says that the e-mail addresses of this provider are those of
	// its people, whatever email_verified says: it never sends that claim, and
	// nobody can change an address there but its administrators. Otherwise an
	// e-mail is the user name only if email_verified is true, and one that is
	// unverified is in no Identity.
	TrustEmail bool
	// GroupsClaim names the claim with the groups. Default: groups. An exact
	// name ("cognito:groups", "https://example.com/groups") or a path
	// ("realm_access.roles", "resource_access.my.client.roles"); the exact name
	// goes first.
	GroupsClaim string
	// Logout says whether a logout here ends the session at the provider too.
	// Default: LogoutLocal.
	Logout Logout
	// TokenEndpointAuthMethod is how the client proves itself at the token
	// endpoint (OIDC Core §9): client_secret_basic, client_secret_post or none.
	// Default: what the provider announces, basic before post; none without a
	// secret. It is never found out by trying: a code works once.
	TokenEndpointAuthMethod string
	// RootCAs are PEM certificates to verify the provider's TLS certificate by.
	// Default: the system's. CAFile is where they were read from.
	RootCAs []byte
	CAFile  string
	// InsecureNoPKCE leaves PKCE out, for providers that refuse its parameters.
	// A code that leaks can then be used with the client's secret alone.
	// Not for public clients.
	InsecureNoPKCE bool
	// InsecureHTTP permits plain http to and at the provider beyond loopback.
	// An attacker on the network in between can then sign in as anybody.
	InsecureHTTP bool
}

// Logout says how far a logout goes.
type Logout string

// The reaches of a logout.
const (
	// LogoutLocal ends the session here. At the provider it goes on, so that
	// the next login needs no password.
	LogoutLocal Logout = "local"
	// LogoutProvider also sends the browser to the provider's
	// end_session_endpoint (OpenID Connect RP-Initiated Logout 1.0). The ID
	// token is kept with the login for it.
	LogoutProvider Logout = "provider"
)

// A Secret is a string that never shows itself when it is formatted, logged or
// encoded.
type Secret string

const redacted = "[redacted]"

// Format implements fmt.Formatter, for every verb but %p, which never asks and
// which go vet refuses here.
func (Secret) Format(f fmt.State, _ rune) { _, _ = io.WriteString(f, redacted) }

// String implements fmt.Stringer.
func (Secret) String() string { return redacted }

// MarshalText implements encoding.TextMarshaler, which encoding/json and zap use.
func (Secret) MarshalText() ([]byte, error) { return []byte(redacted), nil }

// Deps are what a Provider works with. The zero value is usable.
type Deps struct {
	// LastGood keeps the discovery document and the keys for the time when the
	// provider is down. Nil: they are lost on restart.
	LastGood fetch.LastGood
	// Logger receives operational messages. Nil: none.
	Logger *zap.Logger
	// Transport replaces the network, for tests. Nil: a hardened transport (see
	// fetch.Client).
	Transport http.RoundTripper
}

// The ways to authenticate at the token endpoint that we have (OIDC Core §9).
const (
	methodBasic = "client_secret_basic"
	methodPost  = "client_secret_post"
	methodNone  = "none"
)

// withDefaults returns c with every default filled in.
func (c Config) withDefaults() Config {
	if len(c.Scopes) == 0 {
		c.Scopes = []string{"openid", "profile", "email"}
	}
	c.UsernameClaim, c.GroupsClaim = cmp.Or(c.UsernameClaim, "preferred_username"), cmp.Or(c.GroupsClaim, "groups")
	c.Logout = cmp.Or(c.Logout, LogoutLocal)
	return c
}

// validate reports every fault of c, which has its defaults, at once.
func (c Config) validate(outbound *fetch.Client) error {
	return errors.Join(c.validateIssuer(outbound), c.validateClient(), c.validateScopes(), c.validateClaims())
}

func (c Config) validateIssuer(outbound *fetch.Client) error {
	if c.Issuer == "" {
		return provider.Fault(true, "issuer", "is missing")
	}
	if err := outbound.CheckURL(c.Issuer); err != nil {
		return provider.Fault(true, "issuer", "%w", err)
	}
	if strings.Contains(c.Issuer, "?") {
		return provider.Fault(true, "issuer", "has a query (OIDC Discovery §2)")
	}
	if strings.HasSuffix(strings.TrimSuffix(c.Issuer, "/"), wellKnown) {
		return provider.Fault(true, "issuer", "is the address of the discovery document; leave %s out", wellKnown)
	}
	return nil
}

func (c Config) validateClient() error {
	public, method := c.ClientSecret == "", c.TokenEndpointAuthMethod
	control := func(r rune) bool { return r < ' ' || r == 0x7F }
	return errors.Join(
		provider.Fault(!printable(c.ClientID, 255), "client_id", "must be 1 to 255 visible ASCII characters"),
		provider.Fault(strings.ContainsFunc(string(c.ClientSecret), control), "client_secret", "contains a line break or another control character"),
		provider.Fault(public && c.InsecureNoPKCE, "insecure_no_pkce", "a client without client_secret has nothing but PKCE"),
		provider.Fault(public && (method == methodBasic || method == methodPost), "token_auth", "%s needs a client_secret", method),
		provider.Fault(!public && method == methodNone, "token_auth", "none does not use the client_secret that is set"),
		provider.OneOf("token_auth", method, methodBasic, methodPost, methodNone),
		provider.OneOf("logout", c.Logout, LogoutLocal, LogoutProvider),
	)
}

func (c Config) validateScopes() error {
	for i, s := range c.Scopes {
		switch {
		case !printable(s, 255) || strings.ContainsAny(s, `"\`): // RFC 6749 §3.3
			return provider.Fault(true, "scopes", "%q is no scope", s)
		case slices.Contains(c.Scopes[:i], s):
			return provider.Fault(true, "scopes", "%q stands twice", s)
		}
	}
	if !slices.Contains(c.Scopes, "openid") {
		return provider.Fault(true, "scopes", "openid is missing, apart from the others by a blank (OIDC Core §3.1.2.1)")
	}
	return nil
}

func (c Config) validateClaims() error {
	return provider.Fault(len(c.UsernameClaim) > 255 || len(c.GroupsClaim) > 255, "claim names", "longer than 255 bytes")
}

// plain reports whether the provider may be spoken to by plain http.
func (c Config) plain() bool { return c.InsecureHTTP || !overTLS(c.Issuer) }

func overTLS(url string) bool { return strings.HasPrefix(strings.ToLower(url), "https:") }

// discoveryURL is where the provider's configuration is (OIDC Discovery §4).
func (c Config) discoveryURL() string { return strings.TrimSuffix(c.Issuer, "/") + wellKnown }

const wellKnown = "/.well-known/openid-configuration"
