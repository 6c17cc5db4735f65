package caddymodule_test

import (
	"context"
	"net/http"
	"net/http/httptest"
	"strings"
	"testing"

	"github.com/caddyserver/caddy/v2"
	"github.com/caddyserver/caddy/v2/modules/caddyhttp"

	"github.com/caddy-sso/caddy-sso/caddymodule"
)

// PHP is told Caddy's original request, and so are templates: an unspent code must
// not be in there either.
func TestNoCredentialsInTheOriginalRequest(t *testing.T) {
	t.Parallel()
	const address = "/.sso/oidc/callback?code=canary&state=canary"
	r := httptest.NewRequest(http.MethodPost, address, strings.NewReader("SAMLResponse=canary"))
	original, itsURL := *r, *r.URL // as Caddy makes it
	original.URL = &itsURL
	ctx := context.WithValue(r.Context(), caddyhttp.OriginalRequestCtxKey, original)
	r = caddymodule.DropCredentials(r.WithContext(context.WithValue(ctx, caddy.ReplacerCtxKey, caddy.NewReplacer())))
	told, ok := r.Context().Value(caddyhttp.OriginalRequestCtxKey).(http.Request)
	if !ok || told.URL.Path != "/.sso/oidc/callback" {
		t.Fatalf("the original request is gone: %v", told.URL)
	}
	for what, text := range map[string]string{
		"the address": r.URL.String(), "the target": r.RequestURI,
		"the original address": told.URL.RequestURI(), "the original target": told.RequestURI,
	} {
		if strings.Contains(text, "canary") {
			t.Errorf("%s is %q", what, text)
		}
	}
	if !strings.Contains(original.URL.RawQuery, "canary") {
		t.Error("another's copy of the request was changed")
	}
}
