package samlsp_test

import (
	"crypto"
	"crypto/ecdsa"
	"crypto/rand"
	"encoding/base64"
	"fmt"
	"strings"
	"testing"

	"github.com/caddy-sso/caddy-sso/gateway/samlsp"
)

const (
	dsigNS     = "http://www.w3.org/2000/09/xmldsig#"
	dsigMoreNS = "http://www.w3.org/2001/04/xmldsig-more#"
	xmlencNS   = "http://www.w3.org/2001/04/xmlenc#"
)

// A signatory signs elements as an identity provider would, and as none would.
type signatory struct {
	key            crypto.Signer
	hash, digest   crypto.Hash
	method, digURI string
	canonical      string // of SignedInfo and of the element
	// edit changes the SignedInfo before it is signed.
	edit func(info string) string
}

func newSignatory() *signatory {
	return &signatory{
		key: rsaKey(), hash: crypto.SHA256, method: dsigMoreNS + "rsa-sha256", digest: crypto.SHA256, digURI: xmlencNS + "sha256",
		canonical: samlsp.Exclusive, edit: func(info string) string { return info },
	}
}

// sign puts a signature over the element with that ID in doc, in the place of
// the first <sig/> behind its ID.
func (s *signatory) sign(t testing.TB, doc, id string) string {
	t.Helper()
	at := strings.Index(doc, `ID="`+id+`"`)
	before, after, ok := strings.Cut(doc[max(at, 0):], "<sig/>")
	if at < 0 || !ok {
		t.Fatalf("no place for a signature over %q", id)
	}
	put := func(sig string) string { return doc[:at] + before + sig + after }

	digest := s.digest.New()
	digest.Write(s.octets(t, put(""), id))
	info := s.edit(`<ds:SignedInfo ID="info-` + id + `"><ds:CanonicalizationMethod Algorithm="` + s.canonical + `"/><ds:SignatureMethod Algorithm="` + s.method +
		`"/><ds:Reference URI="#` + id + `"><ds:Transforms><ds:Transform Algorithm="` + dsigNS + `enveloped-signature"/><ds:Transform Algorithm="` + s.canonical +
		`"/></ds:Transforms><ds:DigestMethod Algorithm="` + s.digURI + `"/><ds:DigestValue>` + base64.StdEncoding.EncodeToString(digest.Sum(nil)) +
		`</ds:DigestValue></ds:Reference></ds:SignedInfo>`)
	around := `<ds:Signature xmlns:ds="` + dsigNS + `">%s<ds:SignatureValue>%s</ds:SignatureValue></ds:Signature>`
	hash := s.hash.New()
	hash.Write(s.octets(t, put(fmt.Sprintf(around, info, "")), "info-"+id))
	value, err := s.value(hash.Sum(nil))
	if err != nil {
		t.Fatal(err)
	}
	return put(fmt.Sprintf(around, info, base64.StdEncoding.EncodeToString(value)))
}

func (s *signatory) octets(t testing.TB, doc, id string) []byte {
	t.Helper()
	root, err := samlsp.Checks().Read([]byte(strings.ReplaceAll(doc, "<sig/>", "")))
	if err != nil {
		t.Fatal(err)
	}
	octets, err := samlsp.Canonical(byID(root, id), s.canonical)
	if err != nil {
		t.Fatal(err)
	}
	return octets
}

func (s *signatory) value(digest []byte) ([]byte, error) {
	key, ok := s.key.(*ecdsa.PrivateKey)
	if !ok {
		return s.key.Sign(rand.Reader, digest, s.hash)
	}
	r, v, err := ecdsa.Sign(rand.Reader, key, digest)
	if err != nil {
		return nil, err
	}
	half := (key.Params().N.BitLen() + 7) / 8
	return append(r.FillBytes(make([]byte, half)), v.FillBytes(make([]byte, half))...), nil
}
