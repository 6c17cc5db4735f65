//go:build integration

package proxmox

import (
	"bufio"
	"crypto/tls"
	"encoding/json"
	"fmt"
	"io"
	"net/http"
	"net/url"
	"strings"
	"testing"
	"time"
)

// A reply is what a node answered. status is 0 if it cut the connection.
type reply struct {
	status       int
	reason, body string
	header       http.Header
}

func (r reply) data() any {
	var a struct {
		Data any `json:"data"`
	}
	_ = json.Unmarshal([]byte(r.body), &a)
	return a.Data
}

func (r reply) field(name string) string {
	fields, _ := r.data().(map[string]any)
	return fmt.Sprint(fields[name])
}

// raw sends a text and reads one response.
func (n *Node) raw(text string) (r reply) {
	conn, err := tls.Dial("tcp", strings.TrimPrefix(n.URL, "https://"), &tls.Config{InsecureSkipVerify: true})
	if err != nil {
		return reply{reason: err.Error()}
	}
	defer func() { _ = conn.Close() }()
	if _, err := io.WriteString(conn, text); err != nil {
		return reply{reason: err.Error()}
	}
	resp, err := http.ReadResponse(bufio.NewReader(conn), nil)
	if err != nil {
		return reply{reason: err.Error()}
	}
	body, _ := io.ReadAll(resp.Body)
	_, reason, _ := strings.Cut(resp.Status, " ")
	return reply{resp.StatusCode, reason, string(body), resp.Header}
}

// send sends a form, or none if it is nil, with header lines of these names and values.
func (n *Node) send(method, path string, form url.Values, headers ...string) reply {
	text := fmt.Sprintf("%s %s HTTP/1.1\r\nHost: pve\r\n", method, path)
	for i := 0; i+1 < len(headers); i += 2 {
		text += headers[i] + ": " + headers[i+1] + "\r\n"
	}
	if form == nil {
		return n.raw(text + "\r\n")
	}
	body := form.Encode()
	return n.raw(fmt.Sprintf("%sContent-Type: application/x-www-form-urlencoded\r\nContent-Length: %d\r\n\r\n%s", text, len(body), body))
}

func (n *Node) get(path string, headers ...string) reply { return n.send("GET", path, nil, headers...) }

func (n *Node) post(path string, form url.Values, headers ...string) reply {
	return n.send("POST", path, form, headers...)
}

func must(t *testing.T, c *Cluster, command string) {
	t.Helper()
	if _, err := c.Pveum(command); err != nil {
		t.Fatalf("pveum %s: %v", command, err)
	}
}

// token makes an API token of a user, and returns the value of Authorization.
func (c *Cluster) token(t *testing.T, userID string) string {
	t.Helper()
	made, err := c.Pveum("user token add " + userID + " test --privsep 0")
	if err != nil {
		t.Fatal(err)
	}
	fields := made.(map[string]any)
	return fmt.Sprintf("PVEAPIToken=%s=%s", fields["full-tokenid"], fields["value"])
}

// A lab is a cluster with an administrator, a viewer and their tickets and tokens.
type lab struct {
	*Cluster
	ticket, csrf        string // of admin@pve
	admin, full, viewer string // Authorization of tokens: PVEAdmin, Administrator, PVEAuditor
}

func newLab(t *testing.T, delay time.Duration) *lab {
	t.Helper()
	c := Start(t, Settings{Delay: delay, Key: vectorKey()})
	for user, role := range map[string]string{"admin": "PVEAdmin", "full": "Administrator", "viewer": "PVEAuditor"} {
		must(t, c, "user add "+user+"@pve --password secret-"+user)
		must(t, c, "acl modify / --users "+user+"@pve --roles "+role)
	}
	a := c.Nodes[0].post("/api2/json/access/ticket", url.Values{"username": {"admin@pve"}, "password": {"secret-admin"}})
	if a.status != http.StatusOK {
		t.Fatal(a)
	}
	return &lab{c, a.field("ticket"), a.field("CSRFPreventionToken"), c.token(t, "admin@pve"), c.token(t, "full@pve"), c.token(t, "viewer@pve")}
}

func TestProxmoxDoubleRequests(t *testing.T) {
	t.Parallel()
	l := newLab(t, time.Millisecond)
	n := l.Nodes[0]
	const version, users, groups = "/api2/json/version", "/api2/json/access/users", "/api2/json/access/groups"
	cookie, encoded := "PVEAuthCookie="+l.ticket, "PVEAuthCookie="+url.QueryEscape(l.ticket)
	half, err := signTicket(l.keys[0].PrivateKey, `!tfa!{"totp":true}`, "admin@pve", time.Now())
	if err != nil {
		t.Fatal(err)
	}
	group := func(name string) url.Values { return url.Values{"groupid": {name}} }
	for _, row := range []struct {
		name, method, path string
		form               url.Values
		headers            []string
		status             int
		says               string
	}{
		{"no ticket", "GET", version, nil, nil, 401, "No ticket"},
		{"identity headers", "GET", version, nil, []string{"Remote-User", "root@pam", "X-Remote-User", "root@pam"}, 401, "No ticket"},
		{"ticket as cookie, raw", "GET", version, nil, []string{"Cookie", cookie}, 200, "9.2"},
		{"ticket as cookie, encoded", "GET", version, nil, []string{"Cookie", encoded}, 200, "9.2"},
		{"ticket second in the list", "GET", version, nil, []string{"Cookie", "PVELangCookie=de; " + encoded}, 200, "9.2"},
		{"ticket in a second Cookie header", "GET", version, nil, []string{"Cookie", "a=b", "Cookie", encoded}, 200, "9.2"},
		{"ticket before a second Cookie header", "GET", version, nil, []string{"Cookie", encoded, "Cookie", "a=b"}, 401, "invalid PVE ticket"},
		{"ticket in Authorization", "GET", version, nil, []string{"Authorization", cookie}, 200, "9.2"},
		{"a cookie whose name only ends so", "GET", version, nil, []string{"Cookie", "X-" + cookie}, 401, "No ticket"},
		{"a bad ticket before the good one", "GET", version, nil, []string{"Cookie", "PVEAuthCookie=bad; " + encoded}, 401, "invalid PVE ticket"},
		{"half-authenticated ticket", "GET", version, nil, []string{"Cookie", "PVEAuthCookie=" + url.QueryEscape(half)}, 401, "invalid PVE ticket"},
		{"API token", "GET", version, nil, []string{"Authorization", l.admin}, 200, "9.2"},
		{"API token, wrong secret", "GET", version, nil, []string{"Authorization", l.admin + "x"}, 401, "invalid token"},
		{"API token of nobody", "GET", version, nil, []string{"Authorization", "PVEAPIToken=x@pve!test=y"}, 401, "no such user"},
		{"API token and a bad cookie", "GET", version, nil, []string{"Authorization", l.admin, "Cookie", "PVEAuthCookie=bad"}, 401, "invalid PVE ticket"},
		{"API token and an empty cookie", "GET", version, nil, []string{"Authorization", l.admin, "Cookie", "PVEAuthCookie="}, 200, "9.2"},
		{"POST without CSRF", "POST", groups, group("a"), []string{"Cookie", cookie}, 401, "invalid csrf token"},
		{"POST with CSRF", "POST", groups, group("a"), []string{"Cookie", cookie, "CSRFPreventionToken", l.csrf}, 200, "null"},
		{"DELETE without CSRF", "DELETE", groups + "/a", nil, []string{"Cookie", cookie}, 401, "invalid csrf token"},
		{"POST with an API token", "POST", groups, group("b"), []string{"Authorization", l.admin}, 200, "null"},
		{"viewer token creates a group", "POST", groups, group("c"), []string{"Authorization", l.viewer}, 403, "Permission check failed"},
		{"token: PUT group", "PUT", groups + "/b", url.Values{"comment": {"x"}}, []string{"Authorization", l.admin}, 200, "null"},
		{"token: POST user", "POST", users, url.Values{"userid": {"new@pve"}, "password": {"long enough"}}, []string{"Authorization", l.admin}, 200, "null"},
		{"token: short password", "POST", users, url.Values{"userid": {"newer@pve"}, "password": {"short"}}, []string{"Authorization", l.admin}, 400, "8 characters"},
		{"token: PUT user", "PUT", users + "/new@pve", url.Values{"groups": {"b"}}, []string{"Authorization", l.admin}, 200, "null"},
		{"PVEAdmin token: PUT acl", "PUT", "/api2/json/access/acl", url.Values{"path": {"/"}, "roles": {"PVEAuditor"}, "groups": {"b"}}, []string{"Authorization", l.admin}, 403, "Permissions.Modify"},
		{"Administrator token: PUT acl", "PUT", "/api2/json/access/acl", url.Values{"path": {"/"}, "roles": {"PVEAuditor"}, "groups": {"b"}}, []string{"Authorization", l.full}, 200, "null"},
		{"token: PUT password", "PUT", "/api2/json/access/password", url.Values{"userid": {"new@pve"}, "password": {"long enough"}}, []string{"Authorization", l.full}, 403, ""},
		{"token: POST ticket", "POST", "/api2/json/access/ticket", url.Values{"username": {"full@pve"}, "password": {"secret-full"}}, []string{"Authorization", l.full}, 403, ""},
		{"token: second factor", "POST", "/api2/json/access/tfa/full@pve", url.Values{"type": {"totp"}, "value": {"1"}}, []string{"Authorization", l.full}, 403, ""},
		{"unknown parameter", "POST", groups, url.Values{"groupid": {"d"}, "colour": {"red"}}, []string{"Authorization", l.admin}, 400, "not defined in schema"},
		{"missing parameter", "POST", groups, url.Values{}, []string{"Authorization", l.admin}, 400, "not optional"},
		{"an address that is none", "GET", "/api2/json/nothing", nil, []string{"Authorization", l.admin}, 501, "not implemented"},
		{"form extjs", "POST", "/api2/extjs/access/groups", url.Values{}, []string{"Authorization", l.admin}, 200, `"status":400`},
		{"form extjs, no ticket", "GET", "/api2/extjs/version", nil, nil, 401, ""},
		{"another form", "GET", "/api2/xml/version", nil, []string{"Authorization", l.admin}, 501, "no such uri"},
		{"documentation", "GET", "/pve-docs/index.html", nil, nil, 200, "static"},
		{"no such file", "GET", "/nothing", nil, nil, 500, "no such file"},
	} {
		t.Run(row.name, func(t *testing.T) {
			a := n.send(row.method, row.path, row.form, row.headers...)
			if a.status != row.status || !strings.Contains(a.reason+a.body, row.says) {
				t.Errorf("answered %v, want %d %q", a, row.status, row.says)
			}
		})
	}
}

// TestProxmoxDoubleIndex holds for whom the interface is rendered.
func TestProxmoxDoubleIndex(t *testing.T) {
	t.Parallel()
	l := newLab(t, time.Millisecond)
	n := l.Nodes[0]
	page := n.get("/", "Cookie", "PVEAuthCookie="+url.QueryEscape(l.ticket))
	_, rest, _ := strings.Cut(page.body, "CSRFPreventionToken: '")
	token, _, _ := strings.Cut(rest, "'")
	if !strings.Contains(page.body, "UserName: 'admin@pve'") || !csrfValid(l.csrfKey, "admin@pve", token, time.Now()) {
		t.Errorf("with a ticket: %s", page.body)
	}
	for name, headers := range map[string][]string{
		"nothing": nil, "an API token": {"Authorization", l.admin}, "a forged ticket": {"Cookie", "PVEAuthCookie=" + strings.Replace(l.ticket, "admin", "root", 1)},
		"a ticket in Authorization": {"Authorization", "PVEAuthCookie=" + l.ticket},
	} {
		if page := n.get("/", headers...); page.status != http.StatusOK || !strings.Contains(page.body, "UserName: ''") || !strings.Contains(page.body, "CSRFPreventionToken: 'null'") {
			t.Errorf("with %s: %v", name, page)
		}
	}
}

// TestProxmoxDoubleAccounts holds what the proxy checks after the ticket.
func TestProxmoxDoubleAccounts(t *testing.T) {
	t.Parallel()
	l := newLab(t, time.Millisecond)
	for _, c := range []struct{ command, says string }{
		{"user modify admin@pve --enable 0", "is disabled"}, {"user delete admin@pve", "no such user"},
	} {
		must(t, l.Cluster, c.command)
		for _, headers := range [][]string{{"Cookie", "PVEAuthCookie=" + l.ticket}, {"Authorization", l.admin}} {
			if a := l.Nodes[0].get("/api2/json/version", headers...); a.status != http.StatusUnauthorized || !strings.Contains(a.reason, c.says) {
				t.Errorf("%s: %v", c.command, a)
			}
		}
	}
}

// TestProxmoxDoubleTickets holds how tickets are got and renewed.
func TestProxmoxDoubleTickets(t *testing.T) {
	t.Parallel()
	l := newLab(t, time.Millisecond)
	n := l.Nodes[0]
	ask := func(form ...string) reply {
		values := url.Values{}
		for i := 0; i < len(form); i += 2 {
			values.Set(form[i], form[i+1])
		}
		return n.post("/api2/json/access/ticket", values)
	}
	l.Move(time.Minute)
	if a := ask("username", "admin@pve", "password", l.ticket); a.status != http.StatusOK || a.field("ticket") == l.ticket || a.field("username") != "admin@pve" {
		t.Errorf("a ticket as the password: %v", a)
	}
	if a := ask("username", "admin", "realm", "pve", "password", "secret-admin"); a.field("username") != "admin@pve" {
		t.Errorf("with a realm: %v", a)
	}
	for name, a := range map[string]reply{
		"another user's ticket": ask("username", "full@pve", "password", l.ticket),
		"a wrong password":      ask("username", "admin@pve", "password", "wrong"),
		"an unknown user":       ask("username", "nobody@pve", "password", "wrong"),
		"a long name":           ask("username", strings.Repeat("a", 62)+"@pve", "password", "wrong"),
	} {
		if a.status != http.StatusUnauthorized || a.reason != "authentication failure" {
			t.Errorf("%s: %v", name, a)
		}
	}
	if a := n.post("/api2/json/access/tfa/admin@pve", url.Values{"type": {"totp"}, "value": {"123456"}}, "Cookie", "PVEAuthCookie="+l.ticket, "CSRFPreventionToken", l.csrf); a.status != http.StatusOK {
		t.Fatal(a)
	}
	half := ask("username", "admin@pve", "password", "secret-admin")
	if half.field("NeedTFA") != "1" || !strings.HasPrefix(half.field("ticket"), "PVE:!tfa!") || half.field("cap") != "<nil>" {
		t.Fatalf("with a second factor: %v", half)
	}
	if a := n.get("/", "Cookie", "PVEAuthCookie="+url.QueryEscape(half.field("ticket"))); !strings.Contains(a.body, "UserName: ''") {
		t.Errorf("half-authenticated: %v", a)
	}
	for name, a := range map[string]reply{
		"a half-authenticated ticket as the password": ask("username", "admin@pve", "password", half.field("ticket")),
		"a wrong code":             ask("username", "admin@pve", "password", "totp:000000", "tfa-challenge", half.field("ticket")),
		"another user's challenge": ask("username", "full@pve", "password", "totp:123456", "tfa-challenge", half.field("ticket")),
	} {
		if a.status != http.StatusUnauthorized {
			t.Errorf("%s: %v", name, a)
		}
	}
	if a := ask("username", "admin@pve", "password", "totp:123456", "tfa-challenge", half.field("ticket")); !strings.HasPrefix(a.field("ticket"), "PVE:admin@pve:") {
		t.Errorf("the second factor: %v", a)
	}
	if err := l.RotateKey(); err != nil {
		t.Fatal(err)
	}
	if a := n.get("/api2/json/version", "Cookie", "PVEAuthCookie="+l.ticket); a.status != http.StatusOK {
		t.Errorf("after a rotation: %v", a)
	}
	if l.Move(3 * time.Hour); n.get("/api2/json/version", "Cookie", "PVEAuthCookie="+l.ticket).status != http.StatusUnauthorized {
		t.Error("three hours later the ticket is good")
	}
}
