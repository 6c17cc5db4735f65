//go:build integration

package redisstore_test

import (
	"context"
	"os"
	"path/filepath"
	"slices"
	"strings"
	"testing"
	"time"

	"github.com/caddy-sso/caddy-sso/gateway/gatewaytest"
	"github.com/caddy-sso/caddy-sso/gateway/redisstore"
	"github.com/caddy-sso/caddy-sso/gateway/store"
)

// A Redis without memory takes no new records. People are signed out all the same,
// and all nodes hear of it, also one that comes to follow only now.
func TestRedisFull(t *testing.T) {
	t.Parallel()
	r := gatewaytest.StartRedis(t)
	s := openReal(t, redisstore.Options{URL: "redis://" + r.Addr})
	for _, key := range []string{"login", "epoch"} {
		must(t, s.Put(t.Context(), key, []byte("old"), time.Minute))
	}
	var got []string
	follow := func(want ...string) {
		t.Helper()
		got = nil
		ctx, cancel := context.WithTimeout(t.Context(), 30*time.Second)
		defer cancel()
		err := s.Watch(ctx, "", func(c store.Change) {
			if c.Reset {
				mustCommand(t, r, "CONFIG", "SET", "maxmemory", "1")
				if err := s.Put(ctx, "other", nil, time.Minute); err == nil || !strings.Contains(err.Error(), "raise maxmemory") {
					t.Errorf("control: a full Redis takes a value: %v", err)
				}
				for _, err := range []error{
					s.Announce(ctx, []byte("1"), store.Write{Key: "login"}),
					s.Announce(ctx, []byte("2"), store.Write{Key: "login"}),
					s.Announce(ctx, []byte("3"), store.Write{Key: "epoch", Old: []byte("old"), Value: []byte("old"), TTL: time.Minute}),
					s.Announce(ctx, []byte("4")),
				} {
					if err != nil {
						t.Error(err)
					}
				}
			}
			for _, m := range c.Messages {
				if got = append(got, string(m)); len(got) == 4 {
					cancel()
				}
			}
		})
		if !slices.Equal(got, want) {
			t.Errorf("followed %q (%v), want %q", got, err, want)
		}
	}
	follow("1", "2", "3", "4")
	follow("1", "2", "3", "4") // begun on a full Redis
	values, err := s.Get(t.Context(), "login", "epoch")
	if err != nil || values[0] != nil || string(values[1]) != "old" {
		t.Errorf("Redis holds %q, %v", values, err)
	}
}

// A Redis that can't save takes no write at all. Then a record and its announcement are
// both missing, never one of them.
func TestRedisMisconf(t *testing.T) {
	t.Parallel()
	dir := t.TempDir()
	r := gatewaytest.StartRedis(t, "--dir", dir, "--save", "3600 1000000")
	s := openReal(t, redisstore.Options{URL: "redis://" + r.Addr})
	must(t, s.Put(t.Context(), "login", []byte("old"), time.Minute))
	misconfigure(t, r, dir)
	err := s.Announce(t.Context(), []byte("1"), store.Write{Key: "login"})
	if err == nil || !strings.Contains(err.Error(), "MISCONF") {
		t.Errorf("announcing: %v", err)
	}
	values, err := s.Get(t.Context(), "login")
	if err != nil || string(values[0]) != "old" {
		t.Errorf("Redis holds %q, %v", values, err)
	}
	if length := mustCommand(t, r, "XLEN", "sso:stream"); length != "0" {
		t.Errorf("the stream has %s entries", length)
	}
}

// misconfigure has Redis fail to save: a directory is in the snapshot's place.
func misconfigure(t *testing.T, r *gatewaytest.Redis, dir string) {
	t.Helper()
	must(t, os.Mkdir(filepath.Join(dir, "dump.rdb"), 0o700))
	for range 1500 {
		_, _ = r.Command("BGSAVE") // fails in the background
		if _, err := r.Command("SET", "x", "y"); err != nil && strings.HasPrefix(err.Error(), "MISCONF") {
			return
		}
		time.Sleep(20 * time.Millisecond)
	}
	t.Fatal("the fault did not happen: Redis takes writes")
}
