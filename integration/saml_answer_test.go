//go:build integration

package integration

import (
	"bytes"
	"net/http"
	"net/http/httptest"
	"net/url"
	"strings"
	"sync"
	"testing"
	"time"
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
		t.Run("D4 an answer that was taken is nothing to another browser", func(t *testing.T) {
			c, f := login(t)
			c.echoed(c.send(f))
			if n := len(s.app.seen("/wanted")); n == 0 {
				t.Error("the app saw nothing")
			}
			thief := w.client(0)
			if p := postsAnswer(t, thief, s.acs(), f.fields); p.status/100 != 4 || codeOf(p) == "" || sessionCookieOf(thief, s.base) != nil {
				t.Errorf("got %s", p)
			}
		})
		t.Run("D4 nor to the same browser, which had other bits before", func(t *testing.T) {
			c, f := login(t)
			binding := c.cookies(s.base)
			c.echoed(c.send(f))
			again := w.client(0)
			again.http.Jar.SetCookies(again.url(s.base), binding)
			if p := postsAnswer(t, again, s.acs(), f.fields); p.status != http.StatusBadRequest || codeOf(p) != "flow_unknown" || sessionCookieOf(again, s.base) != nil {
				t.Errorf("got %s", p)
			}
		})
		t.Run("D4 who is signed in and goes back to the page is sent to the app, and stays who he is", func(t *testing.T) {
			c, f := login(t)
			c.echoed(c.send(f))
			had := sessionCookieOf(c, s.base).Value
			c.echoed(c.send(f))
			if now := sessionCookieOf(c, s.base); now == nil || now.Value != had {
				t.Error("the session changed")
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
		t.Run("D4 another browser gets nothing by it and uses nothing up", func(t *testing.T) {
			c, f := login(t)
			thief := w.client(0)
			thief.samlForm(s.base + "/") // it has a login of its own under way
			seen := len(s.app.seen("/wanted"))
			p := thief.stopBefore(w.providerOf(s), func() *page { return postsAnswer(t, thief, s.acs(), f.fields) })
			if p.status == http.StatusOK || sessionCookieOf(thief, s.base) != nil || len(s.app.seen("/wanted")) != seen {
				t.Errorf("got %s", p)
			}
			c.echoed(c.send(f))
		})
		t.Run("D4 only a form that is posted is an answer", func(t *testing.T) {
			c, f := login(t)
			if p := c.fetch(s.acs() + "?" + f.fields.Encode()); p.status != http.StatusMethodNotAllowed {
				t.Errorf("a GET: %s", p)
			}
			for _, name := range []string{"application/json", "text/plain", "multipart/form-data; boundary=x"} {
				if p := postsAnswer(t, c, s.acs(), f.fields, "Content-Type: "+name); p.status != http.StatusBadRequest || codeOf(p) != "bad_request" {
					t.Errorf("%s: %s", name, p)
				}
			}
			c.echoed(c.send(f))
		})
		t.Run("C13 a redirect on the way to the ACS loses the answer: a page says so", func(t *testing.T) {
			moved := httptest.NewServer(http.RedirectHandler(s.acs(), http.StatusFound))
			t.Cleanup(moved.Close)
			c, f := login(t)
			p := postsAnswer(t, c, moved.URL, f.fields)
			if p.status != http.StatusBadRequest || codeOf(p) != "answer_lost" {
				t.Errorf("got %s", p)
			}
			eventually(t, "the log names the address to register", 5*time.Second, func() bool {
				return strings.Contains(w.gw().log.String(), "the address to register at the provider is "+s.acs())
			})
			c.echoed(c.send(f))
		})
		t.Run("C13 cookies are blocked: a page says so", func(t *testing.T) {
			_, f := login(t)
			blocked := w.client(0)
			blocked.http.Jar = nil
			p := blocked.send(f)
			if p.status != http.StatusForbidden || codeOf(p) != "cookies_blocked" {
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
			other := w.as(c, s, there)
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
			people := []*client{w.as(c, s, 0), w.as(c, s, 1), w.as(c, s, 0), w.as(c, s, 1)}
			before := len(s.app.seen("/wanted"))
			var wg sync.WaitGroup
			start := make(chan struct{})
			answers := make([]*page, len(people))
			for i, p := range people {
				p.http.CheckRedirect = func(*http.Request, []*http.Request) error { return http.ErrUseLastResponse }
				wg.Go(func() {
					<-start
					answers[i] = postsAnswer(t, p, s.acs(), f.fields)
				})
			}
			close(start)
			wg.Wait()
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
	t.Run("D4 what one node took the other takes no more", func(t *testing.T) {
		c := w.client(0)
		f := c.secondPost(c.samlAnswer(c.samlForm(s.base+"/wanted"), "bob"))
		other := w.as(c, s, 1)
		c.echoed(c.send(f))
		if p := postsAnswer(t, other, s.acs(), f.fields); p.status != http.StatusBadRequest || codeOf(p) != "flow_unknown" || sessionCookieOf(other, s.base) != nil {
			t.Errorf("got %s", p)
		}
	})
}

// TestSAMLLimit bounds attempts at the assertion consumer over two nodes. Each
// test comes from an address of its own.
func TestSAMLLimit(t *testing.T) {
	t.Parallel()
	w := newSAMLWorld(t, samlOptions{nodes: 2, store: "redis"}, samlSite{name: "limit", php: true})
	s := w.site("limit")
	refused := func(p *page) bool { return p.status/100 == 4 && p.status != http.StatusTooManyRequests }
	// bad posts an answer that no provider made, to a login that this browser began.
	bad := func(at int, from string) *page {
		c := w.client(at, from)
		p := c.send(c.samlAnswer(c.samlForm(s.base+"/"), "bob"))
		second := p.formWith("sso_repost")
		if second == nil {
			return p // there is none for those whom the limit refuses
		}
		second.fields.Set("SAMLResponse", "PHg+")
		return c.send(second)
	}
	t.Run("D5 ten answers a minute are judged over both nodes together", func(t *testing.T) {
		const from = "127.0.40.1"
		stray := url.Values{"SAMLResponse": {"PHg+"}, "RelayState": {strings.Repeat("A", 43)}, "sso_repost": {"1"}}
		for range 15 { // to logins that nobody began
			if p := postsAnswer(t, w.client(0, from), s.acs(), stray); !refused(p) {
				t.Fatalf("a stray answer: %s", p)
			}
		}
		for i := range 10 {
			if p := bad(i%2, from); !refused(p) {
				t.Fatalf("answer %d of ten: %s", i+1, p)
			}
		}
		for at := range 2 {
			if p := bad(at, from); !limited(t, p, time.Minute) {
				t.Errorf("the eleventh, at node %d: %s", at, p)
			}
		}
		if p := bad(0, "127.0.40.2"); !refused(p) {
			t.Errorf("another address: %s", p)
		}
		c := w.client(1, "127.0.40.3")
		c.echoed(c.samlSignIn(s.base+"/", "bob"))
	})
	t.Run("D5 the page that posts once more is no way around it", func(t *testing.T) {
		const from = "127.0.43.1"
		first := url.Values{"SAMLResponse": {"PHg+"}, "RelayState": {strings.Repeat("A", 43)}}
		for i := range 300 {
			if p := postsAnswer(t, w.client(i%2, from), s.acs(), first); p.status != http.StatusOK || p.formWith("sso_repost") == nil {
				t.Fatalf("request %d of 300: %s", i+1, p)
			}
		}
		if p := postsAnswer(t, w.client(0, from), s.acs(), first); !limited(t, p, time.Minute) {
			t.Errorf("the one after 300: %s", p)
		}
	})
	t.Run("D5 a success gives its attempt back", func(t *testing.T) {
		const office = "127.0.41.1"
		for i := range 8 {
			if p := bad(i%2, office); !refused(p) {
				t.Fatalf("answer %d: %s", i+1, p)
			}
		}
		for i := range 12 {
			c := w.client(i%2, office)
			c.echoed(c.samlSignIn(s.base+"/", "bob"))
		}
		for i := range 2 {
			if p := bad(i, office); !refused(p) {
				t.Errorf("answer %d that fails: %s", i+9, p)
			}
		}
		if p := bad(1, office); !limited(t, p, time.Minute) {
			t.Errorf("the eleventh that fails: %s", p)
		}
	})
	t.Run("D5 a body of any size costs little and is refused", func(t *testing.T) {
		c := w.client(0, "127.0.42.1")
		large := url.Values{"SAMLResponse": {string(bytes.Repeat([]byte("A"), 3<<20))}, "RelayState": {strings.Repeat("A", 43)}}
		if p := postsAnswer(t, c, s.acs(), large); p.status != http.StatusRequestEntityTooLarge || codeOf(p) != "too_large" {
			t.Errorf("got %s", p)
		}
	})
}
