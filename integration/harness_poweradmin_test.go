//go:build integration

package integration

import (
	"encoding/json"
	"fmt"
	"net/http"
	"net/url"
	"os"
	"os/exec"
	"path/filepath"
	"regexp"
	"strings"
	"testing"
	"time"

	"github.com/caddy-sso/caddy-sso/gateway/gatewaytest"
)

// A poweradmin is Poweradmin, or its double, under PHP's own web server.
type poweradmin struct {
	t    *testing.T
	dir  string // database, sessions, settings
	port int
	log  *syncBuffer
}

const poweradminPassword = "admin-secret-1" // of its superuser

// newPoweradmin starts Poweradmin. base is the address that browsers use. prepend, if it is
// not empty, is the file of an administrator's own that PHP runs before each page.
func newPoweradmin(t *testing.T, base, prepend string) *poweradmin {
	t.Helper()
	dir, err := os.MkdirTemp(scratch, "poweradmin-")
	if err != nil {
		t.Fatal(err)
	}
	p := &poweradmin{t: t, dir: dir, port: gatewaytest.FreePort(), log: &syncBuffer{}}
	root, ca := poweradminRoot(t, p.database()), certificates(t).caFile
	args := []string{
		"-d", "session.save_path=" + dir, "-d", "display_errors=0", "-d", "error_log=", "-d", "openssl.cafile=" + ca, "-d", "curl.cainfo=" + ca,
		"-S", p.address(), "-t", root,
	}
	p.write("settings.json", p.settings(base))
	p.write("settings.php", "<?php return array_replace_recursive(json_decode(file_get_contents(__DIR__ . '/settings.json'), true), [\n"+
		poweradminDocs(t, "Poweradmin")+"]);\n")
	if prepend != "" {
		for _, shipped := range []string{"../docs/verify/php/verify.php", "../docs/verify/php/keys.php", "../docs/poweradmin/prepend.php"} {
			text, err := os.ReadFile(shipped)
			if err != nil {
				t.Fatal(err)
			}
			p.write(filepath.Base(shipped), string(text))
		}
		p.write("sso.php", prepend)
		args = append([]string{"-d", "auto_prepend_file=" + filepath.Join(dir, "sso.php")}, args...)
	}
	cmd := exec.Command("php", args...)
	cmd.Dir = root
	cmd.Env = append(os.Environ(), "PA_CONFIG_PATH="+filepath.Join(dir, "settings.php"), "TMPDIR="+dir)
	cmd.Stdout, cmd.Stderr = p.log, p.log
	php, err := start(cmd)
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() {
		php.kill()
		if t.Failed() {
			t.Logf("PHP's log:\n%s", lastLines(p.log.String(), 40))
		}
	})
	if err := awaitReady(php, p.log, "http://"+p.address()+"/login", time.Minute); err != nil {
		t.Fatal(err)
	}
	return p
}

func (p *poweradmin) address() string { return fmt.Sprintf("127.0.0.1:%d", p.port) }

func (p *poweradmin) database() string { return filepath.Join(p.dir, "pdns.db") }

func (p *poweradmin) write(name, text string) {
	p.t.Helper()
	if err := os.WriteFile(filepath.Join(p.dir, name), []byte(text), 0o600); err != nil {
		p.t.Fatal(err)
	}
}

// poweradminDocs returns the PHP in a chapter of docs/poweradmin.md.
func poweradminDocs(t *testing.T, chapter string) string {
	t.Helper()
	text, err := os.ReadFile("../docs/poweradmin.md")
	if err != nil {
		t.Fatal(err)
	}
	_, rest, found := strings.Cut(string(text), "\n## "+chapter+"\n")
	_, rest, php := strings.Cut(rest, "```php\n")
	block, _, _ := strings.Cut(rest, "```")
	if !found || !php {
		t.Fatalf("docs/poweradmin.md has no PHP in the chapter %q", chapter)
	}
	return block
}

// settings are those that differ from an installation of one's own; docs/poweradmin.md has
// the others.
func (p *poweradmin) settings(base string) string {
	type object = map[string]any
	text, err := json.Marshal(object{
		"database":  object{"type": "sqlite", "file": p.database()},
		"security":  object{"session_key": strings.Repeat("k", 48)},
		"interface": object{"language": "en_EN", "application_url": base},
		"oidc": object{
			"enabled": true,
			"providers": object{"sso": object{
				"name": "sso", "display_name": "Single sign-on", "client_id": "poweradmin", "client_secret": "poweradmin-secret", "auto_discovery": true,
				"metadata_url": base + "/.sso/op/.well-known/openid-configuration", "scopes": "openid profile email groups",
				"user_mapping": object{
					"username": "preferred_username", "email": "email", "first_name": "given_name", "last_name": "family_name", "display_name": "name",
					"groups": "groups", "subject": "sub",
				},
			}},
		},
	})
	if err != nil {
		p.t.Fatal(err)
	}
	return string(text)
}

var (
	welcome   = regexp.MustCompile(`Welcome ([^<]*)</h5>`)
	formToken = regexp.MustCompile(`name="_token" value="([^"]*)"`)
)

// atPoweradmin says what a page of Poweradmin shows: whom it greets, its own login, or the
// status.
func atPoweradmin(p *page) string {
	if m := welcome.FindStringSubmatch(p.body); m != nil {
		return strings.TrimSpace(m[1])
	}
	if p.url.Path == "/login" && p.status == http.StatusOK {
		return "login"
	}
	return fmt.Sprint(p.status)
}

// addUser fills in an administrator's form, and says whether it was taken.
func addUser(c *client, base, name string, change ...func(url.Values)) bool {
	c.t.Helper()
	form := c.navigate(base + "/users/add")
	token := formToken.FindStringSubmatch(form.body)
	if token == nil {
		c.t.Fatalf("expected the form, got %s", form)
	}
	fields := url.Values{
		"_token": {token[1]}, "username": {name}, "fullname": {name}, "password": {"Secret-12345"}, "email": {name + "@example.com"},
		"perm_templ": {"4"}, "active": {"1"}, "descr": {""},
	}
	for _, f := range change {
		f(fields)
	}
	return c.submit(form, "/users/add", fields).url.Path == "/users"
}

// isAdministrator says whether the person gets the form for new users. Others are sent to
// the front page, or are told so.
func isAdministrator(c *client, base string) bool {
	c.t.Helper()
	return strings.Contains(c.navigate(base+"/users/add").body, `name="username"`)
}
