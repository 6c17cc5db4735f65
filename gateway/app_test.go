package gateway_test

import (
	"errors"
	"net/http"
	"net/http/httptest"
	"strings"
	"testing"
	"testing/synctest"
	"time"

	"github.com/caddy-sso/caddy-sso/gateway"
	"github.com/caddy-sso/caddy-sso/gateway/forward"
	"github.com/caddy-sso/caddy-sso/gateway/gatewaytest"
	"github.com/caddy-sso/caddy-sso/gateway/refusal"
	"github.com/caddy-sso/caddy-sso/mapping"
)

func TestNewRefuses(t *testing.T) {
	t.Parallel()
	l := newLab(t)
	idp := newFakeIDP("https://id.example")
	providers := []gateway.NamedProvider{{Name: "a b", Provider: idp}, {Name: "", Provider: idp}, {Name: "x", Provider: idp}, {Name: "x", Provider: idp}, {Name: "y", Lifetime: -1, Provider: idp}}
	g, err := gateway.New(gateway.Options{Lifetime: -1, Providers: providers})
	if g != nil || providers[0].DisplayName != "" {
		t.Errorf("a gateway %v, the caller's provider %+v", g, providers[0])
	}
	wantFaults(t, err, `"a b"`, `""`, `"x" is used twice`, `"y"`, "lifetime")

	_, err = l.gateway().NewApp(gateway.AppOptions{
		Rules: mapping.Rules{}, Providers: []string{"nobody"}, Public: []string{"a", "/a/../b", "/a*b", "/%61"}, Protect: []string{"/x;y"},
		Prefix: "/.sso/", BaseURL: "ftp://x", AllowedOrigins: []string{"https://x/path"}, Lifetime: -1, Headers: forward.HeaderNames{User: "a b"},
	})
	wantFaults(t, err, `"nobody"`, `"a"`, `"/a/../b"`, `"/a*b"`, `"/%61"`, `"/x;y"`, `"/.sso/"`, `"ftp://x"`, `"https://x/path"`, "lifetime", `"a b"`)

	for name, change := range map[string]func(*gateway.AppOptions){
		"a provider twice":     func(o *gateway.AppOptions) { o.Providers = []string{"corp", "corp"} },
		"no rules":             func(o *gateway.AppOptions) { o.Rules = mapping.Rules{} },
		"autologin of nobody":  func(o *gateway.AppOptions) { o.Autologin = "nobody" },
		"origin that is null":  func(o *gateway.AppOptions) { o.AllowedOrigins = []string{"null"} },
		"origin that is a *":   func(o *gateway.AppOptions) { o.AllowedOrigins = []string{"*"} },
		"origin with wildcard": func(o *gateway.AppOptions) { o.AllowedOrigins = []string{"https://*.example"} },
	} {
		opts := gateway.AppOptions{Rules: everyone}
		change(&opts)
		if _, err := l.gateway().NewApp(opts); err == nil {
			t.Errorf("%s: was taken", name)
		}
	}
	if _, err := l.gateway(func(o *gateway.Options) { o.Providers = nil }).NewApp(gateway.AppOptions{Rules: everyone}); err == nil {
		t.Error("an app without a provider was taken")
	}
}

// wantFaults checks that one error names every fault.
func wantFaults(t testing.TB, err error, faults ...string) {
	t.Helper()
	if err == nil {
		t.Fatal("no error")
	}
	for _, fault := range faults {
		if !strings.Contains(err.Error(), fault) {
			t.Errorf("the error does not name %s:\n%v", fault, err)
		}
	}
}

func TestNotStarted(t *testing.T) {
	t.Parallel()
	l := newLab(t)
	s := &site{lab: l, app: newApp(t, l.gateway(), public("/public")), host: appHost}
	b := s.browser()
	for _, path := range []string{"/", "/public", "/.sso/login", "/.sso/jwks.json", "/.sso/assets/style.css"} {
		w := b.open(path)
		wantRefused(t, w, refusal.NotReady)
		if w.Header().Get("Retry-After") == "" {
			t.Error("no Retry-After")
		}
	}
	if s.reached() > 0 {
		t.Error("the app was reached")
	}
}

// The table "what is down" of the design, row by row.
func TestStoreDown(t *testing.T) {
	t.Parallel()
	synctest.Test(t, func(t *testing.T) {
		l := newLab(t)
		s := l.site(public("/public"))
		in, out, waiting := s.browser(), s.browser(), s.browser()
		in.signIn()
		wantStatus(t, in.open("/"), http.StatusOK)
		callback := waiting.begin("/wanted")
		l.store.down.Store(true)
		down := time.Now()

		unavailable := func(w *httptest.ResponseRecorder) {
			t.Helper()
			wantRefused(t, w, refusal.StoreUnavailable)
			if w.Header().Get("Retry-After") == "" {
				t.Error("no Retry-After")
			}
			if w.Header().Get("Location") != "" || w.Header()["Set-Cookie"] != nil {
				t.Errorf("headers %v", w.Header())
			}
		}
		// Not signed in: 503, page or problem. Public paths are served.
		unavailable(out.open("/"))
		wantRefused(t, out.fetch("/"), refusal.Unauthenticated)
		unavailable(waiting.bring(callback))
		wantStatus(t, out.open("/public"), http.StatusOK)

		// Signed in: served for five seconds since the last confirmed check.
		for in.send(in.request(http.MethodGet, "/")).Code == http.StatusOK {
			if s.got().principal == nil {
				t.Fatal("served without an identity")
			}
			time.Sleep(100 * time.Millisecond)
		}
		if took := time.Since(down); took < 4*time.Second || took > 5100*time.Millisecond {
			t.Errorf("served for %v, want 5 s", took)
		}
		before := s.reached()
		for _, w := range []*httptest.ResponseRecorder{
			in.open("/"), in.fetch("/"), in.open("/.sso/session"), in.open("/.sso/login"), in.open("/.sso/login?provider=corp"), in.open("/.sso/logout"), in.post("/.sso/logout"),
			in.bring(callback), in.open("/.sso/oidc/callback"), in.send(in.request(http.MethodGet, "/", "Upgrade", "websocket", "Connection", "Upgrade")),
		} {
			unavailable(w)
		}
		if s.reached() != before {
			t.Error("the app was reached")
		}
		wantStatus(t, in.open("/public"), http.StatusOK)
		wantStatus(t, in.open("/.sso/jwks.json"), http.StatusOK)

		// Back up, everything goes on.
		l.store.down.Store(false)
		wantStatus(t, in.open("/"), http.StatusOK)
		wantRedirect(t, waiting.bring(callback), "https://app.example/wanted")
	})
}

// If the store is down, a signed-in person does not get the chooser of several
// providers, as one without a session would.
func TestStoreDownIsNotSignedOut(t *testing.T) {
	t.Parallel()
	synctest.Test(t, func(t *testing.T) {
		l := newLab(t)
		s := l.site(func(o *gateway.AppOptions) { o.Autologin = "off" })
		b := s.browser()
		wantRedirect(t, b.bring(b.begin("/.sso/login?provider=corp")), "https://app.example/")
		l.store.down.Store(true)
		time.Sleep(6 * time.Second)
		wantRefused(t, b.open("/.sso/login"), refusal.StoreUnavailable)
		wantRefused(t, b.open("/.sso/oidc/callback"), refusal.StoreUnavailable)
	})
}

func TestProviderDown(t *testing.T) {
	t.Parallel()
	l := newLab(t)
	s := l.site(public("/public"))
	in, out := s.browser(), s.browser()
	in.signIn()
	l.idp.failBegin(refusal.New(refusal.ProviderUnavailable, errors.New("connection refused")))
	w := out.open("/")
	wantRefused(t, w, refusal.ProviderUnavailable)
	if w.Header().Get("Retry-After") == "" || !strings.HasPrefix(w.Header().Get("Content-Type"), "text/html") {
		t.Errorf("headers %v", w.Header())
	}
	wantStatus(t, out.open("/public"), http.StatusOK)
	wantStatus(t, in.open("/"), http.StatusOK)
	l.idp.failBegin(nil)
	out.signIn()
}

// A request of a signed-in person on a public path carries no identity. Otherwise an
// app would seem to work on a path that is public by accident.
func TestPublicCarriesNoIdentity(t *testing.T) {
	t.Parallel()
	s := newLab(t).site(public("/public"))
	b := s.browser()
	b.signIn()
	wantStatus(t, b.open("/public"), http.StatusOK)
	got := s.got()
	if got.principal != nil {
		t.Errorf("principal %+v", got.principal)
	}
	for n := range got.header {
		if strings.HasPrefix(n, "Remote-") || strings.HasPrefix(n, "X-Sso-") || n == "Cookie" {
			t.Errorf("%s: %q", n, got.header[n])
		}
	}
}

// A node that knows another store makes no account in this one, and begins no
// sign-in that could not end well.
func TestStoreReplaced(t *testing.T) {
	t.Parallel()
	other := newLabOn(t, newHeapStore(), "the marker of another store")
	b := other.site().browser()
	w := b.open("/")
	wantRefused(t, w, refusal.StoreReplaced)
	wantKept(t, other, 0, 0, 0)
	if b.cookie("__Host-sso") != "" || w.Header().Get("Retry-After") == "" {
		t.Errorf("headers %v", w.Header())
	}
}

// A node with another secret than the store's says so, with and without a session.
func TestWrongSecret(t *testing.T) {
	t.Parallel()
	l := newLab(t)
	b := l.site().browser()
	b.signIn()
	other := labOf(t, l.store, gatewaytest.Secret("z"), &gatewaytest.Marker{}).site()
	wantRefused(t, b.at(other).open("/"), refusal.StoreReplaced)
	wantRefused(t, other.browser().open("/"), refusal.StoreReplaced)
}
