package xmlsec

import (
	"bytes"
	"crypto"
	"crypto/ecdsa"
	"crypto/rsa"
	_ "crypto/sha1" //nolint:gosec // G505: for insecure_sha1 alone
	_ "crypto/sha256"
	_ "crypto/sha512"
	"errors"
	"fmt"
	"math/big"
	"slices"

	"github.com/beevik/etree"

	"github.com/caddy-sso/caddy-sso/gateway/wording"
)

// The algorithms (RFC 9231; XML Encryption 1.1, 5.8). SHA-1 is never accepted with
// ECDSA: a provider that has ECDSA has SHA-256.
const (
	enveloped = DSig + "enveloped-signature"
	rsaSHA1   = DSig + "rsa-sha1"
	sha1URI   = DSig + "sha1"
)

type method struct {
	hash  crypto.Hash
	ecdsa bool
}

var signatureMethods = map[string]method{
	rsaSHA1: {hash: crypto.SHA1},
	"http://www.w3.org/2001/04/xmldsig-more#rsa-sha256":   {hash: crypto.SHA256},
	"http://www.w3.org/2001/04/xmldsig-more#rsa-sha384":   {hash: crypto.SHA384},
	"http://www.w3.org/2001/04/xmldsig-more#rsa-sha512":   {hash: crypto.SHA512},
	"http://www.w3.org/2001/04/xmldsig-more#ecdsa-sha256": {hash: crypto.SHA256, ecdsa: true},
	"http://www.w3.org/2001/04/xmldsig-more#ecdsa-sha384": {hash: crypto.SHA384, ecdsa: true},
	"http://www.w3.org/2001/04/xmldsig-more#ecdsa-sha512": {hash: crypto.SHA512, ecdsa: true},
}

var digestMethods = map[string]crypto.Hash{
	sha1URI: crypto.SHA1,
	"http://www.w3.org/2001/04/xmlenc#sha256":       crypto.SHA256,
	"http://www.w3.org/2001/04/xmldsig-more#sha384": crypto.SHA384,
	"http://www.w3.org/2001/04/xmlenc#sha512":       crypto.SHA512,
}

func signatureSingle(s *signature) error {
	if len(s.all) != 1 {
		return errors.New("an element has several signatures of its own")
	}
	return nil
}

// signatureContents refuses Object, which could contain anything, and elements of
// other namespaces.
func signatureContents(s *signature) error {
	for _, c := range s.el.ChildElements() {
		known := c.Tag == "SignedInfo" || c.Tag == "SignatureValue" || c.Tag == "KeyInfo"
		if !known || c.NamespaceURI() != DSig {
			return errors.New("a signature has an Object, or another unknown part")
		}
	}
	if len(Children(s.el, DSig, "SignatureValue")) != 1 || len(Children(s.el, DSig, "KeyInfo")) > 1 {
		return errors.New("a signature needs one SignatureValue and at most one KeyInfo")
	}
	return nil
}

// signatureNotNested compares local names: KeyInfo may contain anything, but nothing
// called Signature belongs there.
func signatureNotNested(s *signature) error {
	if Count(s.el, "Signature") > 0 {
		return errors.New("a signature stands within a signature")
	}
	return nil
}

func signedInfoSingle(s *signature) error {
	if len(Children(s.el, DSig, "SignedInfo")) != 1 {
		return errors.New("a signature needs one SignedInfo")
	}
	return nil
}

// signedInfoContents leaves the number of References to referenceSingle.
func signedInfoContents(s *signature) error {
	want := []string{"CanonicalizationMethod", "SignatureMethod", "Reference"}
	for i, c := range elements(s.info) {
		if c.Tag != want[min(i, 2)] || c.NamespaceURI() != DSig {
			return errors.New("a SignedInfo has an unknown part")
		}
	}
	return nil
}

func referenceSingle(s *signature) error {
	if len(Children(s.info, DSig, "Reference")) != 1 {
		return errors.New("a SignedInfo needs one Reference")
	}
	return nil
}

func signatureCanonicalization(s *signature) error {
	return knownCanonicalization(child(s.info, "CanonicalizationMethod"))
}

// maxPrefixList bounds a PrefixList in bytes. Real ones name a few prefixes.
const maxPrefixList = 1024

// knownCanonicalization requires a known method or transform, with
// InclusiveNamespaces as the only parameter.
func knownCanonicalization(method *etree.Element) error {
	algorithm, _ := withComments(algorithmOf(method))
	if !isCanonicalization(algorithm) {
		return fmt.Errorf("the canonicalization %s is not supported; have the provider use exclusive canonicalization, %s", wording.Quoted(algorithmOf(method)), Exclusive)
	}
	parameters := elements(method)
	known := len(parameters) == len(Children(method, excSpace, "InclusiveNamespaces"))
	if !known || len(parameters) > 1 || len(parameters) == 1 && algorithm != Exclusive {
		return errors.New("a canonicalization has parameters that are not known; expected is at most one InclusiveNamespaces")
	}
	if len(parameters) == 1 {
		if list, _ := Attribute(parameters[0], "PrefixList"); len(list) > maxPrefixList {
			return fmt.Errorf("a PrefixList is longer than %d bytes", maxPrefixList)
		}
	}
	return nil
}

func signatureAlgorithm(s *signature) error {
	el := child(s.info, "SignatureMethod")
	uri := algorithmOf(el)
	if _, known := signatureMethods[uri]; !known || len(elements(el)) > 0 {
		return fmt.Errorf("the signature algorithm %s is not supported; have the provider sign by RSA or ECDSA with SHA-256", wording.Quoted(uri))
	}
	if uri == rsaSHA1 && !s.sha1 {
		return errors.New("the signature is made with SHA-1; have the provider sign with SHA-256, or accept SHA-1 by `insecure_sha1`")
	}
	return nil
}

// referenceURI requires a reference to the very element that contains the signature
// (SAML Core 5.4.2). An empty one refers to the whole document.
func referenceURI(s *signature) error {
	uri, there := Attribute(s.reference, "URI")
	id, _ := Attribute(s.signed, "ID")
	toRoot := there && uri == "" && s.signed.Parent() == nil
	if !toRoot && (id == "" || uri != "#"+id) {
		return errors.New("the signature refers to something else than the element that it stands in")
	}
	return nil
}

func referenceContents(s *signature) error {
	want := []string{"Transforms", "DigestMethod", "DigestValue"}
	parts := elements(s.reference)
	for i, c := range parts {
		if i >= len(want) || c.Tag != want[i] || c.NamespaceURI() != DSig {
			return errors.New("a Reference has an unknown part")
		}
	}
	if len(parts) != len(want) {
		return errors.New("a Reference lacks a part")
	}
	return nil
}

// referenceTransforms permits enveloped-signature, followed by at most one
// canonicalization (SAML Core 5.4.4).
func referenceTransforms(s *signature) error {
	list := s.transforms()
	if len(list) < 1 || len(list) > 2 {
		return errors.New("a reference needs one transform or two")
	}
	for _, t := range list {
		if t.Tag != "Transform" || t.NamespaceURI() != DSig {
			return fmt.Errorf("the transform %s is not supported; have the provider use enveloped-signature and exclusive canonicalization", wording.Quoted(algorithmOf(t)))
		}
	}
	if algorithmOf(list[0]) != enveloped || len(elements(list[0])) > 0 {
		return fmt.Errorf("the first transform is %s; expected is enveloped-signature, without parameters", wording.Quoted(algorithmOf(list[0])))
	}
	if len(list) == 2 {
		return knownCanonicalization(list[1])
	}
	return nil
}

func digestAlgorithm(s *signature) error {
	el := child(s.reference, "DigestMethod")
	uri := algorithmOf(el)
	if _, known := digestMethods[uri]; !known || len(elements(el)) > 0 {
		return fmt.Errorf("the digest algorithm %s is not supported; have the provider use SHA-256", wording.Quoted(uri))
	}
	if uri == sha1URI && !s.sha1 {
		return errors.New("the digest is made with SHA-1; have the provider use SHA-256, or accept SHA-1 by `insecure_sha1`")
	}
	return nil
}

func signatureValue(s *signature) error {
	value, err := binary(s.value)
	if err != nil {
		return fmt.Errorf("reading SignatureValue: %w", err)
	}
	m, known := signatureMethods[algorithmOf(child(s.info, "SignatureMethod"))]
	if !known {
		return errors.New("the signature's algorithm is not supported")
	}
	digest := sum(m.hash, s.octets)
	made := func(key crypto.PublicKey) bool { return m.verify(key, digest, value) }
	if !slices.ContainsFunc(s.keys, made) {
		return fmt.Errorf("it is by none of the provider's keys (%d known); if the provider has a new key, write its new certificate or metadata", len(s.keys))
	}
	return nil
}

func digestValue(s *signature) error {
	value, err := binary(child(s.reference, "DigestValue"))
	if err != nil {
		return fmt.Errorf("reading DigestValue: %w", err)
	}
	hash, known := digestMethods[algorithmOf(child(s.reference, "DigestMethod"))]
	if !known || !bytes.Equal(value, sum(hash, s.octets)) {
		return errors.New("the element was changed after it was signed; a proxy or the provider's software may do that")
	}
	return nil
}

func sum(hash crypto.Hash, data []byte) []byte {
	h := hash.New()
	h.Write(data)
	return h.Sum(nil)
}

// verify reports whether key has signed digest. It is false for a key of another
// kind.
func (m method) verify(key crypto.PublicKey, digest, value []byte) bool {
	switch key := key.(type) {
	case *rsa.PublicKey:
		return !m.ecdsa && rsa.VerifyPKCS1v15(key, m.hash, digest, value) == nil
	case *ecdsa.PublicKey:
		// r and s, each as long as the curve's order (XML Signature 1.1, 6.4.3).
		half := (key.Curve.Params().N.BitLen() + 7) / 8
		if !m.ecdsa || len(value) != 2*half {
			return false
		}
		r, s := new(big.Int).SetBytes(value[:half]), new(big.Int).SetBytes(value[half:])
		return ecdsa.Verify(key, digest, r, s)
	}
	return false
}
