//go:build integration

package integration

import (
	"net/http"
	"strings"
	"testing"
	"time"

	"github.com/caddy-sso/caddy-sso/gateway/gatewaytest"
)

// linesWith returns the lines of a node's log that have all the texts.
func (n *node) linesWith(texts ...string) (found []string) {
lines:
	for line := range strings.Lines(n.log.String()) {
		for _, text := range texts {
			if !strings.Contains(line, text) {
				continue lines
			}
		}
		found = append(found, line)
	}
	return found
}

// TestStoreHealth has Redis take no writes, or answer nothing: the log says once
// what is broken, since when and what to do, and when it is over, with how long it
// lasted. Whoever is signed in is served while Redis can be read.
func TestStoreHealth(t *testing.T) {
	t.Parallel()
	f := newFaulty(t)
	host, port, _ := strings.Cut(f.wires[0].addr, ":")
	cli := "redis-cli -h " + host + " -p " + port
	stays := f.signIn(0)
	for _, tt := range []struct {
		name       string
		begin, end func(t *testing.T, f *faulty)
		line       string
		remedy     []string
		over       string
		served     bool
	}{
		{
			"memory is full",
			func(t *testing.T, f *faulty) { command(t, f.redis, "CONFIG", "SET", "maxmemory", "1") },
			func(t *testing.T, f *faulty) { command(t, f.redis, "CONFIG", "SET", "maxmemory", "0") },
			"session store takes no writes",
			[]string{"OOM", cli + " CONFIG SET maxmemory"},
			"session store takes writes again", true,
		},
		{
			"can't save", cantSave, canSave,
			"session store takes no writes",
			[]string{"MISCONF", cli + " BGSAVE"},
			"session store takes writes again", true,
		},
		{
			"killed", func(_ *testing.T, f *faulty) { f.redis.Kill() }, restart,
			"session store is unavailable", nil, "session store is followed", false,
		},
	} {
		t.Run("F5 "+tt.name, func(t *testing.T) {
			n := f.nodes[0]
			before, overBefore := len(n.linesWith(`"warn"`, tt.line)), len(n.linesWith(tt.over, `"after"`))
			tt.begin(t, f)
			eventually(t, "the log says so", recovery, func() bool { return len(n.linesWith(`"warn"`, tt.line, `"since"`)) > before })
			line := n.linesWith(append([]string{tt.line}, tt.remedy...)...)
			if len(line) == 0 {
				t.Errorf("no line has %q: %s", tt.remedy, n.linesWith(tt.line))
			}
			time.Sleep(2 * time.Second)
			if got := len(n.linesWith(`"warn"`, tt.line)); got > before+4 { // a killed Redis fails in several ways, each said once
				t.Errorf("it is said %d times", got-before)
			}
			if tt.served && stays.fetch(f.base+"/").status != http.StatusOK {
				t.Error("somebody who is signed in is not served")
			}
			refusals, counts := len(n.linesWith(`"refused"`, "store_unavailable")), len(n.linesWith(`"refused again"`, `"count"`))
			for range 30 {
				if p := f.client(0).navigate(f.base + "/"); p.status != http.StatusServiceUnavailable {
					t.Errorf("signing in: %s", p)
				}
			}
			if got := len(n.linesWith(`"refused"`, "store_unavailable")) - refusals; got > 2 {
				t.Errorf("30 refusals are %d lines", got)
			}
			tt.end(t, f)
			eventually(t, "the log says that it is over", recovery, func() bool { return len(n.linesWith(tt.over, `"after"`)) > overBefore })
			eventually(t, "the refusals are counted", 30*time.Second, func() bool { return len(n.linesWith(`"refused again"`, `"count"`)) > counts })
		})
	}
	t.Run("F5 a killed Redis is no hint at TLS", func(t *testing.T) {
		if got := f.nodes[0].linesWith("TLS"); len(got) > 0 {
			t.Errorf("the log says %s", got[0])
		}
	})
	t.Run("F5 a replaced store is said with the file to delete", func(t *testing.T) {
		n := f.nodes[0]
		command(t, f.redis, "FLUSHALL")
		eventually(t, "the log says so", recovery, func() bool {
			return len(n.linesWith(`"warn"`, "session store was replaced: nobody can sign in", n.dir, "sso/store-marker-")) > 0
		})
		confirm(t, n)
		eventually(t, "people can sign in again", recovery, func() bool { return f.client(0).navigate(f.base+"/").status == http.StatusOK })
	})
}

// TestRedisPasswordByReload changes the password of Redis, and then that of the gateway
// by a reload: streams go on, and new connections log in with the new one. A reload with
// another secret of the store, and the end of every connection, make no difference either.
func TestRedisPasswordByReload(t *testing.T) {
	t.Parallel()
	password := "before"
	cl := newCluster(t, clusterOptions{
		redisArgs: []string{"--requirepass", password},
		proxy:     "\t\tstream_close_delay 1m", // Caddy's own: it ends WebSockets at a reload
		through:   func(_ int, addr string) string { return ":" + password + "@" + addr },
	})
	admin := func(args ...string) {
		t.Helper()
		if _, err := (&gatewaytest.Redis{Addr: cl.redis.Addr, Password: password}).Command(args...); err != nil {
			t.Fatal(err)
		}
	}
	c, other := cl.signIn(0), cl.signIn(0)
	live, others := holdAll(t, c, cl.base), holdAll(t, other, cl.base)
	stop := probe(other, cl.base+"/", 50*time.Millisecond)
	reload := func() {
		t.Helper()
		n := cl.nodes[0]
		cl.configure(n)
		if err := n.load(); err != nil {
			t.Fatal(err)
		}
		time.Sleep(2 * time.Second)
		live.stillOpen(t, "after the reload")
	}
	admin("CONFIG", "SET", "requirepass", "after")
	password = "after"
	cl.nodes[0].redis = ":" + password + "@" + cl.redis.Addr
	reload()
	cl.opts.secrets = " " + randomHex(32)
	reload()
	admin("CLIENT", "KILL", "TYPE", "normal")
	time.Sleep(stale + time.Second)
	live.stillOpen(t, "after all connections were made anew")
	cl.signIn(0).logOut(cl.base)
	c.logOut(cl.base)
	for path, took := range live.ends(t, time.Now()) {
		t.Logf("%s ended %v after the logout", path, took)
	}
	others.stillOpen(t, "of another login")
	for _, s := range stop() {
		if s.status != http.StatusOK {
			t.Errorf("somebody who stays signed in: %v", s)
		}
	}
}
