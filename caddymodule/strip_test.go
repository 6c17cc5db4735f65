package caddymodule_test

import (
	"fmt"
	"net/http"
	"net/url"
	"os"
	"slices"
	"strings"
	"testing"

	"github.com/caddy-sso/caddy-sso/gateway/gatewaytest"
)

// infoLog is the log as most people have it: at the default level.
func infoLog(global string) string { return strings.Replace(global, "level DEBUG", "level INFO", 1) }

// TestNoCredentialsInLogsOfStripped sends a code to our own addresses, at which
// sso_strip stands in place of sso. With any handler behind it, the log has one line
// for each request, and no code.
func TestNoCredentialsInLogsOfStripped(t *testing.T) {
	const failing = "@many expression `int({http.request.header.X-Number}) > 3`\n\theader @many X-Many yes\n"
	const guarded = "PROVIDER\n\t\trole User *\n\t}\n\trespond ok\n"
	for _, tt := range []struct {
		name, site string
		status     int
	}{
		{"a page", failing + "handle_errors {\n\t\tsso_strip\n\t\trespond failed 418\n\t}\n" + guarded, 418},
		{"an error", failing + "handle_errors {\n\t\tsso_strip\n\t\terror again 503\n\t}\n" + guarded, 500},
		{"an app that is down", failing + "handle_errors {\n\t\tsso_strip\n\t\treverse_proxy DOWN\n\t}\n" + guarded, 500},
		{"nothing", failing + "handle_errors {\n\t\tsso_strip\n\t}\n" + guarded, 500},
		{"no error", "handle /.sso/* {\n\t\tsso_strip\n\t\treverse_proxy DOWN\n\t}\n\thandle {\n\t\t" + strings.Replace(guarded, "}", "\tnested\n\t}", 1) + "\t}\n", 502},
		{"no error, and an error route", "handle_errors {\n\t\tsso_strip\n\t\trespond failed 418\n\t}\n\thandle /.sso/* {\n\t\tsso_strip\n\t\treverse_proxy DOWN\n\t}\n\thandle {\n\t\t" + strings.Replace(guarded, "}", "\tnested\n\t}", 1) + "\t}\n", 418},
		{"refused by sso", "handle_errors {\n\t\tsso_strip\n\t\trespond failed 418\n\t}\n" + strings.Replace(guarded, "}", "\terrors caddy\n\t}", 1), 418},
		{"refused by sso in the error route, too", "handle_errors {\n\t\t" + strings.Replace(guarded, "}", "\terrors caddy\n\t\tnested\n\t\tbase_url ORIGIN\n\t\tapp errors\n\t}", 1) + "\t}\n" + strings.Replace(guarded, "}", "\terrors caddy\n\t}", 1), 400},
	} {
		t.Run(tt.name, func(t *testing.T) {
			w := newWorld(t)
			site := strings.ReplaceAll(tt.site, "DOWN", fmt.Sprintf("127.0.0.1:%d", gatewaytest.FreePort()))
			w.mustLoad(infoLog(w.global("")) + "ORIGIN {\n\tlog\n\t" + site + "}\n")
			requests := []*http.Request{
				mustRequest(t, w.origin()+"/.sso/oidc/callback?code=canarycode&state=canarystate"),
				mustRequest(t, w.origin()+"/.sso/oidc/callback/some?code=canarycode&state=canarystate"),
				mustPost(t, w.origin()+"/.sso/saml/acs?state=canary", url.Values{"SAMLResponse": {"canary"}}),
			}
			for _, r := range requests {
				r.Header.Set("X-Number", "none")
				resp, err := gatewaytest.Transport(t).RoundTrip(r)
				if err != nil {
					t.Fatal(err)
				}
				_ = resp.Body.Close()
				if resp.StatusCode != tt.status && (tt.name != "refused by sso in the error route, too" || resp.StatusCode/100 != 4) {
					t.Errorf("%s: status %d", r.URL.Path, resp.StatusCode)
				}
				if resp.Header.Get("Referrer-Policy") != "no-referrer" {
					t.Errorf("%s: what the page loads names its address", r.URL.Path)
				}
			}
			logs := w.logs()
			if line := lineWith(logs, "canary"); line != "" {
				t.Errorf("the log has a code: %s", line)
			}
			for _, r := range requests {
				if got := strings.Count(logs, fmt.Sprintf(`"uri":%q,"redacted":true`, r.URL.Path)); got != 1 {
					t.Errorf("%d lines stand for %s", got, r.URL.Path)
				}
				line := lineWith(logs, fmt.Sprintf(`"uri":%q,"redacted":true`, r.URL.Path))
				if failed := tt.status >= 500; failed != strings.Contains(line, `"level":"error"`) {
					t.Errorf("the level is not Caddy's for status %d: %s", tt.status, line)
				}
			}
		})
	}
}

// TestLogFilterOfSecurityPage runs the filter that SECURITY.md has for sites without
// sso_strip: in the site's own log and in the default one.
func TestLogFilterOfSecurityPage(t *testing.T) {
	page, err := os.ReadFile("../SECURITY.md")
	if err != nil {
		t.Fatal(err)
	}
	_, text, _ := strings.Cut(string(page), "\n## Codes in Caddy's logs\n")
	_, text, _ = strings.Cut(text, "```caddyfile\nlog {\n")
	filter, _, found := strings.Cut(text, "}\n```")
	if !found {
		t.Fatal("there is no filter")
	}
	for _, filter := range []string{"", filter} {
		w := newWorld(t)
		global := strings.Replace(w.global(""), "\tlog {\n", "\tlog {\n"+filter, 1) // at level DEBUG: every error is logged
		w.mustLoad(global + "ORIGIN {\n\tlog {\n\t\toutput file " + w.path("site.log") + "\n" + filter + "\t}\n" +
			"\t@many expression `int({http.request.header.X-Number}) > 3`\n\theader @many X-Many yes\n\thandle_errors {\n\t\trespond failed\n\t}\n\tPROVIDER\n\t\trole User *\n\t}\n\trespond ok\n}\n")
		r := mustRequest(t, w.origin()+"/.sso/oidc/callback?code=canarycode&state=canarystate&SAMLResponse=canary&RelayState=canary&kept=1")
		r.Header.Set("Referer", w.origin()+"/.sso/oidc/callback?code=canarycode")
		r.Header.Set("X-Number", "none")
		if _, body := newBrowser(t).do(r); body != "failed" {
			t.Fatal(body)
		}
		site, err := os.ReadFile(w.path("site.log"))
		if err != nil {
			t.Fatal(err)
		}
		for name, log := range map[string]string{"default": w.logs(), "site": string(site)} {
			if got := strings.Contains(log, "canary"); got != (filter == "") {
				t.Errorf("filtered %t: the %s log has a code: %t", filter != "", name, got)
			}
			if strings.Contains(log, "callback?kept=1") != (filter != "") {
				t.Errorf("the %s log has %s", name, log)
			}
		}
	}
}

// A request that brings nothing of ours is in the log as any other.
func TestOtherRequestsAreLogged(t *testing.T) {
	w := newWorld(t)
	w.mustLoad(infoLog(w.global("")) + "ORIGIN {\n\tlog\n\t@many expression `int({http.request.header.X-Number}) > 3`\n\theader @many X-Many yes\n\thandle_errors {\n\t\tsso_strip\n\t\trespond failed\n\t}\n" +
		"\tPROVIDER\n\t\trole User *\n\t}\n\trespond ok\n}\n")
	r := mustRequest(t, w.origin()+"/page?q=1")
	r.Header.Set("X-Number", "none")
	if status, body := newBrowser(t).do(r); body != "failed" {
		t.Fatalf("%d %s", status, body)
	}
	if logs := w.logs(); !strings.Contains(logs, `"uri":"/page?q=1"`) || strings.Contains(logs, "redacted") {
		t.Errorf("the log has %s", logs)
	}
}

// A refusal that a proxy shows keeps its status, as docs/protect.md writes it.
func TestStatusOfARefusalKept(t *testing.T) {
	page, err := os.ReadFile("../docs/protect.md")
	if err != nil {
		t.Fatal(err)
	}
	_, block, _ := strings.Cut(string(page), "by `replace_status`:\n\n```caddyfile\n")
	block, _, _ = strings.Cut(block, "```")
	app := newUpstream(t)
	w := newWorld(t)
	w.mustLoad(w.global("") + "ORIGIN {\n" + strings.Replace(block, "errors:8080", app.addr(), 1) + "\tPROVIDER\n\t\trole User *\n\t\terrors caddy\n\t}\n\trespond ok\n}\n")
	if status, body := newBrowser(t).do(mustPost(t, w.origin()+"/page", nil)); status != http.StatusUnauthorized || body != "from the app" {
		t.Errorf("%d %s", status, body)
	}
}

// A response of an error route sets none of our cookies, and keeps the one that came with
// the refusal: after a reload the page still shows the refusal.
func TestCookieOfARefusalKept(t *testing.T) {
	app := newUpstream(t, "sso-r=x", "sso=x; Path=/", "app=1")
	for _, route := range []string{
		"respond \"{http.error.sso.code}\"",
		"sso_strip\nrespond \"{http.error.sso.code}\"",
		"sso_strip\nreverse_proxy " + app.addr() + " {\nreplace_status {err.status_code}\n}",
		"sso_strip\nheader Set-Cookie app=1\nheader +Set-Cookie sso=x\nrespond \"{http.error.sso.code}\"",
		"route {\n" + strings.Replace(nestedApp, "MORE", "", 1) + "\n}",
	} {
		w := newWorld(t)
		w.op.SetHooks(gatewaytest.OPHooks{Claims: func(claims map[string]any) { claims["groups"] = []any{"others"} }})
		w.mustLoad(w.global("") + "ORIGIN {\n\tPROVIDER\n\t\trole User team\n\t\terrors caddy\n\t}\n\trespond ok\n\thandle_errors {\n" + route + "\n}\n}\n")
		b := newBrowser(t)
		if status, body := b.get(w.origin() + "/page"); status != http.StatusForbidden {
			t.Errorf("%s: %d %s", route, status, body)
		}
		var names []string
		for _, c := range b.Jar.Cookies(mustRequest(t, w.origin()).URL) {
			if c.Value != "1" && len(c.Value) < 20 {
				t.Errorf("%s: the route has set %s", route, c)
			}
			names = append(names, c.Name)
		}
		if !slices.Contains(names, "sso-r") && !strings.Contains(route, "header Set-Cookie") || slices.Contains(names, "sso") {
			t.Errorf("%s: the browser has %v", route, names)
		}
	}
}
