//go:build integration

package integration

import (
	"bytes"
	"crypto/tls"
	"errors"
	"fmt"
	"io"
	"net"
	"testing"
	"time"

	"golang.org/x/net/http2"
	"golang.org/x/net/http2/hpack"
)

// extendedConnect makes Go's server take extended CONNECT over HTTP/2
// (RFC 8441), which it does not by itself.
const extendedConnect = "GODEBUG=http2xconnect=1"

// TestHeaderAttackHTTP2 is TestHeaderAttack over HTTP/2.
func TestHeaderAttackHTTP2(t *testing.T) {
	t.Parallel()
	testFramedHeaders(t, dialHTTP2, true)
}

// TestHeaderAttackHTTP2WebSocket holds that only the site's own pages open a
// WebSocket over HTTP/2, that it ends with the login, and that nothing else is
// done by CONNECT.
func TestHeaderAttackHTTP2WebSocket(t *testing.T) {
	t.Parallel()
	testFramedWebSockets(t, dialHTTP2)
}

// An h2Conn is an HTTP/2 connection with one request at a time.
type h2Conn struct {
	net.Conn
	framer *http2.Framer
	block  bytes.Buffer
	encode *hpack.Encoder
	next   uint32
}

func dialHTTP2(t *testing.T, cl *cluster) framed {
	t.Helper()
	conn, err := tls.Dial("tcp", cl.dialAddress(0), &tls.Config{RootCAs: certificates(t).pool, ServerName: cl.host, NextProtos: []string{"h2"}})
	if err != nil {
		t.Fatal(err)
	}
	if got := conn.ConnectionState().NegotiatedProtocol; got != "h2" {
		t.Fatalf("the protocol is %q", got)
	}
	_ = conn.SetDeadline(time.Now().Add(5 * time.Minute))
	c := &h2Conn{Conn: conn, framer: http2.NewFramer(conn, conn), next: 1}
	c.framer.AllowIllegalWrites = true
	c.framer.ReadMetaHeaders = hpack.NewDecoder(4096, nil)
	c.encode = hpack.NewEncoder(&c.block)
	if _, err := io.WriteString(conn, http2.ClientPreface); err != nil {
		t.Fatal(err)
	}
	if err := c.framer.WriteSettings(); err != nil {
		t.Fatal(err)
	}
	// The first frame says whether CONNECT can be extended, which a client must
	// wait for.
	f, err := c.framer.ReadFrame()
	if err != nil {
		t.Fatal(err)
	}
	settings, ok := f.(*http2.SettingsFrame)
	if !ok {
		t.Fatalf("the first frame is %v", f)
	}
	if v, _ := settings.Value(http2.SettingEnableConnectProtocol); v != 1 {
		t.Fatalf("extended CONNECT is not offered; does the binary run with %s?", extendedConnect)
	}
	if err := c.framer.WriteSettingsAck(); err != nil {
		t.Fatal(err)
	}
	return c
}

func (c *h2Conn) close() { _ = c.Conn.Close() }

func (c *h2Conn) open(fields []field, end bool) (stream, error) {
	s := &h2Stream{h2Conn: c, id: c.next}
	c.next += 2
	return s, s.headers(fields, end)
}

// An h2Stream is the latest request of an h2Conn.
type h2Stream struct {
	*h2Conn
	id      uint32
	ended   bool
	pending []byte // of the body, read while the status was awaited
}

func (s *h2Stream) headers(fields []field, end bool) error {
	s.block.Reset()
	for _, f := range fields {
		if err := s.encode.WriteField(hpack.HeaderField{Name: f.name, Value: f.value}); err != nil {
			return err
		}
	}
	return s.framer.WriteHeaders(http2.HeadersFrameParam{StreamID: s.id, BlockFragment: s.block.Bytes(), EndStream: end, EndHeaders: true})
}

func (s *h2Stream) send(data []byte, end bool) error { return s.framer.WriteData(s.id, end, data) }

func (s *h2Stream) finish(trailers []field) error { return s.headers(trailers, true) }

func (s *h2Stream) status() (string, error) {
	for {
		status, data, err := s.frame()
		s.pending = append(s.pending, data...)
		if status != "" || err != nil {
			return status, err
		}
	}
}

func (s *h2Stream) read() ([]byte, error) {
	for len(s.pending) == 0 && !s.ended {
		_, data, err := s.frame()
		if err != nil {
			return nil, err
		}
		s.pending = data
	}
	data := s.pending
	s.pending = nil
	if s.ended {
		return data, io.EOF
	}
	return data, nil
}

// frame reads a frame, and returns what it brings to the stream.
func (s *h2Stream) frame() (status string, data []byte, err error) {
	f, err := s.framer.ReadFrame()
	if err != nil {
		return "", nil, err
	}
	switch f := f.(type) {
	case *http2.SettingsFrame:
		if !f.IsAck() {
			return "", nil, s.framer.WriteSettingsAck()
		}
	case *http2.PingFrame:
		if !f.IsAck() {
			return "", nil, s.framer.WritePing(true, f.Data)
		}
	case *http2.GoAwayFrame:
		return "", nil, fmt.Errorf("the connection is ended: %v", f.ErrCode)
	case *http2.RSTStreamFrame:
		if f.StreamID == s.id {
			return "", nil, fmt.Errorf("the stream is reset: %v", f.ErrCode)
		}
	case *http2.MetaHeadersFrame:
		if f.StreamID == s.id {
			s.ended = f.StreamEnded()
			return f.PseudoValue("status"), nil, nil
		}
	case *http2.DataFrame:
		if n := uint32(len(f.Data())); n > 0 {
			err = errors.Join(s.framer.WriteWindowUpdate(0, n), s.framer.WriteWindowUpdate(f.StreamID, n))
		}
		if f.StreamID == s.id {
			s.ended = f.StreamEnded()
			return "", bytes.Clone(f.Data()), err
		}
	}
	return "", nil, err
}
