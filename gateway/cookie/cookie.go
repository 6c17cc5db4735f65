// Package cookie has the gateway's own cookies: it sets them, takes them out of
// what a client sends, and keeps the app's answers from changing them. An app never
// sees them.
package cookie

import (
	"net/http"
	"net/textproto"
	"slices"
	"strings"
	"time"
)

// The names of our cookies. Over https they carry the __Host- prefix, so that no
// sibling domain can plant one (RFC 6265bis §4.1.3.2).
const (
	// Session opens a login.
	Session = "sso"
	// Browser ties a login to the browser that started it.
	Browser = "sso-b"
	// Provider has the name of the provider that was last signed in at:
	// the chooser puts it first, and nothing else follows from it.
	Provider = "sso-p"
	// Refused has the last refusal of a sign-in, for pages that tell of it.
	Refused    = "sso-r"
	hostPrefix = "__Host-"
)

// How long a browser keeps a cookie that does not end with it.
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

// Set adds a Set-Cookie for as long as the browser runs; Provider and Refused have
// an age. An empty value deletes the cookie.
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

// Own are our cookies as a request brought them.
type Own struct {
	Session, Browser, Provider, Refused string
}

// Take takes our cookies out of the request, under each of their names,
// and returns those that are valid for the scheme. A cookie that comes twice
// is taken for none: one of the two was planted.
func Take(h http.Header, secure bool) Own {
	t := cookieTaker{secure: secure}
	lines := h["Cookie"]
	var kept []string // once there is something to take; others may share the array of lines
	for i, line := range lines {
		rest := t.take(line)
		if t.changed && kept == nil {
			kept = append(make([]string, 0, len(lines)), lines[:i]...)
		}
		if t.changed && rest != "" {
			kept = append(kept, rest)
		}
	}
	switch {
	case !t.changed:
	case len(kept) == 0:
		delete(h, "Cookie")
	default:
		h["Cookie"] = kept
	}
	return Own{Session: t.only(Session), Browser: t.only(Browser), Provider: t.only(Provider), Refused: t.only(Refused)}
}

// ours are the names of our cookies.
var ours = [...]string{Session, Browser, Provider, Refused}

// A cookieTaker collects our cookies from the Cookie lines of one request.
type cookieTaker struct {
	secure  bool
	changed bool
	values  [len(ours)]string
	times   [len(ours)]int // how often each of ours came
}

// only returns the value of a cookie of ours that came once.
func (t *cookieTaker) only(name string) string {
	i := slices.Index(ours[:], name)
	if t.times[i] != 1 {
		return ""
	}
	return t.values[i]
}

// take returns a Cookie line without our pairs. The line comes back as it was
// if there is none.
func (t *cookieTaker) take(line string) string {
	kept := make([]string, 0, 4) // runs of pairs of others that lie side by side
	start, found := 0, false     // start is where the present run begins
	for at := 0; at < len(line); {
		end := strings.IndexByte(line[at:], ';')
		next := at + end + 1
		if end < 0 {
			end, next = len(line)-at, len(line)
		}
		if pair := textproto.TrimString(line[at : at+end]); mayBeOwn(pair) && t.takePair(pair) {
			kept, found = appendPairs(kept, line[start:at]), true
			start = next
		}
		at = next
	}
	if !found {
		return line
	}
	t.changed = true
	return joinPairs(appendPairs(kept, line[start:]))
}

// takePair takes a cookie if it is one of ours.
func (t *cookieTaker) takePair(pair string) bool {
	name, value, _ := strings.Cut(pair, "=")
	bare, prefixed := strings.CutPrefix(textproto.TrimString(name), hostPrefix)
	i := slices.Index(ours[:], bare)
	if i >= 0 && prefixed == t.secure {
		t.times[i]++
		t.values[i] = textproto.TrimString(value)
	}
	return i >= 0
}

// mayBeOwn tells most cookies of others at a glance.
func mayBeOwn(pair string) bool {
	return strings.HasPrefix(pair, Session) || strings.HasPrefix(pair, hostPrefix)
}

// appendPairs appends a run of pairs that is not blank.
func appendPairs(runs []string, run string) []string {
	if trimPairsLeft(run) == "" {
		return runs
	}
	return append(runs, run)
}

// joinPairs joins runs of pairs and trims the whole. It copies each byte once
// at most, for a client may send very many runs.
func joinPairs(runs []string) string {
	if len(runs) == 0 {
		return ""
	}
	last := len(runs) - 1
	runs[0] = trimPairsLeft(runs[0])
	runs[last] = trimPairsRight(runs[last])
	return strings.Join(runs, "")
}

func trimPairsLeft(s string) string {
	for s != "" && pairBlank(s[0]) {
		s = s[1:]
	}
	return s
}

func trimPairsRight(s string) string {
	for s != "" && pairBlank(s[len(s)-1]) {
		s = s[:len(s)-1]
	}
	return s
}

// pairBlank says whether c stands between pairs.
func pairBlank(c byte) bool { return c == ';' || c == ' ' || c == '\t' }
