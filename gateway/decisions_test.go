package gateway_test

import (
	"fmt"
	"net/http"
	"runtime"
	"testing"
	"testing/synctest"
	"time"
	"weak"

	"github.com/caddy-sso/caddy-sso/gateway"
)

// Each port in the Host header is one more view of the login at a wildcard site. The
// memory of views counts, and the views of one login can't push out all others.
func TestStormOfViewsIsAccounted(t *testing.T) {
	t.Parallel()
	l := newLab(t)
	s := l.siteAt(l.gateway(), appHost, gateway.Hosts{Any: true, Scheme: "https"})
	b := s.browser()
	b.signIn()
	cookie := b.cookie("__Host-sso")
	f, err := l.sessions.Find(t.Context(), cookie, appHost)
	mustDo(t, err)
	held := func(requests int) (most int) {
		for i := range requests {
			host := fmt.Sprintf("%s:%d", appHost, 1000+i)
			wantStatus(t, s.browser().fetch("/", "Host", host, "Cookie", "__Host-sso="+cookie), http.StatusOK)
			if iss := claimsOf(t, s.got().header.Get("X-Sso-Assertion"))["iss"]; iss != "https://"+host {
				t.Fatalf("iss %v at %s", iss, host)
			}
			most = max(most, f.Memo().Size())
		}
		return most
	}
	one := held(1)
	ten := held(10)
	if ten < one+9*1000 {
		t.Errorf("one view counts as %d bytes, ten as %d", one, ten)
	}
	if views := 1 + (held(500)-one)*9/(ten-one); views > 16 {
		t.Errorf("a login has %d views after 500 ports, want 16 at most", views)
	}
}

// A configuration that has been replaced must not live on in the cache of the logins
// of its time.
func TestUnusedLoginsKeepNoApp(t *testing.T) {
	t.Parallel()
	synctest.Test(t, func(t *testing.T) {
		l := newLab(t)
		app := func() weak.Pointer[gateway.App] {
			s := l.site()
			b := s.browser()
			b.signIn()
			wantStatus(t, b.open("/"), http.StatusOK)
			return weak.Make(s.app)
		}()
		time.Sleep(10 * time.Minute)
		synctest.Wait()
		runtime.GC()
		runtime.GC()
		if app.Value() != nil {
			t.Error("the app is still held")
		}
	})
}
