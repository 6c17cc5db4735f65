//go:build integration

package proxmox

import (
	"fmt"
	"net/http"
	"net/url"
	"slices"
	"strings"
	"testing"
	"time"
)

// realmCommand makes the realm of docs; more are further options.
func (p *provider) realmCommand(more string) string {
	return fmt.Sprintf(`realm add gw --type openid --issuer-url %s --client-id proxmox --client-key "s3cr3t +/:%%" `+
		`--username-claim preferred_username --autocreate 1 --scopes "email profile groups" %s`, p.URL, more)
}

const groupOptions = "--groups-claim groups --groups-autocreate 1 --groups-overwrite 1 --query-userinfo 1"

// signIn is a login that somebody drives as the gateway does.
func (p *provider) signIn(n *Node) reply {
	begun := n.post("/api2/json/access/openid/auth-url", url.Values{"realm": {"gw"}, "redirect-url": {"https://pve.example.com"}})
	authorize, ok := begun.data().(string)
	if !ok {
		return begun
	}
	code, state := p.code(authorize)
	return n.post("/api2/json/access/openid/login", url.Values{"state": {state}, "code": {code}, "redirect-url": {"https://pve.example.com"}})
}

func TestProxmoxDoubleOpenID(t *testing.T) {
	t.Parallel()
	p := newProvider(t)
	c := Start(t, Settings{Delay: time.Millisecond, Key: vectorKey(), Roots: p.roots(), Nodes: []string{"pve1", "pve2"}})
	must(t, c, p.realmCommand(groupOptions))
	must(t, c, "acl modify / --groups pve-admins-gw --roles Administrator")

	begun := c.Nodes[0].post("/api2/json/access/openid/auth-url", url.Values{"realm": {"gw"}, "redirect-url": {"https://pve.example.com"}})
	authorize, err := url.Parse(fmt.Sprint(begun.data()))
	if err != nil || begun.status != http.StatusOK {
		t.Fatal(begun, err)
	}
	q := authorize.Query()
	for name, want := range map[string]string{
		"response_type": "code", "client_id": "proxmox", "redirect_uri": "https://pve.example.com", "scope": "openid email profile groups",
		"code_challenge_method": "S256",
	} {
		if q.Get(name) != want {
			t.Errorf("%s = %q, want %q", name, q.Get(name), want)
		}
	}
	if q.Get("nonce") == "" || len(q.Get("code_challenge")) != 43 || !strings.HasPrefix(q.Get("state"), "{") {
		t.Errorf("the login's request is %s", authorize)
	}
	code, state := p.code(authorize.String())
	form := url.Values{"state": {state}, "code": {code}, "redirect-url": {"https://pve.example.com"}}

	if a := c.Nodes[1].post("/api2/json/access/openid/login", form); a.status != http.StatusUnauthorized {
		t.Errorf("a node that did not begin the login ends it: %v", a)
	}
	a := c.Nodes[0].post("/api2/json/access/openid/login", form)
	if a.field("username") != "alice@gw" || !strings.HasPrefix(a.field("ticket"), "PVE:alice@gw:") || a.field("CSRFPreventionToken") == "" || !strings.Contains(a.field("cap"), "Permissions.Modify") {
		t.Errorf("the login is answered with %v", a)
	}
	if again := c.Nodes[0].post("/api2/json/access/openid/login", form); again.status != http.StatusUnauthorized {
		t.Errorf("the same login again: %v", again)
	}
	for _, n := range c.Nodes {
		if page := n.get("/", "Cookie", "PVEAuthCookie="+url.PathEscape(a.field("ticket"))); !strings.Contains(page.body, "UserName: 'alice@gw'") {
			t.Errorf("%s shows %s", n.Name, page.body)
		}
	}
	u := c.Nodes[0].get("/api2/json/access/users/alice@gw", "Cookie", "PVEAuthCookie="+a.field("ticket"))
	if u.field("email") != "alice@example.com" || u.field("groups") != "[pve-admins-gw]" {
		t.Errorf("the account is %v", u)
	}
}

// TestProxmoxDoubleOpenIDFaults holds what fails at the node, with which status, and what its
// log says.
func TestProxmoxDoubleOpenIDFaults(t *testing.T) {
	t.Parallel()
	change := func(what, name string, value any) func(string, map[string]any) {
		return func(w string, answer map[string]any) {
			if w != what {
				return
			}
			if value == nil {
				delete(answer, name)
			} else {
				answer[name] = value
			}
		}
	}
	const atStart, atLogin = http.StatusInternalServerError, http.StatusUnauthorized
	for name, f := range map[string]struct {
		change func(string, map[string]any)
		status int
		says   string
	}{
		"none": {func(string, map[string]any) {}, http.StatusOK, "is in groups"},
		"issuer with a slash": {func(w string, a map[string]any) {
			if w == "discovery" {
				a["issuer"] = fmt.Sprint(a["issuer"], "/")
			}
		}, atStart, "unexpected issuer"},
		"no keys address":   {change("discovery", "jwks_uri", nil), atStart, "missing field"},
		"no token endpoint": {change("discovery", "token_endpoint", nil), atStart, "missing field"},
		"redirected token endpoint": {func(w string, a map[string]any) {
			if w == "discovery" {
				a["token_endpoint"] = fmt.Sprint(a["issuer"], "/elsewhere/token")
			}
		}, atLogin, "token endpoint"},
		"redirected keys": {func(w string, a map[string]any) {
			if w == "discovery" {
				a["jwks_uri"] = fmt.Sprint(a["issuer"], "/elsewhere/keys")
			}
		}, atLogin, "keys"},
		"redirected userinfo": {func(w string, a map[string]any) {
			if w == "discovery" {
				a["userinfo_endpoint"] = fmt.Sprint(a["issuer"], "/elsewhere/userinfo")
			}
		}, atLogin, "userinfo endpoint"},
		"no userinfo":                    {change("discovery", "userinfo_endpoint", nil), atLogin, "no userinfo"},
		"no ID token":                    {change("token", "id_token", nil), atLogin, "ID token"},
		"ES256":                          {change("header", "alg", "ES256"), atLogin, "not allowed"},
		"HS256 with the secret":          {change("header", "alg", "HS256"), atLogin, "not allowed"},
		"PS256":                          {change("header", "alg", "PS256"), atLogin, "not allowed"},
		"no signature":                   {change("header", "alg", "none"), atLogin, "not allowed"},
		"unknown key":                    {change("header", "kid", "2"), atLogin, "signature"},
		"another issuer in the ID token": {change("id", "iss", "https://evil.example.com"), atLogin, "issuer"},
		"another audience":               {change("id", "aud", "grafana"), atLogin, "audience"},
		"several audiences":              {change("id", "aud", []string{"proxmox", "grafana"}), atLogin, "audience"},
		"another authorized party":       {change("id", "azp", "grafana"), atLogin, "party"},
		"expired":                        {change("id", "exp", time.Now().Add(-time.Second).Unix()), atLogin, "expired"},
		"no exp":                         {change("id", "exp", nil), atLogin, "missing"},
		"no iat":                         {change("id", "iat", nil), atLogin, "missing"},
		"no nonce":                       {change("id", "nonce", nil), atLogin, "nonce"},
		"another nonce":                  {change("id", "nonce", "x"), atLogin, "nonce"},
		"another sub in userinfo":        {change("userinfo", "sub", "4712"), atLogin, "subject"},
		"no user name":                   {change("userinfo", "preferred_username", nil), atLogin, "preferred_username"},
		"a user name that is none":       {change("userinfo", "preferred_username", "a b"), atLogin, "valid user name"},
		"more than 64 characters":        {change("userinfo", "preferred_username", strings.Repeat("a", 62)), atLogin, "valid user name"},
		"a user name with an @":          {change("userinfo", "preferred_username", "a@example.com"), http.StatusOK, "a@example.com@gw"},
		"groups that are a text":         {change("userinfo", "groups", "admins"), http.StatusOK, "not an array"},
		"no groups claim":                {change("userinfo", "groups", nil), http.StatusOK, "not found"},
		"a group name with a blank":      {change("userinfo", "groups", []string{"pve admins", "ok"}), http.StatusOK, "'pve admins' contains invalid"},
	} {
		t.Run(name, func(t *testing.T) {
			t.Parallel()
			p := newProvider(t)
			p.change = f.change
			c := Start(t, Settings{Delay: time.Millisecond, Key: vectorKey(), Roots: p.roots()})
			must(t, c, p.realmCommand(groupOptions))
			a := p.signIn(c.Nodes[0])
			said := a.body + strings.Join(c.Log(), "\n")
			if a.status != f.status || !strings.Contains(said, f.says) {
				t.Errorf("the node answers %v, and says %q", a, said)
			}
			if f.status == atLogin && (a.reason != "authentication failure" || strings.Contains(a.body, f.says)) {
				t.Errorf("the node tells the cause: %v", a)
			}
		})
	}
}

// TestProxmoxDoubleOpenIDSettings holds what the administrator may have set.
func TestProxmoxDoubleOpenIDSettings(t *testing.T) {
	t.Parallel()
	for name, f := range map[string]struct {
		prepare func(*testing.T, *Cluster, *provider)
		status  int
		says    string
	}{
		"no realm":                {func(*testing.T, *Cluster, *provider) {}, 500, "does not exist"},
		"a realm of another type": {func(t *testing.T, c *Cluster, _ *provider) { must(t, c, "realm add gw --type pve") }, 500, "wrong realm type"},
		"an unknown authority": {func(t *testing.T, c *Cluster, p *provider) {
			must(t, c, p.realmCommand(""))
			c.client = strictClient(nil)
		}, 500, "certificate"},
		"provider gone": {func(t *testing.T, c *Cluster, p *provider) { must(t, c, p.realmCommand("")); p.Close() }, 500, "discovery failed"},
		"another secret": {func(t *testing.T, c *Cluster, p *provider) {
			must(t, c, p.realmCommand(""))
			must(t, c, "realm modify gw --client-key other")
		}, 401, "invalid_grant"},
		"clock ahead": {func(t *testing.T, c *Cluster, p *provider) { must(t, c, p.realmCommand("")); c.Move(2 * time.Minute) }, 401, "expired"},
		"no autocreate": {func(t *testing.T, c *Cluster, p *provider) {
			must(t, c, p.realmCommand(""))
			must(t, c, "realm modify gw --autocreate 0")
		}, 401, "no such user"},
		"a disabled user": {func(t *testing.T, c *Cluster, p *provider) {
			must(t, c, p.realmCommand(""))
			must(t, c, "user add alice@gw --enable 0")
		}, 401, "is disabled"},
	} {
		t.Run(name, func(t *testing.T) {
			t.Parallel()
			p := newProvider(t)
			c := Start(t, Settings{Delay: time.Millisecond, Key: vectorKey(), Roots: p.roots()})
			f.prepare(t, c, p)
			a := p.signIn(c.Nodes[0])
			if said := a.body + strings.Join(c.Log(), "\n"); a.status != f.status || !strings.Contains(said, f.says) {
				t.Errorf("the node answers %v, and says %q", a, said)
			}
		})
	}
}

// TestProxmoxDoubleOpenIDGroups holds what becomes of the groups of a user who is in one already.
func TestProxmoxDoubleOpenIDGroups(t *testing.T) {
	t.Parallel()
	for name, f := range map[string]struct {
		options string
		want    []string
	}{
		"overwrite":              {groupOptions, []string{"pve-admins-gw"}},
		"append":                 {"--groups-claim groups --groups-autocreate 1", []string{"old-gw", "pve-admins-gw"}},
		"without autocreate":     {"--groups-claim groups", []string{"old-gw"}},
		"overwrite without that": {"--groups-claim groups --groups-overwrite 1", nil},
		"no claim":               {"", []string{"old-gw"}},
		"no userinfo":            {"--groups-claim groups --groups-autocreate 1 --query-userinfo 0", []string{"id-gw", "old-gw"}},
		"another claim":          {"--groups-claim roles --groups-autocreate 1", []string{"old-gw"}},
	} {
		t.Run(name, func(t *testing.T) {
			t.Parallel()
			p := newProvider(t)
			if name == "no userinfo" {
				p.change = func(what string, claims map[string]any) {
					if what == "id" {
						claims["preferred_username"], claims["groups"] = "alice", []string{"id"}
					}
				}
			}
			c := Start(t, Settings{Delay: time.Millisecond, Key: vectorKey(), Roots: p.roots()})
			must(t, c, p.realmCommand(f.options))
			must(t, c, "group add old-gw")
			must(t, c, "user add alice@gw --groups old-gw --email old@example.com")
			if a := p.signIn(c.Nodes[0]); a.status != http.StatusOK {
				t.Fatal(a, c.Log())
			}
			if u := c.users["alice@gw"]; !slices.Equal(u.groups, f.want) || u.email != "old@example.com" {
				t.Errorf("the user is in %q, with %s", u.groups, u.email)
			}
		})
	}
}

// TestProxmoxDoubleOld holds that nodes before 8.2.1 know no groups of a realm. Their groups
// are set by an API token.
func TestProxmoxDoubleOld(t *testing.T) {
	t.Parallel()
	p := newProvider(t)
	c := Start(t, Settings{Delay: time.Millisecond, Key: vectorKey(), Roots: p.roots(), Old: true})
	for _, option := range []string{"--groups-claim groups", "--groups-autocreate 1", "--groups-overwrite 1", "--query-userinfo 1", "--no-such-option 1"} {
		if _, err := c.Pveum(p.realmCommand(option)); err == nil {
			t.Errorf("%s is taken", option)
		}
	}
	must(t, c, p.realmCommand(""))
	if a := p.signIn(c.Nodes[0]); a.status != http.StatusOK {
		t.Fatal(a)
	}
	token := c.token(t, "root@pam")
	for _, g := range []string{"a", "b"} {
		must(t, c, "group add "+g)
	}
	for _, f := range []struct{ form, want string }{{"groups=a", "[a]"}, {"groups=b&append=1", "[a b]"}, {"groups=b", "[b]"}} {
		form, _ := url.ParseQuery(f.form)
		a := c.Nodes[0].send("PUT", "/api2/json/access/users/alice@gw", form, "Authorization", token)
		if got := fmt.Sprint(c.users["alice@gw"].groups); a.status != http.StatusOK || got != f.want {
			t.Errorf("%s: %v; the groups are %s", f.form, a, got)
		}
	}
}
