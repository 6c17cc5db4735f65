//go:build unix

package caddymodule_test

import (
	"context"
	"crypto/sha256"
	"encoding/base64"
	"fmt"
	"net/http"
	"net/http/httptest"
	"net/url"
	"strings"
	"testing"
	"time"
)

// BenchmarkOpenIDSignIn measures what it costs to sign a person in to an app: the
// authorization of somebody who has a session, and the exchange of the code. ratio is how
// many requests of a signed-in person cost as much processor time, in the same run.
func BenchmarkOpenIDSignIn(b *testing.B) {
	for _, algorithm := range []string{"ES256", "RS256"} {
		b.Run(algorithm, func(b *testing.B) {
			s := newSignedIn(b, 20, fmt.Sprintf(`
		op {
			client bench {
				secret 0123456789012345678901234567890123456789
				redirect_uri https://bench.example/
				algorithm %s
				role User *
			}
		}
`, algorithm))
			s.exchange(b, s.code(b, 0)) // RSA keys take a second
			before, n := cpuTime(b), 0
			for ; b.Loop(); n++ {
				s.exchange(b, s.code(b, n))
			}
			each := float64(cpuTime(b)-before) / float64(n)
			b.ReportMetric(each, "cpu-ns/op")
			b.ReportMetric(each/s.costs(b), "ratio")
		})
	}
}

// costs returns what a request of a signed-in person costs, in nanoseconds.
func (s *signedIn) costs(b *testing.B) float64 {
	b.Helper()
	ctx, cancel := context.WithCancel(b.Context())
	defer cancel()
	q, w := s.repeatable(ctx), httptest.NewRecorder()
	const requests = 50_000
	before := cpuTime(b)
	for n := range requests {
		if err := s.handler.ServeHTTP(w, q.of(n), noApp); err != nil {
			b.Fatal(err)
		}
	}
	return float64(cpuTime(b)-before) / requests
}

// code authorizes the app for the i-th person.
func (s *signedIn) code(b *testing.B, i int) string {
	b.Helper()
	sum := sha256.Sum256([]byte(wikiVerifier))
	query := url.Values{
		"client_id": {"bench"}, "redirect_uri": {"https://bench.example/"}, "response_type": {"code"}, "scope": {"openid profile email"}, "state": {"state"},
		"code_challenge_method": {"S256"}, "code_challenge": {base64.RawURLEncoding.EncodeToString(sum[:])},
	}
	resp, err := s.navigate("/.sso/op/authorize?"+query.Encode(), s.cookies[i%len(s.cookies)], "127.0.0.1")
	if err != nil {
		b.Fatal(err)
	}
	at, err := resp.Location()
	if err != nil || at.Query().Get("code") == "" {
		b.Fatalf("%s: sent to %v, %v", resp.Status, at, err)
	}
	return at.Query().Get("code")
}

func (s *signedIn) exchange(b *testing.B, code string) {
	b.Helper()
	form := url.Values{"grant_type": {"authorization_code"}, "code": {code}, "redirect_uri": {"https://bench.example/"}, "code_verifier": {wikiVerifier}}
	for deadline := time.Now().Add(time.Minute); ; time.Sleep(50 * time.Millisecond) {
		r := httptest.NewRequest(http.MethodPost, "http://"+benchHost+"/.sso/op/token", strings.NewReader(form.Encode()))
		r.RequestURI = "/.sso/op/token"
		r.Header.Set("Content-Type", "application/x-www-form-urlencoded")
		r.SetBasicAuth("bench", "0123456789012345678901234567890123456789")
		w := httptest.NewRecorder()
		err := s.handler.ServeHTTP(w, prepared(r, false, "127.0.0.1"), noApp)
		if err == nil && w.Code == http.StatusOK {
			return
		}
		if err != nil || w.Code != http.StatusServiceUnavailable || time.Now().After(deadline) {
			b.Fatalf("the token endpoint responds %d %s, %v", w.Code, w.Body, err)
		}
	}
}
