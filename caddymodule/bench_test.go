//go:build unix

package caddymodule_test

import (
	"context"
	"fmt"
	"maps"
	"net/http"
	"net/http/httptest"
	"net/url"
	"os"
	"path/filepath"
	"runtime/debug"
	"slices"
	"strings"
	"sync"
	"sync/atomic"
	"syscall"
	"testing"
	"time"

	"github.com/caddyserver/caddy/v2"
	"github.com/caddyserver/caddy/v2/modules/caddyhttp"

	"github.com/caddy-sso/caddy-sso/caddymodule"
	"github.com/caddy-sso/caddy-sso/gateway/gatewaytest"
)

// benchSessions is how many people are signed in and take turns.
const benchSessions = 1000

// signers is how many sign in side by side.
const signers = 16

// benchHost is the site. It is not listened at: requests go to the handler.
const benchHost = "localhost"

// A signedIn is a handler as Caddy runs it, with people who are signed in.
type signedIn struct {
	tb      testing.TB
	handler caddyhttp.MiddlewareHandler
	cookies []string // Cookie headers, one a person
}

// newSignedIn runs Caddy with one site and signs n people in there. more are lines of its
// block.
func newSignedIn(tb testing.TB, n int, more ...string) *signedIn {
	tb.Helper()
	op := gatewaytest.NewOP(tb, gatewaytest.OPOptions{})
	var people atomic.Int64
	op.SetHooks(gatewaytest.OPHooks{Claims: func(claims map[string]any) {
		name := fmt.Sprintf("person-%04d", people.Add(1))
		groups := make([]any, 10)
		for i := range groups {
			groups[i] = fmt.Sprintf("team-%02d", i)
		}
		claims["sub"], claims["preferred_username"], claims["email"], claims["groups"] = name, name, name+"@example.com", groups
	}})
	dir := tb.TempDir()
	ca := filepath.Join(dir, "ca.pem")
	if err := os.WriteFile(ca, op.Roots, 0o600); err != nil {
		tb.Fatal(err)
	}
	tb.Setenv("SSO_TEST_CLIENT_SECRET", op.ClientSecret)
	config, err := adapt(fmt.Sprintf(`{
	admin off
	persist_config off
	storage file_system %[1]s/storage
	log {
		output discard
	}
	sso {
		store bolt %[1]s/sessions.db
	}
}
http://%[2]s:%[3]d {
	bind 127.0.0.1
	sso oidc %[4]s %[5]s {env.SSO_TEST_CLIENT_SECRET} {
		ca %[6]s
		role Admin,Editor team-00
%[7]s
	}
}
`, dir, benchHost, gatewaytest.FreePort(), op.Issuer, op.ClientID, ca, groupLines(10)+strings.Join(more, "")))
	if err != nil {
		tb.Fatal(err)
	}
	if err := caddy.Load(config, true); err != nil {
		tb.Fatal(err)
	}
	tb.Cleanup(func() {
		if err := caddy.Stop(); err != nil {
			tb.Error(err)
		}
	})
	s := &signedIn{tb: tb, handler: runningHandler(tb)}
	var wg sync.WaitGroup
	s.cookies = make([]string, n)
	for first := range signers {
		wg.Go(func() {
			for i := first; i < n && !tb.Failed(); i += signers {
				cookie, err := s.signIn(op, fmt.Sprintf("10.0.%d.%d", i/256, i%256))
				if err != nil {
					tb.Error(err)
				}
				s.cookies[i] = cookie
			}
		})
	}
	wg.Wait()
	if tb.Failed() {
		tb.FailNow()
	}
	return s
}

func groupLines(n int) string {
	var b strings.Builder
	for i := range n {
		fmt.Fprintf(&b, "\t\tgroup app-%02d team-%02d\n", i, i)
	}
	return b.String()
}

// runningHandler finds the one handler of ours in the running configuration.
func runningHandler(tb testing.TB) caddyhttp.MiddlewareHandler {
	tb.Helper()
	app, err := caddy.ActiveContext().App("http")
	if err != nil {
		tb.Fatal(err)
	}
	for _, server := range app.(*caddyhttp.App).Servers {
		if h := handlerIn(server.Routes); h != nil {
			return h
		}
	}
	tb.Fatal("the configuration has no handler of ours")
	return nil
}

func handlerIn(routes caddyhttp.RouteList) caddyhttp.MiddlewareHandler {
	for _, route := range routes {
		for _, handler := range route.Handlers {
			switch h := handler.(type) {
			case *caddymodule.Handler:
				return h
			case *caddyhttp.Subroute:
				if found := handlerIn(h.Routes); found != nil {
					return found
				}
			}
		}
	}
	return nil
}

// signIn takes one person through a whole login and returns the Cookie header
// of 1.5 kB that a browser of theirs would send from then on.
func (s *signedIn) signIn(op *gatewaytest.OP, addr string) (string, error) {
	begun, err := s.navigate("/", "", addr)
	if err != nil {
		return "", err
	}
	answer, err := op.Visit(begun.Header.Get("Location"))
	if err != nil {
		return "", err
	}
	done, err := s.navigate("/.sso/oidc/callback?"+answer.Encode(), begun.Header.Get("Set-Cookie"), addr)
	if err != nil {
		return "", err
	}
	for _, c := range done.Cookies() {
		if c.Name == "sso" && c.Value != "" {
			return cookieLine(c.Name + "=" + c.Value), nil
		}
	}
	return "", fmt.Errorf("nobody was signed in: %s", done.Status)
}

// cookieLine puts our cookie among those of an app.
func cookieLine(own string) string {
	var pairs []string
	for i := range 12 {
		if i == 6 {
			pairs = append(pairs, own)
		}
		pairs = append(pairs, fmt.Sprintf("app_cookie_%02d=%s", i, strings.Repeat("0123456789", 10)))
	}
	return strings.Join(pairs, "; ")
}

func (s *signedIn) navigate(target, cookie, addr string) (*http.Response, error) {
	r := httptest.NewRequest(http.MethodGet, "http://"+benchHost+target, nil)
	r.RequestURI = target
	r.Header.Set("Accept", "text/html")
	r.Header.Set("Sec-Fetch-Mode", "navigate")
	if cookie != "" {
		r.Header.Set("Cookie", cookie)
	}
	w := httptest.NewRecorder()
	err := s.handler.ServeHTTP(w, prepared(r, false, addr), noApp)
	return w.Result(), err
}

// request returns a fresh request of the i-th person as it comes to a handler:
// 15 header fields, among them cookies of 1.5 kB, and a context that can end.
func (s *signedIn) request(ctx context.Context, i int) *http.Request {
	header := make(http.Header, 15) // as large as net/http makes it
	for name, value := range map[string]string{
		"Accept": "text/html,application/xhtml+xml,application/xml;q=0.9,*/*;q=0.8", "Accept-Encoding": "gzip, deflate, br, zstd",
		"Accept-Language": "en-GB,en;q=0.9", "Cache-Control": "max-age=0", "Connection": "keep-alive",
		"Cookie":   strings.Clone(s.cookies[i%len(s.cookies)]), // as one that has just been read
		"Priority": "u=0, i", "Referer": "http://localhost/dashboards", "Sec-Ch-Ua": `"Chromium";v="142"`, "Sec-Ch-Ua-Mobile": "?0",
		"Sec-Ch-Ua-Platform": `"Linux"`, "Sec-Fetch-Mode": "navigate", "Sec-Fetch-Site": "same-origin", "Upgrade-Insecure-Requests": "1",
		"User-Agent": "Mozilla/5.0 (X11; Linux x86_64) AppleWebKit/537.36 (KHTML, like Gecko) Chrome/142.0.0.0 Safari/537.36",
	} {
		header[name] = []string{value}
	}
	r := &http.Request{
		Method: http.MethodGet, URL: &url.URL{Path: "/d/overview", RawQuery: "from=now-6h"}, RequestURI: "/d/overview?from=now-6h",
		Proto: "HTTP/1.1", ProtoMajor: 1, ProtoMinor: 1, Header: header, Body: http.NoBody, Host: benchHost, RemoteAddr: "127.0.0.1:40000",
	}
	return prepared(r.WithContext(ctx), false, "127.0.0.1")
}

// told returns the headers by which the first person's request tells the app.
func (s *signedIn) told(ctx context.Context) http.Header {
	s.tb.Helper()
	told := http.Header{}
	err := s.handler.ServeHTTP(httptest.NewRecorder(), s.request(ctx, 0), caddyhttp.HandlerFunc(func(_ http.ResponseWriter, r *http.Request) error {
		for name, values := range r.Header {
			if strings.HasPrefix(name, "Remote-") || name == "X-Sso-Assertion" {
				told[name] = values
			}
		}
		return nil
	}))
	if err != nil || len(told) != 6 {
		s.tb.Fatalf("the app is told %v, %v", told, err)
	}
	return told
}

// mustBeSignedIn makes sure that what is measured is what is meant: each
// request is that of another person, and the app learns of whom.
func (s *signedIn) mustBeSignedIn(request func(i int) *http.Request) {
	s.tb.Helper()
	people := map[string]bool{}
	next := caddyhttp.HandlerFunc(func(_ http.ResponseWriter, r *http.Request) error {
		user := r.Header.Get("Remote-User")
		people[user] = true
		id, _ := r.Context().Value(caddy.ReplacerCtxKey).(*caddy.Replacer).Get("http.auth.user.id")
		token := strings.Split(r.Header.Get("X-Sso-Assertion"), ".")
		if id != user || !strings.HasPrefix(user, "person-") || len(token) != 3 {
			s.tb.Errorf("the app learns %q, %v", id, r.Header)
		}
		if n := len(strings.Split(r.Header.Get("Remote-Groups"), ",")); n != 10 || strings.Contains(r.Header.Get("Cookie"), "sso=") || len(r.Header.Get("Cookie")) < 1300 {
			s.tb.Errorf("the app gets %d groups and the cookies %s", n, r.Header.Get("Cookie"))
		}
		return nil
	})
	for i := range s.cookies {
		if err := s.handler.ServeHTTP(httptest.NewRecorder(), request(i), next); err != nil {
			s.tb.Fatal(err)
		}
	}
	if len(people) != len(s.cookies) {
		s.tb.Fatalf("the requests of %d people reached the app as those of %d", len(s.cookies), len(people))
	}
}

// A repeatable is one request that takes each person's turn. What the handler
// did to it is undone in between: that takes less than a tenth of the handler's
// time and allocates nothing, unlike a new request, of which most time and nearly
// all garbage would be.
type repeatable struct {
	r       *http.Request
	cookies [][]string // of each person
	set     []string   // the headers that the handler sets
	repl    *caddy.Replacer
	fresh   caddy.Replacer // as it was before
}

func (s *signedIn) repeatable(ctx context.Context) *repeatable {
	q := &repeatable{r: s.request(ctx, 0), set: slices.Collect(maps.Keys(s.told(ctx)))}
	q.repl = q.r.Context().Value(caddy.ReplacerCtxKey).(*caddy.Replacer)
	q.fresh = *q.repl
	for i := range s.cookies {
		q.cookies = append(q.cookies, s.request(ctx, i).Header["Cookie"])
	}
	return q
}

// of returns the request as the i-th person sends it.
func (q *repeatable) of(i int) *http.Request {
	for _, name := range q.set {
		delete(q.r.Header, name)
	}
	q.r.Header["Cookie"] = q.cookies[i%len(q.cookies)]
	*q.repl = q.fresh
	return q.r
}

// mustRepeat makes sure that a repeated request is like a new one: its headers
// are the same, and nothing of the person before is left.
func (s *signedIn) mustRepeat(ctx context.Context, q *repeatable) {
	s.tb.Helper()
	s.mustBeSignedIn(q.of)
	for i := range s.cookies {
		r, fresh := q.of(i), s.request(ctx, i)
		if len(r.Header) != 15 || !maps.EqualFunc(r.Header, fresh.Header, slices.Equal) {
			s.tb.Fatalf("a repeated request has the headers %v", r.Header)
		}
		if id, known := q.repl.Get("http.auth.user.id"); known {
			s.tb.Fatalf("a repeated request is still that of %v", id)
		}
		if err := s.handler.ServeHTTP(httptest.NewRecorder(), r, noApp); err != nil {
			s.tb.Fatal(err)
		}
	}
}

var noApp = caddyhttp.HandlerFunc(func(http.ResponseWriter, *http.Request) error { return nil })

// gcPercent is what cmd/caddy-sso begins with.
const gcPercent = 400

// BenchmarkSignedIn measures what the handler itself costs a request of who is
// signed in: 15 header fields, 1.5 kB of cookies, 10 groups, a real assertion,
// 1,000 sessions in turn.
//
// The clock never stops, and nothing is subtracted: what it takes to make the
// request ready again is in the figure. The request lies in the caches, as one
// does that has just been read; its cookies and its session have to be fetched,
// for 999 others came in between.
//
// cpu-ns/op is processor time, of the whole process: with all of the garbage
// collection, which else goes on beside, but without the time that the machine
// gave to others.
func BenchmarkSignedIn(b *testing.B) {
	s := newSignedIn(b, benchSessions)
	ctx, cancel := context.WithCancel(b.Context())
	defer cancel()
	q := s.repeatable(ctx)
	s.mustRepeat(ctx, q)
	if os.Getenv("GOGC") == "" {
		defer debug.SetGCPercent(debug.SetGCPercent(gcPercent))
	}
	reached := 0
	app := caddyhttp.HandlerFunc(func(http.ResponseWriter, *http.Request) error { reached++; return nil })
	w := httptest.NewRecorder()
	b.ReportAllocs()
	n, before := 0, cpuTime(b)
	for ; b.Loop(); n++ {
		if err := s.handler.ServeHTTP(w, q.of(n), app); err != nil {
			b.Fatal(err)
		}
	}
	b.ReportMetric(float64(cpuTime(b)-before)/float64(n), "cpu-ns/op")
	if reached != n {
		b.Fatalf("%d of %d requests reached the app", reached, n)
	}
}

// cpuTime returns what processor time the process has used.
func cpuTime(tb testing.TB) time.Duration {
	tb.Helper()
	var used syscall.Rusage
	if err := syscall.Getrusage(syscall.RUSAGE_SELF, &used); err != nil {
		tb.Fatal(err)
	}
	return time.Duration(used.Utime.Nano() + used.Stime.Nano())
}
