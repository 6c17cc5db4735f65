// Package oidcop is an OpenID Provider for apps: it turns logins of the gateway into tokens
// for clients that are registered beforehand. It has OpenID Connect Core 1.0 (the code flow
// of §3.1, the claims of §5, private_key_jwt of §9), PKCE (RFC 7636), form_post, iss in
// responses (RFC 9207), introspection (RFC 7662), revocation (RFC 7009), RP-Initiated and
// Back-Channel Logout 1.0.
//
// It has no page of its own and knows no cookie. The caller finds the login of the browser,
// and carries out what a Response says. People tells whose login it is, and what a client may
// see.
//
// A grant is one sealed record that all nodes share. Code, access token and refresh token
// name it, so one compare-and-put decides what each is still good for. Tokens hold as long
// as the login: each use asks the store for it.
//
// Why no library: ory/fosite v0.49 (16,000 lines; go-jose v3, ory/x and 17 modules more) has no
// discovery, userinfo or logout. zitadel/oidc v3.52 (8,000 lines for the provider; seven modules
// more) wants a storage of 22 methods that spreads a grant over several records. It lacks the
// claims parameter, iss in responses, signed userinfo, PKCE that is required of a client with a
// secret, and the sending of logout tokens.
package oidcop

import (
	"context"
	"errors"
	"fmt"
	"net/http"
	"slices"
	"sync/atomic"
	"time"

	"go.uber.org/zap"

	"github.com/caddy-sso/caddy-sso/gateway/fetch"
	"github.com/caddy-sso/caddy-sso/gateway/refusal"
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
	// Count adds delta to a counter, and returns the sum.
	Count(ctx context.Context, name string, delta int, ttl time.Duration) (n int, left time.Duration, err error)
	// Key prepares a new store for MAC.
	Key(ctx context.Context, kind vault.Kind, name string) (string, error)
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
	// Issuer is the issuer identifier: an absolute URL without query, without a slash
	// at its end. The endpoints lie below it.
	Issuer  string
	Records Records
	// Index may be nil: then no client hears of the end of logins.
	Index Index
	// Signers has one for each of Provider.Algorithms.
	Signers map[Algorithm]Signer
}

// A Provider is the OpenID Provider of one issuer. It is safe for concurrent use.
type Provider struct {
	clients  map[string]*client
	people   People
	outbound *fetch.Client
	logger   *zap.Logger
	checks   *checklist
	backing  atomic.Pointer[Backing]
	ended    chan string   // logins for Run
	all      chan struct{} // has Run look at all logins
}

// New returns a Provider, or every fault of opts at once. It does no I/O.
func New(opts Options) (*Provider, error) {
	p := &Provider{
		people: opts.People, logger: opts.Logger, checks: allChecks(),
		clients: map[string]*client{}, outbound: fetch.New(fetch.Options{Transport: opts.Transport}),
		ended: make(chan string, maxEnded), all: make(chan struct{}, 1),
	}
	if p.logger == nil {
		p.logger = zap.NewNop()
	}
	var errs []error
	if opts.People == nil {
		errs = append(errs, errors.New("making an OpenID Provider: People is required"))
	}
	for _, c := range opts.Clients {
		made, err := p.newClient(c)
		if err == nil && p.clients[c.ID] != nil {
			err = errors.New("the id is used twice")
		}
		if err != nil {
			errs = append(errs, fmt.Errorf("checking client %q: %w", c.ID, err))
			continue
		}
		p.clients[c.ID] = made
	}
	return p, errors.Join(errs...)
}

// Bind gives the Provider what it needs at work. Before that its endpoints respond 503.
func (p *Provider) Bind(b Backing) { p.backing.Store(&b) }

// errUnbound is a fault: the gateway has not started yet.
var errUnbound error = refusal.New(refusal.NotReady, errors.New("the OpenID provider has not started yet"))

func (p *Provider) bound() (*Backing, error) {
	if b := p.backing.Load(); b != nil {
		return b, nil
	}
	return nil, errUnbound
}

func (p *Provider) issuer() string {
	if b := p.backing.Load(); b != nil {
		return b.Issuer
	}
	return ""
}

// mac authenticates parts for a purpose, the same on every node.
func (p *Provider) mac(ctx context.Context, purpose string, parts ...string) ([]byte, error) {
	b, err := p.bound()
	if err != nil {
		return nil, err
	}
	parts = append([]string{b.Issuer}, parts...)
	mac, err := b.Records.MAC(ctx, purpose, parts...)
	if errors.Is(err, store.ErrNotFound) {
		if _, err = b.Records.Key(ctx, kindGrant, ""); err == nil {
			mac, err = b.Records.MAC(ctx, purpose, parts...)
		}
	}
	return mac, err
}

// Algorithms returns the algorithms for which Bind wants a Signer.
func (p *Provider) Algorithms() []Algorithm {
	var used []Algorithm
	for _, c := range p.clients {
		used = append(used, c.Algorithm)
		if c.UserInfoAlgorithm != "" {
			used = append(used, c.UserInfoAlgorithm)
		}
	}
	slices.Sort(used)
	return slices.Compact(used)
}
