// Package gateway signs people in at external identity providers and guards web
// apps: the product without the server that it runs in.
// A Gateway is what one configuration makes of a session.Node, this process's
// view of the store, and of Providers. It makes an App for each site. App.ServeHTTP stands
// before everything else of the site and takes each request through the same
// steps: what only the gateway may say is taken away from what the client sent;
// the gateway's own endpoints are answered; a public path is passed on without
// an identity; and any other request needs a session, whose identity it is
// given, in plain headers and in a signed assertion.
//
// # Whom it trusts
//
// The host server, for what Peer says. The provider, for what its judged answer
// says about its own people, and no more. The app, not at all with credentials:
// our cookies never reach it. The store, for keeping records, but not for
// reading or making them: they are sealed by package vault. Who can delete records, or
// put older ones back, can end logins and undo revocations. The client, for
// nothing: not its Host header, not its paths, not its header names.
//
// # What happens when something fails
//
// A fault is never taken for "no session", nor for "let in". While the store
// does not answer, a login is served from the cache for five seconds, then
// refused with 503. While a provider does not answer, signed-in people are not affected.
// Every refusal has a refusal.Code.
package gateway

import (
	"context"
	"errors"
	"fmt"
	"net/http"
	"net/netip"
	"regexp"
	"slices"
	"sync"
	"sync/atomic"
	"time"

	"go.uber.org/zap"

	"github.com/caddy-sso/caddy-sso/gateway/provider"
	"github.com/caddy-sso/caddy-sso/gateway/refusal"
	"github.com/caddy-sso/caddy-sso/gateway/session"
	"github.com/caddy-sso/caddy-sso/gateway/strip"
	"github.com/caddy-sso/caddy-sso/gateway/usernames"
	"github.com/caddy-sso/caddy-sso/mapping"
)

// Options are what a Gateway is made of. All are required unless they say
// otherwise.
type Options struct {
	// Sessions is this node's view of the store. It outlives the Gateway, so
	// that a reload loses nothing.
	Sessions *session.Node
	// Providers in the order of the configuration; the chooser shows them so.
	Providers []NamedProvider
	// SamePeople are lists of providers, each of which is a way in for the same
	// people. See usernames.
	SamePeople [][]string
	// Signer signs the assertion.
	Signer Signer
	// Pages renders what people see.
	Pages Pages
	// Logger receives operational messages; the audit trail goes to Observe.
	Logger *zap.Logger
	// Observe is told of every login, logout and refusal, except requests that are
	// merely not signed in. Optional. It runs on the request's goroutine and
	// must not block.
	Observe func(Event)
	// Lifetime bounds a login whose provider sets none. Default 8 hours.
	Lifetime time.Duration
	// Idle ends a login that was not used for so long. Zero: no idle limit.
	Idle time.Duration
	// ResetStream ends the one stream of an HTTP/3 answer that has begun. It gets the
	// server's own ResponseWriter. Optional: without it, an answer whose login has
	// ended is cut when its handler writes next. See passage.Passage.
	ResetStream func(http.ResponseWriter)
	// Limit bounds the sign-ins of one client address.
	Limit session.Limit
}

// A Gateway signs people in and guards apps: what one configuration makes of a session.Node.
type Gateway struct {
	opts     Options
	sessions *session.Node
	log      *zap.Logger
	limits   session.Limits
	byName   map[string]*NamedProvider
	strip    atomic.Pointer[strip.Filter]

	mu        sync.Mutex
	headers   [][]string // by name sets of all apps
	kept      []strip.Names
	audiences map[string]*App
	grouped   map[*NamedProvider]bool // whose people's groups the rules of an app read
	apps      []*App                  // those that have started
}

// DefaultLifetime bounds a login unless set.
const DefaultLifetime = 8 * time.Hour

var providerName = regexp.MustCompile(`^[A-Za-z0-9][A-Za-z0-9._-]{0,63}$`)

// New returns a Gateway. It does no I/O; its error names every fault of the
// options.
func New(opts Options) (*Gateway, error) {
	g := &Gateway{
		opts: opts, sessions: opts.Sessions, log: opts.Logger,
		byName: map[string]*NamedProvider{}, audiences: map[string]*App{}, grouped: map[*NamedProvider]bool{},
		headers: [][]string{DefaultHeaders.all(), {usualProvider}},
	}
	if g.opts.Lifetime == 0 {
		g.opts.Lifetime = DefaultLifetime
	}
	if g.opts.Observe == nil {
		g.opts.Observe = func(Event) {}
	}
	limits, err := opts.Sessions.Limits(opts.Limit)
	g.limits = limits
	errs := []error{err}
	if g.opts.Lifetime < 0 || g.opts.Idle < 0 {
		errs = append(errs, errors.New("lifetime and idle can't be negative"))
	}
	g.opts.Providers = slices.Clone(opts.Providers)
	for i := range g.opts.Providers {
		p := &g.opts.Providers[i]
		switch {
		case !providerName.MatchString(p.Name):
			errs = append(errs, fmt.Errorf("provider name %q: expected letters, digits, dots, hyphens and underscores, 64 at most", p.Name))
		case g.byName[p.Name] != nil:
			errs = append(errs, fmt.Errorf("provider name %q is used twice", p.Name))
		case p.Lifetime < 0:
			errs = append(errs, fmt.Errorf("provider %q: lifetime can't be negative", p.Name))
		}
		errs = append(errs, p.checkNames())
		if p.DisplayName == "" {
			p.DisplayName = p.Name
		}
		g.byName[p.Name] = p
	}
	var all []string
	for _, p := range opts.Providers {
		all = append(all, p.Name)
	}
	for _, names := range opts.SamePeople {
		errs = append(errs, checkSamePeople(names, all, "; a provider of a site's own is named in the block of that site"))
	}
	g.strip.Store(strip.New(g.headers...))
	if err := errors.Join(errs...); err != nil {
		return nil, err
	}
	return g, nil
}

// startTimeout bounds how long Start waits for the providers.
const startTimeout = 5 * time.Second

// Start has the providers load what was kept of them (see provider.Starter), all at
// once. Call it when the store is open, before requests are served. It returns
// when they are done, after five seconds at the latest: who needs more loads it
// later.
func (g *Gateway) Start(ctx context.Context) {
	g.sessions.Start(g)
	ctx, cancel := context.WithTimeout(ctx, startTimeout)
	var loading sync.WaitGroup
	for i := range g.opts.Providers {
		if p, ok := g.opts.Providers[i].Provider.(provider.Starter); ok {
			loading.Go(func() { p.Start(ctx) })
		}
	}
	go func() { defer cancel(); loading.Wait() }()
	<-ctx.Done()
}

// started notes an app, and makes sure that no two take each other's assertions.
func (g *Gateway) started(a *App, id string) error {
	g.mu.Lock()
	defer g.mu.Unlock()
	if id != "" {
		if other := g.audiences[id]; other != nil && other != a {
			return fmt.Errorf("two sites have the assertion's audience %q: give one of them another by `app <id>`", id)
		}
		g.audiences[id] = a
	}
	if !slices.Contains(g.apps, a) {
		g.apps = append(g.apps, a)
	}
	return nil
}

// readGroupsOf notes that the rules of an app read the groups of p's people. A
// login may be used at any app.
func (g *Gateway) readGroupsOf(p *NamedProvider) {
	g.mu.Lock()
	defer g.mu.Unlock()
	g.grouped[p] = true
}

func (g *Gateway) readsGroupsOf(p *NamedProvider) bool {
	g.mu.Lock()
	defer g.mu.Unlock()
	return g.grouped[p]
}

func (g *Gateway) lifetime(p *NamedProvider) time.Duration {
	if p.Lifetime > 0 {
		return p.Lifetime
	}
	return g.opts.Lifetime
}

// A NamedProvider is a Provider as configured.
type NamedProvider struct {
	// Name is the label in configuration, URLs and logs: [A-Za-z0-9._-]+.
	Name string
	// DisplayName is what the chooser shows. Default: Name.
	DisplayName string
	// Lifetime bounds logins at this provider. Zero: Options.Lifetime.
	Lifetime time.Duration
	// Users says where its user names lie. Zero: they are as the provider says.
	Users usernames.Space
	// EmailDomains are those whose addresses an app with several name spaces is
	// told by this provider.
	EmailDomains []string
	Provider     provider.Provider
}

// judge is what a login remembers of the provider.
func (p *NamedProvider) judge() session.Judge {
	return session.Judge{Provider: p.Name, Protocol: p.Provider.Protocol(), Issuer: p.Provider.Issuer(), Definition: p.Provider.Definition()}
}

// AppOptions describe one protected app: one `sso` directive.
type AppOptions struct {
	// ID is the assertion's audience. Default: the host of BaseURL, else the
	// site's first host.
	ID string
	// Providers names those of Options.Providers that may sign people in
	// here, in the chooser's order. Empty: all.
	Providers []string
	// Autologin names the provider that a visitor without a session is sent
	// to straight away. Empty: the only one, if there is only one; "off":
	// always show the chooser.
	Autologin string
	// Rules decide who gets in and as what. Where the app has several name
	// spaces, all rules are in From; else they hold for all providers, and at
	// least one line is required for each.
	Rules mapping.Rules
	// From are rules for the people of some providers.
	From []ProviderRules
	// SamePeople are added to those of the Options.
	SamePeople [][]string
	// Public are path patterns that need no login and get no identity: exact
	// ("/healthz") or a prefix that ends in "/*" ("/static/*"). See target.Open.
	Public []string
	// Protect, if not empty, turns it round: only these patterns need a login, in
	// all forms in which an app may read them (target.Forms).
	Protect []string
	// Prefix is the path below which the gateway answers itself. Default
	// "/.sso". Begins with a slash, does not end with one.
	Prefix string
	// CallbackPath replaces Prefix + "/oidc/callback" where the registration
	// at the provider can't be changed. Where an app has several OpenID
	// Providers, each has a callback below it: a slash and its name. Optional.
	CallbackPath string
	// BaseURL is the site's own origin as browsers see it, without a path. If
	// empty, it is learnt from the hosts given to Start.
	BaseURL string
	// Lifetime bounds how long after the login this app accepts it. Zero: as
	// long as the login lives.
	Lifetime time.Duration
	// Headers names the identity headers. Zero value: DefaultHeaders.
	Headers HeaderNames
	// KeepHeaders are those of Aliases that a client may send, by name or family.
	KeepHeaders []string
	// AllowedOrigins are foreign origins ("https://other.example") whose pages
	// may open WebSockets here.
	AllowedOrigins []string
	// InsecureHTTP permits session cookies over plain http on names that are
	// not loopback. Whoever can read the network can then take over sessions.
	InsecureHTTP bool
	// ErrorsToCaller makes ServeHTTP return refusals as *refusal.Error instead of
	// writing the gateway's own page, for hosts with error pages of their own.
	ErrorsToCaller bool
}

// HeaderNames says under which names the app receives the identity. An empty
// name sends no such header.
type HeaderNames struct {
	Assertion, User, Groups, Email, Name, Roles, Provider string
}

// usualProvider is how the header of the provider is called where an app wants
// one. A client can't send it, whether an app wants it or not.
const usualProvider = "Remote-Provider"

func (n HeaderNames) all() []string {
	return []string{n.Assertion, n.User, n.Groups, n.Email, n.Name, n.Roles, n.Provider}
}

// DefaultHeaders are the names unless set.
var DefaultHeaders = HeaderNames{
	Assertion: "X-Sso-Assertion",
	User:      "Remote-User",
	Groups:    "Remote-Groups",
	Email:     "Remote-Email",
	Name:      "Remote-Name",
	Roles:     "Remote-Roles",
}

// A Peer is what the host server knows of a request and this package must not
// guess: trusted proxies are its business.
type Peer struct {
	// Secure says that the browser used https.
	Secure bool
	// Addr is the client's address. The zero value means unknown.
	Addr netip.Addr
	// Target is the request-target as it came in (path and query), before any
	// rewriting.
	Target string
}

// A Next passes a request on to the app. p is nil on public paths. It is shared
// by all requests of the login and must not be changed.
type Next func(w http.ResponseWriter, r *http.Request, p *Principal) error

// A Principal is who makes a request, as the app is told.
type Principal struct {
	// Username, Email, Name, Provider and Account describe the person;
	// Account is opaque and stable.
	Username, Email, Name, Provider, Account string
	// Roles, Groups and Template are in the app's own words.
	Roles, Groups []string
	Template      string
	// SessionID names the login towards this app: a hash, no secret.
	SessionID string
	// Expires is when the login ends at the latest.
	Expires time.Time
}

// A Signer signs assertions and publishes its keys.
type Signer interface {
	// Sign returns claims (a JSON object) as a signed JWT in compact form.
	Sign(claims []byte) (string, error)
	// JWKS returns the public keys as a JWK Set (RFC 7517 §5).
	JWKS() ([]byte, error)
}

// Pages renders what people see. It sets every header of its answers: content
// type, CSP, no-store.
type Pages interface {
	// Page writes page, one of the types of package pages, as HTML.
	Page(w http.ResponseWriter, r *http.Request, status int, page any)
	// Asset serves one static file (CSS, script) by its name below Prefix/assets/.
	Asset(w http.ResponseWriter, r *http.Request, name string)
}

// An Event is one fact for the audit trail, metrics and the host's events.
type Event struct {
	// Type is one of the Event… constants.
	Type string
	// App, Provider and Code are bounded label values.
	App, Provider string
	Code          refusal.Code
	// Username, Reference and Addr are for the audit log, never for labels.
	Username, Reference string
	Addr                netip.Addr
	// Judged says that an answer to a login of this browser was judged: somebody may
	// ask about the reference.
	Judged bool
	// Err is the cause of a refusal, for the log.
	Err error
}

// The types of events.
const (
	EventLogin   = "login"   // a login was completed
	EventLogout  = "logout"  // a login was ended by its user
	EventRefused = "refused" // a request was refused; Code says why
)

// claimNames makes names ours on every app of the gateway. Nobody may keep them.
func (g *Gateway) claimNames(names HeaderNames, keep []string) error {
	g.mu.Lock()
	defer g.mu.Unlock()
	g.headers, g.kept = append(g.headers, names.all()), append(g.kept, strip.NewNames(keep))
	g.strip.Store(strip.New(g.headers...))
	for _, kept := range g.kept {
		for _, names := range g.headers {
			for _, name := range names {
				if name != "" && kept.Has(name) {
					return fmt.Errorf("keep_headers: %s can't be kept: by it an app of this gateway learns who makes a request, so no client may send it; keep others by their full names", name)
				}
			}
		}
	}
	return nil
}
