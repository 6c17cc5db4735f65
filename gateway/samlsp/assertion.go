package samlsp

import (
	"errors"
	"fmt"
	"slices"
	"strings"
	"time"

	"github.com/beevik/etree"

	"github.com/caddy-sso/caddy-sso/gateway/provider"
	"github.com/caddy-sso/caddy-sso/gateway/wording"
)

// An assertion is what a signature of the provider covers.
type assertion struct {
	walker
	*expectation
	id, version             string
	from                    *name // Issuer
	issued                  time.Time
	notBefore, notOnOrAfter time.Time  // of the conditions; zero: not said
	audiences               [][]string // one entry for each AudienceRestriction
	nameID                  name       // empty if there is none
	confirmations           []confirmation
	statements              []authnStatement
	attributes              map[string]value // by name
}

// An authnStatement is an AuthnStatement (SAML Core 2.7.2).
type authnStatement struct {
	instant, end   time.Time // AuthnInstant, SessionNotOnOrAfter
	session, class string    // SessionIndex, AuthnContextClassRef
}

// A name is a NameID, or an Issuer (SAML Core 2.2.2).
type name struct{ value, format, qualifier, spQualifier, spProvidedID string }

func readName(w walker, check string, el *etree.Element) *name {
	if el == nil {
		return nil
	}
	return &name{
		value: w.text(check, el), format: uri(el, "Format"),
		qualifier: attr(el, "NameQualifier"), spQualifier: attr(el, "SPNameQualifier"), spProvidedID: attr(el, "SPProvidedID"),
	}
}

func readAssertion(el *etree.Element, x *expectation) *assertion {
	a := &assertion{walker: walker{}, expectation: x, id: attr(el, "ID"), version: attr(el, "Version"), attributes: map[string]value{}}
	found := a.parts("assertion elements", el, "saml:Issuer", "ds:Signature?", "saml:Subject*", "saml:Conditions?",
		"saml:Advice?", "saml:Statement*", "saml:AuthnStatement*", "saml:AuthzDecisionStatement*", "saml:AttributeStatement*")
	a.issued = a.instant("assertion times", el, "IssueInstant")
	a.from = readName(a.walker, "assertion elements", found.first("saml:Issuer"))
	a.readSubjects(found["saml:Subject"])
	if conditions := found.first("saml:Conditions"); conditions != nil {
		a.readConditions(conditions)
	}
	for _, statement := range found["saml:AuthnStatement"] {
		a.readAuthnStatement(statement)
	}
	for _, statement := range found["saml:AttributeStatement"] {
		a.readAttributes(statement)
	}
	return a
}

// readConditions: all other conditions are unknown, and refuse (SAML Core 2.5.1). Every
// assertion works once here, and none is made from another: OneTimeUse and
// ProxyRestriction are kept anyway (2.5.1.5, 2.5.1.6).
func (a *assertion) readConditions(el *etree.Element) {
	const times = "assertion times"
	a.notBefore, a.notOnOrAfter = a.instant(times, el, "NotBefore"), a.instant(times, el, "NotOnOrAfter")
	found := a.parts("conditions", el, "saml:AudienceRestriction*", "saml:OneTimeUse?", "saml:ProxyRestriction?")
	for _, restriction := range found["saml:AudienceRestriction"] {
		var list []string
		for _, audience := range a.parts("assertion elements", restriction, "saml:Audience*")["saml:Audience"] {
			list = append(list, collapsed(a.text("assertion elements", audience)))
		}
		a.audiences = append(a.audiences, list)
	}
}

func (a *assertion) readAuthnStatement(el *etree.Element) {
	const elements, times = "assertion elements", "assertion times"
	s := authnStatement{
		instant: a.instant(times, el, "AuthnInstant"), end: a.instant(times, el, "SessionNotOnOrAfter"), session: attr(el, "SessionIndex"),
	}
	if context := a.parts(elements, el, "saml:SubjectLocality?", "saml:AuthnContext").first("saml:AuthnContext"); context != nil {
		s.class = collapsed(a.text(elements, a.parts(elements, context, "saml:AuthnContextClassRef?", "saml:AuthnContextDecl?",
			"saml:AuthnContextDeclRef?", "saml:AuthenticatingAuthority*").first("saml:AuthnContextClassRef")))
	}
	a.statements = append(a.statements, s)
}

func assertionElements(a *assertion) error { return a.walker["assertion elements"] }
func assertionTimes(a *assertion) error    { return a.walker["assertion times"] }
func assertionVersion(a *assertion) error  { return version(a.version) }
func assertionIssuer(a *assertion) error   { return issuer(a.from, a.issuer) }

func assertionConditions(a *assertion) error { return a.walker["conditions"] }

func assertionID(a *assertion) error {
	if a.id == "" || len(a.id) > maxValue || strings.ContainsFunc(a.id, unprintable) {
		return fmt.Errorf("checking the assertion's ID: it is empty, longer than %d bytes, or not visible", maxValue)
	}
	return nil
}

func assertionIssueInstant(a *assertion) error { return issueInstant(a.issued, a.expectation) }

// assertionValidity is SAML Core 2.5.1.2.
func assertionValidity(a *assertion) error {
	from, to := a.notBefore, a.notOnOrAfter
	tooEarly := !from.IsZero() && a.notYet(from)
	tooLate := !to.IsZero() && a.over(to)
	if tooEarly || tooLate || !from.IsZero() && !to.IsZero() && !from.Before(to) {
		return fmt.Errorf("checking Conditions: valid from %s until %s, and now it is %s", provider.Moment(from), provider.Moment(to), provider.Moment(a.now))
	}
	return nil
}

// assertionAudience: there must be an AudienceRestriction (SAML Profiles
// 4.1.4.2), and each must name us (SAML Core 2.5.1.4).
func assertionAudience(a *assertion) error {
	if len(a.audiences) == 0 {
		return fmt.Errorf("checking the audience: there is no AudienceRestriction; have the provider name us, %s", wording.Quoted(a.audience))
	}
	for _, list := range a.audiences {
		if !slices.Contains(list, a.audience) {
			return fmt.Errorf("checking the audience: it is %s, we are %s", wording.Quoted(strings.Join(list, ", ")), wording.Quoted(a.audience))
		}
	}
	return nil
}

func assertionStatement(a *assertion) error {
	if len(a.statements) == 0 {
		return errors.New("checking the statements: there is no AuthnStatement")
	}
	return nil
}

// assertionAuthnInstant: the sign-in lies in the past; if a new one was asked for
// (ForceAuthn), it lies after the request.
func assertionAuthnInstant(a *assertion) error {
	for _, s := range a.statements {
		t := s.instant
		if t.IsZero() || a.notYet(t) || a.forced && a.stale(t) {
			return fmt.Errorf("checking AuthnInstant: it is %s; the login began at %s, and now it is %s", provider.Moment(t), provider.Moment(a.begun), provider.Moment(a.now))
		}
	}
	return nil
}

// assertionSession: a session that is over at the provider is none here. The
// clocks' difference is not added: the login would end at once.
func assertionSession(a *assertion) error {
	if end := a.sessionEnd(); !end.IsZero() && !a.now.Before(end) {
		return fmt.Errorf("checking SessionNotOnOrAfter: it was %s, and now it is %s", provider.Moment(end), provider.Moment(a.now))
	}
	return nil
}

// sessionEnd is the earliest SessionNotOnOrAfter, or the zero time.
func (a *assertion) sessionEnd() (end time.Time) {
	for _, s := range a.statements {
		if !s.end.IsZero() && (end.IsZero() || s.end.Before(end)) {
			end = s.end
		}
	}
	return end
}

// longestLogin is more than a login can take: the gateway's flows end long
// before.
const longestLogin = 24 * time.Hour

// usableUntil is the latest time at which a login could take the assertion: its
// conditions and confirmations hold no longer, nor can a login that began before
// it was issued still be under way, also if the times in it lie in the year 9999.
func (a *assertion) usableUntil(confirmed time.Time) time.Time {
	until := confirmed
	if end := a.notOnOrAfter; !end.IsZero() && end.Before(until) {
		until = end
	}
	if end := a.issued.Add(longestLogin); end.Before(until) {
		until = end
	}
	return until.Add(a.skew)
}

// statement is the first AuthnStatement, an empty one if there is none.
func (a *assertion) statement() authnStatement { return append(a.statements, authnStatement{})[0] }
