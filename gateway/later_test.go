package gateway_test

import (
	"errors"
	"net/http"
	"testing"
	"time"

	"github.com/caddy-sso/caddy-sso/gateway/provider"
	"github.com/caddy-sso/caddy-sso/gateway/refusal"
)

// TestRetryAfter hands on when a provider wants to be asked again. A person who is
// signed in by now goes on, whatever the provider's fault.
func TestRetryAfter(t *testing.T) {
	t.Parallel()
	busy := errors.New("busy")
	for name, tt := range map[string]struct {
		err  *refusal.Error
		want string
	}{
		"said":            {refusal.New(refusal.ProviderUnavailable, &refusal.DelayedError{Err: busy, After: 29500 * time.Millisecond}), "30"},
		"not said":        {refusal.New(refusal.ProviderUnavailable, busy), "5"},
		"of another code": {refusal.New(refusal.StoreUnavailable, &refusal.DelayedError{Err: busy, After: time.Minute}), "5"},
	} {
		t.Run(name, func(t *testing.T) {
			t.Parallel()
			l := newLab(t)
			l.idp.person("alice", provider.Identity{Username: "alice"})
			s := l.site()
			b := s.browser()
			callback := b.begin("/")
			l.idp.judge(func(provider.CompleteRequest, *provider.Answer) error { return tt.err })
			w := b.open(callback)
			wantStatus(t, w, http.StatusServiceUnavailable)
			if got := w.Header().Get("Retry-After"); got != tt.want {
				t.Errorf("Retry-After is %q, want %s", got, tt.want)
			}
			l.idp.judge(nil)
			second := b.begin("/x")
			b.signIn()
			l.idp.judge(func(provider.CompleteRequest, *provider.Answer) error { return tt.err })
			w = b.open(second)
			if tt.err.Code == refusal.ProviderUnavailable {
				wantRedirect(t, w, "https://"+b.host+"/x")
			}
		})
	}
}
