//go:build integration

package integration

import (
	"bytes"
	"crypto/tls"
	"encoding/json"
	"fmt"
	"io"
	"net/http"
	"net/url"
	"os"
	"os/exec"
	"path/filepath"
	"strings"
	"sync"
	"testing"
	"time"

	"github.com/caddy-sso/caddy-sso/gateway/gatewaytest"
)

// A keycloak is a real Keycloak with the realm of the lab, for all tests.
// Whoever needs one that fails goes through a relay.
type keycloak struct {
	home  string
	port  int // https
	mgmt  int // http, for readiness
	proc  *process
	log   *syncBuffer
	admin *http.Client

	mu    sync.Mutex
	token string
	until time.Time
}

func theKeycloak(t *testing.T) *keycloak {
	t.Helper()
	k, err := sharedKeycloak()
	if err != nil {
		t.Fatal(err)
	}
	return k
}

var sharedKeycloak = sync.OnceValues(func() (*keycloak, error) {
	out, err := output("idp/prepare")
	if err != nil {
		return nil, fmt.Errorf("preparing Keycloak: %w", err)
	}
	p, err := makePKI()
	if err != nil {
		return nil, err
	}
	k := &keycloak{
		home: filepath.Join(scratch, "keycloak"), port: gatewaytest.FreePort(), mgmt: gatewaytest.FreePort(), log: &syncBuffer{},
		admin: &http.Client{Timeout: 30 * time.Second, Transport: &http.Transport{TLSClientConfig: &tls.Config{RootCAs: p.pool}}},
	}
	realm, err := realmJSON()
	if err != nil {
		return nil, err
	}
	if err := k.makeHome(strings.TrimSpace(out), realm); err != nil {
		return nil, fmt.Errorf("making Keycloak's home: %w", err)
	}
	whenAllIsDone(func() { _ = k.stop() })
	return k, k.start()
})

// output runs a program and returns what it prints.
func output(name string, args ...string) (string, error) {
	cmd := exec.Command(name, args...)
	var stderr bytes.Buffer
	cmd.Stderr = &stderr
	out, err := cmd.Output()
	if err != nil {
		return "", fmt.Errorf("%w\n%s", err, lastLines(stderr.String(), 30))
	}
	return string(out), nil
}

// makeHome makes a home of our own: what Keycloak only reads is linked, what
// it writes is ours, such as the realm to import.
func (k *keycloak) makeHome(dist string, realm []byte) error {
	imports := filepath.Join(k.home, "data", "import")
	if err := os.MkdirAll(imports, 0o755); err != nil {
		return err
	}
	for _, name := range []string{"bin", "conf", "lib", "providers", "themes", "version.txt"} {
		if err := os.Symlink(filepath.Join(dist, name), filepath.Join(k.home, name)); err != nil {
			return err
		}
	}
	return os.WriteFile(filepath.Join(imports, "realm.json"), realm, 0o600)
}

// java is the command of Keycloak, with some options of its own. The arguments of java are
// those of kc.sh, with a smaller heap and the quick compiler.
func (k *keycloak) java(options ...string) *exec.Cmd {
	cmd := exec.Command("java", append([]string{
		"-Xms64m", "-Xmx384m", "-XX:MaxMetaspaceSize=256m", "-XX:+UseSerialGC", "-XX:TieredStopAtLevel=1",
		"-Dfile.encoding=UTF-8", "-Djava.security.egd=file:/dev/urandom", "-Duser.language=en", "-Duser.country=US",
		"--add-opens=java.base/java.util=ALL-UNNAMED", "--add-opens=java.base/java.util.concurrent=ALL-UNNAMED",
		"--add-opens=java.base/java.security=ALL-UNNAMED", "--add-opens=java.base/java.lang=ALL-UNNAMED", "--enable-native-access=ALL-UNNAMED",
		"-Dkc.home.dir=" + k.home, "-Djboss.server.config.dir=" + k.home + "/conf",
		"-Djava.io.tmpdir=" + k.home + "/data", "-Dpicocli.disable.closures=true",
		"-Djava.util.logging.manager=org.jboss.logmanager.LogManager",
		"-Djava.util.concurrent.ForkJoinPool.common.threadFactory=io.quarkus.bootstrap.forkjoin.QuarkusForkJoinWorkerThreadFactory",
		"-cp", k.home + "/lib/quarkus-run.jar", "io.quarkus.bootstrap.runner.QuarkusEntryPoint",
		"start", "--optimized", "--import-realm", "--cache=local", "--hostname-strict=false", "--http-host=127.0.0.1",
		"--http-management-scheme=http", "--http-management-host=127.0.0.1",
	}, options...)...)
	cmd.Dir = k.home
	cmd.Env = append(os.Environ(), "KC_BOOTSTRAP_ADMIN_USERNAME=admin", "KC_BOOTSTRAP_ADMIN_PASSWORD=admin")
	return cmd
}

// start starts Keycloak, again with what it knew, and waits until it is ready.
func (k *keycloak) start() error {
	p, err := makePKI()
	if err != nil {
		return err
	}
	cmd := k.java("--http-enabled=false", fmt.Sprintf("--https-port=%d", k.port),
		"--https-certificate-file="+p.certFile, "--https-certificate-key-file="+p.keyFile, fmt.Sprintf("--http-management-port=%d", k.mgmt))
	cmd.Stdout, cmd.Stderr = k.log, k.log
	if k.proc, err = start(cmd); err != nil {
		return err
	}
	if err := awaitReady(k.proc, k.log, fmt.Sprintf("http://127.0.0.1:%d/health/ready", k.mgmt), 8*time.Minute); err != nil {
		return err
	}
	return k.readGroups("frank")
}

// readGroups has Keycloak read the groups of a person into its cache. Of many groups, this
// takes longer under load than the gateway waits for a token.
func (k *keycloak) readGroups(name string) error {
	at := "/admin/realms/" + realmName + "/users"
	var found []struct{ ID string }
	if err := k.call(http.MethodGet, at+"?exact=true&username="+name, nil, &found); err != nil {
		return err
	}
	var groups []any
	for _, user := range found {
		if err := k.call(http.MethodGet, at+"/"+user.ID+"/groups?max=1000", nil, &groups); err != nil {
			return err
		}
	}
	if len(groups) == 0 {
		return fmt.Errorf("Keycloak knows no groups of %s", name)
	}
	return nil
}

// stop ends Keycloak in an orderly way.
func (k *keycloak) stop() error { return k.proc.end(20 * time.Second) }

// issuer is the realm's issuer when Keycloak is reached at port: its own, or a
// relay's.
func (k *keycloak) issuer(port int) string {
	return fmt.Sprintf("https://127.0.0.1:%d/realms/%s", port, realmName)
}

// A kcClient is a registration at Keycloak.
type kcClient struct{ id, secret string }

// client registers a confidential client with PKCE for the site at base, with
// exactly its callback and its page after logout. change may alter the
// representation first.
func (k *keycloak) client(t *testing.T, base string, change ...func(rep map[string]any)) kcClient {
	t.Helper()
	c := kcClient{id: "gw-" + randomHex(6), secret: "canary-client-secret-" + randomHex(16)}
	rep := map[string]any{
		"clientId": c.id, "secret": c.secret, "protocol": "openid-connect", "publicClient": false, "standardFlowEnabled": true,
		"directAccessGrantsEnabled": false, "redirectUris": []string{base + "/.sso/oidc/callback"},
		"attributes": map[string]any{
			"pkce.code.challenge.method": "S256",
			"post.logout.redirect.uris":  base + "/.sso/logged-out",
		},
		"protocolMappers": []map[string]any{{
			"name": "groups", "protocol": "openid-connect", "protocolMapper": "oidc-group-membership-mapper",
			"config": map[string]string{
				"full.path": "false", "claim.name": "groups", "id.token.claim": "true", "access.token.claim": "true", "userinfo.token.claim": "true",
			},
		}},
	}
	for _, f := range change {
		f(rep)
	}
	if err := k.call(http.MethodPost, "/admin/realms/"+realmName+"/clients", rep, nil); err != nil {
		t.Fatal(err)
	}
	return c
}

// call makes a request of Keycloak's admin API.
func (k *keycloak) call(method, path string, in, out any) error {
	var body []byte
	if in != nil {
		var err error
		if body, err = json.Marshal(in); err != nil {
			return err
		}
	}
	return k.callRaw(method, path, "application/json", body, out)
}

// callRaw is call with a body of any kind.
func (k *keycloak) callRaw(method, path, contentType string, body []byte, out any) error {
	token, err := k.adminToken()
	if err != nil {
		return err
	}
	req, err := http.NewRequest(method, k.base()+path, bytes.NewReader(body))
	if err != nil {
		return err
	}
	req.Header.Set("Authorization", "Bearer "+token)
	req.Header.Set("Content-Type", contentType)
	return k.do(req, out)
}

func (k *keycloak) base() string { return fmt.Sprintf("https://127.0.0.1:%d", k.port) }

func (k *keycloak) adminToken() (string, error) {
	k.mu.Lock()
	defer k.mu.Unlock()
	if time.Now().Before(k.until) {
		return k.token, nil
	}
	form := url.Values{"grant_type": {"password"}, "client_id": {"admin-cli"}, "username": {"admin"}, "password": {"admin"}}
	req, err := http.NewRequest(http.MethodPost, k.base()+"/realms/master/protocol/openid-connect/token", strings.NewReader(form.Encode()))
	if err != nil {
		return "", err
	}
	req.Header.Set("Content-Type", "application/x-www-form-urlencoded")
	var answer struct {
		Token string `json:"access_token"`
	}
	if err := k.do(req, &answer); err != nil {
		return "", err
	}
	k.token, k.until = answer.Token, time.Now().Add(30*time.Second)
	return k.token, nil
}

func (k *keycloak) do(req *http.Request, out any) error {
	resp, err := k.admin.Do(req)
	if err != nil {
		return err
	}
	defer resp.Body.Close()
	body, err := io.ReadAll(resp.Body)
	if err != nil {
		return err
	}
	if resp.StatusCode/100 != 2 {
		return fmt.Errorf("asking Keycloak: %s %s: %s: %s", req.Method, req.URL.Path, resp.Status, body)
	}
	if out == nil {
		return nil
	}
	return json.Unmarshal(body, out)
}
