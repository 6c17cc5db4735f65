package samlsp

import (
	"crypto"
	"encoding/base64"
	"errors"
	"fmt"
	"strings"

	"github.com/beevik/etree"

	"github.com/caddy-sso/caddy-sso/gateway"
	"github.com/caddy-sso/caddy-sso/gateway/check"
)

// A trust is what a provider's signatures are verified by.
type trust struct {
	// keys come from configuration or metadata: *rsa.PublicKey of at least
	// 2048 bits, and *ecdsa.PublicKey on P-256, P-384 or P-521. Others are
	// passed over. Of more than maxKeys, the first are tried.
	keys []crypto.PublicKey
	// sha1 takes SHA-1, too, with RSA and as a digest.
	sha1 bool
}

const (
	maxKeys = 16
	// maxSignedInfo bounds the canonical form of a SignedInfo. Real ones take
	// one kilobyte; in the inclusive form each namespace in scope comes along.
	maxSignedInfo = 64 << 10
)

// errUnsigned is returned for an element without a signature of its own.
var errUnsigned = errors.New("the element has no signature of its own")

// A signature is a ds:Signature below the element that it must sign (XML
// Signature 1.1). Its parts are read leniently, for the checks to judge: a part
// that is missing is nil, and of several the first is taken.
type signature struct {
	signed *etree.Element
	keys   []crypto.PublicKey // that may have made it
	sha1   bool

	all       []*etree.Element // every ds:Signature that is a child of signed
	el        *etree.Element   // the first of them
	info      *etree.Element   // SignedInfo
	value     *etree.Element   // SignatureValue
	reference *etree.Element

	octets []byte // what the signature, then what the digest is made over
}

// verify verifies the signature that el has for itself, as el stands in its
// document. It returns el as read anew from the very octets that were digested,
// without the signature: whoever consumes anything else consumes what nobody
// signed. An element without a signature is errUnsigned; all other errors have
// a code.
//
// What is large (el's canonical form) is touched only when a trusted key has
// signed the reference to it.
func (c *checklist) verify(el *etree.Element, t trust) (*etree.Element, error) {
	s := &signature{signed: el, keys: c.fit(t.keys), sha1: t.sha1, all: children(el, dsigSpace, "Signature")}
	if len(s.all) == 0 {
		return nil, errUnsigned
	}
	tree, err := c.verified(s)
	if _, coded := errors.AsType[*gateway.Error](err); err != nil && !coded {
		err = gateway.NewError(gateway.CodeSAMLSignature, fmt.Errorf("verifying a signature: %w", err))
	}
	return tree, err
}

// fit returns those of the first keys that may have signed anything.
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
	if s.octets, err = s.canonicalization().octets(s.signed, s.el, messageBounds.size); err != nil {
		return nil, fmt.Errorf("canonicalizing the signed element: %w", err)
	}
	if err := c.digestValue.Run(s); err != nil {
		return nil, err
	}
	return c.read(s.octets, messageBounds)
}

// transforms returns the reference's Transform elements.
func (s *signature) transforms() []*etree.Element {
	list := child(s.reference, "Transforms")
	if list == nil {
		return nil
	}
	return list.ChildElements()
}

// canonicalization returns how the signed element becomes octets: by the
// transform that says so, else as Canonical XML 1.0 (XML Signature 1.1, 4.4.3.2).
func (s *signature) canonicalization() canonicalization {
	for _, t := range s.transforms() {
		if c := canonicalizationOf(t); isCanonicalization(c.algorithm) {
			return c
		}
	}
	return canonicalization{algorithm: c14n10}
}

// canonicalizationOf reads a CanonicalizationMethod, or a Transform.
func canonicalizationOf(method *etree.Element) canonicalization {
	c := canonicalization{algorithm: algorithmOf(method)}
	for _, el := range elements(method) {
		if el.Tag != "InclusiveNamespaces" || el.NamespaceURI() != excSpace {
			continue
		}
		list, _ := attribute(el, "PrefixList")
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
	uri, _ := attribute(el, "Algorithm")
	return uri
}

// elements returns the element children of el, which may be nil.
func elements(el *etree.Element) []*etree.Element {
	if el == nil {
		return nil
	}
	return el.ChildElements()
}

// children returns el's children of that name.
func children(el *etree.Element, space, tag string) []*etree.Element {
	var found []*etree.Element
	for _, c := range elements(el) {
		if c.Tag == tag && c.NamespaceURI() == space {
			found = append(found, c)
		}
	}
	return found
}

// child returns el's first child of that name in the namespace of signatures,
// or nil. el may be nil.
func child(el *etree.Element, tag string) *etree.Element {
	for _, c := range elements(el) {
		if c.Tag == tag && c.NamespaceURI() == dsigSpace {
			return c
		}
	}
	return nil
}

// binary decodes the Base64 in el, which may have blanks (XML Schema 2, 3.2.16)
// and nothing else beside it.
func binary(el *etree.Element) ([]byte, error) {
	if el == nil || len(el.ChildElements()) > 0 {
		return nil, errors.New("is missing, or has elements in it")
	}
	text := strings.Map(func(c rune) rune {
		if c < 0x80 && isBlank(byte(c)) {
			return -1
		}
		return c
	}, el.Text())
	data, err := base64.StdEncoding.Strict().DecodeString(text)
	if err != nil {
		return nil, errors.New("is no Base64")
	}
	return data, nil
}
