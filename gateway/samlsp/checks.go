package samlsp

import (
	"net/url"

	"github.com/beevik/etree"

	"github.com/caddy-sso/caddy-sso/gateway/check"
	"github.com/caddy-sso/caddy-sso/gateway/refusal"
	"github.com/caddy-sso/caddy-sso/gateway/samlsp/xmlsec"
)

// A checklist is everything that is checked: how a document is read and its
// signatures verified (xmlsec), and what is checked after that. Each provider has
// the whole of it; a test takes single checks out of its own copy to see that
// they are what stops an attack.
type checklist struct {
	xmlsec.Checks

	certificate  check.List[*candidate]
	form         check.List[url.Values]
	encoding     check.List[string]
	document     check.List[*etree.Element]
	signing      check.List[*signing]
	same         check.List[*pair]
	found        check.List[*found]
	response     check.List[*response]
	assertion    check.List[*assertion]
	confirmation check.List[*confirmation]
	confirmed    check.List[*confirmedSubject]
	profile      check.List[*profile]
	account      check.List[*assertion]
}

// allChecks returns the checklist. Within a list the order matters: what follows
// may rely on what came before.
func allChecks() *checklist {
	return &checklist{
		Checks: xmlsec.New(),

		certificate: check.All(
			check.That("authority", "", notAuthority),
		),
		form: check.All(
			check.That("form single", refusal.SAMLMalformed, formSingle),
		),
		encoding: check.All(
			check.That("message size", refusal.TooLarge, encodingSize),
			check.That("base64 strict", refusal.SAMLMalformed, encodingStrict),
		),
		document: check.All(
			check.That("document root", refusal.SAMLMalformed, documentRoot),
			check.That("one response", refusal.SAMLMalformed, documentOneResponse),
			check.That("document status", refusal.ProviderRefused, documentStatus),
			check.That("encrypted", refusal.SAMLEncrypted, documentEncrypted),
			check.That("one assertion", refusal.SAMLMalformed, documentOneAssertion),
			check.That("signature places", refusal.SAMLMalformed, documentSignatures),
		),
		signing: check.All(
			check.That("assertion signed", refusal.SAMLUnsigned, signingAssertion),
			check.That("response signed", refusal.SAMLUnsigned, signingResponse),
		),
		same: check.All(
			check.That("same assertion", refusal.SAMLSignature, sameAssertion),
		),
		found: check.All(
			check.That("covered by a signature", refusal.SAMLUnsigned, foundCovered),
		),
		response: check.All(
			check.That("response elements", refusal.SAMLMalformed, responseElements),
			check.That("response times", refusal.SAMLMalformed, responseTimes),
			check.That("response version", refusal.SAMLMalformed, responseVersion),
			check.That("response issuer", refusal.SAMLIssuerMismatch, responseIssuer),
			check.That("destination", refusal.SAMLDestination, responseDestination),
			check.That("response request", refusal.SAMLRequestMismatch, responseRequest),
			check.That("response issue instant", refusal.SAMLTime, responseIssueInstant),
			check.That("response status", refusal.ProviderRefused, responseStatus),
		),
		assertion: check.All(
			check.That("assertion elements", refusal.SAMLMalformed, assertionElements),
			check.That("assertion times", refusal.SAMLMalformed, assertionTimes),
			check.That("assertion version", refusal.SAMLMalformed, assertionVersion),
			check.That("assertion id", refusal.SAMLMalformed, assertionID),
			check.That("assertion issuer", refusal.SAMLIssuerMismatch, assertionIssuer),
			check.That("assertion issue instant", refusal.SAMLTime, assertionIssueInstant),
			check.That("conditions", refusal.SAMLCondition, assertionConditions),
			check.That("validity", refusal.SAMLTime, assertionValidity),
			check.That("audience", refusal.SAMLAudience, assertionAudience),
			check.That("authn statement", refusal.SAMLCondition, assertionStatement),
			check.That("authn instant", refusal.SAMLTime, assertionAuthnInstant),
			check.That("session end", refusal.SAMLTime, assertionSession),
			check.That("subject", refusal.SAMLSubject, assertionSubject),
			check.That("name id", refusal.SAMLSubject, assertionNameID),
			check.That("name id format", refusal.SAMLSubject, assertionFormat),
		),
		confirmation: check.All(
			check.That("confirmation method", refusal.SAMLSubject, confirmationMethod),
			check.That("confirmation own", refusal.SAMLSubject, confirmationOwn),
			check.That("confirmation form", refusal.SAMLMalformed, confirmationForm),
			check.That("confirmation start", refusal.SAMLSubject, confirmationStart),
			check.That("recipient", refusal.SAMLDestination, confirmationRecipient),
			check.That("confirmation request", refusal.SAMLRequestMismatch, confirmationRequest),
			check.That("confirmation time", refusal.SAMLTime, confirmationTime),
		),
		confirmed: check.All(
			check.That("confirmed", refusal.SAMLSubject, subjectConfirmed),
		),
		profile: check.All(
			check.That("attribute text", refusal.SAMLAttribute, profileText),
			check.That("attribute formats", refusal.SAMLAttribute, profileFormats),
			check.That("single values", refusal.SAMLAttribute, profileSingle),
			check.That("id attribute", refusal.SAMLAttribute, profileID),
			check.That("names", refusal.SAMLAttribute, profileNames),
			check.That("user name", refusal.SAMLAttribute, profileUsername),
			check.That("groups", refusal.SAMLAttribute, profileGroups),
		),
		account: check.All(
			check.That("lasting name id", refusal.SAMLSubject, accountLasting),
		),
	}
}
