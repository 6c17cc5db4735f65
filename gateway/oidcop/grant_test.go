package oidcop_test

import (
	"context"
	"net/http"
	"net/http/httptest"
	"net/url"
	"path/filepath"
	"strings"
	"sync"
	"testing"
	"testing/synctest"
	"time"

	"github.com/caddy-sso/caddy-sso/gateway/boltstore"
	"github.com/caddy-sso/caddy-sso/gateway/gatewaytest"
	"github.com/caddy-sso/caddy-sso/gateway/oidcop"
	"github.com/caddy-sso/caddy-sso/gateway/refusal"
	"github.com/caddy-sso/caddy-sso/gateway/store"
)

// TestLifetimes: a code lives for a minute, an access token for five, and none beyond the login.
func TestLifetimes(t *testing.T) {
	t.Parallel()
	synctest.Test(t, func(t *testing.T) {
		st := gatewaytest.NewMemStore()
		l := newLabOver(t, st)
		code := l.code()
		l.code()
		l.tokens("long") // never used again
		time.Sleep(time.Minute)
		if rec, _ := post(l.Provider, oidcop.TokenPath, "web", secret, exchangeForm(code)); read(rec).Error != "invalid_grant" {
			t.Errorf("a code after a minute: %d %s", rec.Code, rec.Body)
		}
		got, long := l.tokens("web"), l.tokens("long")
		time.Sleep(5*time.Minute - time.Second)
		if rec, _ := userinfo(l.Provider, got.Access); rec.Code != http.StatusOK {
			t.Errorf("%d %s", rec.Code, rec.Body)
		}
		time.Sleep(time.Second)
		for _, token := range []string{got.Access, long.Access} {
			if rec, failed := userinfo(l.Provider, token); rec.Code != http.StatusUnauthorized || failed {
				t.Errorf("an access token after five minutes: %d %s", rec.Code, rec.Body)
			}
		}
		time.Sleep(8*time.Hour - 8*time.Minute)
		next, _ := post(l.Provider, oidcop.TokenPath, "long", secret, refreshForm(long.Refresh))
		if left := read(next).ExpiresIn; left < 60 || left > 120 {
			t.Errorf("an access token shortly before the login ends lives for %d seconds: %s", left, next.Body)
		}
		time.Sleep(2*time.Minute - time.Second/2)
		if rec, _ := post(l.Provider, oidcop.TokenPath, "web", secret, exchangeForm(l.code())); read(rec).Error != "invalid_grant" {
			t.Errorf("a code for a login of half a second: %d %s", rec.Code, rec.Body)
		}
		time.Sleep(time.Second / 2)
		if rec, _ := post(l.Provider, oidcop.TokenPath, "long", secret, refreshForm(read(next).Refresh)); read(rec).Error != "invalid_grant" {
			t.Errorf("a refresh token beyond the login: %d %s", rec.Code, rec.Body)
		}
		if n := grants(st); n != 0 {
			t.Errorf("%d grants outlive the login", n)
		}
	})
}

// TestLoginOver: everything ends with the login, at once and on all nodes, and so does what a
// client's rules have come to refuse.
func TestLoginOver(t *testing.T) {
	t.Parallel()
	for name, end := range map[string]func(*lab){
		"ended":  func(l *lab) { l.people.end("login:alice") },
		"denied": func(l *lab) { l.people.deny("long", "login:alice") },
	} {
		t.Run(name, func(t *testing.T) {
			t.Parallel()
			st := gatewaytest.NewMemStore()
			l := newLabOver(t, st)
			code, got, other := l.code("client_id", "long"), l.tokens("long"), l.node()
			end(l)
			for _, op := range []*oidcop.Provider{l.Provider, other} {
				if rec, _ := userinfo(op, got.Access); rec.Code != http.StatusUnauthorized {
					t.Errorf("userinfo: %d %s", rec.Code, rec.Body)
				}
				for _, form := range []url.Values{exchangeForm(code), refreshForm(got.Refresh)} {
					if rec, _ := post(op, oidcop.TokenPath, "long", secret, form); read(rec).Error != "invalid_grant" {
						t.Errorf("token: %d %s", rec.Code, rec.Body)
					}
				}
			}
			if n := grants(st); n != 2 { // another node may have other rules, or a longer lifetime
				t.Errorf("%d grants are left", n)
			}
		})
	}
}

// TestOtherConfiguration: while another configuration is rolled out, a node that does not accept
// a login, or whose rules deny the person, ends no grant for the others.
func TestOtherConfiguration(t *testing.T) {
	t.Parallel()
	l := newLab(t)
	code, got := l.code("client_id", "long"), l.tokens("long")
	for want, other := range map[string]func(){
		"temporarily_unavailable": func() { l.people.fail(oidcop.ErrNotHere) },
		"invalid_grant":           func() { l.people.fail(nil); l.people.deny("long", "login:alice") },
	} {
		other()
		for _, form := range []url.Values{exchangeForm(code), refreshForm(got.Refresh)} {
			if rec, failed := post(l.Provider, oidcop.TokenPath, "long", secret, form); read(rec).Error != want || failed {
				t.Errorf("%d %s, want %s", rec.Code, rec.Body, want)
			}
		}
	}
	l.people.fail(nil)
	l.people.denied = nil
	for _, form := range []url.Values{exchangeForm(code), refreshForm(got.Refresh)} {
		if rec, _ := post(l.Provider, oidcop.TokenPath, "long", secret, form); rec.Code != http.StatusOK {
			t.Errorf("at another node: %d %s", rec.Code, rec.Body)
		}
	}
}

// overStores runs a test over each kind of store.
func overStores(t *testing.T, run func(t *testing.T, st store.Store)) {
	t.Parallel()
	t.Run("memory", func(t *testing.T) {
		t.Parallel()
		run(t, gatewaytest.NewMemStore())
	})
	t.Run("bolt", func(t *testing.T) {
		t.Parallel()
		st, err := boltstore.Open(filepath.Join(t.TempDir(), "sso.db"))
		if err != nil {
			t.Fatal(err)
		}
		t.Cleanup(func() { _ = st.Close() })
		run(t, st)
	})
}

// TestOnce: if a code or a refresh token is used several times at once, on any node, at most
// one use succeeds; after them all its tokens have ended.
func TestOnce(t *testing.T) {
	overStores(t, func(t *testing.T, st store.Store) {
		l := newLabOver(t, st)
		nodes := []*oidcop.Provider{l.Provider, l.node()}
		for name, form := range map[string]url.Values{
			"code": exchangeForm(l.code("client_id", "long")), "refresh token": refreshForm(l.tokens("long").Refresh),
		} {
			var mu sync.Mutex
			var good []tokens
			var done sync.WaitGroup
			for i := range 6 {
				done.Go(func() {
					rec, _ := post(nodes[i%2], oidcop.TokenPath, "long", secret, form)
					mu.Lock()
					defer mu.Unlock()
					if got := read(rec); rec.Code == http.StatusOK {
						good = append(good, got)
					} else if got.Error != "invalid_grant" {
						t.Errorf("%s: %d %s", name, rec.Code, rec.Body)
					}
				})
			}
			done.Wait()
			if len(good) != 1 {
				t.Errorf("%s: %d uses succeed", name, len(good))
				continue
			}
			if rec, _ := userinfo(nodes[1], good[0].Access); rec.Code != http.StatusUnauthorized {
				t.Errorf("%s: its tokens are good after it was used twice: %d", name, rec.Code)
			}
		}
	})
}

// TestManyCodes: a browser that asks again and again fills no store.
func TestManyCodes(t *testing.T) {
	t.Parallel()
	synctest.Test(t, func(t *testing.T) {
		l := newLab(t)
		ask := func(login, client string) string {
			answer, _ := authorize(t.Context(), l.Provider, login, request("client_id", client))
			return answer.Get("error")
		}
		for i := range 60 {
			if got := ask("login:alice", "web"); got != "" {
				t.Fatalf("code %d: %s", i, got)
			}
		}
		if got := ask("login:alice", "web"); got != "temporarily_unavailable" {
			t.Errorf("one more: %q", got)
		}
		if a, b := ask("login:bob", "web"), ask("login:alice", "spa"); a != "" || b != "" {
			t.Errorf("another login: %q, another client: %q", a, b)
		}
		time.Sleep(time.Minute)
		if got := ask("login:alice", "web"); got != "" {
			t.Errorf("a minute later: %q", got)
		}
	})
}

// TestOtherSecret: a grant of a secret that was dropped is over, and no fault for hours.
func TestOtherSecret(t *testing.T) {
	t.Parallel()
	l := newLab(t)
	got := l.tokens("long")
	op, v := l.node(), newVault(t, l.store, "n", "s")
	bind(op, l, v)
	if rec, _ := userinfo(op, got.Access); rec.Code != http.StatusOK {
		t.Errorf("while the secret is being changed: %d %s", rec.Code, rec.Body)
	}
	if _, err := v.ResealShared(t.Context()); err != nil {
		t.Fatal(err)
	}
	bind(op, l, newVault(t, l.store, "n"))
	if rec, _ := post(op, oidcop.TokenPath, "long", secret, refreshForm(got.Refresh)); read(rec).Error != "invalid_grant" {
		t.Errorf("after that: %d %s", rec.Code, rec.Body)
	}
}

// TestRefresh: rotation, and what an old token does.
func TestRefresh(t *testing.T) {
	t.Parallel()
	l := newLab(t)
	first := l.tokens("long", "scope", "openid email profile")
	rec, _ := post(l.Provider, oidcop.TokenPath, "long", secret, refreshForm(first.Refresh))
	second := read(rec)
	if rec.Code != http.StatusOK || second.Refresh == first.Refresh || second.Access == first.Access || second.Scope != "email openid profile" {
		t.Fatalf("%d %s", rec.Code, rec.Body)
	}
	old, fresh := claimsOf(t, first.ID), claimsOf(t, second.ID)
	for _, name := range []string{"iss", "sub", "aud", "auth_time", "sid"} {
		if old[name] != fresh[name] {
			t.Errorf("%s has changed from %v to %v", name, old[name], fresh[name])
		}
	}
	if fresh["nonce"] != nil {
		t.Error("the nonce is there again")
	}
	rec, _ = post(l.Provider, oidcop.TokenPath, "long", secret, refreshForm(second.Refresh, "scope", "openid email groups"))
	if read(rec).Error != "invalid_scope" {
		t.Errorf("a wider scope: %d %s", rec.Code, rec.Body)
	}
	rec, _ = post(l.Provider, oidcop.TokenPath, "long", secret, refreshForm(second.Refresh, "scope", " "))
	if second = read(rec); second.Scope != "email openid profile" {
		t.Errorf("a blank scope: %d %s", rec.Code, rec.Body)
	}
	rec, _ = post(l.Provider, oidcop.TokenPath, "long", secret, refreshForm(second.Refresh, "scope", "openid openid"))
	third := read(rec)
	if third.Scope != "openid" {
		t.Errorf("a narrower scope: %d %s", rec.Code, rec.Body)
	}
	if rec, _ := userinfo(l.Provider, third.Access); strings.Contains(rec.Body.String(), "email") {
		t.Errorf("userinfo is %s", rec.Body)
	}
	if rec, _ := userinfo(l.Provider, first.Access); !strings.Contains(rec.Body.String(), "alice@example.com") {
		t.Errorf("userinfo of the older token is %s", rec.Body)
	}
	rec, _ = post(l.Provider, oidcop.TokenPath, "long", secret, refreshForm(third.Refresh))
	if third = read(rec); rec.Code != http.StatusOK {
		t.Fatalf("%d %s", rec.Code, rec.Body)
	}
	if rec, _ := userinfo(l.Provider, first.Access); rec.Code != http.StatusUnauthorized {
		t.Errorf("the oldest of five access tokens: %d", rec.Code)
	}
	// The very first refresh token, long after: all ends.
	if rec, _ := post(l.Provider, oidcop.TokenPath, "long", secret, refreshForm(first.Refresh)); read(rec).Error != "invalid_grant" {
		t.Errorf("reuse: %d %s", rec.Code, rec.Body)
	}
	if rec, _ := userinfo(l.Provider, third.Access); rec.Code != http.StatusUnauthorized {
		t.Errorf("an access token after reuse: %d", rec.Code)
	}
	if rec, _ := post(l.Provider, oidcop.TokenPath, "long", secret, refreshForm(third.Refresh)); read(rec).Error != "invalid_grant" {
		t.Errorf("the newest refresh token after reuse: %d %s", rec.Code, rec.Body)
	}
}

// TestFaults: whatever call of the store fails, nobody gets a token, and the code is as good as
// before or used up.
func TestFaults(t *testing.T) {
	t.Parallel()
	for name, play := range map[string]func(l *lab) *httptest.ResponseRecorder{
		"token": func(l *lab) *httptest.ResponseRecorder {
			rec, _ := post(l.Provider, oidcop.TokenPath, "told", secret, exchangeForm(l.code("client_id", "told")))
			return rec
		},
		"refresh": func(l *lab) *httptest.ResponseRecorder {
			rec, _ := post(l.Provider, oidcop.TokenPath, "long", secret, refreshForm(l.tokens("long").Refresh))
			return rec
		},
		"userinfo": func(l *lab) *httptest.ResponseRecorder {
			rec, _ := userinfo(l.Provider, l.tokens("web").Access)
			return rec
		},
		"introspect": func(l *lab) *httptest.ResponseRecorder {
			rec, _ := post(l.Provider, oidcop.IntrospectionPath, "web", secret, url.Values{"token": {l.tokens("web").Access}})
			return rec
		},
		"revoke": func(l *lab) *httptest.ResponseRecorder {
			rec, _ := post(l.Provider, oidcop.RevocationPath, "web", secret, url.Values{"token": {l.tokens("web").Access}})
			return rec
		},
	} {
		t.Run(name, func(t *testing.T) {
			t.Parallel()
			st := gatewaytest.NewMemStore()
			l := newLabOver(t, st)
			calls := 0
			count := func(op gatewaytest.MemOp) error {
				if !op.Done {
					calls++
				}
				return nil
			}
			play(l) // from here on the store is prepared
			st.SetHook(count)
			control := play(l)
			if control.Code != http.StatusOK {
				t.Fatalf("control: %d %s", control.Code, control.Body)
			}
			for fail := range calls {
				calls = 0
				st.SetHook(func(op gatewaytest.MemOp) error {
					_ = count(op)
					if calls == fail+1 {
						return errDown
					}
					return nil
				})
				failed := &recorder{TB: t}
				rec := played(failed, l, play)
				if failed.fatal { // the fault hit what comes before
					continue
				}
				if rec.Code != http.StatusServiceUnavailable || strings.Contains(rec.Body.String(), "_token\"") || read(rec).Error != "temporarily_unavailable" || rec.Header().Get("Retry-After") == "" {
					t.Errorf("call %d fails: %d %s", fail, rec.Code, rec.Body)
				}
			}
		})
	}
	l := newLab(t)
	got, code := l.tokens("web"), l.code()
	for _, fault := range []error{errDown, refusal.New(refusal.Internal, errDown)} {
		l.people.fail(fault)
		if rec, failed := userinfo(l.Provider, got.Access); rec.Code != http.StatusServiceUnavailable || failed {
			t.Errorf("people are not known: %d %s", rec.Code, rec.Body)
		}
		if rec, _ := post(l.Provider, oidcop.TokenPath, "web", secret, exchangeForm(code)); rec.Code != http.StatusServiceUnavailable {
			t.Errorf("people are not known: %d %s", rec.Code, rec.Body)
		}
	}
	l.people.fail(nil)
	if rec, _ := post(l.Provider, oidcop.TokenPath, "web", secret, exchangeForm(code)); rec.Code != http.StatusOK {
		t.Errorf("after the fault: %d %s", rec.Code, rec.Body)
	}
}

// A recorder is a test that notes a fatal error.
type recorder struct {
	testing.TB
	fatal bool
}

func (r *recorder) Helper()               {}
func (r *recorder) Fatalf(string, ...any) { r.fatal = true; panic(r) }

func (r *recorder) Context() context.Context { return r.TB.Context() }

func played(r *recorder, l *lab, play func(*lab) *httptest.ResponseRecorder) (rec *httptest.ResponseRecorder) {
	defer func() {
		if p := recover(); p != nil && p != any(r) {
			panic(p)
		}
	}()
	own := *l
	own.t = r
	return play(&own)
}
