package forward_test

import (
	"errors"
	"net/http"
	"testing"
	"time"
	"unsafe"

	"github.com/caddy-sso/caddy-sso/gateway/forward"
)

// TestAssertionAfterSuspend has the machine sleep, or its clock set back. The assertion
// of before is not sent any more.
func TestAssertionAfterSuspend(t *testing.T) {
	t.Parallel()
	keys := new(signer)
	headers, row := forward.New(keys, forward.Statement{}, forward.Format{}), headerNames.Canonical()
	begun := time.Now()
	set := func(now time.Time) (http.Header, error) {
		h := http.Header{}
		return h, headers.Set(h, &row, new(forward.Row), now)
	}
	at := func(now time.Time) (jti string, age, left time.Duration) {
		t.Helper()
		h, err := set(now)
		if err != nil {
			t.Fatal(err)
		}
		claims := claimsOf(t, h.Get("X-Sso-Assertion"))
		since := func(name string) time.Duration {
			return now.Round(0).Sub(time.Unix(int64(claims[name].(float64)), 0))
		}
		return claims["jti"].(string), since("iat"), -since("exp")
	}
	first, _, _ := at(begun)
	if again, _, _ := at(begun.Add(time.Second)); again != first {
		t.Error("a cached assertion did not repeat its jti")
	}
	for name, d := range map[string]time.Duration{"suspended": 10 * time.Minute, "set back": -10 * time.Minute} {
		before, _, _ := at(begun)
		now := setClock(begun, d)
		if now.Sub(begun) != 0 || now.Round(0).Sub(begun.Round(0)) != d {
			t.Fatalf("%s: the clocks are %v and %v on", name, now.Sub(begun), now.Round(0).Sub(begun.Round(0)))
		}
		after, age, left := at(now)
		if after == before || left < 30*time.Second || age < -time.Second {
			t.Errorf("%s: an assertion is sent that is %v old, and good for %v", name, age, left)
		}
		keys.err = errors.New("no keys")
		if h, err := set(setClock(now, d)); err == nil {
			t.Errorf("%s, and signing fails: %v is sent", name, h)
		}
		keys.err = nil
	}
}

// setClock moves the wall time of t on by d, and leaves its monotonic reading: the
// bits of the seconds follow those of the nanoseconds.
func setClock(t time.Time, d time.Duration) time.Time {
	*(*int64)(unsafe.Pointer(&t)) += int64(d/time.Second) << 30
	return t
}
