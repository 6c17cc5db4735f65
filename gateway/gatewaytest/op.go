package gatewaytest

import (
	"crypto/rand"
	"crypto/sha256"
	"encoding/json"
	"fmt"
	"maps"
	"net/http"
	"net/http/httptest"
	"net/url"
	"slices"
	"strings"
	"testing"
	"time"
)

// An OP is an OpenID Provider for tests, with one person who is always signed in
// there. It behaves unless OPHooks change that, and is strict with its client. It
// signs by its own code, so that it shares no mistake with the code under test.
type OP struct {
	// Issuer is the issuer identifier and the base of all endpoints.
	Issuer string
	// ClientID and ClientSecret are those of the one client. They contain characters
	// that must be encoded.
	ClientID, ClientSecret string
	// Roots verifies the server, in PEM. Nil without a server.
	Roots []byte
	// Key signs. Its public half is published.
	Key OPKey

	fake[OPHooks]
	mux    *http.ServeMux
	grants map[string]opGrant // by code or access token
	method string
}

// OPHooks change the behaviour of an OP. A nil hook changes nothing. A hook owns its
// map; the values must be ready for encoding/json.
type OPHooks struct {
	// Discovery and JWKS change the documents.
	Discovery, JWKS func(doc map[string]any)
	// Code replaces the authorization code.
	Code func(code string) string
	// Answer changes the parameters that the browser carries back.
	Answer func(params url.Values)
	// Header and Claims change the ID token before it is signed.
	Header, Claims func(m map[string]any)
	// Payload changes the encoded claims before they are signed.
	Payload func(claims []byte) []byte
	// IDToken changes the signed ID token.
	IDToken func(jws string) string
	// Key replaces the signing key, but not the published one.
	Key *OPKey
	// Token changes the token endpoint's response.
	Token func(response map[string]any)
	// UserInfo changes the userinfo endpoint's response.
	UserInfo func(claims map[string]any)
	// Serve replaces endpoints by path ("/token").
	Serve map[string]http.HandlerFunc
}

// OPOptions configure an OP.
type OPOptions struct {
	// Alg is the algorithm of Key. Default: ES256.
	Alg string
	// InProcess starts no server: the OP can be reached through Transport alone, as
	// https://op.test. For testing/synctest, whose clock stops while code waits for a
	// socket.
	InProcess bool
	// Public makes the client a public one, without a secret.
	Public bool
}

type opGrant struct {
	nonce, challenge, redirect string
	authTime                   time.Time
}

// The OP's endpoints.
const (
	OPDiscoveryPath  = "/.well-known/openid-configuration"
	OPJWKSPath       = "/jwks"
	OPAuthorizePath  = "/authorize"
	OPTokenPath      = "/token"
	OPUserInfoPath   = "/userinfo"
	OPEndSessionPath = "/logout"
)

// NewOP starts an OP. It ends with the test.
func NewOP(tb testing.TB, opts OPOptions) *OP {
	tb.Helper()
	if opts.Alg == "" {
		opts.Alg = "ES256"
	}
	op := &OP{
		Issuer: "https://op.test", ClientID: "gateway:1", ClientSecret: "s3cr3t/+ %&",
		Key: NewOPKey(opts.Alg, "one"), mux: http.NewServeMux(), grants: map[string]opGrant{},
	}
	if opts.Public {
		op.ClientSecret = ""
	}
	op.mux.HandleFunc(OPDiscoveryPath, op.serveDiscovery)
	op.mux.HandleFunc(OPJWKSPath, op.serveJWKS)
	op.mux.HandleFunc(OPAuthorizePath, op.serveAuthorize)
	op.mux.HandleFunc(OPTokenPath, op.serveToken)
	op.mux.HandleFunc(OPUserInfoPath, op.serveUserInfo)
	if !opts.InProcess {
		op.Issuer, op.Roots = startTLS(tb, op)
	}
	return op
}

// LastAuthMethod returns how the client last authenticated at the token endpoint:
// basic, post or none.
func (op *OP) LastAuthMethod() string {
	op.mu.Lock()
	defer op.mu.Unlock()
	return op.method
}

// ServeHTTP implements http.Handler.
func (op *OP) ServeHTTP(w http.ResponseWriter, r *http.Request) {
	if serve := op.count(r.URL.Path).Serve[r.URL.Path]; serve != nil {
		serve(w, r)
		return
	}
	op.mux.ServeHTTP(w, r)
}

func (op *OP) serveDiscovery(w http.ResponseWriter, _ *http.Request) {
	doc := map[string]any{
		"issuer":                                         op.Issuer,
		"authorization_endpoint":                         op.Issuer + OPAuthorizePath,
		"token_endpoint":                                 op.Issuer + OPTokenPath,
		"jwks_uri":                                       op.Issuer + OPJWKSPath,
		"userinfo_endpoint":                              op.Issuer + OPUserInfoPath,
		"end_session_endpoint":                           op.Issuer + OPEndSessionPath,
		"response_types_supported":                       []string{"code"},
		"subject_types_supported":                        []string{"public"},
		"id_token_signing_alg_values_supported":          []string{op.Key.Alg, "HS256", "none"},
		"userinfo_signing_alg_values_supported":          []string{op.Key.Alg},
		"token_endpoint_auth_methods_supported":          []string{"client_secret_post", "client_secret_basic", "none"},
		"authorization_response_iss_parameter_supported": true,
	}
	change(op.current().Discovery, doc)
	writeJSON(w, http.StatusOK, doc)
}

func (op *OP) serveJWKS(w http.ResponseWriter, _ *http.Request) {
	set := map[string]any{"keys": []any{op.Key.JWK()}}
	change(op.current().JWKS, set)
	writeJSON(w, http.StatusOK, set)
}

func (op *OP) serveAuthorize(w http.ResponseWriter, r *http.Request) {
	answer, err := op.authorize(r.URL.Query())
	if err != nil {
		http.Error(w, err.Error(), http.StatusBadRequest)
		return
	}
	http.Redirect(w, r, r.URL.Query().Get("redirect_uri")+"?"+answer.Encode(), http.StatusFound)
}

// Visit does what a browser does with Begun.Location. It returns the parameters with
// which the OP redirects back.
func (op *OP) Visit(location string) (url.Values, error) {
	u, err := url.Parse(location)
	if err != nil {
		return nil, fmt.Errorf("reading the location: %w", err)
	}
	if got := u.Scheme + "://" + u.Host + u.Path; got != op.Issuer+OPAuthorizePath {
		return nil, fmt.Errorf("visiting %s: is not the authorization endpoint", got)
	}
	return op.authorize(u.Query())
}

func (op *OP) authorize(q url.Values) (url.Values, error) {
	for name, values := range q {
		if len(values) != 1 {
			return nil, fmt.Errorf("authorizing: %s stands %d times", name, len(values))
		}
	}
	switch {
	case q.Get("response_type") != "code" || q.Get("client_id") != op.ClientID:
		return nil, fmt.Errorf("authorizing: wrong response_type or client_id")
	case !slices.Contains(strings.Fields(q.Get("scope")), "openid"):
		return nil, fmt.Errorf("authorizing: no openid in scope")
	case q.Get("redirect_uri") == "" || len(q.Get("state")) < 16 || len(q.Get("nonce")) < 16:
		return nil, fmt.Errorf("authorizing: redirect_uri, state or nonce is missing or short")
	case q.Has("code_challenge") && (q.Get("code_challenge_method") != "S256" || len(q.Get("code_challenge")) != 43):
		return nil, fmt.Errorf("authorizing: malformed code_challenge")
	}
	code := rand.Text()
	if hook := op.current().Code; hook != nil {
		code = hook(code)
	}
	op.mu.Lock()
	op.grants[code] = opGrant{q.Get("nonce"), q.Get("code_challenge"), q.Get("redirect_uri"), time.Now()}
	op.mu.Unlock()
	answer := url.Values{"code": {code}, "state": {q.Get("state")}, "iss": {op.Issuer}, "session_state": {"x"}}
	if hook := op.current().Answer; hook != nil {
		hook(answer)
	}
	return answer, nil
}

func (op *OP) serveToken(w http.ResponseWriter, r *http.Request) {
	w.Header().Set("Cache-Control", "no-store")
	if !op.authenticated(r) {
		writeJSON(w, http.StatusUnauthorized, map[string]any{"error": "invalid_client"})
		return
	}
	op.mu.Lock()
	grant, ok := op.grants[r.PostFormValue("code")]
	delete(op.grants, r.PostFormValue("code"))
	op.mu.Unlock()
	sum := sha256.Sum256([]byte(r.PostFormValue("code_verifier")))
	proven := grant.challenge == b64(sum[:]) || grant.challenge == "" && !r.PostForm.Has("code_verifier")
	if !ok || !proven || grant.redirect != r.PostFormValue("redirect_uri") || r.PostFormValue("grant_type") != "authorization_code" {
		writeJSON(w, http.StatusBadRequest, map[string]any{"error": "invalid_grant"})
		return
	}
	hooks := op.current()
	access := rand.Text()
	op.mu.Lock()
	op.grants[access] = grant
	op.mu.Unlock()
	answer := map[string]any{"access_token": access, "token_type": "Bearer", "expires_in": 300, "id_token": op.idToken(grant, access, hooks)}
	change(hooks.Token, answer)
	writeJSON(w, http.StatusOK, answer)
}

func (op *OP) authenticated(r *http.Request) bool {
	if r.Method != http.MethodPost || r.ParseForm() != nil || len(r.URL.RawQuery) != 0 {
		return false
	}
	user, pass, basic := r.BasicAuth()
	op.mu.Lock()
	switch {
	case basic:
		op.method = "basic"
	case r.PostForm.Has("client_secret"):
		op.method = "post"
	default:
		op.method = "none"
	}
	op.mu.Unlock()
	if !basic {
		return r.PostFormValue("client_id") == op.ClientID && r.PostFormValue("client_secret") == op.ClientSecret
	}
	id, idErr := url.QueryUnescape(user)
	secret, secretErr := url.QueryUnescape(pass)
	return idErr == nil && secretErr == nil && id == op.ClientID && secret == op.ClientSecret && !r.PostForm.Has("client_secret")
}

// Person returns the claims about the one person.
func (op *OP) Person() map[string]any {
	return map[string]any{
		"sub": "a1ice-0001", "preferred_username": "alice", "email": "alice@example.com", "email_verified": true,
		"name": "Alice Ångström", "given_name": "Alice", "family_name": "Ångström",
		"groups": []any{"staff", "admins"},
	}
}

func (op *OP) idToken(grant opGrant, access string, hooks OPHooks) string {
	key := op.Key
	if hooks.Key != nil {
		key = *hooks.Key
	}
	now := time.Now()
	claims := op.Person()
	maps.Copy(claims, map[string]any{
		"iss": op.Issuer, "aud": op.ClientID, "azp": op.ClientID, "nonce": grant.nonce, "at_hash": halfHash(key.Alg, access),
		"iat": now.Unix(), "nbf": now.Unix(), "exp": now.Add(5 * time.Minute).Unix(), "auth_time": grant.authTime.Unix(),
		"sid": "sid-1", "acr": "1", "amr": []any{"pwd", "otp"},
	})
	header := map[string]any{"alg": key.Alg, "kid": key.KID, "typ": "JWT"}
	change(hooks.Claims, claims)
	change(hooks.Header, header)
	payload := mustJSON(claims)
	if hooks.Payload != nil {
		payload = hooks.Payload(payload)
	}
	jws := SignJWS(header, payload, key.Signer)
	if hooks.IDToken != nil {
		jws = hooks.IDToken(jws)
	}
	return jws
}

func (op *OP) serveUserInfo(w http.ResponseWriter, r *http.Request) {
	op.mu.Lock()
	_, ok := op.grants[strings.TrimPrefix(r.Header.Get("Authorization"), "Bearer ")]
	op.mu.Unlock()
	if !ok {
		w.WriteHeader(http.StatusUnauthorized)
		return
	}
	claims := op.Person()
	change(op.current().UserInfo, claims)
	writeJSON(w, http.StatusOK, claims)
}

func change(hook func(map[string]any), m map[string]any) {
	if hook != nil {
		hook(m)
	}
}

func writeJSON(w http.ResponseWriter, status int, v any) {
	w.Header().Set("Content-Type", "application/json")
	w.WriteHeader(status)
	_, _ = w.Write(mustJSON(v))
}

func mustJSON(v any) []byte {
	data, err := json.Marshal(v)
	if err != nil {
		panic(fmt.Sprintf("encoding a test document: %v", err))
	}
	return data
}

// ServeAltered serves the OP's response with another status and content type, for
// OPHooks.Serve.
func (op *OP) ServeAltered(w http.ResponseWriter, r *http.Request, status int, contentType string) {
	rec := httptest.NewRecorder()
	op.mux.ServeHTTP(rec, r)
	w.Header()["Content-Type"] = nil
	if contentType != "" {
		w.Header().Set("Content-Type", contentType)
	}
	w.WriteHeader(status)
	_, _ = w.Write(rec.Body.Bytes())
}
