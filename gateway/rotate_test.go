package gateway_test

import (
	"context"
	"encoding/hex"
	"encoding/json"
	"errors"
	"fmt"
	"slices"
	"strings"
	"sync"
	"testing"
	"testing/synctest"
	"time"

	"github.com/caddy-sso/caddy-sso/gateway"
	"github.com/caddy-sso/caddy-sso/gateway/gatewaytest"
)

// The secret is changed in three steps while two nodes serve, one of them a
// step behind at every moment. No session is lost, no block, no marker.
func TestRotationInThreeSteps(t *testing.T) {
	t.Parallel()
	eachStore(t, func(t *testing.T, store gateway.Store) {
		memories := []*noteMarker{{}, {}}
		nodes := []*gateway.Sessions{}
		for _, m := range memories {
			nodes = append(nodes, openNodeWith(t, store, m, "a"))
		}
		cookies := map[string]string{"before": signInAt(t, nodes[0], "before")}
		mallory := signInAt(t, nodes[0], "mallory")
		mustDo(t, nodes[0].BlockAccount(t.Context(), keyOf("mallory")))
		mustDo(t, nodes[0].Vault().PutNew(t.Context(), gateway.KindKeys, "k", []byte("keys"), gateway.NoExpiry))
		sids := map[string]string{}
		check := func(when string) {
			t.Helper()
			for i, s := range nodes {
				for user, cookie := range cookies {
					f, err := s.Find(t.Context(), cookie, nodeHost)
					if err != nil || f.Login().Identity.Username != user {
						t.Fatalf("%s: the session %q on node %d: %v", when, user, i, err)
					}
					// Apps know the session by this, on whichever node.
					if sid := gateway.Handle(f.ID()); sids[user] == "" {
						sids[user] = sid
					} else if sids[user] != sid {
						t.Fatalf("%s: the session %q has another id on node %d", when, user, i)
					}
				}
				wantNoSession(t, s, mallory)
				if _, err := trySignIn(s, "mallory"); gateway.CodeOf(err) != gateway.CodeAccountBlocked {
					t.Fatalf("%s: a blocked account signs in on node %d: %v", when, i, err)
				}
				mustDo(t, s.MayCreate(t.Context()))
				wantValue(t, s.Vault(), gateway.KindKeys, "k", "keys")
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
		restart(0, "b", "a")
		check("new one first everywhere")
		mustDo(t, nodes[0].Tidy(t.Context()))
		mustDo(t, nodes[0].Vault().CarryOver(t.Context(), gateway.KindKeys, "k"))
		check("carried over")
		mustDo(t, nodes[1].Tidy(t.Context()))
		check("carried over twice")
		wantAccounts(t, nodes[1], "", "before", "carried over", "carried over twice", "mallory", "new one first everywhere",
			"new one first on one node", "one secret", "second added everywhere", "second added on one node")
		// The old secret goes when the logins of before have ended.
		maps := cookies
		cookies = map[string]string{"late": signInAt(t, nodes[0], "late")}
		restart(1, "b")
		check("old one dropped on one node")
		restart(0, "b")
		check("old one dropped")
		if len(maps) < 6 {
			t.Error("too few sessions were checked")
		}
	})
}

// wantAccounts wants the user names of all accounts whose names begin with
// prefix, in order.
func wantAccounts(t *testing.T, s *gateway.Sessions, prefix string, want ...string) {
	t.Helper()
	page, next, err := s.Accounts(context.Background(), gateway.ListQuery{Username: prefix, Limit: 1000})
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

// Two nodes have the secrets in different order and write the same new record:
// not both may win, at whatever moment the other comes.
func TestRotationReplayMarkWorksOnce(t *testing.T) {
	t.Parallel()
	for at := 1; ; at++ {
		store := gatewaytest.NewMemStore()
		one, two := openVault(t, store, "a", "b"), openVault(t, store, "b", "a")
		var second error
		n, came := 0, false
		store.SetHook(func(gatewaytest.MemOp) error {
			if n++; n == at && !came {
				came = true
				second = two.PutNew(context.Background(), gateway.KindReplay, "id", nil, time.Minute)
			}
			return nil
		})
		first := one.PutNew(t.Context(), gateway.KindReplay, "id", nil, time.Minute)
		store.SetHook(nil)
		if !came {
			if at < 6 {
				t.Errorf("PutNew has %d moments only", at-1)
			}
			return
		}
		won := 0
		for _, err := range []error{first, second} {
			if err == nil {
				won++
			} else if !errors.Is(err, gateway.ErrExists) {
				t.Errorf("at moment %d: %v", at, err)
			}
		}
		// If both lost, nobody has used it. Whoever comes then can, once.
		for range 2 {
			time.Sleep(2 * time.Millisecond) // a record is deleted by ending it in one
			for _, v := range []*gateway.Vault{one, two} {
				if v.PutNew(t.Context(), gateway.KindReplay, "id", nil, time.Minute) == nil {
					won++
				}
			}
		}
		if won != 1 {
			t.Fatalf("at moment %d: %d callers use the mark", at, won)
		}
	}
}

func TestRotationReplayMarkRace(t *testing.T) {
	t.Parallel()
	eachStore(t, func(t *testing.T, store gateway.Store) {
		nodes := []*gateway.Vault{openVault(t, store, "a", "b"), openVault(t, store, "b", "a")}
		for i := range 20 {
			var mu sync.Mutex
			var wg sync.WaitGroup
			won := 0
			for j := range 4 {
				wg.Go(func() {
					err := nodes[j%2].PutNew(context.Background(), gateway.KindReplay, fmt.Sprint(i), nil, time.Minute)
					mu.Lock()
					defer mu.Unlock()
					if err == nil {
						won++
					} else if !errors.Is(err, gateway.ErrExists) {
						t.Error(err)
					}
				})
			}
			wg.Wait()
			if won > 1 {
				t.Fatalf("%d callers used one assertion", won)
			}
		}
	})
}

// Two nodes with the secrets in different order make the same account and the
// same epochs at once. Both must hold the same to be true afterwards.
func TestRotationFirstLoginsAtOnce(t *testing.T) {
	t.Parallel()
	for at := 1; ; at++ {
		store := gatewaytest.NewMemStore()
		one, two := openNode(t, store, "a", "b"), openNode(t, store, "b", "a")
		n, came := 0, false
		var cookies []string
		store.SetHook(func(gatewaytest.MemOp) error {
			if n++; n == at && !came {
				came = true
				if cookie, err := trySignIn(two, "alice"); err == nil {
					cookies = append(cookies, cookie)
				}
			}
			return nil
		})
		if cookie, err := trySignIn(one, "alice"); err == nil {
			cookies = append(cookies, cookie)
		}
		store.SetHook(nil)
		if !came {
			if at < 20 {
				t.Fatalf("a login has %d moments only", at-1)
			}
			return
		}
		if len(cookies) == 0 {
			t.Fatalf("at moment %d nobody got in", at)
		}
		for i, cookie := range append(cookies, signInAt(t, one, "alice"), signInAt(t, two, "alice")) {
			wantSession(t, one, cookie)
			wantSession(t, two, cookie)
			if t.Failed() {
				t.Fatalf("at moment %d, login %d", at, i)
			}
		}
		mustDo(t, one.BlockAccount(t.Context(), keyOf("alice")))
		for _, s := range []*gateway.Sessions{one, two} {
			for _, cookie := range cookies {
				fresh := openNode(t, store, "a", "b")
				wantNoSession(t, fresh, cookie)
			}
			if _, err := trySignIn(s, "alice"); gateway.CodeOf(err) != gateway.CodeAccountBlocked {
				t.Fatalf("at moment %d: signing in while blocked: %v", at, err)
			}
		}
		// What is left of the race must not come to life when the other secret
		// is dropped.
		next := openNodeWith(t, store, &noteMarker{}, "b", "a")
		mustDo(t, next.Tidy(t.Context()))
		mustDo(t, next.Tidy(t.Context()))
		if _, err := trySignIn(openNode(t, store, "b"), "alice"); gateway.CodeOf(err) != gateway.CodeAccountBlocked {
			t.Fatalf("at moment %d: signing in while blocked, after the rotation: %v", at, err)
		}
		time.Sleep(2 * time.Millisecond) // a record is deleted by ending it in one
		wantAccounts(t, next, "", "alice")
	}
}

// The carrying over dies at any moment, and in between somebody blocks the
// account, on a node with the secrets in the same order, or the other. The
// block holds, before and after another attempt, and nothing is lost.
func TestRotationCarryOverLosesNoBlock(t *testing.T) {
	t.Parallel()
	for _, order := range [][]string{{"a", "b"}, {"b", "a"}} {
		for _, dies := range []bool{false, true} {
			for at := 1; ; at++ {
				store := gatewaytest.NewMemStore()
				old := openNode(t, store, "a")
				alice, bob := signInAt(t, old, "alice"), signInAt(t, old, "bob")
				mover, admin := openNode(t, store, "b", "a"), openNode(t, store, order...)
				n, came := 0, false
				store.SetHook(func(op gatewaytest.MemOp) error {
					n++
					if n < at || n > at && !dies {
						return nil
					}
					if !came {
						came = true
						store.SetHook(nil) // the administrator's calls all work
						if err := admin.BlockAccount(context.Background(), keyOf("alice")); err != nil {
							t.Errorf("blocking: %v", err)
						}
						if dies {
							store.SetHook(faulty())
						}
					}
					if dies {
						return errFault
					}
					return nil
				})
				err := mover.Tidy(t.Context())
				store.SetHook(nil)
				if !came {
					if at < 30 {
						t.Fatalf("carrying over has %d moments only", at-1)
					}
					break
				}
				if err != nil && !dies {
					t.Fatalf("%q, moment %d: %v", order, at, err)
				}
				check := func(when string, nodes ...*gateway.Sessions) {
					t.Helper()
					for i, s := range nodes {
						if _, err := trySignIn(s, "alice"); gateway.CodeOf(err) != gateway.CodeAccountBlocked {
							t.Fatalf("%q, dies %v, moment %d, %s, node %d: alice signs in: %v", order, dies, at, when, i, err)
						}
						wantNoSession(t, s, alice)
						if when == "before" {
							wantSession(t, s, bob)
						}
					}
				}
				check("before", openNode(t, store, "a", "b"), openNode(t, store, "b", "a"), admin, mover)
				mustDo(t, mover.Tidy(t.Context()))
				mustDo(t, mover.Tidy(t.Context()))
				check("after", openNode(t, store, "a", "b"), openNode(t, store, "b", "a"), openNode(t, store, "b"))
				wantAccounts(t, openNode(t, store, "b"), "", "alice", "bob")
				time.Sleep(2 * time.Millisecond) // a record is deleted by ending it in one
				for _, key := range store.Keys() {
					if !strings.HasPrefix(key, "login:") && !holdsUnder(t, store, key, "b") {
						t.Fatalf("%q, dies %v, moment %d: %s was not carried over", order, dies, at, key)
					}
				}
			}
		}
	}
}

// holdsUnder says whether the record under key is one that a node with that
// secret alone would find there.
func holdsUnder(t *testing.T, store gateway.Store, key, secret string) bool {
	t.Helper()
	v := openVault(t, store, secret)
	names := []string{
		gateway.MarkerName, gateway.GlobalEpoch, gateway.ProviderEpoch(gateway.OIDC, nodeIssuer),
		keyOf("alice").AccountName(), keyOf("bob").AccountName(),
	}
	for _, kind := range []gateway.Kind{gateway.KindMarker, gateway.KindEpoch, gateway.KindAccount} {
		for _, name := range names {
			if v.KeyUnder(0, kind, name) == key {
				return true
			}
		}
	}
	return false
}

// A revocation of everybody that comes while the epoch is carried over holds.
func TestRotationCarryOverLosesNoRevocation(t *testing.T) {
	t.Parallel()
	for _, order := range [][]string{{"a", "b"}, {"b", "a"}} {
		for at := 1; ; at++ {
			store := gatewaytest.NewMemStore()
			cookie := signInAt(t, openNode(t, store, "a"), "alice")
			mover, admin := openVault(t, store, "b", "a"), openNode(t, store, order...)
			n, came := 0, false
			store.SetHook(func(gatewaytest.MemOp) error {
				if n++; n == at && !came {
					came = true
					return admin.RevokeAll(context.Background())
				}
				return nil
			})
			mustDo(t, mover.CarryOver(t.Context(), gateway.KindEpoch, gateway.GlobalEpoch))
			store.SetHook(nil)
			if !came {
				if at < 8 {
					t.Fatalf("carrying over has %d moments only", at-1)
				}
				break
			}
			wantNoSession(t, openNode(t, store, "a", "b"), cookie)
			wantNoSession(t, openNode(t, store, "b", "a"), cookie)
			mustDo(t, mover.CarryOver(t.Context(), gateway.KindEpoch, gateway.GlobalEpoch))
			wantNoSession(t, openNode(t, store, "b", "a"), cookie)
		}
	}
}

// The other way round: everything is carried over at one moment of a block, or
// of a login.
func TestRotationCarryOverInBetween(t *testing.T) {
	t.Parallel()
	for _, order := range [][]string{{"a", "b"}, {"b", "a"}} {
		for at := 1; ; at++ {
			came := false
			synctest.Test(t, func(t *testing.T) {
				store := gatewaytest.NewMemStore()
				old := openNode(t, store, "a")
				alice, bob := signInAt(t, old, "alice"), signInAt(t, old, "bob")
				mover, s := openNode(t, store, "b", "a"), openNode(t, store, order...)
				n := 0
				carry := func(gatewaytest.MemOp) error {
					if n++; n == at {
						came = true
						if err := mover.Tidy(context.Background()); err != nil {
							t.Error(err)
						}
						time.Sleep(2 * time.Millisecond)
					}
					return nil
				}
				store.SetHook(carry)
				mustDo(t, s.BlockAccount(t.Context(), keyOf("alice")))
				second := signInAt(t, s, "bob")
				store.SetHook(nil)
				for range 2 {
					mustDo(t, mover.Tidy(t.Context()))
				}
				for _, s := range []*gateway.Sessions{openNode(t, store, "b", "a"), openNode(t, store, "a", "b")} {
					wantNoSession(t, s, alice)
					wantSession(t, s, bob)
					wantSession(t, s, second)
				}
				if _, err := trySignIn(openNode(t, store, "b"), "alice"); gateway.CodeOf(err) != gateway.CodeAccountBlocked {
					t.Errorf("%q, moment %d: alice signs in: %v", order, at, err)
				}
			})
			if !came {
				if at < 20 {
					t.Fatalf("a block and a login have %d moments only", at-1)
				}
				break
			}
		}
	}
}

// Somebody makes the record anew, before it is carried over or at any moment
// of it, and dies before he has looked whether it exists.
func TestRotationCarryOverBeatsWhatIsNew(t *testing.T) {
	t.Parallel()
	for at := 1; ; at++ {
		came := false
		synctest.Test(t, func(t *testing.T) {
			store := gatewaytest.NewMemStore()
			mustDo(t, openVault(t, store, "a").PutNew(t.Context(), gateway.KindKeys, "k", []byte("the keys"), gateway.NoExpiry))
			mover, other := openVault(t, store, "b", "a"), openVault(t, store, "b", "a")
			n := 0
			store.SetHook(func(gatewaytest.MemOp) error {
				if n++; n != at {
					return nil
				}
				came = true
				store.SetHook(faulty("Get"))
				err := other.PutNew(context.Background(), gateway.KindKeys, "k", []byte("junk"), gateway.NoExpiry)
				store.SetHook(nil)
				if !errors.Is(err, errFault) && !errors.Is(err, gateway.ErrExists) {
					t.Errorf("it did not die: %v", err)
				}
				wantValue(t, other, gateway.KindKeys, "k", "the keys")
				return nil
			})
			mustDo(t, mover.CarryOver(t.Context(), gateway.KindKeys, "k"))
			store.SetHook(nil)
			for range 2 { // what was in the way is out of it
				time.Sleep(time.Second)
				wantValue(t, other, gateway.KindKeys, "k", "the keys")
				mustDo(t, mover.CarryOver(t.Context(), gateway.KindKeys, "k"))
			}
			wantValue(t, openVault(t, store, "b"), gateway.KindKeys, "k", "the keys")
		})
		if !came {
			if at < 9 {
				t.Fatalf("carrying over has %d moments only", at-1)
			}
			return
		}
	}
}

func TestRotationIsCarriedOverByRun(t *testing.T) {
	t.Parallel()
	synctest.Test(t, func(t *testing.T) {
		store := gatewaytest.NewMemStore()
		signInAt(t, openNode(t, store, "a"), "alice")
		mustDo(t, openNode(t, store, "a").BlockAccount(t.Context(), keyOf("alice")))
		runNode(t, openNode(t, store, "b", "a"))
		time.Sleep(gateway.TidyEvery + 2*time.Second)
		if _, err := trySignIn(openNode(t, store, "b"), "alice"); gateway.CodeOf(err) != gateway.CodeAccountBlocked {
			t.Errorf("signing in while blocked, after the rotation: %v", err)
		}
	})
}

// The old secret is dropped although carrying over was interrupted: whoever can't
// see a blocked account must not make another in its place.
func TestRotationDroppedTooEarlyLosesNoBlock(t *testing.T) {
	t.Parallel()
	for fail := range 12 {
		store, memory := gatewaytest.NewMemStore(), &noteMarker{}
		s := openNodeWith(t, store, memory, "a")
		signInAt(t, s, "alice")
		signInAt(t, s, "mallory")
		mustDo(t, s.BlockAccount(t.Context(), keyOf("mallory")))
		writes := 0
		store.SetHook(func(op gatewaytest.MemOp) error {
			if op.Method != "CompareAndPut" && op.Method != "PutNew" || op.Done {
				return nil
			}
			if writes++; writes > fail {
				return errFault
			}
			return nil
		})
		err := openNodeWith(t, store, memory, "b", "a").Tidy(t.Context())
		store.SetHook(nil)
		if (err == nil) != (writes <= fail) {
			t.Fatalf("%d of the writes done: %v", fail, err)
		}
		_, err = trySignIn(openNodeWith(t, store, memory, "b"), "mallory")
		if code := gateway.CodeOf(err); code != gateway.CodeAccountBlocked && code != gateway.CodeStoreReplaced {
			t.Errorf("%d of the writes done: a blocked person who signs in gets %v", fail, err)
		}
	}
}

// A goldenStore is a whole store as a release left it.
type goldenStore struct {
	Secret, Cookie, Host string
	Values               map[string]string // hex
	Members              map[string][]string
}

// What a release wrote works in the next: a session, an account, its listing.
// It was written with a lifetime of a hundred years.
func TestGoldenStoreOfTheFirstRelease(t *testing.T) {
	t.Parallel()
	synctest.Test(t, func(t *testing.T) {
		raw, _ := gatewaytest.Captured(t, "testdata/vault-store/format1.json")
		var g goldenStore
		mustDo(t, json.Unmarshal(raw, &g))
		store := gatewaytest.NewMemStore()
		for key, value := range g.Values {
			sealed, err := hex.DecodeString(value)
			mustDo(t, err)
			mustDo(t, store.Put(t.Context(), key, sealed, gateway.NoExpiry))
		}
		for index, members := range g.Members {
			mustDo(t, store.Add(t.Context(), index, members...))
		}
		s, err := gateway.OpenSessions(gateway.SessionsOptions{Store: store, Secrets: [][]byte{[]byte(g.Secret)}, Marker: &noteMarker{}})
		mustDo(t, err)
		f, err := s.Find(t.Context(), g.Cookie, g.Host)
		mustDo(t, err)
		if f.Login().Account != keyOf("alice") || f.Login().Identity.Username != "Alice" {
			t.Errorf("found %v, %q", f.Login().Account, f.Login().Identity.Username)
		}
		wantAccounts(t, s, "", "Alice", "bob")
		logins, _, err := s.Logins(t.Context(), gateway.ListQuery{Username: "ALICE", Exact: true})
		if err != nil || len(logins) != 1 || logins[0].ID != f.ID() {
			t.Errorf("listed %v, %v", logins, err)
		}
		if _, err := trySignIn(s, "bob"); gateway.CodeOf(err) != gateway.CodeAccountBlocked {
			t.Errorf("bob was blocked then: %v", err)
		}
	})
}
