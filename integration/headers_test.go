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

// ambiguousNames are the global options by which Caddy hands on headers with
// underscores and dots like ours. By itself it drops all such names before any
// handler, ours too, sees them; and with these options, those with hyphens.
const ambiguousNames = `	servers {
		expected_underscore_headers remote_* x_sso* x_harm*
		expected_dot_headers remote.* x.sso* x.harm*
	}
`

// headersSite is a site with public paths whose app gets what the client sends.
func headersSite() clusterOptions {
	return clusterOptions{bolt: "sessions.db", block: "\t\tpublic /public/*"}
}

// An exchange is an attack, or a control, and how it is sent: with the Cookie line, if there
// is one, to a path.
type exchange struct {
	name string
	// refusable ones may be refused instead of being passed on harmlessly; refused ones
	// must be.
	refusable, refused bool
	send               func(t *testing.T, cookie, path string) rawAnswer
}

// A rawAnswer is what a request was answered with, and what the app saw, if it saw it: the
// test's app, or PHP.
type rawAnswer struct {
	status string // empty if it was refused without an answer
	answer *received
	server map[string]string
}

func (a rawAnswer) reached() bool { return a.answer != nil || a.server != nil }

// check holds what the app saw against what it may see.
func (a rawAnswer) check(t *testing.T, identity bool) {
	t.Helper()
	if a.server != nil {
		checkPHP(t, a.server, identity)
	} else {
		checkIdentity(t, a.answer, identity)
	}
}

// playAttacks plays attacks on every kind of path. harmless says whether the app saw all of
// a control.
func playAttacks(t *testing.T, cookie string, controls, attacks []exchange, harmless func(rawAnswer) bool) {
	t.Helper()
	for name, to := range map[string]struct {
		cookie, path string
		identity     bool
	}{
		"signed in":            {cookie, "/attack", true},
		"public":               {"", "/public/attack", false},
		"public and signed in": {cookie, "/public/attack", false},
	} {
		t.Run("F3 "+name, func(t *testing.T) {
			for _, c := range controls {
				got := c.send(t, to.cookie, to.path)
				if !got.reached() {
					t.Fatalf("the control was refused: %q", got.status)
				}
				got.check(t, to.identity)
				if !harmless(got) {
					t.Fatalf("the harmless header of the control did not reach the app: %+v", got)
				}
			}
			for _, a := range attacks {
				t.Run(a.name, func(t *testing.T) {
					got := a.send(t, to.cookie, to.path)
					refused := got.status == "" || strings.HasPrefix(got.status, "4")
					switch {
					case a.refused && !refused, !got.reached() && !refused:
						t.Fatalf("answered %q", got.status)
					case refused && !a.refused && !a.refusable:
						t.Fatalf("refused though it is well-formed: %q", got.status)
					case !refused:
						got.check(t, to.identity)
					}
				})
			}
		})
	}
}

// playStrangers holds that a forged identity does not pass for a session. send sends the
// header alone to /stranger.
func playStrangers(t *testing.T, cl *cluster, send func(t *testing.T, name string) rawAnswer) {
	t.Helper()
	t.Run("F3 a stranger's forged identity does not pass for a session", func(t *testing.T) {
		for _, name := range identityNames {
			if got := send(t, name); got.status != "401" {
				t.Errorf("%s: answered %q", name, got.status)
			}
		}
		if n := len(cl.app.seen("/stranger")); n != 0 {
			t.Errorf("the app saw %d requests", n)
		}
	})
}

// TestHeaderAttack holds that the app sees the identity that the gateway gives,
// whole and once, or none: whatever the client sends.
func TestHeaderAttack(t *testing.T) {
	t.Parallel()
	cl := newCluster(t, headersSite())
	send := func(t *testing.T, cookie string, a attack) rawAnswer {
		status, body := rawAsk(t, cl, cookie, a)
		return echoOf(status, body)
	}
	playAttacks(t, cookieLine(cl.signIn(0), cl.base), exchanges([]attack{{head: []string{"X-Harmless: a"}}}, send), sideBySide(exchanges(headerAttacks(), send)),
		func(got rawAnswer) bool { return strings.Contains(got.answer.Raw, "X-Harmless: a\r\n") })
	playStrangers(t, cl, func(t *testing.T, name string) rawAnswer {
		return send(t, "", attack{path: "/stranger", head: []string{name + ": alice"}})
	})
}

// exchanges are attacks that send sends.
func exchanges(attacks []attack, send func(t *testing.T, cookie string, a attack) rawAnswer) (all []exchange) {
	for _, a := range attacks {
		all = append(all, exchange{name: a.name, refusable: a.refusable, send: func(t *testing.T, cookie, path string) rawAnswer {
			a.path = path
			return send(t, cookie, a)
		}})
	}
	return all
}

// sideBySide has subtests run in parallel that send attacks.
func sideBySide(attacks []exchange) []exchange {
	for i, a := range attacks {
		attacks[i].send = func(t *testing.T, cookie, path string) rawAnswer {
			t.Parallel()
			return a.send(t, cookie, path)
		}
	}
	return attacks
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

// echoOf is an answer of the app, or in its place.
func echoOf(status string, body []byte) rawAnswer {
	got := rawAnswer{status: status}
	var r received
	if status == "200" && json.Unmarshal(body, &r) == nil && r.Method != "" {
		got.answer = &r
	}
	return got
}

// rawAsk sends an attack over a TLS connection of its own, byte for byte.
func rawAsk(t *testing.T, cl *cluster, cookie string, a attack) (status string, body []byte) {
	t.Helper()
	if a.path == "" {
		a.path = "/attack"
	}
	method := "GET"
	if a.body != "" {
		method = "POST"
	}
	lines := []string{method + " " + a.path + " HTTP/1.1", "Host: " + strings.TrimPrefix(cl.base, "https://"), "Accept: application/json"}
	if cookie != "" {
		lines = append(lines, cookie)
	}
	lines = append(lines, a.head...)
	if !slices.ContainsFunc(a.head, func(l string) bool { return strings.HasPrefix(l, "Connection:") }) {
		lines = append(lines, "Connection: close")
	}
	resp, conn := rawRequest(t, cl, strings.Join(lines, "\r\n")+"\r\n\r\n"+a.body)
	defer conn.Close()
	defer resp.Body.Close()
	body, err := io.ReadAll(resp.Body)
	if err != nil {
		t.Fatal(err)
	}
	return fmt.Sprint(resp.StatusCode), body
}

// rawRequest writes text to the site and reads the head of the answer.
func rawRequest(t *testing.T, cl *cluster, text string) (*http.Response, net.Conn) {
	t.Helper()
	conn, err := tls.Dial("tcp", cl.dialAddress(0), &tls.Config{RootCAs: certificates(t).pool, ServerName: cl.host, NextProtos: []string{"http/1.1"}})
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
