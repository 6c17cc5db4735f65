package oidcrp_test

import (
	"bytes"
	"encoding/json"
	"slices"
	"strings"
	"testing"
	"unicode/utf8"

	"github.com/caddy-sso/caddy-sso/gateway/oidcrp"
	"github.com/caddy-sso/caddy-sso/gateway/refusal"
)

func TestReadObject(t *testing.T) {
	t.Parallel()
	for _, tt := range []struct {
		name, json string
		ok         bool
	}{
		{"object", `{"a":1,"A":[true,null,{"a":"\u00e9"}]}`, true},
		{"surrogate pair", `{"a":"\ud83d\ude00"}`, true},
		{"escaped backslash before u", `{"a":"\\ud83d"}`, true},
		{"escaped backslashes before an escape", `{"a":"\\\ud83d\ude00"}`, true},
		{"replacement character", `{"a":"\ufffd"}`, true},
		{"large number", `{"a":123456789012345678901234567890}`, true},
		{"32 levels", `{"a":` + strings.Repeat("[", 31) + strings.Repeat("]", 31) + `}`, true},
		{"33 levels", `{"a":` + strings.Repeat("[", 32) + strings.Repeat("]", 32) + `}`, false},
		{"name twice", `{"a":1,"b":2,"a":3}`, false},
		{"name twice, once escaped", `{"a":1,"\u0061":3}`, false},
		{"name twice inside", `{"x":[{"a":1,"a":1}]}`, false},
		{"high half", `{"a":"\ud83d"}`, false},
		{"low half", `{"a":"\ude00"}`, false},
		{"halves in the wrong order", `{"a":"\ude00\ud83d"}`, false},
		{"two high halves", `{"a":"\ud83d\ud83d"}`, false},
		{"high half and an escape", `{"a":"\ud83d\n"}`, false},
		{"high half in capitals", `{"a":"\uD83D"}`, false},
		{"high half behind a backslash", `{"a":"\\\ud83d"}`, false},
		{"no UTF-8", "{\"a\":\"\xff\"}", false},
		{"two values", `{} {}`, false},
		{"array", `[]`, false},
		{"null", `null`, false},
		{"empty", ``, false},
		{"comment", `{}//`, false},
		{"byte order mark", "\ufeff{}", false},
	} {
		t.Run(tt.name, func(t *testing.T) {
			t.Parallel()
			if got, err := oidcrp.ReadObject([]byte(tt.json)); (err == nil) != tt.ok {
				t.Errorf("got %v, %v", got, err)
			}
		})
	}
}

// FuzzClaims holds the exact reader against encoding/json, and a profile
// against what it promises.
func FuzzClaims(f *testing.F) {
	for _, seed := range []string{
		`{"preferred_username":"alice","email":"a@example.com","email_verified":true,"groups":["a","b","a"]}`,
		`{"email":"a@b@c"}`, `{"a":1,"a":2}`, `{"a":"\ud800"}`, `{"groups":"x"}`, `{"a":{"b":[1,2,{"c":null}]}}`, `[`, `{"x":1e999}`,
	} {
		f.Add([]byte(seed))
	}
	p, err := oidcrp.New(oidcrp.Config{Issuer: "https://op.test", ClientID: "x"}, oidcrp.Deps{})
	if err != nil {
		f.Fatal(err)
	}
	f.Fuzz(func(t *testing.T, data []byte) {
		obj, err := oidcrp.ReadObject(data)
		if err != nil {
			return
		}
		var want map[string]json.RawMessage
		if json.Unmarshal(data, &want) != nil || len(want) != len(obj) {
			t.Fatalf("encoding/json reads %d members, we %d", len(want), len(obj))
		}
		for name := range want {
			if _, ok := obj[name]; !ok {
				t.Fatalf("the member %q is missing", name)
			}
		}
		_, email, groups, err := oidcrp.Profile(p, data)
		if err != nil {
			return
		}
		if email != "" && (strings.Count(email, "@") != 1 || strings.ContainsAny(email, " ,\t\r\n\x00") || !utf8.ValidString(email)) {
			t.Fatalf("took the e-mail %q", email)
		}
		if slices.Contains(groups, "") || len(groups) > 10000 {
			t.Fatalf("took the groups %q", groups)
		}
	})
}

func FuzzIDToken(f *testing.F) {
	for _, seed := range []string{
		"eyJhbGciOiJFUzI1NiJ9.e30.AAAA", "eyJhbGciOiJub25lIn0.e30.", "..", "a.b.c.d.e", `{"payload":""}`, "eyJhbGciOiJFUzI1NiIsImFsZyI6Im5vbmUifQ.e30.",
	} {
		f.Add(seed)
	}
	p, err := oidcrp.New(oidcrp.Config{Issuer: "https://op.test", ClientID: "x"}, oidcrp.Deps{})
	if err != nil {
		f.Fatal(err)
	}
	f.Fuzz(func(t *testing.T, raw string) {
		err := oidcrp.ParseToken(p, raw)
		if err != nil {
			if code := refusal.CodeOf(err); code != refusal.OIDCTokenMalformed && code != refusal.OIDCAlgorithm {
				t.Fatalf("got %v", err)
			}
			return
		}
		if strings.Count(raw, ".") != 2 || strings.ContainsAny(raw, " \r\n\t={}") {
			t.Fatalf("took %q", raw)
		}
	})
}

func FuzzDiscovery(f *testing.F) {
	f.Add([]byte(`{"issuer":"https://op.test","authorization_endpoint":"https://op.test/a","token_endpoint":"https://op.test/t","jwks_uri":"https://op.test/j","userinfo_endpoint":null}`))
	f.Add([]byte(`{"issuer":"https://op.test/"}`))
	f.Add([]byte(`{"jwks_uri":7}`))
	p, err := oidcrp.New(oidcrp.Config{Issuer: "https://op.test", ClientID: "x"}, oidcrp.Deps{})
	if err != nil {
		f.Fatal(err)
	}
	f.Fuzz(func(t *testing.T, doc []byte) {
		jwks, err := oidcrp.ParseDiscovery(p, doc)
		if err != nil {
			if code := refusal.CodeOf(err); code != refusal.ProviderUnavailable && code != refusal.OIDCIssuerMismatch {
				t.Fatalf("got %v", err)
			}
			return
		}
		if !strings.HasPrefix(strings.ToLower(jwks), "http") || !bytes.Contains(doc, []byte("issuer")) && !bytes.Contains(doc, []byte(`\u`)) {
			t.Fatalf("took %q", doc)
		}
	})
}

func FuzzJWKS(f *testing.F) {
	f.Add([]byte(`{"keys":[{"kty":"OKP","crv":"Ed25519","kid":"1","x":"11qYAYKxCrfVS_7TyWQHOg7hcvPapiMlrwIaaPcHURo"}]}`))
	f.Add([]byte(`{"keys":[{"kty":"EC","crv":"P-256","x":"AAAA","y":"AAAA"},{"kty":"RSA","n":"AQAB","e":"AQAB"}]}`))
	f.Add([]byte(`{"keys":[{"kty":"oct","k":"AAAA"}]}`))
	f.Add([]byte(`{"keys":{}}`))
	p, err := oidcrp.New(oidcrp.Config{Issuer: "https://op.test", ClientID: "x"}, oidcrp.Deps{})
	if err != nil {
		f.Fatal(err)
	}
	f.Fuzz(func(t *testing.T, doc []byte) {
		kids, err := oidcrp.ParseKeys(p, doc)
		if err != nil {
			if refusal.CodeOf(err) != refusal.ProviderUnavailable {
				t.Fatalf("got %v", err)
			}
			return
		}
		if len(kids) > 100 {
			t.Fatalf("took %d keys", len(kids))
		}
	})
}
