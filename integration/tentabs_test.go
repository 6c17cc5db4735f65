//go:build integration

package integration

import (
	"fmt"
	"testing"

	"github.com/chromedp/chromedp"
)

// Ten tabs at once take the whole machine, and other tests have bounds of time:
// the tests of this file run alone.

// TestBrowserTenTabs opens ten tabs at once without a session, as a browser
// does that restores its windows: all reach the app.
func TestBrowserTenTabs(t *testing.T) {
	for _, origin := range origins[:2] {
		t.Run("who is signed in at Keycloak, "+origin, func(t *testing.T) {
			w := newWorld(t, worldOptions{origin: origin})
			first := newBrowser(t)
			first.navigate(w.base + "/")
			first.enter("alice", "alice")
			first.app()
			first.logOut(w.base)
			for i, b := range openTen(first, w.base) {
				if r := b.app(); r.Target != fmt.Sprintf("/tab/%d", i) || r.Identity == nil || r.Identity.Username != "alice" {
					t.Errorf("tab %d: the app was asked for %s by %+v", i, r.Target, r.Identity)
				}
			}
		})
	}
	t.Run("who has to sign in first", func(t *testing.T) {
		w := newWorld(t, worldOptions{})
		tabs := openTen(newBrowser(t), w.base)
		for _, b := range tabs {
			b.await("Keycloak's form", b.atForm)
		}
		tabs[0].submitForm("alice")
		for i, b := range tabs {
			b.finish("alice")
			// Keycloak itself loses nine of ten logins that begin at once, and
			// goes on with the tenth in every tab: which page of the app it is
			// can't be held.
			if r := b.app(); r.Identity == nil || r.Identity.Username != "alice" {
				t.Errorf("tab %d: the app was asked for %s by %+v", i, r.Target, r.Identity)
			}
		}
	})
}

// openTen opens ten tabs at once, the first among them.
func openTen(first *tab, base string) []*tab {
	first.t.Helper()
	tabs := []*tab{first}
	for len(tabs) < 10 {
		tabs = append(tabs, first.open())
	}
	for i, b := range tabs {
		b.do("going", chromedp.Evaluate[chromedp.Void](fmt.Sprintf("setTimeout(() => location = %q, 10)", fmt.Sprintf("%s/tab/%d", base, i))))
	}
	return tabs
}

// TestBrowserSAMLTenTabs opens ten tabs at once without a session, as a browser
// does that restores its windows: all reach the app.
func TestBrowserSAMLTenTabs(t *testing.T) {
	for _, site := range bindings() {
		t.Run("D4 request by "+site.name, func(t *testing.T) {
			site.provider = byFile
			w := newSAMLWorld(t, samlOptions{idpHost: crossSiteIdP}, site)
			s := w.sites[0]
			first := newBrowser(t)
			first.navigate(s.base + "/")
			first.enter("alice", "alice")
			first.app()
			first.logOut(s.base)
			for i, b := range openTen(first, s.base) {
				if s.name == "post" {
					b.tryAgainIfRefused()
				}
				r := b.app()
				if r.Identity == nil || r.Identity.Username != "alice" {
					t.Errorf("tab %d: the app was told of %+v", i, r.Identity)
				}
				// If several requests are posted at once, Keycloak answers some twice and
				// others never, or refuses them. So the tab may end at another tab's page.
				if s.name == "redirect" && r.Target != fmt.Sprintf("/tab/%d", i) {
					t.Errorf("tab %d: the app was asked for %s", i, r.Target)
				}
			}
		})
	}
}

// tryAgainIfRefused waits for the app, or for a refusal that Keycloak causes: its own, or
// that of the second answer to one request. There it presses the button, after which the
// person must reach the app.
func (b *tab) tryAgainIfRefused() {
	b.t.Helper()
	const state = `document.getElementById("received") ? "app" : document.body?.innerText.match(/provider_refused|answer_replayed/)?.[0] ?? ""`
	at := ""
	b.await("the app, or a refusal that Keycloak causes", func() bool {
		at, _ = run(b, chromedp.Evaluate[string](state))
		return at != ""
	})
	if at != "app" {
		b.t.Log("one of ten was refused:", at)
		b.click("main a.button.primary")
	}
}
