package xmlsec

import (
	"cmp"
	"errors"
	"fmt"
	"slices"
	"strings"

	"github.com/beevik/etree"
)

// The canonicalization algorithms. Each has a variant with comments, whose name has a
// suffix.
const (
	C14N10    = "http://www.w3.org/TR/2001/REC-xml-c14n-20010315"
	C14N11    = "http://www.w3.org/2006/12/xml-c14n11"
	Exclusive = "http://www.w3.org/2001/10/xml-exc-c14n#"
)

// withComments removes the suffix of a variant with comments.
func withComments(uri string) (algorithm string, comments bool) {
	switch uri {
	case C14N10 + "#WithComments", C14N11 + "#WithComments":
		return strings.TrimSuffix(uri, "#WithComments"), true
	case Exclusive + "WithComments":
		return Exclusive, true
	}
	return uri, false
}

// Canonicalize returns the canonical form of el as it stands in its document. It
// refuses an unknown algorithm, and a form of more than limit bytes.
func Canonicalize(el *etree.Element, algorithm string, limit int) ([]byte, error) {
	if !isCanonicalization(algorithm) {
		return nil, errors.New("a canonicalization is not supported")
	}
	return canonicalization{algorithm: algorithm}.octets(el, nil, limit)
}

// A canonicalization is an algorithm with its parameter.
type canonicalization struct {
	algorithm string
	prefixes  []string // InclusiveNamespaces; "" is the default namespace
	comments  bool     // those that the reader kept
}

func isCanonicalization(algorithm string) bool {
	return algorithm == C14N10 || algorithm == C14N11 || algorithm == Exclusive
}

// octets writes el in canonical form, as it stands in its document, without omit and
// its descendants. It works in one pass, so its cost is that of its output: at most
// limit bytes and the last token.
//
// The canonicalizers of goxmldsig copy every prefix in scope for every element and
// the whole tree for every level, which takes seconds for a document within our
// bounds. Nor do they know xmlns="", #default, or the order of prefixed attributes.
func (c canonicalization) octets(el, omit *etree.Element, limit int) ([]byte, error) {
	w := &canonicalWriter{exclusive: c.algorithm == Exclusive, comments: c.comments, listed: map[string]bool{}, omit: omit, limit: limit, scope: newScope(), shown: newScope()}
	if w.exclusive {
		for _, p := range c.prefixes {
			w.listed[p] = true
		}
	}
	inherited, err := w.apex(el, c.algorithm)
	if err != nil {
		return nil, err
	}
	return w.out, w.element(el, inherited)
}

// A canonicalWriter writes one canonical form.
type canonicalWriter struct {
	exclusive bool
	comments  bool
	listed    map[string]bool // prefixes treated as in the inclusive form
	omit      *etree.Element
	limit     int
	out       []byte

	scope scope // namespaces by prefix in the document
	shown scope // the same in the output so far

	// Reused for each element.
	fresh []string
	attrs []expandedAttr
}

// apex reads the declarations of el's ancestors. It returns the attributes that el
// inherits in the inclusive forms: all in the namespace xml (Canonical XML 1.0, 2.4),
// except xml:id since 1.1. The rule of 1.1 for joining xml:base is not implemented;
// SAML has no xml:base.
func (w *canonicalWriter) apex(el *etree.Element, algorithm string) ([]etree.Attr, error) {
	var ancestors []*etree.Element
	for p := el.Parent(); p != nil; p = p.Parent() {
		ancestors = append(ancestors, p)
	}
	var inherited []etree.Attr
	for _, p := range slices.Backward(ancestors) {
		w.scope.declare(p)
		for _, a := range p.Attr {
			if w.exclusive || a.Space != "xml" || algorithm == C14N11 && a.Key == "id" {
				continue
			}
			if algorithm == C14N11 && a.Key == "base" {
				return nil, errors.New("an ancestor has an xml:base")
			}
			same := func(b etree.Attr) bool { return a.Key == b.Key }
			inherited = append(slices.DeleteFunc(inherited, same), a)
		}
	}
	own := func(a etree.Attr) bool {
		return slices.ContainsFunc(el.Attr, func(b etree.Attr) bool { return b.Space == "xml" && b.Key == a.Key })
	}
	return slices.DeleteFunc(inherited, own), nil
}

func (w *canonicalWriter) element(el *etree.Element, inherited []etree.Attr) error {
	atApex := len(w.out) == 0
	scopeMark, shownMark := w.scope.mark(), w.shown.mark()
	w.scope.declare(el)
	w.write("<", el.Space, el.Tag)
	w.namespaces(el, atApex)
	w.attributes(el, inherited)
	w.out = append(w.out, '>')
	for _, child := range el.Child {
		switch child := child.(type) {
		case *etree.CharData:
			w.out = appendEscaped(w.out, child.Data, &textEscapes)
		case *etree.Comment:
			if w.comments {
				w.out = append(append(append(w.out, "<!--"...), child.Data...), "-->"...)
			}
		case *etree.Element:
			if child == w.omit {
				continue
			}
			if err := w.element(child, nil); err != nil {
				return err
			}
		}
		if len(w.out) > w.limit {
			return fmt.Errorf("the canonical form is larger than %d bytes", w.limit)
		}
	}
	w.write("</", el.Space, el.Tag)
	w.out = append(w.out, '>')
	w.scope.restore(scopeMark)
	w.shown.restore(shownMark)
	return nil
}

// write appends begin and a qualified name.
func (w *canonicalWriter) write(begin, prefix, local string) {
	w.out = append(w.out, begin...)
	if prefix != "" {
		w.out = append(w.out, prefix...)
		w.out = append(w.out, ':')
	}
	w.out = append(w.out, local...)
}

// namespaces writes the declarations that el needs: in the exclusive form, of the
// prefixes that el itself uses (Exclusive XML Canonicalization 1.0, 3).
func (w *canonicalWriter) namespaces(el *etree.Element, atApex bool) {
	fresh := w.fresh[:0]
	show := func(prefix string) {
		space := w.scope.spaces[prefix]
		if prefix == "xml" || w.shown.spaces[prefix] == space {
			return
		}
		w.shown.bind(prefix, space)
		fresh = append(fresh, prefix)
	}
	if w.exclusive {
		show(el.Space)
	}
	for i := range el.Attr {
		a := &el.Attr[i]
		if prefix, ok := declared(a); ok {
			if !w.exclusive || w.listed[prefix] {
				show(prefix)
			}
		} else if w.exclusive && a.Space != "" {
			show(a.Space)
		}
	}
	if atApex {
		for prefix := range w.scope.spaces {
			if !w.exclusive || w.listed[prefix] {
				show(prefix)
			}
		}
	}
	w.fresh = fresh
	w.declare(fresh)
}

// declare writes the declarations of prefixes, in order.
func (w *canonicalWriter) declare(prefixes []string) {
	slices.Sort(prefixes)
	for _, prefix := range prefixes {
		if prefix == "" {
			w.write(" ", "", "xmlns")
		} else {
			w.write(" ", "xmlns", prefix)
		}
		w.value(w.scope.spaces[prefix])
	}
}

// attributes writes the attributes of el by namespace, then by local name.
func (w *canonicalWriter) attributes(el *etree.Element, inherited []etree.Attr) {
	list := w.attrs[:0]
	for _, attrs := range [][]etree.Attr{el.Attr, inherited} {
		for i := range attrs {
			a := &attrs[i]
			if _, ok := declared(a); ok {
				continue
			}
			space := ""
			if a.Space != "" {
				space = w.scope.spaces[a.Space]
			}
			list = append(list, expandedAttr{space, a})
		}
	}
	slices.SortStableFunc(list, func(a, b expandedAttr) int {
		return cmp.Or(strings.Compare(a.space, b.space), strings.Compare(a.Key, b.Key))
	})
	for _, a := range list {
		w.write(" ", a.Space, a.Key)
		w.value(a.Value)
	}
	w.attrs = list
}

// An expandedAttr is an attribute with its namespace.
type expandedAttr struct {
	space string
	*etree.Attr
}

func (w *canonicalWriter) value(v string) {
	w.out = append(w.out, `="`...)
	w.out = appendEscaped(w.out, v, &valueEscapes)
	w.out = append(w.out, '"')
}

// appendEscaped appends s and replaces some characters by references.
func appendEscaped(to []byte, s string, escapes *[256]string) []byte {
	run := 0 // start of the run to copy unchanged
	for i := range len(s) {
		if escape := escapes[s[i]]; escape != "" {
			to = append(append(to, s[run:i]...), escape...)
			run = i + 1
		}
	}
	return append(to, s[run:]...)
}

// The characters to escape in text and in values (Canonical XML 1.0, 2.3).
var (
	textEscapes  = [256]string{'&': "&amp;", '<': "&lt;", '>': "&gt;", '\r': "&#xD;"}
	valueEscapes = [256]string{'&': "&amp;", '<': "&lt;", '"': "&quot;", '\t': "&#x9;", '\n': "&#xA;", '\r': "&#xD;"}
)
