package caddymodule_test

import (
	"io"
	"net/http"
	"os"
	"path/filepath"
	"strings"
	"testing"

	"github.com/caddy-sso/caddy-sso/gateway/gatewaytest"
)

// TestTemplateInTheAddress asks for the page of an error below a path that is a
// template. Nothing answers with that path where templates are executed.
func TestTemplateInTheAddress(t *testing.T) {
	w := newWorld(t)
	dir := t.TempDir()
	if err := os.WriteFile(filepath.Join(dir, "error.html"), []byte("a page of {{.Host}}"), 0o600); err != nil {
		t.Fatal(err)
	}
	config := w.global("") + strings.ReplaceAll("ORIGIN {\n\t@many expression `int({http.request.header.X-Number}) > 3`\n\theader @many X-Many yes\n"+
		"\thandle_errors {\n\t\troot * DIR\n\t\trewrite * /error.html\n\t\ttemplates\n\t\tfile_server {\n\t\t}\n\t}\n\tPROVIDER\n\t\trole User *\n\t}\n\trespond ok\n}\n", "DIR", dir)
	if err := w.load(config); err == nil || !strings.Contains(err.Error(), "write the line `disable_canonical_uris` into its block") {
		t.Fatalf("with redirects: %v", err)
	}
	w.mustLoad(strings.Replace(config, "file_server {\n", "file_server {\n\t\t\tdisable_canonical_uris\n", 1))
	r := mustRequest(t, w.origin()+"/%7B%7Benv%20%60PATH%60%7D%7D/error.html/")
	r.Header.Set("X-Number", "none")
	resp, err := gatewaytest.Transport(t).RoundTrip(r)
	if err != nil {
		t.Fatal(err)
	}
	defer func() { _ = resp.Body.Close() }()
	if body, err := io.ReadAll(resp.Body); err != nil || resp.StatusCode != http.StatusInternalServerError || string(body) != "a page of localhost" {
		t.Errorf("%d %s, %v", resp.StatusCode, body, err)
	}
}
