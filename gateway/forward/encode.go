package forward

import "strings"

// Bounds of the groups that are passed on: an app's server has a limit on the
// header block (8 KiB is common). Groups beyond are left out. None is cut.
const (
	maxGroups     = 100
	maxGroupBytes = 3 << 10
)

// BoundGroups returns as many of the groups, from the first on, as are passed on.
func BoundGroups(groups []string) []string {
	size := 0
	for i, g := range groups {
		size += len(encodeName(g)) + 1
		if i == maxGroups || size > maxGroupBytes {
			return groups[:i:i]
		}
	}
	return groups
}

const upperHex = "0123456789ABCDEF"

// encodeValue percent-encodes (RFC 3986 §2.1, over UTF-8) everything but
// printable ASCII, and the percent sign itself.
func encodeValue(s string) string { return percent(s, "") }

// encodeList joins names by commas, as the headers of roles and groups have them.
// A comma within a name is encoded, so that a name is never split.
func encodeList(names []string) string {
	encoded := make([]string, len(names))
	for i, n := range names {
		encoded[i] = encodeName(n)
	}
	return strings.Join(encoded, ",")
}

// encodeName makes an entry of a list.
func encodeName(s string) string { return percent(s, ",") }

func percent(s, also string) string {
	var b []byte
	for i := range len(s) {
		c := s[i]
		edge := c == ' ' && (i == 0 || i == len(s)-1)
		if c < ' ' || c >= 0x7f || c == '%' || edge || strings.IndexByte(also, c) >= 0 {
			if b == nil {
				b = append(make([]byte, 0, len(s)+16), s[:i]...)
			}
			b = append(b, '%', upperHex[c>>4], upperHex[c&15])
		} else if b != nil {
			b = append(b, c)
		}
	}
	if b == nil {
		return s
	}
	return string(b)
}
