package gateway

import "time"

// An Identity is what a provider asserted about a person at one login,
// normalised. It is what rules, headers and claims are made from.
type Identity struct {
	Username      string `json:"u,omitempty"`
	Email         string `json:"e,omitempty"`
	EmailVerified bool   `json:"ev,omitempty"`
	FirstName     string `json:"fn,omitempty"`
	LastName      string `json:"ln,omitempty"`
	DisplayName   string `json:"dn,omitempty"`
	// Groups as the provider names them, in its order, without duplicates.
	Groups []string `json:"g,omitempty"`
	// ACR is the authentication context class, AMR the methods (OIDC Core §2).
	ACR string   `json:"acr,omitempty"`
	AMR []string `json:"amr,omitempty"`
	// AuthTime is when the person proved who they are; zero if not said.
	AuthTime time.Time `json:"at,omitzero"`
}

// An AccountKey identifies a person at one provider for good. A provider's
// configured name is a label and no part of it.
type AccountKey struct {
	Protocol Protocol `json:"p"`
	Issuer   string   `json:"i"`
	Subject  string   `json:"s"`
}
