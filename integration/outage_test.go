//go:build integration

package integration

import (
	"net/http"
	"strings"
	"testing"
	"time"
)

// TestProviderDown plays the provider being away, with both stores: at the
// start, while people work, and across a restart.
func TestProviderDown(t *testing.T) {
	bothStores(t, worldOptions{idpDown: true, block: "\t\tpublic /open\n\t\tlogout provider"}, func(t *testing.T, w *world) {
		c := newClient(t)
		t.Run("E8 the gateway starts without the provider and serves what is public", func(t *testing.T) {
			c.echoed(c.fetch(w.base + "/open"))
		})
		t.Run("E8 a page says that the provider is away", func(t *testing.T) {
			p := c.navigate(w.base + "/")
			if p.status != http.StatusServiceUnavailable || !strings.Contains(p.body, "provider_unavailable") {
				t.Errorf("got %s", p)
			}
		})
		t.Run("E8 people sign in as soon as the provider is back", func(t *testing.T) {
			w.idp.up()
			var form *page
			eventually(t, "the provider's form", 30*time.Second, func() bool {
				form = c.navigate(w.base + "/")
				return form.isLoginForm()
			})
			c.echoed(c.enter(form, "bob", "bob"))
		})
		t.Run("E8 who is signed in is unaffected by the provider going away", func(t *testing.T) {
			w.idp.down()
			c.echoed(c.fetch(w.base + "/"))
			w.gw.reload()
			c.echoed(c.fetch(w.base + "/"))
			w.gw.restart()
			c.echoed(c.fetch(w.base + "/"))
		})
		t.Run("E8 a stranger is told so, after the restart too", func(t *testing.T) {
			p := newClient(t).navigate(w.base + "/")
			if p.status != http.StatusServiceUnavailable || !strings.Contains(p.body, "provider_unavailable") {
				t.Errorf("got %s", p)
			}
		})
		t.Run("E8 the last good metadata survive the restart: logout still knows the way to the provider", func(t *testing.T) {
			p := c.endSession(w.base)
			if to := p.goesOn(); !strings.HasPrefix(to, w.issuer()+"/protocol/openid-connect/logout?") {
				t.Errorf("got %s, to %q", p, to)
			}
		})
		t.Run("E8 the last good keys survive the restart: a login needs no new ones", func(t *testing.T) {
			w.idp.block("/protocol/openid-connect/certs")
			w.idp.up()
			w.gw.restart()
			fresh := newClient(t)
			fresh.echoed(fresh.signIn(w.base+"/", "alice"))
			w.idp.block()
		})
	})
}

// TestKeycloakRestarts restarts the real thing while people are signed in and
// a login is under way. It runs alone: other tests use the same Keycloak.
func TestKeycloakRestarts(t *testing.T) {
	w := newWorld(t, worldOptions{})
	c := newClient(t)
	c.echoed(c.signIn(w.base+"/", "bob"))
	if err := w.kc.stop(); err != nil {
		t.Fatal(err)
	}
	c.echoed(c.fetch(w.base + "/"))
	if err := w.kc.start(); err != nil {
		t.Fatal(err)
	}
	fresh := newClient(t)
	var form *page
	// On a slow machine the first requests after the start take longer than the gateway waits.
	eventually(t, "Keycloak's form after the restart", time.Minute, func() bool {
		form = fresh.navigate(w.base + "/")
		return form.isLoginForm()
	})
	fresh.echoed(fresh.enter(form, "alice", "alice"))
}

// TestBetweenRedirectAndAnswer changes the gateway while somebody is at the
// provider, with both stores.
func TestBetweenRedirectAndAnswer(t *testing.T) {
	bothStores(t, worldOptions{}, func(t *testing.T, w *world) {
		for name, change := range w.gw.changes(func() {
			w.opts.block = "\t\tlifetime 1h"
			w.configure()
		}) {
			t.Run("E9 "+name+" between redirect and answer", func(t *testing.T) {
				c := newClient(t)
				form := c.navigate(w.base + "/wanted?x=1")
				change()
				if r := c.echoed(c.enter(form, "alice", "alice")); r.Target != "/wanted?x=1" {
					t.Errorf("the app was asked for %s", r.Target)
				}
			})
		}
	})
}

// sessionCookieOf returns the client's session cookie at a site, or nil.
func sessionCookieOf(c *client, base string) *http.Cookie {
	for _, cookie := range c.cookies(base) {
		if name := strings.TrimPrefix(cookie.Name, "__Host-"); name == "sso" {
			return cookie
		}
	}
	return nil
}
