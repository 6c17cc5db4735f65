package gateway_test

import (
	"bufio"
	"io"
	"net/http"
	"net/http/httptrace"
	"net/textproto"
	"slices"
	"strings"
	"testing"
	"time"

	"github.com/caddy-sso/caddy-sso/gateway/forward"
)

// lostCookies are lines of an app that a browser would send back to us as ours.
var lostCookies = []string{
	"sso=x", "sso=; Max-Age=0", "sso=; Domain=example; Path=/", "sso", " sso = x", "\tsso=x", "=sso=x", " = sso=x", "=sso",
	"sso-b=x", "sso-p=corp; Path=/a", "sso-r=x", "__Host-sso-r=x; Secure",
	"__Host-sso=x; Secure; Path=/", "__Host-sso-b=; Max-Age=0", "__Host-sso-p=x", "__host-sso=x", "__HOST-sso-b=x", "=__Host-sso=x",
}

// keptCookies look like ours and are the app's.
var keptCookies = []string{
	"session=abc; Path=/", "sso2=x", "ssox", "xsso=x", "sso-c=x", "__Secure-sso=x", "__Host-app=x", "app=sso=x", "app=1; sso=2",
}

// answers runs app behind the gateway on a real server, once for a signed-in person
// and once on a public path. HTTP/2 if h2.
func answers(t *testing.T, h2 bool, app http.HandlerFunc, check func(t *testing.T, ask func() *http.Response)) {
	t.Helper()
	s := newLab(t).site(public("/public/*"))
	b := s.browser()
	b.signIn()
	s.next = func(w http.ResponseWriter, r *http.Request, _ *forward.Principal) error {
		app(w, r)
		return nil
	}
	server := s.start(t, h2)
	for name, path := range map[string]string{"signed in": "/", "public": "/public/a"} {
		t.Run(name, func(t *testing.T) {
			check(t, func() *http.Response {
				r, err := http.NewRequestWithContext(t.Context(), http.MethodGet, server.URL+path, nil)
				mustDo(t, err)
				r.Header = b.request(http.MethodGet, path).Header.Clone()
				resp, err := server.Client().Transport.RoundTrip(r)
				mustDo(t, err)
				t.Cleanup(func() { _ = resp.Body.Close() })
				return resp
			})
		})
	}
}

// writes are the ways in which an app begins its answer.
var writes = map[string]func(w http.ResponseWriter){
	"WriteHeader": func(w http.ResponseWriter) { w.WriteHeader(http.StatusCreated) },
	"Write":       func(w http.ResponseWriter) { _, _ = w.Write([]byte("x")) },
	"ReadFrom":    func(w http.ResponseWriter) { _, _ = w.(io.ReaderFrom).ReadFrom(strings.NewReader("x")) },
	"Copy":        func(w http.ResponseWriter) { _, _ = io.Copy(w, strings.NewReader("x")) },
	"Flush":       func(w http.ResponseWriter) { w.(http.Flusher).Flush() },
	"controller":  func(w http.ResponseWriter) { _ = http.NewResponseController(w).Flush() },
	"a deadline": func(w http.ResponseWriter) {
		_ = http.NewResponseController(w).SetWriteDeadline(time.Now().Add(time.Minute))
	},
	"nothing": func(http.ResponseWriter) {},
	"an early hint": func(w http.ResponseWriter) {
		w.WriteHeader(http.StatusEarlyHints)
		w.WriteHeader(http.StatusOK)
	},
}

// An app can't set or delete our cookies, however it answers.
func TestAppCannotSetOurCookies(t *testing.T) {
	t.Parallel()
	for name, write := range writes {
		for _, spelling := range []string{"Set-Cookie", "set-cookie"} {
			for _, h2 := range []bool{false, true} {
				t.Run(name+" "+spelling, func(t *testing.T) {
					t.Parallel()
					answers(t, h2, func(w http.ResponseWriter, _ *http.Request) {
						w.Header()[spelling] = slices.Concat(lostCookies[:5], keptCookies, lostCookies[5:])
						write(w)
					}, func(t *testing.T, ask func() *http.Response) {
						t.Helper()
						if got := ask().Header["Set-Cookie"]; !slices.Equal(got, keptCookies) {
							t.Errorf("got %q, want %q", got, keptCookies)
						}
					})
				})
			}
		}
	}
}

func TestAppCannotSetOurCookiesInTrailers(t *testing.T) {
	t.Parallel()
	for _, h2 := range []bool{false, true} {
		answers(t, h2, func(w http.ResponseWriter, _ *http.Request) {
			w.Header().Set("Trailer", "Set-Cookie")
			_, _ = w.Write([]byte("x"))
			w.Header()["Set-Cookie"] = []string{"sso=x", "app=1"}
			w.Header()["Trailer:Set-Cookie"] = []string{"__Host-sso=x", "app=2"}
			w.Header()[http.TrailerPrefix+"X-Sum"] = []string{"3"}
		}, func(t *testing.T, ask func() *http.Response) {
			t.Helper()
			resp := ask()
			_, err := io.ReadAll(resp.Body)
			mustDo(t, err)
			got := slices.Sorted(slices.Values(resp.Trailer["Set-Cookie"]))
			if strings.Contains(strings.Join(got, " "), "sso") || len(got) == 0 || resp.Trailer.Get("X-Sum") != "3" {
				t.Errorf("trailers: %q", resp.Trailer)
			}
		})
	}
}

func TestAppCannotSetOurCookiesInHints(t *testing.T) {
	t.Parallel()
	s := newLab(t).site(public("/"))
	s.next = func(w http.ResponseWriter, _ *http.Request, _ *forward.Principal) error {
		w.Header()["Set-Cookie"] = []string{"sso=x", "app=1"}
		w.WriteHeader(http.StatusEarlyHints)
		w.Header()["Set-Cookie"] = []string{"app=2", "__Host-sso-b=x"}
		return nil
	}
	server := s.start(t, false)
	var hint []string
	ctx := httptrace.WithClientTrace(t.Context(), &httptrace.ClientTrace{Got1xxResponse: func(_ int, h textproto.MIMEHeader) error {
		hint = h["Set-Cookie"]
		return nil
	}})
	r, err := http.NewRequestWithContext(ctx, http.MethodGet, server.URL, nil)
	mustDo(t, err)
	resp, err := server.Client().Do(r)
	mustDo(t, err)
	_ = resp.Body.Close()
	if !slices.Equal(hint, []string{"app=1"}) || !slices.Equal(resp.Header["Set-Cookie"], []string{"app=2"}) {
		t.Errorf("the hint has %q, the answer %q", hint, resp.Header["Set-Cookie"])
	}
}

// Upgrades work as before, and their header is cleaned.
func TestAppCannotSetOurCookiesInUpgrade(t *testing.T) {
	t.Parallel()
	s := newLab(t).site(public("/"))
	s.next = func(w http.ResponseWriter, _ *http.Request, _ *forward.Principal) error {
		w.Header()["Set-Cookie"] = []string{"sso=x", "app=1"}
		w.Header().Set("Connection", "Upgrade")
		w.Header().Set("Upgrade", "websocket")
		w.WriteHeader(http.StatusSwitchingProtocols)
		conn, _, err := w.(http.Hijacker).Hijack()
		if err != nil {
			return err
		}
		_, _ = io.WriteString(conn, "hello")
		return conn.Close()
	}
	server := s.start(t, false)
	in := bufio.NewReader(strings.NewReader(rawRequest(t, server.Listener.Addr().String(), "GET / HTTP/1.1\r\nHost: a\r\nConnection: Upgrade\r\nUpgrade: websocket\r\n\r\n")))
	resp, err := http.ReadResponse(in, nil)
	mustDo(t, err)
	rest, err := io.ReadAll(in)
	mustDo(t, err)
	if resp.StatusCode != http.StatusSwitchingProtocols || !slices.Equal(resp.Header["Set-Cookie"], []string{"app=1"}) || string(rest) != "hello" {
		t.Errorf("%d %q %q", resp.StatusCode, resp.Header["Set-Cookie"], rest)
	}
}

// Clear-Site-Data of an app leaves our cookies, and does all else that it says.
func TestAppCannotClearOurCookies(t *testing.T) {
	t.Parallel()
	const all = `"cache","clientHints","executionContexts","prefetchCache","prerenderCache","storage"`
	for line, want := range map[string]string{
		`"cookies"`:            "",
		`"cache", "storage"`:   `"cache", "storage"`,
		`"cookies", "storage"`: `"storage"`,
		`"cache","cookies"`:    `"cache"`,
		`"*"`:                  all,
		`"cache", "*"`:         `"cache",` + all,
		`cookies`:              "",
	} {
		answers(t, false, func(w http.ResponseWriter, _ *http.Request) {
			w.Header().Set("Clear-Site-Data", line)
		}, func(t *testing.T, ask func() *http.Response) {
			t.Helper()
			if got := ask().Header.Get("Clear-Site-Data"); got != want {
				t.Errorf("%s: got %q, want %q", line, got, want)
			}
		})
	}
}
