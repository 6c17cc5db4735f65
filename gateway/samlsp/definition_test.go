package samlsp_test

import (
	"testing"

	"github.com/caddy-sso/caddy-sso/gateway/gatewaytest"
	"github.com/caddy-sso/caddy-sso/gateway/samlsp"
)

// A login counts only under the definition that judged it: every option either
// is part of that, or decides nothing about whom an answer is about.
func TestDefinition(t *testing.T) {
	t.Parallel()
	config := samlsp.Config{MetadataURL: "https://idp.example/metadata"}
	gatewaytest.Defines(t, config, samlsp.DefinitionOf, map[string]string{
		"Metadata":       "it holds the provider's keys, which are rotated; the entity ID in it is compared beside the definition",
		"EntityID":       "it is compared beside the definition, as part of the account's key, whether an option or the metadata say it",
		"SSOURL":         "where the request goes; the signature says who has answered",
		"Certificates":   "the provider's keys are rotated",
		"RequestBinding": "how the request travels",
		"SignRequests":   "how we prove ourselves, not how the provider does",
		"RootCAs":        "certificates: they are rotated",
	}, samlsp.Off)
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
