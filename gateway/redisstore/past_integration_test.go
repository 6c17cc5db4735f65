//go:build integration

package redisstore_test

import (
	"context"
	"errors"
	"net"
	"path/filepath"
	"strings"
	"testing"
	"time"

	"github.com/caddy-sso/caddy-sso/gateway/gatewaytest"
	"github.com/caddy-sso/caddy-sso/gateway/redisstore"
	"github.com/caddy-sso/caddy-sso/gateway/store"
)

// followed is what a Watch says first: whether the store went back in time, its
// position then, and the risk. If it is refused, it ends in the call that tells of it.
func followed(t *testing.T, s store.Store, since string, refuse bool) (rewound bool, reset store.Change, err error) {
	t.Helper()
	ctx, cancel := context.WithTimeout(t.Context(), 30*time.Second)
	defer cancel()
	for ctx.Err() == nil { // a Watch ends if the machine is too slow for it
		err = s.Watch(ctx, since, func(c store.Change) {
			if c.Rewound {
				if rewound = true; refuse {
					cancel()
				}
				return
			}
			reset = c
			cancel()
		})
	}
	return rewound, reset, err
}

// TestRedisWentBack has Redis lose what it had taken in every way there is, and in
// some that lose nothing.
func TestRedisWentBack(t *testing.T) {
	t.Parallel()
	announce := func(t *testing.T, s store.Store, count int) {
		t.Helper()
		for range count {
			if err := s.Announce(t.Context(), []byte("message"), store.Write{Key: "login"}); err != nil {
				t.Fatal(err)
			}
		}
	}
	restart := func(t *testing.T, r *gatewaytest.Redis, _ store.Store) { r.Restart() }
	for name, tt := range map[string]struct {
		args  []string
		event func(t *testing.T, r *gatewaytest.Redis, s store.Store)
		want  bool
	}{
		"nothing":                    {nil, func(*testing.T, *gatewaytest.Redis, store.Store) {}, false},
		"killed after a snapshot":    {[]string{"--save", "3600 1000000"}, restart, true},
		"killed, everything on disk": {[]string{"--appendonly", "yes", "--appendfsync", "always"}, restart, false},
		"killed, nothing on disk":    {nil, restart, true},
		"connections killed": {nil, func(t *testing.T, r *gatewaytest.Redis, _ store.Store) {
			mustCommand(t, r, "CLIENT", "KILL", "TYPE", "normal")
		}, false},
		"flushed":               {nil, func(t *testing.T, r *gatewaytest.Redis, _ store.Store) { mustCommand(t, r, "FLUSHALL") }, true},
		"trimmed by newer ones": {nil, func(t *testing.T, _ *gatewaytest.Redis, s store.Store) { announce(t, s, 10_200) }, false},
		"flushed, and as many new ones": {nil, func(t *testing.T, r *gatewaytest.Redis, s store.Store) {
			mustCommand(t, r, "FLUSHALL")
			announce(t, s, 3)
		}, true},
	} {
		t.Run(name, func(t *testing.T) {
			t.Parallel()
			r := gatewaytest.StartRedis(t, append([]string{"--dir", t.TempDir()}, tt.args...)...)
			open := func() store.Store { return openReal(t, redisstore.Options{URL: "redis://" + r.Addr}) }
			s := open()
			announce(t, s, 2)
			if name == "killed after a snapshot" {
				mustCommand(t, r, "SAVE")
			}
			if rewound, _, _ := followed(t, s, "", false); rewound {
				t.Error("a node without a memory says that the store went back")
			}
			announce(t, s, 5)
			_, reset, _ := followed(t, s, "", false)
			if reset.Position == "" {
				t.Fatal("no position")
			}
			time.Sleep(5 * time.Millisecond) // ids are times: new ones must not be the old ones
			tt.event(t, r, s)
			// The same node, and one that has been started anew.
			other := open()
			if tt.want {
				if _, err := s.Get(t.Context(), "login"); err == nil && name != "flushed" && !strings.HasPrefix(name, "flushed,") {
					t.Error("it is read before that has been dealt with")
				}
				for range 2 {
					if rewound, _, err := followed(t, s, reset.Position, true); !rewound || !errors.Is(err, context.Canceled) {
						t.Errorf("not dealt with: %v, %v", rewound, err)
					}
				}
				if rewound, _, _ := followed(t, other, reset.Position, true); !rewound {
					t.Error("another node, before that has been dealt with: all is well")
				}
			}
			rewound, _, err := followed(t, s, reset.Position, false)
			if rewound != tt.want {
				t.Errorf("it went back: %v, %v", rewound, err)
			}
			if rewound, _, _ := followed(t, other, reset.Position, false); rewound {
				t.Error("another node deals with it again")
			}
			if _, err := s.Get(t.Context(), "login"); err != nil {
				t.Errorf("afterwards: %v", err)
			}
		})
	}
}

// A failover to a replica that lagged has lost what the primary had taken.
func TestRedisFailover(t *testing.T) {
	t.Parallel()
	for _, lags := range []bool{true, false} {
		primary, replica := gatewaytest.StartRedis(t), gatewaytest.StartRedis(t)
		host, port, err := net.SplitHostPort(primary.Addr)
		must(t, err)
		mustCommand(t, replica, "REPLICAOF", host, port)
		s := openReal(t, redisstore.Options{URL: "redis://" + primary.Addr})
		_, _, _ = followed(t, s, "", false)
		replicated(t, primary, replica)
		if lags {
			mustCommand(t, replica, "REPLICAOF", "NO", "ONE") // it hears of nothing more
		}
		if err := s.Announce(t.Context(), []byte("logout"), store.Write{Key: "login"}); err != nil {
			t.Fatal(err)
		}
		_, reset, _ := followed(t, s, "", false)
		if !lags {
			replicated(t, primary, replica)
		}
		primary.Kill()
		mustCommand(t, replica, "REPLICAOF", "NO", "ONE")
		rewound, _, err := followed(t, openReal(t, redisstore.Options{URL: "redis://" + replica.Addr}), reset.Position, false)
		t.Logf("lags %v: it went back: %v", lags, rewound)
		if rewound != lags {
			t.Errorf("lags %v: it went back: %v, %v", lags, rewound, err)
		}
	}
}

// replicated waits until the replica has all that the primary has.
func replicated(t *testing.T, primary, replica *gatewaytest.Redis) {
	t.Helper()
	value := time.Now().String()
	mustCommand(t, primary, "SET", "x", value)
	for range 1500 {
		if got, _ := replica.Command("GET", "x"); got == value {
			return
		}
		time.Sleep(20 * time.Millisecond)
	}
	t.Fatal("the replica does not follow")
}

// TestRedisDurability: settings that can lose a logout are told of.
func TestRedisDurability(t *testing.T) {
	t.Parallel()
	for want, args := range map[string][]string{
		"no append-only file":  nil,
		"appendfsync everysec": {"--appendonly", "yes"},
		"appendfsync no":       {"--appendonly", "yes", "--appendfsync", "no"},
		"":                     {"--appendonly", "yes", "--appendfsync", "always"},
	} {
		t.Run(want, func(t *testing.T) {
			t.Parallel()
			r := gatewaytest.StartRedis(t, append([]string{"--dir", filepath.Clean(t.TempDir())}, args...)...)
			_, reset, err := followed(t, openReal(t, redisstore.Options{URL: "redis://" + r.Addr}), "", false)
			if (want == "") != (reset.Risk == "") || !strings.Contains(reset.Risk, want) {
				t.Errorf("the risk is %q (%v), want %q", reset.Risk, err, want)
			}
		})
	}
}
