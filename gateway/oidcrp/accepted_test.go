package oidcrp_test

import (
	"encoding/json"
	"io"
	"net/http"
	"net/url"
	"strings"
	"testing"
	"time"

	"github.com/caddy-sso/caddy-sso/gateway/gatewaytest"
	"github.com/caddy-sso/caddy-sso/gateway/oidcrp"
)

// TestAccepted holds that answers of real providers are accepted, and parameters that nobody
// reads. Odd claims are in TestOddTable and TestEmail.
func TestAccepted(t *testing.T) {
	t.Parallel()
	shifted := func(name string, d time.Duration) opHooks {
		return claims(func(c map[string]any) { c[name] = time.Now().Add(d).Unix() })
	}
	for name, hooks := range map[string]opHooks{
		"typ absent":                        header(deleteFrom("typ")),
		"typ in lower case":                 header(setIn("typ", "jwt")),
		"kid absent":                        header(deleteFrom("kid")),
		"thumbprints in the header":         header(func(h map[string]any) { h["x5t"], h["x5t#S256"] = "AAAA", "AAAA" }),
		"aud as an array":                   claims(setIn("aud", []string{"gateway:1"})),
		"several audiences with azp":        claims(setIn("aud", []string{"account", "gateway:1"})),
		"one audience without azp":          claims(deleteFrom("azp")),
		"no at_hash, nbf, auth_time, sid":   claims(deleteFrom("at_hash", "nbf", "auth_time", "sid", "acr", "amr")),
		"exp within the skew":               shifted("exp", -50*time.Second),
		"iat from a clock ahead":            shifted("iat", 50*time.Second),
		"iat from a clock behind":           shifted("iat", -50*time.Second),
		"iat and nbf set back, as by Entra": claims(func(c map[string]any) { c["iat"], c["nbf"] = time.Now().Unix()-350, time.Now().Unix()-350 }),
		"nbf from a clock ahead":            shifted("nbf", 50*time.Second),
		"auth_time hours ago":               shifted("auth_time", -5*time.Hour),
		"dates with a fraction":             claims(func(c map[string]any) { c["iat"] = float64(time.Now().UnixMilli()) / 1000 }),
		"an address beyond ASCII":           claims(setIn("email", "jörg@exämple.com")),
		"10,000 groups":                     claims(setIn("groups", numbered(10000))),
		"token_type in lower case":          fixedHooks(gatewaytest.OPHooks{Token: setIn("token_type", "bearer")}),
		"content type with a charset":       alter(gatewaytest.OPTokenPath, 200, "application/json;charset=UTF-8"),
		"tokens, odd parameters":            alter(gatewaytest.OPTokenPath, 200, "application/json; utf-8"),
		"discovery, odd parameters":         alter(gatewaytest.OPDiscoveryPath, 200, "application/json; charset="),
		"keys, odd parameters":              alter(gatewaytest.OPJWKSPath, 200, "application/jwk-set+json; utf-8"),
		"userinfo, odd parameters": func(op *gatewaytest.OP) gatewaytest.OPHooks {
			hooks := alter(gatewaytest.OPUserInfoPath, 200, "application/json; utf-8")(op)
			hooks.Claims = deleteFrom("preferred_username")
			return hooks
		},
		"keys as jwk-set+json":               alter(gatewaytest.OPJWKSPath, 200, "application/jwk-set+json"),
		"discovery as text/plain":            alter(gatewaytest.OPDiscoveryPath, 200, "text/plain; charset=utf-8"),
		"discovery as octet-stream":          alter(gatewaytest.OPDiscoveryPath, 200, "application/octet-stream"),
		"keys as text/plain":                 alter(gatewaytest.OPJWKSPath, 200, "text/plain"),
		"keys as octet-stream":               alter(gatewaytest.OPJWKSPath, 200, "application/octet-stream"),
		"a byte order mark before discovery": marked(gatewaytest.OPDiscoveryPath),
		"a byte order mark before the keys":  marked(gatewaytest.OPJWKSPath),
		"a byte order mark before the token": marked(gatewaytest.OPTokenPath),
		"keys in padded Base64":              fixedHooks(gatewaytest.OPHooks{JWKS: padKeys}),
		"an odd algorithm in discovery":      fixedHooks(gatewaytest.OPHooks{Discovery: setIn("id_token_signing_alg_values_supported", []any{nil, 7, "ES256"})}),
		"an odd method in discovery":         fixedHooks(gatewaytest.OPHooks{Discovery: setIn("token_endpoint_auth_methods_supported", []any{nil, "client_secret_basic"})}),
		"no error, as null":                  fixedHooks(gatewaytest.OPHooks{Token: func(m map[string]any) { m["error"], m["error_description"] = nil, nil }}),
		"keys with null in them":             fixedHooks(gatewaytest.OPHooks{JWKS: nullKeys}),
		"null in discovery":                  fixedHooks(gatewaytest.OPHooks{Discovery: setIn("userinfo_endpoint", nil)}),
		"unknown algorithms in discovery":    fixedHooks(gatewaytest.OPHooks{Discovery: setIn("id_token_signing_alg_values_supported", []string{"XX", "ES256"})}),
		"the hash of the code":               fixedHooks(gatewaytest.OPHooks{Code: func(string) string { return "abc" }, Claims: setIn("c_hash", "ungWv48Bz-pBQUDeXa4iIw")}),
		"iss in the answer, not announced":   fixedHooks(gatewaytest.OPHooks{Discovery: deleteFrom("authorization_response_iss_parameter_supported")}),
		"no iss in the answer, not asked":    fixedHooks(gatewaytest.OPHooks{Discovery: deleteFrom("authorization_response_iss_parameter_supported"), Answer: func(v url.Values) { v.Del("iss") }}),
		"no authentication methods said":     fixedHooks(gatewaytest.OPHooks{Discovery: deleteFrom("token_endpoint_auth_methods_supported")}),
		"a refresh token, which is not kept": fixedHooks(gatewaytest.OPHooks{Token: setIn("refresh_token", "x")}),
		"a null in an address":               claims(setIn("address", map[string]any{"country": nil})),
		"our name twice in aud":              claims(func(c map[string]any) { c["aud"] = []any{c["aud"], c["aud"]}; delete(c, "azp") }),
		"kid null":                           header(setIn("kid", nil)),
		"kid, an empty text":                 header(setIn("kid", "")),
		"_claim_names alone":                 claims(setIn("_claim_names", map[string]any{"address": "src1"})),
		"_claim_names, a text":               claims(setIn("_claim_names", "x")),
		"_claim_sources, odd":                claims(setIn("_claim_sources", []any{7})),
		"_Claim_Names, a list":               claims(setIn("_Claim_Names", []any{1})),
		"jku":                                header(setIn("jku", "https://evil.test/jwks")),
		"jku, no text":                       header(setIn("jku", 7)),
		"x5u":                                header(setIn("x5u", "https://evil.test/cert")),
		"x5t, no text":                       header(setIn("x5t", []any{1})),
		"jwk of another":                     header(setIn("jwk", gatewaytest.NewOPKey("ES256", "evil").JWK())),
		"jwk, no key":                        header(setIn("jwk", map[string]any{})),
		"jwk, a text":                        header(setIn("jwk", "x")),
		"x5c, no certificates":               header(setIn("x5c", []string{"AAAA"})),
		"x5c, a text":                        header(setIn("x5c", "AAAA")),
		"nonce in the header":                header(setIn("nonce", 5)),
		"an unknown parameter":               header(setIn("cty", nil)),
		"empty endpoints":                    fixedHooks(gatewaytest.OPHooks{Discovery: func(d map[string]any) { d["userinfo_endpoint"], d["end_session_endpoint"] = "", "" }}),
	} {
		t.Run(name, func(t *testing.T) {
			t.Parallel()
			op := inProcess(t)
			op.SetHooks(hooks(op))
			if got := mustLogin(t, op, newProvider(t, op)); got.Subject != "a1ice-0001" || got.Identity.Username != "alice" {
				t.Errorf("got %+v", got)
			}
		})
	}
}

// wantCheap holds what f takes to a bound. It is generous: what it is to catch
// is quadratic. If the machine is slow or busy, encoding/json is slow as well,
// and the bound grows with it.
func wantCheap(t *testing.T, f func()) {
	t.Helper()
	start := time.Now()
	f()
	took := time.Since(start)
	if took <= 2*time.Second {
		return
	}
	plain := []byte(manyNames(1 << 16))
	start = time.Now()
	for range 8 {
		var v any
		if err := json.Unmarshal(plain, &v); err != nil {
			t.Fatal(err)
		}
	}
	if allowed := time.Since(start); took > allowed {
		t.Errorf("took %v, %v are allowed", took, allowed)
	}
}

// TestBadInputIsCheap holds the largest answers that are read to a bound.
func TestBadInputIsCheap(t *testing.T) {
	const size = 1 << 20
	for name, body := range map[string]string{
		"one long string":    `{"x":"` + strings.Repeat("x", size-100) + `"}`,
		"escapes":            `{"x":"` + strings.Repeat(`\ud83d\ude00`, size/12-100) + `"}`,
		"deep":               strings.Repeat(`{"a":`, size/6-100) + "1" + strings.Repeat("}", size/6-100),
		"9,000 levels":       strings.Repeat(`{"a":`, 9000) + "1" + strings.Repeat("}", 9000),
		"wide":               `{"x":[` + strings.Repeat("{},", size/3-100) + `{}]}`,
		"many names":         manyNames(size / 12),
		"one name each time": `{` + strings.Repeat(`"a":1,`, size/6-100) + `"a":1}`,
		"dots":               `{"id_token":"` + strings.Repeat(".", size-100) + `","access_token":"x","token_type":"Bearer"}`,
		"token of one part":  `{"id_token":"` + strings.Repeat("A", size-100) + `","access_token":"x","token_type":"Bearer"}`,
		"long numbers":       `{"x":` + strings.Repeat("9", size-100) + `}`,
		"token of numbers":   `{"id_token":"e30.e30.` + strings.Repeat("A", size-200) + `","access_token":"x","token_type":"Bearer"}`,
	} {
		t.Run(name, func(t *testing.T) {
			if len(body) > size {
				t.Fatalf("the body has %d bytes", len(body))
			}
			op := inProcess(t)
			p := newProvider(t, op)
			op.SetHooks(gatewaytest.OPHooks{Serve: map[string]http.HandlerFunc{gatewaytest.OPTokenPath: func(w http.ResponseWriter, _ *http.Request) {
				w.Header().Set("Content-Type", "application/json")
				_, _ = io.WriteString(w, body)
			}}})
			wantCheap(t, func() {
				if _, err := op.Login(t.Context(), p); err == nil {
					t.Error("was let in")
				}
			})
		})
	}
	t.Run("a path with 127 dots", func(t *testing.T) {
		path := strings.Repeat("a.", 126) + "a"
		nested := any("x")
		for range 9 { // 3 to the ninth objects
			nested = map[string]any{"a": nested, "a.a": nested, "a.a.a": nested}
		}
		data, err := json.Marshal(nested)
		if err != nil {
			t.Fatal(err)
		}
		obj, err := oidcrp.ReadObject(data)
		if err != nil {
			t.Fatal(err)
		}
		wantCheap(t, func() {
			if oidcrp.Find(obj, path) != nil {
				t.Error("found")
			}
		})
	})
}

func manyNames(n int) string {
	var b strings.Builder
	b.WriteString(`{"":0`)
	for i := range n {
		b.WriteString(`,"`)
		b.WriteString(strings.ToLower(string(rune('a'+i%26)) + string(rune('a'+i/26%26)) + string(rune('a'+i/676%26)) + string(rune('a'+i/17576%26))))
		b.WriteString(`":0`)
	}
	return b.String() + "}"
}
