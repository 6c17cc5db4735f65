package caddymodule

import (
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"os"
	"slices"
	"sync/atomic"
	"time"

	"github.com/caddyserver/caddy/v2"
	"github.com/caddyserver/caddy/v2/caddyconfig/caddyfile"
	"github.com/caddyserver/caddy/v2/modules/caddyhttp"
	"go.uber.org/zap"

	"github.com/caddy-sso/caddy-sso/gateway"
	"github.com/caddy-sso/caddy-sso/gateway/pages"
	"github.com/caddy-sso/caddy-sso/gateway/vault"
	"github.com/caddy-sso/caddy-sso/gateway/wording"
)

func init() { caddy.RegisterModule(new(App)) }

// App has what all sites with single sign-on share: providers, the session store, and
// the secret that encrypts the stored records.
//
// It needs no configuration: a site may have its own provider, and the default store is
// a file on this machine.
//
// The logger `sso.audit` writes a line for each login, logout and refusal. If a client
// that is not signed in is refused several times for the same reason, only the first
// refusal has a line. Those of the next minute share one line, with their number.
//
// A request that brings credentials is not in the access log. If its site has one, the
// logger `sso.access` writes a line without them instead.
type App struct {
	// The providers that sites share, in the order of the chooser. A site can have its
	// own provider instead.
	ProvidersRaw []json.RawMessage `json:"providers,omitempty" caddy:"namespace=sso.providers inline_key=protocol"`

	// Lists of providers that sign in the same people, such as one company's OpenID and
	// SAML: a user name belongs to the same person at all of them. A site with several
	// providers is refused unless they are in one list, here or in the site, or have
	// name spaces (`users`). Trusting two providers is not enough for a list: each of
	// them can sign in as anybody of the other.
	SamePeople [][]string `json:"same_people,omitempty"`

	// Where sessions are kept. Default: bolt, a file in Caddy's data directory.
	StoreRaw json.RawMessage `json:"store,omitempty" caddy:"namespace=sso.stores inline_key=type"`

	// The secret that encrypts the stored records: 32 random characters or more, the
	// same on all nodes (`openssl rand -base64 32`). Use a placeholder rather than the
	// secret itself. Required with Redis. Without Redis, the default is a random secret
	// that is kept in Caddy's storage.
	//
	// To change it, add the new one as the second on all nodes, then put it first on all
	// nodes, then remove the old one.
	Secret []Secret `json:"secret,omitempty"`

	// How long a login lives at most, however much it is used, unless its provider has a
	// lifetime of its own. Default: 8h.
	Lifetime caddy.Duration `json:"lifetime,omitempty"`

	// The idle timeout of a login. Requests count as use, and so do data that the client
	// sends in one; data that an app sends do not count. The timeout also ends requests
	// under way. Default: none.
	Idle caddy.Duration `json:"idle,omitempty"`

	// How many sign-ins one client address may start, and how many may fail.
	Limit Limit `json:"limit,omitzero"`

	// Read providers, store, secret and the options above from the environment, too, as
	// docs/environment.md says. Default: the environment changes nothing.
	Environment bool `json:"environment,omitempty"`

	ctx       caddy.Context
	log       *zap.Logger
	audit     *zap.Logger
	access    *zap.Logger // in place of Caddy's, for requests with credentials
	pages     *pages.Renderer
	store     storeModule
	secrets   [][]byte
	private   Private
	refusals  *refusals
	shared    []string // names of the shared providers
	providers []builtProvider
	gateway   *gateway.Gateway
	handlers  []*Handler
	warned    map[string]bool     // warnings that were logged
	outline   *outline            // of the http app; nil before the first handler
	servers   []*caddyhttp.Server // that tell the connections of requests

	started     chan struct{} // closed when Start returns, with or without an error
	lender      *lender
	sessionsKey string // in the pool; empty while the app holds none
	opened      atomic.Pointer[pooledSessions]
	silent      atomic.Bool // the store did not respond when Ready asked last
	retiring    atomic.Bool
}

// CaddyModule returns the Caddy module information.
func (*App) CaddyModule() caddy.ModuleInfo {
	return caddy.ModuleInfo{
		ID:  "sso",
		New: func() caddy.Module { return new(App) },
	}
}

// Provision builds the providers and checks the configuration. It opens no store.
func (a *App) Provision(ctx caddy.Context) error { return noted(a.provision(ctx)) }

func (a *App) provision(ctx caddy.Context) error {
	a.provisionProgram(ctx) // before there is a logger
	a.ctx, a.log = ctx, loggerOf(ctx)
	a.audit, a.access = a.log.Named("audit"), a.log.Named("access")
	a.refusals, a.warned = newRefusals(a.writeEvent), map[string]bool{}
	a.started = make(chan struct{})
	var err error
	if a.pages, err = pages.New(pages.Options{Logger: a.log}); err != nil {
		return fmt.Errorf("preparing pages: %w", err)
	}
	if err := a.addEnvironment(os.Environ()); err != nil {
		return fmt.Errorf("environment: %w", err)
	}
	if err := a.provisionStore(); err != nil {
		return err
	}
	if err := a.provisionSecrets(); err != nil {
		return err
	}
	if err := a.provisionProviders(); err != nil {
		return err
	}
	if err := a.provisionGateway(); err != nil {
		return err
	}
	if err := a.awaitSuccessor(ctx); err != nil {
		return err
	}
	a.warnOfNoSite(ctx)
	return nil
}

func (a *App) provisionStore() error {
	if len(a.StoreRaw) == 0 {
		bolt := new(BoltStore)
		a.store = bolt
		return bolt.Provision(a.ctx)
	}
	if err := namesModule(a.StoreRaw, "type"); err != nil {
		return fmt.Errorf("store: %w", err)
	}
	mod, err := a.ctx.LoadModule(a, "StoreRaw")
	if err != nil {
		return fmt.Errorf("store: %w", err)
	}
	a.store, err = as[storeModule](mod)
	return err
}

func (a *App) provisionSecrets() error {
	if len(a.Secret) == 0 && a.store.shared() {
		return wording.Aboutf("secret", "required with a store that several nodes use; make one with `openssl rand -base64 32`%s", wording.Choice{Caddyfile: ", and write it as {env.…} or {file.…}"})
	}
	for _, s := range a.Secret {
		secret, err := s.reveal("secret")
		if err != nil {
			return err
		}
		a.secrets = append(a.secrets, []byte(secret))
	}
	a.Secret = nil // Caddy may log a module with its configuration
	if len(a.secrets) == 0 {
		return nil // Start makes one
	}
	if err := vault.CheckSecrets(a.secrets); err != nil {
		return wording.About("secret", err)
	}
	return nil
}

func (a *App) provisionProviders() error {
	configs := make([]string, len(a.ProvidersRaw))
	for i, raw := range a.ProvidersRaw {
		if err := namesModule(raw, "protocol"); err != nil {
			return fmt.Errorf("providers: number %d: %w", i+1, err)
		}
		configs[i] = string(raw)
	}
	mods, err := a.ctx.LoadModule(a, "ProvidersRaw")
	if err != nil {
		return fmt.Errorf("providers: %w", err)
	}
	list, err := as[[]any](mods)
	if err != nil {
		return err
	}
	for i, mod := range list {
		module, err := as[providerModule](mod)
		if err != nil {
			return err
		}
		built, err := module.build(a.ctx)
		if err != nil {
			return err
		}
		if slices.Contains(a.shared, built.Name) {
			return fmt.Errorf("there are two providers with the name %q: give each a name of its own", built.Name)
		}
		a.shared = append(a.shared, built.Name)
		built.config = configs[i]
		a.add(built)
	}
	return nil
}

func (a *App) add(built builtProvider) {
	a.warnOfSpace(built.NamedProvider)
	a.warnOfSecret(built)
	a.providers = append(a.providers, built)
}

// addInline adds a site's own provider. Sites share a provider if its configuration is
// the same, byte for byte.
func (a *App) addInline(built builtProvider) error {
	for _, other := range a.providers {
		switch {
		case other.Name != built.Name:
		case other.config == built.config:
			return nil
		default:
			where := "the global option sso"
			if other.site != "" {
				where = "site " + other.site
			}
			return fmt.Errorf("provider %s: %s has a provider with this name and other settings: give one of them a name (`name <name>`), or share one (`provider` in the global option sso)", built.Name, where)
		}
	}
	a.add(built)
	return a.gateway.AddProvider(built.NamedProvider)
}

// provisionGateway makes the gateway. Start binds it to the store.
func (a *App) provisionGateway() (err error) {
	opts := gateway.Options{
		Pages: a.pages, Logger: a.log, Observe: a.observe,
		Lifetime: time.Duration(a.Lifetime), Idle: time.Duration(a.Idle), Limit: a.Limit.build(),
		SamePeople: a.SamePeople, ResetStream: resetStream,
	}
	for _, p := range a.providers {
		opts.Providers = append(opts.Providers, p.NamedProvider)
	}
	a.gateway, err = gateway.New(opts)
	return err
}

// Start opens the store, binds providers and gateway to it, and logs a line for each
// site. If no site has `sso`, it opens none: the app also runs for sso_strip alone.
func (a *App) Start() error {
	defer close(a.started)
	if len(a.handlers) == 0 {
		return nil
	}
	web := HTTPAppOf(a.ctx)
	if web == nil {
		return errors.New("there is no http app, so the sites can't be found")
	}
	sites, err := a.findSites(web, func(h *Handler) *Handler { return h })
	if err != nil {
		return noted(err)
	}
	if err := a.place(sites); err != nil {
		return noted(err)
	}
	ps, err := a.open()
	if err != nil {
		return err
	}
	for _, p := range a.providers {
		p.bind(ps)
	}
	a.gateway.Start(a.ctx)
	ps.Start(a.gateway)
	a.gateway.Bind(ps.Node, ps.keys)
	a.startOpenID(ps) // it asks the gateway for logins
	a.announce(sites)
	return nil
}

// open opens the store and its sessions.
func (a *App) open() (ps *pooledSessions, err error) {
	a.lender = &lender{log: a.log, storage: a.ctx.Storage()}
	secrets := a.secrets
	if len(secrets) == 0 {
		secret, err := loadOrMakeSecret(a.ctx, a.lender.storage, func() error { return refuseSealed(a.ctx, a.store) })
		if err != nil {
			return nil, err
		}
		secrets = [][]byte{secret}
	}
	ps, a.sessionsKey, err = openSessions(a.store, secrets, a.lender)
	a.opened.Store(ps)
	return ps, err
}

// await waits until Start has returned. Caddy starts apps in any order, so servers may
// get requests before, and a reload must not refuse them.
func (a *App) await(ctx context.Context) {
	select {
	case <-a.started:
		return
	default:
	}
	timeout := time.NewTimer(gateway.StartTimeout)
	defer timeout.Stop()
	select {
	case <-a.started:
	case <-ctx.Done():
	case <-timeout.C:
	}
}

// Stop logs the refusals that were only counted, while there still is a log. Requests may
// be under way, so the store stays open until Cleanup.
func (a *App) Stop() error {
	a.refusals.flush()
	return nil
}

// Cleanup releases the store and the sessions.
func (a *App) Cleanup() error {
	key := a.sessionsKey
	if key == "" {
		return nil
	}
	a.sessionsKey = ""
	return closeSessions(key, a.lender)
}

// Interface guards
var (
	_ caddy.App             = (*App)(nil)
	_ caddy.Provisioner     = (*App)(nil)
	_ caddy.CleanerUpper    = (*App)(nil)
	_ caddyfile.Unmarshaler = (*App)(nil)
)
