//go:build integration

package integration

import (
	"errors"
	"flag"
	"fmt"
	"net/http"
	"os"
	"os/exec"
	"path/filepath"
	"runtime"
	"strings"
	"sync"
	"syscall"
	"testing"
	"time"
)

// scratch holds everything that the tests of this package write, and goes when
// they end.
var scratch string

// atExit are the shared pieces that TestMain ends, last started first.
var atExit struct {
	sync.Mutex
	ends []func()
}

func whenAllIsDone(end func()) {
	atExit.Lock()
	defer atExit.Unlock()
	atExit.ends = append(atExit.ends, end)
}

func TestMain(m *testing.M) {
	os.Exit(runAll(m))
}

func runAll(m *testing.M) (status int) {
	var err error
	if scratch, err = os.MkdirTemp("", "sso-"); err != nil {
		fmt.Fprintln(os.Stderr, "making the scratch directory:", err)
		return 1
	}
	flag.Parse()
	var begun sync.WaitGroup
	if flag.Lookup("test.run").Value.String() == "" {
		// All tests run. Most need these, which take long to come: let
		// them come at the same time. The test that asks for them says what
		// went wrong.
		begun.Go(func() { _, _ = buildBinary() })
		begun.Go(func() { _, _ = buildShipped() })
		begun.Go(func() { _, _ = sharedKeycloak() })
	}
	defer func() {
		begun.Wait()
		for i := len(atExit.ends) - 1; i >= 0; i-- {
			atExit.ends[i]()
		}
		if err := os.RemoveAll(scratch); err != nil {
			fmt.Fprintln(os.Stderr, "removing the scratch directory:", err)
			status = 1
		}
	}()
	return m.Run()
}

// binary builds the product with the race detector, once for all tests, and returns its
// path. shipped builds it as it is shipped: it starts in a fifth of the time.
func binary(t *testing.T) string  { return built(t, buildBinary) }
func shipped(t *testing.T) string { return built(t, buildShipped) }

func built(t *testing.T, build func() (string, error)) string {
	t.Helper()
	path, err := build()
	if err != nil {
		t.Fatal(err)
	}
	return path
}

var (
	buildBinary  = sync.OnceValues(func() (string, error) { return goBuild("raced", os.Environ(), "-race") })
	buildShipped = sync.OnceValues(func() (string, error) {
		return goBuild("shipped", append(os.Environ(), "CGO_ENABLED=0", "GOFLAGS="), "-trimpath") // as docker/release does
	})
)

func goBuild(dir string, env []string, option string) (string, error) {
	path := filepath.Join(scratch, dir, "caddy-sso")
	cmd := exec.Command("go", "build", option, "-buildvcs=false", "-ldflags=-s -w", "-o", path, "../caddymodule/cmd/caddy-sso")
	cmd.Env = env
	if out, err := cmd.CombinedOutput(); err != nil {
		return "", fmt.Errorf("building the binary: %w\n%s", err, out)
	}
	return path, nil
}

// eventually calls ok until it returns true, for at most so long.
func eventually(t *testing.T, what string, atMost time.Duration, ok func() bool) {
	t.Helper()
	for deadline := time.Now().Add(atMost); !ok(); time.Sleep(20 * time.Millisecond) {
		if time.Now().After(deadline) {
			t.Fatalf("%s: not within %v", what, atMost)
		}
	}
}

// awaitReady waits until a program that was just started answers at an address.
func awaitReady(proc *process, log *syncBuffer, address string, atMost time.Duration) error {
	for deadline := time.Now().Add(atMost); time.Now().Before(deadline) && !proc.ended(); time.Sleep(100 * time.Millisecond) {
		if isReady(address) {
			return nil
		}
	}
	return fmt.Errorf("waiting for %s: it is not ready\n%s", filepath.Base(proc.cmd.Path), lastLines(log.String(), 30))
}

func isReady(address string) bool {
	client := &http.Client{Timeout: 10 * time.Second, Transport: &http.Transport{DisableKeepAlives: true}}
	resp, err := client.Get(address)
	if err != nil {
		return false
	}
	_ = resp.Body.Close()
	return resp.StatusCode == http.StatusOK
}

// A process is a program that a test runs beside itself.
type process struct {
	cmd  *exec.Cmd
	done chan struct{}
	err  error // of the program's end, once done is closed
}

// start starts cmd. It dies with the tests, however they end.
func start(cmd *exec.Cmd) (*process, error) {
	if cmd.SysProcAttr == nil {
		cmd.SysProcAttr = &syscall.SysProcAttr{}
	}
	cmd.SysProcAttr.Pdeathsig = syscall.SIGKILL
	cmd.WaitDelay = 5 * time.Second
	p := &process{cmd: cmd, done: make(chan struct{})}
	// The death signal comes when the *thread* that started the program ends:
	// this one lives as long as the program does.
	began := make(chan error)
	go func() {
		runtime.LockOSThread()
		err := cmd.Start()
		began <- err
		if err == nil {
			p.err = cmd.Wait()
			close(p.done)
		}
	}()
	if err := <-began; err != nil {
		return nil, fmt.Errorf("starting %s: %w", filepath.Base(cmd.Path), err)
	}
	return p, nil
}

// ended says whether the program has.
func (p *process) ended() bool {
	select {
	case <-p.done:
		return true
	default:
		return false
	}
}

// end asks the program to end and, if it does not within grace, kills it.
func (p *process) end(grace time.Duration) error {
	if p.ended() {
		return nil
	}
	_ = p.cmd.Process.Signal(syscall.SIGTERM)
	select {
	case <-p.done:
		return nil
	case <-time.After(grace):
	}
	p.kill()
	return errors.New("ending " + filepath.Base(p.cmd.Path) + ": it had to be killed")
}

// kill ends the program at once, as a power cut would.
func (p *process) kill() {
	_ = p.cmd.Process.Kill()
	<-p.done
}

// A syncBuffer collects what a program writes.
type syncBuffer struct {
	mu sync.Mutex
	b  strings.Builder
}

func (b *syncBuffer) Write(p []byte) (int, error) {
	b.mu.Lock()
	defer b.mu.Unlock()
	return b.b.Write(p)
}

func (b *syncBuffer) String() string {
	b.mu.Lock()
	defer b.mu.Unlock()
	return b.b.String()
}

// lastLines returns the end of s.
func lastLines(s string, n int) string {
	lines := strings.Split(strings.TrimSuffix(s, "\n"), "\n")
	return strings.Join(lines[max(0, len(lines)-n):], "\n")
}
