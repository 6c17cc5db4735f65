package verify_test

import (
	"crypto/ecdsa"
	"crypto/elliptic"
	"crypto/rand"
	"encoding/json"
	"reflect"
	"strings"
	"testing"
	"testing/synctest"
	"time"

	"github.com/go-jose/go-jose/v4"

	"github.com/caddy-sso/caddy-sso/gateway/gatewaytest"
	"github.com/caddy-sso/caddy-sso/gateway/signing/verify"
)

func newVerifier(tb testing.TB, c verify.Config) *verify.Verifier {
	tb.Helper()
	if c.Issuer == "" {
		c.Issuer, c.Audience = issuer, audience
	}
	v, err := verify.New(c)
	if err != nil {
		tb.Fatal(err)
	}
	return v
}

func readFile(tb testing.TB, name string) []byte {
	tb.Helper()
	doc, _ := gatewaytest.Captured(tb, "testdata/"+name)
	return doc
}

// TestGolden holds what an app reads from an assertion of this release.
func TestGolden(t *testing.T) {
	t.Parallel()
	synctest.Test(t, func(t *testing.T) { // the clock shows the assertion's iat
		v := newVerifier(t, verify.Config{Keys: readFile(t, "jwks.json")})
		got, err := v.Verify(t.Context(), strings.TrimSpace(string(readFile(t, "assertion.jwt"))))
		if err != nil {
			t.Fatal(err)
		}
		want := &verify.Identity{
			Subject: "4bYhq0cJm2", Username: "alice", Email: "alice@example.com", EmailVerified: true, Name: "Alice Ångström",
			Roles: []string{"Admin", "Viewer"}, Groups: []string{"ops", "Net Ops"}, Template: "standard",
			SessionID: "Zm9vYmFy", Provider: "corp", ACR: "urn:example:silver", AMR: []string{"pwd", "otp"},
			AuthTime: time.Unix(now-100, 0), ID: "c2l4dGVlbg", Expires: time.Unix(now+60, 0),
		}
		if !reflect.DeepEqual(got, want) {
			t.Errorf("identity is %+v, want %+v", got, want)
		}
	})
}

func TestNewRefuses(t *testing.T) {
	t.Parallel()
	f := newForger(t)
	good := func() verify.Config {
		return verify.Config{Issuer: issuer, Audience: audience, Keys: f.jwks(t)}
	}
	if _, err := verify.New(good()); err != nil {
		t.Fatal(err)
	}
	for name, change := range map[string]func(*verify.Config){
		"no issuer":       func(c *verify.Config) { c.Issuer = "" },
		"no audience":     func(c *verify.Config) { c.Audience = "" },
		"negative skew":   func(c *verify.Config) { c.Skew = -1 },
		"HS256":           func(c *verify.Config) { c.Algorithms = []string{"HS256"} },
		"none":            func(c *verify.Config) { c.Algorithms = []string{"ES256", "none"} },
		"no keys":         func(c *verify.Config) { c.Keys = nil },
		"keys and URL":    func(c *verify.Config) { c.JWKSURL = issuer },
		"broken keys":     func(c *verify.Config) { c.Keys = []byte(`{"keys":`) },
		"other case":      func(c *verify.Config) { c.Keys = []byte(strings.Replace(string(c.Keys), `"keys"`, `"KEYS"`, 1)) },
		"empty set":       func(c *verify.Config) { c.Keys = []byte(`{"keys":[]}`) },
		"relative URL":    func(c *verify.Config) { c.Keys, c.JWKSURL = nil, "/.sso/jwks.json" },
		"plain http":      func(c *verify.Config) { c.Keys, c.JWKSURL = nil, "http://app.example.com/.sso/jwks.json" },
		"other scheme":    func(c *verify.Config) { c.Keys, c.JWKSURL, c.InsecureHTTP = nil, "file://host/jwks.json", true },
		"almost loopback": func(c *verify.Config) { c.Keys, c.JWKSURL = nil, "http://localhost.example.com/jwks.json" },
	} {
		t.Run(name, func(t *testing.T) {
			t.Parallel()
			c := good()
			change(&c)
			if _, err := verify.New(c); err == nil {
				t.Error("accepted")
			}
		})
	}
	for _, url := range []string{"https://app.example.com/j", "http://localhost/j", "http://app.localhost:8080/j", "http://127.0.0.2/j", "http://[::1]:80/j"} {
		c := good()
		c.Keys, c.JWKSURL = nil, url
		if _, err := verify.New(c); err != nil {
			t.Errorf("%s is refused: %v", url, err)
		}
	}
}

// TestKeysRefused: a key that can't be used spoils only itself.
func TestKeysRefused(t *testing.T) {
	t.Parallel()
	f := newForger(t)
	set := func(keys ...any) verify.Config {
		return verify.Config{Issuer: issuer, Audience: audience, Keys: marshal(t, map[string]any{"keys": keys})}
	}
	if _, err := verify.New(set(goodKeys(t, f)[0])); err != nil {
		t.Fatalf("control is refused: %v", err)
	}
	for name, k := range badKeys(t, f) {
		t.Run(name, func(t *testing.T) {
			t.Parallel()
			if _, err := verify.New(set(k)); err == nil {
				t.Error("accepted as the only key")
			}
			v := newVerifier(t, set(append([]any{k}, goodKeys(t, f)...)...))
			if _, err := v.Verify(t.Context(), eternal(t, f)); err != nil {
				t.Errorf("spoils the other keys: %v", err)
			}
		})
	}
}

func goodKeys(t *testing.T, f *forger) []any {
	t.Helper()
	var set struct {
		Keys []any `json:"keys"`
	}
	if err := json.Unmarshal(f.jwks(t), &set); err != nil {
		t.Fatal(err)
	}
	return set.Keys
}

// badKeys are no keys for verifying signatures.
func badKeys(t *testing.T, f *forger) map[string]any {
	t.Helper()
	ec := func(change func(map[string]any)) map[string]any {
		k, _ := goodKeys(t, f)[0].(map[string]any)
		change(k)
		return k
	}
	p384, err := ecdsa.GenerateKey(elliptic.P384(), rand.Reader)
	if err != nil {
		t.Fatal(err)
	}
	private, err := f.ec.Bytes()
	if err != nil {
		t.Fatal(err)
	}
	return map[string]any{
		"for encryption":  ec(func(k map[string]any) { k["use"] = "enc" }),
		"other algorithm": ec(func(k map[string]any) { k["alg"] = "ES384" }),
		"no kid":          ec(func(k map[string]any) { delete(k, "kid") }),
		"private":         ec(func(k map[string]any) { k["d"] = encode(private) }),
		"off the curve":   ec(func(k map[string]any) { k["y"] = k["x"] }),
		"other curve":     jose.JSONWebKey{Key: p384.Public(), KeyID: "ec"},
		"symmetric":       map[string]any{"kty": "oct", "kid": "ec", "k": "AAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAA"},
		"short RSA":       map[string]any{"kty": "RSA", "kid": "r", "e": "AQAB", "n": encode(f.rsa.N.Bytes()[:128])},
		"huge RSA":        map[string]any{"kty": "RSA", "kid": "r", "e": "AQAB", "n": strings.Repeat("_", 2000)},
		"no object":       "key",
	}
}

// eternal returns a good assertion for tests that use the real clock.
func eternal(tb testing.TB, f *forger) string {
	tb.Helper()
	return f.es256(tb, f.ec, goodHeader, string(marshal(tb, goodClaims(map[string]any{"exp": time.Now().Unix() + 3600}))))
}

func TestSkew(t *testing.T) {
	t.Parallel()
	f := newForger(t)
	synctest.Test(t, func(t *testing.T) {
		wide := newVerifier(t, verify.Config{Keys: f.jwks(t), Skew: 5 * time.Minute})
		usual := newVerifier(t, verify.Config{Keys: f.jwks(t)})
		for _, test := range []struct {
			name        string
			changes     map[string]any
			usual, wide bool
		}{
			{"exp just inside", map[string]any{"exp": now - 29}, true, true},
			{"exp just outside", map[string]any{"exp": now - 30}, false, true},
			{"exp far outside", map[string]any{"exp": now - 300}, false, false},
			{"nbf just inside", map[string]any{"nbf": now + 30}, true, true},
			{"nbf just outside", map[string]any{"nbf": now + 31}, false, true},
			{"iat just inside", map[string]any{"iat": now + 30}, true, true},
			{"iat just outside", map[string]any{"iat": now + 31}, false, true},
			{"iat far outside", map[string]any{"iat": now + 301}, false, false},
		} {
			token := f.es256(t, f.ec, goodHeader, string(marshal(t, goodClaims(test.changes))))
			if _, err := usual.Verify(t.Context(), token); (err == nil) != test.usual {
				t.Errorf("%s: with the usual skew: %v", test.name, err)
			}
			if _, err := wide.Verify(t.Context(), token); (err == nil) != test.wide {
				t.Errorf("%s: with a skew of 5 minutes: %v", test.name, err)
			}
		}
	})
}

func TestRS256(t *testing.T) {
	t.Parallel()
	f := newForger(t)
	synctest.Test(t, func(t *testing.T) {
		payload := string(marshal(t, goodClaims(nil)))
		token := f.rs256(t, `{"alg":"RS256","kid":"rsa","typ":"JWT"}`, payload)
		only := newVerifier(t, verify.Config{Keys: f.jwks(t), Algorithms: []string{"RS256"}})
		if _, err := only.Verify(t.Context(), token); err != nil {
			t.Errorf("RS256 is refused where it is configured: %v", err)
		}
		if _, err := only.Verify(t.Context(), f.es256(t, f.ec, goodHeader, payload)); err == nil {
			t.Error("ES256 is accepted where only RS256 is configured")
		}
		both := newVerifier(t, verify.Config{Keys: f.jwks(t), Algorithms: []string{"ES256", "RS256"}})
		if _, err := both.Verify(t.Context(), f.rs256(t, `{"alg":"RS256","kid":"ec","typ":"JWT"}`, payload)); err == nil {
			t.Error("algorithm that is not the key's is accepted")
		}
	})
}

func TestClaims(t *testing.T) {
	t.Parallel()
	f := newForger(t)
	synctest.Test(t, func(t *testing.T) {
		v := newVerifier(t, verify.Config{Keys: f.jwks(t)})
		for name, changes := range map[string]map[string]any{
			"array of one audience": {"aud": []string{audience}},
			"least claims":          {"preferred_username": nil, "email": nil, "email_verified": nil, "name": nil, "roles": nil, "jti": nil},
			"unknown claims":        {"https://example.com/x": map[string]any{"y": []int{1}}, "EMAIL": "mallory@example.com", "Roles": []string{"Admin"}},
		} {
			id, err := v.Verify(t.Context(), f.es256(t, f.ec, goodHeader, string(marshal(t, goodClaims(changes)))))
			if err != nil {
				t.Errorf("%s: %v", name, err)
				continue
			}
			if id.Subject != "subject" || id.Email == "mallory@example.com" || len(id.Roles) > 0 && id.Roles[0] != "Viewer" {
				t.Errorf("%s: identity is %+v", name, id)
			}
		}
	})
}

func TestErrorsShowNothing(t *testing.T) {
	t.Parallel()
	f := newForger(t)
	v := newVerifier(t, verify.Config{Keys: f.jwks(t)})
	const canary = "canary-8842"
	for _, token := range []string{
		canary,
		hs256([]byte(canary), `{"alg":"`+canary+`","kid":"`+canary+`","typ":"JWT"}`, `{"sub":"`+canary+`"}`),
		f.es256(t, f.other, goodHeader, `{"sub":"`+canary+`"}`),
		f.es256(t, f.ec, goodHeader, `{"`+canary+`":"`+canary+`","sub":{"`+canary+`":1}}`),
		f.es256(t, f.ec, `{"alg":"ES256","kid":"`+canary+`","typ":"`+canary+`"}`, `{}`),
	} {
		_, err := v.Verify(t.Context(), token)
		if err == nil {
			t.Fatal("accepted")
		}
		if strings.Contains(err.Error(), canary) || strings.Contains(err.Error(), token) {
			t.Errorf("error shows what it must not: %v", err)
		}
	}
}
