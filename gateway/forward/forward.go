// Package forward tells an app of the person who makes a request: in plain headers,
// and in the assertion, a signed statement that the app can verify.
//
// Headers are made once for each login, app and node, and shared by all
// requests. Only their assertion is renewed: it is good for a minute, and signed
// anew every 25 seconds.
//
// A Format says how values are written. Which names of headers a client can't send is
// the business of package strip.
package forward

import (
	"net/http"
	"time"
)

// A Signer signs assertions.
type Signer interface {
	// Sign returns claims (a JSON object) as a signed JWT in compact form.
	Sign(claims []byte) (string, error)
}

// A Principal is the person who makes a request, as the app is told.
type Principal struct {
	// Username, Email, the names, Provider and Account describe the person;
	// Account is opaque and stable.
	Username, Email, Name, FirstName, LastName, Provider, Account string
	// Roles, Groups and Template are in the app's own words.
	Roles, Groups []string
	Template      string
	// SessionID names the login towards this app: a hash, no secret.
	SessionID string
	// Expires is when the login ends at the latest.
	Expires time.Time
}

// A Statement is all that an app is told: the Principal in plain headers and in
// the assertion, the rest in the assertion alone.
type Statement struct {
	Principal
	// Issuer is the origin that the assertion names, Audience the app.
	Issuer, Audience string
	EmailVerified    bool
	// ACR, AMR and AuthTime say how and when the provider made sure of the person
	// (OIDC Core §2).
	ACR      string
	AMR      []string
	AuthTime time.Time
}

// Headers are a Statement as it is sent. They are safe for concurrent use.
type Headers struct {
	principal Principal
	values    Row // an empty one is not sent; that of the assertion is signed later
	assertion assertion
}

// New returns the Headers that state s. Roles and Groups of their Principal are
// never nil.
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

// Principal returns the person. All requests share it: it must not be changed.
func (h *Headers) Principal() *Principal { return &h.principal }

// Values are those of the plain headers, whatever their names. The place of the
// assertion is empty.
func (h *Headers) Values() Row { return h.values }

// Size is roughly how many bytes the Headers take, with their assertion.
func (h *Headers) Size() int {
	size := 1536 + 32*(len(h.principal.Roles)+len(h.principal.Groups))
	for _, value := range h.values {
		size += 3 * len(value)
	}
	return size
}

// Set puts the Headers into a request's, under names, which are canonical. Each
// request brings an array of its own, and each header is a slice of it with no room
// to grow: handlers after us replace values in place. The error is the Signer's.
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
