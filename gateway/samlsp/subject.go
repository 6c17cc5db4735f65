package samlsp

import (
	"cmp"
	"errors"
	"fmt"
	"slices"
	"strings"
	"time"

	"github.com/beevik/etree"
	"github.com/crewjam/saml"

	"github.com/caddy-sso/caddy-sso/gateway/provider"
	"github.com/caddy-sso/caddy-sso/gateway/refusal"
	"github.com/caddy-sso/caddy-sso/gateway/samlsp/xmlsec"
	"github.com/caddy-sso/caddy-sso/gateway/wording"
)

const methodBearer = "urn:oasis:names:tc:SAML:2.0:cm:bearer"

// A confirmation says how whoever brings the assertion proves to be its subject (SAML Core
// 2.4.1.1).
type confirmation struct {
	saml.SubjectConfirmation
	walker // its own: a fault of one is none of another
	*expectation
	inResponseTo bool // whether there is such an attribute
	// foreign says that it is for somebody else than the subject.
	foreign bool
}

// data is the confirmation's data, empty ones if there are none.
func (c *confirmation) data() saml.SubjectConfirmationData {
	if c.SubjectConfirmationData == nil {
		return saml.SubjectConfirmationData{}
	}
	return *c.SubjectConfirmationData
}

func (a *assertion) readSubjects(list []*etree.Element) {
	if len(list) != 1 {
		a.fault("subject", "reading the subject: there are %d, want one", len(list))
	}
	if len(list) == 0 {
		return
	}
	found := a.parts("subject", list[0], "saml:NameID", "saml:SubjectConfirmation*")
	a.Subject = &saml.Subject{NameID: readNameID(a.walker, "subject", found.first("saml:NameID"))}
	for _, el := range found["saml:SubjectConfirmation"] {
		a.readConfirmation(el)
	}
}

func readNameID(w walker, check string, el *etree.Element) *saml.NameID {
	if el == nil {
		return nil
	}
	return &saml.NameID{
		NameQualifier: attr(el, "NameQualifier"), SPNameQualifier: attr(el, "SPNameQualifier"),
		Format: uri(el, "Format"), SPProvidedID: attr(el, "SPProvidedID"), Value: w.text(check, el),
	}
}

func (a *assertion) readConfirmation(el *etree.Element) {
	const form = "confirmation form"
	c := confirmation{walker: walker{}, expectation: a.expectation}
	found := c.parts(form, el, "saml:NameID?", "saml:BaseID?", "saml:SubjectConfirmationData?")
	c.SubjectConfirmation = saml.SubjectConfirmation{
		Method: uri(el, "Method"), NameID: readNameID(c.walker, form, found.first("saml:NameID")),
	}
	c.foreign = len(found["saml:BaseID"]) > 0 || c.NameID != nil && !sameName(*c.NameID, a.nameID())
	if data := found.first("saml:SubjectConfirmationData"); data != nil {
		c.SubjectConfirmationData = &saml.SubjectConfirmationData{
			NotBefore: c.instant(form, data, "NotBefore"), NotOnOrAfter: c.instant(form, data, "NotOnOrAfter"),
			Recipient: uri(data, "Recipient"), Address: attr(data, "Address"),
		}
		c.SubjectConfirmationData.InResponseTo, c.inResponseTo = xmlsec.Attribute(data, "InResponseTo")
		c.SubjectConfirmationData.InResponseTo = collapsed(c.SubjectConfirmationData.InResponseTo)
	}
	a.Subject.SubjectConfirmations = append(a.Subject.SubjectConfirmations, c.SubjectConfirmation)
	a.confirmations = append(a.confirmations, c)
}

// sameName reports whether two NameIDs, attribute for attribute, are one (SAML Core
// 3.3.4). Some providers name the subject once more (Apereo CAS).
func sameName(one, other saml.NameID) bool {
	one.Format, other.Format = cmp.Or(one.Format, formatUnspecified), cmp.Or(other.Format, formatUnspecified)
	return one == other && one.Value != ""
}

// A confirmedSubject is the outcome of all confirmations. One of them must be valid.
type confirmedSubject struct {
	by    int       // how many are valid
	until time.Time // the latest end among these
	// refused is the fault of the first that has the method bearer, else of the last.
	refused error
}

func (p *Provider) confirm(a *assertion) *confirmedSubject {
	s := &confirmedSubject{refused: errors.New("checking the subject: it has no SubjectConfirmation; have the provider send one of the method bearer")}
	bearer := false
	for i := range a.confirmations {
		c := &a.confirmations[i]
		if err := p.checks.confirmation.Run(c); err != nil {
			if !bearer {
				s.refused, bearer = err, c.Method == methodBearer
			}
			continue
		}
		s.by++
		if end := c.data().NotOnOrAfter; end.After(s.until) {
			s.until = end
		}
	}
	return s
}

func subjectConfirmed(s *confirmedSubject) error {
	if s.by == 0 {
		return s.refused
	}
	return nil
}

func confirmationMethod(c *confirmation) error {
	if c.Method != methodBearer {
		return fmt.Errorf("checking the confirmation: its method is %s, not bearer", wording.Quoted(c.Method))
	}
	return nil
}

func confirmationForm(c *confirmation) error { return c.walker["confirmation form"] }

func confirmationOwn(c *confirmation) error {
	if c.foreign {
		return errors.New("checking the confirmation: it is for somebody else, whom it names")
	}
	return nil
}

// confirmationTime: NotOnOrAfter is required, NotBefore forbidden (SAML Profiles
// 4.1.4.2).
func confirmationTime(c *confirmation) error {
	end := c.data().NotOnOrAfter
	if end.IsZero() || c.over(end) {
		return fmt.Errorf("checking the confirmation: NotOnOrAfter is %s, and now it is %s", provider.Moment(end), provider.Moment(c.now))
	}
	return nil
}

func confirmationStart(c *confirmation) error {
	if start := c.data().NotBefore; !start.IsZero() {
		return errors.New("checking the confirmation: a bearer's must not have NotBefore")
	}
	return nil
}

func confirmationRecipient(c *confirmation) error {
	if got := c.data().Recipient; got != c.acs {
		return fmt.Errorf("checking the recipient: it is %s, ours is %s", wording.Quoted(got), wording.Quoted(c.acs))
	}
	return nil
}

func confirmationRequest(c *confirmation) error {
	return inResponseTo(c.data().InResponseTo, c.inResponseTo, c.request)
}

func assertionSubject(a *assertion) error { return a.walker["subject"] }

// assertionNameID: the NameID must be visible and bounded. Blanks around it would be lost
// on the way to some apps, and two people would become one.
func assertionNameID(a *assertion) error {
	if id := a.nameID(); !plain(id.Value) || len(id.NameQualifier)+len(id.SPNameQualifier)+len(id.Format) > 3*maxValue {
		return fmt.Errorf("checking the NameID: it is empty, longer than %d bytes, not visible, or has blanks around it", maxValue)
	}
	return nil
}

// assertionFormat: the answer must have the format that was asked for (SAML Core 3.4.1.1).
// The format picks which of the person's names becomes the account and the user name, and
// people may choose some of these names themselves. If the provider does not insist on
// signed requests, the person at the browser can change the format in the request. The same
// holds for SPNameQualifier.
func assertionFormat(a *assertion) error {
	id := a.nameID()
	got := cmp.Or(id.Format, formatUnspecified) // SAML Core 2.2.2
	switch {
	case a.format == "":
	case got != a.format:
		return fmt.Errorf("checking the NameID: its format is %s, asked for by name_id_format was %s", wording.Quoted(got), wording.Quoted(a.format))
	case id.SPNameQualifier != "" && id.SPNameQualifier != a.audience && id.SPNameQualifier != a.acs:
		return fmt.Errorf("checking the NameID: it is one for %s (SPNameQualifier), asked for by name_id_format was one for us, %s", wording.Quoted(id.SPNameQualifier), wording.Quoted(a.audience))
	}
	return nil
}

// nameID is the subject's NameID, an empty one if there is none.
func (a *assertion) nameID() saml.NameID {
	if a.Subject == nil || a.Subject.NameID == nil {
		return saml.NameID{}
	}
	return *a.Subject.NameID
}

// accountEscapes keeps the parts of an account's subject apart.
var accountEscapes = strings.NewReplacer("%", "%25", ";", "%3B", "=", "%3D")

// accountOf makes the account's subject of a NameID. Two NameIDs are the same if value,
// format and both qualifiers are (SAML Core 3.3.4). A missing format is "unspecified"
// (2.2.2). A qualifier that names the provider itself or us means the same as none (8.3.7),
// so a provider may begin or cease to send it. Some name us by the address of our
// AssertionConsumerService.
func accountOf(id saml.NameID, x *expectation) string {
	var b strings.Builder
	b.WriteString("nameid=" + accountEscapes.Replace(id.Value))
	part := func(name, value string, implied ...string) {
		if value != "" && !slices.Contains(implied, value) {
			b.WriteString(";" + name + "=" + accountEscapes.Replace(value))
		}
	}
	part("format", id.Format, formatUnspecified)
	part("qualifier", id.NameQualifier, x.issuer)
	part("spqualifier", id.SPNameQualifier, x.audience, x.acs)
	return b.String()
}

// accountOfAttribute makes the account's subject of the id attribute. It never
// equals one of a NameID.
func accountOfAttribute(name, value string) string {
	return "attribute=" + accountEscapes.Replace(name) + ";value=" + accountEscapes.Replace(value)
}

// about adds the subject to a refusal. A transient NameID means nothing to anybody.
func (a *assertion) about(err error) error {
	if a.nameID().Format == formatTransient {
		return err
	}
	return refusal.About(a.nameID().Value, err)
}

// accountLasting: a transient NameID is another one at each login (SAML Core
// 8.3.8), and identifies nobody.
func accountLasting(a *assertion) error {
	if a.nameID().Format == formatTransient {
		return errors.New("checking the NameID: it is transient; set id_attribute, or another name_id_format")
	}
	return nil
}
