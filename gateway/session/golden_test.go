package session_test

import (
	"context"
	"encoding/hex"
	"encoding/json"
	"testing"
	"testing/synctest"

	"go.uber.org/zap"

	"github.com/caddy-sso/caddy-sso/gateway/gatewaytest"
	"github.com/caddy-sso/caddy-sso/gateway/refusal"
	"github.com/caddy-sso/caddy-sso/gateway/session"
	"github.com/caddy-sso/caddy-sso/gateway/store"
)

// The golden store holds the formats of a release for all later ones: it is a
// whole store as that release left it, and must open for ever. New formats get
// new files; these never change. It was written with a lifetime of a hundred
// years.
type goldenStore struct {
	Secret, Cookie, Host string
	Values               map[string]string // hex
	Members              map[string][]string
}

// readGolden reads the golden store. A test calls it in a bubble.
func readGolden(tb testing.TB) (g goldenStore) {
	tb.Helper()
	raw, _ := gatewaytest.Captured(tb, "testdata/vault-store/format1.json")
	if err := json.Unmarshal(raw, &g); err != nil {
		tb.Fatal(err)
	}
	return g
}

func (g goldenStore) store(tb testing.TB) *gatewaytest.MemStore {
	tb.Helper()
	st := gatewaytest.NewMemStore()
	for key, value := range g.Values {
		sealed, err := hex.DecodeString(value)
		if err == nil {
			err = st.Put(context.Background(), key, sealed, store.NoExpiry)
		}
		if err != nil {
			tb.Fatal(err)
		}
	}
	for index, members := range g.Members {
		if err := st.Add(context.Background(), index, members...); err != nil {
			tb.Fatal(err)
		}
	}
	return st
}

func (g goldenStore) open(tb testing.TB, store store.Store, secrets ...[]byte) *session.Node {
	tb.Helper()
	s, err := session.Open(session.Options{Store: store, Secrets: secrets, Marker: &gatewaytest.Marker{}, Logger: zap.NewNop()})
	if err != nil {
		tb.Fatal(err)
	}
	return s
}

// The records of a release work in the next: a session, an account, its listing,
// also while the secret is being changed, and after.
func TestGoldenStoreOfTheFirstRelease(t *testing.T) {
	t.Parallel()
	synctest.Test(t, func(t *testing.T) {
		g := readGolden(t)
		store := g.store(t)
		old, fresh := []byte(g.Secret), gatewaytest.Secret("n")
		check := func(s *session.Node) {
			t.Helper()
			f, err := s.Find(t.Context(), g.Cookie, g.Host)
			mustDo(t, err)
			if f.Login().Account != keyOf("alice") || f.Login().Identity.Username != "Alice" {
				t.Errorf("found %v, %q", f.Login().Account, f.Login().Identity.Username)
			}
			wantAccounts(t, s, "", "Alice", "bob")
			logins, _, err := s.Logins(t.Context(), session.ListQuery{Username: "ALICE", Exact: true})
			if err != nil || len(logins) != 1 || logins[0].ID != f.ID() {
				t.Errorf("listed %v, %v", logins, err)
			}
			if _, err := trySignIn(s, "bob"); refusal.CodeOf(err) != refusal.AccountBlocked {
				t.Errorf("bob was blocked then: %v", err)
			}
		}
		check(g.open(t, store, old))
		both := g.open(t, store, fresh, old)
		check(both)
		mustDo(t, both.Tidy(t.Context()))
		check(g.open(t, store, fresh))
	})
}
