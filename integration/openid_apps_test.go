//go:build integration

package integration

import (
	"bytes"
	"encoding/json"
	"fmt"
	"io"
	"net/http"
	"net/url"
	"os"
	"os/exec"
	"path/filepath"
	"strings"
	"testing"
	"time"
)

// testApache signs people in to Apache with Debian's mod_auth_openidc, a certified client:
// form_post, PKCE, signed userinfo, a rule on a claim, and logout both ways.
func testApache(t *testing.T, w *openIDWorld) {
	p, dir := certificates(t), t.TempDir()
	base := fmt.Sprintf("https://127.0.0.1:%d", w.apache)
	conf := apacheConf
	for name, value := range map[string]string{
		"DIR": dir, "PORT": fmt.Sprint(w.apache), "CERT": p.certFile, "KEY": p.keyFile, "CA": p.caFile,
		"ISSUER": w.issuer(), "SECRET": openIDSecrets["apache"], "BASE": base,
	} {
		conf = strings.ReplaceAll(conf, "@"+name+"@", value)
	}
	file := filepath.Join(dir, "apache.conf")
	if err := os.WriteFile(file, []byte(conf), 0o600); err != nil {
		t.Fatal(err)
	}
	// Apache does not serve as root. So it runs as somebody else who owns the same files. Its
	// processes end together.
	startOpenIDApp(t, exec.Command("bwrap", "--dev-bind", "/", "/", "--unshare-user", "--uid", "33", "--gid", "33", "--unshare-pid", "--die-with-parent",
		"apache2", "-f", file, "-DFOREGROUND"), fmt.Sprintf("https://127.0.0.1:%d/bye", w.apache))

	alice := w.browser(t, "alice")
	signIn := func() *page {
		page := alice.open(base + "/")
		f := page.formWith("code")
		if f == nil {
			t.Fatalf("expected the answer as a form, got %s\nby %s", page, strings.Join(alice.hops, " → "))
		}
		return alice.send(f)
	}
	page := signIn()
	for name, want := range map[string]string{
		"Seen-User": "alice", "Seen-Name": "Alice Ångström", "Seen-Email": "alice@example.com", "Seen-Roles": "admin", "Seen-Issuer": w.issuer(),
	} {
		if got := page.header.Get(name); page.status != http.StatusNoContent || got != want {
			t.Errorf("Apache answers %d and has %s %q, want %q", page.status, name, got, want)
		}
	}
	if page := alice.navigate(base + "/viewers"); page.status != http.StatusUnauthorized && page.status != http.StatusForbidden {
		t.Errorf("a page for another role: got %s", page)
	}
	alice.logOut(w.base)
	eventually(t, "Apache ends its session", logoutPatience, func() bool {
		return alice.fetch(base+"/").status == http.StatusUnauthorized
	})

	if page := signIn(); page.header.Get("Seen-User") != "alice" {
		t.Fatalf("signing in again: got %s", page)
	}
	page = alice.navigate(base + "/callback?logout=" + url.QueryEscape(base+"/bye"))
	if to := page.goesOn(); to != "" {
		page = alice.navigate(to)
	}
	if page.url.String() != base+"/bye" || page.status != http.StatusOK {
		t.Errorf("got %s\nby %s", page, strings.Join(alice.hops, " → "))
	}
	if page := alice.fetch(w.base + "/.sso/session"); page.status != http.StatusUnauthorized {
		t.Errorf("the session is still there: %s", page)
	}
}

const apacheConf = `ServerRoot @DIR@
DefaultRuntimeDir @DIR@
DocumentRoot @DIR@
ServerName 127.0.0.1
Listen 127.0.0.1:@PORT@
PidFile pid
ErrorLog /dev/stderr
LogLevel warn
StartServers 1
ThreadsPerChild 8
MinSpareThreads 4
LoadModule mpm_event_module /usr/lib/apache2/modules/mod_mpm_event.so
LoadModule authn_core_module /usr/lib/apache2/modules/mod_authn_core.so
LoadModule authz_core_module /usr/lib/apache2/modules/mod_authz_core.so
LoadModule authz_user_module /usr/lib/apache2/modules/mod_authz_user.so
LoadModule headers_module /usr/lib/apache2/modules/mod_headers.so
LoadModule rewrite_module /usr/lib/apache2/modules/mod_rewrite.so
LoadModule ssl_module /usr/lib/apache2/modules/mod_ssl.so
LoadModule auth_openidc_module /usr/lib/apache2/modules/mod_auth_openidc.so
SSLEngine on
SSLCertificateFile @CERT@
SSLCertificateKeyFile @KEY@

OIDCProviderMetadataURL @ISSUER@/.well-known/openid-configuration
OIDCCABundlePath @CA@
OIDCHTTPTimeoutShort 60
OIDCHTTPTimeoutLong 60
OIDCClientID apache
OIDCClientSecret @SECRET@
OIDCRedirectURI @BASE@/callback
OIDCCryptoPassphrase 0123456789abcdef
OIDCScope "openid profile email"
OIDCPKCEMethod S256
OIDCResponseMode form_post
OIDCIDTokenSignedResponseAlg RS256
OIDCUserInfoSignedResponseAlg RS256
OIDCRemoteUserClaim preferred_username
OIDCSessionType server-cache

<Location />
  AuthType openid-connect
  Require claim roles:admin
  Header always set Seen-User "expr=%{REMOTE_USER}"
  Header always set Seen-Name "expr=%{env:OIDC_CLAIM_name}"
  Header always set Seen-Email "expr=%{env:OIDC_CLAIM_email}"
  Header always set Seen-Roles "expr=%{env:OIDC_CLAIM_roles}"
  Header always set Seen-Issuer "expr=%{env:OIDC_CLAIM_iss}"
  RewriteEngine on
  RewriteRule ^ - [R=204]
</Location>
<Location /viewers>
  Require claim roles:viewer
</Location>
<Location /bye>
  AuthType none
  Require all granted
  RewriteEngine on
  RewriteRule ^ - [R=200]
</Location>
`

// startOpenIDApp starts an app and waits until it answers at an address.
func startOpenIDApp(t *testing.T, cmd *exec.Cmd, ready string) {
	t.Helper()
	log := &syncBuffer{}
	cmd.Stdout, cmd.Stderr = log, log
	proc, err := start(cmd)
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() {
		if err := proc.end(30 * time.Second); err != nil {
			t.Error(err)
		}
		if t.Failed() {
			t.Logf("the app's log ends:\n%s", lastLines(log.String(), 40))
		}
	})
	client := &http.Client{Transport: transport(certificates(t)), Timeout: 10 * time.Second}
	t.Cleanup(client.CloseIdleConnections)
	eventually(t, "the app answers", 4*time.Minute, func() bool {
		if proc.ended() {
			t.Fatalf("the app ended: %v\n%s", proc.err, log)
		}
		resp, err := client.Get(ready)
		if err != nil {
			return false
		}
		_ = resp.Body.Close()
		return resp.StatusCode == http.StatusOK
	})
}

// testSynapse signs alice in to Matrix's Synapse, which makes an account of what it is told,
// and ends her session there from the gateway.
func testSynapse(t *testing.T, w *openIDWorld) {
	dir := t.TempDir()
	base := fmt.Sprintf("http://127.0.0.1:%d", w.synapse)
	config, err := json.Marshal(synapseConfig(dir, base, w)) // YAML reads JSON
	if err != nil {
		t.Fatal(err)
	}
	file := filepath.Join(dir, "homeserver.yaml")
	if err := os.WriteFile(file, config, 0o600); err != nil {
		t.Fatal(err)
	}
	cmd := exec.Command("python3", "-m", "synapse.app.homeserver", "-c", file)
	cmd.Dir = dir
	cmd.Env = append(os.Environ(), "PYTHONPATH="+openIDDirectory(t, "packages"), "SSL_CERT_FILE="+certificates(t).caFile)
	startOpenIDApp(t, cmd, base+"/_matrix/client/versions")

	const element = "https://element.test/"
	alice := w.browser(t, "alice")
	page := alice.stopBefore(element, func() *page {
		return alice.open(base + "/_matrix/client/v3/login/sso/redirect/oidc-gateway?redirectUrl=" + url.QueryEscape(element))
	})
	token := alice.url(page.header.Get("Location")).Query().Get("loginToken")
	if token == "" {
		t.Fatalf("Synapse did not sign her in: %s\nby %s", page, strings.Join(alice.hops, " → "))
	}
	matrix := func(method, path, access string, in any) (status int, out map[string]any) {
		t.Helper()
		body, err := json.Marshal(in)
		if err != nil {
			t.Fatal(err)
		}
		req, err := http.NewRequest(method, base+"/_matrix/client/v3"+path, bytes.NewReader(body))
		if err != nil {
			t.Fatal(err)
		}
		if access != "" {
			req.Header.Set("Authorization", "Bearer "+access)
		}
		resp, err := alice.http.Do(req)
		if err != nil {
			t.Fatal(err)
		}
		defer resp.Body.Close()
		text, _ := io.ReadAll(resp.Body)
		_ = json.Unmarshal(text, &out)
		return resp.StatusCode, out
	}
	status, login := matrix(http.MethodPost, "/login", "", map[string]string{"type": "m.login.token", "token": token})
	access, _ := login["access_token"].(string)
	if status != http.StatusOK || login["user_id"] != "@alice:matrix.test" || access == "" {
		t.Fatalf("her login is %d %v", status, login)
	}
	if _, profile := matrix(http.MethodGet, "/profile/@alice:matrix.test/displayname", access, nil); profile["displayname"] != "Alice Ångström" {
		t.Errorf("her profile is %v", profile)
	}
	alice.logOut(w.base)
	eventually(t, "Synapse ends her session", logoutPatience, func() bool {
		status, answer := matrix(http.MethodGet, "/account/whoami", access, nil)
		return status == http.StatusUnauthorized && answer["errcode"] == "M_UNKNOWN_TOKEN"
	})
}

func synapseConfig(dir, base string, w *openIDWorld) map[string]any {
	return map[string]any{
		"server_name": "matrix.test", "public_baseurl": base + "/", "report_stats": false, "pid_file": filepath.Join(dir, "pid"),
		"listeners": []any{map[string]any{
			"port": w.synapse, "type": "http", "bind_addresses": []string{"127.0.0.1"}, "resources": []any{map[string]any{"names": []string{"client"}}},
		}},
		"database":         map[string]any{"name": "sqlite3", "args": map[string]any{"database": filepath.Join(dir, "db")}},
		"signing_key":      "ed25519 a_test " + strings.Repeat("A", 43),
		"media_store_path": filepath.Join(dir, "media"), "trusted_key_servers": []string{}, "password_config": map[string]any{"enabled": false},
		"macaroon_secret_key": randomHex(16), "form_secret": randomHex(16),
		"sso": map[string]any{"client_whitelist": []string{"https://element.test/"}},
		"oidc_providers": []any{map[string]any{
			"idp_id": "gateway", "idp_name": "gateway", "issuer": w.issuer(), "client_id": "synapse", "client_secret": openIDSecrets["synapse"],
			"scopes": []string{"openid", "profile"}, "backchannel_logout_enabled": true,
			"user_mapping_provider": map[string]any{"config": map[string]any{
				"localpart_template": "{{ user.preferred_username }}", "display_name_template": "{{ user.name }}",
			}},
		}},
	}
}
