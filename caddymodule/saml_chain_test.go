package caddymodule_test

import (
	"encoding/base64"
	"encoding/pem"
	"net/http"
	"os"
	"slices"
	"strings"
	"testing"

	"github.com/caddy-sso/caddy-sso/gateway/gatewaytest"
)

// TestSAMLCertificateChain signs people in by the key of the provider's own
// certificate, wherever its authority's stands, and by no other.
func TestSAMLCertificateChain(t *testing.T) {
	w := newWorld(t)
	idp := w.addIdP("corp")
	signer, authority, err := gatewaytest.NewIdPChain()
	if err != nil {
		t.Fatal(err)
	}
	idp.Key = signer
	inPEM := func(der []byte) string {
		return string(pem.EncodeToMemory(&pem.Block{Type: "CERTIFICATE", Bytes: der}))
	}
	bare := base64.StdEncoding.EncodeToString
	byHand := func(options ...string) string {
		options = append([]string{"entity_id " + idp.EntityID, "sso_url " + idp.EntityID + gatewaytest.IdPSSOPath}, options...)
		return "provider corp saml {\n" + strings.Join(options, "\n") + "\n}\n"
	}
	file := func(t *testing.T, name, content string) string {
		t.Helper()
		if err := os.WriteFile(w.path(name), []byte(content), 0o600); err != nil {
			t.Fatal(err)
		}
		return w.path(name)
	}
	orders := map[string][][]byte{
		"the authority first": {authority.Certificate, signer.Certificate},
		"the authority last":  {signer.Certificate, authority.Certificate},
	}
	for _, tt := range []struct {
		name   string
		option func(t *testing.T, chain [][]byte) string
	}{
		{"metadata by URL", func(*testing.T, [][]byte) string { return w.saml("corp", idp) }},
		{"metadata inline", func(*testing.T, [][]byte) string {
			return "provider corp saml {\nmetadata <<IDP_XML\n" + strings.TrimSpace(idp.Metadata()) + "\nIDP_XML\n}\n"
		}},
		{"metadata of a file", func(t *testing.T, _ [][]byte) string {
			return "provider corp saml {\nmetadata " + file(t, "idp.xml", idp.Metadata()) + "\n}\n"
		}},
		{"a file of PEM", func(t *testing.T, chain [][]byte) string {
			return byHand("certificate " + file(t, "chain.pem", inPEM(chain[0])+inPEM(chain[1])))
		}},
		{"a file of DER", func(t *testing.T, chain [][]byte) string {
			return byHand("certificate " + file(t, "chain.cer", string(slices.Concat(chain...))))
		}},
		{"two files", func(t *testing.T, chain [][]byte) string {
			return byHand("certificate "+file(t, "one.pem", inPEM(chain[0])), "certificate "+file(t, "two.pem", inPEM(chain[1])))
		}},
		{"two lines of Base64", func(_ *testing.T, chain [][]byte) string {
			return byHand("certificate "+bare(chain[0]), "certificate "+bare(chain[1]))
		}},
	} {
		for name, chain := range orders {
			t.Run("C7 "+tt.name+", "+name, func(t *testing.T) {
				idp.Chain = chain
				idp.SetHooks(gatewaytest.IdPHooks{})
				w.loadIn(t, w.global("limit off\n"+tt.option(t, chain))+samlSite)
				if status, body := newBrowser(t).samlIn(w, "corp"); status != http.StatusOK || body != aliceOf+"corp" {
					t.Errorf("by the signer's key: %d %q", status, body)
				}
				idp.SetHooks(gatewaytest.IdPHooks{Answer: func(a *gatewaytest.IdPAnswer) { a.Key = authority }})
				b := newBrowser(t)
				status, body := b.samlIn(w, "corp")
				if status != http.StatusBadRequest || !strings.Contains(body, "saml_signature_invalid") || b.cookie(w.origin()) != "" {
					t.Errorf("by the authority's key: %d %q", status, body)
				}
			})
		}
	}
	t.Run("C7 the log says what was left out", func(t *testing.T) {
		if logs := w.logs(); !strings.Contains(logs, "leaving out a certificate that came with the provider's own") || !strings.Contains(logs, `CN=idp.test`) {
			t.Error("it does not")
		}
	})
	t.Run("C7 authorities alone", func(t *testing.T) {
		other, issuer, err := gatewaytest.NewIdPChain()
		if err != nil {
			t.Fatal(err)
		}
		idp.Chain = [][]byte{other.Certificate, issuer.Certificate}
		encryption := strings.Replace(idp.Metadata(), `use="signing"`, `use="encryption"`, 1)
		idp.Chain = [][]byte{issuer.Certificate}
		descriptor := idp.Metadata()
		descriptor = descriptor[strings.Index(descriptor, "<md:KeyDescriptor"):strings.Index(descriptor, "<md:SingleSignOn")]
		doc := strings.Replace(encryption, "<md:KeyDescriptor", descriptor+"<md:KeyDescriptor", 1)
		err = w.load(w.global("provider corp saml {\nmetadata "+file(t, "none.xml", doc)+"\n}\n") + samlSite)
		for _, want := range []string{"provider corp", "checking metadata", "CN=idp.test", "CN=signer.idp.test", "give the one that the provider signs with"} {
			if err == nil || !strings.Contains(err.Error(), want) {
				t.Errorf("got %v, want %s", err, want)
			}
		}
	})
}
