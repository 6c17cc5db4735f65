package session_test

import (
	"context"
	"errors"
	"fmt"
	"testing"
	"time"

	"github.com/caddy-sso/caddy-sso/gateway/gatewaytest"
	"github.com/caddy-sso/caddy-sso/gateway/provider"
	"github.com/caddy-sso/caddy-sso/gateway/refusal"
	"github.com/caddy-sso/caddy-sso/gateway/session"
	"github.com/caddy-sso/caddy-sso/gateway/store"
	"github.com/caddy-sso/caddy-sso/gateway/vault"
)

// revocations are the ways to end logins of alice: whom else they hit, and
// whether she may sign in again.
var revocations = []struct {
	name        string
	do          func(ctx context.Context, s *session.Node) error
	alice, bob  bool // signed in afterwards at nodeIssuer
	other       bool // a person of another provider
	mayComeBack bool
}{
	{"account", func(ctx context.Context, s *session.Node) error { return s.RevokeAccount(ctx, keyOf("alice")) }, false, true, true, true},
	{"block", func(ctx context.Context, s *session.Node) error { return s.BlockAccount(ctx, keyOf("alice")) }, false, true, true, false},
	{"block and unblock", func(ctx context.Context, s *session.Node) error {
		return errors.Join(s.BlockAccount(ctx, keyOf("alice")), s.UnblockAccount(ctx, keyOf("alice")))
	}, false, true, true, true},
	{"provider", func(ctx context.Context, s *session.Node) error {
		return s.RevokeProvider(ctx, provider.OIDC, nodeIssuer)
	}, false, false, true, true},
	{"all", func(ctx context.Context, s *session.Node) error { return s.RevokeAll(ctx) }, false, false, false, true},
	{"another protocol's provider", func(ctx context.Context, s *session.Node) error {
		return s.RevokeProvider(ctx, provider.SAML, nodeIssuer)
	}, true, true, true, true},
}

func TestRevoke(t *testing.T) {
	t.Parallel()
	for _, tt := range revocations {
		t.Run(tt.name, func(t *testing.T) {
			t.Parallel()
			gatewaytest.EachStore(t, func(t *testing.T, store store.Store) {
				s := openNode(t, store)
				runNode(t, s)
				alice, again, bob := signInAt(t, s, "alice"), signInAt(t, s, "alice"), signInAt(t, s, "bob")
				other, err := s.SignIn(t.Context(), session.Source{Provider: "other", Protocol: provider.OIDC, Issuer: "https://other.example"}, answerFor("alice"), nodeLife, nodeHost)
				mustDo(t, err)
				want := map[string]bool{alice: tt.alice, again: tt.alice, bob: tt.bob, other: tt.other}
				for cookie := range want {
					wantSession(t, s, cookie)
				}
				mustDo(t, tt.do(t.Context(), s))
				for _, node := range []*session.Node{s, openNode(t, store)} {
					for cookie, stays := range want {
						if stays {
							wantSession(t, node, cookie)
						} else {
							wantNoSession(t, node, cookie)
						}
					}
				}
				fresh, err := trySignIn(s, "alice")
				if tt.mayComeBack {
					mustDo(t, err)
					wantSession(t, s, fresh)
				} else if refusal.CodeOf(err) != refusal.AccountBlocked {
					t.Errorf("signing in while blocked: %v", err)
				}
				if stays := want[alice]; !stays {
					wantNoSession(t, s, alice) // and nothing brings it back
				}
			})
		})
	}
}

func TestRevokeOfNobody(t *testing.T) {
	t.Parallel()
	s := openNode(t, gatewaytest.NewMemStore())
	signInAt(t, s, "alice")
	for name, do := range map[string]func(context.Context, session.AccountKey) error{
		"revoke": s.RevokeAccount, "block": s.BlockAccount, "unblock": s.UnblockAccount,
	} {
		if err := do(t.Context(), keyOf("nobody")); !errors.Is(err, store.ErrNotFound) {
			t.Errorf("%s: %v", name, err)
		}
	}
	for _, id := range []string{"", "login:", "login:x", "account:" + "x", recordKey(t, s.Vault(), session.KindAccount, keyOf("alice").AccountName())} {
		if err := s.RevokeLogin(t.Context(), id); !errors.Is(err, store.ErrNotFound) {
			t.Errorf("login %q: %v", id, err)
		}
	}
	wantAccounts(t, s, "", "alice")
}

// Every record that guards a login must be there, or there is no session.
func TestRevokeByLosingWhatGuards(t *testing.T) {
	t.Parallel()
	for kind, name := range map[vault.Kind][]string{
		session.KindAccount: {keyOf("alice").AccountName()},
		session.KindEpoch:   {session.GlobalEpoch, session.ProviderEpoch(provider.OIDC, nodeIssuer)},
	} {
		for _, name := range name {
			s := openNode(t, gatewaytest.NewMemStore())
			cookie := signInAt(t, s, "alice")
			wantSession(t, s, cookie)
			mustDo(t, s.Store().Delete(t.Context(), recordKey(t, s.Vault(), kind, name)))
			wantNoSession(t, s, cookie)
			signInAt(t, s, "alice") // it is made anew,
			wantNoSession(t, s, cookie)
		}
	}
}

// An account that is marked as blocked has no session, whatever its epoch.
func TestRevokeBlockNeedsNoEpoch(t *testing.T) {
	t.Parallel()
	s := openNode(t, gatewaytest.NewMemStore())
	cookie := signInAt(t, s, "alice")
	mustDo(t, s.Vault().Update(t.Context(), session.KindAccount, keyOf("alice").AccountName(), store.NoExpiry, func(old *vault.Record) ([]byte, error) {
		return append([]byte(`{"b":true,`), old.Value[1:]...), nil
	}))
	wantNoSession(t, openNode(t, s.Store()), cookie)
}

// A login finishes while its account is blocked, or anything else is revoked:
// at each moment of the one the whole of the other happens. No session may
// come out of it, unless the login began afterwards.
func TestRevokeDuringALogin(t *testing.T) {
	t.Parallel()
	for _, tt := range revocations {
		if tt.alice {
			continue
		}
		for _, known := range []bool{true, false} {
			eachMoment(t, 10, func(at int) bool {
				st := gatewaytest.NewMemStore()
				s, admin := openNode(t, st), openNode(t, st)
				if known {
					signInAt(t, s, "alice")
				}
				n := 0
				var revoked error
				st.SetHook(func(gatewaytest.MemOp) error {
					if n++; n == at {
						revoked = tt.do(context.Background(), admin)
					}
					return nil
				})
				cookie, err := trySignIn(s, "alice")
				st.SetHook(nil)
				switch {
				case n < at:
					return false
				case errors.Is(revoked, store.ErrNotFound) && !known:
					return true // there was no account yet to revoke
				case revoked != nil:
					t.Fatalf("%s at moment %d: %v", tt.name, at, revoked)
				case err != nil && !tt.mayComeBack && refusal.CodeOf(err) != refusal.AccountBlocked:
					t.Fatalf("%s at moment %d: the login: %v", tt.name, at, err)
				case err == nil && !tt.mayComeBack:
					wantNoSession(t, s, cookie)
					wantNoSession(t, openNode(t, st), cookie)
				case err == nil && n > at:
					// If it read the epochs before they were replaced, it is none;
					// if after, it is one. Both nodes must agree.
					_, here := s.Find(t.Context(), cookie, nodeHost)
					_, there := openNode(t, st).Find(t.Context(), cookie, nodeHost)
					if (here == nil) != (there == nil) {
						t.Fatalf("%s at moment %d: %v here, %v there", tt.name, at, here, there)
					}
				}
				if at == n && err == nil { // all was written before
					wantNoSession(t, s, cookie)
				}
				return true
			})
		}
	}
}

// The other way round: a whole login at each moment of a revocation. Once the
// revocation has returned, that login is over.
func TestRevokeWithALoginInBetween(t *testing.T) {
	t.Parallel()
	for _, tt := range revocations {
		if tt.alice {
			continue
		}
		eachMoment(t, 6, func(at int) bool {
			store := gatewaytest.NewMemStore()
			s, admin := openNode(t, store), openNode(t, store)
			before := signInAt(t, s, "alice")
			n, came, replaced := 0, false, false
			between := ""
			store.SetHook(func(op gatewaytest.MemOp) error {
				replaced = replaced || op.Done && op.Method == "CompareAndPut"
				if n++; n == at && !came {
					came = true
					was := replaced
					cookie, err := trySignIn(s, "alice")
					if err == nil && !was { // it signed in before the change
						between = cookie
					}
					replaced = was
				}
				return nil
			})
			err := tt.do(t.Context(), admin)
			store.SetHook(nil)
			if !came {
				return false
			}
			mustDo(t, err)
			wantNoSession(t, admin, before)
			if between != "" {
				wantNoSession(t, s, between)
				wantNoSession(t, admin, between)
			}
			return true
		})
	}
}

// loginsOf lists the IDs of a user's logins.
func loginsOf(t *testing.T, s *session.Node, user string) (ids []string) {
	t.Helper()
	page, next, err := s.Logins(context.Background(), session.ListQuery{Username: user, Exact: true, Limit: 1000})
	if err != nil || next != "" {
		t.Fatalf("listing logins: %q, %v", next, err)
	}
	for _, l := range page {
		ids = append(ids, l.ID)
	}
	return ids
}

// Many at once, for the race detector: blocks, logins and requests. After the
// last block there is no session.
func TestRevokeUnderLoad(t *testing.T) {
	t.Parallel()
	gatewaytest.EachStore(t, func(t *testing.T, store store.Store) {
		nodes := []*session.Node{openNode(t, store), openNode(t, store)}
		for _, s := range nodes {
			runNode(t, s)
		}
		cookies := make(chan string, 1000)
		done := make(chan struct{}, 3)
		cookies <- signInAt(t, nodes[0], "alice")
		for i := range 2 {
			go func() {
				defer func() { done <- struct{}{} }()
				for range 15 {
					cookie, err := trySignIn(nodes[i], "alice")
					if err == nil {
						cookies <- cookie
						if f, err := nodes[1-i].Find(context.Background(), cookie, nodeHost); err == nil {
							if _, leave := enter(context.Background(), f, time.Now().Add(time.Hour)); leave != nil {
								leave()
							}
						}
					} else if refusal.CodeOf(err) != refusal.AccountBlocked {
						t.Errorf("signing in: %v", err)
					}
				}
			}()
		}
		go func() {
			defer func() { done <- struct{}{} }()
			for range 10 {
				if err := errors.Join(nodes[0].BlockAccount(context.Background(), keyOf("alice")), nodes[1].UnblockAccount(context.Background(), keyOf("alice"))); err != nil {
					t.Error(err)
				}
			}
		}()
		for range cap(done) {
			<-done
		}
		mustDo(t, nodes[0].BlockAccount(t.Context(), keyOf("alice")))
		close(cookies)
		time.Sleep(time.Second) // until the other node has been told
		n := 0
		for cookie := range cookies {
			n++
			wantNoSession(t, nodes[0], cookie)
			wantNoSession(t, nodes[1], cookie)
		}
		if n == 0 {
			t.Error("nobody signed in")
		}
		if got := loginsOf(t, nodes[1], "alice"); len(got) != 0 {
			t.Errorf("%d logins are listed", len(got))
		}
		if page, _, err := nodes[1].Accounts(t.Context(), session.ListQuery{}); err != nil || len(page) != 1 || !page[0].Blocked {
			t.Errorf("listed %s, %v", fmt.Sprint(page), err)
		}
	})
}
