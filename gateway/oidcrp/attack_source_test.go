package oidcrp_test

import (
	"encoding/json"
	"net/http"
	"strconv"
	"strings"

	"github.com/caddy-sso/caddy-sso/gateway"
	"github.com/caddy-sso/caddy-sso/gateway/gatewaytest"
)

func profileAttacks() []attack {
	invalid := gateway.CodeOIDCClaimInvalid
	types := []string{"profile types"}
	list := []attack{
		{name: "email/as an array", hooks: claims(setIn("email", []string{"a@example.com"})), stops: types, code: invalid},
		{name: "email/as a number", hooks: claims(setIn("email", 7)), stops: types, code: invalid},
		{name: "email/null", hooks: claims(setIn("email", nil)), stops: types, code: invalid},
		{name: "email_verified/as a string", hooks: claims(setIn("email_verified", "true")), stops: types, code: invalid},
		{name: "email_verified/as a number", hooks: claims(setIn("email_verified", 1)), stops: types, code: invalid},
		{name: "email_verified/null", hooks: claims(setIn("email_verified", nil)), stops: types, code: invalid},
		{name: "user name/as a number", hooks: claims(setIn("preferred_username", 7)), stops: types, code: invalid},
		{name: "user name/as an array", hooks: claims(setIn("preferred_username", []string{"alice"})), stops: types, code: invalid},
		{name: "user name/1025 bytes", hooks: claims(setIn("preferred_username", strings.Repeat("x", 1025))), stops: []string{"names"}, code: invalid},
		{name: "name/as an object", hooks: claims(setIn("name", map[string]any{})), stops: types, code: invalid},
		{name: "name/1025 bytes", hooks: claims(setIn("given_name", strings.Repeat("x", 1025))), stops: []string{"names"}, code: invalid},
		{name: "groups/as a number", hooks: claims(setIn("groups", 7)), stops: types, code: invalid},
		{name: "groups/as a boolean", hooks: claims(setIn("groups", true)), stops: types, code: invalid},
		{name: "groups/null", hooks: claims(setIn("groups", nil)), stops: types, code: invalid},
		{name: "groups/as an object", hooks: claims(setIn("groups", map[string]any{"admins": true})), stops: types, code: invalid},
		{name: "groups/with a number", hooks: claims(setIn("groups", []any{"staff", 7})), stops: types, code: invalid},
		{name: "groups/with an array", hooks: claims(setIn("groups", []any{"staff", []string{"admins"}})), stops: types, code: invalid},
		{name: "groups/with an empty one", hooks: claims(setIn("groups", []any{"staff", ""})), stops: []string{"groups"}, code: invalid},
		{name: "groups/one of 513 bytes", hooks: claims(setIn("groups", []any{strings.Repeat("x", 513)})), stops: []string{"groups"}, code: invalid},
		{name: "groups/10,001", hooks: claims(setIn("groups", numbered(10001))), stops: []string{"groups"}, code: invalid},
	}
	for name, email := range map[string]string{
		"no @": "alice", "nothing before the @": "@example.com", "nothing behind the @": "alice@", "two @": "alice@example.com@evil.test",
		"a blank": "alice @example.com", "a blank at the end": "alice@example.com ", "a tab": "alice\t@example.com", "a line break": "alice@example.com\n",
		"a comma": "alice@example.com,root", "a quoted @": `"root@corp"@example.com`, "NUL": "alice@example.com\x00.evil.test", "DEL": "alice\x7f@example.com",
		"a no-break space": "alice\u00a0@example.com", "a zero-width space": "alice\u200b@example.com", "a reversed direction": "alice\u202e@example.com",
		"321 bytes": strings.Repeat("a", 309) + "@example.com",
	} {
		list = append(list, attack{name: "email/" + name, hooks: claims(setIn("email", email)), stops: []string{"email"}, code: invalid})
	}
	return list
}

func numbered(n int) []string {
	groups := make([]string, n)
	for i := range groups {
		groups[i] = "g" + strconv.Itoa(i)
	}
	return groups
}

// withoutEmail makes userinfo necessary.
func withoutEmail(*gatewaytest.OP) gatewaytest.OPHooks {
	return gatewaytest.OPHooks{Claims: deleteFrom("email", "groups")}
}

// signedUserInfo serves userinfo as a JWS (OIDC Core §5.3.2). change, if not
// nil, replaces it.
func signedUserInfo(op *gatewaytest.OP, change func(header, claims map[string]any) string) gatewaytest.OPHooks {
	h := withoutEmail(op)
	h.Serve = map[string]http.HandlerFunc{gatewaytest.OPUserInfoPath: func(w http.ResponseWriter, _ *http.Request) {
		header := map[string]any{"alg": op.Key.Alg, "kid": op.Key.KID}
		claims := op.Person()
		claims["iss"], claims["aud"] = op.Issuer, op.ClientID
		if change == nil {
			change = func(header, claims map[string]any) string { return sign(op.Key, header, claims) }
		}
		w.Header().Set("Content-Type", "application/jwt")
		_, _ = w.Write([]byte(change(header, claims)))
	}}
	return h
}

func sign(key gatewaytest.OPKey, header, claims map[string]any) string {
	payload, err := json.Marshal(claims)
	if err != nil {
		panic(err)
	}
	return gatewaytest.SignJWS(header, payload, key.Signer)
}

func userInfoAttacks() []attack {
	path := gatewaytest.OPUserInfoPath
	invalid, down, other := gateway.CodeOIDCClaimInvalid, gateway.CodeProviderUnavailable, gateway.CodeOIDCSubjectMismatch
	set := func(name string, v any) opHooks { return fixedHooks(gatewaytest.OPHooks{UserInfo: setIn(name, v)}) }
	jwt := func(change func(op *gatewaytest.OP, header, claims map[string]any) string) opHooks {
		return func(op *gatewaytest.OP) gatewaytest.OPHooks {
			return signedUserInfo(op, func(h, c map[string]any) string { return change(op, h, c) })
		}
	}
	jwtClaims := func(change func(map[string]any)) opHooks {
		return jwt(func(op *gatewaytest.OP, h, c map[string]any) string { change(c); return sign(op.Key, h, c) })
	}
	evil := gatewaytest.NewOPKey("ES256", "evil")
	sub := []string{"userinfo sub"}
	list := []attack{
		{name: "userinfo/sub of another", hooks: set("sub", "b0b-0002"), stops: sub, code: other},
		{name: "userinfo/sub in capitals", hooks: set("sub", "A1ICE-0001"), stops: sub, code: other},
		{name: "userinfo/sub missing", hooks: fixedHooks(gatewaytest.OPHooks{UserInfo: deleteFrom("sub")}), stops: sub, code: other},
		{name: "userinfo/sub as an array", hooks: set("sub", []string{"a1ice-0001"}), stops: []string{"userinfo types", "userinfo sub"}, code: invalid},
		{name: "userinfo/email_verified as a string", hooks: set("email_verified", "true"), stops: []string{"profile types"}, code: invalid},
		{name: "userinfo/groups as an object", hooks: set("groups", map[string]any{"admins": 1}), stops: []string{"profile types"}, code: invalid},
		{name: "userinfo/two @ in email", hooks: set("email", "a@b@c"), stops: []string{"email"}, code: invalid},
		{name: "userinfo/sub twice", hooks: serve(path, 200, "application/json", `{"sub":"b0b-0002","sub":"a1ice-0001"}`), stops: []string{"json unique names"}, code: gateway.CodeOIDCTokenMalformed},
		{name: "userinfo/status 201", hooks: alter(path, 201, "application/json"), stops: []string{"userinfo status"}, code: down},
		{name: "userinfo/status 401 with claims", hooks: alter(path, 401, "application/json"), stops: []string{"userinfo status"}, code: down},
		{name: "userinfo/HTML content", hooks: alter(path, 200, "text/html"), stops: []string{"userinfo content type"}, code: down},
		{name: "userinfo/no content type", hooks: alter(path, 200, ""), stops: []string{"userinfo content type"}, code: down},
		{name: "userinfo/redirect", hooks: serve(path, 302, "text/html", ""), fixed: nothing, code: down},
		{name: "userinfo/status 500", hooks: serve(path, 500, "text/html", "x"), fixed: nothing, code: down},
		{name: "userinfo/no JSON", hooks: serve(path, 200, "application/json", "x"), fixed: nothing, code: gateway.CodeOIDCTokenMalformed},
		{name: "userinfo/2 MB", hooks: serve(path, 200, "application/json", `{"x":"`+strings.Repeat("x", 2<<20)+`"}`), fixed: outbound, code: down},
		{name: "signed userinfo/other key", hooks: jwt(func(_ *gatewaytest.OP, h, c map[string]any) string { return sign(evil, h, c) }), stops: []string{"signature"}, code: gateway.CodeOIDCSignature},
		{name: "signed userinfo/alg none", hooks: jwt(func(_ *gatewaytest.OP, h, c map[string]any) string {
			h["alg"] = "none"
			return sign(gatewaytest.OPKey{}, h, c)
		}), stops: []string{"alg", "signature"}, code: gateway.CodeOIDCAlgorithm},
		{name: "signed userinfo/typ at+jwt", hooks: jwt(func(op *gatewaytest.OP, h, c map[string]any) string {
			h["typ"] = "at+jwt"
			return sign(op.Key, h, c)
		}), stops: []string{"typ"}, code: gateway.CodeOIDCTokenMalformed},
		{name: "signed userinfo/plain JSON", hooks: alter(path, 200, "application/jwt"), fixed: reading, code: gateway.CodeOIDCTokenMalformed},
		{name: "signed userinfo/iss of another", hooks: jwtClaims(setIn("iss", "https://evil.test")), stops: []string{"userinfo iss"}, code: gateway.CodeOIDCIssuerMismatch},
		{name: "signed userinfo/iss missing", hooks: jwtClaims(deleteFrom("iss")), stops: []string{"userinfo iss"}, code: gateway.CodeOIDCIssuerMismatch},
		{name: "signed userinfo/aud of another", hooks: jwtClaims(setIn("aud", "other")), stops: []string{"userinfo aud"}, code: gateway.CodeOIDCAudience},
		{name: "signed userinfo/aud missing", hooks: jwtClaims(deleteFrom("aud")), stops: []string{"userinfo aud"}, code: gateway.CodeOIDCAudience},
		{name: "signed userinfo/sub of another", hooks: jwtClaims(setIn("sub", "b0b-0002")), stops: sub, code: other},
	}
	for i := range list {
		list[i].base = withoutEmail
	}
	return list
}

func discoveryAttacks() []attack {
	path := gatewaytest.OPDiscoveryPath
	down, mismatch := gateway.CodeProviderUnavailable, gateway.CodeOIDCIssuerMismatch
	set := func(name string, v any) opHooks { return fixedHooks(gatewaytest.OPHooks{Discovery: setIn(name, v)}) }
	issuer, endpoints := []string{"discovery issuer"}, []string{"discovery endpoints"}
	list := []attack{
		{name: "discovery/issuer of another", hooks: set("issuer", "https://evil.test"), stops: issuer, code: mismatch},
		{name: "discovery/issuer with a slash more", hooks: set("issuer", "https://op.test/"), stops: issuer, code: mismatch},
		{name: "discovery/issuer in capitals", hooks: set("issuer", "https://OP.test"), stops: issuer, code: mismatch},
		{name: "discovery/issuer missing", hooks: fixedHooks(gatewaytest.OPHooks{Discovery: deleteFrom("issuer")}), stops: issuer, code: mismatch},
		{name: "discovery/Issuer for issuer", hooks: fixedHooks(gatewaytest.OPHooks{Discovery: func(doc map[string]any) {
			doc["Issuer"] = doc["issuer"]
			delete(doc, "issuer")
		}}), stops: issuer, code: mismatch},
		{name: "discovery/issuer as an array", hooks: set("issuer", []string{"https://op.test"}), stops: []string{"discovery types", "discovery issuer"}, code: down},
		{name: "discovery/announced algorithms as a string", hooks: set("id_token_signing_alg_values_supported", "ES256"), stops: []string{"discovery types"}, code: down},
		{name: "discovery/iss announced as a string", hooks: set("authorization_response_iss_parameter_supported", "false"), stops: []string{"discovery types"}, code: down},
		{name: "discovery/token_endpoint by http", hooks: set("token_endpoint", "http://op.test/token"), fixed: outbound, code: down},
		{name: "discovery/jwks_uri by http", hooks: set("jwks_uri", "http://op.test/jwks"), fixed: outbound, code: down},
		{name: "discovery/userinfo_endpoint by http", hooks: set("userinfo_endpoint", "http://op.test/userinfo"), stops: endpoints, code: down},
		{name: "discovery/end_session_endpoint by http", hooks: set("end_session_endpoint", "http://op.test/logout"), stops: endpoints, code: down},
		{name: "discovery/end_session_endpoint as a script", hooks: set("end_session_endpoint", "javascript:alert(1)"), stops: endpoints, code: down},
		{name: "discovery/userinfo_endpoint relative", hooks: set("userinfo_endpoint", "/userinfo"), stops: endpoints, code: down},
		{name: "discovery/authorization_endpoint with a fragment", hooks: set("authorization_endpoint", "https://op.test/authorize#x"), fixed: "the test's browser refuses it", code: down},
		{name: "discovery/token_endpoint with a password", hooks: set("token_endpoint", "https://u:p@op.test/token"), fixed: outbound, code: down},
		{name: "discovery/authorization_endpoint by http", hooks: set("authorization_endpoint", "http://op.test/authorize"), fixed: "the test's browser refuses it", code: down},
		{name: "discovery/token_endpoint missing", hooks: fixedHooks(gatewaytest.OPHooks{Discovery: deleteFrom("token_endpoint")}), fixed: nothing, code: down},
		{name: "discovery/no algorithm of ours", hooks: set("id_token_signing_alg_values_supported", []string{"HS256", "none"}), stops: []string{"alg", second}, code: gateway.CodeOIDCAlgorithm},
		{name: "discovery/no algorithms means RS256", hooks: fixedHooks(gatewaytest.OPHooks{Discovery: deleteFrom("id_token_signing_alg_values_supported")}), stops: []string{"alg", second}, code: gateway.CodeOIDCAlgorithm},
		{name: "discovery/status 203", hooks: alter(path, 203, "application/json"), stops: []string{"document status"}, code: down},
		{name: "discovery/redirect with a document", hooks: alter(path, 302, "application/json"), stops: []string{"document status"}, code: down},
		{name: "discovery/HTML content", hooks: alter(path, 200, "text/html"), stops: []string{"document content type"}, code: down},
		{name: "discovery/no content type", hooks: alter(path, 200, ""), stops: []string{"document content type"}, code: down},
		{name: "discovery/redirect", hooks: serve(path, 302, "text/html", ""), fixed: nothing, code: down},
		{name: "discovery/status 404", hooks: serve(path, 404, "text/html", "x"), fixed: nothing, code: down},
		{name: "discovery/no JSON", hooks: serve(path, 200, "application/json", "<html>"), fixed: nothing, code: down},
		{name: "discovery/array", hooks: serve(path, 200, "application/json", "[]"), fixed: nothing, code: down},
		{name: "discovery/300 kB", hooks: set("x", strings.Repeat("x", 300<<10)), fixed: outbound, code: down},
		{name: "JWKS/600 kB", hooks: fixedHooks(gatewaytest.OPHooks{JWKS: setIn("x", strings.Repeat("x", 600<<10))}), fixed: outbound, code: down},
		{name: "JWKS/101 keys", hooks: fixedHooks(gatewaytest.OPHooks{JWKS: func(set map[string]any) {
			for range 100 {
				set["keys"] = append(set["keys"].([]any), map[string]any{})
			}
		}}), fixed: nothing, code: down},
		{name: "JWKS/no keys", hooks: fixedHooks(gatewaytest.OPHooks{JWKS: setIn("keys", []any{})}), fixed: nothing, code: down},
		{name: "JWKS/KEYS for keys", hooks: fixedHooks(gatewaytest.OPHooks{JWKS: func(set map[string]any) {
			set["KEYS"] = set["keys"]
			delete(set, "keys")
		}}), fixed: nothing, code: down},
		{name: "JWKS/redirect", hooks: alter(gatewaytest.OPJWKSPath, 302, "application/json"), stops: []string{"document status"}, code: down},
		{name: "JWKS/HTML content", hooks: alter(gatewaytest.OPJWKSPath, 200, "text/html"), stops: []string{"document content type"}, code: down},
		{name: "JWKS/keys twice", hooks: serve(gatewaytest.OPJWKSPath, 200, "application/json", `{"keys":[],"keys":[]}`), fixed: nothing, code: down},
	}
	return list
}
