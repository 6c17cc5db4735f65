package gateway_test

import (
	"bufio"
	"fmt"
	"io"
	"net"
	"net/http"
	"net/http/httptest"
	"strings"
	"testing"
	"testing/synctest"
	"time"

	"github.com/caddy-sso/caddy-sso/gateway/refusal"
)

// A pipeListener accepts connections that never leave the process, so that a
// test's clock rules their deadlines.
type pipeListener struct {
	conns chan net.Conn
	done  chan struct{}
}

func (l *pipeListener) Accept() (net.Conn, error) {
	select {
	case c := <-l.conns:
		return c, nil
	case <-l.done:
		return nil, net.ErrClosed
	}
}

func (l *pipeListener) Close() error {
	close(l.done)
	return nil
}

func (l *pipeListener) Addr() net.Addr { return &net.TCPAddr{} }

// dial returns a connection to a server before the site.
func (s *site) dial(t *testing.T) net.Conn {
	t.Helper()
	l := &pipeListener{make(chan net.Conn), make(chan struct{})}
	srv := &http.Server{Handler: s.handler()}
	served := make(chan struct{})
	go func() { defer close(served); _ = srv.Serve(l) }()
	client, server := net.Pipe()
	l.conns <- server
	t.Cleanup(func() {
		_ = client.Close()
		_ = srv.Close()
		<-served
		time.Sleep(time.Second) // the server lingers where it did not read all
	})
	return client
}

// TestACSBodies sends bodies that lie about their length, never end or come slowly.
// Each gets an answer, and none is read or waited for without a bound.
func TestACSBodies(t *testing.T) {
	t.Parallel()
	good := response("alice", strings.Repeat("A", 43)).Encode()
	chunk := strings.Repeat("a", 64<<10)
	for name, tc := range map[string]struct {
		length string   // header line
		parts  []string // of the body, a second between them
		header string   // more of them
		code   refusal.Code
		least  time.Duration
	}{
		"in one piece":           {length: fmt.Sprint("Content-Length: ", len(good)), parts: []string{good}},
		"in pieces":              {length: fmt.Sprint("Content-Length: ", len(good)), parts: []string{good[:10], good[10:20], good[20:]}},
		"chunked":                {length: "Transfer-Encoding: chunked", parts: []string{fmt.Sprintf("%x\r\n%s\r\n0\r\n\r\n", len(good), good)}},
		"says too much":          {length: "Content-Length: 2097153", code: refusal.TooLarge},
		"says far too much":      {length: "Content-Length: 9223372036854775807", code: refusal.TooLarge},
		"chunks without end":     {length: "Transfer-Encoding: chunked", parts: []string{strings.Repeat("10000\r\n"+chunk+"\r\n", 33)}, code: refusal.TooLarge},
		"broken chunks":          {length: "Transfer-Encoding: chunked", parts: []string{"zz\r\n"}, code: refusal.BadRequest},
		"nothing comes":          {length: "Content-Length: 100", code: refusal.BadRequest, least: 15 * time.Second},
		"stops half way":         {length: fmt.Sprint("Content-Length: ", len(good)), parts: []string{good[:30]}, code: refusal.BadRequest, least: 15 * time.Second},
		"refused before it came": {length: "Content-Length: 100", header: "Content-Type: text/plain\r\n", code: refusal.BadRequest, least: 15 * time.Second},
		"drips, a byte a second": {length: fmt.Sprint("Content-Length: ", len(good)), parts: strings.Split(good, ""), code: refusal.BadRequest, least: 15 * time.Second},
	} {
		t.Run(name, func(t *testing.T) {
			t.Parallel()
			synctest.Test(t, func(t *testing.T) {
				conn := newSAMLLab(t).site().dial(t)
				began := time.Now()
				go func() {
					_, _ = io.WriteString(conn, "POST "+acs+" HTTP/1.1\r\nHost: app.example\r\nAccept: text/html\r\nContent-Type: "+formType+"\r\n"+tc.header+tc.length+"\r\n\r\n")
					for i, part := range tc.parts {
						if i > 0 {
							time.Sleep(time.Second)
						}
						if _, err := io.WriteString(conn, part); err != nil {
							return // was answered already
						}
					}
				}()
				resp, err := http.ReadResponse(bufio.NewReader(conn), nil)
				if err != nil {
					t.Fatalf("no answer: %v", err)
				}
				defer resp.Body.Close()
				w := httptest.NewRecorder()
				w.Code = resp.StatusCode
				for h, values := range resp.Header {
					w.Header()[h] = values
				}
				if _, err := io.Copy(w.Body, resp.Body); err != nil {
					t.Fatal(err)
				}
				if took := time.Since(began); took < tc.least || took > tc.least+3*time.Second {
					t.Errorf("answered after %v, want %v", took, tc.least)
				}
				if tc.code == "" {
					formOf(t, w)
					return
				}
				wantRefused(t, w, tc.code)
			})
		})
	}
}

// A form that came in slowly leaves the provider its own time.
func TestACSSlowFormAndSlowProvider(t *testing.T) {
	t.Parallel()
	synctest.Test(t, func(t *testing.T) {
		l := newSAMLLab(t)
		s := l.site()
		b := s.browser()
		form := b.begin("/wanted").form.Encode()
		l.takes(10 * time.Second)
		conn := s.dial(t)
		go func() {
			_, _ = fmt.Fprintf(conn, "POST %s HTTP/1.1\r\nHost: app.example\r\nCookie: %s\r\nContent-Type: %s\r\nContent-Length: %d\r\n\r\n", acs, cookieLine(b), formType, len(form))
			time.Sleep(10 * time.Second)
			_, _ = io.WriteString(conn, form)
		}()
		resp, err := http.ReadResponse(bufio.NewReader(conn), nil)
		if err != nil {
			t.Fatalf("no answer: %v", err)
		}
		defer resp.Body.Close()
		if got := resp.Header.Get("Location"); got != "https://app.example/wanted" {
			t.Errorf("status %d, Location %q", resp.StatusCode, got)
		}
	})
}
