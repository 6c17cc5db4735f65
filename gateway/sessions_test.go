package gateway_test

import (
	"context"
	"errors"
	"fmt"
	"net/http"
	"net/http/httptest"
	"path/filepath"
	"strings"
	"sync"
	"testing"
	"testing/synctest"
	"time"

	"go.uber.org/goleak"
	"go.uber.org/zap"

	"github.com/caddy-sso/caddy-sso/gateway"
	"github.com/caddy-sso/caddy-sso/gateway/boltstore"
	"github.com/caddy-sso/caddy-sso/gateway/gatewaytest"
)

const (
	nodeHost   = "app.example"
	nodeIssuer = "https://id.example"
	nodeLife   = 8 * time.Hour
)

var errFault = errors.New("the test lets the store fail")

// openNode returns a node's view of a store. Each secret is named by a letter.
func openNode(t *testing.T, store gateway.Store, secrets ...string) *gateway.Sessions {
	t.Helper()
	return openNodeWith(t, store, &noteMarker{}, secrets...)
}

func openNodeWith(t *testing.T, store gateway.Store, marker gateway.MarkerMemory, secrets ...string) *gateway.Sessions {
	t.Helper()
	if len(secrets) == 0 {
		secrets = []string{"a"}
	}
	opts := gateway.SessionsOptions{Store: store, Marker: marker, Logger: zap.NewNop()}
	for _, s := range secrets {
		opts.Secrets = append(opts.Secrets, secretNamed(s))
	}
	s, err := gateway.OpenSessions(opts)
	if err != nil {
		t.Fatal(err)
	}
	return s
}

func secretNamed(letter string) []byte { return []byte(strings.Repeat(letter, gateway.MinSecret)) }

// runNode runs a node until the test ends.
func runNode(t *testing.T, s *gateway.Sessions) {
	t.Helper()
	ctx, cancel := context.WithCancel(context.Background())
	done := make(chan struct{})
	go func() { defer close(done); _ = s.Run(ctx) }()
	t.Cleanup(func() { cancel(); <-done })
}

func keyOf(user string) gateway.AccountKey {
	return gateway.AccountKey{Protocol: gateway.OIDC, Issuer: nodeIssuer, Subject: "sub-" + user}
}

func answerFor(user string) *gateway.Answer {
	return &gateway.Answer{Subject: keyOf(user).Subject, Identity: gateway.Identity{Username: user, Email: user + "@corp.example"}}
}

func trySignIn(s *gateway.Sessions, user string) (cookie string, err error) {
	return s.SignIn(context.Background(), "corp", gateway.OIDC, nodeIssuer, answerFor(user), nodeLife, nodeHost)
}

func signInAt(t *testing.T, s *gateway.Sessions, user string) (cookie string) {
	t.Helper()
	cookie, err := trySignIn(s, user)
	if err != nil {
		t.Fatalf("signing %s in: %v", user, err)
	}
	return cookie
}

func wantSession(t *testing.T, s *gateway.Sessions, cookie string) *gateway.Found {
	t.Helper()
	f, err := s.FindSession(context.Background(), cookie, nodeHost)
	if err != nil {
		t.Fatalf("got %v, want a session", err)
	}
	return f
}

func wantNoSession(t *testing.T, s *gateway.Sessions, cookie string) {
	t.Helper()
	if _, err := s.FindSession(context.Background(), cookie, nodeHost); !errors.Is(err, gateway.ErrNoSession) {
		t.Fatalf("got %v, want no session", err)
	}
}

// wantFault wants an error that is no verdict.
func wantFault(t *testing.T, s *gateway.Sessions, cookie string) {
	t.Helper()
	_, err := s.FindSession(context.Background(), cookie, nodeHost)
	if err == nil || errors.Is(err, gateway.ErrNoSession) || errors.Is(err, gateway.ErrNotFound) {
		t.Fatalf("got %v, want a fault", err)
	}
}

// enterLive begins a live request of a session.
func enterLive(t *testing.T, f *gateway.Found, until time.Time) (ctx context.Context, leave func()) {
	t.Helper()
	r, leave := f.Enter(httptest.NewRequest(http.MethodGet, "/", nil), until)
	if leave == nil {
		t.Fatal("the session has left the cache")
	}
	return r.Context(), leave
}

// faulty returns a hook that lets the named methods fail, all if none is named.
func faulty(methods ...string) func(gatewaytest.MemOp) error {
	return func(op gatewaytest.MemOp) error {
		for _, m := range methods {
			if m == op.Method {
				return errFault
			}
		}
		if len(methods) == 0 {
			return errFault
		}
		return nil
	}
}

// counting returns a hook that counts calls of a method.
func counting(method string, n *int, mu *sync.Mutex) func(gatewaytest.MemOp) error {
	return func(op gatewaytest.MemOp) error {
		if op.Method == method && !op.Done {
			mu.Lock()
			defer mu.Unlock()
			*n++
		}
		return nil
	}
}

// eachStore runs a test on the store in memory and on bolt.
func eachStore(t *testing.T, run func(t *testing.T, store gateway.Store)) {
	t.Run("memory", func(t *testing.T) {
		t.Parallel()
		run(t, gatewaytest.NewMemStore())
	})
	t.Run("bolt", func(t *testing.T) {
		t.Parallel()
		store, err := boltstore.Open(filepath.Join(t.TempDir(), "sso.db"))
		if err != nil {
			t.Fatal(err)
		}
		t.Cleanup(func() { _ = store.Close() })
		run(t, store)
	})
}

func TestSessionsSignInAndEnd(t *testing.T) {
	t.Parallel()
	eachStore(t, func(t *testing.T, store gateway.Store) {
		s := openNode(t, store)
		runNode(t, s)
		first, second := signInAt(t, s, "alice"), signInAt(t, s, "alice")
		if first == second {
			t.Fatal("two logins have the same cookie")
		}
		f := wantSession(t, s, first)
		if f.Username() != "alice" || f.Account() != keyOf("alice") {
			t.Errorf("found %q of %v", f.Username(), f.Account())
		}
		if err := f.End(t.Context()); err != nil {
			t.Fatal(err)
		}
		wantNoSession(t, s, first)
		wantSession(t, s, second)
		if n, cookies, _ := s.Cached(); n != 1 || cookies != 1 {
			t.Errorf("%d logins and %d cookies are cached", n, cookies)
		}
		if _, leave := f.Enter(httptest.NewRequest(http.MethodGet, "/", nil), time.Now().Add(time.Hour)); leave != nil {
			t.Error("a request lives by a session that is over: nothing would cut it")
		}
		// A node that has never seen it, and a restart.
		fresh := openNode(t, store)
		wantNoSession(t, fresh, first)
		wantSession(t, fresh, second)
	})
}

func TestSessionsNoAnswerOutlivesItsEnd(t *testing.T) {
	t.Parallel()
	s := openNode(t, gatewaytest.NewMemStore())
	for name, notAfter := range map[string]time.Time{"long over": time.Now().Add(-time.Hour), "just over": time.Now()} {
		ans := answerFor("alice")
		ans.NotAfter = notAfter
		if cookie, err := s.SignIn(t.Context(), "corp", gateway.OIDC, nodeIssuer, ans, nodeLife, nodeHost); !errors.Is(err, gateway.ErrNoSession) {
			t.Errorf("%s: got %q, %v", name, cookie, err)
		}
	}
}

func TestSessionsExpire(t *testing.T) {
	t.Parallel()
	synctest.Test(t, func(t *testing.T) {
		store := gatewaytest.NewMemStore()
		s := openNode(t, store)
		runNode(t, s)
		ans := answerFor("alice")
		ans.NotAfter = time.Now().Add(time.Hour)
		bounded, err := s.SignIn(t.Context(), "corp", gateway.OIDC, nodeIssuer, ans, nodeLife, nodeHost)
		if err != nil {
			t.Fatal(err)
		}
		full := signInAt(t, s, "alice")
		time.Sleep(time.Hour - time.Nanosecond)
		wantSession(t, s, bounded)
		wantSession(t, s, full)
		time.Sleep(time.Nanosecond)
		wantNoSession(t, s, bounded)
		time.Sleep(7*time.Hour - time.Nanosecond)
		wantSession(t, s, full)
		time.Sleep(time.Nanosecond)
		wantNoSession(t, s, full)
		if n, cookies, bytes := s.Cached(); n != 0 || cookies != 0 || bytes != 0 {
			t.Errorf("the cache still holds %d logins, %d cookies, %d bytes", n, cookies, bytes)
		}
	})
}

func TestSessionsServeFromTheCacheForFiveSecondsAtMost(t *testing.T) {
	t.Parallel()
	synctest.Test(t, func(t *testing.T) {
		store := gatewaytest.NewMemStore()
		s := openNode(t, store)
		runNode(t, s)
		synctest.Wait()
		cookie := signInAt(t, s, "alice")
		wantSession(t, s, cookie)
		var gets int
		var mu sync.Mutex
		store.SetHook(counting("Get", &gets, &mu))
		for range 20 {
			time.Sleep(time.Second)
			wantSession(t, s, cookie)
		}
		if gets != 0 {
			t.Errorf("%d reads for a cached session that is confirmed", gets)
		}
		// The store goes. The last confirmed read began within the last quarter
		// of a second.
		synctest.Wait()
		gone := time.Now()
		store.SetHook(faulty())
		time.Sleep(gateway.Stale - 300*time.Millisecond)
		wantSession(t, s, cookie)
		time.Sleep(time.Until(gone.Add(gateway.Stale)))
		wantFault(t, s, cookie)
		wantFault(t, s, cookie)
		// It comes back.
		store.SetHook(nil)
		time.Sleep(time.Second)
		wantSession(t, s, cookie)
	})
}

func TestSessionsAskTheStoreUntilFollowed(t *testing.T) {
	t.Parallel()
	s := openNode(t, gatewaytest.NewMemStore())
	other := openNode(t, s.Vault().Store())
	cookie := signInAt(t, s, "alice")
	f := wantSession(t, s, cookie)
	if err := other.RevokeLogin(t.Context(), f.Key()); err != nil {
		t.Fatal(err)
	}
	wantNoSession(t, s, cookie) // at once: nothing may come from the cache
}

// One that evicts loses blocks and replay marks: it must not be used although
// it answers.
func TestSessionsUnfitStoreCountsAsDown(t *testing.T) {
	t.Parallel()
	synctest.Test(t, func(t *testing.T) {
		store := gatewaytest.NewMemStore()
		s := openNode(t, store)
		cookie := signInAt(t, s, "alice")
		store.SetHook(faulty("Ping"))
		runNode(t, s)
		synctest.Wait()
		wantFault(t, s, cookie)
		if _, err := trySignIn(s, "bob"); !errors.Is(err, errFault) {
			t.Errorf("signing in: %v", err)
		}
		if err := s.Vault().PutNew(t.Context(), gateway.KindFlow, "x", nil, time.Minute); !errors.Is(err, errFault) {
			t.Errorf("starting a login: %v", err)
		}
		store.SetHook(nil)
		time.Sleep(time.Second)
		wantSession(t, s, cookie)
	})
}

func TestSessionsHungStoreIsAFault(t *testing.T) {
	t.Parallel()
	synctest.Test(t, func(t *testing.T) {
		s := openNode(t, hungStore{gatewaytest.NewMemStore()})
		_, cookie := s.Vault().Cookie(nodeHost)
		began := time.Now()
		wantFault(t, s, cookie)
		if took := time.Since(began); took > 3*time.Second {
			t.Errorf("took %v", took)
		}
	})
}

// A hungStore answers no read before the context's deadline.
type hungStore struct{ gateway.Store }

func (s hungStore) Get(ctx context.Context, _ ...string) ([][]byte, error) {
	<-ctx.Done()
	return nil, ctx.Err()
}

// Somebody deletes a login and dies before he announces it.
func TestSessionsAreReloadedAfterAMinute(t *testing.T) {
	t.Parallel()
	for name, live := range map[string]bool{"with requests": false, "with a live request": true} {
		t.Run(name, func(t *testing.T) {
			t.Parallel()
			synctest.Test(t, func(t *testing.T) {
				store := gatewaytest.NewMemStore()
				s := openNode(t, store)
				runNode(t, s)
				synctest.Wait()
				cookie := signInAt(t, s, "alice")
				f := wantSession(t, s, cookie)
				mustDo(t, store.Delete(t.Context(), f.Key()))
				if live {
					ctx, leave := enterLive(t, f, time.Now().Add(nodeLife))
					defer leave()
					time.Sleep(gateway.ReloadAfter)
					if ctx.Err() != nil {
						t.Error("cut before it was looked at")
					}
					time.Sleep(2 * time.Second)
					if context.Cause(ctx) != gateway.ErrSessionOver {
						t.Errorf("the live request: %v", context.Cause(ctx))
					}
					return
				}
				time.Sleep(gateway.ReloadAfter)
				wantSession(t, s, cookie)
				time.Sleep(time.Nanosecond)
				wantSession(t, s, cookie) // and looked at in the background
				synctest.Wait()
				wantNoSession(t, s, cookie)
			})
		})
	}
}

func TestSessionsChangesReachTheOtherNode(t *testing.T) {
	t.Parallel()
	for name, revoke := range map[string]func(ctx context.Context, s *gateway.Sessions, f *gateway.Found) error{
		"login": func(ctx context.Context, s *gateway.Sessions, f *gateway.Found) error {
			return s.RevokeLogin(ctx, f.Key())
		},
		"logout": func(ctx context.Context, _ *gateway.Sessions, f *gateway.Found) error { return f.End(ctx) },
		"account": func(ctx context.Context, s *gateway.Sessions, f *gateway.Found) error {
			return s.RevokeAccount(ctx, f.Account())
		},
		"block": func(ctx context.Context, s *gateway.Sessions, f *gateway.Found) error {
			return s.BlockAccount(ctx, f.Account())
		},
		"provider": func(ctx context.Context, s *gateway.Sessions, _ *gateway.Found) error {
			return s.RevokeProvider(ctx, gateway.OIDC, nodeIssuer)
		},
		"all": func(ctx context.Context, s *gateway.Sessions, _ *gateway.Found) error { return s.RevokeAll(ctx) },
	} {
		t.Run(name, func(t *testing.T) {
			t.Parallel()
			synctest.Test(t, func(t *testing.T) {
				store := gatewaytest.NewMemStore()
				here, there := openNode(t, store), openNode(t, store)
				runNode(t, here)
				runNode(t, there)
				synctest.Wait()
				cookie := signInAt(t, here, "alice")
				f := wantSession(t, here, cookie)
				live, leave := enterLive(t, wantSession(t, there, cookie), time.Now().Add(nodeLife))
				defer leave()
				liveHere, leaveHere := enterLive(t, f, time.Now().Add(nodeLife))
				defer leaveHere()
				// Who asks for it goes away as soon as it is written.
				ctx, cancel := context.WithCancel(t.Context())
				store.SetHook(func(op gatewaytest.MemOp) error {
					if op.Done && (op.Method == "Delete" || op.Method == "CompareAndPut") {
						cancel()
					}
					return nil
				})
				if err := revoke(ctx, here, f); err != nil {
					t.Fatal(err)
				}
				synctest.Wait() // no time passes: it is told at once
				for _, ctx := range []context.Context{live, liveHere} {
					if context.Cause(ctx) != gateway.ErrSessionOver {
						t.Errorf("a live request: %v", context.Cause(ctx))
					}
				}
				wantNoSession(t, here, cookie)
				wantNoSession(t, there, cookie)
			})
		})
	}
}

// The index is for listing: that it can't be cleared must not keep a logout
// from the other nodes.
func TestSessionsEndIsAnnouncedBeforeTheIndexIsCleared(t *testing.T) {
	t.Parallel()
	synctest.Test(t, func(t *testing.T) {
		store := gatewaytest.NewMemStore()
		here, there := openNode(t, store), openNode(t, store)
		runNode(t, there)
		synctest.Wait()
		cookie := signInAt(t, here, "alice")
		wantSession(t, there, cookie)
		store.SetHook(faulty("Remove"))
		_ = wantSession(t, here, cookie).End(t.Context())
		time.Sleep(time.Second)
		wantNoSession(t, there, cookie)
	})
}

func TestSessionsResetEmptiesTheCache(t *testing.T) {
	t.Parallel()
	synctest.Test(t, func(t *testing.T) {
		store := gatewaytest.NewMemStore()
		s := openNode(t, store)
		runNode(t, s)
		synctest.Wait()
		cookie := signInAt(t, s, "alice")
		f := wantSession(t, s, cookie)
		// The node loses the store, and with it an announcement.
		store.SetHook(faulty("Watch"))
		time.Sleep(300 * time.Millisecond)
		if err := openNode(t, store).RevokeLogin(t.Context(), f.Key()); err != nil {
			t.Fatal(err)
		}
		wantSession(t, s, cookie) // within the five seconds
		store.SetHook(nil)
		time.Sleep(time.Second)
		wantNoSession(t, s, cookie)
	})
}

// Whatever moment of a load the change comes at, it is not lost.
func TestSessionsChangeDuringALoad(t *testing.T) {
	t.Parallel()
	for at := 1; ; at++ {
		reached := false
		synctest.Test(t, func(t *testing.T) {
			store := gatewaytest.NewMemStore()
			here, there := openNode(t, store), openNode(t, store)
			runNode(t, here)
			synctest.Wait()
			cookie := signInAt(t, here, "alice")
			n := 0
			store.SetHook(func(op gatewaytest.MemOp) error {
				if op.Method != "Get" || reached {
					return nil
				}
				if n++; n == at {
					reached = true
					if err := there.RevokeAll(context.Background()); err != nil {
						t.Error(err)
					}
					synctest.Wait() // until the node has been told
				}
				return nil
			})
			_, _ = here.FindSession(t.Context(), cookie, nodeHost)
			store.SetHook(nil)
			if reached {
				wantNoSession(t, here, cookie)
			}
		})
		if !reached {
			if at < 4 {
				t.Fatalf("a load has %d moments only", at-1)
			}
			return
		}
	}
}

// The same under real concurrency, for the race detector.
func TestSessionsChangesRaceWithLoads(t *testing.T) {
	t.Parallel()
	store := gatewaytest.NewMemStore()
	s := openNode(t, store)
	runNode(t, s)
	for range 20 {
		cookie := signInAt(t, s, "alice")
		f := wantSession(t, s, cookie)
		var wg sync.WaitGroup
		for range 4 {
			wg.Go(func() {
				for range 20 {
					if f, err := s.FindSession(context.Background(), cookie, nodeHost); err == nil {
						if _, leave := f.Enter(httptest.NewRequest(http.MethodGet, "/", nil), time.Now().Add(time.Hour)); leave != nil {
							leave()
						}
					}
				}
			})
		}
		if err := s.RevokeLogin(t.Context(), f.Key()); err != nil {
			t.Fatal(err)
		}
		wantNoSession(t, s, cookie)
		wg.Wait()
		wantNoSession(t, s, cookie)
	}
}

func TestSessionsCacheIsBounded(t *testing.T) {
	t.Parallel()
	s := openNode(t, gatewaytest.NewMemStore())
	runNode(t, s)
	ended := make(chan struct{})
	busy := map[string]context.Context{}
	fill := func(n int) {
		for i := range n {
			f := wantSession(t, s, signInAt(t, s, fmt.Sprint("user", i)))
			if i%10 == 0 {
				ctx, leave := enterLive(t, f, time.Now().Add(nodeLife))
				t.Cleanup(leave)
				busy[f.Key()] = ctx
			}
		}
	}
	s.Bound(20, 1<<30)
	fill(100)
	if n, cookies, _ := s.Cached(); n > 20 || cookies > 20 {
		t.Errorf("%d logins and %d cookies are cached, 20 are allowed", n, cookies)
	}
	_, _, bytes := s.Cached()
	s.Bound(1000, 2*bytes)
	fill(100)
	if n, _, now := s.Cached(); now > 2*bytes || n > 50 {
		t.Errorf("%d logins of %d bytes are cached, %d bytes are allowed", n, now, 2*bytes)
	}
	// Those with live requests were never lost: they are still cut.
	for key := range busy {
		if err := s.RevokeLogin(t.Context(), key); err != nil {
			t.Fatal(err)
		}
	}
	go func() {
		defer close(ended)
		for _, ctx := range busy {
			<-ctx.Done()
		}
	}()
	select {
	case <-ended:
	case <-time.After(10 * time.Second):
		t.Error("a session with a live request was lost from the cache")
	}
}

func TestSessionsLiveRequestsBeyondTheBounds(t *testing.T) {
	t.Parallel()
	s := openNode(t, gatewaytest.NewMemStore())
	s.Bound(3, 1<<30)
	var leaves []func()
	for i := range 10 {
		_, leave := enterLive(t, wantSession(t, s, signInAt(t, s, fmt.Sprint("user", i))), time.Now().Add(nodeLife))
		leaves = append(leaves, leave)
	}
	if n, _, _ := s.Cached(); n != 10 {
		t.Errorf("%d sessions are cached, 10 have live requests", n)
	}
	for _, leave := range leaves {
		leave()
	}
	wantSession(t, s, signInAt(t, s, "one more"))
	if n, _, _ := s.Cached(); n > 3 {
		t.Errorf("%d sessions are cached after their requests, 3 are allowed", n)
	}
}

func TestSessionsCacheDoesNotHoldTheRequest(t *testing.T) {
	t.Parallel()
	s := openNode(t, gatewaytest.NewMemStore())
	cookie := signInAt(t, s, "alice")
	header := "other=" + strings.Repeat("x", 1<<20) + "; " + cookie
	wantSession(t, s, header[len(header)-len(cookie):])
	if s.CacheHolds(header) {
		t.Error("the cache holds on to the whole Cookie header")
	}
}

func TestSessionsLiveRequestEndsWithTheLogin(t *testing.T) {
	t.Parallel()
	synctest.Test(t, func(t *testing.T) {
		s := openNode(t, gatewaytest.NewMemStore())
		runNode(t, s)
		f := wantSession(t, s, signInAt(t, s, "alice"))
		short, leave := enterLive(t, f, time.Now().Add(time.Minute))
		defer leave()
		long, leaveLong := enterLive(t, f, time.Now().Add(time.Hour))
		defer leaveLong()
		time.Sleep(time.Minute - time.Millisecond)
		if short.Err() != nil {
			t.Error("cut before its time")
		}
		time.Sleep(time.Second + time.Millisecond)
		if context.Cause(short) != gateway.ErrSessionOver {
			t.Errorf("after its time: %v", context.Cause(short))
		}
		if long.Err() != nil {
			t.Errorf("another's request was cut: %v", context.Cause(long))
		}
	})
}

func TestSessionsLiveRequestsAreCutWhenNobodyConfirms(t *testing.T) {
	t.Parallel()
	for name, fails := range map[string][]string{
		"everything fails": {"Get", "Watch", "Ping"},
		// Announcements come, so there is something to look at, and can't be.
		"reads fail": {"Get"},
	} {
		t.Run(name, func(t *testing.T) {
			t.Parallel()
			synctest.Test(t, func(t *testing.T) {
				store := gatewaytest.NewMemStore()
				s := openNode(t, store)
				runNode(t, s)
				synctest.Wait()
				f := wantSession(t, s, signInAt(t, s, "alice"))
				ctx, leave := enterLive(t, f, time.Now().Add(nodeLife))
				defer leave()
				time.Sleep(30 * time.Second)
				store.SetHook(faulty(fails...))
				if err := store.Announce(t.Context(), []byte("all")); err != nil {
					t.Fatal(err)
				}
				time.Sleep(gateway.Stale - 300*time.Millisecond)
				if ctx.Err() != nil {
					t.Fatalf("cut before five seconds: %v", context.Cause(ctx))
				}
				time.Sleep(2300 * time.Millisecond)
				if context.Cause(ctx) != gateway.ErrUnconfirmed {
					t.Errorf("after seven seconds: %v", context.Cause(ctx))
				}
			})
		})
	}
}

func TestSessionsLiveRequestsLiveWhileTheStoreAnswers(t *testing.T) {
	t.Parallel()
	synctest.Test(t, func(t *testing.T) {
		store := gatewaytest.NewMemStore()
		store.SetHook(faulty("Watch")) // announcements can't be followed, all else is well
		s := openNode(t, store)
		runNode(t, s)
		cookie := signInAt(t, s, "alice")
		f := wantSession(t, s, cookie)
		ctx, leave := enterLive(t, f, time.Now().Add(nodeLife))
		defer leave()
		time.Sleep(time.Minute)
		if ctx.Err() != nil {
			t.Fatalf("cut although the store was asked: %v", context.Cause(ctx))
		}
		if err := openNode(t, store).BlockAccount(t.Context(), keyOf("alice")); err != nil {
			t.Fatal(err)
		}
		time.Sleep(gateway.Stale)
		if context.Cause(ctx) != gateway.ErrSessionOver {
			t.Errorf("after a block: %v", context.Cause(ctx))
		}
	})
}

func TestSessionsIdleLimit(t *testing.T) {
	t.Parallel()
	const idle = 30 * time.Minute
	synctest.Test(t, func(t *testing.T) {
		store := gatewaytest.NewMemStore()
		here, there := openNode(t, store), openNode(t, store)
		runNode(t, here)
		runNode(t, there)
		synctest.Wait()
		cookie := signInAt(t, here, "alice")
		use := func(s *gateway.Sessions) error {
			t.Helper()
			err := wantSession(t, s, cookie).Touch(t.Context(), idle)
			synctest.Wait() // what it notes, it notes in the background
			return err
		}
		var puts int
		var mu sync.Mutex
		store.SetHook(counting("CompareAndPut", &puts, &mu))
		for range 60 { // used all the time, it goes on
			time.Sleep(time.Minute)
			if err := use(here); err != nil {
				t.Fatal(err)
			}
		}
		if puts < 10 || puts > 21 {
			t.Errorf("%d writes for 60 requests in an hour: noted every three minutes", puts)
		}
		// The other node has an old state in its cache, and asks.
		if err := use(there); err != nil {
			t.Fatal(err)
		}
		time.Sleep(idle - 4*time.Minute)
		if err := use(here); err != nil {
			t.Fatal(err)
		}
		time.Sleep(5 * time.Minute)
		if err := use(there); err != nil {
			t.Fatalf("used on another node five minutes ago: %v", err)
		}
		time.Sleep(idle)
		for _, s := range []*gateway.Sessions{here, there} {
			if err := use(s); !errors.Is(err, gateway.ErrNoSession) {
				t.Errorf("not used for the whole limit: %v", err)
			}
		}
	})
}

// Noting a use must not undo an end that comes at the same time.
func TestSessionsNotingAUseDoesNotRevive(t *testing.T) {
	t.Parallel()
	synctest.Test(t, func(t *testing.T) {
		store := gatewaytest.NewMemStore()
		s := openNode(t, store)
		runNode(t, s)
		synctest.Wait()
		cookie := signInAt(t, s, "alice")
		f := wantSession(t, s, cookie)
		time.Sleep(10 * time.Minute)
		ended := false
		store.SetHook(func(op gatewaytest.MemOp) error {
			if op.Method == "CompareAndPut" && !op.Done && !ended {
				ended = true
				return f.End(context.Background())
			}
			return nil
		})
		if err := f.Touch(t.Context(), 30*time.Minute); err != nil {
			t.Fatal(err)
		}
		synctest.Wait()
		if !ended {
			t.Fatal("the use was not noted")
		}
		wantNoSession(t, s, cookie)
		wantNoSession(t, openNode(t, store), cookie)
	})
}

func TestSessionsRunLeavesNothingBehind(t *testing.T) {
	// Not parallel: other tests' goroutines would be seen.
	ignore := goleak.IgnoreCurrent()
	store := gatewaytest.NewMemStore()
	s := openNode(t, store)
	ctx, cancel := context.WithCancelCause(t.Context())
	ran := make(chan error, 1)
	go func() { ran <- s.Run(ctx) }()
	cookie := signInAt(t, s, "alice")
	_, leave := enterLive(t, wantSession(t, s, cookie), time.Now().Add(time.Hour))
	for range 3 {
		if err := s.RevokeAll(t.Context()); err != nil {
			t.Fatal(err)
		}
	}
	leave()
	cancel(errFault)
	if err := <-ran; err != errFault {
		t.Errorf("Run returned %v, not the context's cause", err)
	}
	goleak.VerifyNone(t, ignore)
}
