package caddymodule

import (
	"errors"

	"github.com/caddy-sso/caddy-sso/gateway/forward"
)

// HeaderNames says under which names an app receives the identity. "off" sends
// no such header.
type HeaderNames struct {
	// The signed assertion, a JWT. Default: X-Sso-Assertion.
	Assertion string `json:"assertion,omitempty"`
	// The user name. Default: Remote-User.
	User string `json:"user,omitempty"`
	// The app's groups. Default: Remote-Groups.
	Groups string `json:"groups,omitempty"`
	// The e-mail address. Default: Remote-Email.
	Email string `json:"email,omitempty"`
	// The person's name. Default: Remote-Name.
	Name string `json:"name,omitempty"`
	// The app's roles. Default: Remote-Roles.
	Roles string `json:"roles,omitempty"`
	// The name of the provider that the person signed in at. Default: off. A
	// client can't send Remote-Provider even so.
	Provider string `json:"provider,omitempty"`
}

// fields are the names by their kinds.
func (hn *HeaderNames) fields() map[string]*string {
	return map[string]*string{
		"assertion": &hn.Assertion, "user": &hn.User, "groups": &hn.Groups,
		"email": &hn.Email, "name": &hn.Name, "roles": &hn.Roles,
		"provider": &hn.Provider,
	}
}

// resolve returns the names with the defaults in place.
func (hn HeaderNames) resolve() (forward.HeaderNames, error) {
	pick := func(name, byDefault string) string {
		switch name {
		case "":
			return byDefault
		case "off":
			return ""
		}
		return name
	}
	def := forward.DefaultNames
	out := forward.HeaderNames{
		Assertion: pick(hn.Assertion, def.Assertion), User: pick(hn.User, def.User), Groups: pick(hn.Groups, def.Groups),
		Email: pick(hn.Email, def.Email), Name: pick(hn.Name, def.Name), Roles: pick(hn.Roles, def.Roles),
		Provider: pick(hn.Provider, def.Provider),
	}
	if out == (forward.HeaderNames{Provider: out.Provider}) {
		return out, errors.New("headers: all that say who somebody is are off, so the app would not learn who it is; leave one, the assertion for instance")
	}
	return out, nil
}
