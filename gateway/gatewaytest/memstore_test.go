package gatewaytest_test

import (
	"testing"

	"github.com/caddy-sso/caddy-sso/gateway/gatewaytest"
	"github.com/caddy-sso/caddy-sso/gateway/store"
)

func TestMemStoreConforms(t *testing.T) {
	t.Parallel()
	gatewaytest.TestStore(t, func(*testing.T) (a, b store.Store) {
		s := gatewaytest.NewMemStore()
		return s, s
	})
}
