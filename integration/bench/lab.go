//go:build integration

package main

import (
	"bufio"
	"context"
	"fmt"
	"net"
	"net/http"
	"os"
	"os/exec"
	"path/filepath"
	"runtime"
	"strings"
	"sync/atomic"
	"testing"
	"time"

	"github.com/caddy-sso/caddy-sso/gateway/gatewaytest"
	"github.com/caddy-sso/caddy-sso/gateway/signing/verify"
)

// A lab has what all proxies share: the app, the provider and its people.
type lab struct {
	op       *gatewaytest.OP
	person   atomic.Int64 // the next one
	upstream string
	// headers are what the app was told of the first person, for the control
	// that tells it the same of everybody.
	headers http.Header
}

// tb lets the tests' provider run outside of a test. It ends with this process.
type tb struct{ testing.TB }

func (tb) Helper()        {}
func (tb) Cleanup(func()) {}

func (b *lab) begin() error {
	b.op = gatewaytest.NewOP(tb{}, gatewaytest.OPOptions{})
	b.op.SetHooks(gatewaytest.OPHooks{Claims: func(claims map[string]any) {
		name := fmt.Sprintf("person-%04d", b.person.Add(1)-1)
		groups := make([]any, 10)
		for i := range groups {
			groups[i] = fmt.Sprintf("team-%02d", i)
		}
		claims["sub"], claims["preferred_username"], claims["email"], claims["groups"] = name, name, name+"@example.com", groups
	}})
	if err := os.WriteFile(filepath.Join(*work, "ca.pem"), b.op.Roots, 0o600); err != nil {
		return err
	}
	b.upstream = fmt.Sprintf("127.0.0.1:%d", gatewaytest.FreePort())
	app := exec.Command(os.Args[0], "-upstream", b.upstream)
	app.Stderr = os.Stderr
	if err := startChild(app, b.upstream); err != nil {
		return err
	}
	return b.learnHeaders()
}

// identity are the headers that the app gets.
var identity = []string{"X-Sso-Assertion", "Remote-User", "Remote-Groups", "Remote-Email", "Remote-Name", "Remote-Roles"}

// learnHeaders signs one person in, has the assertion verified as an app would
// verify it, and keeps what the app was told.
func (b *lab) learnHeaders() error {
	p := &proxy{name: "learning the headers", binary: "caddy-sso", site: b.guarded()}
	if err := b.start(p); err != nil {
		return err
	}
	defer p.stop()
	_, told, err := b.signIn(p)
	if err != nil {
		return err
	}
	v, err := verify.New(verify.Config{Issuer: "http://" + p.host(), Audience: "localhost", JWKSURL: "http://" + p.host() + "/.sso/jwks.json"})
	if err != nil {
		return err
	}
	id, err := v.Verify(context.Background(), told.Get(identity[0]))
	if err != nil {
		return fmt.Errorf("verifying the assertion: %w", err)
	}
	if id.Username != staticUser {
		return fmt.Errorf("verifying the assertion: it names %q", id.Username)
	}
	b.headers = http.Header{}
	for _, name := range identity {
		if told.Get(name) == "" {
			return fmt.Errorf("the app was not told %s", name)
		}
		b.headers.Set(name, told.Get(name))
	}
	return nil
}

const globals = `{
	admin unix/DIR/admin.sock
	persist_config off
	storage file_system DIR/storage
	log {
		level WARN
	}
%s}
http://localhost:PORT {
	bind 127.0.0.1
%s	reverse_proxy %s
}
`

func (b *lab) plain() string { return fmt.Sprintf(globals, "", "", b.upstream) }

func (b *lab) static() string {
	var lines strings.Builder
	for _, name := range identity {
		fmt.Fprintf(&lines, "\trequest_header %s %q\n", name, b.headers.Get(name))
	}
	return fmt.Sprintf(globals, "", lines.String(), b.upstream)
}

func (b *lab) guarded() string {
	var lines strings.Builder
	fmt.Fprintf(&lines, "\tsso oidc %s %s {env.BENCH_SECRET} {\n\t\tca %s\n\t\trole Admin,Editor team-00\n", b.op.Issuer, b.op.ClientID, filepath.Join(*work, "ca.pem"))
	for i := range 10 {
		fmt.Fprintf(&lines, "\t\tgroup app-%02d team-%02d\n", i, i)
	}
	return fmt.Sprintf(globals, "\tsso {\n\t\tstore bolt DIR/sessions.db\n\t\tlimit off\n\t}\n", lines.String()+"\t}\n", b.upstream)
}

// warm prepares the requests of a proxy and the answers that are expected, signs people in
// where it guards, and sends some turns that do not count.
func (b *lab) warm(p *proxy) error {
	b.person.Store(0)
	for range sessions {
		own, user := "sso="+strings.Repeat("x", 86), p.want
		if p.want == eachUser {
			cookie, told, err := b.signIn(p)
			if err != nil {
				return err
			}
			own, user = cookie, told.Get("Remote-User")
		}
		p.sent = append(p.sent, requestOf(p.host(), "/d/overview?from=now-6h", cookieLine(own)))
		p.expected = append(p.expected, answerTo(user, p.want != ""))
	}
	for range 3 {
		if _, err := b.turn(p); err != nil {
			return err
		}
	}
	return nil
}

// raw sends one request on a connection of its own.
func (b *lab) raw(p *proxy, request []byte) (*http.Response, error) {
	conn, err := net.DialTimeout("tcp", p.address(), 5*time.Second)
	if err != nil {
		return nil, err
	}
	if err := conn.SetDeadline(time.Now().Add(20 * time.Second)); err != nil {
		return nil, err
	}
	if _, err := conn.Write(request); err != nil {
		return nil, err
	}
	return http.ReadResponse(bufio.NewReader(conn), nil)
}

// machine describes where this runs, without names.
func (b *lab) machine() string {
	kernel, _ := os.ReadFile("/proc/sys/kernel/osrelease")
	model := "unknown CPU"
	cpus, _ := os.ReadFile("/proc/cpuinfo")
	for line := range strings.Lines(string(cpus)) {
		if _, name, ok := strings.Cut(line, "model name\t: "); ok {
			model = strings.TrimSpace(name)
			break
		}
	}
	version, _ := exec.Command(filepath.Join(*work, "stock"), "version").Output()
	caddy, _, _ := strings.Cut(string(version), " ")
	load, _ := os.ReadFile("/proc/loadavg")
	return fmt.Sprintf("%d cores (%s), Linux %s, %s, Caddy %s; load average before: %s; %d sessions, %d connections",
		runtime.NumCPU(), model, strings.TrimSpace(string(kernel)), runtime.Version(), strings.TrimSpace(caddy), strings.Join(strings.Fields(string(load))[:3], " "), sessions, connections)
}
