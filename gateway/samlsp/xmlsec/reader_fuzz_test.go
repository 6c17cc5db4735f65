package xmlsec_test

import (
	"bytes"
	"encoding/xml"
	"errors"
	"go/ast"
	"go/parser"
	"go/token"
	"io"
	"os/exec"
	"path/filepath"
	"slices"
	"strconv"
	"strings"
	"testing"
	"unicode"

	"github.com/beevik/etree"
	validator "github.com/mattermost/xml-roundtrip-validator"

	"github.com/caddy-sso/caddy-sso/gateway/samlsp/xmlsec"
)

// FuzzRead holds the reader against encoding/xml: what it takes, encoding/xml
// takes as well, and as the same tree, and xml-roundtrip-validator finds
// nothing in it. What is written of the tree canonically is read as the same.
func FuzzRead(f *testing.F) {
	for _, tt := range refused {
		if len(tt.doc) < 4096 { // mutating what is large only takes time
			f.Add([]byte(tt.doc))
		}
	}
	for _, seed := range []string{
		`<?xml version="1.0"?><!-- --><a b="&lt;&#10;"> x <![CDATA[<]]>&gt;</a>`,
		`<p:a xmlns:p="urn:p" xmlns="urn:d"><b p:c="1" c="2" xml:lang=""/><d xmlns=""/></p:a>`,
		"\uFEFF<größe>\r\n</größe>",
	} {
		f.Add([]byte(seed))
	}
	doc, _ := keycloak(f)
	f.Add(doc)
	f.Fuzz(func(t *testing.T, doc []byte) {
		root, err := all().read(doc)
		if err != nil {
			return
		}
		sameAsEncodingXML(t, doc, root)
		first, err := xmlsec.Canonical(root, xmlsec.C14N10)
		if err != nil {
			return // over the limit
		}
		again, err := all().read(first)
		if err != nil {
			t.Fatalf("reading the canonical form: %v", err)
		}
		for _, algorithm := range []string{xmlsec.C14N10, xmlsec.Exclusive} {
			want, _ := xmlsec.Canonical(root, algorithm)
			if got, err := xmlsec.Canonical(again, algorithm); err != nil || !bytes.Equal(got, want) {
				t.Errorf("%s: got %q, %v, want %q", algorithm, got, err, want)
			}
		}
	})
}

// sameAsEncodingXML knows two differences. encoding/xml has the names of XML's
// fourth edition, and it keeps the blanks in attributes, namespaces among them,
// that XML 1.0, 3.3.3 makes spaces.
func sameAsEncodingXML(t *testing.T, doc []byte, root *etree.Element) {
	t.Helper()
	doc = bytes.TrimPrefix(doc, []byte("\uFEFF"))
	want, err := encodingXML(doc)
	if err != nil && bytes.ContainsFunc(doc, func(c rune) bool { return c > unicode.MaxASCII }) && strings.Contains(err.Error(), "invalid XML name") {
		return
	}
	if err != nil {
		t.Fatalf("encoding/xml refuses %q: %v", doc, err)
	}
	if ours := expanded(nil, root, map[string]string{"xml": "http://www.w3.org/XML/1998/namespace"}); strings.Join(ours, "\n") != strings.Join(want, "\n") {
		t.Errorf("got  %q\nwant %q", ours, want)
	}
	if err := validator.Validate(bytes.NewReader(doc)); err != nil && !unwritable(root) {
		t.Errorf("the validator refuses %q: %v", doc, err)
	}
}

// unwritable says whether an element has several attributes with prefixes.
// encoding/xml reads them as we do, which is compared; but it writes them wrong,
// which the validator checks.
func unwritable(el *etree.Element) bool {
	prefixed := 0
	for _, a := range el.Attr {
		if a.Space != "" && a.Space != "xmlns" {
			prefixed++
		}
	}
	return prefixed > 1 || slices.ContainsFunc(el.ChildElements(), unwritable)
}

var blanksAsSpaces = strings.NewReplacer("\t", " ", "\n", " ", "\r", " ")

// encodingXML lists the tokens within the root, adjacent text as one.
func encodingXML(doc []byte) ([]string, error) {
	var list []string
	dec, depth, text := xml.NewDecoder(bytes.NewReader(doc)), 0, ""
	flush := func() {
		if text != "" {
			list = append(list, "text "+text)
		}
		text = ""
	}
	for {
		tok, err := dec.Token()
		if errors.Is(err, io.EOF) {
			return list, nil
		}
		if err != nil {
			return nil, err
		}
		switch tok := tok.(type) {
		case xml.StartElement:
			flush()
			depth++
			list = append(list, "start "+blanksAsSpaces.Replace(tok.Name.Space)+" "+tok.Name.Local)
			for _, a := range tok.Attr {
				list = append(list, "attr "+blanksAsSpaces.Replace(a.Name.Space)+" "+a.Name.Local+" "+blanksAsSpaces.Replace(a.Value))
			}
		case xml.EndElement:
			flush()
			depth--
			list = append(list, "end")
		case xml.CharData:
			if depth > 0 {
				text += string(tok)
			}
		}
	}
}

// expanded lists el in the same way.
func expanded(list []string, el *etree.Element, scope map[string]string) []string {
	inner := map[string]string{}
	for prefix, space := range scope {
		inner[prefix] = space
	}
	for _, a := range el.Attr {
		switch {
		case a.Space == "xmlns":
			inner[a.Key] = a.Value
		case a.Space == "" && a.Key == "xmlns":
			inner[""] = a.Value
		}
	}
	list = append(list, "start "+blanksAsSpaces.Replace(inner[el.Space])+" "+el.Tag)
	for _, a := range el.Attr {
		space := inner[a.Space]
		if a.Space == "" || a.Space == "xmlns" {
			space = a.Space
		}
		list = append(list, "attr "+blanksAsSpaces.Replace(space)+" "+a.Key+" "+blanksAsSpaces.Replace(a.Value))
	}
	for _, c := range el.Child {
		switch c := c.(type) {
		case *etree.CharData:
			list = append(list, "text "+c.Data)
		case *etree.Element:
			list = expanded(list, c, inner)
		}
	}
	return append(list, "end")
}

// The reader replaces xml-roundtrip-validator: of the texts in that module's
// own tests it refuses whatever the validator refuses.
func TestReadRefusesWhatTheValidatorRefuses(t *testing.T) {
	t.Parallel()
	dir, err := exec.CommandContext(t.Context(), "go", "list", "-m", "-f", "{{.Dir}}", "github.com/mattermost/xml-roundtrip-validator").Output()
	if err != nil {
		t.Fatal(err)
	}
	files, err := filepath.Glob(filepath.Join(strings.TrimSpace(string(dir)), "*_test.go"))
	if err != nil {
		t.Fatal(err)
	}
	refusals := 0
	for _, name := range files {
		source, err := parser.ParseFile(token.NewFileSet(), name, nil, 0)
		if err != nil {
			t.Fatal(err)
		}
		ast.Inspect(source, func(n ast.Node) bool {
			lit, ok := n.(*ast.BasicLit)
			if !ok || lit.Kind != token.STRING {
				return true
			}
			doc, err := strconv.Unquote(lit.Value)
			if err != nil {
				t.Fatal(err)
			}
			if validator.Validate(strings.NewReader(doc)) == nil {
				return true
			}
			refusals++
			if _, err := all().read([]byte(doc)); err == nil {
				t.Errorf("read %q", doc)
			}
			return true
		})
	}
	if refusals < 15 {
		t.Errorf("only %d texts that the validator refuses in %q: has its corpus moved?", refusals, files)
	}
}
