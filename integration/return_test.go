//go:build integration

package integration

import (
	"fmt"
	"strings"
	"testing"

	"github.com/chromedp/chromedp"
)

// TestBrowserFragment keeps the fragment of an address, whatever is on the way: the
// chooser, the provider's own form, and the forms by which SAML asks and answers.
func TestBrowserFragment(t *testing.T) {
	t.Parallel()
	const wanted = "/deep/link?a=1&b=%5C#v1:0:18:4:::/é ü?x#y"
	shown := func(t *testing.T, b *tab, at string) {
		t.Helper()
		r := b.app()
		if target, _, _ := strings.Cut(at, "#"); r.Target != target || r.Identity == nil || r.Identity.Username != "alice" {
			t.Errorf("the app was asked for %s by %+v", r.Target, r.Identity)
		}
		_, want, _ := strings.Cut(at, "#")
		fragment, err := run(b, chromedp.Evaluate[string]("decodeURIComponent(location.hash)"))
		if err != nil || strings.TrimPrefix(fragment, "#") != want {
			t.Errorf("the fragment is %q, %v; the browser is at %s", fragment, err, b.location())
		}
		history, err := run(b, chromedp.NavigationEntries())
		if err != nil {
			t.Fatal(err)
		}
		for _, entry := range history.Entries {
			if strings.Contains(entry.URL, "/.sso/login?provider") {
				t.Errorf("the button back leads to %s", entry.URL)
			}
		}
	}
	for name, site := range map[string]func(t *testing.T) (base string){
		"by OpenID Connect": func(t *testing.T) string { return newWorld(t, worldOptions{oneByOne: true}).base },
		"by SAML":           func(t *testing.T) string { return newCrossSiteWorld(t, samlSite{name: "redirect"}).sites[0].base },
		"by SAML, asked by form": func(t *testing.T) string {
			return newCrossSiteWorld(t, samlSite{name: "post", block: "\t\trequest_binding post"}).sites[0].base
		},
	} {
		t.Run(name, func(t *testing.T) {
			t.Parallel()
			base := site(t)
			first := newBrowser(t)
			second := first.open()
			first.navigate(base + wanted)
			second.navigate(base + "/second#tab")
			first.await("the first form", first.atForm)
			second.enter("alice", "alice")
			shown(t, second, "/second#tab")
			first = first.open() // Keycloak's page in the old tab goes on by itself now
			first.navigate(base + wanted)
			shown(t, first, wanted)
			first.logOut(base)
			first.navigate(base + wanted) // and the provider may still know alice
			first.finish("alice")
			shown(t, first, wanted)
			first.logOut(base)
			first.navigate(base + "/without?a")
			first.finish("alice")
			shown(t, first, "/without?a")
			long := "/long#" + strings.Repeat("a", 7000)
			first.logOut(base)
			first.navigate(base + long)
			first.finish("alice")
			shown(t, first, long)
			first.logOut(base)
			first.navigate(base + "/longer#" + strings.Repeat("a", 10000))
			first.finish("alice")
			shown(t, first, "/longer")
		})
	}
	t.Run("by the chooser", func(t *testing.T) {
		t.Parallel()
		w := newWorld(t, worldOptions{oneByOne: true, block: "\t\tautologin off"})
		b := newBrowser(t)
		b.navigate(w.base + wanted)
		b.click("main a.button")
		b.enter("alice", "alice")
		shown(t, b, wanted)
	})
	t.Run("lost if the site lets no script run", func(t *testing.T) {
		t.Parallel()
		w := newWorld(t, worldOptions{oneByOne: true, site: `	header >Content-Security-Policy "script-src 'none'"`})
		b := newBrowser(t)
		b.navigate(w.base + wanted)
		b.enter("alice", "alice")
		b.app()
	})
	t.Run("lost without scripts", func(t *testing.T) {
		t.Parallel()
		w := newWorld(t, worldOptions{oneByOne: true})
		b := newBrowser(t, noScript)
		b.navigate(w.base + wanted)
		b.enter("alice", "alice")
		shown(t, b, "/deep/link?a=1&b=%5C")
	})
}

// TestBrowserServiceWorker opens a page through a service worker of the app's when
// the session is over: the person comes to the provider as without it.
func TestBrowserServiceWorker(t *testing.T) {
	t.Parallel()
	w := newWorld(t, worldOptions{oneByOne: true, site: `	header /worker.js Content-Type text/javascript
	respond /worker.js ` + "`addEventListener('activate', e => e.waitUntil(clients.claim())); addEventListener('fetch', e => e.respondWith(fetch(e.request)))`"})
	b := newBrowser(t)
	b.navigate(w.base + "/")
	b.enter("alice", "alice")
	b.app()
	b.do("installing the service worker", chromedp.Evaluate[chromedp.Void](`navigator.serviceWorker.register("/worker.js")`))
	b.await("the service worker", func() bool {
		ready, err := run(b, chromedp.Evaluate[bool]("!!navigator.serviceWorker.controller"))
		return err == nil && ready
	})
	b.navigate(w.base + "/through")
	if r := b.app(); r.Target != "/through" {
		t.Errorf("the app was asked for %s", r.Target)
	}
	other := b.open()
	other.logOut(w.base)
	b.navigate(w.base + "/again?a=1") // Keycloak still knows alice
	if r := b.app(); r.Target != "/again?a=1" {
		t.Errorf("the app was asked for %s", r.Target)
	}
}

// TestBrowserFrame shows a frame of the app's when the session is over: it offers
// to sign in, in the whole window, and leads back to the page around it.
func TestBrowserFrame(t *testing.T) {
	t.Parallel()
	w := newWorld(t, worldOptions{oneByOne: true, block: "\t\tpublic /outer", site: `	header /outer Content-Type text/html
	respond /outer ` + "`<iframe src=/inner width=800 height=600></iframe>`"})
	b := newBrowser(t)
	b.navigate(w.base + "/outer")
	inner := func(expression string) string {
		text, _ := run(b, chromedp.Evaluate[string](fmt.Sprintf(`String(document.querySelector("iframe")?.contentDocument?.%s)`, expression)))
		return text
	}
	b.await("the page in the frame", func() bool { return strings.Contains(inner("body?.innerText"), "unauthenticated") })
	b.do("signing in from the frame", chromedp.Evaluate[chromedp.Void](`document.querySelector("iframe").contentDocument.querySelector("main a.button").click()`))
	b.enter("alice", "alice")
	b.await("the page around the frame", func() bool { return b.location() == w.base+"/outer" })
	b.await("the app in the frame", func() bool { return strings.Contains(inner(`getElementById("received")?.textContent`), "alice") })
}

// TestBrowserRefused reloads the page of a refusal, whose address had a code, or was
// posted to: it says the same as before.
func TestBrowserRefused(t *testing.T) {
	t.Parallel()
	refused := func(t *testing.T, b *tab, base string) {
		t.Helper()
		b.enter("carol", "carol")
		b.awaitText("no access")
		b.await("an address of its own", func() bool { return b.location() == base+"/.sso/refused" })
		first := b.text()
		if !strings.Contains(first, " as carol.") {
			t.Errorf("the page says %s", first)
		}
		b.do("marking the page", chromedp.Evaluate[chromedp.Void]("window.here = true"))
		b.do("reloading", chromedp.Reload())
		b.await("the page again", func() bool {
			still, err := run(b, chromedp.Evaluate[bool]("!!window.here"))
			return err == nil && !still && b.text() == first
		})
		b.navigate(base + "/.sso/session")
		if text := b.text(); !strings.Contains(text, " as carol.") || !strings.Contains(text, "access_denied") {
			t.Errorf("the session's page says %s", text)
		}
	}
	t.Run("by OpenID Connect", func(t *testing.T) {
		t.Parallel()
		w := newWorld(t, worldOptions{oneByOne: true})
		b := newBrowser(t)
		b.navigate(w.base + "/wanted")
		refused(t, b, w.base)
	})
	t.Run("by SAML", func(t *testing.T) {
		t.Parallel()
		w := newCrossSiteWorld(t, samlSite{name: "redirect"})
		b := newBrowser(t)
		b.navigate(w.sites[0].base + "/wanted")
		refused(t, b, w.sites[0].base)
	})
}
