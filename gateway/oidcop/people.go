package oidcop

import (
	"context"
	"time"
)

// ErrNoLogin means that a login is over.
const ErrNoLogin loginError = "the login is over"

// ErrNotHere is an ErrNoLogin of this node alone: the login or the client belongs to another
// configuration. Clients are not told that the login is over.
const ErrNotHere loginError = "this node does not accept the login"

type loginError string

func (e loginError) Error() string { return string(e) }

// Is makes each of them an ErrNoLogin.
func (loginError) Is(target error) bool { return target == ErrNoLogin }

// People knows the person of a login.
type People interface {
	// Person returns the person of a login as the client may see them now, by asking
	// the store. The error is ErrNoLogin if the login is over, or ErrNotHere, a
	// *refusal.Error if the client's rules refuse the person, else a fault.
	Person(ctx context.Context, client, login string) (*Person, error)
}

// A Person is the subject of tokens.
type Person struct {
	// Subject identifies the person permanently, at all clients.
	Subject string
	// Username to Email describe the person; what is empty is left out.
	Username, Name, FirstName, LastName, Email string
	// EmailVerified states that Email is known to be the person's own.
	EmailVerified bool
	// Template and Roles come from the client's rules, Groups from them or the
	// provider.
	Template      string
	Roles, Groups []string
	// Provider is the name of the provider that signed the person in.
	Provider string
	// ACR and AMR are the provider's, if it told them.
	ACR string
	AMR []string
	// AuthTime is when the person signed in, as the provider says; zero if it does not.
	// Expires is when the login ends.
	AuthTime, Expires time.Time
}
