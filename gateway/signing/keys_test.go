package signing_test

import (
	"bytes"
	"context"
	"encoding/base64"
	"encoding/json"
	"errors"
	"slices"
	"strings"
	"sync"
	"testing"
	"testing/synctest"
	"time"

	"go.uber.org/zap"
	"go.uber.org/zap/zapcore"
	"go.uber.org/zap/zaptest/observer"

	"github.com/caddy-sso/caddy-sso/gateway/refusal"
	"github.com/caddy-sso/caddy-sso/gateway/signing"
	"github.com/caddy-sso/caddy-sso/gateway/signing/verify"
	"github.com/caddy-sso/caddy-sso/gateway/store"
	"github.com/caddy-sso/caddy-sso/gateway/vault"
)

const (
	day      = 24 * time.Hour
	rotation = 30 * day
	issuer   = "https://app.example.com"
	audience = "app.example.com"
	claims   = `{"iss":"https://app.example.com","aud":"app.example.com","sub":"s","iat":946684800,"nbf":946684770,"exp":253402300799}`
)

func allow(context.Context) error { return nil }

func newVault(tb testing.TB, store store.Store) *vault.Vault {
	tb.Helper()
	vault, err := vault.New(store, [][]byte{bytes.Repeat([]byte("s"), vault.MinSecret)}, nil)
	if err != nil {
		tb.Fatal(err)
	}
	return vault
}

func newKeys(tb testing.TB, store store.Store) *signing.Keys {
	tb.Helper()
	return signing.New(newVault(tb, store), allow, zap.NewNop())
}

func load(tb testing.TB, keys *signing.Keys) {
	tb.Helper()
	if err := keys.Load(tb.Context()); err != nil {
		tb.Fatalf("loading: %v", err)
	}
}

func sign(tb testing.TB, keys *signing.Keys) string {
	tb.Helper()
	token, err := keys.Sign([]byte(claims))
	if err != nil {
		tb.Fatalf("signing: %v", err)
	}
	return token
}

func jwks(tb testing.TB, keys *signing.Keys) []byte {
	tb.Helper()
	set, err := keys.JWKS()
	if err != nil {
		tb.Fatalf("publishing: %v", err)
	}
	return set
}

// kids returns the kids of the JWK Set in its order: current, next, previous.
func kids(tb testing.TB, keys *signing.Keys) []string {
	tb.Helper()
	var set struct {
		Keys []map[string]string `json:"keys"`
	}
	if err := json.Unmarshal(jwks(tb, keys), &set); err != nil {
		tb.Fatalf("reading the JWK Set: %v", err)
	}
	var kids []string
	for _, key := range set.Keys {
		for name := range key {
			if !slices.Contains([]string{"kty", "crv", "x", "y", "kid", "alg", "use"}, name) {
				tb.Errorf("JWK Set publishes the member %q", name)
			}
		}
		if key["alg"] != "ES256" || key["use"] != "sig" {
			tb.Errorf("key has alg %q and use %q, want ES256 and sig", key["alg"], key["use"])
		}
		kids = append(kids, key["kid"])
	}
	return kids
}

func verifies(tb testing.TB, set []byte, token string) bool {
	tb.Helper()
	v, err := verify.New(verify.Config{Issuer: issuer, Audience: audience, Keys: set})
	if err != nil {
		tb.Fatal(err)
	}
	_, err = v.Verify(tb.Context(), token)
	return err == nil
}

func wantCode(tb testing.TB, err error, want refusal.Code) {
	tb.Helper()
	if _, ok := errors.AsType[*refusal.Error](err); !ok || refusal.CodeOf(err) != want {
		tb.Errorf("error is %v, want code %s", err, want)
	}
}

func TestSign(t *testing.T) {
	t.Parallel()
	keys := newKeys(t, newMemStore())
	load(t, keys)
	token := sign(t, keys)
	head, err := base64.RawURLEncoding.DecodeString(strings.Split(token, ".")[0])
	if err != nil {
		t.Fatal(err)
	}
	if want := `{"alg":"ES256","kid":"` + kids(t, keys)[0] + `","typ":"JWT"}`; string(head) != want {
		t.Errorf("header is %s, want %s", head, want)
	}
	if !verifies(t, jwks(t, keys), token) {
		t.Error("token does not verify by the published keys")
	}
	jwks(t, keys)[0] = 'X'
	if jwks(t, keys)[0] != '{' {
		t.Error("a caller of JWKS can change what others get")
	}
}

func TestNothingLoaded(t *testing.T) {
	t.Parallel()
	store := newMemStore()
	keys := newKeys(t, store)
	refuses := func() {
		t.Helper()
		_, err := keys.Sign([]byte(claims))
		wantCode(t, err, refusal.StoreUnavailable)
		_, err = keys.JWKS()
		wantCode(t, err, refusal.StoreUnavailable)
	}
	refuses()
	if asked, _ := store.calls(); asked != 0 {
		t.Errorf("New, Sign and JWKS asked the store %d times", asked)
	}
	store.setDown(errDown)
	err := keys.Load(t.Context())
	wantCode(t, err, refusal.StoreUnavailable)
	if !errors.Is(err, errDown) {
		t.Errorf("error %v hides the store's", err)
	}
	refuses()
}

func TestStoreGoesDown(t *testing.T) {
	t.Parallel()
	store := newMemStore()
	keys := newKeys(t, store)
	load(t, keys)
	set, token := jwks(t, keys), sign(t, keys)
	store.setDown(errDown)
	wantCode(t, keys.Load(t.Context()), refusal.StoreUnavailable)
	if !verifies(t, set, sign(t, keys)) || !verifies(t, jwks(t, keys), token) {
		t.Error("keys in memory are not used while the store is down")
	}
}

func TestRotation(t *testing.T) {
	t.Parallel()
	synctest.Test(t, func(t *testing.T) {
		store := newMemStore()
		keys := newKeys(t, store)
		load(t, keys)
		first := kids(t, keys)
		if len(first) != 2 || first[0] == first[1] {
			t.Fatalf("first kids are %v, want a current and a next", first)
		}
		cached, token := jwks(t, keys), sign(t, keys)

		time.Sleep(rotation - time.Second)
		load(t, keys)
		if got := kids(t, keys); !slices.Equal(got, first) {
			t.Fatalf("kids a second before the rotation are %v, want %v", got, first)
		}
		time.Sleep(time.Second)
		load(t, keys)
		second := kids(t, keys)
		if len(second) != 3 || second[0] != first[1] || second[2] != first[0] || slices.Contains(first, second[1]) {
			t.Fatalf("kids are %v after %v, want next, a new one, current", second, first)
		}
		if !verifies(t, cached, sign(t, keys)) {
			t.Error("a JWK Set cached before the rotation lacks the key that signs after it")
		}
		if !verifies(t, jwks(t, keys), token) {
			t.Error("the JWK Set lacks the key that signed before the rotation")
		}

		// All nodes were off for a year: one rotation, to the key that has
		// been published all the time.
		time.Sleep(365 * day)
		keys = newKeys(t, store)
		load(t, keys)
		third := kids(t, keys)
		if len(third) != 3 || third[0] != second[1] || third[2] != second[0] {
			t.Errorf("kids are %v after %v, want next, a new one, current", third, second)
		}
		if verifies(t, jwks(t, keys), token) {
			t.Error("the key before the previous one is still published")
		}
	})
}

func TestRun(t *testing.T) {
	t.Parallel()
	synctest.Test(t, func(t *testing.T) {
		store := newMemStore()
		core, logs := observer.New(zapcore.InfoLevel)
		keys := signing.New(newVault(t, store), allow, zap.New(core))
		store.setDown(errDown)
		ctx, cancel := context.WithCancel(t.Context())
		stopped := make(chan struct{})
		go func() { keys.Run(ctx); close(stopped) }()
		time.Sleep(70 * time.Second)
		if n := logs.Len(); n != 1 {
			t.Errorf("a minute of failing made %d log lines, want 1", n)
		}
		store.setDown(nil)
		time.Sleep(3 * time.Second)
		first := kids(t, keys)

		// Another node rotates; this one follows within a minute or so.
		time.Sleep(rotation - 70*time.Second)
		if got := kids(t, keys); !slices.Equal(got, first) {
			t.Fatalf("kids are %v before the rotation, want %v", got, first)
		}
		before, _ := store.calls()
		time.Sleep(130 * time.Second)
		if got := kids(t, keys); got[0] != first[1] {
			t.Errorf("current kid is %s after 30 days, want %s", got[0], first[1])
		}
		if after, _ := store.calls(); after-before > 6 {
			t.Errorf("%d calls of the store in two minutes", after-before)
		}
		for _, message := range []string{"signing keys can be loaded again", "signing keys made", "signing keys rotated"} {
			if n := logs.FilterMessage(message).Len(); n != 1 {
				t.Errorf("%q was logged %d times, want once", message, n)
			}
		}
		cancel()
		<-stopped
	})
}

func TestNodesFollow(t *testing.T) {
	t.Parallel()
	synctest.Test(t, func(t *testing.T) {
		store := newMemStore()
		a, b := newKeys(t, store), newKeys(t, store)
		load(t, a)
		go b.Run(t.Context())
		synctest.Wait()
		cached := jwks(t, b)
		if !bytes.Equal(cached, jwks(t, a)) {
			t.Fatal("nodes publish different keys")
		}
		time.Sleep(rotation)
		load(t, a)
		if !verifies(t, cached, sign(t, a)) || !verifies(t, jwks(t, a), sign(t, b)) {
			t.Error("nodes don't accept each other's while one has not reloaded yet")
		}
		time.Sleep(61 * time.Second)
		if !bytes.Equal(jwks(t, a), jwks(t, b)) {
			t.Error("node has not followed a minute after the rotation")
		}
	})
}

// raceNodes lets all nodes load, and none of them write before all are about to.
func raceNodes(t *testing.T, store *memStore, nodes []*signing.Keys) {
	t.Helper()
	var ready, done sync.WaitGroup
	ready.Add(len(nodes))
	store.before = func() {
		ready.Done()
		ready.Wait()
	}
	for _, keys := range nodes {
		done.Go(func() {
			if err := keys.Load(context.Background()); err != nil {
				t.Errorf("loading: %v", err)
			}
		})
	}
	done.Wait()
	store.before = nil
}

func TestRaces(t *testing.T) {
	t.Parallel()
	synctest.Test(t, func(t *testing.T) {
		store := newMemStore()
		var nodes []*signing.Keys
		for range 8 {
			nodes = append(nodes, newKeys(t, store))
		}
		for i, what := range []string{"creation", "rotation"} {
			raceNodes(t, store, nodes)
			if _, written := store.calls(); written != i+1 {
				t.Errorf("%s: %d writes so far, want %d", what, written, i+1)
			}
			for _, keys := range nodes {
				if !bytes.Equal(jwks(t, keys), jwks(t, nodes[0])) {
					t.Errorf("%s: nodes publish different keys", what)
				}
			}
			time.Sleep(rotation)
		}
	})
}

func TestMayCreate(t *testing.T) {
	t.Parallel()
	synctest.Test(t, func(t *testing.T) {
		store := newMemStore()
		meaning := error(refusal.New(refusal.StoreReplaced, errors.New("marker is another")))
		keys := signing.New(newVault(t, store), func(context.Context) error { return meaning }, zap.NewNop())
		refused := func(when string) {
			t.Helper()
			_, before := store.calls()
			wantCode(t, keys.Load(t.Context()), refusal.StoreReplaced)
			if _, after := store.calls(); after != before {
				t.Errorf("%s: written to a store that is not confirmed", when)
			}
		}
		refused("creation")
		_, err := keys.Sign([]byte(claims))
		wantCode(t, err, refusal.StoreReplaced)

		meaning = nil
		load(t, keys)
		first := kids(t, keys)
		meaning = refusal.New(refusal.StoreReplaced, nil)
		load(t, keys) // nothing is due, nothing asked

		time.Sleep(rotation)
		refused("rotation")
		store.clear(t)
		refused("putting back")
		if got := kids(t, keys); !slices.Equal(got, first) {
			t.Errorf("kids are %v, want those in memory, %v", got, first)
		}

		meaning = nil
		load(t, keys) // confirmed: put back, then rotated as due
		if got := kids(t, keys); got[0] != first[1] || got[2] != first[0] {
			t.Errorf("kids are %v, want those in memory rotated, %v", got, first)
		}
	})
}

func BenchmarkSign(b *testing.B) {
	keys := newKeys(b, newMemStore())
	load(b, keys)
	b.ReportAllocs()
	for b.Loop() {
		sign(b, keys)
	}
}
