package session

import (
	"context"
	"fmt"
	"net/netip"
	"time"

	"github.com/caddy-sso/caddy-sso/gateway/refusal"
	"github.com/caddy-sso/caddy-sso/gateway/vault"
)

// A Limit bounds what one client address may begin and fail to finish, over
// all nodes together: answers of providers (SAML ACS, OIDC callback), and login
// starts. A login that succeeds gives back what it took, so that an office
// behind one address can sign in.
type Limit struct {
	// Answers is how many are taken per Window. Default 10; -1: no limit, for
	// starts neither. A SAML answer is posted twice (see RepostAttempt). The first
	// posts have a count of their own, with the same limit: if ten tabs came at
	// once, their first posts would leave nothing for the second.
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

// An Attempt is what a Limit counts.
type Attempt string

// The kinds of attempts.
const (
	AnswerAttempt Attempt = "answer"
	RepostAttempt Attempt = "repost" // an answer that is to be posted once more
	StartAttempt  Attempt = "start"
)

// Limits count attempts, over all nodes.
type Limits struct {
	vault *vault.Vault
	limit Limit
}

// Limits returns a counter of attempts. The error says what is wrong with limit.
func (s *Node) Limits(limit Limit) (Limits, error) {
	return Limits{s.vault, limit.orDefault()}, limit.check()
}

// Take counts an attempt of a client. If it is one too many, the error is a
// *refusal.Error with TooManyAttempts, and wait says when the next is accepted.
// Such an attempt is not counted: it would use up what successes give back. Any
// other error is a fault of the store.
func (l Limits) Take(ctx context.Context, client netip.Addr, what Attempt) (wait time.Duration, err error) {
	most := l.limit.Answers
	if what == StartAttempt {
		most = l.limit.Starts
	}
	name := attemptName(client, what)
	if l.limit.Answers < 0 || most < 0 || name == "" {
		return 0, nil
	}
	n, left, err := l.vault.Count(ctx, name, 1, l.limit.Window)
	if err != nil || n <= most {
		return 0, err
	}
	if _, _, err := l.vault.Count(ctx, name, -1, l.limit.Window); err != nil {
		return 0, err
	}
	return left, refusal.New(refusal.TooManyAttempts, fmt.Errorf("more than %d in %v", most, l.limit.Window))
}

// GiveBack takes attempts back that came to a good end. If the store fails, the
// attempt counts until its window ends.
func (l Limits) GiveBack(ctx context.Context, client netip.Addr, attempts ...Attempt) {
	if l.limit.Answers < 0 {
		return
	}
	for _, what := range attempts {
		if name := attemptName(client, what); name != "" {
			_, _, _ = l.vault.Count(ctx, name, -1, l.limit.Window)
		}
	}
}

// attemptName names the client's counter: its IPv4 address, or the /64 of its
// IPv6 address, which is the least that one subscriber has. It is empty for
// clients without an address (Unix sockets): they are not limited, for they
// would all share one counter.
func attemptName(client netip.Addr, what Attempt) string {
	client = client.Unmap().WithZone("")
	if !client.IsValid() {
		return ""
	}
	bits := 64
	if client.Is4() {
		bits = 32
	}
	return string(what) + " " + netip.PrefixFrom(client, bits).Masked().String()
}
