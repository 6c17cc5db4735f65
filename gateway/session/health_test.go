package session_test

import (
	"errors"
	"slices"
	"strings"
	"testing"
	"testing/synctest"
	"time"

	"go.uber.org/zap"
	"go.uber.org/zap/zaptest/observer"

	"github.com/caddy-sso/caddy-sso/gateway/gatewaytest"
	"github.com/caddy-sso/caddy-sso/gateway/session"
)

// A placed marker is one whose file is known.
type placed struct{ *gatewaytest.Marker }

func (placed) Where() string { return "/data/sso/store-marker-0123" }

// A store that answers may be broken. The log says it once, with since when and the
// remedy, and once more when it is over.
func TestHealthIsSaid(t *testing.T) {
	t.Parallel()
	full := errors.New("OOM: its memory is full: raise maxmemory")
	for name, tt := range map[string]struct {
		begin, end func(s *gatewaytest.MemStore, m *gatewaytest.Marker)
		begun      string
		remedy     string
		over       string
	}{
		"no writes": {
			func(s *gatewaytest.MemStore, _ *gatewaytest.Marker) { s.Refuse(full) },
			func(s *gatewaytest.MemStore, _ *gatewaytest.Marker) { s.Refuse(nil) },
			"session store takes no writes: nobody can sign in", "raise maxmemory", "session store takes writes again",
		},
		"no answers": {
			func(s *gatewaytest.MemStore, _ *gatewaytest.Marker) { s.SetHook(gatewaytest.Faulty()) },
			func(s *gatewaytest.MemStore, _ *gatewaytest.Marker) { s.SetHook(nil) },
			"session store is unavailable", "the test lets the store fail", "session store is followed",
		},
		"replaced, and confirmed": {
			func(s *gatewaytest.MemStore, _ *gatewaytest.Marker) { s.Rewind(gatewaytest.NewMemStore()) },
			func(_ *gatewaytest.MemStore, m *gatewaytest.Marker) { m.Forget() },
			"session store was replaced: nobody can sign in", "/data/sso/store-marker-0123", "session store is the known one again",
		},
	} {
		t.Run(name, func(t *testing.T) {
			t.Parallel()
			synctest.Test(t, func(t *testing.T) {
				core, logged := observer.New(zap.InfoLevel)
				st, marker := gatewaytest.NewMemStore(), &gatewaytest.Marker{}
				s := open(t, session.Options{Store: st, Marker: placed{marker}, Logger: zap.New(core)})
				runNode(t, s)
				synctest.Wait()
				signInAt(t, s, "alice")
				logged.TakeAll()
				tt.begin(st, marker)
				time.Sleep(time.Minute)
				first := logged.TakeAll()
				if slices.ContainsFunc(first, func(e observer.LoggedEntry) bool { return e.Message == "session store is followed" }) {
					t.Error("the log says that all is well")
				}
				begun := slices.DeleteFunc(first, func(e observer.LoggedEntry) bool { return e.Level != zap.WarnLevel || e.Message != tt.begun })
				if len(begun) != 1 {
					t.Fatalf("%q is said %d times", tt.begun, len(begun))
				}
				fields := begun[0].ContextMap()
				since, ok := fields["since"].(time.Time)
				if text, _ := fields["error"].(string); !ok || time.Since(since) < 55*time.Second || !strings.Contains(text, tt.remedy) {
					t.Errorf("the line has %v", fields)
				}
				tt.end(st, marker)
				time.Sleep(10 * time.Second)
				lines := logged.TakeAll()
				i := slices.IndexFunc(lines, func(e observer.LoggedEntry) bool { return e.Message == tt.over })
				if i < 0 {
					t.Fatalf("the log does not say that it is over: %v", lines)
				}
				if lasted, ok := lines[i].ContextMap()["after"].(time.Duration); !ok || lasted < 55*time.Second || lasted > 70*time.Second {
					t.Errorf("it lasted %v", lines[i].ContextMap())
				}
				for _, e := range lines {
					if e.Level > zap.InfoLevel {
						t.Errorf("afterwards: %v", e)
					}
				}
			})
		})
	}
}
