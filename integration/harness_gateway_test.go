//go:build integration

package integration

import (
	"context"
	"fmt"
	"net"
	"net/http"
	"os"
	"os/exec"
	"path/filepath"
	"slices"
	"strings"
	"testing"
	"time"
)

// A gateway is the built binary, running with a Caddyfile and a home of its
// own. Its log is collected at debug level.
type gateway struct {
	t     *testing.T
	dir   string
	admin string // path of the admin endpoint's socket
	env   []string
	proc  *process
	log   *syncBuffer
	// oneByOne says that people come one after another, and that nothing else is under test
	// that happens at once. Then it runs as it is shipped, without the race detector.
	oneByOne bool
}

// newGateway makes a gateway that runs nothing yet.
func newGateway(t *testing.T) *gateway {
	t.Helper()
	dir, err := os.MkdirTemp(scratch, "gw-") // short: a socket's path has 108 bytes at most
	if err != nil {
		t.Fatal(err)
	}
	g := &gateway{t: t, dir: dir, admin: filepath.Join(dir, "admin.sock"), log: &syncBuffer{}}
	t.Cleanup(g.finish)
	return g
}

// globals are the global options of every Caddyfile of the tests: nothing
// leaves this machine, and everything is logged.
func (g *gateway) globals() string {
	return fmt.Sprintf(`	admin unix/%s
	auto_https disable_redirects
	skip_install_trust
	grace_period 1s
	log {
		output stderr
		format json
		level DEBUG
	}
`, g.admin)
}

// write writes the Caddyfile: the tests' global options, those given, and the
// sites.
func (g *gateway) write(global, sites string) {
	g.t.Helper()
	text := "{\n" + g.globals() + global + "\n}\n" + sites
	if err := os.WriteFile(g.caddyfile(), []byte(text), 0o600); err != nil {
		g.t.Fatal(err)
	}
}

func (g *gateway) caddyfile() string { return filepath.Join(g.dir, "Caddyfile") }

// command is a call of the binary in the gateway's environment. A server has the race
// detector, but for oneByOne.
func (g *gateway) command(args ...string) *exec.Cmd {
	program := shipped
	if serves := args[0] == "run" || args[0] == "sidecar"; serves && !g.oneByOne {
		program = binary
	}
	cmd := exec.Command(program(g.t), args...)
	cmd.Dir = g.dir
	cmd.Env = append([]string{
		"HOME=" + g.dir, "XDG_DATA_HOME=" + g.dir + "/data", "XDG_CONFIG_HOME=" + g.dir + "/config",
		"PATH=" + os.Getenv("PATH"), "TMPDIR=" + g.dir,
		"GORACE=atexit_sleep_ms=50", // a second, otherwise, at each end of a binary
	}, g.env...)
	return cmd
}

// run starts the binary.
func (g *gateway) run() {
	g.t.Helper()
	cmd := g.command("run", "--config", g.caddyfile(), "--adapter", "caddyfile")
	cmd.Stdout, cmd.Stderr = g.log, g.log
	var err error
	if g.proc, err = start(cmd); err != nil {
		g.t.Fatal(err)
	}
}

// adminClient reaches the admin endpoint, whatever the host.
func (g *gateway) adminClient() *http.Client {
	return &http.Client{Transport: &http.Transport{
		DisableKeepAlives: true,
		DialContext: func(ctx context.Context, _, _ string) (net.Conn, error) {
			var d net.Dialer
			return d.DialContext(ctx, "unix", g.admin)
		},
	}}
}

// start starts the binary and waits until it runs with its Caddyfile.
func (g *gateway) start() {
	g.t.Helper()
	g.run()
	client := g.adminClient()
	for deadline := time.Now().Add(30 * time.Second); !g.proc.ended() && time.Now().Before(deadline); time.Sleep(20 * time.Millisecond) {
		// The configuration is there once all apps have started.
		if resp, err := client.Get("http://localhost/config/"); err == nil {
			defer resp.Body.Close()
			b := make([]byte, 4)
			if _, _ = resp.Body.Read(b); string(b) != "null" {
				return
			}
		}
	}
	g.t.Fatalf("the gateway does not run\n%s", lastLines(g.log.String(), 30))
}

// reload loads the Caddyfile anew, as an operator would.
func (g *gateway) reload() {
	g.t.Helper()
	out, err := g.command("reload", "--config", g.caddyfile(), "--adapter", "caddyfile", "--address", "unix/"+g.admin, "--force").CombinedOutput()
	if err != nil {
		g.t.Fatalf("reloading: %v\n%s", err, out)
	}
}

// stop ends the binary in an orderly way.
func (g *gateway) stop() {
	g.t.Helper()
	if err := g.proc.end(time.Minute); err != nil {
		g.t.Fatal(err)
	}
}

// restart stops the binary and starts it again.
func (g *gateway) restart() {
	g.t.Helper()
	g.stop()
	g.start()
}

// changes are what may happen to the gateway while somebody is at the provider. configure
// writes another Caddyfile.
func (g *gateway) changes(configure func()) map[string]func() {
	return map[string]func(){
		"a restart": g.restart,
		"a reload":  g.reload,
		"a kill":    func() { g.proc.kill(); g.start() },
		"a reload with another configuration": func() {
			configure()
			g.reload()
		},
	}
}

// finish ends the binary with the test. A data race or a panic in it fails the
// test, whatever else the test looked at.
func (g *gateway) finish() {
	if g.proc != nil {
		if err := g.proc.end(time.Minute); err != nil {
			g.t.Errorf("%v", err)
		}
	}
	log := withoutRacesOfCaddy(g.log.String())
	for _, bad := range []string{"WARNING: DATA RACE", "panic:", "aborting with incomplete response due to panic"} {
		if i := strings.Index(log, bad); i >= 0 {
			g.t.Errorf("the gateway's log has %q:\n%.4000s", bad, log[i:])
		}
	}
	if g.t.Failed() {
		caddyfile, _ := os.ReadFile(g.caddyfile())
		g.t.Logf("the Caddyfile:\n%s\nthe end of the gateway's log:\n%s", caddyfile, lastLines(readable(log), 40))
	}
	_ = os.RemoveAll(g.dir)
}

// racesOfCaddy are two data races that Caddy 2.11.9 has by itself, each with functions that its
// report names: a reload cleans up a reverse_proxy while a request of it ends, and an event of a
// TLS handshake copies the TLS app while that starts or stops.
var racesOfCaddy = [][]string{
	{"reverseproxy.(*Handler).cleanupConnections()", "reverseproxy.(*Handler).finalizeResponse()"},
	{"caddytls.(*TLS).CaddyModule()", "caddyevents.(*App).Emit()"},
}

// withoutRacesOfCaddy leaves out of a log the reports of these.
func withoutRacesOfCaddy(log string) string {
	const edge = "==================\n"
	parts := strings.Split(log, edge)
	return strings.Join(slices.DeleteFunc(parts, func(part string) bool {
		return strings.HasPrefix(part, "WARNING: DATA RACE") && slices.ContainsFunc(racesOfCaddy, func(race []string) bool {
			return !slices.ContainsFunc(race, func(function string) bool { return !strings.Contains(part, function) })
		})
	}), edge)
}

// readable leaves out of a log what only tells of Caddy's own doings, and
// shortens what is left.
func readable(log string) string {
	var b strings.Builder
	for line := range strings.Lines(log) {
		if !strings.Contains(line, `"logger":"tls`) && !strings.Contains(line, `"logger":"events"`) {
			fmt.Fprintf(&b, "%.600s\n", strings.TrimSuffix(line, "\n"))
		}
	}
	return b.String()
}
