package caddymodule_test

import (
	"errors"
	"os"
	"path/filepath"
	"regexp"
	"strings"
	"testing"

	"github.com/caddy-sso/caddy-sso/caddymodule"
)

// TestSidecarPages reads the variables that the pages show.
func TestSidecarPages(t *testing.T) {
	t.Parallel()
	secret := filepath.Join(t.TempDir(), "secret")
	if err := os.WriteFile(secret, []byte("secret\n"), 0o600); err != nil {
		t.Fatal(err)
	}
	for page, least := range map[string]int{"../docs/sidecar.md": 2, "../docs/environment.md": 2} {
		content, err := os.ReadFile(page)
		if err != nil {
			t.Fatal(err)
		}
		blocks := regexp.MustCompile("(?s)```sh\n(.*?)```").FindAllStringSubmatch(string(content), -1)
		if len(blocks) < least {
			t.Fatalf("%s has %d blocks of variables", page, len(blocks))
		}
		for _, block := range blocks {
			environ := []string{"SSO_UPSTREAM=127.0.0.1:3000", "SSO_BASE_URL=https://app.example.com", "SSO_ROLE_MAPPING=*=User", "SSO_SAML_X_METADATA=https://x.example.com/"}
			for line := range strings.Lines(block[1]) {
				line = strings.TrimPrefix(strings.TrimSpace(line), "export ")
				if name, value, ok := strings.Cut(line, "="); ok {
					value = strings.Trim(value, `'`)
					if strings.HasPrefix(value, `"`) {
						value = strings.Trim(value, `"`)
					}
					environ = append(environ, name+"="+strings.ReplaceAll(value, "/run/secrets/oidc", secret))
				}
			}
			if _, err := caddymodule.ReadSidecar(environ); err != nil {
				t.Errorf("%s: %v\n%s", page, err, block[1])
			}
		}
	}
}

// TestSidecarHugeFile names a file that has no end.
func TestSidecarHugeFile(t *testing.T) {
	t.Parallel()
	huge := filepath.Join(t.TempDir(), "huge")
	if err := errors.Join(os.WriteFile(huge, nil, 0o600), os.Truncate(huge, 1<<40)); err != nil {
		t.Fatal(err)
	}
	if _, err := caddymodule.ReadSidecar([]string{"SSO_TITLE__FILE=" + huge}); err == nil || !strings.Contains(err.Error(), huge+" has more than 16 MiB") {
		t.Errorf("got %v", err)
	}
}

// TestSidecarAddresses tells an app on loopback from others, and finds the health port.
func TestSidecarAddresses(t *testing.T) {
	t.Parallel()
	for upstream, near := range map[string]bool{
		"127.0.0.1:3000": true, "[::1]:3000": true, "localhost:3000": true, "http://127.0.0.1": true, "https://localhost:8443": true, "unix//run/app.sock": true,
		"app:3000": false, "10.0.0.2:3000": false, "http://app.example.com": false, "0.0.0.0:80": false,
	} {
		if s := (caddymodule.Sidecar{Upstream: upstream}); s.Near() != near {
			t.Errorf("%s is near: %v", upstream, s.Near())
		}
	}
	for listen, want := range map[string]string{
		"": "127.0.0.1:8081", ":9000": "127.0.0.1:9000", " :9000 ": "127.0.0.1:9000", "10.0.0.2:9000": "10.0.0.2:9000", "[::]:9000": "127.0.0.1:9000", "[fd00::1]:9000": "[fd00::1]:9000",
	} {
		if got, err := caddymodule.HealthAddress([]string{"SSO_HEALTH_LISTEN=" + listen}); err != nil || got != want {
			t.Errorf("with %q it is %s, %v", listen, got, err)
		}
	}
	if got, err := caddymodule.HealthAddress([]string{"SSO_HEALTH_LISTEN__FILE=testdata/environment/values/health"}); err != nil || got != "127.0.0.1:9001" {
		t.Errorf("by a file it is %s, %v", got, err)
	}
	if _, err := caddymodule.HealthAddress([]string{"SSO_HEALTH_LISTEN=off"}); err == nil || !strings.Contains(err.Error(), "SSO_HEALTH_LISTEN is off") {
		t.Errorf("a health port that is off: %v", err)
	}
}
