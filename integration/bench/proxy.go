//go:build integration

package main

import (
	"context"
	"fmt"
	"io"
	"net"
	"net/http"
	"os"
	"os/exec"
	"path/filepath"
	"strconv"
	"strings"
	"syscall"
	"time"

	"golang.org/x/sys/unix"

	"github.com/caddy-sso/caddy-sso/gateway/gatewaytest"
)

// A proxy is one row: a process with a Caddyfile of its own.
type proxy struct {
	name   string
	binary string
	site   string // the site's block
	env    string
	want   string // whom the app must be told of: nobody, one, or eachUser
	// profile, if not empty, is a file for a CPU profile under load.
	profile string

	dir  string
	port int
	cmd  *exec.Cmd
	// sent are the requests of a turn, expected what each is answered.
	sent     [][]byte
	expected []string
}

// start starts the process and waits until it listens.
func (b *lab) start(p *proxy) error {
	p.port = gatewaytest.FreePort()
	var err error
	if p.dir, err = os.MkdirTemp(*work, "p"); err != nil {
		return err
	}
	config := strings.NewReplacer("DIR", p.dir, "PORT", fmt.Sprint(p.port)).Replace(p.site)
	if err := os.WriteFile(filepath.Join(p.dir, "Caddyfile"), []byte(config), 0o600); err != nil {
		return err
	}
	log, err := os.Create(filepath.Join(p.dir, "log"))
	if err != nil {
		return err
	}
	defer func() { _ = log.Close() }()
	p.cmd = exec.Command(filepath.Join(*work, p.binary), "run", "--config", "Caddyfile", "--adapter", "caddyfile")
	p.cmd.Dir, p.cmd.Stdout, p.cmd.Stderr = p.dir, log, log
	p.cmd.Env = []string{"HOME=" + p.dir, "XDG_DATA_HOME=" + p.dir, "XDG_CONFIG_HOME=" + p.dir, "BENCH_SECRET=" + b.op.ClientSecret, p.env}
	if err := startChild(p.cmd, p.address()); err != nil {
		text, _ := os.ReadFile(log.Name())
		return fmt.Errorf("%w\n%s", err, text)
	}
	return nil
}

// startChild starts a process that ends with this one, whatever happens, and waits until it
// listens.
func startChild(cmd *exec.Cmd, address string) error {
	cmd.SysProcAttr = &syscall.SysProcAttr{Pdeathsig: syscall.SIGKILL}
	if err := cmd.Start(); err != nil {
		return err
	}
	var err error
	for deadline := time.Now().Add(30 * time.Second); time.Now().Before(deadline); time.Sleep(20 * time.Millisecond) {
		var conn net.Conn
		if conn, err = net.Dial("tcp", address); err == nil {
			return conn.Close()
		}
	}
	return fmt.Errorf("waiting for the process: %w", err)
}

func (p *proxy) address() string { return fmt.Sprintf("127.0.0.1:%d", p.port) }

func (p *proxy) host() string { return fmt.Sprintf("localhost:%d", p.port) }

func (p *proxy) stop() {
	_ = p.cmd.Process.Signal(syscall.SIGTERM)
	_ = p.cmd.Wait()
}

// cpu returns the CPU time of the process so far, user and system.
func (p *proxy) cpu() (time.Duration, error) {
	var t unix.Timespec
	clock := ^p.cmd.Process.Pid<<3 | 2 // MAKE_PROCESS_CPUCLOCK and CPUCLOCK_SCHED of Linux
	if err := unix.ClockGettime(int32(clock), &t); err != nil {
		return 0, fmt.Errorf("reading the CPU time: %w", err)
	}
	return time.Duration(t.Nano()), nil
}

// rss returns the memory of the process in MB, or 0.
func (p *proxy) rss() int {
	text, err := os.ReadFile(fmt.Sprintf("/proc/%d/statm", p.cmd.Process.Pid))
	if fields := strings.Fields(string(text)); err == nil && len(fields) > 1 {
		pages, _ := strconv.Atoi(fields[1])
		return pages * os.Getpagesize() >> 20
	}
	return 0
}

// writeProfile writes a CPU profile of the proxy under load, if asked for.
func (b *lab) writeProfile(p *proxy) error {
	if p.profile == "" {
		return nil
	}
	done := make(chan error, 1)
	go func() { done <- p.fetchProfile() }()
	for {
		select {
		case err := <-done:
			return err
		default:
		}
		if _, err := b.turn(p); err != nil {
			return err
		}
	}
}

func (p *proxy) fetchProfile() error {
	client := &http.Client{Transport: &http.Transport{DialContext: func(ctx context.Context, _, _ string) (net.Conn, error) {
		return new(net.Dialer).DialContext(ctx, "unix", filepath.Join(p.dir, "admin.sock"))
	}}}
	resp, err := client.Get("http://localhost/debug/pprof/profile?seconds=10")
	if err != nil {
		return err
	}
	defer func() { _ = resp.Body.Close() }()
	data, err := io.ReadAll(resp.Body)
	if err != nil {
		return err
	}
	return os.WriteFile(p.profile, data, 0o600)
}
