package session

import (
	"context"
	"strconv"
	"time"

	"github.com/caddy-sso/caddy-sso/gateway/vault"
)

// A redirect loop is a person who signs in again and again: the session cookie
// gets lost, or the app sends a signed-in person to sign in. The provider
// remembers the person, so nothing stops it but the browser, after some twenty
// redirects and with a page that helps nobody. A round takes three or four of
// them.
const (
	// MaxRounds is how many rounds a browser may make within RoundTime.
	MaxRounds = 4
	// RoundTime is how long a round counts.
	RoundTime = time.Minute
)

// Rounds count the logins that browsers finish, so that redirect loops end. A
// browser is named by the hash of its browser cookie. What counts are finished
// logins: somebody who can't sign in can't make any.
type Rounds struct{ vault *vault.Vault }

// Rounds returns what counts finished logins.
func (s *Node) Rounds() Rounds { return Rounds{s.vault} }

// Finished returns how many logins a browser has finished within RoundTime, one
// after another. Each of them gave it a session cookie.
func (r Rounds) Finished(ctx context.Context, browser []byte) (int, error) {
	n, _, err := r.vault.Count(ctx, roundsOf(browser), 0, RoundTime)
	return n, err
}

// Finish counts a login that began when round were finished. Those that began
// side by side, in the tabs of one browser, are one round. If the store fails, a
// loop is noticed later.
func (r Rounds) Finish(ctx context.Context, browser []byte, round int) {
	n, _, err := r.vault.Count(ctx, "round "+strconv.Itoa(round)+" "+string(browser), 1, RoundTime)
	if err == nil && n == 1 {
		_, _, _ = r.vault.Count(ctx, roundsOf(browser), 1, RoundTime)
	}
}

// Forget forgets what was counted: a browser that ends a session has kept its
// cookie.
func (r Rounds) Forget(ctx context.Context, browser []byte) {
	_, _, _ = r.vault.Count(ctx, roundsOf(browser), -MaxRounds, RoundTime)
}

// Needless counts that somebody with the login id was sent to sign in, by the
// very same query, and says whether that happens too often. While the store is
// down nobody is stopped.
func (r Rounds) Needless(ctx context.Context, id, query string) bool {
	n, _, err := r.vault.Count(ctx, "needless "+id+" "+query, 1, RoundTime)
	return err == nil && n > MaxRounds
}

func roundsOf(browser []byte) string { return "rounds " + string(browser) }
