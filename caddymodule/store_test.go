package caddymodule_test

import (
	"net/http"
	"os"
	"path/filepath"
	"strings"
	"testing"
	"time"

	"github.com/caddyserver/caddy/v2"
)

// TestReloadFollowsLinks reloads over a store whose file did not exist at the
// first start, and lies behind a link: it must be known again as the open one,
// since the second to open it would wait for the first.
func TestReloadFollowsLinks(t *testing.T) {
	for _, tt := range []struct {
		name, path   string
		link, target string
	}{
		{"directory behind a link", "link/sso/sessions.db", "link", "real"},
		{"file behind a link", "sessions.db", "sessions.db", "real/elsewhere.db"},
		{"file behind a relative link", "real/link.db", "real/link.db", "./elsewhere.db"},
	} {
		t.Run(tt.name, func(t *testing.T) {
			w := newWorld(t)
			if err := os.Mkdir(w.path("real"), 0o700); err != nil {
				t.Fatal(err)
			}
			target := tt.target
			if !strings.HasPrefix(target, ".") {
				target = w.path(target)
			}
			if err := os.Symlink(target, w.path(tt.link)); err != nil {
				t.Fatal(err)
			}
			global := func(more string) string {
				return strings.Replace(w.global(more), "store bolt "+w.path("sessions.db"), "store bolt "+w.path(tt.path), 1)
			}
			w.mustLoad(global("") + site)
			b := newBrowser(t)
			if status, body := b.get(w.origin()); status != http.StatusOK {
				t.Fatalf("signing in: %d %s", status, body)
			}
			w.mustLoad(global("lifetime 2h") + site)
			if status, body := b.do(mustRequest(t, w.origin())); status != http.StatusOK {
				t.Errorf("after a reload: %d %s", status, body)
			}
			if found, err := filepath.Glob(w.path("real/*")); err != nil || len(found) == 0 {
				t.Errorf("the store is not behind the link: %v, %v", found, err)
			}
		})
	}
	t.Run("links in a circle", func(t *testing.T) {
		w := newWorld(t)
		if err := os.Symlink(w.path("b.db"), w.path("a.db")); err != nil {
			t.Fatal(err)
		}
		if err := os.Symlink(w.path("a.db"), w.path("b.db")); err != nil {
			t.Fatal(err)
		}
		global := strings.Replace(w.global(""), w.path("sessions.db"), w.path("a.db"), 1)
		if err := w.load(global + site); err == nil || !strings.Contains(err.Error(), "a.db") {
			t.Errorf("got %v, want an error that names the file", err)
		}
	})
}

// TestOlderCopyOfTheFile puts an older copy in place of the embedded store's file: a
// logout since then must not be undone.
func TestOlderCopyOfTheFile(t *testing.T) {
	w := newWorld(t)
	stop := func() {
		t.Helper()
		if err := caddy.Stop(); err != nil {
			t.Fatal(err)
		}
		waitForSockets(t, w.port, 0)
	}
	ask := func(cookie string) int {
		t.Helper()
		r := mustRequest(t, w.origin())
		r.AddCookie(&http.Cookie{Name: "sso", Value: cookie})
		status, _ := newBrowser(t).do(r)
		return status
	}
	w.mustLoad(w.global("") + site)
	leaves, stays := newBrowser(t), newBrowser(t)
	for _, b := range []*browser{leaves, stays} {
		if status, body := b.get(w.origin()); status != http.StatusOK {
			t.Fatalf("signing in: %d %s", status, body)
		}
	}
	cookie := leaves.cookie(w.origin())
	stop()
	backup, err := os.ReadFile(w.path("sessions.db"))
	if err != nil {
		t.Fatal(err)
	}
	w.mustLoad(w.global("") + site)
	if status := ask(cookie); status != http.StatusOK {
		t.Fatalf("after a restart: %d", status)
	}
	w.logOut(leaves)
	if status := ask(cookie); status != http.StatusUnauthorized {
		t.Fatalf("after the logout: %d", status)
	}
	stop()
	if err := os.WriteFile(w.path("sessions.db"), backup, 0o600); err != nil {
		t.Fatal(err)
	}
	w.mustLoad(w.global("") + site)
	for deadline := time.Now().Add(20 * time.Second); !strings.Contains(w.logs(), "the session store went back in time"); {
		if time.Now().After(deadline) {
			t.Fatal("the log does not say that the file is an older copy")
		}
		time.Sleep(10 * time.Millisecond)
	}
	if line := lineWith(w.logs(), "the session store went back in time"); !strings.Contains(line, "compaction") {
		t.Errorf("the log names no compaction: %s", line)
	}
	for _, cookie := range []string{cookie, stays.cookie(w.origin())} {
		if status := ask(cookie); status != http.StatusUnauthorized {
			t.Errorf("with the older copy: %d", status)
		}
	}
	if status, body := stays.get(w.origin()); status != http.StatusOK {
		t.Errorf("signing in again: %d %s", status, body)
	}
}

// TestChangedStorage reloads with another storage for Caddy, in which there is no secret:
// the reload changes nothing, and people stay signed in.
func TestChangedStorage(t *testing.T) {
	w := newWorld(t)
	w.mustLoad(w.global("") + site)
	b := newBrowser(t)
	if status, body := b.get(w.origin()); status != http.StatusOK {
		t.Fatalf("signing in: %d %s", status, body)
	}
	moved := strings.Replace(w.global(""), w.path("storage"), w.path("elsewhere"), 1)
	for range 2 { // the first try leaves no secret for the second
		err := w.load(moved + site)
		if err == nil || !strings.Contains(err.Error(), "sessions.db was sealed with a secret that Caddy's storage does not have") ||
			!strings.Contains(err.Error(), "Copy sso/secret from the storage used before") {
			t.Fatalf("reload: %v", err)
		}
		if status, body := b.do(mustRequest(t, w.origin())); status != http.StatusOK {
			t.Fatalf("after the failed reload: %d %s", status, body)
		}
		if status, body := newBrowser(t).get(w.origin()); status != http.StatusOK {
			t.Fatalf("signing in after the failed reload: %d %s", status, body)
		}
	}
	secret, err := os.ReadFile(w.path("storage/sso/secret"))
	if err != nil {
		t.Fatal(err)
	}
	if err := os.MkdirAll(w.path("elsewhere/sso"), 0o700); err != nil {
		t.Fatal(err)
	}
	if err := os.WriteFile(w.path("elsewhere/sso/secret"), secret, 0o600); err != nil {
		t.Fatal(err)
	}
	w.mustLoad(moved + site)
	if status, body := b.do(mustRequest(t, w.origin())); status != http.StatusOK {
		t.Errorf("with the secret copied: %d %s", status, body)
	}
}
