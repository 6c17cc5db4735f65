package verify_test

import (
	"encoding/json"
	"slices"
	"strings"
	"testing"

	"github.com/caddy-sso/caddy-sso/gateway/signing/verify"
)

// FuzzVerify accepts nothing but texts that the key has signed, octet by octet.
func FuzzVerify(f *testing.F) {
	forger := newForger(f)
	v := newVerifier(f, verify.Config{Keys: forger.jwks(f), Algorithms: []string{"ES256", "RS256"}})
	good := eternal(f, forger)
	signed := good[:strings.LastIndex(good, ".")]
	for _, seed := range []string{good, strings.TrimSpace(string(readFile(f, "assertion.jwt"))), "", "..", "{}", good + "."} {
		f.Add(seed)
	}
	f.Fuzz(func(t *testing.T, token string) {
		id, err := v.Verify(t.Context(), token)
		if (id == nil) == (err == nil) {
			t.Fatalf("identity %+v with error %v", id, err)
		}
		if err == nil && !strings.HasPrefix(token, signed+".") {
			t.Errorf("accepted what the key did not sign: %q", token)
		}
	})
}

// FuzzClaims signs any claims. If they are accepted, they have all that we ask for,
// under exactly these names.
func FuzzClaims(f *testing.F) {
	forger := newForger(f)
	v := newVerifier(f, verify.Config{Keys: forger.jwks(f)})
	eternity := map[string]any{"exp": 253402300799}
	f.Add(marshal(f, goodClaims(eternity)))
	f.Add(marshal(f, goodClaims(map[string]any{"exp": 253402300799, "aud": []string{audience}, "amr": []string{"pwd"}})))
	f.Add([]byte(`{"iss":"https://app.example.com","ISS":1,"iss":null}`))
	f.Fuzz(func(t *testing.T, payload []byte) {
		id, err := v.Verify(t.Context(), forger.es256(t, forger.ec, goodHeader, string(payload)))
		if err != nil {
			return
		}
		var claims map[string]any
		if err := json.Unmarshal(payload, &claims); err != nil {
			t.Fatalf("accepted no JSON: %v", err)
		}
		text := func(name string) string { s, _ := claims[name].(string); return s }
		one, _ := claims["aud"].([]any)
		if text("iss") != issuer || text("aud") != audience && !slices.Equal(one, []any{audience}) || text("sub") == "" {
			t.Errorf("accepted %s", payload)
		}
		if id.Subject != text("sub") || id.FirstName != text("given_name") || id.LastName != text("family_name") || id.Email != text("email") || id.Username != text("preferred_username") {
			t.Errorf("identity %+v is not that of %s", id, payload)
		}
	})
}

// FuzzKeys: a JWK Set never makes New panic, and keys that it takes do verify
// nothing that they did not sign.
func FuzzKeys(f *testing.F) {
	forger := newForger(f)
	stranger := forger.es256(f, forger.other, goodHeader, string(marshal(f, goodClaims(map[string]any{"exp": 253402300799}))))
	f.Add(forger.jwks(f))
	f.Add(readFile(f, "jwks.json"))
	f.Add([]byte(`{"keys":[{"kty":"oct","k":"AAAA","kid":"ec"},{"kty":"RSA","n":"","e":"","kid":"ec"},null,1]}`))
	f.Fuzz(func(t *testing.T, set []byte) {
		v, err := verify.New(verify.Config{Issuer: issuer, Audience: audience, Keys: set})
		if err != nil {
			return
		}
		if _, err := v.Verify(t.Context(), stranger); err == nil {
			t.Error("accepted what none of the keys signed")
		}
	})
}

func BenchmarkVerify(b *testing.B) {
	f := newForger(b)
	v := newVerifier(b, verify.Config{Keys: f.jwks(b)})
	token := eternal(b, f)
	b.ReportAllocs()
	for b.Loop() {
		if _, err := v.Verify(b.Context(), token); err != nil {
			b.Fatal(err)
		}
	}
}
