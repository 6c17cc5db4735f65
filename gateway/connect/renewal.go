package connect

import (
	"bytes"
	"encoding/json"
	"net/http"
	"strings"
)

// The interface renews its ticket every quarter of an hour: it sends the ticket as the
// password, and its script puts the new one into the cookie.
func renewsTicket(r *http.Request) bool {
	return r.Method == http.MethodPost && strings.HasPrefix(r.URL.Path, "/api2/") && strings.HasSuffix(r.URL.Path, "/access/ticket")
}

// Wrap returns a writer that watches what the app answers.
func (c *Cookies) Wrap(w http.ResponseWriter, r *http.Request) http.ResponseWriter {
	if c == nil || c.app.proxmox == nil {
		return w
	}
	c.watcher = &watcher{ResponseWriter: w, of: c, renewal: renewsTicket(r)}
	if c.watcher.renewal {
		r.Header["Accept-Encoding"] = []string{"identity"}
	}
	return c.watcher
}

// Release writes what was held back.
func (c *Cookies) Release() {
	if c != nil && c.watcher != nil {
		c.watcher.release()
	}
}

// A watcher holds back the answer to a renewal until it is read.
type watcher struct {
	http.ResponseWriter
	of      *Cookies
	renewal bool
	held    bool
	body    bytes.Buffer
}

// WriteHeader implements http.ResponseWriter.
func (w *watcher) WriteHeader(status int) {
	switch {
	case status == http.StatusUnauthorized:
		w.of.app.proxmox.forget(w.of.key)
		w.of.unseal(w.Header())
	case status == http.StatusOK && w.renewal:
		w.held = true
		return
	}
	w.ResponseWriter.WriteHeader(status)
}

// Write implements http.ResponseWriter.
func (w *watcher) Write(p []byte) (int, error) {
	if w.held && w.body.Len()+len(p) <= maxResponse {
		return w.body.Write(p)
	}
	w.release()
	return w.ResponseWriter.Write(p)
}

// FlushError is what http.ResponseController calls.
func (w *watcher) FlushError() error {
	if w.held {
		return nil
	}
	return http.NewResponseController(w.ResponseWriter).Flush()
}

// Unwrap is for http.ResponseController.
func (w *watcher) Unwrap() http.ResponseWriter { return w.ResponseWriter }

func (w *watcher) release() {
	if !w.held {
		return
	}
	w.held = false
	var got struct {
		Data struct {
			Ticket string `json:"ticket"`
		} `json:"data"`
	}
	if json.Unmarshal(w.body.Bytes(), &got) == nil {
		w.of.renewed(got.Data.Ticket, w.Header())
	}
	w.ResponseWriter.WriteHeader(http.StatusOK)
	_, _ = w.ResponseWriter.Write(w.body.Bytes()) // a client that went away is nobody's fault
}

// renewed seals a ticket that a node gave to the interface, if it is the same user's.
func (c *Cookies) renewed(text string, response http.Header) {
	t, ok := readTicket(text)
	if ok && c.app.proxmox.checks.renewed.Run(&shown{ticket: t, of: c.user, named: c.user}) == nil && c.sealTicket(text, c.secure) == nil {
		c.Finish(response)
	}
}

// unseal has the next request replace a ticket that the node did not accept.
func (c *Cookies) unseal(response http.Header) {
	c.stale = append(c.stale, sealCookie)
	c.Finish(response)
}
