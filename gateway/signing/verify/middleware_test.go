package verify_test

import (
	"context"
	"errors"
	"io"
	"net/http"
	"net/http/httptest"
	"strings"
	"testing"

	"github.com/caddy-sso/caddy-sso/gateway/signing/verify"
)

// answer sends a request with the given lines of the header name through a
// real server, and returns status and body.
func answer(t *testing.T, v *verify.Verifier, name string, values ...string) (*http.Response, string) {
	t.Helper()
	srv := httptest.NewServer(v.Middleware(http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) {
		_, _ = io.WriteString(w, verify.FromContext(r.Context()).Username)
	})))
	defer srv.Close()
	req, err := http.NewRequestWithContext(t.Context(), http.MethodGet, srv.URL, nil)
	if err != nil {
		t.Fatal(err)
	}
	req.Header[name] = values
	res, err := srv.Client().Do(req)
	if err != nil {
		t.Fatal(err)
	}
	defer res.Body.Close()
	body, err := io.ReadAll(res.Body)
	if err != nil {
		t.Fatal(err)
	}
	return res, string(body)
}

func TestMiddleware(t *testing.T) {
	t.Parallel()
	f := newForger(t)
	good, bad := eternal(t, f), f.es256(t, f.other, goodHeader, "{}")
	usual := verify.Config{Keys: f.jwks(t)}
	renamed := verify.Config{Keys: f.jwks(t), Header: "x-jwt-assertion"}
	down := verify.Config{JWKSURL: "https://app.example.com/j", Client: &http.Client{Transport: &publisher{err: errors.New("connection refused")}}}
	for _, test := range []struct {
		name   string
		config verify.Config
		header string
		values []string
		status int
		absent bool
	}{
		{"valid", usual, "X-Sso-Assertion", []string{good}, 200, false},
		{"name in lower case", usual, "x-sso-assertion", []string{good}, 200, false},
		{"none", usual, "X-Sso-Assertion", nil, 401, true},
		{"empty", usual, "X-Sso-Assertion", []string{""}, 401, false},
		{"invalid", usual, "X-Sso-Assertion", []string{bad}, 401, false},
		{"the same twice", usual, "X-Sso-Assertion", []string{good, good}, 401, false},
		{"valid, then invalid", usual, "X-Sso-Assertion", []string{good, bad}, 401, false},
		{"invalid, then valid", usual, "X-Sso-Assertion", []string{bad, good}, 401, false},
		{"valid, then empty", usual, "X-Sso-Assertion", []string{good, ""}, 401, false},
		{"as bearer", usual, "Authorization", []string{"Bearer " + good}, 401, true},
		{"underscores", usual, "X_Sso_Assertion", []string{good}, 401, true},
		{"renamed", renamed, "X-Jwt-Assertion", []string{good}, 200, false},
		{"usual name where renamed", renamed, "X-Sso-Assertion", []string{good}, 401, true},
		{"keys not available", down, "X-Sso-Assertion", []string{good}, 503, false},
		{"none, keys not available", down, "X-Sso-Assertion", nil, 401, true},
	} {
		t.Run(test.name, func(t *testing.T) {
			t.Parallel()
			var refusal error
			test.config.Refused = func(_ *http.Request, err error) { refusal = err }
			res, body := answer(t, newVerifier(t, test.config), test.header, test.values...)
			if res.StatusCode != test.status {
				t.Fatalf("status is %d, want %d", res.StatusCode, test.status)
			}
			if test.status == http.StatusOK {
				if body != "alice" || refusal != nil {
					t.Errorf("app answers %q, refused with %v; want alice", body, refusal)
				}
				return
			}
			if errors.Is(refusal, verify.ErrNoAssertion) != test.absent {
				t.Errorf("refused with %v", refusal)
			}
			if refusal == nil || strings.Contains(body, "alice") || strings.Contains(body, good) || res.Header.Get("Cache-Control") != "no-store" {
				t.Errorf("refused with %v, body %q, header %v", refusal, body, res.Header)
			}
			if got := res.Header.Get("Retry-After") != ""; got != (test.status == http.StatusServiceUnavailable) {
				t.Errorf("Retry-After is %q", res.Header.Get("Retry-After"))
			}
		})
	}
}

func TestFromContextWithoutMiddleware(t *testing.T) {
	t.Parallel()
	if id := verify.FromContext(context.Background()); id != nil {
		t.Errorf("identity is %+v, want none", id)
	}
}
