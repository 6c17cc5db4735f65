package session_test

import (
	"errors"
	"slices"
	"testing"

	"github.com/caddy-sso/caddy-sso/gateway/gatewaytest"
)

// A login dies at any moment, before or after a write took place. There is no
// session that is not listed, none at all unless somebody has its cookie, and
// the next login works.
func TestRevokeCrashDuringALogin(t *testing.T) {
	t.Parallel()
	for _, known := range []bool{true, false} {
		eachMoment(t, 10, func(at int) bool {
			store := gatewaytest.NewMemStore()
			s := openNode(t, store)
			if known {
				signInAt(t, s, "alice")
			}
			listed := len(loginsOf(t, openNode(t, store), "alice"))
			crashAt(store, at)
			_, err := trySignIn(s, "alice")
			store.SetHook(nil)
			if err == nil {
				return false
			}
			if !errors.Is(err, gatewaytest.ErrFault) {
				t.Fatalf("at moment %d: %v", at, err)
			}
			after := openNode(t, store) // the restart
			var records []string
			for _, key := range store.Keys() {
				if len(key) > 6 && key[:6] == "login:" {
					records = append(records, key)
				}
			}
			got := loginsOf(t, after, "alice")
			slices.Sort(got)
			if !slices.Equal(got, records) {
				t.Fatalf("at moment %d: %q are listed, %q exist", at, got, records)
			}
			if len(got) > listed+1 {
				t.Fatalf("at moment %d: %d logins", at, len(got))
			}
			cookie := signInAt(t, after, "alice")
			wantSession(t, after, cookie)
			wantAccounts(t, after, "", "alice")
			mustDo(t, after.BlockAccount(t.Context(), keyOf("alice")))
			wantNoSession(t, after, cookie)
			if got := loginsOf(t, after, "alice"); len(got) != 0 {
				t.Fatalf("at moment %d: %q are still listed after a block", at, got)
			}
			return true
		})
	}
}
