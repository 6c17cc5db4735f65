//go:build integration

package integration

import (
	"fmt"
	"net/http"
	"strings"
	"testing"

	"github.com/chromedp/chromedp"

	"github.com/caddy-sso/caddy-sso/gateway/gatewaytest"
)

// poweradminWays are the ways in which Poweradmin learns who makes a request: lines of the
// block of sso, and whether PHP has our file.
var poweradminWays = map[string]struct {
	lines   string
	prepend bool
}{
	"by the assertion": {"as poweradmin", true},
	"by OpenID Connect": {`as poweradmin {
			provider sso
		}
		op {
			client poweradmin {
				secret poweradmin-secret
				redirect_uri BASE/oidc/callback
RULES
			}
		}`, false},
}

const poweradminRules = "\t\ttemplate Administrator \"Caddy Admins\"\n\t\ttemplate Viewer *\n"

// TestPoweradmin tells the story of docs/poweradmin.md: people of a SAML provider land in
// Poweradmin without a click, with their roles of this moment, until their login ends.
func TestPoweradmin(t *testing.T) {
	t.Parallel()
	for name, way := range poweradminWays {
		t.Run("E2 "+name, func(t *testing.T) {
			t.Parallel()
			kc, port := theKeycloak(t), gatewaytest.FreePort()
			base := fmt.Sprintf("https://localhost:%d", port)
			kc.samlClient(t, base+"/.sso/saml/metadata", base+"/.sso/saml/acs", nil)
			prepend := ""
			if way.prepend {
				prepend = ownPrepend(t, base, "localhost", base+"/.sso/jwks.json")
			}
			app, g, pki := newPoweradmin(t, base, prepend), newGateway(t), certificates(t)
			configure := func(rules string) {
				g.write("\tsso {\n\t\tstore bolt\n\t}", fmt.Sprintf("%s {\n\ttls %s %s\n\tsso saml %s%s/descriptor {\n\t\tname corp\n\t\tca %s\n%s\t\t%s\n\t}\n\treverse_proxy %s\n}\n",
					base, pki.certFile, pki.keyFile, kc.base(), samlPath, pki.caFile, rules,
					strings.NewReplacer("BASE", base, "RULES", strings.ReplaceAll(rules, "template ", "group ")).Replace(way.lines), app.address()))
			}
			configure(poweradminRules)
			g.start()
			testPoweradmin(t, base, func(rules string) { configure(rules); g.reload() })
		})
	}
}

// testPoweradmin tells the story. rules loads other rules.
func testPoweradmin(t *testing.T, base string, rules func(string)) {
	t.Helper()
	const aliceName, bobName = "Alice Ångström", "Bob Viewer"
	b := newBrowser(t)
	b.navigate(base + "/")
	b.enter("alice", "alice")
	b.awaitText("Welcome " + aliceName)
	b.navigate(base + "/users/add")
	b.await("the form of an administrator", func() bool {
		there, err := run(b, chromedp.Evaluate[bool](`!!document.querySelector("[name=username]")`))
		return err == nil && there
	})

	wants := func(c *client, who string, administrator bool) {
		t.Helper()
		if got := atPoweradmin(c.navigate(base + "/")); got != who {
			t.Errorf("Poweradmin shows %s, want %s; by %s", got, who, strings.Join(c.hops, " → "))
		}
		if got := isAdministrator(c, base); got != administrator {
			t.Errorf("%s is an administrator: %v", who, got)
		}
	}
	alice, bob := newClient(t), newClient(t)
	alice.samlSignIn(base+"/", "alice")
	bob.samlSignIn(base+"/", "bob")
	wants(alice, aliceName, true)
	wants(bob, bobName, false)
	if !addUser(alice, base, "new") {
		t.Error("the app's form was refused")
	}

	t.Log("demoted and promoted in mid-session")
	rules("\t\ttemplate Viewer *\n")
	wants(alice, aliceName, false)
	rules("\t\ttemplate Administrator *\n")
	wants(alice, aliceName, true)
	wants(bob, bobName, true)
	rules(poweradminRules)
	wants(alice, aliceName, true)
	wants(bob, bobName, false)

	t.Log("another person in the same browser")
	same := newClient(t).with(base, cookiesNamed(alice, base, "PHPSESSID"))
	same.samlSignIn(base+"/", "bob")
	wants(same, bobName, false)
	bob.with(base, cookiesNamed(alice, base, "PHPSESSID"))
	wants(bob, bobName, false)

	t.Log("the login is revoked")
	elsewhere := newClient(t).with(base, alice.cookies(base))
	wants(elsewhere, aliceName, true)
	alice.endSession(base)
	if got := elsewhere.fetch(base + "/users/add"); got.status != http.StatusUnauthorized {
		t.Errorf("after the logout: %s", got)
	}
	if left := cookiesNamed(elsewhere, base, "PHPSESSID"); len(left) > 0 || len(cookiesNamed(alice, base, "PHPSESSID")) > 0 {
		t.Error("the app's cookie is left")
	}
	if got := elsewhere.navigate(base + "/"); strings.HasPrefix(got.url.String(), base) {
		t.Errorf("after the logout: %s", got)
	}
}

// cookiesNamed returns a cookie of a client, as a browser keeps it.
func cookiesNamed(c *client, base, name string) []*http.Cookie {
	c.t.Helper()
	var found []*http.Cookie
	for _, cookie := range c.cookies(base) {
		if cookie.Name == name {
			found = append(found, &http.Cookie{Name: name, Value: cookie.Value, Path: "/", Secure: true})
		}
	}
	return found
}
