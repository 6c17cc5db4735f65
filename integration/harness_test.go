//go:build integration

package integration

import (
	"fmt"
	"net/http"
	"strings"
	"testing"

	"github.com/caddy-sso/caddy-sso/gateway/gatewaytest"
)

// TestHarness holds the pieces themselves, without the product's part: what
// they show of a plain Caddy is known.
func TestHarness(t *testing.T) {
	t.Parallel()
	p := certificates(t)
	a := newApp(t)
	g := newGateway(t)
	port := gatewaytest.FreePort()
	base := fmt.Sprintf("https://app.test:%d", port)
	site := func(header string) string {
		return fmt.Sprintf("%s {\n\ttls %s %s\n\theader Version %s\n\treverse_proxy %s\n}\n", base, p.certFile, p.keyFile, header, a.address())
	}
	g.write("", site("one"))
	g.start()
	c := newClient(t)

	t.Run("the app says what it received", func(t *testing.T) {
		page := c.fetch(base + "/here?x=y")
		r := c.echoed(page)
		if r.Target != "/here?x=y" || r.Header.Get("X-Forwarded-Host") == "" || !strings.HasPrefix(r.Raw, "GET /here?x=y HTTP/1.1\r\n") {
			t.Errorf("it says %+v", r)
		}
		if got := page.header.Get("Version"); got != "one" {
			t.Errorf("the site's version is %q", got)
		}
	})
	t.Run("a browser trusts the authority and finds the names", func(t *testing.T) {
		b := newBrowser(t)
		b.navigate(base + "/browser")
		if r := b.app(); r.Target != "/browser" {
			t.Errorf("the app received %s", r.Target)
		}
		other := b.open()
		other.navigate(base + "/other")
		if r := other.app(); r.Target != "/other" {
			t.Errorf("the app received %s in the second tab", r.Target)
		}
	})
	t.Run("reload takes the Caddyfile anew", func(t *testing.T) {
		g.write("", site("two"))
		g.reload()
		if got := c.fetch(base + "/").header.Get("Version"); got != "two" {
			t.Errorf("the site's version is %q", got)
		}
	})
	t.Run("restart", func(t *testing.T) {
		before := g.proc.cmd.Process.Pid
		g.restart()
		if g.proc.cmd.Process.Pid == before {
			t.Error("it is still the same process")
		}
		c.echoed(c.fetch(base + "/"))
	})
}

func TestKeycloakAndRelay(t *testing.T) {
	t.Parallel()
	k := theKeycloak(t)
	r := newRelay(t, k.port)
	discovery := k.issuer(r.port) + "/.well-known/openid-configuration"
	get := func() (*http.Response, error) {
		tr := transport(certificates(t))
		defer tr.CloseIdleConnections()
		return (&http.Client{Transport: tr}).Get(discovery)
	}
	if resp, err := get(); err == nil {
		_ = resp.Body.Close()
		t.Fatal("a relay that is down answers")
	}
	r.up()
	c := newClient(t)
	p := c.fetch(discovery)
	if want := fmt.Sprintf(`"issuer":%q`, k.issuer(r.port)); p.status != http.StatusOK || !strings.Contains(p.body, want) {
		t.Fatalf("no %s in %s", want, p)
	}
	kc := k.client(t, "https://app.test:1")
	authorize := k.issuer(r.port) + "/protocol/openid-connect/auth?response_type=code&scope=openid&client_id=" + kc.id +
		"&redirect_uri=https://app.test:1/.sso/oidc/callback&code_challenge_method=S256&code_challenge=" + strings.Repeat("a", 43)
	for user, want := range map[string]string{"bob": "https://app.test:1/.sso/oidc/callback?", "mallory": ""} {
		c := newClient(t)
		answer := c.stopBefore("https://app.test:1/", func() *page { return c.signIn(authorize, user) })
		if got := answer.header.Get("Location"); want != "" && !strings.HasPrefix(got, want) || want == "" && got != "" {
			t.Errorf("%s is sent to %q, want %q", user, got, want)
		}
	}
	r.down()
	if resp, err := get(); err == nil {
		_ = resp.Body.Close()
		t.Error("a relay that went down answers")
	}
}
