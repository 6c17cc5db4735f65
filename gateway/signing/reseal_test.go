package signing_test

import (
	"bytes"
	"testing"

	"go.uber.org/zap"

	"github.com/caddy-sso/caddy-sso/gateway/gatewaytest"
	"github.com/caddy-sso/caddy-sso/gateway/signing"
	"github.com/caddy-sso/caddy-sso/gateway/vault"
)

// The keys outlive a change of the gateway's secret, whether anybody asks for them or not.
func TestKeysSurviveARotationOfTheSecret(t *testing.T) {
	t.Parallel()
	a, b := gatewaytest.Secret("a"), gatewaytest.Secret("b")
	for name, open := range map[string]func(v *vault.Vault) (published func() []byte){
		"assertions": func(v *vault.Vault) func() []byte {
			keys := signing.New(v, allow, zap.NewNop())
			return func() []byte { load(t, keys); return jwks(t, keys) }
		},
		"SAML": func(v *vault.Vault) func() []byte {
			keys := signing.NewSPKeys(v, allow, zap.NewNop())
			return func() []byte { _, certificate := keyPair(t, keys); return certificate }
		},
	} {
		for _, asked := range []bool{true, false} {
			store := gatewaytest.NewMemStore()
			var first []byte
			for i, secrets := range [][][]byte{{a}, {a, b}, {b, a}, {b}} {
				v, err := vault.New(store, secrets, nil)
				if err != nil {
					t.Fatal(err)
				}
				published := open(v)
				if i == 0 {
					first = published()
				}
				if last := i == 3; (asked || last) && !bytes.Equal(published(), first) {
					t.Fatalf("%s: step %d has other keys", name, i)
				}
				moved, err := v.ResealShared(t.Context())
				if err != nil || moved != map[int]int{2: 2}[i] { // the name key and this one
					t.Errorf("%s: step %d: %d records were sealed anew: %v", name, i, moved, err)
				}
			}
		}
	}
}
