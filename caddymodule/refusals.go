package caddymodule

import (
	"net/netip"
	"sync"
	"time"

	"github.com/caddy-sso/caddy-sso/gateway"
	"github.com/caddy-sso/caddy-sso/gateway/refusal"
	"github.com/caddy-sso/caddy-sso/gateway/session"
)

const (
	// refusalsTime is for how long equal refusals of a client become one line, and
	// outageTime for how long those of everybody do while the store is at fault.
	refusalsTime = time.Minute
	outageTime   = 10 * time.Second
	// maxRefusals bounds how many clients are told apart meanwhile. Those beyond
	// it are counted together.
	maxRefusals = 1000
)

// refusals shorten the audit log: anybody can be refused as often as they like. Of
// equal refusals of one client that nobody knows, the first is a line at once, and all
// others of the next minute are one line with their number. A person whose sign-in was
// judged may ask about the reference on the page, so theirs has a line. While the store is at
// fault everybody is refused, and the cause has a line of its own: all of them count
// as equal, people who are known included.
type refusals struct {
	log func(ev gateway.Event, more int)

	mu     sync.Mutex
	bursts map[refusalKey]*burst
	ended  bool
}

// A refusalKey says which refusals are equal.
type refusalKey struct {
	app, provider string
	code          refusal.Code
	client        netip.Prefix // an IPv6 client is its /64; not valid: several clients
}

type burst struct {
	last  gateway.Event
	more  int
	timer *time.Timer
}

func newRefusals(log func(ev gateway.Event, more int)) *refusals {
	return &refusals{log: log, bursts: map[refusalKey]*burst{}}
}

// isOutage says whether a refusal is the store's fault.
func isOutage(code refusal.Code) bool {
	return code == refusal.StoreUnavailable || code == refusal.StoreReplaced || code == refusal.NotReady
}

// window is for how long refusals by a code are counted.
func window(code refusal.Code) time.Duration {
	if isOutage(code) {
		return outageTime
	}
	return refusalsTime
}

// note logs a refusal, or counts it.
func (r *refusals) note(ev gateway.Event) {
	if (ev.Username != "" || ev.Judged) && !isOutage(ev.Code) || !r.counted(ev) {
		r.log(ev, 0)
	}
}

// counted counts a refusal that is not the first of its kind.
func (r *refusals) counted(ev gateway.Event) bool {
	key := refusalKey{ev.App, ev.Provider, ev.Code, session.ClientNetwork(ev.Addr)}
	if isOutage(ev.Code) {
		key = refusalKey{code: ev.Code}
	}
	r.mu.Lock()
	defer r.mu.Unlock()
	if r.ended {
		return false
	}
	if r.bursts[key] == nil && len(r.bursts) >= maxRefusals {
		key.client, ev.Addr = netip.Prefix{}, netip.Addr{}
	}
	if b := r.bursts[key]; b != nil {
		b.last = ev
		b.more++
		return true
	}
	r.bursts[key] = &burst{timer: time.AfterFunc(window(ev.Code), func() { r.end(key) })}
	return false
}

// end logs how many came after the first.
func (r *refusals) end(key refusalKey) {
	r.mu.Lock()
	b := r.bursts[key]
	delete(r.bursts, key)
	r.mu.Unlock()
	if b != nil && b.more > 0 {
		r.log(b.last, b.more)
	}
}

// flush logs what was counted, at the end of a configuration. Nothing is counted
// afterwards.
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
