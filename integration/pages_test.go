//go:build integration

package integration

import (
	"fmt"
	"maps"
	"path/filepath"
	"reflect"
	"slices"
	"strings"
	"testing"
	"time"

	"github.com/chromedp/cdproto/emulation"
	"github.com/chromedp/chromedp"

	"github.com/caddy-sso/caddy-sso/gateway/pages"
	"github.com/caddy-sso/caddy-sso/gateway/refusal"
)

// Values as they come: long ones, of many parts, from right to left, in wide
// letters, and without a place to break.
var (
	chrome     = pages.Chrome{Prefix: "/.sso", App: "grafana.example.com"}
	longChrome = pages.Chrome{Prefix: "/.sso", App: "a-rather-long-name-of-an-application.department.subsidiary.holding.example.com"}
	branded    = pages.Chrome{Prefix: "/.sso", App: "Team wiki", Brand: pages.Brand{Logo: wideLogo, Help: "https://help.example.com/a-rather-long/address-of-the-help-desk?topic=sign-in"}}
	longName   = "Dr. Maximiliane-Alexandra Freifrau von Hohenlohe-Waldenburg-Schillingsfürst"
	longWord   = strings.Repeat("unbreakable", 12)
	rtlName    = "محمد بن عبد الله (الإدارة)"
)

// wideLogo is a company's, wider than it is high.
var wideLogo, _ = pages.NewLogo([]byte(`<svg xmlns="http://www.w3.org/2000/svg" viewBox="0 0 300 60"><rect width="300" height="60" rx="8" fill="#17663a"/><circle cx="30" cy="30" r="16" fill="#fff"/></svg>`))

// shownPages are all kinds of pages in all forms, by name.
func shownPages() map[string]any {
	choice := func(name, label string) pages.Choice {
		return pages.Choice{Name: name, Label: label, URL: "/.sso/login?provider=" + name + "&return=%2F"}
	}
	last := choice("partner", "Müller & Söhne")
	last.Last = true
	longLast := choice("long", longName)
	longLast.Last = true
	var groups []string
	for i := range 60 {
		groups = append(groups, fmt.Sprintf("team-%d", i*i))
	}
	person := pages.Session{
		Chrome: chrome, Since: time.Now(), LogoutURL: "/.sso/logout",
		Username: "alice", Email: "alice@example.com", Name: "Alice Liddell", Provider: "corp", Template: "engineering",
		Roles: []string{"Admin", "Editor"}, Groups: []string{"staff", `DOMAIN\Net Ops`}, Expires: time.Now().Add(7 * time.Hour),
	}
	odd := pages.Session{
		Chrome: longChrome, Since: time.Now(), LogoutURL: "/.sso/logout",
		Username: longWord, Email: longWord + "@example.com", Name: rtlName, Provider: "partners", Roles: []string{rtlName, longWord},
		Groups: groups, Expires: time.Now().Add(time.Minute),
	}
	fields := []pages.Field{{Name: "SAMLResponse", Value: strings.Repeat("PHNhbWw+", 300)}, {Name: "RelayState", Value: "state"}}
	shown := map[string]any{
		"chooser":            pages.Chooser{Chrome: chrome, Choices: []pages.Choice{choice("corp", "Corporate account"), choice("partner", "Müller & Söhne")}},
		"chooser-last":       pages.Chooser{Chrome: chrome, Choices: []pages.Choice{last, choice("corp", "Corporate account"), choice("guest", "Guests")}},
		"chooser-long":       pages.Chooser{Chrome: longChrome, Choices: []pages.Choice{longLast, choice("rtl", rtlName), choice("word", longWord), choice("cjk", "株式会社東京シングルサインオン")}},
		"chooser-one":        pages.Chooser{Chrome: chrome, Choices: []pages.Choice{choice("corp", "Corporate account")}},
		"chooser-none":       pages.Chooser{Chrome: chrome},
		"chooser-branded":    pages.Chooser{Chrome: branded, Choices: []pages.Choice{last, choice("corp", "Corporate account")}},
		"session":            person,
		"session-long":       odd,
		"session-bare":       pages.Session{Chrome: chrome, Username: "bob"},
		"form":               pages.Form{Chrome: chrome, Provider: "Corporate account", Fields: fields},
		"leave":              pages.Leave{Chrome: chrome, Provider: "Corporate account"},
		"repost":             pages.Repost{Chrome: chrome, Action: "/.sso/saml/acs", Fields: fields},
		"logout":             pages.Logout{Chrome: chrome, Username: "alice", Provider: "Corporate account", Action: "/.sso/logout"},
		"logout-at-provider": pages.Logout{Chrome: longChrome, Username: rtlName, Provider: longName, AtProvider: true, Action: "/.sso/logout"},
		"other":              pages.Other{Chrome: chrome, Username: "alice", Choices: []pages.Choice{choice("corp", "Corporate account")}, StayURL: "/"},
		"other-several":      pages.Other{Chrome: chrome, Username: "alice", Choices: []pages.Choice{last, choice("corp", "Corporate account"), choice("guest", "Guests")}, StayURL: "/"},
		"other-long":         pages.Other{Chrome: longChrome, Username: rtlName, Choices: []pages.Choice{choice("corp", longName)}, StayURL: "/"},
		"other-several-long": pages.Other{Chrome: longChrome, Username: rtlName, Choices: []pages.Choice{longLast, choice("rtl", rtlName), choice("word", longWord)}, StayURL: "/"},
		"loggedout":          pages.LoggedOut{Chrome: chrome, SignInURL: "/"},
	}
	for _, code := range refusal.Codes() {
		page := pages.Refusal{Chrome: chrome, Code: code, Reference: "k7f2mq4xza", RetryURL: "/"}
		shown["refusal-"+string(code)] = page
	}
	denied := pages.Refusal{
		Chrome: longChrome, Code: refusal.AccessDenied, Reference: "k7f2mq4xza",
		Username: longWord, OtherURL: "/.sso/login?as=other", LogoutURL: "/.sso/logout",
	}
	shown["refusal-long"] = denied
	denied.Chrome, denied.Username = chrome, "carol"
	shown["refusal-access_denied"] = denied
	loop := shown["refusal-redirect_loop"].(pages.Refusal)
	loop.Seen = pages.Seen{Here: "http://grafana.example.com:8080", Site: "https://grafana.example.com"}
	shown["refusal-redirect_loop"] = loop
	help := shown["refusal-provider_refused"].(pages.Refusal)
	help.Chrome = branded
	help.Help = "Call the service desk: extension 4711"
	shown["refusal-branded"] = help
	gone := shown["refusal-not_found"].(pages.Refusal)
	gone.RetryURL, gone.HomeURL = "", "/"
	shown["refusal-not_found"] = gone
	return shown
}

// TestPagesAreAllShown holds that what is judged below is all there is: a page for each
// template, and each code.
func TestPagesAreAllShown(t *testing.T) {
	t.Parallel()
	shown := map[string]bool{"layout": true} // around each page
	for _, page := range shownPages() {
		shown[strings.ToLower(reflect.TypeOf(page).Name())] = true
	}
	templates, err := filepath.Glob("../gateway/pages/templates/*.html")
	if err != nil || len(templates) != len(shown) {
		t.Errorf("%d templates for %d types of pages and the layout, %v", len(templates), len(shown)-1, err)
	}
	for _, file := range templates {
		if name := strings.TrimSuffix(filepath.Base(file), ".html"); !shown[name] {
			t.Errorf("no %s is shown", name)
		}
	}
}

// TestPagesInChromium judges every page as a person meets it.
func TestPagesInChromium(t *testing.T) {
	t.Parallel()
	shown := shownPages()
	g := newGallery(t, shown)
	b := newBrowser(t)
	for _, l := range looks {
		t.Run(l.name, func(t *testing.T) {
			b := &tab{t, b.ctx}
			b.wear(l)
			for _, name := range slices.Sorted(maps.Keys(shown)) {
				if plainRefusal(shown[name]) && l != looks[0] {
					continue // they differ in their texts alone, which the first look shows
				}
				t.Run(name, func(t *testing.T) {
					b := &tab{t, b.ctx}
					b.navigate(g.address(name))
					b.shoot(name + "-" + l.name)
					for _, v := range b.axe() {
						t.Errorf("%s", v)
					}
					b.measure(l)
				})
			}
		})
	}
}

// plainRefusal says whether a page is a refusal as most are.
func plainRefusal(page any) bool {
	r, ok := page.(pages.Refusal)
	return ok && r.RetryURL == "/" && r.Seen == (pages.Seen{}) && r.Code != refusal.Internal
}

// TestAxeFindsFaults is the control of the test above.
func TestAxeFindsFaults(t *testing.T) {
	t.Parallel()
	g := newGallery(t, shownPages())
	b := newBrowser(t)
	for rule, fault := range map[string]string{
		"color-contrast": `document.querySelector("main p").style.color = "#555b66"`,
		"link-name":      `document.querySelector("main a").textContent = ""`,
		"html-has-lang":  `document.documentElement.removeAttribute("lang")`,
		"image-alt":      `document.querySelector("img").removeAttribute("alt")`,
	} {
		b.wear(looks[1])
		b.navigate(g.address("chooser"))
		b.do("making a fault", chromedp.Evaluate[chromedp.Void](fault+"; undefined"))
		if found := b.axe(); !slices.ContainsFunc(found, func(v violation) bool { return v.ID == rule }) {
			t.Errorf("%s is not found: %v", rule, found)
		}
	}
}

// measured is what a page says of itself.
type measured struct {
	Scroll, Width, Bytes, Small int
	Foreign, Stops              []string
	Motion                      string
}

// measure holds that the page fits its width, is small, asks no other host,
// moves nothing for whom that disturbs, and can be worked by the keyboard.
func (b *tab) measure(l look) {
	b.t.Helper()
	m, err := run(b, chromedp.Evaluate[measured](`(() => {
		const loads = performance.getEntriesByType("resource").concat(performance.getEntriesByType("navigation"));
		const stops = [...document.querySelectorAll("a[href], button, summary, input:not([type=hidden])")];
		return {
			Scroll: document.documentElement.scrollWidth, Width: innerWidth,
			Bytes: loads.reduce((sum, e) => sum + e.encodedBodySize, 0),
			Foreign: loads.map(e => e.name).filter(n => new URL(n).origin != location.origin),
			Small: stops.filter(e => e.getBoundingClientRect().height < 24).length,
			// Who was here before went on from somewhere.
			Stops: stops.slice(stops.indexOf(document.activeElement) + 1).map(e => e.textContent.trim()),
			Motion: stops.length ? getComputedStyle(stops[0]).transitionDuration : "0s",
		};
	})()`))
	if err != nil {
		b.t.Fatal(err)
	}
	if m.Scroll > m.Width {
		b.t.Errorf("the page is %d wide, and the window %d", m.Scroll, m.Width)
	}
	if m.Bytes < 2000 || m.Bytes >= 30_000 {
		b.t.Errorf("the page has %d bytes, want less than 30 kB", m.Bytes)
	}
	if len(m.Foreign) > 0 {
		b.t.Errorf("the page asked for %q", m.Foreign)
	}
	if m.Small > 0 {
		b.t.Errorf("%d controls are less than 24 pixels high", m.Small)
	}
	if l.forced && strings.Trim(m.Motion, "0s, ") != "" {
		b.t.Errorf("the page moves for %s", m.Motion)
	}
	for i, want := range m.Stops {
		b.do("going on by the keyboard", chromedp.KeyEvent("\t"))
		at, err := run(b, chromedp.Evaluate[string](`(() => {
			const e = document.activeElement, s = getComputedStyle(e), r = e.getBoundingClientRect();
			const visible = e.matches(":focus-visible") && s.outlineStyle != "none" && parseFloat(s.outlineWidth) >= 2 && r.bottom > 0 && r.top < innerHeight;
			return (visible ? "" : "invisible: ") + e.textContent.trim();
		})()`))
		if err != nil || at != want {
			b.t.Errorf("the focus comes to %q as the %dth, want %q, %v", at, i+1, want, err)
		}
	}
}

// TestPagesByKeyboardWithoutScripts opens pages with scripts switched off, and
// does by Tab and Enter what each is for.
func TestPagesByKeyboardWithoutScripts(t *testing.T) {
	t.Parallel()
	g := newGallery(t, shownPages())
	b := newBrowser(t)
	b.wear(looks[0])
	if _, err := chromedp.Call(b.ctx, emulation.SetScriptExecutionDisabled, emulation.SetScriptExecutionDisabledParams{Value: true}); err != nil {
		t.Fatal(err)
	}
	for name, want := range map[string]string{
		"chooser-last": "GET /.sso/login", "repost": "POST /.sso/saml/acs", "form": "POST /sso", "logout": "POST /.sso/logout", "other": "POST /.sso/login", "other-several": "POST /.sso/login",
		"session": "GET /", "loggedout": "GET /", "refusal-access_denied": "GET /.sso/login", "refusal-redirect_loop": "GET /",
	} {
		t.Run(name, func(t *testing.T) {
			b := &tab{t, b.ctx}
			b.navigate(g.address(name))
			b.do("pressing Tab and Enter", chromedp.KeyEvent("\t"), chromedp.KeyEvent("\r"))
			b.awaitLed(want)
		})
	}
	t.Run("folded groups", func(t *testing.T) {
		b := &tab{t, b.ctx}
		b.navigate(g.address("session-long"))
		b.do("pressing Tab and Enter", chromedp.KeyEvent("\t"), chromedp.KeyEvent("\r"))
		b.await("the groups", func() bool {
			open, err := run(b, chromedp.Evaluate[bool](`document.querySelector("details").open`))
			return err == nil && open
		})
		b.shoot("session-long-open-narrow-light")
	})
}

// TestPagesThatGoOn do so by themselves.
func TestPagesThatGoOn(t *testing.T) {
	t.Parallel()
	g := newGallery(t, shownPages())
	g.held = false
	b := newBrowser(t)
	for name, want := range map[string]string{"repost": "POST /.sso/saml/acs", "form": "POST /sso", "leave": "GET /leave"} {
		b.navigate(g.address(name))
		b.awaitLed(want)
	}
}

// awaitLed waits until the tab has come where a page of the gallery leads.
func (b *tab) awaitLed(want string) {
	b.t.Helper()
	b.await("coming to "+want, func() bool {
		led, err := run(b, chromedp.Evaluate[string](`document.getElementById("led")?.textContent ?? ""`))
		return err == nil && led == want
	})
}
