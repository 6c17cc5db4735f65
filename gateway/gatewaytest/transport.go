package gatewaytest

import (
	"net/http"
	"testing"
)

// Transport returns a transport for one test. http.DefaultTransport is shared: an
// httptest.Server that closes also closes its idle connections, in the middle of
// another test's request.
func Transport(tb testing.TB) *http.Transport {
	tb.Helper()
	tr := &http.Transport{}
	tb.Cleanup(tr.CloseIdleConnections)
	return tr
}
