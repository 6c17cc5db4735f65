package forward

import (
	"encoding/json"
	"sync"
	"sync/atomic"
	"time"

	"github.com/caddy-sso/caddy-sso/gateway/vault"
)

// Lifetimes of the assertion.
const (
	assertionLife  = 60 * time.Second
	assertionBack  = 30 * time.Second // nbf, for clocks that run behind
	assertionRenew = 25 * time.Second // a cached one has at least 35 s left
)

// claims are the claims of the assertion, a JWT (RFC 7519). Their names are those of OIDC
// Core §2 and §5.1, as far as these have one.
type claims struct {
	Issuer        string   `json:"iss"`
	Audience      string   `json:"aud"`
	Subject       string   `json:"sub"`
	Username      string   `json:"preferred_username"`
	Email         string   `json:"email,omitempty"`
	EmailVerified bool     `json:"email_verified"`
	Name          string   `json:"name,omitempty"`
	FirstName     string   `json:"given_name,omitempty"`
	LastName      string   `json:"family_name,omitempty"`
	Roles         []string `json:"roles"`
	Groups        []string `json:"groups"`
	Template      string   `json:"template,omitempty"`
	SessionID     string   `json:"sid"`
	Provider      string   `json:"idp"`
	ACR           string   `json:"acr,omitempty"`
	AMR           []string `json:"amr,omitempty"`
	AuthTime      int64    `json:"auth_time"`
	IssuedAt      int64    `json:"iat"`
	NotBefore     int64    `json:"nbf"`
	Expires       int64    `json:"exp"`
	ID            string   `json:"jti"`
}

// An assertion is renewed before it expires. It is safe for concurrent use.
type assertion struct {
	signer Signer
	claims claims
	mu     sync.Mutex // held during a renewal
	signed atomic.Pointer[signed]
}

// A signed is an assertion with its signature.
type signed struct {
	token string
	// Wall clock times, in nanoseconds since 1970: every request reads them, so they are
	// small enough for one cache line. The token must not be sent after end.
	issued, renewAt, end int64
}

// current says whether the assertion can be sent without a renewal. If issued is in the
// future, the clock was set back.
func (s *signed) current(now int64) bool {
	return s != nil && s.issued <= now && now < s.renewAt
}

// at returns the signed assertion, renewed if necessary. It uses the wall clock, because
// apps do, and because the monotonic clock stops while the machine is suspended.
func (a *assertion) at(t time.Time) (string, error) {
	now := t.UnixNano()
	if s := a.signed.Load(); s.current(now) {
		return s.token, nil
	}
	a.mu.Lock()
	defer a.mu.Unlock()
	old := a.signed.Load()
	if old.current(now) {
		return old.token, nil
	}
	token, err := a.sign(t)
	if err != nil {
		if old != nil && old.issued <= now && now < old.end {
			return old.token, nil
		}
		return "", err
	}
	a.signed.Store(&signed{token, now, now + int64(assertionRenew), now + int64(assertionLife-assertionRenew)})
	return token, nil
}

func (a *assertion) sign(now time.Time) (string, error) {
	c := a.claims
	c.IssuedAt, c.NotBefore, c.Expires = now.Unix(), now.Add(-assertionBack).Unix(), now.Add(assertionLife).Unix()
	c.ID = vault.RandomText()
	text, err := json.Marshal(c)
	if err != nil {
		return "", err
	}
	return a.signer.Sign(text)
}
