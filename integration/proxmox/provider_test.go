//go:build integration

package proxmox

import (
	"crypto"
	"crypto/hmac"
	"crypto/rand"
	"crypto/rsa"
	"crypto/sha256"
	"crypto/x509"
	"encoding/base64"
	"encoding/json"
	"maps"
	"math/big"
	"net/http"
	"net/http/httptest"
	"net/url"
	"strings"
	"sync"
	"testing"
	"time"
)

// A provider is an OpenID provider for one test. Before it answers, it lets change see the
// answer: "discovery", "token", "id" (the ID token's claims), "header" (the ID token's) or
// "userinfo".
type provider struct {
	*httptest.Server
	key    *rsa.PrivateKey
	change func(what string, answer map[string]any)

	mu    sync.Mutex
	codes map[string]url.Values // the authorization request of each code
	user  map[string]any
}

func newProvider(t *testing.T) *provider {
	t.Helper()
	p := &provider{
		key: vectorKey(), codes: map[string]url.Values{}, change: func(string, map[string]any) {},
		user: map[string]any{"sub": "4711", "preferred_username": "alice", "email": "alice@example.com", "groups": []string{"pve-admins"}},
	}
	mux := http.NewServeMux()
	mux.HandleFunc("GET /.well-known/openid-configuration", func(w http.ResponseWriter, _ *http.Request) {
		p.answer(w, "discovery", map[string]any{
			"issuer": p.URL, "authorization_endpoint": p.URL + "/authorize", "token_endpoint": p.URL + "/token",
			"userinfo_endpoint": p.URL + "/userinfo", "jwks_uri": p.URL + "/keys", "response_types_supported": []string{"code"},
			"subject_types_supported": []string{"public"}, "id_token_signing_alg_values_supported": []string{"RS256"},
		})
	})
	mux.HandleFunc("GET /keys", func(w http.ResponseWriter, _ *http.Request) {
		p.answer(w, "keys", map[string]any{"keys": []any{map[string]any{
			"kty": "RSA", "kid": "1", "use": "sig", "n": base64.RawURLEncoding.EncodeToString(p.key.N.Bytes()),
			"e": base64.RawURLEncoding.EncodeToString(big.NewInt(int64(p.key.E)).Bytes()),
		}}})
	})
	mux.HandleFunc("POST /token", p.token)
	mux.HandleFunc("GET /userinfo", func(w http.ResponseWriter, r *http.Request) {
		if r.Header.Get("Authorization") != "Bearer access" {
			http.Error(w, "no such token", http.StatusUnauthorized)
			return
		}
		p.answer(w, "userinfo", maps.Clone(p.user))
	})
	mux.HandleFunc("GET /elsewhere/", func(w http.ResponseWriter, r *http.Request) {
		http.Redirect(w, r, strings.TrimPrefix(r.URL.Path, "/elsewhere"), http.StatusFound)
	})
	p.Server = httptest.NewTLSServer(mux)
	t.Cleanup(p.Close)
	return p
}

func (p *provider) roots() *x509.CertPool {
	pool := x509.NewCertPool()
	pool.AddCert(p.Certificate())
	return pool
}

func (p *provider) answer(w http.ResponseWriter, what string, answer map[string]any) {
	p.change(what, answer)
	w.Header().Set("Content-Type", "application/json")
	_ = json.NewEncoder(w).Encode(answer)
}

// code is what the person's browser would bring back.
func (p *provider) code(authorize string) (code, state string) {
	u, _ := url.Parse(authorize)
	p.mu.Lock()
	defer p.mu.Unlock()
	code = rand.Text()
	p.codes[code] = u.Query()
	return code, u.Query().Get("state")
}

// token answers strictly: with client_secret_basic, S256 and the redirect URI of the request.
func (p *provider) token(w http.ResponseWriter, r *http.Request) {
	p.mu.Lock()
	asked := p.codes[r.PostFormValue("code")]
	delete(p.codes, r.PostFormValue("code"))
	p.mu.Unlock()
	id, secret, _ := r.BasicAuth()
	id, _ = url.QueryUnescape(id)
	secret, _ = url.QueryUnescape(secret)
	if asked == nil || id != "proxmox" || secret != "s3cr3t +/:%" || challenge(r.PostFormValue("code_verifier")) != asked.Get("code_challenge") ||
		asked.Get("code_challenge_method") != "S256" || r.PostFormValue("redirect_uri") != asked.Get("redirect_uri") || r.PostForm.Has("client_secret") {
		http.Error(w, `{"error":"invalid_grant"}`, http.StatusBadRequest)
		return
	}
	claims := map[string]any{
		"iss": p.URL, "sub": p.user["sub"], "aud": "proxmox", "nonce": asked.Get("nonce"),
		"iat": time.Now().Unix(), "exp": time.Now().Add(time.Minute).Unix(),
	}
	header := map[string]any{"alg": "RS256", "kid": "1"}
	p.change("id", claims)
	p.change("header", header)
	p.answer(w, "token", map[string]any{"access_token": "access", "token_type": "Bearer", "expires_in": 60, "id_token": p.signed(header, claims)})
}

func (p *provider) signed(header, claims map[string]any) string {
	head, _ := json.Marshal(header)
	body, _ := json.Marshal(claims)
	text := base64.RawURLEncoding.EncodeToString(head) + "." + base64.RawURLEncoding.EncodeToString(body)
	var signature []byte
	switch header["alg"] {
	case "none":
	case "HS256":
		mac := hmac.New(sha256.New, []byte("s3cr3t +/:%"))
		mac.Write([]byte(text))
		signature = mac.Sum(nil)
	case "PS256":
		sum := sha256.Sum256([]byte(text))
		signature, _ = rsa.SignPSS(rand.Reader, p.key, crypto.SHA256, sum[:], nil)
	default:
		sum := sha256.Sum256([]byte(text))
		signature, _ = rsa.SignPKCS1v15(rand.Reader, p.key, crypto.SHA256, sum[:])
	}
	return text + "." + base64.RawURLEncoding.EncodeToString(signature)
}
