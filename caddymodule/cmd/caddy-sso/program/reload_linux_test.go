//go:debug multipathtcp=0

package program_test

import (
	"context"
	"crypto/tls"
	"fmt"
	"net"
	"testing"
	"time"

	"github.com/caddyserver/caddy/v2"
	"github.com/caddyserver/caddy/v2/modules/caddyhttp/proxyprotocol"

	"github.com/caddy-sso/caddy-sso/caddymodule/cmd/caddy-sso/program"
	"github.com/caddy-sso/caddy-sso/gateway/gatewaytest"
)

// A harbour is an address with several listeners.
type harbour struct {
	t    *testing.T
	port int
	got  chan int // which listener a connection has reached
	n    int
}

func newHarbour(t *testing.T) *harbour {
	t.Helper()
	return &harbour{t: t, port: gatewaytest.FreePort(), got: make(chan int)}
}

// listen opens the next listener, as Caddy does, and accepts what comes.
func (h *harbour) listen(wrap func(net.Listener) net.Listener) net.Listener {
	h.t.Helper()
	addr := caddy.NetworkAddress{Network: "tcp", Host: "127.0.0.1", StartPort: uint(h.port), EndPort: uint(h.port)}
	v, err := addr.Listen(h.t.Context(), 0, net.ListenConfig{})
	if err != nil {
		h.t.Fatal(err)
	}
	ln, ok := v.(net.Listener)
	if !ok {
		h.t.Fatalf("Caddy listens by a %T", v)
	}
	h.t.Cleanup(func() { _ = ln.Close() })
	index := h.n
	h.n++
	go func() {
		for {
			conn, err := ln.Accept()
			if err != nil {
				return
			}
			_ = conn.Close()
			h.got <- index
		}
	}()
	return wrap(ln)
}

// reached makes connections and returns how many each listener got.
func (h *harbour) reached() map[int]int {
	h.t.Helper()
	counts := map[int]int{}
	for range 40 {
		conn, err := net.Dial("tcp", fmt.Sprintf("127.0.0.1:%d", h.port))
		if err != nil {
			h.t.Fatal(err)
		}
		_ = conn.Close()
		select {
		case i := <-h.got:
			counts[i]++
		case <-time.After(30 * time.Second):
			h.t.Fatal("a connection has reached nobody")
		}
	}
	return counts
}

func TestSteer(t *testing.T) {
	proxy := &proxyprotocol.ListenerWrapper{}
	ctx, cancel := caddy.NewContext(caddy.Context{Context: t.Context()})
	defer cancel()
	if err := proxy.Provision(ctx); err != nil {
		t.Fatal(err)
	}
	for name, wrap := range map[string]func(net.Listener) net.Listener{
		"plain":          func(ln net.Listener) net.Listener { return ln },
		"TLS":            func(ln net.Listener) net.Listener { return tls.NewListener(ln, &tls.Config{}) },
		"PROXY protocol": proxy.WrapListener,
	} {
		t.Run(name, func(t *testing.T) {
			h := newHarbour(t)
			first := h.listen(wrap)
			steer := func(ln net.Listener, to int) {
				t.Helper()
				if err := program.SteerListener(ln, to); err != nil {
					t.Fatal(err)
				}
			}
			only := func(when string, index int) {
				t.Helper()
				if got := h.reached(); got[index] == 0 || len(got) > 1 {
					t.Errorf("%s: connections have reached %v, not %d alone", when, got, index)
				}
			}
			steer(first, program.ToOlder)
			second := h.listen(wrap)
			only("the second has just come", 0)
			steer(first, program.ToNewer)
			only("the first is about to go", 1)
			_ = first.Close()
			only("the first is gone", 1)
			steer(second, program.ToOlder)
			third := h.listen(wrap)
			only("the third has just come", 1)
			_ = third.Close()
			only("the third has failed", 1)
			h.listen(wrap)
			only("the fourth has just come", 1)
			steer(second, program.ToNewer)
			only("the second is about to go", 3)
		})
	}
}

// TestSteerNot shows what can't be steered, and that the control of TestSteer
// holds: sockets that nobody steers share connections.
func TestSteerNot(t *testing.T) {
	t.Run("nobody does", func(t *testing.T) {
		h := newHarbour(t)
		for range 2 {
			h.listen(func(ln net.Listener) net.Listener { return ln })
		}
		if got := h.reached(); len(got) != 2 {
			t.Errorf("connections are not shared: %v", got)
		}
	})
	t.Run("Multipath TCP", func(t *testing.T) {
		var lc net.ListenConfig
		lc.SetMultipathTCP(true)
		ln, err := lc.Listen(context.Background(), "tcp", "127.0.0.1:0")
		if err != nil {
			t.Fatal(err)
		}
		t.Cleanup(func() { _ = ln.Close() })
		if err := program.SteerListener(ln, program.ToNewer); err == nil {
			t.Error("no error: if it can be steered, GODEBUG need not be set")
		}
	})
	t.Run("no socket", func(t *testing.T) {
		for _, ln := range []net.Listener{nil, struct{ net.Listener }{}, struct{ net.Listener }{struct{ net.Listener }{}}} {
			if err := program.SteerListener(ln, program.ToNewer); err == nil {
				t.Errorf("%T has been steered", ln)
			}
		}
	})
}
