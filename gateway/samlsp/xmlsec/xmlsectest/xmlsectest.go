// Package xmlsectest signs XML for tests, correctly or with faults.
package xmlsectest

import (
	"crypto"
	"crypto/ecdsa"
	"crypto/rand"
	"encoding/base64"
	"fmt"
	"strings"
	"testing"

	"github.com/beevik/etree"

	"github.com/caddy-sso/caddy-sso/gateway/samlsp/xmlsec"
)

// Prefixes of the names of algorithms (XML Signature 1.1, RFC 9231, XML Encryption
// 1.1).
const (
	DSigMore = "http://www.w3.org/2001/04/xmldsig-more#"
	XMLEnc   = "http://www.w3.org/2001/04/xmlenc#"
)

// Bounds are those for a SAML message.
var Bounds = xmlsec.Bounds{Size: 1 << 20, Depth: 64, Elements: 20000, Attributes: 64, Signatures: 8}

// A Signatory signs elements.
type Signatory struct {
	Key               crypto.Signer
	Hash, Digest      crypto.Hash
	Method, DigestURI string
	// Edit changes the SignedInfo before it is signed.
	Edit func(info string) string
}

// NewSignatory returns a Signatory with an RSA key and the usual algorithms.
func NewSignatory(key crypto.Signer) *Signatory {
	return &Signatory{
		Key: key, Hash: crypto.SHA256, Method: DSigMore + "rsa-sha256", Digest: crypto.SHA256, DigestURI: XMLEnc + "sha256",
		Edit: func(info string) string { return info },
	}
}

// Sign signs the element with that ID in doc. The signature replaces the first <sig/>
// behind the ID.
func (s *Signatory) Sign(t testing.TB, doc, id string) string {
	t.Helper()
	at := strings.Index(doc, `ID="`+id+`"`)
	before, after, ok := strings.Cut(doc[max(at, 0):], "<sig/>")
	if at < 0 || !ok {
		t.Fatalf("no place for a signature over %q", id)
	}
	put := func(sig string) string { return doc[:at] + before + sig + after }

	digest := s.Digest.New()
	digest.Write(octets(t, put(""), id))
	info := s.Edit(`<ds:SignedInfo ID="info-` + id + `"><ds:CanonicalizationMethod Algorithm="` + xmlsec.Exclusive + `"/><ds:SignatureMethod Algorithm="` + s.Method +
		`"/><ds:Reference URI="#` + id + `"><ds:Transforms><ds:Transform Algorithm="` + xmlsec.DSig + `enveloped-signature"/><ds:Transform Algorithm="` + xmlsec.Exclusive +
		`"/></ds:Transforms><ds:DigestMethod Algorithm="` + s.DigestURI + `"/><ds:DigestValue>` + base64.StdEncoding.EncodeToString(digest.Sum(nil)) +
		`</ds:DigestValue></ds:Reference></ds:SignedInfo>`)
	around := `<ds:Signature xmlns:ds="` + xmlsec.DSig + `">%s<ds:SignatureValue>%s</ds:SignatureValue></ds:Signature>`
	hash := s.Hash.New()
	hash.Write(octets(t, put(fmt.Sprintf(around, info, "")), "info-"+id))
	value, err := s.value(hash.Sum(nil))
	if err != nil {
		t.Fatal(err)
	}
	return put(fmt.Sprintf(around, info, base64.StdEncoding.EncodeToString(value)))
}

func octets(t testing.TB, doc, id string) []byte {
	t.Helper()
	root, err := xmlsec.New().Read([]byte(strings.ReplaceAll(doc, "<sig/>", "")), Bounds)
	if err != nil {
		t.Fatal(err)
	}
	form, err := xmlsec.Canonicalize(ByID(root, id), xmlsec.Exclusive, Bounds.Size)
	if err != nil {
		t.Fatal(err)
	}
	return form
}

func (s *Signatory) value(digest []byte) ([]byte, error) {
	key, ok := s.Key.(*ecdsa.PrivateKey)
	if !ok {
		return s.Key.Sign(rand.Reader, digest, s.Hash)
	}
	r, v, err := ecdsa.Sign(rand.Reader, key, digest)
	if err != nil {
		return nil, err
	}
	half := (key.Params().N.BitLen() + 7) / 8
	return append(r.FillBytes(make([]byte, half)), v.FillBytes(make([]byte, half))...), nil
}

// ByID returns the element with an ID, or nil.
func ByID(el *etree.Element, id string) *etree.Element {
	if el.SelectAttrValue("ID", "") == id {
		return el
	}
	for _, c := range el.ChildElements() {
		if found := ByID(c, id); found != nil {
			return found
		}
	}
	return nil
}
