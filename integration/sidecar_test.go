//go:build integration

package integration

import (
	"context"
	"fmt"
	"io"
	"net/http"
	"net/http/httptest"
	"os"
	"path/filepath"
	"strings"
	"sync"
	"sync/atomic"
	"syscall"
	"testing"
	"time"

	"github.com/caddy-sso/caddy-sso/gateway/gatewaytest"
)

// startSidecar starts the binary as a sidecar at http://app.localhost, with these variables
// and no others that begin with SSO_, and waits until it is ready.
func startSidecar(t *testing.T, g *gateway, ip string, port int, environ ...string) *sidecar {
	t.Helper()
	s := &sidecar{gateway: g, health: fmt.Sprintf("127.0.0.1:%d", gatewaytest.FreePort())}
	s.env = append([]string{
		fmt.Sprintf("SSO_LISTEN=%s:%d", ip, port), fmt.Sprintf("SSO_BASE_URL=http://app.localhost:%d", port), "SSO_HEALTH_LISTEN=" + s.health,
		"SSO_LOG_LEVEL=DEBUG", "SSO_SHUTDOWN_DELAY=0s", "SSO_GRACE_PERIOD=1s",
		"SSO_SERVICE_HOST=10.0.0.1", "SSO_SERVICE_PORT=80", "SSO_PORT_80_TCP=tcp://10.0.0.1:80", // as Kubernetes sets them
	}, environ...)
	cmd := s.command("sidecar")
	cmd.Stdout, cmd.Stderr = s.log, s.log
	began := time.Now()
	var err error
	if s.proc, err = start(cmd); err != nil {
		t.Fatal(err)
	}
	eventually(t, "ready", 30*time.Second, func() bool {
		if s.proc.ended() {
			t.Fatalf("the sidecar does not run\n%s", lastLines(s.log.String(), 30))
		}
		return s.status("/readyz") == http.StatusOK
	})
	t.Logf("ready after %v", time.Since(began).Round(time.Millisecond))
	return s
}

// A sidecar is a gateway that the environment configures.
type sidecar struct {
	*gateway
	health string
}

// pageVariables are those that docs/sidecar.md begins with.
func pageVariables(t *testing.T) []string {
	t.Helper()
	page, err := os.ReadFile("../docs/sidecar.md")
	if err != nil {
		t.Fatal(err)
	}
	_, block, _ := strings.Cut(string(page), "```sh\n")
	block, command, found := strings.Cut(block, "   caddy-sso sidecar\n")
	if !found || !strings.HasPrefix(strings.TrimSpace(command), "```") {
		t.Fatalf("docs/sidecar.md does not begin with variables and the command: %s", block)
	}
	var environ []string
	for line := range strings.Lines(block) {
		variable, ok := strings.CutPrefix(strings.TrimSpace(line), "export ")
		if !ok {
			t.Fatalf("docs/sidecar.md: %s", line)
		}
		environ = append(environ, strings.ReplaceAll(variable, "'", ""))
	}
	return environ
}

// status asks for health; 0 is no answer.
func (s *sidecar) status(path string) int {
	client := &http.Client{Timeout: 10 * time.Second, Transport: &http.Transport{DisableKeepAlives: true}}
	resp, err := client.Get("http://" + s.health + path)
	if err != nil {
		return 0
	}
	_ = resp.Body.Close()
	return resp.StatusCode
}

// check is the command that asks a running sidecar.
func (s *sidecar) check() error { return s.command("health").Run() }

// TestSidecarSignIn signs in through a sidecar by both protocols: with the variables that
// docs/sidecar.md shows, and with the DNS console's, which have SSO_ in place of PA_.
func TestSidecarSignIn(t *testing.T) {
	t.Parallel()
	t.Run("F4 OpenID Connect", func(t *testing.T) {
		t.Parallel()
		a, k, port := newApp(t), theKeycloak(t), gatewaytest.FreePort()
		base := fmt.Sprintf("http://app.localhost:%d", port)
		client := k.client(t, base)
		s := startSidecar(t, newGateway(t), "127.0.0.1", port, append(pageVariables(t),
			"SSO_UPSTREAM="+a.address(), "SSO_BASE_URL="+base, "SSO_OIDC_CORP_ISSUER="+k.issuer(k.port),
			"SSO_OIDC_CORP_CLIENT_ID="+client.id, "SSO_OIDC_CORP_CLIENT_SECRET="+client.secret, "SSO_OIDC_CORP_CA="+certificates(t).caFile)...)
		a.trust(t, base, "app.localhost")
		if want := `"redirect_uri":["` + base + `/.sso/oidc/callback"]`; !strings.Contains(s.log.String(), want) {
			t.Errorf("the log does not name the address to register: %s", want)
		}
		c := newClient(t)
		r := c.echoed(c.signIn(base+"/deep?x=1", "alice"))
		if r.Identity == nil || r.Identity.Username != "alice" || !equalSets(r.Identity.Roles, []string{"User"}) || r.Target != "/deep?x=1" {
			t.Errorf("the app was told %+v, %s of %s", r.Identity, r.AssertionError, r.Target)
		}
		if strings.Contains(s.log.String(), client.secret) {
			t.Error("the log has the secret")
		}
	})
	t.Run("F4 SAML by the DNS console's variables", func(t *testing.T) {
		t.Parallel()
		a, idp, port := newApp(t), theSimpleSAMLphp(t), gatewaytest.FreePort()
		base := fmt.Sprintf("http://app.localhost:%d", port)
		idp.register(t, spMetadata(base+"/.sso/saml/metadata", base+"/.sso/saml/acs"), nil)
		s := startSidecar(t, newGateway(t), "127.0.0.1", port,
			"SSO_UPSTREAM="+a.address(), "SSO_HEADERS=template Remote-Template",
			"SSO_SAML_ENABLED=true", "SSO_SAML_AUTO_PROVISION=true", "SSO_SAML_LINK_BY_EMAIL=true", "SSO_SAML_SYNC_USER_INFO=true",
			"SSO_SAML_DEFAULT_PERMISSION_TEMPLATE=Guest", "SSO_SAML_PERMISSION_TEMPLATE_MAPPING=Caddy Admins=Administrator,viewers=Viewer",
			"SSO_SAML_GROUP_MAPPING=viewers=Editors|Viewers,urn:example:team:ops=Operators",
			"SSO_SAML_GENERIC_ENABLED=true", "SSO_SAML_GENERIC_NAME=Generic SAML IdP", "SSO_SAML_GENERIC_DISPLAY_NAME=Sign in with SAML",
			"SSO_SAML_GENERIC_ENTITY_ID="+idp.metadataURL(), "SSO_SAML_GENERIC_SSO_URL="+idp.base()+"/saml2/idp/SSOService.php",
			"SSO_SAML_GENERIC_SLO_URL="+idp.base()+"/saml2/idp/SingleLogoutService.php",
			"SSO_SAML_GENERIC_X509_CERT__FILE="+filepath.Join(idp.dir, "cert", "idp.crt"),
			"SSO_SAML_GENERIC_USERNAME_ATTR=uid", "SSO_SAML_GENERIC_EMAIL_ATTR=mail", "SSO_SAML_GENERIC_FIRST_NAME_ATTR=givenName",
			"SSO_SAML_GENERIC_LAST_NAME_ATTR=sn", "SSO_SAML_GENERIC_DISPLAY_NAME_ATTR=displayName", "SSO_SAML_GENERIC_GROUPS_ATTR=memberOf")
		a.trust(t, base, "app.localhost")
		for _, want := range []string{
			`"acs":["` + base + `/.sso/saml/acs"]`, `"metadata":["` + base + `/.sso/saml/metadata"]`,
			`"variable":"SSO_SAML_GENERIC_SLO_URL"`, `"variable":"SSO_SAML_LINK_BY_EMAIL"`,
		} {
			if !strings.Contains(s.log.String(), want) {
				t.Errorf("the log does not have %s", want)
			}
		}
		for user, want := range map[string][2]string{"alice": {"Administrator", "Operators"}, "bob": {"Viewer", "Editors,Viewers"}, "carol": {"Guest", ""}} {
			c := newClient(t)
			r := c.echoed(c.samlSignIn(base+"/", user))
			got := [2]string{r.Header.Get("Remote-Template"), r.Header.Get("Remote-Groups")}
			if r.Identity == nil || r.Identity.Username != user || r.Identity.Email != user+"@example.test" || got != want {
				t.Errorf("of %s the app was told %+v, %s, and in headers %q, want %q", user, r.Identity, r.AssertionError, got, want)
			}
		}
	})
}

// sidecarCluster is a cluster at http://app.localhost, whose nodes run nothing yet.
func sidecarCluster(t *testing.T, nodes int, redis bool) *cluster {
	t.Helper()
	cl := &cluster{fleet: newFleet(t, nodes, redis), op: gatewaytest.NewOP(t, gatewaytest.OPOptions{}), host: "app.localhost"}
	cl.base = fmt.Sprintf("http://%s:%d", cl.host, cl.port)
	cl.roots.AppendCertsFromPEM(cl.op.Roots)
	return cl
}

// TestSidecars has two sidecars with one Redis: they share sessions, and are ready as long as
// Redis can be reached, whatever the provider does.
func TestSidecars(t *testing.T) {
	t.Parallel()
	cl := sidecarCluster(t, 2, true)
	cl.app = newApp(t)
	ca := filepath.Join(t.TempDir(), "op.pem")
	if err := os.WriteFile(ca, cl.op.Roots, 0o600); err != nil {
		t.Fatal(err)
	}
	secret := filepath.Join(t.TempDir(), "secret")
	if err := os.WriteFile(secret, []byte(cl.secret+"\n"), 0o600); err != nil {
		t.Fatal(err)
	}
	upstream := filepath.Join(t.TempDir(), "upstream")
	if err := os.WriteFile(upstream, []byte(cl.app.address()+"\n"), 0o600); err != nil {
		t.Fatal(err)
	}
	var sidecars []*sidecar
	for _, n := range cl.nodes {
		sidecars = append(sidecars, startSidecar(t, n.gateway, n.ip, cl.port,
			"SSO_UPSTREAM__FILE="+upstream, "SSO_REDIS_URL=redis://"+cl.redis.Addr+"/0", "SSO_SECRET__FILE="+secret,
			"SSO_OIDC_CORP_ISSUER="+cl.op.Issuer, "SSO_OIDC_CORP_CLIENT_ID="+cl.op.ClientID, "SSO_OIDC_CORP_CLIENT_SECRET="+cl.op.ClientSecret,
			"SSO_OIDC_CORP_CA="+ca, "SSO_ROLE_MAPPING=admins=Admin"))
	}
	cl.app.trust(t, cl.base, cl.host)
	t.Run("F4 two sidecars share sessions", func(t *testing.T) {
		c := cl.signIn(0)
		cl.served(c, 1)
		if p := c.logOut(cl.base); p.status != http.StatusOK {
			t.Fatalf("the logout: %s", p)
		}
		there := cl.at(c, 1)
		eventually(t, "signed out at the other sidecar", stale, func() bool { return there.fetch(cl.base+"/").status == http.StatusUnauthorized })
	})
	t.Run("F4 ready depends on the store", func(t *testing.T) {
		s := sidecars[0]
		if s.status("/healthz") != http.StatusOK || s.check() != nil {
			t.Error("it is not healthy while all is well")
		}
		cl.redis.Kill()
		eventually(t, "not ready", 20*time.Second, func() bool { return s.status("/readyz") == http.StatusServiceUnavailable })
		if got := s.status("/healthz"); got != http.StatusOK {
			t.Errorf("without Redis it is said to be dead: %d", got)
		}
		if s.check() == nil {
			t.Error("the command calls it ready")
		}
		cl.redis.Restart()
		eventually(t, "ready again", 20*time.Second, func() bool { return s.status("/readyz") == http.StatusOK })
	})
	t.Run("F4 ready while the provider is down", func(t *testing.T) {
		startSidecar(t, newGateway(t), "127.0.0.3", cl.port, "SSO_UPSTREAM="+cl.app.address(), "SSO_ROLE_MAPPING=*=User",
			"SSO_OIDC_CORP_ISSUER=https://127.0.0.1:1", "SSO_OIDC_CORP_CLIENT_ID=app", "SSO_OIDC_CORP_CLIENT_SECRET=secret")
	})
	t.Run("F4 the health port serves nothing else", func(t *testing.T) {
		for path, want := range map[string]int{"/": http.StatusNotFound, "/.sso/login": http.StatusNotFound, "/healthz": http.StatusOK} {
			if got := sidecars[1].status(path); got != want {
				t.Errorf("%s: %d, want %d", path, got, want)
			}
		}
	})
}

// TestSidecarStops sends SIGTERM under load. A load balancer sees at /readyz that the sidecar
// stops, and sends on for a moment; no request is lost, not even one that takes long.
func TestSidecarStops(t *testing.T) {
	t.Parallel()
	app := httptest.NewServer(http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) {
		if r.URL.Path == "/slow" {
			time.Sleep(3 * time.Second)
		}
		_, _ = io.WriteString(w, r.Header.Get("Remote-User"))
	}))
	t.Cleanup(app.Close)
	cl := sidecarCluster(t, 1, false)
	op := cl.op
	ca := filepath.Join(t.TempDir(), "op.pem")
	if err := os.WriteFile(ca, op.Roots, 0o600); err != nil {
		t.Fatal(err)
	}
	s := startSidecar(t, cl.nodes[0].gateway, cl.nodes[0].ip, cl.port,
		"SSO_UPSTREAM="+app.URL, "SSO_SHUTDOWN_DELAY=4s", "SSO_GRACE_PERIOD=10s",
		"SSO_OIDC_CORP_ISSUER="+op.Issuer, "SSO_OIDC_CORP_CLIENT_ID="+op.ClientID, "SSO_OIDC_CORP_CLIENT_SECRET="+op.ClientSecret,
		"SSO_OIDC_CORP_CA="+ca, "SSO_ROLE_MAPPING=*=User")
	c := cl.client(0)
	if p := c.navigate(cl.base + "/"); p.body != "alice" {
		t.Fatalf("signing in: %s", p)
	}

	ctx, cancel := context.WithCancel(t.Context())
	defer cancel()
	var served, after, kept atomic.Int64
	var stopping, closing atomic.Bool
	var all sync.WaitGroup
	get := func(path string) {
		stops := stopping.Load()
		client := &http.Client{Jar: c.http.Jar, Transport: c.http.Transport, Timeout: 20 * time.Second}
		resp, err := client.Get(cl.base + path)
		if err != nil {
			t.Errorf("a request is lost: %v", err)
			return
		}
		defer resp.Body.Close()
		if body, err := io.ReadAll(resp.Body); err != nil || string(body) != "alice" {
			t.Errorf("a request is lost: %d %q %v", resp.StatusCode, body, err)
			return
		}
		served.Add(1)
		if resp.Close {
			closing.Store(true)
		}
		if stops {
			after.Add(1)
			if !resp.Close {
				kept.Add(1)
			}
		}
	}
	for range 6 {
		all.Go(func() {
			for ctx.Err() == nil {
				get("/")
			}
		})
	}
	time.Sleep(500 * time.Millisecond)
	all.Go(func() { get("/slow") }) // begins before, and ends in the grace period
	time.Sleep(200 * time.Millisecond)
	late, began := gatewaytest.Lateness(t), time.Now()
	if err := s.proc.cmd.Process.Signal(syscall.SIGTERM); err != nil {
		t.Fatal(err)
	}
	eventually(t, "no longer ready", 4*time.Second, func() bool { return s.status("/readyz") == http.StatusServiceUnavailable })
	eventually(t, "clients are asked to close their connections", 4*time.Second, closing.Load)
	stopping.Store(true)
	time.Sleep(500 * time.Millisecond) // the balancer has not heard of it yet
	cancel()
	all.Wait()
	<-s.proc.done
	took := time.Since(began)
	t.Run("F4 SIGTERM under load loses no request", func(t *testing.T) {
		if s.proc.err != nil || served.Load() < 50 || after.Load() == 0 {
			t.Errorf("%d requests were served, %d of them while it stopped; it ended with %v", served.Load(), after.Load(), s.proc.err)
		}
	})
	// A client that keeps its connection could send a request at the moment at which it closes.
	t.Run("F4 a stopping sidecar has clients close their connections", func(t *testing.T) {
		if n := kept.Load(); n > 0 {
			t.Errorf("%d of %d responses do not ask for it", n, after.Load())
		}
	})
	t.Run("F4 it stops in time", func(t *testing.T) {
		if took < 4*time.Second || took > 14*time.Second+late() {
			t.Errorf("it took %v", took)
		}
	})
	t.Logf("%d requests served, %d while it stopped, which took %v", served.Load(), after.Load(), took.Round(time.Millisecond))
}

// TestSidecarStopsEarly sends SIGTERM while the sidecar starts.
func TestSidecarStopsEarly(t *testing.T) {
	t.Parallel()
	for i := range 6 {
		t.Run(fmt.Sprintf("F4 after %d ms", 60*i), func(t *testing.T) {
			t.Parallel()
			g := newGateway(t)
			g.env = []string{
				"SSO_UPSTREAM=127.0.0.1:3000", "SSO_BASE_URL=https://app.example.com", fmt.Sprintf("SSO_LISTEN=127.0.0.1:%d", gatewaytest.FreePort()), "SSO_HEALTH_LISTEN=off",
				"SSO_SAML_CORP_METADATA=https://127.0.0.1:1/", "SSO_ROLE_MAPPING=*=User", "SSO_SHUTDOWN_DELAY=0s",
			}
			proc, err := start(g.command("sidecar"))
			if err != nil {
				t.Fatal(err)
			}
			time.Sleep(time.Duration(60*i) * time.Millisecond)
			if err := proc.cmd.Process.Signal(syscall.SIGTERM); err != nil {
				t.Fatal(err)
			}
			eventually(t, "ended", 30*time.Second, proc.ended)
		})
	}
}

// TestHealthOfNothing asks for health without the sidecar's variables, where no Caddy runs.
func TestHealthOfNothing(t *testing.T) {
	t.Parallel()
	g := newGateway(t)
	g.env = []string{fmt.Sprintf("CADDY_ADMIN=127.0.0.1:%d", gatewaytest.FreePort())}
	out, err := g.command("health").CombinedOutput()
	if err == nil || !strings.Contains(string(out), "because SSO_UPSTREAM is not set") || !strings.Contains(string(out), "the sidecar's variables") {
		t.Errorf("%v: %s", err, out)
	}
}

// TestSidecarMistakes starts sidecars whose environment is wrong.
func TestSidecarMistakes(t *testing.T) {
	t.Parallel()
	good := []string{
		"SSO_UPSTREAM=127.0.0.1:3000", "SSO_BASE_URL=https://app.example.com", fmt.Sprintf("SSO_LISTEN=127.0.0.1:%d", gatewaytest.FreePort()), "SSO_HEALTH_LISTEN=off",
		"SSO_OIDC_CORP_ISSUER=https://id.example.com", "SSO_OIDC_CORP_CLIENT_ID=app", "SSO_OIDC_CORP_CLIENT_SECRET=hunter2", "SSO_ROLE_MAPPING=*=User",
	}
	for name, tt := range map[string]struct {
		more string
		want []string
	}{
		"C10 a misspelt variable":           {"SSO_OIDC_CORP_ISUER=https://id.example.com", []string{"SSO_OIDC_CORP_ISUER", "did you mean SSO_OIDC_CORP_ISSUER?"}},
		"C10 a fault in the rules":          {"SSO_GROUP_MAPPING=a=B,c", []string{"SSO_GROUP_MAPPING: column 6"}},
		"C10 a fault found when it starts":  {"SSO_REDIS_URL=redis://:hunter2@127.0.0.1:1", []string{"SSO_SECRET: required"}},
		"C10 switched off":                  {"SSO_ENABLED=false", []string{"SSO_ENABLED switches off"}},
		"C10 an address of another machine": {"SSO_LISTEN=[2001:db8::1]:8080", []string{"SSO_LISTEN: listen tcp"}},
	} {
		t.Run(name, func(t *testing.T) {
			t.Parallel()
			g := newGateway(t)
			g.env = append(good[:len(good):len(good)], tt.more)
			out, err := g.command("sidecar").CombinedOutput()
			if err == nil {
				t.Fatal("it ran")
			}
			for _, want := range tt.want {
				if !strings.Contains(string(out), want) {
					t.Errorf("it does not say %q:\n%s", want, out)
				}
			}
			if strings.Contains(string(out), "hunter2") {
				t.Errorf("it shows the secret:\n%s", out)
			}
		})
	}
}
