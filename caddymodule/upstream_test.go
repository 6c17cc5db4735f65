package caddymodule_test

import (
	"fmt"
	"net/http"
	"net/http/httptest"
	"slices"
	"strings"
	"sync"
	"testing"
)

// An upstream is an app that remembers what it was asked.
type upstream struct {
	*httptest.Server
	mu  sync.Mutex
	got []*http.Request
}

// newUpstream runs an app that answers with lines of Set-Cookie.
func newUpstream(t *testing.T, cookies ...string) *upstream {
	t.Helper()
	u := new(upstream)
	u.Server = httptest.NewServer(http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) {
		_ = r.ParseForm()
		u.mu.Lock()
		u.got = append(u.got, r)
		u.mu.Unlock()
		w.Header()["Set-Cookie"] = cookies
		_, _ = fmt.Fprint(w, "from the app")
	}))
	t.Cleanup(u.Close)
	return u
}

// addr is what reverse_proxy dials.
func (u *upstream) addr() string { return u.Listener.Addr().String() }

// last is the last request, or nil.
func (u *upstream) last() *http.Request {
	u.mu.Lock()
	defer u.mu.Unlock()
	if len(u.got) == 0 {
		return nil
	}
	return u.got[len(u.got)-1]
}

// An app behind Caddy's own proxy can't touch our cookies, and a client can't send
// what other gateways would; what the site says by these names arrives, whatever
// the client lists in Connection.
func TestAppAndClientKeepToTheirOwn(t *testing.T) {
	own := []string{"sso=; Max-Age=0; Path=/", "__Host-sso=x; Path=/; Secure", "sso-b=x", "sso-p=x", "__Host-sso-r=x"}
	app := newUpstream(t, slices.Concat(own, []string{"app=1"})...)
	for _, more := range []string{"", "encode gzip\n", "header +X-More 1\n", "templates\n"} {
		w := newWorld(t)
		w.mustLoad(w.global("") + "ORIGIN {\n\tPROVIDER\n\t\trole User *\n\t\tpublic /open\n\t\theaders user X-Webauth-User\n\t\tkeep_headers X-Forwarded-User\n\t}\n\t" +
			more + "\trequest_header X-Remote-Email {http.auth.user.email}\n\treverse_proxy " + app.addr() + "\n}\n")
		b := newBrowser(t)
		if status, _ := b.get(w.origin() + "/"); status != http.StatusOK {
			t.Fatalf("signing in: %d", status)
		}
		for _, path := range []string{"/", "/open"} {
			r := mustRequest(t, w.origin()+path)
			for _, n := range []string{"X-Forwarded-User", "X-Forwarded-Email", "X_Webauth_User", "X-Auth-Request-User", "X-Remote-Email"} {
				r.Header[n] = []string{"mallory"}
			}
			r.Header["Connection"] = []string{"X-Remote-Email, X-Webauth-User"}
			resp, err := b.Do(r)
			if err != nil {
				t.Fatal(err)
			}
			_ = resp.Body.Close()
			if got := resp.Header["Set-Cookie"]; !slices.Equal(got, []string{"app=1"}) {
				t.Errorf("%s: the app set %q", path, got)
			}
			h := app.last().Header
			user, email := "alice", "alice@example.com"
			if path == "/open" {
				user, email = "", ""
			}
			if h.Get("X-Webauth-User") != user || h.Get("X-Remote-Email") != email || h.Get("X-Forwarded-User") != "mallory" ||
				strings.Count(fmt.Sprint(h), "mallory") != 1 {
				t.Errorf("%s: the app got %v", path, h)
			}
		}
	}
}
