package samlsp

import (
	"cmp"
	"errors"
	"fmt"
	"maps"
	"slices"
	"strings"

	"github.com/beevik/etree"
	"github.com/crewjam/saml"
	"go.uber.org/zap"

	"github.com/caddy-sso/caddy-sso/gateway/provider"
	"github.com/caddy-sso/caddy-sso/gateway/wording"
)

// formatNameUnspecified is in effect where there is no NameFormat (SAML Core
// 2.7.3.1).
const formatNameUnspecified = "urn:oasis:names:tc:SAML:2.0:attrname-format:unspecified"

// What Entra ID calls the groups, and what stands there instead where they are
// too many: where to ask for them.
const (
	entraGroups = "http://schemas.microsoft.com/ws/2008/06/identity/claims/groups"
	groupsLink  = "http://schemas.microsoft.com/claims/groups.link"
)

func (a *assertion) readAttributes(el *etree.Element) {
	const elements = "assertion elements"
	var statement saml.AttributeStatement
	for _, el := range a.parts(elements, el, "saml:Attribute*")["saml:Attribute"] {
		named := saml.Attribute{
			FriendlyName: attr(el, "FriendlyName"), Name: attr(el, "Name"),
			NameFormat: cmp.Or(uri(el, "NameFormat"), formatNameUnspecified),
		}
		for _, el := range a.parts(elements, el, "saml:AttributeValue*")["saml:AttributeValue"] {
			if isNil(el) {
				a.nils[named.Name]++
				continue
			}
			text := a.text("", el)
			if len(el.ChildElements()) > 0 {
				a.structured[named.Name], text = true, ""
			}
			named.Values = append(named.Values, saml.AttributeValue{Value: text})
		}
		statement.Attributes = append(statement.Attributes, named)
	}
	a.AttributeStatements = append(a.AttributeStatements, statement)
}

// isNil says whether there is no value (SAML Core 2.7.3.1.1, xsi:nil).
func isNil(el *etree.Element) bool {
	for _, a := range el.Attr {
		if a.Key == "nil" && a.Space != "" && spaceOf(el, a.Space) == nsInstance {
			return a.Value == "true" || a.Value == "1"
		}
	}
	return false
}

// A value is what an assertion says under one name, in its order, be it in one
// Attribute or in several. A value that is no text is empty here.
type value struct {
	name       string
	texts      []string
	nils       int  // values that are none (xsi:nil)
	mixed      bool // of several NameFormats, which are different attributes
	structured bool // not all of it is text
}

// first returns the first value, an empty string if there is none.
func (v value) first() string {
	if len(v.texts) == 0 {
		return ""
	}
	return v.texts[0]
}

// A profile is what an assertion says about a person. The account, the user name and the
// groups decide, so checks refuse odd ones. The rest only describes the person: odd values
// are left out.
type profile struct {
	id               *value // nil without id_attribute
	username, groups value
	overage          bool   // the provider names the groups elsewhere
	nameless         string // why there is no user name
	groupless        string // why there is no attribute of groups; empty if there is one

	email, firstName, lastName, display, acr, session string
	odd                                               []oddity
}

// An oddity is an attribute that was left out, or values of one.
type oddity struct{ attribute, why string }

func (f *profile) leaveOut(attribute, why string) { f.odd = append(f.odd, oddity{attribute, why}) }

// singles are the values of which there can be one only.
func (f *profile) singles() []value {
	list := []value{f.username}
	if f.id != nil {
		list = append(list, *f.id)
	}
	return list
}

// profile picks what is configured, or well known. The NameID is the user name
// unless its format says that it is none, and the e-mail if its format says so
// and no attribute does.
func (p *Provider) profile(a *assertion) (*profile, error) {
	c, values := &p.config, a.values()
	f := &profile{groups: pick(values, c.GroupsAttribute, groupsNames), username: p.username(a, values)}
	_, f.overage = values[groupsLink]
	if other := c.GroupsAttribute; other != "" && other != entraGroups && len(f.groups.texts) > 0 {
		f.overage = false // other groups than those
	}
	if c.IDAttribute != "" {
		id := pick(values, c.IDAttribute, nil)
		f.id = &id
	}
	if err := p.checks.profile.Run(f); err != nil {
		return nil, err
	}
	if f.username.first() == "" {
		f.nameless = fmt.Sprintf("%s; the attributes that came: %s", c.noUsername(a), wording.List(slices.Sorted(maps.Keys(values))))
	}
	f.groupless = c.noGroups(values)
	f.describe(a, values, c)
	if why := f.lacking(); why != "" {
		f.leaveOut(f.groups.name, why)
	}
	for _, odd := range f.odd {
		p.logger.Info("leaving out what can't be used of an attribute", zap.String("attribute", odd.attribute), zap.String("reason", odd.why))
	}
	return f, nil
}

// username is the configured attribute, or the NameID. If the NameID is persistent or
// transient, it is an attribute whose registered name says that it is a user name.
func (p *Provider) username(a *assertion, values map[string]value) value {
	name := a.nameID()
	switch {
	case p.config.UsernameAttribute != "":
		return pick(values, p.config.UsernameAttribute, nil)
	case name.Format == formatTransient, name.Format == formatPersistent:
		return pick(values, "", having(values, usernameNames, func(v value) bool { return v.first() != "" || v.structured || len(v.texts) > 1 }))
	}
	return value{name: "NameID", texts: []string{name.Value}}
}

// noUsername says of whom the user name is missing, and where the user name was looked for.
func (c *Config) noUsername(a *assertion) string {
	subject := ""
	if name := a.nameID(); name.Format != formatTransient { // which tells nobody
		subject = fmt.Sprintf("signing in the subject %s: ", wording.Quoted(name.Value))
	}
	if c.UsernameAttribute != "" {
		return fmt.Sprintf("%sreading the user name: the attribute %s (username_attribute) is missing or empty", subject, wording.Quoted(c.UsernameAttribute))
	}
	return fmt.Sprintf("%sreading the user name: a NameID of the format %s is no user name, and no attribute is called uid or eduPersonPrincipalName by its registered name; name the right one by username_attribute", subject, wording.Quoted(a.nameID().Format))
}

// noGroups says which attribute of groups was looked for and which came, if there is none.
func (c *Config) noGroups(values map[string]value) string {
	names, which := groupsNames, "none of the well-known attributes for groups is in the assertion"
	if c.GroupsAttribute != "" {
		names, which = []string{c.GroupsAttribute}, fmt.Sprintf("the attribute %s (groups_attribute) is not in the assertion", wording.Quoted(c.GroupsAttribute))
	}
	if slices.ContainsFunc(slices.Concat(names, []string{groupsLink}), func(name string) bool { _, came := values[name]; return came }) {
		return ""
	}
	return fmt.Sprintf("%s; the attributes that came: %s; name the right one by `groups_attribute`, or have the provider send it: add an attribute statement for groups there",
		which, wording.List(slices.Sorted(maps.Keys(values))))
}

// describe reads what only describes the person.
func (f *profile) describe(a *assertion, values map[string]value, c *Config) {
	mail := pick(values, c.EmailAttribute, having(values, emailNames, func(v value) bool { return len(v.texts) > 0 }))
	// The NameID stands in if there is no attribute, not even an empty one, and if no
	// other format was asked for. Where attributes say who it is, the NameID is held to
	// nothing, so the e-mail is one only if that was asked for.
	other := c.NameIDFormat != formatEmail && (c.namesByAttributes() || c.NameIDFormat != "" && !isUnspecified(c.NameIDFormat))
	if name := a.nameID(); c.EmailAttribute == "" && mail.name == "" && name.Format == formatEmail && !other {
		mail = value{name: "NameID", texts: []string{name.Value}}
	}
	if f.email = f.short(mail); f.email != "" && !provider.ValidEmail(f.email) {
		f.leaveOut(mail.name, "is no e-mail address")
		f.email = ""
	}
	f.firstName = f.short(pick(values, c.FirstNameAttribute, unequivocal(values, firstNameNames)))
	f.lastName = f.short(pick(values, c.LastNameAttribute, unequivocal(values, lastNameNames)))
	f.display = f.short(pick(values, c.DisplayNameAttribute, unequivocal(values, displayNameNames)))
	statement := a.statement()
	f.session = f.short(value{name: "SessionIndex", texts: []string{statement.SessionIndex}})
	if class := statement.AuthnContext.AuthnContextClassRef; class != nil {
		f.acr = f.short(value{name: "AuthnContextClassRef", texts: []string{class.Value}})
	}
}

// short returns the first value: directories keep several mail addresses by rank.
func (f *profile) short(v value) string {
	why := provider.Odd(v.first(), maxValue)
	switch {
	case v.structured:
		why = "a value is no text"
	case v.mixed:
		why = "it stands there with several NameFormats"
	}
	if why != "" {
		f.leaveOut(v.name, why)
		return ""
	}
	return v.first()
}

// values collects the attributes by name.
func (a *assertion) values() map[string]value {
	values, formats := map[string]value{}, map[string]string{}
	for _, statement := range a.AttributeStatements {
		for _, attribute := range statement.Attributes {
			v, seen := values[attribute.Name]
			v.name, v.structured, v.nils = attribute.Name, a.structured[attribute.Name], a.nils[attribute.Name]
			if v.mixed = v.mixed || seen && formats[attribute.Name] != attribute.NameFormat; !seen {
				formats[attribute.Name] = attribute.NameFormat
			}
			for _, text := range attribute.Values {
				v.texts = append(v.texts, text.Value)
			}
			values[attribute.Name] = v
		}
	}
	return values
}

// pick returns the configured attribute, or the first well-known one that is there. Some
// providers send one empty value for none: then the attribute has no values, and no other
// takes its place.
func pick(values map[string]value, configured string, wellKnown []string) value {
	var v value
	if configured != "" {
		wellKnown = []string{configured}
		v.name = configured
	}
	for _, name := range wellKnown {
		if found := values[name]; len(found.texts)+found.nils > 0 {
			v = found
			break
		}
	}
	if v.first() == "" && len(v.texts) == 1 && v.nils == 0 && !v.structured {
		v.texts = nil
	}
	return v
}

// unequivocal returns the names that have exactly one value. Directories keep several cn
// for one person, and none of them is the name to show.
func unequivocal(values map[string]value, wellKnown []string) []string {
	return having(values, wellKnown, func(v value) bool { return len(v.texts) == 1 })
}

// having returns the names whose values fit.
func having(values map[string]value, names []string, fit func(value) bool) []string {
	return slices.DeleteFunc(slices.Clone(names), func(name string) bool { return !fit(values[name]) })
}

// profileText refuses XML where text is due.
func profileText(f *profile) error {
	for _, v := range f.singles() {
		if v.structured {
			return fmt.Errorf("reading the attribute %s: a value is no text", wording.Quoted(v.name))
		}
	}
	return nil
}

// profileFormats refuses one name with two formats: these are two attributes (SAML Core
// 2.7.3.1), and different people may control them.
func profileFormats(f *profile) error {
	for _, v := range append(f.singles(), f.groups) {
		if v.mixed {
			return fmt.Errorf("reading the attribute %s: it stands there with several NameFormats", wording.Quoted(v.name))
		}
	}
	return nil
}

func profileSingle(f *profile) error {
	for _, v := range f.singles() {
		if len(v.texts) > 1 {
			return fmt.Errorf("reading the attribute %s: it has %d values, and must have one", wording.Quoted(v.name), len(v.texts))
		}
	}
	return nil
}

// profileID: the attribute that identifies the account must be there.
func profileID(f *profile) error {
	if f.id != nil && !plain(f.id.first()) {
		return fmt.Errorf("reading the id attribute %s: it is missing, empty, longer than %d bytes, not visible, or has blanks around it", wording.Quoted(f.id.name), maxValue)
	}
	return nil
}

// profileUsername: blanks around a user name would be lost on the way to the
// app, and leave another one.
func profileUsername(f *profile) error {
	if name := f.username.first(); strings.TrimSpace(name) != name {
		return errors.New("reading the user name: it has blanks around it")
	}
	return nil
}

func profileNames(f *profile) error {
	if len(f.username.first()) > maxValue {
		return fmt.Errorf("reading %s: longer than %d bytes", wording.Quoted(f.username.name), maxValue)
	}
	return nil
}

func profileGroups(f *profile) error {
	if len(f.groups.texts) > provider.MaxGroups {
		return fmt.Errorf("reading %s: more than %d groups", wording.Quoted(f.groups.name), provider.MaxGroups)
	}
	return nil
}

// usableGroups returns the groups that are not empty, no longer than the bound and
// without control characters. A value that is no text is empty here.
func (f *profile) usableGroups() []string {
	return slices.DeleteFunc(slices.Clone(f.groups.texts), func(g string) bool {
		return g == "" || len(g) > provider.MaxGroup || provider.Unfit(g)
	})
}

// lacking says why the groups are not all; empty: they are.
func (f *profile) lacking() string {
	all := len(f.groups.texts) + f.groups.nils
	left := all - len(f.usableGroups())
	if left == 0 || all == f.groups.nils && all == 1 { // one that is empty or nil is how some say that there is none
		return ""
	}
	return fmt.Sprintf("%d of %d values are empty, no text, too long or have control characters", left, all)
}

// identity is what the gateway makes rules, headers and claims from. SAML says
// nothing about whether an address is verified.
func (f *profile) identity(a *assertion) provider.Identity {
	id := provider.Identity{
		Username: f.username.first(), UsernameNote: f.nameless, NoGroups: f.groupless, Email: f.email, FirstName: f.firstName, LastName: f.lastName,
		DisplayName: f.display, Groups: provider.Unique(f.usableGroups()), AuthTime: a.statement().AuthnInstant, ACR: f.acr,
	}
	switch why := f.lacking(); {
	case f.overage:
		id.GroupsPartial, id.GroupsNote = true, provider.Overage
	case why != "":
		id.GroupsPartial, id.GroupsNote = true, fmt.Sprintf("the attribute %s: %s", wording.Quoted(f.groups.name), why)
	case f.groups.name == "":
		id.GroupsNote = "none of the well-known attributes for groups is in the assertion; name it by groups_attribute"
	case len(id.Groups) == 0:
		id.GroupsNote = fmt.Sprintf("the attribute %s has no value in the assertion", wording.Quoted(f.groups.name))
	}
	return id
}
