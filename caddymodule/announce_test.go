package caddymodule_test

import (
	"strings"
	"testing"
	"time"
)

// TestProvidersAreTriedAtStart warns of a provider that can't be used before anybody signs
// in, at the start and after a reload that adds the provider.
func TestProvidersAreTriedAtStart(t *testing.T) {
	w := newWorld(t)
	const site = "http://a.localhost:PORT {\n\tsso {\n\t\trole User *\n\t}\n}\n"
	const issuer = "https://nobody.localhost:1/corp"
	warning := func(t *testing.T, provider, address string) string {
		t.Helper()
		for range 3000 {
			if line := lineWith(w.logs(), address); strings.Contains(line, `"level":"warn"`) {
				return line
			}
			time.Sleep(10 * time.Millisecond)
		}
		t.Fatalf("no warning of provider %s in %s", provider, w.logs())
		return ""
	}
	one := "provider one oidc {\n\t\t\tissuer " + issuer + "\n\t\t\tclient_id a\n\t\t\ttoken_auth none\n\t\t}\n\t\t"
	two := "provider two saml {\n\t\t\tmetadata https://nobody.localhost:1/metadata\n\t\t}\n\t\tsame_people one two\n\t\t"
	w.mustLoad(w.global(one) + site)
	for _, want := range []string{"discovery document", "refused"} {
		if got := warning(t, "one", issuer); !strings.Contains(got, want) {
			t.Errorf("%s lacks %q", got, want)
		}
	}
	w.mustLoad(w.global(one+two) + site)
	for _, want := range []string{"metadata", "refused"} {
		if got := warning(t, "two", "https://nobody.localhost:1/metadata"); !strings.Contains(got, want) {
			t.Errorf("%s lacks %q", got, want)
		}
	}
}
