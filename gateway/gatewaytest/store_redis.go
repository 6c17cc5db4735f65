//go:build unix && integration

package gatewaytest

import (
	"bufio"
	"errors"
	"fmt"
	"io"
	"net"
	"os/exec"
	"strconv"
	"strings"
	"syscall"
	"testing"
	"time"

	"github.com/caddy-sso/caddy-sso/gateway/store"
)

// TwoNodes has the suite run on two handles of the same data, as two nodes
// have it. open must return handles of a fresh, empty store at each call.
func TwoNodes(open func(t *testing.T) (store.Store, store.Store)) StoreOption {
	return func(s *storeSuite) { s.open = open }
}

// A Redis is a redis-server process of a test, on a loopback port of its own.
// It keeps nothing on the disk: Restart gives an empty one.
type Redis struct {
	// Addr is host:port.
	Addr string
	// Password is what Command logs in with, if it is set.
	Password string

	t    *testing.T
	args []string
	cmd  *exec.Cmd
}

// StartRedis starts redis-server, with additional arguments if given, and
// stops it at the end of the test. The test fails where it is not installed.
func StartRedis(t *testing.T, args ...string) *Redis {
	t.Helper()
	program, err := exec.LookPath("redis-server")
	if err != nil {
		t.Fatalf("this test needs redis-server (package redis-server): %v", err)
	}
	r := &Redis{t: t, args: append([]string{program}, args...)}
	t.Cleanup(r.Kill)
	for range 5 { // Another process may take the port in between.
		r.Addr = fmt.Sprintf("127.0.0.1:%d", FreePort())
		if r.start() {
			return r
		}
	}
	t.Fatal("redis-server does not start")
	return nil
}

// start reports whether the server answers.
func (r *Redis) start() bool {
	r.t.Helper()
	_, port, err := net.SplitHostPort(r.Addr)
	must(r.t, err)
	args := append([]string{
		"--port", port, "--bind", "127.0.0.1", "--dir", r.t.TempDir(),
		"--save", "", "--appendonly", "no", "--daemonize", "no",
	}, r.args[1:]...)
	r.cmd = exec.Command(r.args[0], args...)
	must(r.t, r.cmd.Start())
	for range 200 {
		// Any answer will do: NOAUTH is one.
		if answer, err := r.Command("PING"); err == nil || answer != "" {
			return true
		}
		time.Sleep(20 * time.Millisecond)
	}
	r.Kill()
	return false
}

// Kill ends the server at once, as a crash does.
func (r *Redis) Kill() {
	if r.cmd == nil {
		return
	}
	_ = r.cmd.Process.Kill() // It may have ended by itself.
	_ = r.cmd.Wait()
	r.cmd = nil
}

// Restart kills the server and starts an empty one on the same port.
func (r *Redis) Restart() {
	r.t.Helper()
	r.Kill()
	if !r.start() {
		r.t.Fatal("redis-server does not start again")
	}
}

// Stop suspends the process: connections stay, and nothing answers.
func (r *Redis) Stop() {
	r.t.Helper()
	must(r.t, r.cmd.Process.Signal(syscall.SIGSTOP))
}

// Continue ends what Stop began.
func (r *Redis) Continue() {
	r.t.Helper()
	must(r.t, r.cmd.Process.Signal(syscall.SIGCONT))
}

// Command sends a command on a connection of its own and returns the answer's
// text, for an array its first line. It gives up after half a second, so it
// serves as the control request of a fault test. An answer of Redis that is
// an error is returned as text and as error.
func (r *Redis) Command(args ...string) (string, error) {
	conn, err := net.DialTimeout("tcp", r.Addr, 500*time.Millisecond)
	if err != nil {
		return "", err
	}
	defer conn.Close()
	if err := conn.SetDeadline(time.Now().Add(500 * time.Millisecond)); err != nil {
		return "", err
	}
	answer := bufio.NewReader(conn)
	if r.Password != "" {
		if _, err := io.WriteString(conn, request([]string{"AUTH", r.Password})); err != nil {
			return "", err
		}
		if line, err := answer.ReadString('\n'); err != nil || line != "+OK\r\n" {
			return "", fmt.Errorf("logging in: %q, %w", line, err)
		}
	}
	if _, err := io.WriteString(conn, request(args)); err != nil {
		return "", err
	}
	line, err := answer.ReadString('\n')
	if err != nil {
		return "", err
	}
	line = strings.TrimRight(line, "\r\n")
	switch size, _ := strconv.Atoi(line[1:]); {
	case line[0] == '-':
		return line[1:], errors.New(line[1:])
	case line[0] == '$' && size > 0:
		text := make([]byte, size)
		_, err := io.ReadFull(answer, text)
		return string(text), err
	}
	return line[1:], nil
}

// request is a command as it is sent.
func request(args []string) string {
	var text strings.Builder
	fmt.Fprintf(&text, "*%d\r\n", len(args))
	for _, arg := range args {
		fmt.Fprintf(&text, "$%d\r\n%s\r\n", len(arg), arg)
	}
	return text.String()
}
