package gateway_test

import (
	"context"
	"net/http"
	"net/http/httptest"
	"net/netip"
	"net/url"
	"strconv"
	"strings"
	"sync"
	"testing"
	"testing/synctest"
	"time"

	"github.com/caddy-sso/caddy-sso/gateway"
	"github.com/caddy-sso/caddy-sso/gateway/provider"
	"github.com/caddy-sso/caddy-sso/gateway/refusal"
	"github.com/caddy-sso/caddy-sso/gateway/session"
	"github.com/caddy-sso/caddy-sso/mapping"
)

const badAnswer = "/.sso/oidc/callback?code=c&state=AAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAA"

func limited(limit session.Limit) func(*gateway.Options) {
	return func(o *gateway.Options) { o.Limit = limit }
}

// limitedSite returns a site whose gateway has the default limit.
func limitedSite(l *lab, limit session.Limit) *site {
	l.t.Helper()
	return l.siteOf(l.gateway(limited(limit)), appHost)
}

// failing brings an answer to a login of this browser that its provider did not
// give.
func (b *browser) failing() *httptest.ResponseRecorder {
	b.t.Helper()
	return b.open(strings.Replace(b.begin("/").target, "code=alice", "code=nobody", 1))
}

// atOnce sends requests side by side.
func (s *site) atOnce(requests []*http.Request) []*httptest.ResponseRecorder {
	answers := make([]*httptest.ResponseRecorder, len(requests))
	var done sync.WaitGroup
	for i, r := range requests {
		done.Go(func() { answers[i] = s.serve(r, false) })
	}
	done.Wait()
	return answers
}

// underWay begins n logins and returns the answers that are due.
func (s *site) underWay(n int) []*http.Request {
	requests := make([]*http.Request, n)
	for i := range requests {
		b := s.browser()
		requests[i] = b.bringing(b.begin("/"))
	}
	return requests
}

// takes has the provider take its time.
func (l *lab) takes(d time.Duration) {
	l.idp.delay(func(ctx context.Context) error {
		select {
		case <-time.After(d):
			return nil
		case <-ctx.Done():
			return ctx.Err()
		}
	})
}

func TestLimit(t *testing.T) {
	t.Parallel()
	t.Run("D5 failed answers of one address", func(t *testing.T) {
		t.Parallel()
		synctest.Test(t, func(t *testing.T) {
			s := limitedSite(newLab(t), session.Limit{})
			for range 10 {
				wantRefused(t, s.browser().failing(), refusal.OIDCCodeRejected)
			}
			w := s.browser().failing()
			wantRefused(t, w, refusal.TooManyAttempts)
			wantStatus(t, w, http.StatusTooManyRequests)
			if after, err := strconv.Atoi(w.Header().Get("Retry-After")); err != nil || after < 1 || after > 60 {
				t.Errorf("Retry-After is %q, want 1 to 60 seconds", w.Header().Get("Retry-After"))
			}
			time.Sleep(time.Minute + time.Second)
			s.browser().signIn()
		})
	})
	t.Run("D5 settable: failed answers and window", func(t *testing.T) {
		t.Parallel()
		synctest.Test(t, func(t *testing.T) {
			s := limitedSite(newLab(t), session.Limit{Failed: 2, Window: 10 * time.Second})
			for range 2 {
				wantRefused(t, s.browser().failing(), refusal.OIDCCodeRejected)
			}
			w := s.browser().failing()
			wantRefused(t, w, refusal.TooManyAttempts)
			after, err := strconv.Atoi(w.Header().Get("Retry-After"))
			if err != nil || after < 1 || after > 10 {
				t.Errorf("Retry-After is %q, want 1 to 10 seconds", w.Header().Get("Retry-After"))
			}
			time.Sleep(time.Duration(after) * time.Second)
			s.browser().signIn()
		})
	})
	t.Run("D5 people who refuse at the provider", func(t *testing.T) {
		t.Parallel()
		s := limitedSite(newLab(t), session.Limit{Failed: 2})
		cancel := says(refusal.ProviderRefused, nil)
		for range 2 {
			wantRefused(t, cancel(s), refusal.ProviderRefused)
		}
		wantRefused(t, cancel(s), refusal.TooManyAttempts)
	})
	t.Run("D5 over two nodes", func(t *testing.T) {
		t.Parallel()
		first := newLab(t)
		second := newLabOn(t, first.store)
		a, b := limitedSite(first, session.Limit{}), limitedSite(second, session.Limit{})
		for range 5 {
			wantRefused(t, a.browser().failing(), refusal.OIDCCodeRejected)
			wantRefused(t, b.browser().failing(), refusal.OIDCCodeRejected)
		}
		wantRefused(t, a.browser().failing(), refusal.TooManyAttempts)
		wantRefused(t, b.browser().failing(), refusal.TooManyAttempts)
	})
	t.Run("D5 a successful login gives back", func(t *testing.T) {
		t.Parallel()
		s := limitedSite(newLab(t), session.Limit{Failed: 1, Requests: 3, UnderWay: 1})
		for range 12 {
			s.browser().signIn()
		}
	})
	t.Run("D5 refused ones eat up nothing", func(t *testing.T) {
		t.Parallel()
		s := limitedSite(newLab(t), session.Limit{Requests: 4})
		b := s.browser()
		callback := b.begin("/")
		for range 3 {
			wantRefused(t, s.browser().open(badAnswer), refusal.FlowUnknown)
		}
		for range 5 {
			wantRefused(t, s.browser().open(badAnswer), refusal.TooManyAttempts)
			wantRefused(t, s.browser().open("/"), refusal.TooManyAttempts)
		}
		wantRefused(t, b.bring(callback), refusal.TooManyAttempts)
	})
	t.Run("D5 starts and answers together", func(t *testing.T) {
		t.Parallel()
		s := limitedSite(newLab(t), session.Limit{})
		for range 150 {
			wantStatus(t, s.browser().open("/"), http.StatusSeeOther)
			wantRefused(t, s.browser().open(badAnswer), refusal.FlowUnknown)
		}
		wantRefused(t, s.browser().open(badAnswer), refusal.TooManyAttempts)
		wantRefused(t, s.browser().open("/"), refusal.TooManyAttempts)
	})
	t.Run("D5 what begins anew counts, too", func(t *testing.T) {
		t.Parallel()
		s := limitedSite(newLab(t), session.Limit{})
		b := s.browser()
		w := b.open("/", inTab...)
		for range 299 {
			link, err := url.Parse(linkOf(t, w, "Continue"))
			mustDo(t, err)
			w = b.open("/.sso/login?instead="+link.Query().Get("state")+"&provider=corp&return=/", inTab...)
		}
		wantRefused(t, b.open(againOf(w), inTab...), refusal.TooManyAttempts)
		wantRefused(t, b.open(againOf(w)+"%23part", inTab...), refusal.TooManyAttempts)
	})
	t.Run("D5 off", func(t *testing.T) {
		t.Parallel()
		s := limitedSite(newLab(t), session.Limit{Failed: -1})
		for range 30 {
			wantRefused(t, s.browser().failing(), refusal.OIDCCodeRejected)
		}
	})
	t.Run("D5 a store that is down lets nobody past", func(t *testing.T) {
		t.Parallel()
		l := newLab(t)
		s := limitedSite(l, session.Limit{})
		l.store.down.Store(true)
		wantRefused(t, s.browser().open(badAnswer), refusal.StoreUnavailable)
	})
}

// TestLimitInnocent holds that nobody is locked out by answers that did not fail, or
// that failed through no fault of this browser's.
func TestLimitInnocent(t *testing.T) {
	t.Parallel()
	for name, bad := range map[string]struct {
		code refusal.Code
		do   func(s *site) *httptest.ResponseRecorder
	}{
		"made-up states": {refusal.FlowUnknown, func(s *site) *httptest.ResponseRecorder { return s.browser().open(badAnswer) }},
		"no state":       {refusal.FlowUnknown, func(s *site) *httptest.ResponseRecorder { return s.browser().open("/.sso/oidc/callback?code=c") }},
		"malformed":      {refusal.BadRequest, func(s *site) *httptest.ResponseRecorder { return s.browser().open("/.sso/oidc/callback?%zz") }},
		"states of another browser": {"", func(s *site) *httptest.ResponseRecorder {
			return s.browser().bring(s.browser().begin("/"))
		}},
		"a provider that does not know the gateway":        {refusal.OIDCClientRejected, says(refusal.OIDCClientRejected, nil)},
		"a provider that says it is out of order":          {refusal.ProviderUnavailable, says(refusal.ProviderUnavailable, nil)},
		"a request that the provider refuses":              {refusal.ProviderRefused, says(refusal.ProviderRefused, provider.ErrRequestRefused)},
		"a provider that does not do what it is asked for": {refusal.OIDCTime, says(refusal.OIDCTime, provider.ErrUnsupported)},
		"people whom no rule lets in": {refusal.AccessDenied, func(s *site) *httptest.ResponseRecorder {
			b := s.browser()
			return b.bring(b.beginAs("/", "bob"))
		}},
		"a store that is replaced on the way": {refusal.StoreUnavailable, func(s *site) *httptest.ResponseRecorder {
			b := s.browser()
			callback := b.begin("/")
			s.idp.verify(func(provider.CompleteRequest, *provider.Answer) error { s.store.down.Store(true); return nil })
			defer func() { s.idp.verify(nil); s.store.down.Store(false) }()
			return b.bring(callback)
		}},
	} {
		t.Run("D5 "+name, func(t *testing.T) {
			t.Parallel()
			l := newLab(t)
			s := l.siteOf(l.gateway(limited(session.Limit{})), appHost, rules(mapping.Rules{Role: []mapping.Line{line("Admin", "admins")}}))
			for range 12 {
				w := bad.do(s)
				if bad.code == "" {
					wantStatus(t, w, http.StatusSeeOther) // it starts anew
				} else {
					wantRefused(t, w, bad.code)
				}
			}
			s.browser().signIn()
		})
	}
}

// says has a provider refuse a login of a new browser.
func says(code refusal.Code, cause error) func(*site) *httptest.ResponseRecorder {
	return func(s *site) *httptest.ResponseRecorder {
		s.idp.refuse(refusal.New(code, cause))
		defer s.idp.verify(nil)
		b := s.browser()
		return b.bring(b.begin("/"))
	}
}

// TestLimitUnderWay holds that an answer under way has not failed, and that only so
// many are under way at once.
func TestLimitUnderWay(t *testing.T) {
	t.Parallel()
	t.Run("D5 a hundred at once", func(t *testing.T) {
		t.Parallel()
		synctest.Test(t, func(t *testing.T) {
			l := newLab(t)
			s := limitedSite(l, session.Limit{})
			requests := s.underWay(102)
			l.takes(time.Second)
			refused := 0
			for _, w := range s.atOnce(requests) {
				if w.Code == http.StatusSeeOther {
					continue
				}
				refused++
				wantRefused(t, w, refusal.TooManyAttempts)
				if w.Header().Get("Retry-After") != "1" {
					t.Errorf("Retry-After is %q, want 1", w.Header().Get("Retry-After"))
				}
			}
			if refused != 2 {
				t.Errorf("%d of 102 were refused, want 2", refused)
			}
			s.browser().signIn()
		})
	})
	t.Run("D5 failures that are under way are bounded", func(t *testing.T) {
		t.Parallel()
		synctest.Test(t, func(t *testing.T) {
			l := newLab(t)
			s := limitedSite(l, session.Limit{Failed: 2, UnderWay: 5})
			requests := s.underWay(20)
			l.takes(time.Second)
			l.idp.refuse(refusal.New(refusal.OIDCNonce, nil))
			verified := 0
			for _, w := range s.atOnce(requests) {
				if codeIn(w) == refusal.OIDCNonce {
					verified++
				}
			}
			if verified != 5 {
				t.Errorf("%d were verified, want 5", verified)
			}
			l.takes(0)
			wantRefused(t, s.browser().failing(), refusal.TooManyAttempts)
		})
	})
	t.Run("D5 clients that hang up leave nothing under way", func(t *testing.T) {
		t.Parallel()
		synctest.Test(t, func(t *testing.T) {
			l := newLab(t)
			s := limitedSite(l, session.Limit{UnderWay: 1})
			for range 5 {
				r := s.underWay(1)[0]
				ctx, hangUp := context.WithCancel(t.Context())
				l.idp.delay(func(ctx context.Context) error { hangUp(); <-ctx.Done(); return ctx.Err() })
				s.serve(r.WithContext(ctx), false)
				l.idp.delay(nil)
			}
			s.browser().signIn()
		})
	})
}

// TestLimitIsPerAddress has a crowd from other addresses fill its own limits
// only.
func TestLimitIsPerAddress(t *testing.T) {
	t.Parallel()
	for name, c := range map[string]struct {
		crowd, other string
		together     bool
	}{
		"IPv4 neighbours":         {"192.0.2.1", "192.0.2.2", false},
		"IPv6 in one /64":         {"2001:db8:1:2::1", "2001:db8:1:2:ffff::9", true},
		"IPv6 in neighbour /64s":  {"2001:db8:1:2::1", "2001:db8:1:3::1", false},
		"IPv4 in IPv6 is IPv4":    {"::ffff:192.0.2.1", "192.0.2.1", true},
		"IPv4 in IPv6 is no /64":  {"::ffff:192.0.2.1", "::ffff:192.0.2.2", false},
		"link-local with a zone":  {"fe80::1%eth0", "fe80::2%eth1", true},
		"clients without address": {"", "", false},
	} {
		t.Run(name, func(t *testing.T) {
			t.Parallel()
			l := newLab(t)
			s := limitedSite(l, session.Limit{Failed: 2})
			other := limitedSite(l, session.Limit{Failed: 2})
			s.client, _ = netip.ParseAddr(c.crowd) // "": no address
			other.client, _ = netip.ParseAddr(c.other)
			for range 3 {
				s.browser().failing()
			}
			want := refusal.OIDCCodeRejected
			if c.together {
				want = refusal.TooManyAttempts
			}
			wantRefused(t, other.browser().failing(), want)
		})
	}
}

// TestLimitEmbedded has a foreign page, which somebody behind the same address
// has open, ask for as much as it likes: as for images, in frames and by scripts.
// That locks nobody out.
func TestLimitEmbedded(t *testing.T) {
	t.Parallel()
	l := newSAMLLab(t)
	s := l.siteOf(l.gateway(limited(session.Limit{Failed: 2, Requests: 12})), appHost)
	stray := response("alice", strings.Repeat("A", 43)).Encode()
	for mode, dest := range map[string]string{"no-cors": "image", "navigate": "iframe", "cors": "empty"} {
		from := []string{"Sec-Fetch-Site", "cross-site", "Sec-Fetch-Mode", mode, "Sec-Fetch-Dest", dest, "Origin", "https://evil.example"}
		for range 3 {
			b := s.browser()
			wantRefused(t, b.send(b.request(http.MethodGet, "/.sso/login", from...)), refusal.CrossSite)
			wantRefused(t, b.send(b.formRequest(acs, stray, from...)), refusal.CrossSite)
		}
	}
	if n := l.store.written(); n > 0 {
		t.Errorf("%d records were written", n)
	}
	for range 3 {
		b := s.browser()
		wantRedirect(t, b.bring(b.begin("/")), "https://app.example/")
	}
	b := s.browser() // with our cookie it is a frame of the same site
	answer := b.begin("/").form.Encode()
	wantRedirect(t, b.send(b.formRequest(acs, answer, "Sec-Fetch-Site", "cross-site", "Sec-Fetch-Dest", "iframe")), "https://app.example/")
}

func TestLimitIsChecked(t *testing.T) {
	t.Parallel()
	for _, limit := range []session.Limit{{Failed: -2}, {Requests: -2}, {UnderWay: -2}, {Window: -1}} {
		if _, err := gateway.New(gateway.Options{Limit: limit}); err == nil {
			t.Errorf("%+v was taken", limit)
		}
	}
}
