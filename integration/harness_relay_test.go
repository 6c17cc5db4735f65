//go:build integration

package integration

import (
	"bytes"
	"crypto/rand"
	"crypto/tls"
	"encoding/hex"
	"encoding/json"
	"fmt"
	"io"
	"log"
	"net"
	"net/http"
	"net/http/httputil"
	"net/url"
	"strings"
	"sync"
	"testing"

	"github.com/caddy-sso/caddy-sso/gateway/gatewaytest"
)

// A relay passes requests on to Keycloak, and can stop doing so: towards the
// gateway and the browser the provider is then down. It hears the tokens that
// pass through it.
type relay struct {
	t     *testing.T
	port  int
	proxy *httputil.ReverseProxy

	mu      sync.Mutex
	server  *http.Server
	blocked []string
	tokens  []string
}

// newRelay makes a relay to Keycloak at a port. It is down until up is called.
func newRelay(t *testing.T, target int) *relay {
	t.Helper()
	r := &relay{t: t, port: gatewaytest.FreePort(), proxy: proxyTo(t, fmt.Sprintf("127.0.0.1:%d", target))}
	r.proxy.ModifyResponse = r.hear
	t.Cleanup(r.down)
	return r
}

// proxyTo passes requests on to a server of the tests. The Host stays: Keycloak makes its
// issuer of it.
func proxyTo(t *testing.T, address string) *httputil.ReverseProxy {
	t.Helper()
	tr := transport(certificates(t))
	t.Cleanup(tr.CloseIdleConnections)
	return &httputil.ReverseProxy{
		Transport: tr,
		Rewrite: func(p *httputil.ProxyRequest) {
			p.Out.URL.Scheme, p.Out.URL.Host = "https", address
			p.Out.Host = p.In.Host
			p.Out.Header.Del("Accept-Encoding") // a relay reads along
		},
		ErrorLog: log.New(io.Discard, "", 0), // connections are cut on purpose
	}
}

// serveTLS serves with the tests' certificate, until the server is closed.
func serveTLS(t *testing.T, port int, handler http.Handler) *http.Server {
	t.Helper()
	l, err := net.Listen("tcp", fmt.Sprintf("127.0.0.1:%d", port))
	if err != nil {
		t.Fatal(err)
	}
	s := &http.Server{Handler: handler, ErrorLog: log.New(io.Discard, "", 0), TLSConfig: &tls.Config{NextProtos: []string{"http/1.1"}}}
	p := certificates(t)
	go func() { _ = s.ServeTLS(l, p.certFile, p.keyFile) }()
	return s
}

// up makes the relay listen.
func (r *relay) up() {
	r.t.Helper()
	s := serveTLS(r.t, r.port, r)
	r.mu.Lock()
	defer r.mu.Unlock()
	r.server = s
}

// down stops listening and cuts every connection.
func (r *relay) down() {
	r.mu.Lock()
	defer r.mu.Unlock()
	if r.server != nil {
		_ = r.server.Close()
		r.server = nil
	}
}

// block cuts requests whose path ends in one of the suffixes, and only those.
func (r *relay) block(suffixes ...string) {
	r.mu.Lock()
	defer r.mu.Unlock()
	r.blocked = suffixes
}

func (r *relay) ServeHTTP(w http.ResponseWriter, req *http.Request) {
	r.mu.Lock()
	blocked := r.blocked
	r.mu.Unlock()
	for _, suffix := range blocked {
		if strings.HasSuffix(req.URL.Path, suffix) {
			panic(http.ErrAbortHandler)
		}
	}
	r.proxy.ServeHTTP(w, req)
}

// hear keeps the tokens of a token endpoint's answer.
func (r *relay) hear(resp *http.Response) error {
	if !strings.HasSuffix(resp.Request.URL.Path, "/protocol/openid-connect/token") {
		return nil
	}
	body, err := io.ReadAll(resp.Body)
	_ = resp.Body.Close()
	resp.Body = io.NopCloser(bytes.NewReader(body))
	if err != nil {
		return err
	}
	var answer map[string]any
	if json.Unmarshal(body, &answer) != nil {
		return nil
	}
	r.mu.Lock()
	defer r.mu.Unlock()
	for _, name := range []string{"access_token", "id_token", "refresh_token"} {
		if token, ok := answer[name].(string); ok {
			r.tokens = append(r.tokens, token)
		}
	}
	return nil
}

// heard returns the tokens so far.
func (r *relay) heard() []string {
	r.mu.Lock()
	defer r.mu.Unlock()
	return append([]string(nil), r.tokens...)
}

func randomHex(n int) string {
	b := make([]byte, n)
	_, _ = rand.Read(b)
	return hex.EncodeToString(b)
}

// query returns the parameters of a URL.
func query(t *testing.T, target string) url.Values {
	t.Helper()
	u, err := url.Parse(target)
	if err != nil {
		t.Fatal(err)
	}
	return u.Query()
}
