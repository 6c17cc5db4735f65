//go:build integration

package integration

import (
	"bytes"
	"context"
	"crypto/tls"
	"io"
	"testing"
	"time"

	"github.com/quic-go/qpack"
	"github.com/quic-go/quic-go"
	"github.com/quic-go/quic-go/quicvarint"
)

// TestHeaderAttackHTTP3 is TestHeaderAttack over HTTP/3. There the trailers of a
// request reach no handler of Caddy: quic-go replaces the map of its own request,
// of which Caddy passes on a copy. Should that change, the control says so.
func TestHeaderAttackHTTP3(t *testing.T) {
	t.Parallel()
	testFramedHeaders(t, dialHTTP3, false)
}

// TestHeaderAttackHTTP3WebSocket is TestHeaderAttackHTTP2WebSocket over HTTP/3.
func TestHeaderAttackHTTP3WebSocket(t *testing.T) {
	t.Parallel()
	testFramedWebSockets(t, dialHTTP3)
}

// What HTTP/3 calls its frames and streams (RFC 9114 §7.2, §6.2.1).
const (
	h3Data, h3Headers, h3Settings = 0x0, 0x1, 0x4
	h3ControlStream               = 0x0
)

// An h3Conn is an HTTP/3 connection, by hand: a client library lets no wrong
// name out.
type h3Conn struct{ *quic.Conn }

func dialHTTP3(t *testing.T, cl *cluster) framed {
	t.Helper()
	ctx, cancel := context.WithTimeout(t.Context(), 30*time.Second)
	defer cancel()
	conn, err := quic.DialAddr(ctx, cl.dialAddress(0), &tls.Config{RootCAs: certificates(t).pool, ServerName: cl.host, NextProtos: []string{"h3"}}, &quic.Config{HandshakeIdleTimeout: 30 * time.Second})
	if err != nil {
		t.Fatal(err)
	}
	control, err := conn.OpenUniStream()
	if err != nil {
		t.Fatal(err)
	}
	if _, err := control.Write([]byte{h3ControlStream, h3Settings, 0}); err != nil {
		t.Fatal(err)
	}
	return h3Conn{conn}
}

func (c h3Conn) close() { _ = c.CloseWithError(0x100, "") } // H3_NO_ERROR

func (c h3Conn) open(fields []field, end bool) (stream, error) {
	s, err := c.OpenStream()
	if err != nil {
		return nil, err
	}
	_ = s.SetDeadline(time.Now().Add(5 * time.Minute))
	h := &h3Stream{Stream: s, frames: quicvarint.NewReader(s)}
	if err := h.headers(fields); err != nil {
		return nil, err
	}
	if end {
		_ = s.Close() // an error if it is refused already, which status tells
	}
	return h, nil
}

type h3Stream struct {
	*quic.Stream
	frames quicvarint.Reader
}

func (s *h3Stream) frame(kind uint64, payload []byte) error {
	b := quicvarint.Append(quicvarint.Append(nil, kind), uint64(len(payload)))
	_, err := s.Write(append(b, payload...))
	return err
}

func (s *h3Stream) headers(fields []field) error {
	var block bytes.Buffer
	encode := qpack.NewEncoder(&block)
	for _, f := range fields {
		if err := encode.WriteField(qpack.HeaderField{Name: f.name, Value: f.value}); err != nil {
			return err
		}
	}
	return s.frame(h3Headers, block.Bytes())
}

func (s *h3Stream) send(data []byte, end bool) error {
	if err := s.frame(h3Data, data); err != nil || !end {
		return err
	}
	return s.Close()
}

func (s *h3Stream) finish(trailers []field) error {
	if len(trailers) > 0 {
		if err := s.headers(trailers); err != nil {
			return err
		}
	}
	return s.Close()
}

func (s *h3Stream) status() (string, error) {
	for {
		kind, payload, err := s.next()
		if err != nil {
			return "", err
		}
		if kind != h3Headers {
			continue
		}
		decode := qpack.NewDecoder().Decode(payload)
		for {
			f, err := decode()
			if err != nil {
				return "", err
			}
			if f.Name == ":status" {
				return f.Value, nil
			}
		}
	}
}

func (s *h3Stream) read() ([]byte, error) {
	for {
		kind, payload, err := s.next()
		if err != nil || kind == h3Data {
			return payload, err
		}
	}
}

// next reads a frame. io.EOF behind the last.
func (s *h3Stream) next() (kind uint64, payload []byte, err error) {
	if kind, err = quicvarint.Read(s.frames); err != nil {
		return 0, nil, err
	}
	size, err := quicvarint.Read(s.frames)
	if err != nil {
		return 0, nil, err
	}
	payload = make([]byte, size)
	_, err = io.ReadFull(s.frames, payload)
	return kind, payload, err
}
