package caddymodule_test

import (
	"bufio"
	"fmt"
	"io"
	"net"
	"net/http"
	"net/url"
	"strings"
	"testing"
	"time"

	"github.com/caddy-sso/caddy-sso/gateway/gatewaytest"
)

// faultsOfOIDC are those of sign-ins by OpenID Connect.
func (w *world) faultsOfOIDC() []signInFault {
	type members = map[string]any
	at := func(path string, serve http.HandlerFunc) gatewaytest.OPHooks {
		return gatewaytest.OPHooks{Serve: map[string]http.HandlerFunc{path: serve}}
	}
	answers := func(status int, contentType, body string, header ...string) http.HandlerFunc {
		return func(rw http.ResponseWriter, _ *http.Request) {
			for i := 0; i < len(header); i += 2 {
				rw.Header().Set(header[i], header[i+1])
			}
			rw.Header().Set("Content-Type", contentType)
			rw.WriteHeader(status)
			_, _ = rw.Write([]byte(body))
		}
	}
	const asJSON, page = "application/json", "<!DOCTYPE html><title>Not here</title>"
	hangsUp := func(http.ResponseWriter, *http.Request) { panic(http.ErrAbortHandler) }
	set := func(name string, value any) func(members) { return func(m members) { m[name] = value } }
	without := func(names ...string) func(members) {
		return func(m members) {
			for _, name := range names {
				delete(m, name)
			}
		}
	}
	says := func(code, description string) gatewaytest.OPHooks {
		return gatewaytest.OPHooks{Answer: func(v url.Values) {
			v.Del("code")
			v.Set("error", code)
			v.Set("error_description", description)
		}}
	}
	repeats := func(rw http.ResponseWriter, r *http.Request) {
		_ = r.ParseForm()
		answers(400, asJSON, fmt.Sprintf(`{"error":"invalid_grant","error_description":"Code %s is not valid\n(verifier %s)"}`, r.PostForm.Get("code"), r.PostForm.Get("code_verifier")))(rw, r)
	}
	w.certificate("another.test")
	stranger := gatewaytest.NewOPKey("ES256", "stranger")
	encryptionKey := w.op.Key.JWK()
	encryptionKey["use"], encryptionKey["alg"] = "enc", "ECDH-ES"
	return []signInFault{
		{name: "Nothing listens at the issuer", options: fmt.Sprintf("issuer https://127.0.0.1:%d", gatewaytest.FreePort()), afresh: true},
		{name: "The issuer's port speaks no TLS", options: "issuer https://" + plainServer(w.t), afresh: true},
		{name: "The issuer's certificate is for another name", options: "issuer " + strings.Replace(w.op.Issuer, "127.0.0.1", "localhost", 1), afresh: true},
		{name: "The issuer's certificate is of an unknown authority", options: "ca " + w.path("site.pem"), afresh: true},
		{name: "There is no discovery document", op: at(gatewaytest.OPDiscoveryPath, answers(404, "text/html", page)), afresh: true},
		{name: "The discovery document is a web page", op: at(gatewaytest.OPDiscoveryPath, answers(200, "text/html", page)), afresh: true},
		{name: "The discovery document is no JSON", op: at(gatewaytest.OPDiscoveryPath, answers(200, asJSON, `{"issuer":`)), afresh: true},
		{name: "The discovery document is another issuer's", op: gatewaytest.OPHooks{Discovery: set("issuer", w.op.Issuer+"/")}, afresh: true},
		{name: "The discovery document lacks the token endpoint", op: gatewaytest.OPHooks{Discovery: without("token_endpoint")}, afresh: true},
		{name: "The provider hangs up", op: at(gatewaytest.OPDiscoveryPath, hangsUp), afresh: true},
		{name: "The keys can't be used", op: gatewaytest.OPHooks{JWKS: set("keys", []any{encryptionKey, members{"kty": "oct", "kid": "shared", "k": "AAAA"}})}, afresh: true},
		{name: "The same, before anybody signs in", op: gatewaytest.OPHooks{JWKS: set("keys", []any{})}, line: "nobody can sign in at the provider", afresh: true},
		{name: "The keys are a web page", op: at(gatewaytest.OPJWKSPath, answers(200, asJSON, page)), afresh: true},
		{name: "The person refuses", op: says("access_denied", "The user denied the request"), afresh: true},
		{name: "The client may not have a scope", op: says("invalid_scope", "Invalid scopes: openid profile email")},
		{name: "The provider forges a line of the log", op: says("oops\n{\"level\":\"info\"}", "one\r\ntwo\x00")},
		{name: "The provider is busy", op: says("temporarily_unavailable", "Maintenance until 6 p.m.")},
		{name: "The client's secret is wrong, or is decoded otherwise", op: at(gatewaytest.OPTokenPath, answers(401, asJSON, `{"error":"invalid_client","error_description":"Invalid client credentials"}`))},
		{name: "The code is not taken", op: at(gatewaytest.OPTokenPath, repeats)},
		{name: "The token endpoint has a fault", op: at(gatewaytest.OPTokenPath, answers(500, "text/html", page))},
		{name: "The token endpoint hangs up", op: at(gatewaytest.OPTokenPath, hangsUp)},
		{name: "The token endpoint is a web page", op: at(gatewaytest.OPTokenPath, answers(200, "text/html", page))},
		{name: "There is no ID token", op: gatewaytest.OPHooks{Token: without("id_token")}},
		{name: "The ID token is encrypted", op: gatewaytest.OPHooks{Token: set("id_token", "eyJhbGciOiJSU0EtT0FFUCJ9.a.b.c.d")}},
		{name: "The ID token is signed by a shared secret", op: gatewaytest.OPHooks{Header: set("alg", "HS256")}},
		{name: "The ID token is signed by an unknown key", op: gatewaytest.OPHooks{Key: &stranger}},
		{name: "The ID token is for another client", op: gatewaytest.OPHooks{Claims: set("aud", []any{"grafana"})}},
		{name: "The clocks differ", op: gatewaytest.OPHooks{Claims: func(m members) {
			m["iat"], m["nbf"] = time.Now().Add(time.Hour).Unix(), time.Now().Add(time.Hour).Unix()
		}}},
		{name: "The nonce is missing", op: gatewaytest.OPHooks{Claims: without("nonce")}},
		{name: "There is no user name", op: gatewaytest.OPHooks{Claims: without("preferred_username"), UserInfo: without("preferred_username")}},
		{name: "There is none, and userinfo refuses", op: gatewaytest.OPHooks{
			Claims: without("preferred_username"),
			Serve:  at(gatewaytest.OPUserInfoPath, answers(401, "text/plain", "", "WWW-Authenticate", `Bearer error="insufficient_scope", error_description="The token lacks profile"`)).Serve,
		}},
		{name: "The e-mail address is not verified", options: "username_claim email", op: gatewaytest.OPHooks{Claims: without("email_verified"), UserInfo: without("email_verified")}},
		{name: "No rule has a group of this person", rules: "role Admin Staff\n\t\trole User ops"},
		{name: "The same at DEBUG", rules: "role Admin Staff\n\t\trole User ops", line: "no line of the rules"},
		{name: "The provider names no groups", rules: "role Admin Staff", op: gatewaytest.OPHooks{Claims: without("groups"), UserInfo: without("groups")}},
		{name: "The same, for the administrator", rules: "role Admin Staff", op: gatewaytest.OPHooks{Claims: without("groups"), UserInfo: without("groups")}, line: "names no groups", afresh: true},
		{name: "The same, and another rule lets the person in", rules: "role User *\n\t\trole Admin Staff", op: gatewaytest.OPHooks{Claims: without("groups"), UserInfo: without("groups")}, line: "names no groups"},
		{name: "The same with groups_claim", options: "groups_claim realm_access.roles", rules: "role Admin Staff", line: "names no groups"},
		{name: "A page of another site opens a WebSocket", line: "WebSocket"},
	}
}

// plainServer answers whatever comes as an HTTP server without TLS does, and returns its address. It
// reads on after its answer: otherwise the answer can get lost, as that of a real server.
func plainServer(t *testing.T) string {
	ln, err := net.Listen("tcp", "127.0.0.1:0")
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() { _ = ln.Close() })
	go func() {
		for {
			conn, err := ln.Accept()
			if err != nil {
				return
			}
			go func() {
				defer func() { _ = conn.Close() }()
				in := bufio.NewReader(conn)
				if _, err := in.ReadByte(); err == nil {
					_, _ = io.WriteString(conn, "HTTP/1.1 400 Bad Request\r\nContent-Length: 0\r\nConnection: close\r\n\r\n")
					_, _ = io.Copy(io.Discard, in)
				}
			}()
		}
	}()
	return ln.Addr().String()
}
