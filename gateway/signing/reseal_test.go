package signing_test

import (
	"bytes"
	"context"
	"strings"
	"testing"

	"go.uber.org/zap"

	"github.com/caddy-sso/caddy-sso/gateway/gatewaytest"
	"github.com/caddy-sso/caddy-sso/gateway/signing"
	"github.com/caddy-sso/caddy-sso/gateway/vault"
)

// The keys outlive a change of the gateway's secret.
func TestKeysSurviveARotationOfTheSecret(t *testing.T) {
	t.Parallel()
	store := gatewaytest.NewMemStore()
	a, b := []byte(strings.Repeat("a", vault.MinSecret)), []byte(strings.Repeat("b", vault.MinSecret))
	var first []byte
	for i, secrets := range [][][]byte{{a}, {a, b}, {b, a}, {b}} {
		vault, err := vault.New(store, secrets, nil)
		if err != nil {
			t.Fatal(err)
		}
		keys := signing.New(vault, func(context.Context) error { return nil }, zap.NewNop())
		if err := keys.Load(t.Context()); err != nil {
			t.Fatal(err)
		}
		jwks, err := keys.JWKS()
		if err != nil {
			t.Fatal(err)
		}
		if first == nil {
			first = jwks
		}
		if _, err := vault.ResealShared(t.Context()); err != nil {
			t.Fatal(err)
		}
		if !bytes.Equal(jwks, first) {
			t.Fatalf("step %d has other keys", i)
		}
	}
}
