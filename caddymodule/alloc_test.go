//go:build unix && !race

package caddymodule_test

import (
	"context"
	"net/http"
	"net/http/httptest"
	"slices"
	"testing"
	"time"

	"github.com/caddyserver/caddy/v2/modules/caddyhttp"
	"github.com/caddyserver/caddy/v2/modules/caddyhttp/headers"
)

// maxAllocs is what a request of who is signed in may cost in the handler: its
// copy with a context, that context with our headers, the Cookie header
// without ours, as a string and as a list, and the placeholders.
const maxAllocs = 5

// TestAllocSignedIn holds the budget, with sessions that take turns.
func TestAllocSignedIn(t *testing.T) {
	s := newSignedIn(t, 50)
	ctx, cancel := context.WithCancel(t.Context())
	defer cancel()
	s.mustBeSignedIn(func(i int) *http.Request { return s.request(ctx, i) })
	w := httptest.NewRecorder()
	requests := make([]*http.Request, 1000)
	for i := range requests {
		requests[i] = s.request(ctx, i)
	}
	n := 0
	allocs := testing.AllocsPerRun(len(requests)-1, func() {
		if err := s.handler.ServeHTTP(w, requests[n], noApp); err != nil {
			t.Error(err)
		}
		n++
	})
	if n != len(requests) {
		t.Fatalf("%d requests were made", n)
	}
	if allocs > maxAllocs {
		t.Errorf("a request costs %v allocations, the budget is %d", allocs, maxAllocs)
	}
}

// maxTimes is how many times as long as six static headers the handler may
// take: far more than it does, so that other load on the machine does not
// matter.
const maxTimes = 2

// TestTimeSignedIn compares the handler with Caddy's own that sets the same
// headers to static values, in turns. The shortest of many turns counts: that
// is the one which nothing else on the machine disturbed.
func TestTimeSignedIn(t *testing.T) {
	s := newSignedIn(t, 50)
	ctx, cancel := context.WithCancel(t.Context())
	defer cancel()
	s.mustBeSignedIn(func(i int) *http.Request { return s.request(ctx, i) })
	static := staticHeaders(s.told(ctx))
	w := httptest.NewRecorder()
	turn := func(serve func(*http.Request) error) time.Duration {
		requests := make([]*http.Request, len(s.cookies))
		for i := range requests {
			requests[i] = s.request(ctx, i)
		}
		began := time.Now()
		for _, r := range requests {
			if err := serve(r); err != nil {
				t.Fatal(err)
			}
		}
		return time.Since(began)
	}
	var ours, control []time.Duration
	for range 100 {
		ours = append(ours, turn(func(r *http.Request) error { return s.handler.ServeHTTP(w, r, noApp) }))
		control = append(control, turn(func(r *http.Request) error { return static.ServeHTTP(w, r) }))
	}
	times := float64(slices.Min(ours)) / float64(slices.Min(control))
	t.Logf("%v a request, six static headers %v: %.2f times", slices.Min(ours)/50, slices.Min(control)/50, times)
	if times > maxTimes {
		t.Errorf("the handler takes %.2f times as long as six static headers, %d are allowed", times, maxTimes)
	}
}

// staticHeaders is a chain of Caddy's own handlers, as six lines of
// request_header make it.
func staticHeaders(told http.Header) caddyhttp.Handler {
	var chain caddyhttp.Handler = noApp
	for name, values := range told {
		h := headers.Handler{Request: &headers.HeaderOps{Set: http.Header{name: values}}}
		next := chain
		chain = caddyhttp.HandlerFunc(func(w http.ResponseWriter, r *http.Request) error { return h.ServeHTTP(w, r, next) })
	}
	return chain
}
