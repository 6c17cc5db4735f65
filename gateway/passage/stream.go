package passage

import (
	"bufio"
	"io"
	"net"
	"net/http"
)

// A body is the request's body until the connection is cut. Data that arrives counts as
// use of the login.
type body struct{ p *Passage }

func (b body) Read(data []byte) (int, error) {
	if b.p.severed.Load() {
		return 0, errSevered
	}
	n, err := b.p.r.Body.Read(data)
	if n > 0 {
		b.p.Used()
	}
	return n, err
}

func (b body) Close() error { return b.p.r.Body.Close() }

// A writer is the server's ResponseWriter until the connection is cut. It has all optional
// methods. If the server lacks one, that returns an error.
type writer struct{ p *Passage }

func (w writer) Header() http.Header {
	if w.p.header == nil {
		return w.p.w.Header()
	}
	if w.begin() {
		defer w.end()
		w.p.copyHeader(false)
		w.p.setDate()
	}
	return w.p.header
}

// begin says whether anything may be written. If so, end has to follow.
func (w writer) begin() bool {
	w.p.writing.Add(1) // first: Sever sets severed before it reads writing
	if w.p.severed.Load() {
		w.end()
		return false
	}
	return true
}

func (w writer) end() { w.p.writing.Add(-1) }

func (w writer) WriteHeader(status int) {
	if w.begin() {
		defer w.end()
		w.p.copyHeader(status >= http.StatusOK)
		w.p.w.WriteHeader(status)
		w.p.setDate()
	}
}

func (w writer) Write(data []byte) (int, error) {
	if !w.begin() {
		return 0, errSevered
	}
	defer w.end()
	w.p.copyHeader(true)
	return w.p.w.Write(data)
}

// ReadFrom lets files be sent without a copy.
func (w writer) ReadFrom(r io.Reader) (int64, error) {
	if !w.begin() {
		return 0, errSevered
	}
	defer w.end()
	w.p.copyHeader(true)
	if to, ok := w.p.w.(io.ReaderFrom); ok {
		return to.ReadFrom(r)
	}
	return io.Copy(w.p.w, r)
}

func (w writer) Flush() { _ = w.FlushError() }

// FlushError is what http.ResponseController asks for first.
func (w writer) FlushError() error {
	if !w.begin() {
		return errSevered
	}
	defer w.end()
	w.p.copyHeader(true)
	return http.NewResponseController(w.p.w).Flush()
}

func (w writer) Push(target string, opts *http.PushOptions) error {
	if to, ok := w.p.w.(http.Pusher); ok {
		return to.Push(target, opts)
	}
	return http.ErrNotSupported
}

// Unwrap is for http.ResponseController.
func (w writer) Unwrap() http.ResponseWriter { return w.p.w }

// Hijack lets the passage last as long as the connection, even if the handler returns
// before.
func (w writer) Hijack() (net.Conn, *bufio.ReadWriter, error) {
	conn, rw, err := http.NewResponseController(w.p.w).Hijack()
	if err != nil {
		return nil, nil, err
	}
	h := &hijacked{Conn: conn, p: w.p}
	w.p.kept.Add(1)
	w.p.hijacked.Store(h)
	if w.p.severed.Load() { // Sever came too early to see h
		_ = h.Close()
		return nil, nil, errSevered
	}
	h.takeOver(rw)
	return h, rw, nil
}
