//go:build integration

package integration

import (
	"crypto"
	"crypto/ecdsa"
	"crypto/elliptic"
	"crypto/rand"
	"crypto/rsa"
	"crypto/x509"
	"encoding/json"
	"encoding/pem"
	"errors"
	"net/http"
	"net/url"
	"strings"
	"sync"
	"testing"
	"time"

	"github.com/go-jose/go-jose/v4"
)

// An openIDApp is an app that signs its people in by a library.
type openIDApp struct {
	t   *testing.T
	lib openIDLibrary
}

// configure reads the provider's metadata.
func (a openIDApp) configure(s openIDSetup) (metadata map[string]any) {
	a.t.Helper()
	if err := a.lib.call("configure", s, &metadata); err != nil {
		a.t.Fatal(err)
	}
	return metadata
}

// begin returns an authorization request, with parameters beside the library's own.
func (a openIDApp) begin(params map[string]string) (location, state string) {
	a.t.Helper()
	if params == nil {
		params = map[string]string{}
	}
	var begun struct{ URL, State string }
	if err := a.lib.call("begin", map[string]any{"params": params}, &begun); err != nil {
		a.t.Fatal(err)
	}
	return begun.URL, begun.State
}

func (a openIDApp) finish(answer openIDAnswer) (*openIDTokens, error) {
	var tokens openIDTokens
	return &tokens, a.lib.call("finish", answer, &tokens)
}

func (a openIDApp) userinfo(token string, sub any) (claims map[string]any, err error) {
	err = a.lib.call("userinfo", map[string]any{"token": token, "sub": sub}, &claims)
	return claims, err
}

func (a openIDApp) refresh(token string) (*openIDTokens, error) {
	var tokens openIDTokens
	return &tokens, a.lib.call("refresh", map[string]any{"token": token}, &tokens)
}

// active asks the provider about a token. known is false if the library can't ask.
func (a openIDApp) active(token string) (response map[string]any, known bool) {
	a.t.Helper()
	err := a.lib.call("introspect", map[string]any{"token": token}, &response)
	if errors.Is(err, errNoSuchCall) {
		return nil, false
	}
	if err != nil {
		a.t.Fatal(err)
	}
	return response, true
}

// refused reports whether err is the provider's code, or another one that the library makes
// of it.
func refused(err error, codes ...string) bool {
	var told *openIDError
	if !errors.As(err, &told) {
		return false
	}
	for _, code := range codes {
		if told.Code == code || strings.Contains(told.Message, code) {
			return true
		}
	}
	return false
}

// An openIDBrowser is the browser of a person who signs in to apps. It stops before each
// app.
type openIDBrowser struct {
	*client
	user string
	asks int // how often the provider asked who is there
}

// answer takes a request to the provider and returns the answer for the app.
func (b *openIDBrowser) answer(location, state string) openIDAnswer {
	b.t.Helper()
	p := b.toApp(location)
	if f := p.formWith("iss"); f != nil {
		return openIDAnswer{State: state, URL: f.target(), Form: f.fields.Encode()}
	}
	to := p.header.Get("Location")
	if !strings.HasPrefix(to, openIDCallback+"?") {
		b.t.Fatalf("expected an answer for the app, got %s\nby %s", p, strings.Join(b.hops, " → "))
	}
	return openIDAnswer{State: state, URL: to}
}

// toApp opens a URL as open does, and stops before the app.
func (b *openIDBrowser) toApp(location string) *page {
	b.t.Helper()
	return b.stopBefore(openIDOrigin, func() *page { return b.open(location) })
}

// open opens a URL, and signs in if the demo's provider asks.
func (b *openIDBrowser) open(location string) *page {
	b.t.Helper()
	p := b.navigate(location)
	if !strings.Contains(p.body, "Who are you?") {
		return p
	}
	b.asks++
	return b.submit(p, p.forms()[0].action, url.Values{"username": {b.user}})
}

// An openIDKey is a key pair of a client that signs its requests for tokens.
type openIDKey struct{ pem, jwks, alg string }

func newOpenIDKey(t *testing.T, alg string) openIDKey {
	t.Helper()
	var key crypto.Signer
	var err error
	if alg == "ES256" {
		key, err = ecdsa.GenerateKey(elliptic.P256(), rand.Reader)
	} else {
		key, err = rsa.GenerateKey(rand.Reader, 2048)
	}
	if err != nil {
		t.Fatal(err)
	}
	der, derErr := x509.MarshalPKCS8PrivateKey(key)
	set, setErr := json.Marshal(jose.JSONWebKeySet{Keys: []jose.JSONWebKey{{Key: key.Public(), KeyID: openIDKID, Algorithm: alg, Use: "sig"}}})
	if err := errors.Join(derErr, setErr); err != nil {
		t.Fatal(err)
	}
	return openIDKey{string(pem.EncodeToMemory(&pem.Block{Type: "PRIVATE KEY", Bytes: der})), string(set), alg}
}

// logoutPatience is how long a logout token may take: a second attempt comes after half a
// minute.
const logoutPatience = 2 * time.Minute

// A logoutReceiver gets the logout tokens of apps at /<client>.
type logoutReceiver struct {
	mu     sync.Mutex
	tokens map[string][]string // by client
}

func (l *logoutReceiver) ServeHTTP(_ http.ResponseWriter, r *http.Request) {
	l.mu.Lock()
	defer l.mu.Unlock()
	client := strings.TrimPrefix(r.URL.Path, "/")
	l.tokens[client] = append(l.tokens[client], r.PostFormValue("logout_token"))
}

func (l *logoutReceiver) of(client string) []string {
	l.mu.Lock()
	defer l.mu.Unlock()
	return l.tokens[client]
}
