//go:build integration

package integration

import (
	"encoding/base64"
	"fmt"
	"net/http"
	"strconv"
	"strings"
	"testing"
	"time"

	"github.com/caddy-sso/caddy-sso/gateway/gatewaytest"
)

func TestSessionsInRedis(t *testing.T) {
	w := newWorld(t, worldOptions{store: "redis"})
	c := newClient(t)
	before := dbSize(t, w.redis)
	c.echoed(c.signIn(w.base+"/", "alice"))

	t.Run("F2 a login is in Redis and in nothing else", func(t *testing.T) {
		if after := dbSize(t, w.redis); after <= before {
			t.Errorf("Redis has %d keys after the login, %d before", after, before)
		}
	})
	t.Run("F2 it survives a restart of the gateway", func(t *testing.T) {
		w.gw.restart()
		c.echoed(c.fetch(w.base + "/"))
	})
	t.Run("F2 another node opens it, with nothing but Redis and the secret in common", func(t *testing.T) {
		w.gw.stop()
		other := newGateway(t)
		other.write(w.globalBlock(), w.site(w.base))
		other.start()
		r := c.echoed(c.fetch(w.base + "/"))
		if r.Identity == nil || r.Identity.Username != "alice" {
			t.Errorf("the app was told %+v, %s", r.Identity, r.AssertionError)
		}
		other.stop()
		w.gw.start()
	})
	t.Run("F2 who reads Redis finds neither the cookie nor the person", func(t *testing.T) {
		dump := dumpRedis(t, w.redis)
		if len(dump) == 0 {
			t.Fatal("the dump is empty")
		}
		for _, secret := range append(cookieSecrets(c, w.base), w.secret, w.client.secret, "alice@example.test", "Caddy Admins", "eyJ") {
			if strings.Contains(dump, secret) {
				t.Errorf("Redis holds %q", secret)
			}
		}
	})
	t.Run("F2 a revocation by logout on one node is seen by the other", func(t *testing.T) {
		d := newClient(t)
		d.echoed(d.signIn(w.base+"/", "bob"))
		d.logOut(w.base)
		w.gw.restart()
		if p := d.fetch(w.base + "/"); p.status != http.StatusUnauthorized {
			t.Errorf("got %s", p)
		}
	})
	t.Run("F2 an emptied Redis opens nothing", func(t *testing.T) {
		if _, err := w.redis.Command("FLUSHALL"); err != nil {
			t.Fatal(err)
		}
		eventually(t, "the session is refused", 10*time.Second, func() bool {
			return c.fetch(w.base+"/").status != http.StatusOK
		})
	})
}

// cookieSecrets are the values of a client's cookies at a site, and the bits
// in them in other spellings.
func cookieSecrets(c *client, base string) []string {
	var secrets []string
	for _, cookie := range c.cookies(base) {
		secrets = append(secrets, cookie.Value)
		if raw, err := base64.RawURLEncoding.DecodeString(cookie.Value); err == nil && len(raw) >= 32 {
			secrets = append(secrets, string(raw[:32]), base64.StdEncoding.EncodeToString(raw[:32])[:42], fmt.Sprintf("%x", raw[:32]))
		}
	}
	return secrets
}

func dbSize(t *testing.T, r *gatewaytest.Redis) int {
	t.Helper()
	reply, err := r.Command("DBSIZE")
	if err != nil {
		t.Fatal(err)
	}
	n, err := strconv.Atoi(reply)
	if err != nil {
		t.Fatal(err)
	}
	return n
}

// dumpRedis returns every key and value that Redis holds.
func dumpRedis(t *testing.T, r *gatewaytest.Redis) string {
	t.Helper()
	const script = `local out = {}
for _, k in ipairs(redis.call('KEYS', '*')) do
  out[#out+1] = k
  local kind = redis.call('TYPE', k).ok
  if kind == 'string' then out[#out+1] = redis.call('GET', k)
  elseif kind == 'zset' then for _, m in ipairs(redis.call('ZRANGE', k, 0, -1)) do out[#out+1] = m end
  elseif kind == 'stream' then for _, e in ipairs(redis.call('XRANGE', k, '-', '+')) do for _, f in ipairs(e[2]) do out[#out+1] = f end end
  else error('unknown kind ' .. kind) end
end
return table.concat(out, '\n')`
	dump, err := r.Command("EVAL", script, "0")
	if err != nil {
		t.Fatal(err)
	}
	return dump
}

func TestStoreDown(t *testing.T) {
	w := newWorld(t, worldOptions{store: "redis", block: "\t\tpublic /open"})
	c := newClient(t)
	c.echoed(c.signIn(w.base+"/", "bob"))
	w.redis.Kill()
	if _, err := w.redis.Command("PING"); err == nil {
		t.Fatal("the fault did not happen: Redis answers")
	}
	eventually(t, "who is signed in is refused once nothing confirms the session", 10*time.Second, func() bool {
		return c.fetch(w.base+"/").status == http.StatusServiceUnavailable
	})
	stranger := newClient(t)
	if p := stranger.navigate(w.base + "/"); p.status != http.StatusServiceUnavailable || p.header.Get("Retry-After") == "" ||
		!strings.Contains(p.body, "store_unavailable") {
		t.Errorf("a stranger gets %s", p)
	}
	stranger.echoed(stranger.fetch(w.base + "/open"))
}
