package samlsp

import (
	"bytes"
	"encoding/binary"
	"errors"
	"fmt"
	"strings"
	"unicode/utf16"
	"unicode/utf8"

	"github.com/caddy-sso/caddy-sso/gateway/wording"
)

const (
	markUTF8  = "\xEF\xBB\xBF"
	markUTF16 = "\uFEFF"
)

// inUTF8 returns a metadata document in UTF-8, which is all that our reader takes.
// An administrator chose it, so that it may be in UTF-16 or ISO-8859-1 as well, as
// some editors and servers write. What its first octets and its declaration say
// must agree (XML 1.0, 4.3.3 and appendix F).
func inUTF8(doc []byte) ([]byte, error) {
	if order := byteOrder(doc); order != nil {
		return fromUTF16(doc, order)
	}
	name, at, end := declaredEncoding(doc)
	switch strings.ToUpper(name) {
	case "", "UTF-8":
		return doc, nil
	case "US-ASCII", "ASCII", "ANSI_X3.4-1968":
		if bytes.ContainsFunc(doc, func(r rune) bool { return r >= utf8.RuneSelf }) {
			return nil, errors.New("the document is declared as US-ASCII and has other characters; declare the encoding that it has")
		}
	case "ISO-8859-1", "LATIN1", "ISO_8859-1":
		if bytes.HasPrefix(doc, []byte(markUTF8)) {
			return nil, fmt.Errorf("the document begins with the mark of UTF-8, and is declared as %s", wording.Quoted(name))
		}
		return renamed(fromLatin1(doc[:at]), fromLatin1(doc[end:])), nil
	case "UTF-16", "UTF-16LE", "UTF-16BE":
		return nil, fmt.Errorf("the document is declared as %s, but is something else; save it again, or remove the declaration", wording.Quoted(name))
	default:
		return nil, fmt.Errorf("the document's encoding %s is none of UTF-8, UTF-16, ISO-8859-1 and US-ASCII; save it as UTF-8", wording.Quoted(name))
	}
	return renamed(doc[:at], doc[end:]), nil
}

// renamed puts the name of UTF-8 between what stands around a declared encoding.
func renamed(before, after []byte) []byte {
	return bytes.Join([][]byte{before, after}, []byte("UTF-8"))
}

// byteOrder is that of a document in UTF-16, by its mark or by its first
// character; nil: it is in something else.
func byteOrder(doc []byte) binary.ByteOrder {
	switch {
	case bytes.HasPrefix(doc, []byte{0xFF, 0xFE}), bytes.HasPrefix(doc, []byte{'<', 0}):
		return binary.LittleEndian
	case bytes.HasPrefix(doc, []byte{0xFE, 0xFF}), bytes.HasPrefix(doc, []byte{0, '<'}):
		return binary.BigEndian
	}
	return nil
}

func fromUTF16(doc []byte, order binary.ByteOrder) ([]byte, error) {
	if len(doc)%2 != 0 {
		return nil, errors.New("the document is UTF-16 and ends within a character; copy the whole of it")
	}
	units := make([]uint16, len(doc)/2)
	for i := range units {
		units[i] = order.Uint16(doc[2*i:])
	}
	text := utf16.Decode(units)
	if strings.ContainsRune(string(text), utf8.RuneError) {
		return nil, errors.New("the document is UTF-16 and has half of a surrogate pair")
	}
	decoded := []byte(strings.TrimPrefix(string(text), markUTF16))
	name, at, end := declaredEncoding(decoded)
	switch strings.ToUpper(name) {
	case "":
		return decoded, nil
	case "UTF-16", "UTF-16LE", "UTF-16BE":
		return renamed(decoded[:at], decoded[end:]), nil
	}
	return nil, fmt.Errorf("the document is UTF-16, and is declared as %s", wording.Quoted(name))
}

// fromLatin1 decodes ISO-8859-1, whose octets are the first 256 characters.
func fromLatin1(doc []byte) []byte {
	decoded := make([]byte, 0, len(doc)+16)
	for _, c := range doc {
		decoded = utf8.AppendRune(decoded, rune(c))
	}
	return decoded
}

// declaredEncoding returns the encoding in the XML declaration, and where its name
// stands. The reader checks the declaration.
func declaredEncoding(doc []byte) (name string, at, end int) {
	start := bytes.TrimPrefix(doc, []byte(markUTF8))
	declaration, _, ended := bytes.Cut(start[:min(len(start), 256)], []byte("?>"))
	if !ended || !bytes.HasPrefix(declaration, []byte("<?xml")) {
		return "", 0, 0
	}
	_, rest, there := bytes.Cut(declaration, []byte("encoding"))
	value := bytes.TrimLeft(rest, blanks+"=")
	if !there || len(value) == 0 || value[0] != '"' && value[0] != '\'' {
		return "", 0, 0
	}
	at = len(doc) - len(start) + len(declaration) - len(value) + 1
	length := bytes.IndexByte(value[1:], value[0])
	if length < 0 {
		return "", 0, 0
	}
	return string(value[1 : 1+length]), at, at + length
}
