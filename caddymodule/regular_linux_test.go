package caddymodule_test

import (
	"path/filepath"
	"strings"
	"syscall"
	"testing"
	"time"
)

// TestNoRegularFile names a pipe where a file is expected, on which nobody writes. To wait
// for it would stop validation and reloads for ever.
func TestNoRegularFile(t *testing.T) {
	dir := t.TempDir()
	t.Setenv("XDG_DATA_HOME", dir)
	pipe := filepath.Join(dir, "pipe")
	if err := syscall.Mkfifo(pipe, 0o600); err != nil {
		t.Fatal(err)
	}
	const oidc, saml, own = "oidc https://id.example.com app secret", "saml https://id.example.com/metadata", "app.example.com {\n\tsso PROVIDER {\n\t\trole User *\n\t\tLINE\n\t}\n}\n"
	site := func(provider, line string) string {
		return strings.NewReplacer("PROVIDER", provider, "LINE", line).Replace(own)
	}
	for name, tt := range map[string]struct{ config, option string }{
		"logo":               {site(oidc, "logo PIPE"), "logo"},
		"a title":            {site(oidc, "title {file.PIPE}"), "title"},
		"ca":                 {site(oidc, "ca PIPE"), "ca"},
		"ca of SAML":         {site(saml, "ca PIPE"), "ca"},
		"metadata":           {site("saml PIPE", ""), "metadata"},
		"a certificate":      {site("saml", "entity_id a\n\t\tsso_url https://id.example.com/sso\n\t\tcertificate PIPE"), "certificate"},
		"a client's secret":  {site("oidc https://id.example.com app {file.PIPE}", ""), "client_secret"},
		"the store":          {"{\n\tsso {\n\t\tstore bolt PIPE\n\t}\n}\n" + site(oidc, ""), "store"},
		"the store's secret": {"{\n\tsso {\n\t\tsecret {file.PIPE}\n\t}\n}\n" + site(oidc, ""), "secret"},
		"the store's URL":    {"{\n\tsso {\n\t\tsecret 0123456789012345678901234567890123456789\n\t\tstore redis {file.PIPE}\n\t}\n}\n" + site(oidc, ""), "url"},
	} {
		t.Run(name, func(t *testing.T) {
			config := mustAdapt(t, strings.ReplaceAll(tt.config, "PIPE", pipe))
			said := make(chan error, 1)
			go func() { said <- validate(t, config) }()
			select {
			case err := <-said:
				if err == nil || !strings.Contains(err.Error(), tt.option+":") || !strings.Contains(err.Error(), pipe+" is no regular file") {
					t.Errorf("it says %v", err)
				}
			case <-time.After(20 * time.Second):
				t.Fatal("it hangs")
			}
		})
	}
}
