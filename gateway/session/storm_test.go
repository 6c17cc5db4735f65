package session_test

import (
	"context"
	"errors"
	"fmt"
	"sync"
	"testing"
	"testing/synctest"
	"time"

	"github.com/caddy-sso/caddy-sso/gateway/gatewaytest"
	"github.com/caddy-sso/caddy-sso/gateway/session"
	"github.com/caddy-sso/caddy-sso/gateway/store"
)

// One account on many devices (a kiosk, a service account, two browsers full of
// restored tabs): they all sign in at the same moment, and all must get in.
func TestStormOfLoginsOfOneAccount(t *testing.T) {
	t.Parallel()
	gatewaytest.EachStore(t, func(t *testing.T, store store.Store) {
		s := openNode(t, store)
		errs := make(chan error, 100)
		var wg sync.WaitGroup
		for range cap(errs) {
			wg.Go(func() {
				_, err := trySignIn(s, "alice")
				errs <- err
			})
		}
		wg.Wait()
		close(errs)
		for err := range errs {
			if err != nil {
				t.Fatalf("one of many logins of one account at once: %v", err)
			}
		}
	})
}

// If a login changes its account, that is still written, however soon it comes.
func TestStormLoginsNoteWhatChanged(t *testing.T) {
	t.Parallel()
	synctest.Test(t, func(t *testing.T) {
		s := openNode(t, gatewaytest.NewMemStore())
		signInAt(t, s, "alice")
		renamed := answerFor("alice")
		renamed.Identity.Email = "alice@new.example"
		mustDo(t, second(signInBy(s, renamed)))
		time.Sleep(time.Minute)
		now := time.Now()
		mustDo(t, second(signInBy(s, renamed)))
		page, _, err := s.Accounts(t.Context(), session.ListQuery{})
		if err != nil || len(page) != 1 {
			t.Fatalf("got %v, %v", page, err)
		}
		if a := page[0]; a.Email != "alice@new.example" || !a.LastLogin.Equal(now) {
			t.Errorf("got e-mail %s, last login %v, want those of the last login, %v", a.Email, a.LastLogin, now)
		}
	})
}

// A list of people that is blocked one by one must not have every live login
// read as many times.
func TestStormOfBlocksIsReadOnce(t *testing.T) {
	t.Parallel()
	const live, blocked = 200, 50
	inBubble(t, func(t *testing.T, store *gatewaytest.MemStore, s *session.Node) {
		requests := map[string]context.Context{}
		for i := range live {
			user := fmt.Sprint("user", i)
			requests[user] = enterLive(t, wantSession(t, s, signInAt(t, s, user)))
		}
		var reads int
		var mu sync.Mutex
		count := gatewaytest.Counting("Get", &reads, &mu)
		store.SetHook(func(op gatewaytest.MemOp) error {
			if op.Method == "Get" {
				time.Sleep(time.Millisecond) // a network
			}
			return count(op)
		})
		for i := range blocked {
			mustDo(t, s.BlockAccount(t.Context(), keyOf(fmt.Sprint("user", i))))
		}
		time.Sleep(time.Second)
		synctest.Wait()
		for i := range live {
			user := fmt.Sprint("user", i)
			if cut := requests[user].Err() != nil; cut != (i < blocked) {
				t.Errorf("%s: cut: %v", user, cut)
			}
		}
		// One round takes two reads for each login. A round for each block would
		// be twice this.
		if most := live * blocked; reads > most {
			t.Errorf("%d reads for %d blocks beside %d live logins, want at most %d", reads, blocked, live, most)
		}
	})
}

// A login that was ended by somebody who died before announcing it, and that
// nobody used for a while: its next request must not be served either.
func TestStormDormantLoginIsLookedUp(t *testing.T) {
	t.Parallel()
	inBubbleOfTwo(t, func(t *testing.T, store *gatewaytest.MemStore, here, there *session.Node) {
		cookie := signInAt(t, here, "alice")
		wantSession(t, there, cookie)
		store.SetHook(gatewaytest.Faulty("Announce"))
		if err := here.BlockAccount(t.Context(), keyOf("alice")); !errors.Is(err, gatewaytest.ErrFault) {
			t.Fatalf("a block that could not be announced: %v", err)
		}
		store.SetHook(nil)
		wantSession(t, there, cookie) // else this shows nothing
		time.Sleep(2 * session.ReloadAfter)
		wantNoSession(t, there, cookie)
	})
}

// Logins that nobody uses leave the cache: they would keep the configuration alive
// that last served them. Those in use stay.
func TestStormLeavesNothingInTheCache(t *testing.T) {
	t.Parallel()
	inBubble(t, func(t *testing.T, _ *gatewaytest.MemStore, s *session.Node) {
		for i := range 100 {
			wantSession(t, s, signInAt(t, s, fmt.Sprint("user", i)))
		}
		live, used := signInAt(t, s, "live"), signInAt(t, s, "used")
		ctx, leave := enter(t.Context(), wantSession(t, s, live), time.Now().Add(nodeLife))
		for range 10 {
			wantSession(t, s, used)
			time.Sleep(30 * time.Second)
		}
		synctest.Wait()
		if logins, cookies, _ := s.Cached(); logins != 2 || cookies != 2 {
			t.Errorf("%d logins and %d cookies are cached, want the two in use", logins, cookies)
		}
		if ctx.Err() != nil {
			t.Errorf("the live request was cut: %v", context.Cause(ctx))
		}
		mustDo(t, s.BlockAccount(t.Context(), keyOf("live")))
		synctest.Wait()
		if ctx.Err() == nil {
			t.Error("the live request outlived a block")
		}
		leave()
		time.Sleep(5 * time.Minute)
		if logins, cookies, bytes := s.Cached(); logins != 0 || cookies != 0 || bytes != 0 {
			t.Errorf("%d logins and %d cookies of %d bytes are left", logins, cookies, bytes)
		}
	})
}

// A memo of a test says its size itself.
type memo struct{ size int }

func (m *memo) Size() int { return m.size }

// A caller's memo beside a login counts for the bounds of the cache.
func TestStormOfMemosIsAccounted(t *testing.T) {
	t.Parallel()
	s := openNode(t, gatewaytest.NewMemStore())
	f := wantSession(t, s, signInAt(t, s, "alice"))
	_, _, before := s.Cached()
	one, other := &memo{10_000}, &memo{1}
	if !f.Remember(nil, one) || f.Memo() != one {
		t.Fatal("the first memo is not kept")
	}
	if f.Remember(nil, other) || f.Memo() != one {
		t.Error("a memo replaces one that its caller does not know")
	}
	if _, _, bytes := s.Cached(); bytes != before+10_000 {
		t.Errorf("%d bytes without the memo, %d with it", before, bytes)
	}
	if !f.Remember(one, other) {
		t.Error("a memo can't be replaced")
	}
	if _, _, bytes := s.Cached(); bytes != before+1 {
		t.Errorf("%d bytes without the memo, %d with a smaller one", before, bytes)
	}
}
