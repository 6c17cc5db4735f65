package passage_test

import (
	"bufio"
	"context"
	"crypto/tls"
	"fmt"
	"io"
	"net/http"
	"net/http/httptest"
	"strings"
	"sync/atomic"
	"testing"
	"time"

	"go.uber.org/zap"

	"github.com/caddy-sso/caddy-sso/gateway/gatewaytest"
	"github.com/caddy-sso/caddy-sso/gateway/passage"
	"github.com/caddy-sso/caddy-sso/gateway/provider"
	"github.com/caddy-sso/caddy-sso/gateway/session"
)

const host = "app.example"

// A site is a server whose requests pass by the session of their cookie.
type site struct {
	t       *testing.T
	node    *session.Node
	next    func(http.ResponseWriter, *http.Request)
	reset   func(http.ResponseWriter)
	reached atomic.Int32
}

func newSite(t *testing.T, next func(http.ResponseWriter, *http.Request)) *site {
	t.Helper()
	node, err := session.Open(session.Options{
		Store: gatewaytest.NewMemStore(), Marker: &gatewaytest.Marker{}, Logger: zap.NewNop(), Secrets: [][]byte{gatewaytest.Secret("a")},
	})
	if err != nil {
		t.Fatal(err)
	}
	ctx, cancel := context.WithCancel(context.Background())
	done := make(chan struct{})
	go func() { defer close(done); _ = node.Run(ctx) }()
	t.Cleanup(func() { cancel(); <-done })
	return &site{t: t, node: node, next: next}
}

// signIn returns the cookie of a person.
func (s *site) signIn(user string) string {
	s.t.Helper()
	value, err := s.node.SignIn(s.t.Context(), session.Source{Provider: "corp", Protocol: provider.OIDC, Issuer: "https://id.example"},
		&provider.Answer{Subject: user, Identity: provider.Identity{Username: user}}, time.Hour, host)
	if err != nil {
		s.t.Fatal(err)
	}
	return value
}

// signOut ends the login of a cookie.
func (s *site) signOut(cookie string) {
	s.t.Helper()
	ses, err := s.node.Find(s.t.Context(), cookie, host)
	if err == nil {
		err = ses.End(s.t.Context())
	}
	if err != nil {
		s.t.Fatal(err)
	}
}

// ServeHTTP implements http.Handler.
func (s *site) ServeHTTP(w http.ResponseWriter, r *http.Request) {
	ses, err := s.node.Find(r.Context(), r.Header.Get("Session"), host)
	p := new(passage.Passage)
	if err != nil || !p.Enter(ses, ses.Login().Expires, w, r, s.reset) {
		http.Error(w, fmt.Sprint("no session: ", err), http.StatusUnauthorized)
		return
	}
	defer p.Leave()
	s.reached.Add(1)
	s.next(p.Writer(), p.Request())
	p.AbortIfCut()
}

// start has a real server answer for the site.
func (s *site) start(http2 bool) *httptest.Server {
	s.t.Helper()
	server := httptest.NewUnstartedServer(s)
	server.EnableHTTP2 = http2
	server.Config.ConnContext = passage.ConnContext
	server.StartTLS()
	s.t.Cleanup(server.Close)
	return server
}

// ask sends a request by a session to a server.
func (s *site) ask(server *httptest.Server, cookie, method, path string, body io.Reader, header ...string) (*http.Response, error) {
	s.t.Helper()
	r, err := http.NewRequestWithContext(s.t.Context(), method, server.URL+path, body)
	if err != nil {
		s.t.Fatal(err)
	}
	r.Header.Set("Session", cookie)
	for i := 0; i < len(header); i += 2 {
		r.Header.Set(header[i], header[i+1])
	}
	return server.Client().Do(r)
}

// within is how long something may take on a busy machine.
const within = 20 * time.Second

// wantReached waits until n requests have reached the handler.
func (s *site) wantReached(n int32) {
	s.t.Helper()
	for begun := time.Now(); s.reached.Load() < n; time.Sleep(time.Millisecond) {
		if time.Since(begun) > within {
			s.t.Fatal("the handler is not reached")
		}
	}
}

// wantCut waits until something is cut. It does not look whole then.
func wantCut(t *testing.T, cut <-chan error) {
	t.Helper()
	select {
	case err := <-cut:
		if err == nil {
			t.Error("what was cut looks whole")
		}
	case <-time.After(within):
		t.Error("it lives on")
	}
}

// wantGoing holds that something goes on for a while.
func wantGoing(t *testing.T, ended <-chan error, while time.Duration) {
	t.Helper()
	select {
	case err := <-ended:
		t.Fatalf("it has ended before its time: %v", err)
	case <-time.After(while):
	}
}

// Handlers that watch no context are cut at the connection, and only those of the
// login that has ended.
func TestCutAtTheConnection(t *testing.T) {
	t.Parallel()
	var stubborn atomic.Int32 // handlers whose reading or writing failed
	begin := func(w http.ResponseWriter) {
		_, _ = io.WriteString(w, "begun\n")
		w.(http.Flusher).Flush()
	}
	// more writes again and again, after each what the handler does besides.
	more := func(w http.ResponseWriter, besides func()) {
		for {
			if _, err := io.WriteString(w, "more\n"); err != nil {
				stubborn.Add(1)
				return
			}
			w.(http.Flusher).Flush()
			besides()
		}
	}
	for name, next := range map[string]func(w http.ResponseWriter, seen <-chan struct{}){
		"one that writes": func(w http.ResponseWriter, _ <-chan struct{}) {
			more(w, func() { time.Sleep(20 * time.Millisecond) })
		},
		"one that copies": func(w http.ResponseWriter, _ <-chan struct{}) {
			begin(w)
			_, _ = w.(io.ReaderFrom).ReadFrom(endless{})
			stubborn.Add(1)
		},
		"one that waits for others": func(w http.ResponseWriter, seen <-chan struct{}) {
			begin(w)
			<-seen
		},
		"one that sets deadlines": func(w http.ResponseWriter, _ <-chan struct{}) {
			more(w, func() { _ = http.NewResponseController(w).SetWriteDeadline(time.Now().Add(time.Hour)) })
		},
	} {
		for proto, http2 := range map[string]bool{"HTTP/1.1": false, "HTTP/2.0": true} {
			t.Run(name+" over "+proto, func(t *testing.T) {
				t.Parallel()
				seen := make(chan struct{}) // by the client, that it was cut
				s := newSite(t, func(w http.ResponseWriter, r *http.Request) {
					if r.URL.Path == "/other" {
						begin(w)
						<-r.Context().Done()
						return
					}
					next(w, seen)
				})
				alice, bob := s.signIn("alice"), s.signIn("bob")
				server := s.start(http2)
				hold := func(cookie, path string) <-chan error {
					resp, err := s.ask(server, cookie, http.MethodGet, path, nil)
					if err != nil {
						t.Fatal(err)
					}
					if resp.Proto != proto {
						t.Fatalf("the protocol is %s", resp.Proto)
					}
					ended := make(chan error, 1)
					go func() {
						_, err := io.Copy(io.Discard, resp.Body)
						ended <- err
					}()
					return ended
				}
				alices, bobs := hold(alice, "/stream"), hold(bob, "/other")
				s.signOut(alice)
				wantCut(t, alices)
				close(seen)
				wantGoing(t, bobs, 0)
				wantGoing(t, hold(bob, "/other"), 500*time.Millisecond)
				server.CloseClientConnections()
			})
		}
	}
	t.Cleanup(func() {
		if n := stubborn.Load(); n != 6 {
			t.Errorf("%d handlers saw it, want 6", n)
		}
	})
}

type endless struct{}

func (endless) Read(p []byte) (int, error) { return len(p), nil }

// What a handler reads is cut too, and a connection that it took for itself, even
// if it has returned.
func TestCutOfWhatIsRead(t *testing.T) {
	t.Parallel()
	for name, tc := range map[string]struct {
		header []string
		next   func(w http.ResponseWriter, r *http.Request, read chan<- error)
	}{
		"a body": {nil, func(_ http.ResponseWriter, r *http.Request, read chan<- error) {
			_, err := io.Copy(io.Discard, r.Body)
			read <- err
		}},
		"a hijacked connection": {[]string{"Connection", "Upgrade", "Upgrade", "websocket"}, func(w http.ResponseWriter, _ *http.Request, read chan<- error) {
			conn, rw, err := w.(http.Hijacker).Hijack()
			if err != nil {
				read <- err
				return
			}
			go func() { // and nobody waits for it
				_, err := io.Copy(io.Discard, rw)
				read <- err
				_ = conn.Close()
			}()
		}},
	} {
		t.Run(name, func(t *testing.T) {
			t.Parallel()
			read := make(chan error, 1)
			s := newSite(t, func(w http.ResponseWriter, r *http.Request) { tc.next(w, r, read) })
			alice := s.signIn("alice")
			server := s.start(false)
			body, more := io.Pipe()
			go func() {
				for {
					if _, err := more.Write([]byte("more")); err != nil {
						return
					}
					time.Sleep(20 * time.Millisecond)
				}
			}()
			t.Cleanup(func() { _ = more.Close() })
			go func() {
				if resp, err := s.ask(server, alice, http.MethodPost, "/upload", body, tc.header...); err == nil {
					_ = resp.Body.Close()
				}
			}()
			s.wantReached(1)
			wantGoing(t, read, 300*time.Millisecond)
			s.signOut(alice)
			wantCut(t, read)
		})
	}
}

// What the server's ResponseWriter can do, ours can.
func TestPassageOffersWhatTheServerDoes(t *testing.T) {
	t.Parallel()
	s := newSite(t, func(w http.ResponseWriter, r *http.Request) {
		_, flushes := w.(http.Flusher)
		_, hijacks := w.(http.Hijacker)
		_, copies := w.(io.ReaderFrom)
		_, pushes := w.(http.Pusher)
		if !flushes || !hijacks || !copies || !pushes {
			t.Errorf("it flushes: %t, hijacks: %t, copies: %t, pushes: %t", flushes, hijacks, copies, pushes)
		}
		if err := http.NewResponseController(w).EnableFullDuplex(); err != nil {
			t.Error(err)
		}
		if r.Method == http.MethodGet && r.Body != http.NoBody {
			t.Errorf("no body became %T", r.Body)
		}
		conn, rw, err := http.NewResponseController(w).Hijack()
		if err != nil {
			t.Fatal(err)
		}
		defer func() { _ = conn.Close() }()
		ahead, _ := rw.ReadString('\n')
		_, _ = rw.WriteString("HTTP/1.1 101 Switching Protocols\r\n\r\n" + ahead)
		_ = rw.Flush()
		line, _ := bufio.NewReader(conn).ReadString('\n')
		_, _ = io.WriteString(conn, line)
	})
	alice := s.signIn("alice")
	server := s.start(false)
	conn, err := tls.Dial("tcp", server.Listener.Addr().String(), server.Client().Transport.(*http.Transport).TLSClientConfig)
	if err != nil {
		t.Fatal(err)
	}
	defer func() { _ = conn.Close() }()
	_, _ = io.WriteString(conn, "GET / HTTP/1.1\r\nHost: "+host+"\r\nConnection: Upgrade\r\nUpgrade: websocket\r\nSession: "+alice+"\r\n\r\nahead\n")
	lines := bufio.NewReader(conn)
	var got []string
	for range 3 {
		line, _ := lines.ReadString('\n')
		got = append(got, strings.TrimSpace(line))
	}
	_, _ = io.WriteString(conn, "later\n")
	line, _ := lines.ReadString('\n')
	if got[0] != "HTTP/1.1 101 Switching Protocols" || got[2] != "ahead" || line != "later\n" {
		t.Errorf("got %q, then %q", got, line)
	}
}
