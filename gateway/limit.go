package gateway

import (
	"errors"
	"fmt"
	"net/netip"
	"strconv"
	"time"
)

// A Limit bounds what one client address may begin and fail to finish, over
// all nodes together: answers of providers (SAML ACS, OIDC callback), and login
// starts. A login that succeeds gives back what it took, so that an office
// behind one address can sign in.
type Limit struct {
	// Answers is how many are taken per Window. Default 10; -1: no limit, for
	// starts neither. One by SAML is posted twice (see RepostPage): the first
	// posts have a count of their own, with the same limit. Else of ten tabs
	// that come at once the first posts would leave nothing for the second.
	Answers int
	// Starts is how many logins may begin per Window. Default 30 times Answers:
	// they are under way for a while, and all the tabs of a browser begin at
	// once. -1: no limit.
	Starts int
	// Window is how long an attempt counts. Default one minute.
	Window time.Duration
}

func (l Limit) orDefault() Limit {
	if l.Answers == 0 {
		l.Answers = 10
	}
	if l.Answers < 0 {
		return l
	}
	if l.Starts == 0 {
		l.Starts = 30 * l.Answers
	}
	if l.Window == 0 {
		l.Window = time.Minute
	}
	return l
}

func (l Limit) check() error {
	if l.Answers < -1 || l.Starts < -1 || l.Window < 0 {
		return fmt.Errorf("limit: %d answers and %d starts in %v: expected -1 (no limit) or more, and no negative window", l.Answers, l.Starts, l.Window)
	}
	return nil
}

// An attempt is what a Limit counts.
type attempt string

const (
	answerAttempt attempt = "answer"
	repostAttempt attempt = "repost" // an answer that is to be posted once more
	startAttempt  attempt = "start"
)

// attempt counts one, or refuses it with CodeTooManyAttempts, or with
// CodeCrossSite. A refused one does not count: it must not eat up what successes
// give back.
func (x *exchange) attempt(what attempt) *Error {
	if x.embedded() {
		return NewError(CodeCrossSite, errors.New("a page of another site asked for it from within itself"))
	}
	limit := x.app.gw.opts.Limit
	most := limit.Answers
	if what == startAttempt {
		most = limit.Starts
	}
	if limit.Answers < 0 || most < 0 {
		return nil
	}
	key, err := x.attemptKey(what)
	if err != nil {
		return storeError(err)
	}
	if key == "" {
		return nil
	}
	store, ctx := x.app.gw.sessions.store, x.r.Context()
	n, left, err := store.Count(ctx, key, 1, limit.Window)
	if err != nil {
		return storeError(err)
	}
	if n <= most {
		return nil
	}
	if _, _, err := store.Count(ctx, key, -1, limit.Window); err != nil {
		return storeError(err)
	}
	x.w.Header().Set("Retry-After", strconv.Itoa(int((left+time.Second-1)/time.Second)))
	return NewError(CodeTooManyAttempts, fmt.Errorf("more than %d in %v", most, limit.Window))
}

// embedded says whether a foreign page has asked from within itself, as for an
// image or a frame. Our cookies are Lax and stay out of that, so that no login can
// come of it. Were it counted, any page that somebody has open could lock out all
// who share the address.
func (x *exchange) embedded() bool {
	dest := x.r.Header.Get("Sec-Fetch-Dest")
	return dest != "" && dest != "document" && x.r.Header.Get("Sec-Fetch-Site") == "cross-site" && !validBinding(x.cookies.binding)
}

// giveBack takes attempts back that came to a good end.
func (x *exchange) giveBack(attempts ...attempt) {
	for _, what := range attempts {
		if x.app.gw.opts.Limit.Answers < 0 {
			return
		}
		if key, err := x.attemptKey(what); err == nil && key != "" {
			// Should it fail, the attempt counts until its window ends.
			_, _, _ = x.app.gw.sessions.store.Count(x.r.Context(), key, -1, x.app.gw.opts.Limit.Window)
		}
	}
}

// attemptKey names the client's counter: its IPv4 address, or the /64 of its
// IPv6 address, which is the least that one subscriber has. Clients without an
// address (Unix sockets) are not limited: they would all share one counter.
func (x *exchange) attemptKey(what attempt) (string, error) {
	addr := x.peer.Addr.Unmap().WithZone("")
	if !addr.IsValid() {
		return "", nil
	}
	bits := 64
	if addr.Is4() {
		bits = 32
	}
	return x.app.gw.sessions.vault.key(x.r.Context(), kindLimit, string(what)+" "+netip.PrefixFrom(addr, bits).Masked().String())
}
