package oidcrp_test

import (
	"context"
	"errors"
	"net/http"
	"net/http/httptest"
	"net/netip"
	"net/url"
	"strings"
	"sync"
	"testing"

	"go.uber.org/zap"

	"github.com/caddy-sso/caddy-sso/gateway"
	"github.com/caddy-sso/caddy-sso/gateway/forward"
	"github.com/caddy-sso/caddy-sso/gateway/gatewaytest"
	"github.com/caddy-sso/caddy-sso/gateway/pages"
	"github.com/caddy-sso/caddy-sso/gateway/refusal"
	"github.com/caddy-sso/caddy-sso/gateway/session"
	"github.com/caddy-sso/caddy-sso/mapping"
)

// A scene is a whole gateway with two sites and two providers: corp, which is
// honest, and evil, which an attacker runs. Each knows the gateway as its
// client.
type scene struct {
	t          *testing.T
	store      *gatewaytest.MemStore
	sessions   *session.Node
	corp, evil *gatewaytest.OP
	sites      map[string]*gateway.App // by host name
	callbacks  sync.Map                // by state: the path of the answer
	noted      int                     // what was left before the attack
}

const (
	hereHost  = "here.test"
	thereHost = "there.test"
	callback  = "/.sso/oidc/callback"
)

func newScene(t *testing.T) *scene {
	t.Helper()
	s := &scene{t: t, store: gatewaytest.NewMemStore(), corp: inProcess(t), evil: inProcess(t)}
	s.evil.Issuer = "https://evil.test"
	s.evil.Key = gatewaytest.NewOPKey("ES256", "evil")
	var err error
	s.sessions, err = session.Open(session.Options{
		Store: s.store, Secrets: [][]byte{[]byte(strings.Repeat("s", 32))}, Marker: noMemory{}, Logger: zap.NewNop(),
	})
	if err != nil {
		t.Fatal(err)
	}
	s.load(s.named("corp", s.corp), s.named("evil", s.evil))
	return s
}

// named is a provider as a configuration has it.
func (s *scene) named(name string, op *gatewaytest.OP) gateway.NamedProvider {
	s.t.Helper()
	return gateway.NamedProvider{Name: name, Provider: newProvider(s.t, op)}
}

// allPages are the pages of all tests: to parse their templates takes longer than a login.
var allPages = sync.OnceValues(func() (*pages.Renderer, error) { return pages.New(pages.Options{}) })

// load loads a configuration, as a start or a reload does.
func (s *scene) load(providers ...gateway.NamedProvider) {
	s.t.Helper()
	rendered, err := allPages()
	if err != nil {
		s.t.Fatal(err)
	}
	var same [][]string
	if len(providers) > 1 {
		same = [][]string{nil}
		for _, p := range providers {
			same[0] = append(same[0], p.Name)
		}
	}
	gw, err := gateway.New(gateway.Options{
		SamePeople: same, Pages: rendered, Logger: zap.NewNop(), Providers: providers,
	})
	if err != nil {
		s.t.Fatal(err)
	}
	gw.Bind(s.sessions, noSigner{})
	s.sites = map[string]*gateway.App{}
	for _, host := range []string{hereHost, thereHost} {
		app, err := gw.NewApp(gateway.AppOptions{
			Rules: mapping.Rules{Role: []mapping.Line{{To: []string{"User"}, From: []string{"*"}}, {To: []string{"Staff"}, From: []string{"staff"}}}}, ErrorsToCaller: true,
		})
		if err != nil {
			s.t.Fatal(err)
		}
		if err := app.Start(gateway.Hosts{Exact: []string{host}, Scheme: "https"}); err != nil {
			s.t.Fatal(err)
		}
		s.sites[host] = app
	}
}

// kept counts the records of a kind.
func (s *scene) kept(kind string) (n int) {
	for _, key := range s.store.Keys() {
		if strings.HasPrefix(key, kind+":") {
			n++
		}
	}
	return n
}

// left counts what a login leaves for good.
func (s *scene) left() int { return s.kept("login") + s.kept("account") + s.kept("replay") }

// note takes what is left by now for what the control left.
func (s *scene) note() { s.noted = s.left() }

// A visitor is a browser at one site. It keeps that site's cookies.
type visitor struct {
	*scene
	host    string
	cookies map[string]string
}

func (s *scene) visitor(host string) *visitor {
	return &visitor{scene: s, host: host, cookies: map[string]string{}}
}

// A visit is a request that can be changed before it is sent.
type visit struct {
	*http.Request
	plain bool // over http
}

// An outcome is what the site answered.
type outcome struct {
	code     refusal.Code // of the refusal, or empty
	location string
	user     string // whom the app saw, if it was reached
	err      error  // the refusal
	signedIn bool   // a session was opened
}

// ask sends a request to the site's path.
func (v *visitor) ask(target string, change ...func(*visit)) outcome {
	v.t.Helper()
	r := &visit{Request: httptest.NewRequest(http.MethodGet, target, nil)}
	r.Host = v.host
	r.Header.Set("Accept", "text/html")
	r.Header.Set("Sec-Fetch-Mode", "navigate")
	for name, value := range v.cookies {
		r.AddCookie(&http.Cookie{Name: name, Value: value})
	}
	for _, c := range change {
		c(r)
	}
	var out outcome
	w := httptest.NewRecorder()
	peer := gateway.Peer{Secure: !r.plain, Addr: netip.MustParseAddr("192.0.2.7"), Target: r.RequestURI}
	err := v.sites[v.host].ServeHTTP(w, r.Request, peer, func(_ http.ResponseWriter, r *http.Request, _ *forward.Principal) error {
		out.user = r.Header.Get("Remote-User")
		return nil
	})
	var refused *refusal.Error
	if errors.As(err, &refused) {
		out.code, out.err = refused.Code, refused
	} else if err != nil {
		v.t.Fatal(err)
	}
	out.location = w.Header().Get("Location")
	for _, c := range w.Result().Cookies() {
		out.signedIn = out.signedIn || strings.HasSuffix(c.Name, "sso") && c.Value != ""
		v.cookies[c.Name] = c.Value
	}
	return out
}

// begin starts a login and returns where the browser is sent.
func (v *visitor) begin(provider string) (location string) {
	v.t.Helper()
	got := v.ask("/.sso/login?" + url.Values{"provider": {provider}, "return": {"/wanted"}}.Encode())
	if got.code != "" || got.location == "" {
		v.t.Fatalf("beginning a login: %+v", got)
	}
	u, err := url.Parse(param(v.t, got.location, "redirect_uri"))
	if err != nil {
		v.t.Fatal(err)
	}
	v.callbacks.Store(param(v.t, got.location, "state"), u.Path)
	return got.location
}

// answer is what a provider sends the browser back with.
func (v *visitor) answer(op *gatewaytest.OP, location string) url.Values {
	v.t.Helper()
	params, err := op.Visit(location)
	if err != nil {
		v.t.Fatal(err)
	}
	return params
}

// bring brings an answer to the callback.
func (v *visitor) bring(params url.Values, change ...func(*visit)) outcome {
	v.t.Helper()
	return v.ask(v.callback(params.Get("state"))+"?"+params.Encode(), change...)
}

// callback is the path at which the answer to a login of the scene arrives,
// whoever began it.
func (s *scene) callback(state string) string {
	if path, ok := s.callbacks.Load(state); ok {
		return path.(string)
	}
	return callback
}

// withParam is a URL with one parameter set.
func withParam(t *testing.T, location, name, value string) string {
	t.Helper()
	u, err := url.Parse(location)
	if err != nil {
		t.Fatal(err)
	}
	q := u.Query()
	q.Set(name, value)
	u.RawQuery = q.Encode()
	return u.String()
}

// param is a parameter of a URL.
func param(t *testing.T, location, name string) string {
	t.Helper()
	u, err := url.Parse(location)
	if err != nil {
		t.Fatal(err)
	}
	return u.Query().Get(name)
}

type noMemory struct{}

func (noMemory) Load(context.Context) (string, error) { return "", nil }
func (noMemory) Save(context.Context, string) error   { return nil }

// noSigner signs nothing; these tests end where the app begins.
type noSigner struct{}

func (noSigner) Sign([]byte) (string, error) { return "head.body.tail", nil }
func (noSigner) JWKS() ([]byte, error)       { return []byte(`{"keys":[]}`), nil }
