package fetch

import (
	"context"
	"fmt"
	"sync"
	"sync/atomic"
	"time"

	"go.uber.org/zap"

	"github.com/caddy-sso/caddy-sso/gateway/refusal"
)

const (
	// RefreshAfter is the age at which a Remote is fetched anew in the
	// background, while it goes on being used.
	RefreshAfter = time.Hour
	// WaitAfter is how long nobody may have tried to fetch it for it to be
	// used at once. Then a new one is waited for: it may lack a key that the old
	// one still has, and its use is what has fetches begin.
	WaitAfter = 2 * RefreshAfter
	// RetryAfter is how long a failure is remembered, so that a crowd
	// does not queue for a provider that is down.
	RetryAfter = 2 * time.Second
	// RenewEvery is how often Renew fetches, however many ask.
	RenewEvery = 30 * time.Second
)

// A Remote is a document of a provider: fetched at first use, kept, fetched
// anew in the background when it is old. At most one fetch is under way; it
// outlives the request that began it, whose client may go away, and is bounded
// by Timeout instead.
//
// The fields are set before first use and not changed afterwards. A Remote is
// safe for concurrent use, and must not be copied. Its errors are those of
// Fetch, Parse and Accept, which should be *Error with ProviderUnavailable.
type Document[T any] struct {
	// What names the document in the log: "discovery document", "keys".
	What string
	// Name is its name in LastGood.
	Name string
	// Fetch gets the document. Its context ends after Timeout.
	Fetch func(ctx context.Context) ([]byte, error)
	// Parse judges and reads the document, whether fetched or kept: what was
	// kept is untrusted too, and the configuration may have become stricter.
	Parse func(doc []byte) (T, error)
	// Accept, if not nil, judges what was fetched before it replaces what there
	// is. It is not asked about a last good copy.
	Accept func(fetched T) error
	// LastGood keeps the document across restarts. Nil: it is lost.
	LastGood LastGood
	// Logger receives what goes wrong. Required.
	Logger *zap.Logger

	value atomic.Pointer[T] // nil: none yet; set with mu held

	mu      sync.Mutex
	fetched time.Time     // when value was fetched; zero if it is the last good copy
	failed  time.Time     // when the newest fetch failed; zero if it did not
	err     error         // why
	renewed time.Time     // when Renew last began a fetch that did not fail
	flight  chan struct{} // closed when the fetch under way ends; nil if there is none
}

// Current returns the document. It is waited for if there is none, or if nobody
// has tried to fetch it for WaitAfter; an old one, or a last good copy, is
// taken if it can't be had.
func (r *Document[T]) Current(ctx context.Context) (T, error) {
	if value, ok := r.Known(); ok && r.tend(ctx) {
		return value, nil
	}
	err := r.refresh(ctx)
	value, ok := r.Known()
	if ok {
		err = nil
	}
	return value, err
}

// Known returns the document if there is one, however old, without waiting for
// anything, not even a lock, and without a fetch.
func (r *Document[T]) Known() (value T, ok bool) {
	if there := r.value.Load(); there != nil {
		return *there, true
	}
	return value, false
}

// Recent returns the document if it was fetched less than maxAge ago, else
// fetches it. A last good copy is not good enough.
func (r *Document[T]) Recent(ctx context.Context, maxAge time.Duration) (T, error) {
	r.mu.Lock()
	fresh := time.Since(r.fetched) < maxAge
	r.mu.Unlock()
	if !fresh {
		if err := r.refresh(ctx); err != nil {
			var none T
			return none, err
		}
	}
	value, _ := r.Known()
	return value, nil
}

// Renew fetches the document because something is not in it, but not more often
// than every RenewEvery. Whether it did or not, the document is returned;
// the error is that of a fetch.
func (r *Document[T]) Renew(ctx context.Context) (value T, err error) {
	if r.mayRenew() {
		err = r.refresh(ctx)
	}
	value, _ = r.Known()
	return value, err
}

// mayRenew reports whether Renew is to wait for a fetch, and notes that it
// begins one.
func (r *Document[T]) mayRenew() bool {
	r.mu.Lock()
	defer r.mu.Unlock()
	if r.flight != nil {
		return true
	}
	if time.Since(r.renewed) < RenewEvery {
		return false
	}
	if time.Since(r.failed) >= RetryAfter { // refresh will fetch
		r.renewed = time.Now()
	}
	return true
}

// Start takes the last good copy if there is nothing yet, which asks the store
// alone, and then begins a fetch in the background, which it does not wait for.
func (r *Document[T]) Start(ctx context.Context) {
	last := r.restore(ctx)
	r.mu.Lock()
	defer r.mu.Unlock()
	r.settleFor(last)
	r.refreshIfOld(ctx)
}

// settleFor takes a last good copy, which may be nil, if there is nothing
// better. r.mu is held.
func (r *Document[T]) settleFor(last *T) {
	if last != nil && r.value.Load() == nil {
		r.value.Store(last)
	}
}

// refreshIfOld starts a fetch in the background if that is due. r.mu is held.
func (r *Document[T]) refreshIfOld(ctx context.Context) {
	if time.Since(r.fetched) >= RefreshAfter && time.Since(r.failed) >= RetryAfter {
		r.begin(ctx)
	}
}

// tend starts a fetch in the background if that is due, and says whether what is
// known can be used meanwhile.
func (r *Document[T]) tend(ctx context.Context) bool {
	r.mu.Lock()
	defer r.mu.Unlock()
	tried := r.fetched
	if r.failed.After(tried) {
		tried = r.failed
	}
	r.refreshIfOld(ctx)
	return time.Since(tried) < WaitAfter
}

// refresh waits for a fetch: the one under way, or a new one unless the last
// has just failed.
func (r *Document[T]) refresh(ctx context.Context) error {
	r.mu.Lock()
	if r.flight == nil && time.Since(r.failed) < RetryAfter {
		defer r.mu.Unlock()
		return r.err
	}
	done := r.begin(ctx)
	r.mu.Unlock()
	select {
	case <-done:
	case <-ctx.Done():
		return refusal.New(refusal.ProviderUnavailable, ctx.Err())
	}
	r.mu.Lock()
	defer r.mu.Unlock()
	return r.err
}

// begin starts a fetch if none is under way. r.mu is held.
func (r *Document[T]) begin(ctx context.Context) <-chan struct{} {
	if r.flight == nil {
		r.flight = make(chan struct{})
		go r.load(context.WithoutCancel(ctx), r.flight)
	}
	return r.flight
}

func (r *Document[T]) load(ctx context.Context, done chan<- struct{}) {
	doc, value, err := r.get(ctx)
	var last *T
	if err != nil {
		r.Logger.Warn("fetching from the provider failed", zap.String("document", r.What), zap.Error(err))
		last = r.restore(ctx)
	}

	r.mu.Lock()
	r.err, r.flight = err, nil
	if err == nil {
		r.value.Store(&value)
		r.fetched, r.failed = time.Now(), time.Time{}
	} else {
		r.failed, r.renewed = time.Now(), time.Time{}
	}
	r.settleFor(last)
	close(done)
	r.mu.Unlock()

	if err == nil && r.LastGood != nil {
		r.save(ctx, doc)
	}
}

func (r *Document[T]) get(ctx context.Context) (doc []byte, value T, err error) {
	ctx, cancel := context.WithTimeout(ctx, Timeout)
	defer cancel()
	defer r.recovered(&err)
	if doc, err = r.Fetch(ctx); err != nil {
		return nil, value, err
	}
	if value, err = r.Parse(doc); err == nil && r.Accept != nil {
		err = r.Accept(value)
	}
	return doc, value, err
}

// recovered makes an error of a panic over what a provider sent. No server
// stands above the goroutine of a fetch: the whole process would end.
func (r *Document[T]) recovered(err *error) {
	if v := recover(); v != nil {
		*err = refusal.New(refusal.Internal, fmt.Errorf("reading the %s: panic: %T", r.What, v))
	}
}

// restore reads the last good copy if there is nothing else. It is judged like
// one that was fetched: the configuration may have become stricter.
func (r *Document[T]) restore(ctx context.Context) *T {
	if r.value.Load() != nil || r.LastGood == nil {
		return nil
	}
	ctx, cancel := context.WithTimeout(ctx, Timeout)
	defer cancel()
	doc, err := r.LastGood.LoadLastGood(ctx, r.Name)
	if err != nil {
		r.Logger.Warn("loading the last good copy failed", zap.String("document", r.What), zap.Error(err))
	}
	if err != nil || doc == nil {
		return nil
	}
	value, err := r.reread(doc)
	if err != nil {
		r.Logger.Warn("the last good copy is not usable any more", zap.String("document", r.What), zap.Error(err))
		return nil
	}
	r.Logger.Info("going on with the last good copy", zap.String("document", r.What))
	return &value
}

func (r *Document[T]) reread(doc []byte) (value T, err error) {
	defer r.recovered(&err)
	return r.Parse(doc)
}

func (r *Document[T]) save(ctx context.Context, doc []byte) {
	ctx, cancel := context.WithTimeout(ctx, Timeout)
	defer cancel()
	if err := r.LastGood.SaveLastGood(ctx, r.Name, doc); err != nil {
		r.Logger.Warn("saving the last good copy failed", zap.String("document", r.What), zap.Error(err))
	}
}

// A LastGood keeps the last good copy of a document across restarts and between
// nodes.
type LastGood interface {
	// LoadLastGood returns the document kept under name, or nil without error
	// when there is none.
	LoadLastGood(ctx context.Context, name string) ([]byte, error)
	// SaveLastGood keeps the document under name for 30 days.
	SaveLastGood(ctx context.Context, name string, doc []byte) error
}
