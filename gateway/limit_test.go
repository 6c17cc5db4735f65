package gateway_test

import (
	"net/http"
	"net/netip"
	"strconv"
	"strings"
	"testing"
	"testing/synctest"
	"time"

	"github.com/caddy-sso/caddy-sso/gateway"
	"github.com/caddy-sso/caddy-sso/gateway/refusal"
	"github.com/caddy-sso/caddy-sso/gateway/session"
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

func TestLimit(t *testing.T) {
	t.Parallel()
	t.Run("D5 answers of one address", func(t *testing.T) {
		t.Parallel()
		synctest.Test(t, func(t *testing.T) {
			s := limitedSite(newLab(t), session.Limit{})
			b := s.browser()
			for range 10 {
				wantRefused(t, b.open(badAnswer), refusal.FlowUnknown)
			}
			w := b.open(badAnswer)
			wantRefused(t, w, refusal.TooManyAttempts)
			wantStatus(t, w, http.StatusTooManyRequests)
			if after, err := strconv.Atoi(w.Header().Get("Retry-After")); err != nil || after < 1 || after > 60 {
				t.Errorf("Retry-After is %q, want 1 to 60 seconds", w.Header().Get("Retry-After"))
			}
			time.Sleep(time.Minute + time.Second)
			wantRefused(t, b.open(badAnswer), refusal.FlowUnknown)
		})
	})
	t.Run("D5 over two nodes", func(t *testing.T) {
		t.Parallel()
		first := newLab(t)
		second := newLabOn(t, first.store)
		a, b := limitedSite(first, session.Limit{}).browser(), limitedSite(second, session.Limit{}).browser()
		for range 5 {
			wantRefused(t, a.open(badAnswer), refusal.FlowUnknown)
			wantRefused(t, b.open(badAnswer), refusal.FlowUnknown)
		}
		wantRefused(t, a.open(badAnswer), refusal.TooManyAttempts)
		wantRefused(t, b.open(badAnswer), refusal.TooManyAttempts)
	})
	t.Run("D5 a successful login gives back", func(t *testing.T) {
		t.Parallel()
		s := limitedSite(newLab(t), session.Limit{Answers: 3, Starts: 3})
		for range 12 {
			s.browser().signIn()
		}
	})
	t.Run("refused attempts eat up nothing", func(t *testing.T) {
		t.Parallel()
		s := limitedSite(newLab(t), session.Limit{Answers: 3, Starts: 50})
		b := s.browser()
		callback := b.begin("/")
		for range 2 {
			wantRefused(t, s.browser().open(badAnswer), refusal.FlowUnknown)
		}
		// Two failed: one is left, and gives itself back each time.
		wantRedirect(t, b.open(callback), "https://"+appHost+"/")
		s.browser().signIn()
		wantRefused(t, s.browser().open(badAnswer), refusal.FlowUnknown)
		for range 5 {
			wantRefused(t, s.browser().open(badAnswer), refusal.TooManyAttempts)
		}
	})
	t.Run("starts", func(t *testing.T) {
		t.Parallel()
		s := limitedSite(newLab(t), session.Limit{Answers: 1, Starts: 4})
		for range 4 {
			wantStatus(t, s.browser().open("/"), http.StatusSeeOther)
		}
		wantRefused(t, s.browser().open("/"), refusal.TooManyAttempts)
	})
	t.Run("off", func(t *testing.T) {
		t.Parallel()
		s := limitedSite(newLab(t), session.Limit{Answers: -1})
		for range 30 {
			wantRefused(t, s.browser().open(badAnswer), refusal.FlowUnknown)
		}
	})
	t.Run("a store that is down lets nobody past", func(t *testing.T) {
		t.Parallel()
		l := newLab(t)
		s := limitedSite(l, session.Limit{})
		l.store.down.Store(true)
		wantRefused(t, s.browser().open(badAnswer), refusal.StoreUnavailable)
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
			s := limitedSite(l, session.Limit{Answers: 2})
			other := limitedSite(l, session.Limit{Answers: 2})
			s.setClient(c.crowd)
			other.setClient(c.other)
			for range 3 {
				s.browser().open(badAnswer)
			}
			want := refusal.FlowUnknown
			if c.together {
				want = refusal.TooManyAttempts
			}
			wantRefused(t, other.browser().open(badAnswer), want)
		})
	}
}

// TestLimitEmbedded has a foreign page, which somebody behind the same address
// has open, ask for as much as it likes: as for images, in frames and by scripts.
// That locks nobody out.
func TestLimitEmbedded(t *testing.T) {
	t.Parallel()
	idp := newSAMLIDP("https://idp.example")
	l := newLab(t)
	s := l.siteOf(l.samlGateway(idp, limited(session.Limit{Answers: 2, Starts: 2})), appHost)
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
		wantRedirect(t, b.bring(idp.answer(t, b.open("/"), "alice")), "https://app.example/")
	}
	// With our cookie it is a frame of the same site.
	b := s.browser()
	answer := idp.answer(t, b.open("/"), "alice").Encode()
	wantRedirect(t, b.send(b.formRequest(acs, answer, "Sec-Fetch-Site", "cross-site", "Sec-Fetch-Dest", "iframe")), "https://app.example/")
}

func (s *site) setClient(addr string) {
	s.client = netip.IPv4Unspecified()
	s.noClient = addr == ""
	if addr != "" {
		s.client = netip.MustParseAddr(addr)
	}
}

func TestLimitIsChecked(t *testing.T) {
	t.Parallel()
	l := newLab(t)
	for _, limit := range []session.Limit{{Answers: -2}, {Starts: -2}, {Window: -1}} {
		_, err := gateway.New(gateway.Options{Sessions: l.sessions, Limit: limit})
		if err == nil {
			t.Errorf("%+v was taken", limit)
		}
	}
}
