//go:build integration

package integration

import (
	"context"
	"encoding/json"
	"errors"
	"os"
	"os/exec"
	"path/filepath"
	"strings"
	"testing"
	"time"

	"github.com/chromedp/chromedp"
)

// A tab is one tab of a headless Chromium. Tabs of one browser share its
// cookies.
type tab struct {
	t   *testing.T
	ctx context.Context
}

// newBrowser starts a Chromium with a profile of its own that finds the tests'
// names on loopback and trusts the tests' authority, and returns its first tab.
// settings are what a person has set in it, as JSON of its preferences. Without any, the
// headless shell does, if there is one: it has the same engine and takes a fifth of the time.
func newBrowser(t *testing.T, settings ...string) *tab {
	t.Helper()
	profile, err := os.MkdirTemp(scratch, "chromium-")
	if err != nil {
		t.Fatal(err)
	}
	for _, s := range settings {
		if err := errors.Join(os.Mkdir(filepath.Join(profile, "Default"), 0o700), os.WriteFile(filepath.Join(profile, "Default", "Preferences"), []byte(s), 0o600)); err != nil {
			t.Fatal(err)
		}
	}
	opts := append(chromedp.DefaultExecAllocatorOptions[:],
		chromedp.NoSandbox, chromedp.DisableGPU, chromedp.UserDataDir(profile),
		chromedp.Flag("disable-quic", true),
		chromedp.Flag("disable-component-update", true),
		chromedp.Flag("host-resolver-rules", "MAP *.test 127.0.0.1"),
		chromedp.Flag("ignore-certificate-errors-spki-list", certificates(t).pin),
	)
	if shell, err := exec.LookPath("chromium-headless-shell"); err == nil && len(settings) == 0 {
		opts = append(opts, chromedp.ExecPath(shell))
	}
	allocator, endAllocator := chromedp.NewExecAllocator(context.Background(), opts...)
	ctx, _ := chromedp.NewContext(allocator)
	t.Cleanup(func() {
		bounded, cancel := context.WithTimeout(ctx, 10*time.Second)
		defer cancel()
		_ = chromedp.Cancel(bounded)
		endAllocator()
		_ = os.RemoveAll(profile)
	})
	if err := chromedp.Do(ctx); err != nil {
		t.Fatalf("starting Chromium: %v", err)
	}
	return &tab{t, ctx}
}

// open opens another tab of the same browser.
func (b *tab) open() *tab {
	b.t.Helper()
	ctx, cancel := chromedp.NewContext(b.ctx)
	b.t.Cleanup(cancel)
	if err := chromedp.Do(ctx); err != nil {
		b.t.Fatalf("opening a tab: %v", err)
	}
	return &tab{b.t, ctx}
}

const patience = 30 * time.Second

// do runs steps in the tab, within patience.
func (b *tab) do(what string, steps ...chromedp.Action[chromedp.Void]) {
	b.t.Helper()
	ctx, cancel := context.WithTimeout(b.ctx, patience)
	defer cancel()
	if err := chromedp.Do(ctx, steps...); err != nil {
		b.t.Fatalf("%s: %v\nthe tab shows %s", what, err, b.text())
	}
}

// navigate opens a URL. If the page before goes on by itself meanwhile, Chromium gives up
// the newer navigation: then a person would open the URL once more.
func (b *tab) navigate(target string) {
	b.t.Helper()
	ctx, cancel := context.WithTimeout(b.ctx, patience)
	defer cancel()
	err := chromedp.Do(ctx, chromedp.Navigate(target))
	if err != nil && strings.Contains(err.Error(), "net::ERR_ABORTED") {
		err = chromedp.Do(ctx, chromedp.Navigate(target))
	}
	if err != nil {
		b.t.Fatalf("opening %s: %v\nthe tab shows %s", target, err, b.text())
	}
}

// enter fills in Keycloak's form.
func (b *tab) enter(user, password string) {
	b.t.Helper()
	// Pages that go on by themselves come first: only one that stays has nodes
	// to be filled in.
	b.await("Keycloak's form", func() bool {
		there, err := run(b, chromedp.Evaluate[bool](painted+` && !!document.getElementById("username")`))
		return err == nil && there
	})
	b.do("filling in Keycloak's form",
		chromedp.WaitVisible(chromedp.CSS("#username")),
		chromedp.SendKeys(chromedp.CSS("#username"), user),
		chromedp.SendKeys(chromedp.CSS("#password"), password),
		chromedp.Click(chromedp.CSS("#kc-login")))
}

// atForm says whether the tab shows Keycloak's form.
func (b *tab) atForm() bool {
	there, err := run(b, chromedp.Evaluate[bool](`!!document.getElementById("username")`))
	return err == nil && there
}

// logOut ends the session at the site, as a person does on its page.
func (b *tab) logOut(base string) {
	b.t.Helper()
	b.navigate(base + "/.sso/logout")
	b.click("form button")
	b.await("the page after the logout", func() bool {
		there, err := run(b, chromedp.Evaluate[bool](painted))
		return err == nil && there && b.location() == base+"/.sso/logged-out"
	})
}

// app waits until the tab shows the app and returns what the app received.
func (b *tab) app() *received {
	b.t.Helper()
	var r received
	b.await("the app", func() bool {
		text, err := run(b, chromedp.Evaluate[string](`document.getElementById("received")?.textContent ?? ""`))
		return err == nil && text != "" && json.Unmarshal([]byte(text), &r) == nil
	})
	return &r
}

// await waits until ok.
func (b *tab) await(what string, ok func() bool) {
	b.t.Helper()
	for deadline := time.Now().Add(patience); !ok(); time.Sleep(50 * time.Millisecond) {
		if time.Now().After(deadline) {
			b.t.Fatalf("waiting for %s: the tab shows %s", what, b.text())
		}
	}
}

// awaitText waits until the page shows a text.
func (b *tab) awaitText(text string) {
	b.t.Helper()
	b.await("the text "+text, func() bool { return strings.Contains(b.text(), text) })
}

// location returns where the tab is.
func (b *tab) location() string {
	at, _ := run(b, chromedp.Location())
	return at
}

// text returns where the tab is and what it shows.
func (b *tab) text() string {
	text, err := run(b, chromedp.Evaluate[string](`location.href + ": " + (document.body?.innerText ?? "")`))
	if err != nil {
		return "nothing (" + err.Error() + ")"
	}
	return text
}

// painted says that a page is loaded and shown. Before, Chromium drops clicks, or they hit
// what stands there until the style sheet has come.
const painted = `document.readyState === "complete" && performance.getEntriesByType("paint").length > 0`

// click clicks on the first element that fits a CSS selector.
func (b *tab) click(selector string) {
	b.t.Helper()
	b.await("a page that is shown", func() bool {
		shown, err := run(b, chromedp.Evaluate[bool](painted))
		return err == nil && shown
	})
	b.do("clicking on "+selector, chromedp.Click(chromedp.CSS(selector)))
}

// run runs one action in the tab, within patience.
func run[T any](b *tab, action chromedp.Action[T]) (T, error) {
	ctx, cancel := context.WithTimeout(b.ctx, patience)
	defer cancel()
	return chromedp.Run(ctx, action)
}
