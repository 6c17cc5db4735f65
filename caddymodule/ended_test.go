package caddymodule_test

import (
	"net/http"
	"net/http/httptest"
	"strings"
	"testing"
	"time"
)

// TestLoginEndsOnTheWay holds that a request whose login ends while the app has it, and
// that the app answers by an error, is answered and logged as any other without a login.
func TestLoginEndsOnTheWay(t *testing.T) {
	for _, more := range []string{"", "errors caddy"} {
		w := newWorld(t)
		var alice *browser
		app := httptest.NewServer(http.HandlerFunc(func(_ http.ResponseWriter, r *http.Request) {
			w.logOut(alice)
			select {
			case <-r.Context().Done(): // the gateway knows that the login is over
			case <-time.After(time.Minute):
			}
			panic(http.ErrAbortHandler)
		}))
		t.Cleanup(app.Close)
		w.mustLoad(infoLog(w.global("")) + "ORIGIN {\n\tlog\n\tPROVIDER\n\t\trole User *\n\t\t" + more + "\n\t}\n\trespond /whoami \"{http.auth.user.id}\"\n" +
			"\treverse_proxy " + app.Listener.Addr().String() + "\n\thandle_errors {\n\t\trespond \"{http.error.sso.code}\"\n\t}\n}\n")
		// again is a browser with a connection of its own, so that nothing is sent twice.
		again := func() *browser {
			alice = w.signInAs("alice", "team")
			b := newBrowser(t)
			b.Jar = alice.Jar
			b.CheckRedirect = func(*http.Request, []*http.Request) error { return http.ErrUseLastResponse }
			return b
		}
		if status, body := again().do(mustRequest(t, w.origin()+"/page")); status != http.StatusUnauthorized || !strings.Contains(body, "unauthenticated") {
			t.Errorf("%q: a script is answered %d %s", more, status, body)
		}
		b := again()
		before := len(w.logs())
		r := mustRequest(t, w.origin()+"/page")
		r.Header.Set("Accept", "text/html")
		resp, err := b.Do(r)
		if err != nil {
			t.Fatal(err)
		}
		_ = resp.Body.Close()
		if got := resp.Header.Get("Location"); got != w.origin()+"/.sso/login?return=%2Fpage" {
			t.Errorf("%q: a page is answered %d to %s", more, resp.StatusCode, got)
		}
		if line := lineWith(w.logs()[before:], "state="); line != "" {
			t.Errorf("%q: the log has %s", more, line)
		}
	}
}
