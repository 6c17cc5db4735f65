package samlsp

import (
	"errors"
	"fmt"
	"slices"
	"strings"
	"time"

	"github.com/beevik/etree"
	"github.com/crewjam/saml"

	"github.com/caddy-sso/caddy-sso/gateway/provider"
	"github.com/caddy-sso/caddy-sso/gateway/wording"
)

// An assertion is what a signature of the provider covers.
type assertion struct {
	saml.Assertion
	walker
	*expectation
	// audiences has one entry for each AudienceRestriction; crewjam's type has
	// room for one Audience in each, and stays empty.
	audiences [][]string
	// confirmations are those of Subject, with what crewjam's type can't hold.
	confirmations []confirmation
	// structured are the names of attributes with values that are no text; nils
	// counts the values of each that are none.
	structured map[string]bool
	nils       map[string]int
}

func readAssertion(el *etree.Element, x *expectation) *assertion {
	a := &assertion{walker: walker{}, expectation: x, structured: map[string]bool{}, nils: map[string]int{}}
	found := a.parts("assertion elements", el, "saml:Issuer", "ds:Signature?", "saml:Subject*", "saml:Conditions?",
		"saml:Advice?", "saml:Statement*", "saml:AuthnStatement*", "saml:AuthzDecisionStatement*", "saml:AttributeStatement*")
	a.Assertion = saml.Assertion{
		ID: attr(el, "ID"), Version: attr(el, "Version"), IssueInstant: a.instant("assertion times", el, "IssueInstant"),
	}
	if from := readIssuer(a.walker, "assertion elements", found.first("saml:Issuer")); from != nil {
		a.Issuer = *from
	}
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

func (a *assertion) readConditions(el *etree.Element) {
	const times = "assertion times"
	a.Conditions = &saml.Conditions{NotBefore: a.instant(times, el, "NotBefore"), NotOnOrAfter: a.instant(times, el, "NotOnOrAfter")}
	// All other conditions are unknown, and refuse (SAML Core 2.5.1); OneTimeUse and
	// ProxyRestriction stand once at most.
	found := a.parts("conditions", el, "saml:AudienceRestriction*", "saml:OneTimeUse?", "saml:ProxyRestriction?")
	for _, restriction := range found["saml:AudienceRestriction"] {
		var list []string
		for _, audience := range a.parts("assertion elements", restriction, "saml:Audience*")["saml:Audience"] {
			list = append(list, collapsed(a.text("assertion elements", audience)))
		}
		a.audiences = append(a.audiences, list)
	}
	// Every assertion works once here, and none is made from another: both
	// conditions are kept anyway (SAML Core 2.5.1.5, 2.5.1.6).
	if found.first("saml:OneTimeUse") != nil {
		a.Conditions.OneTimeUse = &saml.OneTimeUse{}
	}
	if found.first("saml:ProxyRestriction") != nil {
		a.Conditions.ProxyRestriction = &saml.ProxyRestriction{}
	}
}

func (a *assertion) readAuthnStatement(el *etree.Element) {
	const elements, times = "assertion elements", "assertion times"
	s := saml.AuthnStatement{AuthnInstant: a.instant(times, el, "AuthnInstant"), SessionIndex: attr(el, "SessionIndex")}
	if end := a.instant(times, el, "SessionNotOnOrAfter"); !end.IsZero() {
		s.SessionNotOnOrAfter = &end
	}
	if context := a.parts(elements, el, "saml:SubjectLocality?", "saml:AuthnContext").first("saml:AuthnContext"); context != nil {
		class := a.parts(elements, context, "saml:AuthnContextClassRef?", "saml:AuthnContextDecl?", "saml:AuthnContextDeclRef?",
			"saml:AuthenticatingAuthority*").first("saml:AuthnContextClassRef")
		if class != nil {
			s.AuthnContext.AuthnContextClassRef = &saml.AuthnContextClassRef{Value: collapsed(a.text(elements, class))}
		}
	}
	a.AuthnStatements = append(a.AuthnStatements, s)
}

func assertionElements(a *assertion) error { return a.walker["assertion elements"] }
func assertionTimes(a *assertion) error    { return a.walker["assertion times"] }
func assertionVersion(a *assertion) error  { return version(a.Version) }
func assertionIssuer(a *assertion) error   { return issuer(&a.Issuer, a.issuer) }
func assertionConditions(a *assertion) error {
	return a.walker["conditions"]
}

func assertionID(a *assertion) error {
	if a.ID == "" || len(a.ID) > maxValue || strings.ContainsFunc(a.ID, unprintable) {
		return fmt.Errorf("checking the assertion's ID: it is empty, longer than %d bytes, or not visible", maxValue)
	}
	return nil
}

func assertionIssueInstant(a *assertion) error { return issueInstant(a.IssueInstant, a.expectation) }

// assertionValidity is SAML Core 2.5.1.2. Conditions are required by
// assertionAudience.
func assertionValidity(a *assertion) error {
	if a.Conditions == nil {
		return nil
	}
	from, to := a.Conditions.NotBefore, a.Conditions.NotOnOrAfter
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
	if len(a.AuthnStatements) == 0 {
		return errors.New("checking the statements: there is no AuthnStatement")
	}
	return nil
}

// assertionAuthnInstant: the sign-in lies in the past; if a new one was asked for
// (ForceAuthn), it lies after the request.
func assertionAuthnInstant(a *assertion) error {
	for _, s := range a.AuthnStatements {
		t := s.AuthnInstant
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
	for _, s := range a.AuthnStatements {
		if t := s.SessionNotOnOrAfter; t != nil && (end.IsZero() || t.Before(end)) {
			end = *t
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
	if c := a.Conditions; c != nil && !c.NotOnOrAfter.IsZero() && c.NotOnOrAfter.Before(until) {
		until = c.NotOnOrAfter
	}
	if end := a.IssueInstant.Add(longestLogin); end.Before(until) {
		until = end
	}
	return until.Add(a.skew)
}

// statement is the first AuthnStatement, an empty one if there is none.
func (a *assertion) statement() saml.AuthnStatement {
	if len(a.AuthnStatements) == 0 {
		return saml.AuthnStatement{}
	}
	return a.AuthnStatements[0]
}
