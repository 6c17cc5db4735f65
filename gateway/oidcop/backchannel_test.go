package oidcop_test

import (
	"bytes"
	"context"
	"fmt"
	"net/http"
	"strings"
	"sync"
	"testing"
	"testing/synctest"
	"time"

	"github.com/caddy-sso/caddy-sso/gateway/gatewaytest"
	"github.com/caddy-sso/caddy-sso/gateway/oidcop"
	"github.com/caddy-sso/caddy-sso/gateway/vault"
)

// TestBackchannelHangs: an app that hangs delays no other app, and gets a bounded number of
// logout tokens at once.
func TestBackchannelHangs(t *testing.T) {
	t.Parallel()
	synctest.Test(t, func(t *testing.T) {
		l, healthy := newLab(t), &app{status: http.StatusOK}
		var mu sync.Mutex
		var hanging, most, attempts int
		count := func(by int) {
			mu.Lock()
			defer mu.Unlock()
			hanging += by
			most, attempts = max(most, hanging), attempts+max(by, 0)
		}
		l.apps = apps(func(r *http.Request) (*http.Response, error) {
			if r.URL.Host == "told.example" {
				return healthy.RoundTrip(r)
			}
			count(1)
			defer count(-1)
			<-r.Context().Done()
			return nil, r.Context().Err()
		})
		l.Provider = l.without("long", func(c *oidcop.Client) { c.BackchannelLogoutURI = "https://long.example/logout" })
		go l.Run(t.Context())
		for i := range 40 {
			login := fmt.Sprintf("login:%d", i)
			l.people.copy("login:alice", login)
			l.tokensOf(login, "long")
			l.tokensOf(login, "told")
		}
		for i := range 40 {
			login := fmt.Sprintf("login:%d", i)
			l.people.end(login)
			l.LoginsChanged(login)
			time.Sleep(10 * time.Millisecond) // the first is on its way
		}
		time.Sleep(500 * time.Millisecond)
		if got := len(healthy.heard()); got != 40 {
			t.Errorf("within a second the other app heard of %d logouts of 40", got)
		}
		mu.Lock()
		if hanging != 8 {
			t.Errorf("the app that hangs has %d requests", hanging)
		}
		mu.Unlock()
		time.Sleep(26 * time.Second) // five times the timeout
		mu.Lock()
		defer mu.Unlock()
		if most != 8 || attempts != 40 {
			t.Errorf("the app that hangs got %d logout tokens, %d at once", attempts, most)
		}
	})
}

// TestBackchannelOtherConfiguration: while another configuration is rolled out, a node that
// can't decide leaves a notice to the others. If there are none, it is left until it expires.
func TestBackchannelOtherConfiguration(t *testing.T) {
	t.Parallel()
	for name, other := range map[string]func(*lab) *oidcop.Provider{
		"no client": func(l *lab) *oidcop.Provider { return l.without("told", nil) },
		"no back-channel": func(l *lab) *oidcop.Provider {
			return l.without("told", func(c *oidcop.Client) { c.BackchannelLogoutURI = "" })
		},
		"login not accepted": func(l *lab) *oidcop.Provider {
			l.people.fail(oidcop.ErrNotHere)
			return l.node()
		},
	} {
		t.Run(name, func(t *testing.T) {
			t.Parallel()
			synctest.Test(t, func(t *testing.T) {
				st := gatewaytest.NewMemStore()
				l, a := newLabOver(t, st), &app{status: http.StatusServiceUnavailable}
				l.apps = a
				for _, login := range []string{"login:alice", "login:bob", "login:eve"} {
					l.people.copy("login:alice", login)
					l.tokensOf(login, "told")
				}
				l.runFor(l.node(), time.Second, "login:bob") // fails, and will be tried again
				a.answer(http.StatusOK)
				l.runFor(other(l), 10*time.Minute, "login:alice")
				if heard := a.heard(); len(heard) > 2 {
					t.Fatalf("the app heard %d times", len(heard))
				}
				l.people.fail(nil)
				l.runFor(l.node(), time.Second)
				if heard := a.heard(); len(heard) != 3 {
					t.Errorf("in the end the app heard %d times", len(heard))
				}
				// Nobody knows the client any more.
				l.runFor(other(l), 13*time.Hour, "login:eve")
				if dump := st.Dump(); bytes.Contains(dump, []byte("login:")) {
					t.Errorf("something is left: %s", dump)
				}
			})
		})
	}
}

// TestBackchannelGone: the notice of a login that lives longer now may be gone. Then nothing is due.
func TestBackchannelGone(t *testing.T) {
	t.Parallel()
	synctest.Test(t, func(t *testing.T) {
		st := gatewaytest.NewMemStore()
		l, a := newLabOver(t, st), &app{status: http.StatusOK}
		l.apps = a
		l.tokens("told")
		l.people.prolong("login:alice", 12*time.Hour)
		for _, key := range st.Keys() {
			if strings.HasPrefix(key, "notice:") {
				if err := st.Delete(t.Context(), key); err != nil {
					t.Fatal(err)
				}
			}
		}
		go l.Run(t.Context())
		time.Sleep(21 * time.Hour)
		if faults := l.logs.FilterMessage("logout tokens wait for the store").Len(); faults != 0 || len(a.heard()) != 0 {
			t.Errorf("%d faults, %d logout tokens", faults, len(a.heard()))
		}
		if dump := st.Dump(); bytes.Contains(dump, []byte("login:alice")) {
			t.Errorf("something is left: %s", dump)
		}
	})
}

// busy records are in the hands of other nodes.
type busy struct {
	oidcop.Records
	updates int
}

func (b *busy) Update(ctx context.Context, kind vault.Kind, name string, ttl time.Duration, change func(*vault.Record) ([]byte, error)) error {
	if b.updates++; b.updates == 1 {
		return vault.ErrBusy
	}
	return b.Records.Update(ctx, kind, name, ttl, change)
}

// TestBackchannelBusy: if other nodes claim a notice at the same time, one of them sends it.
func TestBackchannelBusy(t *testing.T) {
	t.Parallel()
	synctest.Test(t, func(t *testing.T) {
		l, a := newLab(t), &app{status: http.StatusOK}
		l.apps = a
		l.tokens("told")
		l.Bind(oidcop.Backing{
			Issuer: issuer, Records: &busy{Records: newVault(t, l.store, "s")}, Index: l.store, Signers: map[oidcop.Algorithm]oidcop.Signer{oidcop.ES256: l.keys},
		})
		l.people.end("login:alice")
		go l.Run(t.Context())
		time.Sleep(time.Minute)
		if faults := l.logs.FilterMessage("logout tokens wait for the store").Len(); faults != 0 || len(a.heard()) != 1 {
			t.Errorf("%d faults, %d logout tokens", faults, len(a.heard()))
		}
	})
}

// runFor runs a provider for some time. Meanwhile logins end.
func (l *lab) runFor(op *oidcop.Provider, d time.Duration, ended ...string) {
	ctx, stop := context.WithTimeout(l.t.Context(), d)
	defer stop()
	for _, login := range ended {
		l.people.end(login)
		op.LoginsChanged(login)
	}
	op.Run(ctx)
}

// TestBackchannelRefresh: the notice is made with the first tokens. Refreshing them writes none,
// nor do the tokens of a client that hears of no logout.
func TestBackchannelRefresh(t *testing.T) {
	t.Parallel()
	st := gatewaytest.NewMemStore()
	l := newLabOver(t, st)
	l.Provider = l.without("told", func(c *oidcop.Client) { c.Refresh = true })
	got := l.tokens("told")
	listed := 0
	st.SetHook(func(op gatewaytest.MemOp) error {
		if op.Method == "Add" && strings.HasPrefix(op.Key, "index:openid-logins:") {
			listed++
		}
		return nil
	})
	l.tokens("web")
	l.tokens("told") // control
	if rec, _ := post(l.Provider, oidcop.TokenPath, "told", secret, refreshForm(got.Refresh)); rec.Code != http.StatusOK || listed != 2 {
		t.Errorf("%d %s; the login was listed %d times", rec.Code, rec.Body, listed)
	}
}
