package caddymodule_test

import (
	"encoding/json"
	"fmt"
	"os"
	"path/filepath"
	"slices"
	"strings"
	"testing"

	"github.com/caddyserver/caddy/v2"

	"github.com/caddy-sso/caddy-sso/gateway/gatewaytest"
)

// withOptions puts options first into the global options of a Caddyfile.
func withOptions(caddyfile, options string) string {
	rest, found := strings.CutPrefix(caddyfile, "{\n")
	if !found {
		rest = "}\n" + caddyfile
	}
	return "{\n\tadmin off\n\tpersist_config off\n" + options + rest
}

// withLog is withOptions for a log of its own, also for JSON. It returns the function that reads our
// lines with a text, without the time.
func withLog(t *testing.T, caddyfile string) (config []byte, said func(text string) string) {
	t.Helper()
	dir := t.TempDir()
	t.Setenv("XDG_DATA_HOME", dir)
	file := filepath.Join(dir, "log")
	options := fmt.Sprintf("\tstorage file_system %s\n\tlog {\n\t\toutput file %s\n\t}\n", dir, file)
	if json.Valid([]byte(caddyfile)) {
		config = slices.Concat([]byte(strings.TrimSuffix(strings.TrimSpace(caddyfile), "}")+","), mustAdapt(t, withOptions("", options))[1:])
	} else {
		config = mustAdapt(t, withOptions(caddyfile, options))
	}
	return config, func(text string) string {
		content, err := os.ReadFile(file)
		if err != nil {
			t.Fatal(err)
		}
		var lines []string
		for line := range strings.Lines(string(content)) {
			var own struct{ Level, Logger, Msg string }
			if err := json.Unmarshal([]byte(line), &own); err != nil {
				t.Fatal(err)
			}
			if strings.HasPrefix(own.Logger, "sso") && strings.Contains(own.Msg, text) {
				_, fields, _ := strings.Cut(strings.TrimSuffix(line, "}\n"), `,"msg":`)
				lines = append(lines, own.Level+": "+fields)
			}
		}
		if lines == nil {
			return "nothing"
		}
		return strings.Join(lines, "\n")
	}
}

// TestWarned has `caddy validate` warn of what can start, but is risky, hardly meant, or
// does less than it says.
func TestWarned(t *testing.T) {
	golden(t, "warned", 100, func(t *testing.T, caddyfile string) string {
		t.Helper()
		config, said := withLog(t, caddyfile)
		if err := validate(t, config); err != nil {
			t.Fatal(err)
		}
		return said("")
	})
}

// TestFaultyClient: a client that can't be built has an error, and no warning about what it lacks.
func TestFaultyClient(t *testing.T) {
	adapted := string(mustAdapt(t, `id.example.com {
	sso oidc https://login.example.com a secret {
		op {
			client both {
				secret 0123456789abcdef0123456789abcdef
				redirect_uri https://a.example/
				role user *
			}
		}
	}
}
`))
	config, said := withLog(t, strings.Replace(adapted, `"id":"both"`, `"id":"both","keys":"https://a.example/jwks.json"`, 1))
	if err := validate(t, config); err == nil || !strings.Contains(err.Error(), "client both: it has a secret and keys") {
		t.Errorf("validated: %v", err)
	}
	if got := said(""); got != "nothing" {
		t.Errorf("it is said:\n%s", got)
	}
}

// TestAnnouncedAddresses reads the line of each site at start: the protected paths, and
// the addresses to register.
func TestAnnouncedAddresses(t *testing.T) {
	golden(t, "announced", 14, func(t *testing.T, caddyfile string) string {
		t.Helper()
		port := fmt.Sprint(gatewaytest.FreePort())
		config, said := withLog(t, strings.ReplaceAll(caddyfile, "PORT", port))
		if err := caddy.Load(config, true); err != nil {
			t.Fatal(err)
		}
		if err := caddy.Stop(); err != nil {
			t.Fatal(err)
		}
		return strings.ReplaceAll(said("this site is protected"), port, "PORT")
	})
}

// TestNoSiteIsRight validates a site with a mistake, often enough for either order in which Caddy
// may take its apps. The log does not say that there is no site.
func TestNoSiteIsRight(t *testing.T) {
	config, said := withLog(t, `{
	sso {
		provider corp oidc {
			issuer https://id.example.com
			client_id app
			token_auth none
		}
	}
}
app.example.com {
	sso {
		logo nowhere/none.png
		role User *
	}
}
`)
	for range 40 {
		if err := validate(t, config); err == nil || !strings.Contains(err.Error(), "nowhere/none.png") {
			t.Fatalf("got %v", err)
		}
	}
	if lines := said("no site"); lines != "nothing" {
		t.Error(lines)
	}
}
