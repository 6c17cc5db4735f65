package oidcop_test

import (
	"net/http"
	"net/http/httptest"
	"net/url"
	"strings"
	"testing"

	"github.com/caddy-sso/caddy-sso/gateway/oidcop"
	"github.com/caddy-sso/caddy-sso/gateway/refusal"
)

// FuzzAuthorization: whatever the request, a code goes to a registered redirect URI, and
// nothing fails but as a refusal.
func FuzzAuthorization(f *testing.F) {
	for _, seed := range []string{
		request().Encode(), request("prompt", "none").Encode(), request("claims", `{"userinfo":{"email":{"essential":true}}}`).Encode(),
		request("client_id", "native", "redirect_uri", "http://[::1]:80/cb").Encode(), request("response_mode", "form_post").Encode(),
		request("max_age", "1", "sso_asked", "1.a").Encode(), request("id_token_hint", "e30.e30.e30").Encode(), "client_id=web&redirect_uri=x",
	} {
		f.Add(seed)
	}
	l := newLab(f)
	f.Fuzz(func(t *testing.T, query string) {
		params, err := url.ParseQuery(query)
		if err != nil {
			return
		}
		a, err := l.Authorization(t.Context(), params)
		if err != nil {
			if status := refusal.CodeOf(err).Meaning().Status; status >= http.StatusInternalServerError {
				t.Fatalf("%d: %v", status, err)
			}
			return
		}
		answer := a.Refused()
		if answer == nil {
			if answer, err = a.Grant(t.Context(), "login:alice"); err != nil {
				t.Fatal(err)
			}
		}
		for _, ours := range []string{callback, "https://other.example/cb", "http://127.0.0.1", "http://[::1]", "com.example.app:/cb"} {
			if strings.HasPrefix(answer.Location, ours) {
				return
			}
		}
		t.Fatalf("answered to %q", answer.Location)
	})
}

// FuzzToken: whatever is in the form and the header, nobody gets tokens, and nothing panics.
func FuzzToken(f *testing.F) {
	f.Add(exchangeForm("x").Encode(), "Basic dzp4")
	f.Add("grant_type=refresh_token&client_id=spa&refresh_token=a.r.b.c", "")
	f.Add("client_assertion_type="+jwtBearer+"&client_assertion=e30.e30.e30", "")
	f.Add("client_assertion_type="+jwtBearer+"&client_assertion=eyJhbGciOiJFUzI1NiJ9.eyJzdWIiOiJqd3QifQ.AAAA&token=x", "Bearer x")
	l := newLab(f)
	f.Fuzz(func(t *testing.T, form, header string) {
		for _, path := range []string{oidcop.TokenPath, oidcop.IntrospectionPath, oidcop.RevocationPath, oidcop.UserInfoPath} {
			r := httptest.NewRequest(http.MethodPost, issuer+path, strings.NewReader(form))
			r.Header.Set("Content-Type", formType)
			if header != "" {
				r.Header["Authorization"] = []string{header}
			}
			rec, _ := serve(l.Provider, r)
			if rec.Code >= http.StatusInternalServerError || rec.Code == http.StatusOK && path != oidcop.RevocationPath && path != oidcop.IntrospectionPath {
				t.Fatalf("%s: %d %s", path, rec.Code, rec.Body)
			}
		}
	})
}

// FuzzTokenParts: a token is read in one way alone.
func FuzzTokenParts(f *testing.F) {
	id, random := strings.Repeat("A", 22), strings.Repeat("A", 43)
	for _, seed := range []string{"", "..", id + ".c." + random, id + ".r." + random + "." + random, id + ".a." + random + "\n", id + ".c." + random + "."} {
		f.Add(seed)
	}
	f.Fuzz(func(t *testing.T, token string) {
		kinds := 0
		for _, kind := range []string{"c", "a", "r"} {
			grant, rest := oidcop.TokenParts(token, kind)
			if (grant == "") != (rest == "") || grant != "" && grant+"."+kind+"."+rest != token {
				t.Fatalf("%q is read as %q and %q", token, grant, rest)
			}
			if grant != "" {
				kinds++
			}
		}
		if kinds > 1 {
			t.Fatalf("%q is of %d kinds", token, kinds)
		}
	})
}

// FuzzClaims: what is granted by the claims parameter is bounded, and none of the claims that
// make a token.
func FuzzClaims(f *testing.F) {
	for _, seed := range []string{`{}`, `{"userinfo":{"email":null},"id_token":{"sub":{"value":"a"},"acr":{"essential":true,"values":["x"]}}}`, `{"userinfo":{"iss":null}}`, `[]`, `{"userinfo":null}`, `{"userinfo":{"` + strings.Repeat("x", 201) + `":null}}`} {
		f.Add(seed)
	}
	f.Fuzz(func(t *testing.T, text string) {
		names, err := oidcop.ReadClaims(text)
		if err == nil && len(names) > 128 {
			t.Fatalf("%d names", len(names))
		}
		for _, name := range names {
			if err == nil && (name == "iss" || name == "sub" || name == "aud" || name == "nonce" || len(name) > 200) {
				t.Fatalf("%q is granted", name)
			}
		}
	})
}

// FuzzKeys: no document makes the reader of keys panic.
func FuzzKeys(f *testing.F) {
	f.Add([]byte(`{"keys":[{"kty":"EC","crv":"P-256","x":"AA","y":"AA"}]}`))
	f.Add([]byte(`{"keys":[{"kty":"oct","k":"AA"},1,null]}`))
	f.Fuzz(func(t *testing.T, doc []byte) {
		if n, err := oidcop.ParseKeys(doc); (err == nil) != (n > 0 && n <= 16) {
			t.Fatalf("%d keys: %v", n, err)
		}
	})
}

// FuzzLoopback: a URI that counts as another with a port has the same scheme, host and rest.
func FuzzLoopback(f *testing.F) {
	f.Add("http://127.0.0.1/cb", "http://127.0.0.1:80/cb")
	f.Add("http://[::1]", "http://[::1]:1")
	f.Add("http://127.0.0.1:1/cb", "http://127.0.0.1:2:1/cb")
	f.Add("http://127.0.0.1@x/", "http://127.0.0.1:1@x/")
	f.Fuzz(func(t *testing.T, own, uri string) {
		if !oidcop.SameButPort(own, uri) {
			return
		}
		if _, err := oidcop.New(oidcop.Options{People: newPeople(), Clients: []oidcop.Client{{ID: "x", RedirectURIs: []string{own}}}}); err != nil {
			return // it can't be registered
		}
		a, err := url.Parse(own)
		b, err2 := url.Parse(uri)
		if err != nil || err2 != nil || b.Hostname() != a.Hostname() || b.Scheme != a.Scheme || b.Path != a.Path || b.RawQuery != a.RawQuery || b.User != nil || b.Port() == "" {
			t.Fatalf("%q counts as %q", uri, own)
		}
	})
}
