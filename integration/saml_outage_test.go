//go:build integration

package integration

import (
	"net/http"
	"strings"
	"testing"
)

// unavailable says that p is the page or problem that the provider is away.
func unavailable(p *page) bool {
	return p.status == http.StatusServiceUnavailable && strings.Contains(p.body, "provider_unavailable")
}

// TestSAMLProviderDown plays the provider being away, with both stores: at the
// start, while people work, and across a restart.
func TestSAMLProviderDown(t *testing.T) {
	t.Parallel()
	sites := []samlSite{{name: "down", block: "\t\tpublic /open\n\t\tsign_requests on"}}
	bothSAMLStores(t, samlOptions{idpDown: true}, sites, func(t *testing.T, w *samlWorld) {
		s := w.site("down")
		c := w.client(0)
		t.Run("E8 the gateway starts without the provider, and serves what is public", func(t *testing.T) {
			c.echoed(c.fetch(s.base + "/open"))
		})
		t.Run("A3 and its own metadata", func(t *testing.T) {
			w.settle(t)
		})
		t.Run("E8 a page says that the provider is away", func(t *testing.T) {
			if p := c.navigate(s.base + "/"); !unavailable(p) {
				t.Errorf("got %s", p)
			}
		})
		t.Run("E8 people sign in as soon as the provider is back", func(t *testing.T) {
			w.idp.up()
			var login *page
			eventually(t, "the provider's form", patience, func() bool {
				login = c.samlForm(s.base + "/")
				return login.isLoginForm()
			})
			c.echoed(c.carry(c.enterAnywhere(login, "bob", "bob")))
		})
		t.Run("E8 who is signed in is unaffected by the provider going away", func(t *testing.T) {
			w.idp.down()
			c.echoed(c.fetch(s.base + "/"))
			w.gw().reload()
			c.echoed(c.fetch(s.base + "/"))
			w.gw().restart()
			c.echoed(c.fetch(s.base + "/"))
		})
		t.Run("E8 a stranger is told so, after the restart too", func(t *testing.T) {
			if p := w.client(0).navigate(s.base + "/"); !unavailable(p) {
				t.Errorf("got %s", p)
			}
		})
		t.Run("E8 the last good metadata survive the restart: an answer is judged by them", func(t *testing.T) {
			w.idp.up()
			d := w.client(0)
			var login *page
			eventually(t, "the provider's form", patience, func() bool {
				login = d.samlForm(s.base + "/wanted")
				return login.isLoginForm()
			})
			answer := d.samlAnswer(login, "alice")
			w.idp.down()
			w.gw().restart()
			if r := d.echoed(d.carry(d.send(answer))); r.Target != "/wanted" || r.Identity == nil || r.Identity.Username != "alice" {
				t.Errorf("the app was asked for %s by %+v", r.Target, r.Identity)
			}
		})
	})
}

// TestSAMLBetween changes the gateway while somebody is at the provider, with
// both stores.
func TestSAMLBetween(t *testing.T) {
	t.Parallel()
	bothSAMLStores(t, samlOptions{}, []samlSite{{name: "between", php: true}}, func(t *testing.T, w *samlWorld) {
		s := w.site("between")
		for name, change := range w.gw().changes(func() {
			s.block = "\t\tlifetime 1h"
			w.configure(w.nodes[0])
		}) {
			t.Run("E9 "+name+" between request and answer", func(t *testing.T) {
				c := w.client(0)
				login := c.samlForm(s.base + "/wanted?x=1")
				change()
				if r := c.echoed(c.carry(c.enterAnywhere(login, "alice", "alice"))); r.Target != "/wanted?x=1" {
					t.Errorf("the app was asked for %s", r.Target)
				}
			})
			t.Run("E9 "+name+" between the first post and the second", func(t *testing.T) {
				c := w.client(0)
				f := c.secondPost(c.samlAnswer(c.samlForm(s.base+"/wanted?x=1"), "alice"))
				change()
				if r := c.echoed(c.send(f)); r.Target != "/wanted?x=1" {
					t.Errorf("the app was asked for %s", r.Target)
				}
			})
		}
		t.Run("E9 a login that began before a reload with another definition of its provider starts anew", func(t *testing.T) {
			c := w.client(0)
			answer := c.samlAnswer(c.samlForm(s.base+"/wanted"), "bob")
			s.block = "\t\tsp_entity_id urn:example:another-now"
			w.configure(w.nodes[0])
			w.gw().reload()
			c.http.CloseIdleConnections() // the server closes them now, and Go sends no POST twice
			p := c.stopBefore(w.providerOf(s), func() *page { return c.send(c.secondPost(answer)) })
			if request, _ := w.request(t, s, p); !strings.Contains(request, ">urn:example:another-now</") {
				t.Errorf("the provider is asked %s", request)
			}
			if sessionCookieOf(c, s.base) != nil {
				t.Errorf("the earlier answer signed in: %s", p)
			}
		})
	})
}
