package oidcrp_test

import (
	"testing"

	"github.com/caddy-sso/caddy-sso/gateway/gatewaytest"
	"github.com/caddy-sso/caddy-sso/gateway/oidcrp"
)

// A login counts only under the definition that verified it: every option either
// is part of that, or decides nothing about whom an answer is about.
func TestDefinition(t *testing.T) {
	t.Parallel()
	config := oidcrp.Config{Issuer: "https://id.example", ClientID: "gateway"}
	gatewaytest.Defines(t, config, oidcrp.DefinitionOf, map[string]string{
		"Issuer":                  "it is compared beside the definition, as part of the account's key",
		"ClientSecret":            "a secret: it is rotated",
		"Scopes":                  "what is asked for; what comes of it is checked all the same",
		"Logout":                  "says what happens at the end of a login",
		"TokenEndpointAuthMethod": "how we prove ourselves, not how the provider does",
		"RootCAs":                 "certificates: they are rotated; the file they come from is part of the definition",
	})
	explicit := config
	explicit.UsernameClaim, explicit.GroupsClaim = "preferred_username", "groups"
	if oidcrp.DefinitionOf(explicit) != oidcrp.DefinitionOf(config) {
		t.Error("a default that is written down is another definition")
	}
	p, err := oidcrp.New(config, oidcrp.Deps{})
	if err != nil {
		t.Fatal(err)
	}
	if p.Definition() != oidcrp.DefinitionOf(config) {
		t.Errorf("the provider's definition is %q", p.Definition())
	}
}
