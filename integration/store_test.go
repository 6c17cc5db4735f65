//go:build integration

package integration

import (
	"encoding/base64"
	"fmt"
	"net/http"
	"strconv"
	"strings"
	"testing"

	"github.com/caddy-sso/caddy-sso/gateway/gatewaytest"
)

func TestSessionsInRedis(t *testing.T) {
	t.Parallel()
	w := newWorld(t, worldOptions{store: "redis"})
	c := newClient(t)
	before := dbSize(t, w.redis)
	c.echoed(c.signIn(w.base+"/", "alice"))

	t.Run("F2 a login is in Redis and in nothing else", func(t *testing.T) {
		if after := dbSize(t, w.redis); after <= before {
			t.Errorf("Redis has %d keys after the login, %d before", after, before)
		}
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

// TestStoreAttackByWriter plays somebody who can write Redis: he can end
// sessions and put back what was there, and gets nothing of another person's.
func TestStoreAttackByWriter(t *testing.T) {
	t.Parallel()
	w := newWorld(t, worldOptions{oneByOne: true, store: "redis"})
	clients := map[string]*client{}
	records := map[string]map[string]string{} // who → what their login added
	for _, name := range []string{"alice", "bob"} {
		before := stringsOf(t, w.redis)
		clients[name] = newClient(t)
		clients[name].echoed(clients[name].signIn(w.base+"/", name))
		records[name] = stringsOf(t, w.redis)
		for key, value := range before {
			if records[name][key] == value {
				delete(records[name], key)
			}
		}
		if len(records[name]) == 0 {
			t.Fatalf("the login of %s left no record", name)
		}
	}
	// who says whom the app takes a client for, once the gateway has nothing
	// but the store to go by.
	who := func(c *client) string {
		p := c.fetch(w.base + "/")
		if p.status != http.StatusOK {
			return fmt.Sprint(p.status)
		}
		r := c.echoed(p)
		if r.Identity == nil {
			t.Fatalf("the app was told nothing valid: %s", r.AssertionError)
		}
		return r.Identity.Username
	}
	set := func(key, value string) {
		if _, err := w.redis.Command("SET", key, value); err != nil {
			t.Fatal(err)
		}
	}
	w.gw.restart()
	if got := who(clients["bob"]); got != "bob" {
		t.Fatalf("the control: bob is taken for %s", got)
	}
	good := stringsOf(t, w.redis)
	putBack := func() {
		for key, value := range good {
			set(key, value)
		}
	}

	t.Run("F2 records of one person in the place of another's", func(t *testing.T) {
		for bobs := range records["bob"] {
			for alices := range records["alice"] {
				set(bobs, good[alices])
				w.gw.restart()
				if got := who(clients["bob"]); got != "bob" && !strings.HasPrefix(got, "4") && !strings.HasPrefix(got, "5") {
					t.Errorf("%q over %q: bob is taken for %s", alices, bobs, got)
				}
				set(bobs, good[bobs])
			}
		}
		putBack()
	})
	t.Run("F2 a flipped bit in a record opens nothing", func(t *testing.T) {
		for key := range records["bob"] {
			broken := []byte(good[key])
			broken[len(broken)/2] ^= 1
			set(key, string(broken))
		}
		w.gw.restart()
		if got := who(clients["bob"]); got == "bob" || got == "alice" {
			t.Errorf("bob is taken for %s", got)
		}
		putBack()
		w.gw.restart()
		if got := who(clients["bob"]); got != "bob" {
			t.Errorf("with his own records back, bob is taken for %s", got)
		}
	})
	t.Run("F2 what is put back after a logout is at most that person's own session", func(t *testing.T) {
		stolen := newClient(t).with(w.base, clients["alice"].cookies(w.base))
		clients["alice"].logOut(w.base)
		if got := who(stolen); got != "401" {
			t.Fatalf("after the logout: %s", got)
		}
		putBack()
		w.gw.restart()
		if got := who(stolen); got != "alice" && !strings.HasPrefix(got, "4") {
			t.Errorf("she is taken for %s", got)
		}
	})
}

// stringsOf returns every key of Redis that holds a string, with its value.
func stringsOf(t *testing.T, r *gatewaytest.Redis) map[string]string {
	t.Helper()
	const script = `local out = {}
for _, k in ipairs(redis.call('KEYS', '*')) do
  if redis.call('TYPE', k).ok == 'string' then out[#out+1] = k end
end
return table.concat(out, '\n')`
	keys, err := r.Command("EVAL", script, "0")
	if err != nil {
		t.Fatal(err)
	}
	found := map[string]string{}
	for key := range strings.SplitSeq(keys, "\n") {
		value, err := r.Command("GET", key)
		if err != nil {
			t.Fatal(err)
		}
		found[key] = value
	}
	return found
}
