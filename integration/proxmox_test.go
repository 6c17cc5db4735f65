//go:build integration

package integration

import (
	"context"
	"fmt"
	"io"
	"net/http"
	"net/url"
	"os"
	"path/filepath"
	"reflect"
	"regexp"
	"slices"
	"strings"
	"sync"
	"testing"
	"time"

	"github.com/chromedp/chromedp"
	"github.com/coder/websocket"

	"github.com/caddy-sso/caddy-sso/gateway/gatewaytest"
	"github.com/caddy-sso/caddy-sso/integration/proxmox"
)

// A proxmoxWorld is a cluster of two nodes behind a site, whose people come from a provider of
// the tests.
type proxmoxWorld struct {
	t       *testing.T
	base    string
	op      *gatewaytest.OP
	cluster *proxmox.Cluster
	g       *gateway
	token   string // of old nodes: sets groups
}

// setUp runs the commands of docs/proxmox.md at the node. Old nodes don't know all options.
func (w *proxmoxWorld) setUp(old bool) {
	w.t.Helper()
	text, err := os.ReadFile("../docs/proxmox.md")
	if err != nil {
		w.t.Fatal(err)
	}
	_, rest, found := strings.Cut(string(text), "\n## The node\n")
	_, rest, shell := strings.Cut(rest, "```sh\n")
	commands, _, _ := strings.Cut(rest, "```")
	if !found || !shell {
		w.t.Fatal("docs/proxmox.md has no commands for the node")
	}
	commands = strings.NewReplacer("https://pve.example.com", w.base, "SECRET", "pve-secret", "\\\n", "").Replace(commands)
	if old {
		commands = regexp.MustCompile(`--(groups-\w+|query-userinfo) \w+`).ReplaceAllString(commands, "")
	}
	for command := range strings.Lines(commands) {
		w.pveum(strings.TrimSpace(command))
	}
}

// newProxmoxWorld starts all. lines stand in the block of `as proxmox`. provider returns the
// site's first lines. Nil: people come from a provider of the tests.
func newProxmoxWorld(t *testing.T, settings proxmox.Settings, lines string, provider func(base string) string) *proxmoxWorld {
	t.Helper()
	pki, port := certificates(t), gatewaytest.FreePort()
	settings.Nodes, settings.Delay, settings.Roots = []string{"pve1", "pve2"}, time.Millisecond, pki.pool
	w := &proxmoxWorld{
		t: t, base: fmt.Sprintf("https://localhost:%d", port), op: gatewaytest.NewOP(t, gatewaytest.OPOptions{}),
		cluster: proxmox.Start(t, settings), g: newGateway(t),
	}
	w.op.ClientID, w.op.ClientSecret = "client", "plain"
	ca, nodes := filepath.Join(w.g.dir, "op.pem"), filepath.Join(w.g.dir, "nodes.pem")
	if provider == nil {
		provider = func(string) string {
			return fmt.Sprintf("sso oidc %s client plain {\n\t\tname corp\n\t\tca %s\n\t\trole admins admins", w.op.Issuer, ca)
		}
	}
	var certs []byte
	upstreams := ""
	for _, n := range w.cluster.Nodes {
		certs, upstreams = append(certs, n.PEM()...), upstreams+" "+n.URL
	}
	for file, content := range map[string][]byte{ca: w.op.Roots, nodes: certs} {
		if err := os.WriteFile(file, content, 0o600); err != nil {
			t.Fatal(err)
		}
	}
	if settings.Old {
		made, err := w.cluster.Pveum("user token add root@pam groups --privsep 0")
		if err != nil {
			t.Fatal(err)
		}
		w.token = fmt.Sprint(reflect.ValueOf(made).MapIndex(reflect.ValueOf("value")))
		file := filepath.Join(w.g.dir, "token")
		if err := os.WriteFile(file, []byte("root@pam!groups="+w.token), 0o600); err != nil {
			t.Fatal(err)
		}
		lines = strings.ReplaceAll(lines, "TOKEN", "{file."+file+"}")
	}
	w.setUp(settings.Old)
	w.g.write("\tsso {\n\t\tstore bolt\n\t}", fmt.Sprintf(`%s {
	tls %s %s
	%s
		public /pve-docs/*
		as proxmox {
			realm gw
			secret pve-secret
			%s
		}
	}
	reverse_proxy%s {
		lb_policy first
		lb_try_duration 5s
		fail_duration 10s
		transport http {
			tls_trust_pool file %s
		}
	}
}
`, w.base, pki.certFile, pki.keyFile, provider(w.base), lines, upstreams, nodes))
	w.g.start()
	return w
}

func (w *proxmoxWorld) pveum(command string) {
	w.t.Helper()
	if _, err := w.cluster.Pveum(command); err != nil {
		w.t.Fatalf("pveum %s: %v", command, err)
	}
}

// signIn opens a page as a new client, and signs in at the provider.
func (w *proxmoxWorld) signIn() (*client, *page) {
	w.t.Helper()
	c := newClient(w.t)
	var at string
	for deadline := time.Now().Add(30 * time.Second); at == "" && time.Now().Before(deadline); {
		at = c.stopBefore(w.op.Issuer, func() *page { return c.navigate(w.base + "/") }).header.Get("Location")
	}
	answer, err := w.op.Visit(at)
	if err != nil {
		w.t.Fatal(err)
	}
	return c, c.navigate(w.base + "/.sso/oidc/callback?" + answer.Encode())
}

var csrfOfPage = regexp.MustCompile(`UserName: '([^']*)',\s*CSRFPreventionToken: '([^']*)'`)

// signedIn returns the CSRF token of the interface, which must be alice's.
func (w *proxmoxWorld) signedIn(p *page) string {
	w.t.Helper()
	m := csrfOfPage.FindStringSubmatch(p.body)
	if p.status != http.StatusOK || m == nil || m[1] != "alice@gw" {
		w.t.Fatalf("expected the interface of alice, got %s\nthe cluster's log:\n%s\nthe gateway's:\n%s", p, strings.Join(w.cluster.Log(), "\n"), lastLines(w.g.log.String(), 20))
	}
	return m[2]
}

// post sends a form to the API as the interface does.
func (w *proxmoxWorld) post(c *client, path, csrf string, body io.Reader) *page {
	w.t.Helper()
	req, err := http.NewRequest(http.MethodPost, w.base+path, body)
	if err != nil {
		w.t.Fatal(err)
	}
	req.Header.Set("Content-Type", "application/x-www-form-urlencoded")
	if csrf != "" {
		req.Header.Set("CSRFPreventionToken", csrf)
	}
	return c.do(req)
}

func (w *proxmoxWorld) logins() int {
	return len(w.cluster.Requests(http.MethodPost, "/api2/json/access/openid/login"))
}

// TestProxmox tells the story of docs/proxmox.md: alice lands in the interface without a click,
// works there, and is out within a second when her login ends.
func TestProxmox(t *testing.T) {
	t.Parallel()
	w := newProxmoxWorld(t, proxmox.Settings{}, "api_tokens", nil)
	c, page := w.signIn()
	csrf := w.signedIn(page)

	t.Run("E2 the interface works", func(t *testing.T) {
		if p := w.post(c, "/api2/json/access/groups", csrf, strings.NewReader("groupid=made")); p.status != http.StatusOK {
			t.Errorf("an administrator's form: %s", p)
		}
		if p := w.post(c, "/api2/json/access/groups", "", strings.NewReader("groupid=forged")); p.status != http.StatusUnauthorized {
			t.Errorf("a form without the token: %s", p)
		}
		w.signedIn(c.navigate(w.base + "/"))
	})

	t.Run("E2 a body without a length", func(t *testing.T) {
		body := io.MultiReader(strings.NewReader("groupid=chunked")) // net/http does not know its length
		if p := w.post(c, "/api2/json/access/groups", csrf, body); p.status != http.StatusOK {
			t.Errorf("it is answered %s", p)
		}
	})

	t.Run("E2 the interface renews its ticket", func(t *testing.T) {
		at := c.url(w.base)
		var ticket string
		for _, cookie := range c.http.Jar.Cookies(at) {
			if cookie.Name == "PVEAuthCookie" {
				ticket, _ = url.QueryUnescape(cookie.Value)
			}
		}
		before := w.logins()
		w.cluster.Move(2 * time.Second) // another ticket
		p := w.post(c, "/api2/extjs/access/ticket", csrf, strings.NewReader(url.Values{"username": {"alice@gw"}, "password": {ticket}}.Encode()))
		m := regexp.MustCompile(`"ticket":"([^"]*)"`).FindStringSubmatch(p.body)
		if m == nil || m[1] == ticket {
			t.Fatalf("no new ticket: %s", p)
		}
		c.http.Jar.SetCookies(at, []*http.Cookie{{Name: "PVEAuthCookie", Value: url.QueryEscape(m[1]), Path: "/", Secure: true}})
		if w.signedIn(c.navigate(w.base + "/")); w.logins() != before {
			t.Errorf("%d logins", w.logins()-before)
		}
	})

	t.Run("E2 many requests at once are one login", func(t *testing.T) {
		other, _ := w.signIn()
		others := other.http.Jar.Cookies(other.url(w.base))
		before := w.logins()
		w.g.reload() // the new configuration remembers no ticket
		var all sync.WaitGroup
		for range 100 {
			all.Go(func() {
				req, _ := http.NewRequest(http.MethodGet, w.base+"/api2/json/version", nil)
				for _, cookie := range others {
					if !strings.HasPrefix(cookie.Name, "PVE") {
						req.AddCookie(cookie)
					}
				}
				resp, err := other.http.Transport.RoundTrip(req)
				if err != nil || resp.StatusCode != http.StatusOK {
					t.Errorf("%v, %v", resp, err)
					return
				}
				_ = resp.Body.Close()
			})
		}
		if all.Wait(); w.logins() != before+1 {
			t.Errorf("%d logins", w.logins()-before)
		}
	})

	t.Run("E2 an API token passes alone", func(t *testing.T) {
		w.pveum("user token add root@pam api --privsep 0")
		c := newClient(t)
		p := w.post(c, "/api2/json/access/groups", "", nil)
		if p.status != http.StatusUnauthorized || !strings.Contains(p.body, "unauthenticated") {
			t.Errorf("without a token: %s", p)
		}
		req, _ := http.NewRequest(http.MethodGet, w.base+"/api2/json/version", nil)
		req.Header.Set("Authorization", "PVEAPIToken=root@pam!api=wrong")
		if p := c.do(req); p.status != http.StatusUnauthorized || strings.Contains(p.body, "unauthenticated") {
			t.Errorf("a wrong token is the node's to refuse: %s", p)
		}
	})

	t.Run("E2 what the node gets", func(t *testing.T) {
		other := newClient(t)
		other.navigate(w.base + "/pve-docs/index.html")
		public := w.cluster.Requests(http.MethodGet, "/pve-docs/index.html")
		if len(public) != 1 || public[0].Header["Cookie"] != nil {
			t.Errorf("a public path: %v", public)
		}
		for _, r := range w.cluster.Requests(http.MethodGet, "/") {
			if lines := r.Header["Cookie"]; len(lines) != 1 || strings.Contains(lines[0], ";") || r.Header["X-Sso-Assertion"] != nil || r.Header["Remote-User"] != nil {
				t.Errorf("a page: %v", r.Header)
			}
		}
	})

	t.Run("E2 one node is down", func(t *testing.T) {
		w.cluster.Nodes[0].Down()
		defer func() {
			if err := w.cluster.Nodes[0].Up(); err != nil {
				t.Error(err)
			}
		}()
		_, p := w.signIn()
		w.signedIn(p)
	})

	t.Run("E2 the login ends", func(t *testing.T) {
		ctx, cancel := context.WithTimeout(t.Context(), time.Minute)
		defer cancel()
		conn, _, err := websocket.Dial(ctx, w.base+"/api2/json/nodes/pve1/vncwebsocket?port=5900&vncticket=x", &websocket.DialOptions{
			HTTPClient: &http.Client{Jar: c.http.Jar, Transport: c.http.Transport}, HTTPHeader: http.Header{"Origin": {w.base}},
		})
		if err != nil {
			t.Fatal(err)
		}
		if err := conn.Write(ctx, websocket.MessageText, []byte("hello")); err != nil {
			t.Fatal(err)
		}
		if _, msg, err := conn.Read(ctx); err != nil || string(msg) != "hello" {
			t.Fatalf("the console says %q, %v", msg, err)
		}
		ended := untilEnd(func() { _, _, _ = conn.Read(ctx) })
		began := time.Now()
		c.logOut(w.base)
		if took := (<-ended).Sub(began); took > 20*time.Second {
			t.Errorf("the console ended after %v", took)
		}
		if slices.ContainsFunc(c.http.Jar.Cookies(c.url(w.base)), func(cookie *http.Cookie) bool { return strings.HasPrefix(cookie.Name, "PVE") }) {
			t.Error("the browser keeps the ticket")
		}
	})
}

// TestBrowserProxmox: in Chromium, a person of a SAML provider is in the interface without a
// click. When the login ends, so does the console, and the ticket is gone.
func TestBrowserProxmox(t *testing.T) {
	t.Parallel()
	kc, pki := theKeycloak(t), certificates(t)
	w := newProxmoxWorld(t, proxmox.Settings{}, "", func(base string) string {
		kc.samlClient(t, base+"/.sso/saml/metadata", base+"/.sso/saml/acs", nil)
		return fmt.Sprintf("sso saml %s%s/descriptor {\n\t\tname corp\n\t\tca %s\n\t\trole admins \"Caddy Admins\"", kc.base(), samlPath, pki.caFile)
	})
	b := newBrowser(t)
	b.navigate(w.base + "/")
	b.enter("alice", "alice")
	says := func(what, script string, ok func(string) bool) {
		t.Helper()
		b.await(what, func() bool {
			got, err := run(b, chromedp.Evaluate[string](script))
			return err == nil && ok(got)
		})
	}
	is := func(want string) func(string) bool { return func(got string) bool { return got == want } }
	says("E2 the interface has the user", `"" + (window.Proxmox || {}).UserName`, is("alice@gw"))
	says("E2 it has a CSRF token", `"" + Proxmox.CSRFPreventionToken`, func(got string) bool { return len(got) > 8 })
	says("E2 its script reads the ticket, and not the seal", `document.cookie`, func(got string) bool {
		return strings.HasPrefix(got, "PVEAuthCookie=PVE%3Aalice%40gw%3A") && !strings.Contains(got, "Seal")
	})
	b.do("opening a console", chromedp.Evaluate[chromedp.Void](`(() => {
		window.said = "";
		const console = new WebSocket(location.origin.replace("https", "wss") + "/api2/json/nodes/pve1/vncwebsocket?port=5900&vncticket=x");
		console.onopen = () => console.send("hello");
		console.onmessage = m => { window.said = "" + (m.data.text ? "hello" : m.data) };
		console.onclose = () => { window.said = "closed at " + Date.now() };
	})()`))
	says("E2 the console echoes", `window.said`, is("hello"))
	other := b.open()
	other.logOut(w.base)
	says("E2 the console is closed", `window.said`, func(got string) bool { return strings.HasPrefix(got, "closed at ") })
	says("E2 the ticket is gone", `document.cookie`, func(got string) bool { return !strings.Contains(got, "PVE") })
}

// TestProxmoxOld: before libpve-access-control 8.2.1 the gateway sets the groups.
func TestProxmoxOld(t *testing.T) {
	t.Parallel()
	w := newProxmoxWorld(t, proxmox.Settings{Old: true}, "group_token TOKEN", nil)
	c, p := w.signIn()
	if p := w.post(c, "/api2/json/access/groups", w.signedIn(p), strings.NewReader("groupid=made")); p.status != http.StatusOK {
		t.Errorf("an administrator's form: %s\n%s", p, strings.Join(w.cluster.Log(), "\n"))
	}
	for line := range strings.Lines(w.g.log.String()) {
		if strings.Contains(line, w.token) {
			t.Errorf("the log has the token: %.400s", line)
		}
	}
}

// TestProxmoxFaults has what is wrong named on the page and in the log.
func TestProxmoxFaults(t *testing.T) {
	t.Parallel()
	w := newProxmoxWorld(t, proxmox.Settings{}, "", nil)
	for _, tt := range []struct{ code, breaks, mends string }{
		{"proxmox_issuer", "realm modify gw --issuer-url " + w.base + "/.sso/op/", "realm modify gw --issuer-url " + w.base + "/.sso/op"},
		{"proxmox_discovery", "realm modify gw --issuer-url https://nowhere.invalid", "realm modify gw --issuer-url " + w.base + "/.sso/op"},
		{"proxmox_secret", "realm modify gw --client-key wrong", "realm modify gw --client-key pve-secret"},
	} {
		t.Run("E2 "+tt.code, func(t *testing.T) {
			w.pveum(tt.breaks)
			_, p := w.signIn()
			if !strings.Contains(p.body, tt.code) {
				t.Errorf("the page is %s\n%s", p, strings.Join(w.cluster.Log(), "\n"))
			}
			w.pveum(tt.mends)
		})
	}
	_, p := w.signIn()
	w.signedIn(p)
}
