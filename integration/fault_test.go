//go:build integration

package integration

import (
	"net/http"
	"os"
	"path/filepath"
	"strings"
	"testing"
	"time"

	"github.com/caddy-sso/caddy-sso/gateway/gatewaytest"
)

const (
	// stale is how long a login may be served since the store last confirmed
	// it.
	stale = 5 * time.Second
	// recovery bounds how long a gateway takes to notice that the store is back. A
	// connection attempt that hangs in the dark lasts 4 s at most; the machine may be slow.
	recovery = 30 * time.Second
	// unnoticed is how long a change of Redis's settings may go unnoticed.
	unnoticed = 2 * time.Second
	// travel is what a cut may take to get to the client.
	travel = 500 * time.Millisecond
)

// TestStoreFaults lets Redis fail in every way while somebody is signed in,
// holds connections open and goes on working, and holds the gateway to the
// table of what is served then. Afterwards it recovers by itself.
func TestStoreFaults(t *testing.T) {
	t.Parallel()
	onDisk := func(t *testing.T) []string {
		return []string{"--dir", t.TempDir(), "--appendonly", "yes", "--appendfsync", "always"}
	}
	for _, tt := range []struct {
		name  string
		args  func(t *testing.T) []string
		fault func(r *gatewaytest.Redis, w *wire)
		mend  func(r *gatewaytest.Redis, w *wire)
	}{
		{
			"stopped", nil,
			func(r *gatewaytest.Redis, _ *wire) { r.Stop() },
			func(r *gatewaytest.Redis, _ *wire) { r.Continue() },
		},
		{
			"killed, and started again with its data", onDisk,
			func(r *gatewaytest.Redis, _ *wire) { r.Kill() },
			func(r *gatewaytest.Redis, _ *wire) { r.Restart() },
		},
		{
			"what the gateway sends is lost", nil,
			func(_ *gatewaytest.Redis, w *wire) { w.cut(toServer) },
			func(_ *gatewaytest.Redis, w *wire) { w.mend() },
		},
		{
			"what Redis sends is lost", nil,
			func(_ *gatewaytest.Redis, w *wire) { w.cut(fromServer) },
			func(_ *gatewaytest.Redis, w *wire) { w.mend() },
		},
	} {
		t.Run(tt.name, func(t *testing.T) {
			t.Parallel()
			o := clusterOptions{}
			if tt.args != nil {
				o.redisArgs = tt.args(t)
			}
			var w *wire
			o.through = func(_ int, addr string) string {
				w = newWire(t, addr)
				return w.addr
			}
			cl := newCluster(t, o)
			seen := &gatewaytest.Redis{Addr: w.addr} // as the gateway sees it
			if _, err := seen.Command("PING"); err != nil {
				t.Fatalf("the control before the fault: %v", err)
			}
			c := cl.signIn(0)
			live := holdAll(t, c, cl.base)
			stop := probe(c, cl.base+"/", 50*time.Millisecond)
			stopOpen := probe(cl.client(0), cl.base+"/open", 100*time.Millisecond)
			time.Sleep(time.Second)
			live.stillOpen(t, "before the fault")

			tt.fault(cl.redis, w)
			late, began := gatewaytest.Lateness(t), time.Now()
			seen.MustBeDown(t)
			cut := live.ends(t, began)
			time.Sleep(time.Until(began.Add(stale + 1500*time.Millisecond)))
			t.Run("E4 a request that begins without a session is told so", func(t *testing.T) { strangers(t, cl) })
			samples, open := stop(), stopOpen()

			t.Run("E4 who is signed in is served for five seconds, and no longer", func(t *testing.T) { stales(t, samples, began) })
			t.Run("E4 so are open connections", func(t *testing.T) {
				for path, took := range cut {
					t.Logf("%s was cut after %v", path, took)
					if took > stale+travel+late() || took < stale/2 {
						t.Errorf("%s was cut after %v", path, took)
					}
				}
			})
			t.Run("E4 public paths are served", func(t *testing.T) {
				for _, s := range open {
					if s.status != http.StatusOK {
						t.Errorf("%v after the fault: %v", s.began.Sub(began), s)
					}
				}
				if last := open[len(open)-1].began.Sub(began); last < stale {
					t.Errorf("the last request was %v after the fault", last)
				}
			})
			t.Run("E4 it recovers by itself", func(t *testing.T) {
				tt.mend(cl.redis, w)
				mended := time.Now()
				eventually(t, "the session is served again", recovery, func() bool { return c.fetch(cl.base+"/").status == http.StatusOK })
				t.Logf("after %v", time.Since(mended))
				holdAll(t, c, cl.base).stillOpen(t, "after the recovery")
				fresh := cl.signIn(0)
				fresh.logOut(cl.base)
			})
		})
	}
}

// strangers holds what those get who are not signed in while the store is away.
func strangers(t *testing.T, cl *cluster) {
	t.Helper()
	if p := cl.client(0).navigate(cl.base + "/"); p.status != http.StatusServiceUnavailable || p.header.Get("Retry-After") == "" ||
		!strings.Contains(p.body, "store_unavailable") {
		t.Errorf("a navigation: %s", p)
	}
	if p := cl.client(0).fetch(cl.base + "/"); p.status == http.StatusOK {
		t.Errorf("a request without a cookie: %s", p)
	}
	answer := cl.base + "/.sso/oidc/callback?code=x&state=" + strings.Repeat("A", 43)
	if p := cl.client(0).fetch(answer); p.status != http.StatusServiceUnavailable || p.header.Get("Retry-After") == "" {
		t.Errorf("an answer: %s", p)
	}
}

// stales holds that requests were served from the cache for a while after a
// fault, and refused for good once the login could not be confirmed for too
// long.
func stales(t *testing.T, samples []sample, fault time.Time) {
	t.Helper()
	served, refused := 0, 0
	var last time.Duration
	for _, s := range samples {
		at := s.began.Sub(fault)
		switch {
		case s.status == http.StatusOK && at > stale:
			t.Errorf("served %v after the fault", at)
		case s.status == http.StatusOK && at > 0:
			served++
			last = at
		case s.status == http.StatusOK:
		case at < stale/2:
			t.Errorf("%v after the fault: %v", at, s)
		case s.status != http.StatusServiceUnavailable || s.code != "store_unavailable":
			t.Errorf("%v after the fault: %v", at, s)
		default:
			refused++
		}
	}
	t.Logf("%d served after the fault, the last one began after %v; %d refused", served, last, refused)
	if served == 0 || refused == 0 {
		t.Errorf("%d were served and %d refused", served, refused)
	}
}

// confirm is what an operator does about a store that was replaced.
func confirm(t *testing.T, n *node) {
	t.Helper()
	var markers []string
	err := filepath.WalkDir(n.dir, func(path string, _ os.DirEntry, err error) error {
		if strings.Contains(path, "sso/store-marker-") {
			markers = append(markers, path)
		}
		return err
	})
	if err != nil || len(markers) != 1 {
		t.Fatalf("the markers are %q, %v", markers, err)
	}
	if err := os.Remove(markers[0]); err != nil {
		t.Fatal(err)
	}
}

// command runs a command that has to succeed.
func command(t *testing.T, r *gatewaytest.Redis, args ...string) string {
	t.Helper()
	answer, err := r.Command(args...)
	if err != nil {
		t.Fatalf("%q: %v", args, err)
	}
	return answer
}
