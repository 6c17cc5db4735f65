package samlsp

import (
	"cmp"
	"errors"
	"fmt"
	"slices"
	"strings"

	"github.com/beevik/etree"
	"github.com/crewjam/saml"

	"github.com/caddy-sso/caddy-sso/gateway/provider"
)

// Bounds on what a provider may say about a person.
const (
	maxGroups = 10000
	maxGroup  = 512 // bytes of one group
)

// formatNameUnspecified is in effect where there is no NameFormat (SAML Core
// 2.7.3.1).
const formatNameUnspecified = "urn:oasis:names:tc:SAML:2.0:attrname-format:unspecified"

// Well-known attribute names. Of each list the first that has a value is taken,
// and no other: values of two attributes are never mixed. They are plain names,
// the OIDs of inetOrgPerson and eduPerson (SAML X.500/LDAP profile), and the
// claims of Entra ID and AD FS.
var (
	emailNames = []string{
		"email", "mail", "urn:oid:0.9.2342.19200300.100.1.3", "urn:oid:1.2.840.113549.1.9.1",
		"http://schemas.xmlsoap.org/ws/2005/05/identity/claims/emailaddress", "emailAddress",
	}
	firstNameNames = []string{
		"givenName", "firstName", "given_name", "urn:oid:2.5.4.42",
		"http://schemas.xmlsoap.org/ws/2005/05/identity/claims/givenname",
	}
	lastNameNames = []string{
		"sn", "surname", "lastName", "family_name", "urn:oid:2.5.4.4",
		"http://schemas.xmlsoap.org/ws/2005/05/identity/claims/surname",
	}
	displayNameNames = []string{
		"displayName", "urn:oid:2.16.840.1.113730.3.1.241",
		"http://schemas.microsoft.com/identity/claims/displayname", "cn", "urn:oid:2.5.4.3",
	}
	groupsNames = []string{
		"groups", "memberOf", "isMemberOf", "member", "urn:oid:1.3.6.1.4.1.5923.1.5.1.1",
		"http://schemas.microsoft.com/ws/2008/06/identity/claims/groups", "http://schemas.xmlsoap.org/claims/Group",
	}
)

func (a *assertion) readAttributes(el *etree.Element) {
	const elements = "assertion elements"
	var statement saml.AttributeStatement
	for _, el := range a.parts(elements, el, "saml:Attribute*")["saml:Attribute"] {
		named := saml.Attribute{
			FriendlyName: attr(el, "FriendlyName"), Name: attr(el, "Name"),
			NameFormat: cmp.Or(attr(el, "NameFormat"), formatNameUnspecified),
		}
		for _, el := range a.parts(elements, el, "saml:AttributeValue*")["saml:AttributeValue"] {
			if isNil(el) {
				continue
			}
			if len(el.ChildElements()) > 0 {
				a.structured[named.Name] = true
			}
			named.Values = append(named.Values, saml.AttributeValue{Value: a.text("", el)})
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
// Attribute or in several.
type value struct {
	name       string
	texts      []string
	mixed      bool // of several NameFormats, which are different attributes
	structured bool // not all of it is text
}

// only returns the value of what has one, else an empty string.
func (v value) only() string {
	if len(v.texts) == 0 {
		return ""
	}
	return v.texts[0]
}

// A profile is what an assertion says about a person.
type profile struct {
	id                                            *value // nil without id_attribute
	username, email, firstName, lastName, display value
	groups                                        value
}

// singles are the values of which there can be one only.
func (f *profile) singles() []value {
	list := []value{f.username, f.email, f.firstName, f.lastName, f.display}
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
	f := &profile{
		email:     pick(values, c.EmailAttribute, emailNames),
		firstName: pick(values, c.FirstNameAttribute, unequivocal(values, firstNameNames)),
		lastName:  pick(values, c.LastNameAttribute, unequivocal(values, lastNameNames)),
		display:   pick(values, c.DisplayNameAttribute, unequivocal(values, displayNameNames)),
		groups:    pick(values, c.GroupsAttribute, groupsNames),
		username:  pick(values, c.UsernameAttribute, nil),
	}
	name := a.nameID()
	asName := value{name: "NameID", texts: []string{name.Value}}
	if c.UsernameAttribute == "" && name.Format != formatTransient && name.Format != formatPersistent {
		f.username = asName
	}
	if c.EmailAttribute == "" && f.email.name == "" && name.Format == formatEmail { // no attribute, not even an empty one
		f.email = asName
	}
	if c.IDAttribute != "" {
		id := pick(values, c.IDAttribute, nil)
		f.id = &id
	}
	if err := p.checks.profile.Run(f); err != nil {
		return nil, err
	}
	return f, nil
}

// values collects the attributes by name.
func (a *assertion) values() map[string]value {
	values, formats := map[string]value{}, map[string]string{}
	for _, statement := range a.AttributeStatements {
		for _, attribute := range statement.Attributes {
			v, seen := values[attribute.Name]
			v.name, v.structured = attribute.Name, a.structured[attribute.Name]
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

// pick returns the configured attribute, or the first well-known one that has a
// value. One empty value is how some say that there is none; the attribute is
// there all the same, and no other takes its place.
func pick(values map[string]value, configured string, wellKnown []string) value {
	var v value
	if configured != "" {
		wellKnown = []string{configured}
		v.name = configured
	}
	for _, name := range wellKnown {
		if found := values[name]; len(found.texts) > 0 {
			v = found
			break
		}
	}
	if v.only() == "" && len(v.texts) == 1 {
		v.texts = nil
	}
	return v
}

// unequivocal leaves out the names that have several values: directories keep many a
// cn for one person, and none of them is the name to show. Where an attribute
// was named by hand, or decides anything, several are refused (profileSingle).
func unequivocal(values map[string]value, wellKnown []string) []string {
	return slices.DeleteFunc(slices.Clone(wellKnown), func(name string) bool { return len(values[name].texts) > 1 })
}

// profileText refuses XML where text is due.
func profileText(f *profile) error {
	for _, v := range append(f.singles(), f.groups) {
		if v.structured {
			return fmt.Errorf("reading the attribute %s: a value is no text", quoted(v.name))
		}
	}
	return nil
}

// profileFormats refuses one name with two formats: these are two attributes
// (SAML Core 2.7.3.1), and who fills them may be two as well.
func profileFormats(f *profile) error {
	for _, v := range append(f.singles(), f.groups) {
		if v.mixed {
			return fmt.Errorf("reading the attribute %s: it stands there with several NameFormats", quoted(v.name))
		}
	}
	return nil
}

func profileSingle(f *profile) error {
	for _, v := range f.singles() {
		if len(v.texts) > 1 {
			return fmt.Errorf("reading the attribute %s: it has %d values, and must have one", quoted(v.name), len(v.texts))
		}
	}
	return nil
}

// profileID: who is told apart by an attribute must have it.
func profileID(f *profile) error {
	if f.id != nil && !plain(f.id.only()) {
		return fmt.Errorf("reading the id attribute %s: it is missing, empty, longer than %d bytes, not visible, or has blanks around it", quoted(f.id.name), maxValue)
	}
	return nil
}

// profileEmail takes an address only if it can't be read as two, or as another.
// An empty one counts as absent.
func profileEmail(f *profile) error {
	if email := f.email.only(); email != "" && !provider.ValidEmail(email) {
		return fmt.Errorf("reading %s: is no e-mail address", quoted(f.email.name))
	}
	return nil
}

func profileNames(f *profile) error {
	for _, v := range []value{f.username, f.firstName, f.lastName, f.display} {
		if len(v.only()) > maxValue {
			return fmt.Errorf("reading %s: longer than %d bytes", quoted(v.name), maxValue)
		}
	}
	return nil
}

// profileUsername: blanks around a user name would be lost on the way to the
// app, and leave another one.
func profileUsername(f *profile) error {
	if name := f.username.only(); strings.TrimSpace(name) != name {
		return errors.New("reading the user name: it has blanks around it")
	}
	return nil
}

func profileGroups(f *profile) error {
	if len(f.groups.texts) > maxGroups {
		return fmt.Errorf("reading %s: more than %d groups", quoted(f.groups.name), maxGroups)
	}
	for _, g := range f.groups.texts {
		if g == "" || len(g) > maxGroup {
			return fmt.Errorf("reading %s: a group is empty or longer than %d bytes", quoted(f.groups.name), maxGroup)
		}
	}
	return nil
}

// identity is what the gateway makes rules, headers and claims from. SAML says
// nothing about whether an address is verified.
func (f *profile) identity(a *assertion) provider.Identity {
	statement := a.statement()
	id := provider.Identity{
		Username: f.username.only(), Email: f.email.only(), FirstName: f.firstName.only(), LastName: f.lastName.only(),
		DisplayName: f.display.only(), Groups: unique(f.groups.texts), AuthTime: statement.AuthnInstant,
	}
	if class := statement.AuthnContext.AuthnContextClassRef; class != nil {
		id.ACR = class.Value
	}
	return id
}

// unique returns the groups without duplicates, in the provider's order.
func unique(groups []string) []string {
	seen := make(map[string]struct{}, len(groups))
	return slices.DeleteFunc(slices.Clone(groups), func(g string) bool {
		_, twice := seen[g]
		seen[g] = struct{}{}
		return twice
	})
}
