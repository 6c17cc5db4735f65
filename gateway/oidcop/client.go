package oidcop

// A Client is an app that signs its people in here.
type Client struct {
	ID string
	// Secrets are one or two, while it is being changed. A client without secrets and
	// keys is public: it has PKCE alone.
	Secrets []string
	// Keys, a JWK Set, or KeysURL, where one is published, verify the client's
	// assertions (private_key_jwt, OIDC Core §9) instead of a secret.
	Keys    []byte
	KeysURL string
	// RedirectURIs are compared byte for byte (RFC 9700 §2.1). The port of
	// http://127.0.0.1/… or http://[::1]/… of a public client may be any (RFC 8252
	// §7.3).
	RedirectURIs []string
	// PostLogoutURIs are where the client may have a logout return to.
	PostLogoutURIs []string
	// BackchannelLogoutURI gets a logout token when a login ends.
	BackchannelLogoutURI string
	// Algorithm signs ID and logout tokens. Empty: RS256.
	Algorithm Algorithm
	// UserInfoAlgorithm signs userinfo. Empty: it is plain JSON.
	UserInfoAlgorithm Algorithm
	// InsecureNoPKCE accepts requests without a code challenge. It needs a secret or
	// keys.
	InsecureNoPKCE bool
	// Refresh issues refresh tokens.
	Refresh bool
	// Pairwise gives the client subjects of its own (OIDC Core §8.1).
	Pairwise bool
	// Claims are told beyond those of the scope, by name, in the ID token and in
	// userinfo. The values are kinds: user, name, email, first_name, last_name, roles,
	// groups, template, provider.
	Claims map[string]string
	// Roles tells the roles in the claim "roles" with every scope.
	Roles bool
}
