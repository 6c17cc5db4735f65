package xmlsec

import (
	"crypto"
	"encoding/base64"
	"errors"
	"fmt"
	"strings"

	"github.com/beevik/etree"

	"github.com/caddy-sso/caddy-sso/gateway/check"
	"github.com/caddy-sso/caddy-sso/gateway/refusal"
)

// The namespaces of XML Signature 1.1 and of a canonicalization's parameters.
const (
	DSig     = "http://www.w3.org/2000/09/xmldsig#"
	excSpace = Exclusive
)

// A Trust configures the verification of signatures.
type Trust struct {
	// Keys come from configuration or metadata. Those that CheckKey refuses are
	// skipped. Only the first 16 are tried.
	Keys []crypto.PublicKey
	// SHA1 also accepts SHA-1, with RSA and as a digest.
	SHA1 bool
}

const (
	maxKeys = 16
	// maxSignedInfo bounds the canonical form of a SignedInfo. Real ones have about
	// one kilobyte; the inclusive form contains each namespace in scope.
	maxSignedInfo = 64 << 10
)

// A signature is a ds:Signature below the element that it must sign (XML Signature
// 1.1). Its parts are read leniently, and the checks refuse faults: a missing part is
// nil, and of several the first is used.
type signature struct {
	signed *etree.Element
	bounds Bounds
	keys   []crypto.PublicKey // that may have made the signature
	sha1   bool

	all       []*etree.Element // every ds:Signature that is a child of signed
	el        *etree.Element   // the first of them
	info      *etree.Element   // SignedInfo
	value     *etree.Element   // SignatureValue
	reference *etree.Element

	octets []byte // the canonical SignedInfo, then the canonical element
}

// Verify verifies the signature that el has for itself, as el stands in its document.
// It returns el parsed anew, within b, from the digested octets without the
// signature: nothing else was signed. All errors have a code; for an element without
// a signature it is saml_unsigned.
//
// el's canonical form, which may be large, is made only after a trusted key has
// signed the reference to it.
func (c Checks) Verify(el *etree.Element, t Trust, b Bounds) (*etree.Element, error) {
	s := &signature{signed: el, bounds: b, keys: c.checks.fit(t.Keys), sha1: t.SHA1, all: Children(el, DSig, "Signature")}
	if len(s.all) == 0 {
		return nil, refusal.New(refusal.SAMLUnsigned, fmt.Errorf("verifying the signature of the %.20s: it has none of its own", el.Tag))
	}
	tree, err := c.checks.verified(s)
	if err != nil {
		e := refusal.From(err, refusal.SAMLSignature)
		return nil, refusal.New(e.Code, fmt.Errorf("verifying the signature of the %.20s: %w", el.Tag, e.Err))
	}
	return tree, nil
}

// fit returns the acceptable keys among the first ones.
func (c *checklist) fit(keys []crypto.PublicKey) []crypto.PublicKey {
	var fit []crypto.PublicKey
	for _, key := range keys[:min(len(keys), maxKeys)] {
		if c.key.Run(key) == nil {
			fit = append(fit, key)
		}
	}
	return fit
}

func (c *checklist) verified(s *signature) (*etree.Element, error) {
	s.el = s.all[0]
	s.info = child(s.el, "SignedInfo")
	s.value = child(s.el, "SignatureValue")
	s.reference = child(s.info, "Reference")
	for _, list := range []check.List[*signature]{c.signature, c.signatureMethod, c.reference} {
		if err := list.Run(s); err != nil {
			return nil, err
		}
	}
	if s.info == nil {
		return nil, errors.New("there is no SignedInfo")
	}
	var err error
	if s.octets, err = canonicalizationOf(child(s.info, "CanonicalizationMethod")).octets(s.info, nil, maxSignedInfo); err != nil {
		return nil, fmt.Errorf("canonicalizing SignedInfo: %w", err)
	}
	if err := c.signatureValue.Run(s); err != nil {
		return nil, err
	}
	if s.octets, err = s.canonicalization().octets(s.signed, s.el, s.bounds.Size); err != nil {
		return nil, fmt.Errorf("canonicalizing the signed element: %w", err)
	}
	if err := c.digestValue.Run(s); err != nil {
		return nil, err
	}
	return c.read(s.octets, s.bounds)
}

func (s *signature) transforms() []*etree.Element {
	list := child(s.reference, "Transforms")
	if list == nil {
		return nil
	}
	return list.ChildElements()
}

// canonicalization returns the canonicalization of the signed element: that of its
// transform, or else Canonical XML 1.0 (XML Signature 1.1, 4.4.3.2).
func (s *signature) canonicalization() canonicalization {
	for _, t := range s.transforms() {
		if c := canonicalizationOf(t); isCanonicalization(c.algorithm) {
			// A reference to an element never includes comments, whatever the
			// algorithm (XML Signature 1.1, 4.4.3.3).
			c.comments = false
			return c
		}
	}
	return canonicalization{algorithm: C14N10}
}

// canonicalizationOf reads a CanonicalizationMethod, or a Transform.
func canonicalizationOf(method *etree.Element) canonicalization {
	c := canonicalization{}
	c.algorithm, c.comments = withComments(algorithmOf(method))
	for _, el := range elements(method) {
		if el.Tag != "InclusiveNamespaces" || el.NamespaceURI() != excSpace {
			continue
		}
		list, _ := Attribute(el, "PrefixList")
		for _, prefix := range strings.Fields(list) {
			if prefix == "#default" {
				prefix = ""
			}
			c.prefixes = append(c.prefixes, prefix)
		}
	}
	return c
}

// algorithmOf returns the Algorithm of el, which may be nil.
func algorithmOf(el *etree.Element) string {
	if el == nil {
		return ""
	}
	uri, _ := Attribute(el, "Algorithm")
	return uri
}

// child is Child in the namespace DSig.
func child(el *etree.Element, tag string) *etree.Element { return Child(el, DSig, tag) }

// text is all text of el, also around comments.
func text(el *etree.Element) string {
	var b strings.Builder
	for _, token := range el.Child {
		if data, ok := token.(*etree.CharData); ok {
			b.WriteString(data.Data)
		}
	}
	return b.String()
}

// binary decodes the Base64 in el, which may contain blanks (XML Schema 2, 3.2.16)
// and nothing else.
func binary(el *etree.Element) ([]byte, error) {
	if el == nil || len(el.ChildElements()) > 0 {
		return nil, errors.New("is missing, or has elements in it")
	}
	encoded := strings.Map(func(c rune) rune {
		if c < 0x80 && isBlank(byte(c)) {
			return -1
		}
		return c
	}, text(el))
	data, err := base64.StdEncoding.Strict().DecodeString(encoded)
	if err != nil {
		return nil, errors.New("is no Base64")
	}
	return data, nil
}
