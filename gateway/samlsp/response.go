package samlsp

import (
	"errors"
	"fmt"
	"slices"
	"strings"

	"github.com/beevik/etree"
	"github.com/crewjam/saml"

	"github.com/caddy-sso/caddy-sso/gateway/provider"
	"github.com/caddy-sso/caddy-sso/gateway/refusal"
	"github.com/caddy-sso/caddy-sso/gateway/samlsp/xmlsec"
	"github.com/caddy-sso/caddy-sso/gateway/wording"
)

// A response is the message around the assertion. If it is signed, it was read
// from what was signed; else its fields are hints, which must fit all the same.
type response struct {
	saml.Response
	walker
	*expectation
	signed bool
	// destination and inResponseTo say whether there are such attributes, which
	// crewjam's type can't tell from empty ones.
	destination, inResponseTo bool
}

func readResponse(el *etree.Element, signed bool, x *expectation) *response {
	r := &response{walker: walker{}, expectation: x, signed: signed}
	const elements, times = "response elements", "response times"
	found := r.parts(elements, el, "saml:Issuer?", "ds:Signature?", "samlp:Extensions?", "samlp:Status", "saml:Assertion")
	r.Response = saml.Response{
		ID: attr(el, "ID"), Version: attr(el, "Version"), IssueInstant: r.instant(times, el, "IssueInstant"),
		Consent: attr(el, "Consent"), Issuer: readIssuer(r.walker, elements, found.first("saml:Issuer")),
	}
	r.Destination, r.destination = xmlsec.Attribute(el, "Destination")
	r.InResponseTo, r.inResponseTo = xmlsec.Attribute(el, "InResponseTo")
	r.Destination, r.InResponseTo = collapsed(r.Destination), collapsed(r.InResponseTo)
	if status := found.first("samlp:Status"); status != nil {
		r.Status = readStatus(r.walker, status)
	}
	return r
}

func readIssuer(w walker, check string, el *etree.Element) *saml.Issuer {
	if el == nil {
		return nil
	}
	return &saml.Issuer{
		NameQualifier: attr(el, "NameQualifier"), SPNameQualifier: attr(el, "SPNameQualifier"),
		Format: uri(el, "Format"), SPProvidedID: attr(el, "SPProvidedID"), Value: w.text(check, el),
	}
}

// readStatus reads the message and the first two codes (SAML Core 3.2.2.2); what lies
// deeper says nothing to us.
func readStatus(w walker, el *etree.Element) saml.Status {
	const check = "response elements"
	found := w.parts(check, el, "samlp:StatusCode", "samlp:StatusMessage?", "samlp:StatusDetail?")
	code := found.first("samlp:StatusCode")
	if code == nil {
		return saml.Status{}
	}
	status := saml.Status{StatusCode: saml.StatusCode{Value: uri(code, "Value")}}
	if message := found.first("samlp:StatusMessage"); message != nil {
		status.StatusMessage = &saml.StatusMessage{Value: w.text(check, message)}
	}
	if inner := w.parts(check, code, "samlp:StatusCode?").first("samlp:StatusCode"); inner != nil {
		status.StatusCode.StatusCode = &saml.StatusCode{Value: uri(inner, "Value")}
	}
	return status
}

// unsuccessful returns an error unless the status is Success.
func unsuccessful(status saml.Status) error {
	if status.StatusCode.Value == saml.StatusSuccess {
		return nil
	}
	said := []string{statusCode(status.StatusCode.Value)}
	if inner := status.StatusCode.StatusCode; inner != nil {
		said = append(said, statusCode(inner.Value))
	}
	words := strings.Join(said, ", ")
	if message := status.StatusMessage; message != nil && message.Value != "" {
		words += ": " + wording.Theirs(message.Value)
	}
	err := fmt.Errorf("reading the status: the provider says %s", words)
	switch {
	case slices.Equal(said, []string{"Responder", "NoAvailableIDP"}):
		return refusal.New(refusal.ProviderUnavailable, err) // a fault of its own, which passes
	case slices.Contains(requestRefused, said[len(said)-1]):
		err = fmt.Errorf("%w; %w", err, provider.ErrRequestRefused)
	}
	return refusal.New(refusal.ProviderRefused, err)
}

// requestRefused are the codes, the innermost counts, by which a provider refuses the
// request and not the person (SAML Core 3.2.2.2).
var requestRefused = []string{
	"Requester", "VersionMismatch", "InvalidAttrNameOrValue", "InvalidNameIDPolicy", "NoAuthnContext", "NoSupportedIDP", "RequestUnsupported",
	"RequestVersionDeprecated", "RequestVersionTooHigh", "RequestVersionTooLow", "ResourceNotRecognized", "UnknownAttrProfile", "UnsupportedBinding",
}

// statusPrefix is what the codes of SAML Core 3.2.2.2 begin with.
const statusPrefix = "urn:oasis:names:tc:SAML:2.0:status:"

// statusCode shows a status code by its last part if it is one of SAML's, else in quotes.
func statusCode(s string) string {
	name, ok := strings.CutPrefix(s, statusPrefix)
	letter := func(c rune) bool { return (c|' ') >= 'a' && (c|' ') <= 'z' }
	if !ok || name == "" || len(name) > 64 || strings.TrimFunc(name, letter) != "" {
		return wording.Theirs(s)
	}
	return name
}

func responseStatus(r *response) error { return unsuccessful(r.Status) }

func responseElements(r *response) error { return r.walker["response elements"] }
func responseTimes(r *response) error    { return r.walker["response times"] }

func responseVersion(r *response) error { return version(r.Version) }

func version(v string) error {
	if v != "2.0" {
		return fmt.Errorf("checking the version: it is %s, not 2.0", wording.Quoted(v))
	}
	return nil
}

// responseIssuer: it must be there if the message is signed (SAML Profiles
// 4.1.4.2), and be right if it is there.
func responseIssuer(r *response) error {
	if r.Issuer == nil && !r.signed {
		return nil
	}
	return issuer(r.Issuer, r.issuer)
}

// issuer checks an Issuer: the provider's entity ID, as such (SAML Core 8.3.6).
func issuer(got *saml.Issuer, want string) error {
	switch {
	case got == nil:
		return fmt.Errorf("checking the issuer: there is none, expected is %s", wording.Quoted(want))
	case got.Format != "" && got.Format != formatEntity:
		return fmt.Errorf("checking the issuer: its format is %s", wording.Quoted(got.Format))
	case got.NameQualifier != "" || got.SPNameQualifier != "" || got.SPProvidedID != "":
		return errors.New("checking the issuer: it has qualifiers, which an entity ID does not")
	case got.Value != want:
		return fmt.Errorf("checking the issuer: it is %s, expected is %s", wording.Quoted(got.Value), wording.Quoted(want))
	}
	return nil
}

// responseDestination: required if the message is signed (SAML Bindings
// 3.5.5.2), and ours byte for byte if it is there.
func responseDestination(r *response) error {
	switch {
	case !r.destination && !r.signed:
		return nil
	case !r.destination:
		return errors.New("checking the destination: a signed response must have one, and has none")
	case r.Destination != r.acs:
		return fmt.Errorf("checking the destination: it is %s, ours is %s", wording.Quoted(r.Destination), wording.Quoted(r.acs))
	}
	return nil
}

// responseRequest refuses what nobody here asked for: unsolicited responses, and
// those to another login.
func responseRequest(r *response) error {
	return inResponseTo(r.InResponseTo, r.inResponseTo, r.request)
}

func inResponseTo(got string, there bool, want string) error {
	switch {
	case !there:
		return errors.New("checking InResponseTo: there is none, so the response was not asked for; sign-ins begin at the application, not at the provider's portal")
	case got != want:
		return errors.New("checking InResponseTo: it is not the ID of this login's request, but of another one")
	}
	return nil
}

func responseIssueInstant(r *response) error { return issueInstant(r.IssueInstant, r.expectation) }
