package fetch_test

import (
	"context"
	"errors"
	"sync"
	"sync/atomic"
	"testing"
	"testing/synctest"
	"time"
	"unsafe"

	"go.uber.org/zap"

	"github.com/caddy-sso/caddy-sso/gateway/fetch"
	"github.com/caddy-sso/caddy-sso/gateway/gatewaytest"
	"github.com/caddy-sso/caddy-sso/gateway/refusal"
)

var errRemoteDown = refusal.New(refusal.ProviderUnavailable, errors.New("the provider is down"))

// A shelf keeps one document, for fetch.LastGood.
type shelf struct {
	gatewaytest.Shelf
	loads atomic.Int32
	slow  time.Duration // that a load takes
}

func (s *shelf) LoadLastGood(ctx context.Context, name string) ([]byte, error) {
	doc, err := s.Shelf.LoadLastGood(ctx, name)
	s.loads.Add(1)
	time.Sleep(s.slow)
	return doc, err
}

// put keeps a document, for which the store fails with err from now on.
func (s *shelf) put(doc string, err error) {
	_ = s.SaveLastGood(context.Background(), documentName, []byte(doc))
	s.Err = err
}

func (s *shelf) kept(t *testing.T) string {
	t.Helper()
	doc, err := s.Shelf.LoadLastGood(t.Context(), documentName)
	if err != nil {
		t.Error(err)
	}
	return string(doc)
}

// A source serves one document to a Document, slowly.
type source struct {
	doc     atomic.Pointer[string] // nil: down
	fetches atomic.Int64
}

const (
	fetchTakes   = time.Second
	documentName = "test/document"
)

func (s *source) serve(doc string) { s.doc.Store(&doc) }

func (s *source) fetch(ctx context.Context) ([]byte, error) {
	s.fetches.Add(1)
	select {
	case <-time.After(fetchTakes):
	case <-ctx.Done():
		return nil, ctx.Err()
	}
	if doc := s.doc.Load(); doc != nil {
		return []byte(*doc), nil
	}
	return nil, errRemoteDown
}

func parseRemote(doc []byte) (string, error) {
	switch string(doc) {
	case "bad":
		return "", refusal.New(refusal.ProviderUnavailable, errors.New("reading the document: is bad"))
	case "panic":
		panic("a secret of the document")
	}
	return string(doc), nil
}

func newRemote(src *source, kept fetch.LastGood) *fetch.Document[string] {
	return &fetch.Document[string]{
		What: "document", Name: documentName,
		Fetch: src.fetch, Parse: parseRemote, LastGood: kept, Logger: zap.NewNop(),
	}
}

func TestDocument(t *testing.T) {
	t.Parallel()
	fetched := func(t *testing.T, src *source, want int64) {
		t.Helper()
		if got := src.fetches.Load(); got != want {
			t.Errorf("fetched %d times, want %d", got, want)
		}
	}
	current := func(t *testing.T, r *fetch.Document[string], want string) {
		t.Helper()
		if got, err := r.Current(t.Context()); got != want || err != nil {
			t.Errorf("current is %q, %v, want %q", got, err, want)
		}
	}
	tests := map[string]func(t *testing.T, src *source, kept *shelf, r *fetch.Document[string]){
		"a crowd makes one fetch, which is kept": func(t *testing.T, src *source, kept *shelf, r *fetch.Document[string]) {
			src.serve("one")
			if _, ok := r.Known(); ok {
				t.Error("something is known before the first fetch")
			}
			var crowd sync.WaitGroup
			for range 100 {
				crowd.Go(func() { current(t, r, "one") })
			}
			crowd.Wait()
			synctest.Wait()
			fetched(t, src, 1)
			if got := kept.kept(t); got != "one" {
				t.Errorf("kept %q", got)
			}
		},
		"old: used, and fetched in the background": func(t *testing.T, src *source, _ *shelf, r *fetch.Document[string]) {
			src.serve("one")
			current(t, r, "one")
			src.serve("two")
			time.Sleep(fetch.RefreshAfter)
			current(t, r, "one")
			time.Sleep(2 * fetchTakes)
			current(t, r, "two")
			fetched(t, src, 2)
		},
		"unused for long: waited for": func(t *testing.T, src *source, _ *shelf, r *fetch.Document[string]) {
			src.serve("one")
			current(t, r, "one")
			src.serve("two")
			time.Sleep(fetch.WaitAfter)
			current(t, r, "two")
			fetched(t, src, 2)
		},
		"unused for long, and down: tried once, then used": func(t *testing.T, src *source, _ *shelf, r *fetch.Document[string]) {
			src.serve("one")
			current(t, r, "one")
			src.doc.Store(nil)
			time.Sleep(fetch.WaitAfter)
			current(t, r, "one")
			fetched(t, src, 2)
			time.Sleep(2 * fetch.FailureKept)
			start := time.Now()
			current(t, r, "one")
			if took := time.Since(start); took != 0 {
				t.Errorf("took %v", took)
			}
			time.Sleep(2 * fetchTakes) // it has begun one in the background
		},
		"down: remembered for a while, then tried again": func(t *testing.T, src *source, _ *shelf, r *fetch.Document[string]) {
			for range 3 {
				if _, err := r.Current(t.Context()); !errors.Is(err, errRemoteDown) {
					t.Errorf("got %v", err)
				}
			}
			fetched(t, src, 1)
			src.serve("one")
			time.Sleep(fetch.FailureKept)
			current(t, r, "one")
		},
		"down: the last good copy is current, not recent": func(t *testing.T, _ *source, kept *shelf, r *fetch.Document[string]) {
			kept.put("kept", nil)
			current(t, r, "kept")
			if _, err := r.Recent(t.Context(), time.Minute); !errors.Is(err, errRemoteDown) {
				t.Errorf("got %v", err)
			}
		},
		"renewed at most every 30 seconds": func(t *testing.T, src *source, _ *shelf, r *fetch.Document[string]) {
			src.serve("one")
			current(t, r, "one")
			src.serve("two")
			for range 10 {
				if got, err := r.Renew(t.Context()); got != "two" || err != nil {
					t.Errorf("got %q, %v", got, err)
				}
			}
			fetched(t, src, 2)
			time.Sleep(fetch.RenewEvery)
			if _, err := r.Renew(t.Context()); err != nil {
				t.Error(err)
			}
			fetched(t, src, 3)
		},
		"renewed once more if it helped": func(t *testing.T, src *source, _ *shelf, r *fetch.Document[string]) {
			src.serve("one")
			current(t, r, "one")
			for i, doc := range []string{"two", "three", "four"} {
				src.serve(doc)
				if got, err := r.Renew(t.Context()); got != doc || err != nil {
					t.Errorf("got %q, %v", got, err)
				}
				r.RenewHelped()
				fetched(t, src, int64(2+i))
			}
			for range 10 { // in vain
				_, _ = r.Renew(t.Context())
			}
			fetched(t, src, 5)
		},
		"a failed fetch before is no reason to use it for long": func(t *testing.T, src *source, _ *shelf, r *fetch.Document[string]) {
			src.serve("one")
			current(t, r, "one")
			time.Sleep(fetch.RefreshAfter)
			src.doc.Store(nil)
			current(t, r, "one")
			time.Sleep(2 * fetchTakes)
			src.serve("two")
			time.Sleep(fetch.WaitAfter - fetch.RefreshAfter)
			current(t, r, "two")
		},
		"start takes what was kept without waiting for the provider": func(t *testing.T, src *source, kept *shelf, r *fetch.Document[string]) {
			kept.put("kept", nil)
			src.serve("one")
			start := time.Now()
			r.Start(t.Context())
			if took := time.Since(start); took != 0 {
				t.Errorf("took %v", took)
			}
			if got, ok := r.Known(); got != "kept" || !ok {
				t.Errorf("known is %q, %t", got, ok)
			}
			r.Start(t.Context())
			time.Sleep(2 * fetchTakes)
			if got, _ := r.Known(); got != "one" {
				t.Errorf("known is %q after the fetch in the background", got)
			}
			r.Start(t.Context())
			time.Sleep(2 * fetchTakes)
			fetched(t, src, 1)
			synctest.Wait()
			if n := kept.loads.Load(); n != 1 {
				t.Errorf("asked the store %d times", n)
			}
		},
		"start from a store that is slower than the provider": func(t *testing.T, src *source, kept *shelf, r *fetch.Document[string]) {
			kept.slow = 2 * fetchTakes
			kept.put("kept", nil)
			src.serve("one")
			go func() { _, _ = r.Current(t.Context()) }()
			r.Start(t.Context())
			if got, _ := r.Known(); got != "one" {
				t.Errorf("known is %q: what was fetched is given up for what was kept", got)
			}
		},
		"start with nothing kept": func(t *testing.T, src *source, _ *shelf, r *fetch.Document[string]) {
			src.serve("one")
			r.Start(t.Context())
			if _, ok := r.Known(); ok {
				t.Error("something is known")
			}
			current(t, r, "one")
			fetched(t, src, 1)
		},
		"a start before the provider is there": func(t *testing.T, src *source, _ *shelf, r *fetch.Document[string]) {
			r.Start(t.Context())
			time.Sleep(fetchTakes)
			synctest.Wait()
			src.serve("one")
			current(t, r, "one") // at once: nobody has asked yet
			fetched(t, src, 2)
		},
		"a start before the provider is there, with something kept": func(t *testing.T, src *source, kept *shelf, r *fetch.Document[string]) {
			kept.put("kept", nil)
			r.Start(t.Context())
			time.Sleep(fetchTakes)
			synctest.Wait()
			current(t, r, "kept")
			src.serve("one")
			if got, err := r.Recent(t.Context(), time.Second); got != "one" || err != nil {
				t.Errorf("recent is %q, %v", got, err)
			}
		},
		"start while the store is down": func(t *testing.T, src *source, kept *shelf, r *fetch.Document[string]) {
			kept.put("", errors.New("the store is down"))
			src.serve("one")
			r.Start(t.Context())
			current(t, r, "one")
		},
		"what was kept is checked again": func(t *testing.T, _ *source, kept *shelf, r *fetch.Document[string]) {
			for _, doc := range []string{"bad", "panic"} {
				kept.put(doc, nil)
				r.Start(t.Context())
				if got, ok := r.Known(); ok {
					t.Errorf("known is %q", got)
				}
				time.Sleep(2 * fetchTakes)
			}
		},
		"what is bad replaces nothing, and is not kept": func(t *testing.T, src *source, kept *shelf, r *fetch.Document[string]) {
			r.Accept = func(fetched string) error {
				if fetched == "refused" {
					return errRemoteDown
				}
				return nil
			}
			src.serve("one")
			current(t, r, "one")
			for _, doc := range []string{"bad", "panic", "refused"} {
				src.serve(doc)
				if _, err := r.Recent(t.Context(), 0); err == nil {
					t.Errorf("%s is accepted", doc)
				}
				time.Sleep(fetch.FailureKept)
			}
			if got, ok := r.Known(); got != "one" || !ok {
				t.Errorf("known is %q, %t", got, ok)
			}
			if got := kept.kept(t); got != "one" {
				t.Errorf("kept %q", got)
			}
		},
		"what was kept is not asked to be accepted": func(t *testing.T, _ *source, kept *shelf, r *fetch.Document[string]) {
			kept.put("kept", nil)
			r.Accept = func(string) error { return errRemoteDown }
			current(t, r, "kept")
		},
	}
	for name, test := range tests {
		t.Run(name, func(t *testing.T) {
			t.Parallel()
			synctest.Test(t, func(t *testing.T) {
				src, kept := &source{}, &shelf{}
				test(t, src, kept, newRemote(src, kept))
				synctest.Wait()
			})
		})
	}
}

// TestDocumentAfterSuspend has the machine sleep, or its clock set back: what was
// fetched before is as old as the wall clock says. (There is no monotonic clock in a
// bubble of synctest.)
func TestDocumentAfterSuspend(t *testing.T) {
	t.Parallel()
	for name, d := range map[string]time.Duration{"suspended": fetch.WaitAfter, "set back": -time.Hour} {
		served := "one"
		r := newRemote(&source{}, nil)
		r.Fetch = func(context.Context) ([]byte, error) { return []byte(served), nil }
		current := func(want string) {
			t.Helper()
			if got, err := r.Current(t.Context()); got != want || err != nil {
				t.Errorf("%s: current is %q, %v, want %q", name, got, err, want)
			}
		}
		current("one")
		served = "two"
		r.SetFetched(setClock(time.Now(), -d))
		current("two")
	}
}

// setClock returns what a clock shows whose wall time was moved on, while its
// monotonic reading stood still: the bits of its seconds follow those of its
// nanoseconds.
func setClock(t time.Time, d time.Duration) time.Time {
	*(*int64)(unsafe.Pointer(&t)) += int64(d/time.Second) << 30
	return t
}
