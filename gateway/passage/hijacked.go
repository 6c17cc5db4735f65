package passage

import (
	"bufio"
	"bytes"
	"errors"
	"io"
	"net"
	"sync"
)

// A hijacked connection belongs to its handler until it is cut. Data that arrives counts
// as use of the login.
type hijacked struct {
	net.Conn
	p    *Passage
	done sync.Once
}

// takeOver makes rw read from h and write to it. It keeps data that rw has already read.
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

func (h *hijacked) Read(data []byte) (int, error) {
	n, err := h.Conn.Read(data)
	if n > 0 {
		h.p.Used()
	}
	return n, err
}

func (h *hijacked) ReadFrom(r io.Reader) (int64, error) { return io.Copy(h.Conn, r) }

// CloseWrite closes the connection for writing, if that is possible.
func (h *hijacked) CloseWrite() error {
	if half, ok := h.Conn.(interface{ CloseWrite() error }); ok {
		return half.CloseWrite()
	}
	return errors.ErrUnsupported
}

func (h *hijacked) Close() error {
	err := h.Conn.Close()
	h.done.Do(h.p.release)
	return err
}

// sever closes the connection, because the handler may never do so.
func (h *hijacked) sever() {
	if !closeConn(h.p.r) {
		_ = h.Conn.Close()
	}
	go h.done.Do(h.p.release) // release waits until Sever returns
}
