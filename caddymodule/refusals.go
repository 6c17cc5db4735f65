package caddymodule

import (
	"fmt"
	"hash/maphash"
	"net/netip"
	"slices"
	"sync"
	"time"

	"github.com/caddy-sso/caddy-sso/gateway"
	"github.com/caddy-sso/caddy-sso/gateway/refusal"
	"github.com/caddy-sso/caddy-sso/gateway/session"
)

const (
	// refusalsTime is how long equal refusals of one sender share a line. outageTime is
	// how long those of all senders do while the store is at fault.
	refusalsTime = time.Minute
	outageTime   = 10 * time.Second
	// maxRefusals bounds how many senders are counted separately. All others are counted
	// together.
	maxRefusals = 1000
	// maxCauses is how many different causes of refusals that are equal otherwise have lines
	// of their own.
	maxCauses = 8
)

// refusals shorten the audit log, because any sender can cause refusals without limit. If
// a sender that is not signed in is refused several times for the same reason, the first
// refusal has a line at once, and those of the next minute share one line with their
// number. If their causes differ, as the addresses do that an app is tried with, the first
// maxCauses have a line at once. A refusal of a person's sign-in always has its own line: they may ask about the
// reference on the page. While the store is at fault, everybody is refused, and the cause
// has its own line: all refusals count as equal, even of people who are signed in.
type refusals struct {
	log  func(ev gateway.Event, more int)
	seed maphash.Seed

	mu     sync.Mutex
	bursts map[refusalKey]*burst
	ended  bool
}

// A refusalKey says which refusals are equal.
type refusalKey struct {
	app, provider string
	client        string // of the OpenID provider
	code          refusal.Code
	check         string
	sender        netip.Prefix // of an IPv6 address the /64; not valid: all other senders
}

type burst struct {
	causes []uint64 // digests
	last   gateway.Event
	more   int
	timer  *time.Timer
}

func newRefusals(log func(ev gateway.Event, more int)) *refusals {
	return &refusals{log: log, seed: maphash.MakeSeed(), bursts: map[refusalKey]*burst{}}
}

// isOutage says whether a refusal is the store's fault.
func isOutage(code refusal.Code) bool {
	return code == refusal.StoreUnavailable || code == refusal.StoreReplaced || code == refusal.NotReady
}

// window returns how long refusals with a code are counted.
func window(code refusal.Code) time.Duration {
	if isOutage(code) {
		return outageTime
	}
	return refusalsTime
}

// note logs a refusal, or counts it.
func (r *refusals) note(ev gateway.Event) {
	if (ev.Username != "" || ev.Answered) && !isOutage(ev.Code) || !r.counted(ev) {
		r.log(ev, 0)
	}
}

// counted counts a refusal. It returns false for the first of its kind or its cause, which
// the caller logs.
func (r *refusals) counted(ev gateway.Event) bool {
	key := refusalKey{ev.App, ev.Provider, ev.Client, ev.Code, ev.Check, session.SenderNetwork(ev.Addr)}
	if isOutage(ev.Code) {
		key = refusalKey{code: ev.Code}
	}
	r.mu.Lock()
	defer r.mu.Unlock()
	if r.ended {
		return false
	}
	if r.bursts[key] == nil && len(r.bursts) >= maxRefusals {
		key.sender, ev.Addr = netip.Prefix{}, netip.Addr{}
	}
	b, digest := r.bursts[key], maphash.String(r.seed, fmt.Sprint(ev.Err))
	switch {
	case b == nil:
		b = &burst{timer: time.AfterFunc(window(ev.Code), func() { r.end(key) })}
		r.bursts[key] = b
	case isOutage(ev.Code) || !key.sender.IsValid() || slices.Contains(b.causes, digest) || len(b.causes) == maxCauses:
		b.last = ev
		b.more++
		return true
	}
	b.causes = append(b.causes, digest)
	return false
}

// end logs how many refusals came after the first.
func (r *refusals) end(key refusalKey) {
	r.mu.Lock()
	b := r.bursts[key]
	delete(r.bursts, key)
	r.mu.Unlock()
	if b != nil && b.more > 0 {
		r.log(b.last, b.more)
	}
}

// flush logs the counted refusals at the end of a configuration. Later refusals are
// logged at once.
func (r *refusals) flush() {
	r.mu.Lock()
	r.ended = true
	var keys []refusalKey
	for key, b := range r.bursts {
		b.timer.Stop()
		keys = append(keys, key)
	}
	r.mu.Unlock()
	for _, key := range keys {
		r.end(key)
	}
}
