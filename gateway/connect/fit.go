package connect

import (
	"bytes"
	"context"
	"errors"
	"fmt"
	"io"
	"maps"
	"net/http"
	"os"
	"strings"
	"sync/atomic"

	"github.com/caddy-sso/caddy-sso/gateway/refusal"
)

// A node closes the connection if the header of a request has more than 8 KiB, or 64 lines
// and more. So much is left for the proxy's own lines, such as X-Forwarded-For.
const (
	maxHeaderBytes = 8<<10 - 1<<10
	maxHeaderLines = 64 - 10
)

// A body without a length is read before it is sent on, because a node answers 501 to one
// that comes in chunks. The first part stays in memory, the rest goes to a file. Without a
// login there is no file: anybody could fill the disk.
const (
	maxMemory = 256 << 10
	maxBody   = 1 << 30
	// maxSpools bounds all files together.
	maxSpools = 4 << 30
)

// spools is how many bytes are in files now.
type spools struct{ size atomic.Int64 }

// fitHeader refuses a request whose header a node would not read. A node reads an underscore
// in a name as a hyphen (HTTP::Headers), so "Content_Length" would be another length.
func fitHeader(r *http.Request) error {
	maps.DeleteFunc(r.Header, func(name string, _ []string) bool { return strings.Contains(name, "_") })
	size, lines := len(r.Host)+len("Host: \r\n\r\n"), 1 // the line with the URL does not count
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

// fitBody gives a request the length of its body, of at most bound bytes. The body of CONNECT
// is what a WebSocket carries over HTTP/2 and 3.
func (s *spools) fitBody(r *http.Request, bound int64) error {
	if r.ContentLength >= 0 || r.Body == nil || r.Body == http.NoBody || r.Method == http.MethodConnect {
		return nil
	}
	from := &reading{r.Body, bound, bound}
	start, err := io.ReadAll(io.LimitReader(from, maxMemory))
	if err != nil {
		return unread(err)
	}
	body, size := io.NopCloser(bytes.NewReader(start)), int64(len(start))
	if size == maxMemory {
		if body, size, err = s.spool(r.Context(), start, from); err != nil {
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
func (s *spools) spool(ctx context.Context, start []byte, rest io.Reader) (io.ReadCloser, int64, error) {
	file, err := os.CreateTemp("", "caddy-sso-body-")
	if err != nil {
		return nil, 0, refusal.New(refusal.Internal, fmt.Errorf("keeping the body of a request: %w", err))
	}
	_ = os.Remove(file.Name()) // so no crash leaves it; Windows does not remove open files
	counted := &counting{from: io.MultiReader(bytes.NewReader(start), rest), all: &s.size}
	drop := func() { _ = file.Close(); _ = os.Remove(file.Name()); s.size.Add(-counted.size) }
	size, err := io.Copy(file, counted)
	if err == nil {
		_, err = file.Seek(0, io.SeekStart)
	}
	if err != nil && counted.err == nil { // as if the disk is full
		err = refusal.New(refusal.Internal, fmt.Errorf("keeping the body of a request: %w", err))
	}
	if err != nil {
		drop()
		return nil, 0, unread(err)
	}
	context.AfterFunc(ctx, drop)
	return file, size, nil
}

// reading reads at most left bytes of a body.
type reading struct {
	from        io.Reader
	left, bound int64
}

var errBodySize = errors.New("the body has no Content-Length, and is too large to be read first")

func (l *reading) Read(p []byte) (int, error) {
	n, err := l.from.Read(p)
	if l.left -= int64(n); l.left < 0 {
		return 0, fmt.Errorf("%w: it has more than %d bytes", errBodySize, l.bound)
	}
	return n, err
}

// counting counts what is read, in all.
type counting struct {
	from io.Reader
	all  *atomic.Int64
	size int64
	err  error // of from
}

func (c *counting) Read(p []byte) (int, error) {
	n, err := c.from.Read(p)
	c.size += int64(n)
	if c.all.Add(int64(n)) > maxSpools {
		err = refusal.New(refusal.ProxmoxUnavailable, fmt.Errorf("the bodies without a Content-Length have more than %d bytes together", int64(maxSpools)))
	}
	if err != nil && !errors.Is(err, io.EOF) {
		c.err = err
	}
	return n, err
}

// unread is why a body could not be read.
func unread(err error) error {
	if _, coded := errors.AsType[*refusal.Error](err); coded {
		return err
	}
	if errors.Is(err, errBodySize) {
		return refusal.New(refusal.TooLarge, err)
	}
	return refusal.New(refusal.BadRequest, fmt.Errorf("reading the body of a request: %w", err))
}
