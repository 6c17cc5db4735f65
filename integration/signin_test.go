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
)

// TestPeople signs everybody of the lab in at Keycloak, with both stores.
func TestPeople(t *testing.T) {
	bothStores(t, worldOptions{}, func(t *testing.T, w *world) {
		for _, want := range []struct {
			row, user     string
			roles, groups []string
			email, name   string
			verified      bool
		}{
			{"F1", "alice", []string{"Admin"}, []string{"net", "ops"}, "alice@example.test", "Alice Ångström", true},
			{"F1", "bob", []string{"Viewer"}, nil, "bob@example.test", "Bob Viewer", true},
			{"F1", "dave", []string{"Viewer"}, nil, "", "Dave Unverified", false}, // Keycloak calls the address unverified
			{"F1", "erin", []string{"Odd", "Viewer"}, nil, "erin@example.test", "Erin O'Brien-Müller", true},
			{"F1", "frank", []string{"Viewer"}, nil, "frank@example.test", "Frank Many", true},
		} {
			t.Run(want.row+" "+want.user+" signs in and the app is told who it is", func(t *testing.T) {
				c := newClient(t)
				p := c.signIn(w.base+"/deep/link?a=1&b=%20x", want.user)
				r := c.echoed(p)
				if r.Target != "/deep/link?a=1&b=%20x" {
					t.Errorf("the app was asked for %s", r.Target)
				}
				if r.Identity == nil {
					t.Fatalf("the assertion is not valid: %s", r.AssertionError)
				}
				id := r.Identity
				if id.Username != want.user || id.Email != want.email || id.EmailVerified != want.verified || id.Name != want.name {
					t.Errorf("the assertion says %+v", id)
				}
				if got := r.Header.Get("Remote-Email"); got != want.email {
					t.Errorf("Remote-Email is %q", got)
				}
				if !equalSets(id.Roles, want.roles) || !equalSets(id.Groups, want.groups) {
					t.Errorf("roles %q and groups %q, want %q and %q", id.Roles, id.Groups, want.roles, want.groups)
				}
			})
		}
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
		t.Run("F1 carol has no group here and gets 403", func(t *testing.T) {
			c := newClient(t)
			p := c.signIn(w.base+"/carol", "carol")
			if p.status != http.StatusForbidden || !strings.Contains(p.body, "access_denied") {
				t.Errorf("got %s", p)
			}
			if again := c.navigate(w.base + "/carol"); again.status == http.StatusOK {
				t.Errorf("on the next request: %s", again)
			}
			if n := len(w.app.seen("/carol")); n != 0 {
				t.Errorf("the app saw %d requests of hers", n)
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
		t.Run("F1 mallory is disabled and stays at Keycloak", func(t *testing.T) {
			c := newClient(t)
			p := c.signIn(w.base+"/mallory", "mallory")
			if !strings.HasPrefix(p.url.String(), w.atIdP()) || !strings.Contains(p.body, "Account is disabled") {
				t.Errorf("got %s", p)
			}
			if n := len(w.app.seen("/mallory")); n != 0 {
				t.Errorf("the app saw %d requests of his", n)
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

// restartLogin is the link by which Keycloak lets another person sign in.
var restartLogin = regexp.MustCompile(`id="reset-login" href="([^"]+)"`)

func equalSets(a, b []string) bool {
	a, b = slices.Sorted(slices.Values(a)), slices.Sorted(slices.Values(b))
	return slices.Equal(a, b)
}

// TestWithoutSession holds who is sent to sign in, and who is told instead.
func TestWithoutSession(t *testing.T) {
	t.Parallel()
	w := newWorld(t, worldOptions{block: "\t\tpublic /open /static/*"})
	t.Run("F1 a navigation is sent to the provider", func(t *testing.T) {
		c := newClient(t)
		p := c.stopBefore(w.atIdP(), func() *page { return c.navigate(w.base + "/x") })
		to := p.header.Get("Location")
		for _, want := range []string{w.issuer() + "/protocol/openid-connect/auth?", "code_challenge_method=S256", "nonce=", "state=", "response_type=code"} {
			if !strings.Contains(to, want) {
				t.Errorf("no %s in %s", want, to)
			}
		}
	})
	t.Run("F1 an API client gets 401 and JSON", func(t *testing.T) {
		c := newClient(t)
		p := c.fetch(w.base + "/api")
		var problem map[string]any
		if p.status != http.StatusUnauthorized || !strings.HasPrefix(p.header.Get("Content-Type"), "application/problem+json") ||
			json.Unmarshal([]byte(p.body), &problem) != nil || problem["code"] != "unauthenticated" {
			t.Errorf("got %s, %s", p, p.header.Get("Content-Type"))
		}
	})
	t.Run("F1 a public path needs no login and gets no identity", func(t *testing.T) {
		c := newClient(t)
		r := c.echoed(c.fetch(w.base + "/open"))
		if r.Identity != nil || r.Header.Get("Remote-User") != "" {
			t.Errorf("the app was told of somebody: %+v", r)
		}
		signed := newClient(t)
		signed.echoed(signed.signIn(w.base+"/", "bob"))
		if r := signed.echoed(signed.fetch(w.base + "/static/x")); r.Identity != nil || r.Header.Get("Remote-User") != "" || r.Header.Get("Cookie") != "" {
			t.Errorf("with a session the app was told of it: %+v", r)
		}
	})
	if n := len(w.app.seen("/x")) + len(w.app.seen("/api")); n != 0 {
		t.Errorf("the app saw %d requests without a session", n)
	}
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

func TestSession(t *testing.T) {
	bothStores(t, worldOptions{}, func(t *testing.T, w *world) {
		c := newClient(t)
		c.echoed(c.signIn(w.base+"/", "alice"))
		t.Run("A12 a session lasts eight hours unless set", func(t *testing.T) {
			s := c.session(w.base)
			if got := s.Expires.Sub(s.Since); got != 8*time.Hour {
				t.Errorf("it lasts %v", got)
			}
			if s.Username != "alice" || !slices.Equal(s.Roles, []string{"Admin"}) {
				t.Errorf("it says %+v", s)
			}
		})
		t.Run("the session's page", func(t *testing.T) {
			p := c.navigate(w.base + "/.sso/session")
			if p.status != http.StatusOK || !strings.Contains(p.body, "alice") || !strings.Contains(p.header.Get("Content-Type"), "text/html") {
				t.Errorf("got %s", p)
			}
			if csp := p.header.Get("Content-Security-Policy"); !strings.Contains(csp, "default-src 'none'") || strings.Contains(csp, "unsafe") {
				t.Errorf("its policy is %q", csp)
			}
		})
		t.Run("the gateway's cookies never reach the app", func(t *testing.T) {
			r := c.echoed(c.fetch(w.base + "/"))
			for _, cookie := range c.cookies(w.base) {
				if strings.Contains(r.Raw, cookie.Value) {
					t.Errorf("the app saw the cookie %s", cookie.Name)
				}
			}
		})
		t.Run("F1 logout ends the session on the server", func(t *testing.T) {
			stolen := c.cookies(w.base)
			if p := c.logOut(w.base); p.status != http.StatusOK || p.url.Path != "/.sso/logged-out" {
				t.Errorf("got %s", p)
			}
			thief := newClient(t)
			thief.http.Jar.SetCookies(thief.url(w.base), stolen)
			if p := thief.fetch(w.base + "/"); p.status != http.StatusUnauthorized {
				t.Errorf("the cookie still opens: %s", p)
			}
		})
		t.Run("logout by GET changes nothing", func(t *testing.T) {
			d := newClient(t)
			d.echoed(d.signIn(w.base+"/", "bob"))
			if p := d.navigate(w.base + "/.sso/logout"); p.status != http.StatusOK {
				t.Errorf("got %s", p)
			}
			d.echoed(d.fetch(w.base + "/"))
		})
	})
}

func TestLifetime(t *testing.T) {
	t.Parallel()
	for name, o := range map[string]worldOptions{
		"A12 the provider's": {block: "\t\tlifetime 3s"},
		"A12 the global one": {global: "\t\tlifetime 3s"},
	} {
		t.Run(name, func(t *testing.T) {
			t.Parallel()
			w := newWorld(t, o)
			c := newClient(t)
			c.echoed(c.signIn(w.base+"/", "bob"))
			if s := c.session(w.base); s.Expires.Sub(s.Since) != 3*time.Second {
				t.Errorf("the session lasts %v", s.Expires.Sub(s.Since))
			}
			eventually(t, "the session ends", 6*time.Second, func() bool {
				return c.fetch(w.base+"/").status == http.StatusUnauthorized
			})
			t.Log("Keycloak's own session lives on: the next navigation signs in by itself")
			c.echoed(c.navigate(w.base + "/"))
		})
	}
}

func TestProviderLogout(t *testing.T) {
	t.Parallel()
	w := newWorld(t, worldOptions{block: "\t\tlogout provider"})
	c := newClient(t)
	c.echoed(c.signIn(w.base+"/", "bob"))
	if p := c.logOut(w.base); p.status != http.StatusOK || p.url.Path != "/.sso/logged-out" {
		t.Fatalf("got %s by %s", p, strings.Join(c.hops, " → "))
	}
	if !slices.ContainsFunc(c.hops, func(hop string) bool { return strings.HasPrefix(hop, w.atIdP()) }) {
		t.Errorf("the browser was not at the provider: %s", strings.Join(c.hops, " → "))
	}
	if p := c.navigate(w.base + "/"); !p.isLoginForm() {
		t.Errorf("the provider's session lives on: %s", p)
	}
}
