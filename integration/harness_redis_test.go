//go:build integration

package integration

import (
	"bufio"
	"fmt"
	"net"
	"os/exec"
	"strings"
	"testing"
	"time"
)

// A redisServer is a real Redis of one test's own.
type redisServer struct {
	t    *testing.T
	port int
	dir  string
	proc *process
	log  *syncBuffer
}

// newRedis starts a Redis that keeps its data over stop and start.
func newRedis(t *testing.T) *redisServer {
	t.Helper()
	r := &redisServer{t: t, port: freePort(), dir: t.TempDir(), log: &syncBuffer{}}
	r.start()
	t.Cleanup(func() { _ = r.proc.end(5 * time.Second) })
	return r
}

func (r *redisServer) url() string { return fmt.Sprintf("redis://127.0.0.1:%d/0", r.port) }

func (r *redisServer) start() {
	r.t.Helper()
	cmd := exec.Command("redis-server", "--port", fmt.Sprint(r.port), "--bind", "127.0.0.1", "--dir", r.dir,
		"--save", "", "--appendonly", "yes", "--appendfsync", "no", "--maxmemory-policy", "noeviction", "--daemonize", "no")
	cmd.Stdout, cmd.Stderr = r.log, r.log
	proc, err := start(cmd)
	if err != nil {
		r.t.Fatal(err)
	}
	r.proc = proc
	for deadline := time.Now().Add(10 * time.Second); time.Now().Before(deadline) && !proc.ended(); time.Sleep(20 * time.Millisecond) {
		if reply, err := r.command("PING"); err == nil && reply == "+PONG" {
			return
		}
	}
	r.t.Fatalf("Redis does not answer\n%s", lastLines(r.log.String(), 20))
}

// stop ends Redis; what it stored is there again after start.
func (r *redisServer) stop() {
	r.t.Helper()
	if err := r.proc.end(5 * time.Second); err != nil {
		r.t.Fatal(err)
	}
}

// command sends one command and returns the first line of the reply.
func (r *redisServer) command(words ...string) (string, error) {
	conn, err := net.DialTimeout("tcp", fmt.Sprintf("127.0.0.1:%d", r.port), time.Second)
	if err != nil {
		return "", err
	}
	defer conn.Close()
	_ = conn.SetDeadline(time.Now().Add(5 * time.Second))
	if _, err := fmt.Fprintf(conn, "%s\r\n", strings.Join(words, " ")); err != nil {
		return "", err
	}
	line, err := bufio.NewReader(conn).ReadString('\n')
	return strings.TrimRight(line, "\r\n"), err
}
