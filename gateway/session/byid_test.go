package session_test

import (
	"context"
	"errors"
	"slices"
	"testing"
	"testing/synctest"
	"time"

	"github.com/caddy-sso/caddy-sso/gateway/gatewaytest"
	"github.com/caddy-sso/caddy-sso/gateway/session"
)

// TestLoginByID ends a login in every way. The other node finds it no more, and both nodes
// tell their policies.
func TestLoginByID(t *testing.T) {
	t.Parallel()
	const idle = 30 * time.Minute
	type end struct {
		name, told string // told: "all", "login" or "nobody"
		stays      bool
		do         func(ctx context.Context, s *session.Node, cookie string) error
	}
	ends := []end{
		{"logout", "login", false, func(ctx context.Context, s *session.Node, cookie string) error {
			found, err := s.Find(ctx, cookie, nodeHost)
			return errors.Join(err, found.End(ctx))
		}},
		{"not used", "nobody", false, func(context.Context, *session.Node, string) error { time.Sleep(idle); return nil }},
		{"used", "nobody", true, func(context.Context, *session.Node, string) error { time.Sleep(idle - time.Second); return nil }},
	}
	for _, r := range revocations {
		ends = append(ends, end{r.name, "all", r.alice, func(ctx context.Context, s *session.Node, _ string) error { return r.do(ctx, s) }})
	}
	for _, tt := range ends {
		t.Run(tt.name, func(t *testing.T) {
			t.Parallel()
			inBubbleOfTwo(t, func(t *testing.T, _ *gatewaytest.MemStore, here, there *session.Node) {
				policies := []*policy{{idle: idle}, {idle: idle}}
				here.Start(policies[0])
				there.Start(policies[1])
				cookie := signInAt(t, here, "alice")
				id := wantSession(t, here, cookie).ID()
				if l, err := there.LoginByID(t.Context(), id); err != nil || l.Identity.Username != "alice" {
					t.Fatalf("found %v, %v", l, err)
				}
				mustDo(t, tt.do(t.Context(), here, cookie))
				switch l, err := there.LoginByID(t.Context(), id); {
				case tt.stays && err != nil, !tt.stays && !errors.Is(err, session.ErrNone):
					t.Errorf("afterwards found %v, %v", l, err)
				}
				synctest.Wait()
				want := map[string][]string{"all": {""}, "login": {id}}[tt.told]
				for i, p := range policies {
					p.mu.Lock()
					told := slices.Compact(p.told)
					if tt.told != "nobody" { // how often does not matter
						told = told[:min(len(told), 1)]
					}
					if !slices.Equal(told, want) {
						t.Errorf("node %d was told %q, want %q", i, told, want)
					}
					p.mu.Unlock()
				}
			})
		})
	}
}

func TestLoginByIDOfNobody(t *testing.T) {
	t.Parallel()
	inBubble(t, func(t *testing.T, store *gatewaytest.MemStore, s *session.Node) {
		cookie := signInAt(t, s, "alice")
		id := wantSession(t, s, cookie).ID()
		for _, other := range []string{"", "login:", "x", cookie, id + "x", id[:len(id)-1], "account:" + id[len("login:"):], "login:" + cookie} {
			if l, err := s.LoginByID(t.Context(), other); !errors.Is(err, session.ErrNone) {
				t.Errorf("%q: found %v, %v", other, l, err)
			}
		}
		store.SetHook(func(gatewaytest.MemOp) error { return gatewaytest.ErrFault })
		if _, err := s.LoginByID(t.Context(), id); err == nil || errors.Is(err, session.ErrNone) {
			t.Errorf("while the store fails: %v", err)
		}
	})
}
