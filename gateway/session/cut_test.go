package session_test

import (
	"context"
	"fmt"
	"sync"
	"sync/atomic"
	"testing"
	"testing/synctest"
	"time"

	"github.com/caddy-sso/caddy-sso/gateway/gatewaytest"
	"github.com/caddy-sso/caddy-sso/gateway/session"
)

// A wire is the connection of a live request; it counts how often it was cut.
type wire struct{ cut atomic.Int32 }

func (w *wire) Sever() { w.cut.Add(1) }

// enterWire begins a live request with a connection.
func enterWire(t *testing.T, f session.Session) (*session.Live, *wire) {
	t.Helper()
	w := new(wire)
	live := &session.Live{Connection: w}
	if !f.Enter(t.Context(), live, time.Now().Add(nodeLife)) {
		t.Fatal("the session has left the cache")
	}
	return live, w
}

// A policy lets in whom it names, or everybody.
type policy struct {
	idle   time.Duration
	only   string
	mu     sync.Mutex
	denied int
	told   []string // by LoginsChanged
}

func (p *policy) IdleLimit() time.Duration { return p.idle }

func (p *policy) LoginsChanged(id string) {
	p.mu.Lock()
	defer p.mu.Unlock()
	p.told = append(p.told, id)
}

func (p *policy) Admits(_ session.Connection, l *session.Login, _ string) (until time.Time) {
	p.mu.Lock()
	defer p.mu.Unlock()
	if p.only != "" && l.Identity.Username != p.only {
		p.denied++
		return time.Time{}
	}
	return l.Expires
}

// A handler that watches no context loses its connection, again and again until
// the request is left, and never after. One that ends by itself does not.
func TestLiveRequestsAreSevered(t *testing.T) {
	t.Parallel()
	inBubble(t, func(t *testing.T, _ *gatewaytest.MemStore, s *session.Node) {
		cookie := signInAt(t, s, "alice")
		stubborn, cut := enterWire(t, wantSession(t, s, cookie))
		obedient, uncut := enterWire(t, wantSession(t, s, cookie))
		other, others := enterWire(t, wantSession(t, s, signInAt(t, s, "bob")))
		defer other.Leave()
		mustDo(t, wantSession(t, s, cookie).End(t.Context()))
		<-obedient.Done()
		obedient.Leave()
		if cut.cut.Load() != 0 {
			t.Error("it was cut at once: no handler could have ended by itself")
		}
		time.Sleep(time.Second)
		if n := cut.cut.Load(); n < 2 {
			t.Errorf("within a second it was cut %d times", n)
		}
		stubborn.Leave()
		before := cut.cut.Load()
		time.Sleep(time.Minute)
		if cut.cut.Load() != before || uncut.cut.Load() != 0 || others.cut.Load() != 0 {
			t.Errorf("cut: %d times after it was left, one that had ended %d, another's %d", cut.cut.Load()-before, uncut.cut.Load(), others.cut.Load())
		}
	})
}

// An error route lives by the login of the request that came before it.
func TestLiveRequestsGoOn(t *testing.T) {
	t.Parallel()
	inBubble(t, func(t *testing.T, _ *gatewaytest.MemStore, s *session.Node) {
		cookie := signInAt(t, s, "alice")
		first, _ := enterWire(t, wantSession(t, s, cookie))
		first.Leave()
		s.Bound(0, 0) // it leaves the cache as soon as another comes
		wantSession(t, s, signInAt(t, s, "bob"))
		s.Bound(100, 1<<30)
		cut := new(wire)
		next := &session.Live{Connection: cut}
		if !first.Again(t.Context(), next) {
			t.Fatal("the login is over")
		}
		mustDo(t, wantSession(t, s, cookie).End(t.Context()))
		<-next.Done()
		time.Sleep(time.Second)
		if cut.cut.Load() == 0 {
			t.Error("it was not cut")
		}
		if next.Again(t.Context(), new(session.Live)) || first.Again(t.Context(), new(session.Live)) {
			t.Error("it goes on after the logout")
		}
		next.Leave()
	})
}

// The idle limit ends live requests, unless the client sends something, on this
// node or another.
func TestLiveRequestsAreEndedByIdle(t *testing.T) {
	t.Parallel()
	const idle = 30 * time.Minute
	for name, tc := range map[string]struct {
		use  func(here, there *session.Live)
		ends bool
	}{
		"only the app sends":            {func(_, _ *session.Live) {}, true},
		"the client sends":              {func(here, _ *session.Live) { here.Used() }, false},
		"the client sends at the other": {func(_, there *session.Live) { there.Used() }, false},
		"the client sends all the time": {func(here, _ *session.Live) {
			for range 1000 {
				here.Used()
			}
		}, false},
	} {
		t.Run(name, func(t *testing.T) {
			t.Parallel()
			synctest.Test(t, func(t *testing.T) {
				store := gatewaytest.NewMemStore()
				here, there := openNode(t, store), openNode(t, store)
				here.Start(&policy{idle: idle})
				there.Start(&policy{idle: idle})
				runNode(t, here)
				runNode(t, there)
				cookie := signInAt(t, here, "alice")
				live, cut := enterWire(t, wantSession(t, here, cookie))
				defer live.Leave()
				elsewhere, _ := enterWire(t, wantSession(t, there, cookie))
				defer elsewhere.Leave()
				var mu sync.Mutex
				puts := 0
				store.SetHook(gatewaytest.Counting("CompareAndPut", &puts, &mu))
				for range 10 {
					time.Sleep(idle / 4)
					tc.use(live, elsewhere)
				}
				time.Sleep(3 * time.Second)
				if ended := live.Err() != nil; ended != tc.ends || (cut.cut.Load() > 0) != tc.ends {
					t.Errorf("it has ended: %t, its connection was cut %d times", ended, cut.cut.Load())
				}
				mu.Lock()
				defer mu.Unlock()
				if puts > 10 {
					t.Errorf("%d uses were written", puts)
				}
			})
		})
	}
}

// A new policy decides on what is under way, and on what still enters by the old one.
func TestLiveRequestsOfAnEarlierPolicy(t *testing.T) {
	t.Parallel()
	synctest.Test(t, func(t *testing.T) {
		s := openNode(t, gatewaytest.NewMemStore())
		old, now := new(policy), &policy{only: "alice"}
		s.Start(old)
		s.Start(now) // there is one already
		runNode(t, s)
		alices, bobs := signInAt(t, s, "alice"), signInAt(t, s, "bob")
		stays, whole := enterWire(t, wantSession(t, s, alices))
		defer stays.Leave()
		goes, cut := enterWire(t, wantSession(t, s, bobs))
		defer goes.Leave()
		if !wantSession(t, s, bobs).Admitted(goes, old) {
			t.Error("it was not let in at first")
		}
		s.HandTo(s, now)
		time.Sleep(time.Second)
		if context.Cause(goes) != session.ErrNotAdmitted || cut.cut.Load() == 0 {
			t.Errorf("who is denied goes on: %v, cut %d times", context.Cause(goes), cut.cut.Load())
		}
		if stays.Err() != nil || whole.cut.Load() != 0 {
			t.Errorf("who is let in was cut: %v", context.Cause(stays))
		}
		if wantSession(t, s, bobs).Admitted(goes, old) || !wantSession(t, s, alices).Admitted(stays, old) || !wantSession(t, s, bobs).Admitted(goes, now) {
			t.Error("what the old configuration lets in is not held to the new one")
		}
	})
}

// A node that comes in the place of another takes its live requests over: they go
// on, and end with their logins.
func TestLiveRequestsAreHandedOver(t *testing.T) {
	t.Parallel()
	synctest.Test(t, func(t *testing.T) {
		store := gatewaytest.NewMemStore()
		first, second, third := openNode(t, store), openNode(t, store), openNode(t, store)
		stopFirst, stopSecond := runNode(t, first), runNode(t, second)
		runNode(t, third)
		synctest.Wait()
		alices, bobs, carols := signInAt(t, first, "alice"), signInAt(t, first, "bob"), signInAt(t, first, "carol")
		live, cut := enterWire(t, wantSession(t, first, alices))
		begun, _ := enterWire(t, wantSession(t, second, alices))
		defer begun.Leave()
		over, _ := enterWire(t, wantSession(t, first, bobs))
		defer over.Leave()
		left, _ := enterWire(t, wantSession(t, first, carols))
		// Reloads follow each other so fast that the second node ends first.
		first.HandTo(second, new(policy))
		second.HandTo(third, new(policy))
		stopSecond()
		store.SetHook(gatewaytest.Faulty("Announce")) // the first node does not hear of it
		_ = third.RevokeLogin(t.Context(), wantSession(t, third, bobs).ID())
		store.SetHook(nil)
		stopFirst()
		synctest.Wait()
		for who, l := range map[string]*session.Live{"alice": live, "alice, of the second": begun, "carol": left} {
			if l.Err() != nil {
				t.Errorf("%s: %v", who, context.Cause(l))
			}
		}
		if over.Err() == nil {
			t.Error("a login that is over was taken over")
		}
		left.Leave()
		time.Sleep(10 * time.Second)
		if live.Err() != nil || cut.cut.Load() != 0 {
			t.Errorf("later: %v", context.Cause(live))
		}
		mustDo(t, wantSession(t, third, alices).End(t.Context()))
		synctest.Wait()
		for _, l := range []*session.Live{live, begun} {
			if context.Cause(l) != session.ErrSessionOver {
				t.Errorf("after the logout: %v", context.Cause(l))
			}
		}
		live.Leave()
	})
}

// If the store hangs, live requests can't be taken over. They are cut within the time
// for which a login may go unconfirmed, however many there are.
func TestLiveRequestsAreHandedOverInTime(t *testing.T) {
	t.Parallel()
	synctest.Test(t, func(t *testing.T) {
		store := &hangingStore{MemStore: gatewaytest.NewMemStore()}
		first, second := openNode(t, store), openNode(t, store)
		stop := runNode(t, first)
		runNode(t, second)
		synctest.Wait()
		var lives []*session.Live
		for i := range 200 {
			live, _ := enterWire(t, wantSession(t, first, signInAt(t, first, fmt.Sprint("user", i))))
			defer live.Leave()
			lives = append(lives, live)
		}
		first.HandTo(second, new(policy))
		store.hangs.Store(true)
		began := time.Now()
		stop()
		if took := time.Since(began); took > session.Stale {
			t.Errorf("after %v", took)
		}
		for _, live := range lives {
			if context.Cause(live) != session.ErrUnconfirmed {
				t.Fatalf("one has ended by %v", context.Cause(live))
			}
		}
	})
}

// A hangingStore answers no read before its context ends.
type hangingStore struct {
	*gatewaytest.MemStore
	hangs atomic.Bool
}

func (s *hangingStore) Get(ctx context.Context, keys ...string) ([][]byte, error) {
	if s.hangs.Load() {
		<-ctx.Done()
		return nil, ctx.Err()
	}
	return s.MemStore.Get(ctx, keys...)
}

// A policy that comes between a request and what comes after it decides on that.
func TestLiveRequestsGoOnByTheNewPolicy(t *testing.T) {
	t.Parallel()
	inBubble(t, func(t *testing.T, _ *gatewaytest.MemStore, s *session.Node) {
		first, _ := enterWire(t, wantSession(t, s, signInAt(t, s, "bob")))
		first.Leave()
		s.HandTo(s, &policy{only: "alice"})
		if next := new(session.Live); first.Again(t.Context(), next) {
			t.Error("it goes on")
			next.Leave()
		}
	})
}
