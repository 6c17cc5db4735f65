//go:build integration

package main

import (
	"context"
	"errors"
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

	dir, address string
	cmd          *exec.Cmd
	// sent are the requests of a turn, expected what each is answered.
	sent     [][]byte
	expected []string
}

// freeAddress returns an address on loopback that nobody listens at.
func freeAddress() (string, error) {
	ln, err := net.Listen("tcp", "127.0.0.1:0")
	if err != nil {
		return "", err
	}
	defer func() { _ = ln.Close() }()
	return ln.Addr().String(), nil
}

// start starts the process and waits until it listens.
func (b *lab) start(p *proxy) error {
	var err error
	if p.address, err = freeAddress(); err != nil {
		return err
	}
	if p.dir, err = os.MkdirTemp(b.work, "p"); err != nil {
		return err
	}
	config := strings.NewReplacer("DIR", p.dir, "PORT", p.port()).Replace(p.site)
	if err := os.WriteFile(filepath.Join(p.dir, "Caddyfile"), []byte(config), 0o600); err != nil {
		return err
	}
	log, err := os.Create(filepath.Join(p.dir, "log"))
	if err != nil {
		return err
	}
	defer func() { _ = log.Close() }()
	p.cmd = exec.Command(filepath.Join(b.work, p.binary), "run", "--config", "Caddyfile", "--adapter", "caddyfile")
	p.cmd.Dir, p.cmd.Stdout, p.cmd.Stderr = p.dir, log, log
	p.cmd.Env = []string{"HOME=" + p.dir, "XDG_DATA_HOME=" + p.dir, "XDG_CONFIG_HOME=" + p.dir, "BENCH_SECRET=" + b.op.ClientSecret}
	if p.env != "" {
		p.cmd.Env = append(p.cmd.Env, p.env)
	}
	if err := startChild(p.cmd); err != nil {
		return err
	}
	if err := waitFor(p.address); err != nil {
		text, _ := os.ReadFile(log.Name())
		return fmt.Errorf("%w\n%s", err, text)
	}
	return nil
}

// startChild starts a process that ends with this one, whatever happens.
func startChild(cmd *exec.Cmd) error {
	cmd.SysProcAttr = &syscall.SysProcAttr{Pdeathsig: syscall.SIGKILL}
	return cmd.Start()
}

func waitFor(address string) error {
	var err error
	for deadline := time.Now().Add(30 * time.Second); time.Now().Before(deadline); time.Sleep(20 * time.Millisecond) {
		var conn net.Conn
		if conn, err = net.Dial("tcp", address); err == nil {
			return conn.Close()
		}
	}
	return fmt.Errorf("waiting for the process: %w", err)
}

func (p *proxy) port() string {
	_, port, _ := net.SplitHostPort(p.address)
	return port
}

func (p *proxy) host() string { return "localhost:" + p.port() }

func (p *proxy) stop() {
	_ = p.cmd.Process.Signal(syscall.SIGTERM)
	_ = p.cmd.Wait()
}

// cpu returns the CPU time of the process so far, user and system, in
// nanoseconds: that of its threads, of which Go ends none while it serves.
func (p *proxy) cpu() (time.Duration, error) {
	tasks, err := filepath.Glob(fmt.Sprintf("/proc/%d/task/*/schedstat", p.cmd.Process.Pid))
	if err != nil || len(tasks) == 0 {
		return 0, errors.Join(err, errors.New("reading the CPU time: the kernel has no schedstat"))
	}
	var sum time.Duration
	for _, task := range tasks {
		text, err := os.ReadFile(task)
		if err != nil {
			return 0, fmt.Errorf("reading the CPU time: %w", err)
		}
		first, _, _ := strings.Cut(string(text), " ")
		ns, err := strconv.ParseInt(first, 10, 64)
		if err != nil {
			return 0, fmt.Errorf("reading the CPU time: %w", err)
		}
		sum += time.Duration(ns)
	}
	return sum, nil
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
	client := &http.Client{Transport: &http.Transport{DialContext: func(ctx context.Context, _, _ string) (net.Conn, error) {
		return new(net.Dialer).DialContext(ctx, "unix", filepath.Join(p.dir, "admin.sock"))
	}}}
	done := make(chan error, 1)
	go func() {
		done <- func() error {
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
		}()
	}()
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
