package gateway

import (
	"cmp"
	"errors"
	"fmt"
	"net/http"
	"net/url"
	"slices"
	"strings"
	"sync/atomic"
	"time"

	"github.com/caddy-sso/caddy-sso/gateway/entry"
	"github.com/caddy-sso/caddy-sso/gateway/forward"
	"github.com/caddy-sso/caddy-sso/gateway/provider"
	"github.com/caddy-sso/caddy-sso/gateway/session"
	"github.com/caddy-sso/caddy-sso/gateway/strip"
	"github.com/caddy-sso/caddy-sso/gateway/target"
	"github.com/caddy-sso/caddy-sso/gateway/wording"
)

// An App is one protected app of a Gateway.
type App struct {
	gw        *Gateway
	opts      AppOptions
	providers []*NamedProvider
	policy    *entry.Policy
	open      *target.Open // nil: every path needs a login
	headers   forward.HeaderNames
	keep      strip.Names // aliases that a client may send
	// headerNames are headers in their canonical form.
	headerNames forward.Row
	base        *url.URL // nil: learnt in Start
	origins     map[string]bool
	csrf        http.CrossOriginProtection
	endpoints   *endpointTable
	clients     *entry.Clients // of its OpenID provider; nil: there is none

	site atomic.Pointer[site] // nil until Start
}

// A site is what a started App knows about its own address.
type site struct {
	hosts map[string]bool // exact names; nil: any name
	wild  []string        // names with wildcards, if known
	names []string        // all of them, for messages
	// issuer is the origin that assertions name. Empty: that of each request.
	issuer string
	id     string
	// unplaced says that the app has no host of its own, as in an error route.
	unplaced bool
}

// Hosts are the host names whose requests the server routes to an App.
type Hosts struct {
	// Exact names, in the order of the configuration.
	Exact []string
	// Any says that the server matched the Host header by a wildcard before
	// the request came here, so that it can be trusted as it is.
	Any bool
	// Wild are the wildcards, such as "*.example.com".
	Wild []string
	// Scheme ("https" or "http") and Port are the listener's, for the origin
	// that assertions name. The scheme's own port may be left out.
	Scheme, Port string
}

// NewApp returns an App. It does no I/O; its error names every fault of the
// options.
func (g *Gateway) NewApp(opts AppOptions) (*App, error) {
	a := &App{gw: g, opts: opts, headers: opts.Headers, keep: strip.NewNames(opts.KeepHeaders), origins: map[string]bool{}}
	if a.opts.Prefix == "" {
		a.opts.Prefix = "/.sso"
	}
	if a.opts.CallbackPath == "" {
		a.opts.CallbackPath = a.opts.Prefix + "/oidc/callback"
	}
	if a.headers == (forward.HeaderNames{}) && !opts.As.IsProxmox() { // it reads none, and few lines
		a.headers = forward.DefaultNames
	}
	var faults faults
	var err error
	faults.add("", a.pickProviders())
	faults.add("", a.divide())
	a.open, err = target.NewOpen(opts.Public, opts.Protect)
	faults.add("", err)
	faults.add("", a.readAddresses())
	if opts.Lifetime < 0 {
		faults.add("lifetime", errors.New("can't be negative"))
	}
	faults.add("headers", a.headers.Check())
	faults.add("keep_headers", g.strip.Load().CheckKept(opts.KeepHeaders, a.headers.All()))
	if len(faults) > 0 {
		return nil, errors.Join(faults...)
	}
	a.headerNames = a.headers.Canonical()
	a.endpoints = a.newEndpointTable()
	return a, g.claimNames(a.headers, opts.KeepHeaders)
}

// faults are all faults of some options.
type faults []error

// add adds the faults of one option, each with its name.
func (f *faults) add(option string, err error) {
	if err == nil {
		return
	}
	if joined, ok := err.(interface{ Unwrap() []error }); ok {
		for _, e := range joined.Unwrap() {
			f.add(option, e)
		}
		return
	}
	if option != "" {
		err = wording.About(option, err)
	}
	*f = append(*f, err)
}

// readAddresses reads paths and origins of the options.
func (a *App) readAddresses() error {
	var faults faults
	var err error
	faults.add("prefix", target.CheckPrefix(a.opts.Prefix))
	faults.add("callback_path", target.CheckPrefix(a.opts.CallbackPath))
	if name := strings.TrimPrefix(a.opts.CallbackPath, a.opts.Prefix+"/"); name != "oidc/callback" && target.Under(a.opts.CallbackPath, a.opts.Prefix) {
		faults.add("callback_path", fmt.Errorf("%q lies among the gateway's own addresses: expected one outside of %s", a.opts.CallbackPath, a.opts.Prefix))
	}
	if a.opts.BaseURL != "" {
		a.base, err = target.ParseOrigin(a.opts.BaseURL)
		faults.add("base_url", err)
	}
	for _, o := range a.opts.AllowedOrigins {
		u, err := target.ParseOrigin(o)
		faults.add("allowed_origins", err)
		if err == nil {
			a.origins[u.String()] = true
		}
	}
	return errors.Join(faults...)
}

func (a *App) pickProviders() error {
	if len(a.opts.Providers) == 0 {
		a.providers = slices.Clone(a.gw.providers)
	}
	for _, name := range a.opts.Providers {
		p := a.gw.byName[name]
		switch {
		case p == nil:
			return wording.Aboutf("provider", "there is no %q", name)
		case slices.Contains(a.providers, p):
			return wording.Aboutf("provider", "%q is named twice: write each name once", name)
		}
		a.providers = append(a.providers, p)
	}
	if len(a.providers) == 0 {
		return errors.New("no provider is configured: nobody could sign in")
	}
	return nil
}

// offered returns the providers that sign people in for a return URL: those of the client whose
// request it is, otherwise of the site. See entry.Policy.
func (a *App) offered(returnTo string) (all []*NamedProvider, auto *NamedProvider) {
	if _, client := a.askedBy(returnTo); client != "" {
		return a.clients.Offered(client)
	}
	return a.policy.Offered()
}

// Start tells the App its hosts; before, it answers 503. It does no I/O.
func (a *App) Start(h Hosts) error {
	s := &site{id: a.opts.ID, wild: h.Wild, names: slices.Concat(h.Exact, h.Wild), unplaced: len(h.Exact) == 0 && !h.Any}
	switch {
	case a.base != nil:
		name := target.Hostname(a.base.Host)
		s.hosts, s.names, s.issuer = map[string]bool{name: true}, []string{name}, a.base.String()
		s.id = cmp.Or(s.id, name)
	case len(h.Exact) > 0:
		s.hosts = map[string]bool{}
		for _, name := range h.Exact {
			if target.Hostname(name) == "" {
				return fmt.Errorf("host %q of the site can't be used: set base_url", name)
			}
			s.hosts[target.Hostname(name)] = true
		}
		if h.Any {
			s.hosts = nil
		}
		first := target.Hostname(h.Exact[0])
		s.issuer = target.Origin(cmp.Or(h.Scheme, "https"), strings.TrimSuffix(first+":"+h.Port, ":"))
		s.id = cmp.Or(s.id, first)
	case !h.Any:
		return errors.New("the site has no host name: set `base_url https://…` to say how browsers reach it")
	}
	if a.clients != nil {
		if err := a.checkIssuer(s); err != nil {
			return err
		}
	}
	if err := a.gw.started(a, s.id); err != nil {
		return err
	}
	a.site.Store(s)
	return nil
}

// WithoutEmails names the providers whose people have no e-mail address here, because
// the provider has no EmailDomains.
func (a *App) WithoutEmails() []string {
	if a.headers.Email == "" && a.headers.Assertion == "" {
		return nil
	}
	return a.policy.WithoutEmails()
}

// audience returns the assertion's audience for an issuer.
func (a *App) audience(issuer string) string {
	if s := a.site.Load(); s != nil && s.id != "" {
		return s.id
	}
	if u, err := url.Parse(issuer); err == nil {
		return target.Hostname(u.Host)
	}
	return issuer
}

func (a *App) speaking(protocol provider.Protocol) []*NamedProvider {
	var found []*NamedProvider
	for _, p := range a.providers {
		if p.Provider.Protocol() == protocol {
			found = append(found, p)
		}
	}
	return found
}

// metadataURL is the address of the site's SAML metadata. It is our default entity ID for
// all providers: no provider's name is in it, so a rename does not change it.
func (a *App) metadataURL(origin string) string { return origin + a.opts.Prefix + "/saml/metadata" }

// callbackPath returns the path to which p sends its answers. OpenID Providers of one app
// have a path each: an answer need not name its provider (RFC 9207), so one of them could
// get the code of another (mix-up, RFC 9700 §4.4.2.2). SAML providers share a path: a
// signed answer names its issuer.
func (a *App) callbackPath(p *NamedProvider) string {
	switch {
	case p.Provider.Protocol() == provider.SAML:
		return a.opts.Prefix + "/saml/acs"
	case len(a.speaking(provider.OIDC)) == 1:
		return a.opts.CallbackPath
	}
	return a.opts.CallbackPath + "/" + p.Name
}

// callbacks returns the addresses to which OpenID Providers should send their answers, and
// those that belong to them as well.
func (a *App) callbacks(origin string) (registered, others []string) {
	others = []string{origin + a.opts.CallbackPath}
	for _, p := range a.speaking(provider.OIDC) {
		registered = append(registered, origin+a.callbackPath(p))
		others = append(others, origin+a.opts.CallbackPath+"/"+p.Name)
	}
	return registered, others
}

func (a *App) end(l *session.Login) time.Time {
	end := l.Expires
	if a.opts.Lifetime > 0 {
		if t := l.Created.Add(a.opts.Lifetime); t.Before(end) {
			end = t
		}
	}
	return end
}

// name returns the name of the app on pages and in logs.
func (a *App) name() string {
	if s := a.site.Load(); s != nil && s.id != "" {
		return s.id
	}
	return cmp.Or(a.opts.ID, "app")
}
