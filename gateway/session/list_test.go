package session_test

import (
	"context"
	"fmt"
	"slices"
	"strings"
	"testing"
	"testing/synctest"
	"time"

	"github.com/caddy-sso/caddy-sso/gateway/gatewaytest"
	"github.com/caddy-sso/caddy-sso/gateway/session"
	"github.com/caddy-sso/caddy-sso/gateway/store"
)

// usersOf lists the user names of logins, all pages.
func usersOf(t *testing.T, s *session.Node, q session.ListQuery) (users []string) {
	t.Helper()
	for range 1000 {
		page, next, err := s.Logins(context.Background(), q)
		mustDo(t, err)
		if limit := q.Limit; limit > 0 && len(page) > limit {
			t.Errorf("a page of %d for a limit of %d", len(page), limit)
		}
		for _, l := range page {
			users = append(users, l.Username)
		}
		if q.After = next; next == "" {
			return users
		}
	}
	t.Fatal("the listing has no end")
	return nil
}

func TestListByName(t *testing.T) {
	t.Parallel()
	gatewaytest.EachStore(t, func(t *testing.T, store store.Store) {
		s := openNode(t, store)
		for _, user := range []string{"bob", "Alice", "alice", "alicia", "ALICE", "al", "Ünal", "ünal", "a\x00lice", "alice@corp.example", "zoë"} {
			signInAt(t, s, user)
		}
		for _, tt := range []struct {
			query session.ListQuery
			want  []string
		}{
			{session.ListQuery{}, []string{"al", "ALICE", "Alice", "a\x00lice", "alice", "alice@corp.example", "alicia", "bob", "zoë", "Ünal", "ünal"}},
			{session.ListQuery{Username: "ali"}, []string{"ALICE", "Alice", "a\x00lice", "alice", "alice@corp.example", "alicia"}},
			{session.ListQuery{Username: "ALI"}, []string{"ALICE", "Alice", "a\x00lice", "alice", "alice@corp.example", "alicia"}},
			{session.ListQuery{Username: "alice", Exact: true}, []string{"ALICE", "Alice", "a\x00lice", "alice"}},
			{session.ListQuery{Username: "aLiCe", Exact: true}, []string{"ALICE", "Alice", "a\x00lice", "alice"}},
			{session.ListQuery{Username: "al", Exact: true}, []string{"al"}},
			{session.ListQuery{Username: "ünal", Exact: true}, []string{"Ünal", "ünal"}},
			{session.ListQuery{Username: "ÜN"}, []string{"Ünal", "ünal"}},
			{session.ListQuery{Username: "b\x00o"}, []string{"bob"}},
			{session.ListQuery{Username: "nobody"}, nil},
			{session.ListQuery{Exact: true}, nil},
		} {
			for _, limit := range []int{0, 1, 2, 3, 1000, 1001, -1} {
				tt.query.Limit = limit
				got := usersOf(t, s, tt.query)
				slices.Sort(got)
				slices.Sort(tt.want)
				if !slices.Equal(got, tt.want) {
					t.Errorf("%+v lists %q, want %q", tt.query, got, tt.want)
				}
			}
		}
	})
}

func TestListSaysWhatIsStored(t *testing.T) {
	t.Parallel()
	synctest.Test(t, func(t *testing.T) {
		s := openNode(t, gatewaytest.NewMemStore())
		began := time.Now()
		cookie := signInAt(t, s, "alice")
		page, _, err := s.Logins(t.Context(), session.ListQuery{})
		mustDo(t, err)
		want := session.LoginInfo{
			ID: wantSession(t, s, cookie).ID(), Account: keyOf("alice"), Provider: "corp", Username: "alice", Email: "alice@corp.example",
			Created: began, Expires: began.Add(nodeLife),
		}
		if len(page) != 1 {
			t.Fatalf("listed %v", page)
		}
		if got := page[0]; !got.Created.Equal(want.Created) || !got.Expires.Equal(want.Expires) {
			t.Errorf("from %v to %v", got.Created, got.Expires)
		}
		page[0].Created, page[0].Expires = want.Created, want.Expires
		if page[0] != want {
			t.Errorf("listed %+v, want %+v", page[0], want)
		}
		time.Sleep(time.Hour)
		signInAt(t, s, "alice")
		mustDo(t, s.BlockAccount(t.Context(), keyOf("alice")))
		accounts, _, err := s.Accounts(t.Context(), session.ListQuery{})
		mustDo(t, err)
		if len(accounts) != 1 || !accounts[0].Created.Equal(began) || !accounts[0].LastLogin.Equal(began.Add(time.Hour)) || !accounts[0].Blocked ||
			accounts[0].Key != keyOf("alice") || accounts[0].Provider != "corp" || accounts[0].Email != "alice@corp.example" {
			t.Errorf("listed %+v", accounts)
		}
	})
}

func TestListLeavesOutWhatIsOver(t *testing.T) {
	t.Parallel()
	synctest.Test(t, func(t *testing.T) {
		store := gatewaytest.NewMemStore()
		s := openNode(t, store)
		signInAt(t, s, "alice")
		bob := signInAt(t, s, "bob")
		signInAt(t, s, "carol")
		mustDo(t, s.RevokeAccount(t.Context(), keyOf("alice")))
		mustDo(t, wantSession(t, s, bob).End(t.Context()))
		if got := usersOf(t, s, session.ListQuery{}); !slices.Equal(got, []string{"carol"}) {
			t.Errorf("listed %q", got)
		}
		time.Sleep(nodeLife)
		if got := usersOf(t, s, session.ListQuery{}); got != nil {
			t.Errorf("after their lifetime %q are listed", got)
		}
		if left := membersOf(t, store, session.IndexLogins); len(left) != 0 {
			t.Errorf("the index still holds %q", left)
		}
	})
}

func membersOf(t *testing.T, store store.Store, index string) []string {
	t.Helper()
	members, err := store.Range(context.Background(), index, "", "", 1000)
	mustDo(t, err)
	return members
}

func TestListPrunesLazily(t *testing.T) {
	t.Parallel()
	synctest.Test(t, func(t *testing.T) {
		store := gatewaytest.NewMemStore()
		s := openNode(t, store)
		signInAt(t, s, "alice")
		// A login that died between the index and the record, or that will
		// write it any moment.
		store.SetHook(gatewaytest.Faulty("PutNew"))
		if _, err := trySignIn(s, "alice"); err == nil {
			t.Fatal("it did not die")
		}
		store.SetHook(nil)
		lists := func(members int) {
			t.Helper()
			if got := usersOf(t, s, session.ListQuery{}); !slices.Equal(got, []string{"alice"}) {
				t.Errorf("listed %q", got)
			}
			if got := membersOf(t, store, session.IndexLogins); len(got) != members {
				t.Errorf("the index holds %q, want %d", got, members)
			}
		}
		lists(2)
		time.Sleep(session.PruneAfter - 2*time.Second) // members have whole seconds
		lists(2)
		time.Sleep(2 * time.Second)
		lists(1)
	})
}

func TestListIsTidiedByRun(t *testing.T) {
	t.Parallel()
	inBubble(t, func(t *testing.T, store *gatewaytest.MemStore, s *session.Node) {
		const logins = 450 // more than a page
		for i := range logins {
			signInAt(t, s, fmt.Sprint("user", i))
		}
		mustDo(t, store.Add(t.Context(), session.IndexAccounts, session.IndexMember("ghost", time.Now(), "account:none")))
		time.Sleep(nodeLife - time.Minute)
		if got := membersOf(t, store, session.IndexLogins); len(got) != logins {
			t.Errorf("%d logins are listed before their end", len(got))
		}
		time.Sleep(session.TidyEvery + 2*time.Minute)
		if got := membersOf(t, store, session.IndexLogins); len(got) != 0 {
			t.Errorf("%d logins are listed after their end", len(got))
		}
		if got := membersOf(t, store, session.IndexAccounts); len(got) != logins {
			t.Errorf("%d accounts are listed", len(got))
		}
	})
}

// rename signs alice in under another user name.
func rename(s *session.Node, name string) error {
	ans := answerFor("alice")
	ans.Identity.Username = name
	return second(signInBy(s, ans))
}

func TestListFollowsRenames(t *testing.T) {
	t.Parallel()
	store := gatewaytest.NewMemStore()
	s := openNode(t, store)
	mustDo(t, rename(s, "alice"))
	mustDo(t, rename(s, "Alicia"))
	wantAccounts(t, s, "alice")
	wantAccounts(t, s, "", "Alicia")
	wantAccounts(t, s, "alicia", "Alicia")
	mustDo(t, rename(s, "ALICIA"))
	wantAccounts(t, s, "", "ALICIA")
	if got := membersOf(t, store, session.IndexAccounts); len(got) != 1 {
		t.Errorf("the index holds %q", got)
	}
	// Each login is listed under the name that it was made with.
	if got := usersOf(t, s, session.ListQuery{}); !slices.Equal(got, []string{"alice", "Alicia", "ALICIA"}) && !slices.Equal(got, []string{"alice", "ALICIA", "Alicia"}) {
		t.Errorf("logins of %q", got)
	}
}

// Somebody lists, or tidies, at any moment of a login under a new name, also
// of one that dies there. The account is never lost from the index.
func TestListDuringARename(t *testing.T) {
	t.Parallel()
	for _, dies := range []bool{false, true} {
		eachMoment(t, 10, func(at int) bool {
			store := gatewaytest.NewMemStore()
			s, other := openNode(t, store), openNode(t, store)
			signInAt(t, s, "alice")
			n, came := 0, false
			store.SetHook(func(gatewaytest.MemOp) error {
				if n++; n == at && !came {
					came = true
					store.SetHook(nil)
					if err := other.Tidy(context.Background()); err != nil {
						t.Error(err)
					}
					if dies {
						store.SetHook(gatewaytest.Faulty())
						return gatewaytest.ErrFault
					}
				}
				return nil
			})
			err := rename(s, "renamed")
			store.SetHook(nil)
			if !came {
				return false
			}
			if (err != nil) != dies {
				t.Fatalf("moment %d: %v", at, err)
			}
			for range 2 { // what is listed under a wrong name is put right
				mustDo(t, other.Tidy(t.Context()))
			}
			page, _, err := other.Accounts(t.Context(), session.ListQuery{})
			mustDo(t, err)
			if len(page) != 1 || page[0].Key != keyOf("alice") || !dies && page[0].Username != "renamed" {
				t.Fatalf("dies %v, moment %d: listed %v", dies, at, page)
			}
			wantAccounts(t, other, page[0].Username, page[0].Username)
			return true
		})
	}
}

// Damaged members are taken out; a damaged record hides no other.
func TestListSurvivesDamage(t *testing.T) {
	t.Parallel()
	gatewaytest.EachStore(t, func(t *testing.T, st store.Store) {
		s := openNode(t, st)
		for _, user := range []string{"alice", "bob", "carol", "dave"} {
			signInAt(t, s, user)
		}
		v := s.Vault()
		bobsAccount := recordKey(t, v, session.KindAccount, keyOf("bob").AccountName())
		carols := loginsOf(t, s, "carol")[0]
		mustDo(t, st.Put(t.Context(), bobsAccount, []byte("\x01damaged"), store.NoExpiry))
		mustDo(t, st.Put(t.Context(), carols, []byte{9}, store.NoExpiry))
		mustDo(t, v.Put(t.Context(), session.KindAccount, keyOf("carol").AccountName(), []byte("no JSON"), store.NoExpiry))
		damaged := []string{
			"x", "alice\x00", "alice\x00zz\x00login:x", "\x00\x00", "alice\x00" + strings.Repeat("f", 40) + "\x00" + carols,
			"alice\x0010\x00" + "account:x", "alice\x0010\x00", "zed\x007fffffffffffffff",
		}
		for _, index := range []string{session.IndexLogins, session.IndexAccounts} {
			mustDo(t, st.Add(t.Context(), index, damaged...))
		}
		if got := usersOf(t, s, session.ListQuery{}); !slices.Equal(got, []string{"alice", "dave"}) {
			t.Errorf("logins of %q", got)
		}
		wantAccounts(t, s, "", "alice", "dave")
		mustDo(t, s.Tidy(t.Context()))
		for _, index := range []string{session.IndexLogins, session.IndexAccounts} {
			if got := membersOf(t, st, index); len(got) != 4 { // what can be repaired stays
				t.Errorf("%s holds %q", index, got)
			}
		}
	})
}

func TestListFaultIsAnError(t *testing.T) {
	t.Parallel()
	for _, method := range []string{"Range", "Get"} {
		store := gatewaytest.NewMemStore()
		s := openNode(t, store)
		signInAt(t, s, "alice")
		store.SetHook(gatewaytest.Faulty(method))
		if page, _, err := s.Logins(t.Context(), session.ListQuery{}); err == nil || page != nil {
			t.Errorf("%s fails: logins %v, %v", method, page, err)
		}
		if page, _, err := s.Accounts(t.Context(), session.ListQuery{}); err == nil || page != nil {
			t.Errorf("%s fails: accounts %v, %v", method, page, err)
		}
		store.SetHook(nil)
		if got := membersOf(t, store, session.IndexLogins); len(got) != 1 {
			t.Errorf("%s fails: the index holds %q", method, got)
		}
	}
}
