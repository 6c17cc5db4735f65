package samlsp

import (
	"fmt"
	"slices"
	"strings"
	"time"

	"github.com/beevik/etree"

	"github.com/caddy-sso/caddy-sso/gateway/samlsp/xmlsec"
	"github.com/caddy-sso/caddy-sso/gateway/wording"
)

// blanks are S of XML 1.0, 2.3.
const blanks = " \t\r\n"

// prefixes are what this package calls the namespaces of a response by. What a
// document calls them does not matter.
var prefixes = map[string]string{nsProtocol: "samlp:", nsAssertion: "saml:", xmlsec.DSig: "ds:"}

// nameOf is el's name with the prefix of this package, or in braces with its
// namespace.
func nameOf(el *etree.Element) string {
	space := el.NamespaceURI()
	if prefix, ok := prefixes[space]; ok {
		return prefix + el.Tag
	}
	return "{" + space + "}" + el.Tag
}

// describe shows an element's name and namespace in an error.
func describe(el *etree.Element) string {
	space := el.NamespaceURI()
	if space == "" {
		return wording.Quoted(el.Tag) + " without a namespace (xmlns is missing)"
	}
	return wording.Quoted(el.Tag) + " in the namespace " + wording.Quoted(space)
}

// spaceOf returns the namespace that prefix is bound to at el.
func spaceOf(el *etree.Element, prefix string) string {
	for ; el != nil; el = el.Parent() {
		for _, a := range el.Attr {
			if a.Space == "xmlns" && a.Key == prefix {
				return a.Value
			}
		}
	}
	return ""
}

// A walker goes through a tree into crewjam's types, and notes what it does not find
// as the schema has it under the name of the check that refuses it. The first
// fault of each check counts.
type walker map[string]error

func (w walker) fault(check, format string, args ...any) {
	if w[check] == nil {
		w[check] = fmt.Errorf(format, args...)
	}
}

type parts map[string][]*etree.Element

// first returns the first child of that name, or nil.
func (c parts) first(name string) *etree.Element {
	if len(c[name]) == 0 {
		return nil
	}
	return c[name][0]
}

// parts returns el's child elements by name. schema lists those that may be
// there: as they are, with a question mark (at most one) or a star (any number).
// Others, and text among them, are a fault.
func (w walker) parts(check string, el *etree.Element, schema ...string) parts {
	found := parts{}
	for _, token := range el.Child {
		switch token := token.(type) {
		case *etree.Element:
			name := nameOf(token)
			found[name] = append(found[name], token)
		case *etree.CharData:
			if strings.Trim(token.Data, blanks) != "" {
				w.fault(check, "reading %s: there is text among its elements", nameOf(el))
			}
		}
	}
	known := 0
	for _, entry := range schema {
		name := strings.TrimRight(entry, "?*")
		n := len(found[name])
		if n > 1 && !strings.HasSuffix(entry, "*") || n == 0 && name == entry {
			w.fault(check, "reading %s: %s stands %d times in it", nameOf(el), name, n)
		}
		if n > 0 {
			known++
		}
	}
	if known < len(found) {
		w.fault(check, "reading %s: there is an element in it that is not known here: %s", nameOf(el), describe(unknown(el, schema)))
	}
	return found
}

// unknown returns the first child element that schema does not list.
func unknown(el *etree.Element, schema []string) *etree.Element {
	for _, child := range el.ChildElements() {
		if !slices.ContainsFunc(schema, func(entry string) bool { return strings.TrimRight(entry, "?*") == nameOf(child) }) {
			return child
		}
	}
	return el
}

// text returns all of el's text. An element in it is a fault, and does not cut
// it short.
func (w walker) text(check string, el *etree.Element) string {
	if el == nil {
		return ""
	}
	var b strings.Builder
	for _, token := range el.Child {
		switch token := token.(type) {
		case *etree.Element:
			w.fault(check, "reading %s: there is an element in its text", nameOf(el))
		case *etree.CharData:
			b.WriteString(token.Data)
		}
	}
	return b.String()
}

// instant returns the time in an attribute, or the zero time if it is not there.
func (w walker) instant(check string, el *etree.Element, name string) time.Time {
	value, ok := xmlsec.Attribute(el, name)
	if !ok {
		return time.Time{}
	}
	t, err := instant(collapsed(value))
	if err != nil {
		w.fault(check, "reading %s of %s: %w", name, nameOf(el), err)
	}
	return t
}

// collapsed takes off the blanks around a value of xs:anyURI, xs:dateTime or
// xs:NCName, which are no part of it (XML Schema 2, 4.3.6): providers that indent
// their messages send them. Values of xs:string (Issuer, NameID, an attribute's
// name or value) are taken as they are.
func collapsed(s string) string { return strings.Trim(s, blanks) }

// uri returns the value of an attribute of the type xs:anyURI.
func uri(el *etree.Element, name string) string { return collapsed(attr(el, name)) }

// attr returns the value of the attribute without a prefix, empty if there is
// none.
func attr(el *etree.Element, name string) string {
	value, _ := xmlsec.Attribute(el, name)
	return value
}
