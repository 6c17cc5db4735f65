//go:build integration

package integration

import (
	"bytes"
	"context"
	"errors"
	"fmt"
	"io"
	"net/http"
	"net/http/httptest"
	"os"
	"path/filepath"
	"strings"
	"sync"
	"testing"
	"time"

	"github.com/caddy-sso/caddy-sso/gateway/gatewaytest"
)

// load loads the Caddyfile anew through the admin endpoint: as reload does,
// without a process for each.
func (g *gateway) load() error {
	text, err := os.ReadFile(g.caddyfile())
	if err != nil {
		return err
	}
	req, err := http.NewRequest(http.MethodPost, "http://localhost/load", bytes.NewReader(text))
	if err != nil {
		return err
	}
	req.Header.Set("Content-Type", "text/caddyfile")
	req.Header.Set("Cache-Control", "must-revalidate") // also if nothing has changed
	resp, err := g.adminClient().Do(req)
	if err != nil {
		return err
	}
	defer resp.Body.Close()
	answer, err := io.ReadAll(resp.Body)
	if err == nil && resp.StatusCode != http.StatusOK {
		err = errors.New(string(answer))
	}
	return err
}

// A workload is what clients met who kept requesting.
type workload struct {
	mu     sync.Mutex
	served map[string]int // by kind of client
	lost   map[string]int // requests that got no answer
	wrong  []string       // answers that are not what they should be
	sample error          // one of the reasons why a request got no answer
}

func (w *workload) String() string {
	return fmt.Sprintf("served %v, without an answer %v, wrong %d", w.served, w.lost, len(w.wrong))
}

func (w *workload) allLost() int {
	sum := 0
	for _, n := range w.lost {
		sum += n
	}
	return sum
}

// A loadKind is a way to request.
type loadKind struct {
	name   string
	keep   bool // connections, or make a new one for each request
	method string
	http2  bool
}

// Nothing is tried again by itself that is no GET or that was sent on a new
// connection.
var (
	loadKinds = []loadKind{
		{name: "GET, connections kept", keep: true, method: http.MethodGet},
		{name: "POST, connections kept", keep: true, method: http.MethodPost},
		{name: "GET, new connections", method: http.MethodGet},
		{name: "POST, new connections", method: http.MethodPost},
	}
	loadKindsHTTP2 = []loadKind{
		{name: "HTTP/2, POST, connections kept", keep: true, method: http.MethodPost, http2: true},
		{name: "HTTP/2, POST, new connections", method: http.MethodPost, http2: true},
	}
)

// drive keeps requesting in all ways until ctx ends.
func drive(ctx context.Context, target, want string, kinds []loadKind, client func() *client) *workload {
	w := &workload{served: map[string]int{}, lost: map[string]int{}}
	var wg sync.WaitGroup
	for _, kind := range kinds {
		c := client()
		tr, _ := c.http.Transport.(*http.Transport)
		tr.DisableKeepAlives = !kind.keep && !kind.http2
		tr.ForceAttemptHTTP2 = kind.http2
		wg.Go(func() {
			for ctx.Err() == nil {
				w.add(kind, want, c.http, target)
				if !kind.keep {
					tr.CloseIdleConnections() // one with HTTP/2 is kept, whatever the transport is told
				}
			}
		})
	}
	wg.Wait()
	return w
}

func (w *workload) add(kind loadKind, want string, client *http.Client, target string) {
	var sent io.Reader
	if kind.method == http.MethodPost {
		sent = strings.NewReader("one=1&two=2")
	}
	req, err := http.NewRequest(kind.method, target, sent)
	if err != nil {
		panic(err)
	}
	resp, err := client.Do(req)
	var body []byte
	if err == nil {
		body, err = io.ReadAll(resp.Body)
		_ = resp.Body.Close()
	}
	w.mu.Lock()
	defer w.mu.Unlock()
	switch {
	case err != nil:
		w.lost[kind.name]++
		w.sample = err
	case resp.StatusCode != http.StatusOK || string(body) != want || kind.http2 != (resp.ProtoMajor == 2):
		w.wrong = append(w.wrong, fmt.Sprintf("%s: %s %d %.200s", kind.name, resp.Proto, resp.StatusCode, body))
	default:
		w.served[kind.name]++
	}
}

// during returns what clients met while change was called so many times.
func during(t *testing.T, times int, target, want string, kinds []loadKind, c func() *client, change func(int)) *workload {
	t.Helper()
	ctx, cancel := context.WithCancel(t.Context())
	done := make(chan *workload)
	go func() { done <- drive(ctx, target, want, kinds, c) }()
	began := time.Now()
	for i := range times {
		change(i)
		time.Sleep(50 * time.Millisecond)
	}
	cancel()
	w := <-done
	t.Logf("%d times in %v: %v", times, time.Since(began), w)
	for _, wrong := range w.wrong[:min(5, len(w.wrong))] {
		t.Errorf("a wrong answer: %s", wrong)
	}
	for _, kind := range kinds {
		if w.served[kind.name] < times {
			t.Errorf("only %d requests were served of %s", w.served[kind.name], kind.name)
		}
	}
	return w
}

// loadedCluster is a gateway with somebody signed in, before an app that says
// who asks.
func loadedCluster(t *testing.T, o clusterOptions) (*cluster, *client) {
	t.Helper()
	o.upstream = loadBackend(t) // the app of the cluster remembers every request
	cl := newCluster(t, o)
	c := cl.client(0)
	if p := c.navigate(cl.base + "/"); p.body != `for "alice"` {
		t.Fatalf("signing in: %s", p)
	}
	return cl, c
}

// loadBackend starts an app that says who asks, and returns its address.
func loadBackend(t *testing.T) string {
	t.Helper()
	backend := httptest.NewServer(http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) {
		_, _ = io.Copy(io.Discard, r.Body)
		fmt.Fprintf(w, "for %q", r.Header.Get("Remote-User"))
	}))
	t.Cleanup(backend.Close)
	return strings.TrimPrefix(backend.URL, "http://")
}

// TestReloadUnderLoad reloads while clients who are signed in keep requesting:
// every request is answered, with the session that it had. A bare Caddy, whose
// listeners nobody steers, shows that the load would find one that is not.
//
// It runs alone: a gateway that gets no time of the processor loses requests too.
func TestReloadUnderLoad(t *testing.T) {
	for _, tt := range []struct {
		name  string
		times int
		plain bool
		bolt  string
		kinds []loadKind
	}{
		{name: "F2 bolt", times: 100, plain: true, bolt: "sessions.db", kinds: loadKinds},
		{name: "F2 redis", times: 100, plain: true, kinds: loadKinds},
		{name: "F2 TLS", times: 20, bolt: "sessions.db", kinds: append(loadKindsHTTP2, loadKinds...)},
	} {
		t.Run(tt.name, func(t *testing.T) {
			t.Parallel()
			cl, c := loadedCluster(t, clusterOptions{plain: tt.plain, bolt: tt.bolt, caddy: "\tgrace_period 30s\n"})
			w := during(t, tt.times, cl.base+"/", `for "alice"`, tt.kinds, func() *client { return cl.at(c, 0) }, func(i int) {
				if err := cl.nodes[0].load(); err != nil {
					t.Errorf("reload %d: %v", i, err)
				}
			})
			if w.allLost() > 0 {
				t.Errorf("requests got no answer: %v, such as: %v", w.lost, w.sample)
			}
			if p := cl.at(c, 0).fetch(cl.base + "/"); p.body != `for "alice"` {
				t.Errorf("after all: %s", p)
			}
		})
	}
	t.Run("a bare Caddy loses some", func(t *testing.T) {
		t.Parallel()
		bare := newGateway(t)
		port := gatewaytest.FreePort()
		bare.write("", fmt.Sprintf("http://app.localhost:%d {\n\tbind 127.0.0.1\n\treverse_proxy %s\n}\n", port, loadBackend(t)))
		bare.start()
		target, lost := fmt.Sprintf("http://app.localhost:%d/", port), 0
		for round := 0; round < 10 && lost == 0; round++ { // one that is lost shows enough
			lost = during(t, 10, target, `for ""`, loadKinds, func() *client { return newClient(t) }, func(i int) {
				if err := bare.load(); err != nil {
					t.Errorf("reload %d: %v", i, err)
				}
			}).allLost()
		}
		if lost == 0 {
			t.Error("none: the load shows nothing")
		}
	})
}

// TestFailedReloadUnderLoad loads configurations under load that fail when their
// servers listen already, or don't yet: Caddy starts apps in any order.
func TestFailedReloadUnderLoad(t *testing.T) {
	t.Parallel()
	cl, c := loadedCluster(t, clusterOptions{plain: true, bolt: "sessions.db"})
	g := cl.nodes[0]
	if err := os.WriteFile(filepath.Join(g.dir, "broken.db"), bytes.Repeat([]byte("no database\n"), 1000), 0o600); err != nil {
		t.Fatal(err)
	}
	const times = 30
	listening := 0
	w := during(t, times, cl.base+"/", `for "alice"`, loadKinds, func() *client { return cl.at(c, 0) }, func(i int) {
		fails := i%3 != 2                                                              // whatever came before, a good one still loses nothing
		cl.opts.bolt = map[bool]string{true: "broken.db", false: "sessions.db"}[fails] // found at start, not before
		cl.configure(g)
		before := strings.Count(g.log.String(), `"server running"`)
		if err := g.load(); (err != nil) != fails {
			t.Errorf("reload %d: %v", i, err)
		}
		if fails {
			listening += strings.Count(g.log.String(), `"server running"`) - before
		}
	})
	if w.allLost() > 0 {
		t.Errorf("requests got no answer: %v, such as: %v", w.lost, w.sample)
	}
	if listening == 0 {
		t.Error("no server of a configuration that failed had been listening: the test shows nothing")
	}
	t.Logf("%d of the configurations that failed had been listening", listening)
}
