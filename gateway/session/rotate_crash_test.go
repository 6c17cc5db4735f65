package session_test

import (
	"context"
	"errors"
	"testing"
	"testing/synctest"
	"time"

	"go.uber.org/zap"
	"go.uber.org/zap/zaptest/observer"

	"github.com/caddy-sso/caddy-sso/gateway/gatewaytest"
	"github.com/caddy-sso/caddy-sso/gateway/refusal"
	"github.com/caddy-sso/caddy-sso/gateway/session"
	"github.com/caddy-sso/caddy-sso/gateway/vault"
)

// orders are those of the other node's secrets while one seals under b.
var orders = [][]string{{"a", "b"}, {"b", "a"}}

// Two nodes with the secrets in different order make the same account and the
// same epochs at once, in a new store: the second at each moment of the first.
func TestRotationFirstLoginsAtOnce(t *testing.T) {
	t.Parallel()
	eachMoment(t, 20, func(at int) bool {
		store := gatewaytest.NewMemStore()
		one, two := openNode(t, store, "a", "b"), openNode(t, store, "b", "a")
		came := atMoment(store, at, func() error { _, err := trySignIn(two, "alice"); return err })
		cookie := signInAt(t, one, "alice")
		if !came() {
			return false
		}
		for _, cookie := range []string{cookie, signInAt(t, one, "alice"), signInAt(t, two, "alice")} {
			wantSession(t, one, cookie)
			wantSession(t, two, cookie)
		}
		wantAccounts(t, one, "", "alice")
		mustDo(t, one.BlockAccount(t.Context(), keyOf("alice")))
		for _, s := range []*session.Node{one, two} {
			wantNoSession(t, openNode(t, store, "a", "b"), cookie)
			wantBlocked(t, s, "alice")
		}
		return true
	})
}

// While everything is sealed anew, at any moment somebody is blocked, a login
// is ended and another one begins, on a node with the secrets in either order.
// What they did stands.
func TestRotationResealLosesNoChange(t *testing.T) {
	t.Parallel()
	for _, order := range orders {
		eachMoment(t, 30, func(at int) bool {
			store := gatewaytest.NewMemStore()
			old := openNode(t, store, "a")
			alice, bob, carol := signInAt(t, old, "alice"), signInAt(t, old, "bob"), signInAt(t, old, "carol")
			mover, admin := openNode(t, store, "b", "a"), openNode(t, store, order...)
			carols := wantSession(t, admin, carol).ID()
			var dave string
			came := atMoment(store, at, func() (err error) {
				dave, err = trySignIn(admin, "dave")
				return errors.Join(err, admin.BlockAccount(context.Background(), keyOf("alice")), admin.RevokeLogin(context.Background(), carols))
			})
			mustDo(t, mover.Tidy(t.Context()))
			if !came() {
				return false
			}
			mustDo(t, mover.Tidy(t.Context()))
			wantSealedBy(t, store, "b")
			for _, s := range []*session.Node{admin, openNode(t, store, "a", "b"), openNode(t, store, "b")} {
				wantSession(t, s, bob)
				wantSession(t, s, dave)
				wantNoSession(t, s, alice)
				wantNoSession(t, s, carol)
				wantBlocked(t, s, "alice")
			}
			return true
		})
	}
}

// The other way round: everything is sealed anew at one moment of a block, a
// login, or a revocation.
func TestRotationResealInBetween(t *testing.T) {
	t.Parallel()
	for _, order := range orders {
		eachMoment(t, 30, func(at int) bool {
			store := gatewaytest.NewMemStore()
			old := openNode(t, store, "a")
			alice, bob := signInAt(t, old, "alice"), signInAt(t, old, "bob")
			mover, s := openNode(t, store, "b", "a"), openNode(t, store, order...)
			came := atMoment(store, at, func() error { return mover.Tidy(context.Background()) })
			mustDo(t, s.BlockAccount(t.Context(), keyOf("alice")))
			second := signInAt(t, s, "bob")
			mustDo(t, s.RevokeAll(t.Context()))
			third := signInAt(t, s, "bob")
			if !came() {
				return false
			}
			mustDo(t, mover.Tidy(t.Context()))
			for _, s := range []*session.Node{openNode(t, store, "a", "b"), openNode(t, store, "b", "a"), openNode(t, store, "b")} {
				for _, cookie := range []string{alice, bob, second} {
					wantNoSession(t, s, cookie)
				}
				wantSession(t, s, third)
				wantBlocked(t, s, "alice")
			}
			return true
		})
	}
}

// The node that seals anew dies before any step. Nothing is lost, and the next
// one goes on. Should the old secret be dropped there and then, nobody who is
// blocked gets in, for whom there is nothing but a fault.
func TestRotationCrash(t *testing.T) {
	t.Parallel()
	eachMoment(t, 20, func(at int) bool {
		memory, store := &gatewaytest.Marker{}, gatewaytest.NewMemStore()
		old := openNodeWith(t, store, memory, "a")
		alice := signInAt(t, old, "alice")
		signInAt(t, old, "mallory")
		mustDo(t, old.BlockAccount(t.Context(), keyOf("mallory")))
		mover := openNodeWith(t, store, memory, "b", "a")
		crashAt(store, at)
		err := mover.Tidy(t.Context())
		store.SetHook(nil)
		early := openNodeWith(t, store.Clone(), memory, "b")
		switch _, err := trySignIn(early, "mallory"); {
		case err == nil:
			t.Fatalf("moment %d: the old secret was dropped, and who is blocked gets in", at)
		case refusal.CodeOf(err) != refusal.AccountBlocked && !errors.Is(err, vault.ErrRecord):
			t.Errorf("moment %d: %v", at, err)
		}
		if err == nil {
			return false
		}
		for _, s := range []*session.Node{openNode(t, store, "a", "b"), openNode(t, store, "b", "a")} {
			wantSession(t, s, alice)
			wantBlocked(t, s, "mallory")
		}
		mustDo(t, mover.Tidy(t.Context()))
		wantSealedBy(t, store, "b")
		wantSession(t, openNode(t, store, "b"), alice)
		return true
	})
}

// While a node can't seal everything, it does not say that the second secret
// may go.
func TestRotationIsNotDoneWhileTheStoreFails(t *testing.T) {
	t.Parallel()
	synctest.Test(t, func(t *testing.T) {
		store := gatewaytest.NewMemStore()
		signInAt(t, openNode(t, store, "a"), "alice")
		core, logs := observer.New(zap.InfoLevel)
		store.SetHook(gatewaytest.Faulty("CompareAndPut"))
		runNode(t, open(t, session.Options{Store: store, Logger: zap.New(core)}, "b", "a"))
		time.Sleep(3 * session.TidyEvery)
		if n := logs.FilterMessageSnippet("drop the second").Len(); n != 0 {
			t.Error("it says that all is sealed anew")
		}
		store.SetHook(nil)
		time.Sleep(2 * time.Minute)
		if n := logs.FilterMessageSnippet("drop the second").Len(); n != 1 {
			t.Errorf("said %d times, want once", n)
		}
	})
}
