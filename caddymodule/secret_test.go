package caddymodule_test

import (
	"os"
	"path/filepath"
	"strings"
	"testing"
)

// TestNamesOfVariables writes the name of a variable in place of its value, and has
// values that look like such names. Only the first is refused, and no value is shown. The
// messages about other secrets are those of the golden files.
func TestNamesOfVariables(t *testing.T) {
	dir := t.TempDir()
	t.Setenv("XDG_DATA_HOME", dir)
	t.Setenv("SSO_TEST_LIKE_A_NAME", "$ECRET2024")
	t.Setenv("SSO_TEST_LIKE_OURS", "env.ECRET2024")
	t.Setenv("SSO_TEST_LONG", "$ECRET_THAT_IS_AT_LEAST_32_CHARACTERS_LONG")
	file := filepath.Join(dir, "secret")
	if err := os.WriteFile(file, []byte("$ECRET2024"), 0o600); err != nil {
		t.Fatal(err)
	}
	const long = "0123456789abcdef0123456789abcdef"
	for name, tt := range map[string]struct {
		client, redis, secret string
		says                  string // nothing: it starts
	}{
		"a variable":                {client: "{env.SSO_TEST_LIKE_A_NAME}"},
		"a variable like env.":      {client: "{env.SSO_TEST_LIKE_OURS}"},
		"a file":                    {client: "{file." + file + "}"},
		"replaced in the Caddyfile": {client: "{$SSO_TEST_LIKE_A_NAME}"},
		"the shared secret":         {secret: "{env.SSO_TEST_LONG}"},
		"Redis":                     {redis: "redis://:{env.SSO_TEST_LIKE_A_NAME}@localhost:1"},
		"Redis, in the Caddyfile":   {redis: "redis://:{$SSO_TEST_LIKE_A_NAME}@localhost:1"},
		"a name":                    {client: "$OIDC_SECRET", says: "client_secret: has $OIDC_SECRET in it, which is not replaced: write {env.OIDC_SECRET}"},
		"a name without braces":     {client: "env.OIDC_SECRET", says: "client_secret: is env.OIDC_SECRET without braces"},
	} {
		t.Run(name, func(t *testing.T) {
			if tt.client == "" {
				tt.client = "secret"
			}
			if tt.secret == "" {
				tt.secret = long
			}
			store := ""
			if tt.redis != "" {
				store = "store redis " + tt.redis + "\n"
			}
			caddyfile := "{\nsso {\n" + store + "secret " + tt.secret + "\n}\n}\nhttp://app.localhost {\nsso oidc https://id.example.com app " + tt.client + " {\nrole User *\n}\n}\n"
			got := loadAlone(t, dir, caddyfile)
			if strings.Contains(got, "ECRET2024") || tt.says == "" && got != starts || !strings.Contains(got, tt.says) {
				t.Errorf("it says %s", got)
			}
		})
	}
}
