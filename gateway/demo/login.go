package demo

import (
	"embed"
	"html/template"
	"net/http"
)

//go:embed *.html *.css *.svg
var files embed.FS

var templates = template.Must(template.ParseFS(files, "*.html"))

// maxForm bounds the form of a button, in bytes.
const maxForm = 4 << 10

// who returns the person whose button was pressed. If none was, it shows the page with the
// buttons, which post to the request's own address, and returns nil.
func who(w http.ResponseWriter, r *http.Request, protocol string) *Person {
	if r.Method == http.MethodPost {
		r.Body = http.MaxBytesReader(w, r.Body, maxForm)
		if p := find(r.PostFormValue("username")); p != nil {
			return p
		}
	}
	render(w, http.StatusOK, "login.html", struct {
		Protocol, Action string
		People           []Person
	}{protocol, r.URL.RequestURI(), People})
	return nil
}

// render writes a page, with a policy that permits no other origin.
func render(w http.ResponseWriter, status int, name string, data any) {
	h := w.Header()
	h.Set("Content-Type", "text/html; charset=utf-8")
	h.Set("Cache-Control", "no-store")
	h.Set("Content-Security-Policy", "default-src 'none'; style-src 'self'; img-src 'self'; base-uri 'none'; frame-ancestors 'none'")
	h.Set("X-Content-Type-Options", "nosniff")
	w.WriteHeader(status)
	_ = templates.ExecuteTemplate(w, name, data) // it fails only if the browser is gone
}
