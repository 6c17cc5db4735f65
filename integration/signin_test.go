//go:build integration

package integration

import (
	"encoding/json"
	"html"
	"net/http"
	"regexp"
	"slices"
	"strings"
	"testing"
	"time"

	"github.com/caddy-sso/caddy-sso/gateway/gatewaytest"
)

// TestPeople signs everybody of the lab in at Keycloak, with both stores.
func TestPeople(t *testing.T) {
	bothStores(t, worldOptions{}, func(t *testing.T, w *world) {
		everybodySignsIn(t, "F1", w.app, w.base, true, func(target, user string) (*client, *page) {
			c := newClient(t)
			return c, c.signIn(target, user)
		})
		t.Run("F3 identity and mapped roles reach the app signed, and as plain headers", func(t *testing.T) {
			c := newClient(t)
			r := c.echoed(c.signIn(w.base+"/", "alice"))
			if r.Identity == nil || !slices.Equal(r.Identity.Roles, []string{"Admin"}) || r.Identity.Subject == "" || r.Identity.SessionID == "" {
				t.Errorf("the assertion says %+v, %s", r.Identity, r.AssertionError)
			}
			for name, want := range map[string]string{
				"Remote-User": "alice", "Remote-Email": "alice@example.test", "Remote-Roles": "Admin", "Remote-Groups": "ops,net",
				"Remote-Name": "Alice %C3%85ngstr%C3%B6m",
			} {
				if got := r.Header.Values(name); !slices.Equal(got, []string{want}) {
					t.Errorf("%s is %q, want %q", name, got, want)
				}
			}
		})
		t.Run("A12 a session lasts eight hours unless set", func(t *testing.T) {
			c := newClient(t)
			c.echoed(c.signIn(w.base+"/", "alice"))
			if s := c.session(w.base); s.Expires.Sub(s.Since) != 8*time.Hour || s.Username != "alice" || !slices.Equal(s.Roles, []string{"Admin"}) {
				t.Errorf("it says %+v", s)
			}
		})
		t.Run("F1 carol lets somebody else sign in", func(t *testing.T) {
			c := newClient(t)
			if p := c.signIn(w.base+"/carol", "carol"); !strings.Contains(p.body, "/.sso/login?as=other") {
				t.Fatalf("got %s", p)
			}
			// Keycloak asks for carol's password anew, or to begin again.
			form := c.navigate(w.base + "/.sso/login?as=other&return=%2Fother")
			restart := restartLogin.FindStringSubmatch(form.body)
			if !form.isLoginForm() || restart == nil {
				t.Fatalf("Keycloak answers %s", form)
			}
			at := form.url.ResolveReference(c.url(html.UnescapeString(restart[1])))
			r := c.echoed(c.enter(c.navigate(at.String()), "alice", "alice"))
			if r.Target != "/other" || r.Identity == nil || r.Identity.Username != "alice" {
				t.Errorf("the app was asked for %s by %+v", r.Target, r.Identity)
			}
		})
		t.Run("F1 a wrong password stays at Keycloak", func(t *testing.T) {
			c := newClient(t)
			if p := c.enter(c.navigate(w.base+"/"), "alice", "wrong"); !p.isLoginForm() {
				t.Errorf("got %s", p)
			}
		})
	})
}

// everybodySignsIn signs the people of the lab in at a site, by either protocol. verified
// says whether the provider tells which e-mail addresses are: those that are not don't count.
func everybodySignsIn(t *testing.T, row string, app *app, base string, verified bool, signIn func(target, user string) (*client, *page)) {
	t.Helper()
	for _, want := range []struct {
		user          string
		roles, groups []string
		name          string
	}{
		{"alice", []string{"Admin"}, []string{"net", "ops"}, "Alice Ångström"},
		{"bob", []string{"Viewer"}, nil, "Bob Viewer"},
		{"dave", []string{"Viewer"}, nil, "Dave Unverified"},
		{"erin", []string{"Odd", "Viewer"}, nil, "Erin O'Brien-Müller"},
		{"frank", []string{"Viewer"}, nil, "Frank Many"},
	} {
		t.Run(row+" "+want.user+" signs in and the app is told who it is", func(t *testing.T) {
			c, p := signIn(base+"/deep/link?a=1&b=%20x", want.user)
			r := c.echoed(p)
			if r.Target != "/deep/link?a=1&b=%20x" {
				t.Errorf("the app was asked for %s", r.Target)
			}
			id := r.Identity
			if id == nil {
				t.Fatalf("the assertion is not valid: %s", r.AssertionError)
			}
			email, trusted := want.user+"@example.test", verified && want.user != "dave"
			if verified && !trusted {
				email = ""
			}
			if id.Username != want.user || id.Email != email || id.EmailVerified != trusted || id.Name != want.name || r.Header.Get("Remote-Email") != email {
				t.Errorf("the assertion says %+v, and Remote-Email is %q", id, r.Header.Get("Remote-Email"))
			}
			if !equalSets(id.Roles, want.roles) || !equalSets(id.Groups, want.groups) {
				t.Errorf("roles %q and groups %q, want %q and %q", id.Roles, id.Groups, want.roles, want.groups)
			}
			c.echoed(c.fetch(base + "/api"))
			if p := c.logOut(base); p.status != http.StatusOK {
				t.Errorf("the logout: %s", p)
			}
			if p := c.fetch(base + "/api"); p.status != http.StatusUnauthorized {
				t.Errorf("after the logout: %s", p)
			}
		})
	}
	t.Run(row+" carol has no group here and gets 403", func(t *testing.T) {
		c, p := signIn(base+"/carol", "carol")
		if p.status != http.StatusForbidden || codeOf(p) != "access_denied" {
			t.Errorf("got %s", p)
		}
		if again := c.navigate(base + "/carol"); again.status == http.StatusOK && strings.HasPrefix(again.url.String(), base) {
			t.Errorf("on the next request: %s", again)
		}
		if n := len(app.seen("/carol")); n != 0 {
			t.Errorf("the app saw %d requests of hers", n)
		}
	})
	t.Run(row+" mallory is disabled and stays at the provider", func(t *testing.T) {
		_, p := signIn(base+"/mallory", "mallory")
		if strings.HasPrefix(p.url.String(), base) || len(app.seen("/mallory")) != 0 {
			t.Errorf("got %s, the app saw %d requests of his", p, len(app.seen("/mallory")))
		}
	})
}

// restartLogin is the link by which Keycloak lets another person sign in.
var restartLogin = regexp.MustCompile(`id="reset-login" href="([^"]+)"`)

func equalSets(a, b []string) bool {
	a, b = slices.Sorted(slices.Values(a)), slices.Sorted(slices.Values(b))
	return slices.Equal(a, b)
}

// shownSession is what /.sso/session says.
type shownSession struct {
	Username, Provider, Account, Session string
	Roles, Groups                        []string
	Since, Expires                       time.Time
}

func (c *client) session(base string) *shownSession {
	c.t.Helper()
	p := c.fetch(base + "/.sso/session")
	var s shownSession
	if p.status != http.StatusOK || json.Unmarshal([]byte(p.body), &s) != nil {
		c.t.Fatalf("expected the session, got %s", p)
	}
	return &s
}

// TestLifetime holds that neither a login nor a connection outlives it.
func TestLifetime(t *testing.T) {
	t.Parallel()
	for name, o := range map[string]worldOptions{
		"A12 the provider's": {block: "\t\tlifetime 4s"},
		"A12 the global one": {global: "\t\tlifetime 4s"},
	} {
		t.Run(name, func(t *testing.T) {
			t.Parallel()
			w := newWorld(t, o)
			c := newClient(t)
			c.echoed(c.signIn(w.base+"/", "bob"))
			s := c.session(w.base)
			if s.Expires.Sub(s.Since) != 4*time.Second {
				t.Errorf("the session lasts %v", s.Expires.Sub(s.Since))
			}
			late := gatewaytest.Lateness(t)
			select {
			case at := <-holdEvents(t, c, w.base):
				if after := at.Sub(s.Expires); after < -2*time.Second || after > 3*time.Second+late() {
					t.Errorf("the stream ended %v after the login", after)
				}
			case <-time.After(30 * time.Second):
				t.Error("the stream lives on")
			}
			eventually(t, "the session ends", 30*time.Second, func() bool {
				return c.fetch(w.base+"/").status == http.StatusUnauthorized
			})
			t.Log("Keycloak's own session lives on: the next navigation signs in by itself")
			c.echoed(c.navigate(w.base + "/"))
		})
	}
}
