//go:build integration

package integration

import (
	"net"
	"net/http"
	"testing"
	"time"

	"github.com/caddy-sso/caddy-sso/gateway/gatewaytest"
)

// TestStoreWentBack has Redis lose a logout that was answered with success, while
// the gateways run and while they don't. The ended session must not live again,
// not for a moment; nobody else's goes on either, and the log says why.
func TestStoreWentBack(t *testing.T) {
	t.Parallel()
	for _, tt := range []struct {
		name string
		args []string
		down bool // the gateways, meanwhile
		// keep has Redis remember what it holds, lose has it go back to that.
		keep, lose func(t *testing.T, f *faulty)
	}{
		{"killed after a snapshot", []string{"--save", "3600 1000000"}, false, save, restart},
		{"killed after a snapshot, and the gateways too", []string{"--save", "3600 1000000"}, true, save, restart},
		{"a replica that lags takes over", nil, false, replicate, failOver},
	} {
		t.Run("E4 "+tt.name, func(t *testing.T) {
			t.Parallel()
			f := newFaulty(t, tt.args...)
			leaves, stays := f.leaver(t), f.signIn(0)
			f.served(stays, 1)
			live := holdEvents(t, f.at(stays, 1), f.base)
			stolen := f.at(leaves.client, 1)
			tt.keep(t, f)
			leaves.leave()
			leaves.left(t, "before the fault", atOnce)
			if tt.down {
				for _, n := range f.nodes {
					n.stop()
				}
			}
			stop := probe(stolen, f.base+"/", 20*time.Millisecond)
			tt.lose(t, f)
			if tt.down {
				for _, n := range f.nodes {
					n.start()
				}
			}
			for at := range f.nodes {
				eventually(t, "everybody is signed out", recovery, func() bool { return f.at(stays, at).fetch(f.base+"/").status == http.StatusUnauthorized })
			}
			if !tt.down {
				select {
				case <-live:
				case <-time.After(30 * time.Second):
					t.Error("a stream lives on")
				}
			}
			for _, s := range stop() {
				if s.status == http.StatusOK {
					t.Errorf("the ended session is served: %v", s)
				}
			}
			// Who signs in now stays signed in, on both nodes.
			fresh := f.signIn(1)
			time.Sleep(2 * time.Second)
			f.served(fresh, 0)
			f.served(fresh, 1)
			said := 0
			for _, n := range f.nodes {
				said += len(n.linesWith(`"error"`, "went back in time: everybody is signed out"))
			}
			if said != 1 {
				t.Errorf("the logs say %d times why, want once: one node ends all sessions", said)
			}
		})
	}
}

func save(t *testing.T, f *faulty)    { command(t, f.redis, "SAVE") }
func restart(_ *testing.T, f *faulty) { f.redis.Restart() }
func replicate(t *testing.T, f *faulty) {
	f.replica = gatewaytest.StartRedis(t)
	host, port, err := net.SplitHostPort(f.redis.Addr)
	if err != nil {
		t.Fatal(err)
	}
	command(t, f.replica, "REPLICAOF", host, port)
	eventually(t, "the replica follows", recovery, func() bool {
		size := dbSize(t, f.redis)
		return dbSize(t, f.replica) >= size-1 && size > 3
	})
	time.Sleep(time.Second)
	command(t, f.replica, "REPLICAOF", "NO", "ONE") // it hears of nothing more
}

// failOver kills the primary and has the wires lead to the replica, as a virtual
// address does.
func failOver(_ *testing.T, f *faulty) {
	for _, w := range f.wires {
		w.lead(f.replica.Addr)
	}
	f.redis.Kill()
}
