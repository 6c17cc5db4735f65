package gateway_test

import (
	"bufio"
	"context"
	"crypto/tls"
	"io"
	"net/http"
	"net/http/httptest"
	"strings"
	"sync/atomic"
	"testing"
	"time"

	"github.com/caddy-sso/caddy-sso/gateway"
	"github.com/caddy-sso/caddy-sso/gateway/forward"
	"github.com/caddy-sso/caddy-sso/mapping"
)

// over has a real server answer for the site.
func (s *site) over(http2 bool) *httptest.Server {
	s.t.Helper()
	server := httptest.NewUnstartedServer(http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) {
		_ = s.app.ServeHTTP(w, r, gateway.Peer{Secure: true, Addr: clientAddr, Target: r.RequestURI}, s.serveApp)
	}))
	server.EnableHTTP2 = http2
	server.Config.ConnContext = gateway.ConnContext
	server.StartTLS()
	s.t.Cleanup(server.Close)
	return server
}

// ask sends a request of the browser's to a server.
func (b *browser) ask(server *httptest.Server, method, path string, body io.Reader, header ...string) (*http.Response, error) {
	b.t.Helper()
	r, err := http.NewRequestWithContext(b.t.Context(), method, server.URL+path, body)
	if err != nil {
		b.t.Fatal(err)
	}
	r.Host = appHost
	for i := 0; i < len(header); i += 2 {
		r.Header.Set(header[i], header[i+1])
	}
	for _, c := range b.jar.Cookies(b.url(appHost)) {
		r.AddCookie(c)
	}
	return server.Client().Do(r)
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
	for name, next := range map[string]gateway.Next{
		"one that writes": func(w http.ResponseWriter, _ *http.Request, _ *forward.Principal) error {
			for {
				if _, err := io.WriteString(w, "more\n"); err != nil {
					stubborn.Add(1)
					return err
				}
				w.(http.Flusher).Flush()
				time.Sleep(20 * time.Millisecond)
			}
		},
		"one that copies": func(w http.ResponseWriter, _ *http.Request, _ *forward.Principal) error {
			begin(w)
			_, err := w.(io.ReaderFrom).ReadFrom(endless{})
			stubborn.Add(1)
			return err
		},
		"one that waits for others": func(w http.ResponseWriter, _ *http.Request, _ *forward.Principal) error {
			begin(w)
			time.Sleep(4 * time.Second)
			return nil
		},
		"one that sets deadlines": func(w http.ResponseWriter, _ *http.Request, _ *forward.Principal) error {
			for {
				_ = http.NewResponseController(w).SetWriteDeadline(time.Now().Add(time.Hour))
				if _, err := io.WriteString(w, "more\n"); err != nil {
					stubborn.Add(1)
					return err
				}
				w.(http.Flusher).Flush()
			}
		},
	} {
		for proto, http2 := range map[string]bool{"HTTP/1.1": false, "HTTP/2.0": true} {
			t.Run(name+" over "+proto, func(t *testing.T) {
				t.Parallel()
				s := newLab(t).site()
				s.next = func(w http.ResponseWriter, r *http.Request, p *forward.Principal) error {
					if r.URL.Path == "/other" {
						begin(w)
						<-r.Context().Done()
						return nil
					}
					return next(w, r, p)
				}
				alice, bob := s.browser(), s.browser()
				alice.signInAs("alice")
				bob.signInAs("bob")
				server := s.over(http2)
				hold := func(b *browser, path string) <-chan error {
					resp, err := b.ask(server, http.MethodGet, path, nil)
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
				wantStatus(t, alice.post("/.sso/logout"), http.StatusSeeOther)
				select {
				case err := <-alices:
					if err == nil {
						t.Error("the answer looks whole")
					}
				case <-time.After(3 * time.Second):
					t.Error("the stream lives on")
				}
				select {
				case err := <-bobs:
					t.Errorf("another's stream has ended: %v", err)
				default:
				}
				again := hold(bob, "/other")
				select {
				case err := <-again:
					t.Errorf("another's next stream has ended: %v", err)
				case <-time.After(500 * time.Millisecond):
				}
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
		next   func(read chan error) gateway.Next
	}{
		"a body": {nil, func(read chan error) gateway.Next {
			return func(_ http.ResponseWriter, r *http.Request, _ *forward.Principal) error {
				_, err := io.Copy(io.Discard, r.Body)
				read <- err
				return err
			}
		}},
		"a hijacked connection": {[]string{"Connection", "Upgrade", "Upgrade", "websocket"}, func(read chan error) gateway.Next {
			return func(w http.ResponseWriter, _ *http.Request, _ *forward.Principal) error {
				conn, rw, err := w.(http.Hijacker).Hijack()
				if err != nil {
					return err
				}
				go func() {
					_, err := io.Copy(io.Discard, rw)
					read <- err
					_ = conn.Close()
				}()
				return nil // and nobody waits for it
			}
		}},
	} {
		t.Run(name, func(t *testing.T) {
			t.Parallel()
			s := newLab(t).site()
			read := make(chan error, 1)
			s.next = tc.next(read)
			alice := s.browser()
			alice.signIn()
			server := s.over(false)
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
				if resp, err := alice.ask(server, http.MethodPost, "/upload", body, tc.header...); err == nil {
					_ = resp.Body.Close()
				}
			}()
			eventually(t, "the app is reached", func() bool { return s.reached() > 0 })
			select {
			case err := <-read:
				t.Fatalf("it ended before its time: %v", err)
			case <-time.After(300 * time.Millisecond):
			}
			wantStatus(t, alice.at(s).post("/.sso/logout"), http.StatusSeeOther)
			select {
			case err := <-read:
				if err == nil {
					t.Error("what was read looks whole")
				}
			case <-time.After(5 * time.Second):
				t.Error("it is still being read")
			}
		})
	}
}

// What the server's ResponseWriter can do, ours can.
func TestPassageOffersWhatTheServerDoes(t *testing.T) {
	t.Parallel()
	s := newLab(t).site()
	s.next = func(w http.ResponseWriter, r *http.Request, _ *forward.Principal) error {
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
		_, err = io.WriteString(conn, line)
		return err
	}
	alice := s.browser()
	alice.signIn()
	server := s.over(false)
	conn, err := tls.Dial("tcp", server.Listener.Addr().String(), server.Client().Transport.(*http.Transport).TLSClientConfig)
	if err != nil {
		t.Fatal(err)
	}
	defer func() { _ = conn.Close() }()
	r := alice.request(http.MethodGet, "/", "Connection", "Upgrade", "Upgrade", "websocket")
	_, _ = io.WriteString(conn, "GET / HTTP/1.1\r\nHost: "+appHost+"\r\nConnection: Upgrade\r\nUpgrade: websocket\r\nCookie: "+r.Header.Get("Cookie")+"\r\n\r\nahead\n")
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

// A gateway that takes over judges what is under way by the app that would get it.
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
			entered := make(chan context.Context)
			leave := make(chan struct{})
			defer close(leave)
			s.next = func(_ http.ResponseWriter, r *http.Request, _ *forward.Principal) error {
				entered <- r.Context()
				<-leave
				return nil
			}
			b := s.browser()
			b.signIn()
			r := b.request(http.MethodGet, "/stream")
			go func() {
				defer func() { _ = recover() }() // it may be aborted
				_, _ = s.try(r, false)
			}()
			live := <-entered
			now := l.gateway(func(o *gateway.Options) {
				if tc.change != nil {
					tc.change(o)
				}
			})
			for _, a := range tc.apps {
				app, err := now.NewApp(a.opts)
				if err == nil {
					err = app.Start(a.hosts)
				}
				if err != nil {
					t.Fatal(err)
				}
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
