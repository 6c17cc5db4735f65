package caddymodule_test

import (
	"net/http"
	"testing"
	"time"

	"github.com/caddyserver/caddy/v2"

	"github.com/caddy-sso/caddy-sso/gateway/boltstore"
	"github.com/caddy-sso/caddy-sso/gateway/gatewaytest"
)

// TestRequestsAwaitTheStart holds the store's file for a while, so that the app
// starts slowly. In about half of the starts Caddy lets the servers in first:
// no request is refused for it.
func TestRequestsAwaitTheStart(t *testing.T) {
	w := newWorld(t)
	client := &http.Client{Transport: gatewaytest.Transport(t)}
	for range 8 {
		held, err := boltstore.Open(w.path("sessions.db"))
		if err != nil {
			t.Fatal(err)
		}
		loaded := make(chan error)
		go func() { loaded <- w.load(w.global("") + site) }()
		status := make(chan int)
		go func() {
			for {
				// There may be nobody to answer yet.
				if resp, err := client.Get(w.origin() + "/open"); err == nil {
					_ = resp.Body.Close()
					status <- resp.StatusCode
					return
				}
				time.Sleep(5 * time.Millisecond)
			}
		}()
		time.Sleep(300 * time.Millisecond)
		if err := held.Close(); err != nil {
			t.Fatal(err)
		}
		if err := <-loaded; err != nil {
			t.Fatal(err)
		}
		if got := <-status; got != http.StatusOK {
			t.Fatalf("the first request is answered %d", got)
		}
		if err := caddy.Stop(); err != nil {
			t.Fatal(err)
		}
	}
}
