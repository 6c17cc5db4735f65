package samlsp

import (
	"fmt"
	"time"

	"github.com/caddy-sso/caddy-sso/gateway/provider"
)

// An expectation is what the checks compare a message with.
type expectation struct {
	issuer, audience, acs string // entity IDs, and where the answer must arrive
	request               string // the ID of our AuthnRequest
	begun, now            time.Time
	skew                  time.Duration
	format                string // the NameID's; empty: any
	forced                bool   // a new login was asked for
}

// notYet says whether t lies in the future, and over whether it has come, each
// by more than the clocks may differ.
func (x *expectation) notYet(t time.Time) bool { return t.After(x.now.Add(x.skew)) }

func (x *expectation) over(t time.Time) bool { return !x.now.Add(-x.skew).Before(t) }

// stale says whether t lies before the login began, or in the future.
func (x *expectation) stale(t time.Time) bool {
	return t.Before(x.begun.Add(-x.skew)) || x.notYet(t)
}

// issueInstant holds that a message is the answer to this login: nobody can
// have made it before, nor in the future.
func issueInstant(t time.Time, x *expectation) error {
	if t.IsZero() || x.stale(t) {
		return fmt.Errorf("checking IssueInstant: it is %s; the login began at %s, and now it is %s", provider.Moment(t), provider.Moment(x.begun), provider.Moment(x.now))
	}
	return nil
}
