package fetch_test

import (
	"context"
	"errors"
	"io"
	"net/http"
	"strings"
	"testing"
	"testing/synctest"
	"time"

	"go.uber.org/zap"

	"github.com/caddy-sso/caddy-sso/gateway/fetch"
	"github.com/caddy-sso/caddy-sso/gateway/refusal"
)

// TestRetryAfter reads what a server says about when to come back, within bounds.
func TestRetryAfter(t *testing.T) {
	t.Parallel()
	synctest.Test(t, func(t *testing.T) {
		for value, want := range map[string]time.Duration{
			"":      0,
			"30":    30 * time.Second,
			"0":     0,
			"86400": fetch.MaxRetryAfter,
			"-5":    0,
			"soon":  0,
			"1.5":   0,
			time.Now().Add(90 * time.Second).UTC().Format(http.TimeFormat): 90 * time.Second,
			time.Now().Add(-time.Hour).UTC().Format(http.TimeFormat):       0,
			time.Now().Add(time.Hour).UTC().Format(http.TimeFormat):        fetch.MaxRetryAfter,
		} {
			c := fetch.New(fetch.Options{Transport: roundTrip(func(*http.Request) (*http.Response, error) {
				return &http.Response{StatusCode: http.StatusServiceUnavailable, Header: http.Header{"Retry-After": {value}}, Body: io.NopCloser(strings.NewReader(""))}, nil
			})})
			got, err := get(t, c, "https://id.example.com/", 1000)
			if err != nil || got.RetryAfter != want {
				t.Errorf("%q: got %+v, %v, want %v", value, got, err, want)
			}
			if after := refusal.RetryAfter(refusal.New(refusal.ProviderUnavailable, got.Fault(errors.New("busy")))); after != want {
				t.Errorf("%q: the fault says %v", value, after)
			}
		}
	})
}

// TestDocumentHoldsOff leaves a provider alone for as long as it asks, for a minute
// at most.
func TestDocumentHoldsOff(t *testing.T) {
	t.Parallel()
	for name, tt := range map[string]struct{ says, rests time.Duration }{
		"nothing is said": {0, fetch.FailureKept},
		"a moment":        {time.Second, fetch.FailureKept},
		"half a minute":   {30 * time.Second, 30 * time.Second},
		"an hour":         {time.Hour, time.Minute},
	} {
		t.Run(name, func(t *testing.T) {
			t.Parallel()
			synctest.Test(t, func(t *testing.T) {
				fetches := 0
				d := &fetch.Document[string]{What: "keys", Logger: zap.NewNop(), Fetch: func(context.Context) ([]byte, error) {
					fetches++
					return nil, refusal.New(refusal.ProviderUnavailable, &refusal.DelayedError{Err: errRemoteDown, After: tt.says})
				}, Parse: func(doc []byte) (string, error) { return string(doc), nil }}
				ask := func() {
					if _, err := d.Current(t.Context()); refusal.CodeOf(err) != refusal.ProviderUnavailable {
						t.Errorf("got %v", err)
					}
				}
				ask()
				time.Sleep(tt.rests - time.Millisecond)
				ask()
				if fetches != 1 {
					t.Errorf("asked %d times", fetches)
				}
				time.Sleep(time.Millisecond)
				ask()
				if fetches != 2 {
					t.Errorf("asked %d times after the rest", fetches)
				}
			})
		})
	}
}
