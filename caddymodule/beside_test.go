package caddymodule_test

import (
	"net/http"
	"strings"
	"testing"

	"github.com/caddy-sso/caddy-sso/gateway/gatewaytest"
)

// TestBesideTheGuardedSite has a site with a path beside the guarded one. Its app
// gets nothing that only the gateway may say, or the configuration is refused.
func TestBesideTheGuardedSite(t *testing.T) {
	app := newUpstream(t, "sso=x", "page=1")
	w := newWorld(t)
	config := w.global("") + strings.ReplaceAll("ORIGIN/api/* {\n\treverse_proxy APP\n}\nORIGIN {\n\tPROVIDER\n\t\trole User *\n\t}\n\treverse_proxy APP\n}\n", "APP", app.addr())
	if err := w.load(config); err == nil || !strings.Contains(err.Error(), "write the line `sso_strip` before it") {
		t.Fatalf("without sso_strip: %v", err)
	}
	w.mustLoad(strings.Replace(config, "/api/* {\n", "/api/* {\n\tsso_strip\n", 1))
	b := newBrowser(t)
	if status, body := b.get(w.origin() + "/"); status != http.StatusOK || app.last().Header.Get("Remote-User") != "alice" {
		t.Fatalf("the control: %d %s", status, body)
	}
	r := mustRequest(t, w.origin()+"/api/x")
	forge(r, b.cookie(w.origin()))
	r.Trailer = nil
	resp, err := gatewaytest.Transport(t).RoundTrip(r)
	if err != nil {
		t.Fatal(err)
	}
	_ = resp.Body.Close()
	mustBeStripped(t, app.last(), b.cookie(w.origin()))
	if got := app.last(); got.RequestURI != "/api/x" {
		t.Errorf("the app was asked for %s", got.RequestURI)
	}
}
