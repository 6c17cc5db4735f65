package caddymodule_test

import (
	"fmt"
	"net/http"
	"strings"
	"testing"

	"github.com/caddy-sso/caddy-sso/gateway/gatewaytest"
)

// nestedApp is an sso in an error route. MORE are lines of its own.
const nestedApp = "PROVIDER\n role Reader *\n nested\n base_url ORIGIN\n app errors\n MORE\n}\n"

// standingSite hands refusals over to an error route with an sso of its own.
const standingSite = `ORIGIN {
	@number expression ` + "`{http.request.header.X-Number} != '' && int({http.request.header.X-Number}) > 3`" + `
	header @number X-Number yes
	PROVIDER
		role User team
		public /open/*
		errors caddy
	}
	respond /whoami "{http.auth.user.id}"
	error /open/* broken 503
	respond "the site's {http.auth.user.id}"
	handle_errors {
		route {
			` + nestedApp + `
			respond "the error route's {http.auth.user.id}"
		}
	}
}
`

// TestRefusalsStand holds that an sso in an error route answers none of the gateway's
// own addresses, and refuses nobody a second time: the status and the code are those
// of the first refusal, which the audit log has once, and nobody is sent round.
func TestRefusalsStand(t *testing.T) {
	for _, more := range []string{"", "errors caddy", "prefix /.other"} {
		w := newWorld(t)
		w.mustLoad(w.global("") + strings.Replace(standingSite, "MORE", more, 1))
		for _, tt := range []struct {
			method, target, number string
			status                 int
			code                   string
		}{
			{"GET", "/.sso/nothing", "", http.StatusNotFound, "not_found"},
			{"GET", "/.sso/login?provider=nope", "", http.StatusNotFound, "provider_unknown"},
			{"GET", "/.sso/login?return=%", "", http.StatusBadRequest, "bad_request"},
			{"GET", "/.sso/oidc/callback?code=x&state=y", "", http.StatusBadRequest, "flow_unknown"},
			{"DELETE", "/.sso/session", "", http.StatusMethodNotAllowed, "method_not_allowed"},
			{"GET", "/.sso/login?return=%2Fpage", "none", http.StatusInternalServerError, ""}, // before the first sso
			{"GET", "/.sso/session", "none", http.StatusInternalServerError, ""},
		} {
			r, err := http.NewRequest(tt.method, w.origin()+tt.target, nil)
			if err != nil {
				t.Fatal(err)
			}
			r.Header.Set("X-Number", tt.number)
			r.Header.Set("Accept", "text/html")
			b := newBrowser(t)
			before := len(w.logs())
			status, body := b.do(r)
			if status != tt.status || len(b.seen) > 0 || strings.Contains(body, "the error route's") {
				t.Errorf("%s %s, %q: %d after %v: %s", tt.method, tt.target, more, status, b.seen, body)
			}
			wantRefusals(t, w.logs()[before:], tt.code)
		}
		// Somebody whom the rules do not know is told so, and stays so.
		w.op.SetHooks(gatewaytest.OPHooks{Claims: func(claims map[string]any) {
			claims["sub"], claims["preferred_username"], claims["groups"] = "bob", "bob", []any{"others"}
		}})
		before := len(w.logs())
		b := newBrowser(t)
		status, body := b.get(w.origin() + "/page")
		if status != http.StatusForbidden || (more != "errors caddy") != strings.Contains(body, `href="/.sso/login?as=other&amp;return=%2Fpage"`) {
			t.Errorf("%q: bob is answered %d %s", more, status, body)
		}
		wantRefusals(t, w.logs()[before:], "access_denied")
	}
}

// TestLoopsStand holds that a browser that keeps no session cookie is not sent round by
// the error route.
func TestLoopsStand(t *testing.T) {
	w := newWorld(t)
	w.mustLoad(w.global("") + strings.NewReplacer("MORE", "", "role User team", "role User *").Replace(standingSite))
	b := newBrowser(t)
	b.CheckRedirect = func(*http.Request, []*http.Request) error { return http.ErrUseLastResponse }
	next := w.origin() + "/page"
	for range 60 {
		r := mustRequest(t, next)
		r.Header.Set("Accept", "text/html")
		resp, err := b.Do(r)
		if err != nil {
			t.Fatal(err)
		}
		_ = resp.Body.Close()
		if at, err := resp.Location(); err == nil {
			next = at.String()
			b.Jar.SetCookies(r.URL, []*http.Cookie{{Name: "sso", MaxAge: -1, Path: "/"}})
			continue
		}
		if resp.StatusCode != http.StatusConflict || strings.Count(w.logs(), `"code":"redirect_loop"`) != 1 {
			t.Errorf("%s: %d", next, resp.StatusCode)
		}
		return
	}
	t.Error("there is no end")
}

// wantRefusals wants one refusal in the audit log, or none.
func wantRefusals(t *testing.T, logs, code string) {
	t.Helper()
	want, got := "", ""
	if code != "" {
		want = fmt.Sprintf("%q ", code)
	}
	for line := range strings.Lines(logs) {
		if _, rest, ok := strings.Cut(line, `"code":`); ok && strings.Contains(line, `"logger":"sso.audit"`) {
			found, _, _ := strings.Cut(rest, ",")
			got += found + " "
		}
	}
	if got != want {
		t.Errorf("refused by %s, want %s", got, want)
	}
}

// TestVisitorsSignInAtTheirSite holds that an error route sends visitors to the sso
// that had the request, or would have, and not to that of another port of its host.
func TestVisitorsSignInAtTheirSite(t *testing.T) {
	port := gatewaytest.FreePort()
	for _, other := range []string{"http://localhost:%d", "http://*.localhost:%d", "http://:%d"} {
		w := newWorld(t)
		base := ""
		if other == "http://:%d" {
			base = fmt.Sprintf("base_url http://localhost:%d", port)
		}
		beside := fmt.Sprintf(other, port) + " {\n PROVIDER\n role User *\n prefix /.gate\n app beside\n " + base + "\n}\n respond beside\n}\n"
		w.mustLoad(w.global("") + beside + strings.Replace(standingSite, "MORE", "", 1))
		for _, number := range []string{"", "none"} {
			b := newBrowser(t)
			b.CheckRedirect = func(*http.Request, []*http.Request) error { return http.ErrUseLastResponse }
			r := mustRequest(t, w.origin()+"/open/x")
			r.Header.Set("Accept", "text/html")
			r.Header.Set("X-Number", number)
			resp, err := b.Do(r)
			if err != nil {
				t.Fatal(err)
			}
			_ = resp.Body.Close()
			if got := resp.Header.Get("Location"); got != w.origin()+"/.sso/login?return=%2Fopen%2Fx" {
				t.Errorf("beside %s, a visitor is answered %d and sent to %q", other, resp.StatusCode, got)
			}
		}
	}
}
