// Package fetch makes the gateway's own requests to providers. It has one hardened
// client, and documents that are fetched, kept, and fetched again.
//
// Responses are as untrusted as the provider. The package trusts only the
// configuration: the permitted addresses, and the authorities that sign their
// certificates.
package fetch

import (
	"context"
	"crypto/sha256"
	"encoding/hex"
	"fmt"
	"math"
	"strings"
	"sync"
	"sync/atomic"
	"time"

	"go.uber.org/zap"

	"github.com/caddy-sso/caddy-sso/gateway/refusal"
)

const (
	// RefreshAfter is the age at which a Document is fetched again in the background,
	// while it stays in use.
	RefreshAfter = 45 * time.Minute
	// WaitAfter is the age at which callers wait for a fetch: a key that the provider
	// has withdrawn must not count any longer.
	WaitAfter = time.Hour
	// FailedFor is how long callers use an old document without waiting after a
	// failed fetch.
	FailedFor = time.Minute
	// FailureKept is how long all callers get the error of a failed fetch, so that a
	// crowd does not queue for a provider that is down.
	FailureKept = 2 * time.Second
	// RenewEvery is the least time between fetches of Renew that did not help.
	RenewEvery = 30 * time.Second
)

// A Document is something that a provider publishes. It is fetched at first use,
// kept, and fetched again in the background when it is old. At most one fetch is
// under way. Timeout bounds it, not the request that began it: that client may
// disconnect.
//
// The fields are set before first use and not changed afterwards, but for KeepIn. A Document
// is safe for concurrent use and must not be copied. Its errors are those of Fetch, Parse and
// Accept, which should be *refusal.Error with refusal.ProviderUnavailable.
type Document[T any] struct {
	// What names the document in the log: "discovery document", "keys".
	What string
	// Name identifies the document in LastGood.
	Name string
	// Fetch returns the document. Its context ends after Timeout.
	Fetch func(ctx context.Context) ([]byte, error)
	// Parse checks and parses the document, fetched or kept. A kept one is untrusted
	// too, and the configuration may have become stricter.
	Parse func(doc []byte) (T, error)
	// Accept, if not nil, checks a fetched document before it replaces the present
	// one. It is not called for a last good copy.
	Accept func(fetched T) error
	// LastGood keeps the document across restarts. Nil: it is not kept.
	LastGood LastGood
	// Logger gets the failures. Required.
	Logger *zap.Logger

	value atomic.Pointer[T] // nil: none yet; set while mu is held

	mu      sync.Mutex
	fetched time.Time     // when value was fetched, by the wall clock; zero for a last good copy
	failed  time.Time     // when the last fetch failed; zero if it succeeded
	err     error         // of the last fetch
	renewed time.Time     // start of the last fetch by Renew that neither failed nor helped
	flight  chan struct{} // closed when the fetch under way ends; nil if there is none
	unasked bool          // Start began the fetch under way, and nobody waits for it
}

// Current returns the document. It waits for a fetch if there is no document, or none
// fetched within WaitAfter. If the fetch fails, it returns an older document or a
// last good copy.
func (d *Document[T]) Current(ctx context.Context) (T, error) {
	if value, ok := d.Known(); ok && d.tend(ctx) {
		return value, nil
	}
	err := d.refresh(ctx)
	value, ok := d.Known()
	if ok {
		err = nil
	}
	return value, err
}

// Known returns the document if there is one, however old. It never waits, not even
// for a lock, and does not fetch.
func (d *Document[T]) Known() (value T, ok bool) {
	if there := d.value.Load(); there != nil {
		return *there, true
	}
	return value, false
}

// Recent returns the document if it was fetched less than maxAge ago, else fetches
// it. A last good copy does not count.
func (d *Document[T]) Recent(ctx context.Context, maxAge time.Duration) (T, error) {
	d.mu.Lock()
	fresh := d.age() < maxAge
	d.mu.Unlock()
	if !fresh {
		if err := d.refresh(ctx); err != nil {
			var none T
			return none, err
		}
	}
	value, _ := d.Known()
	return value, nil
}

// Renew fetches the document because something is missing in it, at most once per
// RenewEvery unless RenewHelped was called since. It returns the document in any
// case; the error is that of a fetch.
func (d *Document[T]) Renew(ctx context.Context) (value T, err error) {
	if d.mayRenew() {
		err = d.refresh(ctx)
	}
	value, _ = d.Known()
	return value, err
}

// mayRenew reports whether Renew shall wait for a fetch, and notes its start.
func (d *Document[T]) mayRenew() bool {
	d.mu.Lock()
	defer d.mu.Unlock()
	if d.flight != nil {
		return true
	}
	if time.Since(d.renewed) < RenewEvery {
		return false
	}
	if time.Since(d.failed) >= FailureKept { // refresh will fetch
		d.renewed = time.Now()
	}
	return true
}

// RenewHelped notes that Renew has brought the missing part. The provider has
// published something new and may do so again, so the next Renew may fetch at once. A
// flood of requests for something that the provider never publishes does not call it.
func (d *Document[T]) RenewHelped() {
	d.mu.Lock()
	defer d.mu.Unlock()
	d.renewed = time.Time{}
}

// KeepIn sets LastGood. Call it before Start.
func (d *Document[T]) KeepIn(kept LastGood) { d.LastGood = kept }

// Start loads the last good copy from the store if there is no document yet. Then it
// begins a fetch in the background and returns.
func (d *Document[T]) Start(ctx context.Context) {
	last := d.restore(ctx)
	d.mu.Lock()
	defer d.mu.Unlock()
	d.settleFor(last)
	d.unasked = d.flight == nil
	d.refreshIfOld(ctx)
}

// settleFor uses a last good copy, which may be nil, if there is nothing better. d.mu
// is held.
func (d *Document[T]) settleFor(last *T) {
	if last != nil && d.value.Load() == nil {
		d.value.Store(last)
	}
}

// refreshIfOld starts a fetch in the background if that is due. d.mu is held.
func (d *Document[T]) refreshIfOld(ctx context.Context) {
	if d.age() >= RefreshAfter && time.Since(d.failed) >= FailureKept {
		d.begin(ctx)
	}
}

// tend starts a fetch in the background if that is due. It reports whether the known
// document can be used meanwhile.
func (d *Document[T]) tend(ctx context.Context) bool {
	d.mu.Lock()
	defer d.mu.Unlock()
	d.refreshIfOld(ctx)
	return d.age() < WaitAfter || time.Since(d.failed) < FailedFor
}

// refresh waits for a fetch: the one under way, or a new one unless the last has just
// failed.
func (d *Document[T]) refresh(ctx context.Context) error {
	d.mu.Lock()
	if d.flight == nil && time.Since(d.failed) < FailureKept {
		defer d.mu.Unlock()
		return d.err
	}
	d.unasked = false
	done := d.begin(ctx)
	d.mu.Unlock()
	select {
	case <-done:
	case <-ctx.Done():
		return refusal.New(refusal.ProviderUnavailable, ctx.Err())
	}
	d.mu.Lock()
	defer d.mu.Unlock()
	return d.err
}

// age is the time since the fetch by the wall clock, because a provider goes on while
// this machine is suspended. If the clock was set back, the age is unknown. d.mu is
// held.
func (d *Document[T]) age() time.Duration {
	if age := wallClock().Sub(d.fetched); age >= 0 {
		return age
	}
	return math.MaxInt64
}

// wallClock returns the time without its monotonic reading.
func wallClock() time.Time { return time.Now().Round(0) }

// begin starts a fetch if none is under way. d.mu is held.
func (d *Document[T]) begin(ctx context.Context) <-chan struct{} {
	if d.flight == nil {
		d.flight = make(chan struct{})
		go d.load(context.WithoutCancel(ctx), d.flight)
	}
	return d.flight
}

func (d *Document[T]) load(ctx context.Context, done chan<- struct{}) {
	doc, value, err := d.get(ctx)
	var last *T
	if err != nil {
		d.Logger.Warn("fetching from the provider failed", zap.String("document", d.What), zap.Error(err),
			zap.String("fix", refusal.From(err, refusal.ProviderUnavailable).Code.Meaning().Fix))
		last = d.restore(ctx)
	}

	d.mu.Lock()
	d.settleFor(last)
	// The provider may run in this very server, which has not started yet when Start
	// is called. So that failure is not kept for the next caller.
	since := time.Now()
	if d.unasked {
		since = since.Add(-FailureKept)
	}
	d.err, d.flight, d.unasked = err, nil, false
	if err == nil {
		d.value.Store(&value)
		d.fetched, d.failed = wallClock(), time.Time{}
	} else {
		d.failed, d.renewed = since.Add(holdOff(err)), time.Time{} // may lie in the future
	}
	close(done)
	d.mu.Unlock()

	if err == nil && d.LastGood != nil {
		d.save(ctx, doc)
	}
}

func (d *Document[T]) get(ctx context.Context) (doc []byte, value T, err error) {
	ctx, cancel := context.WithTimeout(ctx, Timeout)
	defer cancel()
	defer d.recovered(&err)
	if doc, err = d.Fetch(ctx); err != nil {
		return nil, value, err
	}
	if value, err = d.Parse(doc); err == nil && d.Accept != nil {
		err = d.Accept(value)
	}
	return doc, value, err
}

// recovered turns a panic over the provider's data into an error. No server recovers
// panics of a fetch's goroutine: the whole process would end.
func (d *Document[T]) recovered(err *error) {
	if v := recover(); v != nil {
		*err = refusal.New(refusal.Internal, fmt.Errorf("reading the %s: panic: %T", d.What, v))
	}
}

// restore reads the last good copy if there is nothing else. Parse checks it: the
// configuration may have become stricter.
func (d *Document[T]) restore(ctx context.Context) *T {
	if d.value.Load() != nil || d.LastGood == nil {
		return nil
	}
	ctx, cancel := context.WithTimeout(ctx, Timeout)
	defer cancel()
	doc, err := d.LastGood.LoadLastGood(ctx, d.Name)
	if err != nil {
		d.Logger.Warn("loading the last good copy failed", zap.String("document", d.What), zap.Error(err))
	}
	if err != nil || doc == nil {
		return nil
	}
	value, err := d.reread(doc)
	if err != nil {
		d.Logger.Warn("the last good copy is not usable any more", zap.String("document", d.What), zap.Error(err))
		return nil
	}
	d.Logger.Info("going on with the last good copy", zap.String("document", d.What))
	return &value
}

func (d *Document[T]) reread(doc []byte) (value T, err error) {
	defer d.recovered(&err)
	return d.Parse(doc)
}

func (d *Document[T]) save(ctx context.Context, doc []byte) {
	ctx, cancel := context.WithTimeout(ctx, Timeout)
	defer cancel()
	if err := d.LastGood.SaveLastGood(ctx, d.Name, doc); err != nil {
		d.Logger.Warn("saving the last good copy failed", zap.String("document", d.What), zap.Error(err))
	}
}

// Name returns the name in LastGood of a document of the provider that parts identify. A
// document that was fetched with other CA certificates is not used: it may be the reason why
// they were replaced.
func Name(protocol, what string, roots []byte, parts ...string) string {
	of := strings.Join(parts, "\x00")
	if len(roots) > 0 {
		of += "\x00" + string(roots)
	}
	sum := sha256.Sum256([]byte(of))
	return protocol + "/" + hex.EncodeToString(sum[:16]) + "/" + what
}

// A LastGood keeps the last good copy of a document across restarts and between
// nodes.
type LastGood interface {
	// LoadLastGood returns the document under name, or nil without error if there is
	// none.
	LoadLastGood(ctx context.Context, name string) ([]byte, error)
	// SaveLastGood keeps the document under name for 30 days.
	SaveLastGood(ctx context.Context, name string, doc []byte) error
}
