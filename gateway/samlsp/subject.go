package samlsp

import (
	"cmp"
	"errors"
	"fmt"
	"slices"
	"strings"
	"time"

	"github.com/beevik/etree"

	"github.com/caddy-sso/caddy-sso/gateway/provider"
	"github.com/caddy-sso/caddy-sso/gateway/refusal"
	"github.com/caddy-sso/caddy-sso/gateway/wording"
)

const methodBearer = "urn:oasis:names:tc:SAML:2.0:cm:bearer"

// A confirmation says how whoever brings the assertion proves to be its subject (SAML Core
// 2.4.1.1).
type confirmation struct {
	walker // its own: a fault of one is none of another
	*expectation
	method, recipient       string
	notBefore, notOnOrAfter time.Time
	inResponseTo            optional
	foreign                 bool // it is for somebody else than the subject
}

func (a *assertion) readSubjects(list []*etree.Element) {
	if len(list) != 1 {
		a.fault("subject", "reading the subject: there are %d, want one", len(list))
	}
	if len(list) == 0 {
		return
	}
	found := a.parts("subject", list[0], "saml:NameID", "saml:SubjectConfirmation*")
	if id := readName(a.walker, "subject", found.first("saml:NameID")); id != nil {
		a.nameID = *id
	}
	for _, el := range found["saml:SubjectConfirmation"] {
		a.readConfirmation(el)
	}
}

func (a *assertion) readConfirmation(el *etree.Element) {
	const form = "confirmation form"
	c := confirmation{walker: walker{}, expectation: a.expectation, method: uri(el, "Method")}
	found := c.parts(form, el, "saml:NameID?", "saml:BaseID?", "saml:SubjectConfirmationData?")
	id := readName(c.walker, form, found.first("saml:NameID"))
	c.foreign = len(found["saml:BaseID"]) > 0 || id != nil && !sameName(*id, a.nameID)
	if data := found.first("saml:SubjectConfirmationData"); data != nil {
		c.notBefore, c.notOnOrAfter = c.instant(form, data, "NotBefore"), c.instant(form, data, "NotOnOrAfter")
		c.recipient, c.inResponseTo = uri(data, "Recipient"), readOptional(data, "InResponseTo")
	}
	a.confirmations = append(a.confirmations, c)
}

// sameName reports whether two NameIDs, attribute for attribute, are one (SAML Core
// 3.3.4). Some providers name the subject once more (Apereo CAS).
func sameName(one, other name) bool {
	one.format, other.format = cmp.Or(one.format, formatUnspecified), cmp.Or(other.format, formatUnspecified)
	return one == other && one.value != ""
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
				s.refused, bearer = err, c.method == methodBearer
			}
			continue
		}
		s.by++
		if end := c.notOnOrAfter; end.After(s.until) {
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
	if c.method != methodBearer {
		return fmt.Errorf("checking the confirmation: its method is %s, not bearer", wording.Quoted(c.method))
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
	end := c.notOnOrAfter
	if end.IsZero() || c.over(end) {
		return fmt.Errorf("checking the confirmation: NotOnOrAfter is %s, and now it is %s", provider.Moment(end), provider.Moment(c.now))
	}
	return nil
}

func confirmationStart(c *confirmation) error {
	if !c.notBefore.IsZero() {
		return errors.New("checking the confirmation: a bearer's must not have NotBefore")
	}
	return nil
}

func confirmationRecipient(c *confirmation) error {
	if c.recipient != c.acs {
		return fmt.Errorf("checking the recipient: it is %s, ours is %s", wording.Quoted(c.recipient), wording.Quoted(c.acs))
	}
	return nil
}

func confirmationRequest(c *confirmation) error { return inResponseTo(c.inResponseTo, c.request) }

func assertionSubject(a *assertion) error { return a.walker["subject"] }

// assertionNameID: the NameID must be visible and bounded. Blanks around it would be lost
// on the way to some apps, and two people would become one.
func assertionNameID(a *assertion) error {
	if id := a.nameID; !plain(id.value) || len(id.qualifier)+len(id.spQualifier)+len(id.format) > 3*maxValue {
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
	id := a.nameID
	got := cmp.Or(id.format, formatUnspecified) // SAML Core 2.2.2
	switch {
	case a.format == "":
	case got != a.format:
		return fmt.Errorf("checking the NameID: its format is %s, asked for by name_id_format was %s", wording.Quoted(got), wording.Quoted(a.format))
	case id.spQualifier != "" && id.spQualifier != a.audience && id.spQualifier != a.acs:
		return fmt.Errorf("checking the NameID: it is one for %s (SPNameQualifier), asked for by name_id_format was one for us, %s", wording.Quoted(id.spQualifier), wording.Quoted(a.audience))
	}
	return nil
}

// accountEscapes keeps the parts of an account's subject apart.
var accountEscapes = strings.NewReplacer("%", "%25", ";", "%3B", "=", "%3D")

// accountOf makes the account's subject of a NameID. Two NameIDs are the same if value,
// format and both qualifiers are (SAML Core 3.3.4). A missing format is "unspecified"
// (2.2.2). A qualifier that names the provider itself or us means the same as none (8.3.7),
// so a provider may begin or cease to send it. Some name us by the address of our
// AssertionConsumerService.
func accountOf(id name, x *expectation) string {
	var b strings.Builder
	b.WriteString("nameid=" + accountEscapes.Replace(id.value))
	part := func(name, value string, implied ...string) {
		if value != "" && !slices.Contains(implied, value) {
			b.WriteString(";" + name + "=" + accountEscapes.Replace(value))
		}
	}
	part("format", id.format, formatUnspecified)
	part("qualifier", id.qualifier, x.issuer)
	part("spqualifier", id.spQualifier, x.audience, x.acs)
	return b.String()
}

// accountOfAttribute makes the account's subject of the id attribute. It never
// equals one of a NameID.
func accountOfAttribute(name, value string) string {
	return "attribute=" + accountEscapes.Replace(name) + ";value=" + accountEscapes.Replace(value)
}

// about adds the subject to a refusal. A transient NameID means nothing to anybody.
func (a *assertion) about(err error) error {
	if a.nameID.format == formatTransient {
		return err
	}
	return refusal.About(a.nameID.value, err)
}

// accountLasting: a transient NameID is another one at each login (SAML Core
// 8.3.8), and identifies nobody.
func accountLasting(a *assertion) error {
	if a.nameID.format == formatTransient {
		return errors.New("checking the NameID: it is transient; set id_attribute, or another name_id_format")
	}
	return nil
}
