package oidcrp_test

import (
	"io"
	"maps"
	"net/http"
	"net/url"
	"slices"
	"strings"
	"testing"

	"github.com/caddy-sso/caddy-sso/gateway"
	"github.com/caddy-sso/caddy-sso/gateway/gatewaytest"
	"github.com/caddy-sso/caddy-sso/gateway/oidcrp"
)

// An attack is one mutation of a login that is accepted without it.
type attack struct {
	name string
	// hooks make the mutation.
	hooks func(op *gatewaytest.OP) gatewaytest.OPHooks
	// base is in place for the control as well, under the mutation.
	base func(op *gatewaytest.OP) gatewaytest.OPHooks
	// force logs in with ForceLogin.
	force bool
	// stops are the checks that stop it: without them it gets in, without all
	// but one of them it does not.
	stops []string
	// fixed says, in place of stops, why there is no check to switch off: the
	// mutated login has nothing that could be let in.
	fixed string
	code  gateway.Code
}

const (
	second   = "second reading"
	nothing  = "there is no code, token or document left to go on with"
	reading  = "it can't be read as anything else"
	library  = "go-jose reads nothing else"
	outbound = "gateway.Outbound refuses it, see its own tests"
)

func attacks() []attack {
	return slices.Concat(answerAttacks(), tokenAnswerAttacks(), headerAttacks(), signatureAttacks(),
		claimAttacks(), jsonAttacks(), profileAttacks(), userInfoAttacks(), discoveryAttacks(), keyAttacks(), nameAttacks())
}

// try logs in at a new provider, so that nothing is left of another try.
func (a attack) try(t *testing.T, op *gatewaytest.OP, drop ...string) (*gateway.Answer, error) {
	t.Helper()
	p := newProvider(t, op)
	oidcrp.Drop(p, drop...)
	if a.force {
		return op.ForceLogin(t.Context(), p)
	}
	return op.Login(t.Context(), p)
}

// control checks that the login is good without the mutation, and puts it in
// place.
func (a attack) control(t *testing.T) *gatewaytest.OP {
	t.Helper()
	op := inProcess(t)
	base := gatewaytest.OPHooks{}
	if a.base != nil {
		base = a.base(op)
	}
	op.SetHooks(base)
	if _, err := a.try(t, op); err != nil {
		t.Fatalf("the control is refused: %v", err)
	}
	op.SetHooks(onTop(base, a.hooks(op)))
	return op
}

// onTop runs base's hook and then more's, where both have one.
func onTop(base, more gatewaytest.OPHooks) gatewaytest.OPHooks {
	join := func(a, b func(map[string]any)) func(map[string]any) {
		if a == nil || b == nil {
			if a != nil {
				return a
			}
			return b
		}
		return func(m map[string]any) { a(m); b(m) }
	}
	more.Discovery = join(base.Discovery, more.Discovery)
	more.JWKS = join(base.JWKS, more.JWKS)
	more.Header = join(base.Header, more.Header)
	more.Claims = join(base.Claims, more.Claims)
	more.UserInfo = join(base.UserInfo, more.UserInfo)
	if more.Serve == nil {
		more.Serve = base.Serve
	}
	if more.Key == nil {
		more.Key = base.Key
	}
	return more
}

// TestAttackOIDC plays every attack.
func TestAttackOIDC(t *testing.T) {
	t.Parallel()
	seen := map[string]bool{}
	for _, a := range attacks() {
		if seen[a.name] {
			t.Errorf("two attacks are called %s", a.name)
		}
		seen[a.name] = true
		t.Run(a.name, func(t *testing.T) {
			t.Parallel()
			answer, err := a.try(t, a.control(t))
			wantCode(t, err, a.code)
			if answer != nil {
				t.Errorf("an answer comes with the error: %+v", answer)
			}
		})
	}
}

// TestSwitchOffOIDC shows that it is the named checks that stop each attack:
// it gets in without them, and as long as one of them is there it does not.
func TestSwitchOffOIDC(t *testing.T) {
	t.Parallel()
	unused := map[string]bool{}
	for _, name := range oidcrp.CheckNames() {
		unused[name] = true
	}
	for _, a := range attacks() {
		if (len(a.stops) == 0) == (a.fixed == "") {
			t.Errorf("%s: must have either stops or fixed", a.name)
		}
		maps.DeleteFunc(unused, func(name string, _ bool) bool { return slices.Contains(a.stops, name) })
		if len(a.stops) == 0 {
			continue
		}
		t.Run(a.name, func(t *testing.T) {
			t.Parallel()
			op := a.control(t)
			if _, err := a.try(t, op, a.stops...); err != nil {
				t.Errorf("is still refused without %q: %v", a.stops, err)
			}
			for i, name := range a.stops {
				others := slices.Delete(slices.Clone(a.stops), i, i+1)
				if _, err := a.try(t, op, others...); err == nil {
					t.Errorf("gets in though %q is there", name)
				}
			}
		})
	}
	for name := range unused {
		if !slices.Contains(withoutAttack, name) {
			t.Errorf("no attack shows what the check %q is good for", name)
		}
	}
}

// withoutAttack are checks that only tell refusals apart: without them the
// login fails at the next step.
var withoutAttack = []string{"answer code", "token object", "token id"}

// fixedHooks are hooks that need nothing of the OP.
func fixedHooks(h gatewaytest.OPHooks) func(*gatewaytest.OP) gatewaytest.OPHooks {
	return func(*gatewaytest.OP) gatewaytest.OPHooks { return h }
}

func setIn(name string, value any) func(map[string]any) {
	return func(m map[string]any) { m[name] = value }
}

func deleteFrom(names ...string) func(map[string]any) {
	return func(m map[string]any) {
		for _, name := range names {
			delete(m, name)
		}
	}
}

// serve replaces one endpoint by a fixed answer.
func serve(path string, status int, contentType, body string) func(*gatewaytest.OP) gatewaytest.OPHooks {
	return fixedHooks(gatewaytest.OPHooks{Serve: map[string]http.HandlerFunc{path: func(w http.ResponseWriter, _ *http.Request) {
		w.Header().Set("Content-Type", contentType)
		w.Header().Set("Location", "https://op.test/elsewhere")
		w.WriteHeader(status)
		_, _ = io.WriteString(w, body)
	}}})
}

// alter answers a path as the OP would, with another status or content type.
func alter(path string, status int, contentType string) func(*gatewaytest.OP) gatewaytest.OPHooks {
	return func(op *gatewaytest.OP) gatewaytest.OPHooks {
		return gatewaytest.OPHooks{Serve: map[string]http.HandlerFunc{path: func(w http.ResponseWriter, r *http.Request) {
			op.ServeAltered(w, r, status, contentType)
		}}}
	}
}

func answerAttacks() []attack {
	param := func(change func(url.Values)) func(*gatewaytest.OP) gatewaytest.OPHooks {
		return fixedHooks(gatewaytest.OPHooks{Answer: change})
	}
	set := func(name, value string) func(*gatewaytest.OP) gatewaytest.OPHooks {
		return param(func(v url.Values) { v.Set(name, value) })
	}
	add := func(name, value string) func(*gatewaytest.OP) gatewaytest.OPHooks {
		return param(func(v url.Values) { v.Add(name, value) })
	}
	alone := func(value string) func(*gatewaytest.OP) gatewaytest.OPHooks {
		return param(func(v url.Values) { v.Del("code"); v.Set("error", value) })
	}
	invalid, mismatch := gateway.CodeOIDCAnswerInvalid, gateway.CodeOIDCIssuerMismatch
	return []attack{
		{name: "answer/code twice", hooks: add("code", "other"), stops: []string{"answer single"}, code: invalid},
		{name: "answer/state twice", hooks: add("state", "other"), stops: []string{"answer single"}, code: invalid},
		{name: "answer/iss twice", hooks: add("iss", "https://evil.test"), stops: []string{"answer single"}, code: invalid},
		{name: "answer/unknown parameter twice", hooks: add("session_state", "y"), stops: []string{"answer single"}, code: invalid},
		{name: "answer/iss of another provider", hooks: set("iss", "https://evil.test"), stops: []string{"answer iss"}, code: mismatch},
		{name: "answer/iss with a slash more", hooks: set("iss", "https://op.test/"), stops: []string{"answer iss"}, code: mismatch},
		{name: "answer/iss in capitals", hooks: set("iss", "https://OP.test"), stops: []string{"answer iss"}, code: mismatch},
		{name: "answer/iss empty", hooks: set("iss", ""), stops: []string{"answer iss"}, code: mismatch},
		{name: "answer/iss missing though announced", hooks: param(func(v url.Values) { v.Del("iss") }), stops: []string{"answer iss required"}, code: mismatch},
		{name: "answer/ISS for iss", hooks: param(func(v url.Values) { v["ISS"] = v["iss"]; v.Del("iss") }), stops: []string{"answer iss required"}, code: mismatch},
		{name: "answer/error beside code", hooks: set("error", "access_denied"), stops: []string{"answer error alone", "answer error"}, code: invalid},
		{name: "answer/empty error beside code", hooks: set("error", ""), stops: []string{"answer error alone", "answer error"}, code: invalid},
		{name: "answer/error of a script beside code", hooks: set("error", "<script>"), stops: []string{"answer error alone", "answer error"}, code: invalid},
		{name: "answer/id_token beside code", hooks: set("id_token", "a.b.c"), stops: []string{"answer without tokens"}, code: invalid},
		{name: "answer/access_token beside code", hooks: set("access_token", "x"), stops: []string{"answer without tokens"}, code: invalid},
		{name: "answer/JARM response beside code", hooks: set("response", "a.b.c"), stops: []string{"answer without tokens"}, code: invalid},
		{name: "answer/error alone", hooks: alone("access_denied"), fixed: nothing, code: gateway.CodeProviderRefused},
		{name: "answer/error of another provider", hooks: param(func(v url.Values) {
			v.Del("code")
			v.Set("error", "access_denied")
			v.Set("iss", "https://evil.test")
		}), fixed: nothing, code: mismatch},
		{name: "answer/error of prose", hooks: alone("call 555-1234 now\nfake log line"), fixed: nothing, code: gateway.CodeProviderRefused},
		{name: "answer/no code", hooks: param(func(v url.Values) { v.Del("code") }), fixed: nothing, code: invalid},
		{name: "answer/empty code", hooks: set("code", ""), fixed: nothing, code: invalid},
		{name: "answer/code with a line break", hooks: set("code", "a\r\nb"), fixed: nothing, code: invalid},
		{name: "answer/code with a blank", hooks: set("code", "a b"), fixed: nothing, code: invalid},
		{name: "answer/code of 9 kB", hooks: set("code", strings.Repeat("x", 9000)), fixed: nothing, code: invalid},
		{name: "answer/code that was guessed", hooks: set("code", "guessed"), fixed: nothing, code: gateway.CodeOIDCCodeRejected},
	}
}

func tokenAnswerAttacks() []attack {
	path := gatewaytest.OPTokenPath
	body := func(change func(map[string]any)) func(*gatewaytest.OP) gatewaytest.OPHooks {
		return fixedHooks(gatewaytest.OPHooks{Token: change})
	}
	down, malformed := gateway.CodeProviderUnavailable, gateway.CodeOIDCTokenMalformed
	return []attack{
		{name: "token endpoint/status 201", hooks: alter(path, 201, "application/json"), stops: []string{"token status"}, code: down},
		{name: "token endpoint/status 302 with a body", hooks: alter(path, 302, "application/json"), stops: []string{"token status"}, code: down},
		{name: "token endpoint/status 500 with a body", hooks: alter(path, 500, "application/json"), stops: []string{"token status"}, code: down},
		{name: "token endpoint/text content", hooks: alter(path, 200, "text/plain"), stops: []string{"token content type"}, code: down},
		{name: "token endpoint/HTML content", hooks: alter(path, 200, "text/html"), stops: []string{"token content type"}, code: down},
		{name: "token endpoint/no content type", hooks: alter(path, 200, ""), stops: []string{"token content type"}, code: down},
		{name: "token endpoint/JWKS content", hooks: alter(path, 200, "application/jwk-set+json"), stops: []string{"token content type"}, code: down},
		{name: "token endpoint/token_type MAC", hooks: body(setIn("token_type", "mac")), stops: []string{"token bearer"}, code: malformed},
		{name: "token endpoint/token_type missing", hooks: body(deleteFrom("token_type")), stops: []string{"token bearer"}, code: malformed},
		{name: "token endpoint/token_type DPoP", hooks: body(setIn("token_type", "DPoP")), stops: []string{"token bearer"}, code: malformed},
		{name: "token endpoint/token_type as an array", hooks: body(setIn("token_type", []string{"Bearer"})), stops: []string{"token types", "token bearer"}, code: malformed},
		{name: "token endpoint/access_token with a line break", hooks: func(*gatewaytest.OP) gatewaytest.OPHooks {
			return gatewaytest.OPHooks{Token: setIn("access_token", "a\r\nX: y"), Claims: deleteFrom("at_hash")}
		}, stops: []string{"token access"}, code: malformed},
		{name: "token endpoint/access_token missing", hooks: func(*gatewaytest.OP) gatewaytest.OPHooks {
			return gatewaytest.OPHooks{Token: deleteFrom("access_token"), Claims: deleteFrom("at_hash")}
		}, stops: []string{"token access"}, code: malformed},
		{name: "token endpoint/access_token as a number", hooks: func(*gatewaytest.OP) gatewaytest.OPHooks {
			return gatewaytest.OPHooks{Token: setIn("access_token", 7), Claims: deleteFrom("at_hash")}
		}, stops: []string{"token types", "token access"}, code: malformed},
		{name: "token endpoint/id_token missing", hooks: body(deleteFrom("id_token")), fixed: nothing, code: malformed},
		{name: "token endpoint/id_token as an object", hooks: body(setIn("id_token", map[string]any{"sub": "x"})), fixed: nothing, code: malformed},
		{name: "token endpoint/names in capitals", hooks: body(func(m map[string]any) {
			m["ID_TOKEN"] = m["id_token"]
			delete(m, "id_token")
		}), fixed: reading, code: malformed},
		{name: "token endpoint/error beside tokens", hooks: body(setIn("error", "invalid_grant")), stops: []string{"token error"}, code: gateway.CodeOIDCCodeRejected},
		{name: "token endpoint/no JSON", hooks: serve(path, 200, "application/json", "<html>"), fixed: nothing, code: malformed},
		{name: "token endpoint/array", hooks: serve(path, 200, "application/json", "[]"), fixed: nothing, code: malformed},
		{name: "token endpoint/null", hooks: serve(path, 200, "application/json", "null"), fixed: nothing, code: malformed},
		{name: "token endpoint/form", hooks: serve(path, 200, "application/x-www-form-urlencoded", "access_token=x&id_token=y"), fixed: nothing, code: down},
		{name: "token endpoint/status 503", hooks: serve(path, 503, "text/html", "busy"), fixed: nothing, code: down},
		{name: "token endpoint/status 500 with an OAuth error", hooks: serve(path, 500, "application/json", `{"error":"invalid_grant"}`), fixed: nothing, code: down},
		{name: "token endpoint/redirect", hooks: serve(path, 307, "text/html", ""), fixed: nothing, code: down},
		{name: "token endpoint/2 MB", hooks: serve(path, 200, "application/json", `{"x":"`+strings.Repeat("x", 2<<20)+`"}`), fixed: outbound, code: down},
		{name: "token endpoint/invalid_client", hooks: serve(path, 401, "application/json", `{"error":"invalid_client"}`), fixed: nothing, code: gateway.CodeOIDCClientRejected},
		{name: "token endpoint/unauthorized_client", hooks: serve(path, 400, "application/json", `{"error":"unauthorized_client"}`), fixed: nothing, code: gateway.CodeOIDCClientRejected},
		{name: "token endpoint/401 without JSON", hooks: serve(path, 401, "text/html", "no"), fixed: nothing, code: gateway.CodeOIDCClientRejected},
		{name: "token endpoint/invalid_grant", hooks: serve(path, 400, "application/json", `{"error":"invalid_grant"}`), fixed: nothing, code: gateway.CodeOIDCCodeRejected},
	}
}
