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
func startPHP(t *testing.T, root string, options ...string) string {
	t.Helper()
	address := fmt.Sprintf("127.0.0.1:%d", gatewaytest.FreePort())
	cmd := exec.Command("php-cgi", append([]string{"-n", "-b", address}, options...)...)
	cmd.Dir = root
	cmd.Env = []string{"PATH=" + os.Getenv("PATH"), "PHP_FCGI_MAX_REQUESTS=0"} // without it, PHP ends after 500
	php, err := start(cmd)
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(php.kill)
	eventually(t, "PHP listens", 30*time.Second, func() bool {
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
	options := headersSite()
	options.oneByOne = true
	options.site = fmt.Sprintf("\troot %s\n\thandle {\n\t\trewrite /index.php\n\t\tphp_fastcgi %s\n\t}", root, address)
	site := func(t *testing.T) (cookie string, send func(t *testing.T, cookie string, a attack) rawAnswer) {
		cl := newCluster(t, options)
		c := cl.client(0)
		c.navigate(cl.base + "/")
		return cookieLine(c, cl.base), func(t *testing.T, cookie string, a attack) rawAnswer { return askPHP(t, cl, cookie, a) }
	}
	harmless := func(got rawAnswer) bool { return got.server["HTTP_X_HARMLESS"] == "a" }
	t.Run("F3 Caddy as it comes", func(t *testing.T) {
		cookie, send := site(t)
		playAttacks(t, cookie, exchanges([]attack{{head: []string{"X-Harmless: a"}}}, send), sideBySide(exchanges(headerAttacks(), send)), harmless)
		testPHPCredentials(t, cookie, send)
	})
	t.Run("F3 Caddy lets ambiguous names through", func(t *testing.T) {
		options.caddy = ambiguousNames
		cookie, send := site(t)
		corpus := slices.DeleteFunc(headerAttacks(), func(a attack) bool {
			return !strings.ContainsAny(strings.Join(a.head, "")+a.body, "_.")
		})
		controls := []attack{{head: []string{"X_Harmless: a"}}, {head: []string{"X.Harmless: a"}}}
		playAttacks(t, cookie, exchanges(controls, send), sideBySide(exchanges(corpus, send)), harmless)
	})
}

func testPHPCredentials(t *testing.T, cookie string, send func(t *testing.T, cookie string, a attack) rawAnswer) {
	t.Helper()
	t.Run("Basic credentials of the client are no identity of ours", func(t *testing.T) {
		basic := []string{"Authorization: Basic " + base64.StdEncoding.EncodeToString([]byte("mallory:x"))}
		if got := send(t, "", attack{head: basic}); got.status != "401" {
			t.Errorf("without a session: answered %s", got.status)
		}
		// They go through, as the app may have a use for them; PHP takes them
		// apart, and an app must not take PHP_AUTH_USER for the person.
		got := send(t, cookie, attack{head: basic})
		checkPHP(t, got.server, true)
		if got.server["PHP_AUTH_USER"] != "mallory" {
			t.Errorf("PHP_AUTH_USER is %q", got.server["PHP_AUTH_USER"])
		}
		checkPHP(t, send(t, "", attack{path: "/public/x", head: basic}).server, false)
	})
	t.Run("a stranger", func(t *testing.T) {
		for _, line := range []string{"Remote-User: alice", "REMOTE_USER: alice", "Remote.User: alice", "Redirect-Remote-User: alice"} {
			if got := send(t, "", attack{head: []string{line}}); got.status != "401" {
				t.Errorf("%s: answered %s", line, got.status)
			}
		}
	})
}

// askPHP sends an attack, which PHP answers with its $_SERVER.
func askPHP(t *testing.T, cl *cluster, cookie string, a attack) rawAnswer {
	t.Helper()
	status, body := rawAsk(t, cl, cookie, a)
	got := rawAnswer{status: status}
	var raw map[string]any
	if status == "200" && json.Unmarshal(body, &raw) == nil && raw["SCRIPT_NAME"] == "/index.php" {
		got.server = map[string]string{}
		for name, v := range raw {
			got.server[name] = fmt.Sprint(v)
		}
	}
	return got
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
