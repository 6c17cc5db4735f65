package caddymodule_test

import (
	"fmt"
	"net/http"
	"regexp"
	"strings"
	"testing"

	"github.com/caddyserver/caddy/v2"
	"github.com/caddyserver/caddy/v2/caddyconfig/httpcaddyfile"
	"github.com/caddyserver/caddy/v2/modules/caddyhttp"

	"github.com/caddy-sso/caddy-sso/gateway/gatewaytest"
)

func init() {
	caddy.RegisterModule(wildPlugin{})
	httpcaddyfile.RegisterHandlerDirective("wild_plugin", func(h httpcaddyfile.Helper) (caddyhttp.MiddlewareHandler, error) {
		h.Next()
		return wildPlugin{}, nil
	})
	httpcaddyfile.RegisterDirectiveOrder("wild_plugin", httpcaddyfile.Before, "respond")
	caddy.RegisterModule(opaquePlugin{})
	httpcaddyfile.RegisterHandlerDirective("opaque_plugin", func(h httpcaddyfile.Helper) (caddyhttp.MiddlewareHandler, error) {
		h.Next()
		return opaquePlugin{}, nil
	})
	httpcaddyfile.RegisterDirectiveOrder("opaque_plugin", httpcaddyfile.Before, "map")
}

// A wildPlugin is a handler that sso does not know.
type wildPlugin struct{}

func (wildPlugin) CaddyModule() caddy.ModuleInfo {
	return caddy.ModuleInfo{ID: "http.handlers.wild_plugin", New: func() caddy.Module { return new(wildPlugin) }}
}

func (wildPlugin) ServeHTTP(w http.ResponseWriter, r *http.Request, next caddyhttp.Handler) error {
	return next.ServeHTTP(w, r)
}

// An opaquePlugin gives the handlers after it a writer that can't be unwrapped.
type opaquePlugin struct{}

func (opaquePlugin) CaddyModule() caddy.ModuleInfo {
	return caddy.ModuleInfo{ID: "http.handlers.opaque_plugin", New: func() caddy.Module { return new(opaquePlugin) }}
}

func (opaquePlugin) ServeHTTP(w http.ResponseWriter, r *http.Request, next caddyhttp.Handler) error {
	return next.ServeHTTP(struct{ http.ResponseWriter }{w}, r)
}

const starts = "it starts"

// loadAlone runs a Caddyfile without a store of its own, and returns what is said
// against it.
func loadAlone(t *testing.T, dir, caddyfile string) string {
	t.Helper()
	port := fmt.Sprint(gatewaytest.FreePort())
	options := fmt.Sprintf("\tauto_https off\n\thttp_port %s\n\tstorage file_system %s\n", port, dir)
	return strings.ReplaceAll(loadBoth(t, mustAdapt(t, strings.ReplaceAll(withOptions(caddyfile, options), "PORT", port))), port, "PORT")
}

// TestWild runs Caddyfiles as people write them: each starts, or is refused with
// a message. Where that asks for a line, the line is written, and then it starts.
func TestWild(t *testing.T) {
	dir := t.TempDir()
	t.Setenv("XDG_DATA_HOME", dir)
	for name, value := range map[string]string{"NAME": "$ECRET2024", "OUR": "env.ECRET2024", "LONG_NAME": "$ECRET_THAT_IS_AT_LEAST_32_CHARACTERS_LONG"} {
		t.Setenv("SSO_TEST_LIKE_A_"+name, value) // values that look like names of variables
	}
	mended := 0
	golden(t, "wild", 60, func(t *testing.T, caddyfile string) string {
		t.Helper()
		got := loadAlone(t, dir, caddyfile)
		for _, line := range linesAskedFor(caddyfile, got) {
			mended++
			if got := loadAlone(t, dir, errorBlock.ReplaceAllString(caddyfile, "${1} {\n${2}"+line+"\n")); got != starts {
				t.Errorf("with %s: %s", line, got)
			}
		}
		return got
	})
	if mended < 15 {
		t.Errorf("only %d were mended", mended)
	}
}

// Where error routes and sites with a path begin, and the line that a message asks for.
var (
	errorBlock = regexp.MustCompile(`(?m)(handle_errors[^{\n]*|handle_response[^{\n]*|&\(page\)|http://app.localhost/\S*) \{\n(\t+route \{\n)?`)
	pageLine   = regexp.MustCompile("write the line `(rewrite [^`]+)`")
)

// linesAskedFor are the lines that mend a Caddyfile, each by itself. A rewrite
// beside another one is left to the reader, who has to say which of them stays.
func linesAskedFor(caddyfile, msg string) []string {
	var lines []string
	if strings.Contains(msg, "`sso_strip`") {
		lines = append(lines, "sso_strip")
	}
	if m := pageLine.FindStringSubmatch(msg); m != nil && !strings.Contains(caddyfile, "rewrite") {
		lines = append(lines, m[1])
	}
	return lines
}
