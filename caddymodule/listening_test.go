//go:debug multipathtcp=0

package caddymodule_test

import (
	"bufio"
	"fmt"
	"os"
	"strings"
	"testing"
	"time"
)

// waitForSockets waits until at most want sockets listen on each address of a port. Caddy comes back
// from a reload or a stop when the old servers are about to close theirs. Until they
// do, a new connection may still reach one: it is lost then, and what
// steers connections counts one socket too many.
func waitForSockets(t *testing.T, port, want int) {
	t.Helper()
	deadline := time.Now().Add(20 * time.Second)
	for listening(port) > want {
		if time.Now().After(deadline) {
			t.Fatalf("more than %d sockets listen on port %d", want, port)
		}
		time.Sleep(10 * time.Millisecond)
	}
}

// listening counts the sockets that listen on one address of a port, the most of
// all its addresses, where the system says so.
func listening(port int) int {
	most, sockets := 0, map[string]int{}
	for _, table := range []string{"/proc/net/tcp", "/proc/net/tcp6"} {
		file, err := os.Open(table)
		if err != nil {
			continue // elsewhere than on Linux there is none
		}
		lines := bufio.NewScanner(file)
		lines.Scan() // the titles
		for lines.Scan() {
			fields := strings.Fields(lines.Text())
			if len(fields) < 4 || fields[3] != "0A" {
				break // those that listen come first; thousands of closed ones may follow
			}
			if strings.HasSuffix(fields[1], fmt.Sprintf(":%04X", port)) {
				sockets[fields[1]]++
				most = max(most, sockets[fields[1]])
			}
		}
		_ = file.Close()
	}
	return most
}
