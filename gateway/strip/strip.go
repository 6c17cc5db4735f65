// Package strip removes from a request all that only the gateway may send: identity
// headers in every spelling, those of other gateways, and the means to add or remove
// one on the way (Connection, Trailer, Upgrade).
package strip

import (
	"io"
	"maps"
	"net/http"
	"slices"
	"strings"
)

// A Filter knows the headers that only the gateway may set, in every spelling.
// Servers of the CGI family read any character but letters and digits as an
// underscore, so Remote-User, remote_user and Remote.User are one name.
type Filter struct {
	names map[string]struct{} // normalised; aliases are not among them
	// lengths and thirds exclude most other names cheaply, by the first character:
	// lengths of our names, and third characters of families.
	lengths [256]uint64
	thirds  [256]string
}

// reservedPrefix begins all our headers that are not renamed.
const reservedPrefix = "x-sso-"

// New returns a Filter for sets of header names; empty names are ignored.
func New(sets ...[]string) *Filter {
	f := &Filter{names: map[string]struct{}{}}
	for name := range aliasSet.names {
		f.lengths[name[0]] |= lengthBit(name)
	}
	for _, set := range sets {
		for _, name := range set {
			if name != "" {
				normal := string(AppendNormal(nil, name))
				f.names[normal] = struct{}{}
				f.lengths[normal[0]] |= lengthBit(name)
			}
		}
	}
	for _, family := range append(slices.Clip(aliasSet.families), reservedPrefix) {
		f.thirds[family[0]] += family[2:3]
	}
	return f
}

// lengthBit returns the bit of a name's length; long names share the last.
func lengthBit(name string) uint64 { return 1 << min(len(name), 63) }

// AppendNormal appends name in lower case, with a hyphen for each character that is
// no letter or digit.
func AppendNormal(b []byte, name string) []byte {
	for i := range len(name) {
		b = append(b, normalByte[name[i]])
	}
	return b
}

var normalByte = func() (table [256]byte) {
	for i := range table {
		switch c := byte(i); {
		case c >= 'A' && c <= 'Z':
			table[i] = c + 'a' - 'A'
		case c >= 'a' && c <= 'z', c >= '0' && c <= '9':
			table[i] = c
		default:
			table[i] = '-'
		}
	}
	return table
}()

// An Owner is the owner of a header's name.
type Owner int

// Owners: Others, another gateway (see Aliases), or this gateway.
const (
	Others Owner = iota
	Alias
	Ours
)

// Claim returns the owner of a name; aliases in keep belong to Others. It allocates
// for very long names only.
func (f *Filter) Claim(name string, keep Names) Owner {
	if name = trimBlanks(name); name == "" {
		return Others
	}
	first := normalByte[name[0]]
	if f.lengths[first]&lengthBit(name) == 0 && (len(name) < 3 || strings.IndexByte(f.thirds[first], normalByte[name[2]]) < 0) {
		return Others
	}
	var buf [64]byte
	normal := AppendNormal(buf[:0], name)
	_, own := f.names[string(normal)]
	switch {
	case own || len(normal) >= len(reservedPrefix) && string(normal[:len(reservedPrefix)]) == reservedPrefix:
		return Ours
	case aliasSet.has(normal) && !keep.has(normal):
		return Alias
	}
	return Others
}

// has reports whether no client may send the header to a site that keeps none.
func (f *Filter) has(name string) bool { return f.Claim(name, Names{}) != Others }

// trimBlanks is strings.Trim(s, " \t") without building a cutset for each name.
func trimBlanks(s string) string {
	for len(s) > 0 && (s[0] == ' ' || s[0] == '\t') {
		s = s[1:]
	}
	for n := len(s); n > 0 && (s[n-1] == ' ' || s[n-1] == '\t'); n = len(s) {
		s = s[:n-1]
	}
	return s
}

// Strip removes our headers from a client's request. It also removes their names from
// Connection, which could remove ours later (RFC 9110 §7.6.1), and from Trailer,
// which could add them behind the body (§6.5). It returns r, or a copy of r with
// filtered trailers. keep has the aliases to keep.
func (f *Filter) Strip(r *http.Request, keep Names) *http.Request {
	for name := range r.Header {
		if f.Claim(name, keep) != Others {
			delete(r.Header, name)
		}
	}
	f.stripList(r.Header, "Connection")
	f.stripList(r.Header, "Proxy-Connection")
	f.stripList(r.Header, "Trailer")
	stripUpgrade(r.Header)
	if r.Body == nil || r.Body == http.NoBody {
		r.Trailer = nil // HTTP/2 may announce trailers without a body; none can come
		return r
	}
	return f.stripTrailers(r)
}

// stripList removes our names from a comma-separated header.
func (f *Filter) stripList(h http.Header, header string) {
	lines := h[header]
	if !slices.ContainsFunc(lines, f.inList) {
		return
	}
	kept := make([]string, 0, len(lines))
	for _, line := range lines {
		tokens := slices.DeleteFunc(strings.Split(line, ","), f.has)
		if len(tokens) > 0 {
			kept = append(kept, strings.Join(tokens, ","))
		}
	}
	if len(kept) == 0 {
		delete(h, header)
		return
	}
	h[header] = kept
}

// stripUpgrade allows no protocol to upgrade the connection to but WebSocket. The
// bytes after an upgrade go to the app as they are. In other protocols they are
// requests, which nobody would strip or guard: h2c (RFC 7540 §3.2), or HTTP over TLS
// (RFC 2817 §3). The request itself may be served without the upgrade (RFC 9110
// §7.8); clients that try h2c first rely on that.
func stripUpgrade(h http.Header) {
	protocols := h["Upgrade"]
	if len(protocols) == 0 || len(protocols) == 1 && strings.EqualFold(trimBlanks(protocols[0]), "websocket") {
		return
	}
	delete(h, "Upgrade")
	delete(h, "Http2-Settings")
}

func (f *Filter) inList(line string) bool {
	for token := range strings.SplitSeq(line, ",") {
		if f.has(token) {
			return true
		}
	}
	return false
}

// stripTrailers returns a copy of r that announces the client's trailers without
// ours. net/http fills the map of its own request when the body ends, with any names.
// So the copy has its own map, filled only with the announced names. r itself is left
// without trailers: the caller may go on with it if it is refused.
func (f *Filter) stripTrailers(r *http.Request) *http.Request {
	out := *r
	out.Trailer = maps.Clone(r.Trailer)
	maps.DeleteFunc(out.Trailer, func(name string, _ []string) bool { return f.has(name) })
	if len(out.Trailer) == 0 {
		out.Trailer = nil
	} else {
		out.Body = &trailerBody{ReadCloser: r.Body, from: r, announced: r.Trailer, to: out.Trailer}
	}
	r.Trailer = nil
	return &out
}

// A trailerBody copies the announced trailers when the body has ended. They are in
// the map that announced them, or in that of the request if net/http made one.
type trailerBody struct {
	io.ReadCloser
	from          *http.Request
	announced, to http.Header
}

func (b *trailerBody) Read(p []byte) (int, error) {
	n, err := b.ReadCloser.Read(p)
	if err == io.EOF {
		for name := range b.to {
			for _, came := range []http.Header{b.from.Trailer, b.announced} {
				if v := came[name]; v != nil {
					b.to[name] = slices.Clone(v)
				}
			}
		}
	}
	return n, err
}
