package samlsp

import (
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

// A response is the message around the assertion. If it is signed, it was read
// from what was signed; else its fields are hints, which must fit all the same.
type response struct {
	walker
	*expectation
	signed                    bool
	version                   string
	from                      *name // Issuer
	issued                    time.Time
	destination, inResponseTo optional
	status                    status
}

// A status has the message and the first two codes (SAML Core 3.2.2.2). What lies deeper
// says nothing to us.
type status struct {
	codes   []string
	message string
}

func readResponse(el *etree.Element, signed bool, x *expectation) *response {
	r := &response{walker: walker{}, expectation: x, signed: signed}
	const elements, times = "response elements", "response times"
	found := r.parts(elements, el, "saml:Issuer?", "ds:Signature?", "samlp:Extensions?", "samlp:Status", "saml:Assertion")
	r.version, r.issued = attr(el, "Version"), r.instant(times, el, "IssueInstant")
	r.from = readName(r.walker, elements, found.first("saml:Issuer"))
	r.destination, r.inResponseTo = readOptional(el, "Destination"), readOptional(el, "InResponseTo")
	if status := found.first("samlp:Status"); status != nil {
		r.status = readStatus(r.walker, status)
	}
	return r
}

func readStatus(w walker, el *etree.Element) (s status) {
	const check = "response elements"
	found := w.parts(check, el, "samlp:StatusCode", "samlp:StatusMessage?", "samlp:StatusDetail?")
	s.message = w.text(check, found.first("samlp:StatusMessage"))
	if code := found.first("samlp:StatusCode"); code != nil {
		s.codes = append(s.codes, uri(code, "Value"))
		if inner := w.parts(check, code, "samlp:StatusCode?").first("samlp:StatusCode"); inner != nil {
			s.codes = append(s.codes, uri(inner, "Value"))
		}
	}
	return s
}

// unsuccessful returns an error unless the status is Success.
func unsuccessful(s status) error {
	if len(s.codes) == 0 {
		s.codes = []string{""}
	}
	if s.codes[0] == statusPrefix+"Success" {
		return nil
	}
	var said []string
	for _, code := range s.codes {
		said = append(said, statusCode(code))
	}
	words := strings.Join(said, ", ")
	if s.message != "" {
		words += ": " + wording.Theirs(s.message)
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

func responseStatus(r *response) error { return unsuccessful(r.status) }

func responseElements(r *response) error { return r.walker["response elements"] }
func responseTimes(r *response) error    { return r.walker["response times"] }

func responseVersion(r *response) error { return version(r.version) }

func version(v string) error {
	if v != "2.0" {
		return fmt.Errorf("checking the version: it is %s, not 2.0", wording.Quoted(v))
	}
	return nil
}

// responseIssuer: it must be there if the message is signed (SAML Profiles
// 4.1.4.2), and be right if it is there.
func responseIssuer(r *response) error {
	if r.from == nil && !r.signed {
		return nil
	}
	return issuer(r.from, r.issuer)
}

// issuer checks an Issuer: the provider's entity ID, as such (SAML Core 8.3.6).
func issuer(got *name, want string) error {
	switch {
	case got == nil:
		return fmt.Errorf("checking the issuer: there is none, expected is %s", wording.Quoted(want))
	case got.format != "" && got.format != formatEntity:
		return fmt.Errorf("checking the issuer: its format is %s", wording.Quoted(got.format))
	case got.qualifier != "" || got.spQualifier != "" || got.spProvidedID != "":
		return errors.New("checking the issuer: it has qualifiers, which an entity ID does not")
	case got.value != want:
		return fmt.Errorf("checking the issuer: it is %s, expected is %s", wording.Quoted(got.value), wording.Quoted(want))
	}
	return nil
}

// responseDestination: required if the message is signed (SAML Bindings
// 3.5.5.2), and ours byte for byte if it is there.
func responseDestination(r *response) error {
	switch {
	case !r.destination.there && !r.signed:
		return nil
	case !r.destination.there:
		return errors.New("checking the destination: a signed response must have one, and has none")
	case r.destination.value != r.acs:
		return fmt.Errorf("checking the destination: it is %s, ours is %s", wording.Quoted(r.destination.value), wording.Quoted(r.acs))
	}
	return nil
}

// responseRequest refuses what nobody here asked for: unsolicited responses, and
// those to another login.
func responseRequest(r *response) error { return inResponseTo(r.inResponseTo, r.request) }

func inResponseTo(got optional, want string) error {
	switch {
	case !got.there:
		return errors.New("checking InResponseTo: there is none, so the response was not asked for; sign-ins begin at the application, not at the provider's portal")
	case got.value != want:
		return errors.New("checking InResponseTo: it is not the ID of this login's request, but of another one")
	}
	return nil
}

func responseIssueInstant(r *response) error { return issueInstant(r.issued, r.expectation) }
