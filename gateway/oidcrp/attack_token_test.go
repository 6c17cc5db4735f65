package oidcrp_test

import (
	"crypto/rand"
	"crypto/rsa"
	"crypto/x509"
	"encoding/base64"
	"encoding/json"
	"encoding/pem"
	"strings"
	"time"

	"github.com/caddy-sso/caddy-sso/gateway"
	"github.com/caddy-sso/caddy-sso/gateway/gatewaytest"
)

type opHooks = func(*gatewaytest.OP) gatewaytest.OPHooks

// token changes the ID token after it was signed.
func token(change func(jws string) string) opHooks {
	return fixedHooks(gatewaytest.OPHooks{IDToken: change})
}

// header changes the header before the token is signed.
func header(change func(map[string]any)) opHooks {
	return fixedHooks(gatewaytest.OPHooks{Header: change})
}

func claims(change func(map[string]any)) opHooks {
	return fixedHooks(gatewaytest.OPHooks{Claims: change})
}

func payloadOf(jws string) []byte {
	payload, err := base64.RawURLEncoding.DecodeString(strings.Split(jws, ".")[1])
	if err != nil {
		panic(err)
	}
	return payload
}

// signedBy signs the same claims by another key, under a header of its own.
func signedBy(head map[string]any, key any) opHooks {
	return forged(func(jws string) string { return gatewaytest.SignJWS(head, payloadOf(jws), key) })
}

// forged is token by somebody who leaves out what he need not forge.
func forged(change func(jws string) string) opHooks {
	return fixedHooks(gatewaytest.OPHooks{IDToken: change, Claims: deleteFrom("at_hash")})
}

func headerAttacks() []attack {
	malformed, alg := gateway.CodeOIDCTokenMalformed, gateway.CodeOIDCAlgorithm
	rawHeader := func(head string) opHooks {
		return func(op *gatewaytest.OP) gatewaytest.OPHooks {
			return gatewaytest.OPHooks{IDToken: func(jws string) string {
				return gatewaytest.SignRawJWS([]byte(head), payloadOf(jws), "ES256", op.Key.Signer)
			}}
		}
	}
	parts := func(change func(p []string) string) opHooks {
		return token(func(jws string) string { return change(strings.Split(jws, ".")) })
	}
	evil := gatewaytest.NewOPKey("ES256", "evil")
	return []attack{
		{name: "header/typ at+jwt", hooks: header(setIn("typ", "at+jwt")), stops: []string{"typ"}, code: malformed},
		{name: "header/typ logout+jwt", hooks: header(setIn("typ", "logout+jwt")), stops: []string{"typ"}, code: malformed},
		{name: "header/typ empty", hooks: header(setIn("typ", "")), stops: []string{"typ"}, code: malformed},
		{name: "header/typ as a number", hooks: header(setIn("typ", 1)), fixed: library, code: malformed},
		{name: "header/typ null", hooks: header(setIn("typ", nil)), stops: []string{"header types", "typ"}, code: malformed},
		{name: "header/crit with exp", hooks: header(setIn("crit", []string{"exp"})), fixed: library, code: malformed},
		{name: "header/crit empty", hooks: header(setIn("crit", []string{})), stops: []string{"crit"}, code: malformed},
		{name: "header/crit that go-jose knows", hooks: header(func(h map[string]any) { h["crit"], h["b64"] = []string{"b64"}, true }), stops: []string{"crit"}, code: malformed},
		{name: "header/b64 without crit", hooks: header(setIn("b64", true)), stops: []string{"crit"}, code: malformed},
		{name: "header/zip", hooks: header(setIn("zip", "DEF")), stops: []string{"crit"}, code: malformed},
		{name: "header/jwk of the provider", hooks: func(op *gatewaytest.OP) gatewaytest.OPHooks {
			return gatewaytest.OPHooks{Header: setIn("jwk", op.Key.JWK())}
		}, stops: []string{"header keys"}, code: malformed},
		{
			name: "header/jwk of an attacker, CVE-2018-0114", hooks: signedBy(map[string]any{"alg": "ES256", "jwk": evil.JWK()}, evil.Signer),
			stops: []string{"header keys", "signature", second}, code: malformed,
		},
		{name: "header/jku", hooks: header(setIn("jku", "https://evil.test/jwks")), stops: []string{"header keys"}, code: malformed},
		{name: "header/x5u", hooks: header(setIn("x5u", "https://evil.test/cert")), stops: []string{"header keys"}, code: malformed},
		{name: "header/alg twice", hooks: rawHeader(`{"alg":"ES256","alg":"ES256","kid":"one"}`), fixed: library, code: malformed},
		{name: "header/ALG beside alg", hooks: rawHeader(`{"ALG":"ES256","kid":"one"}`), fixed: library, code: alg},
		{name: "header/alg missing", hooks: rawHeader(`{"kid":"one"}`), fixed: library, code: alg},
		{name: "header/alg as an array", hooks: rawHeader(`{"alg":["ES256"],"kid":"one"}`), fixed: library, code: malformed},
		{name: "header/array", hooks: rawHeader(`["ES256"]`), fixed: library, code: malformed},
		{name: "header/no JSON", hooks: rawHeader(`alg`), fixed: library, code: malformed},
		{name: "form/two parts", hooks: parts(func(p []string) string { return p[0] + "." + p[1] }), fixed: reading, code: malformed},
		{name: "form/four parts", hooks: token(func(jws string) string { return jws + ".x" }), stops: []string{"compact form"}, code: malformed},
		{name: "form/JWE", hooks: parts(func(p []string) string { return p[0] + ".key.iv.text.tag" }), fixed: reading, code: malformed},
		{name: "form/five parts that begin with a JWS", hooks: token(func(jws string) string { return jws + ".x.y" }), stops: []string{"compact form"}, code: malformed},
		{name: "form/flattened JSON serialisation", hooks: parts(func(p []string) string {
			return `{"protected":"` + p[0] + `","payload":"` + p[1] + `","signature":"` + p[2] + `"}`
		}), fixed: reading, code: malformed},
		{name: "form/general JSON serialisation", hooks: parts(func(p []string) string {
			return `{"payload":"` + p[1] + `","signatures":[{"protected":"` + p[0] + `","signature":"` + p[2] + `"}]}`
		}), fixed: reading, code: malformed},
		{name: "form/line break within", hooks: parts(func(p []string) string { return p[0] + "." + p[1][:4] + "\n" + p[1][4:] + "." + p[2] }), fixed: library, code: malformed},
		{name: "form/line break at the end of a part", hooks: parts(func(p []string) string { return p[0] + "." + p[1] + "." + p[2] + "\n" }), stops: []string{"compact form"}, code: malformed},
		{name: "form/blank in front", hooks: token(func(jws string) string { return " " + jws }), fixed: reading, code: malformed},
		{name: "form/padding", hooks: parts(func(p []string) string { return p[0] + "." + p[1] + "." + p[2] + "==" }), fixed: reading, code: malformed},
		{name: "form/detached payload", hooks: parts(func(p []string) string { return p[0] + ".." + p[2] }), fixed: reading, code: gateway.CodeOIDCSignature},
		{name: "form/empty", hooks: token(func(string) string { return "" }), fixed: nothing, code: malformed},
		{name: "form/dots", hooks: token(func(string) string { return ".." }), fixed: nothing, code: malformed},
	}
}

func signatureAttacks() []attack {
	bad, alg := gateway.CodeOIDCSignature, gateway.CodeOIDCAlgorithm
	both := []string{"signature", second}
	unannounced := []string{"alg", "signature", second}
	evil := gatewaytest.NewOPKey("ES256", "evil")
	es256 := func(kid string) map[string]any { return map[string]any{"alg": "ES256", "kid": kid, "typ": "JWT"} }
	return []attack{
		{name: "signature/other key under the same kid", hooks: signedBy(es256("one"), evil.Signer), stops: both, code: bad},
		{name: "signature/other key under its own kid", hooks: signedBy(es256("evil"), evil.Signer), stops: both, code: bad},
		{name: "signature/other key without kid", hooks: signedBy(map[string]any{"alg": "ES256"}, evil.Signer), stops: both, code: bad},
		{name: "signature/kid as a path", hooks: signedBy(es256("../../../../dev/null"), []byte{}), stops: both, code: bad},
		{name: "signature/empty", hooks: token(func(jws string) string { return jws[:strings.LastIndexByte(jws, '.')+1] }), stops: both, code: bad},
		{name: "signature/all zero, CVE-2022-21449", hooks: token(func(jws string) string {
			return jws[:strings.LastIndexByte(jws, '.')+1] + strings.Repeat("A", 86)
		}), stops: both, code: bad},
		{name: "signature/claims exchanged", hooks: token(func(jws string) string {
			p := strings.Split(jws, ".")
			return p[0] + "." + base64.RawURLEncoding.EncodeToString([]byte(strings.Replace(string(payloadOf(jws)), "alice@", "root@", 1))) + "." + p[2]
		}), stops: both, code: bad},
		{name: "alg/none", hooks: signedBy(map[string]any{"alg": "none"}, nil), stops: unannounced, code: alg},
		{name: "alg/none in mixed case", hooks: signedBy(map[string]any{"alg": "nOnE"}, nil), stops: unannounced, code: alg},
		{name: "alg/none that keeps the signature", hooks: forged(func(jws string) string {
			return base64.RawURLEncoding.EncodeToString([]byte(`{"alg":"none"}`)) + jws[strings.IndexByte(jws, '.'):]
		}), stops: unannounced, code: alg},
		{name: "alg/HS256 with the client secret", hooks: func(op *gatewaytest.OP) gatewaytest.OPHooks {
			return signedBy(map[string]any{"alg": "HS256"}, []byte(op.ClientSecret))(op)
		}, stops: unannounced, code: alg},
		{name: "alg/HS256 with the public key, CVE-2015-9235", hooks: func(op *gatewaytest.OP) gatewaytest.OPHooks {
			der, err := x509.MarshalPKIXPublicKey(op.Key.Signer.Public())
			if err != nil {
				panic(err)
			}
			return signedBy(map[string]any{"alg": "HS256", "kid": "one"}, pem.EncodeToMemory(&pem.Block{Type: "PUBLIC KEY", Bytes: der}))(op)
		}, stops: unannounced, code: alg},
		{
			name: "alg/known but not announced", base: publish(gatewaytest.NewOPKey("RS256", "rsa")),
			hooks: signedWith(gatewaytest.NewOPKey("RS256", "rsa")), stops: []string{"alg", second}, code: alg,
		},
		{name: "alg/of another type than the key's", hooks: signedBy(map[string]any{"alg": "ES384", "kid": "one"}, gatewaytest.NewOPKey("ES384", "evil").Signer), stops: unannounced, code: alg},
	}
}

// publish adds a key to the JWKS.
func publish(key gatewaytest.OPKey) opHooks {
	return fixedHooks(gatewaytest.OPHooks{JWKS: func(set map[string]any) {
		set["keys"] = append(set["keys"].([]any), key.JWK())
	}})
}

func signedWith(key gatewaytest.OPKey) opHooks {
	return fixedHooks(gatewaytest.OPHooks{Key: &key})
}

// keyAttacks sign by a key that the provider publishes, but not for this.
func keyAttacks() []attack {
	other := gatewaytest.NewOPKey("ES256", "two")
	bad := gateway.CodeOIDCSignature
	base := fixedHooks(gatewaytest.OPHooks{Key: &other, JWKS: func(set map[string]any) {
		set["keys"] = append(set["keys"].([]any), other.JWK())
	}})
	as := func(change func(map[string]any)) opHooks {
		return fixedHooks(gatewaytest.OPHooks{JWKS: func(set map[string]any) {
			change(set["keys"].([]any)[1].(map[string]any))
		}})
	}
	weak := func(op *gatewaytest.OP) gatewaytest.OPHooks {
		small, err := rsa.GenerateKey(rand.Reader, 1024) // weak on purpose
		if err != nil {
			panic(err)
		}
		key := gatewaytest.OPKey{KID: "small", Alg: "RS256", Signer: small}
		h := publish(key)(op)
		h.Key = &key
		return h
	}
	announce := fixedHooks(gatewaytest.OPHooks{Discovery: setIn("id_token_signing_alg_values_supported", []string{"ES256", "RS256"})})
	list := []attack{
		{name: "key/for encryption", hooks: as(setIn("use", "enc")), stops: []string{"key use"}, code: bad},
		{name: "key/of unknown use", hooks: as(setIn("use", "tls")), stops: []string{"key use"}, code: bad},
		{name: "key/use as an array", hooks: as(setIn("use", []string{"enc"})), stops: []string{"key types", "key use"}, code: bad},
		{name: "key/operations for encryption", hooks: as(setIn("key_ops", []string{"encrypt", "wrapKey"})), stops: []string{"key operations"}, code: bad},
		{name: "key/no operations", hooks: as(setIn("key_ops", []string{})), stops: []string{"key operations"}, code: bad},
		{name: "key/operations as a number", hooks: as(setIn("key_ops", 7)), stops: []string{"key types", "key operations"}, code: bad},
		{name: "key/published with its private part", hooks: as(setIn("d", "AQAB")), stops: []string{"key not private"}, code: bad},
		{name: "key/RSA with 1024 bits", base: announce, hooks: weak, stops: []string{"key size"}, code: bad},
		{name: "key/for another algorithm", hooks: as(setIn("alg", "ES384")), fixed: "a key fits or does not: key.fits", code: bad},
		{name: "key/under the kid of another", hooks: header(setIn("kid", "one")), fixed: "a key fits or does not: key.fits", code: bad},
		{name: "key/off its curve", hooks: as(setIn("x", strings.Repeat("A", 43))), fixed: library, code: bad},
		{name: "key/symmetric", hooks: as(func(jwk map[string]any) {
			for _, n := range []string{"x", "y", "crv"} {
				delete(jwk, n)
			}
			jwk["kty"], jwk["k"] = "oct", "c2VjcmV0"
		}), fixed: "publicKey reads no such type", code: bad},
		{name: "key/kid as a number", hooks: as(setIn("kid", 2)), fixed: "the token names no such kid", code: bad},
	}
	for i := range list {
		if list[i].base == nil {
			list[i].base = base
		}
	}
	return list
}

func claimAttacks() []attack {
	iss, aud, when := gateway.CodeOIDCIssuerMismatch, gateway.CodeOIDCAudience, gateway.CodeOIDCTime
	invalid, nonce := gateway.CodeOIDCClaimInvalid, gateway.CodeOIDCNonce
	at := func(name string, d time.Duration) opHooks {
		return claims(func(c map[string]any) { c[name] = time.Now().Add(d).Unix() })
	}
	set := func(name string, v any) opHooks { return claims(setIn(name, v)) }
	del := func(name string) opHooks { return claims(deleteFrom(name)) }
	only := func(check string) []string { return []string{check} }
	both := func(check string) []string { return []string{check, second} }
	typed := func(check string) []string { return []string{"claim types", check} }
	return []attack{
		{name: "iss/another", hooks: set("iss", "https://evil.test"), stops: both("iss"), code: iss},
		{name: "iss/with a slash more", hooks: set("iss", "https://op.test/"), stops: both("iss"), code: iss},
		{name: "iss/in capitals", hooks: set("iss", "https://OP.test"), stops: both("iss"), code: iss},
		{name: "iss/missing", hooks: del("iss"), stops: both("iss"), code: iss},
		{name: "iss/as an array", hooks: set("iss", []string{"https://op.test"}), stops: []string{"claim types", "iss", second}, code: invalid},
		{name: "aud/another", hooks: set("aud", "other"), stops: both("aud"), code: aud},
		{name: "aud/longer than ours", hooks: set("aud", "gateway:12"), stops: both("aud"), code: aud},
		{name: "aud/empty array", hooks: set("aud", []string{}), stops: both("aud"), code: aud},
		{name: "aud/missing", hooks: del("aud"), stops: both("aud"), code: aud},
		{name: "aud/with a number", hooks: set("aud", []any{"gateway:1", 7}), stops: []string{"claim types", second}, code: invalid},
		{name: "aud/as an object", hooks: set("aud", map[string]any{"gateway:1": true}), stops: []string{"claim types", "aud", second}, code: invalid},
		{name: "azp/another", hooks: set("azp", "other"), stops: only("azp"), code: aud},
		{name: "azp/empty", hooks: set("azp", ""), stops: only("azp"), code: aud},
		{name: "azp/another beside several audiences", hooks: claims(func(c map[string]any) {
			c["aud"], c["azp"] = []string{"gateway:1", "other"}, "other"
		}), stops: only("azp"), code: aud},
		{name: "azp/missing beside several audiences", hooks: claims(func(c map[string]any) {
			c["aud"] = []string{"gateway:1", "other"}
			delete(c, "azp")
		}), stops: only("azp"), code: aud},
		{name: "exp/past", hooks: at("exp", -2*time.Minute), stops: both("exp"), code: when},
		{name: "exp/just beyond the skew", hooks: at("exp", -time.Minute), stops: both("exp"), code: when},
		{name: "exp/missing", hooks: del("exp"), stops: both("exp"), code: when},
		{name: "exp/as a string", hooks: set("exp", "9999999999"), stops: typed("exp"), code: invalid},
		{name: "exp/null", hooks: set("exp", nil), stops: []string{"claim types", "exp", second}, code: invalid},
		{name: "exp/beyond all time", hooks: set("exp", json.Number("1e300")), stops: []string{"claim types", "exp", second}, code: invalid},
		{name: "iat/future", hooks: at("iat", 2*time.Minute), stops: only("iat"), code: when},
		{name: "iat/before the login began", hooks: at("iat", -10*time.Minute), stops: only("iat"), code: when},
		{name: "iat/missing", hooks: del("iat"), stops: only("iat"), code: when},
		{name: "iat/negative", hooks: set("iat", -1), stops: typed("iat"), code: invalid},
		{name: "nbf/future", hooks: at("nbf", 2*time.Minute), stops: only("nbf"), code: when},
		{name: "nbf/far future", hooks: at("nbf", time.Hour), stops: both("nbf"), code: when},
		{name: "nbf/as a boolean", hooks: set("nbf", true), stops: []string{"claim types", second}, code: invalid},
		{name: "nonce/another", hooks: set("nonce", "AAAAAAAAAAAAAAAAAAAAAAAAAA"), stops: only("nonce"), code: nonce},
		{name: "nonce/missing", hooks: del("nonce"), stops: only("nonce"), code: nonce},
		{name: "nonce/empty", hooks: set("nonce", ""), stops: only("nonce"), code: nonce},
		{name: "nonce/as an array", hooks: claims(func(c map[string]any) { c["nonce"] = []any{c["nonce"]} }), stops: []string{"claim types", "nonce", second}, code: invalid},
		{name: "sub/missing", hooks: del("sub"), stops: only("sub"), code: invalid},
		{name: "sub/empty", hooks: set("sub", ""), stops: only("sub"), code: invalid},
		{name: "sub/256 bytes", hooks: set("sub", strings.Repeat("x", 256)), stops: only("sub"), code: invalid},
		{name: "sub/with NUL", hooks: set("sub", "a\x00b"), stops: only("sub"), code: invalid},
		{name: "sub/as a number", hooks: set("sub", 1001), stops: []string{"claim types", "sub", second}, code: invalid},
		{name: "sub/null", hooks: set("sub", nil), stops: typed("sub"), code: invalid},
		{name: "sid/256 bytes", hooks: set("sid", strings.Repeat("x", 256)), stops: only("bounds"), code: invalid},
		{name: "sid/as a number", hooks: set("sid", 5), stops: only("claim types"), code: invalid},
		{name: "amr/as a string", hooks: set("amr", "pwd"), stops: only("claim types"), code: invalid},
		{name: "amr/of 33 methods", hooks: set("amr", strings.Split(strings.Repeat("x,", 32)+"x", ",")), stops: only("bounds"), code: invalid},
		{name: "acr/as an object", hooks: set("acr", map[string]any{}), stops: only("claim types"), code: invalid},
		{name: "at_hash/of another access token", hooks: set("at_hash", "AAAAAAAAAAAAAAAAAAAAAA"), stops: only("at_hash"), code: gateway.CodeOIDCSubjectMismatch},
		{name: "at_hash/empty", hooks: set("at_hash", ""), stops: only("at_hash"), code: gateway.CodeOIDCSubjectMismatch},
		{name: "at_hash/access token exchanged", hooks: fixedHooks(gatewaytest.OPHooks{Token: setIn("access_token", "other")}), stops: only("at_hash"), code: gateway.CodeOIDCSubjectMismatch},
		{name: "auth_time/future", hooks: at("auth_time", 2*time.Minute), stops: only("auth_time"), code: when},
		{name: "auth_time/old though a new login was asked for", force: true, hooks: at("auth_time", -10*time.Minute), stops: only("auth_time"), code: when},
		{name: "auth_time/missing though a new login was asked for", force: true, hooks: del("auth_time"), stops: only("auth_time"), code: when},
		{name: "auth_time/as a string", hooks: set("auth_time", "1"), stops: only("claim types"), code: invalid},
	}
}

// jsonAttacks are about how claims are read.
func jsonAttacks() []attack {
	malformed := gateway.CodeOIDCTokenMalformed
	insert := func(member string) opHooks {
		return fixedHooks(gatewaytest.OPHooks{Payload: func(p []byte) []byte {
			return append([]byte("{"+member+","), p[1:]...)
		}})
	}
	raw := func(payload string) opHooks {
		return fixedHooks(gatewaytest.OPHooks{Payload: func([]byte) []byte { return []byte(payload) }})
	}
	unique, text := []string{"json unique names"}, []string{"json well-formed text"}
	return []attack{
		{name: "json/sub twice", hooks: insert(`"sub":"root"`), stops: unique, code: malformed},
		{name: "json/email twice", hooks: insert(`"email":"root@example.com"`), stops: unique, code: malformed},
		{name: "json/groups twice, once escaped", hooks: insert(`"\u0067roups":["root"]`), stops: unique, code: malformed},
		{name: "json/name twice deep inside", hooks: insert(`"x":{"y":[{"z":1,"z":2}]}`), stops: unique, code: malformed},
		{name: "json/no UTF-8", hooks: insert("\"x\":\"\xff\xfe\""), stops: text, code: malformed},
		{name: "json/half a surrogate pair", hooks: insert(`"x":"\ud83d"`), stops: text, code: malformed},
		{name: "json/half a surrogate pair in a name", hooks: insert(`"\udc00":1`), stops: text, code: malformed},
		{name: "json/33 levels", hooks: insert(`"x":` + strings.Repeat("[", 32) + strings.Repeat("]", 32)), stops: []string{"json depth"}, code: malformed},
		{name: "json/100,000 levels", hooks: insert(`"x":` + strings.Repeat("[", 100000) + strings.Repeat("]", 100000)), fixed: "encoding/json ends at 10,000", code: malformed},
		{name: "json/60,000 values", hooks: insert(`"x":[` + strings.Repeat("1,", 60000) + "1]"), fixed: "the reader ends there", code: malformed},
		{name: "json/something behind", hooks: fixedHooks(gatewaytest.OPHooks{Payload: func(p []byte) []byte { return append(p, "{}"...) }}), fixed: reading, code: malformed},
		{name: "json/comma at the end", hooks: fixedHooks(gatewaytest.OPHooks{Payload: func(p []byte) []byte { return append(p[:len(p)-1], ",}"...) }}), fixed: reading, code: malformed},
		{name: "json/array", hooks: raw(`["a1ice-0001"]`), fixed: nothing, code: malformed},
		{name: "json/null", hooks: raw(`null`), fixed: nothing, code: malformed},
		{name: "json/string", hooks: raw(`"a1ice-0001"`), fixed: nothing, code: malformed},
		{name: "json/empty", hooks: raw(``), fixed: nothing, code: malformed},
	}
}
