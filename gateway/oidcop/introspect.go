package oidcop

import (
	"errors"
	"net/http"
	"strings"

	"github.com/caddy-sso/caddy-sso/gateway/store"
)

// introspect is the introspection endpoint (RFC 7662). A client learns of its own tokens
// alone.
func (p *Provider) introspect(w http.ResponseWriter, r *http.Request, by Attempts) error {
	c, fields, err := p.clientForm(w, r, by, "token", "token_type_hint")
	if err != nil {
		return err
	}
	if err := p.checks.introspection.Run(c); err != nil {
		return c.of(err)
	}
	if fields["token"] == "" {
		return c.of(invalidRequest("token is missing"))
	}
	h, err := p.hold(r.Context(), fields["token"])
	if err == nil {
		err = p.checks.own.Run(&owned{c, h.grant})
	}
	if told, ok := asOAuth(err); ok && told != unavailable {
		writeJSON(w, http.StatusOK, map[string]any{"active": false}) // RFC 7662 §2.2
		return nil
	}
	if err != nil {
		return c.of(err)
	}
	writeJSON(w, http.StatusOK, p.introspection(h))
	return nil
}

// introspection is what a client hears of a good token of its own (RFC 7662 §2.2). The user
// name is told if the client may know it.
func (p *Provider) introspection(h *holder) map[string]any {
	scope := h.grant.Scope
	response := map[string]any{
		"active": true, "client_id": h.client.ID, "iss": p.issuer(), "aud": h.client.ID, "sub": h.grant.Subject, "exp": h.person.Expires.Unix(),
	}
	if h.access != nil {
		scope = h.access.Scope
		response["token_type"], response["iat"], response["exp"] = "Bearer", h.access.Issued.Unix(), h.access.Expires.Unix()
	}
	response["scope"] = strings.Join(scope, " ")
	if username := h.client.claims(scope, h.grant.Claims.UserInfo, h.person)["preferred_username"]; username != nil {
		response["username"] = username
	}
	return response
}

// introspectionClient: a public client proves nothing (RFC 7662 §2.1).
func introspectionClient(c *client) error {
	if c.isPublic() {
		return errClient
	}
	return nil
}

// owned is a grant beside the client that presents a token of it.
type owned struct {
	client *client
	grant  *grant
}

func ownGrant(o *owned) error {
	if o.grant.Client != o.client.ID {
		return errTokenOver
	}
	return nil
}

// revoke is the revocation endpoint (RFC 7009). The whole grant ends, whichever of its
// tokens the client names.
func (p *Provider) revoke(w http.ResponseWriter, r *http.Request, by Attempts) error {
	c, fields, err := p.clientForm(w, r, by, "token", "token_type_hint")
	if err != nil {
		return err
	}
	if fields["token"] == "" {
		return c.of(invalidRequest("token is missing"))
	}
	g, err := p.revocable(r, fields["token"])
	if errors.Is(err, store.ErrNotFound) {
		write(w, http.StatusOK, "application/json", nil) // RFC 7009 §2.2
		return nil
	}
	if err == nil {
		err = p.checks.own.Run(&owned{c, g})
	}
	if _, told := asOAuth(err); told {
		return c.of(toldAs(errSpent, err))
	}
	if err == nil {
		err = p.end(r.Context(), fields["token"])
	}
	if err != nil {
		return c.of(err)
	}
	write(w, http.StatusOK, "application/json", nil)
	return nil
}

// revocable returns the grant of a genuine token, even if that has expired, or
// store.ErrNotFound.
func (p *Provider) revocable(r *http.Request, token string) (*grant, error) {
	kind, text := kindAccess, token
	if id, _ := tokenParts(token, kindRefresh); id != "" {
		kind, text = kindRefresh, familyOf(token)
	}
	g, err := p.find(r.Context(), token, kind)
	if err != nil {
		return nil, err
	}
	genuine := [][]byte{g.Family}
	if kind == kindAccess {
		genuine = nil
		for _, a := range g.Access {
			genuine = append(genuine, a.Digest)
		}
	}
	for _, digest := range genuine {
		if p.shown(text, digest) {
			return g, nil
		}
	}
	return nil, store.ErrNotFound
}
