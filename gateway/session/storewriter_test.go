package session_test

import (
	"bytes"
	"context"
	"errors"
	"fmt"
	"maps"
	"slices"
	"strings"
	"testing"
	"testing/synctest"
	"time"

	"github.com/caddy-sso/caddy-sso/gateway/gatewaytest"
	"github.com/caddy-sso/caddy-sso/gateway/provider"
	"github.com/caddy-sso/caddy-sso/gateway/refusal"
	"github.com/caddy-sso/caddy-sso/gateway/session"
	"github.com/caddy-sso/caddy-sso/gateway/store"
	"github.com/caddy-sso/caddy-sso/gateway/vault"
)

// A scene is a store that an attacker writes to, with the cookies of people.
type scene struct {
	store   *gatewaytest.MemStore
	cookies map[string]string // by user
}

func newScene(t *testing.T) scene {
	t.Helper()
	store := gatewaytest.NewMemStore()
	s := openNode(t, store)
	sc := scene{store, map[string]string{}}
	for _, user := range []string{"alice", "mallory", "blocked"} {
		sc.cookies[user] = signInAt(t, s, user)
	}
	other, err := s.SignIn(t.Context(), session.Source{Provider: "other", Protocol: provider.SAML, Issuer: "https://other.example"}, answerFor("other"), nodeLife, nodeHost)
	mustDo(t, err)
	sc.cookies["other"] = other
	mustDo(t, s.BlockAccount(t.Context(), keyOf("blocked")))
	mustDo(t, s.Vault().Put(t.Context(), session.KindFlow, "flow", []byte(`{"app":"x"}`), time.Hour))
	mustDo(t, s.Vault().Put(t.Context(), session.KindReplay, "used", nil, time.Hour))
	mustDo(t, s.Vault().Put(t.Context(), vault.KindKeys, "keys", []byte(`{"v":1}`), time.Hour))
	return sc
}

// check wants that nobody is taken for somebody else, that who is blocked
// stays out, and that what is used stays used. It returns who is signed in.
func (sc scene) check(t *testing.T, store store.Store, what string) (in []string) {
	t.Helper()
	s := openNode(t, store)
	for user, cookie := range sc.cookies {
		f, err := s.Find(t.Context(), cookie, nodeHost)
		switch {
		case err == nil && (f.Login().Identity.Username != user || user == "blocked"):
			t.Errorf("%s: the cookie of %s opens a session of %s", what, user, f.Login().Identity.Username)
		case err == nil:
			in = append(in, user)
		case f != (session.Session{}):
			t.Errorf("%s: both a session and %v", what, err)
		}
	}
	slices.Sort(in)
	if _, err := trySignIn(s, "blocked"); err == nil {
		t.Errorf("%s: who is blocked signs in", what)
	}
	if err := s.Vault().PutNew(t.Context(), session.KindReplay, "used", nil, time.Hour); err == nil {
		t.Errorf("%s: a used assertion is used again", what)
	}
	rec, err := s.Vault().Get(t.Context(), vault.KindKeys, "keys")
	if err == nil && string(rec.Value) != `{"v":1}` {
		t.Errorf("%s: the keys are %q", what, rec.Value)
	}
	return in
}

var everybody = []string{"alice", "mallory", "other"}

func TestAttackWriterOfTheStoreMovesRecords(t *testing.T) {
	t.Parallel()
	sc := newScene(t)
	if in := sc.check(t, sc.store.Clone(), "control"); !slices.Equal(in, everybody) {
		t.Fatalf("signed in are %q", in)
	}
	keys := sc.store.Keys()
	if len(keys) < 15 {
		t.Fatalf("%d records to move", len(keys))
	}
	for _, from := range keys {
		values, err := sc.store.Get(t.Context(), from)
		mustDo(t, err)
		for _, to := range keys {
			if from == to {
				continue
			}
			st := sc.store.Clone()
			mustDo(t, st.Put(t.Context(), to, values[0], store.NoExpiry))
			sc.check(t, st, fmt.Sprintf("%s copied over %s", from, to))
		}
	}
}

func TestAttackWriterOfTheStoreChangesRecords(t *testing.T) {
	t.Parallel()
	sc := newScene(t)
	for _, key := range sc.store.Keys() {
		values, err := sc.store.Get(t.Context(), key)
		mustDo(t, err)
		good := values[0]
		forged := map[string][]byte{
			"emptied": {}, "cut": good[:len(good)/2], "grown": append(slices.Clone(good), 'x'), "of a newer format": append([]byte{77}, good[1:]...),
			"plain": []byte("\x01{}"),
		}
		for i := 0; i < len(good); i += 7 {
			b := slices.Clone(good)
			b[i] ^= 0x80
			forged[fmt.Sprint("flipped at ", i)] = b
		}
		for how, value := range forged {
			st := sc.store.Clone()
			mustDo(t, st.Put(t.Context(), key, value, store.NoExpiry))
			sc.check(t, st, key+" "+how)
			// Whose record it is meets a fault: 503, neither in nor "no session",
			// which would send him round through the provider for ever.
			s := openNode(t, st)
			for _, cookie := range sc.cookies {
				f, err := openNode(t, sc.store).Find(t.Context(), cookie, nodeHost)
				if err == nil && f.ID() == key {
					wantFault(t, s, cookie)
				}
			}
		}
	}
}

func TestAttackWriterOfTheStoreDeletesRecords(t *testing.T) {
	t.Parallel()
	sc := newScene(t)
	v := openVault(t, sc.store)
	accounts := map[string]string{}
	for _, user := range []string{"alice", "mallory", "blocked"} {
		accounts[recordKey(t, v, session.KindAccount, keyOf(user).AccountName())] = user
	}
	corp := recordKey(t, v, session.KindEpoch, session.ProviderEpoch(provider.OIDC, nodeIssuer))
	all := recordKey(t, v, session.KindEpoch, session.GlobalEpoch)
	deleted := 0
	for _, key := range sc.store.Keys() {
		kind, _, _ := strings.Cut(key, ":")
		if kind == "replay" || accounts[key] == "blocked" {
			continue // see the test of what a writer can do
		}
		deleted++
		store := sc.store.Clone()
		mustDo(t, store.Delete(t.Context(), key))
		in := sc.check(t, store, key+" deleted")
		want := slices.Clone(everybody)
		switch {
		case accounts[key] != "":
			want = slices.DeleteFunc(want, func(user string) bool { return user == accounts[key] })
		case key == corp:
			want = []string{"other"}
		case key == all, key == nameKeyAt:
			want = nil
		case kind == "login" || kind == "account" || kind == "epoch":
			if len(in) < 2 { // one person's, or nobody's
				t.Errorf("%s deleted: signed in are %q", key, in)
			}
			continue
		}
		if !slices.Equal(in, want) {
			t.Errorf("%s deleted: signed in are %q, want %q", key, in, want)
		}
	}
	if deleted < 12 {
		t.Errorf("%d records were deleted", deleted)
	}
}

// A writer of the store can delete, and put back an older record and so undo a
// revocation, as SECURITY.md says. If this test fails because that is no longer
// possible, SECURITY.md can say less.
func TestAttackWriterOfTheStoreCanUndoARevocation(t *testing.T) {
	t.Parallel()
	t.Run("puts back the account of before a block", func(t *testing.T) {
		t.Parallel()
		st := gatewaytest.NewMemStore()
		s := openNode(t, st)
		cookie := signInAt(t, s, "alice")
		key := recordKey(t, s.Vault(), session.KindAccount, keyOf("alice").AccountName())
		before, err := st.Get(t.Context(), key)
		mustDo(t, err)
		mustDo(t, s.BlockAccount(t.Context(), keyOf("alice")))
		wantNoSession(t, s, cookie)
		mustDo(t, st.Put(t.Context(), key, before[0], store.NoExpiry))
		wantSession(t, s, cookie)
	})
	t.Run("deletes a blocked account", func(t *testing.T) {
		t.Parallel()
		store := gatewaytest.NewMemStore()
		s := openNode(t, store)
		cookie := signInAt(t, s, "alice")
		mustDo(t, s.BlockAccount(t.Context(), keyOf("alice")))
		mustDo(t, store.Delete(t.Context(), recordKey(t, s.Vault(), session.KindAccount, keyOf("alice").AccountName())))
		signInAt(t, s, "alice")     // through the provider, which knows her,
		wantNoSession(t, s, cookie) // but her old logins stay ended
	})
	t.Run("puts back a login that was ended, until its time is up", func(t *testing.T) {
		t.Parallel()
		synctest.Test(t, func(t *testing.T) {
			st := gatewaytest.NewMemStore()
			s := openNode(t, st)
			cookie := signInAt(t, s, "alice")
			f := wantSession(t, s, cookie)
			value, err := st.Get(t.Context(), f.ID())
			mustDo(t, err)
			mustDo(t, f.End(t.Context()))
			mustDo(t, st.Put(t.Context(), f.ID(), value[0], store.NoExpiry))
			wantSession(t, s, cookie)
			time.Sleep(nodeLife)
			wantNoSession(t, s, cookie) // it ends itself
		})
	})
	t.Run("puts back an epoch", func(t *testing.T) {
		t.Parallel()
		st := gatewaytest.NewMemStore()
		s := openNode(t, st)
		cookie := signInAt(t, s, "alice")
		key := recordKey(t, s.Vault(), session.KindEpoch, session.GlobalEpoch)
		before, err := st.Get(t.Context(), key)
		mustDo(t, err)
		mustDo(t, s.RevokeAll(t.Context()))
		mustDo(t, st.Put(t.Context(), key, before[0], store.NoExpiry))
		wantSession(t, s, cookie)
	})
}

// Messages prove nothing: a forged one makes work, and no more.
func TestAttackWriterOfTheStoreForgesMessages(t *testing.T) {
	t.Parallel()
	synctest.Test(t, func(t *testing.T) {
		sc := newScene(t)
		s := openNode(t, sc.store)
		runNode(t, s)
		synctest.Wait()
		live := enterLive(t, wantSession(t, s, sc.cookies["alice"]))
		messages := [][]byte{nil, {}, []byte("all"), []byte("ALL"), bytes.Repeat([]byte("x"), 1<<20), []byte("login:"), {0xff, 0}, []byte(sc.cookies["alice"])}
		for _, key := range sc.store.Keys() {
			messages = append(messages, []byte(key))
		}
		for _, m := range messages {
			mustDo(t, sc.store.Announce(t.Context(), m))
		}
		synctest.Wait()
		for _, user := range everybody {
			if f := wantSession(t, s, sc.cookies[user]); f.Login().Identity.Username != user {
				t.Errorf("the cookie of %s opens a session of %s", user, f.Login().Identity.Username)
			}
		}
		wantNoSession(t, s, sc.cookies["blocked"])
		time.Sleep(10 * time.Second)
		if live.Err() != nil {
			t.Errorf("a live request was cut: %v", context.Cause(live))
		}
	})
}

// Members are no truth either: a listing shows what the records say.
func TestAttackWriterOfTheStoreForgesMembers(t *testing.T) {
	t.Parallel()
	sc := newScene(t)
	s := openNode(t, sc.store)
	alices, err := s.Find(t.Context(), sc.cookies["alice"], nodeHost)
	mustDo(t, err)
	account := recordKey(t, s.Vault(), session.KindAccount, keyOf("alice").AccountName())
	now := time.Now()
	for _, user := range []string{"mallory", "alice", "root", ""} {
		for _, at := range []time.Time{now, now.Add(-time.Hour), {}} {
			for _, key := range []string{alices.ID(), account, "login:none", "epoch:none", ""} {
				for _, index := range []string{session.IndexLogins, session.IndexAccounts} {
					mustDo(t, sc.store.Add(t.Context(), index, session.IndexMember(user, at, key)))
				}
			}
		}
	}
	for range 2 {
		got := map[string]int{}
		for _, user := range usersOf(t, s, session.ListQuery{Limit: 1000}) {
			got[user]++
		}
		if want := map[string]int{"alice": 1, "mallory": 1, "other": 1}; !maps.Equal(got, want) {
			t.Errorf("logins of %v, want %v", got, want)
		}
		wantAccounts(t, s, "", "alice", "blocked", "mallory", "other")
		if ids := loginsOf(t, s, "mallory"); slices.Contains(ids, alices.ID()) {
			t.Error("alice's login is listed as mallory's")
		}
	}
}

// A writer can make a store unusable, but that is a fault of the store: what
// lies in the place of the name key names nothing.
func TestAttackWriterOfTheStoreBreaksTheNameKey(t *testing.T) {
	t.Parallel()
	sc := newScene(t)
	memory := &gatewaytest.Marker{}
	mustDo(t, openNodeWith(t, sc.store, memory).MayCreate(t.Context()))
	foreign := gatewaytest.NewMemStore()
	signInAt(t, openNode(t, foreign, "z"), "mallory")
	forged := map[string][]byte{"empty": {}, "plain": bytes.Repeat([]byte{1}, 61)}
	for _, from := range []*gatewaytest.MemStore{sc.store, foreign} {
		for _, key := range from.Keys() {
			values, err := from.Get(t.Context(), key)
			mustDo(t, err)
			if from == foreign || key != nameKeyAt {
				forged["what lies at "+key] = values[0]
			}
		}
	}
	if len(forged) < 20 {
		t.Fatalf("%d forgeries", len(forged))
	}
	for what, value := range forged {
		st := sc.store.Clone()
		mustDo(t, st.Put(t.Context(), nameKeyAt, value, store.NoExpiry))
		for _, memory := range []*gatewaytest.Marker{memory, {}} {
			s := openNodeWith(t, st, memory)
			if err := s.MayCreate(t.Context()); !errors.Is(err, vault.ErrRecord) || refusal.CodeOf(err) != refusal.StoreReplaced {
				t.Errorf("%s: %v", what, err)
			}
			for _, cookie := range sc.cookies {
				wantFault(t, s, cookie)
			}
		}
		sc.check(t, st, what)
	}
}

// A name key of another store under the same secret opens. It is another store
// then, and a machine that knows this one says so; what is blocked here is not
// blocked there, as with every store that is swapped.
func TestAttackWriterOfTheStoreSwapsTheNameKey(t *testing.T) {
	t.Parallel()
	sc := newScene(t)
	memory := &gatewaytest.Marker{}
	mustDo(t, openNodeWith(t, sc.store, memory).MayCreate(t.Context()))
	other := gatewaytest.NewMemStore()
	mustDo(t, openNode(t, other).MayCreate(t.Context()))
	values, err := other.Get(t.Context(), nameKeyAt)
	mustDo(t, err)
	mustDo(t, sc.store.Put(t.Context(), nameKeyAt, values[0], store.NoExpiry))
	s := openNodeWith(t, sc.store, memory)
	wantReplaced(t, s)
	for _, cookie := range sc.cookies {
		wantNoSession(t, s, cookie)
	}
}
