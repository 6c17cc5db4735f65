// Package passage takes requests through the app for as long as their login lasts. When
// the login ends, so do the context of the request, its body and its ResponseWriter.
package passage

import (
	"context"
	"errors"
	"net"
	"net/http"
	"sync/atomic"
	"time"

	"github.com/caddy-sso/caddy-sso/gateway/session"
)

// A Passage is a request on its way through the app, and its context. Enter and Continue
// begin with the zero value.
//
// When the login ends, the context ends first. If the handler does not watch it, the
// request is cut at the connection: HTTP/1.1 closes the connection, HTTP/2 and HTTP/3
// reset the one stream. After that, nothing more is read or written.
type Passage struct {
	session.Live
	w     http.ResponseWriter
	r     *http.Request             // as it came
	reset func(http.ResponseWriter) // see Enter

	hijacked atomic.Pointer[hijacked]
	kept     atomic.Int32 // 1 if a hijacked connection needs it besides the handler
	severed  atomic.Bool
	writing  atomic.Int32 // how many calls of w are under way
	gone     bool         // the stream is reset; for Sever
	header   http.Header  // see header.go
	headed   bool         // the final header is written
}

// errSevered is what reads and writes return after the cut.
var errSevered = errors.New("the login this request lives by is over, and its connection is cut")

// Enter takes a request through the app by a session, until the login ends, or at
// until. reset resets the stream of an HTTP/3 request. It gets the server's own
// ResponseWriter, and may read its header. Optional.
//
// Connection, if it was set, is what embeds the Passage: a session.Policy sees it.
//
// It returns false if the session has left the cache meanwhile: then the caller has to find
// it anew. Leave must be called when the handler is done.
func (p *Passage) Enter(ses session.Session, until time.Time, w http.ResponseWriter, r *http.Request, reset func(http.ResponseWriter)) bool {
	p.prepare(w, r, reset)
	return ses.Enter(r.Context(), &p.Live, until)
}

// Continue takes on the request of before, which is done, by the same login. It returns
// false if the login is over.
func (p *Passage) Continue(before *Passage, w http.ResponseWriter, r *http.Request) bool {
	p.prepare(w, r, before.reset)
	return before.Again(r.Context(), &p.Live)
}

func (p *Passage) prepare(w http.ResponseWriter, r *http.Request, reset func(http.ResponseWriter)) {
	p.w, p.r, p.reset = w, r, reset
	if p.Connection == nil {
		p.Connection = p
	}
	if r.ProtoMajor == 3 && reset != nil {
		p.keepHeader()
	}
}

// Came returns the original request. Handlers may be changing its headers and its address
// at the same time.
func (p *Passage) Came() *http.Request { return p.r }

// Request returns the request that goes on.
func (p *Passage) Request() *http.Request {
	r := p.r.WithContext(p)
	if r.Body != nil && r.Body != http.NoBody {
		r.Body = body{p}
	}
	return r
}

// Writer returns the ResponseWriter for the handler.
func (p *Passage) Writer() http.ResponseWriter { return writer{p} }

// key is the key of the Passage in its context.
type key struct{}

// Value implements context.Context.
func (p *Passage) Value(k any) any {
	if k == (key{}) {
		return p
	}
	return p.Live.Value(k)
}

// Of returns the Passage that a context belongs to, or nil.
func Of(ctx context.Context) *Passage {
	p, _ := ctx.Value(key{}).(*Passage)
	return p
}

// Leave says that the handler is done. A connection that it has hijacked may go on.
func (p *Passage) Leave() {
	p.finishHeader()
	if p.hijacked.Load() == nil {
		p.Live.Leave()
		return
	}
	p.release()
}

// release says that the handler, or the connection that it has hijacked, is done.
func (p *Passage) release() {
	if p.kept.Add(-1) < 0 {
		p.Live.Leave()
	}
}

// Severed says whether the connection was cut.
func (p *Passage) Severed() bool { return p.severed.Load() }

// AbortIfCut aborts a request that was cut, so that its response does not look complete.
// That is not logged as an error.
func (p *Passage) AbortIfCut() {
	if p.severed.Load() && p.hijacked.Load() == nil {
		panic(http.ErrAbortHandler)
	}
}

// connKey is the key of the connection in a request's context.
type connKey struct{}

// ConnContext adds the connection to the context of its requests. Make it the ConnContext
// of the http.Server: without it, an HTTP/1.1 request can't be cut while its handler sends
// nothing.
func ConnContext(ctx context.Context, conn net.Conn) context.Context {
	return context.WithValue(ctx, connKey{}, conn)
}

// Sever implements session.Connection.
func (p *Passage) Sever() {
	p.severed.Store(true)
	if h := p.hijacked.Load(); h != nil {
		h.sever()
		return
	}
	if p.gone || p.r.ProtoMajor == 1 && closeConn(p.r) {
		return
	}
	// Caddy's wrappers keep deadlines of their own, and only one goroutine may use them.
	w := innermost(p.w)
	rc := http.NewResponseController(w)
	_ = rc.SetReadDeadline(longAgo)
	_ = rc.SetWriteDeadline(longAgo)
	switch p.r.ProtoMajor {
	case 2:
		p.gone = true // the deadline has reset the stream
	case 3:
		// While the handler does not write, the client does not notice the deadline. So
		// reset is needed, and the deadline keeps it from sending anything. If a call of
		// w is under way, it fails now, and the next Sever resets the stream.
		if p.reset != nil && p.writing.Load() == 0 {
			p.reset(w)
			p.gone = true
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

// closeConn closes the connection of an HTTP/1.1 request, if it is known. The kernel
// drops what it has not sent yet.
func closeConn(r *http.Request) bool {
	conn, ok := r.Context().Value(connKey{}).(net.Conn)
	if !ok {
		return false
	}
	if t, ok := conn.(interface{ NetConn() net.Conn }); ok {
		conn = t.NetConn() // closing TLS would wait until its last message is sent
	}
	if tcp, ok := conn.(interface{ SetLinger(sec int) error }); ok {
		_ = tcp.SetLinger(0)
	}
	_ = conn.Close()
	return true
}

// Interface guards
var (
	_ context.Context    = (*Passage)(nil)
	_ session.Connection = (*Passage)(nil)
)
