//go:build integration

package integration

import (
	"fmt"
	"net/http"
	"slices"
	"strings"
	"testing"

	"github.com/chromedp/cdproto/security"
	"github.com/chromedp/chromedp"

	"github.com/caddy-sso/caddy-sso/gateway/gatewaytest"
)

// TestBrowserLoops has Chromium meet what makes sign-ins go round in circles,
// at a provider that signs in who comes. Without the gateway's help it would end
// with the browser's own page.
func TestBrowserLoops(t *testing.T) {
	t.Parallel()
	t.Run("C13 cookies blocked by a setting", func(t *testing.T) {
		cl := newCluster(t, clusterOptions{oneByOne: true, bolt: "sessions.db"})
		b := trusting(newBrowser(t, `{"profile": {"default_content_setting_values": {"cookies": 2}}}`))
		b.navigate(cl.base + "/wanted")
		b.awaitText("cookies_blocked")
		b.wantSays("Allow cookies for this site", cl.base)
	})
	t.Run("C13 a proxy that drops all cookies", func(t *testing.T) {
		cl := newCluster(t, clusterOptions{oneByOne: true, bolt: "sessions.db"})
		b := trusting(newBrowser(t))
		b.navigate(dropping(t, cl, "") + "/wanted")
		b.awaitText("cookies_blocked")
	})
	t.Run("C13 a proxy that drops the session", func(t *testing.T) {
		cl := newCluster(t, clusterOptions{oneByOne: true, bolt: "sessions.db"})
		front := dropping(t, cl, "__Host-sso=")
		b := trusting(newBrowser(t))
		b.navigate(front + "/wanted")
		b.awaitText("redirect_loop")
		b.wantSays("your browser does not send this site's cookie", front)
		if n := len(cl.app.seen("/wanted")); n > 0 {
			t.Errorf("the app was reached %d times", n)
		}
		b.click("main .button") // try again: not yet
		b.awaitText("redirect_loop")
	})
	t.Run("C13 an app that sends to the login who is signed in", func(t *testing.T) {
		cl := newCluster(t, clusterOptions{
			oneByOne: true,
			bolt:     "sessions.db", site: "\troute {\n\t\theader Location /.sso/login?return=%2Fwanted\n\t\trespond 302\n\t}",
		})
		b := trusting(newBrowser(t))
		b.navigate(cl.base + "/wanted")
		b.awaitText("app_loop")
		b.wantSays("Signed in as alice", "tell the application's administrator")
	})
}

// trusting makes a tab take the certificates of gatewaytest's provider.
func trusting(b *tab) *tab {
	b.t.Helper()
	if _, err := chromedp.Call(b.ctx, security.SetIgnoreCertificateErrors, security.SetIgnoreCertificateErrorsParams{Ignore: true}); err != nil {
		b.t.Fatal(err)
	}
	return b
}

// wantSays checks what the tab shows.
func (b *tab) wantSays(parts ...string) {
	b.t.Helper()
	for _, part := range parts {
		if text := b.text(); !strings.Contains(text, part) {
			b.t.Errorf("it does not say %q: %s", part, text)
		}
	}
}

// dropping starts a proxy before the gateway that takes away the cookies that
// begin with prefix, and returns its origin.
func dropping(t *testing.T, cl *cluster, prefix string) string {
	t.Helper()
	proxy := proxyTo(t, cl.dialAddress(0))
	proxy.ModifyResponse = func(resp *http.Response) error {
		resp.Header["Set-Cookie"] = slices.DeleteFunc(resp.Header["Set-Cookie"], func(c string) bool { return strings.HasPrefix(c, prefix) })
		return nil
	}
	port := gatewaytest.FreePort()
	server := serveTLS(t, port, proxy)
	t.Cleanup(func() { _ = server.Close() })
	return fmt.Sprintf("https://%s:%d", cl.host, port)
}
