package gateway

import (
	"errors"
	"strconv"
	"time"

	"github.com/caddy-sso/caddy-sso/gateway/refusal"
	"github.com/caddy-sso/caddy-sso/gateway/session"
	"github.com/caddy-sso/caddy-sso/gateway/vault"
)

// attempt counts an attempt. It refuses one too many (TooManyAttempts), and one
// from within another site's page (CrossSite).
func (x *exchange) attempt(what session.Attempt) *refusal.Error {
	if x.embedded() {
		return refusal.New(refusal.CrossSite, errors.New("a page of another site asked for it from within itself"))
	}
	wait, err := x.app.gw.limits.Take(x.r.Context(), x.peer.Addr, what)
	if wait > 0 {
		x.w.Header().Set("Retry-After", strconv.Itoa(int((wait+time.Second-1)/time.Second)))
	}
	if err != nil {
		return session.Fault(err)
	}
	return nil
}

// embedded says whether a foreign page has asked from within itself, as for an
// image or a frame. Our cookies are Lax and stay out of that, so that no login can
// come of it. Were it counted, any page that somebody has open could lock out all
// who share the address.
func (x *exchange) embedded() bool {
	dest := x.r.Header.Get("Sec-Fetch-Dest")
	return dest != "" && dest != "document" && x.r.Header.Get("Sec-Fetch-Site") == "cross-site" && !vault.IsRandomText(x.cookies.Browser)
}

// giveBack takes attempts back that came to a good end.
func (x *exchange) giveBack(attempts ...session.Attempt) {
	x.app.gw.limits.GiveBack(x.r.Context(), x.peer.Addr, attempts...)
}
