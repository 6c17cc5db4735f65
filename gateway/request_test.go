package gateway_test

import (
	"context"
	"errors"
	"io"
	"net/http"
	"net/http/httptest"
	"slices"
	"strings"
	"testing"
	"testing/synctest"
	"time"

	"github.com/caddy-sso/caddy-sso/gateway"
	"github.com/caddy-sso/caddy-sso/gateway/forward"
	"github.com/caddy-sso/caddy-sso/gateway/refusal"
)

func TestForeignOrigin(t *testing.T) {
	t.Parallel()
	s := newLab(t).site(public("/public"), func(o *gateway.AppOptions) {
		o.AllowedOrigins = []string{"https://Friend.example", "http://friend.example:8080/"}
	})
	b := s.browser()
	b.signIn()
	for name, tc := range map[string]struct {
		origins []string
		ok      bool
	}{
		"own":                    {[]string{"https://app.example"}, true},
		"own, odd case":          {[]string{"HTTPS://App.Example"}, true},
		"no browser":             {nil, true},
		"allowed":                {[]string{"https://friend.example"}, true},
		"allowed, with port":     {[]string{"http://friend.example:8080"}, true},
		"allowed, other port":    {[]string{"http://friend.example"}, false},
		"allowed, other scheme":  {[]string{"http://friend.example:443"}, false},
		"foreign":                {[]string{"https://evil.example"}, false},
		"own by http":            {[]string{"http://app.example"}, false},
		"own, other port":        {[]string{"https://app.example:8443"}, false},
		"a part":                 {[]string{"https://app.example.evil.example"}, false},
		"below":                  {[]string{"https://evil.app.example"}, false},
		"null":                   {[]string{"null"}, false},
		"empty":                  {[]string{""}, false},
		"twice, own":             {[]string{"https://app.example", "https://app.example"}, false},
		"own, then foreign":      {[]string{"https://app.example", "https://evil.example"}, false},
		"foreign, then own":      {[]string{"https://evil.example", "https://app.example"}, false},
		"list in one":            {[]string{"https://app.example, https://evil.example"}, false},
		"no scheme":              {[]string{"app.example"}, false},
		"with path":              {[]string{"https://app.example/"}, false},
		"foreign with our user":  {[]string{"https://app.example@evil.example"}, false},
		"foreign, odd character": {[]string{"https://app.example\x00.evil.example"}, false},
	} {
		for kind, prepare := range map[string]func(*http.Request){
			"upgrade": func(r *http.Request) {
				r.Header.Set("Upgrade", "websocket")
				r.Header.Set("Connection", "Upgrade")
			},
			"HTTP/2": func(r *http.Request) { r.Method = http.MethodConnect; r.Header[":protocol"] = []string{"websocket"} },
			"HTTP/3": func(r *http.Request) { r.Method, r.Proto = http.MethodConnect, "websocket" },
		} {
			t.Run(name+" "+kind, func(t *testing.T) {
				r := b.request(http.MethodGet, "/ws")
				prepare(r)
				r.Header["Origin"] = tc.origins
				before := s.reached()
				w := s.serve(r, false)
				if tc.ok {
					wantStatus(t, w, http.StatusOK)
					if got := s.got(); got.header.Get("Remote-User") != "alice" {
						t.Errorf("the app got %v", got.header)
					}
					return
				}
				wantRefused(t, w, refusal.ForeignOrigin)
				if s.reached() != before {
					t.Error("the app was reached")
				}
			})
		}
	}
	// Without an upgrade, the origin is the app's own business.
	wantStatus(t, b.open("/", "Origin", "https://evil.example"), http.StatusOK)
}

func TestConnect(t *testing.T) {
	t.Parallel()
	s := newLab(t).site(public("/public"))
	b := s.browser()
	b.signIn()
	for _, path := range []string{"/", "/public", "/.sso/login", "/.sso/session", "/.sso/assets/style.css"} {
		for name, prepare := range map[string]func(*http.Request){
			"plain":                 func(*http.Request) {},
			"another protocol":      func(r *http.Request) { r.Header[":protocol"] = []string{"connect-udp"} },
			"another, HTTP/3":       func(r *http.Request) { r.Proto = "connect-udp" },
			"upgrade beside it":     func(r *http.Request) { r.Header.Set("Upgrade", "websocket") },
			"protocol in odd case":  func(r *http.Request) { r.Header[":protocol"] = []string{"WebSocket"} },
			"protocol as a header":  func(r *http.Request) { r.Header["Protocol"] = []string{"websocket"} },
			"protocol said at last": func(r *http.Request) { r.Header[":protocol"] = []string{"connect-udp", "websocket"} },
		} {
			r := b.request(http.MethodGet, path)
			r.Method = http.MethodConnect
			prepare(r)
			w := s.serve(r, false)
			wantStatus(t, w, http.StatusMethodNotAllowed)
			if w.Header().Get("Allow") == "" {
				t.Errorf("%s %s: no Allow (RFC 9110 §15.5.6)", name, path)
			}
		}
	}
	// To us, an authority is no path.
	r := b.request(http.MethodGet, "/")
	r.Method, r.RequestURI = http.MethodConnect, "app.example:443"
	wantStatus(t, s.serve(r, false), http.StatusMethodNotAllowed)
	if s.reached() > 0 {
		t.Error("the app was reached")
	}
	// A WebSocket without a session is not sent anywhere.
	for _, header := range [][]string{{"Upgrade", "websocket"}, nil} {
		r := s.browser().request(http.MethodGet, "/", append(slices.Clone(navigating), header...)...)
		if header == nil {
			r.Method, r.Proto = http.MethodConnect, "websocket"
		}
		wantRefused(t, s.serve(r, false), refusal.Unauthenticated)
	}
}

// A request under way ends with its login: by logout in another tab, by the
// login's own end, by a block, and when nobody can confirm it any more.
func TestRequestEndsWithLogin(t *testing.T) {
	t.Parallel()
	for name, tc := range map[string]struct {
		end    func(t *testing.T, l *lab, tab *browser)
		within time.Duration
	}{
		"logout in another tab": {func(t *testing.T, _ *lab, tab *browser) { wantStatus(t, tab.post("/.sso/logout"), http.StatusSeeOther) }, time.Second},
		"block": {func(t *testing.T, l *lab, _ *browser) {
			mustDo(t, l.sessions.BlockAccount(t.Context(), l.alice()))
		}, time.Second},
		"its own end":             {func(*testing.T, *lab, *browser) { time.Sleep(8*time.Hour - time.Minute) }, 2 * time.Minute},
		"store down":              {func(_ *testing.T, l *lab, _ *browser) { l.store.down.Store(true) }, 7 * time.Second},
		"the client that hung up": {nil, time.Second},
	} {
		t.Run(name, func(t *testing.T) {
			t.Parallel()
			synctest.Test(t, func(t *testing.T) {
				l := newLab(t)
				ctx, hangUp := context.WithCancel(t.Context())
				defer hangUp()
				tab, live, _ := l.site().waiting(ctx)
				time.Sleep(30 * time.Second)
				synctest.Wait()
				if live.Err() != nil {
					t.Fatalf("cut before its time: %v", context.Cause(live))
				}
				if tc.end == nil {
					hangUp()
				} else {
					tc.end(t, l, tab)
				}
				began := time.Now()
				if <-live.Done(); context.Cause(live) == nil {
					t.Error("the context has no cause")
				}
				if took := time.Since(began); took > tc.within {
					t.Errorf("cut after %v, want %v at most", took, tc.within)
				}
				// The bubble fails if a goroutine stays.
			})
		})
	}
}

// A handler's error goes up as it is: it is the app's.
func TestErrorsOfTheApp(t *testing.T) {
	t.Parallel()
	l := newLab(t)
	s := l.site(public("/public"))
	b := s.browser()
	b.signIn()
	boom := errors.New("boom")
	s.next = func(http.ResponseWriter, *http.Request, *forward.Principal) error { return boom }
	events := len(l.seen())
	for _, path := range []string{"/", "/public"} {
		w, err := s.try(b.request(http.MethodGet, path), false)
		if !errors.Is(err, boom) || w.Body.Len() > 0 {
			t.Errorf("%s: error %v, body %q", path, err, w.Body)
		}
	}
	if len(l.seen()) != events {
		t.Error("the app's error was taken for a refusal")
	}
}

// The app gets the body as it was sent, and the path.
func TestRequestPassesUnchanged(t *testing.T) {
	t.Parallel()
	s := newLab(t).site()
	b := s.browser()
	b.signIn()
	var body string
	s.next = func(_ http.ResponseWriter, r *http.Request, _ *forward.Principal) error {
		all, err := io.ReadAll(r.Body)
		body = string(all)
		if r.RequestURI != "/a%2fb?c;d" || r.URL.RawQuery != "c;d" || r.Host != appHost || r.ContentLength != 4 {
			t.Errorf("the app got %s of %d bytes at %s", r.RequestURI, r.ContentLength, r.Host)
		}
		return err
	}
	r := httptest.NewRequest(http.MethodPut, "/a%2fb?c;d", strings.NewReader("body"))
	r.Host = appHost
	r.Header.Set("Cookie", cookieLine(b))
	wantStatus(t, s.serve(r, false), http.StatusOK)
	if body != "body" {
		t.Errorf("body %q", body)
	}
}
