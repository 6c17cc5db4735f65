package caddymodule_test

import (
	"encoding/json"
	"errors"
	"fmt"
	"net/http"
	"net/url"
	"os"
	"slices"
	"strings"
	"testing"

	"github.com/caddyserver/caddy/v2"

	"github.com/caddy-sso/caddy-sso/gateway/boltstore"
	"github.com/caddy-sso/caddy-sso/gateway/gatewaytest"
)

func TestSignInAndOut(t *testing.T) {
	w := newWorld(t)
	w.mustLoad(w.global("") + site)
	b := newBrowser(t)

	if status, body := b.get(w.origin() + "/open"); status != http.StatusOK || !strings.Contains(body, "id= ") || !strings.HasSuffix(body, "header=") {
		t.Errorf("the public path answered %d %q", status, body)
	}
	status, body := b.get(w.origin() + "/reports?week=7")
	if status != http.StatusOK || !strings.HasPrefix(body, "id=alice email=alice@example.com roles=Admin groups=team provider=127.0.0.1-") || !strings.HasSuffix(body, "header=alice") {
		t.Fatalf("after signing in the app answered %d %q", status, body)
	}
	if last := b.seen[len(b.seen)-1]; last != w.origin()+"/reports?week=7" {
		t.Errorf("ended at %s", last)
	}
	var session struct{ Username, Provider string }
	r, _ := http.NewRequest(http.MethodGet, w.origin()+"/.sso/session", nil)
	if _, body := b.do(r); json.Unmarshal([]byte(body), &session) != nil || session.Username != "alice" {
		t.Errorf("the session is %s", body)
	}
	w.logOut(b)
	if status, _ := b.do(mustRequest(t, w.origin()+"/reports")); status != http.StatusUnauthorized {
		t.Errorf("after logging out: %d", status)
	}
	if line := lineWith(w.logs(), `"logger":"sso.audit","msg":"login"`); !strings.Contains(line, `"user":"alice","host":"localhost","roles":["Admin"],"groups":2,"app_groups":["team"]`) {
		t.Errorf("the line of the login is %s", line)
	}
	if !strings.Contains(w.logs(), `"logger":"sso.audit","msg":"logout"`) {
		t.Error("the audit log lacks the logout")
	}
}

// The line of a login says what was granted, at a site of template lines, too. Of many
// groups it has the first.
func TestLineOfTheLogin(t *testing.T) {
	w := newWorld(t)
	var named []any
	for i := range 30 {
		named = append(named, fmt.Sprintf("g%02d", i))
	}
	w.op.SetHooks(gatewaytest.OPHooks{Claims: func(claims map[string]any) { claims["groups"] = named }})
	w.mustLoad(w.global("") + `ORIGIN {
	PROVIDER
		template Editor g00
		role User *
		group all g29
		group few g01
	}
	respond ok
}
`)
	if status, body := newBrowser(t).get(w.origin()); status != http.StatusOK {
		t.Fatalf("signing in: %d %s", status, body)
	}
	if line := lineWith(w.logs(), `"logger":"sso.audit","msg":"login"`); !strings.Contains(line, `"roles":["User"],"groups":30,"template":"Editor","app_groups":["all","few"]`) {
		t.Errorf("the line is %s", line)
	}
	var lines string
	for i := range 30 {
		lines += fmt.Sprintf("\t\tgroup app%02d g%02d\n", i, i)
	}
	w.mustLoad(w.global("") + "ORIGIN {\n\tPROVIDER\n" + lines + "\t}\n\trespond ok\n}\n")
	if status, body := newBrowser(t).get(w.origin()); status != http.StatusOK {
		t.Fatalf("signing in: %d %s", status, body)
	}
	if !strings.Contains(w.logs(), `"app18","app19"],"client_ip"`) {
		t.Error("the line has not the first 20 of the app's groups")
	}
}

// A name with a comma is one name to handlers after us, too.
func TestNamesAreNotSplit(t *testing.T) {
	w := newWorld(t)
	w.op.SetHooks(gatewaytest.OPHooks{Claims: func(claims map[string]any) {
		claims["groups"] = []any{"cn=ops,dc=example", "100%", "staff"}
	}})
	w.mustLoad(w.global("") + `ORIGIN {
	PROVIDER
		role User "cn=ops,dc=example" 100% staff
	}
	respond "{http.auth.user.groups} {http.request.header.Remote-Groups}"
}
`)
	const want = "cn=ops%2Cdc=example,100%25,staff"
	if status, body := newBrowser(t).get(w.origin()); status != http.StatusOK || body != want+" "+want {
		t.Errorf("%d %q, want %q, twice", status, body, want)
	}
}

func TestReloadKeepsSessions(t *testing.T) {
	w := newWorld(t)
	w.mustLoad(w.global("") + site)
	b := newBrowser(t)
	if status, body := b.get(w.origin()); status != http.StatusOK {
		t.Fatalf("signing in: %d %s", status, body)
	}
	for i := range 5 {
		w.mustLoad(w.global(fmt.Sprintf("lifetime %dh", i+2)) + site)
		if status, body := b.do(mustRequest(t, w.origin())); status != http.StatusOK || !strings.HasPrefix(body, "id=alice") {
			t.Fatalf("after reload %d: %d %s", i, status, body)
		}
	}
	// A failed reload leaves what runs as it is.
	if err := w.load(w.global("") + "ORIGIN {\n\thandle {\n\t\tPROVIDER\n\t\t\trole Admin admins\n\t\t}\n\t}\n}\n"); err == nil {
		t.Fatal("sso inside of handle was accepted")
	}
	if status, _ := b.do(mustRequest(t, w.origin())); status != http.StatusOK {
		t.Errorf("after a failed reload: %d", status)
	}
	// Beside what runs, the file is locked.
	if err := validate(t, mustAdapt(t, strings.NewReplacer("PROVIDER", w.provider(), "ORIGIN", w.origin()).Replace(w.global("")+site))); err != nil {
		t.Errorf("validating beside the running configuration: %v", err)
	}
	// Stopped, nothing holds the file any more. Started again, the secret is
	// still the same.
	if err := caddy.Stop(); err != nil {
		t.Fatal(err)
	}
	waitForSockets(t, w.port, 0)
	store, err := boltstore.Open(w.path("sessions.db"))
	if err != nil {
		t.Fatalf("the file is still held: %v", err)
	}
	if err := store.Close(); err != nil {
		t.Fatal(err)
	}
	w.mustLoad(w.global("") + site)
	if status, body := b.do(mustRequest(t, w.origin())); status != http.StatusOK {
		t.Errorf("after a restart: %d %s", status, body)
	}
	info, err := os.Stat(w.path("storage/sso/secret"))
	if err != nil || info.Mode().Perm() != 0o600 {
		t.Errorf("the secret's file: %v, %v", info, err)
	}
}

// TestSecretRotation changes the secret in the steps that App.Secret documents.
func TestSecretRotation(t *testing.T) {
	w := newWorld(t)
	t.Setenv("SSO_TEST_OLD", strings.Repeat("old-secret-", 4))
	t.Setenv("SSO_TEST_NEW", strings.Repeat("new-secret-", 4))
	w.mustLoad(w.global("secret {env.SSO_TEST_OLD}") + site)
	b := newBrowser(t)
	if status, body := b.get(w.origin()); status != http.StatusOK {
		t.Fatalf("signing in: %d %s", status, body)
	}
	for _, secrets := range []string{"{env.SSO_TEST_OLD} {env.SSO_TEST_NEW}", "{env.SSO_TEST_NEW} {env.SSO_TEST_OLD}"} {
		w.mustLoad(w.global("secret "+secrets) + site)
		if status, body := b.do(mustRequest(t, w.origin())); status != http.StatusOK {
			t.Errorf("with %s: %d %s", secrets, status, body)
		}
		if status, body := newBrowser(t).get(w.origin()); status != http.StatusOK {
			t.Errorf("signing in with %s: %d %s", secrets, status, body)
		}
	}
}

func TestNoCredentialsInLogs(t *testing.T) {
	for _, tt := range []struct{ name, option, errors string }{
		{"own pages", "", ""},
		{"errors caddy", "errors caddy", "handle_errors {\n\t\trespond \"error {http.error.sso.code} {http.error.status_code}\"\n\t}"},
	} {
		t.Run(tt.name, func(t *testing.T) {
			w := newWorld(t)
			caddyfile := strings.Replace(site, "public /open", tt.option, 1)
			global := strings.Replace(w.global(""), "\tadmin off\n", "\tadmin off\n\tservers {\n\t\ttrace\n\t}\n", 1)
			w.mustLoad(global + strings.Replace(caddyfile, "\tlog\n", "\tlog\n\t"+tt.errors+"\n", 1))
			b := newBrowser(t)
			if status, body := b.get(w.origin() + "/"); status != http.StatusOK {
				t.Fatalf("signing in: %d %s", status, body)
			}
			secrets := []string{b.cookie(w.origin()), w.op.ClientSecret}
			var callback string
			for _, seen := range b.seen {
				u, err := url.Parse(seen)
				if err != nil {
					t.Fatal(err)
				}
				for _, name := range []string{"code", "state", "nonce", "code_challenge"} {
					if v := u.Query().Get(name); v != "" {
						secrets = append(secrets, v)
					}
				}
				if u.Path == "/.sso/oidc/callback" {
					callback = seen
				}
			}
			if len(secrets) < 7 {
				t.Fatalf("only %d secrets to look for", len(secrets))
			}
			// The same answer again, in another browser: refused.
			if status, body := newBrowser(t).get(callback); status/100 != 4 || tt.option != "" && !strings.HasPrefix(body, "error flow_unknown 400") {
				t.Errorf("the answer once more: %d %s", status, body)
			}
			logs := w.logs()
			for _, secret := range secrets {
				if secret == "" {
					t.Fatal("an empty secret to look for")
				}
				if strings.Contains(logs, secret) || strings.Contains(logs, url.QueryEscape(secret)) {
					t.Errorf("the logs contain %s: %.900s", secret, lineWith(logs, secret))
				}
			}
			if !strings.Contains(logs, `"uri":"/.sso/oidc/callback","redacted":true`) {
				t.Error("the logs have no line in the callback's stead")
			}
			if !strings.Contains(logs, `"logger":"http.log.trace","msg":"sso"`) {
				t.Error("the handler was not traced")
			}
			if !strings.Contains(logs, `"user_id":"alice"`) {
				t.Error("the access log does not name the user")
			}
		})
	}
}

// TestNoCredentialsInLogsOfRewritten puts the gateway behind a handler that
// changes the path: it answers by the address that was asked for, and its logs
// go by that, too. Caddy's debug log has a line of its own with each change.
func TestNoCredentialsInLogsOfRewritten(t *testing.T) {
	w := newWorld(t)
	w.mustLoad(strings.Replace(w.global(""), "level DEBUG", "level INFO", 1) + `
ORIGIN {
	log
	handle_path /app/* {
		PROVIDER
			nested
			prefix /app/.sso
			callback_path /app/callback
			role Admin admins
		}
		respond {http.auth.user.id}
	}
}
`)
	b := newBrowser(t)
	if status, body := b.get(w.origin() + "/app/page"); status != http.StatusOK || body != "alice" {
		t.Fatalf("signing in: %d %s", status, body)
	}
	i := slices.IndexFunc(b.seen, func(s string) bool { return strings.Contains(s, "/app/callback?") })
	if i < 0 {
		t.Fatalf("no callback among %v", b.seen)
	}
	if status, _ := newBrowser(t).get(b.seen[i]); status/100 != 4 {
		t.Errorf("the answer once more: %d", status)
	}
	u, err := url.Parse(b.seen[i])
	if err != nil {
		t.Fatal(err)
	}
	lookFor(t, w.logs(), []string{b.cookie(w.origin()), u.Query().Get("code"), u.Query().Get("state")})
	if got := strings.Count(w.logs(), `"uri":"/app/callback","redacted":true`); got != 2 {
		t.Errorf("%d lines stand for the callbacks, want 2", got)
	}
}

// TestRedactedLine looks for the line in the logs that have the logger sso.access, and
// for none where the site has no log.
func TestRedactedLine(t *testing.T) {
	const siteLog = "log {\n\t\toutput file DIR/site.log\n\t}"
	for _, tt := range []struct {
		name, address, log, global string
		want                       []string // files with the line
	}{
		{"default log", "ORIGIN", "log", "", []string{"caddy.log"}},
		{"log of the site", "ORIGIN", siteLog, "", []string{"caddy.log"}},
		{"log of a wildcard site", "http://*.localhost:PORT", siteLog, "", []string{"caddy.log"}},
		{"another log with it", "ORIGIN", siteLog, "log other {\n\t\toutput file DIR/other.log\n\t\tinclude sso.access\n\t}", []string{"other.log"}}, // Caddy takes it out of the default log
		{"no log", "ORIGIN", "", "", nil},
		{"log_skip", "ORIGIN", "log\n\tlog_skip", "", nil},
		{"default log, behind a handler that hides it", "ORIGIN", "log\n\topaque_plugin", "", nil},
		{"log of the site, behind a handler that hides it", "ORIGIN", siteLog + "\n\topaque_plugin", "", nil},
	} {
		t.Run(tt.name, func(t *testing.T) {
			w := newWorld(t)
			caddyfile := strings.NewReplacer("ORIGIN", tt.address, "\tlog\n", "\t"+tt.log+"\n").Replace(site)
			global := strings.Replace(w.global(""), "\tadmin off\n", "\tadmin off\n\t"+tt.global+"\n", 1)
			w.mustLoad(strings.ReplaceAll(global+caddyfile, "DIR", w.dir))
			r := mustRequest(t, w.origin()+"/.sso/oidc/callback?code=canarycode&state=canarystate")
			if strings.Contains(tt.address, "*") {
				r.Host = fmt.Sprintf("some.localhost:%d", w.port)
			}
			if status, _ := newBrowser(t).do(r); status != http.StatusBadRequest {
				t.Errorf("status %d", status)
			}
			for _, name := range []string{"caddy.log", "site.log", "other.log"} {
				b, err := os.ReadFile(w.path(name))
				if err != nil && !errors.Is(err, os.ErrNotExist) {
					t.Fatal(err)
				}
				if got := strings.Contains(lineWith(string(b), `"redacted":true`), `"logger":"sso.access"`); got != slices.Contains(tt.want, name) {
					t.Errorf("the line is in %s: %t", name, got)
				}
				if strings.Contains(string(b), "canary") {
					t.Errorf("%s has a secret: %s", name, lineWith(string(b), "canary"))
				}
			}
		})
	}
}

// TestErrorsCaddy leaves refusals to handle_errors, and to Caddy's bare answer
// where there is none.
func TestErrorsCaddy(t *testing.T) {
	const block = "PROVIDER\n\t\trole Admin nobody-is-here\n\t\terrors caddy\n\t}\n\trespond ok\n"
	const handle = "handle_errors {\n\t\trespond \"{http.error.status_code} {http.error.sso.code}: {http.error.sso.title}\" {http.error.status_code}\n\t}\n"
	for _, tt := range []struct {
		name, site        string
		denied, anonymous string // what the answers begin with
	}{
		{"with handle_errors", handle, "403 access_denied: ", "401 unauthenticated: "},
		{"without", "", "", ""},
	} {
		t.Run(tt.name, func(t *testing.T) {
			w := newWorld(t)
			w.mustLoad(w.global("") + "ORIGIN {\n\t" + tt.site + "\t" + block + "}\n")
			status, body := newBrowser(t).get(w.origin())
			if status != http.StatusForbidden || !strings.HasPrefix(body, tt.denied) || strings.Contains(body, "<html") || body == "ok" {
				t.Errorf("who is denied sees %d %q", status, body)
			}
			status, body = newBrowser(t).do(mustRequest(t, w.origin()+"/api"))
			if status != http.StatusUnauthorized || !strings.HasPrefix(body, tt.anonymous) || body == "ok" {
				t.Errorf("who is not signed in sees %d %q", status, body)
			}
		})
	}
}
