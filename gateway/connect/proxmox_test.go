package connect_test

import (
	"fmt"
	"net/http"
	"net/http/httptest"
	"strings"
	"sync"
	"sync/atomic"
	"testing"
	"testing/synctest"
	"time"

	"github.com/caddy-sso/caddy-sso/gateway/connect"
	"github.com/caddy-sso/caddy-sso/gateway/refusal"
)

var someone = who{"alice", "1", "Admin"}

func TestProxmoxCookies(t *testing.T) {
	t.Parallel()
	p := newPVE(t)
	g := p.open(someone, "a=b")
	lines := g.header["Set-Cookie"]
	if len(lines) != 2 || !strings.HasPrefix(lines[0], "PVEAuthSeal=") || !strings.HasSuffix(lines[0], "; Path=/; Secure; SameSite=Lax; HttpOnly") ||
		!strings.HasPrefix(lines[1], "PVEAuthCookie=PVE%3Aalice%40gw%3A") || !strings.HasSuffix(lines[1], "; Path=/; Secure; SameSite=Lax") {
		t.Errorf("the browser gets %q", lines)
	}
	if want := strings.TrimSuffix(lines[1], "; Path=/; Secure; SameSite=Lax"); g.request.Header.Get("Cookie") != want {
		t.Errorf("the node gets %q, want %q", g.request.Header["Cookie"], want)
	}
	c := p.app.Take(http.Header{"Cookie": {strings.Join(g.kept(t), "; ")}})
	cleared := http.Header{}
	c.Forget(cleared)
	if got := strings.Join(cleared["Set-Cookie"], " "); !strings.Contains(got, "PVEAuthCookie=; Path=/; Max-Age=0") || !strings.Contains(got, "PVEAuthSeal=; Path=/; Max-Age=0") {
		t.Errorf("after the login the browser gets %q", got)
	}
}

// TestProxmoxOneLogin: 500 requests at once of one person are one login at the node, which
// goes on if the first of them disconnects.
func TestProxmoxOneLogin(t *testing.T) {
	t.Parallel()
	synctest.Test(t, func(t *testing.T) {
		p := newPVE(t)
		p.answer = func(*http.Request) *http.Response { time.Sleep(time.Second); return nil }
		var all sync.WaitGroup
		for range 500 {
			all.Go(func() { p.open(someone).user(t) })
		}
		all.Wait()
		if p.count() != 1 {
			t.Errorf("%d logins", p.count())
		}
	})
}

// TestProxmoxManyPeople: a node has three workers, so not more people sign in at once.
func TestProxmoxManyPeople(t *testing.T) {
	t.Parallel()
	synctest.Test(t, func(t *testing.T) {
		p := newPVE(t)
		var now, most atomic.Int32
		p.answer = func(r *http.Request) *http.Response {
			if n := now.Add(1); n > most.Load() {
				most.Store(n)
			}
			time.Sleep(300 * time.Millisecond)
			now.Add(-1)
			return nil
		}
		var all sync.WaitGroup
		for i := range 150 {
			all.Go(func() { p.open(who{fmt.Sprint("user", i), "1", ""}).user(t) })
		}
		if all.Wait(); p.count() != 150 || most.Load() != 3 {
			t.Errorf("%d logins, %d at once", p.count(), most.Load())
		}
	})
}

// TestProxmoxFailures: a failed login counts for five seconds, since each costs the node
// three.
func TestProxmoxFailures(t *testing.T) {
	t.Parallel()
	synctest.Test(t, func(t *testing.T) {
		p := newPVE(t)
		refuses := func(r *http.Request) *http.Response {
			if strings.HasSuffix(r.URL.Path, "/login") {
				return respond(http.StatusUnauthorized, "")
			}
			return nil
		}
		p.answer = refuses
		for range 3 {
			wantCode(t, p.open(someone).err, refusal.ProxmoxRefused)
		}
		if len(p.sent) != 2 {
			t.Errorf("the node got %q", p.sent)
		}
		p.answer = nil
		time.Sleep(6 * time.Second)
		p.open(someone).user(t)
	})
}

func TestProxmoxRenewal(t *testing.T) {
	t.Parallel()
	p := newPVE(t)
	first := p.open(someone).kept(t)
	renew := func(path, user string) (string, got) {
		text := ticketOf(user, time.Now().Add(time.Second))
		r := httptest.NewRequest(http.MethodPost, "https://pve.example"+path, strings.NewReader("username=alice%40gw&password=x"))
		r.Header.Set("Cookie", strings.Join(first, "; "))
		r.Header.Set("Accept-Encoding", "gzip")
		return text, p.serve(r, someone, http.StatusOK, `{"success":1,"data":{"ticket":"`+text+`","username":"`+user+`"}}`)
	}
	for _, path := range []string{"/api2/json/access/ticket", "/api2/extjs/access/ticket"} {
		text, g := renew(path, "alice@gw")
		seals := g.kept(t)
		if len(seals) != 1 || !strings.Contains(g.body, text) || g.request.Header.Get("Accept-Encoding") != "identity" {
			t.Fatalf("%s: the browser gets %q %q", path, g.header, g.body)
		}
		before := p.count()
		for what, cookies := range map[string][]string{"the new one": {"PVEAuthCookie=" + strings.ReplaceAll(text, ":", "%3A"), seals[0]}, "the earlier one": {first[0], seals[0]}} {
			if g := p.open(someone, cookies...); len(g.kept(t)) > 0 || p.count() != before {
				t.Errorf("%s: %s is not sealed", path, what)
			}
		}
	}
	for _, user := range []string{"root@pam", "bob@gw", "!tfa!alice@gw"} {
		if text, g := renew("/api2/json/access/ticket", user); len(g.kept(t)) > 0 || !strings.Contains(g.body, text) {
			t.Errorf("the ticket of %s is sealed: %q", user, g.header)
		}
	}
	if _, g := renew("/api2/json/access/users", "alice@gw"); len(g.kept(t)) > 0 {
		t.Error("another answer is read")
	}
}

// TestProxmoxRenewedInTime: a ticket is replaced after ninety minutes, and one that the node
// does not accept by the next request.
func TestProxmoxRenewedInTime(t *testing.T) {
	t.Parallel()
	synctest.Test(t, func(t *testing.T) {
		p := newPVE(t)
		cookies := p.open(someone).kept(t)
		time.Sleep(89 * time.Minute)
		if g := p.open(someone, cookies...); len(g.kept(t)) > 0 || p.count() != 1 {
			t.Error("it is replaced too early")
		}
		time.Sleep(2 * time.Minute)
		if g := p.open(someone, cookies...); len(g.kept(t)) != 2 || p.count() != 2 {
			t.Error("it is not replaced")
		}
		cookies = p.open(someone).kept(t)
		time.Sleep(time.Minute)
		r := httptest.NewRequest(http.MethodGet, "https://pve.example/api2/json/version", nil)
		r.Header.Set("Cookie", strings.Join(cookies, "; "))
		g := p.serve(r, someone, http.StatusUnauthorized, "")
		if lines := g.header["Set-Cookie"]; len(lines) != 1 || lines[0] != "PVEAuthSeal=; Path=/; Max-Age=0" {
			t.Errorf("after a 401 the browser gets %q", lines)
		}
		if p.open(someone, cookies[0]); p.count() != 3 {
			t.Errorf("after a 401 there were %d logins", p.count())
		}
	})
}

// TestProxmoxOtherKeys: if a node's keys were made anew, the page of the interface would show
// the node's own form. So the gateway asks the node before it gives a page an earlier ticket.
func TestProxmoxOtherKeys(t *testing.T) {
	t.Parallel()
	synctest.Test(t, func(t *testing.T) {
		p := newPVE(t)
		cookies := p.open(someone).kept(t)
		time.Sleep(time.Minute)
		good := ""
		p.answer = func(r *http.Request) *http.Response {
			if r.URL.Path != "/api2/json/version" {
				return nil
			}
			if r.Header.Get("Cookie") == good {
				return withData("9.2")
			}
			return respond(http.StatusUnauthorized, "")
		}
		g := p.open(someone, cookies...)
		good = g.request.Header.Get("Cookie")
		if again := g.kept(t); len(again) != 2 || again[0] == cookies[0] || p.count() != 2 {
			t.Fatalf("the browser gets %q, after %d logins", again, p.count())
		}
		if g := p.open(someone, g.kept(t)...); len(g.kept(t)) > 0 || p.count() != 2 {
			t.Errorf("a good ticket is replaced by %q", g.kept(t))
		}
		p.answer = func(r *http.Request) *http.Response { <-r.Context().Done(); return nil }
		if g := p.open(someone, g.kept(t)...); len(g.kept(t)) > 0 || p.count() != 2 {
			t.Error("a node that does not respond refuses nothing")
		}
	})
}

func TestProxmoxGroups(t *testing.T) {
	t.Parallel()
	p := newPVE(t, func(o *connect.ProxmoxOptions) { o.GroupToken = "sso@pve!gw=secret" })
	p.open(someone).user(t)
	if p.groups != "PVEAPIToken=sso@pve!gw=secret Admin-gw,Auditor-gw" {
		t.Errorf("the node got %q", p.groups)
	}
	p.answer = func(r *http.Request) *http.Response {
		if r.Method == http.MethodPut {
			return respond(http.StatusInternalServerError, `{"data":null,"message":"group 'Admin-gw' does not exist\n"}`)
		}
		return nil
	}
	g := p.open(who{"alice", "1", "other"})
	wantCode(t, g.err, refusal.ProxmoxGroups, "Admin-gw", "does not exist")
	if strings.Contains(g.err.Error(), "secret") {
		t.Errorf("%v shows the token", g.err)
	}
}

func TestProxmoxFaults(t *testing.T) {
	t.Parallel()
	says := func(status int, message string) func(*http.Request) *http.Response {
		return func(*http.Request) *http.Response {
			return respond(status, `{"data":null,"message":"`+message+`\n"}`)
		}
	}
	atLogin := func(change func(*http.Response)) func(*http.Request) *http.Response {
		return func(r *http.Request) *http.Response {
			if !strings.HasSuffix(r.URL.Path, "/login") {
				return nil
			}
			response := respond(http.StatusUnauthorized, `{"data":null}`)
			change(response)
			return response
		}
	}
	for name, tt := range map[string]struct {
		change func(*pve)
		code   refusal.Code
		words  []string
	}{
		"the realm is missing": {func(p *pve) { p.answer = says(500, "domain 'gw' does not exist") }, refusal.ProxmoxRealm, []string{"gw", "does not exist"}},
		"the realm is another": {func(p *pve) { p.answer = says(500, "wrong realm type (pam != openid)") }, refusal.ProxmoxRealm, nil},
		"the issuer has a slash": {func(p *pve) {
			p.answer = says(500, "openid discovery failed: Validation error: unexpected issuer URI `https://pve.example.com/.sso/op` (expected `https://pve.example.com/.sso/op/`)")
		}, refusal.ProxmoxIssuer, []string{"issuer URI", "/.sso/op/`"}},
		"the realm has another provider": {func(p *pve) { p.issuer = "https://id.example" }, refusal.ProxmoxIssuer, []string{"https://id.example/authorize", testIssuer}},
		"the node's daemon is down":      {func(p *pve) { p.answer = says(595, "Connection refused") }, refusal.ProxmoxUnavailable, []string{"595", "Connection refused"}},
		"the realm asks for a form": {func(p *pve) {
			p.answer = func(*http.Request) *http.Response {
				return respond(http.StatusOK, `{"data":"`+testIssuer+`/authorize?client_id=proxmox&nonce=n&response_mode=form_post"}`)
			}
		}, refusal.ProxmoxRealm, []string{"node https://node.example:8006", "response_mode"}},
		"the node has no name for us":     {func(p *pve) { p.answer = says(500, "Request failed: Dns Failed: failed to lookup address") }, refusal.ProxmoxDiscovery, []string{"Dns"}},
		"the node does not trust us":      {func(p *pve) { p.answer = says(500, "invalid peer certificate: UnknownIssuer") }, refusal.ProxmoxDiscovery, nil},
		"the node does not trust OpenSSL": {func(p *pve) { p.answer = says(500, "certificate verify failed: self signed certificate") }, refusal.ProxmoxDiscovery, nil},
		"what responds is no discovery":   {func(p *pve) { p.answer = says(500, "Failed to parse server response") }, refusal.ProxmoxDiscovery, []string{"parse server", testIssuer}},
		"the issuer is no URL":            {func(p *pve) { p.answer = says(500, "relative URL without a base") }, refusal.ProxmoxIssuer, []string{testIssuer}},
		"no Proxmox VE":                   {func(p *pve) { p.answer = says(404, "Not Found") }, refusal.ProxmoxUnavailable, []string{"node https://node.example:8006", "not as Proxmox VE"}},
		"too many logins wait":            {func(p *pve) { p.answer = says(500, "too many pending openid auth request for realm gw") }, refusal.ProxmoxUnavailable, []string{"pending"}},
		"another fault":                   {func(p *pve) { p.answer = says(500, "no space left on device") }, refusal.ProxmoxUnavailable, []string{"no space left"}},
		"the secret":                      {func(p *pve) { p.redeemed, p.answer = false, atLogin(func(*http.Response) {}) }, refusal.ProxmoxSecret, nil},
		"the clock": {func(p *pve) {
			p.answer = atLogin(func(r *http.Response) { r.Header.Set("Date", time.Now().Add(-time.Hour).UTC().Format(http.TimeFormat)) })
		}, refusal.ProxmoxClock, []string{"1h0m"}},
		"the login is refused":     {func(p *pve) { p.answer = atLogin(func(*http.Response) {}) }, refusal.ProxmoxRefused, []string{"401", "after it got the tokens"}},
		"the node is out of order": {func(p *pve) { p.answer = atLogin(func(r *http.Response) { r.StatusCode = 595 }) }, refusal.ProxmoxUnavailable, []string{"595"}},
		"another user":             {func(p *pve) { p.user = "Alice@gw" }, refusal.ProxmoxRefused, []string{"Alice@gw", "preferred_username"}},
		"a second factor":          {func(p *pve) { p.user = "!tfa!alice@gw" }, refusal.ProxmoxRefused, []string{"second factor"}},
	} {
		t.Run(name, func(t *testing.T) {
			t.Parallel()
			p := newPVE(t)
			tt.change(p)
			wantCode(t, p.open(someone).err, tt.code, tt.words...)
		})
	}
	p := newPVE(t)
	for user, words := range map[string]string{
		"a b": "' '", "a\u00a0b": "there", "a:b": "':'", "a/b": "'/'", "a%40b": "'%'", "o'neil": "'", `x\y`: "there", "</script>": "'<'", "": "empty", strings.Repeat("x", 62): "65 bytes", "!tfa!alice": "'!'", "tfa!alice": "'!'",
		"x,bob": "','", "x;bob": "';'", "@admins-gw": "no @ first", "bob@pam!x": "'!'",
	} {
		wantCode(t, p.open(who{user, "1", ""}).err, refusal.ProxmoxUser, words)
	}
	if p.count() > 0 {
		t.Errorf("for names that can't be there were %d logins", p.count())
	}
	p.open(who{"a@example.com", "1", ""}).user(t)
}

func TestNewProxmox(t *testing.T) {
	t.Parallel()
	for _, tt := range []struct{ realm, token, want string }{
		{"", "", "realm"},
		{"1a", "", "realm"},
		{"a b", "", "realm"},
		{"g", "", "2 to 32"},
		{strings.Repeat("g", 33), "", "2 to 32"},
		{"gw", "root@pam", "group_token"},
		{"gw", "root@pam=x", "group_token"},
		{"gw", "root@pam!a=x y", "group_token"},
	} {
		if _, err := connect.NewProxmox(connect.ProxmoxOptions{Realm: tt.realm, GroupToken: tt.token}); err == nil || !strings.Contains(err.Error(), tt.want) {
			t.Errorf("%q %q: %v", tt.realm, tt.token, err)
		}
	}
	a := newPVE(t).app
	for name, ok := range map[string]bool{"PVEAdmin": true, "a.b_c-1": true, "a b": false, "Ä": false, "": false, "a/b": false} {
		if err := a.CheckGroup(name); (err == nil) != ok {
			t.Errorf("%q: %v", name, err)
		}
	}
}

func FuzzTicket(f *testing.F) {
	f.Add("PVE:alice@gw:66000000::c2ln")
	f.Add("PVE:a%3Ab@gw:66000000::c2ln")
	f.Add("PVE:!tfa!alice@gw:66000000::c2ln")
	f.Fuzz(func(t *testing.T, text string) {
		if user, ok := connect.ReadTicket(text); ok && (strings.ContainsAny(text, "; \r\n\x00") || !strings.HasPrefix(text, "PVE:") || strings.HasPrefix(user, "!") || strings.HasPrefix(user, "tfa!")) {
			t.Errorf("%q is a ticket of %q", text, user)
		}
	})
}

func TestProxmoxOpenID(t *testing.T) {
	t.Parallel()
	p := newPVE(t)
	for _, path := range []string{
		"/api2/json/access/openid/auth-url", "/api2/extjs/access/openid/login", "/api2/json/access//openid/auth-url", "/api2/json//access/openid/",
		"/api2/json/access/%6fpenid/login", "/api2/json/access%2fopenid%2flogin", "/api2/json/access/%256fpenid/login", "/api2/json/access/openid",
	} {
		r := httptest.NewRequest(http.MethodPost, "https://pve.example"+path, nil)
		wantCode(t, p.serve(r, someone, http.StatusOK, "").err, refusal.NotFound, "only the gateway")
	}
	for _, path := range []string{"/api2/json/access/ticket", "/api2/json/access/openid-users", "/api2/json/nodes/openid/access"} {
		if g := p.serve(httptest.NewRequest(http.MethodPost, "https://pve.example"+path, nil), someone, http.StatusOK, "{}"); g.err != nil {
			t.Errorf("%s: %v", path, g.err)
		}
	}
}
