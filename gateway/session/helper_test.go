package session_test

import (
	"testing"
	"testing/synctest"

	"github.com/caddy-sso/caddy-sso/gateway/gatewaytest"
	"github.com/caddy-sso/caddy-sso/gateway/session"
)

// mustDo ends a test that can't go on.
func mustDo(t testing.TB, err error) {
	t.Helper()
	if err != nil {
		t.Fatal(err)
	}
}

// inBubble tests a running node in a bubble of synctest.
func inBubble(t *testing.T, run func(t *testing.T, store *gatewaytest.MemStore, s *session.Node)) {
	t.Helper()
	synctest.Test(t, func(t *testing.T) {
		store := gatewaytest.NewMemStore()
		s := openNode(t, store)
		runNode(t, s)
		synctest.Wait()
		run(t, store, s)
	})
}

// inBubbleOfTwo tests two running nodes of one store.
func inBubbleOfTwo(t *testing.T, run func(t *testing.T, store *gatewaytest.MemStore, here, there *session.Node)) {
	t.Helper()
	inBubble(t, func(t *testing.T, store *gatewaytest.MemStore, here *session.Node) {
		there := openNode(t, store)
		runNode(t, there)
		synctest.Wait()
		run(t, store, here, there)
	})
}

// eachMoment runs a test with at = 1, 2, … until it returns that there is no such moment.
func eachMoment(t *testing.T, least int, run func(at int) (came bool)) {
	t.Helper()
	at := 1
	for run(at) {
		at++
	}
	if at < least {
		t.Fatalf("there are %d moments only", at-1)
	}
}

// atMoment has do done once, at the n-th step of what comes next in the store,
// and returns whether it came to that. An error of do fails that step.
func atMoment(store *gatewaytest.MemStore, at int, do func() error) (came func() bool) {
	n, done := 0, false
	store.SetHook(func(gatewaytest.MemOp) error {
		if n++; n != at || done {
			return nil
		}
		done = true
		return do()
	})
	return func() bool { store.SetHook(nil); return done }
}

// crashAt has a store fail from its n-th moment on: before or after what a
// method does.
func crashAt(store *gatewaytest.MemStore, at int) {
	n := 0
	store.SetHook(func(gatewaytest.MemOp) error {
		if n++; n >= at {
			return gatewaytest.ErrFault
		}
		return nil
	})
}
