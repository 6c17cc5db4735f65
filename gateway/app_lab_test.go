package gateway_test

import (
	"context"
	"encoding/base64"
	"encoding/json"
	"io"
	"net/http"
	"net/http/httptest"
	"net/netip"
	"slices"
	"strings"
	"sync"
	"testing"
	"time"

	"go.uber.org/zap"

	"github.com/caddy-sso/caddy-sso/gateway"
	"github.com/caddy-sso/caddy-sso/gateway/forward"
	"github.com/caddy-sso/caddy-sso/gateway/gatewaytest"
	"github.com/caddy-sso/caddy-sso/gateway/pages"
	"github.com/caddy-sso/caddy-sso/gateway/refusal"
	"github.com/caddy-sso/caddy-sso/gateway/session"
	"github.com/caddy-sso/caddy-sso/gateway/usernames"
	"github.com/caddy-sso/caddy-sso/mapping"
)

// A lab is one node: Sessions over a store, a provider, and what the gateway
// told its observer.
type lab struct {
	t        testing.TB
	store    *heapStore
	sessions *session.Node
	idp      *fakeIDP
	signer   *stubSigner

	mu     sync.Mutex
	events []gateway.Event
}

// labSecret is the secret of every lab.
var labSecret = strings.Repeat("s", 32)

// mustDo ends a test that can't go on.
func mustDo(t testing.TB, err error) {
	t.Helper()
	if err != nil {
		t.Fatal(err)
	}
}

func newLab(t testing.TB) *lab {
	t.Helper()
	return newLabOn(t, newHeapStore())
}

// newLabOn returns a node over a store, which remembers a marker if remember
// says so.
func newLabOn(t testing.TB, store *heapStore, remember ...string) *lab {
	t.Helper()
	marker := &gatewaytest.Marker{Remembered: strings.Join(remember, "")}
	l := labOf(t, store, []byte(labSecret), marker)
	ctx, cancel := context.WithCancel(context.Background())
	done := make(chan struct{})
	before := store.followed.Load()
	go func() { defer close(done); _ = l.sessions.Run(ctx) }()
	t.Cleanup(func() { cancel(); <-done })
	eventually(t, "the node follows the store", func() bool { return store.followed.Load() > before })
	return l
}

func labOf(t testing.TB, store *heapStore, secret []byte, marker *gatewaytest.Marker) *lab {
	t.Helper()
	node, err := session.Open(session.Options{Store: store, Secrets: [][]byte{secret}, Marker: marker, Logger: zap.NewNop()})
	mustDo(t, err)
	return &lab{t: t, store: store, sessions: node, idp: newFakeIDP("https://id.example"), signer: &stubSigner{}}
}

// allPages are the pages of all tests: to parse their templates takes longer than a login.
var allPages = sync.OnceValues(func() (*pages.Renderer, error) { return pages.New(pages.Options{}) })

// gateway makes a Gateway over the lab's Sessions, with the lab's one provider
// "corp" unless change says otherwise.
func (l *lab) gateway(change ...func(*gateway.Options)) *gateway.Gateway {
	l.t.Helper()
	rendered, err := allPages()
	if err != nil {
		l.t.Fatal(err)
	}
	opts := gateway.Options{
		Pages: rendered, Logger: zap.NewNop(), Observe: l.observe,
		Providers: []gateway.NamedProvider{named("corp", l.idp)},
		Limit:     session.Limit{Failed: -1}, // limit_test.go has one
	}
	for _, c := range change {
		c(&opts)
	}
	if opts.SamePeople == nil && !slices.ContainsFunc(opts.Providers, func(p gateway.NamedProvider) bool { return p.Users != usernames.Space{} }) {
		opts.SamePeople = samePeople(opts.Providers) // people_test.go has others
	}
	g, err := gateway.New(opts)
	if err != nil {
		l.t.Fatal(err)
	}
	g.Bind(l.sessions, l.signer)
	return g
}

// beside adds providers to the lab's own.
func beside(more ...gateway.NamedProvider) func(*gateway.Options) {
	return func(o *gateway.Options) { o.Providers = append(o.Providers, more...) }
}

func (l *lab) observe(ev gateway.Event) {
	l.mu.Lock()
	defer l.mu.Unlock()
	l.events = append(l.events, ev)
}

// samePeople says that all providers are, if there are several.
func samePeople(providers []gateway.NamedProvider) [][]string {
	if len(providers) < 2 {
		return nil
	}
	names := make([]string, len(providers))
	for i, p := range providers {
		names[i] = p.Name
	}
	return [][]string{names}
}

// seen returns the events so far.
func (l *lab) seen() []gateway.Event {
	l.mu.Lock()
	defer l.mu.Unlock()
	return append([]gateway.Event(nil), l.events...)
}

// everyone lets in each person as User; admins get Admin too.
var everyone = mapping.Rules{Role: []mapping.Line{
	{To: []string{"Admin"}, From: []string{"admins"}},
	{To: []string{"User"}, From: []string{"*"}},
}}

// A site is a started App with an app behind it that remembers what it got.
type site struct {
	*lab
	app  *gateway.App
	host string
	// next is the app; it answers 200 unless a test replaces it.
	next gateway.Next

	client netip.Addr // where requests come from

	mu       sync.Mutex
	requests []received
}

// received is a request as the app got it.
type received struct {
	header    http.Header
	principal *forward.Principal
	path      string
}

const appHost = "app.example"

// site makes an app at https://app.example.
func (l *lab) site(change ...func(*gateway.AppOptions)) *site {
	l.t.Helper()
	return l.siteOf(l.gateway(), appHost, change...)
}

func (l *lab) siteOf(g *gateway.Gateway, host string, change ...func(*gateway.AppOptions)) *site {
	l.t.Helper()
	return l.siteAt(g, host, gateway.Hosts{Exact: []string{host}, Scheme: "https"}, change...)
}

// siteAt is a site with those hosts, which requests ask for as host.
func (l *lab) siteAt(g *gateway.Gateway, host string, hosts gateway.Hosts, change ...func(*gateway.AppOptions)) *site {
	l.t.Helper()
	s := &site{lab: l, app: newApp(l.t, g, change...), host: host, client: clientAddr}
	mustDo(l.t, s.app.Start(hosts))
	return s
}

func newApp(t testing.TB, g *gateway.Gateway, change ...func(*gateway.AppOptions)) *gateway.App {
	t.Helper()
	opts := gateway.AppOptions{Rules: everyone}
	for _, c := range change {
		c(&opts)
	}
	app, err := g.NewApp(opts)
	mustDo(t, err)
	return app
}

func (s *site) serveApp(w http.ResponseWriter, r *http.Request, p *forward.Principal) error {
	s.mu.Lock()
	s.requests = append(s.requests, received{r.Header.Clone(), p, r.URL.Path})
	s.mu.Unlock()
	if s.next != nil {
		return s.next(w, r, p)
	}
	_, err := io.WriteString(w, "the app")
	return err
}

// got returns the last request that reached the app, and fails without one.
func (s *site) got() received {
	s.t.Helper()
	s.mu.Lock()
	defer s.mu.Unlock()
	if len(s.requests) == 0 {
		s.t.Fatal("no request reached the app")
	}
	return s.requests[len(s.requests)-1]
}

// reached counts the requests that reached the app.
func (s *site) reached() int {
	s.mu.Lock()
	defer s.mu.Unlock()
	return len(s.requests)
}

// clientAddr is where requests come from, unless the site has another.
var clientAddr = netip.MustParseAddr("192.0.2.7")

// serve has the site answer r as it came over https, or http if plain.
func (s *site) serve(r *http.Request, plain bool) *httptest.ResponseRecorder {
	s.t.Helper()
	w, err := s.try(r, plain)
	if err != nil {
		s.t.Fatalf("ServeHTTP: %v", err)
	}
	return w
}

func (s *site) try(r *http.Request, plain bool) (*httptest.ResponseRecorder, error) {
	w := httptest.NewRecorder()
	peer := gateway.Peer{Secure: !plain, Addr: s.client, Target: r.RequestURI}
	return w, s.app.ServeHTTP(w, r, peer, s.serveApp)
}

// A stubSigner makes tokens that anybody can read and nobody verifies.
type stubSigner struct {
	mu     sync.Mutex
	err    error
	signed int
}

func (s *stubSigner) setErr(err error) {
	s.mu.Lock()
	defer s.mu.Unlock()
	s.err = err
}

func (s *stubSigner) Sign(claims []byte) (string, error) {
	s.mu.Lock()
	defer s.mu.Unlock()
	if s.err != nil {
		return "", s.err
	}
	s.signed++
	return "head." + base64.RawURLEncoding.EncodeToString(claims) + ".tail", nil
}

func (s *stubSigner) JWKS() ([]byte, error) {
	s.mu.Lock()
	defer s.mu.Unlock()
	return []byte(`{"keys":[]}`), s.err
}

// claimsOf reads a token of a stubSigner.
func claimsOf(t testing.TB, token string) map[string]any {
	t.Helper()
	parts := strings.Split(token, ".")
	if len(parts) != 3 {
		t.Fatalf("assertion %q is no token of the signer", token)
	}
	raw, err := base64.RawURLEncoding.DecodeString(parts[1])
	mustDo(t, err)
	var claims map[string]any
	mustDo(t, json.Unmarshal(raw, &claims))
	return claims
}

func wantStatus(t testing.TB, w *httptest.ResponseRecorder, status int) {
	t.Helper()
	if w.Code != status {
		t.Fatalf("status %d, want %d; Location %q, body:\n%.600s", w.Code, status, w.Header().Get("Location"), w.Body)
	}
}

func wantRedirect(t testing.TB, w *httptest.ResponseRecorder, location string) {
	t.Helper()
	wantStatus(t, w, http.StatusSeeOther)
	if got := w.Header().Get("Location"); got != location {
		t.Fatalf("Location %q, want %q", got, location)
	}
}

// wantRefused checks status, code and that the answer must not be kept.
func wantRefused(t testing.TB, w *httptest.ResponseRecorder, code refusal.Code) {
	t.Helper()
	if got := codeIn(w); got != code {
		t.Fatalf("code %q (status %d), want %q; Location %q, body:\n%.600s", got, w.Code, code, w.Header().Get("Location"), w.Body)
	}
	wantStatus(t, w, code.Meaning().Status)
	if cc := w.Header().Get("Cache-Control"); cc != "no-store" {
		t.Errorf("Cache-Control %q, want no-store", cc)
	}
}

// codeIn returns the code of a refusal, page or problem, or "".
func codeIn(w *httptest.ResponseRecorder) refusal.Code {
	body := w.Body.String()
	if w.Header().Get("Content-Type") == "application/problem+json" {
		var p struct{ Code refusal.Code }
		if json.Unmarshal([]byte(body), &p) != nil {
			return ""
		}
		return p.Code
	}
	for _, code := range refusal.Codes() {
		if w.Code >= 400 && strings.Contains(body, ">"+string(code)+"<") {
			return code
		}
	}
	return ""
}

// eventually waits until a condition holds that no event announces.
func eventually(t testing.TB, what string, holds func() bool) {
	t.Helper()
	for deadline := time.Now().Add(30 * time.Second); !holds(); time.Sleep(5 * time.Millisecond) {
		if time.Now().After(deadline) {
			t.Fatalf("after half a minute still not: %s", what)
		}
	}
}
