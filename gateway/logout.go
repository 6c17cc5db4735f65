package gateway

import (
	"context"
	"errors"
	"net/http"
	"time"

	"go.uber.org/zap"

	"github.com/caddy-sso/caddy-sso/gateway/cookie"
	"github.com/caddy-sso/caddy-sso/gateway/pages"
	"github.com/caddy-sso/caddy-sso/gateway/provider"
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
	if !signedIn {
		// A logout that failed half-way may be what is tried again.
		if err := x.endCookie(); err != nil {
			return x.refuse(session.Fault(err))
		}
		cookie.Set(x.w, cookie.Session, "", x.secure)
		return x.redirectTo(x.app.opts.Prefix + "/logged-out")
	}
	if err := ses.End(x.r.Context()); err != nil {
		return x.refuse(session.Fault(err))
	}
	x.forgetRounds()
	cookie.Set(x.w, cookie.Session, "", x.secure)
	x.observe(Event{Type: EventLogout})
	l := ses.Login()
	if away := x.providerLogout(l); away != "" {
		x.page(http.StatusOK, pages.Leave{Chrome: x.chrome(), Provider: x.app.providerOf(l).DisplayName, URL: away})
		return nil
	}
	return x.redirectTo(x.app.opts.Prefix + "/logged-out")
}

func (x *exchange) endCookie() error {
	if x.cookies.Session == "" || x.host == "" {
		return nil
	}
	return x.app.gw.sessions.EndCookie(x.r.Context(), x.cookies.Session, x.host)
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
