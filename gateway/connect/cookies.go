package connect

import (
	"context"
	"crypto/subtle"
	"net/http"
	"net/url"
	"slices"
	"strings"

	"github.com/caddy-sso/caddy-sso/gateway/cookie"
	"github.com/caddy-sso/caddy-sso/gateway/vault"
)

// A Person is who makes a request. Tie returns texts that differ if the login, the user
// name or the roles do.
type Person interface{ Tie() []string }

// A Visit is a request that was let in.
type Visit struct {
	Keys   Keys
	Person Person
	// User is the name of the person, Login that of the login.
	User, Login string
	// Secure says that the browser used https.
	Secure bool
}

// Keys makes MACs, as vault.Vault does.
type Keys interface {
	MAC(ctx context.Context, purpose string, parts ...string) ([]byte, error)
}

// The text of a seal stands behind a cookie's value.
const (
	divider  = "~"
	sealSize = 16 // bytes of the MAC
)

var textSize = len(vault.EncodeText(make([]byte, sealSize)))

// Cookies are the app's cookies of one request and its response. A nil *Cookies does
// nothing: the app has none.
type Cookies struct {
	app     *App
	brought []string // pairs of the request
	// seal returns a MAC over a cookie and the person. Nil: the cookies neither come nor go.
	seal  func(name, value string) ([]byte, error)
	stale []string // names of those that were removed
	set   []string // lines that Set has returned
	lines []string // that Finish adds

	// Of Proxmox VE:
	key     string   // names the person, their login and roles
	user    string   // with the realm
	seals   []string // of the tickets that the browser may send, the newest first
	secure  bool     // the browser used https
	watcher *watcher
}

// Take removes the app's cookies from a request. Proxmox VE gets no others either, since a
// node reads short headers only.
func (a *App) Take(request http.Header) *Cookies {
	if a == nil {
		return nil
	}
	c := &Cookies{app: a}
	cookie.Remove(request, func(pair string) bool {
		name, _ := split(pair)
		if !a.owns(name) {
			return a.proxmox != nil
		}
		c.brought = append(c.brought, pair)
		return true
	})
	return c
}

// Admit gives back to a request those of its cookies that have the seal of the person,
// without it. From here on, those that the app sets are sealed. Proxmox VE gets the ticket
// of the person. The error is that of Keys, or a *refusal.Error.
func (c *Cookies) Admit(r *http.Request, v Visit) error {
	if c == nil {
		return nil
	}
	c.seal = func(name, value string) ([]byte, error) {
		return v.Keys.MAC(r.Context(), "app's cookie", append(v.Person.Tie(), name, value)...)
	}
	if c.app.proxmox != nil {
		return c.app.proxmox.admit(c, r, v)
	}
	var pairs, admitted []string
	for _, pair := range c.brought {
		name, value := split(pair)
		at := len(value) - textSize - len(divider)
		if at < 0 || value[at:at+len(divider)] != divider || !slices.Contains(c.app.Cookies, name) {
			c.stale = append(c.stale, name)
			continue
		}
		want, err := c.text(name, value[:at])
		if err != nil {
			return err
		}
		if !same(want, value[at+len(divider):]) {
			c.stale = append(c.stale, name)
			continue
		}
		pairs, admitted = append(pairs, name+"="+value[:at]), append(admitted, name)
	}
	// To delete a cookie deletes the good one of the same name.
	c.stale = slices.DeleteFunc(c.stale, func(name string) bool { return slices.Contains(admitted, name) })
	if len(pairs) > 0 {
		// HTTP/1.1 has one line (RFC 6265 §5.4).
		r.Header["Cookie"] = []string{strings.Join(append(slices.Clip(r.Header["Cookie"]), pairs...), "; ")}
	}
	return nil
}

// Watch returns c for the writer of the response, or nil.
func (c *Cookies) Watch() cookie.Guests {
	if c == nil {
		return nil
	}
	return c
}

// Forget deletes the cookies of the request from the browser: there is no login.
func (c *Cookies) Forget(response http.Header) {
	if c == nil {
		return
	}
	for _, pair := range c.brought {
		name, _ := split(pair)
		c.stale = append(c.stale, name)
	}
	c.Finish(response)
}

// Set implements cookie.Guests: it seals the app's cookies.
func (c *Cookies) Set(name, line string) string {
	switch {
	case !c.app.owns(name) || slices.Contains(c.set, line):
		return line
	case c.seal == nil || c.app.proxmox != nil:
		return ""
	}
	pair, attributes, _ := strings.Cut(line, ";")
	_, value := split(pair)
	text, err := c.text(name, value)
	if err != nil {
		return "" // the app will set another one
	}
	line = name + "=" + value + divider + text + ";" + attributes
	c.set = append(c.set, line)
	c.stale = slices.DeleteFunc(c.stale, func(s string) bool { return s == name })
	return line
}

// Finish implements cookie.Guests: it deletes the cookies that were removed from the
// request, unless the app has set new ones. A response with a new ticket is kept nowhere.
func (c *Cookies) Finish(response http.Header) {
	for _, name := range c.stale {
		c.lines = append(c.lines, name+"=; Path=/; Max-Age=0")
	}
	for _, line := range c.lines {
		if !slices.Contains(response["Set-Cookie"], line) {
			response["Set-Cookie"] = append(slices.Clip(response["Set-Cookie"]), line)
		}
		c.set = append(c.set, line)
	}
	if len(c.seals) > 0 && len(c.lines) > 0 {
		response["Cache-Control"] = []string{"no-store"}
	}
	c.stale, c.lines = nil, nil
}

func (c *Cookies) text(name, value string) (string, error) {
	mac, err := c.seal(name, value)
	if err != nil {
		return "", err
	}
	return vault.EncodeText(mac[:sealSize]), nil
}

func same(a, b string) bool { return subtle.ConstantTimeCompare([]byte(a), []byte(b)) == 1 }

// owns says whether an app may read a cookie as one of its session's. Python trims all white
// space of Unicode around a name. PHP makes an array of what has a bracket, and reads some
// characters as an underscore.
func (a *App) owns(name string) bool {
	if slices.Contains(a.Cookies, name) {
		return true
	}
	name = strings.TrimFunc(name, func(c rune) bool { return c <= ' ' || c > '~' })
	array, _, _ := strings.Cut(name, "[")
	return slices.Contains(a.Cookies, normal(name)) || slices.Contains(a.Cookies, normal(array))
}

// normal returns what PHP makes of a cookie's name.
func normal(name string) string {
	if plain, err := url.QueryUnescape(name); err == nil {
		name = plain
	}
	return strings.NewReplacer(".", "_", " ", "_", "[", "_").Replace(name)
}

// split returns name and value of a pair. A browser sends a cookie without a name as its
// value alone.
func split(pair string) (name, value string) {
	name, value, _ = strings.Cut(strings.TrimLeft(pair, "= \t"), "=")
	return strings.Trim(name, " \t"), strings.Trim(value, " \t")
}
