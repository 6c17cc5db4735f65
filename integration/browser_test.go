//go:build integration

package integration

import (
	"fmt"
	"strings"
	"testing"

	"github.com/chromedp/chromedp"
)

// origins are where the site stands for the browser: https on a name that is
// cross-site to Keycloak's 127.0.0.1, and plain http on loopback.
var origins = []string{"https://app.test", "http://localhost", "https://app.localhost"}

func TestBrowserSignsIn(t *testing.T) {
	t.Parallel()
	for _, origin := range origins {
		t.Run("F1 from the app's address to the app, "+origin, func(t *testing.T) {
			w := newWorld(t, worldOptions{oneByOne: true, origin: origin})
			b := newBrowser(t)
			b.navigate(w.base + "/deep/link?a=1#part")
			b.enter("alice", "alice")
			r := b.app()
			if r.Target != "/deep/link?a=1" || r.Identity == nil || r.Identity.Username != "alice" {
				t.Errorf("the app was asked for %s by %+v, %s", r.Target, r.Identity, r.AssertionError)
			}
			if at := b.location(); !strings.HasPrefix(at, w.base+"/deep/link?a=1") {
				t.Errorf("the browser is at %s", at)
			}
			again := b.open()
			again.navigate(w.base + "/again")
			if r := again.app(); r.Target != "/again" {
				t.Errorf("the second tab's app was asked for %s", r.Target)
			}
			b.logOut(w.base)
			if status, err := run(again, chromedp.Evaluate[int](`fetch("/api").then(r => r.status)`, chromedp.EvalAwaitPromise)); err != nil || status != 401 {
				t.Errorf("after the logout the other tab's request is answered %d, %v", status, err)
			}
		})
	}
}

// TestBrowserProviderLogout ends the provider's session too: on a page that goes
// on by itself, for a redirect is stopped by the policy of the page that asked.
func TestBrowserProviderLogout(t *testing.T) {
	t.Parallel()
	for _, origin := range origins {
		t.Run(origin, func(t *testing.T) {
			w := newWorld(t, worldOptions{oneByOne: true, origin: origin, block: "\t\tlogout provider"})
			b := newBrowser(t)
			b.navigate(w.base + "/")
			b.enter("bob", "bob")
			b.app()
			b.logOut(w.base)
			b.navigate(w.base + "/")
			b.await("the provider's form", b.atForm)
		})
	}
}

// TestBrowserOtherPerson links a signed-in person to a sign-in as somebody else:
// from another site, and from the app.
func TestBrowserOtherPerson(t *testing.T) {
	t.Parallel()
	w := newWorld(t, worldOptions{oneByOne: true})
	b := newBrowser(t)
	b.navigate(w.base + "/")
	b.enter("bob", "bob")
	b.app()
	signedIn := func() {
		t.Helper()
		if r := b.app(); r.Identity == nil || r.Identity.Username != "bob" {
			t.Errorf("the app was asked by %+v", r.Identity)
		}
	}
	other := w.base + "/.sso/login?as=other&return=%2Fstay"
	follow := func(link string) {
		t.Helper()
		b.do("following a link", chromedp.Evaluate[chromedp.Void](fmt.Sprintf("setTimeout(() => location = %q, 10)", link)))
	}
	atKeycloak := func() bool { // which asks for bob's password anew, or to begin again
		there, err := run(b, chromedp.Evaluate[bool](`document.readyState === "complete" && !!document.getElementById("password")`))
		return err == nil && there && strings.HasPrefix(b.location(), w.atIdP())
	}

	for _, choice := range []string{"main .actions > a", "form button"} {
		follow(other)
		b.await("Keycloak's form", atKeycloak)
		follow(other) // from there, another site
		b.awaitText("Sign in as somebody else?")
		b.click(choice)
		if choice == "form button" { // the policy of the page lets it lead to the provider
			b.await("Keycloak's form", atKeycloak)
			b.navigate(w.base + "/")
		}
		signedIn()
	}
}

// TestBrowserPages holds that our pages obey the policy they are sent with, those that post
// a SAML message too.
func TestBrowserPages(t *testing.T) {
	t.Parallel()
	w := newWorld(t, worldOptions{oneByOne: true})
	b := newBrowser(t)
	b.navigate(w.base + "/")
	b.enter("alice", "alice")
	b.app()
	for _, path := range []string{"/.sso/session", "/.sso/logout", "/.sso/nothing-here"} {
		page := b.open()
		page.obeysPolicies(func() {
			page.navigate(w.base + path)
			if n, err := run(page, chromedp.Evaluate[int](`document.styleSheets.length`)); err != nil || n == 0 {
				t.Errorf("%s has %d style sheets, %v", path, n, err)
			}
		})
	}
	saml := newBrowser(t)
	saml.obeysPolicies(func() {
		saml.navigate(newCrossSiteWorld(t, bindings()...).site("post").base + "/wanted")
		saml.enter("alice", "alice")
		saml.app()
	})
}

// obeysPolicies holds that the console complains of no policy during visit.
func (b *tab) obeysPolicies(visit func()) {
	b.t.Helper()
	messages := chromedp.Console(b.ctx)
	visit()
	b.do("marking the end of the console", chromedp.Evaluate[chromedp.Void](`console.log("the end")`))
	for m, err := range messages {
		if err != nil || strings.Contains(m.Text, "the end") {
			break
		}
		if strings.Contains(m.Text, "Content Security Policy") || strings.Contains(m.Text, "Refused") {
			b.t.Errorf("%s: %s", b.location(), m.Text)
		}
	}
}

// TestBrowserTwoTabs starts two logins side by side and finishes both, the
// second one first.
func TestBrowserTwoTabs(t *testing.T) {
	t.Parallel()
	w := newWorld(t, worldOptions{oneByOne: true})
	one := newBrowser(t)
	one.navigate(w.base + "/one")
	two := one.open()
	two.navigate(w.base + "/two")
	two.enter("bob", "bob")
	if r := two.app(); r.Target != "/two" {
		t.Errorf("the second tab's app was asked for %s", r.Target)
	}
	one.finish("bob")
	if r := one.app(); r.Target != "/one" {
		t.Errorf("the first tab's app was asked for %s", r.Target)
	}
}

// finish ends a login in a tab that waits at Keycloak while the person has
// signed in elsewhere: Keycloak goes on by itself, or once the person has used
// its form or its link.
func (b *tab) finish(user string) {
	b.t.Helper()
	const state = `document.getElementById("received") ? "app" :
		document.getElementById("username") ? "form" :
		document.querySelector("#kc-content a, #kc-error-message a") ? "link" : ""`
	for range 5 { // Keycloak may show its form anew
		at := ""
		b.await("Keycloak or the app", func() bool {
			at, _ = run(b, chromedp.Evaluate[string](state))
			return at != ""
		})
		switch at {
		case "app":
			return
		case "form":
			b.submitForm(user)
		case "link":
			b.follow()
		}
	}
}

// submitForm sends Keycloak's form, if it is still there, and waits for what
// comes after it.
func (b *tab) submitForm(user string) {
	b.t.Helper()
	sent, _ := run(b, chromedp.Evaluate[bool](fmt.Sprintf(`(() => {
		const f = document.getElementById("kc-form-login");
		if (!f) return false;
		document.getElementById("username").value = %q;
		document.getElementById("password").value = %q;
		window.formSent = true;
		f.submit();
		return true;
	})()`, user, user)))
	if sent {
		b.await("the answer to Keycloak's form", func() bool {
			still, err := run(b, chromedp.Evaluate[bool]("!!window.formSent"))
			return err == nil && !still
		})
	}
}

// follow follows Keycloak's link on to the application.
func (b *tab) follow() {
	_, _ = run(b, chromedp.Evaluate[bool](`(() => {
		const a = document.querySelector("#kc-content a, #kc-error-message a");
		if (a) a.click();
		return !!a;
	})()`))
}

// TestBrowserBetween changes the gateway while the browser is at the provider.
func TestBrowserBetween(t *testing.T) {
	t.Parallel()
	w := newWorld(t, worldOptions{})
	b := newBrowser(t)
	for name, change := range map[string]func(){"restart": w.gw.restart, "reload": w.gw.reload} {
		t.Run("E9 a "+name+" between redirect and answer", func(t *testing.T) {
			b := &tab{t, b.open().ctx}
			b.navigate(w.base + "/" + name)
			change()
			if strings.HasPrefix(b.location(), w.atIdP()) {
				b.enter("alice", "alice")
			}
			if r := b.app(); r.Target != "/"+name {
				t.Errorf("the app was asked for %s", r.Target)
			}
			b.logOut(w.base)
		})
	}
}

// TestBrowserLiveCut holds a WebSocket and an event stream in one tab and logs
// out in another.
func TestBrowserLiveCut(t *testing.T) {
	t.Parallel()
	w := newWorld(t, worldOptions{})
	b := newBrowser(t)
	b.navigate(w.base + "/")
	b.enter("alice", "alice")
	b.app()
	b.do("opening the connections", chromedp.Evaluate[chromedp.Void](`
		window.state = {};
		const ws = new WebSocket(location.origin.replace("http", "ws") + "/live/ws");
		ws.onopen = () => ws.send("hello");
		ws.onmessage = () => state.ws = "open";
		ws.onclose = () => state.ws = "closed";
		const es = new EventSource("/live/events");
		es.onmessage = () => state.es = "open";
		es.onerror = () => { state.es = "closed"; es.close(); };
	`))
	state := func() string {
		s, _ := run(b, chromedp.Evaluate[string](`(state.ws ?? "") + " " + (state.es ?? "")`))
		return s
	}
	b.await("both connections", func() bool { return state() == "open open" })
	other := b.open()
	other.logOut(w.base)
	b.await("both connections to end", func() bool { return state() == "closed closed" })
}

// TestBackAfterLogout goes back to a page of the app that the browser has kept as it
// was. Without a logout it shows that page, which is the control.
func TestBackAfterLogout(t *testing.T) {
	cl := newCluster(t, clusterOptions{oneByOne: true, bolt: "sessions.db"})
	b := trusting(newBrowser(t, `{}`)) // the headless shell keeps no pages
	mark := func() {
		t.Helper()
		b.navigate(cl.base + "/")
		b.app()
		b.do("marking the page", chromedp.Evaluate[chromedp.Void](`window.kept = "yes"`))
	}
	back := func(steps int) (kept bool) {
		t.Helper()
		b.do("going back", chromedp.Evaluate[chromedp.Void](fmt.Sprintf(`setTimeout(() => history.go(%d), 10)`, -steps)))
		b.await("the app's page", func() bool { return b.location() == cl.base+"/" })
		b.app()
		kept, err := run(b, chromedp.Evaluate[bool](`window.kept === "yes"`))
		if err != nil {
			t.Fatal(err)
		}
		return kept
	}
	mark()
	b.navigate(cl.base + "/.sso/session")
	if !back(1) {
		t.Fatal("this browser keeps no pages: the test proves nothing")
	}
	for steps, logOut := range map[int]func(){
		2: func() { b.logOut(cl.base) },
		1: func() { // by a form of the app
			b.do("signing out", chromedp.Evaluate[chromedp.Void](`const f = document.createElement("form");
				f.method = "post"; f.action = "/.sso/logout"; document.body.append(f); setTimeout(() => f.submit(), 10)`))
			b.await("the page after the logout", func() bool { return b.location() == cl.base+"/.sso/logged-out" })
		},
	} {
		mark()
		logOut()
		b.await("the image", func() bool {
			there, err := run(b, chromedp.Evaluate[bool](`document.querySelector("main img")?.complete === true`))
			return err == nil && there
		})
		if back(steps) {
			t.Errorf("%d steps back is the page that the person saw", steps)
		}
	}
}
