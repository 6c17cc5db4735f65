package xmlsec

import (
	"slices"

	"github.com/beevik/etree"
)

// Attribute returns the value of el's attribute without a prefix, and whether it
// exists. el may be nil.
func Attribute(el *etree.Element, name string) (string, bool) {
	if el == nil {
		return "", false
	}
	for i := range el.Attr {
		if el.Attr[i].Space == "" && el.Attr[i].Key == name {
			return el.Attr[i].Value, true
		}
	}
	return "", false
}

// Child returns el's first child with that name, or nil. el may be nil.
func Child(el *etree.Element, space, tag string) *etree.Element {
	if el == nil {
		return nil
	}
	for _, token := range el.Child {
		if c, ok := token.(*etree.Element); ok && c.Tag == tag && c.NamespaceURI() == space {
			return c
		}
	}
	return nil
}

// Children returns el's children with that name. el may be nil.
func Children(el *etree.Element, space, tag string) []*etree.Element {
	var found []*etree.Element
	for _, c := range elements(el) {
		if c.Tag == tag && c.NamespaceURI() == space {
			found = append(found, c)
		}
	}
	return found
}

// elements returns the element children of el, which may be nil.
func elements(el *etree.Element) []*etree.Element {
	if el == nil {
		return nil
	}
	return el.ChildElements()
}

// Count counts the descendants of el with one of these local names, in any namespace.
// No message needs such a name twice, so the namespace does not matter, and looking
// it up would be expensive in a large document.
func Count(el *etree.Element, names ...string) (n int) {
	for _, token := range el.Child {
		if c, ok := token.(*etree.Element); ok {
			if slices.Contains(names, c.Tag) {
				n++
			}
			n += Count(c, names...)
		}
	}
	return n
}
