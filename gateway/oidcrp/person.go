package oidcrp

import (
	"errors"
	"fmt"
	"slices"
	"strings"

	"go.uber.org/zap"

	"github.com/caddy-sso/caddy-sso/gateway/provider"
)

// A verification is what a provider says of an e-mail address.
type verification string

const (
	unsaid     verification = "missing" // as AD FS and Entra ID leave it
	verified   verification = "true"
	unverified verification = "not true"
)

// verification reads the flag (OIDC Core §5.1). Some providers send it as a
// string. null is missing, and anything else is false.
func (f *profile) verification() verification {
	switch f.object["email_verified"] {
	case nil:
		return unsaid
	case true, "true":
		return verified
	}
	return unverified
}

// A person is what the sources together say of somebody. personChecks judge it.
type person struct {
	provider.Identity
	said    verification // of Identity.Email
	claim   string       // the user name's
	groups  string       // the claim of the groups
	trusted bool         // the provider vouches for its addresses, whatever it says
}

// join puts together what the sources say; info may be nil. Each field comes
// from one source, the ID token first: e-mail and whether it is verified are one
// field, all groups are one field.
func (p *Provider) join(id, info *profile) *person {
	if info == nil {
		info = &profile{username: id.username, groups: id.groups}
	}
	first := func(name string) string {
		if s := id.text(name); s != "" {
			return s
		}
		return info.text(name)
	}
	mail, groups := id, id
	if id.str("email") == "" {
		mail = info
	}
	if !id.hasGroups() {
		groups = info
	}
	at, _ := id.date("auth_time")
	email, said := mail.str("email"), mail.verification()
	return &person{
		Identity: provider.Identity{
			Username:      first(id.username),
			Email:         email,
			EmailVerified: email != "" && said == verified,
			FirstName:     first("given_name"),
			LastName:      first("family_name"),
			DisplayName:   first("name"),
			Groups:        groups.list(),
			ACR:           id.str("acr"),
			AMR:           id.strs("amr"),
			AuthTime:      at,
		},
		said: said, claim: id.username, groups: id.groups, trusted: p.config.TrustEmail,
	}
}

// identity judges what the sources say; info may be nil. An address that the
// provider calls unverified may be anybody's: no app is told of it, under no
// name. (Some providers fill the full name with it.)
func (p *Provider) identity(id, info *profile) (provider.Identity, error) {
	who := p.join(id, info)
	if err := p.checks.person.Run(who); err != nil {
		return provider.Identity{}, err
	}
	if who.Email != "" && who.said == unverified && !who.trusted {
		p.logger.Info("leaving out an e-mail address: email_verified is not true", zap.String("subject", id.str("sub")))
		for _, name := range []*string{&who.FirstName, &who.LastName, &who.DisplayName} {
			if strings.EqualFold(*name, who.Email) {
				*name = ""
			}
		}
		who.Groups = slices.DeleteFunc(who.Groups, func(group string) bool { return strings.EqualFold(group, who.Email) })
		who.Email = ""
	}
	return who.Identity, nil
}

// personEmail: whoever may write any address into their profile could take
// another's user name. So an e-mail address is a user name only if the provider
// calls it verified; that is so of any claim that holds it, if the provider calls
// it unverified. A provider that says nothing (AD FS, Entra ID) has other claims
// whose values only look like one: preferred_username, upn.
func personEmail(p *person) error {
	switch {
	case p.trusted || p.Username == "":
		return nil
	case namesEmail(p.claim) && (p.Username != p.Email || p.said != verified):
		return fmt.Errorf("reading the user name of %s: it is an e-mail address, and email_verified is %s", quoted(p.claim), p.flag())
	case strings.EqualFold(p.Username, p.Email) && p.said == unverified:
		return errors.New("reading the user name of " + quoted(p.claim) + ": it is the e-mail address, and email_verified is " + p.flag())
	}
	return nil
}

// personGroups: an address in a rule decides as a user name does.
func personGroups(p *person) error {
	switch {
	case p.trusted || !namesEmail(p.groups) || len(p.Groups) == 0:
		return nil
	case p.said != verified || len(p.Groups) != 1 || p.Groups[0] != p.Email:
		return fmt.Errorf("reading the groups of %s: they are e-mail addresses, and email_verified is %s", quoted(p.groups), p.said)
	}
	return nil
}

// flag is what email_verified says of the user name.
func (p *person) flag() string {
	if p.Username != p.Email {
		return "about another one, the claim email"
	}
	return string(p.said)
}

// namesEmail reports whether a claim holds an e-mail address by its name:
// "email", "Email", "profile.email", "https://example.com/email".
func namesEmail(claim string) bool {
	last := claim[strings.LastIndexAny(claim, "./:#")+1:]
	last = strings.NewReplacer("_", "", "-", "").Replace(strings.ToLower(last))
	return strings.HasSuffix(last, "mail") || strings.HasSuffix(last, "emails") ||
		strings.Contains(last, "mail") && (strings.HasSuffix(last, "address") || strings.HasSuffix(last, "addr"))
}
