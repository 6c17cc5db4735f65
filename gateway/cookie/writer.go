package cookie

import (
	"bufio"
	"io"
	"net"
	"net/http"
	"slices"
	"strings"
)

// A Writer is the ResponseWriter of the app. It removes lines that would set or
// delete our cookies. It has the optional methods of the server's own ResponseWriter;
// if the server lacks one, the method returns an error.
type Writer struct {
	http.ResponseWriter
	// Ours are Set-Cookie lines to keep: the gateway has set them before.
	Ours []string
	// Guests changes cookies that the app sets. Optional.
	Guests Guests
	begun  bool // whether the final header is written
}

// Guests are cookies of the app's own that the gateway watches.
type Guests interface {
	// Set returns what a Set-Cookie line becomes; "": it is removed. It may get lines that
	// it has returned.
	Set(name, line string) string
	// Finish adds lines of its own to a header that is about to be written.
	Finish(http.Header)
}

// WriteHeader implements http.ResponseWriter.
func (w *Writer) WriteHeader(status int) {
	w.begin(status)
	w.ResponseWriter.WriteHeader(status)
}

// begin cleans the header before it is written, also that of each informational
// response (RFC 9110 §15.2), which may bring fields of its own.
func (w *Writer) begin(status int) {
	if w.begun {
		return
	}
	w.begun = status >= http.StatusOK || status == http.StatusSwitchingProtocols
	w.keepOwnCookies()
	if w.begun && w.Guests != nil {
		w.Guests.Finish(w.Header())
	}
}

// Write implements http.ResponseWriter.
func (w *Writer) Write(p []byte) (int, error) {
	w.begin(http.StatusOK)
	return w.ResponseWriter.Write(p)
}

// ReadFrom implements io.ReaderFrom: files are sent without a copy.
func (w *Writer) ReadFrom(r io.Reader) (int64, error) {
	w.begin(http.StatusOK)
	if to, ok := w.ResponseWriter.(io.ReaderFrom); ok {
		return to.ReadFrom(r)
	}
	return io.Copy(w.ResponseWriter, r)
}

// Flush implements http.Flusher.
func (w *Writer) Flush() { _ = w.FlushError() }

// FlushError is what http.ResponseController calls first.
func (w *Writer) FlushError() error {
	w.begin(http.StatusOK)
	return http.NewResponseController(w.ResponseWriter).Flush()
}

// Hijack implements http.Hijacker. Bytes written to the connection itself are not
// checked.
func (w *Writer) Hijack() (net.Conn, *bufio.ReadWriter, error) {
	conn, rw, err := http.NewResponseController(w.ResponseWriter).Hijack()
	if err == nil {
		w.begun = true
	}
	return conn, rw, err
}

// Push implements http.Pusher.
func (w *Writer) Push(target string, opts *http.PushOptions) error {
	if to, ok := w.ResponseWriter.(http.Pusher); ok {
		return to.Push(target, opts)
	}
	return http.ErrNotSupported
}

// Unwrap is for http.ResponseController.
func (w *Writer) Unwrap() http.ResponseWriter { return w.ResponseWriter }

// Begun reports whether the final header is written, or the connection hijacked.
func (w *Writer) Begun() bool { return w.begun }

// End cleans the trailers, which are in the header once the body is written, and the
// header of a response without a body.
func (w *Writer) End() {
	w.keepOwnCookies()
	if !w.begun && w.Guests != nil {
		w.Guests.Finish(w.Header())
	}
}

// keepOwnCookies removes from an app's response all lines that would set or delete
// our cookies, however the app spells the header names.
func (w *Writer) keepOwnCookies() {
	h := w.Header()
	for name, lines := range h {
		bare := name
		if len(name) > len(http.TrailerPrefix) && strings.EqualFold(name[:len(http.TrailerPrefix)], http.TrailerPrefix) {
			bare = name[len(http.TrailerPrefix):]
		}
		switch {
		case len(bare) == len("Set-Cookie") && strings.EqualFold(bare, "Set-Cookie"):
			rewriteLines(h, name, lines, w.withoutOwnCookie)
		case len(bare) == len("Clear-Site-Data") && strings.EqualFold(bare, "Clear-Site-Data"):
			rewriteLines(h, name, lines, withoutCookies)
		}
	}
}

// rewriteLines replaces the lines of a header. Their array may be shared.
func rewriteLines(h http.Header, name string, lines []string, rewrite func(string) string) {
	var kept []string
	changed := false
	for i, line := range lines {
		now := rewrite(line)
		if now != line && !changed {
			changed, kept = true, append(make([]string, 0, len(lines)), lines[:i]...)
		}
		if changed && now != "" {
			kept = append(kept, now)
		}
	}
	switch {
	case !changed:
	case len(kept) == 0:
		delete(h, name)
	default:
		h[name] = kept
	}
}

// withoutOwnCookie returns the line of a Set-Cookie, or "" if a browser would send it
// back under one of our names. A cookie without a name is sent as its value alone, so
// "=sso=x" comes back as ours (RFC 6265bis §5.8.3).
func (w *Writer) withoutOwnCookie(line string) string {
	pair, _, _ := strings.Cut(line, ";")
	name, _, _ := strings.Cut(strings.TrimLeft(pair, "= \t"), "=")
	name = strings.Trim(name, " \t")
	bare := name
	if len(name) > len(hostPrefix) && strings.EqualFold(name[:len(hostPrefix)], hostPrefix) {
		bare = name[len(hostPrefix):]
	}
	switch bare {
	case Session, Browser, Provider, Refused:
		if !slices.Contains(w.Ours, line) {
			return ""
		}
		return line
	}
	if w.Guests != nil {
		return w.Guests.Set(name, line)
	}
	return line
}

// withoutCookies removes "cookies" from a Clear-Site-Data and expands "*" to the
// other types. The app can end its own session; only the gateway's logout ends ours.
func withoutCookies(line string) string {
	parts := strings.Split(line, ",")
	var kept []string
	for _, part := range parts {
		switch kind := strings.Trim(part, " \t\""); {
		case strings.EqualFold(kind, "cookies"):
		case kind == "*":
			kept = append(kept, `"cache"`, `"clientHints"`, `"executionContexts"`, `"prefetchCache"`, `"prerenderCache"`, `"storage"`)
		default:
			kept = append(kept, part)
		}
	}
	if len(kept) == len(parts) && !strings.Contains(line, "*") {
		return line
	}
	return strings.Trim(strings.Join(kept, ","), " \t")
}
