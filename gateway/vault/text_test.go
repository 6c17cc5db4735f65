package vault_test

import (
	"strings"
	"testing"

	"github.com/caddy-sso/caddy-sso/gateway/vault"
)

func TestRandomTextForm(t *testing.T) {
	t.Parallel()
	good := strings.Repeat("A", 42) + "E"
	for value, want := range map[string]bool{
		good: true, strings.Repeat("_", 42) + "8": true,
		"": false, good[1:]: false, good + "A": false, good[1:] + "=": false, strings.Repeat("A", 42) + "B": false,
		good[:42] + "\n": false, strings.Repeat("\r", 43): false, "+" + good[1:]: false, " " + good[1:]: false,
	} {
		if vault.IsRandomText(value) != want {
			t.Errorf("%q: valid is %v", value, !want)
		}
	}
}
