package session_test

import (
	"context"
	"encoding/hex"
	"encoding/json"
	"testing"
	"testing/synctest"

	"github.com/caddy-sso/caddy-sso/gateway/gatewaytest"
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
	mustDo(tb, json.Unmarshal(raw, &g))
	return g
}

func (g goldenStore) store(tb testing.TB) *gatewaytest.MemStore {
	tb.Helper()
	st := gatewaytest.NewMemStore()
	for key, value := range g.Values {
		sealed, err := hex.DecodeString(value)
		mustDo(tb, err)
		mustDo(tb, st.Put(context.Background(), key, sealed, store.NoExpiry))
	}
	for index, members := range g.Members {
		mustDo(tb, st.Add(context.Background(), index, members...))
	}
	return st
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
			wantBlocked(t, s, "bob")
		}
		openBy := func(secrets ...[]byte) *session.Node { return open(t, session.Options{Store: store, Secrets: secrets}) }
		check(openBy(old))
		both := openBy(fresh, old)
		check(both)
		mustDo(t, both.Tidy(t.Context()))
		check(openBy(fresh))
	})
}
