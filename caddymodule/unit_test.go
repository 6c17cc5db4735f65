package caddymodule_test

import (
	"bytes"
	"context"
	"encoding/json"
	"fmt"
	"io/fs"
	"net/http"
	"net/http/httptest"
	"strings"
	"testing"

	"github.com/caddyserver/caddy/v2"
	"github.com/caddyserver/caddy/v2/caddyconfig/caddyfile"

	"github.com/caddy-sso/caddy-sso/caddymodule"
)

func TestSecretIsNotShown(t *testing.T) {
	t.Parallel()
	o := caddymodule.OIDC{ClientSecret: canary}
	for _, verb := range []string{"%v", "%+v", "%#v", "%s", "%q", "%x", "%d"} {
		for _, v := range []any{o, &o, o.ClientSecret, []caddymodule.Secret{canary}} {
			if s := fmt.Sprintf(verb, v); strings.Contains(s, canary) || strings.Contains(s, "68756e74657232") {
				t.Errorf("%s shows %s", verb, s)
			}
		}
	}
	if b, err := json.Marshal(o); err != nil || !bytes.Contains(b, []byte(canary)) {
		t.Errorf("as JSON it is %s, %v", b, err)
	}
}

// TestModules holds the names that configurations know our modules by.
func TestModules(t *testing.T) {
	t.Parallel()
	for _, id := range []string{"sso", "http.handlers.sso", "sso.providers.oidc", "sso.providers.saml", "sso.stores.bolt", "sso.stores.redis"} {
		info, err := caddy.GetModule(id)
		if err != nil {
			t.Error(err)
			continue
		}
		if mod := info.New(); mod.CaddyModule().ID != caddy.ModuleID(id) {
			t.Errorf("%s makes %s", id, mod.CaddyModule().ID)
		}
	}
}

// TestCleanupTwice lets go of what was never taken, and of it once more.
func TestCleanupTwice(t *testing.T) {
	t.Parallel()
	app := new(caddymodule.App)
	for range 2 {
		if err := app.Cleanup(); err != nil {
			t.Error(err)
		}
	}
}

func TestPeer(t *testing.T) {
	t.Parallel()
	for _, tt := range []struct {
		name    string
		trusted bool
		tls     bool
		proto   []string
		secure  bool
	}{
		{"plain", false, false, nil, false},
		{"tls", false, true, nil, true},
		{"untrusted header", false, false, []string{"https"}, false},
		{"untrusted header over tls", false, true, []string{"http"}, true},
		{"trusted header", true, false, []string{"HTTPS"}, true},
		{"trusted header over tls", true, true, []string{"http"}, false},
		{"trusted, of a WebSocket", true, false, []string{"wss"}, true},
		{"trusted, of a WebSocket without TLS", true, true, []string{"ws"}, false},
		{"trusted without header", true, false, nil, false},
		{"trusted with two headers", true, false, []string{"https", "https"}, false},
		{"trusted with a list", true, false, []string{"https, http"}, false},
		{"trusted nonsense over tls", true, true, []string{"gopher"}, true},
	} {
		t.Run(tt.name, func(t *testing.T) {
			t.Parallel()
			target := "http://app.test/a%2Fb?q"
			if tt.tls {
				target = "https://app.test/a%2Fb?q"
			}
			r := httptest.NewRequest(http.MethodGet, target, nil)
			r.Header["X-Forwarded-Proto"] = tt.proto
			r.RequestURI = "/a%2Fb?q"
			peer := caddymodule.PeerOf(prepared(r, tt.trusted, "192.0.2.7"))
			if peer.Secure != tt.secure || peer.Target != "/a%2Fb?q" || peer.Addr.String() != "192.0.2.7" {
				t.Errorf("got %+v", peer)
			}
		})
	}
	if peer := caddymodule.PeerOf(prepared(httptest.NewRequest(http.MethodGet, "/", nil), false, "@")); peer.Addr.IsValid() {
		t.Errorf("a unix socket has the address %v", peer.Addr)
	}
}

func TestNearest(t *testing.T) {
	t.Parallel()
	for word, want := range map[string]string{
		"rol": "role", "Role": "role", "publc": "public", "uri": "", "grops": "groups", "xxxxxxxx": "", "basic": "client_secret_basic", "": "",
	} {
		if got := caddymodule.Nearest(word, []string{"role", "public", "groups", "client_secret_basic"}); got != want {
			t.Errorf("%q: got %q, want %q", word, got, want)
		}
	}
}

// A memory is a storage in memory.
type memory map[string][]byte

func (memory) Lock(context.Context, string) error   { return nil }
func (memory) Unlock(context.Context, string) error { return nil }

func (m memory) Store(_ context.Context, key string, value []byte) error {
	m[key] = value
	return nil
}

func (m memory) Load(_ context.Context, key string) ([]byte, error) {
	if v, ok := m[key]; ok {
		return v, nil
	}
	return nil, fs.ErrNotExist
}

func TestMadeSecret(t *testing.T) {
	t.Parallel()
	m := memory{}
	first, err := caddymodule.LoadOrMakeSecret(t.Context(), m)
	if err != nil || len(first) < 32 {
		t.Fatalf("got %d bytes, %v", len(first), err)
	}
	again, err := caddymodule.LoadOrMakeSecret(t.Context(), m)
	if err != nil || !bytes.Equal(first, again) {
		t.Errorf("it changed: %v", err)
	}
	if other, err := caddymodule.LoadOrMakeSecret(t.Context(), memory{}); err != nil || bytes.Equal(first, other) {
		t.Errorf("two machines have the same: %v", err)
	}
	m["sso/secret"] = []byte("short")
	if _, err := caddymodule.LoadOrMakeSecret(t.Context(), m); err == nil || !bytes.Equal(m["sso/secret"], []byte("short")) {
		t.Errorf("a damaged secret was taken or replaced: %v", err)
	}
}

func TestMarkerMemory(t *testing.T) {
	t.Parallel()
	m := memory{}
	marker := caddymodule.StoredMarker(m, "redis a")
	if v, err := marker.Load(t.Context()); v != "" || err != nil {
		t.Errorf("at first: %q, %v", v, err)
	}
	if err := marker.Save(t.Context(), "m1"); err != nil {
		t.Fatal(err)
	}
	if v, err := marker.Load(t.Context()); v != "m1" || err != nil {
		t.Errorf("then: %q, %v", v, err)
	}
	if v, err := caddymodule.StoredMarker(m, "redis b").Load(t.Context()); v != "" || err != nil {
		t.Errorf("another store: %q, %v", v, err)
	}
}

// FuzzDirective has the parsers meet anything: an error or a configuration
// that is valid JSON, and never a panic.
func FuzzDirective(f *testing.F) {
	for _, seed := range []string{
		"sso oidc https://id.example.com app {env.S} {\n\trole Admin admins\n\theaders user X groups off\n}",
		"sso {\n\tprovider corp oidc {\n\t\tissuer https://id.example.com\n\t\tclient_id a\n\t}\n\tstore redis redis://h {\n\t\tprefix a\n\t}\n\tsecret a b\n\tidle 1h\n}",
		"sso {\n\trole\n}", "sso oidc", "sso {", "sso { }", "sso \"\" {\n\trole \"\" \"\"\n}", "sso oidc a b {\n\theaders\n\tscopes\n\tlogout x\n}",
	} {
		f.Add(seed)
	}
	f.Fuzz(func(t *testing.T, input string) {
		tokens, err := caddyfile.Tokenize([]byte(input), "Caddyfile")
		if err != nil || len(tokens) == 0 {
			return
		}
		for _, u := range []caddyfile.Unmarshaler{new(caddymodule.Handler), new(caddymodule.App)} {
			if err := u.UnmarshalCaddyfile(caddyfile.NewDispenser(tokens)); err != nil {
				continue
			}
			if _, err := json.Marshal(u); err != nil {
				t.Errorf("a configuration that is no JSON: %v", err)
			}
		}
	})
}
