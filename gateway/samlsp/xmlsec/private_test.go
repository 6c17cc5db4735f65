package xmlsec_test

import (
	"testing"

	"github.com/caddy-sso/caddy-sso/gateway/check/checktest"
	"github.com/caddy-sso/caddy-sso/gateway/samlsp/xmlsec"
)

// TestChecksArePrivate holds that only the tests can drop a check: no option,
// variable, build tag or exported name of the product can.
func TestChecksArePrivate(t *testing.T) {
	t.Parallel()
	checktest.Private{
		Types:  []string{"List", "checklist", "reader", "signature"},
		Fields: []string{"checks", "keys", "sha1"},
	}.Check(t)
}

// TestZeroChecks holds that checks which New did not make let nothing in.
func TestZeroChecks(t *testing.T) {
	t.Parallel()
	defer func() {
		if recover() == nil {
			t.Error("a document is read without checks")
		}
	}()
	_, _ = xmlsec.Checks{}.Read([]byte("<a/>"), xmlsec.Bounds{Size: 4})
}
