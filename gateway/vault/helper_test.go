package vault_test

import (
	"testing"

	"github.com/caddy-sso/caddy-sso/gateway/gatewaytest"
	"github.com/caddy-sso/caddy-sso/gateway/store"
	"github.com/caddy-sso/caddy-sso/gateway/vault"
)

const (
	kindFlow    vault.Kind = "flow"
	kindAccount vault.Kind = "account"
	kindEpoch   vault.Kind = "epoch"
)

// openVault opens a vault that takes any store. Each secret is named by a letter.
func openVault(t *testing.T, st store.Store, letters ...string) *vault.Vault {
	t.Helper()
	if len(letters) == 0 {
		letters = []string{"a"}
	}
	var secrets [][]byte
	for _, letter := range letters {
		secrets = append(secrets, gatewaytest.Secret(letter))
	}
	v, err := vault.New(st, secrets, nil)
	mustDo(t, err)
	return v
}

func mustDo(t testing.TB, err error) {
	t.Helper()
	if err != nil {
		t.Fatal(err)
	}
}

// second returns the error of a call.
func second[T any](_ T, err error) error { return err }
