package oidcop_test

import (
	"testing"

	"github.com/caddy-sso/caddy-sso/gateway/check/checktest"
)

// TestChecksArePrivate holds that only the tests can drop a check.
func TestChecksArePrivate(t *testing.T) {
	t.Parallel()
	checktest.Private{Types: []string{"List", "checklist"}, Fields: []string{"checks"}}.Check(t)
}
