package gateway_test

import (
	"encoding/json"
	"net/http"
	"net/http/httptest"
	"net/netip"
	"net/url"
	"strconv"
	"strings"
	"testing"
	"time"

	"go.uber.org/zap"

	"github.com/caddy-sso/caddy-sso/gateway"
	"github.com/caddy-sso/caddy-sso/gateway/refusal"
	"github.com/caddy-sso/caddy-sso/gateway/session"
)

// Wrong secrets of a client lock out that client at that address. They lock out no other client and
// no person there. Failed sign-ins of people lock out no client.
func TestOpenIDLimit(t *testing.T) {
	t.Parallel()
	const token = "/.sso/op/token"
	odd := url.Values{"grant_type": {"x"}, "token": {"x"}}
	page := []string{"Origin", "https://evil.example", "Sec-Fetch-Site", "cross-site", "Sec-Fetch-Mode", "navigate"}
	unknown := func(s *site) { s.askAs("nobody", "guess", token, odd) }
	guess := func(s *site) { s.askAs("wiki", "guess", token, odd) }
	guessFrom := func(header string) func(*site) { // a page of another site sends the header alone
		return func(s *site) {
			b := s.browser()
			r := b.formRequest(token, "client_id=wiki", page...)
			for _, name := range []string{"Origin", "Sec-Fetch-Site"} {
				if name != header {
					r.Header.Del(name)
				}
			}
			b.send(r)
		}
	}
	for name, tc := range map[string]struct {
		do                func(s *site)
		app, stranger, in int // status for the wiki, an unknown client, and a person
	}{
		"good ones":         {func(s *site) { s.userinfo("x"); s.token("x", wikiSecret) }, 200, 401, 303},
		"guesses":           {guess, 429, 401, 303},
		"unknown clients":   {unknown, 200, 429, 303},
		"another client":    {func(s *site) { s.askAs("vault", "guess", "/.sso/op/introspect", odd) }, 200, 401, 303},
		"failed sign-ins":   {func(s *site) { s.browser().failing() }, 200, 401, 429},
		"a page's form":     {func(s *site) { b := s.browser(); b.send(b.formRequest(token, "client_id=wiki", page...)) }, 200, 401, 303},
		"a page of no name": {func(s *site) { b := s.browser(); b.send(b.formRequest(token, "client_id=wiki", "Origin", "null")) }, 200, 401, 303},
		"by Origin alone":   {guessFrom("Origin"), 200, 401, 303},
		"by its site alone": {guessFrom("Sec-Fetch-Site"), 200, 401, 303},
		"by neither":        {guessFrom(""), 429, 401, 303},
		"a public client":   {func(s *site) { s.askAs("spa", "guess", token, odd) }, 200, 401, 303},
	} {
		t.Run(name, func(t *testing.T) {
			t.Parallel()
			l := newLab(t)
			s := l.openIDOf(l.gateway(limited(session.Limit{Failed: 3, Window: time.Hour})), func(o *gateway.AppOptions) {
				spa := o.Clients[0]
				spa.ID, spa.Secrets = "spa", nil
				o.Clients = append(o.Clients, spa)
			})
			b := s.browser()
			tokens, code, public := b.tokens(), wantCode(t, b.open(wikiAsks())), wantCode(t, b.open(wikiAsks("client_id", "spa")))
			for range 4 {
				tc.do(s)
			}
			if status, _ := s.userinfo(tokens["access_token"]); status != http.StatusOK {
				t.Errorf("userinfo responds %d", status)
			}
			if status, got := s.token(code, wikiSecret); status != tc.app || status == http.StatusTooManyRequests && got["error"] != "temporarily_unavailable" {
				t.Errorf("the app gets %d %v, want %d", status, got, tc.app)
			}
			if status, _ := s.askAs("stranger", "x", token, odd); status != tc.stranger {
				t.Errorf("an unknown client gets %d, want %d", status, tc.stranger)
			}
			exchange := url.Values{"grant_type": {"authorization_code"}, "code": {public}, "redirect_uri": {wikiCallback}, "code_verifier": {verifier}}
			if status, got := s.askAs("spa", "", token, exchange); status != http.StatusOK {
				t.Errorf("the public app gets %d %v", status, got)
			}
			next := s.browser()
			if w := next.bring(next.begin(wikiAsks())); w.Code != tc.in {
				t.Errorf("a person gets %d, want %d", w.Code, tc.in)
			}
			s.client = netip.MustParseAddr("192.0.2.8")
			if status, _ := s.askAs("wiki", wikiSecret, token, odd); status != http.StatusBadRequest {
				t.Errorf("from another address: %d", status)
			}
		})
	}
}

// A script of another origin reads why it has to wait, and so does one that came before the
// start was done.
func TestOpenIDWaits(t *testing.T) {
	t.Parallel()
	l := newLab(t)
	s := l.openIDOf(l.gateway(limited(session.Limit{Failed: 1, Window: time.Hour})))
	guess := func(s *site) *httptest.ResponseRecorder {
		r := s.browser().formRequest("/.sso/op/token", "client_id=wiki&client_secret=guess", "Origin", "https://wiki.example")
		return s.serve(r, false)
	}
	if w := guess(s); w.Code != http.StatusUnauthorized {
		t.Fatalf("a guess: %d", w.Code)
	}
	rendered, err := allPages()
	mustDo(t, err)
	g, err := gateway.New(gateway.Options{Pages: rendered, Providers: []gateway.NamedProvider{{Name: "corp", Provider: l.idp}}, Logger: zap.NewNop()})
	mustDo(t, err)
	early := l.siteOf(g, appHost, withClients)
	for name, w := range map[string]*httptest.ResponseRecorder{
		"429": guess(s), "503": guess(early), "503 ": early.serve(early.browser().request(http.MethodGet, "/.sso/op/userinfo", "Authorization", "Bearer "+strings.Repeat("A", 22)+".a."+strings.Repeat("A", 43)), false),
	} {
		var got struct{ Error string }
		h, status := w.Header(), strings.TrimSpace(name)
		if err := json.Unmarshal(w.Body.Bytes(), &got); err != nil || strconv.Itoa(w.Code) != status || got.Error != "temporarily_unavailable" ||
			h.Get("Access-Control-Allow-Origin") != "*" || h.Get("Retry-After") == "" || h.Get("Content-Type") != "application/json" {
			t.Errorf("%s: %d %s with %v", status, w.Code, w.Body, h)
		}
	}
	if ev := l.seen(); ev[len(ev)-1].Code != refusal.TooManyAttempts {
		t.Errorf("events %+v", ev)
	}
}
