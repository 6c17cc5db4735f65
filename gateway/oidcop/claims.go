package oidcop

import (
	"context"
	"maps"
	"slices"

	"github.com/go-jose/go-jose/v4/json"

	"github.com/caddy-sso/caddy-sso/gateway/vault"
)

// kinds are what a claim can tell of a person.
var kinds = map[string]func(*Person) any{
	"user":       func(p *Person) any { return p.Username },
	"name":       func(p *Person) any { return p.Name },
	"email":      func(p *Person) any { return p.Email },
	"first_name": func(p *Person) any { return p.FirstName },
	"last_name":  func(p *Person) any { return p.LastName },
	"roles":      func(p *Person) any { return p.Roles },
	"groups":     func(p *Person) any { return p.Groups },
	"template":   func(p *Person) any { return p.Template },
	"provider":   func(p *Person) any { return p.Provider },

	// Not for Client.Claims:
	"email_verified": func(p *Person) any { return p.EmailVerified },
}

// Kinds returns the kinds of Client.Claims: what one can tell of a person.
func Kinds() []string {
	names := slices.Sorted(maps.Keys(kinds))
	return slices.DeleteFunc(names, func(name string) bool { return name == "email_verified" })
}

// scopes are the claims of each scope (OIDC Core §5.4), by name, with their kinds.
var scopes = map[string]map[string]string{
	"openid":  {},
	"profile": {"preferred_username": "user", "name": "name", "given_name": "first_name", "family_name": "last_name"},
	"email":   {"email": "email", "email_verified": "email_verified"},
	"groups":  {"groups": "groups"},
	"roles":   {"roles": "roles", "template": "template"},
}

// reserved reports whether a claim of an ID token has a meaning of its own.
func reserved(name string) bool {
	return slices.Contains([]string{
		"iss", "sub", "aud", "exp", "iat", "nbf", "jti", "auth_time", "nonce", "acr", "amr", "azp", "at_hash", "c_hash", "s_hash", "sid", "events", "email_verified",
		"phone_number_verified",
	}, name)
}

// claimKinds returns the claims that the client may have, with their kinds.
func (c *client) claimKinds() map[string]string {
	all := map[string]string{}
	for _, claims := range scopes {
		maps.Copy(all, claims)
	}
	maps.Copy(all, c.Claims)
	return all
}

// claims returns what the client may know of a person: the claims of the scope, those that it
// asks for by name, and those of the configuration. ID tokens have them, too: many apps do
// not ask for userinfo.
func (c *client) claims(scope, asked []string, person *Person) map[string]any {
	names := slices.Concat(slices.Collect(maps.Keys(c.Claims)), asked)
	for _, s := range scope {
		names = append(names, slices.Collect(maps.Keys(scopes[s]))...)
	}
	return c.tell(names, person)
}

// tell returns the named claims, without empty ones (OIDC Core §5.3.2).
func (c *client) tell(names []string, person *Person) map[string]any {
	claims, all := map[string]any{}, c.claimKinds()
	for _, name := range names {
		value, ok := kinds[all[name]]
		if !ok {
			continue
		}
		switch v := value(person).(type) {
		case string:
			if v != "" {
				claims[name] = v
			}
		case []string:
			if len(v) > 0 {
				claims[name] = v
			}
		case bool: // email_verified says nothing about an email of another kind
			if person.Email != "" && all["email"] == "email" {
				claims[name] = v
			}
		}
	}
	return claims
}

// subject returns the sub of a person: the same at all clients, or of this one alone. A MAC
// hides whether the pairwise subjects of two clients are one person (OIDC Core §8.1).
func (p *Provider) subject(ctx context.Context, c *client, person *Person) (string, error) {
	if !c.Pairwise {
		return person.Subject, nil
	}
	mac, err := p.mac(ctx, "openid subject", c.ID, person.Subject)
	return vault.EncodeText(mac), err
}

// sid names a login for one client (OpenID Connect Back-Channel Logout 1.0 §2.1). It opens
// nothing, and two clients can't tell that theirs are the same login.
func (p *Provider) sid(c *client, login string) string { return vault.Handle(p.issuer(), c.ID, login) }

// A claimsRequest is the claims parameter (OIDC Core §5.5), as far as it means something.
type claimsRequest struct {
	IDToken  []string `json:"i,omitempty"`
	UserInfo []string `json:"u,omitempty"`
	// Subject is the person that the client wants.
	Subject string   `json:"-"`
	acr     []string // essential ones
}

// Bounds of the claims parameter.
const (
	maxClaimsRequest = 8 << 10 // bytes
	maxClaims        = 64      // of each document
)

// wanted says how a claim is requested. Nil: by its name alone (OIDC Core §5.5.1).
type wanted struct {
	Essential bool     `json:"essential"`
	Value     any      `json:"value"`
	Values    []string `json:"values"`
}

// readClaimsRequest reads the claims parameter. JSON is read exactly: no name counts twice,
// or in another case.
func readClaimsRequest(text string) (claimsRequest, error) {
	var r claimsRequest
	if text == "" {
		return r, nil
	}
	var doc struct {
		IDToken  map[string]*wanted `json:"id_token"`
		UserInfo map[string]*wanted `json:"userinfo"`
	}
	if len(text) > maxClaimsRequest || json.Unmarshal([]byte(text), &doc) != nil || len(doc.IDToken) > maxClaims || len(doc.UserInfo) > maxClaims {
		return r, invalidRequest("claims is no claims request, or too large")
	}
	for _, of := range []map[string]*wanted{doc.IDToken, doc.UserInfo} {
		if sub := of["sub"]; sub != nil && sub.Value != nil {
			text, ok := sub.Value.(string)
			if !ok || r.Subject != "" && r.Subject != text {
				return r, invalidRequest("claims names several persons")
			}
			r.Subject = text
		}
	}
	if acr := doc.IDToken["acr"]; acr != nil && acr.Essential {
		r.acr = acr.Values
		if one, ok := acr.Value.(string); ok {
			r.acr = append(r.acr, one)
		}
	}
	r.IDToken, r.UserInfo = known(doc.IDToken), known(doc.UserInfo)
	return r, nil
}

// known returns the names that a client's claims may have.
func known(of map[string]*wanted) []string {
	names := slices.Sorted(maps.Keys(of))
	return slices.DeleteFunc(names, func(name string) bool { return reserved(name) && name != "email_verified" || len(name) > maxClientID })
}
