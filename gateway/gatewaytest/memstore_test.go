package gatewaytest_test

import (
	"testing"

	"github.com/caddy-sso/caddy-sso/gateway"
	"github.com/caddy-sso/caddy-sso/gateway/gatewaytest"
)

func TestMemStoreConforms(t *testing.T) {
	t.Parallel()
	gatewaytest.TestStore(t, func(*testing.T) gateway.Store { return gatewaytest.NewMemStore() })
}
