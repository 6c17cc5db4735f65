package forward

import (
	"strings"
	"unicode"
	"unicode/utf8"

	"github.com/caddy-sso/caddy-sso/gateway/wording"
)

// An Encoding is how a header's value is written. Each one percent-encodes control
// characters.
type Encoding uint8

const (
	// Percent percent-encodes everything but printable ASCII, and `%` itself (RFC 3986
	// §2.1, over UTF-8).
	Percent Encoding = iota
	// UTF8 writes the text as it is, for apps that decode nothing.
	UTF8
	// Latin1 writes ISO 8859-1, for apps that read header values as such (WSGI, Node.js,
	// Servlet). It percent-encodes all other characters.
	Latin1
)

// A Format is how header values are written.
type Format struct {
	// Separator separates roles, and groups. Zero: a comma.
	Separator byte
	// Encodings has the encoding of each header, in the order of HeaderNames.
	Encodings [len(Row{})]Encoding
}

func (f Format) separator() string {
	if f.Separator == 0 {
		return ","
	}
	return string(rune(f.Separator))
}

// Bounds of the groups that an app gets, because its server limits the size of all headers
// (8 KiB is common). Further groups are left out.
const (
	maxGroups     = 100
	maxGroupBytes = 3 << 10
)

// BoundGroups returns the first groups, as many as the bounds allow.
func (f Format) BoundGroups(groups []string) []string {
	size := 0
	for i, g := range groups {
		size += len(f.entry(kindGroups, g)) + 1
		if i == maxGroups || size > maxGroupBytes {
			return groups[:i:i]
		}
	}
	return groups
}

// Check refuses roles and groups that UTF8 can't write: with a separator in the name an
// app would read two names, and blanks at the edges of a header are lost.
func (f Format) Check(roles, groups []string) error {
	for kind, names := range [...][]string{kindRoles: roles, kindGroups: groups} {
		for _, name := range names {
			if f.Encodings[kind] == UTF8 && (f.entry(kind, name) != name || strings.TrimSpace(name) != name) {
				return wording.Aboutf("header_encoding", "with utf8 the app would misread %q in the list of %s: choose another list_separator or another name, "+
					"or write %s, or %s", name, Kinds[kind], wording.Option{Word: "header_encoding", Args: "percent " + Kinds[kind]}, wording.Option{Word: "headers", Args: Kinds[kind] + " off"})
			}
		}
	}
	return nil
}

// value writes the value of one header.
func (f Format) value(kind int, s string) string { return f.Encodings[kind].encode(s, "") }

// list writes a list. It encodes a separator in a name, so that an app never reads one
// name as two.
func (f Format) list(kind int, names []string) string {
	encoded := make([]string, len(names))
	for i, n := range names {
		encoded[i] = f.entry(kind, n)
	}
	return strings.Join(encoded, f.separator())
}

// entry writes an entry of a list.
func (f Format) entry(kind int, name string) string {
	return f.Encodings[kind].encode(name, f.separator())
}

const upperHex = "0123456789ABCDEF"

// encode writes a text. It percent-encodes the character besides, too.
func (e Encoding) encode(s, besides string) string {
	b := make([]byte, 0, len(s)+16)
	for i := 0; i < len(s); {
		r, size := utf8.DecodeRuneInString(s[i:])
		char := s[i : i+size]
		switch {
		case e.plain(r, size) && char != besides && (e == UTF8 || !unicode.IsSpace(r) || 0 < i && i+size < len(s)):
			if e == Latin1 {
				b = append(b, byte(r))
			} else {
				b = append(b, char...)
			}
		default:
			for _, c := range []byte(char) {
				b = append(b, '%', upperHex[c>>4], upperHex[c&15])
			}
		}
		i += size
	}
	if string(b) == s {
		return s
	}
	return string(b)
}

// plain says whether a character is written as it is.
func (e Encoding) plain(r rune, size int) bool {
	switch {
	case r < ' ', r == 0x7f, r == utf8.RuneError && size == 1:
		return false
	case e == UTF8:
		return true
	case e == Latin1 && 0xa0 <= r && r <= 0xff:
		return true
	}
	return r < 0x7f && r != '%'
}
