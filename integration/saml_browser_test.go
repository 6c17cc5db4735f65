//go:build integration

package integration

import (
	"fmt"
	"strings"
	"testing"

	"github.com/chromedp/chromedp"
)

// The site is at *.one.test and Keycloak at idp.test: to a browser these are
// two sites, as app.example and idp.example are. Ports of one host are not.
const crossSiteIdP = "idp.test"

// byFile is a provider whose metadata are a file: the gateway does not find
// Keycloak's name.
func byFile(w *samlWorld, s *samlSite) string { return "saml " + w.metadataFile(s) }

func newCrossSiteWorld(t *testing.T, sites ...samlSite) *samlWorld {
	t.Helper()
	for i := range sites {
		sites[i].provider = byFile
	}
	return newSAMLWorld(t, samlOptions{oneByOne: true, idpHost: crossSiteIdP}, sites...)
}

// bindings are sites whose requests go by redirect and by POST.
func bindings() []samlSite {
	return []samlSite{{name: "redirect"}, {name: "post", block: "\t\trequest_binding post"}}
}

// noScript and noCookies are what people set in a browser: no JavaScript
// anywhere, and no cookies at the site of the tests.
const noScript = `{"profile": {"default_content_setting_values": {"javascript": 2}}}`

func noCookies(s *samlSite) string {
	return fmt.Sprintf(`{"profile": {"content_settings": {"exceptions": {"cookies": {"%s,*": {"setting": 2}}}}}}`, s.base)
}

func TestBrowserSAML(t *testing.T) {
	t.Parallel()
	w := newCrossSiteWorld(t, bindings()...)
	for _, s := range w.sites {
		t.Run("D4 from the app's address to the app, request by "+s.name, func(t *testing.T) {
			b := newBrowser(t)
			b.navigate(s.base + "/deep/link?a=1")
			b.enter("alice", "alice")
			r := b.app()
			if r.Target != "/deep/link?a=1" || r.Identity == nil || r.Identity.Username != "alice" {
				t.Errorf("the app was asked for %s by %+v, %s", r.Target, r.Identity, r.AssertionError)
			}
			history, err := run(b, chromedp.NavigationEntries())
			if err != nil {
				t.Fatal(err)
			}
			for _, entry := range history.Entries {
				if strings.Contains(entry.URL, "/.sso/") {
					t.Errorf("the history has %s", entry.URL)
				}
			}
			again := b.open()
			again.navigate(s.base + "/again")
			if r := again.app(); r.Target != "/again" {
				t.Errorf("the second tab's app was asked for %s", r.Target)
			}

			t.Log("the button back leads to the app again, by whatever the provider shows")
			b.do("going back", chromedp.Evaluate[chromedp.Void]("window.here = true; setTimeout(() => history.back(), 10)"))
			b.await("another page", func() bool {
				still, err := run(b, chromedp.Evaluate[bool]("!!window.here"))
				return err == nil && !still
			})
			b.finish("alice")
			if r := b.app(); r.Identity == nil || r.Identity.Username != "alice" {
				t.Errorf("after going back the app was told of %+v", r.Identity)
			}
			b.logOut(s.base)
			b.navigate(s.base + "/third")
			if r := b.app(); r.Target != "/third" || r.Identity == nil || r.Identity.Username != "alice" {
				t.Errorf("who is signed in at the provider: the app was asked for %s by %+v", r.Target, r.Identity)
			}
		})
	}
}

// TestBrowserSAMLNoScript signs in where no script runs, by buttons.
func TestBrowserSAMLNoScript(t *testing.T) {
	t.Parallel()
	w := newCrossSiteWorld(t, bindings()...)
	b := newBrowser(t, noScript)
	for _, s := range w.sites {
		t.Run("D4 request by "+s.name, func(t *testing.T) {
			b := &tab{t, b.open().ctx}
			b.navigate(s.base + "/wanted?x=1")
			if s.name == "post" {
				b.awaitText("Continue")
				b.click("form button")
			}
			if s == w.sites[0] {
				b.enter("alice", "alice")
			}
			b.do("passing Keycloak's page without a script",
				chromedp.WaitReady(chromedp.CSS("input[name=SAMLResponse]")), chromedp.Click(chromedp.CSS("form input[type=submit]")))
			b.await("our page without a script", func() bool { return b.location() == s.acs() })
			b.click("form button")
			if r := b.app(); r.Target != "/wanted?x=1" || r.Identity == nil || r.Identity.Username != "alice" {
				t.Errorf("the app was asked for %s by %+v", r.Target, r.Identity)
			}
		})
	}
}

// TestBrowserSAMLNoCookies holds that a browser which keeps no cookies here is
// told so, and not sent round in circles.
func TestBrowserSAMLNoCookies(t *testing.T) {
	t.Parallel()
	w := newCrossSiteWorld(t, bindings()...)
	for _, s := range w.sites {
		t.Run("C13 request by "+s.name, func(t *testing.T) {
			b := newBrowser(t, noCookies(s))
			b.navigate(s.base + "/wanted")
			b.enter("bob", "bob")
			b.awaitText("cookies_blocked")
			if at := b.location(); at != s.acs() {
				t.Errorf("the browser is at %s", at)
			}
			if n := len(s.app.seen("/wanted")); n != 0 {
				t.Errorf("the app saw %d requests", n)
			}
		})
	}
}
