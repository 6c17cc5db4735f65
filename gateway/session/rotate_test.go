package session_test

import (
	"context"
	"slices"
	"strings"
	"sync"
	"testing"
	"testing/synctest"
	"time"

	"go.uber.org/zap"
	"go.uber.org/zap/zaptest/observer"

	"github.com/caddy-sso/caddy-sso/gateway/gatewaytest"
	"github.com/caddy-sso/caddy-sso/gateway/provider"
	"github.com/caddy-sso/caddy-sso/gateway/session"
	"github.com/caddy-sso/caddy-sso/gateway/store"
	"github.com/caddy-sso/caddy-sso/gateway/vault"
)

// The secret is changed in three steps while two nodes serve, one of them a
// step behind at every moment. No session is lost, no block, no marker.
func TestRotationInThreeSteps(t *testing.T) {
	t.Parallel()
	gatewaytest.EachStore(t, func(t *testing.T, store store.Store) {
		memories := []*gatewaytest.Marker{{}, {}}
		nodes := []*session.Node{}
		for _, m := range memories {
			nodes = append(nodes, openNodeWith(t, store, m, "a"))
		}
		cookies := map[string]string{"before": signInAt(t, nodes[0], "before")}
		mallory := signInAt(t, nodes[0], "mallory")
		mustDo(t, nodes[0].BlockAccount(t.Context(), keyOf("mallory")))
		sids, marker := map[string]string{}, memories[0].Remembered
		check := func(when string) {
			t.Helper()
			for i, s := range nodes {
				for user, cookie := range cookies {
					f, err := s.Find(t.Context(), cookie, nodeHost)
					if err != nil || f.Login().Identity.Username != user {
						t.Fatalf("%s: the session %q on node %d: %v", when, user, i, err)
					}
					// Apps know the session by this, on whichever node.
					if sid := vault.Handle(f.ID()); sids[user] == "" {
						sids[user] = sid
					} else if sids[user] != sid {
						t.Fatalf("%s: the session %q has another id on node %d", when, user, i)
					}
				}
				wantNoSession(t, s, mallory)
				wantBlocked(t, s, "mallory")
				mustDo(t, s.MayCreate(t.Context()))
				if memories[i].Remembered != marker {
					t.Fatalf("%s: node %d knows another store", when, i)
				}
				if i == 0 { // everybody, again and anew
					cookies[when] = signInAt(t, s, when)
					_ = signInAt(t, s, "before")
				}
			}
		}
		restart := func(i int, secrets ...string) { nodes[i] = openNodeWith(t, store, memories[i], secrets...) }
		check("one secret")
		restart(1, "a", "b")
		check("second added on one node")
		restart(0, "a", "b")
		check("second added everywhere")
		restart(1, "b", "a")
		check("new one first on one node")
		mustDo(t, nodes[1].Tidy(t.Context()))
		check("sealed anew on one node")
		mustDo(t, nodes[0].Tidy(t.Context())) // back again
		check("sealed anew on the other node")
		restart(0, "b", "a")
		check("new one first everywhere")
		mustDo(t, nodes[0].Tidy(t.Context()))
		mustDo(t, nodes[1].Tidy(t.Context()))
		check("sealed anew")
		restart(1, "b")
		check("old one dropped on one node")
		restart(0, "b")
		check("old one dropped")
		wantSealedBy(t, store, "b")
		users := []string{"mallory"}
		for user := range cookies {
			users = append(users, user)
		}
		slices.Sort(users)
		wantAccounts(t, nodes[1], "", users...)
	})
}

// wantAccounts wants the user names of all accounts whose names begin with
// prefix, in order.
func wantAccounts(t *testing.T, s *session.Node, prefix string, want ...string) {
	t.Helper()
	page, next, err := s.Accounts(context.Background(), session.ListQuery{Username: prefix, Limit: 1000})
	if err != nil || next != "" {
		t.Fatalf("listing accounts: %q, %v", next, err)
	}
	var got []string
	for _, a := range page {
		got = append(got, a.Username)
	}
	if !slices.Equal(got, want) {
		t.Errorf("accounts %q, want %q", got, want)
	}
}

// wantSealedBy wants all that the indexes list, and the name key, to open under
// a secret alone.
func wantSealedBy(t *testing.T, store store.Store, secret string) {
	t.Helper()
	v := openVault(t, store, secret)
	keys := []string{nameKeyAt}
	for _, index := range []string{session.IndexLogins, session.IndexAccounts, session.IndexEpochs} {
		members := membersOf(t, store, index)
		if len(members) == 0 {
			t.Errorf("%s is empty", index)
		}
		for _, m := range members {
			keys = append(keys, m[strings.LastIndex(m, "\x00")+1:])
		}
	}
	for _, key := range keys {
		kind, _, _ := strings.Cut(key, ":")
		if _, err := v.GetAt(t.Context(), vault.Kind(kind), key); err != nil {
			t.Errorf("%s: %v", key, err)
		}
	}
}

// A login keeps its end when it is sealed anew, and one that is gone is not
// put back.
func TestRotationKeepsTheEndOfALogin(t *testing.T) {
	t.Parallel()
	synctest.Test(t, func(t *testing.T) {
		store := gatewaytest.NewMemStore()
		cookie := signInAt(t, openNode(t, store, "a"), "alice")
		key := wantSession(t, openNode(t, store, "a"), cookie).ID()
		time.Sleep(nodeLife - time.Hour)
		s := openNode(t, store, "b", "a")
		stale, err := s.Vault().GetAt(t.Context(), session.KindLogin, key)
		mustDo(t, err)
		mustDo(t, s.Tidy(t.Context()))
		if _, err := openVault(t, store, "b").GetAt(t.Context(), session.KindLogin, key); err != nil {
			t.Fatalf("it was not sealed anew: %v", err)
		}
		time.Sleep(time.Hour - time.Minute)
		wantSession(t, s, cookie)
		time.Sleep(time.Minute)
		if slices.Contains(store.Keys(), key) {
			t.Error("it has outlived its end")
		}
		if _, err := s.Vault().Reseal(t.Context(), stale, time.Hour); err != nil {
			t.Error(err)
		}
		if slices.Contains(store.Keys(), key) {
			t.Error("it was put back")
		}
	})
}

// Run seals anew soon after its start, and says once, and not too early, when
// the second secret may go. A node with one secret says nothing.
func TestRotationByRun(t *testing.T) {
	t.Parallel()
	synctest.Test(t, func(t *testing.T) {
		store := gatewaytest.NewMemStore()
		cookie := signInAt(t, openNode(t, store, "a"), "alice")
		core, logs := observer.New(zap.InfoLevel)
		run := func(secrets ...string) {
			runNode(t, open(t, session.Options{Store: store, Logger: zap.New(core)}, secrets...))
		}
		said := func() int { return logs.FilterMessageSnippet("drop the second").Len() }
		run("b", "a")
		time.Sleep(2 * time.Minute)
		wantSealedBy(t, store, "b")
		wantSession(t, openNode(t, store, "b"), cookie)
		if said() != 0 {
			t.Error("flows may still lie under the second secret, and it may go")
		}
		time.Sleep(session.ChangedAfter)
		if said() != 1 {
			t.Errorf("said %d times, want once", said())
		}
		late := signInAt(t, openNode(t, store, "a", "b"), "bob") // a node that is a step behind
		time.Sleep(3 * session.TidyEvery)
		wantSealedBy(t, store, "b")
		wantSession(t, openNode(t, store, "b"), late)
		run("b")
		time.Sleep(3 * session.TidyEvery)
		if said() != 1 {
			t.Errorf("said %d times, want once", said())
		}
	})
}

// Two nodes run with the secrets in opposite order, for days. They write now
// and then, no more, and whatever they do, everybody stays signed in.
func TestRotationOfOppositeOrdersComesToRest(t *testing.T) {
	t.Parallel()
	synctest.Test(t, func(t *testing.T) {
		store := gatewaytest.NewMemStore()
		one, two := openNode(t, store, "a", "b"), openNode(t, store, "b", "a")
		cookie := signInAt(t, one, "alice")
		var mu sync.Mutex
		writes := 0
		store.SetHook(func(op gatewaytest.MemOp) error {
			mu.Lock()
			defer mu.Unlock()
			if op.Method == "CompareAndPut" && !op.Done {
				writes++
			}
			return nil
		})
		runNode(t, one)
		runNode(t, two)
		for range 6 {
			time.Sleep(session.TidyEvery)
			wantSession(t, one, cookie)
			wantSession(t, two, cookie)
		}
		mu.Lock()
		defer mu.Unlock()
		if records := 5; writes > records*2*3*8 { // on each node, in each round of each walk
			t.Errorf("%d writes in six hours", writes)
		}
	})
}

// A record that is under the first secret is not written.
func TestRotationWritesOnce(t *testing.T) {
	t.Parallel()
	store := gatewaytest.NewMemStore()
	signInAt(t, openNode(t, store, "a"), "alice")
	s := openNode(t, store, "b", "a")
	mustDo(t, s.Tidy(t.Context()))
	store.SetHook(gatewaytest.Faulty("CompareAndPut", "Put", "PutNew"))
	mustDo(t, s.Tidy(t.Context()))
}

// An epoch that no account belongs to is sealed anew, too: without it nobody
// could ever sign in by that provider again.
func TestRotationOfAnEpochWithoutAccounts(t *testing.T) {
	t.Parallel()
	store := gatewaytest.NewMemStore()
	mustDo(t, openNode(t, store, "a").RevokeProvider(t.Context(), provider.OIDC, nodeIssuer))
	mustDo(t, openNode(t, store, "b", "a").Tidy(t.Context()))
	s := openNode(t, store, "b")
	wantSession(t, s, signInAt(t, s, "alice"))
}

// An epoch is listed before it is written. It stays listed until then, however long
// that takes: the tidy after that seals it anew.
func TestRotationOfAnEpochThatIsBeingWritten(t *testing.T) {
	t.Parallel()
	st := gatewaytest.NewMemStore()
	old, s := openNode(t, st, "a"), openNode(t, st, "b", "a")
	mustDo(t, old.MayCreate(t.Context()))
	name := session.ProviderEpoch(provider.OIDC, nodeIssuer)
	key := recordKey(t, old.Vault(), session.KindEpoch, name)
	mustDo(t, st.Add(t.Context(), session.IndexEpochs, key))
	mustDo(t, s.Tidy(t.Context()))
	mustDo(t, old.Vault().Put(t.Context(), session.KindEpoch, name, []byte("written"), store.NoExpiry))
	mustDo(t, s.Tidy(t.Context()))
	if _, err := openVault(t, st, "b").GetAt(t.Context(), session.KindEpoch, key); err != nil {
		t.Errorf("under the new secret: %v", err)
	}
}
