package session_test

import (
	"context"
	"errors"
	"sync/atomic"
	"testing"
	"testing/synctest"
	"time"

	"go.uber.org/goleak"
	"go.uber.org/zap"

	"github.com/caddy-sso/caddy-sso/gateway/gatewaytest"
	"github.com/caddy-sso/caddy-sso/gateway/provider"
	"github.com/caddy-sso/caddy-sso/gateway/refusal"
	"github.com/caddy-sso/caddy-sso/gateway/session"
	"github.com/caddy-sso/caddy-sso/gateway/store"
	"github.com/caddy-sso/caddy-sso/gateway/vault"
)

const (
	nodeHost   = "app.example"
	nodeIssuer = "https://id.example"
	nodeLife   = 8 * time.Hour
)

// openNode returns a node's view of a store. Each secret is named by a letter.
func openNode(t *testing.T, store store.Store, secrets ...string) *session.Node {
	t.Helper()
	return open(t, session.Options{Store: store}, secrets...)
}

func openNodeWith(t *testing.T, store store.Store, marker session.MarkerMemory, secrets ...string) *session.Node {
	t.Helper()
	return open(t, session.Options{Store: store, Marker: marker}, secrets...)
}

// open opens a node whose options have defaults.
func open(t testing.TB, opts session.Options, secrets ...string) *session.Node {
	t.Helper()
	if len(secrets) == 0 && opts.Secrets == nil {
		secrets = []string{"a"}
	}
	for _, s := range secrets {
		opts.Secrets = append(opts.Secrets, gatewaytest.Secret(s))
	}
	if opts.Marker == nil {
		opts.Marker = &gatewaytest.Marker{}
	}
	if opts.Logger == nil {
		opts.Logger = zap.NewNop()
	}
	s, err := session.Open(opts)
	mustDo(t, err)
	return s
}

// runNode runs a node until it is stopped or the test ends. To stop it waits for its end.
func runNode(t *testing.T, s *session.Node) (stop func()) {
	t.Helper()
	ctx, cancel := context.WithCancel(context.Background())
	done := make(chan struct{})
	go func() { defer close(done); _ = s.Run(ctx) }()
	stop = func() { cancel(); <-done }
	t.Cleanup(stop)
	return stop
}

func keyOf(user string) session.AccountKey {
	return session.AccountKey{Protocol: provider.OIDC, Issuer: nodeIssuer, Subject: "sub-" + user}
}

func answerFor(user string) *provider.Answer {
	return &provider.Answer{Subject: keyOf(user).Subject, Identity: provider.Identity{Username: user, Email: user + "@corp.example"}}
}

func signInBy(s *session.Node, ans *provider.Answer) (cookie string, err error) {
	return s.SignIn(context.Background(), session.Source{Provider: "corp", Protocol: provider.OIDC, Issuer: nodeIssuer}, ans, nodeLife, nodeHost)
}

func trySignIn(s *session.Node, user string) (cookie string, err error) {
	return signInBy(s, answerFor(user))
}

func signInAt(t *testing.T, s *session.Node, user string) (cookie string) {
	t.Helper()
	cookie, err := trySignIn(s, user)
	if err != nil {
		t.Fatalf("signing %s in: %v", user, err)
	}
	return cookie
}

// openVault opens the vault of a node.
func openVault(t *testing.T, store store.Store, secrets ...string) *vault.Vault {
	t.Helper()
	return openNode(t, store, secrets...).Vault()
}

// nameKeyAt is where a store's name key lies.
const nameKeyAt = "names:key"

// recordKey returns where a record lies.
func recordKey(t *testing.T, v *vault.Vault, kind vault.Kind, name string) string {
	t.Helper()
	key, err := v.Key(t.Context(), kind, name)
	mustDo(t, err)
	return key
}

func wantSession(t *testing.T, s *session.Node, cookie string) session.Session {
	t.Helper()
	f, err := s.Find(context.Background(), cookie, nodeHost)
	if err != nil {
		t.Fatalf("got %v, want a session", err)
	}
	return f
}

func wantNoSession(t *testing.T, s *session.Node, cookie string) {
	t.Helper()
	if _, err := s.Find(context.Background(), cookie, nodeHost); !errors.Is(err, session.ErrNone) {
		t.Fatalf("got %v, want no session", err)
	}
}

func wantBlocked(t *testing.T, s *session.Node, user string) {
	t.Helper()
	if _, err := trySignIn(s, user); refusal.CodeOf(err) != refusal.AccountBlocked {
		t.Fatalf("%s signs in while blocked: %v", user, err)
	}
}

// wantFault wants an error that is no verdict.
func wantFault(t *testing.T, s *session.Node, cookie string) {
	t.Helper()
	_, err := s.Find(context.Background(), cookie, nodeHost)
	if err == nil || errors.Is(err, session.ErrNone) || errors.Is(err, store.ErrNotFound) {
		t.Fatalf("got %v, want a fault", err)
	}
}

// enterLive begins a live request of a session, which is left when the test ends.
func enterLive(t *testing.T, f session.Session) context.Context {
	t.Helper()
	ctx, leave := enter(context.Background(), f, time.Now().Add(nodeLife))
	if leave == nil {
		t.Fatal("the session has left the cache")
	}
	t.Cleanup(leave)
	return ctx
}

// enter begins a live request of a session below parent. leave is nil if the
// session has left the cache.
func enter(parent context.Context, f session.Session, until time.Time) (ctx context.Context, leave func()) {
	live := new(session.Live)
	if !f.Enter(parent, live, until) {
		return parent, nil
	}
	return live, live.Leave
}

func TestSessionsSignInAndEnd(t *testing.T) {
	t.Parallel()
	gatewaytest.EachStore(t, func(t *testing.T, store store.Store) {
		s := openNode(t, store)
		runNode(t, s)
		first, second := signInAt(t, s, "alice"), signInAt(t, s, "alice")
		if first == second {
			t.Fatal("two logins have the same cookie")
		}
		f := wantSession(t, s, first)
		if f.Login().Identity.Username != "alice" || f.Login().Account != keyOf("alice") {
			t.Errorf("found %q of %v", f.Login().Identity.Username, f.Login().Account)
		}
		mustDo(t, f.End(t.Context()))
		wantNoSession(t, s, first)
		wantSession(t, s, second)
		if n, cookies, _ := s.Cached(); n != 1 || cookies != 1 {
			t.Errorf("%d logins and %d cookies are cached", n, cookies)
		}
		if _, leave := enter(context.Background(), f, time.Now().Add(time.Hour)); leave != nil {
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
		if cookie, err := signInBy(s, ans); !errors.Is(err, session.ErrNone) {
			t.Errorf("%s: got %q, %v", name, cookie, err)
		}
	}
}

// Odd times of a provider are not taken for a fault of the store.
func TestSessionsOddTimes(t *testing.T) {
	t.Parallel()
	s := openNode(t, gatewaytest.NewMemStore())
	for name, at := range map[string]time.Time{
		"none":                                {},
		"the last second":                     time.Unix(253402300799, 0).UTC(),
		"the last second, east of Greenwich":  time.Unix(253402300799, 0).In(time.FixedZone("", 9*3600)),
		"the first second, west of Greenwich": time.Unix(-62135596800, 0).In(time.FixedZone("", -9*3600)),
	} {
		ans := answerFor("alice")
		ans.Identity.AuthTime, ans.NotAfter = at, at.Add(time.Second)
		if at.Before(time.Now()) {
			ans.NotAfter = time.Time{}
		}
		cookie, err := signInBy(s, ans)
		if err != nil {
			t.Errorf("%s: %v", name, err)
			continue
		}
		wantSession(t, s, cookie)
	}
}

func TestSessionsExpire(t *testing.T) {
	t.Parallel()
	inBubble(t, func(t *testing.T, store *gatewaytest.MemStore, s *session.Node) {
		ans := answerFor("alice")
		ans.NotAfter = time.Now().Add(time.Hour)
		bounded, err := signInBy(s, ans)
		mustDo(t, err)
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

// One that evicts loses blocks and replay marks: it must not be used although
// it answers.
func TestSessionsUnfitStoreCountsAsDown(t *testing.T) {
	t.Parallel()
	synctest.Test(t, func(t *testing.T) {
		store := gatewaytest.NewMemStore()
		s := openNode(t, store)
		cookie := signInAt(t, s, "alice")
		store.SetHook(gatewaytest.Faulty("Ping"))
		runNode(t, s)
		synctest.Wait()
		wantFault(t, s, cookie)
		if _, err := trySignIn(s, "bob"); !errors.Is(err, gatewaytest.ErrFault) {
			t.Errorf("signing in: %v", err)
		}
		if err := s.Vault().PutNew(t.Context(), session.KindFlow, "x", nil, time.Minute); !errors.Is(err, gatewaytest.ErrFault) {
			t.Errorf("starting a login: %v", err)
		}
		store.SetHook(nil)
		time.Sleep(time.Second)
		wantSession(t, s, cookie)
	})
}

// A store that was down while it was asked about itself, and is back, is fit at
// once.
func TestSessionsStoreThatCameBackIsFit(t *testing.T) {
	t.Parallel()
	synctest.Test(t, func(t *testing.T) {
		store := gatewaytest.NewMemStore()
		s := openNode(t, store)
		cookie := signInAt(t, s, "alice")
		var pings atomic.Int32
		store.SetHook(func(op gatewaytest.MemOp) error {
			if op.Method == "Ping" && !op.Done && pings.Add(1) == 1 {
				return gatewaytest.ErrFault
			}
			return nil
		})
		runNode(t, s)
		synctest.Wait()
		if pings.Load() == 0 {
			t.Fatal("the fault did not happen")
		}
		wantSession(t, s, cookie)
	})
}

func TestSessionsHungStoreIsAFault(t *testing.T) {
	t.Parallel()
	synctest.Test(t, func(t *testing.T) {
		_, cookie := newCookie(t, openNode(t, gatewaytest.NewMemStore()))
		store := &hangingStore{MemStore: gatewaytest.NewMemStore()}
		store.hangs.Store(true)
		s := openNode(t, store)
		began := time.Now()
		wantFault(t, s, cookie)
		if took := time.Since(began); took > 3*time.Second {
			t.Errorf("took %v", took)
		}
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
	_, leave := enter(t.Context(), wantSession(t, s, cookie), time.Now().Add(time.Hour))
	for range 3 {
		mustDo(t, s.RevokeAll(t.Context()))
	}
	leave()
	cancel(gatewaytest.ErrFault)
	if err := <-ran; err != gatewaytest.ErrFault {
		t.Errorf("Run returned %v, not the context's cause", err)
	}
	goleak.VerifyNone(t, ignore)
}
