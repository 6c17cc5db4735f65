package connect

import (
	"errors"
	"slices"
	"time"

	"github.com/caddy-sso/caddy-sso/gateway/check"
	"github.com/caddy-sso/caddy-sso/gateway/refusal"
)

// A checklist has what must hold before the gateway uses a ticket, or passes on an API token.
type checklist struct {
	brought check.List[*shown] // by a browser
	sealed  check.List[*shown]
	given   check.List[*shown] // by a node, for a login
	renewed check.List[*shown] // by a node, to the interface
	token   check.List[*bearing]
}

func checks() *checklist {
	return &checklist{
		brought: check.All(
			check.That("ticket complete", refusal.ProxmoxRefused, complete),
			check.That("ticket user", refusal.ProxmoxRefused, sameUser),
			check.That("ticket age", refusal.ProxmoxRefused, young),
		),
		sealed: check.All(check.That("ticket seal", refusal.ProxmoxRefused, sealed)),
		given: check.All(
			check.That("login complete", refusal.ProxmoxRefused, complete),
			check.That("login user", refusal.ProxmoxRefused, sameUser),
		),
		renewed: check.All(
			check.That("renewal complete", refusal.ProxmoxRefused, complete),
			check.That("renewal user", refusal.ProxmoxRefused, sameUser),
		),
		token: check.All(
			check.That("token once", refusal.Unauthenticated, oneAuthorization),
			check.That("token form", refusal.Unauthenticated, tokenForm),
			check.That("token path", refusal.Unauthenticated, underAPI),
			check.That("token sign-in", refusal.Unauthenticated, noSignIn),
		),
	}
}

// A shown is a ticket that is shown as that of a user.
type shown struct {
	ticket
	of    string   // the user
	named string   // whom the node says that it has signed in
	seal  string   // that the ticket must have
	seals []string // that came with it
}

// complete refuses a ticket that waits for a second factor. Its user begins in one of three
// ways.
func complete(s *shown) error {
	if isHalf(s.user) {
		return errors.New("it waits for a second factor: the realm must not ask for one")
	}
	return nil
}

func sameUser(s *shown) error {
	if s.user != s.of || s.named != s.of {
		return errors.New("it is another user's")
	}
	return nil
}

func young(s *shown) error {
	if time.Since(s.made) >= renewAfter {
		return errors.New("it is too old")
	}
	return nil
}

func sealed(s *shown) error {
	if !slices.ContainsFunc(s.seals, func(text string) bool { return same(text, s.seal) }) {
		return errors.New("it has no seal of this person, login and roles")
	}
	return nil
}
