package verify_test

import (
	"crypto/elliptic"
	"encoding/asn1"
	"encoding/base64"
	"encoding/json"
	"math"
	"math/big"
	"slices"
	"strings"
	"testing"
	"testing/synctest"

	"github.com/go-jose/go-jose/v4"

	"github.com/caddy-sso/caddy-sso/gateway/signing/verify"
)

// TestVerifyAttack: every attack is one change of an assertion that is
// accepted. why is part of the error, so that none is refused for another
// reason than the one it is about.
func TestVerifyAttack(t *testing.T) {
	t.Parallel()
	f := newForger(t)
	for _, test := range attacks(t, f) {
		t.Run(test.name, func(t *testing.T) {
			t.Parallel()
			synctest.Test(t, func(t *testing.T) {
				v := newVerifier(t, verify.Config{Keys: f.jwks(t)})
				if _, err := v.Verify(t.Context(), f.es256(t, f.ec, goodHeader, string(marshal(t, goodClaims(nil))))); err != nil {
					t.Fatalf("control is refused: %v", err)
				}
				id, err := v.Verify(t.Context(), test.token)
				if err == nil || id != nil {
					t.Fatalf("accepted as %+v", id)
				}
				if !strings.Contains(err.Error(), test.why) {
					t.Errorf("refused because %q, want %q", err, test.why)
				}
			})
		})
	}
}

type attack struct{ name, token, why string }

func attacks(t *testing.T, f *forger) []attack {
	t.Helper()
	payload := string(marshal(t, goodClaims(nil)))
	good := f.es256(t, f.ec, goodHeader, payload)
	list := []attack{
		{"empty", "", "three parts"},
		{"one part", "abc", "three parts"},
		{"two parts", good[:strings.LastIndex(good, ".")], "three parts"},
		{"four parts", good + ".e30", "three parts"},
		{"five parts as in a JWE", good + ".e30.e30", "three parts"},
		{"empty parts", "..", "not a JSON object"},
		{"blank before", " " + good, "not a compact JWS"},
		{"line break inside", good[:20] + "\n" + good[20:], "not a compact JWS"},
		{"padding", good + "=", "not a compact JWS"},
		{"comma-joined", good + "," + good, "not a compact JWS"},
		{"Bearer before", "Bearer " + good, "not a compact JWS"},
		{"oversized", good + strings.Repeat("A", 64<<10), "65536 bytes"},
		{"oversized payload with a good signature", f.es256(t, f.ec, goodHeader, `{"x":"`+strings.Repeat("x", 64<<10)+`"}`), "65536 bytes"},
		{"JSON serialisation", flattened(t, good), "not a compact JWS"},
		{"no signature", good[:strings.LastIndex(good, ".")+1], "signature"},
		{"last bit of the signature", good[:len(good)-2] + flip(good[len(good)-2]) + good[len(good)-1:], "signature"},
		{"signature of zeros", good[:strings.LastIndex(good, ".")+1] + strings.Repeat("A", 86), "signature"},
		{"signature cut", good[:len(good)-4], "signature"},
		{"payload of another", swapPayload(good, marshal(t, goodClaims(map[string]any{"sub": "other"}))), "signature"},
		{"unpublished key", f.es256(t, f.other, goodHeader, payload), "signature"},
	}
	list = append(list, signatureAttacks(t, f, good)...)
	list = append(list, headerAttacks(t, f, payload)...)
	return append(list, claimAttacks(t, f, payload)...)
}

// signatureAttacks write the signature of a good assertion in other ways.
func signatureAttacks(t *testing.T, f *forger, good string) []attack {
	t.Helper()
	input := good[:strings.LastIndex(good, ".")]
	raw, err := base64.RawURLEncoding.DecodeString(good[len(input)+1:])
	if err != nil {
		t.Fatal(err)
	}
	zero, order := make([]byte, 32), elliptic.P256().Params().N
	s := new(big.Int).SetBytes(raw[32:])
	der, err := asn1.Marshal(struct{ R, S *big.Int }{new(big.Int).SetBytes(raw[:32]), s})
	if err != nil {
		t.Fatal(err)
	}
	var list []attack
	for name, signature := range map[string][]byte{
		"r zero": append(slices.Clone(zero), raw[32:]...), "s zero": append(slices.Clone(raw[:32]), zero...),
		"r of the order": append(order.FillBytes(make([]byte, 32)), raw[32:]...), "half": raw[:32], "halves swapped": append(slices.Clone(raw[32:]), raw[:32]...),
		"DER": der, "trailing zero": append(slices.Clone(raw), 0), "leading zero": append([]byte{0}, raw...),
		"halves of 33 bytes": slices.Concat([]byte{0}, raw[:32], []byte{0}, raw[32:]), "s of 33 bytes": slices.Concat(raw[:32], []byte{0}, raw[32:]),
		"s plus the order": slices.Concat(raw[:32], new(big.Int).Add(s, order).Bytes()),
	} {
		list = append(list, attack{"signature: " + name, input + "." + encode(signature), "signature is not valid"})
	}
	// Four bits of the last letter are zero: it is A, Q, g or w.
	return append(list,
		attack{"signature: another letter for the same bytes", good[:len(good)-1] + string(good[len(good)-1]+1), "signature is not base64url"},
		attack{"signature: one letter too many", good + "A", "signature is"},
		attack{"signature: letters of plain base64", input + "." + strings.Repeat("+/", 43), "not a compact JWS"},
	)
}

func headerAttacks(t *testing.T, f *forger, payload string) []attack {
	t.Helper()
	var list []attack
	add := func(name, header, why string) {
		list = append(list, attack{name, f.es256(t, f.ec, header, payload), why})
	}
	with := func(member string) string { return strings.TrimSuffix(goodHeader, "}") + "," + member + "}" }
	embedded := string(marshal(t, jose.JSONWebKey{Key: f.other.Public(), KeyID: "ec"}))
	const algorithm = "accepted algorithm"

	none := encode([]byte(`{"alg":"none","kid":"ec","typ":"JWT"}`)) + "." + encode([]byte(payload)) + "."
	list = append(list,
		attack{"alg none", none, algorithm},
		attack{"alg none with a signature", none + "AAAA", algorithm},
		attack{"HS256 with the public key in PEM", hs256(publicPEM(t, f.ec.Public()), `{"alg":"HS256","kid":"ec","typ":"JWT"}`, payload), algorithm},
		attack{"HS256 with the JWK Set", hs256(f.jwks(t), `{"alg":"HS256","kid":"ec","typ":"JWT"}`, payload), algorithm},
		attack{"RS256 where it is not configured", f.rs256(t, `{"alg":"RS256","kid":"rsa","typ":"JWT"}`, payload), algorithm},
		attack{"RSA signature as ES256", f.rs256(t, `{"alg":"ES256","kid":"rsa","typ":"JWT"}`, payload), "algorithm is not the key's"},
		attack{"embedded key", f.es256(t, f.other, with(`"jwk":`+embedded), payload), "jwk is not allowed"},
		attack{"header no base64", "A" + f.es256(t, f.ec, goodHeader, payload), "header"},
	)
	add("alg NONE", `{"alg":"NONE","kid":"ec","typ":"JWT"}`, algorithm)
	add("alg in lower case", `{"alg":"es256","kid":"ec","typ":"JWT"}`, algorithm)
	add("no alg", `{"kid":"ec","typ":"JWT"}`, algorithm)
	add("alg ES384", `{"alg":"ES384","kid":"ec","typ":"JWT"}`, algorithm)
	add("alg twice", with(`"alg":"none"`), "one name twice")
	add("alg as list", `{"alg":["ES256"],"kid":"ec","typ":"JWT"}`, "alg has the wrong type")
	add("wrong kid", `{"alg":"ES256","kid":"other","typ":"JWT"}`, "no key")
	add("kid of the RSA key", `{"alg":"ES256","kid":"rsa","typ":"JWT"}`, "algorithm is not the key's")
	add("no kid", `{"alg":"ES256","typ":"JWT"}`, "kid is missing")
	add("empty kid", `{"alg":"ES256","kid":"","typ":"JWT"}`, "kid is missing")
	add("kid as number", `{"alg":"ES256","kid":1,"typ":"JWT"}`, "kid has the wrong type")
	add("kid in another case", `{"alg":"ES256","KID":"ec","typ":"JWT"}`, "kid is missing")
	add("kid as path", `{"alg":"ES256","kid":"../../ec","typ":"JWT"}`, "no key")
	add("no typ", `{"alg":"ES256","kid":"ec"}`, "typ")
	add("typ of an access token", `{"alg":"ES256","kid":"ec","typ":"at+jwt"}`, "typ")
	add("typ of a logout token", `{"alg":"ES256","kid":"ec","typ":"logout+jwt"}`, "typ")
	add("typ null", `{"alg":"ES256","kid":"ec","typ":null}`, "typ")
	add("crit", with(`"crit":["exp"],"exp":1`), "crit is not allowed")
	add("crit empty", with(`"crit":[]`), "crit is not allowed")
	add("b64 false", with(`"b64":false`), "b64 is not allowed")
	add("zip", with(`"zip":"DEF"`), "zip is not allowed")
	add("jku", with(`"jku":"https://attacker.example/jwks.json"`), "jku is not allowed")
	add("x5u", with(`"x5u":"https://attacker.example/cert.pem"`), "x5u is not allowed")
	add("x5c", with(`"x5c":["AAAA"]`), "x5c is not allowed")
	add("header is a list", `[`+goodHeader+`]`, "not a JSON object")
	add("header begins with a byte order mark", "\ufeff"+goodHeader, "not a JSON object")
	add("header of UTF-16", strings.Join(strings.Split(goodHeader, ""), "\x00")+"\x00", "not a JSON object")
	add("deep header", strings.Repeat("[", 40_000), "not a JSON object")
	add("alg twice, in an object inside", with(`"x":{"alg":"none"},"x":1`), "one name twice")
	add("something after the header", goodHeader+`{}`, "not a JSON object")
	return list
}

func claimAttacks(t *testing.T, f *forger, payload string) []attack {
	t.Helper()
	var list []attack
	raw := func(name, payload, why string) {
		list = append(list, attack{name, f.es256(t, f.ec, goodHeader, payload), why})
	}
	add := func(name, claim string, value any, why string) {
		raw(name, string(marshal(t, goodClaims(map[string]any{claim: value}))), why)
	}
	const wrongType, expired, early = "wrong type", "expired", "not valid yet"
	for _, claim := range []string{"iss", "aud", "sub", "iat", "nbf", "exp"} {
		add("no "+claim, claim, nil, claim+" is missing")
		add(claim+" null", claim, json.RawMessage("null"), claim+" has the wrong type")
		changed := goodClaims(map[string]any{strings.ToUpper(claim): goodClaims(nil)[claim], claim: nil})
		raw(claim+" in another case only", string(marshal(t, changed)), claim+" is missing")
	}
	add("iss of another", "iss", "https://attacker.example", "issuer is")
	add("iss with a slash", "iss", issuer+"/", "issuer is")
	add("iss in another case", "iss", strings.ToUpper(issuer), "issuer is")
	add("iss as list", "iss", []string{issuer}, wrongType)
	add("aud of another app", "aud", "other.example.com", "audience is")
	add("aud that begins with ours", "aud", audience+".attacker.example", "audience is")
	add("aud empty", "aud", "", "audience is")
	add("aud an empty array", "aud", []string{}, wrongType)
	add("aud an array of another", "aud", []string{"other.example.com"}, "audience is")
	add("aud an array of ours and another", "aud", []string{audience, "other.example.com"}, wrongType)
	add("aud an array of another and ours", "aud", []string{"other.example.com", audience}, wrongType)
	add("aud an array with null", "aud", []any{nil}, wrongType)
	add("aud a nested array", "aud", [][]string{{audience}}, wrongType)
	add("aud an object", "aud", map[string]string{audience: audience}, wrongType)
	add("sub empty", "sub", "", "sub is empty")
	add("sub a number", "sub", 1, wrongType)
	add("expired", "exp", now-31, expired)
	add("exp zero", "exp", 0, expired)
	add("exp negative", "exp", -1, wrongType)
	add("exp true", "exp", true, wrongType)
	add("iat true", "iat", true, wrongType)
	add("exp text", "exp", "946684860", wrongType)
	add("exp a fraction", "exp", now+60.5, wrongType)
	add("exp beyond all years", "exp", int64(1)<<62, wrongType)
	add("exp beyond int64", "exp", json.RawMessage("1e30"), wrongType)
	add("nbf in the future", "nbf", now+31, early)
	add("nbf so far ahead that it wraps around", "nbf", int64(math.MaxInt64), wrongType)
	add("iat in the future", "iat", now+31, early)
	add("email a list", "email", []string{"a@example.com"}, wrongType)
	add("email_verified text", "email_verified", "true", wrongType)
	add("email_verified a number", "email_verified", 1, wrongType)
	add("roles text", "roles", "Admin", wrongType)
	add("roles null", "roles", json.RawMessage("null"), wrongType)
	add("roles with null", "roles", []any{"Admin", nil}, wrongType)
	add("groups an object", "groups", map[string]any{"0": "ops"}, wrongType)
	add("auth_time text", "auth_time", "now", wrongType)

	raw("claim twice", strings.TrimSuffix(payload, "}")+`,"sub":"other"}`, "one name twice")
	raw("claim twice, once escaped", strings.TrimSuffix(payload, "}")+`,"\u0073ub":"other"}`, "one name twice")
	raw("claim twice, far apart", strings.TrimSuffix(payload, "}")+`,"x":["}",{"y":"\\\":"}],"aud" : "`+audience+`"}`, "one name twice")
	raw("NaN", strings.TrimSuffix(payload, "}")+`,"x":NaN}`, "not a JSON object")
	raw("line break in a text", strings.Replace(payload, "Alice", "Al\nice", 1), "not a JSON object")
	raw("not UTF-8", strings.Replace(payload, "Alice", "Al\xffce", 1), "not UTF-8")
	raw("payload empty", "", "not a JSON object")
	raw("payload a list", "["+payload+"]", "not a JSON object")
	raw("payload null", "null", "not a JSON object")
	raw("payload cut", strings.TrimSuffix(payload, "}"), "not a JSON object")
	raw("something after the payload", payload+"{}", "not a JSON object")
	return list
}

// flattened returns a token in the JSON serialisation (RFC 7515 §7.2.2).
func flattened(t *testing.T, token string) string {
	t.Helper()
	parts := strings.Split(token, ".")
	return string(marshal(t, map[string]string{"protected": parts[0], "payload": parts[1], "signature": parts[2]}))
}

func swapPayload(token string, payload []byte) string {
	parts := strings.Split(token, ".")
	return parts[0] + "." + base64.RawURLEncoding.EncodeToString(payload) + "." + parts[2]
}

// flip returns another letter of base64url for c.
func flip(c byte) string {
	if c == 'A' {
		return "B"
	}
	return "A"
}
