package gateway

import (
	"fmt"

	"github.com/caddy-sso/caddy-sso/gateway/pages"
	"github.com/caddy-sso/caddy-sso/gateway/refusal"
	"github.com/caddy-sso/caddy-sso/gateway/session"
	"github.com/caddy-sso/caddy-sso/gateway/target"
	"github.com/caddy-sso/caddy-sso/gateway/vault"
)

// round returns how many logins this browser has finished just before. It
// refuses to begin one more if those are too many: each of them gave the browser
// a session cookie, and here it is without.
func (x *exchange) round(browser []byte) (int, *refusal.Error) {
	n, err := x.app.gw.sessions.Rounds().Finished(x.r.Context(), browser)
	switch {
	case err != nil:
		return 0, session.Fault(err)
	case n >= session.MaxRounds:
		return 0, x.looping(refusal.RedirectLoop)
	}
	return n, nil
}

// forgetRounds forgets the rounds of a browser that ends its session: it has kept
// its cookie.
func (x *exchange) forgetRounds() {
	if vault.IsRandomText(x.cookies.Browser) {
		x.app.gw.sessions.Rounds().Forget(x.r.Context(), hashBrowser(x.cookies.Browser))
	}
}

// needless refuses to send a signed-in person on when the app sends them to
// sign in again and again: the app can't see that the person is signed in.
func (x *exchange) needless(ses session.Session) *refusal.Error {
	if x.app.gw.sessions.Rounds().Repeated(x.r.Context(), ses.ID(), x.r.URL.RawQuery) {
		return x.looping(refusal.AppLoop)
	}
	return nil
}

func (x *exchange) looping(code refusal.Code) *refusal.Error {
	x.retryAfter(session.RoundTime)
	return refusal.New(code, fmt.Errorf("%d times within %v; this request came to %s, the site is %s", session.MaxRounds, session.RoundTime, x.here(), x.issuer()))
}

// here returns the origin that the request came to, as far as the host server knows.
func (x *exchange) here() string {
	if x.peer.Secure {
		return target.Origin("https", x.r.Host)
	}
	return target.Origin("http", x.r.Host)
}

// seen says how a request looked, where that may be the fault.
func (x *exchange) seen(code refusal.Code) pages.Seen {
	switch code {
	case refusal.RedirectLoop, refusal.CookiesBlocked, refusal.AnswerLost, refusal.InsecureHTTP:
		return pages.Seen{Here: x.here(), Site: x.issuer()}
	}
	return pages.Seen{}
}
