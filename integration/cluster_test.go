//go:build integration

package integration

import (
	"net/http"
	"net/url"
	"strings"
	"testing"
	"time"

	"github.com/caddy-sso/caddy-sso/gateway/gatewaytest"
)

// atOnce is how soon a revocation must have reached every node (row E4).
const atOnce = time.Second

// TestCluster runs two gateways on one Redis.
func TestCluster(t *testing.T) {
	t.Parallel()
	cl := newCluster(t, clusterOptions{nodes: 2})

	t.Run("E9 a sign-in begun on one node completes on the other", func(t *testing.T) {
		for here, there := range []int{1, 0} {
			c := cl.client(here)
			begun := c.stopBefore(cl.op.Issuer, func() *page { return c.navigate(cl.base + "/wanted?x=1") })
			other := cl.at(c, there)
			r := other.echoed(other.navigate(begun.header.Get("Location")))
			if r.Target != "/wanted?x=1" || r.Identity == nil || r.Identity.Username != "alice" {
				t.Errorf("from node %d to %d: the app was asked for %s by %+v, %s", here, there, r.Target, r.Identity, r.AssertionError)
			}
			cl.served(other, here)
		}
	})
	t.Run("E9 an answer works once, on whichever node", func(t *testing.T) {
		c := cl.client(0)
		begun := c.stopBefore(cl.op.Issuer, func() *page { return c.navigate(cl.base + "/") })
		answer := c.stopBefore(cl.base, func() *page { return c.navigate(begun.header.Get("Location")) }).header.Get("Location")
		binding := c.cookies(cl.base)
		other := cl.at(c, 1)
		other.echoed(other.navigate(answer))
		again := cl.client(0).with(cl.base, binding)
		if p := again.fetch(answer); p.status != http.StatusBadRequest || codeIn(p.body) != "flow_unknown" || sessionCookieOf(again, cl.base) != nil {
			t.Errorf("the second time: %s", p)
		}
	})
	t.Run("E4 a logout on one node is honoured by the other within a second", func(t *testing.T) {
		for here, there := range []int{1, 0, 1} {
			here %= 2
			c := cl.signIn(here)
			other := cl.signIn(here)
			cl.served(c, there)
			cl.served(other, there)
			stop := probe(cl.at(c, there), cl.base+"/", 20*time.Millisecond)
			stopOther := probe(cl.at(other, there), cl.base+"/", 50*time.Millisecond)
			time.Sleep(300 * time.Millisecond)
			late, begun := gatewaytest.Lateness(t), time.Now()
			c.logOut(cl.base)
			told := time.Now() // the answer is there: it is promised from here on
			time.Sleep(atOnce)
			within := atOnce + late()
			time.Sleep(within - atOnce + 200*time.Millisecond) // the probe outlasts the promise
			last := honoured(t, stop(), begun, told, within)
			t.Logf("from node %d to %d: the last request that was served began %v after the logout", here, there, last)
			for _, s := range stopOther() {
				if s.status != http.StatusOK {
					t.Errorf("another login: %v", s)
				}
			}
		}
	})
	t.Run("E4 and cuts the other node's live connections within a second", func(t *testing.T) {
		for here, there := range []int{1, 0} {
			c, other := cl.signIn(here), cl.signIn(here)
			live := holdAll(t, cl.at(c, there), cl.base)
			others := holdAll(t, cl.at(other, there), cl.base)
			time.Sleep(300 * time.Millisecond)
			live.stillOpen(t, "before the logout")
			late := gatewaytest.Lateness(t)
			c.logOut(cl.base)
			told := time.Now()
			for path, took := range live.ends(t, told) {
				t.Logf("from node %d to %d: %s ended %v after the logout", here, there, path, took)
				if took > atOnce+late() {
					t.Errorf("%s ended %v after the logout", path, took)
				}
			}
			for range live {
				select {
				case <-cl.app.ended:
				case <-time.After(30 * time.Second):
					t.Fatal("a connection lives on at the app")
				}
			}
			others.stillOpen(t, "of another login")
		}
	})
	t.Run("E4 a cookie that was copied before the logout opens nothing on either node", func(t *testing.T) {
		c := cl.signIn(0)
		copied := c.cookies(cl.base)
		cl.served(c, 1)
		late := gatewaytest.Lateness(t)
		c.logOut(cl.base)
		time.Sleep(atOnce)
		time.Sleep(late())
		for at := range cl.nodes {
			thief := cl.client(at).with(cl.base, copied)
			if p := thief.fetch(cl.base + "/"); p.status != http.StatusUnauthorized {
				t.Errorf("node %d: %s", at, p)
			}
		}
	})
	t.Run("E4 many logouts at once are honoured too", func(t *testing.T) {
		const many = 20
		var people []*client
		for range many {
			c := cl.signIn(0)
			cl.served(c, 1)
			people = append(people, c)
		}
		done := make(chan int, many)
		var there []*client
		for _, c := range people {
			there = append(there, cl.at(c, 1))
		}
		late := gatewaytest.Lateness(t)
		for _, c := range people {
			go func() {
				resp, err := c.http.PostForm(cl.base+"/.sso/logout", url.Values{})
				if err != nil {
					done <- 0
					return
				}
				_ = resp.Body.Close()
				done <- resp.StatusCode
			}()
		}
		for range many {
			if status := <-done; status != http.StatusOK {
				t.Errorf("a logout is answered %d", status)
			}
		}
		time.Sleep(atOnce)
		time.Sleep(late())
		for i, c := range there {
			if p := c.fetch(cl.base + "/"); p.status != http.StatusUnauthorized {
				t.Errorf("person %d: %s", i, p)
			}
		}
	})
	for i, n := range cl.nodes {
		if !strings.Contains(n.log.String(), "session store is followed") {
			t.Errorf("node %d never followed the store", i)
		}
	}
}

// honoured returns how long after a logout the last request that was served
// began, and fails the test if that was not within a time or if nothing was served
// before. The logout was asked for at begun and answered at logout.
func honoured(t *testing.T, samples []sample, begun, logout time.Time, within time.Duration) (last time.Duration) {
	t.Helper()
	before, after := 0, 0
	for _, s := range samples {
		switch {
		case s.status == http.StatusOK && s.began.Before(logout):
			before++
		case s.status == http.StatusOK:
			last = s.began.Sub(logout)
		case s.status == http.StatusUnauthorized:
			after++
		case s.cutBy(begun, logout):
		default:
			t.Errorf("%v after the logout: %v", s.began.Sub(logout), s)
		}
	}
	if before == 0 || after == 0 {
		t.Errorf("%d requests were served before the logout, %d refused after it", before, after)
	}
	if last > within {
		t.Errorf("a request %v after the logout was served", last)
	}
	return last
}
