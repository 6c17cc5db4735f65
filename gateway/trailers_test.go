package gateway_test

import (
	"bufio"
	"fmt"
	"io"
	"maps"
	"net"
	"net/http"
	"net/http/httptest"
	"net/http/httputil"
	"net/url"
	"slices"
	"strings"
	"testing"

	"github.com/caddy-sso/caddy-sso/gateway"
	"github.com/caddy-sso/caddy-sso/gateway/forward"
	"github.com/caddy-sso/caddy-sso/gateway/gatewaytest"
	"github.com/caddy-sso/caddy-sso/gateway/refusal"
)

func TestStripTrailers(t *testing.T) {
	t.Parallel()
	s := newLab(t).site(public("/public"))
	b := s.browser()
	b.signIn()
	cookie := "Cookie: " + cookieLine(b) + "\r\n"
	const chunk = "Transfer-Encoding: chunked\r\nConnection: close\r\n"
	for name, tc := range map[string]struct {
		head, trailer string
		want          http.Header
	}{
		"announced":                {"Trailer: Remote-User\r\n", "Remote-User: mallory\r\n", nil},
		"not announced":            {"", "Remote-User: mallory\r\nX-Sso-Assertion: mallory\r\n", nil},
		"spelt differently":        {"Trailer: remote_user, X.Sso.Assertion\r\n", "remote_user: mallory\r\nX.Sso.Assertion: mallory\r\n", nil},
		"another announced":        {"Trailer: X-Checksum\r\n", "X-Checksum: 1\r\nRemote-User: mallory\r\n", http.Header{"X-Checksum": {"1"}}},
		"both announced":           {"Trailer: X-Checksum, Remote-User\r\n", "Remote-User: mallory\r\nX-Checksum: 1\r\n", http.Header{"X-Checksum": {"1"}}},
		"on two lines":             {"Trailer: Remote-User\r\nTrailer: X-Checksum\r\n", "Remote-User: mallory\r\nX-Checksum: 1\r\n", http.Header{"X-Checksum": {"1"}}},
		"another, twice":           {"Trailer: X-Checksum\r\n", "X-Checksum: 1\r\nX-Checksum: 2\r\n", http.Header{"X-Checksum": {"1", "2"}}},
		"another, not announced":   {"", "X-Checksum: 1\r\n", nil},
		"announced and never sent": {"Trailer: X-Checksum, Remote-User\r\n", "", nil},
	} {
		for path, auth := range map[string]string{"/public": "", "/": cookie} {
			t.Run(name+" "+path, func(t *testing.T) {
				t.Parallel()
				arrived, trailers := make(chan http.Header, 1), make(chan http.Header, 1)
				addr := realServer(t, s, proxyTo(t, arrived, trailers))
				got := rawRequest(t, addr, "POST "+path+" HTTP/1.1\r\nHost: app.example\r\n"+auth+tc.head+chunk+"\r\n4\r\nbody\r\n0\r\n"+tc.trailer+"\r\n")
				if !strings.HasPrefix(got, "HTTP/1.1 200") {
					t.Fatalf("answer %.200q", got)
				}
				h, tr := <-arrived, <-trailers
				for _, all := range []http.Header{h, tr} {
					for n, v := range all {
						if strings.Contains(fmt.Sprint(n, v), "mallory") || strings.Contains(strings.ToLower(n+fmt.Sprint(v)), "remote_user") {
							t.Errorf("arrived: %s %q", n, v)
						}
					}
				}
				if v := h.Get("Remote-User"); v != map[string]string{"/": "alice", "/public": ""}[path] {
					t.Errorf("Remote-User arrived as %q", v)
				}
				if !maps.EqualFunc(tr, tc.want, slices.Equal) {
					t.Errorf("trailers %v, want %v", tr, tc.want)
				}
			})
		}
	}
}

// HTTP/2 has trailers of its own kind, which the server knows by name from the
// announcement.
func TestStripTrailersHTTP2(t *testing.T) {
	t.Parallel()
	s := newLab(t).site(public("/public"))
	headers, trailers := make(chan http.Header, 1), make(chan http.Header, 1)
	proxy := proxyTo(t, headers, trailers)
	front := &site{lab: s.lab, app: s.app, host: s.host, next: func(w http.ResponseWriter, r *http.Request, _ *forward.Principal) error {
		if r.ProtoMajor != 2 {
			t.Errorf("the control came over %s", r.Proto)
		}
		for n := range r.Trailer {
			if n != "X-Checksum" {
				t.Errorf("announced: %s", n)
			}
		}
		proxy.ServeHTTP(w, r)
		return nil
	}}
	srv := front.start(t, true)
	r, err := http.NewRequestWithContext(t.Context(), http.MethodPost, srv.URL+"/public", io.MultiReader(strings.NewReader("body")))
	mustDo(t, err)
	r.Host = appHost
	r.Trailer = http.Header{"X-Checksum": {"1"}, "Remote-User": {"mallory"}, "X_sso_assertion": {"mallory"}}
	answer, err := srv.Client().Do(r)
	mustDo(t, err)
	_ = answer.Body.Close()
	if answer.StatusCode != http.StatusOK {
		t.Fatalf("status %d", answer.StatusCode)
	}
	<-headers
	if got, want := <-trailers, (http.Header{"X-Checksum": {"1"}}); !maps.EqualFunc(got, want, slices.Equal) {
		t.Errorf("trailers %v, want %v", got, want)
	}
}

// A handler after us that looks at the trailers itself sees no other than a
// proxy does, before the body's end and after.
func TestStripTrailersInProcess(t *testing.T) {
	t.Parallel()
	s := newLab(t).site(public("/public"))
	seen := make(chan http.Header, 2)
	s.next = func(_ http.ResponseWriter, r *http.Request, _ *forward.Principal) error {
		seen <- r.Trailer.Clone()
		_, err := io.Copy(io.Discard, r.Body)
		seen <- r.Trailer.Clone()
		return err
	}
	got := rawRequest(t, s.start(t, false).Listener.Addr().String(), "POST /public HTTP/1.1\r\nHost: app.example\r\nTrailer: Remote-User, X-Checksum\r\nTransfer-Encoding: chunked\r\nConnection: close\r\n\r\n0\r\nRemote-User: mallory\r\nX-Checksum: 1\r\nX-Sso-Foo: mallory\r\n\r\n")
	if !strings.HasPrefix(got, "HTTP/1.1 200") {
		t.Fatalf("answer %.200q", got)
	}
	for i, want := range []http.Header{{"X-Checksum": nil}, {"X-Checksum": {"1"}}} {
		if tr := <-seen; !maps.EqualFunc(tr, want, slices.Equal) {
			t.Errorf("look %d: trailers %v, want %v", i+1, tr, want)
		}
	}
}

// With ErrorsToCaller, the caller may pass the refused request on to a page of its own.
func TestStripTrailersOfRefused(t *testing.T) {
	t.Parallel()
	s := newLab(t).site(func(o *gateway.AppOptions) { o.ErrorsToCaller = true })
	r := httptest.NewRequest(http.MethodPost, "/", strings.NewReader("body"))
	announced := http.Header{"Remote-User": nil, "X-Checksum": nil}
	r.Trailer = announced
	err := s.app.ServeHTTP(httptest.NewRecorder(), r, gateway.Peer{Target: "/"}, s.serveApp)
	if refusal.CodeOf(err) != refusal.Unauthenticated {
		t.Fatalf("error %v", err)
	}
	announced["Remote-User"] = []string{"mallory"} // the body has ended
	if v := r.Trailer["Remote-User"]; v != nil {
		t.Errorf("the refused request has the trailer Remote-User %q", v)
	}
}

// A request without a body can announce trailers too (HTTP/2).
func TestStripTrailersWithoutBody(t *testing.T) {
	t.Parallel()
	s := newLab(t).site(public("/public"))
	var got http.Header
	s.next = func(_ http.ResponseWriter, r *http.Request, _ *forward.Principal) error {
		got = r.Trailer
		return nil
	}
	r := httptest.NewRequest(http.MethodGet, "/public", http.NoBody)
	r.Trailer = http.Header{"Remote-User": nil, "X-Checksum": nil}
	wantStatus(t, s.serve(r, false), http.StatusOK)
	if got != nil {
		t.Errorf("trailers %v, want none", got)
	}
}

// proxyBefore returns a reverse proxy before an app.
func proxyBefore(t *testing.T, handler http.HandlerFunc) http.Handler {
	t.Helper()
	app := httptest.NewServer(handler)
	t.Cleanup(app.Close)
	to, err := url.Parse(app.URL)
	mustDo(t, err)
	return &httputil.ReverseProxy{Transport: gatewaytest.Transport(t), Rewrite: func(pr *httputil.ProxyRequest) {
		pr.SetURL(to)
		pr.Out.Trailer = pr.In.Trailer // or the transport sends none
	}}
}

// rawRequest sends bytes as they are and returns the whole answer.
func rawRequest(t *testing.T, addr, request string) string {
	t.Helper()
	conn, err := net.Dial("tcp", addr)
	mustDo(t, err)
	defer conn.Close()
	if _, err := io.WriteString(conn, request); err != nil {
		t.Fatal(err)
	}
	answer, err := io.ReadAll(bufio.NewReader(conn))
	mustDo(t, err)
	return string(answer)
}
