//go:build integration

package redisstore_test

import (
	"cmp"
	"context"
	"fmt"
	"strings"
	"sync/atomic"
	"testing"
	"time"

	"github.com/caddy-sso/caddy-sso/gateway/gatewaytest"
	"github.com/caddy-sso/caddy-sso/gateway/redisstore"
	"github.com/caddy-sso/caddy-sso/gateway/store"
)

func openReal(t *testing.T, o redisstore.Options) *redisstore.Store {
	t.Helper()
	o.Timeout, o.DialTimeout = cmp.Or(o.Timeout, time.Minute), cmp.Or(o.DialTimeout, time.Minute) // the machine may be slow
	s, err := redisstore.Open(o)
	must(t, err)
	t.Cleanup(func() {
		if err := s.Close(); err != nil {
			t.Errorf("closing: %v", err)
		}
	})
	return s
}

func TestRedisConformance(t *testing.T) {
	t.Parallel()
	redis := gatewaytest.StartRedis(t)
	var stores atomic.Int32
	gatewaytest.TestStore(t, func(t *testing.T) (a, b store.Store) {
		// A prefix for each test is an empty store on the same server.
		// The tests announce a lot at once on two cores.
		o := redisstore.Options{URL: "redis://" + redis.Addr, Prefix: fmt.Sprintf("test%d:", stores.Add(1))}
		return openReal(t, o), openReal(t, o)
	})
}

func TestRedisKeys(t *testing.T) {
	t.Parallel()
	redis := gatewaytest.StartRedis(t)
	s := openReal(t, redisstore.Options{URL: "redis://" + redis.Addr + "/3"})
	ctx := t.Context()
	for _, err := range []error{
		s.Put(ctx, "key", []byte("value"), 1500*time.Microsecond+time.Hour),
		s.PutNew(ctx, "for ever", []byte("value"), store.NoExpiry),
		s.Add(ctx, "index", "member"),
		s.Announce(ctx, []byte("message")),
	} {
		must(t, err)
	}
	const all = `redis.call('SELECT', 3); local t = {}
		for _, k in ipairs(redis.call('KEYS', '*')) do t[#t+1] = k .. ' ' .. redis.call('TYPE', k).ok .. ' ' .. (redis.call('PTTL', k) > 3590000 and 'ttl' or 'no ttl') end
		table.sort(t); return table.concat(t, '\n')`
	got, err := redis.Command("EVAL", all, "0")
	must(t, err)
	want := "sso:i:index zset no ttl\nsso:stream stream no ttl\nsso:v:for ever string no ttl\nsso:v:key string ttl"
	if got != want {
		t.Errorf("Redis holds\n%s\nwant\n%s", got, want)
	}
}

// A counter that lost its end, or is none, must not keep an address out for good.
func TestRedisCounterWithoutEnd(t *testing.T) {
	t.Parallel()
	redis := gatewaytest.StartRedis(t)
	s := openReal(t, redisstore.Options{URL: "redis://" + redis.Addr})
	for _, value := range []string{"1000000", "no number", "", "nan"} {
		for _, delta := range []int{1, 0, -1} {
			if _, err := redis.Command("SET", "sso:c:key", value); err != nil {
				t.Fatal(err)
			}
			n, left, err := s.Count(t.Context(), "key", delta, time.Minute)
			if want := max(0, delta); n != want || left < 0 || left > time.Minute || err != nil {
				t.Errorf("counting %+d on %q: got %d for %v more, %v; want %d", delta, value, n, left, err, want)
			}
		}
	}
}

func TestRedisStreamIsCapped(t *testing.T) {
	t.Parallel()
	redis := gatewaytest.StartRedis(t)
	s := openReal(t, redisstore.Options{URL: "redis://" + redis.Addr})
	for range 10_500 {
		must(t, s.Announce(t.Context(), []byte("message")))
	}
	if length, err := redis.Command("XLEN", "sso:stream"); err != nil || length < "10000" || length > "10200" || len(length) != 5 {
		t.Errorf("the stream has %s entries (%v), want about 10000", length, err)
	}
}

// A writer of the stream adds the last entry that it can hold. No change can be
// announced any more, so a Watch that goes on would confirm logins that may be over.
func TestRedisStreamIsExhausted(t *testing.T) {
	t.Parallel()
	redis := gatewaytest.StartRedis(t)
	s := openReal(t, redisstore.Options{URL: "redis://" + redis.Addr})
	err := s.Watch(t.Context(), "", func(c store.Change) {
		if c.Reset {
			mustCommand(t, redis, "XADD", "sso:stream", "18446744073709551615-18446744073709551615", "m", "forged")
		}
	})
	if err == nil || !strings.Contains(err.Error(), "emptied, replaced or cut") {
		t.Fatalf("a Watch over an exhausted stream ended with %v", err)
	}
	ctx, cancel := context.WithTimeout(t.Context(), 30*time.Second)
	defer cancel()
	var got []string
	for ctx.Err() == nil { // a Watch ends if the machine is too slow for it
		err = s.Watch(ctx, "", func(c store.Change) {
			if c.Reset {
				if err := s.Announce(ctx, []byte("message")); err != nil {
					t.Errorf("announcing after it: %v", err)
					cancel()
				}
			}
			for _, m := range c.Messages {
				got = append(got, string(m))
				cancel()
			}
		})
	}
	if len(got) != 1 || got[0] != "message" {
		t.Errorf("the next Watch saw %q (%v), want the message", got, err)
	}
}

// TestRedisPing goes through the settings that make Redis unfit.
func TestRedisPing(t *testing.T) {
	t.Parallel()
	primary := gatewaytest.StartRedis(t)
	redis := gatewaytest.StartRedis(t, "--maxmemory-policy", "allkeys-lru")
	unfit := func(user, want string) {
		t.Helper()
		s := openReal(t, redisstore.Options{URL: "redis://" + user + redis.Addr})
		for name, err := range map[string]error{
			"Ping":  s.Ping(t.Context()),
			"Watch": s.Watch(t.Context(), "", func(store.Change) { t.Error("Watch began on an unfit Redis") }),
		} {
			if err == nil || !strings.Contains(err.Error(), want) || strings.Contains(err.Error(), "canary") {
				t.Errorf("%s: %v, want %q", name, err, want)
			}
		}
	}
	unfit("", "set maxmemory-policy to noeviction")
	mustCommand(t, redis, "CONFIG", "SET", "maxmemory-policy", "noeviction")
	s := openReal(t, redisstore.Options{URL: "redis://" + redis.Addr})
	if err := s.Ping(t.Context()); err != nil {
		t.Errorf("a fit Redis: %v", err)
	}

	host, port, _ := strings.Cut(primary.Addr, ":")
	mustCommand(t, redis, "REPLICAOF", host, port)
	unfit("", "replica")
	if err := s.Put(t.Context(), "key", nil, time.Minute); err == nil || !strings.Contains(err.Error(), "give the address of the primary") {
		t.Errorf("writing to a replica: %v", err)
	}
	mustCommand(t, redis, "REPLICAOF", "NO", "ONE")

	mustCommand(t, redis, "CONFIG", "SET", "requirepass", "s3cret-canary")
	unfit("", "wants a password")
	unfit(":wrong-canary@", "wrong")
	unfit("nobody:wrong-canary@", "wrong")
	s = openReal(t, redisstore.Options{URL: "redis://:s3cret-canary@" + redis.Addr})
	if err := s.Ping(t.Context()); err != nil {
		t.Errorf("with the right password: %v", err)
	}
}

// TestRedisFaults: a Watch ends, or says Reset, within 4 s of each fault.
func TestRedisFaults(t *testing.T) {
	t.Parallel()
	primary := gatewaytest.StartRedis(t)
	does := func(args ...string) func(*testing.T, *gatewaytest.Redis) {
		return func(t *testing.T, r *gatewaytest.Redis) { mustCommand(t, r, args...) }
	}
	mustBeDown := func(t *testing.T, r *gatewaytest.Redis) { r.MustBeDown(t) }
	tests := map[string]struct {
		fault func(t *testing.T, r *gatewaytest.Redis)
		// control proves that the fault is there.
		control func(t *testing.T, r *gatewaytest.Redis)
		mend    func(r *gatewaytest.Redis)
		// late is for how long a Watch may still confirm.
		late time.Duration
	}{
		"stopped": {
			fault:   func(_ *testing.T, r *gatewaytest.Redis) { r.Stop() },
			control: mustBeDown,
			mend:    (*gatewaytest.Redis).Continue,
		},
		"killed": {
			fault:   func(_ *testing.T, r *gatewaytest.Redis) { r.Kill() },
			control: mustBeDown,
			mend:    (*gatewaytest.Redis).Restart,
		},
		"connections killed": {
			fault: func(t *testing.T, r *gatewaytest.Redis) {
				if killed := mustCommand(t, r, "CLIENT", "KILL", "TYPE", "normal"); killed < "2" {
					t.Fatalf("%s connections were killed, want those of the watch and of the store", killed)
				}
			},
		},
		"restarted empty": {
			fault: func(_ *testing.T, r *gatewaytest.Redis) { r.Restart() },
			control: func(t *testing.T, r *gatewaytest.Redis) {
				if length := mustCommand(t, r, "XLEN", "sso:stream"); length != "0" && length != "1" {
					t.Fatalf("the stream has %s entries", length)
				}
			},
		},
		"flushed":                {fault: does("FLUSHALL")},
		"flushed and written to": {fault: does("EVAL", "redis.call('FLUSHALL') redis.call('XADD', 'sso:stream', '*', 'm', 'after') return 1", "0")},
		"stream set back":        {fault: does("EVAL", "redis.call('DEL', 'sso:stream') redis.call('XADD', 'sso:stream', '1-1', 'm', 'old') return 1", "0")},
		"stream trimmed":         {fault: does("EVAL", "for i = 1, 9 do redis.call('XADD', 'sso:stream', 'MAXLEN', '2', '*', 'm', i) end return 1", "0")},
		"made to evict": {
			fault: does("CONFIG", "SET", "maxmemory-policy", "allkeys-lru"),
			late:  2 * time.Second,
			mend:  func(r *gatewaytest.Redis) { _, _ = r.Command("CONFIG", "SET", "maxmemory-policy", "noeviction") },
		},
		"made a replica": {
			fault: func(t *testing.T, r *gatewaytest.Redis) {
				host, port, _ := strings.Cut(primary.Addr, ":")
				mustCommand(t, r, "REPLICAOF", host, port)
			},
			control: func(t *testing.T, r *gatewaytest.Redis) {
				if answer, err := r.Command("SET", "x", "y"); err == nil {
					t.Fatalf("a replica took a write: %s", answer)
				}
			},
		},
	}
	for name, test := range tests {
		t.Run(name, func(t *testing.T) {
			t.Parallel()
			r := gatewaytest.StartRedis(t)
			s := openReal(t, redisstore.Options{URL: "redis://" + r.Addr})
			must(t, s.Put(t.Context(), "key", []byte("value"), time.Minute))
			changes := make(chan store.Change, 1000)
			ended := make(chan error, 1)
			go func() { ended <- s.Watch(t.Context(), "", func(c store.Change) { changes <- c }) }()
			for range 2 { // Reset, and one tick: the watch is under way.
				select {
				case <-changes:
				case err := <-ended:
					t.Fatal(err)
				}
			}
			if len(changes) != 0 {
				t.Fatal("more changes than one a tick")
			}
			late, start := gatewaytest.Lateness(t), time.Now()
			test.fault(t, r)
			if test.control != nil {
				test.control(t, r)
			}
			faulty := time.Now()
			for noticed := false; !noticed; {
				select {
				case err := <-ended:
					t.Logf("ended: %v", err)
					if err == nil {
						t.Error("ended without an error")
					}
					noticed = true
				case c := <-changes:
					if noticed = c.Reset; !noticed && c.Began.After(faulty.Add(test.late+late())) {
						t.Error("confirmed after the fault")
					}
				case <-time.After(30 * time.Second):
					t.Fatal("nothing is said any more")
				}
				if took := time.Since(start); took > 4*time.Second+late() {
					t.Fatalf("not noticed within %v", took)
				}
			}
			if test.mend == nil {
				return
			}
			test.mend(r)
			if err := s.Ping(t.Context()); err != nil {
				t.Errorf("mended: %v", err)
			}
		})
	}
}

// TestRedisRestart: after a restart the first call of each kind may meet a
// dead connection, but no later one.
func TestRedisRestart(t *testing.T) {
	t.Parallel()
	r := gatewaytest.StartRedis(t)
	s := openReal(t, redisstore.Options{URL: "redis://" + r.Addr})
	if err := s.CompareAndPut(t.Context(), "key", nil, nil, 0); err != store.ErrNotFound {
		t.Fatal(err)
	}
	r.Restart()
	if err := s.Ping(t.Context()); err != nil {
		t.Errorf("the first call: %v", err)
	}
	// The script is gone with the old process.
	if err := s.CompareAndPut(t.Context(), "key", nil, nil, 0); err != store.ErrNotFound {
		t.Errorf("a script after a restart: %v", err)
	}
}

func mustCommand(t *testing.T, r *gatewaytest.Redis, args ...string) string {
	t.Helper()
	answer, err := r.Command(args...)
	if err != nil {
		t.Fatalf("%q: %v", args, err)
	}
	return answer
}
