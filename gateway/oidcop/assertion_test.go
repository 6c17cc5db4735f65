package oidcop_test

import (
	"crypto/ecdsa"
	"crypto/elliptic"
	"crypto/hmac"
	"crypto/rand"
	"crypto/sha256"
	"crypto/x509"
	"encoding/base64"
	"encoding/json"
	"encoding/pem"
	"errors"
	"net/http"
	"net/http/httptest"
	"net/url"
	"strings"
	"testing"
	"testing/synctest"
	"time"

	"github.com/go-jose/go-jose/v4"

	"github.com/caddy-sso/caddy-sso/gateway/oidcop"
)

const jwtBearer = "urn:ietf:params:oauth:client-assertion-type:jwt-bearer"

// assertionClaims are those of a good assertion of the client "jwt", with a jti of its own.
func assertionClaims(change ...any) map[string]any {
	now := time.Now()
	claims := map[string]any{"iss": "jwt", "sub": "jwt", "aud": issuer, "iat": now.Unix(), "exp": now.Add(time.Minute).Unix(), "jti": rand.Text()}
	for i := 0; i < len(change); i += 2 {
		claims[change[i].(string)] = change[i+1]
		if change[i+1] == nil {
			delete(claims, change[i].(string))
		}
	}
	return claims
}

// assert signs claims with a key as the client says.
func assert(t testing.TB, key *ecdsa.PrivateKey, kid string, claims map[string]any) string {
	t.Helper()
	opts := &jose.SignerOptions{}
	if kid != "" {
		opts = opts.WithHeader("kid", kid)
	}
	signer, err := jose.NewSigner(jose.SigningKey{Algorithm: jose.ES256, Key: key}, opts)
	if err != nil {
		t.Fatal(err)
	}
	payload, err := json.Marshal(claims)
	if err != nil {
		t.Fatal(err)
	}
	jws, err := signer.Sign(payload)
	if err != nil {
		t.Fatal(err)
	}
	text, err := jws.CompactSerialize()
	if err != nil {
		t.Fatal(err)
	}
	return text
}

// byAssertion exchanges a new code of the client "jwt" with an assertion.
func (l *lab) byAssertion(client, assertion string, change ...string) *httptest.ResponseRecorder {
	l.t.Helper()
	form := exchangeForm(l.code("client_id", client), "client_assertion_type", jwtBearer, "client_assertion", assertion)
	rec, _ := post(l.Provider, oidcop.TokenPath, "", "", set(form, change...))
	return rec
}

// TestAssertion is the table of assertions.
func TestAssertion(t *testing.T) {
	t.Parallel()
	l := newLab(t)
	now := time.Now()
	for name, test := range map[string]struct {
		claims map[string]any
		change []string
		want   string
	}{
		"for the issuer":         {claims: assertionClaims()},
		"for the token endpoint": {claims: assertionClaims("aud", issuer+oidcop.TokenPath)},
		"for both":               {claims: assertionClaims("aud", []string{issuer, issuer + oidcop.TokenPath})},
		"with the client id":     {claims: assertionClaims(), change: []string{"client_id", "jwt"}},
		"for an hour":            {claims: assertionClaims("exp", now.Add(time.Hour).Unix())},
		"without iat":            {claims: assertionClaims("iat", nil)},
		"of a slow clock":        {claims: assertionClaims("iat", now.Add(30*time.Second).Unix())},
		"expired a moment ago":   {claims: assertionClaims("exp", now.Add(-30*time.Second).Unix())},
		"with a fraction":        {claims: assertionClaims("exp", float64(now.Unix())+30.5)},
		"another type":           {assertionClaims(), []string{"client_assertion_type", "urn:ietf:params:oauth:client-assertion-type:saml2-bearer"}, "invalid_request"},
		"no type":                {assertionClaims(), []string{"client_assertion_type", "-"}, "invalid_request"},
		"type alone":             {assertionClaims(), []string{"client_assertion", "-"}, "invalid_client"},
		"another client's id":    {assertionClaims(), []string{"client_id", "web"}, "invalid_client"},
		"nonsense":               {assertionClaims(), []string{"client_assertion", "a.b.c"}, "invalid_client"},
		"a secret too":           {assertionClaims(), []string{"client_secret", secret}, "invalid_request"},
		"iss of another":         {assertionClaims("iss", "web"), nil, "invalid_client"},
		"no iss":                 {assertionClaims("iss", nil), nil, "invalid_client"},
		"sub of another":         {assertionClaims("sub", "web"), nil, "invalid_client"},
		"no sub":                 {assertionClaims("sub", nil), nil, "invalid_client"},
		"no aud":                 {assertionClaims("aud", nil), nil, "invalid_client"},
		"aud of another":         {assertionClaims("aud", "https://other.example"), nil, "invalid_client"},
		"aud of another as well": {assertionClaims("aud", []string{issuer, "https://other.example"}), nil, "invalid_client"},
		"no audience in a list":  {assertionClaims("aud", []string{}), nil, "invalid_client"},
		"aud a number":           {assertionClaims("aud", 1), nil, "invalid_client"},
		"no exp":                 {assertionClaims("exp", nil), nil, "invalid_client"},
		"exp a text":             {assertionClaims("exp", "9999999999"), nil, "invalid_client"},
		"expired":                {assertionClaims("exp", now.Add(-2*time.Minute).Unix()), nil, "invalid_client"},
		"for a day":              {assertionClaims("exp", now.Add(24*time.Hour).Unix()), nil, "invalid_client"},
		"iat a text":             {assertionClaims("iat", "1"), nil, "invalid_client"},
		"made before 1970":       {assertionClaims("iat", -1), nil, "invalid_client"},
		"not before year 10000":  {assertionClaims("nbf", 1e300), nil, "invalid_client"},
		"jti of 512 bytes":       {claims: assertionClaims("jti", strings.Repeat("x", 512))},
		"not yet":                {assertionClaims("nbf", now.Add(2*time.Minute).Unix()), nil, "invalid_client"},
		"made in the future":     {assertionClaims("iat", now.Add(time.Hour).Unix()), nil, "invalid_client"},
		"no jti":                 {assertionClaims("jti", nil), nil, "invalid_client"},
		"jti a number":           {assertionClaims("jti", 1), nil, "invalid_client"},
		"huge jti":               {assertionClaims("jti", strings.Repeat("x", 513)), nil, "invalid_client"},
		"names in another case":  {assertionClaims("exp", nil, "EXP", now.Add(time.Minute).Unix()), nil, "invalid_client"},
	} {
		t.Run(name, func(t *testing.T) {
			t.Parallel()
			rec := l.byAssertion("jwt", assert(t, l.key, "one", test.claims), test.change...)
			if got := read(rec); got.Error != test.want || (rec.Code == http.StatusOK) != (test.want == "") || (got.Access != "") != (test.want == "") {
				t.Errorf("%d %s, want %q", rec.Code, rec.Body, test.want)
			}
		})
	}
	if rec := l.byAssertion("jwt", assert(t, l.key, "", assertionClaims())); rec.Code != http.StatusOK {
		t.Errorf("without kid: %d %s", rec.Code, rec.Body)
	}
	if rec := l.byAssertion("jwt", assert(t, l.key, "two", assertionClaims())); rec.Code != http.StatusUnauthorized {
		t.Errorf("another kid: %d %s", rec.Code, rec.Body)
	}
	other := *l
	other.Provider = l.without("jwt", func(c *oidcop.Client) {
		c.Keys = jwks(t, jose.JSONWebKey{Key: l.key.Public(), KeyID: "one", Algorithm: "ES384"})
	})
	if rec := other.byAssertion("jwt", assert(t, l.key, "one", assertionClaims())); rec.Code != http.StatusUnauthorized {
		t.Errorf("by a key for another algorithm: %d %s", rec.Code, rec.Body)
	}
}

// TestAssertionOnce: an assertion works once, on all nodes, also at the other endpoints, and
// again only when it has expired anyway.
func TestAssertionOnce(t *testing.T) {
	t.Parallel()
	synctest.Test(t, func(t *testing.T) {
		l := newLab(t)
		other, claims := l.node(), assertionClaims()
		once := assert(t, l.key, "one", claims)
		if rec := l.byAssertion("jwt", once); rec.Code != http.StatusOK {
			t.Fatalf("%d %s", rec.Code, rec.Body)
		}
		two := *l
		two.Provider = l.without("spa", func(c *oidcop.Client) { c.Keys = jwks(t, jose.JSONWebKey{Key: l.key.Public(), KeyID: "one"}) })
		claims["iss"], claims["sub"] = "spa", "spa"
		if rec := two.byAssertion("spa", assert(t, l.key, "one", claims)); rec.Code != http.StatusOK {
			t.Errorf("another client with the same jti: %d %s", rec.Code, rec.Body)
		}
		form := url.Values{"client_assertion_type": {jwtBearer}, "client_assertion": {once}, "token": {"x"}}
		for range 3 {
			for _, path := range []string{oidcop.TokenPath, oidcop.IntrospectionPath, oidcop.RevocationPath} {
				if rec, failed := post(other, path, "", "", form); rec.Code != http.StatusUnauthorized || !failed {
					t.Errorf("%s again: %d %s", path, rec.Code, rec.Body)
				}
			}
			time.Sleep(time.Minute)
		}
	})
}

// TestPublishedKeys: a client that publishes its keys may change them.
func TestPublishedKeys(t *testing.T) {
	t.Parallel()
	synctest.Test(t, func(t *testing.T) {
		l := newLab(t)
		next, err := ecdsa.GenerateKey(elliptic.P256(), rand.Reader)
		if err != nil {
			t.Fatal(err)
		}
		published, fetched, status := jwks(t, jose.JSONWebKey{Key: l.key.Public(), KeyID: "one"}), 0, http.StatusOK
		l.apps = apps(func(*http.Request) (*http.Response, error) {
			fetched++
			rec := httptest.NewRecorder()
			rec.WriteHeader(status)
			_, _ = rec.Write(published)
			return rec.Result(), nil
		})
		ask := func(key *ecdsa.PrivateKey, kid string) int {
			return l.byAssertion("published", assert(t, key, kid, assertionClaims("iss", "published", "sub", "published"))).Code
		}
		if got := ask(l.key, "one"); got != http.StatusOK {
			t.Errorf("the published key: %d", got)
		}
		if got := ask(next, "two"); got != http.StatusUnauthorized {
			t.Errorf("a key that is not published: %d", got)
		}
		time.Sleep(time.Minute)
		published = jwks(t, jose.JSONWebKey{Key: next.Public(), KeyID: "two"})
		if got := ask(next, "two"); got != http.StatusOK {
			t.Errorf("the new key: %d", got)
		}
		published = jwks(t, jose.JSONWebKey{Key: next.Public(), KeyID: "three"})
		if got := ask(next, "three"); got != http.StatusOK {
			t.Errorf("a newer key at once: %d", got)
		}
		if got := ask(l.key, "one"); got != http.StatusUnauthorized {
			t.Errorf("the old key: %d", got)
		}
		for range 20 {
			ask(l.key, "one")
		}
		if fetched > 5 {
			t.Errorf("fetched %d times", fetched)
		}
	})
	l := newLab(t)
	l.apps = apps(func(*http.Request) (*http.Response, error) { return nil, errors.New("down") })
	if rec := l.byAssertion("published", assert(t, l.key, "one", assertionClaims("iss", "published", "sub", "published"))); rec.Code != http.StatusServiceUnavailable {
		t.Errorf("keys that can't be fetched: %d %s", rec.Code, rec.Body)
	}
}

// credentials authenticates the client "as" in its own way, unless the words say otherwise.
func (p *player) credentials(params, defaults url.Values) (header string, err error) {
	client := take(params, "as", p.client)
	claims, key, alg, head := assertionClaims("iss", client, "sub", client), "own", "ES256", map[string]any{"kid": "one"}
	for name := range params {
		claim, ok := strings.CutPrefix(name, "jwt.")
		if !ok {
			continue
		}
		value := take(params, name, "")
		switch kind, member, _ := strings.Cut(claim, "."); {
		case claim == "key":
			key = value
		case claim == "alg":
			alg = value
		case kind == "header":
			head[member] = jsonOf(value)
		case value == "-":
			delete(claims, claim)
		default:
			claims[claim] = jsonOf(value)
		}
	}
	switch auth := take(params, "auth", ""); {
	case auth == "none":
		return "", nil
	case auth == "jwt" || auth == "" && client == "jwt":
		text, err := p.assertion(claims, key, alg, head)
		p.got["assertion"] = append(p.got["assertion"], text)
		defaults.Set("client_assertion_type", jwtBearer)
		defaults.Set("client_assertion", text)
		return "", err
	case auth != "":
		return auth, nil
	case client == "spa" || client == "native":
		defaults.Set("client_id", client)
		return "", nil
	case client == "other":
		return "other:other's secret", nil
	}
	return url.QueryEscape(client) + ":" + url.QueryEscape(secret), nil
}

func jsonOf(text string) (v any) {
	if json.Unmarshal([]byte(text), &v) != nil {
		return text
	}
	return v
}

// assertion signs claims by a key and an algorithm that may not fit.
func (p *player) assertion(claims map[string]any, key, alg string, head map[string]any) (string, error) {
	signing := p.key
	if key == "evil" {
		signing = p.evil
	}
	head["alg"] = alg
	header, err := json.Marshal(head)
	if err != nil {
		return "", err
	}
	payload, err := json.Marshal(claims)
	if err != nil {
		return "", err
	}
	b64 := base64.RawURLEncoding.EncodeToString
	input := b64(header) + "." + b64(payload)
	sum := sha256.Sum256([]byte(input))
	var signature []byte
	switch {
	case key == "empty":
	case key == "public": // a shared secret that everybody knows
		signature = hmacOf(p.t, p.key.Public(), input)
	default:
		r, s, err := ecdsa.Sign(rand.Reader, signing, sum[:])
		if err != nil {
			return "", err
		}
		signature = append(r.FillBytes(make([]byte, 32)), s.FillBytes(make([]byte, 32))...)
	}
	return input + "." + b64(signature), nil
}

// hmacOf signs by HS256 with a public key in PEM as the secret (CVE-2015-9235).
func hmacOf(t testing.TB, public any, input string) []byte {
	t.Helper()
	der, err := x509.MarshalPKIXPublicKey(public)
	if err != nil {
		t.Fatal(err)
	}
	mac := hmac.New(sha256.New, pem.EncodeToMemory(&pem.Block{Type: "PUBLIC KEY", Bytes: der}))
	mac.Write([]byte(input))
	return mac.Sum(nil)
}
