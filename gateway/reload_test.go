package gateway_test

import (
	"context"
	"net/http"
	"net/http/httptest"
	"testing"
	"testing/synctest"
	"time"

	"github.com/caddy-sso/caddy-sso/gateway"
	"github.com/caddy-sso/caddy-sso/gateway/forward"
	"github.com/caddy-sso/caddy-sso/gateway/refusal"
	"github.com/caddy-sso/caddy-sso/mapping"
)

// waiting has the site's app wait for the end of each request, and sends one of a
// person who is signed in.
func (s *site) waiting() (live context.Context, answer <-chan *httptest.ResponseRecorder) {
	s.t.Helper()
	entered, answers := make(chan context.Context), make(chan *httptest.ResponseRecorder, 1)
	s.next = func(_ http.ResponseWriter, r *http.Request, _ *forward.Principal) error {
		entered <- r.Context()
		<-r.Context().Done()
		return r.Context().Err()
	}
	b := s.browser()
	b.signIn()
	r := b.request(http.MethodGet, "/events")
	go func() {
		w, _ := s.try(r, false)
		answers <- w
	}()
	return <-entered, answers
}

// A request that a new configuration or the idle limit ends is told so, and not that
// the store is down.
func TestCutRequestsAreToldWhy(t *testing.T) {
	t.Parallel()
	for want, tc := range map[refusal.Code]struct {
		idle time.Duration
		end  func(l *lab, old *gateway.Gateway)
	}{
		refusal.AccessDenied: {0, func(l *lab, old *gateway.Gateway) {
			now := l.gateway()
			l.siteOf(now, appHost, rules(mapping.Rules{Role: []mapping.Line{line("User", "others")}}))
			now.Succeed(old)
		}},
		refusal.Unauthenticated: {time.Hour, func(*lab, *gateway.Gateway) { time.Sleep(2 * time.Hour) }},
	} {
		t.Run(string(want), func(t *testing.T) {
			t.Parallel()
			synctest.Test(t, func(t *testing.T) {
				l := newLab(t)
				old := l.gateway(func(o *gateway.Options) { o.Idle = tc.idle })
				old.Start(t.Context())
				_, answer := l.siteOf(old, appHost).waiting()
				tc.end(l, old)
				wantRefused(t, <-answer, want)
			})
		})
	}
}

// A shorter lifetime holds for what is under way, too.
func TestSucceedWithAShorterLifetime(t *testing.T) {
	t.Parallel()
	synctest.Test(t, func(t *testing.T) {
		l := newLab(t)
		old := l.gateway()
		live, _ := l.siteOf(old, appHost).waiting()
		now := l.gateway()
		l.siteOf(now, appHost, func(o *gateway.AppOptions) { o.Lifetime = time.Hour })
		now.Succeed(old)
		time.Sleep(59 * time.Minute)
		if live.Err() != nil {
			t.Errorf("it ends too early: %v", context.Cause(live))
		}
		time.Sleep(2 * time.Minute)
		if live.Err() == nil {
			t.Error("it outlives the new lifetime")
		}
	})
}
