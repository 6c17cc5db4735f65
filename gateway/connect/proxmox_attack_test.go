package connect_test

import (
	"net/http"
	"net/http/httptest"
	"net/url"
	"strings"
	"testing"
	"time"

	"github.com/caddy-sso/caddy-sso/gateway/connect"
	"github.com/caddy-sso/caddy-sso/gateway/refusal"
)

// TestProxmoxAttacks sends what a browser must not be able to do. The control is alice with
// her own ticket and its seal, which cost no login. Each attack has a ticket that the gateway
// does not trust: the node gets alice's own instead, and the browser, too.
func TestProxmoxAttacks(t *testing.T) {
	t.Parallel()
	p := newPVE(t)
	alice, bob := who{"alice", "1", "Admin"}, who{"bob", "2", "Auditor"}
	a, b := p.open(alice).kept(t), p.open(bob).kept(t)
	if len(a) != 2 || !strings.HasPrefix(a[0], "PVEAuthCookie=PVE%3Aalice%40gw%3A") || !strings.HasPrefix(a[1], "PVEAuthSeal=") {
		t.Fatalf("alice's browser keeps %q", a)
	}
	control := func(t *testing.T) {
		t.Helper()
		before := p.count()
		if g := p.open(alice, a...); g.user(t) != "alice@gw" || len(g.kept(t)) > 0 || p.count() != before {
			t.Errorf("the control gets %q, after %d logins", g.header, p.count()-before)
		}
	}
	control(t)
	signed := func(text string) string { return "PVEAuthCookie=" + url.QueryEscape(text) }
	old := func() []string {
		p := newPVE(t)
		p.made = time.Now().Add(-91 * time.Minute)
		return p.open(alice).kept(t)
	}()
	for name, cookies := range map[string][]string{
		"the ticket of another person":                    {b[0]},
		"the ticket of another person with its seal":      b,
		"the ticket of another person with one's seal":    {b[0], a[1]},
		"one's ticket with the seal of another person":    {a[0], b[1]},
		"one's ticket without a seal":                     {a[0]},
		"one's ticket with an empty seal":                 {a[0], "PVEAuthSeal="},
		"one's ticket with a cut seal":                    {a[0], a[1][:len(a[1])-1]},
		"a forged ticket":                                 {signed("PVE:root@pam:66000000::Zm9yZ2Vk"), a[1]},
		"a forged ticket of one's own name":               {signed(ticketOf("alice@gw", time.Now().Add(time.Second))), a[1]},
		"an old ticket":                                   old,
		"a ticket of another realm":                       {signed(ticketOf("alice@pam", time.Now())), a[1]},
		"a ticket that waits for a second factor":         {signed("PVE:!tfa!alice@gw:66000000::c2ln"), a[1]},
		"an older form of it":                             {signed("PVE:tfa!alice@gw:66000000::c2ln"), a[1]},
		"another older form of it":                        {signed("PVE:u2f!alice@gw:66000000::c2ln"), a[1]},
		"a seal in the ticket's cookie":                   {"PVEAuthCookie=" + strings.TrimPrefix(a[1], "PVEAuthSeal=")},
		"very many seals":                                 {b[0], "PVEAuthSeal=" + strings.Repeat("A.", 2000)},
		"a cookie without a name":                         {"=" + b[0]},
		"a name with a blank":                             {"PVEAuthCookie =" + strings.TrimPrefix(b[0], "PVEAuthCookie=")},
		"an escaped name":                                 {"PVEAuth%43ookie=" + strings.TrimPrefix(b[0], "PVEAuthCookie=")},
		"a ticket of Proxmox Backup Server":               {"PBSAuthCookie=" + strings.TrimPrefix(b[0], "PVEAuthCookie=")},
		"a ticket with a line break":                      {"PVEAuthCookie=PVE%3Aroot%40pam%3A66000000%3A%3Ac2ln%0D%0AX%3A1"},
		"the seal and ticket in quotes":                   {`PVEAuthCookie="` + strings.TrimPrefix(b[0], "PVEAuthCookie=") + `"`, b[1]},
		"another person's ticket planted beside no other": {b[0], b[1], "a=b"},
	} {
		t.Run(name, func(t *testing.T) {
			g := p.open(alice, cookies...)
			if user := g.user(t); user != "alice@gw" {
				t.Errorf("the node gets the ticket of %s", user)
			}
			if kept := g.kept(t); len(kept) != 2 || kept[0] != a[0] || g.header.Get("Cache-Control") != "no-store" {
				t.Errorf("the browser gets %q", g.header)
			}
			control(t)
		})
	}
	t.Run("another person's ticket planted beside one's own", func(t *testing.T) {
		if g := p.open(alice, b[0], a[0], b[1], a[1]); g.user(t) != "alice@gw" || len(g.kept(t)) > 0 {
			t.Errorf("the browser gets %q", g.header)
		}
	})
	for name, as := range map[string]who{"another login": {"alice", "3", "Admin"}, "other roles": {"alice", "1", "Auditor"}, "another person": {"carol", "1", "Admin"}} {
		t.Run("the cookies under "+name, func(t *testing.T) {
			before := p.count()
			if g := p.open(as, a...); g.user(t) != as.user+"@gw" || p.count() != before+1 {
				t.Errorf("the node gets the ticket of %s, after %d logins", g.user(t), p.count()-before)
			}
		})
	}
	t.Run("a ticket in the header Authorization", func(t *testing.T) {
		for _, value := range []string{"PVEAuthCookie=" + strings.TrimPrefix(b[0], "PVEAuthCookie="), "PVEAPIToken=root@pam!x=secret", "Basic cm9vdDpy"} {
			r := httptest.NewRequest(http.MethodGet, "https://pve.example/api2/json/version", nil)
			r.Header["Authorization"], r.Header["Cookie"] = []string{value}, []string{strings.Join(a, "; ")}
			if g := p.serve(r, alice, http.StatusOK, ""); g.user(t) != "alice@gw" || g.request.Header["Authorization"] != nil {
				t.Errorf("the node gets %q", g.request.Header)
			}
		}
	})
	t.Run("CSRF: a page of another site posts", func(t *testing.T) {
		r := httptest.NewRequest(http.MethodPost, "https://pve.example/api2/json/access/groups", strings.NewReader("groupid=x"))
		r.Header["Cookie"] = []string{strings.Join(a, "; ")}
		if g := p.serve(r, alice, http.StatusUnauthorized, ""); g.request.Header["Csrfpreventiontoken"] != nil {
			t.Error("the gateway has added the token that only the interface may have")
		}
	})
	t.Run("a node that sets the cookie itself", func(t *testing.T) {
		r := httptest.NewRequest(http.MethodGet, "https://pve.example/", nil)
		c := p.app.Take(r.Header)
		if err := c.Admit(r, connect.Visit{Keys: realKeys{}, Person: alice, User: "alice", Login: "alice 1", Secure: true}); err != nil {
			t.Fatal(err)
		}
		if line := c.Set("PVEAuthCookie", b[0]); line != "" {
			t.Errorf("the browser gets %q", line)
		}
	})
}

// TestProxmoxPublicAttacks: a path that needs no login gets no ticket, however it is brought.
func TestProxmoxPublicAttacks(t *testing.T) {
	t.Parallel()
	p := newPVE(t)
	cookies := strings.Join(p.open(who{"alice", "1", ""}).kept(t), "; ")
	for name, header := range map[string]http.Header{
		"a ticket in the cookie":            {"Cookie": {cookies}},
		"several Cookie lines":              {"Cookie": {"a=b", cookies}},
		"a ticket in Authorization":         {"Authorization": {"PVEAuthCookie=x"}},
		"an API token":                      {"Authorization": {"PVEAPIToken=root@pam!x=secret"}},
		"a cookie with an escaped name":     {"Cookie": {"PVEAuth%43ookie=x"}},
		"a ticket and an API token":         {"Cookie": {cookies}, "Authorization": {"PVEAPIToken=root@pam!x=secret"}},
		"two headers Authorization":         {"Authorization": {"PVEAPIToken=a", "PVEAuthCookie=x"}},
		"cookies of other apps at the name": {"Cookie": {"session=1; grafana=2"}},
	} {
		t.Run(name, func(t *testing.T) {
			r := httptest.NewRequest(http.MethodGet, "https://pve.example/pve-docs/index.html", nil)
			r.Header = header.Clone()
			c := p.app.Take(r.Header)
			if err := c.Unknown(r, p.app.PassesAlone("/pve-docs/index.html", r)); err != nil || r.Header["Cookie"] != nil || r.Header["Authorization"] != nil {
				t.Errorf("the node gets %q, %v", r.Header, err)
			}
			if line := c.Set("PVEAuthCookie", "PVEAuthCookie=x"); line != "" {
				t.Errorf("the browser gets %q", line)
			}
		})
	}
}

// TestProxmoxTokenAttacks: only an API token passes without a login, to the API alone, and
// with nothing beside it.
func TestProxmoxTokenAttacks(t *testing.T) {
	t.Parallel()
	p := newPVE(t, func(o *connect.ProxmoxOptions) { o.APITokens = true })
	token := "PVEAPIToken=root@pam!x=secret"
	passes := func(path string, lines ...string) (*http.Request, bool) {
		r := httptest.NewRequest(http.MethodGet, "https://pve.example"+path, nil)
		r.Header["Authorization"], r.Header["Cookie"] = lines, []string{"PVEAuthCookie=x; a=b"}
		c := p.app.Take(r.Header)
		alone := p.app.PassesAlone(path, r)
		if err := c.Unknown(r, alone); err != nil {
			t.Fatal(err)
		}
		return r, alone
	}
	r, alone := passes("/api2/json/version", token)
	if !alone || r.Header.Get("Authorization") != token || r.Header["Cookie"] != nil {
		t.Fatalf("the control gets %v %q", alone, r.Header)
	}
	for name, try := range map[string][]string{
		"a page":                  {"/", token},
		"a path above the API":    {"/api2/../", token},
		"encoded dots":            {"/api2/%2e%2e/", token},
		"a path like the API's":   {"/api2x/json", token},
		"a ticket":                {"/api2/json/version", "PVEAuthCookie=x"},
		"another scheme":          {"/api2/json/version", "Bearer x"},
		"two headers":             {"/api2/json/version", token, "PVEAuthCookie=x"},
		"a blank before the name": {"/api2/json/version", " " + token},
		"no header":               {"/api2/json/version"},
		"two slashes":             {"//api2/json/version", token},
	} {
		t.Run(name, func(t *testing.T) {
			if r, alone := passes(try[0], try[1:]...); alone || r.Header["Authorization"] != nil {
				t.Errorf("it passes with %q", r.Header)
			}
		})
	}
	if off := newPVE(t); off.app.PassesAlone("/api2/json/version", r) {
		t.Error("it passes without api_tokens")
	}
}

// TestProxmoxHeaderAttacks stuffs the header of a request: the node would drop the connection.
func TestProxmoxHeaderAttacks(t *testing.T) {
	t.Parallel()
	p := newPVE(t)
	alice := who{"alice", "1", ""}
	for name, stuff := range map[string]func(*http.Request){
		"one long header": func(r *http.Request) { r.Header.Set("X", strings.Repeat("x", 8000)) },
		"many long headers": func(r *http.Request) {
			r.Header["X"] = strings.Split(strings.Repeat(strings.Repeat("x", 500)+",", 16), ",")
		},
		"many lines":     func(r *http.Request) { r.Header["X"] = strings.Split(strings.Repeat("x,", 60), ",") },
		"a long address": func(r *http.Request) { r.URL.RawQuery = strings.Repeat("x", 8000) },
	} {
		t.Run(name, func(t *testing.T) {
			r := httptest.NewRequest(http.MethodGet, "https://pve.example/", nil)
			stuff(r)
			wantCode(t, p.serve(r, alice, http.StatusOK, "").err, refusal.HeaderTooLarge, "bytes", "lines")
			c := p.app.Take(r.Header)
			wantCode(t, c.Unknown(r, false), refusal.HeaderTooLarge)
		})
	}
	t.Run("cookies are no stuff", func(t *testing.T) {
		p.open(alice, "a="+strings.Repeat("x", 9000)).user(t)
	})
}
