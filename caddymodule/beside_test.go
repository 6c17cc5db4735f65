package caddymodule_test

import (
	"fmt"
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

// TestWarnsOfWhatIsBeside names handlers that get the session cookie where
// somebody has said so, or where it may be another service.
func TestWarnsOfWhatIsBeside(t *testing.T) {
	const sso = "PROVIDER\n\t\trole User *\n%s\t}\n\treverse_proxy localhost:1\n"
	const ofPart, ofPort = "get requests that its sso does not see", "on another port"
	top, nested := fmt.Sprintf(sso, ""), fmt.Sprintf(sso, "\t\tnested\n\t\tprefix /admin/.sso\n")
	for _, tt := range []struct {
		name, sites string
		want        string
	}{
		{"a guarded part", "ORIGIN {\n\thandle /admin/* {\n" + nested + "}\n\thandle {\n\treverse_proxy localhost:2\n}\n}\n", ofPart},
		{"a guarded part, and PHP", "ORIGIN {\n\thandle /admin/* {\n" + nested + "}\n\tphp_fastcgi localhost:2\n}\n", ofPart},
		{"a guarded part, and files", "ORIGIN {\n\thandle /admin/* {\n" + nested + "}\n\thandle {\n\tfile_server\n}\n}\n", ""},
		{"a guarded part, stripped", "ORIGIN {\n\thandle /admin/* {\n" + nested + "}\n\thandle {\n\tsso_strip\n\treverse_proxy localhost:2\n}\n}\n", ""},
		{"a guarded site with a path", "ORIGIN/admin/* {\n\troute {\n" + nested + "}\n}\nORIGIN {\n\treverse_proxy localhost:2\n}\n", ofPart},
		{"a guarded host of a wildcard site", "http://*.localhost:PORT {\n\t@app host app.localhost\n\thandle @app {\n" + nested + "}\n\thandle {\n\treverse_proxy localhost:2\n}\n}\n", ""},
		{"a plugin at a path", "ORIGIN/api/* {\n\twild_plugin\n}\nORIGIN {\n" + top + "}\n", ofPart},
		{"another port", "ORIGIN {\n" + top + "}\nhttp://localhost:OTHER {\n\treverse_proxy localhost:2\n}\n", ofPort},
		{"another port for all hosts", "ORIGIN {\n" + top + "}\nhttp://:OTHER {\n\treverse_proxy localhost:2\n}\n", ofPort},
		{"another port, stripped", "ORIGIN {\n" + top + "}\nhttp://:OTHER {\n\tsso_strip\n\treverse_proxy localhost:2\n}\n", ""},
		{"another port, guarded", "ORIGIN {\n" + top + "}\nhttp://localhost:OTHER {\n" + fmt.Sprintf(sso, "\t\tapp other\n") + "}\n", ""},
		{"another port of another host", "ORIGIN {\n" + top + "}\nhttp://other.localhost:OTHER {\n\treverse_proxy localhost:2\n}\n", ""},
		{"another port with files", "ORIGIN {\n" + top + "}\nhttp://:OTHER {\n\tfile_server\n}\n", ""},
		{"plain http of a site with https", "https://app.localhost:OTHER {\n\tCERTIFICATE\n" + top + "}\nhttp://app.localhost:PORT {\n\treverse_proxy localhost:2\n}\n", ""},
	} {
		t.Run(tt.name, func(t *testing.T) {
			w := newWorld(t)
			global := strings.Replace(w.global(""), "\tadmin off\n", "\tadmin off\n\tauto_https disable_redirects\n\tskip_install_trust\n", 1)
			w.mustLoad(global + strings.NewReplacer("OTHER", fmt.Sprint(gatewaytest.FreePort()), "CERTIFICATE", w.certificate("app.localhost")).Replace(tt.sites))
			for _, msg := range []string{ofPart, ofPort} {
				if line := lineWith(w.logs(), msg); (line != "") != (msg == tt.want) || line != "" && !strings.Contains(line, "sso_strip") {
					t.Errorf("%s: got %q", msg, line)
				}
			}
		})
	}
}
