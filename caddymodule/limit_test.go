package caddymodule_test

import (
	"fmt"
	"net/http"
	"net/url"
	"strings"
	"sync"
	"testing"
	"time"

	"github.com/caddy-sso/caddy-sso/gateway/gatewaytest"
)

// TestLimitIsSet exceeds each number of the option `limit`.
func TestLimitIsSet(t *testing.T) {
	w := newWorld(t)
	global := strings.Replace(w.global("limit 2 10s 8 5"), "\tadmin off\n", "\tadmin off\n\tservers {\n\t\ttrusted_proxies static 127.0.0.1/32 ::1\n\t}\n", 1)
	w.mustLoad(global + site)
	exchanging, refuse := make(chan struct{}, 5), make(chan struct{})
	w.op.SetHooks(gatewaytest.OPHooks{Serve: map[string]http.HandlerFunc{gatewaytest.OPTokenPath: func(rw http.ResponseWriter, _ *http.Request) {
		exchanging <- struct{}{}
		<-refuse
		rw.Header().Set("Content-Type", "application/json")
		rw.WriteHeader(http.StatusBadRequest)
		_, _ = rw.Write([]byte(`{"error": "invalid_grant"}`))
	}}})
	ask := func(b *browser, client, target string) *http.Response {
		r := mustRequest(t, w.origin()+target)
		r.Header.Set("Accept", "text/html")
		r.Header.Set("Sec-Fetch-Mode", "navigate")
		r.Header.Set("X-Forwarded-For", client)
		resp, err := b.Do(r)
		if err != nil {
			t.Error(err)
			return new(http.Response)
		}
		_ = resp.Body.Close()
		return resp
	}
	start := func(client string) (b *browser, resp *http.Response) {
		b = newBrowser(t)
		b.CheckRedirect = func(*http.Request, []*http.Request) error { return http.ErrUseLastResponse }
		return b, ask(b, client, "/")
	}
	// answer begins a login, and returns what brings an answer of no provider to it.
	answer := func(client string, i int) func() int {
		b, resp := start(fmt.Sprintf("192.0.2.%d", i))
		to, err := url.Parse(resp.Header.Get("Location"))
		if err != nil || to.Query().Get("state") == "" {
			t.Fatalf("a start is answered %d, %v", resp.StatusCode, err)
		}
		return func() int {
			return ask(b, client, "/.sso/oidc/callback?code=none&state="+to.Query().Get("state")+"&iss="+url.QueryEscape(w.op.Issuer)).StatusCode
		}
	}
	want := func(what string, got, want int) {
		t.Helper()
		if got != want {
			t.Errorf("%s is answered %d, want %d", what, got, want)
		}
	}
	for i := range 8 {
		_, resp := start("198.51.100.1")
		want(fmt.Sprintf("start %d of 8", i+1), resp.StatusCode, http.StatusSeeOther)
	}
	_, resp := start("198.51.100.1")
	want("start 9", resp.StatusCode, http.StatusTooManyRequests)

	var done sync.WaitGroup
	for i := range 5 {
		bring := answer("198.51.100.2", i)
		done.Go(func() { want("an answer of 5 at once", bring(), http.StatusBadRequest) })
		select {
		case <-exchanging:
		case <-time.After(5 * time.Second):
			t.Fatal("the code is not exchanged")
		}
	}
	want("answer 6 at once", answer("198.51.100.2", 5)(), http.StatusTooManyRequests)
	close(refuse)
	done.Wait()

	for i := range 2 {
		want(fmt.Sprintf("answer %d of 2", i+1), answer("198.51.100.3", 10+i)(), http.StatusBadRequest)
	}
	want("answer 3", answer("198.51.100.3", 12)(), http.StatusTooManyRequests)

	for _, why := range []string{"8 requests within 10s", "5 under way within 1m0s", "2 failed within 10s"} {
		if lineWith(w.logs(), why) == "" {
			t.Errorf("the log does not say %q", why)
		}
	}
}
