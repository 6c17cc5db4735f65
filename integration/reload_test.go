//go:build integration

package integration

import (
	"bytes"
	"context"
	"errors"
	"fmt"
	"io"
	"net"
	"net/http"
	"net/http/httptest"
	"os"
	"strings"
	"sync"
	"testing"
	"time"
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
	client := &http.Client{Transport: &http.Transport{
		DisableKeepAlives: true,
		DialContext: func(ctx context.Context, _, _ string) (net.Conn, error) {
			var d net.Dialer
			return d.DialContext(ctx, "unix", g.admin)
		},
	}}
	resp, err := client.Do(req)
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
	reset  map[string]int // requests whose connection ended without an answer
	wrong  []string       // answers that are not what they should be
}

func (w *workload) String() string {
	return fmt.Sprintf("served %v, without an answer %v, wrong %d", w.served, w.reset, len(w.wrong))
}

// The kinds of clients of a workload.
const (
	keptAlive = "on kept connections"
	anew      = "on new connections"
)

// drive keeps requesting until ctx ends: some clients keep their connections,
// some make a new one for each request, as client(keep) makes them.
func drive(ctx context.Context, target, want string, client func() *client) *workload {
	w := &workload{served: map[string]int{}, reset: map[string]int{}}
	var wg sync.WaitGroup
	for i := range 4 {
		kind := []string{keptAlive, anew}[i%2]
		c := client()
		tr, _ := c.http.Transport.(*http.Transport)
		tr.DisableKeepAlives = kind == anew
		wg.Go(func() {
			for ctx.Err() == nil {
				w.add(kind, want, c.http, target)
			}
		})
	}
	wg.Wait()
	return w
}

func (w *workload) add(kind, want string, client *http.Client, target string) {
	resp, err := client.Get(target)
	var body []byte
	if err == nil {
		body, err = io.ReadAll(resp.Body)
		_ = resp.Body.Close()
	}
	w.mu.Lock()
	defer w.mu.Unlock()
	switch {
	case err != nil:
		w.reset[kind]++
	case resp.StatusCode != http.StatusOK || string(body) != want:
		w.wrong = append(w.wrong, fmt.Sprintf("%s: %d %.200s", kind, resp.StatusCode, body))
	default:
		w.served[kind]++
	}
}

// reloads is how often a configuration is loaded anew under load.
const reloads = 100

// TestReloadUnderLoad reloads a hundred times while clients who are signed in
// keep requesting. Nobody is refused. New connections get lost now and then when
// a configuration ends, where a module has no say: what waits at the old
// listener (with SO_REUSEPORT each has a queue of its own) is reset by the
// kernel, unless net.ipv4.tcp_migrate_req is set, and a server that is shutting
// down closes a connection whose first request it has just read (conn.serve in
// net/http) without an answer. A bare Caddy under the same load is the measure
// of what is not our doing.
//
// It is done on plain http: Caddy's TLS app has a data race of its own when
// servers start before it.
func TestReloadUnderLoad(t *testing.T) {
	backend := httptest.NewServer(http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) {
		fmt.Fprintf(w, "for %q", r.Header.Get("Remote-User"))
	}))
	t.Cleanup(backend.Close)
	run := func(t *testing.T, g *gateway, target, want string, c func() *client) *workload {
		t.Helper()
		ctx, cancel := context.WithCancel(t.Context())
		done := make(chan *workload)
		go func() { done <- drive(ctx, target, want, c) }()
		began := time.Now()
		for i := range reloads {
			if err := g.load(); err != nil {
				t.Errorf("reload %d: %v", i, err)
			}
			time.Sleep(50 * time.Millisecond)
		}
		cancel()
		w := <-done
		t.Logf("%d reloads in %v: %v", reloads, time.Since(began), w)
		for _, wrong := range w.wrong[:min(5, len(w.wrong))] {
			t.Errorf("a wrong answer: %s", wrong)
		}
		for _, kind := range []string{keptAlive, anew} {
			if w.served[kind] < reloads {
				t.Errorf("only %d requests %s", w.served[kind], kind)
			}
		}
		return w
	}
	for _, store := range []string{"bolt", "redis"} {
		t.Run(store, func(t *testing.T) {
			o := clusterOptions{stopped: true, plain: true}
			if store == "bolt" {
				o.bolt = "sessions.db"
			}
			cl := newCluster(t, o)
			g := cl.nodes[0].gateway
			text, err := os.ReadFile(g.caddyfile())
			if err != nil {
				t.Fatal(err)
			}
			// The app of the cluster remembers every request: not this one.
			proxied := strings.ReplaceAll(string(text), cl.app.address(), strings.TrimPrefix(backend.URL, "http://"))
			if err := os.WriteFile(g.caddyfile(), []byte(proxied), 0o600); err != nil {
				t.Fatal(err)
			}
			g.start()
			c := cl.client(0)
			if p := c.navigate(cl.base + "/"); p.body != `for "alice"` {
				t.Fatalf("signing in: %s", p)
			}
			ours := run(t, g, cl.base+"/", `for "alice"`, func() *client { return cl.at(c, 0) })
			if p := cl.at(c, 0).fetch(cl.base + "/"); p.body != `for "alice"` {
				t.Errorf("after all: %s", p)
			}
			if ours.reset[keptAlive]+ours.reset[anew] == 0 {
				return
			}

			bare := newGateway(t)
			port := freePort()
			bare.write("", fmt.Sprintf("http://app.localhost:%d {\n\tbind 127.0.0.1\n\treverse_proxy %s {\n\t\tflush_interval -1\n\t}\n}\n",
				port, strings.TrimPrefix(backend.URL, "http://")))
			bare.start()
			control := run(t, bare, fmt.Sprintf("http://app.localhost:%d/", port), `for ""`, func() *client { return newClient(t) })
			for _, kind := range []string{keptAlive, anew} {
				// Chance plays a part in so few.
				if most := 2*control.reset[kind] + 5; ours.reset[kind] > most {
					t.Errorf("%d requests %s got no answer, with a bare Caddy %d", ours.reset[kind], kind, control.reset[kind])
				}
			}
		})
	}
}
