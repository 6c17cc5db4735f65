package gateway

import (
	"net/http"
	"strings"

	"github.com/caddy-sso/caddy-sso/gateway/connect"
	"github.com/caddy-sso/caddy-sso/gateway/cookie"
	"github.com/caddy-sso/caddy-sso/gateway/pages"
	"github.com/caddy-sso/caddy-sso/gateway/session"
)

// An app's own cookies are its guests here: package connect says why they are watched.

// admitGuests gives back to a request those of the app's cookies that were set for the
// same login, user name and roles.
func (v *decision) admitGuests(guests *connect.Cookies, r *http.Request) error {
	if guests == nil {
		return nil
	}
	return guests.Admit(r.Header, func(name, value string) ([]byte, error) {
		p := v.headers.Principal()
		return v.app.gw.sessions.Vault().MAC(r.Context(), "app's cookie", p.SessionID, p.Account, p.Username, p.Template,
			strings.Join(p.Roles, "\n"), strings.Join(p.Groups, "\n"), name, value)
	})
}

// guestsOf is nil if the app has none.
func guestsOf(c *connect.Cookies) cookie.Guests {
	if c == nil {
		return nil
	}
	return c
}

// instead returns where a person is sent who opens the app's own page to sign in or out,
// or "". If the app shows its sign-in again and again, its own page says why.
func (x *request) instead(ses session.Session) string {
	to := x.app.opts.As.Instead(x.path, x.app.opts.Prefix)
	if to == "" || !pages.Opened(x.r) || x.app.gw.sessions.Rounds().Repeated(x.r.Context(), ses.ID(), to) {
		return ""
	}
	return to
}
