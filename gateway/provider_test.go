package gateway_test

import (
	"context"
	"errors"
	"fmt"
	"net/http"
	"strings"
	"testing"
	"testing/synctest"
	"time"

	"github.com/caddy-sso/caddy-sso/gateway"
	"github.com/caddy-sso/caddy-sso/gateway/provider"
	"github.com/caddy-sso/caddy-sso/gateway/refusal"
	"github.com/caddy-sso/caddy-sso/mapping"
)

func TestProviderErrors(t *testing.T) {
	t.Parallel()
	type tc struct {
		err  error
		code refusal.Code
	}
	cases := map[string]tc{
		"untyped": {errors.New("boom"), refusal.ProviderUnavailable},
		"timeout": {fmt.Errorf("fetching: %w", context.DeadlineExceeded), refusal.ProviderUnavailable},
		"wrapped": {fmt.Errorf("verifying: %w", refusal.New(refusal.OIDCNonce, nil)), refusal.OIDCNonce},
	}
	for _, code := range refusal.Codes() {
		if strings.HasPrefix(string(code), "oidc_") || strings.HasPrefix(string(code), "provider_") {
			cases[string(code)] = tc{refusal.New(code, errors.New("the cause")), code}
		}
	}
	for name, tc := range cases {
		t.Run(name, func(t *testing.T) {
			t.Parallel()
			l := newLab(t)
			b := l.site().browser()
			callback := b.begin("/wanted")
			l.idp.refuse(tc.err)
			w := b.bring(callback)
			wantRefused(t, w, tc.code)
			if strings.Contains(w.Body.String(), "cause") || strings.Contains(w.Body.String(), "boom") {
				t.Error("the cause was shown")
			}
			if (w.Header().Get("Retry-After") != "") != (w.Code == http.StatusServiceUnavailable) {
				t.Errorf("status %d with Retry-After %q", w.Code, w.Header().Get("Retry-After"))
			}
			events := l.seen()
			if len(events) != 1 || events[0].Type != gateway.EventRefused || events[0].Code != tc.code || events[0].Provider != "corp" || events[0].Reference == "" || !strings.Contains(w.Body.String(), events[0].Reference) {
				t.Errorf("events %+v", events)
			}
			wantKept(t, l, 0, 0, 1)
			// A bad answer does not use up the flow: a good one still ends it.
			l.idp.verify(nil)
			wantRedirect(t, b.bring(callback), "https://app.example/wanted")

			// The same when the login begins.
			l.idp.failBegin(tc.err)
			wantRefused(t, l.siteOf(l.gateway(), "other.example").browser().open("/"), tc.code)
		})
	}
}

// An answer without a subject is nobody's, and so is one of an issuer that is not known yet:
// people of two providers must not become one.
func TestAnswerWithoutSubjectOrIssuer(t *testing.T) {
	t.Parallel()
	eachProtocol(t, func(t *testing.T, l *lab) {
		b := l.site().browser()
		brought := b.begin("/")
		l.idp.verify(func(_ provider.CompleteRequest, ans *provider.Answer) error { ans.Subject = ""; return nil })
		wantRefused(t, b.bring(brought), refusal.Internal)
		l.idp.verify(nil)
		l.idp.issuer = ""
		wantRefused(t, b.bring(brought), refusal.Internal)
		wantKept(t, l, 0, 0, 1)
	})
}

func TestSlowProvider(t *testing.T) {
	t.Parallel()
	synctest.Test(t, func(t *testing.T) {
		l := newLab(t)
		s := l.site()
		signedIn, b := s.browser(), s.browser()
		signedIn.signIn()
		callback := b.begin("/")
		l.idp.delay(func(ctx context.Context) error { <-ctx.Done(); return ctx.Err() })
		for _, target := range []string{"/", callback.target} {
			began := time.Now()
			wantRefused(t, b.open(target), refusal.ProviderUnavailable)
			if took := time.Since(began); took != 15*time.Second {
				t.Errorf("a provider that hangs was waited for %v", took)
			}
		}
		wantStatus(t, signedIn.open("/"), http.StatusOK)
	})
}

// An assertion with an id of its own works once, also in another flow.
func TestReplayID(t *testing.T) {
	t.Parallel()
	l := newLab(t)
	l.idp.verify(func(_ provider.CompleteRequest, ans *provider.Answer) error {
		ans.ReplayID, ans.ReplayUntil = "assertion-1", time.Now().Add(time.Hour)
		return nil
	})
	two := newLabOn(t, l.store)
	two.idp = l.idp
	first, second := l.site().browser(), two.site().browser()
	a, b := first.begin("/"), second.begin("/")
	wantRedirect(t, first.bring(a), "https://app.example/")
	wantRefused(t, second.bring(b), refusal.AnswerReplayed)
	if second.cookie("__Host-sso") != "" {
		t.Error("the replayed answer made a session")
	}
	wantKept(t, l, 1, 1, 0)
	if n := len(l.store.keys("replay")); n != 1 {
		t.Errorf("%d replay marks", n)
	}
}

func TestLifetimes(t *testing.T) {
	t.Parallel()
	hour := func(n int) time.Duration { return time.Duration(n) * time.Hour }
	for name, tc := range map[string]struct {
		gateway, provider, app, notAfter, idle time.Duration
		want                                   time.Duration
	}{
		"unset":                          {want: hour(8)},
		"the gateway's":                  {gateway: hour(2), want: hour(2)},
		"the provider's":                 {gateway: hour(2), provider: hour(3), want: hour(3)},
		"the app's":                      {gateway: hour(2), app: hour(1), want: hour(1)},
		"the app's is no more":           {gateway: hour(2), app: hour(5), want: hour(2)},
		"the answer's":                   {gateway: hour(2), notAfter: hour(1), want: hour(1)},
		"the answer's is no more":        {gateway: hour(2), notAfter: hour(5), want: hour(2)},
		"idle, but every few minutes":    {gateway: hour(2), idle: 30 * time.Minute, want: hour(2)},
		"idle, but rarer than it allows": {gateway: hour(2), idle: 4 * time.Minute, want: 5 * time.Minute},
	} {
		t.Run(name, func(t *testing.T) {
			t.Parallel()
			synctest.Test(t, func(t *testing.T) {
				l := newLab(t)
				if tc.notAfter > 0 {
					l.idp.verify(func(_ provider.CompleteRequest, ans *provider.Answer) error {
						ans.NotAfter = time.Now().Add(tc.notAfter)
						return nil
					})
				}
				s := l.siteOf(l.gateway(func(o *gateway.Options) {
					o.Lifetime, o.Providers[0].Lifetime, o.Idle = tc.gateway, tc.provider, tc.idle
				}), appHost, func(o *gateway.AppOptions) { o.Lifetime = tc.app })
				b := s.browser()
				b.signIn()
				began := time.Now()
				for {
					w := b.fetch("/")
					if w.Code != http.StatusOK {
						wantRefused(t, w, refusal.Unauthenticated)
						break
					}
					if p := s.got().principal; tc.idle == 0 && !p.Expires.Equal(began.Add(tc.want)) {
						t.Fatalf("the app is told that it expires after %v, want %v", p.Expires.Sub(began), tc.want)
					}
					if time.Since(began) > hour(10) {
						t.Fatal("the session never ended")
					}
					time.Sleep(5 * time.Minute)
				}
				if got := time.Since(began); got != tc.want {
					t.Errorf("the session ended after %v, want %v", got, tc.want)
				}
			})
		})
	}
}

func TestExpiredAnswer(t *testing.T) {
	t.Parallel()
	l := newLab(t)
	l.idp.verify(func(_ provider.CompleteRequest, ans *provider.Answer) error { ans.NotAfter = time.Now(); return nil })
	b := l.site().browser()
	wantRefused(t, b.bring(b.begin("/")), refusal.FlowUnknown)
	if b.cookie("__Host-sso") != "" || len(l.store.keys("login")) > 0 {
		t.Error("a session was made of it")
	}
}

func TestProviderRemoved(t *testing.T) {
	t.Parallel()
	l := newLab(t)
	b := l.site().browser()
	stranger := l.site().browser()
	late := stranger.begin("/")
	b.signIn()

	other := func(o *gateway.Options) {
		o.Providers = []gateway.NamedProvider{{Name: "other", Provider: newFakeIDP("https://other.example")}}
	}
	removed := b.at(l.siteOf(l.gateway(other), appHost))
	writes := l.store.written()
	wantRefused(t, removed.fetch("/"), refusal.Unauthenticated)
	wantRefused(t, stranger.at(removed.site).bring(late), refusal.ProviderUnknown)
	if l.store.written() != writes {
		t.Error("something was written about a provider that is not here")
	}
	if removed.reached() > 0 {
		t.Error("the app was reached")
	}
}

// A denial at one app leaves the others alone. A person whom all apps deny leaves no
// account.
func TestDenied(t *testing.T) {
	t.Parallel()
	l := newLab(t)
	g := l.gateway()
	admins := l.siteOf(g, "admins.example", rules(mapping.Rules{Role: []mapping.Line{line("Admin", "admins")}}))
	all := l.siteOf(g, appHost)
	b := admins.browser()
	w := b.bring(b.beginAs("/", "bob"))
	wantRefused(t, w, refusal.AccessDenied)
	wantKept(t, l, 0, 0, 0)
	if ev := l.seen(); len(ev) != 1 || ev[0].Code != refusal.AccessDenied || ev[0].Username != "bob" || ev[0].Provider != "corp" {
		t.Errorf("events %+v", ev)
	}
	c := b.at(all)
	c.signInAs("bob")
	wantKept(t, l, 1, 1, 0)
	wantStatus(t, c.open("/"), http.StatusOK)
}

func TestBlockedAccount(t *testing.T) {
	t.Parallel()
	l := newLab(t)
	b := l.site().browser()
	b.signIn()
	alice := l.alice()
	mustDo(t, l.sessions.BlockAccount(t.Context(), alice))
	wantRefused(t, b.fetch("/"), refusal.Unauthenticated)
	wantRefused(t, b.bring(b.begin("/")), refusal.AccountBlocked)
	mustDo(t, l.sessions.UnblockAccount(t.Context(), alice))
	wantRefused(t, b.fetch("/"), refusal.Unauthenticated)
	wantRedirect(t, b.bring(b.begin("/")), "https://app.example/")
}
