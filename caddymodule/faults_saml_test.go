package caddymodule_test

import (
	"encoding/base64"
	"slices"
	"strings"
	"testing"
	"time"

	"github.com/caddy-sso/caddy-sso/gateway/gatewaytest"
)

// faultsOfSAML are those of sign-ins by SAML.
func faultsOfSAML(t *testing.T) []signInFault {
	t.Helper()
	stranger, err := gatewaytest.NewIdPKey()
	if err != nil {
		t.Fatal(err)
	}
	answer := func(change func(a *gatewaytest.IdPAnswer)) gatewaytest.IdPHooks {
		return gatewaytest.IdPHooks{Answer: change}
	}
	replaced := func(old, by string) gatewaytest.IdPHooks {
		return gatewaytest.IdPHooks{Document: func(doc string) string { return strings.ReplaceAll(doc, old, by) }}
	}
	status := func(code, inner, message string) gatewaytest.IdPHooks {
		const prefix = "urn:oasis:names:tc:SAML:2.0:status:"
		if !strings.Contains(inner, ":") {
			inner = prefix + inner
		}
		h := replaced("></samlp:StatusCode>", `><samlp:StatusCode Value="`+inner+`"></samlp:StatusCode></samlp:StatusCode><samlp:StatusMessage>`+message+`</samlp:StatusMessage>`)
		h.Answer = func(a *gatewaytest.IdPAnswer) { a.Status = prefix + code }
		return h
	}
	noGroups := answer(func(a *gatewaytest.IdPAnswer) {
		a.Attributes = slices.DeleteFunc(a.Attributes, func(a gatewaytest.IdPAttribute) bool { return a.Name == "groups" })
	})
	return []signInFault{
		{name: "The metadata are a web page", idp: metadata(func(string) string { return "<!DOCTYPE html><title>Sign in</title>" }), afresh: true},
		{name: "The metadata are in Base64", idp: metadata(func(doc string) string { return base64.StdEncoding.EncodeToString([]byte(doc)) }), afresh: true},
		{name: "The metadata lack a namespace", idp: metadata(func(doc string) string { return strings.Replace(doc, "xmlns:md=", "xmlns:other=", 1) }), afresh: true},
		{name: "The metadata are cut off", idp: metadata(func(doc string) string { return doc[:len(doc)/2] }), afresh: true},
		{name: "The metadata are a service provider's", idp: metadata(func(doc string) string { return strings.ReplaceAll(doc, "IDPSSODescriptor", "SPSSODescriptor") }), afresh: true},
		{name: "The certificate is encoded twice", idp: metadata(func(doc string) string {
			before, rest, _ := strings.Cut(doc, "<ds:X509Certificate>")
			certificate, after, _ := strings.Cut(rest, "</ds:X509Certificate>")
			return before + "<ds:X509Certificate>" + base64.StdEncoding.EncodeToString([]byte(certificate)) + "</ds:X509Certificate>" + after
		}), afresh: true},
		{name: "The metadata have run out", idp: metadata(func(doc string) string {
			return strings.Replace(doc, " entityID=", ` validUntil="2020-01-01T00:00:00Z" entityID=`, 1)
		}), afresh: true},
		{name: "The metadata name another provider", options: "entity_id urn:example:other", afresh: true},
		{name: "The provider refuses the person", idp: status("Responder", "AuthnFailed", "Password expired &#13;&#10; for alice"), afresh: true},
		{name: "The provider refuses the request", idp: status("Requester", "InvalidNameIDPolicy", "Unsupported NameIDFormat.")},
		{name: "The provider has a status of its own", idp: status("Responder", "urn:example:status:LicenceExpired", "")},
		{name: "The assertion is not signed", idp: answer(func(a *gatewaytest.IdPAnswer) { a.SignAssertion = false })},
		{name: "The assertion is encrypted", idp: gatewaytest.IdPHooks{Document: func(doc string) string {
			before, rest, _ := strings.Cut(doc, "<saml:Assertion ")
			_, after, _ := strings.Cut(rest, "</saml:Assertion>")
			return before + `<saml:EncryptedAssertion xmlns:saml="urn:oasis:names:tc:SAML:2.0:assertion"/>` + after
		}}},
		{name: "The signature is by an unknown key", idp: answer(func(a *gatewaytest.IdPAnswer) { a.Key = stranger })},
		{name: "The document was changed after it was signed", idp: replaced("Password</saml:AuthnContextClassRef>", "Kerberos</saml:AuthnContextClassRef>")},
		{name: "The canonicalization is not supported", idp: replaced(`CanonicalizationMethod Algorithm="http://www.w3.org/2001/10/xml-exc-c14n#"`, `CanonicalizationMethod Algorithm="http://www.w3.org/2010/xml-c14n2"`)},
		{name: "The signature algorithm is not supported", idp: replaced("http://www.w3.org/2001/04/xmldsig-more#ecdsa-sha256", "http://www.w3.org/2007/05/xmldsig-more#sha256-rsa-MGF1")},
		{name: "The signature is made with SHA-1", idp: replaced("http://www.w3.org/2001/04/xmldsig-more#ecdsa-sha256", "http://www.w3.org/2000/09/xmldsig#rsa-sha1")},
		{name: "There is a condition that is not known", idp: answer(func(a *gatewaytest.IdPAnswer) {
			a.Conditions = `<lic:Licence xmlns:lic="urn:example:licence"></lic:Licence>`
		})},
		{name: "The assertion has another namespace", idp: replaced(`"urn:oasis:names:tc:SAML:2.0:assertion"`, `"urn:oasis:names:tc:SAML:1.0:assertion"`)},
		{name: "A prefix is not declared", idp: replaced(`xmlns:saml="urn:oasis:names:tc:SAML:2.0:assertion" ID`, "ID")},
		{name: "The assertion is for another application", idp: answer(func(a *gatewaytest.IdPAnswer) { a.Audience = "https://grafana.example.com/saml/metadata" })},
		{name: "The answer was sent to another address", idp: answer(func(a *gatewaytest.IdPAnswer) { a.Destination = strings.Replace(a.Destination, "http:", "https:", 1) })},
		{name: "The subject is confirmed for another address", idp: answer(func(a *gatewaytest.IdPAnswer) { a.Recipient = strings.Replace(a.Recipient, "http:", "https:", 1) })},
		{name: "The sign-in began at the provider's portal", idp: gatewaytest.IdPHooks{Document: func(doc string) string {
			before, rest, _ := strings.Cut(doc, ` InResponseTo="`)
			_, after, _ := strings.Cut(rest, `"`)
			return before + after
		}}},
		{name: "The clocks differ", idp: answer(func(a *gatewaytest.IdPAnswer) { a.IssueInstant = a.IssueInstant.Add(time.Hour) })},
		{name: "The issuer is another", idp: answer(func(a *gatewaytest.IdPAnswer) { a.Issuer += "/" })},
		{name: "The NameID is no user name", idp: answer(func(a *gatewaytest.IdPAnswer) { a.NameIDFormat = gatewaytest.NameIDPersistent })},
		{name: "The NameID is transient", idp: answer(func(a *gatewaytest.IdPAnswer) { a.NameIDFormat = gatewaytest.NameIDTransient })},
		{name: "The user name's attribute is missing", options: "username_attribute uid"},
		{name: "The user name's attribute has two values", options: "username_attribute groups"},
		{name: "The provider names no groups", rules: "role Admin staff", idp: noGroups},
		{name: "The same, for the administrator", rules: "role Admin staff", idp: noGroups, line: "names no groups", afresh: true},
		{name: "The same, and another rule lets the person in", rules: "role User *\n\t\trole Admin staff", idp: noGroups, line: "names no groups"},
		{name: "The same with groups_attribute", options: "groups_attribute teams", rules: "role User *\n\t\trole Admin staff", line: "names no groups"},
		{name: "No rule has a group of this person", rules: "role Admin \"CN=Staff,OU=Groups\""},
		{name: "The same at DEBUG", rules: "role Admin \"CN=Staff,OU=Groups\"", line: "no line of the rules"},
	}
}

// metadata serves what change makes of the provider's metadata.
func metadata(change func(doc string) string) gatewaytest.IdPHooks {
	return gatewaytest.IdPHooks{Metadata: change}
}
