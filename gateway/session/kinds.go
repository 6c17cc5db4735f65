package session

import (
	"github.com/caddy-sso/caddy-sso/gateway/vault"
)

// The kinds of records. docs/store.md describes them all.
const (
	kindLogin   vault.Kind = "login"
	kindFlow    vault.Kind = "flow"
	kindAccount vault.Kind = "account"
	kindEpoch   vault.Kind = "epoch"
	kindReplay  vault.Kind = "replay"
)
