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
func (s *site) waiting(ctx context.Context) (b *browser, live context.Context, answer <-chan *httptest.ResponseRecorder) {
	s.t.Helper()
	entered, answers := make(chan context.Context), make(chan *httptest.ResponseRecorder, 1)
	s.next = func(_ http.ResponseWriter, r *http.Request, _ *forward.Principal) error {
		entered <- r.Context()
		<-r.Context().Done()
		return r.Context().Err()
	}
	b = s.browser()
	b.signIn()
	r := b.request(http.MethodGet, "/stream").WithContext(ctx)
	go func() {
		defer func() { _ = recover() }() // it may be aborted
		w, _ := s.try(r, false)
		answers <- w
	}()
	return b, <-entered, answers
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
				l.sessions.Start(old)
				_, _, answer := l.siteOf(old, appHost).waiting(t.Context())
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
		_, live, _ := l.siteOf(old, appHost).waiting(t.Context())
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

// A gateway that takes over decides on what is under way by the app that would get it.
func TestSucceed(t *testing.T) {
	t.Parallel()
	others := mapping.Rules{Role: []mapping.Line{{To: []string{"User"}, From: []string{"others"}}}}
	type app struct {
		hosts gateway.Hosts
		opts  gateway.AppOptions
	}
	at := func(host string) gateway.Hosts { return gateway.Hosts{Exact: []string{host}, Scheme: "https"} }
	for name, tc := range map[string]struct {
		apps   []app
		change func(*gateway.Options)
		ends   bool
	}{
		"nothing changed":           {apps: []app{{at(appHost), gateway.AppOptions{Rules: everyone}}}},
		"the rules deny":            {apps: []app{{at(appHost), gateway.AppOptions{Rules: others}}}, ends: true},
		"the path is public now":    {apps: []app{{at(appHost), gateway.AppOptions{Rules: others, Public: []string{"/stream"}}}}},
		"the host is gone":          {apps: []app{{at("other.example"), gateway.AppOptions{Rules: everyone}}}, ends: true},
		"a wildcard takes the host": {apps: []app{{gateway.Hosts{Any: true, Wild: []string{"*.example"}, Scheme: "https"}, gateway.AppOptions{Rules: everyone}}, {gateway.Hosts{Any: true, Wild: []string{"*.other"}}, gateway.AppOptions{ID: "o", Rules: others}}}},
		"a wildcard that denies":    {apps: []app{{gateway.Hosts{Any: true, Wild: []string{"*.example"}, Scheme: "https"}, gateway.AppOptions{Rules: others}}, {gateway.Hosts{Any: true}, gateway.AppOptions{ID: "o", Rules: everyone}}}, ends: true},
		"another app of the host denies": {apps: []app{
			{at(appHost), gateway.AppOptions{ID: "other", Rules: others}}, {at(appHost), gateway.AppOptions{Rules: everyone}},
		}},
		"its own app of the host denies": {apps: []app{
			{at(appHost), gateway.AppOptions{ID: "other", Rules: everyone}}, {at(appHost), gateway.AppOptions{Rules: others}},
		}, ends: true},
		"all apps of the host have other names, one denies": {apps: []app{
			{at(appHost), gateway.AppOptions{ID: "a", Rules: everyone}}, {at(appHost), gateway.AppOptions{ID: "b", Rules: others}},
		}, ends: true},
		"the app has another name": {apps: []app{{at(appHost), gateway.AppOptions{ID: "new", Rules: everyone}}}},
		"a shorter lifetime":       {apps: []app{{at(appHost), gateway.AppOptions{Rules: everyone, Lifetime: time.Nanosecond}}}, ends: true},
		"another provider": {apps: []app{{at(appHost), gateway.AppOptions{Rules: everyone}}}, change: func(o *gateway.Options) {
			o.Providers[0].Provider = newFakeIDP("https://other.example")
		}, ends: true},
		"no site at all": {ends: true},
	} {
		t.Run(name, func(t *testing.T) {
			t.Parallel()
			l := newLab(t)
			old := l.gateway()
			s := l.siteOf(old, appHost)
			b, live, _ := s.waiting(t.Context())
			now := l.gateway(func(o *gateway.Options) {
				if tc.change != nil {
					tc.change(o)
				}
			})
			for _, a := range tc.apps {
				l.siteAt(now, appHost, a.hosts, func(o *gateway.AppOptions) { *o = a.opts })
			}
			now.Succeed(old)
			if ended := live.Err() != nil; ended != tc.ends {
				t.Errorf("it has ended: %t, %v", ended, context.Cause(live))
			}
			// So is what still enters by the old one.
			s.next = nil
			w, err := s.try(b.request(http.MethodGet, "/stream"), false)
			if passed := w.Code == http.StatusOK; err != nil || passed == tc.ends {
				t.Errorf("the old one answers %d, %v", w.Code, err)
			}
		})
	}
}
