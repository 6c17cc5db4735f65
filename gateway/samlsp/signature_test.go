package samlsp_test

import (
	"crypto/x509"
	"encoding/pem"
	"os"
	"testing"

	"github.com/caddy-sso/caddy-sso/gateway/samlsp"
)

func file(t testing.TB, name string) []byte {
	t.Helper()
	data, err := os.ReadFile("testdata/" + name)
	if err != nil {
		t.Fatal(err)
	}
	return data
}

// publicKey returns the key of a certificate among the fixtures.
func publicKey(t testing.TB, name string) any {
	t.Helper()
	block, _ := pem.Decode(file(t, name))
	if block == nil {
		t.Fatalf("%s is no PEM", name)
	}
	crt, err := x509.ParseCertificate(block.Bytes)
	if err != nil {
		t.Fatal(err)
	}
	return crt.PublicKey
}

// A real answer of Keycloak's, with a signature over the response and one over
// the assertion.
func TestVerifyKeycloak(t *testing.T) {
	t.Parallel()
	key := publicKey(t, "keycloak-response.crt")
	checks := samlsp.Checks()
	response, err := checks.Read(file(t, "keycloak-response.xml"))
	if err != nil {
		t.Fatal(err)
	}
	for _, el := range append(response.SelectElements("Assertion"), response) {
		verified, err := checks.Verify(el, key)
		if err != nil {
			t.Fatalf("verifying %s: %v", el.Tag, err)
		}
		if verified.FullTag() != el.FullTag() || verified.Parent() != nil || len(verified.SelectElements("Signature")) > 0 {
			t.Errorf("got %s, which isn't %s alone without its signature", verified.FullTag(), el.FullTag())
		}
	}
}
