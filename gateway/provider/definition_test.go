package provider_test

import (
	"testing"

	"github.com/caddy-sso/caddy-sso/gateway/provider"
)

func TestDefinitionDigest(t *testing.T) {
	t.Parallel()
	defined := provider.Definition{"protocol": "oidc", "client_id": "one"}
	if again := (provider.Definition{"client_id": "one", "protocol": "oidc", "new": ""}); again.Digest() != defined.Digest() {
		t.Error("an option at its default changes the digest")
	}
	seen := map[string]int{defined.Digest(): -1}
	for i, other := range []provider.Definition{
		{},
		{"protocol": "oidc"},
		{"protocol": "saml", "client_id": "one"},
		{"protocol": "one", "client_id": "oidc"},
		{"protocol": "oidc\"\n\"client_id\"=\"one"},
		{"protocol=oidc": "client_id=one"},
	} {
		if j, ok := seen[other.Digest()]; ok {
			t.Errorf("definitions %d and %d have the same digest", i, j)
		}
		seen[other.Digest()] = i
	}
}
