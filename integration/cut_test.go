//go:build integration

package integration

import (
	"bufio"
	"context"
	"crypto/tls"
	"errors"
	"fmt"
	"io"
	"net/http"
	"os"
	"path/filepath"
	"slices"
	"strings"
	"testing"
	"time"

	"github.com/quic-go/quic-go"
	"github.com/quic-go/quic-go/http3"

	"github.com/caddy-sso/caddy-sso/gateway/gatewaytest"
)

// streamScript sends a line ten times a second, or every four seconds if it is to be
// quiet.
const streamScript = `<?php
header('Content-Type: text/plain');
for ($i = 0; $i < 600; $i++) {
	echo "tick $i\n";
	flush();
	usleep(isset($_GET['quiet']) ? 4000000 : 100000);
}
`

// silentScript is a request that waits, before it has written anything or after a line that
// nobody flushes on the way. It makes a file when it has begun, and ends when that is gone.
const silentScript = `<?php
if (isset($_GET['line'])) {
	echo "a line\n";
	flush();
}
touch($_GET['begun']);
for ($i = 0; $i < 600 && file_exists($_GET['begun']); $i++) {
	usleep(100000);
	clearstatcache();
}
`

// downloadSize is more than all buffers on the way hold.
const downloadSize = 256 << 20

// cutSites are handlers that watch no context, and one that does. Each request
// takes one of the PHPs for itself. What PHP leaves lies in root.
func cutSites(t *testing.T, phps int) (site, root string) {
	t.Helper()
	root, err := os.MkdirTemp(scratch, "cut-")
	if err != nil {
		t.Fatal(err)
	}
	for name, script := range map[string]string{"stream.php": streamScript, "silent.php": silentScript} {
		if err := os.WriteFile(filepath.Join(root, name), []byte(script), 0o600); err != nil {
			t.Fatal(err)
		}
	}
	download, err := os.Create(filepath.Join(root, "download"))
	if err != nil {
		t.Fatal(err)
	}
	if err := errors.Join(download.Truncate(downloadSize), download.Close()); err != nil {
		t.Fatal(err)
	}
	var addresses []string
	for range phps {
		addresses = append(addresses, startPHP(t, root))
	}
	return fmt.Sprintf(`	root %s
	handle /php {
		rewrite /stream.php
		php_fastcgi %s {
			lb_policy least_conn
			flush_interval -1
		}
	}
	handle /silent {
		rewrite /silent.php
		php_fastcgi %[2]s {
			lb_policy least_conn
		}
	}
	handle /download {
		file_server
	}
	handle /broken {
		error "broken" 503
	}
	handle /open {
		rewrite /live/events
		reverse_proxy APP
	}
	handle_errors {
		sso_strip
		rewrite /stream.php
		php_fastcgi %[2]s {
			lb_policy least_conn
			flush_interval -1
		}
	}`, root, strings.Join(addresses, " ")), root
}

// TestCut holds streams of handlers that watch no context, over every protocol, and
// requests whose answer has not begun. It logs their person out at another node. All of
// them end within a second, and what the machine is late by meanwhile. Another
// person's stream over the same connection goes on, and so does nobody's.
func TestCut(t *testing.T) {
	t.Parallel()
	site, root := cutSites(t, 21)
	cl := newCluster(t, clusterOptions{nodes: 2, site: site})
	for proto, connect := range map[string]func(*cluster, int) http.RoundTripper{"HTTP/1.1": http1, "HTTP/2.0": http2Only, "HTTP/3.0": http3Only} {
		t.Run("E4 "+proto, func(t *testing.T) {
			t.Parallel()
			tr := connect(cl, 1)
			alice, bob := cl.signIn(0), cl.signIn(0)
			held := map[string]*heldStream{}
			for _, path := range []string{"/live/events", "/php", "/php?quiet", "/broken", "/download"} {
				held[path] = holdStream(t, tr, cl, alice, proto, path)
			}
			others := map[string]*heldStream{"nobody's": holdStream(t, tr, cl, nil, proto, "/open"), "another's": holdStream(t, tr, cl, bob, proto, "/live/events")}
			begun := filepath.Join(root, strings.ReplaceAll("begun-"+proto, "/", "-"))
			for _, path := range []string{"/silent?begun=" + begun + "-1", "/silent?line&begun=" + begun + "-2", "/live/poll?" + proto} {
				held[path] = holdSilent(t, tr, cl, alice, path)
			}
			others["another's, which is silent"] = holdSilent(t, tr, cl, bob, "/silent?begun="+begun+"-3")
			t.Cleanup(func() {
				for i := range 3 {
					_ = os.Remove(fmt.Sprintf("%s-%d", begun, i+1))
				}
			})
			eventually(t, "the silent requests have begun", 30*time.Second, func() bool {
				files, _ := filepath.Glob(begun + "-*")
				return len(files) == 3 && slices.ContainsFunc(cl.app.seen("/live/poll"), func(r *received) bool { return r.Target == "/live/poll?"+proto })
			})
			time.Sleep(300 * time.Millisecond)
			for path, s := range held {
				s.mustGoOn(t, path)
			}
			alice.logOut(cl.base)
			told := time.Now()
			late := gatewaytest.Lateness(t)
			for path, s := range held {
				select {
				case <-s.ended:
					took := s.at.Sub(told)
					t.Logf("%s ended %v after the logout: %v", path, took, s.err)
					if took > atOnce+late() {
						t.Errorf("%s ended %v after the logout, the machine was late by %v", path, took, late())
					}
					if s.err == nil && s.status != http.StatusUnauthorized { // whose handler gave up by itself
						t.Errorf("%s looks like a whole answer: %d", path, s.status)
					}
				case <-time.After(30 * time.Second):
					t.Errorf("%s lives on", path)
				}
			}
			time.Sleep(time.Second)
			for whose, s := range others {
				s.mustGoOn(t, whose)
			}
			holdStream(t, tr, cl, bob, proto, "/php").mustGoOn(t, "a new one of another's")
		})
	}
}

// A heldStream is an answer that is being read.
type heldStream struct {
	ended chan struct{}
	// at, status and err say when and how it ended, once ended is closed.
	at     time.Time
	status int
	err    error // nil if the answer is whole
}

// holdStream begins a stream, of nobody if c is nil, and reads it on. A download is
// read slowly.
func holdStream(t *testing.T, tr http.RoundTripper, cl *cluster, c *client, proto, path string) *heldStream {
	t.Helper()
	ctx, cancel := context.WithCancel(context.Background())
	t.Cleanup(cancel)
	defer time.AfterFunc(30*time.Second, cancel).Stop()
	req := heldRequest(t, cl, c, path).WithContext(ctx)
	resp, err := tr.RoundTrip(req)
	if err != nil {
		t.Fatalf("%s: %v", path, err)
	}
	if resp.Proto != proto || resp.StatusCode != http.StatusOK {
		t.Fatalf("%s is answered %s %s", path, resp.Proto, resp.Status)
	}
	lines := bufio.NewReader(resp.Body)
	if path != "/download" {
		if _, err := lines.ReadString('\n'); err != nil {
			t.Fatalf("%s: %v", path, err)
		}
	}
	s := &heldStream{ended: make(chan struct{})}
	go func() {
		defer close(s.ended)
		buf := make([]byte, 256<<10)
		for s.err == nil {
			_, s.err = lines.Read(buf)
			if path == "/download" {
				time.Sleep(20 * time.Millisecond)
			}
		}
		s.at = time.Now()
		if s.err == io.EOF {
			s.err = nil
		}
	}()
	return s
}

// holdSilent makes a request whose answer is still to begin.
func holdSilent(t *testing.T, tr http.RoundTripper, cl *cluster, c *client, path string) *heldStream {
	t.Helper()
	req := heldRequest(t, cl, c, path)
	s := &heldStream{ended: make(chan struct{})}
	go func() {
		defer close(s.ended)
		resp, err := tr.RoundTrip(req)
		if s.err = err; err == nil {
			s.status = resp.StatusCode
			_, s.err = io.Copy(io.Discard, resp.Body)
		}
		s.at = time.Now()
	}()
	return s
}

func heldRequest(t *testing.T, cl *cluster, c *client, path string) *http.Request {
	t.Helper()
	req := liveRequest(t, cl.base+path)
	if c != nil {
		for _, cookie := range c.cookies(cl.base) {
			req.AddCookie(cookie)
		}
	}
	return req
}

func (s *heldStream) mustGoOn(t *testing.T, what string) {
	t.Helper()
	select {
	case <-s.ended:
		t.Errorf("%s: the stream has ended: %v", what, s.err)
	default:
	}
}

func http1(cl *cluster, at int) http.RoundTripper {
	tr := cl.transport(at)
	tr.TLSNextProto = map[string]func(string, *tls.Conn) http.RoundTripper{}
	return tr
}

// http2Only has one connection for all requests.
func http2Only(cl *cluster, at int) http.RoundTripper {
	tr := cl.transport(at)
	tr.ForceAttemptHTTP2 = true
	return tr
}

// http3Only has one connection for all requests.
func http3Only(cl *cluster, at int) http.RoundTripper {
	tr := &http3.Transport{
		TLSClientConfig: &tls.Config{RootCAs: certificates(cl.t).pool},
		QUICConfig:      &quic.Config{HandshakeIdleTimeout: 30 * time.Second, KeepAlivePeriod: 10 * time.Second},
		Dial: func(ctx context.Context, _ string, tlsConfig *tls.Config, config *quic.Config) (*quic.Conn, error) {
			return quic.DialAddrEarly(ctx, cl.dialAddress(at), tlsConfig, config)
		},
	}
	cl.t.Cleanup(func() { _ = tr.Close() })
	return tr
}
