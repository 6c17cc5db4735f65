// Package forward tells an app about the person who makes a request: in plain headers, and
// in the assertion, a signed statement that the app can verify.
//
// Headers are made once for each login, app and node, and shared by all requests. Only
// the assertion is renewed: it is valid for a minute, and signed again after 25 seconds.
//
// A Format is how values are written. Package strip removes these headers from what
// clients send.
package forward

import (
	"net/http"
	"strings"
	"time"
)

// A Signer signs assertions.
type Signer interface {
	// Sign returns claims (a JSON object) as a signed JWT in compact form.
	Sign(claims []byte) (string, error)
}

// A Principal is the person who makes a request. The app gets all of it.
type Principal struct {
	// Username, Email, the names, Provider and Account describe the person;
	// Account is opaque and stable.
	Username, Email, Name, FirstName, LastName, Provider, Account string
	// Roles, Groups and Template are the app's own names.
	Roles, Groups []string
	Template      string
	// SessionID identifies the login to this app: a hash, no secret.
	SessionID string
	// Expires is the latest end of the login.
	Expires time.Time
}

// Tie returns what a session of the app's own depends on: login, person and roles.
func (p *Principal) Tie() []string {
	return []string{p.SessionID, p.Account, p.Username, p.Template, strings.Join(p.Roles, "\n"), strings.Join(p.Groups, "\n")}
}

// A Statement is all that an app gets. The Principal is in plain headers and in the
// assertion, the rest in the assertion alone.
type Statement struct {
	Principal
	// Issuer is the site's origin, Audience the app.
	Issuer, Audience string
	EmailVerified    bool
	// ACR, AMR and AuthTime say how and when the provider authenticated the person (OIDC
	// Core §2).
	ACR      string
	AMR      []string
	AuthTime time.Time
}

// Headers are the headers for a Statement. They are safe for concurrent use.
type Headers struct {
	principal Principal
	values    Row // empty ones are not sent; Set adds the assertion
	assertion assertion
}

// New returns the Headers for s. Roles and Groups of their Principal are never nil.
func New(signer Signer, s Statement, f Format) *Headers {
	p := s.Principal
	p.Roles, p.Groups = notNil(p.Roles), notNil(p.Groups)
	return &Headers{
		principal: p,
		values: Row{
			kindUser: f.value(kindUser, p.Username), kindGroups: f.list(kindGroups, p.Groups), kindEmail: f.value(kindEmail, p.Email),
			kindName: f.value(kindName, p.Name), kindRoles: f.list(kindRoles, p.Roles), kindTemplate: f.value(kindTemplate, p.Template),
			kindFirstName: f.value(kindFirstName, p.FirstName), kindLastName: f.value(kindLastName, p.LastName),
			kindProvider: f.value(kindProvider, p.Provider),
		},
		assertion: assertion{signer: signer, claims: claims{
			Issuer: s.Issuer, Audience: s.Audience, Subject: p.Account,
			Username: p.Username, Email: p.Email, EmailVerified: s.EmailVerified,
			Name: p.Name, FirstName: p.FirstName, LastName: p.LastName,
			Roles: p.Roles, Groups: p.Groups, Template: p.Template,
			SessionID: p.SessionID, Provider: p.Provider,
			ACR: s.ACR, AMR: s.AMR, AuthTime: s.AuthTime.Unix(),
		}},
	}
}

func notNil(s []string) []string {
	if s == nil {
		return []string{}
	}
	return s
}

// Principal returns the person. All requests share it, so callers must not change it.
func (h *Headers) Principal() *Principal { return &h.principal }

// Values returns the values of the plain headers. That of the assertion is empty.
func (h *Headers) Values() Row { return h.values }

// Size returns about how many bytes of memory the Headers take, with their assertion.
func (h *Headers) Size() int {
	size := 1536 + 32*(len(h.principal.Roles)+len(h.principal.Groups))
	for _, value := range h.values {
		size += 3 * len(value)
	}
	return size
}

// Set adds the Headers to those of a request. names must be canonical. Each request brings
// its own array of values, and each header is a slice of it without spare capacity,
// because later handlers replace values in place. The error is the Signer's.
func (h *Headers) Set(request http.Header, names, values *Row, now time.Time) error {
	*values = h.values
	if names[0] != "" {
		token, err := h.assertion.at(now)
		if err != nil {
			return err
		}
		values[0] = token
	}
	for i, name := range names {
		if name != "" && values[i] != "" {
			request[name] = values[i : i+1 : i+1]
		}
	}
	return nil
}
