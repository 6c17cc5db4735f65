//go:build integration

package integration

import (
	"errors"
	"net"
	"sync"
	"testing"
)

// A wire carries TCP connections to a server, and can stop carrying one of the
// directions. Like a network that loses packets it says nothing of it, keeps
// the connections, and delivers what was sent meanwhile once it is whole.
type wire struct {
	addr   string
	target string

	mu    sync.Mutex
	gates [2]chan struct{} // closed while the direction is carried
	conns []net.Conn
	wg    sync.WaitGroup
}

// The directions of a wire.
const (
	toServer = iota
	fromServer
)

func newWire(t *testing.T, target string) *wire {
	t.Helper()
	l, err := net.Listen("tcp", "127.0.0.1:0")
	if err != nil {
		t.Fatal(err)
	}
	w := &wire{addr: l.Addr().String(), target: target}
	for i := range w.gates {
		w.gates[i] = make(chan struct{})
		close(w.gates[i])
	}
	w.wg.Go(func() {
		for {
			c, err := l.Accept()
			if errors.Is(err, net.ErrClosed) {
				return
			}
			if err == nil {
				w.carry(c)
			}
		}
	})
	t.Cleanup(func() {
		_ = l.Close()
		w.mend()
		w.mu.Lock()
		for _, c := range w.conns {
			_ = c.Close()
		}
		w.mu.Unlock()
		w.wg.Wait()
	})
	return w
}

// cut stops carrying a direction.
func (w *wire) cut(direction int) {
	w.mu.Lock()
	defer w.mu.Unlock()
	w.gates[direction] = make(chan struct{})
}

// lead has connections that are made from now on go to another server.
func (w *wire) lead(target string) {
	w.mu.Lock()
	defer w.mu.Unlock()
	w.target = target
}

// mend carries both directions again.
func (w *wire) mend() {
	w.mu.Lock()
	defer w.mu.Unlock()
	for _, gate := range w.gates {
		select {
		case <-gate:
		default:
			close(gate)
		}
	}
}

func (w *wire) carry(client net.Conn) {
	w.mu.Lock()
	target := w.target
	w.mu.Unlock()
	server, err := net.Dial("tcp", target)
	if err != nil {
		_ = client.Close()
		return
	}
	w.mu.Lock()
	w.conns = append(w.conns, client, server)
	w.mu.Unlock()
	w.wg.Go(func() { w.pump(toServer, client, server) })
	w.wg.Go(func() { w.pump(fromServer, server, client) })
}

// pump carries one direction until its end, and the end itself too.
func (w *wire) pump(direction int, from, to net.Conn) {
	buf := make([]byte, 32<<10)
	for {
		n, err := from.Read(buf)
		w.mu.Lock()
		gate := w.gates[direction]
		w.mu.Unlock()
		<-gate
		if _, writeErr := to.Write(buf[:n]); err != nil || writeErr != nil {
			_ = to.Close()
			return
		}
	}
}
