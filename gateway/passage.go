package gateway

import (
	"bufio"
	"bytes"
	"context"
	"errors"
	"io"
	"net"
	"net/http"
	"sync"
	"sync/atomic"
	"time"

	"github.com/caddy-sso/caddy-sso/gateway/cookie"
	"github.com/caddy-sso/caddy-sso/gateway/session"
)

// A passage is a request on its way through the app: its context, the values of
// the headers that it is given, what it reads from and what it writes to. All of
// it ends with the login.
//
// The context ends first. A handler that does not watch it is cut at the
// connection: over HTTP/1.1 that is closed, over HTTP/2 and HTTP/3 the one stream is
// reset. Whatever else may happen, nothing is read or written any more.
type passage struct {
	session.Live
	values [maxHeaders]string
	answer cookie.Writer

	view *view
	path string // of the original target
	w    http.ResponseWriter
	r    *http.Request // as it came

	hijacked atomic.Pointer[hijacked]
	kept     atomic.Int32 // how many still need it, beside the handler
	severed  atomic.Bool
	writing  atomic.Int32 // how many calls of w are under way
	flushed  bool         // the answer has begun; not changed once severed and not writing
	reset    bool         // the stream is; for Sever
}

// errSevered is what reading and writing ends with.
var errSevered = errors.New("the login this request lives by is over, and its connection is cut")

// enter makes the passage live by a session. It is false if the session has left
// the cache meanwhile.
func (p *passage) enter(parent context.Context, ses session.Session) bool {
	p.Connection = p
	return ses.Enter(parent, &p.Live, p.view.principal.Expires)
}

// request returns the request that goes on.
func (p *passage) request() *http.Request {
	r := p.r.WithContext(p)
	if r.Body != nil && r.Body != http.NoBody {
		r.Body = body{p}
	}
	return r
}

// passageKey is the key of the passage among the values of its context.
type passageKey struct{}

// Value implements context.Context.
func (p *passage) Value(key any) any {
	if key == (passageKey{}) {
		return p
	}
	return p.Live.Value(key)
}

// Told returns the person that a request was let in for, and the values of the headers
// that the app is given, the assertion first. It is nil for other requests.
func Told(ctx context.Context) (person *Principal, values []string) {
	p, ok := ctx.Value(passageKey{}).(*passage)
	if !ok {
		return nil, nil
	}
	const provider = maxHeaders - 1 // which says nothing about a person
	return &p.view.principal, append([]string{p.values[0]}, p.view.values[1:provider]...)
}

// release says that the handler, or a hijacked connection, is done.
func (p *passage) release() {
	if p.kept.Add(-1) < 0 {
		p.Leave()
	}
}

// finish aborts a request whose answer was cut, so that nobody takes it for a whole
// one. Nothing is left to be said, nor to be logged as an error.
func (p *passage) finish() {
	if p.severed.Load() && p.hijacked.Load() == nil {
		panic(http.ErrAbortHandler)
	}
}

// connKey is the key of a connection among the values of a request's context.
type connKey struct{}

// ConnContext tells the connection of a request: make it the ConnContext of the
// http.Server, so that HTTP/1.1 is cut even while a handler sends nothing.
func ConnContext(ctx context.Context, conn net.Conn) context.Context {
	return context.WithValue(ctx, connKey{}, conn)
}

// Sever implements session.Connection.
func (p *passage) Sever() {
	p.severed.Store(true)
	if h := p.hijacked.Load(); h != nil {
		h.sever()
		return
	}
	if p.reset || p.r.ProtoMajor == 1 && closeConn(p.r) {
		return
	}
	// What Caddy wraps keeps deadlines of its own, and is not for two goroutines.
	w := innermost(p.w)
	rc := http.NewResponseController(w)
	_ = rc.SetReadDeadline(longAgo)
	_ = rc.SetWriteDeadline(longAgo)
	switch p.r.ProtoMajor {
	case 2:
		p.reset = true // by the deadline, for good
	case 3:
		// A deadline tells the client nothing while the handler does not write.
		if reset := p.view.app.gw.opts.ResetStream; reset != nil && p.writing.Load() == 0 && p.flushed {
			reset(w)
			p.reset = true
		}
	}
}

var longAgo = time.Unix(1, 0)

// innermost returns the server's own writer.
func innermost(w http.ResponseWriter) http.ResponseWriter {
	for {
		u, ok := w.(interface{ Unwrap() http.ResponseWriter })
		if !ok {
			return w
		}
		w = u.Unwrap()
	}
}

// closeConn closes the connection of an HTTP/1.1 request, if it is known, and has
// the kernel forget what is still to be sent.
func closeConn(r *http.Request) bool {
	conn, ok := r.Context().Value(connKey{}).(net.Conn)
	if !ok {
		return false
	}
	if t, ok := conn.(interface{ NetConn() net.Conn }); ok {
		conn = t.NetConn() // TLS would say farewell first, and wait for that
	}
	if tcp, ok := conn.(interface{ SetLinger(sec int) error }); ok {
		_ = tcp.SetLinger(0)
	}
	_ = conn.Close()
	return true
}

// Resume guards what answers an error that a request ended in, such as an error
// route, by the login that the request came by. passed is the context that the app
// was given. If the login is over, the request is aborted.
func Resume(passed context.Context, w http.ResponseWriter, r *http.Request, next func(http.ResponseWriter, *http.Request) error) error {
	before, ok := passed.Value(passageKey{}).(*passage)
	if !ok {
		return next(w, r)
	}
	p := &passage{view: before.view, path: before.path, w: w, r: r}
	p.Connection = p
	if !before.Again(r.Context(), &p.Live) {
		panic(http.ErrAbortHandler)
	}
	defer p.release()
	err := next(writer{p}, p.request())
	p.finish()
	return err
}

// A body is the request's, until the connection is cut. To read from it is to use
// the login.
type body struct{ p *passage }

// Read implements io.Reader.
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

// Close implements io.Closer.
func (b body) Close() error { return b.p.r.Body.Close() }

// A writer is the server's, until the connection is cut. It offers what that may:
// a server that can't, says so when it is asked.
type writer struct{ p *passage }

// Header implements http.ResponseWriter.
func (w writer) Header() http.Header { return w.p.w.Header() }

// begin says whether anything may be written. If so, end has to follow.
func (w writer) begin() bool {
	w.p.writing.Add(1) // before the look: Sever does it the other way round
	if w.p.severed.Load() {
		w.end()
		return false
	}
	return true
}

func (w writer) end() { w.p.writing.Add(-1) }

// WriteHeader implements http.ResponseWriter.
func (w writer) WriteHeader(status int) {
	if w.begin() {
		defer w.end()
		w.p.w.WriteHeader(status)
	}
}

// Write implements http.ResponseWriter.
func (w writer) Write(data []byte) (int, error) {
	if !w.begin() {
		return 0, errSevered
	}
	defer w.end()
	return w.p.w.Write(data)
}

// ReadFrom implements io.ReaderFrom: files are sent without a copy.
func (w writer) ReadFrom(r io.Reader) (int64, error) {
	if !w.begin() {
		return 0, errSevered
	}
	defer w.end()
	if to, ok := w.p.w.(io.ReaderFrom); ok {
		return to.ReadFrom(r)
	}
	return io.Copy(w.p.w, r)
}

// Flush implements http.Flusher.
func (w writer) Flush() { _ = w.FlushError() }

// FlushError is what http.ResponseController asks for first.
func (w writer) FlushError() error {
	if !w.begin() {
		return errSevered
	}
	defer w.end()
	err := http.NewResponseController(w.p.w).Flush()
	if err == nil && !w.p.flushed {
		w.p.flushed = true
	}
	return err
}

// Push implements http.Pusher.
func (w writer) Push(target string, opts *http.PushOptions) error {
	if to, ok := w.p.w.(http.Pusher); ok {
		return to.Push(target, opts)
	}
	return http.ErrNotSupported
}

// Unwrap is for http.ResponseController.
func (w writer) Unwrap() http.ResponseWriter { return w.p.w }

// Hijack implements http.Hijacker. The request lives as long as the connection,
// even if its handler returns before.
func (w writer) Hijack() (net.Conn, *bufio.ReadWriter, error) {
	conn, rw, err := http.NewResponseController(w.p.w).Hijack()
	if err != nil {
		return nil, nil, err
	}
	h := &hijacked{Conn: conn, p: w.p}
	w.p.kept.Add(1)
	w.p.hijacked.Store(h)
	if w.p.severed.Load() { // before Sever could see it
		_ = h.Close()
		return nil, nil, errSevered
	}
	h.takeOver(rw)
	return h, rw, nil
}

// A hijacked connection belongs to its handler, until it is cut. To read from it
// is to use the login.
type hijacked struct {
	net.Conn
	p    *passage
	done sync.Once
}

// takeOver has rw read and write by h. What was read ahead stays in it.
func (h *hijacked) takeOver(rw *bufio.ReadWriter) {
	rw.Writer.Reset(h) // it is empty
	ahead, _ := rw.Peek(rw.Reader.Buffered())
	if len(ahead) == 0 {
		rw.Reader.Reset(h)
		return
	}
	rw.Reader.Reset(io.MultiReader(bytes.NewReader(bytes.Clone(ahead)), h))
	_, _ = rw.Peek(len(ahead)) // so that Buffered counts it
}

// Read implements net.Conn.
func (h *hijacked) Read(data []byte) (int, error) {
	n, err := h.Conn.Read(data)
	if n > 0 {
		h.p.Used()
	}
	return n, err
}

// ReadFrom implements io.ReaderFrom.
func (h *hijacked) ReadFrom(r io.Reader) (int64, error) { return io.Copy(h.Conn, r) }

// CloseWrite ends one direction, if the connection can.
func (h *hijacked) CloseWrite() error {
	if half, ok := h.Conn.(interface{ CloseWrite() error }); ok {
		return half.CloseWrite()
	}
	return errors.ErrUnsupported
}

// Close implements net.Conn.
func (h *hijacked) Close() error {
	err := h.Conn.Close()
	h.done.Do(h.p.release)
	return err
}

// sever closes the connection. Who holds it may never close it.
func (h *hijacked) sever() {
	if !closeConn(h.p.r) {
		_ = h.Conn.Close()
	}
	go h.done.Do(h.p.release) // it waits for who is severing
}
