//go:build integration

package main

import (
	"bufio"
	"context"
	"errors"
	"fmt"
	"net"
	"net/http"
	"os"
	"os/exec"
	"path/filepath"
	"runtime"
	"runtime/debug"
	"strings"
	"sync"
	"sync/atomic"
	"testing"
	"time"

	"github.com/caddy-sso/caddy-sso/gateway/gatewaytest"
	"github.com/caddy-sso/caddy-sso/gateway/signing/verify"
)

// A lab has what all proxies share: the app, the provider and its people.
type lab struct {
	settings
	tb       *tb
	op       *gatewaytest.OP
	person   atomic.Int64
	app      *exec.Cmd
	upstream string
	// headers are what the app was told of the first person, for the control
	// that tells it the same of everybody.
	headers http.Header
}

// tb lets the tests' provider run outside of a test.
type tb struct {
	testing.TB
	cleanups []func()
}

func (*tb) Helper()            {}
func (t *tb) Cleanup(f func()) { t.cleanups = append(t.cleanups, f) }

func (b *lab) begin() error {
	b.op = gatewaytest.NewOP(b.tb, gatewaytest.OPOptions{})
	b.op.SetHooks(gatewaytest.OPHooks{Claims: func(claims map[string]any) {
		name := fmt.Sprintf("person-%04d", b.person.Add(1)-1)
		groups := make([]any, 10)
		for i := range groups {
			groups[i] = fmt.Sprintf("team-%02d", i)
		}
		claims["sub"], claims["preferred_username"], claims["email"], claims["groups"] = name, name, name+"@example.com", groups
	}})
	if err := os.WriteFile(filepath.Join(b.work, "ca.pem"), b.op.Roots, 0o600); err != nil {
		return err
	}
	var err error
	if b.upstream, err = freeAddress(); err != nil {
		return err
	}
	b.app = exec.Command(os.Args[0], "-upstream", b.upstream)
	b.app.Stderr = os.Stderr
	if err := startChild(b.app); err != nil {
		return err
	}
	if err := waitFor(b.upstream); err != nil {
		return err
	}
	return b.learnHeaders()
}

func (b *lab) end() {
	if b.app != nil && b.app.Process != nil {
		_ = b.app.Process.Kill()
		_ = b.app.Wait()
	}
	for _, f := range b.tb.cleanups {
		f()
	}
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
	cookie, err := b.signIn(p)
	if err != nil {
		return err
	}
	resp, err := b.raw(p, requestOf(p.host(), "/headers", cookieLine(cookie)))
	if err != nil {
		return err
	}
	defer func() { _ = resp.Body.Close() }()
	req, err := http.ReadRequest(bufio.NewReader(newHeaderText(resp)))
	if err != nil {
		return fmt.Errorf("reading what the app was told: %w", err)
	}
	v, err := verify.New(verify.Config{Issuer: "http://" + p.host(), Audience: "localhost", JWKSURL: "http://" + p.host() + "/.sso/jwks.json"})
	if err != nil {
		return err
	}
	id, err := v.Verify(context.Background(), req.Header.Get(identity[0]))
	if err != nil {
		return fmt.Errorf("verifying the assertion: %w", err)
	}
	if id.Username != staticUser {
		return fmt.Errorf("verifying the assertion: it names %q", id.Username)
	}
	b.headers = http.Header{}
	for _, name := range identity {
		value := req.Header.Get(name)
		if value == "" {
			return fmt.Errorf("the app was not told %s", name)
		}
		b.headers.Set(name, value)
	}
	b.person.Store(0)
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
	fmt.Fprintf(&lines, "\tsso oidc %s %s {env.BENCH_SECRET} {\n\t\tca %s\n\t\trole Admin,Editor team-00\n", b.op.Issuer, b.op.ClientID, filepath.Join(b.work, "ca.pem"))
	for i := range 10 {
		fmt.Fprintf(&lines, "\t\tgroup app-%02d team-%02d\n", i, i)
	}
	return fmt.Sprintf(globals, "\tsso {\n\t\tstore bolt DIR/sessions.db\n\t\tlimit off\n\t}\n", lines.String()+"\t}\n", b.upstream)
}

// warm prepares the requests of a proxy, signs people in where it guards, and
// sends some turns that do not count.
func (b *lab) warm(p *proxy) error {
	p.sent, p.expected = make([][]byte, b.sessions), make([]string, b.sessions)
	errs := make([]error, 8)
	var wg sync.WaitGroup
	b.person.Store(0)
	for first := range errs {
		wg.Go(func() {
			for i := first; i < b.sessions && errs[first] == nil; i += len(errs) {
				errs[first] = b.prepare(p, i)
			}
		})
	}
	wg.Wait()
	if err := errors.Join(errs...); err != nil {
		return err
	}
	for range 3 {
		if _, err := b.turn(p); err != nil {
			return err
		}
	}
	return nil
}

// prepare makes the i-th request and the answer that is expected.
func (b *lab) prepare(p *proxy, i int) error {
	own := "sso=" + strings.Repeat("x", 86)
	user := p.want
	if p.want == eachUser {
		var err error
		if own, err = b.signIn(p); err != nil {
			return err
		}
		if user, err = b.whoIs(p, own); err != nil {
			return err
		}
	}
	p.sent[i] = requestOf(p.host(), "/d/overview?from=now-6h", cookieLine(own))
	p.expected[i] = answerTo(user, p.want != "")
	return nil
}

// raw sends one request on a connection of its own.
func (b *lab) raw(p *proxy, request []byte) (*http.Response, error) {
	conn, err := net.DialTimeout("tcp", p.address, 5*time.Second)
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
	caddy := "?"
	if info, ok := debug.ReadBuildInfo(); ok {
		for _, dep := range info.Deps {
			if dep.Path == "github.com/caddyserver/caddy/v2" {
				caddy = dep.Version
			}
		}
	}
	if caddy == "?" {
		if out, err := exec.Command(filepath.Join(b.work, "stock"), "version").Output(); err == nil {
			caddy, _, _ = strings.Cut(string(out), " ")
		}
	}
	load, _ := os.ReadFile("/proc/loadavg")
	return fmt.Sprintf("%d cores (%s), Linux %s, %s, Caddy %s; load average before: %s; %d sessions, %d connections",
		runtime.NumCPU(), model, strings.TrimSpace(string(kernel)), runtime.Version(), strings.TrimSpace(caddy), strings.Join(strings.Fields(string(load))[:3], " "), b.sessions, b.connections)
}
