package samlsp_test

import (
	"testing"

	"github.com/caddy-sso/caddy-sso/gateway/samlsp"
)

func BenchmarkResponse(b *testing.B) {
	doc, key := file(b, "keycloak-response.xml"), publicKey(b, "keycloak-response.crt")
	checks := samlsp.Checks()
	b.ReportAllocs()
	for b.Loop() {
		response, err := checks.Read(doc)
		if err != nil {
			b.Fatal(err)
		}
		if _, err := checks.Verify(response, key); err != nil {
			b.Fatal(err)
		}
		if _, err := checks.Verify(response.SelectElement("Assertion"), key); err != nil {
			b.Fatal(err)
		}
	}
}
