package gateway

import (
	"crypto/hmac"
	"crypto/rand"
	"encoding/base64"
	"net/http"
	"net/textproto"
	"strings"
)

// The names of our two cookies. Over https they carry the __Host- prefix, so
// that no sibling domain can plant one (RFC 6265bis §4.1.3.2).
const (
	sessionCookie = "sso"
	bindingCookie = "sso-b"
	hostPrefix    = "__Host-"
)

const (
	secretBits  = 32 // bytes of randomness in a session id, a state or a binding
	sessionSize = 86 // base64url of bits and MAC
	bindingSize = 43 // base64url of bits
)

var b64 = base64.RawURLEncoding.Strict()

// randomText returns 256 fresh random bits as 43 characters of base64url.
func randomText() string {
	var b [secretBits]byte
	_, _ = rand.Read(b[:]) // never fails: it crashes the program instead
	return b64.EncodeToString(b[:])
}

// newSession returns fresh bits and the cookie value that opens them at host,
// and nowhere else.
func (v *Vault) newSession(host string) (bits, value string) {
	var raw [secretBits]byte
	_, _ = rand.Read(raw[:])
	bits = string(raw[:])
	return bits, b64.EncodeToString(append(raw[:], keyedHash(v.keys[0].cookie, bits, host)...))
}

// sessionBits returns the bits of a session cookie that was made for host, or
// "": whatever is malformed, or made for another host, is no session.
func (v *Vault) sessionBits(value, host string) string {
	raw := decodeText(value, sessionSize)
	if raw == nil {
		return ""
	}
	bits, mac := string(raw[:secretBits]), raw[secretBits:]
	for _, k := range v.keys {
		if hmac.Equal(mac, keyedHash(k.cookie, bits, host)) {
			return bits
		}
	}
	return ""
}

// validBinding says whether value can be a binding cookie of ours.
func validBinding(value string) bool {
	return decodeText(value, bindingSize) != nil
}

// decodeText returns the bytes of size characters of base64url in their one
// canonical form, or nil. The package base64 skips line breaks, whatever it is
// told.
func decodeText(text string, size int) []byte {
	if len(text) != size || strings.ContainsAny(text, "\r\n") {
		return nil
	}
	raw, err := b64.DecodeString(text)
	if err != nil {
		return nil
	}
	return raw
}

func cookieName(name string, secure bool) string {
	if secure {
		return hostPrefix + name
	}
	return name
}

// setCookie adds a Set-Cookie. An empty value deletes the cookie.
func setCookie(w http.ResponseWriter, name, value string, secure bool) {
	c := http.Cookie{
		Name: cookieName(name, secure), Value: value, Path: "/",
		Secure: secure, HttpOnly: true, SameSite: http.SameSiteLaxMode,
	}
	if value == "" {
		c.MaxAge = -1
	}
	w.Header().Add("Set-Cookie", c.String())
}

// ownCookies are our cookies as a request brought them.
type ownCookies struct {
	session, binding string
}

// takeCookies takes our cookies out of the request, under each of their names,
// and returns those that are valid for the scheme. A cookie that comes twice
// is taken for none: one of the two was planted.
func takeCookies(h http.Header, secure bool) ownCookies {
	var found struct{ sessions, bindings int }
	var out ownCookies
	lines := h["Cookie"]
	kept := lines[:0:0]
	changed := false
	for _, line := range lines {
		rest := filterCookies(line, func(name, value string) bool {
			bare, prefixed := strings.CutPrefix(name, hostPrefix)
			switch bare {
			case sessionCookie:
				if prefixed == secure {
					found.sessions++
					out.session = value
				}
				return false
			case bindingCookie:
				if prefixed == secure {
					found.bindings++
					out.binding = value
				}
				return false
			}
			return true
		})
		if rest != line {
			changed = true
		}
		if rest != "" {
			kept = append(kept, rest)
		}
	}
	if found.sessions > 1 {
		out.session = ""
	}
	if found.bindings > 1 {
		out.binding = ""
	}
	switch {
	case !changed:
	case len(kept) == 0:
		delete(h, "Cookie")
	default:
		h["Cookie"] = kept
	}
	return out
}

// filterCookies returns a Cookie line without the pairs that keep refuses. The
// line comes back as it was if there is none.
func filterCookies(line string, keep func(name, value string) bool) string {
	start := 0 // of the pairs kept so far, as long as they lie side by side
	var b []byte
	for at := 0; at < len(line); {
		end := strings.IndexByte(line[at:], ';')
		next := at + end + 1
		if end < 0 {
			end, next = len(line)-at, len(line)
		}
		name, value, _ := strings.Cut(line[at:at+end], "=")
		if !keep(textproto.TrimString(name), textproto.TrimString(value)) {
			b = append(b, line[start:at]...)
			start = next
		}
		at = next
	}
	if start == 0 && b == nil {
		return line
	}
	b = append(b, line[start:]...)
	return strings.Trim(string(b), "; \t")
}
