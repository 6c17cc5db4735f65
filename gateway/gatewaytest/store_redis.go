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
)

// A Redis is a redis-server process of a test, on its own loopback port. It writes
// nothing to the disk: Restart gives an empty one.
type Redis struct {
	// Addr is host:port.
	Addr string
	// Password, if set, is used by Command.
	Password string

	t    *testing.T
	args []string
	cmd  *exec.Cmd
}

// StartRedis starts redis-server with additional arguments, and stops it at the end
// of the test. The test fails if it is not installed.
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
	for range 1500 {
		// Any reply will do: NOAUTH is one.
		if reply, err := r.Command("PING"); err == nil || reply != "" {
			return true
		}
		time.Sleep(20 * time.Millisecond)
	}
	r.Kill()
	return false
}

// Kill ends the server at once, like a crash.
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

// Stop suspends the process: connections stay open, and nothing replies.
func (r *Redis) Stop() {
	r.t.Helper()
	must(r.t, r.cmd.Process.Signal(syscall.SIGSTOP))
}

// Continue resumes the process after Stop.
func (r *Redis) Continue() {
	r.t.Helper()
	must(r.t, r.cmd.Process.Signal(syscall.SIGCONT))
}

// MustBeDown is the control of a fault: it fails the test if a PING is answered, for which
// there is half a second.
func (r *Redis) MustBeDown(t testing.TB) {
	t.Helper()
	if reply, err := r.command(500*time.Millisecond, "PING"); err == nil {
		t.Fatalf("the fault did not happen: PING is answered %q", reply)
	}
}

// Command sends a command on a connection of its own and returns the reply's text,
// for an array its first line. If the reply is an error, it is returned both as text and
// as error.
func (r *Redis) Command(args ...string) (string, error) { return r.command(patience, args...) }

func (r *Redis) command(atMost time.Duration, args ...string) (string, error) {
	conn, err := net.DialTimeout("tcp", r.Addr, atMost)
	if err != nil {
		return "", err
	}
	defer conn.Close()
	if err := conn.SetDeadline(time.Now().Add(atMost)); err != nil {
		return "", err
	}
	reply := bufio.NewReader(conn)
	if r.Password != "" {
		if _, err := io.WriteString(conn, request([]string{"AUTH", r.Password})); err != nil {
			return "", err
		}
		if line, err := reply.ReadString('\n'); err != nil || line != "+OK\r\n" {
			return "", fmt.Errorf("logging in: %q, %w", line, err)
		}
	}
	if _, err := io.WriteString(conn, request(args)); err != nil {
		return "", err
	}
	line, err := reply.ReadString('\n')
	if err != nil {
		return "", err
	}
	line = strings.TrimRight(line, "\r\n")
	switch size, _ := strconv.Atoi(line[1:]); {
	case line[0] == '-':
		return line[1:], errors.New(line[1:])
	case line[0] == '$' && size > 0:
		text := make([]byte, size)
		_, err := io.ReadFull(reply, text)
		return string(text), err
	}
	return line[1:], nil
}

// request encodes a command.
func request(args []string) string {
	var text strings.Builder
	fmt.Fprintf(&text, "*%d\r\n", len(args))
	for _, arg := range args {
		fmt.Fprintf(&text, "$%d\r\n%s\r\n", len(arg), arg)
	}
	return text.String()
}
