package gatewaytest

import (
	"errors"
	"testing"
	"time"

	"github.com/caddy-sso/caddy-sso/gateway/store"
)

var storeCountTests = []storeTest{
	{"Count", func(t *testing.T, a, b store.Store) {
		wantCount(t, a, "key", 1, time.Minute, 1)
		wantCount(t, b, "key", 2, time.Hour, 3)
		if left := wantCount(t, a, "key", 0, time.Hour, 3); left > time.Minute {
			t.Errorf("it lives on for %v: the first Count gave it a minute", left)
		}
		wantCount(t, b, "key", -1, time.Minute, 2)
		wantCount(t, a, "key", -5, time.Minute, 0)
		wantCount(t, a, "key", 1, time.Minute, 1)
		wantCount(t, a, "other\x00\xff", 1, time.Minute, 1)
		wantValues(t, a, []string{"key"}, [][]byte{nil})
	}},
	{"Count makes nothing of what is given back", func(t *testing.T, a, b store.Store) {
		wantCount(t, a, "key", -1, time.Minute, 0)
		wantCount(t, b, "key", 0, time.Minute, 0)
		wantCount(t, b, "key", 1, time.Minute, 1)
	}},
	{"Count begins anew after its ttl", func(t *testing.T, a, b store.Store) {
		wantCount(t, a, "key", 3, 50*time.Millisecond, 3)
		time.Sleep(100 * time.Millisecond)
		wantCount(t, b, "key", 1, time.Minute, 1)
	}},
	{"Count at once", func(t *testing.T, a, b store.Store) {
		errs := storeRace(a, b, func(s store.Store, _ int) error {
			_, _, err := s.Count(t.Context(), "key", 1, time.Minute)
			return err
		})
		must(t, errors.Join(errs...))
		wantCount(t, a, "key", 0, time.Minute, storeRacers)
	}},
}

func wantCount(t *testing.T, s store.Store, key string, delta int, ttl time.Duration, want int) time.Duration {
	t.Helper()
	n, left, err := s.Count(t.Context(), key, delta, ttl)
	must(t, err)
	if n != want || left < 0 || want > 0 && left == 0 {
		t.Errorf("counting %+d: got %d for %v more, want %d", delta, n, left, want)
	}
	return left
}
