package gateway

import (
	"fmt"
	"net/http"
	"strconv"
	"time"
)

// A redirect loop is a person who signs in again and again: the session cookie
// gets lost, or the app sends who is signed in to sign in. The provider remembers
// the person, so nothing stops it but the browser, after some twenty redirects
// and with a page that helps nobody. A round takes three or four of them.
const (
	maxRounds = 4
	roundTime = time.Minute
)

// count adds to a counter of this browser's. What is counted are logins that
// were finished, so that who can't sign in can't make any.
func (x *exchange) count(what string, of []byte, delta int) (int, error) {
	key, err := x.app.gw.sessions.vault.key(x.r.Context(), kindLimit, what+" "+string(of))
	if err != nil {
		return 0, err
	}
	n, _, err := x.app.gw.sessions.store.Count(x.r.Context(), key, delta, roundTime)
	return n, err
}

// round returns how many logins this browser has finished within a minute, one
// after another, and refuses to begin one more if those are too many: each of
// them gave it a session cookie, and here it is without.
func (x *exchange) round(binding []byte) (int, *Error) {
	n, err := x.count("rounds", binding, 0)
	switch {
	case err != nil:
		return 0, storeError(err)
	case n >= maxRounds:
		return 0, x.looping(CodeRedirectLoop)
	}
	return n, nil
}

// finishRound counts a finished login. Many that were begun side by side, in
// the tabs of one browser, are one round. Should the store fail, a loop is
// noticed later.
func (x *exchange) finishRound(f *flow) {
	n, err := x.count("round "+strconv.Itoa(f.Round), f.Binding, 1)
	if err == nil && n == 1 {
		_, _ = x.count("rounds", f.Binding, 1)
	}
}

// endRounds forgets what was counted: who ends a session has kept its cookie.
func (x *exchange) endRounds() {
	if validBinding(x.cookies.binding) {
		_, _ = x.count("rounds", hashBinding(x.cookies.binding), -maxRounds)
	}
}

// needless counts that who is signed in was sent to sign in, with the very same
// query, and refuses it when that does not end: the app can't see that the
// person is signed in. While the store is down nobody is stopped.
func (x *exchange) needless(ses *session) *Error {
	n, err := x.count("needless", []byte(ses.key+" "+x.r.URL.RawQuery), 1)
	if err == nil && n > maxRounds {
		return x.looping(CodeAppLoop)
	}
	return nil
}

func (x *exchange) looping(code Code) *Error {
	x.w.Header().Set("Retry-After", strconv.Itoa(int(roundTime/time.Second)))
	return NewError(code, fmt.Errorf("%d times within %v; this request came to %s, the site is %s", maxRounds, roundTime, x.here(), x.issuer()))
}

// here is the origin that the request came to, as far as the host server knows.
func (x *exchange) here() string {
	if x.peer.Secure {
		return originOf("https", x.r.Host)
	}
	return originOf("http", x.r.Host)
}

// seen says what a request looked like where that may be what is wrong.
func (x *exchange) seen(code Code) Seen {
	switch code {
	case CodeRedirectLoop, CodeCookiesBlocked, CodeAnswerLost, CodeInsecureHTTP:
		return Seen{Here: x.here(), Site: x.issuer()}
	}
	return Seen{}
}

// answerLost answers for the AssertionConsumerService asked for by GET, with
// nothing: a redirect on the way made it of the provider's POST, and the answer
// is gone (RFC 9110 §15.4.2 and §15.4.3 permit that).
func (x *exchange) answerLost() error {
	origin, refused := x.signInOrigin()
	if refused != nil {
		return x.refuse(refused)
	}
	return x.lost(nil, lostAnswer(origin+x.app.acsPath()))
}

func lostAnswer(at string) *Error {
	return NewError(CodeAnswerLost, fmt.Errorf("nothing came by GET to %s, the address to register at the provider", at))
}

// isLostPost says whether a request is what a redirect leaves of a form's post.
func isLostPost(r *http.Request) bool {
	return r.URL.RawQuery == "" && (r.Method == http.MethodGet || r.Method == http.MethodHead)
}
