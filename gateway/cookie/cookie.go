// Package cookie has the gateway's own cookies. It sets them, removes them from
// requests, and keeps the app's responses from changing them. An app never sees them.
package cookie

import (
	"net/http"
	"net/textproto"
	"slices"
	"strings"
	"time"
)

// The names of our cookies. Over https they have the __Host- prefix, so that no
// sibling domain can plant one (RFC 6265bis §4.1.3.2).
const (
	// Session opens a login.
	Session = "sso"
	// Browser ties a login to the browser that started it.
	Browser = "sso-b"
	// Provider has the name of the provider that was used last. The chooser puts it
	// first; it has no other effect.
	Provider = "sso-p"
	// Refused has the last refused sign-in, for the page that shows it.
	Refused    = "sso-r"
	hostPrefix = "__Host-"
)

// The ages of cookies that outlive the browser's session.
const (
	providerAge = 365 * 24 * time.Hour
	refusedAge  = 15 * time.Minute
)

// Name returns a cookie's name on the wire.
func Name(name string, secure bool) string {
	if secure {
		return hostPrefix + name
	}
	return name
}

// Set adds a Set-Cookie that lasts until the browser is closed; Provider and Refused
// have an age. An empty value deletes the cookie.
func Set(w http.ResponseWriter, name, value string, secure bool) {
	c := http.Cookie{
		Name: Name(name, secure), Value: value, Path: "/",
		Secure: secure, HttpOnly: true, SameSite: http.SameSiteLaxMode,
	}
	switch {
	case value == "":
		c.MaxAge = -1
	case name == Provider:
		c.MaxAge = int(providerAge / time.Second)
	case name == Refused:
		c.MaxAge = int(refusedAge / time.Second)
	}
	w.Header().Add("Set-Cookie", c.String())
}

// Own has our cookies of a request.
type Own struct {
	Session, Browser, Provider, Refused string
}

// Take removes our cookies from the request, under each of their names, and returns
// those that are valid for the scheme. A cookie that comes twice is ignored: one of
// the two was planted.
func Take(h http.Header, secure bool) Own {
	t := cookieTaker{secure: secure}
	Remove(h, t.takePair)
	return Own{Session: t.only(Session), Browser: t.only(Browser), Provider: t.only(Provider), Refused: t.only(Refused)}
}

var ours = [...]string{Session, Browser, Provider, Refused}

// A cookieTaker removes our cookies from the Cookie lines of one request.
type cookieTaker struct {
	secure bool
	values [len(ours)]string
	times  [len(ours)]int // counts each of our cookies
}

// only returns the value of a cookie that came once, else "".
func (t *cookieTaker) only(name string) string {
	i := slices.Index(ours[:], name)
	if t.times[i] != 1 {
		return ""
	}
	return t.values[i]
}

// Remove removes those cookies of a request for which is returns true. A pair has no
// blanks around it.
func Remove(h http.Header, is func(pair string) bool) {
	rewriteLines(h, "Cookie", h["Cookie"], func(line string) string { return without(line, is) })
}

// without returns a Cookie line without some pairs. If it has none of them, the line
// itself is returned.
func without(line string, is func(pair string) bool) string {
	kept := make([]string, 0, 4) // runs of adjacent pairs that stay
	start, found := 0, false     // start is where the present run begins
	for at := 0; at < len(line); {
		end := strings.IndexByte(line[at:], ';')
		next := at + end + 1
		if end < 0 {
			end, next = len(line)-at, len(line)
		}
		if is(textproto.TrimString(line[at : at+end])) {
			kept, found = appendPairs(kept, line[start:at]), true
			start = next
		}
		at = next
	}
	if !found {
		return line
	}
	return joinPairs(appendPairs(kept, line[start:]))
}

// takePair takes a cookie if it is one of ours, and reports whether it is.
func (t *cookieTaker) takePair(pair string) bool {
	if !strings.HasPrefix(pair, Session) && !strings.HasPrefix(pair, hostPrefix) {
		return false
	}
	name, value, _ := strings.Cut(pair, "=")
	bare, prefixed := strings.CutPrefix(textproto.TrimString(name), hostPrefix)
	i := slices.Index(ours[:], bare)
	if i >= 0 && prefixed == t.secure {
		t.times[i]++
		t.values[i] = textproto.TrimString(value)
	}
	return i >= 0
}

// pairBlanks separate pairs.
const pairBlanks = "; \t"

// appendPairs appends a run of pairs unless it is blank.
func appendPairs(runs []string, run string) []string {
	if strings.TrimLeft(run, pairBlanks) == "" {
		return runs
	}
	return append(runs, run)
}

// joinPairs joins runs of pairs and trims the whole. It copies each byte at most
// once, because a client may send very many runs.
func joinPairs(runs []string) string {
	if len(runs) == 0 {
		return ""
	}
	last := len(runs) - 1
	runs[0] = strings.TrimLeft(runs[0], pairBlanks)
	runs[last] = strings.TrimRight(runs[last], pairBlanks)
	return strings.Join(runs, "")
}
