package gateway

import (
	"context"
	"crypto/sha256"
	"crypto/subtle"
	"net/http"
	"net/url"
	"strings"
	"time"

	"go.uber.org/zap"

	"github.com/caddy-sso/caddy-sso/gateway/cookie"
	"github.com/caddy-sso/caddy-sso/gateway/pages"
	"github.com/caddy-sso/caddy-sso/gateway/provider"
	"github.com/caddy-sso/caddy-sso/gateway/refusal"
	"github.com/caddy-sso/caddy-sso/gateway/session"
	"github.com/caddy-sso/caddy-sso/gateway/target"
	"github.com/caddy-sso/caddy-sso/gateway/vault"
)

const (
	// providerTimeout bounds how long one request works with a provider.
	providerTimeout = 15 * time.Second
	// maxLogged bounds an address in the log, in bytes.
	maxLogged = 200
)

// hashBrowser returns the hash of the browser cookie, which a flow keeps.
func hashBrowser(browser string) []byte {
	sum := sha256.Sum256([]byte(browser))
	return sum[:]
}

// begin begins a login at p and sends the browser there. f carries the options of the
// login. f.Return must be safe.
func (x *request) begin(p *NamedProvider, f session.Flow) error {
	x.provider = p.Name
	origin, refused := x.signInOrigin()
	if refused == nil {
		refused = x.countStart()
	}
	if refused != nil {
		return x.refuse(refused)
	}
	browser := x.cookies.Browser
	if !vault.IsRandomText(browser) {
		browser = vault.RandomText()
	}
	f.App, f.Provider, f.Browser = x.app.name(), p.Name, hashBrowser(browser)
	f.Callback = origin + x.app.callbackPath(p)
	if browser == x.cookies.Browser {
		if f.Round, refused = x.round(f.Browser); refused != nil {
			return x.refuse(refused)
		}
	}
	state := vault.RandomText()
	ctx, cancel := context.WithTimeout(x.r.Context(), providerTimeout)
	defer cancel()
	req := provider.BeginRequest{State: state, CallbackURL: f.Callback, MetadataURL: x.app.metadataURL(origin), OtherPerson: f.Other}
	x.forClient(&f, &req)
	begun, err := p.Provider.Begin(ctx, req)
	if err != nil {
		return x.refuse(refusal.From(err, refusal.ProviderUnavailable))
	}
	f.Private, f.Issuer, f.Definition = begun.Private, p.Provider.Issuer(), p.Provider.Definition()
	if err := x.app.gw.sessions.Flows().Start(ctx, state, &f); err != nil {
		return x.refuse(session.Fault(err))
	}
	if browser != x.cookies.Browser {
		cookie.Set(x.w, cookie.Browser, browser, x.secure)
	}
	x.sendTo(p, begun, f)
	return nil
}

// sendTo sends the browser to the provider with the request of a login.
//
// No server sees the fragment of an address, and it is lost at the first form on the
// way. So a browser gets a page instead of a redirect: if there is a fragment, the
// page's script begins the login anew with it.
func (x *request) sendTo(p *NamedProvider, begun *provider.Begun, f session.Flow) {
	page := pages.Form{Chrome: x.chrome(), Provider: p.DisplayName, Action: begun.Location, Fields: pages.FieldsOf(begun.Form)}
	if !f.Other && !f.Restarted && !strings.Contains(f.Return, "#") && (begun.Form != nil || pages.InTab(x.r)) {
		page.AgainURL = x.loginURL(p, f.Return)
	}
	if begun.Form == nil && page.AgainURL == "" {
		x.redirect(begun.Location)
		return
	}
	x.page(http.StatusOK, page)
}

// began says whether this browser has begun a login.
func (x *request) began(f *session.Flow) bool {
	return vault.IsRandomText(x.cookies.Browser) && subtle.ConstantTimeCompare(hashBrowser(x.cookies.Browser), f.Browser) == 1
}

// loginURL returns the path that begins a login at p, or that shows the chooser if p is
// nil. The return URL comes last: scripts append to it.
func (x *request) loginURL(p *NamedProvider, returnTo string) string {
	address := x.front().opts.Prefix + "/login?"
	if p != nil {
		address += "provider=" + url.QueryEscape(p.Name) + "&"
	}
	return address + "return=" + url.QueryEscape(returnTo)
}

// unauthenticated answers a request without a session. A page load is sent to sign in, any
// other request gets 401.
func (x *request) unauthenticated() error {
	x.guests.Forget(x.w.Header())
	if !pages.Opened(x.r) || !x.canSignIn() || x.standing() != nil {
		return x.refuse(refusal.New(refusal.Unauthenticated, nil))
	}
	returnTo := x.safeReturn(x.returnTarget())
	if _, p := x.app.offered(returnTo); p != nil && !x.passed && x.peer.Failed == nil && x.front() == x.app {
		return x.begin(p, session.Flow{Return: returnTo})
	}
	return x.redirectTo(x.loginURL(nil, returnTo))
}

// readReturn returns a return URL, or "/" and why it can't be one. People may return to the
// session page, and to a client's request for a code.
func (a *App) readReturn(to string) (string, error) {
	return target.SafeReturn(to, a.opts.Prefix, a.sessionPath(), a.authorizationPath())
}

// safeReturn returns the return URL that a client asks for. If it can't be used, there
// is a line in the log: it may do without its fragment, or else it is "/".
func (x *request) safeReturn(to string) string {
	safe, err := x.app.readReturn(to)
	if err == nil {
		return safe
	}
	dropped := "a return URL is dropped: the person will come to the front page"
	if page, _, found := strings.Cut(to, "#"); found {
		if without, fault := x.app.readReturn(page); fault == nil {
			safe, dropped = without, "the fragment of a return URL is dropped"
		}
	}
	to, _, _ = strings.Cut(to, "?") // the query may hold a secret
	to, _, _ = strings.Cut(to, "#")
	x.app.gw.log.Info(dropped, zap.String("app", x.app.name()), zap.String("path", to[:min(len(to), maxLogged)]), zap.Error(err))
	return safe
}

// returnTarget returns the original target in origin form.
func (x *request) returnTarget() string {
	if strings.HasPrefix(x.peer.Target, "/") {
		return x.peer.Target
	}
	if x.r.URL.RawQuery == "" {
		return x.path
	}
	return x.path + "?" + x.r.URL.RawQuery
}
