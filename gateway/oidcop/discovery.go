package oidcop

import (
	"encoding/json"
	"fmt"
	"maps"
	"net/http"
	"slices"
)

// endpoints are in the metadata, by name.
var endpoints = map[string]string{
	"authorization_endpoint": AuthorizationPath,
	"token_endpoint":         TokenPath,
	"userinfo_endpoint":      UserInfoPath,
	"jwks_uri":               JWKSPath,
	"introspection_endpoint": IntrospectionPath,
	"revocation_endpoint":    RevocationPath,
	"end_session_endpoint":   LogoutPath,
}

// discovery serves the metadata of OpenID Connect Discovery 1.0 §3 and RFC 8414 §2.
func (p *Provider) discovery(w http.ResponseWriter, _ *http.Request) error {
	b, err := p.bound()
	if err != nil {
		return err
	}
	metadata := p.features()
	metadata["issuer"] = b.Issuer
	for name, path := range endpoints {
		metadata[name] = b.Issuer + path
	}
	body, err := json.Marshal(metadata)
	if err != nil {
		return err
	}
	publish(w, "application/json", body)
	return nil
}

// features returns the metadata that don't depend on the issuer.
func (p *Provider) features() map[string]any {
	algorithms := p.Algorithms()
	if !slices.Contains(algorithms, RS256) {
		algorithms = append(algorithms, RS256) // Discovery demands it
	}
	confidential := []string{byBasic, byPost, byAssertion}
	authentication := append(slices.Clone(confidential), byNothing)
	grants, scopeNames := []string{"authorization_code"}, slices.Sorted(maps.Keys(scopes))
	if p.refreshes() {
		grants, scopeNames = append(grants, "refresh_token"), append(scopeNames, "offline_access")
	}
	return map[string]any{
		"response_types_supported":              []string{"code"},
		"response_modes_supported":              []string{"query", "form_post"},
		"grant_types_supported":                 grants,
		"subject_types_supported":               []string{"public", "pairwise"},
		"scopes_supported":                      scopeNames,
		"claims_supported":                      p.claimNames(),
		"claim_types_supported":                 []string{"normal"},
		"code_challenge_methods_supported":      []string{"S256"},
		"prompt_values_supported":               []string{"none", "login", "consent", "select_account"},
		"id_token_signing_alg_values_supported": algorithms,
		"userinfo_signing_alg_values_supported": append(algorithms, "none"),

		"token_endpoint_auth_methods_supported":                    authentication,
		"token_endpoint_auth_signing_alg_values_supported":         assertionAlgorithms,
		"revocation_endpoint_auth_methods_supported":               authentication,
		"revocation_endpoint_auth_signing_alg_values_supported":    assertionAlgorithms,
		"introspection_endpoint_auth_methods_supported":            confidential,
		"introspection_endpoint_auth_signing_alg_values_supported": assertionAlgorithms,

		"claims_parameter_supported":                     true,
		"request_parameter_supported":                    false,
		"request_uri_parameter_supported":                false,
		"require_request_uri_registration":               false,
		"authorization_response_iss_parameter_supported": true,
		"backchannel_logout_supported":                   true,
		"backchannel_logout_session_supported":           true,
	}
}

// refreshes reports whether any client gets refresh tokens.
func (p *Provider) refreshes() bool {
	for _, c := range p.clients {
		if c.Refresh {
			return true
		}
	}
	return false
}

// claimNames returns the claims of all scopes. Those of single clients are their business.
func (p *Provider) claimNames() []string {
	names := []string{"iss", "sub", "aud", "exp", "iat", "auth_time", "nonce", "at_hash", "acr", "amr", "sid"}
	for _, claims := range scopes {
		names = append(names, slices.Collect(maps.Keys(claims))...)
	}
	slices.Sort(names)
	return names
}

// jwks serves the keys of all algorithms.
func (p *Provider) jwks(w http.ResponseWriter, r *http.Request) error {
	b, err := p.bound()
	if err != nil {
		return err
	}
	type set struct {
		Keys []json.RawMessage `json:"keys"`
	}
	all := set{[]json.RawMessage{}}
	for _, alg := range p.Algorithms() {
		signer := b.Signers[alg]
		if signer == nil {
			return fmt.Errorf("publishing keys: none for %s", alg)
		}
		doc, err := signer.Published(r.Context())
		if err != nil {
			return err
		}
		var one set
		if err := json.Unmarshal(doc, &one); err != nil {
			return fmt.Errorf("publishing keys: %w", err)
		}
		all.Keys = append(all.Keys, one.Keys...)
	}
	body, err := json.Marshal(all)
	if err != nil {
		return err
	}
	publish(w, "application/jwk-set+json", body)
	return nil
}

// publish responds with what is the same for everybody. Keys are published weeks before they
// sign.
func publish(w http.ResponseWriter, mediaType string, body []byte) {
	h := w.Header()
	h.Set("Content-Type", mediaType)
	h.Set("Cache-Control", "public, max-age=300")
	h.Set("X-Content-Type-Options", "nosniff")
	_, _ = w.Write(body)
}
