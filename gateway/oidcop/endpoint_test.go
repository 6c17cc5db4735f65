package oidcop_test

import (
	"encoding/json"
	"maps"
	"net/http"
	"net/http/httptest"
	"net/url"
	"slices"
	"strings"
	"testing"

	"github.com/caddy-sso/caddy-sso/gateway/gatewaytest"
	"github.com/caddy-sso/caddy-sso/gateway/oidcop"
)

const formType = "application/x-www-form-urlencoded"

// TestUserInfo is the table of ways to ask.
func TestUserInfo(t *testing.T) {
	t.Parallel()
	l := newLab(t)
	got, long := l.tokens("web", "scope", "openid email"), l.tokens("long")
	code := l.code()
	for name, test := range map[string]struct {
		method, query, header, contentType, body string
		status                                   int
		challenge                                string
	}{
		"by header":         {method: http.MethodGet, header: "Bearer " + got.Access, status: http.StatusOK},
		"in another case":   {method: http.MethodGet, header: "bearer " + got.Access, status: http.StatusOK},
		"by POST":           {method: http.MethodPost, header: "Bearer " + got.Access, status: http.StatusOK},
		"GET with a form":   {method: http.MethodGet, header: "Bearer " + got.Access, contentType: formType, body: "access_token=x", status: http.StatusOK},
		"by POST, no form":  {method: http.MethodPost, header: "Bearer " + got.Access, contentType: formType, status: http.StatusOK},
		"by form":           {method: http.MethodPost, contentType: formType, body: "access_token=" + got.Access, status: http.StatusOK},
		"no token":          {method: http.MethodGet, status: http.StatusUnauthorized, challenge: `Bearer realm="openid"`},
		"no token, by POST": {method: http.MethodPost, contentType: formType, body: "x=y", status: http.StatusUnauthorized, challenge: `Bearer realm="openid"`},
		"in the query":      {method: http.MethodGet, query: "?access_token=" + got.Access, status: http.StatusUnauthorized, challenge: `Bearer realm="openid"`},
		"twice":             {method: http.MethodPost, header: "Bearer " + got.Access, contentType: formType, body: "access_token=" + got.Access, status: http.StatusBadRequest},
		"as JSON":           {method: http.MethodPost, contentType: "application/json", body: "{}", status: http.StatusUnauthorized, challenge: `Bearer realm="openid"`},
		"beside JSON":       {method: http.MethodPost, header: "Bearer " + got.Access, contentType: "application/json", body: "{}", status: http.StatusOK},
		"wrong":             {method: http.MethodGet, header: "Bearer x", status: http.StatusUnauthorized, challenge: `error="invalid_token"`},
		"empty":             {method: http.MethodGet, header: "Bearer ", status: http.StatusUnauthorized, challenge: `error="invalid_token"`},
		"a guess":           {method: http.MethodGet, header: "Bearer " + got.Access[:len(got.Access)-43] + strings.Repeat("A", 43), status: http.StatusUnauthorized, challenge: `error="invalid_token"`},
		"more behind it":    {method: http.MethodGet, header: "Bearer " + got.Access + "A", status: http.StatusUnauthorized, challenge: `error="invalid_token"`},
		"a code":            {method: http.MethodGet, header: "Bearer " + code, status: http.StatusUnauthorized, challenge: `error="invalid_token"`},
		"a refresh token":   {method: http.MethodGet, header: "Bearer " + long.Refresh, status: http.StatusUnauthorized, challenge: `error="invalid_token"`},
		"an ID token":       {method: http.MethodGet, header: "Bearer " + got.ID, status: http.StatusUnauthorized, challenge: `error="invalid_token"`},
		"another scheme":    {method: http.MethodGet, header: "Basic " + got.Access, status: http.StatusUnauthorized, challenge: `error="invalid_token"`},
	} {
		t.Run(name, func(t *testing.T) {
			t.Parallel()
			r := httptest.NewRequest(test.method, issuer+oidcop.UserInfoPath+test.query, strings.NewReader(test.body))
			if test.header != "" {
				r.Header.Set("Authorization", test.header)
			}
			if test.contentType != "" {
				r.Header.Set("Content-Type", test.contentType)
			}
			rec, failed := serve(l.Provider, r)
			if rec.Code != test.status || !strings.Contains(rec.Header().Get("WWW-Authenticate"), test.challenge) || failed {
				t.Errorf("%d %s %v", rec.Code, rec.Body, rec.Header())
			}
			if rec.Header().Get("Cache-Control") != "no-store" || rec.Header().Get("Access-Control-Allow-Origin") != "*" {
				t.Errorf("headers are %v", rec.Header())
			}
			if want := `{"email":"alice@example.com","email_verified":true,"sub":"sub-alice"}`; rec.Code == http.StatusOK && rec.Body.String() != want {
				t.Errorf("got %s, want %s", rec.Body, want)
			}
		})
	}
}

// TestScopes holds which claims each scope brings, and that nothing empty is told.
func TestScopes(t *testing.T) {
	t.Parallel()
	l := newLab(t)
	names := func(client, scope string, change ...string) []string {
		rec, _ := userinfo(l.Provider, l.tokens(client, append(change, "scope", scope)...).Access)
		var claims map[string]any
		if err := json.Unmarshal(rec.Body.Bytes(), &claims); err != nil {
			t.Fatalf("%d %s", rec.Code, rec.Body)
		}
		return slices.DeleteFunc(slices.Sorted(maps.Keys(claims)), func(name string) bool { return name == "sub" })
	}
	for scope, want := range map[string]string{
		"openid": "", "openid profile": "family_name given_name name preferred_username", "openid email": "email email_verified",
		"openid groups": "groups", "openid roles": "roles template", "openid address phone": "",
	} {
		if got := strings.Join(names("web", scope), " "); got != want {
			t.Errorf("%s: %s, want %s", scope, got, want)
		}
	}
	if got := strings.Join(names("web", "openid", "claims", `{"userinfo":{"name":null,"x":null,"iss":null,"EMAIL":null}}`), " "); got != "name" {
		t.Errorf("by the claims parameter: %s", got)
	}
	for client, want := range map[string]string{"long": "offline_access openid", "web": "openid"} {
		if got := l.tokens(client, "scope", "openid offline_access").Scope; got != want {
			t.Errorf("%s gets the scope %s, want %s", client, got, want)
		}
	}
	if got := strings.Join(names("told", "openid"), " "); got != "groups login policy realm roles" {
		t.Errorf("by the configuration: %s", got)
	}
	// An address of another kind is not what the provider has verified.
	other := l.without("told", func(c *oidcop.Client) { c.Claims = map[string]string{"email": "user"} })
	for _, op := range []*oidcop.Provider{l.Provider, other} {
		answer, _ := authorize(t.Context(), op, "login:alice", request("client_id", "told", "scope", "openid email", "claims", `{"id_token":{"email_verified":null}}`))
		rec, _ := post(op, oidcop.TokenPath, "told", secret, exchangeForm(answer.Get("code")))
		info, _ := userinfo(op, read(rec).Access)
		own := op == l.Provider
		if claims := claimsOf(t, read(rec).ID); (claims["email_verified"] == true) != own || (claims["email"] == "alice") == own {
			t.Errorf("the ID token says %v", claims)
		}
		if strings.Contains(info.Body.String(), "email_verified") != own {
			t.Errorf("userinfo says %s", info.Body)
		}
	}
	person := l.people.logins["login:alice"]
	person.EmailVerified = false
	if claims := claimsOf(t, l.tokens("web", "scope", "openid email").ID); claims["email_verified"] != false {
		t.Errorf("an email that nobody has verified: %v", claims)
	}
	person.Email, person.Roles, person.Name = "", nil, ""
	if got := strings.Join(names("web", "openid profile email roles"), " "); got != "family_name given_name preferred_username template" {
		t.Errorf("what is empty: %s", got)
	}
}

func TestIntrospection(t *testing.T) {
	t.Parallel()
	l := newLab(t)
	got, web := l.tokens("long", "scope", "openid profile"), l.tokens("web")
	ask := func(user, password, token string) (*httptest.ResponseRecorder, map[string]any) {
		rec, _ := post(l.Provider, oidcop.IntrospectionPath, user, password, url.Values{"token": {token}, "token_type_hint": {"x"}})
		var response map[string]any
		_ = json.Unmarshal(rec.Body.Bytes(), &response)
		return rec, response
	}
	rec, response := ask("long", secret, got.Access)
	for name, want := range map[string]any{"active": true, "client_id": "long", "sub": "sub-alice", "username": "alice", "token_type": "Bearer", "scope": "openid profile", "iss": issuer, "aud": "long"} {
		if response[name] != want {
			t.Errorf("%s is %v, want %v: %d", name, response[name], want, rec.Code)
		}
	}
	if _, response = ask("long", secret, got.Refresh); response["active"] != true || response["token_type"] != nil {
		t.Errorf("a refresh token is %v", response)
	}
	if _, response = ask("web", secret, web.Access); response["active"] != true || response["username"] != nil {
		t.Errorf("without the scope profile: %v", response)
	}
	guess := got.Refresh[:len(got.Refresh)-43] + strings.Repeat("A", 43)
	for name, token := range map[string]string{"a guessed refresh token": guess, "another client's": web.Access, "nonsense": "x", "a code": l.code(), "an ID token": got.ID} {
		if rec, response := ask("long", secret, token); rec.Code != http.StatusOK || response["active"] != false || len(response) != 1 {
			t.Errorf("%s is %v", name, response)
		}
	}
	if rec, _ := ask("long", "wrong", got.Access); rec.Code != http.StatusUnauthorized {
		t.Errorf("wrong secret: %d %s", rec.Code, rec.Body)
	}
	if rec, _ := ask("long", secret, ""); rec.Code != http.StatusBadRequest {
		t.Errorf("no token: %d %s", rec.Code, rec.Body)
	}
	spa, _ := post(l.Provider, oidcop.IntrospectionPath, "", "", url.Values{"token": {got.Access}, "client_id": {"spa"}})
	if spa.Code != http.StatusUnauthorized {
		t.Errorf("a public client: %d %s", spa.Code, spa.Body)
	}
	l.people.end("login:alice")
	for _, token := range []string{got.Access, got.Refresh} {
		if _, response := ask("long", secret, token); response["active"] != false {
			t.Errorf("after the login: %v", response)
		}
	}
}

func TestRevocation(t *testing.T) {
	t.Parallel()
	l := newLab(t)
	revoke := func(user, token string) (*httptest.ResponseRecorder, bool) {
		return post(l.Provider, oidcop.RevocationPath, user, secret, url.Values{"token": {token}})
	}
	for name, pick := range map[string]func(tokens) string{"access token": func(g tokens) string { return g.Access }, "refresh token": func(g tokens) string { return g.Refresh }} {
		got := l.tokens("long")
		if rec, failed := revoke("web", pick(got)); rec.Code != http.StatusBadRequest || failed {
			t.Errorf("%s by another client: %d %s", name, rec.Code, rec.Body)
		}
		if rec, _ := userinfo(l.Provider, got.Access); rec.Code != http.StatusOK {
			t.Errorf("%s: another client has ended it", name)
		}
		for range 2 {
			if rec, failed := revoke("long", pick(got)); rec.Code != http.StatusOK || failed {
				t.Errorf("%s: %d %s", name, rec.Code, rec.Body)
			}
		}
		if rec, _ := userinfo(l.Provider, got.Access); rec.Code != http.StatusUnauthorized {
			t.Errorf("%s: the access token is good", name)
		}
		if rec, _ := post(l.Provider, oidcop.TokenPath, "long", secret, refreshForm(got.Refresh)); rec.Code != http.StatusBadRequest {
			t.Errorf("%s: the refresh token is good", name)
		}
	}
	for _, token := range []string{"x", "a.b.c", l.code("client_id", "long")} {
		if rec, _ := revoke("long", token); rec.Code != http.StatusOK {
			t.Errorf("%q: %d %s", token, rec.Code, rec.Body)
		}
	}
}

func TestDiscovery(t *testing.T) {
	t.Parallel()
	l := newLab(t)
	get := func(path string) map[string]any {
		rec, failed := serve(l.Provider, httptest.NewRequest(http.MethodGet, issuer+path, nil))
		var doc map[string]any
		if err := json.Unmarshal(rec.Body.Bytes(), &doc); err != nil || rec.Code != http.StatusOK || failed {
			t.Fatalf("%s: %d %s", path, rec.Code, rec.Body)
		}
		return doc
	}
	for _, path := range []string{oidcop.DiscoveryPath, oidcop.JWKSPath} {
		if rec, _ := serve(l.Provider, httptest.NewRequest(http.MethodHead, issuer+path, nil)); rec.Code != http.StatusOK {
			t.Errorf("HEAD %s: %d", path, rec.Code)
		}
	}
	doc := get(oidcop.DiscoveryPath)
	for name, path := range map[string]string{
		"issuer": "", "authorization_endpoint": oidcop.AuthorizationPath, "token_endpoint": oidcop.TokenPath, "userinfo_endpoint": oidcop.UserInfoPath,
		"jwks_uri": oidcop.JWKSPath, "introspection_endpoint": oidcop.IntrospectionPath, "revocation_endpoint": oidcop.RevocationPath, "end_session_endpoint": oidcop.LogoutPath,
	} {
		if doc[name] != issuer+path {
			t.Errorf("%s is %v", name, doc[name])
		}
	}
	if algs := doc["id_token_signing_alg_values_supported"].([]any); !slices.Contains(algs, any("RS256")) || !slices.Contains(algs, any("ES256")) || slices.Contains(algs, any("none")) {
		t.Errorf("algorithms are %v", algs)
	}
	for name, want := range map[string]bool{
		"claims_parameter_supported": true, "request_parameter_supported": false, "request_uri_parameter_supported": false,
		"backchannel_logout_supported": true, "backchannel_logout_session_supported": true, "authorization_response_iss_parameter_supported": true,
	} {
		if doc[name] != want {
			t.Errorf("%s is %v", name, doc[name])
		}
	}
	if keys := get(oidcop.JWKSPath)["keys"].([]any); len(keys) != 2 {
		t.Errorf("keys are %v", keys)
	}
	for _, e := range l.Endpoints() {
		open := slices.Contains(e.Methods, http.MethodOptions)
		if open == (e.Path == oidcop.IntrospectionPath) {
			t.Errorf("%s is open to scripts: %v", e.Path, open)
		}
		if !open {
			continue
		}
		rec, _ := serve(l.Provider, httptest.NewRequest(http.MethodOptions, issuer+e.Path, nil))
		if h := rec.Header(); rec.Code != http.StatusNoContent || h.Get("Access-Control-Allow-Origin") != "*" || h.Get("Access-Control-Allow-Credentials") != "" {
			t.Errorf("%s: %d %v", e.Path, rec.Code, h)
		}
	}
	l.Provider = l.without("long", nil)
	without := get(oidcop.DiscoveryPath)
	for name, value := range map[string]any{"grant_types_supported": "refresh_token", "scopes_supported": "offline_access"} {
		if !slices.Contains(doc[name].([]any), value) || slices.Contains(without[name].([]any), value) {
			t.Errorf("%s is %v, and %v if no client may refresh", name, doc[name], without[name])
		}
	}
}

// TestUnbound: before Bind everything is a fault.
func TestUnbound(t *testing.T) {
	t.Parallel()
	op, err := oidcop.New(oidcop.Options{Clients: newLab(t).clients(), People: newPeople()})
	if err != nil {
		t.Fatal(err)
	}
	for _, e := range op.Endpoints() {
		r := httptest.NewRequest(e.Methods[0], issuer+e.Path, strings.NewReader("token=x&client_id=spa"))
		r.Header.Set("Content-Type", formType)
		r.Header.Set("Authorization", "Bearer "+strings.Repeat("A", 22)+".a."+strings.Repeat("A", 43))
		if e.Methods[0] == http.MethodPost {
			r.Header.Set("Authorization", basic("web:"+secret))
		}
		if rec, _ := serve(op, r); rec.Code != http.StatusServiceUnavailable {
			t.Errorf("%s: %d %s", e.Path, rec.Code, rec.Body)
		}
	}
	if _, err := op.Authorization(t.Context(), request()); err == nil {
		t.Error("an authorization request is read")
	}
	bind(op, newLab(t), newVault(t, gatewaytest.NewMemStore(), "s"))
	for _, e := range op.Endpoints() {
		if e.Path != oidcop.TokenPath {
			continue
		}
		rec, r := httptest.NewRecorder(), httptest.NewRequest(http.MethodPost, issuer+e.Path, strings.NewReader("client_id=spa"))
		r.Header.Set("Content-Type", formType)
		if _ = e.Serve(rec, r, nil); rec.Code != http.StatusServiceUnavailable {
			t.Errorf("the request came before Bind: %d %s", rec.Code, rec.Body)
		}
	}
	op.LoginsChanged("login:x")
}

// TestOptions: every fault of the configuration is named, all at once.
func TestOptions(t *testing.T) {
	t.Parallel()
	good := func() oidcop.Client {
		return oidcop.Client{ID: "x", Secrets: []string{"s"}, RedirectURIs: []string{callback}}
	}
	for name, change := range map[string]func(*oidcop.Client){
		"the id":             func(c *oidcop.Client) { c.ID = "" },
		"visible ASCII":      func(c *oidcop.Client) { c.ID = "a b" },
		"must be visible":    func(c *oidcop.Client) { c.ID = "é" },
		"of at most 200":     func(c *oidcop.Client) { c.ID = strings.Repeat("x", 201) },
		"an absolute URL":    func(c *oidcop.Client) { c.RedirectURIs = []string{"https://app.example/" + strings.Repeat("x", 2<<10)} },
		"3 secrets":          func(c *oidcop.Client) { c.Secrets = []string{"a", "b", "c"} },
		"secret is empty":    func(c *oidcop.Client) { c.Secrets = []string{""} },
		"one of them":        func(c *oidcop.Client) { c.KeysURL = "https://x.example/" },
		"secrets, keys or":   func(c *oidcop.Client) { c.Secrets, c.Keys, c.KeysURL = nil, []byte("{}"), "https://x.example/" },
		"needs PKCE":         func(c *oidcop.Client) { c.Secrets, c.InsecureNoPKCE = nil, true },
		"redirect URI":       func(c *oidcop.Client) { c.RedirectURIs = nil },
		"https:///cb":        func(c *oidcop.Client) { c.RedirectURIs = []string{"https:///cb"} },
		"ftp://127.0.0.1/":   func(c *oidcop.Client) { c.RedirectURIs = []string{"ftp://127.0.0.1/"} },
		"myapp:/cb":          func(c *oidcop.Client) { c.Secrets, c.RedirectURIs = nil, []string{"myapp:/cb"} },
		"http stays":         func(c *oidcop.Client) { c.RedirectURIs = []string{"http://app.example/cb"} },
		"without fragment":   func(c *oidcop.Client) { c.RedirectURIs = []string{callback + "#x"} },
		"user name":          func(c *oidcop.Client) { c.RedirectURIs = []string{"https://a@b.example/"} },
		"expected https":     func(c *oidcop.Client) { c.RedirectURIs = []string{"javascript:alert(1)"} },
		"its query has code": func(c *oidcop.Client) { c.RedirectURIs = []string{"https://app.example/cb?x=y&code=z"} },
		"its query has iss":  func(c *oidcop.Client) { c.RedirectURIs = []string{"https://app.example/cb?iss"} },
		"query has state":    func(c *oidcop.Client) { c.PostLogoutURIs = []string{"https://app.example/bye?state=x"} },
		"expected https; ":   func(c *oidcop.Client) { c.PostLogoutURIs = []string{"com.example:/x"} },
		"back-channel":       func(c *oidcop.Client) { c.BackchannelLogoutURI = "http://app.example/x" },
		"algorithm":          func(c *oidcop.Client) { c.Algorithm = "HS256" },
		`algorithm "none"`:   func(c *oidcop.Client) { c.UserInfoAlgorithm = "none" },
		"meaning of its own": func(c *oidcop.Client) { c.Claims = map[string]string{"sub": "user"} },
		"of its own, choose": func(c *oidcop.Client) { c.Claims = map[string]string{"phone_number_verified": "user"} },
		`claim ""`:           func(c *oidcop.Client) { c.Claims = map[string]string{"": "user"} },
		"the kind":           func(c *oidcop.Client) { c.Claims = map[string]string{"x": "y"} },
		"expected a JWK Set": func(c *oidcop.Client) { c.Secrets, c.Keys = nil, []byte("x") },
		"0 of 1":             func(c *oidcop.Client) { c.Secrets, c.Keys = nil, []byte(`{"keys":[{"kty":"oct","k":"AAAA"}]}`) },
		"URL of its keys":    func(c *oidcop.Client) { c.Secrets, c.KeysURL = nil, "http://app.example/" },
	} {
		c := good()
		change(&c)
		_, err := oidcop.New(oidcop.Options{Clients: []oidcop.Client{c}, People: newPeople()})
		if err == nil || !strings.Contains(err.Error(), name) {
			t.Errorf("%s: %v", name, err)
		}
	}
	_, err := oidcop.New(oidcop.Options{Clients: []oidcop.Client{good(), good(), {}}})
	for _, want := range []string{"People", "twice", "the id must", "needs a redirect"} {
		if err == nil || !strings.Contains(err.Error(), want) {
			t.Errorf("%q is missing in %v", want, err)
		}
	}
	op, err := oidcop.New(oidcop.Options{Clients: []oidcop.Client{good()}, People: newPeople()})
	if err != nil || !slices.Equal(op.Algorithms(), []oidcop.Algorithm{oidcop.RS256}) {
		t.Errorf("control: %v", err)
	}
	signs := good()
	signs.UserInfoAlgorithm = oidcop.ES256
	op, err = oidcop.New(oidcop.Options{Clients: []oidcop.Client{signs}, People: newPeople()})
	if err != nil || !slices.Equal(op.Algorithms(), []oidcop.Algorithm{oidcop.ES256, oidcop.RS256}) {
		t.Errorf("of ID tokens and userinfo: %v", err)
	}
}
