package caddymodule_test

import (
	"bufio"
	"context"
	"encoding/json"
	"fmt"
	"io"
	"net"
	"net/http"
	"net/http/httptest"
	"strings"
	"testing"
	"time"

	"github.com/caddyserver/caddy/v2"

	"github.com/caddy-sso/caddy-sso/gateway/gatewaytest"
)

// streamingApp sends a line ten times a second; it reads what is posted, and what
// comes by an upgraded connection, without an answer.
func streamingApp(t *testing.T) (address string) {
	t.Helper()
	ended := make(chan struct{})
	server := httptest.NewServer(http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) {
		if r.Header.Get("Upgrade") != "" {
			conn, rw, err := http.NewResponseController(w).Hijack()
			if err != nil {
				return
			}
			defer func() { _ = conn.Close() }()
			_, _ = conn.Write([]byte("HTTP/1.1 101 Switching Protocols\r\nUpgrade: websocket\r\nConnection: Upgrade\r\n\r\n"))
			_, _ = io.Copy(io.Discard, rw)
			return
		}
		_, _ = io.Copy(io.Discard, r.Body)
		for {
			_, _ = fmt.Fprintln(w, "tick")
			_ = http.NewResponseController(w).Flush()
			select {
			case <-r.Context().Done():
				return
			case <-ended:
				return
			case <-time.After(100 * time.Millisecond):
			}
		}
	}))
	t.Cleanup(func() {
		close(ended)
		server.CloseClientConnections()
		server.Close()
	})
	return server.Listener.Addr().String()
}

// signInAs signs somebody in who is in one group.
func (w *world) signInAs(name, group string) *browser {
	w.t.Helper()
	w.op.SetHooks(gatewaytest.OPHooks{Claims: func(claims map[string]any) {
		claims["sub"], claims["preferred_username"], claims["groups"] = name, name, []any{group}
	}})
	b := newBrowser(w.t)
	if status, body := b.get(w.origin() + "/whoami"); status != http.StatusOK || body != name {
		w.t.Fatalf("signing %s in: %d %s", name, status, body)
	}
	return b
}

// logOut ends the session of a browser.
func (w *world) logOut(b *browser) {
	w.t.Helper()
	r := mustPost(w.t, w.origin()+"/.sso/logout", nil)
	r.Header.Set("Origin", w.origin())
	r.Header.Set("Sec-Fetch-Site", "same-origin")
	if status, _ := b.do(r); status != http.StatusOK {
		w.t.Fatalf("logging out: %d", status)
	}
}

// stream begins a request that is answered for ever. The channel says why it ended.
func (b *browser) stream(address string) <-chan error {
	b.t.Helper()
	ctx, cancel := context.WithCancel(context.Background())
	b.t.Cleanup(cancel)
	client := &http.Client{Jar: b.Jar, Transport: &http.Transport{}}
	resp, err := client.Do(mustRequest(b.t, address).WithContext(ctx))
	if err != nil {
		b.t.Fatal(err)
	}
	lines := bufio.NewReader(resp.Body)
	if line, err := lines.ReadString('\n'); err != nil || resp.StatusCode != http.StatusOK {
		b.t.Fatalf("%s: %d %q %v", address, resp.StatusCode, line, err)
	}
	return endOf(lines)
}

func endOf(r io.Reader) <-chan error {
	ended := make(chan error, 1)
	go func() {
		_, err := io.Copy(io.Discard, r)
		ended <- err
	}()
	return ended
}

// soon is how long a stream may live on after a logout, or after a reload that ends it:
// longer than the promised second, since the test waits for both.
const soon = 3 * time.Second

// wantEnd wants a stream to end within a time, and what the machine is late by meanwhile.
func wantEnd(t *testing.T, what string, ended <-chan error, within time.Duration) {
	t.Helper()
	late, began := gatewaytest.Lateness(t), time.Now()
	select {
	case err := <-ended:
		if took := time.Since(began); took > within+late() {
			t.Errorf("%s ended after %v, want %v at most: %v", what, took, within, err)
		}
	case <-time.After(within + time.Minute):
		t.Errorf("%s lives on", what)
	}
}

func wantOn(t *testing.T, what string, ended <-chan error) {
	t.Helper()
	select {
	case err := <-ended:
		t.Errorf("%s has ended: %v", what, err)
	default:
	}
}

// TestReloadJudgesStreams holds that a new configuration decides on what is under
// way: who is denied loses it, others do not, and nobody does to whom nothing changed.
func TestReloadJudgesStreams(t *testing.T) {
	w := newWorld(t)
	site := func(options, port string) string {
		return strings.ReplaceAll(fmt.Sprintf(`ORIGIN {
	PROVIDER
		public /open
		%s
	}
	respond /whoami "{http.auth.user.id}"
	reverse_proxy APP {
		flush_interval -1
	}
}
%s
`, options, port), "APP", streamingApp(t))
	}
	const secret = "secret 0123456789abcdef0123456789abcdef"
	load := func(global, options string) {
		t.Helper()
		w.mustLoad(w.global(global) + site(options, ""))
	}
	load(secret, "role User team others")
	alice, bob := w.signInAs("alice", "team"), w.signInAs("bob", "others")
	alices, bobs, open := alice.stream(w.origin()+"/live"), bob.stream(w.origin()+"/live"), bob.stream(w.origin()+"/open")

	load(secret, "role User team others\n\t\trole Admin admins")
	time.Sleep(time.Second)
	wantOn(t, "alice's stream, as nothing is denied", alices)
	wantOn(t, "bob's stream, as nothing is denied", bobs)

	load(secret, "role User team")
	wantEnd(t, "the stream of bob, who is denied", bobs, soon)
	wantOn(t, "alice's stream, who is let in", alices)
	wantOn(t, "a public stream", open)
	if status, _ := bob.do(mustRequest(t, w.origin()+"/whoami")); status != http.StatusForbidden {
		t.Errorf("bob is answered %d", status)
	}

	// Another secret brings another node: it takes over what is under way.
	load(secret+"\n\t\tlifetime 7h", "role User team\n\t\tpublic /whoami")
	const next = "secret fedcba9876543210fedcba9876543210 0123456789abcdef0123456789abcdef"
	load(next, "role User team")
	second := alice.stream(w.origin() + "/live")
	time.Sleep(2 * time.Second)
	wantOn(t, "alice's stream after a change of the secret", alices)
	w.logOut(alice)
	wantEnd(t, "alice's stream after the logout", alices, soon)
	wantEnd(t, "alice's second stream after the logout", second, soon)

	// The provider has another definition now: logins by its old definition do not count.
	alice = w.signInAs("alice", "team")
	alices = alice.stream(w.origin() + "/live")
	load(next, "role User team\n\t\tusername_claim sub")
	wantEnd(t, "the stream of a login by another definition", alices, soon)

	// The site is gone, and with it who could let anybody in.
	alice = w.signInAs("alice", "team")
	alices = alice.stream(w.origin() + "/live")
	w.mustLoad(w.global(next) + strings.ReplaceAll(site("role User team", ""), "ORIGIN", fmt.Sprintf("http://other.localhost:%d", w.port)))
	wantEnd(t, "the stream of a site that is gone", alices, soon)
}

// TestCutOfErrorRoutes holds that an error route ends with the login of the request,
// be it the site's or that of a subroute, which only JSON has. What failed before sso
// was asked has no login, and goes on.
func TestCutOfErrorRoutes(t *testing.T) {
	for name, move := range map[string]func(server map[string]any){
		"of the site": func(map[string]any) {},
		"of a subroute": func(server map[string]any) {
			site := server["routes"].([]any)[0].(map[string]any)["handle"].([]any)[0].(map[string]any)
			site["errors"] = server["errors"]
			delete(server, "errors")
		},
		"of the site, after a subroute's": func(server map[string]any) {
			site := server["routes"].([]any)[0].(map[string]any)["handle"].([]any)[0].(map[string]any)
			site["errors"] = map[string]any{"routes": []any{map[string]any{"handle": []any{map[string]any{"handler": "error", "status_code": 503}}}}}
		},
	} {
		t.Run(name, func(t *testing.T) {
			w := newWorld(t)
			caddyfile := strings.NewReplacer("PROVIDER", w.provider(), "ORIGIN", w.origin(), "APP", streamingApp(t)).Replace(w.global("") + `ORIGIN {
	PROVIDER
		role User *
		public /open
	}
	respond /whoami "{http.auth.user.id}"
	error /live "broken" 503
	error /open "broken" 503
	handle_errors {
		sso_strip
		reverse_proxy APP {
			flush_interval -1
		}
	}
}
`)
			var config map[string]any
			if err := json.Unmarshal(mustAdapt(t, caddyfile), &config); err != nil {
				t.Fatal(err)
			}
			move(config["apps"].(map[string]any)["http"].(map[string]any)["servers"].(map[string]any)["srv0"].(map[string]any))
			changed, err := json.Marshal(config)
			if err == nil {
				err = caddy.Load(changed, true)
			}
			if err != nil {
				t.Fatal(err)
			}
			alice, bob := w.signInAs("alice", "team"), w.signInAs("bob", "team")
			alices, bobs, open := alice.stream(w.origin()+"/live"), bob.stream(w.origin()+"/live"), alice.stream(w.origin()+"/open")
			w.logOut(alice)
			wantEnd(t, "the stream", alices, soon)
			wantOn(t, "another's", bobs)
			wantOn(t, "a public one", open)
		})
	}
}

// TestIdleEndsStreams holds that what the app sends is no use of a login, and that
// what the client sends is.
func TestIdleEndsStreams(t *testing.T) {
	for idle := 2 * time.Second; idle <= 16*time.Second; idle *= 2 {
		if idleEndsStreams(t, idle) {
			return
		}
		t.Logf("the machine was late: nothing can be said of %v", idle)
	}
	t.Fatal("the machine was late by more than half of each idle limit: run this test on one that is less busy")
}

// idleEndsStreams reports whether the test kept its times.
func idleEndsStreams(t *testing.T, idle time.Duration) bool {
	t.Helper()
	w := newWorld(t)
	w.mustLoad(w.global("idle "+idle.String()) + strings.ReplaceAll(`ORIGIN {
	PROVIDER
		role User *
	}
	respond /whoami "{http.auth.user.id}"
	reverse_proxy APP {
		flush_interval -1
	}
}
`, "APP", streamingApp(t)))
	reader, poster, talker := w.signInAs("reader", "team"), w.signInAs("poster", "team"), w.signInAs("talker", "team")
	read := reader.stream(w.origin() + "/live")
	dial := func(b *browser, target, fields string) (net.Conn, *bufio.Reader) {
		t.Helper()
		conn, err := net.Dial("tcp", strings.TrimPrefix(w.origin(), "http://"))
		if err != nil {
			t.Fatal(err)
		}
		t.Cleanup(func() { _ = conn.Close() })
		_, _ = fmt.Fprintf(conn, "%s HTTP/1.1\r\nHost: localhost:%d\r\nOrigin: %s\r\nCookie: sso=%s\r\n%s\r\n\r\n", target, w.port, w.origin(), b.cookie(w.origin()), fields)
		return conn, bufio.NewReader(conn)
	}
	post, answer := dial(poster, "POST /upload", "Transfer-Encoding: chunked")
	posted := endOf(answer)
	conn, answer := dial(talker, "GET /ws", "Connection: Upgrade\r\nUpgrade: websocket\r\nSec-WebSocket-Version: 13\r\nSec-WebSocket-Key: dGhlIHNhbXBsZSBub25jZQ==")
	if line, err := answer.ReadString('\n'); err != nil || !strings.Contains(line, " 101 ") {
		t.Fatalf("upgrading: %q %v", line, err)
	}
	talked := endOf(answer)
	late := gatewaytest.Lateness(t)
	for began := time.Now(); time.Since(began) < 2*idle; time.Sleep(idle / 10) {
		_, _ = post.Write([]byte("4\r\nmore\r\n"))
		_, _ = conn.Write([]byte("more"))
	}
	if late() > idle/2 {
		return false
	}
	wantEnd(t, "a stream that only the app sends on", read, 2*idle+soon)
	wantOn(t, "an upload", posted)
	wantOn(t, "a WebSocket on which the client sends", talked)
	wantEnd(t, "an upload that has come to rest", posted, 2*idle+soon)
	wantEnd(t, "a WebSocket that has come to rest", talked, 2*idle+soon)
	if status, _ := talker.do(mustRequest(t, w.origin()+"/whoami")); status != http.StatusUnauthorized {
		t.Errorf("after the limit: %d", status)
	}
	return true
}
