//go:build integration

package integration

import (
	"fmt"
	"net/http"
	"net/url"
	"strconv"
	"strings"
	"testing"
	"time"
)

// failing begins a login at a node and brings an answer to it that the provider
// did not give.
func failing(t *testing.T, cl *cluster, node int, from, header string) *page {
	t.Helper()
	c := cl.client(node, from)
	get := func(target string) *page {
		req, err := http.NewRequest(http.MethodGet, target, nil)
		if err != nil {
			t.Fatal(err)
		}
		asNavigation(req)
		name, value, _ := strings.Cut(header, ": ")
		req.Header.Set(name, value)
		return c.stopBefore(cl.op.Issuer, func() *page { return c.do(req) })
	}
	started := get(cl.base + "/")
	to, err := url.Parse(started.header.Get("Location"))
	if err != nil || to.Query().Get("state") == "" {
		t.Fatalf("no login began: %s", started)
	}
	return get(cl.base + "/.sso/oidc/callback?" + url.Values{"code": {"made-up"}, "state": {to.Query().Get("state")}, "iss": {cl.op.Issuer}}.Encode())
}

// processed says that an answer was processed: the provider does not know the code.
func processed(p *page) bool {
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

	// exhaust brings ten answers that fail, in turn to both nodes. header is that of each.
	exhaust := func(t *testing.T, from string, header func(i int) string) {
		t.Helper()
		for i := range 10 {
			if p := failing(t, cl, i%2, from, header(i)); !processed(p) {
				t.Fatalf("answer %d of ten: %s", i+1, p)
			}
		}
	}
	forwarded := func(format string) func(i int) string {
		return func(i int) string { return "X-Forwarded-For: " + strings.ReplaceAll(format, "N", fmt.Sprint(i)) }
	}
	t.Run("D5 ten failed answers a minute over both nodes together", func(t *testing.T) {
		const from = "127.0.10.1"
		exhaust(t, from, func(int) string { return "X-Any: x" })
		for node := range 2 {
			if p := failing(t, cl, node, from, "X-Any: x"); !limited(t, p, window) {
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
			if p := failing(t, cl, 0, from, "X-Any: x"); !limited(t, p, window) {
				t.Errorf("after a restart: %s", p)
			}
		})
	})
	const proxy, proxy2, liar = "127.0.20.1", "127.0.20.2", "127.0.21.1"
	for name, tt := range map[string]struct {
		from   string
		header func(i int) string
		// limited and free are whose answers are limited then and whose are not: their
		// address, and a header.
		limited, free [][2]string
	}{
		"behind a trusted proxy the client's address counts": {
			proxy, forwarded("203.0.113.7"),
			[][2]string{{proxy, "X-Forwarded-For: 203.0.113.7"}, {proxy2, "X-Forwarded-For: 203.0.113.7"}},
			[][2]string{{proxy, "X-Forwarded-For: 203.0.113.8"}, {proxy, "X-Any: x"}},
		},
		"who is no trusted proxy can't choose an address": {
			liar, forwarded("198.51.100.N"),
			[][2]string{
				{liar, "X-Forwarded-For: 198.51.100.99"},
				{liar, "X-Real-IP: 198.51.100.99"},
				{liar, "Forwarded: for=198.51.100.99"},
				{liar, "CF-Connecting-IP: 198.51.100.99"},
				{liar, "True-Client-IP: 198.51.100.99"},
				{liar, "X-Client-IP: 198.51.100.99"},
			},
			[][2]string{{proxy2, "X-Forwarded-For: 198.51.100.99"}}, // whose address it is
		},
		"an IPv6 client counts by its /64": {
			proxy, forwarded("2001:db8:0:1:N::1"),
			[][2]string{{proxy, "X-Forwarded-For: 2001:db8:0:1:ffff::1"}},
			[][2]string{{proxy, "X-Forwarded-For: 2001:db8:0:2::1"}},
		},
	} {
		t.Run("D5 "+name, func(t *testing.T) {
			exhaust(t, tt.from, tt.header)
			for i, who := range tt.limited {
				if p := failing(t, cl, i%2, who[0], who[1]); !limited(t, p, window) {
					t.Errorf("%s with %s: %s", who[0], who[1], p)
				}
			}
			for i, who := range tt.free {
				if p := failing(t, cl, i%2, who[0], who[1]); !processed(p) {
					t.Errorf("%s with %s: %s", who[0], who[1], p)
				}
			}
		})
	}
}
