package connect

import (
	"bytes"
	"context"
	"errors"
	"fmt"
	"io"
	"net/http"
	"os"

	"github.com/caddy-sso/caddy-sso/gateway/refusal"
)

// A node closes the connection if the header of a request has more than 8 KiB, or 64 lines
// and more. So much is left for the proxy's own lines, such as X-Forwarded-For.
const (
	maxHeaderBytes = 8<<10 - 1<<10
	maxHeaderLines = 64 - 10
)

// A body without a length is read before it is sent on, because a node answers 501 to one
// that comes in chunks. The first part stays in memory, the rest goes to a file.
const (
	maxMemory = 256 << 10
	maxBody   = 1 << 30
)

// fitHeader refuses a request whose header a node would not read.
func fitHeader(r *http.Request) error {
	size, lines := len(r.Method)+len(r.URL.RequestURI())+len(r.Host)+len("  HTTP/1.1\r\nHost: \r\n\r\n"), 1
	for name, values := range r.Header {
		for _, value := range values {
			size, lines = size+len(name)+len(value)+len(": \r\n"), lines+1
		}
	}
	if size > maxHeaderBytes || lines > maxHeaderLines {
		return refusal.New(refusal.HeaderTooLarge, fmt.Errorf("the header has %d bytes in %d lines: the node takes %d bytes and %d lines of a browser", size, lines, maxHeaderBytes, maxHeaderLines))
	}
	return nil
}

// fitBody gives a request the length of its body.
func fitBody(r *http.Request) error {
	if r.ContentLength >= 0 || r.Body == nil || r.Body == http.NoBody || r.Method == http.MethodConnect || len(r.Header["Upgrade"]) > 0 {
		return nil
	}
	start, err := io.ReadAll(io.LimitReader(r.Body, maxMemory))
	if err != nil {
		return unread(err)
	}
	body, size := io.NopCloser(bytes.NewReader(start)), int64(len(start))
	if size == maxMemory {
		if body, size, err = spool(r.Context(), start, r.Body); err != nil {
			return err
		}
	}
	r.Body, r.ContentLength, r.TransferEncoding, r.Trailer = body, size, nil, nil
	if size == 0 {
		r.Body = http.NoBody
	}
	return nil
}

// spool keeps a body in a file that nobody else sees, until ctx ends.
func spool(ctx context.Context, start []byte, rest io.Reader) (io.ReadCloser, int64, error) {
	file, err := os.CreateTemp("", "caddy-sso-body-")
	if err != nil {
		return nil, 0, refusal.New(refusal.Internal, fmt.Errorf("keeping the body of a request: %w", err))
	}
	drop := func() { _ = file.Close(); _ = os.Remove(file.Name()) }
	size, err := io.Copy(file, io.MultiReader(bytes.NewReader(start), &reading{rest, maxBody - maxMemory}))
	if err == nil {
		_, err = file.Seek(0, io.SeekStart)
	}
	if err != nil {
		drop()
		return nil, 0, unread(err)
	}
	context.AfterFunc(ctx, drop)
	return file, size, nil
}

// reading reads at most left bytes.
type reading struct {
	from io.Reader
	left int64
}

var errBodySize = fmt.Errorf("the body has no Content-Length, and more than %d bytes", int64(maxBody))

func (l *reading) Read(p []byte) (int, error) {
	n, err := l.from.Read(p)
	if l.left -= int64(n); l.left < 0 {
		return 0, errBodySize
	}
	return n, err
}

// unread is why a body could not be read.
func unread(err error) error {
	if errors.Is(err, errBodySize) {
		return refusal.New(refusal.TooLarge, err)
	}
	return refusal.New(refusal.BadRequest, fmt.Errorf("reading the body of a request: %w", err))
}
