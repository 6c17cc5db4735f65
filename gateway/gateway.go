// Package gateway signs people in at external identity providers and guards web
// apps: the product without the server that it runs in.
//
// A Gateway belongs to one configuration. It holds the Providers and a session.Node,
// this process's view of the store, and makes an App for each site. App.ServeHTTP
// stands before everything else of the site, and takes each request through the same
// steps. It removes headers that only the gateway may set. It answers the gateway's
// own endpoints. It passes a public path on without an identity. Any other request
// needs a session, and gets its identity in plain headers and in a signed assertion.
//
// # Trust
//
// The server around the gateway is trusted with Peer. A provider is trusted to speak for
// its own people, in answers that were validated, and for nobody else. The app gets no
// credentials: our cookies never reach it. The store keeps records, but can't read or make them:
// package vault seals them. An attacker in the store can delete records, or put older
// ones back: that ends logins, and undoes revocations. The client is trusted with
// nothing: not its Host header, not its paths, not its header names.
//
// # Failures
//
// A fault never means "no session", nor "let in". While the store does not answer, a
// login is served from the cache for five seconds, then refused with 503. While a
// provider does not answer, signed-in people are not affected.
// Every refusal has a refusal.Code.
package gateway

import (
	"cmp"
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

	"github.com/caddy-sso/caddy-sso/gateway/connect"
	"github.com/caddy-sso/caddy-sso/gateway/entry"
	"github.com/caddy-sso/caddy-sso/gateway/forward"
	"github.com/caddy-sso/caddy-sso/gateway/oidcop"
	"github.com/caddy-sso/caddy-sso/gateway/pages"
	"github.com/caddy-sso/caddy-sso/gateway/provider"
	"github.com/caddy-sso/caddy-sso/gateway/refusal"
	"github.com/caddy-sso/caddy-sso/gateway/session"
	"github.com/caddy-sso/caddy-sso/gateway/strip"
	"github.com/caddy-sso/caddy-sso/gateway/usernames"
	"github.com/caddy-sso/caddy-sso/gateway/wording"
	"github.com/caddy-sso/caddy-sso/mapping"
)

// Options are what a Gateway is made of. All are required unless they say
// otherwise.
type Options struct {
	// Providers in the order of the configuration; the chooser shows them so.
	Providers []NamedProvider
	// SamePeople are lists of providers. Those of one list sign in the same people. See
	// usernames.
	SamePeople [][]string
	// Pages renders what people see.
	Pages *pages.Renderer
	// Logger receives operational messages; the audit trail goes to Observe.
	Logger *zap.Logger
	// Observe is told of every login, logout and refusal, except requests that are
	// merely not signed in. Optional. It runs on the request's goroutine and
	// must not block.
	Observe func(Event)
	// Lifetime bounds a login if its provider sets no bound. Default 8 hours.
	Lifetime time.Duration
	// Idle is the idle timeout of a login. Zero: none.
	Idle time.Duration
	// ResetStream resets the stream of an HTTP/3 request. It gets the server's own
	// ResponseWriter. Optional: without it, a request whose login has ended is cut
	// when its handler writes next. See passage.Passage.
	ResetStream func(http.ResponseWriter)
	// Limit bounds the sign-ins of one address.
	Limit session.Limit
}

// A Gateway signs people in and guards apps, by one configuration.
type Gateway struct {
	opts      Options
	log       *zap.Logger
	providers []*NamedProvider
	byName    map[string]*NamedProvider
	strip     atomic.Pointer[strip.Filter]

	// What Bind sets, once bound.
	sessions *session.Node
	signer   Signer
	limits   session.Limits
	bound    atomic.Bool

	openID atomic.Pointer[[]*oidcop.Provider] // of all sites

	mu        sync.Mutex
	headers   [][]string // by name sets of all apps
	kept      []strip.Names
	audiences map[string]*App
	apps      []*App // those that have started

	// grouped has the providers if the rules of some app read the groups of their people. It
	// counts for every sign-in there: a login may be used at any app.
	grouped sync.Map
	warned  sync.Map // what once was asked
}

// DefaultLifetime bounds a login unless set.
const DefaultLifetime = 8 * time.Hour

var providerName = regexp.MustCompile(`^[A-Za-z0-9][A-Za-z0-9._-]{0,63}$`)

// New returns a Gateway, which answers 503 until Bind. It does no I/O; its error names
// every fault of the options.
func New(opts Options) (*Gateway, error) {
	g := &Gateway{
		opts: opts, log: opts.Logger,
		byName: map[string]*NamedProvider{}, audiences: map[string]*App{},
		headers: [][]string{forward.DefaultNames.All(), forward.OptionalNames.All()},
	}
	g.openID.Store(new([]*oidcop.Provider))
	g.opts.Lifetime = cmp.Or(g.opts.Lifetime, DefaultLifetime)
	if g.opts.Observe == nil {
		g.opts.Observe = func(Event) {}
	}
	var faults faults
	faults.add("", opts.Limit.Check())
	if g.opts.Lifetime < 0 || g.opts.Idle < 0 {
		faults.add("", errors.New("lifetime and idle can't be negative"))
	}
	var names []string
	for _, p := range opts.Providers {
		faults.add("", g.AddProvider(p))
		names = append(names, p.Name)
	}
	for _, same := range g.opts.SamePeople {
		faults.add("", usernames.CheckSame(same, names, "; a provider of a site's own is named in the block of that site"))
	}
	if len(faults) > 0 {
		return nil, errors.Join(faults...)
	}
	g.strip.Store(strip.New(g.headers...))
	return g, nil
}

// AddProvider adds a provider, before NewApp is called for an app that uses it. Its
// error names every fault of the provider.
func (g *Gateway) AddProvider(p NamedProvider) error {
	var faults faults
	switch {
	case !providerName.MatchString(p.Name):
		faults.add("", fmt.Errorf("provider name %q: expected letters, digits, dots, hyphens and underscores, 64 at most", p.Name))
	case g.byName[p.Name] != nil:
		faults.add("", fmt.Errorf("provider name %q is used twice", p.Name))
	case p.Lifetime < 0:
		faults.add("", fmt.Errorf("provider %q: lifetime can't be negative", p.Name))
	}
	faults.add("", p.CheckNames())
	p.DisplayName = cmp.Or(p.DisplayName, p.Name)
	g.providers, g.byName[p.Name] = append(g.providers, &p), &p
	return errors.Join(faults...)
}

// Bind gives the gateway the store's sessions and what signs assertions. Both outlive
// it, so that a reload loses nothing. From here on it serves.
func (g *Gateway) Bind(sessions *session.Node, signer Signer) {
	g.sessions, g.signer, g.limits = sessions, signer, sessions.Limits(g.opts.Limit)
	g.bound.Store(true)
}

// StartTimeout bounds how long Start waits for the providers, and a request for Start.
const StartTimeout = 5 * time.Second

// Start has the providers load what was kept of them (see provider.Starter), all at
// once. Call it when the store is open, before Bind. It returns
// when they are done, after five seconds at the latest. A provider that is not done
// by then loads the rest later.
func (g *Gateway) Start(ctx context.Context) {
	ctx, cancel := context.WithTimeout(ctx, StartTimeout)
	var loading sync.WaitGroup
	for _, p := range g.providers {
		if p, ok := p.Provider.(provider.Starter); ok {
			loading.Go(func() { p.Start(ctx) })
		}
	}
	go func() { defer cancel(); loading.Wait() }()
	<-ctx.Done()
}

// Unplace forgets the hosts of all apps, before they are started anew.
func (g *Gateway) Unplace() {
	g.mu.Lock()
	defer g.mu.Unlock()
	clear(g.audiences)
	g.apps = nil
}

// started notes an app, and refuses it if another app has the same audience.
func (g *Gateway) started(a *App, id string) error {
	g.mu.Lock()
	defer g.mu.Unlock()
	if id != "" {
		if other := g.audiences[id]; other != nil && other != a {
			return wording.Errorf("two sites have the assertion's audience %q: give one of them another by %s", id, wording.Option{Word: "app", Args: "<id>"})
		}
		g.audiences[id] = a
	}
	if !slices.Contains(g.apps, a) {
		g.apps = append(g.apps, a)
	}
	return nil
}

// once reports whether it is asked for the first time about this fault of an app or a
// provider. Each is warned of once in a configuration.
func (g *Gateway) once(fault string, of any) bool {
	_, asked := g.warned.LoadOrStore([2]any{fault, of}, true)
	return !asked
}

// A NamedProvider is a Provider as configured.
type NamedProvider = entry.Provider

// A Client is an app that signs people in at the OpenID provider of a site.
type Client = entry.Client

// AppOptions describe one protected app: one `sso` directive.
type AppOptions struct {
	// ID is the assertion's audience. Default: the host of BaseURL, else the
	// site's first host.
	ID string
	// Providers names those of Options.Providers that may sign people in
	// here, in the chooser's order. Empty: all.
	Providers []string
	// Autologin names the provider to use without showing the chooser. Empty: the only
	// one, if there is only one. "off": always show the chooser.
	Autologin string
	// Rules decide which people get in, and their roles. If the app has several name
	// spaces, all rules must be in From. Otherwise these hold for all providers. Each
	// provider needs at least one line.
	Rules mapping.Rules
	// From are rules for the people of some providers.
	From []From
	// SamePeople are added to those of the Options.
	SamePeople [][]string
	// Public are path patterns that need no login and get no identity: exact
	// ("/healthz") or a prefix that ends in "/*" ("/static/*"). See target.Open.
	Public []string
	// Protect is the opposite: if it is not empty, only paths of these patterns need a
	// login, in every form that an app may read as such a path (target.Forms).
	Protect []string
	// Prefix is the path below which the gateway answers itself. Default
	// "/.sso". Begins with a slash, does not end with one.
	Prefix string
	// CallbackPath replaces Prefix + "/oidc/callback" if the registration at the
	// provider can't be changed. If an app has several OpenID Providers, each has a
	// callback below this path: a slash and its name. Optional.
	CallbackPath string
	// BaseURL is the site's own origin as browsers see it, without a path. If
	// empty, it is made of the Hosts given to Start.
	BaseURL string
	// Lifetime bounds how long after the login this app accepts it. Zero: as
	// long as the login lives.
	Lifetime time.Duration
	// Headers names the identity headers. Zero value: forward.DefaultNames.
	Headers      forward.HeaderNames
	HeaderFormat forward.Format
	// KeepHeaders are the Aliases that a client may send, by name or family.
	KeepHeaders []string
	// AllowedOrigins are foreign origins ("https://other.example") whose pages
	// may open WebSockets here.
	AllowedOrigins []string
	// As says how the app keeps a session of its own. Optional.
	As *connect.App
	// InsecureHTTP permits session cookies over plain http on names that are
	// not loopback. An attacker on the network can then take over sessions.
	InsecureHTTP bool
	// ErrorsToCaller makes ServeHTTP return refusals, see Refused, instead of
	// writing the gateway's own page, for servers with error pages of their own.
	ErrorsToCaller bool
	// Clients sign people in at the app's OpenID provider, below Prefix + "/op". Empty:
	// there is none. With clients the app needs no Rules: then nobody may enter it.
	Clients []Client
	// ClientTransport replaces the network to the clients, for tests.
	ClientTransport http.RoundTripper
	// Brand is how the app looks on our pages.
	Brand pages.Brand
}

// A Peer holds facts of a request that only the server around the gateway knows, since
// it knows the trusted proxies.
type Peer struct {
	// Secure says that the browser used https.
	Secure bool
	// Addr is the client's address. The zero value means unknown.
	Addr netip.Addr
	// Target is the request-target as it came in (path and query), before any
	// rewriting.
	Target string
	// Failed is the error that the request ended in, if this is an error route.
	Failed error
}

// A Next passes a request on to the app. p is nil on public paths. It is shared
// by all requests of the login and must not be changed.
type Next func(w http.ResponseWriter, r *http.Request, p *forward.Principal) error

// A Signer signs assertions and publishes its keys.
type Signer interface {
	forward.Signer
	// JWKS returns the public keys as a JWK Set (RFC 7517 §5).
	JWKS() ([]byte, error)
}

// An Event is one fact for the audit trail, metrics and the server's own events.
type Event struct {
	// Type is one of the Event… constants.
	Type string
	// App, Provider, Client and Code are bounded label values.
	App, Provider string
	Client        string // of the OpenID provider, if a request is of one
	Code          refusal.Code
	// Check is the name of the check that failed, or "". It is bounded, too.
	Check string
	// Username, Reference and Addr are for the audit log, never for labels.
	Username, Reference string
	Addr                netip.Addr
	// A login has these: its host, the template, roles and first 20 groups of the app, and
	// the number of the provider's groups.
	Host, Template   string
	Roles, AppGroups []string
	Groups           int
	// Answered says that this browser brought an answer to its own login: somebody may ask
	// about the reference.
	Answered bool
	// Err is the cause of a refusal, for the log.
	Err error
}

// The types of events.
const (
	EventLogin   = "login"   // a login was completed
	EventLogout  = "logout"  // a login was ended by its user
	EventGrant   = "grant"   // a client of the OpenID provider got a code
	EventRefused = "refused" // a request was refused; Code says why
)

// claimNames makes names ours at every app of the gateway. It refuses if an app keeps one
// of them.
func (g *Gateway) claimNames(names forward.HeaderNames, keep []string) error {
	g.mu.Lock()
	defer g.mu.Unlock()
	if all := names.All(); !slices.ContainsFunc(g.headers, func(have []string) bool { return slices.Equal(have, all) }) {
		g.headers = append(g.headers, all)
		g.strip.Store(strip.New(g.headers...))
	}
	if len(keep) > 0 {
		g.kept = append(g.kept, strip.NewNames(keep))
	}
	for _, kept := range g.kept {
		for _, names := range g.headers {
			for _, name := range names {
				if name != "" && kept.Has(name) {
					return wording.Aboutf("keep_headers", "%s can't be kept: by it an app of this gateway learns who makes a request, so no client may send it; keep others by their full names", name)
				}
			}
		}
	}
	return nil
}
