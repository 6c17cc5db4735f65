// Package target reads what a client writes into a request: its target, its Host
// header, and the address that it wants to return to. It trusts none of them.
// What reads differently to different servers is never public, and no address to
// send a browser to.
package target

import (
	"net/netip"
	"net/url"
	"path"
	"strings"
)

// Path returns the path of a request-target, raw: as the client wrote
// it, without query. An absolute-form target loses scheme and authority.
func Path(target string) string {
	if i := strings.IndexByte(target, '?'); i >= 0 {
		target = target[:i]
	}
	if strings.HasPrefix(target, "/") {
		return target
	}
	// Not by url.Parse: it would end the path at a number sign, which net/http
	// takes for a part of it.
	scheme, rest, _ := strings.Cut(target, "://")
	if !strings.EqualFold(scheme, "http") && !strings.EqualFold(scheme, "https") {
		return "" // what another scheme names is no path to us
	}
	if i := strings.IndexByte(rest, '/'); i >= 0 {
		return rest[i:]
	}
	return ""
}

// maxReturn bounds a return URL in bytes; a longer one is replaced by "/".
const maxReturn = 2048

// SafeReturn returns target if it is a path (with query) of our own origin
// that is safe to send a browser to, else "/". Paths of the gateway itself
// would loop and are replaced too, but for its session page.
func SafeReturn(target, prefix string) string {
	if len(target) > maxReturn || !strings.HasPrefix(target, "/") {
		return "/"
	}
	for i := range len(target) {
		if c := target[i]; c <= ' ' || c >= 0x7f || c == '\\' || c == '#' {
			return "/"
		}
	}
	u, err := url.ParseRequestURI(target)
	if err != nil || strings.HasPrefix(u.Path, "//") || strings.ContainsAny(u.Path, "\\\x00\r\n\t") {
		return "/"
	}
	if Under(path.Clean(u.Path), prefix) && u.Path != prefix+"/session" {
		return "/"
	}
	return target
}

// Under says whether p is prefix or lies below it.
func Under(p, prefix string) bool {
	rest, ok := strings.CutPrefix(p, prefix)
	return ok && (rest == "" || rest[0] == '/')
}

// Hostname returns the name in a Host header in lower case without its port,
// or "" if the header is malformed.
func Hostname(host string) string {
	name := host
	if i := strings.LastIndexByte(host, ':'); i >= 0 && !strings.HasSuffix(host, "]") {
		port := host[i+1:]
		name = host[:i]
		if port == "" || len(port) > 5 || !digits(port) {
			return ""
		}
	}
	if strings.HasPrefix(name, "[") && strings.HasSuffix(name, "]") {
		if a, err := netip.ParseAddr(name[1 : len(name)-1]); err != nil || !a.Is6() || a.Zone() != "" {
			return ""
		}
		return strings.ToLower(name)
	}
	for i := range len(name) {
		switch c := name[i]; {
		case c >= 'a' && c <= 'z', c >= 'A' && c <= 'Z', c >= '0' && c <= '9', c == '-', c == '.', c == '_':
		default:
			return ""
		}
	}
	return strings.ToLower(name)
}

func digits(s string) bool {
	for i := range len(s) {
		if s[i] < '0' || s[i] > '9' {
			return false
		}
	}
	return true
}
