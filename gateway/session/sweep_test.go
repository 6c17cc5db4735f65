package session_test

import (
	"testing"
	"testing/synctest"
	"time"

	"github.com/caddy-sso/caddy-sso/gateway/gatewaytest"
)

// Unused logins leave the cache. Those of live requests stay: nothing else would cut
// the requests.
func TestUnusedLoginsLeaveTheCache(t *testing.T) {
	t.Parallel()
	synctest.Test(t, func(t *testing.T) {
		s := openNode(t, gatewaytest.NewMemStore())
		runNode(t, s)
		synctest.Wait()
		unused, used := signInAt(t, s, "alice"), signInAt(t, s, "bob")
		wantSession(t, s, unused)
		live, leave := enterLive(t, wantSession(t, s, used), time.Now().Add(nodeLife))
		defer leave()
		if logins, cookies, _ := s.Cached(); logins != 2 || cookies != 2 {
			t.Fatalf("cached are %d logins by %d cookies, want 2", logins, cookies)
		}
		time.Sleep(10 * time.Minute)
		synctest.Wait()
		logins, cookies, bytes := s.Cached()
		if logins != 1 || cookies != 1 {
			t.Errorf("cached are %d logins by %d cookies, want the one in use", logins, cookies)
		}
		if live.Err() != nil {
			t.Error("the live request has ended")
		}
		wantSession(t, s, unused)
		if _, _, now := s.Cached(); now <= bytes || bytes <= 0 {
			t.Errorf("%d bytes are cached, and %d after another login", bytes, now)
		}
	})
}
