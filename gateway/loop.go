package gateway

import (
	"fmt"

	"github.com/caddy-sso/caddy-sso/gateway/refusal"
	"github.com/caddy-sso/caddy-sso/gateway/session"
	"github.com/caddy-sso/caddy-sso/gateway/target"
	"github.com/caddy-sso/caddy-sso/gateway/vault"
)

// round returns how many logins this browser has finished recently. If there are too
// many, it refuses to begin another: each of them set a session cookie, and the browser
// came back without one. A browser with the cookie of a live login is in no such loop: a client
// asked for a new login, or the person wants to be somebody else. These have a limit of their own.
func (x *request) round(browser []byte) (int, *refusal.Error) {
	if signedIn, err := x.signedIn(); err == nil && signedIn {
		if x.app.gw.sessions.Rounds().Renewed(x.r.Context(), browser) {
			x.retryAfter(session.RoundTime)
			return 0, refusal.New(refusal.AppLoop, fmt.Errorf("this browser is signed in, and has begun more than %d further sign-ins within %v: an app may ask for one each time", session.MaxRenewals, session.RoundTime))
		}
		x.forgetRounds()
		return 0, nil
	}
	n, err := x.app.gw.sessions.Rounds().Finished(x.r.Context(), browser)
	switch {
	case err != nil:
		return 0, session.Fault(err)
	case n >= session.MaxRounds:
		return 0, x.looping(refusal.RedirectLoop)
	}
	return n, nil
}

// forgetRounds forgets the rounds of a browser that has sent its session cookie: so it keeps
// it.
func (x *request) forgetRounds() {
	if vault.IsRandomText(x.cookies.Browser) {
		x.app.gw.sessions.Rounds().Forget(x.r.Context(), hashBrowser(x.cookies.Browser))
	}
}

// needless refuses to send a signed-in person back to the app if the app sends them to
// sign in again and again: it does not see that the person is signed in.
func (x *request) needless(ses session.Session) *refusal.Error {
	if x.app.gw.sessions.Rounds().Repeated(x.r.Context(), ses.ID(), x.r.URL.RawQuery) {
		return x.looping(refusal.AppLoop)
	}
	return nil
}

func (x *request) looping(code refusal.Code) *refusal.Error {
	x.retryAfter(session.RoundTime)
	return refusal.New(code, fmt.Errorf("%d times within %v; this request came to %s, the site is %s", session.MaxRounds, session.RoundTime, x.here(), x.issuer()))
}

// here returns the origin that the request came to, as far as the server knows.
func (x *request) here() string {
	if x.peer.Secure {
		return target.Origin("https", x.r.Host)
	}
	return target.Origin("http", x.r.Host)
}
