//go:build integration

package integration

import (
	"net/http"
	"strings"
	"testing"
	"time"

	"github.com/caddy-sso/caddy-sso/gateway/gatewaytest"
)

// TestStoreUnfit has a Redis that is in use answer on, but it must not be used any more.
func TestStoreUnfit(t *testing.T) {
	t.Parallel()
	closed := func(t *testing.T, cl *cluster, why string) {
		t.Helper()
		strangers(t, cl)
		eventually(t, "the log says why", recovery, func() bool { return strings.Contains(cl.nodes[0].log.String(), why) })
	}
	t.Run("evicts", func(t *testing.T) {
		t.Parallel()
		cl := newCluster(t, clusterOptions{})
		c := cl.signIn(0)
		command(t, cl.redis, "CONFIG", "SET", "maxmemory-policy", "volatile-ttl")
		refusedFrom(t, cl, c, stale+unnoticed)
		closed(t, cl, "noeviction")
		command(t, cl.redis, "CONFIG", "SET", "maxmemory-policy", "noeviction")
		eventually(t, "people can sign in", recovery, func() bool { return cl.client(0).navigate(cl.base+"/").status == http.StatusOK })
		cl.served(c, 0)
	})
	t.Run("becomes a replica of an empty one", func(t *testing.T) {
		t.Parallel()
		primary := gatewaytest.StartRedis(t)
		host, port, _ := strings.Cut(primary.Addr, ":")
		cl := newCluster(t, clusterOptions{})
		c := cl.signIn(0)
		command(t, cl.redis, "REPLICAOF", host, port)
		eventually(t, "it takes no writes", recovery, func() bool {
			_, err := cl.redis.Command("SET", "x", "y")
			return err != nil
		})
		refusedFrom(t, cl, c, stale)
		closed(t, cl, "replica")
		eventually(t, "it is empty", recovery, func() bool { size, err := cl.redis.Command("DBSIZE"); return err == nil && size == "0" })
		command(t, cl.redis, "REPLICAOF", "NO", "ONE")
		replaced(t, cl, c)
	})
}

// refusedFrom says that a login is refused from some time after now on.
func refusedFrom(t *testing.T, cl *cluster, c *client, after time.Duration) {
	t.Helper()
	began := time.Now()
	stop := probe(c, cl.base+"/", 50*time.Millisecond)
	time.Sleep(after + time.Second)
	refused := 0
	for _, s := range stop() {
		if at := s.began.Sub(began); at > after {
			if s.status == http.StatusOK {
				t.Errorf("served %v after the fault", at)
			}
			refused++
		}
	}
	if refused == 0 {
		t.Error("no request was made late enough")
	}
}

// TestStoreFlushed empties Redis while the gateways run.
func TestStoreFlushed(t *testing.T) {
	t.Parallel()
	for name, empty := range map[string]func(t *testing.T, r *gatewaytest.Redis){
		"FLUSHALL":                          func(t *testing.T, r *gatewaytest.Redis) { command(t, r, "FLUSHALL") },
		"killed, and started again without": func(_ *testing.T, r *gatewaytest.Redis) { r.Restart() },
	} {
		t.Run(name, func(t *testing.T) {
			t.Parallel()
			cl := newCluster(t, clusterOptions{nodes: 2})
			c := cl.signIn(0)
			there := cl.at(c, 1)
			live := holdAll(t, there, cl.base)
			stop := probe(there, cl.base+"/", 50*time.Millisecond)
			time.Sleep(500 * time.Millisecond)
			empty(t, cl.redis)
			late, emptied := gatewaytest.Lateness(t), time.Now()
			if n := dbSize(t, cl.redis); n > 2 { // the stream, and what was under way
				t.Fatalf("the fault did not happen: Redis has %d keys", n)
			}
			for path, took := range live.ends(t, emptied) {
				t.Logf("%s was cut after %v", path, took)
				if took > stale+travel+late() {
					t.Errorf("%s was cut after %v", path, took)
				}
			}
			time.Sleep(time.Until(emptied.Add(stale + 500*time.Millisecond)))
			for _, s := range stop() {
				if at := s.began.Sub(emptied); at > stale && s.status != http.StatusUnauthorized {
					t.Errorf("%v after it was emptied: %v", at, s)
				}
			}
			replaced(t, cl, c)
		})
	}
}

// replaced holds that after the store was emptied nobody new comes in at a
// node until its operator has confirmed the new one.
func replaced(t *testing.T, cl *cluster, old *client) {
	t.Helper()
	turnedAway := func(at int) bool {
		cl.op.SetHooks(gatewaytest.OPHooks{Claims: func(claims map[string]any) { claims["sub"] = randomHex(8) }})
		c := cl.client(at)
		p := c.navigate(cl.base + "/")
		return p.status == http.StatusServiceUnavailable && strings.Contains(p.body, "store_replaced") && sessionCookieOf(c, cl.base) == nil
	}
	for at, n := range cl.nodes {
		eventually(t, "the gateway says that the store was replaced", recovery, func() bool { return turnedAway(at) })
		if err := n.load(); err != nil {
			t.Fatal(err)
		}
		if !turnedAway(at) {
			t.Errorf("node %d forgets it by a reload", at)
		}
		if len(cl.nodes) == 1 {
			n.restart()
		}
	}
	for at, n := range cl.nodes {
		if !turnedAway(at) {
			t.Errorf("node %d lets people in before it was told to", at)
		}
		if p := cl.at(old, at).fetch(cl.base + "/"); p.status != http.StatusUnauthorized {
			t.Errorf("node %d: the old session: %s", at, p)
		}
		confirm(t, n)
		// After a restart the signing keys are tried every two seconds, and the
		// app asks for new ones every ten.
		eventually(t, "people can sign in again", recovery, func() bool {
			c := cl.client(at)
			p := c.navigate(cl.base + "/")
			return p.status == http.StatusOK && c.echoed(p).Identity != nil
		})
		cl.served(cl.signIn(at), at)
	}
}
