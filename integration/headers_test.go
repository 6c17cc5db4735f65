//go:build integration

package integration

import (
	"bufio"
	"crypto/tls"
	"encoding/json"
	"fmt"
	"io"
	"net"
	"net/http"
	"slices"
	"strings"
	"testing"
	"time"
)

// identityNames are the headers that tell the app who somebody is.
var identityNames = []string{"Remote-User", "Remote-Groups", "Remote-Email", "Remote-Name", "Remote-Roles", "X-Sso-Assertion"}

// spellings are names of ours as some server or language takes them: CGI and
// WSGI make HTTP_REMOTE_USER of several. They are one of each class that the
// tests of package strip know.
var spellings = []string{
	"Remote-User", "remote-user", "REMOTE-USER", "rEmOtE-uSeR",
	"Remote_User", "remote_user", "REMOTE_USER", "Remote.User", "REMOTE.USER", "Remote~User", "Remote!User", "Remote|User",
	"Remote-Groups", "remote_groups", "Remote-Email", "remote.email", "Remote-Name", "REMOTE_NAME", "Remote-Roles", "remote_roles",
	"X-Sso-Assertion", "x_sso_assertion", "X.Sso.Assertion", "X_Sso-Assertion", "X-Sso-Anything",
}

// normal is a name as the careless read it.
func normal(name string) string {
	return strings.NewReplacer("_", "-", ".", "-", " ", "-").Replace(strings.ToLower(strings.TrimSpace(name)))
}

// An attack is one raw request to a site. In head and tail, %s is the cookie
// line of whoever sends it.
type attack struct {
	name string
	// head are lines after Host and Cookie; body what follows the head.
	head []string
	body string
	path string // default /attack
	// refusable attacks may be answered with a 4xx instead of being passed on
	// harmlessly.
	refusable bool
}

// headerAttacks is the corpus for HTTP/1.1: each spelling, and each mutation of
// one name, as package strip treats the names alike. Every value that would be a
// forgery contains "evil".
func headerAttacks() []attack {
	const chunked = "Transfer-Encoding: chunked"
	corpus := []attack{
		{name: "twice", head: []string{"Remote-User: evil", "Remote-User: evil2"}},
		{name: "twice in two spellings", head: []string{"Remote-User: evil", "Remote_User: evil2"}},
		{name: "empty", head: []string{"Remote-User:"}},
		{name: "tab before the value", head: []string{"Remote-User:\tevil"}},
		{name: "blank before the colon", head: []string{"Remote-User : evil"}, refusable: true},
		{name: "blank within the name", head: []string{"Remote User: evil"}, refusable: true},
		{name: "folded line", head: []string{"X-Harmless: a", " Remote-User: evil"}, refusable: true},
		{name: "leading blank", head: []string{" Remote-User: evil"}, refusable: true},
		{name: "bare LF", head: []string{"X-Harmless: a\nRemote-User: evil"}, refusable: true},
		{name: "bare CR", head: []string{"X-Harmless: a\rRemote-User: evil"}, refusable: true},
		{name: "NUL", head: []string{"Rem\x00ote-User: evil"}, refusable: true},
		{name: "non-ASCII hyphen", head: []string{"Remote\u2010User: evil"}, refusable: true},
		{name: "Connection lists it", head: []string{"Connection: close, Remote-User"}},
		{name: "Connection lists it in lower case", head: []string{"Connection: remote-user,close"}},
		{name: "Connection lists it underscored", head: []string{"Connection: close,Remote_User", "Remote_User: evil"}},
		{name: "Connection lists it on a second line", head: []string{"Connection: close", "Connection: Remote-User"}},
		{name: "Connection lists it, and it is sent", head: []string{"Connection: close, Remote-User", "Remote-User: evil"}},
		{name: "Connection lists the assertion", head: []string{"Connection: close, X-Sso-Assertion"}},
		{name: "Keep-Alive and Proxy-Connection list it", head: []string{"Proxy-Connection: Remote-User", "Keep-Alive: Remote-User", "Remote-User: evil"}},
		{name: "trailer", head: []string{chunked, "Trailer: Remote-User"}, body: "1\r\nx\r\n0\r\nRemote-User: evil\r\n\r\n"},
		{name: "undeclared trailer", head: []string{chunked}, body: "1\r\nx\r\n0\r\nRemote-User: evil\r\n\r\n"},
		{name: "underscored trailer", head: []string{chunked, "Trailer: Remote_User"}, body: "1\r\nx\r\n0\r\nRemote_User: evil\r\n\r\n"},
		{
			name: "lower-case trailer declared otherwise", head: []string{chunked, "Trailer: X-Harmless"},
			body: "1\r\nx\r\n0\r\nremote-user: evil\r\nX-Harmless: a\r\n\r\n",
		},
		{name: "all at once", head: []string{
			"Remote-User: evil", "remote_user: evil", "REMOTE.USER: evil", "Remote-Roles: evil", "X-Sso-Assertion: evil", "Connection: Remote-User, X-Sso-Assertion",
		}},
	}
	for _, s := range spellings {
		corpus = append(corpus, attack{name: "spelling " + s, head: []string{s + ": evil"}})
	}
	return corpus
}

// TestHeaderAttack holds that the app sees the identity that the gateway gives,
// whole and once, or none: whatever the client sends.
func TestHeaderAttack(t *testing.T) {
	t.Parallel()
	w := newWorld(t, worldOptions{block: "\t\tpublic /public/*"})
	c := newClient(t)
	c.echoed(c.signIn(w.base+"/", "alice"))
	cookie := cookieLine(c, w.base)

	controls := map[string]struct {
		cookie, path string
		identity     bool
	}{
		"signed in":            {cookie, "/attack", true},
		"public":               {"", "/public/attack", false},
		"public and signed in": {cookie, "/public/attack", false},
	}
	for name, control := range controls {
		t.Run("F3 "+name, func(t *testing.T) {
			good := rawEcho(t, w, control.cookie, attack{path: control.path, head: []string{"X-Harmless: a"}})
			if good.answer == nil {
				t.Fatalf("the control was refused: %s", good.status)
			}
			checkIdentity(t, good.answer, control.identity)
			if !strings.Contains(good.answer.Raw, "X-Harmless: a\r\n") {
				t.Fatal("the control's harmless header did not reach the app")
			}
			for _, a := range headerAttacks() {
				t.Run(a.name, func(t *testing.T) {
					t.Parallel()
					a.path = control.path
					got := rawEcho(t, w, control.cookie, a)
					if got.answer == nil {
						if !a.refusable || !strings.HasPrefix(got.status, "4") {
							t.Fatalf("answered %s", got.status)
						}
						return
					}
					checkIdentity(t, got.answer, control.identity)
				})
			}
		})
	}
	t.Run("F3 a stranger's forged identity does not pass for a session", func(t *testing.T) {
		for _, name := range identityNames {
			got := rawEcho(t, w, "", attack{path: "/stranger", head: []string{name + ": alice"}})
			if got.status != "401" {
				t.Errorf("%s: answered %s", name, got.status)
			}
		}
		if n := len(w.app.seen("/stranger")); n != 0 {
			t.Errorf("the app saw %d requests", n)
		}
	})
}

// checkIdentity holds the request that the app saw against what it may see.
func checkIdentity(t *testing.T, r *received, identity bool) {
	t.Helper()
	counts := map[string]int{}
	for line := range strings.SplitSeq(r.Raw, "\r\n") {
		name, _, isHeader := strings.Cut(line, ":")
		if !isHeader {
			continue
		}
		// A folded line may become part of the harmless header before it.
		if strings.Contains(line, "evil") && name != "X-Harmless" && name != "Accept" {
			t.Errorf("a forged value reached the app: %q", line)
		}
		for _, known := range identityNames {
			if normal(name) != normal(known) {
				continue
			}
			counts[known]++
			if name != known {
				t.Errorf("the app saw the name %q", name)
			}
		}
	}
	if !identity {
		if len(counts) > 0 {
			t.Errorf("the app saw identity headers: %v", counts)
		}
		return
	}
	for _, name := range identityNames {
		if counts[name] != 1 {
			t.Errorf("the app saw %s %d times", name, counts[name])
		}
	}
	if r.Header.Get("Remote-User") != "alice" || r.Header.Get("Remote-Roles") != "Admin" {
		t.Errorf("the app was told of %q in the roles %q", r.Header.Get("Remote-User"), r.Header.Get("Remote-Roles"))
	}
	if r.Identity == nil || r.Identity.Username != "alice" {
		t.Errorf("the assertion is not valid: %s", r.AssertionError)
	}
}

// A rawAnswer is what a raw request was answered with.
type rawAnswer struct {
	status string
	answer *received // nil if it was not the app
}

// rawEcho sends an attack to the app.
func rawEcho(t *testing.T, w *world, cookie string, a attack) rawAnswer {
	t.Helper()
	status, body := rawAsk(t, w, cookie, a)
	got := rawAnswer{status: status}
	var r received
	if status == "200" && json.Unmarshal(body, &r) == nil && r.Method != "" {
		got.answer = &r
	}
	return got
}

// rawAsk sends an attack over a TLS connection of its own, byte for byte.
func rawAsk(t *testing.T, w *world, cookie string, a attack) (status string, body []byte) {
	t.Helper()
	if a.path == "" {
		a.path = "/attack"
	}
	method := "GET"
	if a.body != "" {
		method = "POST"
	}
	lines := []string{method + " " + a.path + " HTTP/1.1", "Host: " + strings.TrimPrefix(w.base, "https://"), "Accept: application/json"}
	if cookie != "" {
		lines = append(lines, cookie)
	}
	lines = append(lines, a.head...)
	if !slices.ContainsFunc(a.head, func(l string) bool { return strings.HasPrefix(l, "Connection:") }) {
		lines = append(lines, "Connection: close")
	}
	resp, conn := rawRequest(t, w, strings.Join(lines, "\r\n")+"\r\n\r\n"+a.body)
	defer conn.Close()
	defer resp.Body.Close()
	body, err := io.ReadAll(resp.Body)
	if err != nil {
		t.Fatal(err)
	}
	return fmt.Sprint(resp.StatusCode), body
}

// rawRequest writes text to the site and reads the head of the answer.
func rawRequest(t *testing.T, w *world, text string) (*http.Response, net.Conn) {
	t.Helper()
	_, address, _ := strings.Cut(w.base, "://")
	_, port, err := net.SplitHostPort(address)
	if err != nil {
		t.Fatal(err)
	}
	conn, err := tls.Dial("tcp", "127.0.0.1:"+port, &tls.Config{RootCAs: certificates(t).pool, ServerName: w.host(), NextProtos: []string{"http/1.1"}})
	if err != nil {
		t.Fatal(err)
	}
	_ = conn.SetDeadline(time.Now().Add(30 * time.Second))
	if _, err := io.WriteString(conn, text); err != nil {
		t.Fatal(err)
	}
	resp, err := http.ReadResponse(bufio.NewReader(conn), nil)
	if err != nil {
		t.Fatal(err)
	}
	return resp, conn
}

// cookieLine is the client's Cookie header for a site.
func cookieLine(c *client, base string) string {
	var pairs []string
	for _, cookie := range c.cookies(base) {
		pairs = append(pairs, cookie.Name+"="+cookie.Value)
	}
	return "Cookie: " + strings.Join(pairs, "; ")
}

// TestHeaderAttackWebSocket holds the same for the request that opens a
// WebSocket, and that only the site's own pages open one.
func TestHeaderAttackWebSocket(t *testing.T) {
	t.Parallel()
	w := newWorld(t, worldOptions{})
	c := newClient(t)
	c.echoed(c.signIn(w.base+"/", "alice"))
	cookie := cookieLine(c, w.base)
	upgrade := func(t *testing.T, lines ...string) (status int) {
		t.Helper()
		head := append([]string{
			"GET /live/ws HTTP/1.1", "Host: " + strings.TrimPrefix(w.base, "https://"), "Upgrade: websocket",
			"Sec-WebSocket-Version: 13", "Sec-WebSocket-Key: dGhlIHNhbXBsZSBub25jZQ==", cookie,
		}, lines...)
		resp, conn := rawRequest(t, w, strings.Join(head, "\r\n")+"\r\n\r\n")
		_ = conn.Close()
		return resp.StatusCode
	}
	seen := func() int { return len(w.app.seen("/live/ws")) }
	origin := "Origin: " + w.base
	if status := upgrade(t, "Connection: Upgrade", origin); status != http.StatusSwitchingProtocols {
		t.Fatalf("the control was answered %d", status)
	}
	checkIdentity(t, w.app.seen("/live/ws")[0], true)
	for name, lines := range map[string][]string{
		"forged headers":                  {"Connection: Upgrade", origin, "Remote-User: evil", "remote_roles: evil", "X-Sso-Assertion: evil"},
		"Connection lists identity":       {"Connection: Upgrade, Remote-User, X-Sso-Assertion, Remote-Roles", origin},
		"Connection lists it beside":      {"Connection: Upgrade", "Connection: remote-user", origin, "Remote_User: evil"},
		"Connection lists it underscored": {"Connection: upgrade, Remote_User", origin, "Remote_User: evil"},
	} {
		t.Run("F3 "+name, func(t *testing.T) {
			before := seen()
			if status := upgrade(t, lines...); status != http.StatusSwitchingProtocols {
				t.Fatalf("answered %d", status)
			}
			if seen() != before+1 {
				t.Fatal("the app did not see it")
			}
			checkIdentity(t, w.app.seen("/live/ws")[before], true)
		})
	}
	for name, lines := range map[string][]string{
		"a foreign origin":            {"Connection: Upgrade", "Origin: https://evil.test"},
		"null":                        {"Connection: Upgrade", "Origin: null"},
		"the same host without port":  {"Connection: Upgrade", "Origin: https://app.test"},
		"http instead of https":       {"Connection: Upgrade", "Origin: " + strings.Replace(w.base, "https", "http", 1)},
		"a host that begins like it":  {"Connection: Upgrade", "Origin: " + w.base + ".evil.test"},
		"two origins":                 {"Connection: Upgrade", origin, "Origin: https://evil.test"},
		"Upgrade in another spelling": {"connection: uPGRADE", "Origin: https://evil.test"},
	} {
		t.Run("F3 origin: "+name, func(t *testing.T) {
			before := seen()
			if status := upgrade(t, lines...); status/100 != 4 {
				t.Errorf("answered %d", status)
			}
			if seen() != before {
				t.Error("the app saw it")
			}
		})
	}
}
