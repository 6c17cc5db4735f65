package gateway_test

import (
	"fmt"
	"io"
	"maps"
	"net/http"
	"net/http/httptest"
	"slices"
	"strings"
	"testing"

	"github.com/caddy-sso/caddy-sso/gateway"
	"github.com/caddy-sso/caddy-sso/gateway/forward"
)

// spoofs are names under which an app behind CGI, WSGI, PHP or a careless framework would
// read one of our headers. Package strip has all spellings.
var spoofs = []string{
	"Remote-User", "remote_user", "REMOTE.USER", "Remote\tUser", " Remote-User ", "Remote-Groups", "Remote_Email", "remote.name", "Remote-Roles",
	"remote.provider", "Remote-Template", "REMOTE_FIRST_NAME", "Remote-Last-Name", "X-Sso-Assertion", "x_sso_", "X-Sso-" + strings.Repeat("a", 100),
	// Of the second app on the same gateway:
	"X.Grafana.Role", "x_given", "X~Family", "X-Realm", "X-Webauth-User", "X-Forwarded-Groups", "cf.access_jwt assertion",
}

// ownWords must pass: they look like ours and are not.
var ownWords = []string{
	"Remote", "User", "RemoteUser", "X-Remote-Users", "Remote-User-2", "Remote--User", "-Remote-User", "X-Ssoo", "X-Sso", "Xsso-User", "X-Webauth", "X-Webauthn-User",
	"Authorization", "X-Request-Id", "X-Forwarded-For", "Accept-Language", "X-Forwarded-Proto", "X-Real-Ip", "X-Csrf-Token", "X-Requested-With",
	"X-Auth-Token", "X-User-Id", "X-User-Agent", "X-Api-Key", "Forwarded", "If-None-Match", "Sec-Fetch-Site", "X-Remote-Addr", "X-Ssl", "X-Client-Ip",
	"X-Scope-Orgid", "Cf-Connecting-Ip", "X-Amzn-Trace-Id", "X-Goog-Api-Key", "X-Ms-Version", "Mail", "Uid",
}

// twoSites returns two apps on one gateway, the second with names of its own.
func twoSites(l *lab) (first, second *site) {
	g := l.gateway()
	first = l.siteOf(g, appHost, public("/public/*"))
	second = l.siteOf(g, "second.example", public("/public/*"), func(o *gateway.AppOptions) {
		o.Headers = forward.HeaderNames{Assertion: "Cf-Access-Jwt-Assertion", User: "X-Webauth-User", Groups: "X-Forwarded-Groups", Template: "X-Grafana-Role", FirstName: "X-Given", LastName: "X-Family", Provider: "X-Realm"}
	})
	return first, second
}

func TestStripHeaders(t *testing.T) {
	t.Parallel()
	first, second := twoSites(newLab(t))
	for _, s := range []*site{first, second} {
		b := s.browser()
		b.signIn()
		for name, path := range map[string]string{"signed in": "/", "public": "/public/a"} {
			for _, upgrade := range []bool{false, true} {
				t.Run(fmt.Sprintf("%s %s upgrade %v", s.host, name, upgrade), func(t *testing.T) {
					r := b.request(http.MethodGet, path)
					if upgrade {
						r.Header.Set("Upgrade", "websocket")
						r.Header.Set("Connection", "Upgrade")
					}
					for _, n := range spoofs {
						r.Header[n] = []string{"mallory", "mallory twice"}
					}
					for _, n := range ownWords {
						r.Header[n] = []string{"kept"}
					}
					before := s.reached()
					wantStatus(t, s.serve(r, false), http.StatusOK)
					if s.reached() != before+1 {
						t.Fatal("the app was not reached")
					}
					got := s.got().header
					for n, values := range got {
						if strings.Contains(strings.Join(values, " "), "mallory") {
							t.Errorf("%q arrived: %q", n, values)
						}
						if len(values) != 1 {
							t.Errorf("%q has %d values", n, len(values))
						}
					}
					for _, n := range ownWords {
						if !slices.Equal(got[n], []string{"kept"}) {
							t.Errorf("%q was taken away", n)
						}
					}
				})
			}
		}
	}
}

// The proxy behind us drops headers that Connection lists (RFC 9110 §7.6.1). A client
// can't have it drop ours.
func TestStripConnectionThroughProxy(t *testing.T) {
	t.Parallel()
	s := newLab(t).site()
	b := s.browser()
	b.signIn()
	arrived := make(chan http.Header, 1)
	addr := realServer(t, s, proxyTo(t, arrived, nil))
	got := rawRequest(t, addr, "GET / HTTP/1.1\r\nHost: app.example\r\nCookie: "+cookieLine(b)+"\r\nConnection: close, Remote-User, x_sso_assertion\r\nConnection: REMOTE-EMAIL,Cookie\r\nX-Other: kept\r\n\r\n")
	if !strings.HasPrefix(got, "HTTP/1.1 200") {
		t.Fatalf("answer %.200q", got)
	}
	h := <-arrived
	if h.Get("Remote-User") != "alice" || h.Get("Remote-Email") != "alice@corp.example" || h.Get("X-Sso-Assertion") == "" || h.Get("X-Other") != "kept" {
		t.Errorf("arrived at the app: %v", h)
	}
}

// Requests that come in by an upgraded connection are not seen by the gateway
// (h2c smuggling): no connection becomes one that carries requests.
func TestStripUpgrade(t *testing.T) {
	t.Parallel()
	s := newLab(t).site(public("/public"))
	b := s.browser()
	b.signIn()
	addr := realServer(t, s, upgradingApp(t))
	for name, tc := range map[string]struct {
		head string
		open bool
	}{
		"WebSocket":                {"Connection: Upgrade\r\nUpgrade: websocket", true},
		"WebSocket, odd case":      {"Connection: upgrade\r\nUpgrade: \tWebSocket ", true},
		"h2c":                      {"Connection: Upgrade, HTTP2-Settings\r\nUpgrade: h2c\r\nHTTP2-Settings: AAMAAABkAAQAAP__", false},
		"h2c, settings not listed": {"Connection: Upgrade\r\nUpgrade: h2c\r\nHTTP2-Settings: AAMAAABkAAQAAP__", false},
		"h2c, odd case":            {"Connection: Upgrade\r\nUpgrade: H2C", false},
		"HTTP/2.0":                 {"Connection: Upgrade\r\nUpgrade: HTTP/2.0", false},
		"TLS":                      {"Connection: Upgrade\r\nUpgrade: TLS/1.0", false},
		"anything":                 {"Connection: Upgrade\r\nUpgrade: foo/2", false},
		"list, WebSocket first":    {"Connection: Upgrade\r\nUpgrade: websocket, h2c", false},
		"list, WebSocket last":     {"Connection: Upgrade\r\nUpgrade: h2c, websocket", false},
		"lines, WebSocket first":   {"Connection: Upgrade\r\nUpgrade: websocket\r\nUpgrade: h2c", false},
		"lines, WebSocket last":    {"Connection: Upgrade\r\nUpgrade: h2c\r\nUpgrade: websocket", false},
		"empty, then h2c":          {"Connection: Upgrade\r\nUpgrade:\r\nUpgrade: h2c", false},
	} {
		for where, line := range map[string]string{
			"public":    "GET /public HTTP/1.1\r\n",
			"signed in": "GET / HTTP/1.1\r\nCookie: " + cookieLine(b) + "\r\n",
		} {
			t.Run(name+", "+where, func(t *testing.T) {
				t.Parallel()
				got := rawRequest(t, addr, line+"Host: app.example\r\n"+tc.head+"\r\n\r\nGET /public HTTP/1.1\r\nHost: app.example\r\nConnection: close\r\n\r\n")
				switch {
				case tc.open && !strings.HasPrefix(got, "HTTP/1.1 101"):
					t.Errorf("the control is not upgraded: %.200q", got)
				case !tc.open && (!strings.HasPrefix(got, "HTTP/1.1 204") || strings.Contains(got, "HTTP/1.1 101")):
					t.Errorf("answer %.200q, want one without an upgrade", got)
				}
			})
		}
	}
}

// upgradingApp returns a reverse proxy before an app that upgrades to any protocol
// that a request asks for.
func upgradingApp(t *testing.T) http.Handler {
	t.Helper()
	return proxyBefore(t, func(w http.ResponseWriter, r *http.Request) {
		if r.Header["Http2-Settings"] != nil {
			t.Errorf("HTTP2-Settings arrived: %v", r.Header)
		}
		if r.Header["Upgrade"] == nil {
			w.WriteHeader(http.StatusNoContent)
			return
		}
		conn, _, err := http.NewResponseController(w).Hijack()
		if err != nil {
			t.Error(err)
			return
		}
		_, _ = fmt.Fprintf(conn, "HTTP/1.1 101 Switching Protocols\r\nConnection: Upgrade\r\nUpgrade: %s\r\n\r\n", r.Header.Get("Upgrade"))
		_ = conn.Close()
	})
}

// handler serves a site to a real net/http server, as over https.
func (s *site) handler() http.Handler {
	return http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) {
		r.Host = s.host
		peer := gateway.Peer{Secure: true, Addr: clientAddr, Target: r.RequestURI}
		if err := s.app.ServeHTTP(w, r, peer, s.serveApp); err != nil {
			s.t.Errorf("ServeHTTP: %v", err)
		}
	})
}

// start puts a real server before the site: of HTTP/2 over TLS, or of plain HTTP/1.1.
func (s *site) start(t *testing.T, h2 bool) *httptest.Server {
	t.Helper()
	server := httptest.NewUnstartedServer(s.handler())
	if server.EnableHTTP2 = h2; h2 {
		server.StartTLS()
	} else {
		server.Start()
	}
	t.Cleanup(server.Close)
	return server
}

// proxyTo returns a reverse proxy before an app which reports the headers, and
// after the body the trailers, that it got.
func proxyTo(t *testing.T, headers, trailers chan<- http.Header) http.Handler {
	t.Helper()
	return proxyBefore(t, func(_ http.ResponseWriter, r *http.Request) {
		_, _ = io.Copy(io.Discard, r.Body)
		headers <- r.Header
		if trailers != nil {
			trailers <- maps.Collect(func(yield func(string, []string) bool) {
				for n, v := range r.Trailer {
					if v != nil && !yield(n, v) {
						return
					}
				}
			})
		}
	})
}

// realServer puts the site before a reverse proxy.
func realServer(t *testing.T, s *site, proxy http.Handler) (addr string) {
	t.Helper()
	behind := &site{lab: s.lab, app: s.app, host: s.host, next: func(w http.ResponseWriter, r *http.Request, _ *forward.Principal) error {
		proxy.ServeHTTP(w, r)
		return nil
	}}
	return behind.start(t, false).Listener.Addr().String()
}

// cookieLine is what the browser would send as Cookie.
func cookieLine(b *browser) string {
	var pairs []string
	for _, c := range b.jar.Cookies(b.url(b.host)) {
		pairs = append(pairs, c.Name+"="+c.Value)
	}
	return strings.Join(pairs, "; ")
}
