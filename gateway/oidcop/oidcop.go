// Package oidcop is an OpenID Provider for apps: it turns logins of the gateway into
// tokens for clients that are registered beforehand.
//
// It has no page of its own and knows no cookie. The caller finds the login of the
// browser, and shows what an Answer says. People tells which person a login belongs to,
// and what a client may see of them.
package oidcop

import (
	"context"
	"net/http"
	"net/url"
	"time"

	"go.uber.org/zap"

	"github.com/caddy-sso/caddy-sso/gateway/store"
	"github.com/caddy-sso/caddy-sso/gateway/vault"
)

// The endpoints lie below the issuer.
const (
	DiscoveryPath     = "/.well-known/openid-configuration"
	JWKSPath          = "/jwks.json"
	AuthorizationPath = "/authorize"
	TokenPath         = "/token"
	UserInfoPath      = "/userinfo"
	IntrospectionPath = "/introspect"
	RevocationPath    = "/revoke"
	LogoutPath        = "/logout"
)

// An Algorithm signs tokens (RFC 7518 §3.1).
type Algorithm string

// The algorithms of ID tokens.
const (
	RS256 Algorithm = "RS256"
	ES256 Algorithm = "ES256"
)

// Options configure a Provider.
type Options struct {
	// Issuer is the issuer identifier: an absolute URL without query, without a slash
	// at its end. The endpoints lie below it.
	Issuer string
	// Clients may request codes. Their ids are unique.
	Clients []Client
	// People tells whose login it is. Required.
	People People
	// Transport replaces the network for keys and logout tokens, for tests.
	Transport http.RoundTripper
	// Logger gets what happens without a request. Nil: nothing is logged.
	Logger *zap.Logger
}

// Records keeps grants, and what may be used once. A *vault.Vault implements it.
type Records interface {
	Get(ctx context.Context, kind vault.Kind, name string) (*vault.Record, error)
	PutNew(ctx context.Context, kind vault.Kind, name string, value []byte, ttl time.Duration) error
	Update(ctx context.Context, kind vault.Kind, name string, ttl time.Duration, change func(old *vault.Record) ([]byte, error)) error
	Take(ctx context.Context, kind vault.Kind, name string) ([]byte, error)
	MAC(ctx context.Context, purpose string, parts ...string) ([]byte, error)
}

// An Index lists the logins that clients want to hear the end of. A store.Store
// implements it.
type Index interface {
	Add(ctx context.Context, index string, members ...string) error
	Remove(ctx context.Context, index string, members ...string) error
	Range(ctx context.Context, index, prefix, after string, limit int) ([]string, error)
}

var (
	_ Records = (*vault.Vault)(nil)
	_ Index   = store.Store(nil)
)

// A Signer signs tokens and publishes its keys.
type Signer interface {
	// SignAs returns claims, a JSON object, as a signed JWT of a type in compact form.
	SignAs(ctx context.Context, typ string, claims []byte) (string, error)
	// Published returns the public keys as a JWK Set (RFC 7517 §5).
	Published(ctx context.Context) ([]byte, error)
}

// Backing is what a Provider needs at work.
type Backing struct {
	Records Records
	// Index may be nil: then no client hears of the end of logins.
	Index Index
	// Signers has one for each algorithm that a client uses (see Provider.Algorithms).
	Signers map[Algorithm]Signer
}

// A Provider is the OpenID Provider of one issuer. It is safe for concurrent use.
type Provider struct{}

// New returns a Provider, or every fault of opts at once. It does no I/O.
func New(opts Options) (*Provider, error) { panic("not yet") }

// Bind gives the Provider what it needs at work. Before that its endpoints respond 503.
func (p *Provider) Bind(b Backing) { panic("not yet") }

// Algorithms returns the algorithms for which Bind wants a Signer.
func (p *Provider) Algorithms() []Algorithm { panic("not yet") }

// An Endpoint serves clients, without a login of the browser. Requests from other
// sites are expected at all of them.
type Endpoint struct {
	// Path lies below the issuer.
	Path    string
	Methods []string
	// Serve reports whether the caller has failed: a wrong secret, an invalid code or
	// token.
	Serve func(w http.ResponseWriter, r *http.Request) (failed bool)
}

// Endpoints returns the endpoints but those of authorization and logout.
func (p *Provider) Endpoints() []Endpoint { panic("not yet") }

// Authorization reads a request of the authorization endpoint (OIDC Core §3.1.2.1). Its
// error is a *refusal.Error if the client or its redirect URI is unknown: then a page
// is shown, and nobody is redirected.
func (p *Provider) Authorization(params url.Values) (*Authorization, error) { panic("not yet") }

// Logout reads a request of the logout endpoint (OpenID Connect RP-Initiated Logout
// 1.0 §2). Its error is a *refusal.Error.
func (p *Provider) Logout(params url.Values) (*Logout, error) { panic("not yet") }

// Run tells clients of ended logins (OpenID Connect Back-Channel Logout 1.0) until ctx
// ends.
func (p *Provider) Run(ctx context.Context) { panic("not yet") }

// LoginsChanged tells that a login may have ended, or, if login is empty, that any
// may have. It does not wait.
func (p *Provider) LoginsChanged(login string) { panic("not yet") }
