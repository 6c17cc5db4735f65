package connect_test

import (
	"errors"
	"maps"
	"net/http"
	"net/http/httptest"
	"net/url"
	"slices"
	"strings"
	"testing"
	"time"

	"github.com/caddy-sso/caddy-sso/gateway/check/checktest"
	"github.com/caddy-sso/caddy-sso/gateway/connect"
	"github.com/caddy-sso/caddy-sso/gateway/refusal"
)

// An attack is one that checks stop. It is played behind its control, which gets in.
type attack struct {
	name, promise string
	// checks stop it together, and each of them alone. None: it has nothing that could get
	// in, whatever is checked.
	checks []string
	// play returns nil if it gets in. evil is false for the control.
	play func(t *testing.T, p *pve, evil bool) error
}

var errStopped = errors.New("stopped")

// promises are what is promised of Proxmox VE, by the key that attacks name.
var promises = map[string]string{
	"person":  "Nobody uses the ticket of another person",
	"login":   "A ticket ends with the login and the roles that it was made for",
	"forged":  "A ticket that the gateway has not sealed is not used",
	"half":    "A ticket that waits for a second factor never counts",
	"old":     "An old ticket is replaced",
	"name":    "A cookie counts by its exact name and form",
	"renewal": "A renewed ticket is sealed for the same user alone",
	"node":    "A node signs in the person of the login, or nobody",
	"token":   "An API token passes alone, to the API alone",
	"sign-in": "No password is tried and no code is brought without a login",
}

// tickets are attacks by the cookies of alice's browser. A ticket gets in if it is used as it
// came: else the browser gets two new cookies.
func tickets() (all []attack) {
	type jar struct{ a, b, old, pam []string }
	signed := func(text string) string { return "PVEAuthCookie=" + url.QueryEscape(text) }
	value := func(pair string) string { _, v, _ := strings.Cut(pair, "="); return v }
	user, seal := []string{"ticket user", "ticket seal"}, []string{"ticket seal"}
	add := func(promise, name string, checks []string, as who, cookies func(j jar) []string) {
		all = append(all, attack{name, promise, checks, func(t *testing.T, p *pve, evil bool) error {
			j := jar{a: p.open(someone).kept(t), b: p.open(who{"bob", "2", "Auditor"}).kept(t), pam: p.open(who{"alice", "1", "pam"}).kept(t)}
			p.made = time.Now().Add(-91 * time.Minute)
			j.old = p.open(who{"alice", "old", ""}).kept(t)
			p.made = time.Time{}
			whose, sent := someone, j.a
			if evil {
				whose, sent = as, cookies(j)
			}
			g := p.open(whose, sent...)
			if g.user(t) == "" || len(g.kept(t)) == 0 {
				return nil
			}
			if g.user(t) != whose.user+"@gw" || len(g.kept(t)) != 2 || g.header.Get("Cache-Control") != "no-store" {
				t.Errorf("the node gets the ticket of %s, the browser %q", g.user(t), g.header)
			}
			return errStopped
		}})
	}
	alice := func(promise, name string, checks []string, cookies func(j jar) []string) {
		add(promise, name, checks, someone, cookies)
	}
	alice("person", "the ticket of another person", user, func(j jar) []string { return j.b[:1] })
	alice("person", "the ticket of another person with its seal", user, func(j jar) []string { return j.b })
	alice("person", "the ticket of another person with one's own seal", user, func(j jar) []string { return []string{j.b[0], j.a[1]} })
	alice("person", "the ticket of another person, and very many seals", user, func(j jar) []string { return []string{j.b[0], "PVEAuthSeal=" + strings.Repeat("A.", 2000)} })
	alice("person", "the ticket of another person, planted beside others' cookies", user, func(j jar) []string { return []string{j.b[0], j.b[1], "a=b"} })
	alice("person", "a ticket of another realm", user, func(j jar) []string { return []string{signed(ticketOf("alice@pam", time.Now())), j.a[1]} })
	alice("person", "a ticket in upper case", user, func(j jar) []string { return []string{signed(ticketOf("ALICE@gw", time.Now())), j.a[1]} })
	add("person", "the cookies of another person", user, who{"carol", "1", "Admin"}, func(j jar) []string { return j.a })
	add("login", "the cookies of another login", seal, who{"alice", "3", "Admin"}, func(j jar) []string { return j.a })
	add("login", "the cookies of other roles", seal, who{"alice", "1", "Auditor"}, func(j jar) []string { return j.a })
	alice("login", "the seal of other roles", seal, func(j jar) []string { return []string{j.a[0], j.pam[1]} })
	alice("login", "the seal of another person", seal, func(j jar) []string { return []string{j.a[0], j.b[1]} })
	alice("forged", "no seal", seal, func(j jar) []string { return j.a[:1] })
	alice("forged", "an empty seal", seal, func(j jar) []string { return []string{j.a[0], "PVEAuthSeal="} })
	alice("forged", "a cut seal", seal, func(j jar) []string { return []string{j.a[0], j.a[1][:len(j.a[1])-1]} })
	alice("forged", "a forged ticket of root", []string{"ticket user", "ticket age", "ticket seal"}, func(j jar) []string { return []string{signed("PVE:root@pam:66000000::Zm9yZ2Vk"), j.a[1]} })
	alice("forged", "a forged ticket of one's own name", seal, func(j jar) []string {
		return []string{signed(ticketOf("alice@gw", time.Now().Add(time.Second))), j.a[1]}
	})
	alice("forged", "one's own ticket with another signature", seal, func(j jar) []string { return []string{strings.Replace(j.a[0], "c2ln", "c2lm", 1), j.a[1]} })
	for _, half := range []string{"!tfa!", "tfa!", "u2f!"} {
		now := func(j jar) []string { return []string{signed(ticketOf(half+"alice@gw", time.Now())), j.a[1]} }
		alice("half", "a ticket that waits for a second factor, "+half, []string{"ticket complete", "ticket user", "ticket seal"}, now)
	}
	alice("old", "an old ticket with its seal", []string{"ticket age", "ticket seal"}, func(j jar) []string { return j.old })
	add("old", "an old ticket under its own login", []string{"ticket age"}, who{"alice", "old", ""}, func(j jar) []string { return j.old })
	alice("old", "a ticket of another year", []string{"ticket age", "ticket seal"}, func(j jar) []string { return []string{signed("PVE:alice@gw:56000000::c2ln"), j.a[1]} })
	alice("name", "a cookie without a name", user, func(j jar) []string { return []string{"=" + j.b[0], j.b[1]} })
	alice("name", "a name with a blank", user, func(j jar) []string { return []string{"PVEAuthCookie =" + value(j.b[0])} })
	for name, pair := range map[string]string{"an escaped name": "PVEAuth%43ookie=", "a name in lower case": "pveauthcookie=", "a name in upper case": "PVEAUTHCOOKIE=", "a cookie of Proxmox Backup Server": "PBSAuthCookie=", "a name with a prefix": "__Host-PVEAuthCookie="} {
		alice("name", name, nil, func(j jar) []string { return []string{pair + value(j.a[0]), j.a[1]} })
	}
	alice("name", "a ticket in quotes", nil, func(j jar) []string { return []string{`PVEAuthCookie="` + value(j.a[0]) + `"`, j.a[1]} })
	alice("name", "a ticket that is encoded twice", nil, func(j jar) []string { return []string{"PVEAuthCookie=" + url.QueryEscape(value(j.a[0])), j.a[1]} })
	alice("name", "a ticket with a line break", nil, func(j jar) []string { return []string{"PVEAuthCookie=" + value(j.a[0]) + "%0D%0AX%3A1", j.a[1]} })
	alice("name", "the seal as the ticket", nil, func(j jar) []string { return []string{"PVEAuthCookie=" + value(j.a[1])} })
	return all
}

// answers are attacks by what a node responds, to the gateway and to the interface.
func answers() (all []attack) {
	for name, user := range map[string]string{"another person": "bob@gw", "root": "root@pam", "a name in upper case": "Alice@gw", "another realm": "alice@pam"} {
		all = append(all, attack{"a node signs in " + name, "node", []string{"login user"}, signsIn(user)}, attack{"a node renews the ticket of " + name, "renewal", []string{"renewal user"}, renews(user)})
	}
	for _, half := range []string{"!tfa!", "tfa!", "u2f!"} {
		all = append(all, attack{"a node wants a second factor, " + half, "half", []string{"login complete", "login user"}, signsIn(half + "alice@gw")},
			attack{"a renewal wants a second factor, " + half, "half", []string{"renewal complete", "renewal user"}, renews(half + "alice@gw")})
	}
	return all
}

func signsIn(user string) func(*testing.T, *pve, bool) error {
	return func(_ *testing.T, p *pve, evil bool) error {
		if evil {
			p.user = user
		}
		return p.open(someone).err
	}
}

func renews(user string) func(*testing.T, *pve, bool) error {
	return func(t *testing.T, p *pve, evil bool) error {
		whose := "alice@gw"
		if evil {
			whose = user
		}
		r := httptest.NewRequest(http.MethodPost, "https://pve.example/api2/json/access/ticket", nil)
		r.Header.Set("Cookie", strings.Join(p.open(someone).kept(t), "; "))
		if g := p.serve(r, someone, http.StatusOK, `{"data":{"ticket":"`+ticketOf(whose, time.Now())+`"}}`); len(g.kept(t)) == 0 {
			return errStopped
		}
		return nil
	}
}

// bearings are attacks by a request with an API token, or none. It gets in if it passes.
func bearings() (all []attack) {
	const version, token = "/api2/json/version", "PVEAPIToken=root@pam!x=secret"
	add := func(promise, name string, checks []string, path string, lines ...string) {
		all = append(all, attack{name, promise, checks, func(t *testing.T, p *pve, evil bool) error {
			path, lines := path, slices.Clone(lines)
			if !evil {
				path, lines = version, []string{token}
			}
			r := httptest.NewRequest(http.MethodGet, "https://pve.example"+path, nil)
			r.Header["Authorization"], r.Header["Cookie"] = lines, []string{"PVEAuthCookie=x; a=b"}
			c := p.app.Take(r.Header)
			alone := p.app.PassesAlone(path, r)
			if err := c.Unknown(r, alone); err != nil || len(r.Header["Cookie"]) > 0 || !alone && len(r.Header["Authorization"]) > 0 {
				t.Errorf("the node gets %q, %v", r.Header, err)
			}
			if !alone {
				return errStopped
			}
			return nil
		}})
	}
	form, once, path := []string{"token form"}, []string{"token once"}, []string{"token path"}
	add("token", "a ticket behind the token", form, version, token+" PVEAuthCookie=PVE:root@pam:66000000::c2ln")
	add("token", "a ticket behind a tab", form, version, token+"\tPVEAuthCookie=x")
	add("token", "a ticket behind a blank of Unicode", form, version, token+"\u00a0PVEAuthCookie=x")
	add("token", "a ticket behind a semicolon", form, version, token+"; PVEAuthCookie=x")
	add("token", "a ticket before the token", form, version, "PVEAuthCookie=x "+token)
	add("token", "a ticket instead", form, version, "PVEAuthCookie=x")
	add("token", "another scheme", form, version, "Bearer x")
	add("token", "a blank before the name", form, version, " "+token)
	add("token", "a scheme in lower case", form, version, "pveapitoken=x")
	add("token", "an empty token", form, version, "PVEAPIToken=")
	add("token", "no secret", form, version, "PVEAPIToken=root@pam!x")
	add("token", "no id", form, version, "PVEAPIToken=root@pam=secret")
	add("token", "anything", form, version, "PVEAPIToken=x")
	add("token", "no header", once, version)
	add("token", "two tokens", once, version, token, token)
	add("token", "a token and a ticket", []string{"token once", "token form"}, version, token, "PVEAuthCookie=x")
	add("token", "a page", path, "/", token)
	add("token", "dots", path, "/api2/../", token)
	add("token", "encoded dots", path, "/api2/%2e%2e/", token)
	add("token", "dots that are encoded twice", path, "/api2/%252e%252e/", token)
	add("token", "dots with a parameter", path, "/api2/..;x/", token)
	add("token", "an encoded slash behind dots", path, "/api2/..%2f", token)
	add("token", "an encoded backslash", path, "/api2/..%5c", token)
	add("token", "a path like the API's", path, "/api2x/json", token)
	add("token", "another case", path, "/API2/json/version", token)
	add("token", "two slashes", path, "//api2/json/version", token)
	add("token", "two slashes inside", path, "/api2//json/version", token)
	for _, at := range []string{"/api2/json/access/ticket", "/api2/extjs/access/ticket", "/api2/html/access/ticket", "/api2/json/access/tick%65t", "/api2/json/access%2Fticket", "/api2/json/access%252Fticket", "/api2/json/access/openid/login", "/api2/json/access/openid/auth-url", "/api2/json/access/vncticket", "/api2/json/access/domains"} {
		add("sign-in", "a token at "+strings.ReplaceAll(at, "/", " "), []string{"token sign-in"}, at, token)
	}
	return all
}

// TestProxmoxAttacks plays each attack behind its control, and without the checks that stop it:
// so it gets in, and as long as one of them is there it does not.
func TestProxmoxAttacks(t *testing.T) {
	t.Parallel()
	unused, count := map[string]bool{}, map[string]int{}
	for _, name := range connect.CheckNames() {
		unused[name] = true
	}
	for _, a := range slices.Concat(tickets(), answers(), bearings()) {
		if promises[a.promise] == "" {
			t.Fatalf("%s belongs to %s, which nobody promises", a.name, a.promise)
		}
		count[a.promise]++
		maps.DeleteFunc(unused, func(name string, _ bool) bool { return slices.Contains(a.checks, name) })
		t.Run(a.name, func(t *testing.T) {
			t.Parallel()
			play := func(evil bool, without ...string) error {
				p := newPVE(t, func(o *connect.ProxmoxOptions) { o.APITokens = true })
				connect.Drop(p.app, without...)
				return a.play(t, p, evil)
			}
			if err := play(false); err != nil {
				t.Fatalf("the control: %v", err)
			}
			if play(true) == nil {
				t.Error("it gets in")
			}
			if a.checks == nil && play(true, connect.CheckNames()...) == nil {
				t.Error("it gets in without any check: name those that stop it")
			}
			checktest.StoppedBy(t, a.checks, func(without ...string) error {
				if a.checks == nil {
					return nil
				}
				return play(true, without...)
			})
		})
	}
	for name := range unused {
		t.Errorf("no attack shows what %q is good for", name)
	}
	for key, text := range promises {
		if count[key] < 3 {
			t.Errorf("%s: %d attacks, want three", text, count[key])
		}
	}
}

// TestProxmoxRequestAttacks has what no check of a message stops: the same request without the
// attack is the control.
func TestProxmoxRequestAttacks(t *testing.T) {
	t.Parallel()
	p := newPVE(t)
	alice, bob := someone, who{"bob", "2", "Auditor"}
	a, b := p.open(alice).kept(t), p.open(bob).kept(t)
	t.Run("another person's ticket planted beside one's own", func(t *testing.T) {
		for _, cookies := range [][]string{a, {b[0], a[0], b[1], a[1]}, {a[1], b[1], a[0], b[0]}} {
			if g := p.open(alice, cookies...); g.user(t) != "alice@gw" || len(g.kept(t)) > 0 {
				t.Errorf("%q: the browser gets %q", cookies, g.header)
			}
		}
	})
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

// TestProxmoxTokens: a token reaches the API with nothing beside it, whatever is encoded in the
// path.
func TestProxmoxTokens(t *testing.T) {
	t.Parallel()
	p := newPVE(t, func(o *connect.ProxmoxOptions) { o.APITokens = true })
	const token = "PVEAPIToken=root@pam!x=secret"
	request := func(path string) *http.Request {
		r := httptest.NewRequest(http.MethodGet, "https://pve.example"+path, nil)
		r.Header["Authorization"], r.Header["Cookie"] = []string{token}, []string{"PVEAuthCookie=x; a=b"}
		return r
	}
	for _, path := range []string{"/api2/json/version", "/api2/extjs/access/users/root%40pam", "/api2/json/nodes/a/storage/local/content/local%3Aiso%2Fa%20b.iso", "/api2/json/access/domains/gw", "/api2/json/nodes/a/files/100%25.iso"} {
		r := request(path)
		c := p.app.Take(r.Header)
		if alone := p.app.PassesAlone(path, r); !alone || c.Unknown(r, alone) != nil || r.Header.Get("Authorization") != token || r.Header["Cookie"] != nil {
			t.Errorf("%s: it passes: %v, with %q", path, alone, r.Header)
		}
		if newPVE(t).app.PassesAlone(path, r) {
			t.Errorf("%s: it passes without api_tokens", path)
		}
	}
	if r := request("/other"); p.app.PassesAlone("/api2/json/version", r) {
		t.Error("a path that was rewritten to one elsewhere passes")
	}
	if r := request("/api2/json/version"); p.app.PassesAlone("/other", r) {
		t.Error("a path from elsewhere that was rewritten passes")
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
		"many lines":                 func(r *http.Request) { r.Header["X"] = strings.Split(strings.Repeat("x,", 60), ",") },
		"a long value in many lines": func(r *http.Request) { r.Header["Y"] = slices.Repeat([]string{strings.Repeat("y", 200)}, 40) },
	} {
		t.Run(name, func(t *testing.T) {
			r := httptest.NewRequest(http.MethodGet, "https://pve.example/", nil)
			stuff(r)
			wantCode(t, p.serve(r, alice, http.StatusOK, "").err, refusal.HeaderTooLarge, "bytes", "lines")
			c := p.app.Take(r.Header)
			wantCode(t, c.Unknown(r, false), refusal.HeaderTooLarge)
		})
	}
	t.Run("a long address does not count at the node", func(t *testing.T) {
		r := httptest.NewRequest(http.MethodDelete, "https://pve.example/api2/json/x?"+strings.Repeat("x", 8000), nil)
		p.serve(r, alice, http.StatusOK, "").user(t)
	})
	t.Run("cookies are no stuff", func(t *testing.T) {
		p.open(alice, "a="+strings.Repeat("x", 9000)).user(t)
	})
}
