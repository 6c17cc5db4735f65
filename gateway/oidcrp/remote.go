package oidcrp

import (
	"context"
	"fmt"
	"sync"
	"time"

	"go.uber.org/zap"

	"github.com/caddy-sso/caddy-sso/gateway"
)

const (
	// refreshAfter is the age at which a document is fetched anew in the
	// background, while it goes on being used.
	refreshAfter = time.Hour
	// retryAfter is how long a failure is remembered, so that a crowd does not
	// queue for a provider that is down.
	retryAfter = 2 * time.Second
	// renewEvery is how often a document is fetched because what was looked
	// for is not in it, however many ask.
	renewEvery = 30 * time.Second
)

// A remote is a document of the provider: fetched at first use, kept, fetched
// anew in the background when it is old. At most one fetch is under way; it
// outlives the request that began it, whose client may go away, and is bounded
// by gateway.OutboundTimeout instead.
type remote[T any] struct {
	what     string // "discovery document", "keys"
	name     string // in LastGood
	fetch    func(ctx context.Context) ([]byte, error)
	parse    func(doc []byte) (T, error)
	lastGood gateway.LastGood // may be nil
	logger   *zap.Logger

	mu      sync.Mutex
	value   T
	loaded  bool
	fetched time.Time     // when value was fetched; zero if it is the last good copy
	failed  time.Time     // when the newest fetch failed; zero if it did not
	err     error         // why
	renewed time.Time     // when renew last began a fetch that did not fail
	flight  chan struct{} // closed when the fetch under way ends; nil if there is none
}

// current returns the document, however old it is. Only if there is none it is
// waited for; a last good copy is taken if it can't be had.
func (r *remote[T]) current(ctx context.Context) (T, error) {
	r.mu.Lock()
	if r.loaded {
		defer r.mu.Unlock()
		if time.Since(r.fetched) >= refreshAfter && time.Since(r.failed) >= retryAfter {
			r.begin(ctx)
		}
		return r.value, nil
	}
	r.mu.Unlock()
	if err := r.refresh(ctx); err != nil {
		r.mu.Lock()
		defer r.mu.Unlock()
		if r.loaded {
			return r.value, nil
		}
		return r.value, err
	}
	return r.snapshot(), nil
}

// recent returns the document if it was fetched less than maxAge ago, else
// fetches it. A last good copy is not good enough.
func (r *remote[T]) recent(ctx context.Context, maxAge time.Duration) (T, error) {
	r.mu.Lock()
	fresh := r.loaded && time.Since(r.fetched) < maxAge
	r.mu.Unlock()
	if !fresh {
		if err := r.refresh(ctx); err != nil {
			var none T
			return none, err
		}
	}
	return r.snapshot(), nil
}

// renew fetches the document because something is not in it, but not more often
// than every renewEvery. Whether it did or not, the document is returned; the
// error is that of a fetch.
func (r *remote[T]) renew(ctx context.Context) (T, error) {
	r.mu.Lock()
	if r.flight == nil && time.Since(r.renewed) < renewEvery {
		defer r.mu.Unlock()
		return r.value, nil
	}
	if r.flight == nil && time.Since(r.failed) >= retryAfter { // refresh will fetch
		r.renewed = time.Now()
	}
	r.mu.Unlock()
	err := r.refresh(ctx)
	return r.snapshot(), err
}

func (r *remote[T]) snapshot() T {
	r.mu.Lock()
	defer r.mu.Unlock()
	return r.value
}

// refresh waits for a fetch: the one under way, or a new one unless the last
// has just failed.
func (r *remote[T]) refresh(ctx context.Context) error {
	r.mu.Lock()
	if r.flight == nil && time.Since(r.failed) < retryAfter {
		defer r.mu.Unlock()
		return r.err
	}
	done := r.begin(ctx)
	r.mu.Unlock()
	select {
	case <-done:
	case <-ctx.Done():
		return gateway.NewError(gateway.CodeProviderUnavailable, ctx.Err())
	}
	r.mu.Lock()
	defer r.mu.Unlock()
	return r.err
}

// begin starts a fetch if none is under way. r.mu is held.
func (r *remote[T]) begin(ctx context.Context) <-chan struct{} {
	if r.flight == nil {
		r.flight = make(chan struct{})
		go r.load(context.WithoutCancel(ctx), r.flight)
	}
	return r.flight
}

func (r *remote[T]) load(ctx context.Context, done chan<- struct{}) {
	doc, value, err := r.get(ctx)
	last, haveLast := r.restore(ctx, err)

	r.mu.Lock()
	r.err, r.flight = err, nil
	if err == nil {
		r.value, r.loaded, r.fetched, r.failed = value, true, time.Now(), time.Time{}
	} else {
		r.failed, r.renewed = time.Now(), time.Time{}
	}
	if haveLast {
		r.value, r.loaded = last, true
	}
	close(done)
	r.mu.Unlock()

	if err == nil && r.lastGood != nil {
		r.save(ctx, doc)
	}
}

func (r *remote[T]) get(ctx context.Context) (doc []byte, value T, err error) {
	ctx, cancel := context.WithTimeout(ctx, gateway.OutboundTimeout)
	defer cancel()
	defer func() {
		// No server stands above this goroutine: a panic over what a provider
		// sent would end the whole process.
		if v := recover(); v != nil {
			err = gateway.NewError(gateway.CodeInternal, fmt.Errorf("reading the %s: panic: %T", r.what, v))
		}
	}()
	if doc, err = r.fetch(ctx); err != nil {
		return nil, value, err
	}
	value, err = r.parse(doc)
	return doc, value, err
}

// restore reads the last good copy if there is nothing else. It is judged like
// one that was fetched: the configuration may have become stricter.
func (r *remote[T]) restore(ctx context.Context, cause error) (value T, ok bool) {
	if cause == nil {
		return value, false
	}
	r.logger.Warn("fetching from the OpenID provider failed", zap.String("document", r.what), zap.Error(cause))
	r.mu.Lock()
	loaded := r.loaded
	r.mu.Unlock()
	if loaded || r.lastGood == nil {
		return value, false
	}
	ctx, cancel := context.WithTimeout(ctx, gateway.OutboundTimeout)
	defer cancel()
	doc, err := r.lastGood.LoadLastGood(ctx, r.name)
	if err != nil || doc == nil {
		if err != nil {
			r.logger.Warn("loading the last good copy failed", zap.String("document", r.what), zap.Error(err))
		}
		return value, false
	}
	if value, err = r.parse(doc); err != nil {
		r.logger.Warn("the last good copy is not usable any more", zap.String("document", r.what), zap.Error(err))
		return value, false
	}
	r.logger.Warn("going on with the last good copy", zap.String("document", r.what))
	return value, true
}

func (r *remote[T]) save(ctx context.Context, doc []byte) {
	ctx, cancel := context.WithTimeout(ctx, gateway.OutboundTimeout)
	defer cancel()
	if err := r.lastGood.SaveLastGood(ctx, r.name, doc); err != nil {
		r.logger.Warn("saving the last good copy failed", zap.String("document", r.what), zap.Error(err))
	}
}
