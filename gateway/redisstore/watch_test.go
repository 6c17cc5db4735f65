package redisstore_test

import (
	"strings"
	"sync/atomic"
	"testing"
	"time"

	"github.com/caddy-sso/caddy-sso/gateway/store"
)

// TestWatchStaysOnItsConnection: a lost connection ends the Watch, although
// another could be made.
func TestWatchStaysOnItsConnection(t *testing.T) {
	t.Parallel()
	f := newFake(t, handshake(watched("master", "1-1", func(reads int) string {
		if reads == 3 {
			return ""
		}
		return "*-1\r\n"
	})))
	var changes []store.Change
	err := openFake(t, f, "", false).Watch(t.Context(), "", func(c store.Change) { changes = append(changes, c) })
	if err == nil || !strings.Contains(err.Error(), "closed the connection") {
		t.Errorf("ended with %v", err)
	}
	if len(changes) != 3 || !changes[0].Reset || changes[1].Reset || changes[2].Reset {
		t.Errorf("got %v, want Reset and two more", changes)
	}
	if got := f.connections.Load(); got != 1 {
		t.Errorf("%d connections were made", got)
	}
}

// TestWatchNeverConfirmsFalsely: no change after Reset when the answers do not
// prove that nothing is missing.
func TestWatchNeverConfirmsFalsely(t *testing.T) {
	t.Parallel()
	empty := func(int) string { return "*-1\r\n" }
	tests := map[string]struct {
		role, kept string
		read       func(int) string
		want       string
	}{
		"now a replica":       {"slave", "1-1", empty, "no longer a primary"},
		"our entry is gone":   {"master", "", empty, "emptied, replaced or cut"},
		"an older stream":     {"master", "0-9", empty, "emptied, replaced or cut"},
		"garbage for entries": {"master", "1-1", func(int) string { return "*1\r\n:1\r\n" }, "can't be read"},
		"a refusal":           {"master", "1-1", func(int) string { return "-UNBLOCKED force unblock\r\n" }, "UNBLOCKED"},
		"silence":             {"master", "1-1", func(int) string { return hang }, "i/o timeout"},
	}
	for name, test := range tests {
		t.Run(name, func(t *testing.T) {
			t.Parallel()
			f := newFake(t, handshake(watched(test.role, test.kept, test.read)))
			changes := 0
			start := time.Now()
			err := openFake(t, f, "", false).Watch(t.Context(), "", func(store.Change) { changes++ })
			if err == nil || !strings.Contains(err.Error(), test.want) {
				t.Errorf("ended with %v, want %q", err, test.want)
			}
			if changes != 1 {
				t.Errorf("%d changes, want the Reset alone", changes)
			}
			if took := time.Since(start); took > 20*time.Second {
				t.Errorf("took %v", took)
			}
		})
	}
}

// An absurd length in the answer to the write of each second ends the Watch, not the
// process.
func TestWatchSurvivesAnAbsurdLength(t *testing.T) {
	t.Parallel()
	others := watched("master", "1-1", func(int) string { return "*-1\r\n" })
	f := newFake(t, handshake(func(args []string) string {
		if args[0] == "set" {
			return "$9223372036854775800\r\n"
		}
		return others(args)
	}))
	if err := openFake(t, f, "", false).Watch(t.Context(), "", func(store.Change) {}); err == nil || !strings.Contains(err.Error(), "can't be read") {
		t.Errorf("ended with %v", err)
	}
}

// watched answers the commands of a Watch.
func watched(role, kept string, read func(reads int) string) func([]string) string {
	var reads atomic.Int32 // Over all connections.
	return func(args []string) string {
		switch args[0] {
		case "evalsha": // an entry is added
			return bulk("1-1")
		case "xread":
			return read(int(reads.Add(1)))
		case "xrange":
			if kept == "" {
				return "*0\r\n"
			}
			return "*1\r\n*2\r\n" + bulk(kept) + "*2\r\n" + bulk("hello") + bulk("")
		case "role":
			return "*3\r\n" + bulk(role) + ":0\r\n*0\r\n"
		}
		return "-ERR unknown command\r\n"
	}
}
