package gateway

import (
	"context"
	"errors"
	"io"
	"net/http"
	"time"

	"go.uber.org/zap"

	"github.com/caddy-sso/caddy-sso/gateway/cookie"
	"github.com/caddy-sso/caddy-sso/gateway/pages"
	"github.com/caddy-sso/caddy-sso/gateway/provider"
	"github.com/caddy-sso/caddy-sso/gateway/refusal"
	"github.com/caddy-sso/caddy-sso/gateway/session"
)

// logout asks on GET, and ends the login on POST: here at once, then at the
// provider if it can. It ends a login too that this app takes no more.
func (x *exchange) logout() error {
	ses, err := x.anySession()
	if err != nil && !errors.Is(err, session.ErrNone) {
		return x.refuse(session.Fault(err))
	}
	signedIn := err == nil
	if x.r.Method != http.MethodPost {
		if !signedIn {
			return x.redirectTo(x.app.opts.Prefix + "/logged-out")
		}
		return x.askLogout(ses.Login())
	}
	if x.r.Header.Get("Sec-Fetch-Mode") != "navigate" {
		x.forgetPages() // no page of ours will be seen
	}
	if !signedIn {
		// A logout that failed half-way may be what is tried again.
		if err := x.endCookie(); err != nil {
			return x.refuse(session.Fault(err))
		}
		x.clearCookies()
		return x.redirectTo(x.app.opts.Prefix + "/logged-out")
	}
	if err := ses.End(x.r.Context()); err != nil {
		return x.refuse(session.Fault(err))
	}
	x.forgetRounds()
	x.clearCookies()
	x.observe(Event{Type: EventLogout})
	l := ses.Login()
	if away := x.providerLogout(l); away != "" {
		x.page(http.StatusOK, pages.Leave{Chrome: x.chrome(), Provider: x.app.providerOf(l).DisplayName, URL: away})
		return nil
	}
	return x.redirectTo(x.app.opts.Prefix + "/logged-out")
}

// clearCookies takes away what the browser keeps of the person.
func (x *exchange) clearCookies() {
	cookie.Set(x.w, cookie.Session, "", x.secure)
	if x.cookies.Refused != "" {
		cookie.Set(x.w, cookie.Refused, "", x.secure)
	}
}

func (x *exchange) endCookie() error {
	if x.cookies.Session == "" || x.host == "" {
		return nil
	}
	return x.app.gw.sessions.EndCookie(x.r.Context(), x.cookies.Session, x.host, x.mayRepeat)
}

// mayRepeat bounds how often a client has a logout announced that was done before:
// each time costs every node some work. A store that can't count may have failed to
// announce, so that is no reason to refuse.
func (x *exchange) mayRepeat() error {
	if refused := x.countRequest(); refused != nil && refused.Code == refusal.TooManyAttempts {
		return refused
	}
	return nil
}

func (x *exchange) askLogout(l *session.Login) error {
	page := pages.Logout{Chrome: x.chrome(), Username: x.app.gw.nameOf(l), Action: x.app.opts.Prefix + "/logout"}
	if p := x.app.providerOf(l); p != nil {
		page.Provider = p.DisplayName
	}
	page.AtProvider = x.providerLogout(l) != ""
	x.page(http.StatusOK, page)
	return nil
}

// logoutTimeout is how long a logout waits to learn where the provider's own
// session ends. Ours has ended already.
const logoutTimeout = 3 * time.Second

// providerLogout returns where the provider's own session ends, or "".
func (x *exchange) providerLogout(l *session.Login) string {
	p := x.app.providerOf(l)
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

func (x *exchange) loggedOut() error {
	x.page(http.StatusOK, pages.LoggedOut{Chrome: x.chrome(), SignInURL: "/"})
	return nil
}

// forget is an image that the pages after a logout show nothing of. It has the
// browser forget the app's pages that it keeps for its back button. Were the answer
// to the logout to say so, the person would wait for all of the site's cache to be
// cleared, which takes seconds if it has thousands of files, and the page that they
// came from would not be among those kept yet.
func (x *exchange) forget() error {
	if site := x.r.Header.Get("Sec-Fetch-Site"); site != "" && site != "same-origin" {
		return x.refuse(refusal.New(refusal.CrossSite, errors.New("another site wants this one's cache cleared")))
	}
	x.forgetPages()
	h := x.w.Header()
	h.Set("Cache-Control", "no-store")
	h.Set("Content-Type", "image/svg+xml")
	h.Set("X-Content-Type-Options", "nosniff")
	h.Set("Cross-Origin-Resource-Policy", "same-origin")
	if x.r.Method != http.MethodHead {
		_, _ = io.WriteString(x.w, `<svg xmlns="http://www.w3.org/2000/svg" width="1" height="1"/>`)
	}
	return nil
}

// forgetPages has the browser clear what it keeps of the site's pages (Clear Site
// Data §3.1), those for the back button too.
func (x *exchange) forgetPages() { x.w.Header().Set("Clear-Site-Data", `"cache"`) }
