package session

import (
	"github.com/caddy-sso/caddy-sso/gateway/provider"
)

// An AccountKey identifies a person at one provider for good. A provider's
// configured name is a label and no part of it.
type AccountKey struct {
	Protocol provider.Protocol `json:"p"`
	Issuer   string            `json:"i"`
	Subject  string            `json:"s"`
}
