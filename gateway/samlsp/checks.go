package samlsp

import (
	"net/url"

	"github.com/beevik/etree"

	"github.com/caddy-sso/caddy-sso/gateway"
	"github.com/caddy-sso/caddy-sso/gateway/check"
	"github.com/caddy-sso/caddy-sso/gateway/samlsp/xmlsec"
)

// A checklist is everything that is checked: how a document is read and its
// signatures verified (xmlsec), and what is judged after that. Each provider has
// the whole of it; a test takes single checks out of its own copy to see that
// they are what stops an attack.
type checklist struct {
	xmlsec.Checks

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

		form: check.All(
			check.That("form single", gateway.CodeSAMLMalformed, formSingle),
		),
		encoding: check.All(
			check.That("message size", gateway.CodeTooLarge, encodingSize),
			check.That("base64 strict", gateway.CodeSAMLMalformed, encodingStrict),
		),
		document: check.All(
			check.That("document root", gateway.CodeSAMLMalformed, documentRoot),
			check.That("one response", gateway.CodeSAMLMalformed, documentOneResponse),
			check.That("document status", gateway.CodeProviderRefused, documentStatus),
			check.That("encrypted", gateway.CodeSAMLEncrypted, documentEncrypted),
			check.That("one assertion", gateway.CodeSAMLMalformed, documentOneAssertion),
			check.That("signature places", gateway.CodeSAMLMalformed, documentSignatures),
		),
		signing: check.All(
			check.That("assertion signed", gateway.CodeSAMLUnsigned, signingAssertion),
			check.That("response signed", gateway.CodeSAMLUnsigned, signingResponse),
		),
		same: check.All(
			check.That("same assertion", gateway.CodeSAMLSignature, sameAssertion),
		),
		found: check.All(
			check.That("covered by a signature", gateway.CodeSAMLUnsigned, foundCovered),
		),
		response: check.All(
			check.That("response elements", gateway.CodeSAMLMalformed, responseElements),
			check.That("response times", gateway.CodeSAMLMalformed, responseTimes),
			check.That("response version", gateway.CodeSAMLMalformed, responseVersion),
			check.That("response issuer", gateway.CodeSAMLIssuerMismatch, responseIssuer),
			check.That("destination", gateway.CodeSAMLDestination, responseDestination),
			check.That("response request", gateway.CodeSAMLRequestMismatch, responseRequest),
			check.That("response issue instant", gateway.CodeSAMLTime, responseIssueInstant),
			check.That("response status", gateway.CodeProviderRefused, responseStatus),
		),
		assertion: check.All(
			check.That("assertion elements", gateway.CodeSAMLMalformed, assertionElements),
			check.That("assertion times", gateway.CodeSAMLMalformed, assertionTimes),
			check.That("assertion version", gateway.CodeSAMLMalformed, assertionVersion),
			check.That("assertion id", gateway.CodeSAMLMalformed, assertionID),
			check.That("assertion issuer", gateway.CodeSAMLIssuerMismatch, assertionIssuer),
			check.That("assertion issue instant", gateway.CodeSAMLTime, assertionIssueInstant),
			check.That("conditions", gateway.CodeSAMLCondition, assertionConditions),
			check.That("validity", gateway.CodeSAMLTime, assertionValidity),
			check.That("audience", gateway.CodeSAMLAudience, assertionAudience),
			check.That("authn statement", gateway.CodeSAMLCondition, assertionStatement),
			check.That("authn instant", gateway.CodeSAMLTime, assertionAuthnInstant),
			check.That("session end", gateway.CodeSAMLTime, assertionSession),
			check.That("session index", gateway.CodeSAMLMalformed, assertionSessionIndex),
			check.That("authn context", gateway.CodeSAMLMalformed, assertionContext),
			check.That("subject", gateway.CodeSAMLSubject, assertionSubject),
			check.That("name id", gateway.CodeSAMLSubject, assertionNameID),
		),
		confirmation: check.All(
			check.That("confirmation method", gateway.CodeSAMLSubject, confirmationMethod),
			check.That("confirmation own", gateway.CodeSAMLSubject, confirmationOwn),
			check.That("confirmation form", gateway.CodeSAMLMalformed, confirmationForm),
			check.That("confirmation start", gateway.CodeSAMLSubject, confirmationStart),
			check.That("recipient", gateway.CodeSAMLDestination, confirmationRecipient),
			check.That("confirmation request", gateway.CodeSAMLRequestMismatch, confirmationRequest),
			check.That("confirmation time", gateway.CodeSAMLTime, confirmationTime),
		),
		confirmed: check.All(
			check.That("confirmed", gateway.CodeSAMLSubject, subjectConfirmed),
		),
		profile: check.All(
			check.That("attribute text", gateway.CodeSAMLAttribute, profileText),
			check.That("attribute formats", gateway.CodeSAMLAttribute, profileFormats),
			check.That("single values", gateway.CodeSAMLAttribute, profileSingle),
			check.That("id attribute", gateway.CodeSAMLAttribute, profileID),
			check.That("email", gateway.CodeSAMLAttribute, profileEmail),
			check.That("names", gateway.CodeSAMLAttribute, profileNames),
			check.That("user name", gateway.CodeSAMLAttribute, profileUsername),
			check.That("groups", gateway.CodeSAMLAttribute, profileGroups),
		),
		account: check.All(
			check.That("lasting name id", gateway.CodeSAMLSubject, accountLasting),
		),
	}
}
