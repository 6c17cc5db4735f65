package samlsp_test

import (
	"testing"

	"github.com/caddy-sso/caddy-sso/gateway/check/checktest"
)

// TestChecksArePrivate holds that only the tests can drop a check: no option,
// variable, build tag or exported name of the product can.
func TestChecksArePrivate(t *testing.T) {
	t.Parallel()
	checktest.Private{
		Types:  []string{"List", "Checks", "checklist", "Trust"},
		Fields: []string{"checks", "Checks", "outbound", "SHA1"},
	}.Check(t)
}
