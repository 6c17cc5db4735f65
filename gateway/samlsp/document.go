package samlsp

import (
	"errors"
	"fmt"

	"github.com/beevik/etree"

	"github.com/caddy-sso/caddy-sso/gateway/samlsp/xmlsec"
)

func documentRoot(root *etree.Element) error {
	if name := nameOf(root); name != "samlp:Response" {
		return fmt.Errorf("reading the message: the root element is %s; expected is a Response in the namespace %s", describe(root), nsProtocol)
	}
	return nil
}

// documentOneResponse: wrapped signatures need a second one to point at.
func documentOneResponse(root *etree.Element) error {
	if xmlsec.Count(root, "Response") > 0 {
		return errors.New("reading the message: there is a Response inside the Response")
	}
	return nil
}

// documentStatus shows a refusal of the provider's as one. It has no assertion and
// often no signature; a person who forges one only stops a login that they could
// have stopped anyway. A good status counts for nothing here: responseStatus checks
// it again.
func documentStatus(root *etree.Element) error {
	status := xmlsec.Child(root, nsProtocol, "Status")
	if status == nil {
		return malformed("reading the message: there is no Status")
	}
	return unsuccessful(readStatus(walker{}, status))
}

// documentEncrypted refuses what can't be read yet.
func documentEncrypted(root *etree.Element) error {
	for _, name := range []string{"EncryptedAssertion", "EncryptedID", "EncryptedAttribute"} {
		if xmlsec.Count(root, name) > 0 {
			return fmt.Errorf("reading the message: there is an %s in it, and no key to decrypt it here; switch encryption off for this application at the provider", name)
		}
	}
	return nil
}

// documentOneAssertion holds that there is one Assertion in the whole document,
// and that it lies where it belongs.
func documentOneAssertion(root *etree.Element) error {
	n := xmlsec.Count(root, "Assertion")
	for _, el := range root.ChildElements() {
		if n == 1 && el.Tag == "Assertion" && el.NamespaceURI() != nsAssertion {
			return fmt.Errorf("reading the message: its assertion is %s; expected is the namespace %s", describe(el), nsAssertion)
		}
	}
	if n != 1 || xmlsec.Child(root, nsAssertion, "Assertion") == nil {
		return fmt.Errorf("reading the message: there are %d assertions, want one, directly in the Response", n)
	}
	return nil
}

// documentSignatures holds that signatures stand in the Response and in its
// Assertion alone (SAML Core 5.4.1), each at most once.
func documentSignatures(root *etree.Element) error {
	own := 0
	for _, el := range []*etree.Element{root, xmlsec.Child(root, nsAssertion, "Assertion")} {
		if el != nil && xmlsec.Child(el, xmlsec.DSig, "Signature") != nil {
			own++
		}
	}
	if n := xmlsec.Count(root, "Signature"); n != own {
		return fmt.Errorf("reading the message: there are %d signatures, of which %d stand where they belong", n, own)
	}
	return nil
}

// A signing says what of a message is signed.
type signing struct {
	response, assertion bool
	want                Switch
}

const howToSign = "switch on the signing of assertions at the provider, or set want_assertions_signed off if it signs the message alone"

func signingAssertion(s *signing) error {
	if s.want != Off && !s.assertion {
		return errors.New("reading the message: the assertion is not signed; " + howToSign)
	}
	return nil
}

func signingResponse(s *signing) error {
	if s.want == Off && !s.response {
		return errors.New("reading the message: want_assertions_signed is off, and so the response must be signed; it is not")
	}
	return nil
}
