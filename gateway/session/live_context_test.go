package session_test

import (
	"context"
	"errors"
	"runtime"
	"sync"
	"testing"
	"testing/synctest"
	"time"

	"github.com/caddy-sso/caddy-sso/gateway/gatewaytest"
	"github.com/caddy-sso/caddy-sso/gateway/session"
)

// TestLiveContext holds a live request's context, which is made late, against
// what the package context promises, whenever it is first asked for.
func TestLiveContext(t *testing.T) {
	t.Parallel()
	errParent := errors.New("the client went away")
	type live struct {
		ctx        context.Context
		cut, leave func()
		parent     context.CancelCauseFunc
	}
	for _, tt := range []struct {
		name  string
		early bool // a child is derived before
		do    func(l live)
		cause error
	}{
		{"goes on", false, func(live) {}, nil},
		{"cut", false, func(l live) { l.cut() }, session.ErrSessionOver},
		{"left", false, func(l live) { l.leave() }, context.Canceled},
		{"parent ends", false, func(l live) { l.parent(errParent) }, errParent},
		{"cut, then left", false, func(l live) { l.cut(); l.leave() }, session.ErrSessionOver},
		{"left, then parent ends", false, func(l live) { l.leave(); l.parent(errParent) }, context.Canceled},
		{"cut, then parent ends", false, func(l live) { l.cut(); l.parent(errParent) }, session.ErrSessionOver},
		{"waited for, then cut", true, func(l live) { l.ctx.Done(); l.cut() }, session.ErrSessionOver},
		{"waited for, then left", true, func(l live) { l.ctx.Done(); l.leave() }, context.Canceled},
		{"waited for, then parent ends", true, func(l live) { l.ctx.Done(); l.parent(errParent) }, errParent},
		{"waited for by many, then cut", true, func(l live) {
			var wg sync.WaitGroup
			for range 8 {
				wg.Go(func() { <-l.ctx.Done() })
			}
			l.cut()
			wg.Wait()
		}, session.ErrSessionOver},
	} {
		t.Run(tt.name, func(t *testing.T) {
			t.Parallel()
			inBubble(t, func(t *testing.T, _ *gatewaytest.MemStore, s *session.Node) {
				f := wantSession(t, s, signInAt(t, s, "alice"))
				type keyType struct{}
				parent, cancel := context.WithCancelCause(context.WithValue(t.Context(), keyType{}, "kept"))
				defer cancel(nil)
				ctx, leave := enter(parent, f, time.Now().Add(nodeLife))
				cut := func() {
					if err := f.End(t.Context()); err != nil {
						t.Error(err)
					}
					synctest.Wait()
				}
				leave = sync.OnceFunc(leave)
				defer leave()
				seen := map[string]context.Context{"itself": ctx}
				derive := func(name string) {
					var stop context.CancelFunc
					seen[name], stop = context.WithTimeout(context.WithValue(ctx, keyType{}, "other"), time.Hour)
					t.Cleanup(stop)
				}
				if tt.early {
					derive("a child from before")
				}
				tt.do(live{ctx, cut, leave, cancel})
				derive("a child from after")
				ran := false
				context.AfterFunc(ctx, func() { ran = true })
				synctest.Wait()
				wantErr := context.Canceled
				if tt.cause == nil {
					wantErr = nil
				}
				for name, ctx := range seen {
					if got := context.Cause(ctx); got != tt.cause {
						t.Errorf("%s: cause %v", name, got)
					}
					if ctx.Err() != wantErr || closed(ctx.Done()) != (tt.cause != nil) {
						t.Errorf("%s: error %v, done %t", name, ctx.Err(), closed(ctx.Done()))
					}
				}
				if ran != (tt.cause != nil) {
					t.Errorf("AfterFunc ran: %t", ran)
				}
				if ctx.Value(keyType{}) != "kept" || context.WithoutCancel(ctx).Err() != nil {
					t.Error("values or WithoutCancel differ")
				}
			})
		})
	}
}

func closed(done <-chan struct{}) bool {
	select {
	case <-done:
		return true
	default:
		return false
	}
}

// TestLiveContextStartsNoGoroutine derives contexts as reverse proxies do. The
// package context starts a goroutine for a parent that it does not know.
func TestLiveContextStartsNoGoroutine(t *testing.T) {
	s := openNode(t, gatewaytest.NewMemStore())
	f := wantSession(t, s, signInAt(t, s, "alice"))
	before := runtime.NumGoroutine()
	for range 100 {
		parent, cancel := context.WithCancel(t.Context())
		defer cancel()
		ctx, leave := enter(parent, f, time.Now().Add(nodeLife))
		defer leave()
		_, stop := context.WithCancel(ctx)
		defer stop()
	}
	if now := runtime.NumGoroutine(); now > before+50 {
		t.Errorf("%d goroutines, %d before", now, before)
	}
}
