package main

import (
	"context"
	"testing"
	"testing/synctest"
	"time"
)

// TestHealthReady asks for clients that have gone away, more and less often than the store
// is asked.
func TestHealthReady(t *testing.T) {
	t.Parallel()
	synctest.Test(t, func(t *testing.T) {
		asked, stops := 0, false
		h := &health{stopping: func() bool { return stops }, ask: func(ctx context.Context) error { asked++; return ctx.Err() }}
		gone, cancel := context.WithCancel(t.Context())
		cancel()
		for range 10 {
			for _, ctx := range []context.Context{gone, t.Context()} {
				if err := h.ready(ctx); err != nil {
					t.Errorf("not ready: %v", err)
				}
			}
			time.Sleep(askEvery / 2)
		}
		if asked != 5 {
			t.Errorf("the store was asked %d times in five seconds", asked)
		}
		stops = true
		if h.ready(t.Context()) == nil {
			t.Error("ready while it stops")
		}
	})
}
