package oidcrp_test

import (
	"errors"
	"net/http"
	"net/url"
	"strings"
	"testing"
	"testing/synctest"
	"time"

	"github.com/caddy-sso/caddy-sso/gateway/gatewaytest"
	"github.com/caddy-sso/caddy-sso/gateway/provider"
	"github.com/caddy-sso/caddy-sso/gateway/refusal"
)

// TestPassingFaults tells what passes from what refuses somebody: a provider that
// is overloaded, restarts or has a fault of its own is unavailable, and its
// Retry-After counts. Every other error of an answer but access_denied refuses how the
// provider was asked, which no person can help.
func TestPassingFaults(t *testing.T) {
	t.Parallel()
	status := func(status int, body string, header ...string) http.HandlerFunc {
		return func(w http.ResponseWriter, _ *http.Request) {
			w.Header().Set("Content-Type", "application/json")
			for i := 0; i < len(header); i += 2 {
				w.Header().Set(header[i], header[i+1])
			}
			w.WriteHeader(status)
			_, _ = w.Write([]byte(body))
		}
	}
	answer := func(code string) gatewaytest.OPHooks {
		return gatewaytest.OPHooks{Answer: func(v url.Values) { v.Del("code"); v.Set("error", code) }}
	}
	const token, keys = gatewaytest.OPTokenPath, gatewaytest.OPJWKSPath
	for name, tt := range map[string]struct {
		hooks gatewaytest.OPHooks
		code  refusal.Code
		after time.Duration
		says  string
	}{
		"answer: temporarily_unavailable":   {answer("temporarily_unavailable"), refusal.ProviderUnavailable, 0, "temporarily_unavailable"},
		"answer: server_error":              {answer("server_error"), refusal.ProviderUnavailable, 0, "server_error"},
		"answer: access_denied":             {answer("access_denied"), refusal.ProviderRefused, 0, "access_denied"},
		"answer: login_required":            {answer("login_required"), refusal.ProviderRefused, 0, "login_required"},
		"answer: invalid_scope":             {answer("invalid_scope"), refusal.ProviderRefused, 0, "invalid_scope"},
		"answer: unauthorized_client":       {answer("unauthorized_client"), refusal.ProviderRefused, 0, "unauthorized_client"},
		"answer: invalid_request":           {answer("invalid_request"), refusal.ProviderRefused, 0, "invalid_request"},
		"answer: unsupported_response_type": {answer("unsupported_response_type"), refusal.ProviderRefused, 0, "unsupported_response_type"},
		"answer: no_mapping":                {answer("no_mapping"), refusal.ProviderRefused, 0, "no_mapping"},
		"answer: unknown":                   {answer("server_error2"), refusal.ProviderRefused, 0, "server_error2"},
		"token: 429":                        {at(token, status(429, `{"error":"too_many_requests"}`, "Retry-After", "30")), refusal.ProviderUnavailable, 30 * time.Second, "429"},
		"token: 429, invalid_grant":         {at(token, status(429, `{"error":"invalid_grant"}`)), refusal.ProviderUnavailable, 0, "429"},
		"token: 408":                        {at(token, status(408, ``)), refusal.ProviderUnavailable, 0, "408"},
		"token: 503, a day":                 {at(token, status(503, ``, "Retry-After", "86400")), refusal.ProviderUnavailable, 5 * time.Minute, "503"},
		"token: 502":                        {at(token, status(502, `<html>`)), refusal.ProviderUnavailable, 0, "502"},
		"token: 400, server_error":          {at(token, status(400, `{"error":"server_error"}`)), refusal.ProviderUnavailable, 0, "server_error"},
		"token: 400, temporarily":           {at(token, status(400, `{"error":"temporarily_unavailable"}`, "Retry-After", "7")), refusal.ProviderUnavailable, 7 * time.Second, "temporarily_unavailable"},
		"token: 200, server_error":          {at(token, status(200, `{"error":"server_error"}`)), refusal.ProviderUnavailable, 0, "server_error"},
		"token: 400, invalid_grant":         {at(token, status(400, `{"error":"invalid_grant"}`)), refusal.OIDCCodeRejected, 0, "invalid_grant"},
		"token: 401, invalid_client":        {at(token, status(401, `{"error":"invalid_client"}`)), refusal.OIDCClientRejected, 0, "invalid_client"},
		"keys: 429":                         {at(keys, status(429, ``, "Retry-After", "20")), refusal.ProviderUnavailable, 20 * time.Second, "429"},
		"keys: 404":                         {at(keys, status(404, ``, "Retry-After", "20")), refusal.ProviderUnavailable, 0, "404"},
		"the control, with a Retry-After ":  {at("/elsewhere", status(503, ``)), "", 0, ""},
	} {
		t.Run(name, func(t *testing.T) {
			t.Parallel()
			synctest.Test(t, func(t *testing.T) {
				op := inProcess(t)
				op.SetHooks(tt.hooks)
				_, err := op.Login(t.Context(), newProvider(t, op))
				if tt.code == "" {
					if err != nil {
						t.Fatal(err)
					}
					return
				}
				wantCode(t, err, tt.code)
				if got := refusal.RetryAfter(err); got != tt.after {
					t.Errorf("come back after %v, want %v", got, tt.after)
				}
				if !strings.Contains(err.Error(), tt.says) {
					t.Errorf("got %v, want %s", err, tt.says)
				}
				if request := tt.code == refusal.ProviderRefused && tt.says != "access_denied"; errors.Is(err, provider.ErrRequestRefused) != request {
					t.Errorf("the request is refused: %t, want %t", !request, request)
				}
			})
		})
	}
}
