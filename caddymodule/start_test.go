package caddymodule_test

import (
	"context"
	"encoding/json"
	"fmt"
	"net"
	"net/http"
	"net/http/httptest"
	"net/url"
	"os"
	"path/filepath"
	"strings"
	"sync"
	"testing"

	"github.com/caddyserver/caddy/v2"
	"github.com/caddyserver/caddy/v2/modules/caddyhttp"

	"github.com/caddy-sso/caddy-sso/gateway/gatewaytest"
)

// TestStartFaults validates each configuration, and runs it as a server would.
func TestStartFaults(t *testing.T) {
	dir := t.TempDir()
	t.Setenv("XDG_DATA_HOME", dir)
	t.Setenv("SSO_TEST_HOST", "app.localhost")
	t.Setenv("SSO_TEST_PATHS", "/*")
	golden(t, "start", 12, func(t *testing.T, caddyfile string) string {
		t.Helper()
		msg := loadAlone(t, dir, caddyfile)
		if msg == starts {
			t.Fatal("the fault was not found")
		}
		return msg
	})
}

// loadBoth validates a configuration, and runs it. It returns what is said against it,
// which must be the same.
func loadBoth(t *testing.T, config []byte) string {
	t.Helper()
	said := [2]string{starts, starts}
	for i, err := range []error{validate(t, config), caddy.Load(config, true)} {
		if err == nil {
			continue
		}
		_, msg, found := strings.Cut(err.Error(), "provision http.handlers.sso: ")
		if !found {
			t.Fatalf("another error: %v", err)
		}
		said[i] = msg
	}
	_ = caddy.Stop()
	if said[0] != said[1] {
		t.Errorf("validate says:\n%s\nrun says:\n%s", said[0], said[1])
	}
	return said[1]
}

// TestHosts shows which address of its own each kind of site knows.
func TestHosts(t *testing.T) {
	const block = "PROVIDER\n\t\trole User *\n\t\t%s\n\t}\n\trespond ok"
	top := fmt.Sprintf(block, "")
	for _, tt := range []struct {
		name, site, host string
		proto            string // X-Forwarded-Proto
		global           string // global option
		want             string // origin of the callback, or the status
	}{
		{name: "exact host", site: "http://a.localhost:PORT {\n" + top + "\n}", host: "a.localhost:PORT", want: "http://a.localhost:PORT"},
		{name: "two hosts", site: "http://a.localhost:PORT, http://b.localhost:PORT {\n" + top + "\n}", host: "b.localhost:PORT", want: "http://b.localhost:PORT"},
		{name: "wildcard", site: "http://*.localhost:PORT {\n" + top + "\n}", host: "z.localhost:PORT", want: "http://z.localhost:PORT"},
		{name: "host from the environment", site: "http://{env.SSO_TEST_HOST}:PORT {\n" + top + "\n}", host: "env.localhost:PORT", global: "auto_https off", want: "http://env.localhost:PORT"},
		{
			name: "no host and base_url", site: ":PORT {\n" + fmt.Sprintf(block, "base_url http://x.localhost:PORT") + "\n}",
			host: "x.localhost:PORT", want: "http://x.localhost:PORT",
		},
		{
			name: "another host than base_url", site: ":PORT {\n" + fmt.Sprintf(block, "base_url http://x.localhost:PORT") + "\n}",
			host: "evil.localhost:PORT", want: "421",
		},
		{
			name: "nested in a host's handle", host: "in.localhost:PORT", want: "http://in.localhost:PORT",
			site: "http://*.localhost:PORT {\n\t@in host in.localhost\n\thandle @in {\n" + fmt.Sprintf(block, "nested") + "\n}\n}",
		},
		{
			name: "nested twice, one with an app", host: "z.localhost:PORT", want: "http://z.localhost:PORT",
			site: "http://*.localhost:PORT {\n\thandle /admin/* {\n" + fmt.Sprintf(block, "nested") + "\n}\n\thandle {\n" + fmt.Sprintf(block, "nested\n\t\tapp x") + "\n}\n}",
		},
		{
			name: "nested in parts of a wildcard", host: "z.in.localhost:PORT", want: "http://z.in.localhost:PORT",
			site: "http://*.localhost:PORT, http://*.in.localhost:PORT {\n\t@in host *.in.localhost\n\thandle @in {\n" + fmt.Sprintf(block, "nested") + "\n}\n\thandle {\n" + fmt.Sprintf(block, "nested\n\t\tlifetime 1h") + "\n}\n}",
		},
		{name: "plain http beyond loopback", site: "http://app.example.com:PORT {\n" + top + "\n}", host: "app.example.com", want: "403"},
		{
			name: "a proxy that is not trusted", site: "http://app.example.com:PORT {\n" + top + "\n}", host: "app.example.com",
			proto: "https", want: "403",
		},
		{
			name: "a trusted proxy", site: "http://app.example.com:PORT {\n" + top + "\n}", host: "app.example.com",
			proto: "https", global: "servers {\n\ttrusted_proxies static 127.0.0.1/32 ::1\n}", want: "https://app.example.com",
		},
		{
			name: "a trusted proxy that saw http", site: "http://app.example.com:PORT {\n" + top + "\n}", host: "app.example.com",
			proto: "http", global: "servers {\n\ttrusted_proxies static 127.0.0.1/32 ::1\n}", want: "403",
		},
		{name: "insecure_http", site: "http://app.example.com:PORT {\n" + fmt.Sprintf(block, "insecure_http") + "\n}", host: "app.example.com:PORT", want: "http://app.example.com:PORT"},
	} {
		t.Run(tt.name, func(t *testing.T) {
			w := newWorld(t)
			t.Setenv("SSO_TEST_HOST", "env.localhost")
			global := strings.Replace(w.global(""), "\tadmin off\n", "\tadmin off\n"+tt.global+"\n", 1)
			w.mustLoad(global + tt.site)
			port := fmt.Sprint(w.port)
			r := mustRequest(t, w.origin()+"/page")
			r.Host = strings.ReplaceAll(tt.host, "PORT", port)
			r.Header.Set("Accept", "text/html")
			r.Header.Set("Sec-Fetch-Mode", "navigate")
			if tt.proto != "" {
				r.Header.Set("X-Forwarded-Proto", tt.proto)
			}
			resp, err := gatewaytest.Transport(t).RoundTrip(r)
			if err != nil {
				t.Fatal(err)
			}
			_ = resp.Body.Close()
			got := fmt.Sprint(resp.StatusCode)
			if loc, err := resp.Location(); err == nil {
				callback, err := url.Parse(loc.Query().Get("redirect_uri"))
				if err != nil {
					t.Fatal(err)
				}
				got = callback.Scheme + "://" + callback.Host
			}
			if want := strings.ReplaceAll(tt.want, "PORT", port); got != want {
				t.Errorf("got %s, want %s", got, want)
			}
		})
	}
}

// TestSchemesShareApp has one site on http and https: two servers, one app.
func TestSchemesShareApp(t *testing.T) {
	w := newWorld(t)
	secure := gatewaytest.FreePort()
	global := strings.Replace(w.global(""), "\tadmin off\n", fmt.Sprintf("\tadmin off\n\tskip_install_trust\n\thttp_port PORT\n\thttps_port %d\n", secure), 1)
	w.mustLoad(strings.ReplaceAll(global, "PORT", fmt.Sprint(w.port)) + strings.Replace(`
https://certificate.localhost {
	CERTIFICATE
}
http://app.localhost, https://app.localhost {
	PROVIDER
		role Admin admins
	}
	respond {http.auth.user.id}
}
`, "CERTIFICATE", w.certificate("certificate.localhost", "app.localhost"), 1))
	b := newBrowser(t)
	b.Transport.(*http.Transport).DialContext = func(ctx context.Context, network, addr string) (net.Conn, error) {
		_, port, err := net.SplitHostPort(addr)
		if err != nil {
			return nil, err
		}
		return new(net.Dialer).DialContext(ctx, network, "127.0.0.1:"+port)
	}
	for _, origin := range []string{fmt.Sprintf("https://app.localhost:%d", secure), fmt.Sprintf("http://app.localhost:%d", w.port)} {
		if status, body := b.get(origin + "/x"); status != http.StatusOK || body != "alice" {
			t.Errorf("%s: %d %s", origin, status, body)
		}
	}
}

// TestStoreCannotBeOpened has something else in the place of the file.
func TestStoreCannotBeOpened(t *testing.T) {
	w := newWorld(t)
	if err := os.Mkdir(w.path("sessions.db"), 0o700); err != nil {
		t.Fatal(err)
	}
	if err := w.load(w.global("") + site); err == nil || !strings.Contains(err.Error(), "is a directory: write the name of a file") {
		t.Errorf("got %v", err)
	}
	// What was taken has been given back: with another file it starts.
	if err := os.Remove(w.path("sessions.db")); err != nil {
		t.Fatal(err)
	}
	w.mustLoad(w.global("") + site)
}

// TestProviderIsDown starts with a provider that nobody answers for.
func TestProviderIsDown(t *testing.T) {
	w := newWorld(t)
	w.mustLoad(w.global("") + fmt.Sprintf("ORIGIN {\n\tsso oidc https://127.0.0.1:%d app s {\n\t\trole User *\n\t\tpublic /open\n\t}\n\trespond ok\n}\n", gatewaytest.FreePort()))
	b := newBrowser(t)
	if status, _ := b.get(w.origin() + "/open"); status != http.StatusOK {
		t.Errorf("the public path: %d", status)
	}
	if status, _ := b.get(w.origin() + "/"); status != http.StatusServiceUnavailable {
		t.Errorf("signing in: %d", status)
	}
}

// TestRedisIsDown starts without its store.
func TestRedisIsDown(t *testing.T) {
	w := newWorld(t)
	t.Setenv("SSO_TEST_REDIS", fmt.Sprintf("redis://:hunter2canary@127.0.0.1:%d", gatewaytest.FreePort()))
	t.Setenv("SSO_TEST_SECRET", strings.Repeat("secretcanary", 4))
	global := strings.Replace(w.global("secret {env.SSO_TEST_SECRET}"), "store bolt "+w.path("sessions.db"), "store redis {env.SSO_TEST_REDIS}", 1)
	w.mustLoad(global + site)
	b := newBrowser(t)
	if status, _ := b.get(w.origin() + "/open"); status != http.StatusOK {
		t.Errorf("the public path: %d", status)
	}
	if status, _ := b.get(w.origin() + "/"); status != http.StatusServiceUnavailable {
		t.Errorf("signing in: %d", status)
	}
	if logs := w.logs(); strings.Contains(logs, "canary") {
		t.Errorf("the logs contain a secret: %s", lineWith(logs, "canary"))
	}
	if files, _ := filepath.Glob(w.path("storage/sso/secret")); len(files) > 0 {
		t.Error("a secret was made although one is given")
	}
}

// TestBeforeStart asks a site whose app has not started: http may be faster.
func TestBeforeStart(t *testing.T) {
	t.Setenv("XDG_DATA_HOME", t.TempDir())
	var cfg caddy.Config
	config := mustAdapt(t, "http://app.localhost:8080 {\n\tsso oidc https://id.example.com app s {\n\t\trole User *\n\t\tpublic /open\n\t}\n\trespond reached\n}\n")
	if err := json.Unmarshal(config, &cfg); err != nil {
		t.Fatal(err)
	}
	ctx, err := caddy.ProvisionContext(&cfg)
	if err != nil {
		t.Fatal(err)
	}
	app, err := ctx.App("http")
	if err != nil {
		t.Fatal(err)
	}
	var waiting sync.WaitGroup // each request waits for seconds
	for _, server := range app.(*caddyhttp.App).Servers {
		for _, path := range []string{"/", "/open", "/.sso/session"} {
			waiting.Go(func() {
				w := httptest.NewRecorder()
				r := httptest.NewRequest(http.MethodGet, "http://app.localhost:8080"+path, nil)
				server.ServeHTTP(w, r)
				if w.Code != http.StatusServiceUnavailable || w.Header().Get("Retry-After") == "" || strings.Contains(w.Body.String(), "reached") {
					t.Errorf("%s: %d %v %s", path, w.Code, w.Header(), w.Body)
				}
			})
		}
	}
	waiting.Wait()
}
