package gateway

import (
	"cmp"
	"errors"
	"fmt"
	"net/http"
	"net/url"
	"slices"
	"strings"
	"time"

	"github.com/caddy-sso/caddy-sso/gateway/fetch"
	"github.com/caddy-sso/caddy-sso/gateway/form"
	"github.com/caddy-sso/caddy-sso/gateway/oidcop"
	"github.com/caddy-sso/caddy-sso/gateway/pages"
	"github.com/caddy-sso/caddy-sso/gateway/provider"
	"github.com/caddy-sso/caddy-sso/gateway/refusal"
	"github.com/caddy-sso/caddy-sso/gateway/session"
	"github.com/caddy-sso/caddy-sso/gateway/target"
	"github.com/caddy-sso/caddy-sso/gateway/wording"
	"github.com/caddy-sso/caddy-sso/mapping"
)

// openIDPath is the path of the OpenID provider below the prefix.
const openIDPath = "/op"

// checkIssuer returns what is wrong with a site as that of an issuer.
func (a *App) checkIssuer(s *site) error {
	option := "op"
	if a.opts.As.IsProxmox() {
		option = "as"
	}
	u, err := url.Parse(s.issuer)
	switch {
	case err != nil || s.issuer == "" || s.hosts == nil:
		return wording.Aboutf(option, "the issuer needs one address, and this site has no fixed host name: write `base_url https://…`")
	case u.Scheme != "https" && !a.opts.InsecureHTTP && !fetch.IsLoopback(u.Hostname()):
		return wording.Aboutf(option, "nobody can sign in over plain http, and the issuer would be %s: if a proxy before this server ends TLS, write `base_url https://%s`", s.issuer, u.Hostname())
	}
	return a.policy.CheckIssuer(s.issuer + a.opts.Prefix + openIDPath)
}

// BindOpenID gives each site's OpenID provider what backing returns for its algorithms and
// its issuer, and returns them. Call it after Bind.
func (g *Gateway) BindOpenID(backing func(issuer string, algs []oidcop.Algorithm) oidcop.Backing) (all []*oidcop.Provider) {
	g.mu.Lock()
	defer g.mu.Unlock()
	for _, a := range g.apps {
		if a.clients != nil {
			op := a.clients.Provider
			op.Bind(backing(a.OpenIDIssuer(), op.Algorithms()))
			a.opts.As.SetTokens(op)
			all = append(all, op)
		}
	}
	g.openID.Store(&all)
	return all
}

// OpenIDIssuer returns the issuer identifier of the OpenID provider of an app that has
// started.
func (a *App) OpenIDIssuer() string { return a.site.Load().issuer + a.opts.Prefix + openIDPath }

// authorizationPath is the path of the authorization endpoint.
func (a *App) authorizationPath() string {
	return a.opts.Prefix + openIDPath + oidcop.AuthorizationPath
}

// askedBy returns the parameters of a client's request for a code, and the client's id, if a
// return URL is one.
func (a *App) askedBy(returnTo string) (params url.Values, client string) {
	path, query, _ := strings.Cut(returnTo, "?")
	if a.clients == nil || path != a.authorizationPath() {
		return nil, ""
	}
	params, _ = url.ParseQuery(query) // the person hears of a fault when they return
	return params, a.clients.Known(params.Get("client_id"))
}

// admits decides whether a person may sign in here: at the app, or at one of the clients. If
// not, it says why the client refuses them that sent them here.
func (a *App) admits(p *NamedProvider, id provider.Identity, client string) (mapping.Result, *refusal.Error) {
	_, granted, refused := a.policy.Admit(p, id)
	if refused != nil && a.clients != nil {
		_, refused = a.clients.Admit(p, id, client, refused)
	}
	return granted, refused
}

// openIDEndpoints returns the addresses of the OpenID provider, with those for clients.
func (a *App) openIDEndpoints() []Endpoint {
	if a.clients == nil {
		return nil
	}
	at := a.opts.Prefix + openIDPath
	browser := Endpoint{Methods: []string{http.MethodGet, http.MethodPost}, Credentials: true, CrossSite: true}
	authorize, logout := browser, browser
	authorize.Path, authorize.serve = a.authorizationPath(), (*request).authorize
	logout.Path, logout.serve = at+oidcop.LogoutPath, (*request).clientLogout
	rows := []Endpoint{authorize, logout}
	for _, e := range a.clients.Provider.Endpoints() {
		posts := slices.Contains(e.Methods, http.MethodPost)
		rows = append(rows, Endpoint{Path: at + e.Path, Methods: e.Methods, Credentials: posts, CrossSite: posts, unbound: true, serve: func(x *request) error {
			if posts {
				_ = http.NewResponseController(x.w).SetReadDeadline(time.Now().Add(formTimeout)) // see consumeAssertion
			}
			var by oidcop.Attempts // nil before Bind, which sets the limits
			if x.app.gw.bound.Load() {
				by = x.app.gw.limits.Attempts(x.peer.Addr, x.r.Header.Get("Origin") != "" || x.r.Header.Get("Sec-Fetch-Site") != "")
			}
			x.observeClient(e.Serve(x.w, x.r, by))
			return nil
		}})
	}
	return rows
}

// observeClient tells the observer why a client's request was refused. That nobody is signed
// in is normal if the client asked for that (prompt=none).
func (x *request) observeClient(refused *oidcop.RefusedError) {
	if refused == nil || refused.Silent && refused.Code == "login_required" {
		return
	}
	ev := Event{Type: EventRefused, Code: refusal.ClientRefused, Client: refused.Client, Check: cmp.Or(refused.Check, refused.Code), Err: refused}
	switch {
	case refused.Reused():
		ev.Code = refusal.TokenReused
	case refused.Waits:
		ev.Code = refusal.TooManyAttempts
	case refused.Fault != nil:
		ev.Code, ev.Err = session.Fault(refused.Fault).Code, refused.Fault
	}
	x.observe(ev)
}

// clientRequest returns the parameters of a request that a client sends by the browser.
// Our cookies do not come with a POST of another site (SameSite=Lax). So a form becomes
// the query of the same address; then done is set.
func (x *request) clientRequest() (params url.Values, done bool, refused *refusal.Error) {
	if x.r.Method != http.MethodPost {
		params, refused = form.Query(x.r)
		return params, false, refused
	}
	origin, refused := x.origin()
	if refused != nil {
		return nil, false, refused
	}
	_ = http.NewResponseController(x.w).SetReadDeadline(time.Now().Add(formTimeout)) // see consumeAssertion
	if params, refused = form.All(x.w, x.r, target.MaxReturn); refused == nil {
		x.redirect(origin + x.path + "?" + params.Encode())
	}
	return nil, refused == nil, refused
}

// authorize serves the authorization endpoint (OIDC Core §3.1.2).
func (x *request) authorize() error {
	params, done, refused := x.clientRequest()
	if done {
		return nil
	}
	x.client = x.app.clients.Known(params.Get("client_id"))
	if refused == nil {
		refused = x.returnFor(params)
	}
	if refused != nil {
		return x.refuse(refused)
	}
	req, err := x.app.clients.Provider.Authorization(x.r.Context(), params)
	if err != nil {
		return x.refuseFor(req, err)
	}
	if answer := req.Refused(); answer != nil {
		return x.answerClient(answer)
	}
	ses, err := x.session()
	signedIn, login, at := err == nil, &session.Login{}, (*NamedProvider)(nil)
	if signedIn {
		login, at = ses.Login(), x.app.policy.ProviderOf(ses.Login())
	}
	stale := req.Stale(login.Forced, login.Identity.AuthTime)
	switch {
	case err != nil && !errors.Is(err, session.ErrNone):
		return x.refuseFor(req, err)
	case signedIn && !stale:
		return x.grant(req, ses)
	case req.Silent() || signedIn && !req.Asked.IsZero():
		return x.answerClient(req.Refuse("login_required", "the person has to sign in"))
	case stale: // force the login at the provider
		if params, err = req.Again(x.r.Context()); err != nil {
			return x.refuse(session.Fault(err))
		}
		if refused := x.returnFor(params); refused != nil {
			return x.refuse(refused)
		}
	}
	return x.signInFor(at)
}

// returnFor makes the client's request the return URL. One that is too long for that is
// refused whether the person has to sign in or not.
func (x *request) returnFor(params url.Values) *refusal.Error {
	to := x.path + "?" + params.Encode()
	if _, err := x.app.readReturn(to); err != nil {
		return refusal.New(refusal.TooLarge, fmt.Errorf("the app's request: %w", err))
	}
	x.returnTo = to
	return nil
}

// grant gives the client a code for the login.
func (x *request) grant(req *oidcop.Authorization, ses session.Session) error {
	answer, err := req.Grant(x.r.Context(), ses.ID())
	switch over := errors.Is(err, oidcop.ErrNoLogin); {
	case err == nil:
		x.observe(Event{Type: EventGrant, Client: req.Client})
		return x.answerClient(answer)
	case over && req.Silent():
		return x.answerClient(req.Refuse("login_required", "the person has to sign in"))
	case over:
		return x.signInFor(nil)
	}
	return x.refuseFor(req, err)
}

// refuseFor refuses a client's request for err. If no page may be shown, the client hears of it
// (RFC 6749 §4.1.2.1). req is nil if it is unknown whether the client asks.
func (x *request) refuseFor(req *oidcop.Authorization, err error) error {
	refused := session.Fault(err)
	switch {
	case req == nil || !req.Silent():
		return x.refuse(refused)
	case refused.Code.Meaning().Status < http.StatusInternalServerError:
		return x.answerClient(req.Refuse("access_denied", "the person may not use this app"))
	}
	answer := req.Refuse("temporarily_unavailable", "the provider can't decide at the moment")
	answer.Refusal.Fault = err
	return x.answerClient(answer)
}

// signInFor sends the person to sign in, at p if the client has rules for its people. They
// return to the client's request.
func (x *request) signInFor(p *NamedProvider) error {
	if all, auto := x.app.offered(x.returnTo); !slices.Contains(all, p) {
		p = auto
	}
	signedIn, _ := x.signedIn()
	switch {
	case !pages.Opened(x.r):
		return x.refuse(refusal.New(refusal.Unauthenticated, nil))
	case p == nil && signedIn:
		return x.redirectTo(x.otherURL(x.returnTo))
	case p == nil:
		return x.redirectTo(x.loginURL(nil, x.returnTo))
	}
	return x.begin(p, session.Flow{Return: x.returnTo})
}

// forClient adds to a login what the client wants of it, if the login is for one.
func (x *request) forClient(f *session.Flow, login *provider.BeginRequest) {
	params, client := x.app.askedBy(f.Return)
	if client == "" {
		return
	}
	x.client = client
	if req, err := x.app.clients.Provider.Authorization(x.r.Context(), params); err == nil {
		f.Forced, login.ForceLogin = req.Asked, !req.Asked.IsZero()
		login.LoginHint, login.ACRValues = req.LoginHint, strings.Join(req.ACRValues, " ")
	}
}

// answerClient sends the browser to the client with an answer.
func (x *request) answerClient(answer *oidcop.Response) error {
	x.observeClient(answer.Refusal)
	if answer.Form == nil {
		x.redirect(answer.Location)
		return nil
	}
	x.page(http.StatusOK, pages.Form{
		Chrome: x.chrome(), Provider: target.HostOf(answer.Location), Action: answer.Location, Fields: pages.FieldsOf(answer.Form),
	})
	return nil
}

// clientLogout serves the logout endpoint (OpenID Connect RP-Initiated Logout 1.0). It
// ends the login at once if the client has an ID token of it. Otherwise a page of ours
// asks.
func (x *request) clientLogout() error {
	params, done, refused := x.clientRequest()
	if done {
		return nil
	}
	req, err := x.readLogout(params, refused)
	if err != nil {
		return x.refuse(err)
	}
	ses, err := x.anySession()
	switch {
	case errors.Is(err, session.ErrNone):
		return x.signedOut(req.ReturnTo())
	case err != nil:
		return x.refuse(session.Fault(err))
	case !req.Ends(ses.ID()):
		return x.redirectTo(x.app.opts.Prefix + "/logout?" + params.Encode())
	}
	x.forgetPages() // x.end leaves that to our page, but the person goes to the client
	return x.end(ses, req.ReturnTo())
}

// readLogout reads a client's request to log out.
func (x *request) readLogout(params url.Values, refused *refusal.Error) (*oidcop.Logout, error) {
	_, _ = x.anySession() // the page of a refusal offers to sign out
	x.client = x.app.clients.Known(params.Get("client_id"))
	if refused != nil {
		return nil, refused
	}
	req, err := x.app.clients.Provider.Logout(x.r.Context(), params)
	if err != nil {
		return nil, session.Fault(err)
	}
	return req, nil
}
