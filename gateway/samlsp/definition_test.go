package samlsp_test

import (
	"testing"

	"github.com/caddy-sso/caddy-sso/gateway/gatewaytest"
	"github.com/caddy-sso/caddy-sso/gateway/samlsp"
)

// A login counts only under the definition that verified it: every option either
// is part of that, or decides nothing about whom an answer is about.
func TestDefinition(t *testing.T) {
	t.Parallel()
	const (
		compared = "it is compared beside the definition, as part of the account's key, whether an option or the metadata say it"
		travels  = "how the request travels"
		ours     = "how we prove ourselves, not how the provider does"
		rotated  = "certificates: they are rotated; the file they come from is part of the definition"
	)
	one := pemOf("CERTIFICATE", idpCert())
	byHand := samlsp.Config{EntityID: "urn:idp", SSOURL: "https://idp.example/sso", Certificates: []string{one}}
	gatewaytest.Defines(t, byHand, samlsp.DefinitionOf, map[string]string{
		"EntityID": compared, "RequestBinding": travels, "SignRequests": ours, "RootCAs": rotated,
	}, samlsp.Off)
	config := samlsp.Config{MetadataURL: "https://idp.example/metadata"}
	gatewaytest.Defines(t, config, samlsp.DefinitionOf, map[string]string{
		"Metadata":       "the address decides",
		"EntityID":       compared,
		"MetadataFile":   "the address decides",
		"SSOURL":         "the metadata say it",
		"Certificates":   "the metadata hold them",
		"RequestBinding": travels,
		"SignRequests":   ours,
		"RootCAs":        rotated,
	}, samlsp.Off)
	cert, other, e := b64(idpCert()), b64(certify(ecKey())), goodEntity()
	both, swapped := byHand, byHand
	both.Certificates, swapped.Certificates = []string{one, other}, []string{other, cert}
	if samlsp.DefinitionOf(both) != samlsp.DefinitionOf(swapped) || samlsp.DefinitionOf(both) == samlsp.DefinitionOf(byHand) {
		t.Error("the order or form of certificates decides, or their number does not")
	}
	inline := samlsp.Config{Metadata: []byte(e.xml())}
	e.attrs = `ID="x"`
	same := samlsp.Config{Metadata: []byte(e.xml())}
	e.keys = []string{keyDescriptor("signing", other)}
	file := samlsp.Config{Metadata: same.Metadata, MetadataFile: "idp.xml"}
	keys := samlsp.Config{Metadata: []byte(e.xml())}
	renewed := samlsp.Config{Metadata: keys.Metadata, MetadataFile: "idp.xml"}
	switch of := samlsp.DefinitionOf; {
	case of(inline) != of(same):
		t.Error("what metadata say beside the keys decides")
	case of(inline) == of(keys):
		t.Error("the keys in metadata decide nothing")
	case of(file) == of(same), of(file) != of(renewed):
		t.Error("a file is not told by its path")
	}
	explicit := config
	explicit.WantAssertionsSigned = samlsp.On
	if samlsp.DefinitionOf(explicit) != samlsp.DefinitionOf(config) {
		t.Error("a default that is written down is another definition")
	}
	p, err := samlsp.New(config, samlsp.Deps{})
	if err != nil {
		t.Fatal(err)
	}
	if p.Definition() != samlsp.DefinitionOf(config) {
		t.Errorf("the provider's definition is %q", p.Definition())
	}
}
