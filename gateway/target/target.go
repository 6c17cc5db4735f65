// Package target reads the parts of a request that a client controls: its target, its
// Host header, and the return URL. It trusts none of them. If servers may read a
// target differently, it is never public and never a return URL.
package target

import (
	"errors"
	"fmt"
	"net/netip"
	"net/url"
	"path"
	"slices"
	"strings"
	"unicode/utf8"
)

// Path returns the raw path of a request-target: as the client wrote it, without
// query. An absolute-form target loses scheme and authority.
func Path(target string) string {
	if i := strings.IndexByte(target, '?'); i >= 0 {
		target = target[:i]
	}
	if strings.HasPrefix(target, "/") {
		return target
	}
	// url.Parse would end the path at a number sign, which net/http keeps as a part
	// of it.
	scheme, rest, _ := strings.Cut(target, "://")
	if !strings.EqualFold(scheme, "http") && !strings.EqualFold(scheme, "https") {
		return "" // another scheme has no path for us
	}
	if i := strings.IndexByte(rest, '/'); i >= 0 {
		return rest[i:]
	}
	return ""
}

// MaxReturn bounds a return URL in bytes.
const MaxReturn = 8 << 10

// SafeReturn returns a return URL to which a browser can be sent safely: a path of
// our own origin, with query and fragment. Bytes that are not ASCII are
// percent-encoded, and so is a backslash behind the path. Addresses of the gateway
// itself, below prefix, are refused because they would loop, except pages.
//
// If target is no such URL, SafeReturn returns "/" and the reason.
func SafeReturn(target, prefix string, pages ...string) (string, error) {
	switch {
	case target == "":
		return "/", nil
	case len(target) > MaxReturn:
		return "/", fmt.Errorf("it has %d bytes, and %d are the limit", len(target), MaxReturn)
	case target[0] != '/':
		return "/", errors.New("it is no path of this site")
	}
	target = encodeOdd(target)
	if strings.ContainsFunc(target, func(c rune) bool { return c <= ' ' || c == 0x7f || c == '\\' }) {
		return "/", errors.New("it has a blank, a control character or a backslash")
	}
	beforeFragment, _, _ := strings.Cut(target, "#")
	u, err := url.ParseRequestURI(beforeFragment)
	switch {
	case err != nil:
		return "/", errors.New("it is malformed")
	case strings.HasPrefix(u.Path, "//"), strings.HasPrefix(u.Path, `/\`):
		return "/", errors.New("some browsers read it as another site's address")
	case strings.ContainsFunc(u.Path, func(c rune) bool { return c < ' ' || c == 0x7f }):
		return "/", errors.New("it has an encoded control character")
	case Under(path.Clean(u.Path), prefix) && !slices.Contains(pages, u.Path):
		return "/", errors.New("it is an address of the gateway itself")
	}
	return target, nil
}

// encodeOdd percent-encodes all bytes that are not ASCII, and a backslash behind the
// path: browsers send it there as it is (URL Standard §4.4).
func encodeOdd(s string) string {
	if !strings.ContainsFunc(s, func(c rune) bool { return c >= utf8.RuneSelf || c == '\\' }) {
		return s
	}
	var b strings.Builder
	path := true
	for i := range len(s) {
		c := s[i]
		path = path && c != '?' && c != '#'
		if c >= utf8.RuneSelf || c == '\\' && !path {
			fmt.Fprintf(&b, "%%%02X", c)
		} else {
			b.WriteByte(c)
		}
	}
	return b.String()
}

// HostOf returns the host of a URL, with its port; "" if there is none.
func HostOf(address string) string {
	u, err := url.Parse(address)
	if err != nil {
		return ""
	}
	return u.Host
}

// Under reports whether p is prefix or lies below it.
func Under(p, prefix string) bool {
	rest, ok := strings.CutPrefix(p, prefix)
	return ok && (rest == "" || rest[0] == '/')
}

// Hostname returns the name in a Host header in lower case without its port, or "" if
// the header is malformed.
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
