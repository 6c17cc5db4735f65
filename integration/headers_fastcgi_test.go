//go:build integration

package integration

import (
	"encoding/base64"
	"encoding/json"
	"fmt"
	"net"
	"os"
	"os/exec"
	"path/filepath"
	"slices"
	"strings"
	"testing"
	"time"

	"github.com/caddy-sso/caddy-sso/gateway/gatewaytest"
)

// phpScript answers with what PHP makes of a request, as CGI has it.
const phpScript = `<?php
header('Content-Type: application/json');
echo json_encode($_SERVER, JSON_INVALID_UTF8_SUBSTITUTE);
`

// newPHP starts PHP behind FastCGI and returns its address and its root, in
// which there is nothing but phpScript.
func newPHP(t *testing.T) (address, root string) {
	t.Helper()
	root, err := os.MkdirTemp(scratch, "php-")
	if err != nil {
		t.Fatal(err)
	}
	if err := os.WriteFile(filepath.Join(root, "index.php"), []byte(phpScript), 0o600); err != nil {
		t.Fatal(err)
	}
	return startPHP(t, root), root
}

// startPHP starts PHP behind FastCGI, for one request at a time, and returns its
// address.
func startPHP(t *testing.T, root string) string {
	t.Helper()
	address := fmt.Sprintf("127.0.0.1:%d", gatewaytest.FreePort())
	cmd := exec.Command("php-cgi", "-n", "-b", address)
	cmd.Dir = root
	cmd.Env = []string{"PATH=" + os.Getenv("PATH"), "PHP_FCGI_MAX_REQUESTS=0"} // without it, PHP ends after 500
	php, err := start(cmd)
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(php.kill)
	eventually(t, "PHP listens", 10*time.Second, func() bool {
		conn, err := net.Dial("tcp", address)
		if err == nil {
			_ = conn.Close()
		}
		return err == nil
	})
	return address
}

// aliceToPHP is what PHP is told of alice, and of nobody else.
var aliceToPHP = map[string]string{
	"REMOTE_USER": "alice", "HTTP_REMOTE_USER": "alice", "HTTP_REMOTE_GROUPS": "team", "HTTP_REMOTE_EMAIL": "alice@example.com",
	"HTTP_REMOTE_ROLES": "Admin", "HTTP_REMOTE_NAME": "Alice %C3%85ngstr%C3%B6m",
}

// TestHeaderAttackFastCGI plays the corpus against PHP, which reads the names
// of headers as carelessly as can be: dots, blanks and hyphens are underscores
// to it.
func TestHeaderAttackFastCGI(t *testing.T) {
	t.Parallel()
	address, root := newPHP(t)
	options := opWorldOptions{
		block: "\t\tpublic /public/*", site: fmt.Sprintf("\troot %s\n\trewrite /index.php\n\tphp_fastcgi %s", root, address),
	}
	t.Run("F3 Caddy as it comes", func(t *testing.T) {
		w, c := newOPWorld(t, options)
		c.navigate(w.base + "/")
		cookie := cookieLine(c, w.base)
		testPHP(t, w, cookie, headerAttacks(), "X-Harmless: a")
		testPHPCredentials(t, w, cookie)
	})
	t.Run("F3 Caddy lets ambiguous names through", func(t *testing.T) {
		options.caddy = ambiguousNames
		w, c := newOPWorld(t, options)
		c.navigate(w.base + "/")
		corpus := slices.DeleteFunc(headerAttacks(), func(a attack) bool {
			return !strings.ContainsAny(strings.Join(a.head, "")+a.body, "_.")
		})
		testPHP(t, w, cookieLine(c, w.base), corpus, "X_Harmless: a", "X.Harmless: a")
	})
}

// testPHP plays attacks on every kind of path. The harmless lines must reach PHP.
func testPHP(t *testing.T, w *world, cookie string, corpus []attack, harmless ...string) {
	t.Helper()
	for name, control := range map[string]struct {
		cookie, path string
		identity     bool
	}{
		"signed in":            {cookie, "/attack", true},
		"public":               {"", "/public/attack", false},
		"public and signed in": {cookie, "/public/attack", false},
	} {
		t.Run(name, func(t *testing.T) {
			for _, line := range harmless {
				good, status := askPHP(t, w, control.cookie, attack{path: control.path, head: []string{line}})
				if good == nil {
					t.Fatalf("the control was refused: %s", status)
				}
				checkPHP(t, good, control.identity)
				if good["HTTP_X_HARMLESS"] != "a" {
					t.Fatalf("the control's harmless header did not reach PHP: %v", good)
				}
			}
			for _, a := range corpus {
				t.Run(a.name, func(t *testing.T) {
					t.Parallel()
					a.path = control.path
					got, status := askPHP(t, w, control.cookie, a)
					if got == nil {
						if !a.refusable || !strings.HasPrefix(status, "4") {
							t.Fatalf("answered %s", status)
						}
						return
					}
					checkPHP(t, got, control.identity)
				})
			}
		})
	}
}

func testPHPCredentials(t *testing.T, w *world, cookie string) {
	t.Helper()
	t.Run("Basic credentials of the client are no identity of ours", func(t *testing.T) {
		basic := "Authorization: Basic " + base64.StdEncoding.EncodeToString([]byte("mallory:x"))
		if _, status := askPHP(t, w, "", attack{head: []string{basic}}); status != "401" {
			t.Errorf("without a session: answered %s", status)
		}
		// They go through, as the app may have a use for them; PHP takes them
		// apart, and an app must not take PHP_AUTH_USER for the person.
		got, _ := askPHP(t, w, cookie, attack{head: []string{basic}})
		checkPHP(t, got, true)
		if got["PHP_AUTH_USER"] != "mallory" {
			t.Errorf("PHP_AUTH_USER is %q", got["PHP_AUTH_USER"])
		}
		got, _ = askPHP(t, w, "", attack{path: "/public/x", head: []string{basic}})
		checkPHP(t, got, false)
	})
	t.Run("a stranger", func(t *testing.T) {
		for _, line := range []string{"Remote-User: alice", "REMOTE_USER: alice", "Remote.User: alice", "Redirect-Remote-User: alice"} {
			if _, status := askPHP(t, w, "", attack{head: []string{line}}); status != "401" {
				t.Errorf("%s: answered %s", line, status)
			}
		}
	})
}

// askPHP sends an attack and returns PHP's $_SERVER, or nil and the status.
func askPHP(t *testing.T, w *world, cookie string, a attack) (server map[string]string, status string) {
	t.Helper()
	status, body := rawAsk(t, w, cookie, a)
	var raw map[string]any
	if status != "200" || json.Unmarshal(body, &raw) != nil || raw["SCRIPT_NAME"] != "/index.php" {
		return nil, status
	}
	server = map[string]string{}
	for name, v := range raw {
		server[name] = fmt.Sprint(v)
	}
	return server, status
}

// checkPHP holds $_SERVER against what may be in it.
func checkPHP(t *testing.T, server map[string]string, identity bool) {
	t.Helper()
	if len(server) == 0 {
		t.Fatal("PHP was not reached")
	}
	for name, v := range server {
		harmless := slices.Contains([]string{"HTTP_X_HARMLESS", "HTTP_ACCEPT", "HTTP_TRAILER"}, name)
		if strings.Contains(v, "evil") && !harmless {
			t.Errorf("a forged value reached PHP: %s=%q", name, v)
		}
	}
	for name := range server {
		for _, known := range identityNames {
			if normal(strings.TrimPrefix(name, "HTTP_")) != normal(known) {
				continue
			}
			if canonical := "HTTP_" + strings.ToUpper(strings.ReplaceAll(known, "-", "_")); name != canonical && name != "REMOTE_USER" {
				t.Errorf("PHP was told %s", name)
			}
		}
	}
	for name, want := range aliceToPHP {
		if !identity {
			want = ""
		}
		if got := server[name]; got != want {
			t.Errorf("%s is %q, want %q", name, got, want)
		}
	}
	if _, there := server["HTTP_X_SSO_ASSERTION"]; there != identity {
		t.Errorf("there is an assertion: %t", there)
	}
}
