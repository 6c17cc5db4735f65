package xmlsec

import (
	"errors"
	"slices"
	"strings"

	"github.com/beevik/etree"
)

// startTag reads a start tag or an empty-element tag.
func (r *reader) startTag() error {
	r.flush()
	r.at++
	name, err := r.name()
	if err != nil {
		return err
	}
	r.tag = &etree.Element{}
	r.tag.Space, r.tag.Tag = splitName(name)
	r.attrs = r.attrs[:0]
	empty, err := r.attributes()
	if err != nil {
		return err
	}
	r.tag.Attr = slices.Clone(r.attrs)
	r.frames = append(r.frames, frame{name, r.scope.mark()})
	r.elements++
	r.scope.declare(r.tag)
	if err := r.checks.xmlElement.Run(r); err != nil {
		return err
	}
	switch {
	case r.open != nil:
		r.open.AddChild(r.tag)
	case r.root == nil:
		r.root = r.tag
	}
	r.open = r.tag
	if r.keeping == 0 && r.tag.Tag == "SignedInfo" && r.scope.spaces[r.tag.Space] == DSig {
		r.keeping = len(r.frames)
	}
	if empty {
		r.closeElement()
	}
	return nil
}

// attributes reads up to the end of a start tag. It reports whether the element is
// empty.
func (r *reader) attributes() (empty bool, err error) {
	for {
		blank := r.skipBlanks()
		switch {
		case r.skip(">"):
			return false, nil
		case r.skip("/>"):
			return true, nil
		case !blank:
			return false, errors.New("a tag has no end, or no blank between attributes")
		}
		if err := r.attribute(); err != nil {
			return false, err
		}
	}
}

func (r *reader) attribute() error {
	name, err := r.name()
	if err != nil {
		return err
	}
	r.skipBlanks()
	if !r.skip("=") {
		return errors.New("an attribute has no value")
	}
	r.skipBlanks()
	value, err := r.value()
	if err != nil {
		return err
	}
	space, key := splitName(name)
	r.attrs = append(r.attrs, etree.Attr{Space: space, Key: key, Value: value})
	return nil
}

// value reads an attribute's value with its quotes.
func (r *reader) value() (string, error) {
	rest := r.text[r.at:]
	if rest == "" || rest[0] != '"' && rest[0] != '\'' {
		return "", errors.New("an attribute's value has no quotes")
	}
	end := strings.IndexByte(rest[1:], rest[0])
	if end < 0 {
		return "", errors.New("an attribute's value has no end")
	}
	raw := rest[1 : 1+end]
	if strings.IndexByte(raw, '<') >= 0 {
		return "", errors.New("an attribute's value has a <") // XML 1.0, 3.1
	}
	r.at += end + 2
	if decodesToItself(raw) {
		return raw, nil
	}
	err := r.decode(raw, true)
	value := string(r.pending)
	r.pending = r.pending[:0]
	return value, err
}

// decodesToItself reports whether decode would not change value.
func decodesToItself(value string) bool {
	for i := range len(value) {
		if value[i] < ' ' || value[i] == '&' {
			return false
		}
	}
	return true
}

func (r *reader) endTag() error {
	r.flush()
	r.at += len("</")
	name, err := r.name()
	if err != nil {
		return err
	}
	r.skipBlanks()
	if len(r.frames) == 0 || r.frames[len(r.frames)-1].name != name || !r.skip(">") {
		return errors.New("an end tag closes no open element, or has no end")
	}
	r.closeElement()
	return nil
}

func (r *reader) closeElement() {
	last := len(r.frames) - 1
	r.scope.restore(r.frames[last].mark)
	r.frames = r.frames[:last]
	if last < r.keeping {
		r.keeping = 0
	}
	r.open = r.open.Parent()
}

// flush appends the pending text as a node.
func (r *reader) flush() {
	if len(r.pending) > 0 {
		r.open.AddChild(etree.NewText(string(r.pending)))
		r.pending = r.pending[:0]
	}
}

var endsName = [256]bool{' ': true, '\t': true, '\r': true, '\n': true, '=': true, '/': true, '>': true, '<': true, '"': true, '\'': true, '&': true}

// name reads up to the first character that can't be part of a name.
func (r *reader) name() (string, error) {
	start := r.at
	for r.at < len(r.text) && !endsName[r.text[r.at]] {
		r.at++
	}
	name := r.text[start:r.at]
	return name, r.checks.xmlName.Run(name)
}

func (r *reader) skip(what string) bool {
	ok := strings.HasPrefix(r.text[r.at:], what)
	if ok {
		r.at += len(what)
	}
	return ok
}

// skipBlanks reports whether it skipped any.
func (r *reader) skipBlanks() bool {
	start := r.at
	for r.at < len(r.text) && isBlank(r.text[r.at]) {
		r.at++
	}
	return r.at > start
}

// splitName splits a qualified name.
func splitName(name string) (prefix, local string) {
	if prefix, local, ok := strings.Cut(name, ":"); ok {
		return prefix, local
	}
	return "", name
}
