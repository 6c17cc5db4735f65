package caddymodule_test

import (
	"errors"
	"fmt"
	"os"
	"path/filepath"
	"regexp"
	"strings"
	"testing"

	"github.com/caddyserver/caddy/v2"

	"github.com/caddy-sso/caddy-sso/caddymodule"
	"github.com/caddy-sso/caddy-sso/gateway/gatewaytest"
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

// TestSidecarValues gives the sidecar's own variables values that Caddy would misunderstand,
// or that would let clients in past the gateway.
func TestSidecarValues(t *testing.T) {
	t.Parallel()
	good := []string{"SSO_UPSTREAM=127.0.0.1:3000", "SSO_BASE_URL=https://app.example.com", "SSO_ROLE_MAPPING=*=User", "SSO_SAML_X_METADATA=https://x.example.com/"}
	const names = "$X $SSO_SECRET ${SSO_SECRET_FROM_KUBERNETES_STORE} ${my_secret:-none} $(SSO_SECRET) {$OIDC_SECRET} env.MY file./run/secrets/oidc"
	for name, tt := range map[string]struct {
		want   string // of the error
		values string
	}{
		"SSO_UPSTREAM": {"is no address of an app", "app localhost localhost:3000/app 127.0.0.1:3000/ http://127.0.0.1:3000/ 127.0.0.1:3000-3010 app:port app:0 :3000 " +
			"*:3000 127.0.0.1:3000,127.0.0.1:3001 unix/app.sock unix:/run/app.sock unix//run/ unix//run/{env.X} udp/127.0.0.1:3000 srv+http:3000 -a:80 app:00080 http:// https://app:99999 " +
			"127.1:3000 0x7f.1:80 017700000001:80 0:80 app.1.:80 http://127.1 münchen.de:80 `app`:80 {env.X}:80 app:+80 [fe80::1%25eth0:80"},
		"SSO_UPSTREAM scheme":                  {"can't be used", "unix:///run/app.sock h2c://127.0.0.1:3000 srv+http://app:3000 ftp://app:3000"},
		"SSO_UPSTREAM userinfo":                {"has a user name or password in it", "http://admin:hunter2@127.0.0.1:3000 hunter2@app:3000"},
		"SSO_UPSTREAM of the sidecar":          {"the sidecar itself listens there", "127.0.0.1:8080 http://localhost:8080 [::1]:8081 0.0.0.0:8080 [::ffff:127.0.0.1]:8080 localhost.:8080 LOCALHOST:8081 [::ffff:0:0]:8080 [::1%lo]:8080"},
		"SSO_LISTEN":                           {"is no address to listen at", `:99999 :http :0 :-1 8080 127.0.0.1 :8080/x \:8080 a/b:8080 a#b:8080 <:8080 unix//run/x tcp/:80 http://:8080 127.1:8080 {env.X}:80`},
		"SSO_LISTEN at the health port":        {"SSO_LISTEN and SSO_HEALTH_LISTEN collide", ":8081 127.0.0.1:8081 localhost:8081 [::ffff:127.0.0.1]:8081"},
		"SSO_HEALTH_LISTEN at the same port":   {"SSO_LISTEN and SSO_HEALTH_LISTEN collide", ":8080 127.0.0.1:8080"},
		"SSO_TRUSTED_PROXIES that are all":     {"are all addresses", "0.0.0.0/0 ::/0 10.0.0.0/0 2000::/3 ::/2"},
		"SSO_BASE_URL with a dot at its end":   {"has a dot at the end of its host", "https://app.example.com. https://app.example.com.:8443 https://app.example.com./"},
		"SSO_SECRET by a name":                 {"nothing replaces it", names},
		"SSO_SECRET_PREVIOUS by a name":        {"nothing replaces it", names},
		"SSO_OIDC_X_CLIENT_SECRET by a name":   {"nothing replaces it", names + " env.my_secret"},
		"SSO_OIDC_X_CLIENT_ID by a name":       {"nothing replaces it", names},
		"SSO_TITLE by a name":                  {"nothing replaces it", names},
		"SSO_UPSTREAM by a name":               {"nothing replaces it", names},
		"SSO_ROLE_MAPPING by a name":           {"nothing replaces it", names},
		"SSO_PUBLIC by a name":                 {"nothing replaces it", names},
		"SSO_REDIS_URL with a name":            {"nothing replaces it", names + " redis://:$PASSWORD@redis redis://user:${PASSWORD}@redis:6379 redis://:$(PASSWORD)@redis/0 redis://:{$PASSWORD}@$HOST"},
		"SSO_OIDC_X_CLIENT_SECRET placeholder": {"has the placeholder {env.X} inside", "hunter2{env.X} {env.X}hunter2"},
	} {
		variable, _, _ := strings.Cut(name, " ")
		for value := range strings.FieldsSeq(tt.values) {
			_, err := caddymodule.ReadSidecar(append(good[:len(good):len(good)], variable+"="+value))
			if err == nil || !strings.Contains(err.Error(), tt.want) || !strings.Contains(err.Error(), variable) || strings.Contains(err.Error(), "hunter2") {
				t.Errorf("%s=%s: got %v, want %s", variable, value, err, tt.want)
			}
		}
	}
	for _, upstream := range []string{"http://localhost", "http://127.0.0.1", "localhost:80"} {
		if _, err := caddymodule.ReadSidecar(append(good[1:len(good):len(good)], "SSO_LISTEN=:80", "SSO_UPSTREAM="+upstream)); err == nil || !strings.Contains(err.Error(), "the sidecar itself listens there") {
			t.Errorf("%s: got %v", upstream, err)
		}
	}
	for variable, values := range map[string][]string{
		"SSO_UPSTREAM":        {"app:3000", "[::1]:3000", "https://app", "http://app.example.com:80", "unix//run/app.sock", "10.0.0.2:8080", "my_app:1"},
		"SSO_LISTEN":          {":80", "[::1]:8080", "0.0.0.0:65535", "localhost:9000"},
		"SSO_SECRET":          {"$2y$10$N9qo8uLOickgx2ZMRZoMyeIjZAgcfl7p92ldGxad68LJZdL17lhWy", "{env.MY_SECRET}", "0123456789abcdef$SECRET$0123456789abcdef", "$ecret-$ecret-$ecret-$ecret-$ecret"},
		"SSO_REDIS_URL":       {"redis://:{env.PASSWORD}@redis:6379", "redis://:pa$$WORD@redis:6379"},
		"SSO_TRUSTED_PROXIES": {"10.0.0.0/8 private_ranges", "0.0.0.0/1 64.0.0.0/2 10.0.0.0/8 224.0.0.0/3", "2001:db8::/32 ::1 8000::/1 2000::/4"},
	} {
		for _, value := range values {
			if _, err := caddymodule.ReadSidecar(append(good[:len(good):len(good)], variable+"="+value)); err != nil {
				t.Error(err)
			}
		}
	}
	for _, halves := range []string{"0.0.0.0/1 0.0.0.0/8 192.0.0.0/2 128.0.0.0/2", "0.0.0.0/1 128.0.0.0/2 192.0.0.0/3", "2000::/4 3000::/4", "::/1 8000::/1"} {
		if _, err := caddymodule.ReadSidecar(append(good[:len(good):len(good)], "SSO_TRUSTED_PROXIES="+halves)); err == nil || !strings.Contains(err.Error(), "are all addresses") {
			t.Errorf("%s: got %v", halves, err)
		}
	}
}

// TestSidecarFiles names files whose content is no value, and shows nothing of what is in them:
// it may be a secret, if the name is wrong.
func TestSidecarFiles(t *testing.T) {
	t.Parallel()
	file := filepath.Join(t.TempDir(), "file")
	good := []string{"SSO_UPSTREAM=127.0.0.1:3000", "SSO_BASE_URL=https://app.example.com", "SSO_ROLE_MAPPING=*=User", "SSO_SAML_X_METADATA=https://x.example.com/"}
	for content, want := range map[string]string{
		"app:3000\r\n": "", " app:3000\n\n": "",
		"\ufeffapp:3000": "begins with a byte order mark", "a\xffpp:3000": "is no text in UTF-8", "app:3000\x00": "has control characters",
		"app:3000\nb:1": "has a line break in it", " \r\n": "is empty", "": "is empty",
	} {
		if err := os.WriteFile(file, []byte(content), 0o600); err != nil {
			t.Fatal(err)
		}
		_, err := caddymodule.ReadSidecar(append(good[1:], "SSO_UPSTREAM__FILE="+file))
		if want == "" && err != nil || want != "" && (err == nil || !strings.Contains(err.Error(), "SSO_UPSTREAM__FILE: ") || !strings.Contains(err.Error(), want)) {
			t.Errorf("%q: got %v, want %q", content, err, want)
		}
	}
	for _, content := range []string{canary + "-0123456789", canary + `"quoted`, canary + "=a=b, c"} {
		if err := os.WriteFile(file, []byte(content+"\n"), 0o600); err != nil {
			t.Fatal(err)
		}
		faults := 0
		for _, table := range caddymodule.VariableTables() {
			for _, row := range table.Rows {
				_, err := caddymodule.ReadSidecar(append(good[:len(good):len(good)], strings.ReplaceAll(row.Name, "<NAME>", "X")+"__FILE="+file))
				if err != nil && strings.Contains(err.Error(), content) {
					t.Errorf("%s shows what is in the file: %v", row.Name, err)
				}
				if err != nil && !table.Options {
					faults++
				}
			}
		}
		if faults < 30 {
			t.Errorf("only %d variables refuse %q", faults, content)
		}
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
	file := filepath.Join(t.TempDir(), "health")
	if err := os.WriteFile(file, []byte("127.0.0.1:9001\n"), 0o600); err != nil {
		t.Fatal(err)
	}
	if got, err := caddymodule.HealthAddress([]string{"SSO_HEALTH_LISTEN__FILE=" + file}); err != nil || got != "127.0.0.1:9001" {
		t.Errorf("by a file it is %s, %v", got, err)
	}
	for variable, want := range map[string]string{
		"SSO_HEALTH_LISTEN=off":               "SSO_HEALTH_LISTEN: it is off",
		"SSO_HEALTH_LISTEN=8081":              "SSO_HEALTH_LISTEN: '8081' is no address",
		"SSO_HEALTH_LISTEN='127.0.0.1:1'":     "SSO_HEALTH_LISTEN: the value has the quotes '",
		"SSO_HEALTH_LISTEN__FILE=/none":       "SSO_HEALTH_LISTEN__FILE: open /none: no such file",
		"SSO_HEALTH_LISTEN__FILE=cmd":         "SSO_HEALTH_LISTEN__FILE: cmd is no regular file",
		"SSO_HEALTH_LISTEN__FILE=/proc/stat/": "SSO_HEALTH_LISTEN__FILE: ",
	} {
		if got, err := caddymodule.HealthAddress([]string{"SSO_TITLE__FILE=/none", variable}); err == nil || !strings.HasPrefix(err.Error(), want) {
			t.Errorf("with %s it is %s, %v, want %s", variable, got, err, want)
		}
	}
}

// TestSidecarAnotherSecret starts a sidecar without a secret, and then with one that does not open
// the store. One line says so, names the variables, and the sidecar is not ready.
func TestSidecarAnotherSecret(t *testing.T) {
	const secret = "SSO_SECRET=0123456789abcdef0123456789abcdef"
	dir := t.TempDir()
	start := func(more ...string) string {
		environ := append([]string{
			fmt.Sprintf("SSO_LISTEN=127.0.0.1:%d", gatewaytest.FreePort()), "SSO_SHUTDOWN_DELAY=0s", "SSO_GRACE_PERIOD=1s", "SSO_STORE_FILE=" + filepath.Join(dir, "sessions.db"),
			"SSO_UPSTREAM=127.0.0.1:3000", "SSO_BASE_URL=https://app.example.com", "SSO_ROLE_MAPPING=*=User",
			"SSO_OIDC_CORP_ISSUER=https://127.0.0.1:1", "SSO_OIDC_CORP_CLIENT_ID=app", "SSO_OIDC_CORP_CLIENT_SECRET=0123456789abcdef",
		}, more...)
		setAll(t, environ)
		sidecar, err := caddymodule.ReadSidecar(environ)
		if err != nil {
			t.Fatal(err)
		}
		t.Cleanup(sidecar.Speak())
		config, said := withLog(t, string(sidecar.Config))
		if err := caddy.Load(config, true); err != nil {
			t.Fatal(err)
		}
		err = caddymodule.Ready(t.Context())
		if err := caddy.Stop(); err != nil {
			t.Fatal(err)
		}
		if (err == nil) != (more == nil) {
			t.Errorf("with %v Ready says: %v", more, err)
		}
		return said("")
	}
	start()
	var told []string
	for line := range strings.Lines(start(secret)) {
		if strings.Contains(line, "secret") && !strings.HasPrefix(line, "info: ") {
			told = append(told, line)
		}
	}
	if len(told) != 1 || !strings.Contains(told[0], "the secret does not open the session store: nobody can sign in") ||
		!strings.Contains(told[0], "did SSO_SECRET change") || !strings.Contains(told[0], "SSO_SECRET and SSO_SECRET_PREVIOUS") {
		t.Errorf("the log says:\n%s", strings.Join(told, ""))
	}
}

// TestSidecarElsewhere compares the port that browsers use with the sidecar's own.
func TestSidecarElsewhere(t *testing.T) {
	t.Parallel()
	for variables, want := range map[string]bool{
		"SSO_BASE_URL=http://localhost":                          true,
		"SSO_BASE_URL=http://127.0.0.1:3000":                     true,
		"SSO_BASE_URL=http://localhost:8080":                     false,
		"SSO_BASE_URL=http://localhost SSO_LISTEN=:80":           false,
		"SSO_BASE_URL=http://app.localhost SSO_LISTEN=:9000":     true,
		"SSO_BASE_URL=https://localhost SSO_LISTEN=:8080":        false, // a proxy
		"SSO_BASE_URL=https://app.example.com SSO_LISTEN=:8080":  false,
		"SSO_BASE_URL=http://[::1]:8080 SSO_LISTEN=0.0.0.0:8080": false,
	} {
		sidecar, err := caddymodule.ReadSidecar(append(strings.Fields(variables), "SSO_UPSTREAM=127.0.0.1:3001", "SSO_ROLE_MAPPING=*=User", "SSO_SAML_X_METADATA=https://x.example.com/"))
		if err != nil || sidecar.Elsewhere() != want {
			t.Errorf("%s: %v", variables, err)
		}
	}
}
