package gatewaytest

import (
	"encoding/pem"
	"io"
	"log"
	"net/http"
	"net/http/httptest"
	"sync"
	"testing"
)

// A fake is what an IdP and an OP have in common. H are its hooks.
type fake[H any] struct {
	mu     sync.Mutex
	hooks  H
	counts map[string]int
}

// SetHooks replaces all hooks.
func (f *fake[H]) SetHooks(hooks H) {
	f.mu.Lock()
	defer f.mu.Unlock()
	f.hooks = hooks
}

// Requests counts the requests to an endpoint.
func (f *fake[H]) Requests(path string) int {
	f.mu.Lock()
	defer f.mu.Unlock()
	return f.counts[path]
}

func (f *fake[H]) current() H {
	f.mu.Lock()
	defer f.mu.Unlock()
	return f.hooks
}

// count counts a request and returns the hooks for it.
func (f *fake[H]) count(path string) H {
	f.mu.Lock()
	defer f.mu.Unlock()
	if f.counts == nil {
		f.counts = map[string]int{}
	}
	f.counts[path]++
	return f.hooks
}

// startTLS starts a server and returns its address and its certificate, in PEM.
func startTLS(tb testing.TB, handler http.Handler) (address string, roots []byte) {
	tb.Helper()
	srv := httptest.NewUnstartedServer(handler)
	srv.Config.ErrorLog = log.New(io.Discard, "", 0) // refused handshakes are the tests' own
	srv.StartTLS()
	tb.Cleanup(srv.Close)
	return srv.URL, pem.EncodeToMemory(&pem.Block{Type: "CERTIFICATE", Bytes: srv.Certificate().Raw})
}
