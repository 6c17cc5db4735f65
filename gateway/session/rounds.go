package session

import (
	"context"
	"strconv"
	"time"

	"github.com/caddy-sso/caddy-sso/gateway/vault"
)

// In a redirect loop a person signs in again and again: the session cookie gets lost,
// or the app sends a signed-in person to sign in. The provider remembers the person,
// so only the browser stops the loop, after about twenty redirects and with an
// unhelpful page. A round takes three or four redirects.
const (
	// MaxRounds is the maximum of rounds of a browser within RoundTime.
	MaxRounds = 4
	// MaxRenewals is the maximum of logins that a signed-in browser begins within RoundTime.
	MaxRenewals = 20
	// RoundTime is how long a round counts.
	RoundTime = time.Minute
)

// Rounds counts the finished logins of browsers, to stop redirect loops. A browser is
// identified by the hash of its browser cookie. A person who can't sign in finishes
// no login and is not counted.
type Rounds struct{ vault *vault.Vault }

// Rounds returns the counter of finished logins.
func (s *Node) Rounds() Rounds { return Rounds{s.vault} }

// Finished returns how many logins a browser has finished within RoundTime, one after
// another. Each of them gave it a session cookie.
func (r Rounds) Finished(ctx context.Context, browser []byte) (int, error) {
	n, _, err := r.vault.Count(ctx, roundsOf(browser), 0, RoundTime)
	return n, err
}

// Finish counts a login that began after round others were finished. Logins that
// began side by side, in the tabs of one browser, are one round. If the store fails,
// a loop is noticed later.
func (r Rounds) Finish(ctx context.Context, browser []byte, round int) {
	n, _, err := r.vault.Count(ctx, "round "+strconv.Itoa(round)+" "+string(browser), 1, RoundTime)
	if err == nil && n == 1 {
		_, _, _ = r.vault.Count(ctx, roundsOf(browser), 1, RoundTime)
	}
}

// Forget resets the counter: a browser that ends a session has kept its cookie.
func (r Rounds) Forget(ctx context.Context, browser []byte) {
	_, _, _ = r.vault.Count(ctx, roundsOf(browser), -MaxRounds, RoundTime)
}

// Renewed counts a login that a signed-in browser begins. It returns true if there are too
// many, and false if the store is down.
func (r Rounds) Renewed(ctx context.Context, browser []byte) bool {
	n, _, err := r.vault.Count(ctx, "renewals "+string(browser), 1, RoundTime)
	return err == nil && n > MaxRenewals
}

// Repeated counts how often a signed-in person is sent to sign in with the same
// query; id identifies the login. It returns true if that happens too often, and
// false if the store is down.
func (r Rounds) Repeated(ctx context.Context, id, query string) bool {
	n, _, err := r.vault.Count(ctx, "needless "+id+" "+query, 1, RoundTime)
	return err == nil && n > MaxRounds
}

func roundsOf(browser []byte) string { return "rounds " + string(browser) }
