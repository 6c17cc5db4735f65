package gateway

import (
	"cmp"
	"context"
	"errors"
	"net/http"
	"strings"
	"time"

	"go.uber.org/zap"

	"github.com/caddy-sso/caddy-sso/gateway/cookie"
	"github.com/caddy-sso/caddy-sso/gateway/form"
	"github.com/caddy-sso/caddy-sso/gateway/pages"
	"github.com/caddy-sso/caddy-sso/gateway/provider"
	"github.com/caddy-sso/caddy-sso/gateway/refusal"
	"github.com/caddy-sso/caddy-sso/gateway/session"
	"github.com/caddy-sso/caddy-sso/gateway/target"
)

// logout asks on GET. On POST it ends the login: here at once, then at the provider if
// that is possible. It also ends a login that this app does not accept any more.
func (x *request) logout() error {
	returnTo := ""
	if x.app.clients != nil && x.r.URL.RawQuery != "" { // a client asked for it
		req, err := x.readLogout(form.Query(x.r))
		if err != nil {
			return x.refuse(err)
		}
		returnTo = req.ReturnTo()
	}
	ses, err := x.anySession()
	if err != nil && !errors.Is(err, session.ErrNone) {
		return x.refuse(session.Fault(err))
	}
	signedIn := err == nil
	if x.r.Method != http.MethodPost {
		if !signedIn {
			return x.signedOut(returnTo)
		}
		return x.askLogout(ses.Login())
	}
	if x.r.Header.Get("Sec-Fetch-Mode") != "navigate" {
		x.forgetPages() // a script asks: it will not load the image of forget
	}
	if signedIn {
		return x.end(ses, returnTo)
	}
	// An earlier attempt may have ended the login and then failed.
	if err := x.endCookie(); err != nil {
		return x.refuse(session.Fault(err))
	}
	x.clearCookies()
	return x.signedOut(returnTo)
}

// end ends a login, and goes on to its provider or back to the client that asked for it.
func (x *request) end(ses session.Session, returnTo string) error {
	if err := ses.End(x.r.Context()); err != nil {
		return x.refuse(session.Fault(err))
	}
	x.forgetRounds()
	x.clearCookies()
	x.observe(Event{Type: EventLogout})
	l := ses.Login()
	if away := x.providerLogout(l); away != "" {
		x.page(http.StatusOK, pages.Leave{Chrome: x.chrome(), Provider: x.app.policy.ProviderOf(l).DisplayName, URL: away})
		return nil
	}
	return x.signedOut(returnTo)
}

// signedOut shows that nobody is signed in, or returns to the client that asked for the
// logout.
func (x *request) signedOut(returnTo string) error {
	switch {
	case returnTo == "":
		return x.redirectTo(x.app.opts.Prefix + "/logged-out")
	case x.r.Method == http.MethodPost: // see pages.Leave
		scheme, _, _ := strings.Cut(returnTo, ":")
		x.page(http.StatusOK, pages.Leave{Chrome: x.chrome(), Provider: cmp.Or(target.HostOf(returnTo), scheme), Back: true, URL: returnTo})
	default:
		x.redirect(returnTo)
	}
	return nil
}

func (x *request) clearCookies() {
	x.guests.Forget(x.w.Header())
	cookie.Set(x.w, cookie.Session, "", x.secure)
	if x.cookies.Refused != "" {
		cookie.Set(x.w, cookie.Refused, "", x.secure)
	}
}

func (x *request) endCookie() error {
	if x.cookies.Session == "" || x.host == "" {
		return nil
	}
	return x.app.gw.sessions.EndCookie(x.r.Context(), x.cookies.Session, x.host, x.mayRepeat)
}

// mayRepeat bounds how often a client can have the same logout announced: each time costs
// every node some work. If the store can't count, it may have failed to announce, too:
// then it is announced again.
func (x *request) mayRepeat() error {
	if refused := x.countRequest(); refused != nil && refused.Code == refusal.TooManyAttempts {
		return refused
	}
	return nil
}

func (x *request) askLogout(l *session.Login) error {
	page := pages.Logout{Chrome: x.chrome(), Username: x.app.gw.nameOf(l), Action: x.app.opts.Prefix + "/logout"}
	if x.r.URL.RawQuery != "" {
		page.Action += "?" + x.r.URL.RawQuery // what a client asks for
	}
	if p := x.app.policy.ProviderOf(l); p != nil {
		page.Provider = p.DisplayName
	}
	page.AtProvider = x.providerLogout(l) != ""
	x.page(http.StatusOK, page)
	return nil
}

// logoutTimeout bounds how long a logout waits for the provider's logout address. Our own
// session has already ended.
const logoutTimeout = 3 * time.Second

// providerLogout returns the address that ends the provider's own session, or "".
func (x *request) providerLogout(l *session.Login) string {
	p := x.app.policy.ProviderOf(l)
	if p == nil {
		return ""
	}
	lp, ok := p.Provider.(provider.SessionEnder)
	origin, refused := x.origin()
	if !ok || refused != nil {
		return ""
	}
	ctx, cancel := context.WithTimeout(x.r.Context(), logoutTimeout)
	defer cancel()
	away, err := lp.LogoutURL(ctx, provider.LogoutRequest{Hint: l.LogoutHint, ReturnURL: origin + x.app.opts.Prefix + "/logged-out"})
	if err != nil {
		x.app.gw.log.Warn("the provider's logout is unavailable; its session stays", zap.String("provider", p.Name), zap.Error(err))
		return ""
	}
	return away
}

func (x *request) loggedOut() error {
	x.page(http.StatusOK, pages.LoggedOut{Chrome: x.chrome(), SignInURL: "/"})
	return nil
}

// forget serves an empty image to the pages after a logout. With it, the browser forgets
// the app's pages that it keeps for its back button. The response to the logout itself
// can't do that: the person would wait until the site's whole cache is cleared, which
// takes seconds for thousands of files, and the browser would not have kept the page yet
// that they come from.
func (x *request) forget() error {
	if site := x.r.Header.Get("Sec-Fetch-Site"); site != "" && site != "same-origin" {
		return x.refuse(refusal.New(refusal.CrossSite, errors.New("another site wants this one's cache cleared")))
	}
	x.forgetPages()
	x.w.Header().Set("Cross-Origin-Resource-Policy", "same-origin")
	x.send(http.StatusOK, "image/svg+xml", "no-store", []byte(`<svg xmlns="http://www.w3.org/2000/svg" width="1" height="1"/>`))
	return nil
}

// forgetPages clears the cache of the site, and pages for the back button in it.
func (x *request) forgetPages() { x.w.Header().Set("Clear-Site-Data", `"cache"`) }
