package target

import "path"

// Forms that different servers read differently.
const (
	notAPath   = "no path"
	encoded    = "percent-encoding"
	parameters = "path parameters"
	backslash  = "backslashes"
	emptyName  = "empty names"
	dotSegment = "dot segments"
	foreign    = "blanks, controls, all that is not ASCII, and what no path holds"
)

// Plain reports whether all servers read a raw path the same: it is equal raw,
// decoded and cleaned, and has no characters that some server treats specially. Only
// such a path can be open.
func Plain(raw string) bool { return oddity(raw) == "" }

// oddity names the form that makes servers read a raw path differently, or returns
// "".
func oddity(raw string) string {
	if raw == "" || raw[0] != '/' {
		return notAPath
	}
	dots := false
	for i := range len(raw) {
		slash := i > 0 && raw[i-1] == '/'
		switch c := raw[i]; {
		case c == '%':
			return encoded
		case c == ';':
			return parameters
		case c == '\\':
			return backslash
		case c <= ' ', c >= 0x7f, c == '#', c == '?', c == '"', c == '<', c == '>', c == '`', c == '{', c == '}': // RFC 3986 §3.3; browsers encode them
			return foreign
		case c == '/' && slash:
			return emptyName
		case c == '.' && slash:
			dots = true
		}
	}
	if !dots {
		return ""
	}
	if clean := path.Clean(raw); raw != clean && raw != clean+"/" {
		return dotSegment
	}
	return ""
}
