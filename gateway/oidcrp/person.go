package oidcrp

import (
	"cmp"
	"fmt"
	"maps"
	"slices"
	"strings"
	"unicode"

	"go.uber.org/zap"

	"github.com/caddy-sso/caddy-sso/gateway/provider"
	"github.com/caddy-sso/caddy-sso/gateway/refusal"
	"github.com/caddy-sso/caddy-sso/gateway/wording"
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

// A person is what the sources together say of somebody. checklist.person checks it.
type person struct {
	provider.Identity
	said    verification // of Identity.Email
	claim   string       // the user name's
	groups  string       // the claim of the groups
	trusted bool         // the provider vouches for its addresses, whatever it says
	sources []*profile
	// hidden says that neither source has an e-mail, because its scope was not granted.
	hidden bool
}

// findings are the result of asking userinfo.
type findings struct {
	info *profile // nil: it was not asked, or could not be
	why  string   // in that case, for the operator
	// failed says that it might have told more.
	failed bool
	// ungranted is a scope that was asked for in vain, empty for none. It may bring
	// groups; noEmail is about the scope email.
	ungranted string
	noEmail   bool
}

// join puts together what the sources say. Each field comes from one source, the
// ID token first: e-mail and whether it is verified are one field, all groups are
// one field.
func (p *Provider) join(id *profile, more findings) *person {
	info := more.info
	if info == nil {
		info = &profile{username: id.username, groups: id.groups}
	}
	mail := id
	if id.email == "" {
		mail = info
	}
	email, said := mail.email, mail.verification()
	who := &person{
		Identity: provider.Identity{
			Username:      cmp.Or(id.text(id.username), info.text(id.username)),
			Email:         email,
			EmailVerified: email != "" && said == verified,
			FirstName:     cmp.Or(id.first, info.first),
			LastName:      cmp.Or(id.last, info.last),
			DisplayName:   cmp.Or(id.display, info.display),
			ACR:           id.acr,
			AMR:           id.amr,
			AuthTime:      id.authenticated,
		},
		said: said, claim: id.username, groups: id.groups, trusted: p.config.TrustEmail, sources: []*profile{id, info},
		hidden: more.noEmail && email == "",
	}
	who.joinGroups(id, info, more)
	return who
}

// joinGroups takes the groups of one source, and notes if they are not known in full.
func (p *person) joinGroups(id, info *profile, more findings) {
	from := id
	if !id.hasGroups() {
		from = info
	}
	p.Groups, p.GroupsNote = from.list(), from.partial
	if p.Groups == nil && p.GroupsNote == "" { // neither names them: does it say why?
		p.GroupsNote = id.partial
	}
	p.GroupsPartial = p.GroupsNote != "" || p.Groups == nil && (more.failed || more.ungranted != "")
	if p.GroupsNote == "" && p.Groups == nil {
		p.GroupsNote = missing(id.groups, more)
		if !more.failed {
			p.NoGroups = fmt.Sprintf("%s; the claims that came: %s; name the right claim by `groups_claim`, or have the provider send it: by a scope (`scopes`), or by a mapper there",
				p.GroupsNote, wording.List(p.claims()))
		}
	}
}

// missing says where a claim was looked for.
func missing(claim string, more findings) string {
	where := fmt.Sprintf("the claim %s is neither in the ID token nor in userinfo", wording.Quoted(claim))
	if more.why != "" {
		where = fmt.Sprintf("the claim %s is not in the ID token, and %s", wording.Quoted(claim), more.why)
	}
	if more.ungranted != "" {
		where += fmt.Sprintf("; the provider has not granted the scope %s", wording.Quoted(more.ungranted))
	}
	return where
}

// identity checks what the sources say. An address that the provider calls unverified may
// be anybody's, so no app is told of it, even if it stands in another claim: some providers
// fill the full name with it.
func (p *Provider) identity(id *profile, more findings) (provider.Identity, error) {
	who := p.join(id, more)
	if who.Username == "" {
		return provider.Identity{}, refusal.New(refusal.NoUsername, fmt.Errorf("reading the user name: %s; the claims that came: %s", missing(id.username, more), wording.List(who.claims())))
	}
	if err := p.checks.person.Run(who); err != nil {
		return provider.Identity{}, err
	}
	if !who.trusted && who.withhold() {
		p.logger.Info("leaving out an e-mail address: email_verified is not true", zap.String("subject", id.str("sub")))
	}
	return who.Identity, nil
}

// protocolClaims say nothing about a person.
var protocolClaims = []string{"iss", "aud", "azp", "exp", "iat", "nbf", "nonce", "jti", "at_hash", "c_hash", "auth_time", "acr", "amr", "sid", "typ", "session_state"}

// claims returns the names of the claims about the person, in order.
func (p *person) claims() (names []string) {
	for _, source := range p.sources {
		names = slices.AppendSeq(names, maps.Keys(source.object))
	}
	slices.Sort(names)
	return slices.DeleteFunc(slices.Compact(names), func(name string) bool { return slices.Contains(protocolClaims, name) })
}

// withhold takes out an address that is called unverified, and reports whether it was the
// e-mail.
func (p *person) withhold() bool {
	for _, name := range []*string{&p.FirstName, &p.LastName, &p.DisplayName} {
		if p.mentionsUnverified(*name) {
			*name = ""
		}
	}
	before := len(p.Groups)
	if p.Groups = slices.DeleteFunc(p.Groups, p.namesUnverified); len(p.Groups) < before {
		p.GroupsPartial, p.GroupsNote = true, "one is the e-mail address, and email_verified is "+string(unverified)
	}
	if p.Email == "" || p.said != unverified {
		return false
	}
	p.Email = ""
	return true
}

// personEmail: if people may write any address into their profiles, they could take
// another's user name. So an e-mail address is a user name only if the provider calls it
// verified. If the provider calls it unverified, no claim may have it. If the provider says
// nothing (AD FS, Entra ID), a claim that is no e-mail by its name (preferred_username, upn)
// may look like one.
func personEmail(p *person) error {
	switch {
	case p.trusted || p.Username == "":
		return nil
	case namesEmail(p.claim) && (p.Username != p.Email || p.said != verified):
		return fmt.Errorf("reading the user name of %s: it is an e-mail address, and email_verified is %s", wording.Quoted(p.claim), p.flag())
	case p.isUnverified(p.Username):
		why := "email_verified is " + string(unverified)
		if p.hidden {
			why = "the provider has not granted the scope \"email\", which says whether it is verified"
		}
		return fmt.Errorf("reading the user name of %s: it is an e-mail address, and %s", wording.Quoted(p.claim), why)
	}
	return nil
}

// isUnverified reports whether a source calls an address unverified. If the source says
// false and names no usable address, that is about every address. If the person may have
// hidden what the provider says (hidden), every address counts as unverified.
func (p *person) isUnverified(address string) bool {
	return p.namesUnverified(address) || provider.ValidEmail(address) && (p.hidden || slices.ContainsFunc(p.sources, func(f *profile) bool {
		return f.email == "" && f.verification() == unverified
	}))
}

// mentionsUnverified reports whether a text is or contains an unverified address: "Alice
// <alice@example.com>". If it is not known which one is unverified, any word that is an
// address counts.
func (p *person) mentionsUnverified(text string) bool {
	if p.isUnverified(strings.TrimSpace(text)) || p.containsUnverified(text) {
		return true
	}
	words := strings.FieldsFunc(text, func(r rune) bool { return unicode.IsSpace(r) || strings.ContainsRune("<>()[]{}\"'`,;:|/=", r) })
	return slices.ContainsFunc(words, func(word string) bool {
		return p.isUnverified(strings.TrimFunc(word, func(r rune) bool { return !unicode.IsLetter(r) && !unicode.IsNumber(r) }))
	})
}

// containsUnverified reports whether the e-mail of a source that calls it unverified
// is in a text.
func (p *person) containsUnverified(text string) bool {
	fold := func(s string) string { return strings.ToLower(strings.ToUpper(s)) }
	return p.anyUnverified(func(email string) bool { return email != "" && strings.Contains(fold(text), fold(email)) })
}

// namesUnverified reports whether the e-mail of a source that calls it unverified
// is an address, be it among several or with blanks around it.
func (p *person) namesUnverified(address string) bool {
	return p.anyUnverified(func(email string) bool { return strings.EqualFold(email, address) })
}

// anyUnverified reports whether an e-mail of a source that calls it unverified fits.
func (p *person) anyUnverified(fit func(email string) bool) bool {
	return slices.ContainsFunc(p.sources, func(f *profile) bool {
		return f.verification() == unverified && slices.ContainsFunc(f.strs("email"), func(email string) bool { return fit(strings.TrimSpace(email)) })
	})
}

// personGroups: an address in a rule decides as a user name does.
func personGroups(p *person) error {
	switch {
	case p.trusted || !namesEmail(p.groups) || len(p.Groups) == 0:
		return nil
	case p.said != verified || len(p.Groups) != 1 || p.Groups[0] != p.Email:
		return fmt.Errorf("reading the groups of %s: they are e-mail addresses, and email_verified is %s", wording.Quoted(p.groups), p.said)
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
