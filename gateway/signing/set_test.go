package signing_test

import (
	"bytes"
	"context"
	"encoding/json"
	"strings"
	"testing"

	"github.com/go-jose/go-jose/v4"
	"go.uber.org/zap"

	"github.com/caddy-sso/caddy-sso/gateway/refusal"
	"github.com/caddy-sso/caddy-sso/gateway/signing"
	"github.com/caddy-sso/caddy-sso/gateway/store"
	"github.com/caddy-sso/caddy-sso/gateway/vault"
)

// TestSets: each set has keys of its own, made when they are needed, by one node for all.
func TestSets(t *testing.T) {
	t.Parallel()
	for set, alg := range map[signing.Set]jose.SignatureAlgorithm{signing.OpenIDRS256: jose.RS256, signing.OpenIDES256: jose.ES256} {
		t.Run(string(set), func(t *testing.T) {
			t.Parallel()
			st := newMemStore()
			a := signing.NewSet(set, newVault(t, st), allow, zap.NewNop())
			b := signing.NewSet(set, newVault(t, st), allow, zap.NewNop())
			load(t, a)
			if _, written := st.calls(); written != 0 {
				t.Error("keys are made before anybody needs them")
			}
			token, err := a.SignAs(t.Context(), "logout+jwt", []byte(claims))
			if err != nil {
				t.Fatal(err)
			}
			doc, err := b.Published(t.Context())
			if err != nil {
				t.Fatal(err)
			}
			var keys jose.JSONWebKeySet
			if err := json.Unmarshal(doc, &keys); err != nil || len(keys.Keys) != 2 || bytes.Contains(doc, []byte(`"d":`)) {
				t.Fatalf("published is %s: %v", doc, err)
			}
			jws, err := jose.ParseSignedCompact(token, []jose.SignatureAlgorithm{alg})
			if err != nil {
				t.Fatal(err)
			}
			if payload, err := jws.Verify(keys.Keys[0].Key); err != nil || string(payload) != claims {
				t.Errorf("the other node's key verifies %q: %v", payload, err)
			}
			if head := jws.Signatures[0].Header; head.KeyID != keys.Keys[0].KeyID || head.ExtraHeaders[jose.HeaderType] != "logout+jwt" {
				t.Errorf("the header is %+v", head)
			}
			if verifies(t, jwks(t, loaded(t, st)), token) {
				t.Error("the token verifies by the keys of the assertion")
			}
		})
	}
}

// loaded returns the keys of the assertion over a store.
func loaded(t *testing.T, st store.Store) *signing.Keys {
	t.Helper()
	keys := newKeys(t, st)
	load(t, keys)
	return keys
}

// TestSetOfAnotherAlgorithm: a record of another set's keys is a fault, and is not overwritten.
func TestSetOfAnotherAlgorithm(t *testing.T) {
	t.Parallel()
	for from, to := range map[string]signing.Set{"assertion ES256": signing.OpenIDRS256, "openid RS256": signing.OpenIDES256} {
		st := newMemStore()
		loaded(t, st)
		if err := signing.NewSet(signing.OpenIDRS256, newVault(t, st), allow, zap.NewNop()).Make(t.Context()); err != nil {
			t.Fatal(err)
		}
		v := newVault(t, st)
		rec, err := v.Get(t.Context(), vault.KindKeys, from)
		if err != nil {
			t.Fatal(err)
		}
		if err := v.Put(t.Context(), vault.KindKeys, string(to), rec.Value, 0); err != nil {
			t.Fatal(err)
		}
		err = signing.NewSet(to, newVault(t, st), allow, zap.NewNop()).Make(t.Context())
		if refusal.CodeOf(err) != refusal.StoreUnavailable || !strings.Contains(err.Error(), "no private key for") {
			t.Errorf("%s as %s: %v", from, to, err)
		}
	}
	replaced := func(context.Context) error { return refusal.New(refusal.StoreReplaced, nil) }
	keys := signing.NewSet(signing.OpenIDRS256, newVault(t, newMemStore()), replaced, zap.NewNop())
	if err := keys.Make(t.Context()); refusal.CodeOf(err) != refusal.StoreReplaced {
		t.Errorf("in a store that is not confirmed: %v", err)
	}
}
