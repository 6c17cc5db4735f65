package redisstore_test

import (
	"bufio"
	"io"
	"net"
	"strconv"
	"strings"
	"sync/atomic"
	"testing"
	"time"

	"github.com/caddy-sso/caddy-sso/gateway/redisstore"
	"github.com/caddy-sso/caddy-sso/gateway/wording"
)

// hang is the answer of a fake that never answers.
const hang = "\x00hang"

// A fake answers Redis commands as a function says.
type fake struct {
	addr        string
	connections atomic.Int32
}

// newFake starts a server on loopback. answer gets a command, its name in lower
// case, and returns what is sent back as it is.
func newFake(t testing.TB, answer func(args []string) string) *fake {
	t.Helper()
	f := new(fake)
	f.addr = listening(t, func(conn net.Conn) {
		f.connections.Add(1)
		for commands := bufio.NewReader(conn); ; {
			args, err := readCommand(commands)
			if err != nil {
				return
			}
			args[0] = strings.ToLower(args[0])
			switch text := answer(args); text {
			case "":
				return // Hangs up.
			case hang:
				silent(conn)
				return
			default:
				_, _ = io.WriteString(conn, text)
			}
		}
	})
	return f
}

// listening returns the address of a server that does with each connection what serve
// says. Nil: it has ended.
func listening(t testing.TB, serve func(net.Conn)) string {
	t.Helper()
	listener, err := net.Listen("tcp", "127.0.0.1:0")
	must(t, err)
	t.Cleanup(func() { listener.Close() })
	if serve == nil {
		listener.Close()
	}
	go func() {
		for {
			c, err := listener.Accept()
			if err != nil {
				return
			}
			go func() {
				defer c.Close()
				serve(c)
			}()
		}
	}()
	return listener.Addr().String()
}

// silent reads what comes, and answers nothing.
func silent(c net.Conn) { _, _ = io.Copy(io.Discard, c) }

func must(t testing.TB, err error) {
	t.Helper()
	if err != nil {
		t.Fatal(err)
	}
}

func readCommand(r *bufio.Reader) ([]string, error) {
	count, err := readLength(r)
	if err != nil {
		return nil, err
	}
	args := make([]string, count)
	for i := range args {
		size, err := readLength(r)
		if err != nil {
			return nil, err
		}
		arg := make([]byte, size+2)
		if _, err := io.ReadFull(r, arg); err != nil {
			return nil, err
		}
		args[i] = string(arg[:size])
	}
	return args, nil
}

func readLength(r *bufio.Reader) (int, error) {
	line, err := r.ReadString('\n')
	if err != nil {
		return 0, err
	}
	return strconv.Atoi(strings.TrimSpace(line[1:]))
}

// handshake answers what go-redis sends first, and INFO as a fit Redis does;
// the rest is for answer.
func handshake(answer func(args []string) string) func([]string) string {
	return func(args []string) string {
		switch args[0] {
		case "hello":
			return "-ERR unknown command 'HELLO'\r\n"
		case "auth", "select":
			return "+OK\r\n"
		case "info":
			return info("")
		}
		return answer(args)
	}
}

// info is the answer to INFO of a fit Redis, with lines that replace its own.
func info(changed string) string {
	var text strings.Builder
	for _, line := range []string{"redis_version:7.0.15", "redis_mode:standalone", "role:master", "maxmemory_policy:noeviction", "loading:0"} {
		name, _, _ := strings.Cut(line, ":")
		if strings.HasPrefix(changed, name+":") {
			line = changed
		}
		text.WriteString(line + "\r\n")
	}
	return bulk(text.String())
}

func bulk(text string) string { return "$" + strconv.Itoa(len(text)) + "\r\n" + text + "\r\n" }

// openFake opens the store of a fake. Only for a fake that hangs may the timeout be short: a
// slow machine must not make another fault of what a fake does.
func openFake(t testing.TB, f *fake, user string, hangs bool) *redisstore.Store {
	t.Helper()
	timeout := time.Minute
	if hangs {
		timeout = 300 * time.Millisecond
	}
	s, err := redisstore.Open(redisstore.Options{URL: "redis://" + user + f.addr, Timeout: timeout, DialTimeout: time.Minute, Explain: wording.Network})
	must(t, err)
	t.Cleanup(func() {
		if err := s.Close(); err != nil {
			t.Errorf("closing: %v", err)
		}
	})
	return s
}
