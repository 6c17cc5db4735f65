package caddymodule_test

import (
	"bufio"
	"encoding/binary"
	"fmt"
	"io"
	"net"
	"net/http"
	"net/http/httptest"
	"os"
	"regexp"
	"strings"
	"testing"
	"time"

	"github.com/caddy-sso/caddy-sso/caddymodule"
	"github.com/caddy-sso/caddy-sso/caddymodule/cmd/caddy-sso/program"
	"github.com/caddy-sso/caddy-sso/gateway/gatewaytest"
)

// anAssertion is what an assertion looks like.
var anAssertion = regexp.MustCompile(`eyJ[A-Za-z0-9_-]{10,}\.[A-Za-z0-9_-]{10,}\.[A-Za-z0-9_-]{10,}`)

// A secret is what a log must not show.
type secret struct {
	what string
	is   *regexp.Regexp
}

// withProgram has Caddy be as it is in our own binary, until the test ends.
func withProgram(t *testing.T) {
	t.Helper()
	caddymodule.SetProgram(program.Caddy{})
	t.Cleanup(func() { caddymodule.SetProgram(nil) })
}

// identities are what a log must not show of a person, under whatever name.
func identities() []secret {
	return []secret{
		{"an assertion", anAssertion},
		{"an e-mail address", regexp.MustCompile(`alice@example\.com`)},
		{"a user name", regexp.MustCompile(`"[A-Z][\w-]+": ?\[?"(for )?alice"`)}, // as user_id it may be there
	}
}

// documentedFilter is the block of SECURITY.md, with a line for each header that the
// test's Caddyfile makes.
func documentedFilter(t *testing.T) string {
	t.Helper()
	text, err := os.ReadFile("../SECURITY.md")
	if err != nil {
		t.Fatal(err)
	}
	_, rest, _ := strings.Cut(string(text), "\t\tformat filter {\n")
	lines, _, found := strings.Cut(rest, "\n\t\t}\n")
	if !found {
		t.Fatal("SECURITY.md has no filter")
	}
	for _, name := range []string{"X-Webauth-User", "X-Copy", "X-For"} {
		lines += "\n\t\t\trequest>headers>" + name + " delete"
	}
	return "format filter {\n" + lines + "\n\t\t\tenv>WHO delete\n\t}"
}

// TestNoIdentityInLogs has what Caddy logs of requests to an app at its default level,
// and at the lowest. The first of each is the control: there is something to redact.
func TestNoIdentityInLogs(t *testing.T) {
	stream := httptest.NewServer(http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) {
		_, _ = io.WriteString(w, "an event\n")
		_ = http.NewResponseController(w).Flush()
		if r.URL.Path == "/stream" {
			<-r.Context().Done()
		}
	}))
	t.Cleanup(stream.Close)
	php := complaining(t)
	for _, tt := range []struct {
		name, options, format, level string
		ours, shows, credentials     bool
		cookie                       bool // shows the session cookie
	}{
		{name: "any binary", credentials: true, cookie: true, shows: true},
		{name: "any binary, at debug level", credentials: true, cookie: true, level: "DEBUG", shows: true},
		{name: "any binary, with the documented filter", credentials: true, format: documentedFilter(t)},
		{name: "any binary, with the documented filter, at debug level", credentials: true, level: "DEBUG", format: documentedFilter(t)},
		{name: "our binary", ours: true},
		{name: "our binary, with log_credentials", ours: true, credentials: true, cookie: true},
		{name: "our binary, with log_credentials, at debug level", ours: true, level: "DEBUG", credentials: true, cookie: true},
		{name: "our binary, at debug level", level: "DEBUG", ours: true},
		{name: "our binary, as console, sampled", format: "format console\n\tsampling {\n\t\tinterval 1s\n\t\tfirst 1000\n\t}", ours: true},
		{name: "our binary, with headers of other names", ours: true, options: "headers user X-Who assertion X-Other-" + strings.Repeat("x", 70) + " email X-Mail"},
	} {
		t.Run(tt.name, func(t *testing.T) {
			w := newWorld(t)
			if tt.ours {
				withProgram(t)
			}
			level := tt.level
			if level == "" {
				level = "INFO"
			}
			global := strings.Replace(w.global(""), "\t\tlevel DEBUG\n", "\t\tlevel "+level+"\n\t\t"+tt.format+"\n", 1)
			if tt.credentials {
				global = strings.Replace(global, "\tsso {", "\tservers {\n\t\tlog_credentials\n\t}\n\tsso {", 1)
			}
			w.mustLoad(global + strings.NewReplacer("OPTIONS", tt.options, "STREAM", stream.Listener.Addr().String(), "PHP", php).Replace(`
ORIGIN {
	bind 127.0.0.1
	log
	PROVIDER
		role Admin admins
		OPTIONS
	}
	handle /php/* {
		reverse_proxy PHP {
			transport fastcgi {
				capture_stderr
				env WHO {http.auth.user.id}
			}
		}
	}
	handle {
		reverse_proxy STREAM {
			flush_interval -1
			header_up X-Webauth-User {http.auth.user.id}
			header_up X-Copy "JWT {http.request.header.X-Sso-Assertion}"
			header_up X-For "for {http.auth.user.username}"
		}
	}
}
`))
			b := newBrowser(t)
			if status, body := b.get(w.origin() + "/"); status != http.StatusOK {
				t.Fatalf("signing in: %d %s", status, body)
			}
			cookie := b.cookie(w.origin())
			if status, body := b.get(w.origin() + "/php/x"); status != http.StatusOK {
				t.Fatalf("PHP: %d %s", status, body)
			}
			b.cutByLogout(t, w)
			logs := w.logs()
			for _, line := range []string{"aborting with incomplete response", "PHP is not happy"} {
				for deadline := time.Now().Add(30 * time.Second); !strings.Contains(logs, line); logs = w.logs() {
					if time.Now().After(deadline) {
						t.Fatalf("the log has no %q", line)
					}
					time.Sleep(10 * time.Millisecond)
				}
			}
			if tt.cookie != strings.Contains(logs, cookie) {
				t.Errorf("looking for the session cookie: %.900s", lineWith(logs, cookie))
			}
			for _, secret := range identities() {
				found := secret.is.FindString(logs)
				if tt.shows != (found != "") {
					t.Errorf("looking for %s: %.900s", secret.what, lineWith(logs, found))
				}
			}
		})
	}
}

// cutByLogout opens a stream and signs out.
func (b *browser) cutByLogout(t *testing.T, w *world) {
	t.Helper()
	resp, err := b.Client.Do(mustRequest(t, w.origin()+"/stream"))
	if err != nil {
		t.Fatal(err)
	}
	defer resp.Body.Close()
	if line, err := bufio.NewReader(resp.Body).ReadString('\n'); err != nil || line != "an event\n" {
		t.Fatalf("the stream has %q, %v", line, err)
	}
	w.logOut(b)
	if _, err := io.Copy(io.Discard, resp.Body); err == nil {
		t.Error("the stream ended well")
	}
}

// complaining runs a FastCGI app that writes to its error log and returns its address.
func complaining(t *testing.T) string {
	t.Helper()
	ln, err := net.Listen("tcp", "127.0.0.1:0")
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() { _ = ln.Close() })
	record := func(kind byte, text string) []byte { // FastCGI 1.0, 3.3
		head := binary.BigEndian.AppendUint16([]byte{1, kind, 0, 1}, uint16(len(text)))
		return append(append(head, 0, 0), text...)
	}
	go func() {
		for {
			conn, err := ln.Accept()
			if err != nil {
				return
			}
			go func() {
				defer conn.Close()
				head := make([]byte, 8)
				for { // until the end of FCGI_STDIN
					if _, err := io.ReadFull(conn, head); err != nil {
						return
					}
					length := int64(binary.BigEndian.Uint16(head[4:])) + int64(head[6])
					if _, err := io.CopyN(io.Discard, conn, length); err != nil {
						return
					}
					if head[1] == 5 && length == 0 {
						break
					}
				}
				for _, r := range [][]byte{
					record(7, "PHP is not happy"), record(6, "Content-Type: text/plain\r\n\r\nfrom PHP"), record(6, ""), record(3, strings.Repeat("\x00", 8)),
				} {
					_, _ = conn.Write(r)
				}
			}()
		}
	}()
	return ln.Addr().String()
}

// A copy of the assertion is left out also if the site changes the assertion itself,
// in place, behind sso and in an error route.
func TestCopiesOfAChangedAssertionAreRedacted(t *testing.T) {
	withProgram(t)
	w := newWorld(t)
	w.mustLoad(w.global("") + strings.ReplaceAll(`ORIGIN {
	PROVIDER
		role User *
	}
	respond /whoami "{http.auth.user.id}"
	request_header X-Copy {http.request.header.X-Sso-Assertion}
	request_header X-Sso-Assertion e f
	request_header Remote-User a b
	reverse_proxy DOWN
	handle_errors {
		sso_strip
		reverse_proxy DOWN
	}
}
`, "DOWN", fmt.Sprintf("127.0.0.1:%d", gatewaytest.FreePort())))
	b := w.signInAs("alice", "team")
	if status, _ := b.do(mustRequest(t, w.origin()+"/page")); status != http.StatusBadGateway {
		t.Errorf("status %d", status)
	}
	logs := w.logs()
	for _, secret := range identities() {
		if found := secret.is.FindString(logs); found != "" {
			t.Errorf("the log has %s: %.900s", secret.what, lineWith(logs, found))
		}
	}
	if got := strings.Count(logs, `"X-Copy":["REDACTED"]`); got != 2 {
		t.Errorf("%d lines have the copy, redacted", got)
	}
}
