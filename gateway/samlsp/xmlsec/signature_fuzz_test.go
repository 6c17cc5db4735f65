package xmlsec_test

import (
	"bytes"
	"crypto"
	"testing"

	"github.com/caddy-sso/caddy-sso/gateway/samlsp/xmlsec"
)

// FuzzVerify changes signed documents. Whatever verifies must be, octet by
// octet, something that the key has signed.
func FuzzVerify(f *testing.F) {
	signed := map[string]bool{}
	doc, key := keycloak(f)
	docs, keys := [][]byte{doc}, []crypto.PublicKey{key}
	for name, key := range map[string]string{
		"signed/rsa-both.xml":                             "signed/rsa.pem",
		"signed/rsa-context-c14n10-assertion.xml":         "signed/rsa.pem",
		"signed/rsa-context-enveloped-alone-response.xml": "signed/rsa.pem",
		"signed/p256-sha256.xml":                          "signed/p256.pem",
	} {
		docs, keys = append(docs, file(f, name)), append(keys, publicKey(f, key))
	}
	for _, doc := range docs {
		f.Add(doc)
		for _, octets := range verified(f, doc, keys) {
			signed[octets] = true
		}
	}
	if len(signed) != 7 {
		f.Fatalf("%d elements are signed", len(signed))
	}
	f.Fuzz(func(t *testing.T, doc []byte) {
		for _, octets := range verified(t, doc, keys) {
			if !signed[octets] {
				t.Errorf("took %s", octets)
			}
		}
	})
}

// verified returns the canonical forms of what verifies in doc.
func verified(t testing.TB, doc []byte, keys []crypto.PublicKey) []string {
	t.Helper()
	root, err := all().read(doc)
	if err != nil {
		return nil
	}
	var list []string
	for _, el := range signedElements(root) {
		got, err := all().verify(el, keys...)
		if err != nil {
			continue
		}
		octets, err := xmlsec.Canonical(got, xmlsec.C14N10)
		if err != nil {
			t.Fatal(err)
		}
		list = append(list, string(bytes.TrimSpace(octets)))
	}
	return list
}
