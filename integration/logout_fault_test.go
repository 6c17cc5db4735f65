//go:build integration

package integration

import (
	"net/http"
	"net/url"
	"os"
	"path/filepath"
	"strconv"
	"strings"
	"sync"
	"testing"
	"time"

	"github.com/caddy-sso/caddy-sso/gateway/gatewaytest"
)

// A faulty is a cluster of two nodes whose Redis, or network, is made to fail. Each
// node has a wire of its own to Redis.
type faulty struct {
	*cluster
	dir     string // where Redis saves
	wires   [2]*wire
	replica *gatewaytest.Redis // that another test starts
}

func newFaulty(t *testing.T, redisArgs ...string) *faulty {
	t.Helper()
	f := &faulty{dir: filepath.Join(t.TempDir(), "redis")}
	if err := os.Mkdir(f.dir, 0o700); err != nil {
		t.Fatal(err)
	}
	f.cluster = newCluster(t, clusterOptions{
		nodes: 2, redisArgs: append([]string{"--dir", f.dir}, redisArgs...),
		through: func(node int, addr string) string {
			f.wires[node] = newWire(t, addr)
			return f.wires[node].addr
		},
	})
	return f
}

// A storeFault happens and is over by itself. cut is the node that is cut off, or
// -1.
type storeFault struct {
	name  string
	cut   int
	lasts time.Duration
	begin func(t *testing.T, f *faulty)
	end   func(t *testing.T, f *faulty)
}

func stall(lasts time.Duration) storeFault {
	return storeFault{
		"stalled for " + lasts.String(), -1, lasts,
		func(_ *testing.T, f *faulty) { f.redis.Stop() },
		func(_ *testing.T, f *faulty) { f.redis.Continue() },
	}
}

func cutOff(node, direction int) storeFault {
	return storeFault{
		[]string{"the node of the logout", "the other node"}[node] + []string{" sends in vain", " hears nothing"}[direction], node,
		[]time.Duration{2 * time.Second, stale + 2*time.Second}[node], // the other node has nothing to go by at last
		func(t *testing.T, f *faulty) {
			f.wires[node].cut(direction)
			if answer, err := (&gatewaytest.Redis{Addr: f.wires[node].addr}).Command("PING"); err == nil {
				t.Fatalf("the fault did not happen: PING is answered %q", answer)
			}
		},
		func(_ *testing.T, f *faulty) { f.wires[node].mend() },
	}
}

// killConnections ends every connection to Redis.
func killConnections(t *testing.T, f *faulty) {
	t.Helper()
	killed := command(t, f.redis, "CLIENT", "KILL", "TYPE", "normal")
	if n, err := strconv.Atoi(killed); err != nil || n < 2 {
		t.Fatalf("the fault did not happen: %q connections were killed", killed)
	}
}

// TestLogoutDuringStoreFaults logs people out before, during and after each fault,
// as they do it: again and again until they are told that it is done. From then on
// the other node serves nothing of theirs. The faults of a list happen to one
// cluster, one after another. The clusters run beside each other in one place of the
// parallel tests, because they wait most of the time.
func TestLogoutDuringStoreFaults(t *testing.T) {
	t.Parallel()
	var clusters sync.WaitGroup
	for name, list := range map[string][]storeFault{
		"full": {
			{
				"memory is full", -1, time.Second,
				func(t *testing.T, f *faulty) { command(t, f.redis, "CONFIG", "SET", "maxmemory", "1") },
				func(t *testing.T, f *faulty) { command(t, f.redis, "CONFIG", "SET", "maxmemory", "0") },
			},
			{"can't save", -1, 2 * time.Second, cantSave, canSave},
		},
		"stalled": {stall(2 * time.Second), stall(3 * time.Second), stall(8 * time.Second)},
		// Each takes 40 seconds, which are spent waiting.
		"cut off, sends":           {cutOff(0, toServer)},
		"cut off, hears":           {cutOff(0, fromServer)},
		"the other cut off, sends": {cutOff(1, toServer)},
		"the other cut off, hears": {cutOff(1, fromServer)},
		"killed": {{
			"killed, with every write on its disk", -1, time.Second,
			func(_ *testing.T, f *faulty) { f.redis.Kill() },
			func(_ *testing.T, f *faulty) { f.redis.Restart() },
		}},
		"stalled for long": {stall(30 * time.Second)},
		"connections":      {{"connections killed again and again", 1, time.Second, killConnections, killConnections}},
	} {
		clusters.Go(func() {
			t.Run(name, func(t *testing.T) {
				var args []string
				if name == "killed" {
					args = []string{"--appendonly", "yes", "--appendfsync", "always"}
				}
				f := newFaulty(t, args...)
				for _, fault := range list {
					t.Run("E4 "+fault.name, func(t *testing.T) { f.logoutsAround(t, fault) })
				}
			})
		})
	}
	clusters.Wait()
}

func (f *faulty) logoutsAround(t *testing.T, fault storeFault) {
	var people []*leaver
	for range 3 {
		people = append(people, f.leaver(t))
	}
	stays := f.signIn(0)
	before, during, after := people[0], people[1], people[2]

	before.leave()
	fault.begin(t, f)
	told := make(chan struct{})
	go func() { defer close(told); during.leave() }()
	time.Sleep(fault.lasts)
	fault.end(t, f)
	<-told
	for at := range f.nodes {
		eventually(t, "somebody who has not logged out is served", recovery, func() bool { return f.at(stays, at).fetch(f.base+"/").status == http.StatusOK })
	}
	after.leave()
	for which, l := range map[string]*leaver{"before": before, "during": during, "after": after} {
		within := atOnce
		switch {
		case which == "before", which == "during" && fault.cut == 0: // what the other node is told may be on its way
			within = stale + atOnce
		case which == "during" && fault.cut == 1: // nobody can tell it
			within = stale + travel
		}
		l.left(t, which+" the fault", within)
	}
}

// A leaver is a person who logs out at node 0 and holds a stream at node 1.
type leaver struct {
	*client
	cluster *cluster
	stream  <-chan time.Time
	late    func() time.Duration // since told
	samples func() []sample
	told    time.Time // when the logout was answered with success
	tries   int
}

func (f *faulty) leaver(t *testing.T) *leaver {
	t.Helper()
	c := f.signIn(0)
	there := f.at(c, 1)
	return &leaver{client: c, cluster: f.cluster, stream: holdEvents(t, there, f.base), samples: probe(there, f.base+"/", 250*time.Millisecond)}
}

// leave logs out until it is answered with success. After a failure the next try
// goes to the other node, as behind a load balancer, and the one after it comes back.
func (l *leaver) leave() {
	at := []*http.Client{l.http, l.cluster.at(l.client, 1).http}
	for deadline := time.Now().Add(time.Minute); time.Now().Before(deadline); time.Sleep(200 * time.Millisecond) {
		client := *at[l.tries%2]
		client.Timeout = 10 * time.Second
		l.tries++
		resp, err := client.PostForm(l.cluster.base+"/.sso/logout", url.Values{})
		if err != nil {
			continue
		}
		_ = resp.Body.Close()
		if resp.StatusCode == http.StatusOK {
			l.late, l.told = gatewaytest.Lateness(l.t), time.Now()
			return
		}
	}
}

// left holds that the other node let the person go within a time after the
// logout was answered.
func (l *leaver) left(t *testing.T, which string, within time.Duration) {
	t.Helper()
	if l.told.IsZero() {
		t.Fatalf("%s: no logout of %d was answered with success", which, l.tries)
	}
	t.Logf("%s: told at try %d", which, l.tries)
	time.Sleep(time.Until(l.told.Add(within + 500*time.Millisecond)))
	late := l.late() // in what the promise is about, and not in what comes after
	time.Sleep(late)
	within += late
	select {
	case at := <-l.stream:
		t.Logf("%s: the stream ended %v after the logout", which, at.Sub(l.told))
		if at.Sub(l.told) > within {
			t.Errorf("%s: the stream ended %v after the logout", which, at.Sub(l.told))
		}
	default:
		t.Errorf("%s: the stream goes on", which)
	}
	served := 0
	for _, s := range l.samples() {
		switch late := s.began.Sub(l.told); {
		case s.status != http.StatusOK:
		case late > within:
			t.Errorf("%s: a request %v after the logout was served", which, late)
		case late < 0:
			served++
		}
	}
	if served == 0 {
		t.Errorf("%s: the control: nothing was served before the logout", which)
	}
}

// cantSave has Redis fail to save: from then on it takes no write.
func cantSave(t *testing.T, f *faulty) {
	t.Helper()
	if err := os.Mkdir(filepath.Join(f.dir, "dump.rdb"), 0o700); err != nil { // in the snapshot's place
		t.Fatal(err)
	}
	command(t, f.redis, "CONFIG", "SET", "save", "3600 1000000")
	misconf(t, f.redis, true)
}

func canSave(t *testing.T, f *faulty) {
	t.Helper()
	if err := os.Remove(filepath.Join(f.dir, "dump.rdb")); err != nil {
		t.Fatal(err)
	}
	misconf(t, f.redis, false)
	command(t, f.redis, "CONFIG", "SET", "save", "")
}

// misconf saves until Redis takes no writes, or takes them again.
func misconf(t *testing.T, r *gatewaytest.Redis, want bool) {
	t.Helper()
	eventually(t, "saving makes a difference", recovery, func() bool {
		_, _ = r.Command("BGSAVE")
		_, err := r.Command("SET", "x", "y")
		return want == (err != nil && strings.HasPrefix(err.Error(), "MISCONF"))
	})
}
