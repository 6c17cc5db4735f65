package gateway

import (
	"cmp"
	"encoding/json"
	"net/http"
	"strconv"
	"time"

	"github.com/caddy-sso/caddy-sso/gateway/pages"
)

func (x *request) chrome() pages.Chrome {
	front := x.front().opts
	return pages.Chrome{Prefix: front.Prefix, App: cmp.Or(front.Brand.Title, x.host, x.app.name()), Host: x.host, Brand: front.Brand}
}

func (x *request) page(status int, page any) { x.app.gw.opts.Pages.Page(x.w, x.r, status, page) }

func (x *request) json(status int, contentType string, v any) error {
	body, err := json.Marshal(v)
	if err != nil {
		return err
	}
	x.send(status, contentType, "no-store", append(body, '\n'))
	return nil
}

// send answers with a document.
func (x *request) send(status int, contentType, cacheControl string, body []byte) {
	h := x.w.Header()
	h.Set("Content-Type", contentType)
	h.Set("Content-Length", strconv.Itoa(len(body)))
	h.Set("Cache-Control", cacheControl)
	h.Set("X-Content-Type-Options", "nosniff")
	x.w.WriteHeader(status)
	if x.r.Method != http.MethodHead {
		_, _ = x.w.Write(body) // a client that went away is nobody's fault
	}
}

// retryAfter sets when to come back, in whole seconds. Zero sets nothing.
func (x *request) retryAfter(wait time.Duration) {
	if wait > 0 {
		x.w.Header().Set("Retry-After", strconv.Itoa(int((wait+time.Second-1)/time.Second)))
	}
}

// redirectTo sends the browser to a path of this origin.
func (x *request) redirectTo(path string) error {
	origin, refused := x.origin()
	if refused != nil {
		return x.refuse(refused)
	}
	x.redirect(origin + path)
	return nil
}

// redirect answers 303, so that the browser always follows by GET.
func (x *request) redirect(location string) {
	h := x.w.Header()
	h.Set("Location", location)
	h.Set("Cache-Control", "no-store")
	h.Set("Referrer-Policy", "no-referrer")
	x.w.WriteHeader(http.StatusSeeOther)
}
