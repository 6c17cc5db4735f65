//go:build integration

package integration

import (
	"crypto/rand"
	"encoding/hex"
	"fmt"
	"io"
	"net"
	"sync"
	"testing"
)

// A relay passes TCP on to a server, and can stop doing so: towards its
// clients the server is then down.
type relay struct {
	t      *testing.T
	port   int
	target string

	mu       sync.Mutex
	listener net.Listener
	conns    map[net.Conn]bool
}

// newRelay makes a relay to a port on loopback. It is down until up is called.
func newRelay(t *testing.T, target int) *relay {
	t.Helper()
	r := &relay{t: t, port: freePort(), target: fmt.Sprintf("127.0.0.1:%d", target), conns: map[net.Conn]bool{}}
	t.Cleanup(r.down)
	return r
}

// up makes the relay listen.
func (r *relay) up() {
	r.t.Helper()
	l, err := net.Listen("tcp", fmt.Sprintf("127.0.0.1:%d", r.port))
	if err != nil {
		r.t.Fatal(err)
	}
	r.mu.Lock()
	r.listener = l
	r.mu.Unlock()
	go func() {
		for {
			c, err := l.Accept()
			if err != nil {
				return
			}
			go r.pass(c)
		}
	}()
}

// down stops listening and cuts every connection.
func (r *relay) down() {
	r.mu.Lock()
	defer r.mu.Unlock()
	if r.listener != nil {
		_ = r.listener.Close()
		r.listener = nil
	}
	for c := range r.conns {
		_ = c.Close()
	}
	clear(r.conns)
}

func (r *relay) pass(c net.Conn) {
	defer c.Close()
	s, err := net.Dial("tcp", r.target)
	if err != nil {
		return
	}
	defer s.Close()
	r.mu.Lock()
	if r.listener == nil {
		r.mu.Unlock()
		return
	}
	r.conns[c], r.conns[s] = true, true
	r.mu.Unlock()
	done := make(chan struct{}, 2)
	for _, pair := range [][2]net.Conn{{c, s}, {s, c}} {
		go func() {
			_, _ = io.Copy(pair[0], pair[1])
			done <- struct{}{}
		}()
	}
	<-done
	r.mu.Lock()
	delete(r.conns, c)
	delete(r.conns, s)
	r.mu.Unlock()
}

func randomHex(n int) string {
	b := make([]byte, n)
	_, _ = rand.Read(b)
	return hex.EncodeToString(b)
}
