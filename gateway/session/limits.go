package session

import (
	"cmp"
	"context"
	"fmt"
	"net/netip"
	"time"

	"github.com/caddy-sso/caddy-sso/gateway/refusal"
	"github.com/caddy-sso/caddy-sso/gateway/vault"
)

// A Limit bounds the sign-ins of one sender (see SenderNetwork), over all nodes together.
// Failed also bounds its failures to authenticate as a client, see Attempts.
type Limit struct {
	// Failed is the number of failed answers per Window: invalid answers to a login
	// that this browser had begun. A fault of the store or the provider does not
	// count. Default 10; -1: no limit, for the others neither.
	Failed int
	// Requests is the number of starts and answers per Window. A login that succeeds
	// gives both back, so that an office behind one address can sign in. Default 300,
	// or 30 times Failed if that is more; -1: no limit.
	Requests int
	// UnderWay is the number of answers that are processed at once. All of them may
	// fail, so it also bounds by how many Failed can be exceeded. Default 100, or 10
	// times Failed if that is more; -1: no limit.
	UnderWay int
	// Window is how long a failure and a request count. Default one minute.
	Window time.Duration
}

const (
	// The minimum defaults.
	defaultFailed   = 10
	defaultRequests = 300
	defaultUnderWay = 100
	// underWayTime is the maximum time that an answer is under way. If a node dies,
	// its answers count for so long.
	underWayTime = time.Minute
)

func (l Limit) orDefault() Limit {
	if l.Failed < 0 {
		return Limit{Failed: -1, Requests: -1, UnderWay: -1}
	}
	l.Failed = cmp.Or(l.Failed, defaultFailed)
	l.Requests = cmp.Or(l.Requests, max(defaultRequests, 30*l.Failed))
	l.UnderWay = cmp.Or(l.UnderWay, max(defaultUnderWay, 10*l.Failed))
	l.Window = cmp.Or(l.Window, time.Minute)
	return l
}

// Check returns what is wrong with the limit.
func (l Limit) Check() error {
	if l.Failed < -1 || l.Requests < -1 || l.UnderWay < -1 || l.Window < 0 {
		return fmt.Errorf("limit: %d failed, %d requests and %d under way in %v: expected -1 (no limit) or more, and no negative window", l.Failed, l.Requests, l.UnderWay, l.Window)
	}
	return nil
}

// Limits counts sign-ins of senders, over all nodes.
type Limits struct {
	vault                      *vault.Vault
	failed, requests, underWay gauge
}

// A gauge is a counter that each sender has.
type gauge struct {
	name string
	most int // -1: no limit
	ttl  time.Duration
}

// Limits returns the counters of a limit, which Check must have accepted.
func (s *Node) Limits(limit Limit) Limits {
	limit = limit.orDefault()
	return Limits{
		vault:    s.vault,
		failed:   gauge{"failed", limit.Failed, limit.Window},
		requests: gauge{"requests", limit.Requests, limit.Window},
		underWay: gauge{"under way", limit.UnderWay, max(limit.Window, underWayTime)},
	}
}

// Request counts the start of a login. Beyond the limit the error is a *refusal.Error
// with TooManyAttempts, and wait is the time until the next is accepted. Such a
// request is not counted: it would use up the requests that successes give back. Any
// other error is a fault of the store.
func (l Limits) Request(ctx context.Context, sender netip.Addr) (wait time.Duration, err error) {
	return l.take(ctx, sender, l.requests)
}

// Enter counts an answer, which is under way until Leave. Its results are those of
// Request; after an error, do not call Leave.
func (l Limits) Enter(ctx context.Context, sender netip.Addr) (wait time.Duration, err error) {
	if wait, err := l.failing(ctx, sender, l.failed); err != nil {
		return wait, err
	}
	if _, err := l.take(ctx, sender, l.underWay); err != nil {
		return time.Second, err
	}
	wait, err = l.take(ctx, sender, l.requests)
	if err != nil {
		l.Leave(ctx, sender)
	}
	return wait, err
}

// failing counts nothing. Its results are those of Request if too much has failed.
func (l Limits) failing(ctx context.Context, sender netip.Addr, g gauge) (wait time.Duration, err error) {
	if n, left, err := l.count(ctx, sender, g, 0); err != nil || g.most >= 0 && n >= g.most {
		return left, g.full(err)
	}
	return 0, nil
}

// Leave notes that an answer has ended.
func (l Limits) Leave(ctx context.Context, sender netip.Addr) {
	l.adjust(ctx, sender, l.underWay, -1)
}

// Fail counts an invalid answer.
func (l Limits) Fail(ctx context.Context, sender netip.Addr) {
	l.adjust(ctx, sender, l.failed, 1)
}

// GiveBack gives n requests back.
func (l Limits) GiveBack(ctx context.Context, sender netip.Addr, n int) {
	l.adjust(ctx, sender, l.requests, -n)
}

// adjust changes a counter even if the sender has disconnected. If the store fails,
// the counter stays until it expires.
func (l Limits) adjust(ctx context.Context, sender netip.Addr, g gauge, delta int) {
	ctx, cancel := context.WithTimeout(context.WithoutCancel(ctx), storeTimeout)
	defer cancel()
	_, _, _ = l.count(ctx, sender, g, delta)
}

// take adds one to a counter unless it is full.
func (l Limits) take(ctx context.Context, sender netip.Addr, g gauge) (wait time.Duration, err error) {
	n, left, err := l.count(ctx, sender, g, 1)
	if err != nil || g.most < 0 || n <= g.most {
		return 0, err
	}
	_, _, err = l.count(ctx, sender, g, -1)
	return left, g.full(err)
}

// full refuses, unless err is a fault.
func (g gauge) full(err error) error {
	if err != nil {
		return err
	}
	return refusal.New(refusal.TooManyAttempts, fmt.Errorf("%d %s within %v", g.most, g.name, g.ttl))
}

// count changes a counter of a sender. It does nothing if the gauge has no limit.
func (l Limits) count(ctx context.Context, sender netip.Addr, g gauge, delta int) (n int, left time.Duration, err error) {
	network := SenderNetwork(sender)
	if g.most < 0 || !network.IsValid() {
		return 0, 0, nil
	}
	return l.vault.Count(ctx, g.name+" "+network.String(), delta, g.ttl)
}

// Attempts counts the failures of one sender to authenticate as a client of the OpenID
// provider. It shares no counter with sign-ins. It implements oidcop.Attempts.
type Attempts struct {
	limits Limits
	addr   netip.Addr
	failed string
}

// Attempts returns the counters of a request's sender. Browsers have counters apart from
// those of servers: a page of any site can have the browser of a visitor fail.
func (l Limits) Attempts(addr netip.Addr, browser bool) Attempts {
	if browser {
		return Attempts{l, addr, "failed in browsers"}
	}
	return Attempts{l, addr, "failed"}
}

// as is the counter for a client. "" stands for all that are unknown.
func (a Attempts) as(client string) gauge {
	return gauge{fmt.Sprintf("%s as client %q", a.failed, client), a.limits.failed.most, a.limits.failed.ttl}
}

// Failing counts nothing. Its results are those of Limits.Request if too much has failed.
func (a Attempts) Failing(ctx context.Context, client string) (wait time.Duration, err error) {
	return a.limits.failing(ctx, a.addr, a.as(client))
}

// Fail counts a failure.
func (a Attempts) Fail(ctx context.Context, client string) {
	a.limits.adjust(ctx, a.addr, a.as(client), 1)
}

// SenderNetwork is the network that counts as one sender: the IPv4 address, or the
// /64 of the IPv6 address, the smallest network of a subscriber. It is invalid for
// senders without an address (Unix sockets). They are not limited, because all would
// share one counter.
func SenderNetwork(sender netip.Addr) netip.Prefix {
	sender = sender.Unmap().WithZone("")
	bits := 64
	if sender.Is4() {
		bits = 32
	}
	network, _ := sender.Prefix(bits)
	return network
}
