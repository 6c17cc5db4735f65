package gateway

import (
	"cmp"
	"context"
	"errors"
	"fmt"
	"net/http"
	"strings"
	"time"

	"github.com/caddy-sso/caddy-sso/gateway/connect"
	"github.com/caddy-sso/caddy-sso/gateway/cookie"
	"github.com/caddy-sso/caddy-sso/gateway/fetch"
	"github.com/caddy-sso/caddy-sso/gateway/forward"
	"github.com/caddy-sso/caddy-sso/gateway/pages"
	"github.com/caddy-sso/caddy-sso/gateway/passage"
	"github.com/caddy-sso/caddy-sso/gateway/public"
	"github.com/caddy-sso/caddy-sso/gateway/refusal"
	"github.com/caddy-sso/caddy-sso/gateway/session"
	"github.com/caddy-sso/caddy-sso/gateway/strip"
	"github.com/caddy-sso/caddy-sso/gateway/target"
	"github.com/caddy-sso/caddy-sso/gateway/wording"
)

// A request is an HTTP request to an App, with what is known about it so far.
type request struct {
	app  *App
	site *site
	w    http.ResponseWriter
	r    *http.Request
	peer Peer
	// path is the raw path of the original target.
	path    string
	host    string // name in the Host header; "" if malformed
	secure  bool
	cookies cookie.Own
	guests  *connect.Cookies // the app's own; nil: it has none that matter
	who     *session.Login   // for the audit trail; nil while unknown
	// provider is the name of the provider of the sign-in, for the audit trail.
	provider string
	// client is the client of the OpenID provider that sent the browser here, or "".
	client string
	// answered says that the request brings an answer to a flow of this browser.
	answered bool
	// passed says that the request was passed on to the app.
	passed bool
	// returnTo is where the person wanted to go, once a flow of this browser says it.
	returnTo string
}

// ServeHTTP guards one request. It removes headers that only the gateway may set,
// answers requests to the gateway's own addresses, and passes on what may pass.
//
// It answers refusals itself and returns nil, unless AppOptions.ErrorsToCaller
// is set: then it returns an error that wraps a *refusal.Error. Errors of next are returned as they are.
func (a *App) ServeHTTP(w http.ResponseWriter, r *http.Request, peer Peer, next Next) error {
	r = a.gw.strip.Load().Strip(r, a.keep)
	x := &request{app: a, site: a.site.Load(), w: w, r: r, peer: peer, path: target.Path(peer.Target), host: target.Hostname(r.Host)}
	x.secure = peer.Secure || a.base != nil && a.base.Scheme == "https"
	x.cookies, x.guests = cookie.Take(r.Header, x.secure), a.opts.As.Take(r.Header)
	if x.cookies == (cookie.Own{}) {
		x.cookies = takenBefore(r.Context()).cookies
	}
	e, own := a.endpoints.find(x.path)
	if (x.site == nil || !a.gw.bound.Load()) && (e == nil || !e.unbound) {
		return x.refuse(refusal.New(refusal.NotReady, nil))
	}
	if peer.Failed != nil && x.isOurs() {
		return x.stand()
	}
	if own {
		ours := *x // endpoints need it on the heap; x itself stays on the stack
		return ours.route(e)
	}
	if err := x.checkConnect(); err != nil {
		return x.refuse(err)
	}
	if alone := a.opts.As.PassesAlone(x.path, r); alone || a.open != nil && public.NeedsNoLogin(a.open, x.path, x.r) {
		if err := x.guests.Unknown(r, alone); err != nil {
			return x.refuse(err)
		}
		if x.cookies != (cookie.Own{}) {
			r = r.WithContext(a.withTaken(r.Context(), x.cookies))
		}
		return passUnknown(w, r, peer, x.guests.Watch(), next)
	}
	return x.guard(next)
}

// guard passes a request on with the identity of its session.
func (x *request) guard(next Next) error {
	if err := x.checkUpgrade(); err != nil {
		return x.refuse(err)
	}
	// If the session leaves the cache before Enter, it is found anew.
	for range maxFinds {
		ses, err := x.session()
		if errors.Is(err, session.ErrNone) {
			return x.unauthenticated()
		}
		if err != nil {
			return x.refuse(session.Fault(err))
		}
		v := x.app.decision(ses, x.issuer())
		if v.denied != nil {
			return x.turnAway(v.denied)
		}
		to := x.app.opts.As.Instead(x.path, x.app.opts.Prefix)
		if to != "" && pages.Opened(x.r) && !x.app.gw.sessions.Rounds().Repeated(x.r.Context(), ses.ID(), to) {
			return x.redirectTo(to)
		}
		visiting := &visit{decision: v, path: x.path, cookie: x.cookies.Session}
		visiting.Connection = visiting
		if !visiting.Enter(ses, v.headers.Principal().Expires, x.w, x.r, x.app.gw.opts.ResetStream) {
			continue
		}
		if !ses.Admitted(&visiting.Live, x.app.gw) {
			visiting.Leave()
			return x.cutOff(visiting.Over())
		}
		return x.pass(next, visiting, ses.ID())
	}
	return x.refuse(refusal.New(refusal.StoreUnavailable, errors.New("the session left the cache each time it was found")))
}

// turnAway refuses a person. If nobody may enter here, the links of our pages that lead to
// the front page lead on to the session page.
func (x *request) turnAway(denied *refusal.Error) error {
	if x.path == "/" && pages.Opened(x.r) && x.app.policy.NobodyEnters() {
		return x.redirectTo(x.app.sessionPath())
	}
	return x.refuse(denied)
}

// maxFinds bounds how often the session of one request is found anew.
const maxFinds = 10

// A visit is a request that was let in, on its way through the app. It is one
// allocation.
type visit struct {
	passage.Passage
	decision *decision
	path     string        // of the original target
	cookie   string        // of the session, see takenBefore
	values   forward.Row   // of the headers that say who it is, which share its array
	token    string        // the assertion, as the app was given it
	out      cookie.Writer // what the app writes to
}

// pass passes on a request that was let in by a login.
func (x *request) pass(next Next, v *visit, login string) error {
	r, p := v.Request(), v.decision.headers.Principal()
	err := v.decision.headers.Set(r.Header, &x.app.headerNames, &v.values, time.Now())
	if err == nil {
		err = x.guests.Admit(r, connect.Visit{Keys: x.app.gw.sessions.Vault(), Person: p, User: p.Username, Login: login, Secure: x.secure})
	}
	if err != nil {
		err = cmp.Or(v.Over(), err)
		v.Leave()
		return x.cutOff(err)
	}
	v.token = v.values[0]
	x.passed = true
	err = x.passOn(next, r, v)
	if err != nil && !v.out.Begun() && !v.Severed() {
		if over := v.Over(); over != nil {
			return x.cutOff(over)
		}
	}
	v.AbortIfCut()
	return err
}

// passOn passes the request on to the app. When it returns, the request can't be cut any
// more: only the caller uses x.w.
func (x *request) passOn(next Next, r *http.Request, v *visit) error {
	defer v.Leave()
	v.out.ResponseWriter, v.out.Ours, v.out.Guests = x.guests.Wrap(v.Writer(), r), x.peer.ours(x.w), x.guests.Watch()
	defer v.out.End()
	defer x.guests.Release()
	return next(&v.out, r, v.decision.headers.Principal())
}

// Told returns the person that a request was let in for, and the values of the headers
// that the app is given, the assertion first. It is nil for other requests.
func Told(ctx context.Context) (person *forward.Principal, values []string) {
	v := visitOf(ctx)
	if v == nil {
		return nil, nil
	}
	row := v.decision.headers.Values()
	row[0] = v.token
	return v.decision.headers.Principal(), row[:len(row)-1] // but for the provider, which says nothing about a person
}

// cutOff answers a request whose login ended while the app worked on it. The error that
// came of it, such as a proxy's 502, is not the app's fault.
func (x *request) cutOff(over error) error {
	if errors.Is(over, session.ErrNone) {
		return x.unauthenticated()
	}
	return x.refuse(session.Fault(over))
}

// passUnknown passes on a request without an identity.
func passUnknown(w http.ResponseWriter, r *http.Request, peer Peer, guests cookie.Guests, next Next) error {
	own := &cookie.Writer{ResponseWriter: w, Ours: peer.ours(w), Guests: guests}
	defer own.End()
	return next(own, r, nil)
}

// Strip removes from a request our cookies and the headers that only the gateway may set,
// and passes it on without an identity. It is for routes without an App.
func (g *Gateway) Strip(w http.ResponseWriter, r *http.Request, peer Peer, next Next) error {
	r = g.strip.Load().Strip(r, strip.Names{})
	cookie.Take(r.Header, false)
	return passUnknown(w, r, peer, nil, next)
}

// anySession finds the session of the request, even one that this app does not accept.
func (x *request) anySession() (session.Session, error) {
	if x.cookies.Session == "" || x.host == "" {
		return session.Session{}, session.ErrNone
	}
	ses, err := x.app.gw.sessions.Find(x.r.Context(), x.cookies.Session, x.host)
	if err == nil {
		x.who = ses.Login()
	} else if v := visitOf(x.r.Context()); v != nil { // its context ends with the login
		err = cmp.Or(v.Over(), err)
	}
	return ses, err
}

// session finds the session of the request for this app. If this app does not accept
// the login, that is ErrNone, too. The login stays stored: another node, or an earlier
// configuration, may accept it.
func (x *request) session() (session.Session, error) {
	ses, err := x.anySession()
	if err != nil {
		return session.Session{}, err
	}
	l := ses.Login()
	if x.app.policy.ProviderOf(l) == nil || x.app.opts.Lifetime > 0 && !time.Now().Before(x.app.end(l)) {
		return session.Session{}, session.ErrNone
	}
	return ses, x.touch(ses)
}

// storedSession finds the session of the request, even one that this app does not
// accept, unless it was idle for too long.
func (x *request) storedSession() (session.Session, error) {
	ses, err := x.anySession()
	if err == nil {
		err = x.touch(ses)
	}
	return ses, err
}

// touch notes that the session is used. ErrNone: it was idle for too long.
func (x *request) touch(ses session.Session) error {
	if idle := x.app.gw.opts.Idle; idle > 0 {
		return ses.Touch(x.r.Context(), idle)
	}
	return nil
}

// signedIn says whether there is a session that this app accepts. An error is a fault.
func (x *request) signedIn() (bool, error) {
	_, err := x.session()
	if errors.Is(err, session.ErrNone) {
		return false, nil
	}
	return err == nil, err
}

// checkConnect refuses CONNECT, except for WebSockets over HTTP/2 and HTTP/3
// (RFC 8441, RFC 9220).
func (x *request) checkConnect() *refusal.Error {
	if x.r.Method != http.MethodConnect || x.r.Header.Get(":protocol") == "websocket" || x.r.Proto == "websocket" {
		return nil
	}
	x.w.Header().Set("Allow", "GET, HEAD, POST, PUT, PATCH, DELETE, OPTIONS") // RFC 9110 §15.5.6
	return refusal.New(refusal.MethodNotAllowed, errors.New("the method is CONNECT, and it opens no WebSocket"))
}

// checkUpgrade refuses WebSockets that pages of foreign origins open: browsers send our
// cookie with them (RFC 6455 §10.2). It does not matter what the upgrade is to.
func (x *request) checkUpgrade() *refusal.Error {
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
	return refusal.New(refusal.ForeignOrigin, fmt.Errorf("the Origin of the WebSocket is %s, the site's own is %s", wording.Quoted(strings.Join(origins, ", ")), wording.Quoted(own)))
}

// issuer returns the origin that assertions name.
func (x *request) issuer() string {
	if x.site.issuer != "" {
		return x.site.issuer
	}
	origin, err := x.origin()
	if err != nil {
		return ""
	}
	return origin
}

// origin returns the site's own origin for this request. Redirects and callback URLs
// are made of it, so a Host header that is not the site's is refused.
func (x *request) origin() (string, *refusal.Error) {
	if x.host == "" || x.site.hosts != nil && !x.site.hosts[x.host] {
		return "", refusal.New(refusal.UnknownHost, fmt.Errorf("host %s is none of the site's hosts: %s", wording.Quoted(x.r.Host), wording.List(x.site.names)))
	}
	if b := x.app.base; b != nil {
		return b.String(), nil
	}
	scheme := "http"
	if x.secure {
		scheme = "https"
	}
	return target.Origin(scheme, x.r.Host), nil
}

// signInOrigin returns the site's own origin, or refuses if a session cookie would not be
// safe there.
func (x *request) signInOrigin() (string, *refusal.Error) {
	origin, refused := x.origin()
	if refused == nil && !x.secure && !x.app.opts.InsecureHTTP && !fetch.IsLoopback(strings.Trim(x.host, "[]")) {
		refused = refusal.New(refusal.InsecureHTTP, fmt.Errorf("the request came over http to %s", wording.Quoted(x.r.Host)))
	}
	return origin, refused
}
