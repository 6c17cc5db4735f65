package gateway

import (
	"errors"
	"net/http"
	"time"

	"github.com/caddy-sso/caddy-sso/gateway/refusal"
	"github.com/caddy-sso/caddy-sso/gateway/session"
	"github.com/caddy-sso/caddy-sso/gateway/vault"
)

// countStart counts the start of a login. If the client has begun too many, it refuses
// (TooManyAttempts). It also refuses a start from within another site's page (CrossSite).
func (x *request) countStart() *refusal.Error {
	if refused := x.embedded(); refused != nil {
		return refused
	}
	return x.countRequest()
}

// countRequest counts a request. If the client has made too many, it refuses
// (TooManyAttempts).
func (x *request) countRequest() *refusal.Error {
	return x.limited(x.app.gw.limits.Request(x.r.Context(), x.peer.Addr))
}

// enterAnswer counts an answer, and refuses like countStart. The answer counts as under
// way until Limits.Leave.
func (x *request) enterAnswer() *refusal.Error {
	if refused := x.embedded(); refused != nil {
		return refused
	}
	return x.limited(x.app.gw.limits.Enter(x.r.Context(), x.peer.Addr))
}

func (x *request) limited(wait time.Duration, err error) *refusal.Error {
	if err == nil {
		return nil
	}
	x.retryAfter(wait)
	return session.Fault(err)
}

// fail refuses an answer to a login that this browser began, and counts it as failed. It
// does not count if the store or the provider is at fault, or if the provider does not
// know the gateway.
func (x *request) fail(err error) error {
	e := refusal.From(err, refusal.Internal)
	if e.Code.Meaning().Status < http.StatusInternalServerError && e.Code != refusal.OIDCClientRejected {
		x.app.gw.limits.Fail(x.r.Context(), x.peer.Addr)
	}
	return x.refuse(e)
}

// embedded refuses a request that a foreign page makes for an image, a frame or the like.
// Our cookies are Lax and do not come with it, so it can't lead to a login. If it
// counted, any page that a person has open could lock out everybody behind the same
// address.
func (x *request) embedded() *refusal.Error {
	dest := x.r.Header.Get("Sec-Fetch-Dest")
	if dest != "" && dest != "document" && x.r.Header.Get("Sec-Fetch-Site") == "cross-site" && !vault.IsRandomText(x.cookies.Browser) {
		return refusal.New(refusal.CrossSite, errors.New("a page of another site asked for it from within itself"))
	}
	return nil
}
