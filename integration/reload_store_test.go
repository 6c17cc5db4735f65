//go:build integration

package integration

import (
	"fmt"
	"net"
	"net/http"
	"os"
	"path/filepath"
	"strings"
	"testing"
	"time"

	"github.com/caddy-sso/caddy-sso/gateway/boltstore"
	"github.com/caddy-sso/caddy-sso/gateway/gatewaytest"
)

// free says whether nobody has a bolt file open.
func free(t *testing.T, path string) bool {
	t.Helper()
	s, err := boltstore.Open(path)
	if err != nil {
		if !strings.Contains(err.Error(), "another process has the file open") {
			t.Fatal(err)
		}
		return false
	}
	if err := s.Close(); err != nil {
		t.Fatal(err)
	}
	return true
}

// TestReloadToAnotherStore changes the store's path while people are signed in.
func TestReloadToAnotherStore(t *testing.T) {
	t.Parallel()
	dir := t.TempDir()
	first, second := filepath.Join(dir, "first.db"), filepath.Join(dir, "second.db")
	cl := newCluster(t, clusterOptions{bolt: first})
	n := cl.nodes[0]
	c := cl.signIn(0)
	live := holdAll(t, c, cl.base)
	change := func(path string) {
		t.Helper()
		cl.opts.bolt = path
		cl.configure(n)
		if err := n.load(); err != nil {
			t.Fatal(err)
		}
	}
	if free(t, first) {
		t.Fatal("the control: the store in use can be opened")
	}

	change(second)
	t.Run("F2 sessions of the old store are none in the new one", func(t *testing.T) {
		if p := cl.at(c, 0).fetch(cl.base + "/"); p.status != http.StatusUnauthorized {
			t.Errorf("the old session: %s", p)
		}
		fresh := cl.client(0)
		fresh.echoed(fresh.navigate(cl.base + "/"))
		cl.served(fresh, 0)
	})
	t.Run("F2 the old file is let go of, and its connections are cut", func(t *testing.T) {
		live.ends(t, time.Now())
		eventually(t, "the old file can be opened", 30*time.Second, func() bool { return free(t, first) })
		if free(t, second) {
			t.Error("the new store can be opened by others")
		}
	})
	t.Run("F2 nothing of it is lost", func(t *testing.T) {
		change(first)
		cl.served(c, 0)
		eventually(t, "the second file can be opened", 30*time.Second, func() bool { return free(t, second) })
	})
}

// TestFailedReload loads configurations that can't be: the old one goes on.
func TestFailedReload(t *testing.T) {
	t.Parallel()
	dir := t.TempDir()
	path, taken := filepath.Join(dir, "sessions.db"), filepath.Join(dir, "taken.db")
	cl := newCluster(t, clusterOptions{bolt: path})
	n := cl.nodes[0]
	c := cl.signIn(0)
	other, err := boltstore.Open(taken)
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() { _ = other.Close() })
	if err := os.Mkdir(filepath.Join(dir, "directory"), 0o700); err != nil {
		t.Fatal(err)
	}
	busy, err := net.Listen("tcp", "127.0.0.1:0")
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() { _ = busy.Close() })
	for name, bad := range map[string]struct {
		change func(o *clusterOptions)
		want   string
	}{
		"a word that is none":              {func(o *clusterOptions) { o.global = "\t\tlivetime 8h" }, "livetime"},
		"a missing file":                   {func(o *clusterOptions) { o.global = "\t\tsecret {file./nowhere/secret}" }, "secret"},
		"a store that another process has": {func(o *clusterOptions) { o.bolt = taken }, "another process has the file open"},
		"a store that is a directory":      {func(o *clusterOptions) { o.bolt = filepath.Join(dir, "directory") }, "is a directory"},
		"a port that is taken":             {func(o *clusterOptions) { o.sites = "http://" + busy.Addr().String() + " {\n\trespond ok\n}" }, "address already in use"},
	} {
		t.Run("F2 "+name, func(t *testing.T) {
			good := cl.opts
			defer func() {
				cl.opts = good
				cl.configure(n)
				if err := n.load(); err != nil {
					t.Errorf("the next good one: %v", err)
				}
				cl.served(c, 0)
			}()
			bad.change(&cl.opts)
			cl.configure(n)
			live := holdAll(t, c, cl.base)
			for range 4 { // Caddy starts its apps in any order
				err := n.load()
				if err == nil || !strings.Contains(err.Error(), bad.want) {
					t.Errorf("the reload says %v, want %q", err, bad.want)
				}
				cl.served(c, 0)
			}
			cl.served(cl.signIn(0), 0)
			live.stillOpen(t, "after the failed reload")
		})
	}
	t.Run("F2 none of them holds on to the store", func(t *testing.T) {
		cl.opts.bolt = filepath.Join(dir, "next.db")
		cl.configure(n)
		if err := n.load(); err != nil {
			t.Fatal(err)
		}
		eventually(t, "the file can be opened", 30*time.Second, func() bool { return free(t, path) })
	})
}

// TestBesideARunningServer runs other commands on the configuration of a
// running server, which holds its store's file.
func TestBesideARunningServer(t *testing.T) {
	t.Parallel()
	path := filepath.Join(t.TempDir(), "sessions.db")
	cl := newCluster(t, clusterOptions{bolt: path})
	n := cl.nodes[0]
	c := cl.signIn(0)
	if free(t, path) {
		t.Fatal("the control: the store in use can be opened")
	}
	t.Run("F2 a second server on the same file says so and ends", func(t *testing.T) {
		second := newGateway(t)
		second.env = n.env
		text, err := os.ReadFile(n.caddyfile())
		if err != nil {
			t.Fatal(err)
		}
		elsewhere := strings.NewReplacer(n.admin, second.admin, fmt.Sprintf("app.test:%d", cl.port), fmt.Sprintf("app.test:%d", gatewaytest.FreePort()),
			"ca op.pem", "ca "+filepath.Join(n.dir, "op.pem")).Replace(string(text))
		if err := os.WriteFile(second.caddyfile(), []byte(elsewhere), 0o600); err != nil {
			t.Fatal(err)
		}
		second.run()
		select {
		case <-second.proc.done:
		case <-time.After(30 * time.Second):
			t.Fatal("it does not end")
		}
		log := second.log.String()
		if second.proc.err == nil || !strings.Contains(log, path) || !strings.Contains(log, "another process has the file open") {
			t.Errorf("it ends with %v and says %s", second.proc.err, lastLines(log, 3))
		}
		cl.served(c, 0)
	})
	t.Run("F2 once the first has ended a second one can start", func(t *testing.T) {
		n.stop()
		if !free(t, path) {
			t.Error("the file is still in use")
		}
		n.start()
		cl.served(c, 0)
	})
}
