package oidcop

import (
	"net/http"
	"strings"

	"github.com/caddy-sso/caddy-sso/gateway/form"
)

// userInfo is the userinfo endpoint (OIDC Core §5.3).
func (p *Provider) userInfo(w http.ResponseWriter, r *http.Request) error {
	token, err := p.accessToken(w, r)
	if err != nil {
		return err
	}
	if id, _ := tokenParts(token, kindAccess); id == "" {
		return note(errTokenOver, "", "token form", "what came does not look like "+tokenKinds[kindAccess]+" of this provider")
	}
	h, err := p.hold(r.Context(), token)
	if err != nil {
		return err
	}
	claims := h.client.claims(h.access.Scope, h.grant.Claims.UserInfo, h.person)
	claims["sub"] = h.grant.Subject
	if h.client.UserInfoAlgorithm == "" {
		writeJSON(w, http.StatusOK, claims)
		return nil
	}
	claims["iss"], claims["aud"] = p.issuer(), h.client.ID // OIDC Core §5.3.2
	signed, err := p.sign(r.Context(), h.client.UserInfoAlgorithm, "JWT", claims)
	if err != nil {
		return err
	}
	write(w, http.StatusOK, "application/jwt", []byte(signed))
	return nil
}

// accessToken returns the access token of a request: of the header or of a form, never of a
// query, which would be logged (RFC 6750 §2).
func (p *Provider) accessToken(w http.ResponseWriter, r *http.Request) (string, error) {
	var tokens []string
	for _, value := range r.Header.Values("Authorization") {
		scheme, token, _ := strings.Cut(value, " ")
		if !strings.EqualFold(scheme, "Bearer") {
			return "", note(errTokenOver, "", "token scheme", "the header Authorization has another scheme than Bearer")
		}
		tokens = append(tokens, strings.TrimSpace(token))
	}
	if r.Method == http.MethodPost && form.IsForm(r.Header.Get("Content-Type")) {
		r.Body = http.MaxBytesReader(w, r.Body, maxForm)
		fields, refused := form.Read(w, r, "access_token")
		if refused != nil {
			return "", note(errForm, "", "form", refused.Error())
		}
		if token, sent := fields["access_token"]; sent {
			tokens = append(tokens, token)
		}
	}
	switch {
	case len(tokens) == 0:
		return "", errNoToken
	case len(tokens) > 1:
		return "", invalidRequest("there are several access tokens")
	}
	return tokens[0], nil
}
