package samlsp_test

import (
	"context"
	"errors"
	"maps"
	"net/http"
	"net/http/httptest"
	"net/netip"
	"net/url"
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
	"github.com/caddy-sso/caddy-sso/gateway/samlsp"
	"github.com/caddy-sso/caddy-sso/gateway/session"
	"github.com/caddy-sso/caddy-sso/mapping"
)

// A scene is one node's gateway with a site. Several can have one store.
type scene struct {
	t     *testing.T
	store *gatewaytest.MemStore
	app   *gateway.App
}

const hereHost = "here.test"

// newScene makes a node over store, whose site has the named providers.
func newScene(t *testing.T, store *gatewaytest.MemStore, configs map[string]samlsp.Config) *scene {
	t.Helper()
	sessions := must(session.Open(session.Options{
		Store: store, Secrets: [][]byte{[]byte(strings.Repeat("s", 32))}, Marker: noMemory{}, Logger: zap.NewNop(),
	}))
	var named []gateway.NamedProvider
	for name, config := range configs {
		named = append(named, gateway.NamedProvider{Name: name, Provider: must(samlsp.New(config, samlsp.Deps{Transport: noNetwork{t}}))})
	}
	var same [][]string
	if len(configs) > 1 {
		same = [][]string{slices.Collect(maps.Keys(configs))}
	}
	gw := must(gateway.New(gateway.Options{
		SamePeople: same, Pages: allPages(), Logger: zap.NewNop(), Providers: named,
	}))
	gw.Bind(sessions, noSigner{})
	app := must(gw.NewApp(gateway.AppOptions{
		Rules: mapping.Rules{Role: []mapping.Line{{To: []string{"User"}, From: []string{"*"}}}}, ErrorsToCaller: true,
	}))
	if err := app.Start(gateway.Hosts{Exact: []string{hereHost}, Scheme: "https"}); err != nil {
		t.Fatal(err)
	}
	return &scene{t: t, store: store, app: app}
}

// oneProvider is a scene of its own with one provider.
func oneProvider(t *testing.T, config samlsp.Config) *scene {
	t.Helper()
	return newScene(t, gatewaytest.NewMemStore(), map[string]samlsp.Config{"corp": config})
}

// left counts what a login leaves for good.
func (s *scene) left() (n int) {
	for _, key := range s.store.Keys() {
		kind, _, _ := strings.Cut(key, ":")
		if kind == "login" || kind == "account" || kind == "replay" {
			n++
		}
	}
	return n
}

// A visitor is a browser. It keeps its cookies.
type visitor struct {
	*scene
	cookies map[string]string
}

func (s *scene) visitor() *visitor { return &visitor{scene: s, cookies: map[string]string{}} }

// An outcome is what the site answered.
type outcome struct {
	code     refusal.Code // of the refusal, or empty
	err      error
	location string
	user     string // whom the app saw, if it was reached
	signedIn bool   // a session was opened
}

// send sends a request with the visitor's cookies.
func (v *visitor) send(r *http.Request) outcome {
	v.t.Helper()
	r.Host = hereHost
	r.Header.Set("Accept", "text/html")
	r.Header.Set("Sec-Fetch-Mode", "navigate")
	for name, value := range v.cookies {
		r.AddCookie(&http.Cookie{Name: name, Value: value})
	}
	var out outcome
	w := httptest.NewRecorder()
	peer := gateway.Peer{Secure: true, Addr: netip.MustParseAddr("192.0.2.7"), Target: r.RequestURI}
	err := v.app.ServeHTTP(w, r, peer, func(_ http.ResponseWriter, r *http.Request, _ *forward.Principal) error {
		out.user = r.Header.Get("Remote-User")
		return nil
	})
	if refused, ok := errors.AsType[*refusal.Error](err); ok {
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

func (v *visitor) open(target string) outcome {
	v.t.Helper()
	return v.send(httptest.NewRequest(http.MethodGet, target, nil))
}

// A pending is a login under way.
type pending struct {
	login
	state string
}

// begin starts a login at a provider.
func (v *visitor) begin(provider string) pending {
	v.t.Helper()
	got := v.open("/.sso/login?" + url.Values{"provider": {provider}, "return": {"/wanted"}}.Encode())
	if got.code != "" || got.location == "" {
		v.t.Fatalf("beginning a login: %+v", got)
	}
	doc, params, _ := fromRedirect(v.t, got.location)
	return pending{login{request: readRequest(v.t, doc).ID, begun: time.Now()}, params.Get("RelayState")}
}

// bring posts an answer, as the page of the second post does.
func (v *visitor) bring(state string, answer url.Values) outcome {
	v.t.Helper()
	form := url.Values{"RelayState": {state}, "SAMLResponse": answer["SAMLResponse"], "sso_repost": {"1"}}
	r := httptest.NewRequest(http.MethodPost, "/.sso/saml/acs", strings.NewReader(form.Encode()))
	r.Header.Set("Content-Type", "application/x-www-form-urlencoded")
	return v.send(r)
}

var allPages = sync.OnceValue(func() *pages.Renderer { return must(pages.New(pages.Options{})) })

type noMemory struct{}

func (noMemory) Load(context.Context) (string, error) { return "", nil }
func (noMemory) Save(context.Context, string) error   { return nil }

// noSigner signs nothing; these tests end where the app begins.
type noSigner struct{}

func (noSigner) Sign([]byte) (string, error) { return "head.body.tail", nil }
func (noSigner) JWKS() ([]byte, error)       { return []byte(`{"keys":[]}`), nil }

// noNetwork fails the test when anything is fetched.
type noNetwork struct{ t testing.TB }

func (n noNetwork) RoundTrip(r *http.Request) (*http.Response, error) {
	n.t.Errorf("%s is fetched", r.URL.Redacted())
	return nil, errors.New("there is no network")
}
