package caddymodule_test

import (
	"crypto/ecdsa"
	"crypto/elliptic"
	"crypto/rand"
	"crypto/tls"
	"crypto/x509"
	"encoding/pem"
	"errors"
	"fmt"
	"io"
	"math/big"
	"net/http"
	"net/http/cookiejar"
	"net/url"
	"os"
	"path/filepath"
	"slices"
	"strings"
	"testing"
	"time"

	"github.com/caddyserver/caddy/v2"
	"github.com/caddyserver/caddy/v2/modules/caddyhttp"

	"github.com/caddy-sso/caddy-sso/gateway/gatewaytest"
)

// A world is Caddy in this process with a fake provider. There can be one at a
// time.
type world struct {
	t    *testing.T
	dir  string
	port int
	op   *gatewaytest.OP
	// loaded is the Caddyfile that a table of tests has loaded.
	loaded string
}

func newWorld(t *testing.T) *world {
	t.Helper()
	w := &world{t: t, dir: t.TempDir(), port: gatewaytest.FreePort(), op: gatewaytest.NewOP(t, gatewaytest.OPOptions{})}
	if err := os.WriteFile(w.path("ca.pem"), w.op.Roots, 0o600); err != nil {
		t.Fatal(err)
	}
	t.Setenv("SSO_TEST_CLIENT_SECRET", w.op.ClientSecret)
	t.Cleanup(func() {
		if err := caddy.Stop(); err != nil {
			t.Error(err)
		}
	})
	return w
}

// certificate returns the `tls` line of a site with a certificate for some names. One that
// Caddy makes itself is made beside what a test does, and beyond its end.
func (w *world) certificate(names ...string) string {
	w.t.Helper()
	key, err := ecdsa.GenerateKey(elliptic.P256(), rand.Reader)
	if err != nil {
		w.t.Fatal(err)
	}
	template := &x509.Certificate{SerialNumber: big.NewInt(1), DNSNames: names, NotBefore: time.Now().Add(-time.Hour), NotAfter: time.Now().Add(time.Hour)}
	certificate, err := x509.CreateCertificate(rand.Reader, template, template, key.Public(), key)
	if err != nil {
		w.t.Fatal(err)
	}
	private, err := x509.MarshalPKCS8PrivateKey(key)
	if err != nil {
		w.t.Fatal(err)
	}
	both := slices.Concat(
		pem.EncodeToMemory(&pem.Block{Type: "CERTIFICATE", Bytes: certificate}),
		pem.EncodeToMemory(&pem.Block{Type: "PRIVATE KEY", Bytes: private}),
	)
	file := w.path("site.pem")
	if err := os.WriteFile(file, both, 0o600); err != nil {
		w.t.Fatal(err)
	}
	return "tls " + file + " " + file
}

func (w *world) path(name string) string { return filepath.Join(w.dir, name) }

func (w *world) origin() string { return fmt.Sprintf("http://localhost:%d", w.port) }

// provider is the inline provider with its options.
func (w *world) provider() string {
	return fmt.Sprintf("sso oidc %s %s {env.SSO_TEST_CLIENT_SECRET} {\n\t\tca %s", w.op.Issuer, w.op.ClientID, w.path("ca.pem"))
}

// global is the block of global options; more goes into the block of sso.
func (w *world) global(more string) string {
	return fmt.Sprintf(`{
	admin off
	persist_config off
	storage file_system %s
	log {
		level DEBUG
		output file %s
	}
	sso {
		store bolt %s
		%s
	}
}
`, w.path("storage"), w.path("caddy.log"), w.path("sessions.db"), more)
}

// load runs a Caddyfile. PROVIDER and ORIGIN in it are replaced.
func (w *world) load(caddyfile string) error {
	w.t.Helper()
	replacer := strings.NewReplacer("PROVIDER", w.provider(), "ORIGIN", w.origin(), "PORT", fmt.Sprint(w.port))
	err := caddy.Load(mustAdapt(w.t, replacer.Replace(caddyfile)), true)
	waitForSockets(w.t, w.port, 1)
	return err
}

func (w *world) mustLoad(caddyfile string) {
	w.t.Helper()
	if err := w.load(caddyfile); err != nil {
		w.t.Fatalf("loading: %v", err)
	}
}

// logs returns what has been logged.
func (w *world) logs() string {
	w.t.Helper()
	b, err := os.ReadFile(w.path("caddy.log"))
	if err != nil {
		w.t.Fatal(err)
	}
	return string(b)
}

// A browser keeps cookies and asks for pages.
type browser struct {
	t *testing.T
	*http.Client
	// seen are the addresses it was sent to.
	seen []string
}

func newBrowser(t *testing.T) *browser {
	t.Helper()
	jar, err := cookiejar.New(nil)
	if err != nil {
		t.Fatal(err)
	}
	b := &browser{t: t}
	transport := &http.Transport{
		TLSClientConfig:   &tls.Config{InsecureSkipVerify: true},
		DisableKeepAlives: true,
	}
	b.Client = &http.Client{Jar: jar, Transport: transport, Timeout: 20 * time.Second, CheckRedirect: func(r *http.Request, via []*http.Request) error {
		b.seen = append(b.seen, r.URL.String())
		r.Header.Del("Referer") // a browser sends the one of the first request
		if len(via) > 10 {
			return errors.New("too many redirects")
		}
		return nil
	}}
	return b
}

// get asks for a page and returns its status and text.
func (b *browser) get(address string) (int, string) {
	b.t.Helper()
	r, err := http.NewRequest(http.MethodGet, address, nil)
	if err != nil {
		b.t.Fatal(err)
	}
	r.Header.Set("Accept", "text/html")
	r.Header.Set("Sec-Fetch-Mode", "navigate")
	r.Header.Set("Remote-User", "mallory")
	return b.do(r)
}

func (b *browser) do(r *http.Request) (int, string) {
	b.t.Helper()
	resp, err := b.Do(r)
	if err != nil && r.Method == http.MethodGet {
		// On a busy machine a connection can be lost while a configuration ends.
		// TestReloadUnderLoad holds that the binary loses none.
		b.CloseIdleConnections()
		resp, err = b.Do(r)
	}
	if err != nil {
		b.t.Fatal(err)
	}
	defer func() { _ = resp.Body.Close() }()
	body, err := io.ReadAll(resp.Body)
	if err != nil {
		b.t.Fatal(err)
	}
	return resp.StatusCode, string(body)
}

// cookie returns the value of the session cookie.
func (b *browser) cookie(origin string) string {
	b.t.Helper()
	u, err := url.Parse(origin)
	if err != nil {
		b.t.Fatal(err)
	}
	for _, c := range b.Jar.Cookies(u) {
		if c.Name == "sso" {
			return c.Value
		}
	}
	return ""
}

// site is a site with everything that the tests look at.
const site = `
ORIGIN {
	log
	PROVIDER
		role Admin admins
		group team staff
		public /open
	}
	respond "id={http.auth.user.id} email={http.auth.user.email} roles={http.auth.user.roles} groups={http.auth.user.groups} provider={http.auth.user.provider} header={http.request.header.Remote-User}"
}
`

func mustRequest(t *testing.T, address string) *http.Request {
	t.Helper()
	r, err := http.NewRequest(http.MethodGet, address, nil)
	if err != nil {
		t.Fatal(err)
	}
	return r
}

// lineWith returns the first line of logs that contains what.
func lineWith(logs, what string) string {
	for line := range strings.Lines(logs) {
		if strings.Contains(line, what) {
			return line
		}
	}
	return ""
}

// prepared makes of r what Caddy's server makes of it.
func prepared(r *http.Request, trusted bool, clientIP string) *http.Request {
	r = caddyhttp.PrepareRequest(r, caddy.NewReplacer(), nil, nil)
	caddyhttp.SetVar(r.Context(), caddyhttp.TrustedProxyVarKey, trusted)
	caddyhttp.SetVar(r.Context(), caddyhttp.ClientIPVarKey, clientIP)
	return r
}
