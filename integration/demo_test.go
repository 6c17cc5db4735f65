//go:build integration

package integration

import (
	"os"
	"os/exec"
	"regexp"
	"strings"
	"testing"
	"time"

	"github.com/chromedp/chromedp"
)

var demoAddress = regexp.MustCompile(`Open\s+(http://localhost:\d+)\s`)

// TestBrowserDemo plays the demonstration in Chromium and judges the pages that
// it brings itself as those of the gateway are.
func TestBrowserDemo(t *testing.T) {
	t.Parallel()
	out := &syncBuffer{}
	cmd := exec.Command(binary(t), "demo", "--port", "0")
	cmd.Dir, cmd.Env = scratch, []string{"HOME=" + scratch, "TMPDIR=" + scratch, "PATH=" + os.Getenv("PATH")}
	cmd.Stdout, cmd.Stderr = out, out
	proc, err := start(cmd)
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() {
		if err := proc.end(15 * time.Second); err != nil {
			t.Error(err)
		}
	})
	eventually(t, "the demo prints its address", 60*time.Second, func() bool { return proc.ended() || demoAddress.MatchString(out.String()) })
	found := demoAddress.FindStringSubmatch(out.String())
	if found == nil {
		t.Fatalf("the demo ended:\n%s", out)
	}
	for _, provider := range []string{"openid", "saml"} {
		for person, want := range map[string]string{"alice": "verified", "carol": "access_denied"} {
			t.Run(person+" by "+provider, func(t *testing.T) {
				b := newBrowser(t)
				b.navigate(found[1] + "/")
				b.click(`main .button[href*="provider=` + provider + `"]`)
				b.awaitText("Who are you?")
				if person == "alice" {
					b.judge("demo-login-" + provider)
				}
				b.click(`button[value="` + person + `"]`)
				b.awaitText(want)
				b.judge("demo-" + person + "-" + provider)
				if person == "alice" {
					b.logOut(found[1])
				}
				b.navigate(found[1] + "/.sso/login")
				first, err := run(b, chromedp.Evaluate[string](`document.querySelector("main .button").outerHTML`))
				// carol was never signed in here.
				if err != nil || strings.Contains(first, "Last used") != (person == "alice") || person == "alice" && !strings.Contains(first, "provider="+provider) {
					t.Errorf("the chooser begins with %s, %v", first, err)
				}
			})
		}
	}
}

// judge judges the page that the tab shows, in all looks.
func (b *tab) judge(name string) {
	b.t.Helper()
	for _, l := range looks {
		b.wear(l)
		b.shoot(name + "-" + l.name)
		for _, v := range b.axe() {
			b.t.Errorf("%s, %s: %s", name, l.name, v)
		}
		b.measure(l)
	}
	b.wear(looks[0])
}
