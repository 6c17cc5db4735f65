//go:build integration

package integration

import (
	"bytes"
	"context"
	"crypto/tls"
	"encoding/json"
	"fmt"
	"io"
	"net"
	"net/http"
	"net/http/httptest"
	"strings"
	"sync"
	"testing"
	"time"

	"github.com/coder/websocket"

	"github.com/caddy-sso/caddy-sso/gateway/signing/verify"
)

// An app is the application behind the gateway. It answers every request with
// what it received, and verifies the assertion as an app should.
type app struct {
	*httptest.Server

	mu       sync.Mutex
	verifier *verify.Verifier
	requests []*received
	ended    chan string // paths of live connections that ended
}

// received is what the app says of one request.
type received struct {
	Method, Host, Target, Body string
	Header                     http.Header
	Trailer                    http.Header
	// Raw is the request as it came over the wire, trailers included.
	Raw string
	// Identity is what the assertion says, if it is valid; else AssertionError
	// says why it is not.
	Identity       *verify.Identity
	AssertionError string
}

// newApp starts an app. It verifies nothing until trust is called.
func newApp(t *testing.T) *app {
	t.Helper()
	a := &app{ended: make(chan string, 16)}
	mux := http.NewServeMux()
	mux.HandleFunc("/", a.echo)
	mux.HandleFunc("/live/ws", a.webSocket)
	mux.HandleFunc("/live/events", a.events)
	mux.HandleFunc("/live/poll", a.longPoll)
	a.Server = httptest.NewUnstartedServer(mux)
	// One request per connection, so that what a connection read is the
	// request.
	a.Server.Config.SetKeepAlivesEnabled(false)
	a.Server.Listener = tapListener{a.Server.Listener}
	a.Server.Config.ConnContext = func(ctx context.Context, c net.Conn) context.Context {
		return context.WithValue(ctx, tapKey{}, c)
	}
	a.Server.Start()
	t.Cleanup(func() {
		a.Server.CloseClientConnections()
		a.Server.Close()
	})
	return a
}

// trust makes the app verify assertions of the site at base.
func (a *app) trust(t *testing.T, base, audience string) {
	t.Helper()
	v, err := verify.New(verify.Config{
		Issuer: base, Audience: audience, JWKSURL: base + "/.sso/jwks.json",
		Client: &http.Client{Transport: transport(certificates(t))},
	})
	if err != nil {
		t.Fatal(err)
	}
	a.mu.Lock()
	defer a.mu.Unlock()
	a.verifier = v
}

func (a *app) address() string { return a.Server.Listener.Addr().String() }

// seen returns the requests so far to a path.
func (a *app) seen(path string) []*received {
	a.mu.Lock()
	defer a.mu.Unlock()
	var found []*received
	for _, r := range a.requests {
		if target, _, _ := strings.Cut(r.Target, "?"); target == path {
			found = append(found, r)
		}
	}
	return found
}

func (a *app) record(r *http.Request) *received {
	body, _ := io.ReadAll(io.LimitReader(r.Body, 1<<20))
	rec := &received{
		Method: r.Method, Host: r.Host, Target: r.RequestURI, Body: string(body), Header: r.Header.Clone(), Trailer: r.Trailer.Clone(),
		Raw: r.Context().Value(tapKey{}).(*tap).String(),
	}
	a.mu.Lock()
	v := a.verifier
	a.mu.Unlock()
	if v != nil {
		id, err := v.VerifyRequest(r)
		rec.Identity = id
		if err != nil {
			rec.AssertionError = err.Error()
		}
	}
	a.mu.Lock()
	defer a.mu.Unlock()
	a.requests = append(a.requests, rec)
	return rec
}

// echo answers with what it received: JSON, or, for a browser, a page with the
// JSON in it.
func (a *app) echo(w http.ResponseWriter, r *http.Request) {
	rec := a.record(r)
	b, err := json.Marshal(rec)
	if err != nil {
		http.Error(w, err.Error(), http.StatusInternalServerError)
		return
	}
	if !strings.Contains(r.Header.Get("Accept"), "text/html") {
		w.Header().Set("Content-Type", "application/json")
		_, _ = w.Write(b)
		return
	}
	var text bytes.Buffer
	json.HTMLEscape(&text, b)
	w.Header().Set("Content-Type", "text/html; charset=utf-8")
	fmt.Fprintf(w, "<!doctype html><title>app</title><script id=received type=application/json>%s</script><p>The app.", text.Bytes())
}

// webSocket echoes messages until the connection ends.
func (a *app) webSocket(w http.ResponseWriter, r *http.Request) {
	a.record(r)
	c, err := websocket.Accept(w, r, &websocket.AcceptOptions{InsecureSkipVerify: true}) // the gateway checks Origin
	if err != nil {
		return
	}
	defer func() { a.ended <- r.URL.Path }()
	defer func() { _ = c.CloseNow() }()
	for {
		typ, msg, err := c.Read(context.Background())
		if err != nil {
			return
		}
		if c.Write(context.Background(), typ, msg) != nil {
			return
		}
	}
}

// events sends a server-sent event ten times a second.
func (a *app) events(w http.ResponseWriter, r *http.Request) {
	a.record(r)
	defer func() { a.ended <- r.URL.Path }()
	w.Header().Set("Content-Type", "text/event-stream")
	for n := 0; ; n++ {
		fmt.Fprintf(w, "data: %d\n\n", n)
		w.(http.Flusher).Flush()
		select {
		case <-r.Context().Done():
			return
		case <-time.After(100 * time.Millisecond):
		}
	}
}

// longPoll has nothing to say for a minute.
func (a *app) longPoll(w http.ResponseWriter, r *http.Request) {
	a.record(r)
	select {
	case <-r.Context().Done():
		a.ended <- r.URL.Path
	case <-time.After(time.Minute):
		fmt.Fprintln(w, "nothing new")
	}
}

// A tap is a connection that remembers what was read from it.
type tap struct {
	net.Conn
	syncBuffer
}

type tapKey struct{}

func (t *tap) Read(p []byte) (int, error) {
	n, err := t.Conn.Read(p)
	_, _ = t.syncBuffer.Write(p[:n])
	return n, err
}

func (t *tap) Write(p []byte) (int, error) { return t.Conn.Write(p) }

type tapListener struct{ net.Listener }

func (l tapListener) Accept() (net.Conn, error) {
	c, err := l.Listener.Accept()
	if err != nil {
		return nil, err
	}
	return &tap{Conn: c}, nil
}

// transport verifies by the test authority and finds every test name on
// loopback.
func transport(p *pki) *http.Transport {
	return &http.Transport{TLSClientConfig: &tls.Config{RootCAs: p.pool}, DialContext: dialLoopback}
}

// dialLoopback dials the port on loopback whatever the name: resolvers know
// neither *.test nor *.localhost.
func dialLoopback(ctx context.Context, network, addr string) (net.Conn, error) {
	_, port, err := net.SplitHostPort(addr)
	if err != nil {
		return nil, err
	}
	var d net.Dialer
	return d.DialContext(ctx, network, net.JoinHostPort("127.0.0.1", port))
}
