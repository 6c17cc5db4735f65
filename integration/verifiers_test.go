//go:build integration

package integration

import (
	"fmt"
	"net"
	"net/http"
	"os"
	"os/exec"
	"path/filepath"
	"strings"
	"testing"
	"time"

	"github.com/caddy-sso/caddy-sso/gateway/gatewaytest"
)

// TestVerifiersLive runs the apps of docs/verify.md behind the gateway. They greet alice,
// and refuse requests that don't come from it.
func TestVerifiersLive(t *testing.T) {
	t.Parallel()
	ports := map[string]int{"php": gatewaytest.FreePort(), "python": gatewaytest.FreePort(), "js": gatewaytest.FreePort()}
	var site strings.Builder
	for language, port := range ports {
		fmt.Fprintf(&site, "\thandle /%s {\n\t\treverse_proxy 127.0.0.1:%d\n\t}\n", language, port)
	}
	root, err := os.MkdirTemp(scratch, "verify-")
	if err != nil {
		t.Fatal(err)
	}
	prepended := startPHP(t, root, "-d", "auto_prepend_file="+root+"/app.php", "-d", "sys_temp_dir="+root)
	fmt.Fprintf(&site, "\troot %s\n\thandle /prepend* {\n\t\trewrite /user.php\n\t\tphp_fastcgi %s\n\t}\n", root, prepended)
	fmt.Fprintf(&site, "\thandle /other {\n\t\trewrite /user.php\n\t\tphp_fastcgi %s {\n\t\t\tenv REMOTE_USER mallory\n\t\t}\n\t}\n", prepended)
	w := newWorld(t, worldOptions{oneByOne: true, origin: "http://localhost", site: site.String(), block: "\t\tpublic /prepend/public"})
	startApps(t, w, root, ports)

	alice := newClient(t)
	assertion := alice.echoed(alice.signIn(w.base+"/", "alice")).Header.Get("X-Sso-Assertion")
	for language, port := range ports {
		t.Run("E1 "+language, func(t *testing.T) {
			direct := func(status int, assertions ...string) string {
				req, err := http.NewRequestWithContext(t.Context(), http.MethodGet, fmt.Sprintf("http://127.0.0.1:%d/%s", port, language), nil)
				if err != nil {
					t.Fatal(err)
				}
				req.Header["X-Sso-Assertion"] = assertions
				req.Header.Set("Remote-User", "alice")
				req.SetBasicAuth("alice", "alice")
				p := newClient(t).do(req)
				if p.status != status || status == http.StatusUnauthorized && p.body != "no valid sign-in assertion\n" {
					t.Errorf("%d assertions: %s", len(assertions), p)
				}
				return p.body
			}
			for _, body := range []string{alice.fetch(w.base + "/" + language).body, direct(http.StatusOK, assertion)} {
				if body != "Hello alice: Admin" {
					t.Errorf("the app answers %q", body)
				}
			}
			direct(http.StatusUnauthorized)
			direct(http.StatusUnauthorized, assertion, assertion)
			direct(http.StatusUnauthorized, assertion[:len(assertion)-4]+"AAAA")
		})
	}
	t.Run("E1 prepend", func(t *testing.T) {
		for path, want := range map[string]string{
			"/prepend": "200 alice", "/prepend/public": "401 no valid sign-in assertion\n", "/other": "401 no valid sign-in assertion\n",
		} {
			if p := alice.fetch(w.base + path); fmt.Sprintf("%d %s", p.status, p.body) != want {
				t.Errorf("%s: %s", path, p)
			}
		}
	})
}

// startApps writes the apps of docs/verify.md to root, with the site's address, and starts
// them.
func startApps(t *testing.T, w *world, root string, ports map[string]int) {
	t.Helper()
	page, err := os.ReadFile("../docs/verify.md")
	if err != nil {
		t.Fatal(err)
	}
	verifiers, err := filepath.Abs("../docs/verify")
	if err != nil {
		t.Fatal(err)
	}
	text := strings.NewReplacer("https://app.example.com", w.base, "app.example.com", w.host(),
		"/usr/local/lib/caddy-sso", verifiers+"/php", "./sso-verify.mjs", verifiers+"/node/sso-verify.mjs", "8080", fmt.Sprint(ports["js"])).Replace(string(page))
	blocks := strings.Split(text, "\n```")
	for name, opening := range map[string]string{
		"hello.php": "php\n<?php\nrequire '" + verifiers + "/php/verify.php'", "app.php": "php\n<?php\nrequire '" + verifiers + "/php/prepend.php'",
		"hello.py": "python\n", "hello.mjs": "js\n",
	} {
		for i := 1; i < len(blocks); i += 2 {
			if _, code, _ := strings.Cut(blocks[i], "\n"); strings.HasPrefix(blocks[i], opening) {
				writeFile(t, filepath.Join(root, name), code)
			}
		}
	}
	writeFile(t, filepath.Join(root, "user.php"), `<?php echo $_SERVER['REMOTE_USER'], $_SERVER['HTTP_REMOTE_USER'] ?? '', $_SERVER['PHP_AUTH_USER'] ?? '';`)
	serve := fmt.Sprintf("from wsgiref.simple_server import make_server; import hello; make_server('127.0.0.1', %d, hello.app).serve_forever()", ports["python"])
	for _, args := range [][]string{
		{"php", "-S", fmt.Sprintf("127.0.0.1:%d", ports["php"]), "hello.php"}, {"/usr/bin/python3", "-B", "-c", serve}, {"node", "hello.mjs"},
	} {
		cmd := exec.Command(args[0], args[1:]...)
		cmd.Dir, cmd.Stdout, cmd.Stderr = root, t.Output(), t.Output()
		cmd.Env = []string{"PATH=" + os.Getenv("PATH"), "TMPDIR=" + root, "PYTHONPATH=" + verifiers + "/python", "HOME=" + root}
		proc, err := start(cmd)
		if err != nil {
			t.Fatal(err)
		}
		t.Cleanup(proc.kill)
	}
	for language, port := range ports {
		eventually(t, language+" listens", 30*time.Second, func() bool {
			conn, err := net.Dial("tcp", fmt.Sprintf("127.0.0.1:%d", port))
			if err == nil {
				_ = conn.Close()
			}
			return err == nil
		})
	}
}

func writeFile(t *testing.T, name, text string) {
	t.Helper()
	if err := os.WriteFile(name, []byte(text), 0o600); err != nil {
		t.Fatal(err)
	}
}
