//go:build integration

package integration

import (
	"fmt"
	"net/http"
	"net/url"
	"strconv"
	"strings"
	"sync"
	"testing"
	"time"

	"github.com/caddy-sso/caddy-sso/gateway/gatewaytest"
)

// failing begins a login at a node and brings an answer to it that the provider
// did not give.
func failing(t *testing.T, cl *cluster, node int, from string, header ...string) *page {
	t.Helper()
	c := cl.client(node, from)
	get := func(target string) *page {
		req, err := http.NewRequest(http.MethodGet, target, nil)
		if err != nil {
			t.Fatal(err)
		}
		asNavigation(req)
		for _, h := range header {
			name, value, _ := strings.Cut(h, ": ")
			req.Header.Add(name, value)
		}
		return c.stopBefore(cl.op.Issuer, func() *page { return c.do(req) })
	}
	started := get(cl.base + "/")
	to, err := url.Parse(started.header.Get("Location"))
	if err != nil || to.Query().Get("state") == "" {
		t.Fatalf("no login began: %s", started)
	}
	return get(cl.base + "/.sso/oidc/callback?" + url.Values{"code": {"made-up"}, "state": {to.Query().Get("state")}, "iss": {cl.op.Issuer}}.Encode())
}

// stray brings an answer to a login that nobody began.
func stray(c *client, base string) *page {
	return c.navigate(base + "/.sso/oidc/callback?code=x&state=" + strings.Repeat("A", 43))
}

// judged says that an answer was looked at: the provider does not know the code.
func judged(p *page) bool {
	return p.status == http.StatusBadRequest && strings.Contains(p.body, "oidc_code_rejected")
}

// limited says that an attempt was refused for being one too many, and when to
// come again.
func limited(t *testing.T, p *page, window time.Duration) bool {
	t.Helper()
	if p.status != http.StatusTooManyRequests {
		return false
	}
	if code := codeIn(p.body); code != "too_many_attempts" && !strings.Contains(p.body, "too_many_attempts") {
		t.Errorf("the code is %q", code)
	}
	wait, err := strconv.Atoi(p.header.Get("Retry-After"))
	if err != nil || wait < 1 || time.Duration(wait)*time.Second > window {
		t.Errorf("Retry-After is %q, want a number up to %v", p.header.Get("Retry-After"), window)
	}
	return true
}

// TestLimit bounds attempts at two nodes that share one Redis. Each test comes
// from an address of its own.
func TestLimit(t *testing.T) {
	t.Parallel()
	cl := newCluster(t, clusterOptions{
		nodes: 2,
		caddy: "\tservers {\n\t\ttrusted_proxies static 127.0.20.0/24\n\t}\n",
	})
	const window = time.Minute

	// exhaust brings answers in turn to both nodes until ten have failed.
	exhaust := func(t *testing.T, from string, header ...string) {
		t.Helper()
		for i := range 10 {
			if p := failing(t, cl, i%2, from, header...); !judged(p) {
				t.Fatalf("answer %d of ten: %s", i+1, p)
			}
		}
	}
	t.Run("D5 ten failed answers a minute over both nodes together", func(t *testing.T) {
		const from = "127.0.10.1"
		exhaust(t, from)
		for node := range 2 {
			if p := failing(t, cl, node, from); !limited(t, p, window) {
				t.Errorf("the eleventh, at node %d: %s", node, p)
			}
		}
		t.Run("D5 which is nothing to others", func(t *testing.T) {
			if p := cl.client(1, "127.0.10.3").navigate(cl.base + "/"); p.status != http.StatusOK {
				t.Errorf("another address signs in: %s", p)
			}
		})
		t.Run("D5 even a good answer is not taken from that address", func(t *testing.T) {
			c := cl.client(1, from)
			if p := c.navigate(cl.base + "/"); !limited(t, p, window) || sessionCookieOf(c, cl.base) != nil {
				t.Errorf("signing in: %s", p)
			}
		})
		t.Run("D5 and who is signed in there already works on", func(t *testing.T) {
			c := cl.signIn(0)
			behind := cl.client(0, from)
			behind.http.Jar = c.http.Jar
			behind.echoed(behind.fetch(cl.base + "/"))
		})
		t.Run("D5 a restart forgets nothing", func(t *testing.T) {
			cl.nodes[0].restart()
			if p := failing(t, cl, 0, from); !limited(t, p, window) {
				t.Errorf("after a restart: %s", p)
			}
		})
	})
	t.Run("D5 made-up states lock nobody out", func(t *testing.T) {
		const from = "127.0.10.4"
		for i := range 40 {
			if p := stray(cl.client(i%2, from), cl.base); !strings.Contains(p.body, "flow_unknown") {
				t.Fatalf("answer %d: %s", i+1, p)
			}
		}
		if p := cl.client(1, from).navigate(cl.base + "/"); p.status != http.StatusOK {
			t.Errorf("signing in: %s", p)
		}
	})
	t.Run("D5 three hundred requests in all over both nodes together", func(t *testing.T) {
		const from = "127.0.11.1"
		var mu sync.Mutex
		counts := map[int]int{}
		var wg sync.WaitGroup
		for i := range 20 {
			c := cl.client(i%2, from)
			wg.Go(func() {
				for range 16 {
					s := request(c.http, cl.base+"/.sso/oidc/callback?code=x&state="+strings.Repeat("A", 43))
					mu.Lock()
					counts[s.status]++
					mu.Unlock()
				}
			})
		}
		wg.Wait()
		if counts[http.StatusBadRequest] != 300 || counts[http.StatusTooManyRequests] != 20 {
			t.Errorf("by status: %v, want 300 times 400 and 20 times 429", counts)
		}
	})
	t.Run("D5 a success is no failure", func(t *testing.T) {
		const office = "127.0.12.1"
		for i := range 9 {
			if p := failing(t, cl, i%2, office); !judged(p) {
				t.Fatalf("answer %d: %s", i+1, p)
			}
		}
		for i := range 15 {
			c := cl.client(i%2, office)
			if p := c.navigate(cl.base + "/"); p.status != http.StatusOK || sessionCookieOf(c, cl.base) == nil {
				t.Fatalf("sign-in %d: %s", i+1, p)
			}
		}
		if p := failing(t, cl, 0, office); !judged(p) {
			t.Errorf("the tenth that fails: %s", p)
		}
		if p := failing(t, cl, 1, office); !limited(t, p, window) {
			t.Errorf("the eleventh that fails: %s", p)
		}
	})
	t.Run("D5 behind a trusted proxy the client's address counts", func(t *testing.T) {
		const proxy = "127.0.20.1"
		exhaust(t, proxy, "X-Forwarded-For: 203.0.113.7")
		if p := failing(t, cl, 0, proxy, "X-Forwarded-For: 203.0.113.7"); !limited(t, p, window) {
			t.Errorf("the eleventh of the client: %s", p)
		}
		if p := failing(t, cl, 1, "127.0.20.2", "X-Forwarded-For: 203.0.113.7"); !limited(t, p, window) {
			t.Errorf("the same client by another proxy: %s", p)
		}
		if p := failing(t, cl, 0, proxy, "X-Forwarded-For: 203.0.113.8"); !judged(p) {
			t.Errorf("another client: %s", p)
		}
		if p := failing(t, cl, 0, proxy); !judged(p) {
			t.Errorf("the proxy itself: %s", p)
		}
	})
	t.Run("D5 who is no trusted proxy can't choose an address", func(t *testing.T) {
		const liar = "127.0.21.1"
		for i := range 10 {
			if p := failing(t, cl, i%2, liar, fmt.Sprintf("X-Forwarded-For: 198.51.100.%d", i)); !judged(p) {
				t.Fatalf("answer %d of ten: %s", i+1, p)
			}
		}
		for _, header := range []string{
			"X-Forwarded-For: 198.51.100.99", "X-Real-IP: 198.51.100.99", "Forwarded: for=198.51.100.99",
			"CF-Connecting-IP: 198.51.100.99", "True-Client-IP: 198.51.100.99", "X-Client-IP: 198.51.100.99",
		} {
			if p := failing(t, cl, 0, liar, header); !limited(t, p, window) {
				t.Errorf("with %s: %s", header, p)
			}
		}
		if p := failing(t, cl, 0, "127.0.20.9", "X-Forwarded-For: 198.51.100.99"); !judged(p) {
			t.Errorf("whose address it is: %s", p)
		}
	})
	t.Run("D5 an IPv6 client counts by its /64", func(t *testing.T) {
		const proxy = "127.0.20.3"
		for i := range 10 {
			if p := failing(t, cl, i%2, proxy, fmt.Sprintf("X-Forwarded-For: 2001:db8:0:1:%x::1", i)); !judged(p) {
				t.Fatalf("answer %d of ten: %s", i+1, p)
			}
		}
		if p := failing(t, cl, 0, proxy, "X-Forwarded-For: 2001:db8:0:1:ffff::1"); !limited(t, p, window) {
			t.Errorf("the same network: %s", p)
		}
		if p := failing(t, cl, 0, proxy, "X-Forwarded-For: 2001:db8:0:2::1"); !judged(p) {
			t.Errorf("another network: %s", p)
		}
	})
}

// TestLimitSettings sets the limit by the global option.
func TestLimitSettings(t *testing.T) {
	t.Parallel()
	t.Run("D5 settable: failed answers, window and requests", func(t *testing.T) {
		t.Parallel()
		const window = 10 * time.Second
		cl := newCluster(t, clusterOptions{nodes: 2, global: "\t\tlimit 2 10s 8 5"})
		const from = "127.0.30.1"
		for node := range 2 {
			if p := failing(t, cl, node, from); !judged(p) {
				t.Fatalf("answer %d of two: %s", node+1, p)
			}
		}
		p := failing(t, cl, 0, from)
		if !limited(t, p, window) {
			t.Fatalf("the third: %s", p)
		}
		wait, err := strconv.Atoi(p.header.Get("Retry-After"))
		if err != nil {
			t.Fatal(err)
		}
		time.Sleep(time.Duration(wait) * time.Second)
		if p := failing(t, cl, 1, from); !judged(p) {
			t.Errorf("after the time that Retry-After named: %s", p)
		}

		start := func(at int) *page {
			c := cl.client(at, "127.0.30.2")
			return c.stopBefore(cl.op.Issuer, func() *page { return c.navigate(cl.base + "/") })
		}
		for i := range 8 {
			if p := start(i % 2); p.status != http.StatusSeeOther && p.status != http.StatusFound {
				t.Fatalf("start %d of eight: %s", i+1, p)
			}
		}
		for at := range 2 {
			if p := start(at); !limited(t, p, window) {
				t.Errorf("the ninth start, at node %d: %s", at, p)
			}
		}
	})
	t.Run("D5 settable: off", func(t *testing.T) {
		t.Parallel()
		cl := newCluster(t, clusterOptions{global: "\t\tlimit off"})
		for i := range 30 {
			if p := failing(t, cl, 0, "127.0.0.1"); !judged(p) {
				t.Fatalf("answer %d: %s", i+1, p)
			}
		}
	})
	t.Run("D5 with the embedded store too", func(t *testing.T) {
		t.Parallel()
		cl := newCluster(t, clusterOptions{bolt: "sessions.db"})
		const from = "127.0.0.1"
		for i := range 10 {
			if p := failing(t, cl, 0, from); !judged(p) {
				t.Fatalf("answer %d of ten: %s", i+1, p)
			}
		}
		for range 3 {
			if p := failing(t, cl, 0, from); !limited(t, p, time.Minute) {
				t.Errorf("one more: %s", p)
			}
		}
		if err := cl.nodes[0].load(); err != nil {
			t.Fatal(err)
		}
		if p := failing(t, cl, 0, from); !limited(t, p, time.Minute) {
			t.Errorf("after a reload: %s", p)
		}
	})
}

// TestLimitAtOnce has an office sign in at once at a provider that takes its time,
// over two nodes.
func TestLimitAtOnce(t *testing.T) {
	t.Parallel()
	cl := newCluster(t, clusterOptions{nodes: 2})
	cl.op.SetHooks(gatewaytest.OPHooks{Serve: map[string]http.HandlerFunc{
		gatewaytest.OPTokenPath: func(w http.ResponseWriter, r *http.Request) {
			time.Sleep(time.Second)
			cl.op.ServeAltered(w, r, http.StatusOK, "application/json")
		},
	}})
	var wg sync.WaitGroup
	for i := range 30 {
		c := cl.client(i%2, "127.0.40.1")
		wg.Go(func() {
			if s := request(c.http, cl.base+"/.sso/login?return=%2F"); s.status != http.StatusOK {
				t.Errorf("D5 sign-in %d: status %d, code %s, %v", i, s.status, s.code, s.err)
			}
		})
	}
	wg.Wait()
}

// TestLimitStarts holds that the tabs of a browser may all begin at once.
func TestLimitStarts(t *testing.T) {
	t.Parallel()
	cl := newCluster(t, clusterOptions{})
	c := cl.client(0)
	begin := cl.base + "/.sso/login?" + url.Values{"return": {"/"}}.Encode()
	for i := range 60 {
		if p := c.stopBefore(cl.op.Issuer, func() *page { return c.navigate(begin) }); p.header.Get("Location") == "" {
			t.Fatalf("start %d: %s", i+1, p)
		}
	}
	c.echoed(c.navigate(cl.base + "/"))
}
