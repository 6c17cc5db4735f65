package xmlsec

import "github.com/beevik/etree"

// The namespaces of XML itself (Namespaces in XML 1.0, 3).
const (
	xmlSpace   = "http://www.w3.org/XML/1998/namespace"
	xmlnsSpace = "http://www.w3.org/2000/xmlns/"
)

// A scope maps prefixes to namespaces; the default namespace's is "". mark and
// restore undo changes, so that depth costs nothing.
type scope struct {
	spaces  map[string]string
	changes []binding
}

// A binding is the former namespace of a prefix.
type binding struct {
	prefix, space string
	bound         bool
}

func newScope() scope { return scope{spaces: map[string]string{"xml": xmlSpace}} }

func (s *scope) mark() int { return len(s.changes) }

func (s *scope) bind(prefix, space string) {
	old, bound := s.spaces[prefix]
	s.changes = append(s.changes, binding{prefix, old, bound})
	s.spaces[prefix] = space
}

func (s *scope) restore(mark int) {
	for i := len(s.changes) - 1; i >= mark; i-- {
		if c := s.changes[i]; c.bound {
			s.spaces[c.prefix] = c.space
		} else {
			delete(s.spaces, c.prefix)
		}
	}
	s.changes = s.changes[:mark]
}

// declare adds the declarations among the attributes of el.
func (s *scope) declare(el *etree.Element) {
	for i := range el.Attr {
		if prefix, ok := declared(&el.Attr[i]); ok {
			s.bind(prefix, el.Attr[i].Value)
		}
	}
}

// knows reports whether a prefix is declared. xmlns never is: it only prefixes
// declarations.
func (s *scope) knows(prefix string) bool {
	if prefix == "" {
		return true
	}
	_, ok := s.spaces[prefix]
	return ok
}

// declared returns the prefix that the attribute declares, if it is a declaration.
func declared(a *etree.Attr) (prefix string, ok bool) {
	switch {
	case a.Space == "xmlns":
		return a.Key, true
	case a.Space == "" && a.Key == "xmlns":
		return "", true
	}
	return "", false
}
