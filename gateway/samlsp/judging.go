package samlsp

import (
	"net/url"

	"github.com/beevik/etree"

	"github.com/caddy-sso/caddy-sso/gateway"
)

// A judging is the part of a checklist that judges what a message says, as far
// as it was read (see reading and signature checks in checklist).
type judging struct {
	form         []check[url.Values]
	encoding     []check[string]
	document     []check[*etree.Element]
	signing      []check[*signing]
	same         []check[*pair]
	found        []check[*found]
	response     []check[*response]
	assertion    []check[*assertion]
	confirmation []check[*confirmation]
	confirmed    []check[*confirmedSubject]
	profile      []check[*profile]
	account      []check[*assertion]
}

func allJudging() judging {
	return judging{
		form: []check[url.Values]{
			{"form single", gateway.CodeSAMLMalformed, formSingle},
		},
		encoding: []check[string]{
			{"message size", gateway.CodeTooLarge, encodingSize},
			{"base64 strict", gateway.CodeSAMLMalformed, encodingStrict},
		},
		document: []check[*etree.Element]{
			{"document root", gateway.CodeSAMLMalformed, documentRoot},
			{"one response", gateway.CodeSAMLMalformed, documentOneResponse},
			{"document status", gateway.CodeProviderRefused, documentStatus},
			{"encrypted", gateway.CodeSAMLEncrypted, documentEncrypted},
			{"one assertion", gateway.CodeSAMLMalformed, documentOneAssertion},
			{"signature places", gateway.CodeSAMLMalformed, documentSignatures},
		},
		signing: []check[*signing]{
			{"assertion signed", gateway.CodeSAMLUnsigned, signingAssertion},
			{"response signed", gateway.CodeSAMLUnsigned, signingResponse},
		},
		same: []check[*pair]{
			{"same assertion", gateway.CodeSAMLSignature, sameAssertion},
		},
		found: []check[*found]{
			{"covered by a signature", gateway.CodeSAMLUnsigned, foundCovered},
		},
		response: []check[*response]{
			{"response elements", gateway.CodeSAMLMalformed, responseElements},
			{"response times", gateway.CodeSAMLMalformed, responseTimes},
			{"response version", gateway.CodeSAMLMalformed, responseVersion},
			{"response issuer", gateway.CodeSAMLIssuerMismatch, responseIssuer},
			{"destination", gateway.CodeSAMLDestination, responseDestination},
			{"response request", gateway.CodeSAMLRequestMismatch, responseRequest},
			{"response issue instant", gateway.CodeSAMLTime, responseIssueInstant},
			{"response status", gateway.CodeProviderRefused, responseStatus},
		},
		assertion: []check[*assertion]{
			{"assertion elements", gateway.CodeSAMLMalformed, assertionElements},
			{"assertion times", gateway.CodeSAMLMalformed, assertionTimes},
			{"assertion version", gateway.CodeSAMLMalformed, assertionVersion},
			{"assertion id", gateway.CodeSAMLMalformed, assertionID},
			{"assertion issuer", gateway.CodeSAMLIssuerMismatch, assertionIssuer},
			{"assertion issue instant", gateway.CodeSAMLTime, assertionIssueInstant},
			{"conditions", gateway.CodeSAMLCondition, assertionConditions},
			{"validity", gateway.CodeSAMLTime, assertionValidity},
			{"audience", gateway.CodeSAMLAudience, assertionAudience},
			{"authn statement", gateway.CodeSAMLCondition, assertionStatement},
			{"authn instant", gateway.CodeSAMLTime, assertionAuthnInstant},
			{"session end", gateway.CodeSAMLTime, assertionSession},
			{"session index", gateway.CodeSAMLMalformed, assertionSessionIndex},
			{"authn context", gateway.CodeSAMLMalformed, assertionContext},
			{"subject", gateway.CodeSAMLSubject, assertionSubject},
			{"name id", gateway.CodeSAMLSubject, assertionNameID},
		},
		confirmation: []check[*confirmation]{
			{"confirmation method", gateway.CodeSAMLSubject, confirmationMethod},
			{"confirmation own", gateway.CodeSAMLSubject, confirmationOwn},
			{"confirmation form", gateway.CodeSAMLMalformed, confirmationForm},
			{"confirmation start", gateway.CodeSAMLSubject, confirmationStart},
			{"recipient", gateway.CodeSAMLDestination, confirmationRecipient},
			{"confirmation request", gateway.CodeSAMLRequestMismatch, confirmationRequest},
			{"confirmation time", gateway.CodeSAMLTime, confirmationTime},
		},
		confirmed: []check[*confirmedSubject]{
			{"confirmed", gateway.CodeSAMLSubject, subjectConfirmed},
		},
		profile: []check[*profile]{
			{"attribute text", gateway.CodeSAMLAttribute, profileText},
			{"attribute formats", gateway.CodeSAMLAttribute, profileFormats},
			{"single values", gateway.CodeSAMLAttribute, profileSingle},
			{"id attribute", gateway.CodeSAMLAttribute, profileID},
			{"email", gateway.CodeSAMLAttribute, profileEmail},
			{"names", gateway.CodeSAMLAttribute, profileNames},
			{"user name", gateway.CodeSAMLAttribute, profileUsername},
			{"groups", gateway.CodeSAMLAttribute, profileGroups},
		},
		account: []check[*assertion]{
			{"lasting name id", gateway.CodeSAMLSubject, accountLasting},
		},
	}
}
