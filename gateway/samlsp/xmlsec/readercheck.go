package xmlsec

import (
	"errors"
	"fmt"
	"slices"
	"strings"
	"unicode/utf8"

	"github.com/beevik/etree"
)

func xmlSize(r *reader) error {
	if len(r.text) > r.bounds.Size {
		return fmt.Errorf("the document is larger than %d bytes", r.bounds.Size)
	}
	return nil
}

// xmlCharacters refuses invalid UTF-8, and characters that are no Char of XML 1.0,
// 2.2.
func xmlCharacters(r *reader) error {
	if !utf8.ValidString(r.text) {
		return errors.New("the document is no UTF-8")
	}
	for i, c := range r.text {
		if !isCharacter(c) {
			r.at = i
			return errors.New("a character is not allowed in XML")
		}
	}
	return nil
}

func isCharacter(c rune) bool {
	return c >= ' ' && c <= 0xD7FF || c == '\t' || c == '\n' || c == '\r' || c >= 0xE000 && c <= 0xFFFD || c >= 0x10000 && c <= 0x10FFFF
}

func xmlVersion(d xmlDeclaration) error {
	if d.version != "1.0" {
		return errors.New("the XML version is not 1.0")
	}
	return nil
}

func xmlEncoding(d xmlDeclaration) error {
	if d.encoding != "" && !strings.EqualFold(d.encoding, "UTF-8") {
		return errors.New("the encoding is not UTF-8")
	}
	return nil
}

func xmlDoctype(markup string) error {
	if strings.HasPrefix(markup, "<!") {
		return errors.New("there is a document type declaration, or other directive")
	}
	return nil
}

func xmlInstruction(markup string) error {
	switch {
	case strings.HasPrefix(markup, "<?xml") && len(markup) > 5 && isBlank(markup[5]):
		return errors.New("the XML declaration is not at the very start")
	case strings.HasPrefix(markup, "<?"):
		return errors.New("there is a processing instruction")
	}
	return nil
}

func xmlKnownReference(c rune) error {
	if !isCharacter(c) {
		return errors.New("a reference is to no predefined entity and no character of XML")
	}
	return nil
}

func xmlBlank(text string) error {
	if !allBlank(text) {
		return errors.New("there is text outside the root element")
	}
	return nil
}

// xmlQualifiedName requires a QName of Namespaces in XML 1.0, 4.
func xmlQualifiedName(name string) error {
	prefix, local, prefixed := strings.Cut(name, ":")
	if !prefixed {
		prefix, local = "a", name
	}
	if !isNCName(prefix) || !isNCName(local) {
		return errors.New("a name is missing, or is no qualified name")
	}
	return nil
}

func isNCName(name string) bool {
	for i, c := range name {
		if !isNameStart(c) && (i == 0 || !isNameRest(c)) {
			return false
		}
	}
	return name != ""
}

// isNameStart is NameStartChar of XML 1.0, 2.3, without the colon.
func isNameStart(c rune) bool {
	if c < 0x80 {
		return c >= 'a' && c <= 'z' || c >= 'A' && c <= 'Z' || c == '_'
	}
	return slices.ContainsFunc(nameStart, func(r [2]rune) bool { return c >= r[0] && c <= r[1] })
}

// isNameRest is NameChar without NameStartChar.
func isNameRest(c rune) bool {
	return c >= '0' && c <= '9' || c == '-' || c == '.' || c == 0xB7 || c >= 0x300 && c <= 0x36F || c >= 0x203F && c <= 0x2040
}

var nameStart = [][2]rune{
	{0xC0, 0xD6},
	{0xD8, 0xF6},
	{0xF8, 0x2FF},
	{0x370, 0x37D},
	{0x37F, 0x1FFF},
	{0x200C, 0x200D},
	{0x2070, 0x218F},
	{0x2C00, 0x2FEF},
	{0x3001, 0xD7FF},
	{0xF900, 0xFDCF},
	{0xFDF0, 0xFFFD},
	{0x10000, 0xEFFFF},
}

func xmlOneRoot(r *reader) error {
	if r.open == nil && r.root != nil {
		return errors.New("there is a second root element")
	}
	return nil
}

func xmlDepth(r *reader) error {
	if len(r.frames) > r.bounds.Depth {
		return fmt.Errorf("elements are nested deeper than %d levels", r.bounds.Depth)
	}
	return nil
}

func xmlElements(r *reader) error {
	if r.elements > r.bounds.Elements {
		return fmt.Errorf("there are more than %d elements", r.bounds.Elements)
	}
	return nil
}

func xmlAttributes(r *reader) error {
	if len(r.tag.Attr) > r.bounds.Attributes {
		return fmt.Errorf("an element has more than %d attributes", r.bounds.Attributes)
	}
	return nil
}

// xmlNamespaces enforces Namespaces in XML 1.0, 2.2 and 3: the prefixes xml and xmlns
// and their namespaces belong to each other, and a prefix can't be undeclared.
func xmlNamespaces(r *reader) error {
	for i := range r.tag.Attr {
		a := &r.tag.Attr[i]
		prefix, ok := declared(a)
		if !ok {
			continue
		}
		undeclared := prefix != "" && a.Value == ""
		reserved := prefix == "xmlns" || a.Value == xmlnsSpace || (prefix == "xml") != (a.Value == xmlSpace)
		if undeclared || reserved {
			return errors.New("a namespace declaration is not allowed")
		}
	}
	return nil
}

func xmlPrefixes(r *reader) error {
	undeclared := func(prefix string) error {
		return fmt.Errorf("the prefix %s is not declared (xmlns:%[1]s=… is missing)", prefix)
	}
	if !r.scope.knows(r.tag.Space) {
		return undeclared(bounded(r.tag.Space))
	}
	for i := range r.tag.Attr {
		if space := r.tag.Attr[i].Space; space != "xmlns" && !r.scope.knows(space) {
			return undeclared(bounded(space))
		}
	}
	return nil
}

// bounded shortens a prefix, which is an NCName, for an error.
func bounded(prefix string) string { return prefix[:min(len(prefix), 40)] }

// xmlNamespaceLength keeps comparing namespaces cheap: one can be used many thousand
// times by a prefix of one letter.
func xmlNamespaceLength(r *reader) error {
	for i := range r.tag.Attr {
		if _, ok := declared(&r.tag.Attr[i]); ok && len(r.tag.Attr[i].Value) > maxNamespace {
			return fmt.Errorf("a namespace is longer than %d bytes", maxNamespace)
		}
	}
	return nil
}

// xmlUniqueAttributes compares expanded names (Namespaces in XML 1.0, 6.3), so that
// one attribute under two prefixes is found.
func xmlUniqueAttributes(r *reader) error {
	unique := r.uniqueAmongFew
	if len(r.tag.Attr) > 8 {
		unique = r.uniqueAmongMany
	}
	if !unique(r.tag.Attr) {
		return errors.New("an attribute is there twice")
	}
	return nil
}

// uniqueAmongFew is the fast path: it compares names, and namespaces only if names
// are equal.
func (r *reader) uniqueAmongFew(attrs []etree.Attr) bool {
	for i := range attrs {
		for j := range i {
			if attrs[i].Key == attrs[j].Key && r.expandedName(&attrs[i]) == r.expandedName(&attrs[j]) {
				return false
			}
		}
	}
	return true
}

func (r *reader) uniqueAmongMany(attrs []etree.Attr) bool {
	clear(r.expanded)
	for i := range attrs {
		r.expanded[r.expandedName(&attrs[i])] = true
	}
	return len(r.expanded) == len(attrs)
}

// An expandedName is a name with its namespace instead of a prefix.
type expandedName struct{ space, key string }

func (r *reader) expandedName(a *etree.Attr) expandedName {
	switch a.Space {
	case "":
		return expandedName{"", a.Key}
	case "xmlns":
		return expandedName{xmlnsSpace, a.Key}
	}
	return expandedName{r.scope.spaces[a.Space], a.Key}
}

// xmlUniqueIDs treats the values of ID, Id and id as one set. Only a schema would
// tell which of them is an ID, and a reference must have one reading.
func xmlUniqueIDs(r *reader) error {
	for i := range r.tag.Attr {
		a := &r.tag.Attr[i]
		if !strings.EqualFold(a.Key, "id") || a.Space == "xmlns" {
			continue
		}
		if r.ids[a.Value] {
			return errors.New("an ID is there twice")
		}
		r.ids[a.Value] = true
	}
	return nil
}

func xmlSignatures(r *reader) error {
	if r.tag.Tag == "Signature" && r.scope.spaces[r.tag.Space] == DSig {
		r.signatures++
	}
	if r.signatures > r.bounds.Signatures {
		return fmt.Errorf("there are more than %d signatures", r.bounds.Signatures)
	}
	return nil
}
