//go:build integration

package integration

import (
	"fmt"
	"net/http"
	"slices"
	"strings"
	"testing"

	"github.com/caddy-sso/caddy-sso/gateway/gatewaytest"
)

// The tests here have a provider of their own, which says what no real one can
// be made to say.

// fakeSite is a site with that provider; its metadata are a file.
func fakeSite(idp *gatewaytest.IdP) samlSite {
	return samlSite{name: "fake", unregistered: true, block: "\t\trole Anybody *", provider: func(*samlWorld, *samlSite) string {
		return "saml `" + idp.Metadata() + "`"
	}}
}

// fakeAnswer begins a login and returns the provider's answer, which the
// browser is about to post.
func (c *client) fakeAnswer(idp *gatewaytest.IdP, target string) *form {
	c.t.Helper()
	asked := c.stopBefore(idp.EntityID, func() *page { return c.navigate(target) }).header.Get("Location")
	action, fields, err := idp.Answer(http.MethodGet, query(c.t, asked))
	if err != nil {
		c.t.Fatalf("the provider's answer to %q: %v", asked, err)
	}
	return &form{&page{url: c.url(idp.EntityID)}, action, fields}
}

func TestSAMLManyGroups(t *testing.T) {
	t.Parallel()
	idp := gatewaytest.NewIdP(t)
	w := newSAMLWorld(t, samlOptions{oneByOne: true}, fakeSite(idp))
	s := w.site("fake")
	for name, attributes := range map[string]func(names []string) []gatewaytest.IdPAttribute{
		"as the values of one attribute": func(names []string) []gatewaytest.IdPAttribute {
			return []gatewaytest.IdPAttribute{{Name: "groups", Values: names}}
		},
		"as attributes of one name": func(names []string) (all []gatewaytest.IdPAttribute) {
			for _, name := range names {
				all = append(all, gatewaytest.IdPAttribute{Name: "groups", Values: []string{name}})
			}
			return all
		},
	} {
		t.Run("D4 two thousand groups pass "+name, func(t *testing.T) {
			var names []string
			for i := range 1999 {
				names = append(names, fmt.Sprintf("group %d & <more>", i))
			}
			idp.SetHooks(gatewaytest.IdPHooks{Answer: func(a *gatewaytest.IdPAnswer) { a.Attributes = attributes(append(names, "viewers")) }})
			c := w.client(0)
			r := c.echoed(c.carry(c.send(c.fakeAnswer(idp, s.base+"/wanted"))))
			if r.Target != "/wanted" || r.Identity == nil || !equalSets(r.Identity.Roles, []string{"Anybody", "Viewer"}) {
				t.Errorf("the app was asked for %s by %+v, %s", r.Target, r.Identity, r.AssertionError)
			}
			c.echoed(c.fetch(s.base + "/again"))
		})
	}
}

// TestSAMLAssertionOnce has the provider give two people assertions with one
// ID, which is the same as one assertion used twice.
func TestSAMLAssertionOnce(t *testing.T) {
	t.Parallel()
	idp := gatewaytest.NewIdP(t)
	o := unlimited()
	o.nodes, o.store = 2, "redis"
	w := newSAMLWorld(t, o, fakeSite(idp))
	s := w.site("fake")
	same := func() {
		id := "_" + randomHex(16)
		idp.SetHooks(gatewaytest.IdPHooks{Answer: func(a *gatewaytest.IdPAnswer) { a.AssertionID = id }})
	}
	t.Run("D4 one after the other on two nodes, the second is refused", func(t *testing.T) {
		same()
		one, two := w.client(0), w.client(1)
		first, second := one.secondPost(one.fakeAnswer(idp, s.base+"/")), two.secondPost(two.fakeAnswer(idp, s.base+"/"))
		one.echoed(one.send(first))
		if p := postsAnswer(t, two, s.acs(), second.fields); p.status != http.StatusBadRequest || codeOf(p) != "answer_replayed" || sessionCookieOf(two, s.base) != nil {
			t.Errorf("got %s", p)
		}
	})
	t.Run("D4 it stays refused after a restart of both nodes", func(t *testing.T) {
		one := w.client(0)
		answer := one.secondPost(one.fakeAnswer(idp, s.base+"/"))
		for _, n := range w.nodes {
			n.restart()
		}
		if p := postsAnswer(t, one, s.acs(), answer.fields); p.status != http.StatusBadRequest || codeOf(p) != "answer_replayed" || sessionCookieOf(one, s.base) != nil {
			t.Errorf("got %s", p)
		}
	})
	t.Run("D4 of four at once on two nodes exactly one wins", func(t *testing.T) {
		for range 10 {
			same()
			var people []*client
			var answers []*form
			for i := range 4 {
				c := w.client(i % 2)
				people = append(people, c)
				answers = append(answers, c.secondPost(c.fakeAnswer(idp, s.base+"/")))
			}
			var got []string
			for i, p := range race(t, s, people, answers) {
				if sessionCookieOf(people[i], s.base) != nil {
					got = append(got, "won")
					continue
				}
				got = append(got, fmt.Sprint(p.status, " ", codeOf(p)))
			}
			slices.Sort(got)
			if all := strings.Join(got, ", "); all != "400 answer_replayed, 400 answer_replayed, 400 answer_replayed, won" {
				t.Errorf("got %s", all)
			}
		}
	})
}
