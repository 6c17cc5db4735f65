package gateway

import (
	"errors"
	"net/http"
	"time"

	"github.com/caddy-sso/caddy-sso/gateway/refusal"
	"github.com/caddy-sso/caddy-sso/gateway/session"
	"github.com/caddy-sso/caddy-sso/gateway/vault"
)

// countStart counts the start of a login. It refuses one too many
// (TooManyAttempts), and one from within another site's page (CrossSite).
func (x *exchange) countStart() *refusal.Error {
	if refused := x.embedded(); refused != nil {
		return refused
	}
	return x.countRequest()
}

// countRequest counts a request, and refuses one too many (TooManyAttempts).
func (x *exchange) countRequest() *refusal.Error {
	return x.limited(x.app.gw.limits.Request(x.r.Context(), x.peer.Addr))
}

// enterAnswer counts an answer, and refuses it as countStart does. It is under way
// until leaveAnswer.
func (x *exchange) enterAnswer() *refusal.Error {
	if refused := x.embedded(); refused != nil {
		return refused
	}
	return x.limited(x.app.gw.limits.Enter(x.r.Context(), x.peer.Addr))
}

// leaveAnswer notes that an answer has ended.
func (x *exchange) leaveAnswer() { x.app.gw.limits.Leave(x.r.Context(), x.peer.Addr) }

// giveBack gives back n requests: those that a successful login has taken, or the start of
// one that begins anew.
func (x *exchange) giveBack(n int) { x.app.gw.limits.GiveBack(x.r.Context(), x.peer.Addr, n) }

// limited refuses if the limits do.
func (x *exchange) limited(wait time.Duration, err error) *refusal.Error {
	if err == nil {
		return nil
	}
	x.retryAfter(wait)
	return session.Fault(err)
}

// fail refuses an answer to a login that this browser began, and has it count as
// failed, unless the browser could not help it: the store or the provider is out
// of order, or the provider does not know the gateway.
func (x *exchange) fail(err error) error {
	e := refusal.From(err, refusal.Internal)
	if e.Code.Meaning().Status < http.StatusInternalServerError && e.Code != refusal.OIDCClientRejected {
		x.app.gw.limits.Fail(x.r.Context(), x.peer.Addr)
	}
	return x.refuse(e)
}

// embedded refuses a request that a foreign page makes from within itself, as for an
// image or a frame. It comes without our cookies, which are Lax, so that no login can
// come of it. If it counted, any page that a person has open could lock out all
// people behind the same address.
func (x *exchange) embedded() *refusal.Error {
	dest := x.r.Header.Get("Sec-Fetch-Dest")
	if dest != "" && dest != "document" && x.r.Header.Get("Sec-Fetch-Site") == "cross-site" && !vault.IsRandomText(x.cookies.Browser) {
		return refusal.New(refusal.CrossSite, errors.New("a page of another site asked for it from within itself"))
	}
	return nil
}
