package xmlsec

import (
	"bytes"
	"errors"
	"fmt"
	"strconv"
	"strings"
	"unicode/utf8"

	"github.com/beevik/etree"

	"github.com/caddy-sso/caddy-sso/gateway/refusal"
)

// Bounds limit the cost of a document. The zero value refuses every document.
type Bounds struct {
	Size       int // bytes
	Depth      int // of nested elements
	Elements   int
	Attributes int // of one element, namespace declarations among them
	Signatures int // ds:Signature elements anywhere
	// Instructions skips processing instructions like comments, instead of refusing
	// them.
	Instructions bool
}

// maxNamespace bounds a namespace's name in bytes. Real ones have about 50.
const maxNamespace = 256

// A reader reads one XML document in a single pass over its octets: XML 1.0 (fifth
// edition) with namespaces, without DTD and processing instructions. It refuses
// whatever can be read in two ways. It drops comments and joins the text around them,
// CDATA and references, so that an element's text is one CharData that nothing can
// cut short. It keeps only the comments in a SignedInfo, because its signature may
// cover them.
type reader struct {
	checks *checklist
	bounds Bounds
	text   string
	at     int // offset in text

	root *etree.Element
	tag  *etree.Element // the start tag being read
	open *etree.Element // innermost open element

	frames     []frame
	keeping    int // number of frames at the open SignedInfo, whose comments are kept; 0 if none is open
	scope      scope
	elements   int
	signatures int
	ids        map[string]bool
	attrs      []etree.Attr          // of tag, while it is read
	expanded   map[expandedName]bool // its attributes, if there are many
	pending    []byte                // text of open that is not yet a node
}

// A frame is an open element.
type frame struct {
	name string // as written
	mark int    // of the scope, before the element's declarations
}

// Read reads doc strictly and returns its root, which has no parent. Its errors have
// the code saml_malformed or too_large, and give the place, never the content. The
// tree's Attr.NamespaceURI must not be called.
func (c Checks) Read(doc []byte, b Bounds) (*etree.Element, error) {
	return c.checks.read(doc, b)
}

func (c *checklist) read(doc []byte, b Bounds) (*etree.Element, error) {
	r := &reader{
		checks: c, bounds: b, text: string(doc), scope: newScope(), expanded: map[expandedName]bool{},
		ids: make(map[string]bool, min(bytes.Count(doc, []byte("ID=")), b.Elements)), // avoids growing
	}
	err := r.document()
	if err == nil {
		return r.root, nil
	}
	err = fmt.Errorf("reading XML: line %d, byte %d: %w", 1+strings.Count(r.text[:r.at], "\n"), r.at, err)
	if _, coded := errors.AsType[*refusal.Error](err); coded {
		return nil, err
	}
	return nil, refusal.New(refusal.SAMLMalformed, err)
}

func (r *reader) document() error {
	if err := r.checks.xmlDocument.Run(r); err != nil {
		return err
	}
	if strings.HasPrefix(r.text, "\uFEFF") {
		r.at = len("\uFEFF")
	}
	if err := r.declaration(); err != nil {
		return err
	}
	for r.at < len(r.text) {
		if err := r.next(); err != nil {
			return err
		}
	}
	switch {
	case r.open != nil:
		return errors.New("the document ends within an element")
	case r.root == nil:
		return errors.New("the document has no root element")
	}
	return nil
}

func (r *reader) next() error {
	rest := r.text[r.at:]
	switch {
	case rest[0] != '<':
		return r.characters(rest)
	case strings.HasPrefix(rest, "</"):
		return r.endTag()
	case strings.HasPrefix(rest, "<!--"):
		return r.comment(rest)
	case strings.HasPrefix(rest, "<![CDATA["):
		return r.cdata(rest)
	case strings.HasPrefix(rest, "<!"), strings.HasPrefix(rest, "<?"):
		return r.markup(rest)
	}
	return r.startTag()
}

// characters reads text up to the next markup.
func (r *reader) characters(rest string) error {
	if end := strings.IndexByte(rest, '<'); end >= 0 {
		rest = rest[:end]
	}
	if strings.Contains(rest, "]]>") {
		return errors.New("text has the end of a CDATA section") // XML 1.0, 2.4
	}
	if r.open == nil {
		if err := r.checks.xmlOutside.Run(rest); err != nil {
			return err
		}
	} else if err := r.decode(rest, false); err != nil {
		return err
	}
	r.at += len(rest)
	return nil
}

func (r *reader) comment(rest string) error {
	const begin = "<!--"
	end := strings.Index(rest[len(begin):], "--")
	if end < 0 || !strings.HasPrefix(rest[len(begin)+end:], "-->") {
		return errors.New("a comment has -- inside, or no end") // XML 1.0, 2.5
	}
	if r.keeping > 0 {
		r.flush()
		r.open.AddChild(etree.NewComment(string(appendLines(nil, rest[len(begin):len(begin)+end]))))
	}
	r.at += len(begin) + end + len("-->")
	return nil
}

func (r *reader) cdata(rest string) error {
	const begin = "<![CDATA["
	end := strings.Index(rest, "]]>")
	if end < 0 {
		return errors.New("a CDATA section has no end")
	}
	if r.open == nil {
		if err := r.checks.xmlOutside.Run(rest[:len(begin)]); err != nil {
			return err
		}
	} else {
		r.pending = appendLines(r.pending, rest[len(begin):end])
	}
	r.at += end + len("]]>")
	return nil
}

// markup refuses a document type declaration and a processing instruction. If a test
// has dropped the check, it skips them.
func (r *reader) markup(rest string) error {
	if r.bounds.Instructions && strings.HasPrefix(rest, "<?") {
		return r.instruction(rest)
	}
	if err := r.checks.xmlMarkup.Run(rest); err != nil {
		return err
	}
	until := ">"
	if open := strings.IndexAny(rest, "[>"); rest[1] == '!' && open >= 0 && rest[open] == '[' {
		until = "]>"
	}
	end := strings.Index(rest, until)
	if end < 0 {
		return errors.New("markup has no end")
	}
	r.at += end + len(until)
	return nil
}

// instruction skips a processing instruction (XML 1.0, 2.6). None may be called xml
// except the XML declaration at the very start.
func (r *reader) instruction(rest string) error {
	const begin = "<?"
	end := strings.Index(rest, "?>")
	target := rest[len(begin):max(end, len(begin))]
	if blank := strings.IndexAny(target, blanks); blank >= 0 {
		target = target[:blank]
	}
	switch {
	case target == "xml":
		return errors.New("the XML declaration is not at the very start")
	case end < 0, strings.EqualFold(target, "xml"), !isNCName(target):
		return errors.New("a processing instruction has no name, the name xml, or no end")
	}
	r.at += end + len("?>")
	return nil
}

// decode appends text to the pending text. It replaces references, line ends by a
// line feed (XML 1.0, 2.11), and each literal blank in an attribute's value by a
// space (3.3.3).
func (r *reader) decode(text string, inAttribute bool) error {
	run := 0 // start of the run to copy unchanged
	for i := 0; i < len(text); {
		c := text[i]
		if c >= ' ' && c != '&' || c != '&' && c != '\r' && !inAttribute {
			i++
			continue
		}
		r.pending = append(r.pending, text[run:i]...)
		length := 1
		switch {
		case c == '&':
			n, err := r.reference(text[i:])
			if err != nil {
				return err
			}
			length = n
		case c == '\r' && strings.HasPrefix(text[i:], "\r\n"):
			// The following line feed stands for both.
		case inAttribute:
			r.pending = append(r.pending, ' ')
		default:
			r.pending = append(r.pending, '\n')
		}
		i += length
		run = i
	}
	r.pending = append(r.pending, text[run:]...)
	return nil
}

// reference appends the character of the reference at the start of text, and returns
// the reference's length.
func (r *reader) reference(text string) (int, error) {
	char, length := decodeReference(text)
	if err := r.checks.xmlReference.Run(char); err != nil {
		return 0, err
	}
	if char < 0 {
		r.pending = append(r.pending, '&')
		return 1, nil
	}
	r.pending = utf8.AppendRune(r.pending, char)
	return length, nil
}

// decodeReference decodes one of the five predefined entities or a character
// reference (XML 1.0, 4.1 and 4.6). Its length is -1 for anything else, or more than
// 16 bytes.
func decodeReference(text string) (char rune, length int) {
	end := strings.IndexByte(text[:min(len(text), 16)], ';')
	if end < 0 {
		return -1, 0
	}
	name := text[1:end]
	switch name {
	case "amp":
		return '&', end + 1
	case "lt":
		return '<', end + 1
	case "gt":
		return '>', end + 1
	case "quot":
		return '"', end + 1
	case "apos":
		return '\'', end + 1
	}
	digits, numeric := strings.CutPrefix(name, "#")
	if !numeric {
		return -1, 0
	}
	base := 10
	if hex, ok := strings.CutPrefix(digits, "x"); ok {
		digits, base = hex, 16
	}
	n, err := strconv.ParseUint(digits, base, 21)
	if err != nil {
		return -1, 0
	}
	return rune(n), end + 1
}

// appendLines appends text with line feeds as line ends.
func appendLines(to []byte, text string) []byte {
	for {
		line, rest, more := strings.Cut(text, "\r")
		to = append(to, line...)
		if !more {
			return to
		}
		if !strings.HasPrefix(rest, "\n") {
			to = append(to, '\n')
		}
		text = rest
	}
}

// An xmlDeclaration is the content of <?xml …?>.
type xmlDeclaration struct {
	version, encoding string
}

// declaration reads the XML declaration, if the document begins with one.
func (r *reader) declaration() error {
	const begin = "<?xml"
	rest := r.text[r.at:]
	if !strings.HasPrefix(rest, begin) || len(rest) == len(begin) || !isBlank(rest[len(begin)]) {
		return nil
	}
	body, _, ended := strings.Cut(rest[len(begin):], "?>")
	if !ended {
		return errors.New("the XML declaration has no end")
	}
	version, left := pseudoAttribute(body, "version")
	encoding, left := pseudoAttribute(left, "encoding")
	standalone, left := pseudoAttribute(left, "standalone")
	if version == "" || !allBlank(left) || standalone != "" && standalone != "yes" && standalone != "no" {
		return errors.New("the XML declaration has an unknown form")
	}
	r.at += len(begin) + len(body) + len("?>")
	return r.checks.xmlDeclaration.Run(xmlDeclaration{version, encoding})
}

// pseudoAttribute reads one part of the XML declaration and returns its value and the
// rest. If that part is not next, it returns no value and the whole text.
func pseudoAttribute(text, name string) (value, rest string) {
	trimmed := strings.TrimLeft(text, blanks)
	after, ok := strings.CutPrefix(trimmed, name)
	if !ok || len(trimmed) == len(text) {
		return "", text
	}
	after, ok = strings.CutPrefix(strings.TrimLeft(after, blanks), "=")
	after = strings.TrimLeft(after, blanks)
	if !ok || after == "" || after[0] != '"' && after[0] != '\'' {
		return "", text
	}
	value, rest, ok = strings.Cut(after[1:], after[:1])
	if !ok {
		return "", text
	}
	return value, rest
}

// blanks are S of XML 1.0, 2.3.
const blanks = " \t\r\n"

func isBlank(c byte) bool { return c == ' ' || c == '\t' || c == '\r' || c == '\n' }

func allBlank(s string) bool { return strings.Trim(s, blanks) == "" }
