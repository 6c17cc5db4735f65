package xmlsec_test

import (
	"crypto"
	"crypto/ecdsa"
	"crypto/elliptic"
	"crypto/rand"
	"crypto/rsa"
	"crypto/x509"
	"encoding/pem"
	"fmt"
	"strings"
	"sync"
	"testing"

	"github.com/beevik/etree"

	"github.com/caddy-sso/caddy-sso/gateway/check/checktest"
	"github.com/caddy-sso/caddy-sso/gateway/gatewaytest"
	"github.com/caddy-sso/caddy-sso/gateway/samlsp/xmlsec"
	"github.com/caddy-sso/caddy-sso/gateway/samlsp/xmlsec/xmlsectest"
)

// The checks of a test have the bounds of a message.
type checks struct{ xmlsec.Checks }

// all returns all checks but those that are named.
func all(without ...string) checks {
	c := xmlsec.New()
	checktest.Drop(&c, without...)
	return checks{c}
}

func checkNames() []string {
	c := xmlsec.New()
	return checktest.Names(&c)
}

func (c checks) read(doc []byte) (*etree.Element, error) { return c.Read(doc, xmlsectest.Bounds) }

func (c checks) verify(el *etree.Element, keys ...crypto.PublicKey) (*etree.Element, error) {
	return c.Verify(el, xmlsec.Trust{Keys: keys}, xmlsectest.Bounds)
}

var (
	rsaKey = sync.OnceValue(func() *rsa.PrivateKey { return must(rsa.GenerateKey(rand.Reader, 2048)) })
	ecKey  = sync.OnceValue(func() *ecdsa.PrivateKey { return must(ecdsa.GenerateKey(elliptic.P256(), rand.Reader)) })
)

func must[T any](v T, err error) T {
	if err != nil {
		panic(err)
	}
	return v
}

// file returns a captured document. A test calls it in a bubble.
func file(t testing.TB, name string) []byte {
	t.Helper()
	doc, _ := gatewaytest.Captured(t, "testdata/"+name)
	return doc
}

// keycloak is a real answer of Keycloak's, with a signature over the response
// and one over the assertion, and the key of both.
func keycloak(t testing.TB) ([]byte, crypto.PublicKey) {
	t.Helper()
	doc, _ := gatewaytest.Captured(t, "../testdata/keycloak-response.xml")
	crt, _ := gatewaytest.Captured(t, "../testdata/keycloak-response.crt")
	return doc, readKey(t, crt)
}

// publicKey returns the key of a certificate, or the key, among the fixtures.
func publicKey(t testing.TB, name string) crypto.PublicKey {
	t.Helper()
	return readKey(t, file(t, name))
}

func readKey(t testing.TB, text []byte) crypto.PublicKey {
	t.Helper()
	block, _ := pem.Decode(text)
	if block == nil {
		t.Fatalf("%.40q is no PEM", text)
	}
	if block.Type == "PUBLIC KEY" {
		key, err := x509.ParsePKIXPublicKey(block.Bytes)
		if err != nil {
			t.Fatal(err)
		}
		return key
	}
	crt, err := x509.ParseCertificate(block.Bytes)
	if err != nil {
		t.Fatal(err)
	}
	return crt.PublicKey
}

// signedElements returns the elements of el that have a signature of their own,
// inner ones first.
func signedElements(el *etree.Element) []*etree.Element {
	var found []*etree.Element
	for _, c := range el.ChildElements() {
		found = append(found, signedElements(c)...)
	}
	if el.SelectElement("Signature") != nil {
		found = append(found, el)
	}
	return found
}

func many(n int, format string) string {
	var b strings.Builder
	for i := range n {
		fmt.Fprintf(&b, format, i)
	}
	return b.String()
}
