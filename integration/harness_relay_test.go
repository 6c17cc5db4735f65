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
	r := &relay{t: t, port: gatewaytest.FreePort()}
	tr := transport(certificates(t))
	r.proxy = &httputil.ReverseProxy{
		Transport: tr,
		Rewrite: func(p *httputil.ProxyRequest) {
			// The Host stays: Keycloak makes its issuer of it.
			p.Out.URL.Scheme, p.Out.URL.Host = "https", fmt.Sprintf("127.0.0.1:%d", target)
			p.Out.Host = p.In.Host
			p.Out.Header.Del("Accept-Encoding") // we read along
		},
		ModifyResponse: r.hear,
		ErrorLog:       log.New(io.Discard, "", 0), // connections are cut on purpose
	}
	t.Cleanup(func() {
		r.down()
		tr.CloseIdleConnections()
	})
	return r
}

// up makes the relay listen.
func (r *relay) up() {
	r.t.Helper()
	p := certificates(r.t)
	cert, err := tls.LoadX509KeyPair(p.certFile, p.keyFile)
	if err != nil {
		r.t.Fatal(err)
	}
	l, err := net.Listen("tcp", fmt.Sprintf("127.0.0.1:%d", r.port))
	if err != nil {
		r.t.Fatal(err)
	}
	s := &http.Server{
		Handler: r, ErrorLog: r.proxy.ErrorLog,
		TLSConfig: &tls.Config{Certificates: []tls.Certificate{cert}, NextProtos: []string{"http/1.1"}},
	}
	r.mu.Lock()
	r.server = s
	r.mu.Unlock()
	go func() { _ = s.ServeTLS(l, "", "") }()
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
