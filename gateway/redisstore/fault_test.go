package redisstore_test

import (
	"bytes"
	"context"
	"crypto/tls"
	"flag"
	"fmt"
	"io"
	"log"
	"net"
	"net/http/httptest"
	"os"
	"regexp"
	"sync/atomic"
	"testing"
	"time"

	"github.com/caddy-sso/caddy-sso/gateway/redisstore"
	"github.com/caddy-sso/caddy-sso/gateway/wording"
)

var update = flag.Bool("update", false, "write testdata/faults.txt anew")

// TestFaults compares the error of each Redis fault with testdata/faults.txt. An error
// names the operation, the place, the cause and the fix.
func TestFaults(t *testing.T) {
	t.Parallel()
	answers := func(text string) func(*testing.T) string {
		return func(t *testing.T) string {
			t.Helper()
			return "redis://" + newFake(t, handshake(func([]string) string { return text })).addr
		}
	}
	hangsUp := func(c net.Conn) { _, _ = c.Read(make([]byte, 4096)) } // unread, it would be a reset
	var got bytes.Buffer
	for _, tt := range []struct {
		name string
		url  func(*testing.T) string
	}{
		{"nothing listens", func(*testing.T) string { return "redis://127.0.0.1:1" }}, // no process gets this port by chance
		{"it was killed before it answered, behind a proxy that lives", func(t *testing.T) string { t.Helper(); return "redis://" + listening(t, hangsUp) }},
		{"it was killed while it answered", func(t *testing.T) string {
			t.Helper()
			asked := 0
			return "redis://" + newFake(t, handshake(func([]string) string {
				if asked++; asked == 1 {
					return "*1\r\n$-1\r\n"
				}
				return ""
			})).addr
		}},
		{"it hangs", func(t *testing.T) string { t.Helper(); return "redis://" + listening(t, silent) }},
		{"it wants TLS", func(t *testing.T) string { t.Helper(); return "redis://" + overTLS(t) }},
		{"it speaks no TLS", func(t *testing.T) string {
			t.Helper()
			return "rediss://" + listening(t, func(c net.Conn) { _, _ = io.WriteString(c, "-ERR Protocol error\r\n") })
		}},
		{"it hangs, with TLS", func(t *testing.T) string { t.Helper(); return "rediss://" + listening(t, silent) }},
		{"its certificate is not trusted", func(t *testing.T) string { t.Helper(); return "rediss://" + overTLS(t) }},
		{"there is no such socket", func(*testing.T) string { return "unix:///nowhere/redis.sock" }},
		{"it wants a password", answers("-NOAUTH Authentication required.\r\n")},
		{"the password is wrong", answers("-WRONGPASS invalid username-password pair\r\n")},
		{"its ACL forbids it", answers("-NOPERM this user has no permissions to run the 'mget' command\r\n")},
		{"it is in protected mode", answers("-DENIED Redis is running in protected mode because protected mode is enabled\r\n")},
		{"it has no room for clients", answers("-ERR max number of clients reached\r\n")},
		{"it has no such database", answers("-ERR DB index is out of range\r\n")},
		{"its memory is full", answers("-OOM command not allowed when used memory > 'maxmemory'.\r\n")},
		{"its disk is full", answers("-MISCONF Redis is configured to save RDB snapshots\r\n")},
		{"it is a replica", answers("-READONLY You can't write against a read only replica.\r\n")},
		{"it is loading", answers("-LOADING Redis is loading the dataset in memory\r\n")},
		{"it is part of a cluster", answers("-MOVED 3999 127.0.0.1:6381\r\n")},
		{"it is too old", answers("-ERR unknown command 'MGET'\r\n")},
		{"it is no Redis", answers("HTTP/1.1 400 Bad Request\r\n\r\n")},
	} {
		t.Run(tt.name, func(t *testing.T) {
			o := redisstore.Options{URL: tt.url(t), Timeout: time.Minute, DialTimeout: time.Minute, Explain: wording.Network}
			switch tt.name { // only these wait for an end of the time
			case "it hangs":
				o.Timeout = 200 * time.Millisecond
			case "it hangs, with TLS":
				o.DialTimeout = 2 * time.Second // the connection itself is part of it
			}
			s, err := redisstore.Open(o)
			must(t, err)
			defer s.Close()
			for range 3 {
				if _, err = s.Get(context.Background(), "key"); err != nil {
					break
				}
			}
			if err == nil {
				t.Fatal("there is no error")
			}
			text := regexp.MustCompile(`(127\.0\.0\.1)(:| -p )\d+`).ReplaceAllString(err.Error(), "${1}${2}6379")
			fmt.Fprintf(&got, "%s\n    %s\n\n", tt.name, text)
		})
	}
	const file = "testdata/faults.txt"
	if *update {
		must(t, os.WriteFile(file, got.Bytes(), 0o600))
	}
	want, err := os.ReadFile(file)
	must(t, err)
	if !bytes.Equal(got.Bytes(), want) {
		t.Errorf("got\n%s\nwant\n%s", got.Bytes(), want)
	}
}

// A server that hangs up is asked once whether it speaks TLS, not by each call, and anew
// only if the call's context ended meanwhile.
func TestAsksForTLSOnce(t *testing.T) {
	t.Parallel()
	var connections, handshakes atomic.Int32
	ctx, cancel := context.WithCancel(t.Context())
	addr := listening(t, func(c net.Conn) {
		connections.Add(1)
		first := make([]byte, 4096)
		if _, _ = c.Read(first); first[0] == 22 && handshakes.Add(1) == 1 {
			cancel()
			_, _ = io.Copy(io.Discard, c) // until the caller hangs up
		}
	})
	s, err := redisstore.Open(redisstore.Options{URL: "redis://" + addr, Timeout: time.Minute, DialTimeout: time.Minute})
	must(t, err)
	defer s.Close()
	for range 5 {
		if _, err := s.Get(ctx, "key"); err == nil {
			t.Error("there is no error")
		}
		ctx = t.Context()
	}
	if all, tls := connections.Load(), handshakes.Load(); all != 7 || tls != 2 {
		t.Errorf("%d connections, %d of them for TLS, want 7 and 2", all, tls)
	}
}

// overTLS returns the address of a server that hangs up on everything but TLS, and says
// nothing about it, as Redis does.
func overTLS(t *testing.T) string {
	t.Helper()
	srv := httptest.NewUnstartedServer(nil)
	srv.Config.ErrorLog = log.New(io.Discard, "", 0)
	srv.StartTLS()
	t.Cleanup(srv.Close)
	config := &tls.Config{Certificates: srv.TLS.Certificates}
	return listening(t, func(c net.Conn) {
		first := make([]byte, 4096)
		n, err := c.Read(first)
		if err != nil || first[0] != 22 { // a handshake record
			return
		}
		_ = tls.Server(&replayed{c, first[:n]}, config).Handshake()
	})
}

// replayed is a connection of which something was read already.
type replayed struct {
	net.Conn
	first []byte
}

func (r *replayed) Read(p []byte) (int, error) {
	if len(r.first) == 0 {
		return r.Conn.Read(p)
	}
	n := copy(p, r.first)
	r.first = r.first[n:]
	return n, nil
}
