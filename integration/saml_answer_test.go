//go:build integration

package integration

import (
	"net/http"
	"net/url"
	"strings"
	"sync"
	"testing"
)

// postsAnswer brings an answer to an assertion consumer as a script does,
// which wants JSON.
func postsAnswer(t *testing.T, c *client, acs string, fields url.Values, header ...string) *page {
	t.Helper()
	req, err := http.NewRequest(http.MethodPost, acs, strings.NewReader(fields.Encode()))
	if err != nil {
		t.Fatal(err)
	}
	req.Header.Set("Content-Type", "application/x-www-form-urlencoded")
	req.Header.Set("Accept", "application/json")
	for _, h := range header {
		name, value, _ := strings.Cut(h, ": ")
		req.Header.Set(name, value)
	}
	return c.do(req)
}

// secondPost takes an answer on to the page that asks for the second post, and
// returns its form.
func (c *client) secondPost(answer *form) *form {
	c.t.Helper()
	p := c.send(answer)
	f := p.formWith("SAMLResponse")
	if f == nil || p.status != http.StatusOK {
		c.t.Fatalf("expected the page that posts once more, got %s", p)
	}
	return f
}

// TestSAMLAnswerOnce brings answers twice.
func TestSAMLAnswerOnce(t *testing.T) {
	t.Parallel()
	bothSAMLStores(t, unlimited(), []samlSite{{name: "once", php: true}}, func(t *testing.T, w *samlWorld) {
		s := w.site("once")
		login := func(t *testing.T) (*client, *form) {
			c := w.client(0)
			return c, c.secondPost(c.samlAnswer(c.samlForm(s.base+"/wanted"), "bob"))
		}
		t.Run("D4 the second post is the first one's fields and a marker", func(t *testing.T) {
			c := w.client(0)
			answer := c.samlAnswer(c.samlForm(s.base+"/wanted"), "bob")
			p := c.send(answer)
			if sessionCookieOf(c, s.base) != nil {
				t.Error("a cross-site post opens a session")
			}
			for name, want := range map[string]string{"Cache-Control": "no-store", "Content-Type": "text/html; charset=utf-8"} {
				if got := p.header.Get(name); got != want {
					t.Errorf("%s is %q, want %q", name, got, want)
				}
			}
			csp := p.header.Get("Content-Security-Policy")
			if !strings.Contains(csp, "default-src 'none'") || strings.Contains(csp, "unsafe") {
				t.Errorf("its policy is %q", csp)
			}
			f := p.formWith("SAMLResponse")
			if f == nil || f.target() != s.acs() || f.fields.Get("SAMLResponse") != answer.fields.Get("SAMLResponse") || f.fields.Get("RelayState") != answer.fields.Get("RelayState") {
				t.Fatalf("the form is %+v", f)
			}
			c.echoed(c.send(f))
		})
		t.Run("D4 an answer that was taken is nothing to the browser as it was before", func(t *testing.T) {
			c, f := login(t)
			binding := c.cookies(s.base)
			c.echoed(c.send(f))
			again := w.client(0).with(s.base, binding)
			if p := postsAnswer(t, again, s.acs(), f.fields); p.status != http.StatusBadRequest || codeOf(p) != "flow_unknown" || sessionCookieOf(again, s.base) != nil {
				t.Errorf("got %s", p)
			}
		})
		t.Run("D4 an assertion works once, also for a login of its own", func(t *testing.T) {
			c, f := login(t)
			c.echoed(c.send(f))
			d, mine := login(t)
			stolen := url.Values{}
			for name, values := range mine.fields {
				stolen[name] = values
			}
			stolen.Set("SAMLResponse", f.fields.Get("SAMLResponse"))
			if p := postsAnswer(t, d, s.acs(), stolen); p.status != http.StatusBadRequest || codeOf(p) != "saml_request_mismatch" || sessionCookieOf(d, s.base) != nil {
				t.Errorf("got %s", p)
			}
		})
	})
}

// TestSAMLTwoNodes brings answers to two nodes on one Redis.
func TestSAMLTwoNodes(t *testing.T) {
	t.Parallel()
	o := unlimited()
	o.nodes, o.store = 2, "redis"
	w := newSAMLWorld(t, o, samlSite{name: "nodes", php: true, block: "\t\tsign_requests on"})
	s := w.site("nodes")
	t.Run("E9 a sign-in begun on one node completes on the other", func(t *testing.T) {
		for here, there := range []int{1, 0} {
			c := w.client(here)
			answer := c.samlAnswer(c.samlForm(s.base+"/wanted"), "alice")
			other := w.as(c, s.base, there)
			if r := other.echoed(other.carry(other.send(answer))); r.Target != "/wanted" || r.Identity == nil || r.Identity.Username != "alice" {
				t.Errorf("from node %d to %d: the app was asked for %s by %+v", here, there, r.Target, r.Identity)
			}
		}
	})
	t.Run("A3 both nodes show the same certificate", func(t *testing.T) {
		one, two := certificateIn(w.client(0).fetch(s.entityID()).body), certificateIn(w.client(1).fetch(s.entityID()).body)
		if one == "" || one != two {
			t.Errorf("%.40s and %.40s", one, two)
		}
	})
	t.Run("D4 of two equal answers at once on two nodes exactly one wins", func(t *testing.T) {
		for range 10 {
			c := w.client(0)
			f := c.secondPost(c.samlAnswer(c.samlForm(s.base+"/wanted"), "bob"))
			people := []*client{w.as(c, s.base, 0), w.as(c, s.base, 1), w.as(c, s.base, 0), w.as(c, s.base, 1)}
			before := len(s.app.seen("/wanted"))
			answers := race(t, s, people, []*form{f, f, f, f})
			won := 0
			for i, p := range people {
				if sessionCookieOf(p, s.base) != nil {
					won++
				} else if answers[i].status/100 != 4 && answers[i].status != http.StatusSeeOther {
					t.Errorf("a loser gets %s", answers[i])
				}
			}
			if won != 1 {
				t.Errorf("%d of %d won: %v", won, len(people), answers)
			}
			if n := len(s.app.seen("/wanted")); n != before {
				t.Errorf("the app saw %d requests", n-before)
			}
		}
	})
}

// race has people bring an answer each, all at once, and returns what each gets. Nobody
// follows a redirect.
func race(t *testing.T, s *samlSite, people []*client, answers []*form) []*page {
	t.Helper()
	got := make([]*page, len(people))
	start := make(chan struct{})
	var wg sync.WaitGroup
	for i, p := range people {
		p.http.CheckRedirect = func(*http.Request, []*http.Request) error { return http.ErrUseLastResponse }
		wg.Go(func() {
			<-start
			got[i] = postsAnswer(t, p, s.acs(), answers[i].fields)
		})
	}
	close(start)
	wg.Wait()
	return got
}
