//go:build integration

package verify_test

import (
	"encoding/json"
	"fmt"
	"os"
	"os/exec"
	"path/filepath"
	"slices"
	"strconv"
	"strings"
	"testing"

	"github.com/caddy-sso/caddy-sso/gateway/strip"
)

// TestVerifiersPHPCache has another user of the machine write to the temporary directory. The
// verifier takes no keys from there.
func TestVerifiersPHPCache(t *testing.T) {
	t.Parallel()
	f := newForger(t)
	for name, prepare := range map[string]func(dir string) error{
		"nothing":       func(string) error { return nil },
		"our directory": func(dir string) error { return os.Mkdir(dir, 0o700) },
		"symbolic link": func(dir string) error { return os.Symlink(t.TempDir(), dir) },
		"broken link":   func(dir string) error { return os.Symlink(dir+"-none", dir) },
		"file":          func(dir string) error { return os.WriteFile(dir, nil, 0o600) },
		"open to all": func(dir string) error {
			if err := os.Mkdir(dir, 0o700); err != nil {
				return err
			}
			return os.Chmod(dir, 0o777)
		},
	} {
		t.Run(name, func(t *testing.T) {
			t.Parallel()
			p, temp := newPublisher(t, f), t.TempDir()
			if err := prepare(filepath.Join(temp, "caddy-sso-"+strconv.Itoa(os.Geteuid()))); err != nil {
				t.Fatal(err)
			}
			got := startProgram(t, "PHP", p.URL, temp).ask(question{Now: now, Values: []string{token(t, f, "ec")}, Times: 1})
			ours := name == "nothing" || name == "our directory"
			if (got.Who != nil) != ours || !ours && !strings.Contains(got.Error, "must be a directory of user") {
				t.Errorf("got %+v", got)
			}
			p.want(t, map[bool]int{true: 1}[ours])
		})
	}
}

// TestVerifiersPrepend runs PHP scripts as CGI with prepend.php before them: only an
// assertion makes a person, whatever else the request has.
func TestVerifiersPrepend(t *testing.T) {
	t.Parallel()
	f := newForger(t)
	p, dir := newPublisher(t, f), t.TempDir()
	verifiers, err := filepath.Abs("../../../docs/verify/php")
	if err != nil {
		t.Fatal(err)
	}
	app := fmt.Sprintf(`<?php require '%s/prepend.php'; CaddySso\remoteUser(new CaddySso\Verifier('%s', '%s', '%s'), isset($_GET['public']));`, verifiers, issuer, audience, p.URL)
	for name, text := range map[string]string{"app.php": app, "index.php": `<?php echo json_encode($_SERVER + ['getenv' => getenv('REMOTE_USER')]);`} {
		if err := os.WriteFile(filepath.Join(dir, name), []byte(text), 0o600); err != nil {
			t.Fatal(err)
		}
	}
	// ask returns the status, and what the script finds in its variables.
	ask := func(t *testing.T, query string, variables ...string) (status string, server map[string]any) {
		t.Helper()
		cmd := exec.CommandContext(t.Context(), "php-cgi", "-n", "-d", "expose_php=0", "-d", "auto_prepend_file="+dir+"/app.php", "-d", "sys_temp_dir="+dir)
		cmd.Env = append([]string{
			"PATH=" + os.Getenv("PATH"), "REDIRECT_STATUS=200", "REQUEST_METHOD=GET", "QUERY_STRING=" + query, "SCRIPT_FILENAME=" + dir + "/index.php",
			"REMOTE_ADDR=192.0.2.1", "HTTP_ACCEPT=*/*",
		}, variables...)
		cmd.Stderr = t.Output()
		out, _ := cmd.Output() // PHP's exit status is not the answer
		head, body, _ := strings.Cut(string(out), "\r\n\r\n")
		status, _, _ = strings.Cut(head, "\r\n")
		_ = json.Unmarshal([]byte(body), &server)
		return status, server
	}
	good, person := token(t, f, "ec"), []string{
		"REMOTE_USER=mallory", "REDIRECT_REMOTE_USER=mallory", "REDIRECT_REDIRECT_REMOTE_USER=mallory", "AUTH_USER=mallory", "LOGON_USER=mallory", "AUTH_TYPE=mallory",
		"HTTP_REMOTE_USER=mallory", "HTTP_REMOTE_GROUPS=mallory", "HTTP_X_REMOTE_USER=mallory", "HTTP_X_FORWARDED_USER=mallory", "HTTP_X_WEBAUTH_USER=mallory",
		"HTTP_PHP_AUTH_USER=mallory", "HTTP_PHP_AUTH_PW=mallory", "HTTP_AUTH_USER=mallory", "HTTP_REMOTE_USER_GROUP=mallory", "HTTP_X_AUTH_REQUEST_USER=mallory", "HTTP_X_FORWARDED_PREFERRED_USERNAME=mallory", "HTTP_X_FORWARDED_EMAIL=mallory",
		"HTTP_AUTHORIZATION=Basic bWFsbG9yeTptYWxsb3J5", "REDIRECT_HTTP_SM_USER=mallory",
	}
	for _, alias := range strip.Aliases {
		if alias != "X-Access-Token" {
			person = append(person, "HTTP_"+strings.NewReplacer("-", "_", "*", "USER").Replace(strings.ToUpper(alias))+"=mallory")
		}
	}
	noName := f.es256(t, f.ec, goodHeader, string(marshal(t, goodClaims(map[string]any{"exp": now + 1e9, "preferred_username": nil}))))
	for name, test := range map[string]struct {
		query, assertion, status, user string
	}{
		"good":              {"", good, "Content-type: text/html; charset=UTF-8", "alice"},
		"good, public":      {"public", good, "Content-type: text/html; charset=UTF-8", "alice"},
		"missing":           {"", "", "Status: 401 Unauthorized", ""},
		"missing, public":   {"public", "", "Content-type: text/html; charset=UTF-8", ""},
		"forged":            {"", f.es256(t, f.other, goodHeader, string(marshal(t, goodClaims(nil)))), "Status: 401 Unauthorized", ""},
		"forged, public":    {"public", good + "A", "Status: 401 Unauthorized", ""},
		"without user name": {"", noName, "Status: 401 Unauthorized", ""},
	} {
		t.Run(name, func(t *testing.T) {
			t.Parallel()
			variables := person
			if test.assertion != "" {
				variables = append(slices.Clone(person), "HTTP_X_SSO_ASSERTION="+test.assertion)
			}
			status, server := ask(t, test.query, variables...)
			if status != test.status || (server == nil) != strings.HasPrefix(status, "Status: ") {
				t.Fatalf("%s, %v", status, server)
			}
			user, _ := server["REMOTE_USER"].(string)
			if getenv, _ := server["getenv"].(string); user != test.user || getenv != test.user {
				t.Errorf("REMOTE_USER is %q and %q, want %q", user, getenv, test.user)
			}
			for name, v := range server {
				if text, ok := v.(string); ok && (strings.Contains(text, "mallory") || strings.Contains(text, "bWFs")) {
					t.Errorf("%s is %q", name, text)
				}
			}
			if server != nil && (server["REMOTE_ADDR"] != "192.0.2.1" || server["HTTP_ACCEPT"] != "*/*") {
				t.Errorf("variables that name nobody are gone: %v", server)
			}
		})
	}
	t.Run("an app's own token", func(t *testing.T) {
		t.Parallel()
		_, server := ask(t, "public", "HTTP_AUTHORIZATION=Bearer x", "HTTP_X_ACCESS_TOKEN=y", "HTTP_X_USER_AGENT=z")
		if server["HTTP_AUTHORIZATION"] != "Bearer x" || server["HTTP_X_ACCESS_TOKEN"] != "y" || server["HTTP_X_USER_AGENT"] != "z" {
			t.Errorf("is gone: %v", server)
		}
	})
}
