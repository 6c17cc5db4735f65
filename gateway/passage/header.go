package passage

import (
	"maps"
	"net/http"
	"net/textproto"
	"strings"
	"time"
)

// The only way to the stream of an HTTP/3 request, http3.HTTPStreamer, tries to send the
// header of the response. If the handler changed that map meanwhile, the process would
// crash. So over HTTP/3, the handler changes a map of its own. Only calls of w copy it to
// the real one, and Sever waits for those.

// keepHeader gives the handler a header of its own.
func (p *Passage) keepHeader() {
	p.header, p.headed = p.w.Header().Clone(), false
	p.setDate()
}

// copyHeader makes the real header equal to the handler's. After the final header it does
// nothing, because handlers before sso may have changed the real one.
func (p *Passage) copyHeader(final bool) {
	if p.header == nil || p.headed {
		return
	}
	p.headed = final
	h := p.w.Header()
	clear(h)
	maps.Copy(h, p.header.Clone()) // the handler may change values in place
}

// setDate sets a Date for as long as the handler may send a header. Otherwise reset would
// set it, while a placeholder may be reading the map. copyHeader removes it.
func (p *Passage) setDate() {
	if p.header == nil || p.headed {
		return
	}
	h := p.w.Header()
	if _, ok := h["Date"]; !ok {
		h["Date"] = []string{time.Now().UTC().Format(http.TimeFormat)}
	}
}

// finishHeader copies what is left in the handler's header: the trailers, or all of it if
// no response has begun.
func (p *Passage) finishHeader() {
	w := writer{p}
	if p.header == nil || !w.begin() {
		return
	}
	defer w.end()
	p.copyHeader(false)
	if !p.headed {
		return
	}
	h := p.w.Header()
	for _, names := range h["Trailer"] {
		for name := range strings.SplitSeq(names, ",") {
			name = textproto.CanonicalMIMEHeaderKey(textproto.TrimString(name))
			if values, ok := p.header[name]; ok {
				h[name] = values
			}
		}
	}
	for name, values := range p.header {
		if strings.HasPrefix(name, http.TrailerPrefix) {
			h[name] = values
		}
	}
}
