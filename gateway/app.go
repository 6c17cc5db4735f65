package gateway

import (
	"errors"
	"fmt"
	"net/http"
	"net/url"
	"slices"
	"strings"
	"sync/atomic"
	"time"

	"go.uber.org/zap"

	"github.com/caddy-sso/caddy-sso/mapping"
)

// An App is one protected app of a Gateway.
type App struct {
	gw         *Gateway
	opts       AppOptions
	rules      *mapping.RuleSet
	mapsGroups bool // the rules have group lines
	providers  []*NamedProvider
	autologin  *NamedProvider
	public     *pathSet
	protect    *pathSet // nil: everything that is not public
	headers    HeaderNames
	base       *url.URL // nil: learnt in Start
	origins    map[string]bool
	csrf       http.CrossOriginProtection

	site   atomic.Pointer[site] // nil until Start
	warned atomic.Bool
}

// A site is what an App knows of its own address once it was started.
type site struct {
	hosts map[string]bool // exact names; nil when any is taken
	// issuer is the origin that assertions name; empty when it is each
	// request's own.
	issuer string
	id     string
}

// Hosts are the names under which the host server routes requests to an App.
type Hosts struct {
	// Exact names, in the order of the configuration.
	Exact []string
	// Any says that the server matched the Host header by a wildcard before
	// the request came here, so that it can be trusted as it is.
	Any bool
	// Scheme ("https" or "http") and Port are the listener's, for the origin
	// that assertions name. The scheme's own port may be left out.
	Scheme, Port string
}

// NewApp returns an App. It does no I/O; its error names every fault of the
// options.
func (g *Gateway) NewApp(opts AppOptions) (*App, error) {
	a := &App{gw: g, opts: opts, headers: opts.Headers, origins: map[string]bool{}, mapsGroups: len(opts.Rules.Group) > 0}
	if a.opts.Prefix == "" {
		a.opts.Prefix = "/.sso"
	}
	if a.opts.CallbackPath == "" {
		a.opts.CallbackPath = a.opts.Prefix + "/oidc/callback"
	}
	if a.headers == (HeaderNames{}) {
		a.headers = DefaultHeaders
	}
	var errs []error
	fail := func(err error) {
		if err != nil {
			errs = append(errs, err)
		}
	}
	var err error
	a.rules, err = mapping.Compile(opts.Rules)
	fail(err)
	fail(a.pickProviders())
	a.public, err = newPathSet(opts.Public, false)
	fail(err)
	if len(opts.Protect) > 0 {
		a.protect, err = newPathSet(opts.Protect, true)
		fail(err)
	}
	for _, p := range []string{a.opts.Prefix, a.opts.CallbackPath} {
		if !plainPath(p) || strings.HasSuffix(p, "/") || strings.Contains(p, "*") {
			fail(fmt.Errorf("path %q: expected a plain path that begins with a slash and ends without one, such as /.sso", p))
		}
	}
	if opts.BaseURL != "" {
		a.base, err = parseOrigin(opts.BaseURL)
		fail(err)
	}
	for _, o := range opts.AllowedOrigins {
		u, err := parseOrigin(o)
		fail(err)
		if err == nil {
			a.origins[u.String()] = true
		}
	}
	if opts.Lifetime < 0 {
		fail(errors.New("lifetime can't be negative"))
	}
	fail(a.headers.check())
	if len(errs) > 0 {
		return nil, errors.Join(errs...)
	}
	g.claimHeaders(a.headers)
	return a, nil
}

func (a *App) pickProviders() error {
	if len(a.opts.Providers) == 0 {
		for i := range a.gw.opts.Providers {
			a.providers = append(a.providers, &a.gw.opts.Providers[i])
		}
	}
	for _, name := range a.opts.Providers {
		p := a.gw.byName[name]
		if p == nil {
			return fmt.Errorf("there is no provider %q", name)
		}
		a.providers = append(a.providers, p)
	}
	if len(a.providers) == 0 {
		return errors.New("no provider is configured: nobody could sign in")
	}
	switch name := a.opts.Autologin; name {
	case "off":
	case "":
		if len(a.providers) == 1 {
			a.autologin = a.providers[0]
		}
	default:
		if a.autologin = a.provider(name); a.autologin == nil {
			return fmt.Errorf("autologin: there is no provider %q here", name)
		}
	}
	return nil
}

// check refuses names that are no header, or that would break the request.
func (n HeaderNames) check() error {
	var errs []error
	seen := map[string]bool{}
	for _, name := range n.all() {
		if name == "" {
			continue
		}
		normal := string(appendNormal(nil, name))
		switch {
		case strings.ToLower(name) != normal || strings.Trim(normal, "-") != normal:
			errs = append(errs, fmt.Errorf("header name %q: expected letters, digits and hyphens", name))
		case seen[normal]:
			errs = append(errs, fmt.Errorf("header name %q is used twice", name))
		case slices.Contains(neverOurs, normal):
			errs = append(errs, fmt.Errorf("header name %q has a meaning of its own in HTTP and can't carry an identity", name))
		}
		seen[normal] = true
	}
	return errors.Join(errs...)
}

var neverOurs = []string{
	"host", "cookie", "set-cookie", "connection", "upgrade", "transfer-encoding", "content-length", "content-type", "te",
	"trailer", "keep-alive", "proxy-connection", "origin", "accept", "referer", "x-forwarded-for", "x-forwarded-host", "x-forwarded-proto",
}

func parseOrigin(s string) (*url.URL, error) {
	u, err := url.Parse(strings.TrimSuffix(s, "/"))
	if err != nil || u.Scheme != "https" && u.Scheme != "http" || hostname(u.Host) == "" || u.Path != "" || u.RawQuery != "" || u.Fragment != "" || u.User != nil {
		return nil, fmt.Errorf("origin %q: expected scheme, host and port at most, such as https://app.example.com", s)
	}
	return url.Parse(originOf(u.Scheme, u.Host))
}

// Start tells the App its hosts; before, it answers 503. It does no I/O.
func (a *App) Start(h Hosts) error {
	s := &site{id: a.opts.ID}
	switch {
	case a.base != nil:
		name := hostname(a.base.Host)
		s.hosts, s.issuer = map[string]bool{name: true}, a.base.String()
		s.id = cmpOr(s.id, name)
	case len(h.Exact) > 0:
		s.hosts = map[string]bool{}
		for _, name := range h.Exact {
			if hostname(name) == "" {
				return fmt.Errorf("host %q of the site can't be used: set base_url", name)
			}
			s.hosts[hostname(name)] = true
		}
		if h.Any {
			s.hosts = nil
		}
		first := hostname(h.Exact[0])
		s.issuer = originOf(cmpOr(h.Scheme, "https"), strings.TrimSuffix(first+":"+h.Port, ":"))
		s.id = cmpOr(s.id, first)
	case !h.Any:
		return errors.New("the site has no host name: set `base_url https://…` to say how browsers reach it")
	}
	if s.id != "" {
		if err := a.gw.claimAudience(s.id, a); err != nil {
			return err
		}
	}
	a.site.Store(s)
	return nil
}

// originOf returns an origin as browsers write it: in lower case, without the
// scheme's own port.
func originOf(scheme, host string) string {
	host = strings.ToLower(host)
	if scheme == "https" {
		return "https://" + strings.TrimSuffix(host, ":443")
	}
	return scheme + "://" + strings.TrimSuffix(host, ":80")
}

func cmpOr(a, b string) string {
	if a != "" {
		return a
	}
	return b
}

// audience returns the assertion's audience for an issuer.
func (a *App) audience(issuer string) string {
	if s := a.site.Load(); s != nil && s.id != "" {
		return s.id
	}
	if u, err := url.Parse(issuer); err == nil {
		return hostname(u.Host)
	}
	return issuer
}

func (a *App) provider(name string) *NamedProvider {
	for _, p := range a.providers {
		if p.Name == name {
			return p
		}
	}
	return nil
}

// providerOf returns the provider that an account came from, or nil if this
// app does not take people from there. Its name may have changed since.
func (a *App) providerOf(k AccountKey) *NamedProvider {
	for _, p := range a.providers {
		if p.Provider.Protocol() == k.Protocol && p.Provider.Issuer() == k.Issuer {
			return p
		}
	}
	return nil
}

func (a *App) providerName(k AccountKey) string {
	if p := a.providerOf(k); p != nil {
		return p.Name
	}
	return ""
}

// end returns when a login ends for this app.
func (a *App) end(l *login) time.Time {
	end := l.Expires
	if a.opts.Lifetime > 0 {
		if t := l.Created.Add(a.opts.Lifetime); t.Before(end) {
			end = t
		}
	}
	return end
}

func (a *App) warnGroups(have, sent int) {
	if a.warned.CompareAndSwap(false, true) {
		a.gw.log.Warn("a person's groups exceed what is passed on; the rest is left out",
			zap.String("app", a.name()), zap.Int("groups", have), zap.Int("sent", sent))
	}
}

// name is what pages and logs call the app.
func (a *App) name() string {
	if s := a.site.Load(); s != nil && s.id != "" {
		return s.id
	}
	return cmpOr(a.opts.ID, "app")
}

// An exchange is one request to an App, with what was found out about it.
type exchange struct {
	app  *App
	site *site
	w    http.ResponseWriter
	r    *http.Request
	peer Peer
	// path is the raw path of the original target.
	path    string
	host    string // name in the Host header; "" if malformed
	secure  bool
	cookies ownCookies
	who     *login // as soon as it is known, for the audit trail
}

// ServeHTTP guards one request: it takes out what only the gateway may say,
// answers what is its own, and passes on what may pass.
//
// It answers refusals itself and returns nil, unless AppOptions.ErrorsToCaller
// is set: then it returns an *Error. Errors of next are returned as they are.
func (a *App) ServeHTTP(w http.ResponseWriter, r *http.Request, peer Peer, next Next) error {
	r = a.gw.strip.Load().strip(r)
	x := &exchange{app: a, site: a.site.Load(), w: w, r: r, peer: peer, path: targetPath(peer.Target), host: hostname(r.Host)}
	x.secure = peer.Secure || a.base != nil && a.base.Scheme == "https"
	x.cookies = takeCookies(r.Header, x.secure)
	if x.site == nil {
		return x.refuse(NewError(CodeNotReady, nil))
	}
	if under(x.path, a.opts.Prefix) || x.path == a.opts.CallbackPath {
		return x.endpoint()
	}
	if err := x.checkConnect(); err != nil {
		return x.refuse(err)
	}
	if a.isPublic(x.path) {
		return next(w, r, nil)
	}
	return x.guard(next)
}

// isPublic decides on the original target. What reads differently to others
// is private.
func (a *App) isPublic(path string) bool {
	if !plainPath(path) {
		return false
	}
	if a.public.match(path) {
		return true
	}
	return a.protect != nil && !a.protect.match(path)
}

// guard passes a request on with the identity of its session.
func (x *exchange) guard(next Next) error {
	if err := x.checkUpgrade(); err != nil {
		return x.refuse(err)
	}
	// A session that leaves the cache between being found and being entered
	// is found anew.
	for range maxTries {
		ses, st, err := x.session()
		if errors.Is(err, errNoSession) {
			return x.unauthenticated()
		}
		if err != nil {
			return x.refuse(storeError(err))
		}
		v := x.app.view(st, ses.key, x.issuer())
		if v.denied != nil {
			return x.refuse(v.denied)
		}
		r, leave := ses.enter(x.r, v.principal.Expires)
		if leave == nil {
			continue
		}
		return x.pass(next, r, leave, ses, st, v)
	}
	return x.refuse(storeError(errBusy))
}

func (x *exchange) pass(next Next, r *http.Request, leave func(), ses *session, st *state, v *view) error {
	defer leave()
	if ses.state.Load() != st {
		// Something was announced meanwhile: make sure that it was not the
		// end of this login, which would have missed this request.
		x.app.gw.sessions.reloadLater(ses)
	}
	if err := v.set(r.Header, time.Now()); err != nil {
		return x.refuse(storeError(err))
	}
	return next(x.w, r, &v.principal)
}

// anySession finds the session of the request, be it one that this app takes
// or not.
func (x *exchange) anySession() (*session, *state, error) {
	if x.cookies.session == "" || x.host == "" {
		return nil, nil, errNoSession
	}
	ses, st, err := x.app.gw.sessions.find(x.r.Context(), x.cookies.session, x.host)
	if err == nil {
		x.who = st.login
	}
	return ses, st, err
}

// session finds the session of the request for this app. errNoSession also if
// the login is none that this app takes.
func (x *exchange) session() (*session, *state, error) {
	ses, st, err := x.anySession()
	if err != nil {
		return nil, nil, err
	}
	if x.app.providerOf(st.Account) == nil || !time.Now().Before(x.app.end(st.login)) {
		return nil, nil, errNoSession
	}
	if idle := x.app.gw.opts.Idle; idle > 0 {
		if err := x.app.gw.sessions.touch(x.r.Context(), ses, st, idle); err != nil {
			return nil, nil, err
		}
	}
	return ses, st, nil
}

// signedIn says whether there is a session that this app takes. An error is a
// fault: nobody knows.
func (x *exchange) signedIn() (bool, error) {
	_, _, err := x.session()
	if errors.Is(err, errNoSession) {
		return false, nil
	}
	return err == nil, err
}

// checkConnect refuses CONNECT, but for WebSockets over HTTP/2 and HTTP/3
// (RFC 8441, RFC 9220).
func (x *exchange) checkConnect() *Error {
	if x.r.Method != http.MethodConnect || x.r.Header.Get(":protocol") == "websocket" || x.r.Proto == "websocket" {
		return nil
	}
	x.w.Header().Set("Allow", "GET, HEAD, POST, PUT, PATCH, DELETE, OPTIONS") // RFC 9110 §15.5.6
	return NewError(CodeMethodNotAllowed, nil)
}

// checkUpgrade refuses WebSockets, and whatever else a connection can be
// upgraded to, from the pages of foreign origins: browsers let those open one
// with our cookie (RFC 6455 §10.2).
func (x *exchange) checkUpgrade() *Error {
	if x.r.Method != http.MethodConnect && len(x.r.Header["Upgrade"]) == 0 {
		return nil
	}
	origins := x.r.Header["Origin"]
	if len(origins) == 0 {
		return nil // no browser
	}
	own, err := x.origin()
	if len(origins) == 1 && err == nil && (strings.EqualFold(origins[0], own) || x.app.origins[strings.ToLower(origins[0])]) {
		return nil
	}
	return NewError(CodeForeignOrigin, nil)
}

// issuer returns the origin that assertions name.
func (x *exchange) issuer() string {
	if x.site.issuer != "" {
		return x.site.issuer
	}
	origin, err := x.origin()
	if err != nil {
		return ""
	}
	return origin
}

// origin returns the site's own origin for this request, from which redirects
// and callback URLs are made. A Host header that is none of the site's never
// gets into one.
func (x *exchange) origin() (string, *Error) {
	if x.host == "" || x.site.hosts != nil && !x.site.hosts[x.host] {
		return "", NewError(CodeUnknownHost, fmt.Errorf("host %q is none of the site's", x.r.Host))
	}
	if b := x.app.base; b != nil {
		return b.String(), nil
	}
	scheme := "http"
	if x.secure {
		scheme = "https"
	}
	return originOf(scheme, x.r.Host), nil
}

// signInOrigin returns the site's own origin if a session cookie would be safe
// there.
func (x *exchange) signInOrigin() (string, *Error) {
	origin, refused := x.origin()
	if refused == nil && !x.secure && !x.app.opts.InsecureHTTP && !loopbackName(x.host) {
		refused = NewError(CodeInsecureHTTP, nil)
	}
	return origin, refused
}

// storeError gives a fault of the store its code.
func storeError(err error) *Error {
	if e, ok := errors.AsType[*Error](err); ok {
		return e
	}
	return NewError(CodeStoreUnavailable, err)
}
