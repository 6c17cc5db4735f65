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
