package gatewaytest

import (
	"crypto/ecdsa"
	"crypto/elliptic"
	"crypto/rand"
	"crypto/sha256"
	"crypto/x509"
	"crypto/x509/pkix"
	"encoding/base64"
	"fmt"
	"math/big"
	"strings"
	"time"
)

// An IdPKey signs XML with ECDSA on P-256 and SHA-256.
type IdPKey struct {
	// Certificate is in DER.
	Certificate []byte

	key *ecdsa.PrivateKey
}

// NewIdPKey makes a key with a self-signed certificate.
func NewIdPKey() (IdPKey, error) { return newIdPKey("idp.test", nil) }

// NewIdPChain makes a key with a certificate by an authority, and that authority's
// key.
func NewIdPChain() (signer, authority IdPKey, err error) {
	if authority, err = newIdPKey("idp.test", nil); err == nil {
		signer, err = newIdPKey("signer.idp.test", &authority)
	}
	return signer, authority, err
}

// newIdPKey makes a key with a certificate by an authority, or by itself.
func newIdPKey(name string, authority *IdPKey) (IdPKey, error) {
	key, err := ecdsa.GenerateKey(elliptic.P256(), rand.Reader)
	if err != nil {
		return IdPKey{}, err
	}
	now := time.Now()
	template := &x509.Certificate{
		SerialNumber: big.NewInt(int64(len(name))), Subject: pkix.Name{CommonName: name},
		NotBefore: now.Add(-time.Hour), NotAfter: now.Add(24 * time.Hour),
	}
	issuer, by := template, key
	if authority != nil {
		by = authority.key
		if issuer, err = x509.ParseCertificate(authority.Certificate); err != nil {
			return IdPKey{}, err
		}
	}
	der, err := x509.CreateCertificate(rand.Reader, template, issuer, &key.PublicKey, by)
	return IdPKey{der, key}, err
}

// Some names of SAML Core 3.2.2.2 and 8.3.
const (
	StatusSuccess     = "urn:oasis:names:tc:SAML:2.0:status:Success"
	NameIDUnspecified = "urn:oasis:names:tc:SAML:1.1:nameid-format:unspecified"
	NameIDPersistent  = "urn:oasis:names:tc:SAML:2.0:nameid-format:persistent"
	NameIDTransient   = "urn:oasis:names:tc:SAML:2.0:nameid-format:transient"
)

// An IdPAttribute is one attribute of a person.
type IdPAttribute struct {
	Name   string
	Values []string
}

// An IdPAnswer has the content of a Response and its one Assertion.
type IdPAnswer struct {
	ID, AssertionID, SessionIndex                              string
	Issuer, Destination, Recipient, Audience, InResponseTo     string
	IssueInstant, NotBefore, NotOnOrAfter, SessionNotOnOrAfter time.Time
	AuthnInstant                                               time.Time
	Status                                                     string
	NameID, NameIDFormat                                       string
	Attributes                                                 []IdPAttribute
	// Conditions, as XML, follow the usual ones.
	Conditions string
	// Key signs the parts that are to be signed.
	Key                        IdPKey
	SignAssertion, SignMessage bool
}

// Document returns the answer. It is written in its own exclusive canonical form:
// namespaces at first use, attributes by name, no empty-element tags. So a digest is
// one of the text itself.
func (a *IdPAnswer) Document() (string, error) {
	head := fmt.Sprintf(`<saml:Assertion xmlns:saml="urn:oasis:names:tc:SAML:2.0:assertion" ID="%s" IssueInstant="%s" Version="2.0"><saml:Issuer>%s</saml:Issuer>`,
		attr(a.AssertionID), stamp(a.IssueInstant), text(a.Issuer))
	assertion, err := a.Key.sign(head, a.statements()+"</saml:Assertion>", a.AssertionID, a.SignAssertion)
	if err != nil {
		return "", err
	}
	head = fmt.Sprintf(`<samlp:Response xmlns:samlp="urn:oasis:names:tc:SAML:2.0:protocol" Destination="%s" ID="%s" InResponseTo="%s" IssueInstant="%s" Version="2.0"><saml:Issuer xmlns:saml="urn:oasis:names:tc:SAML:2.0:assertion">%s</saml:Issuer>`,
		attr(a.Destination), attr(a.ID), attr(a.InResponseTo), stamp(a.IssueInstant), text(a.Issuer))
	status := fmt.Sprintf(`<samlp:Status><samlp:StatusCode Value="%s"></samlp:StatusCode></samlp:Status>`, attr(a.Status))
	if a.Status != StatusSuccess {
		assertion = "" // SAML Core 3.3.3
	}
	return a.Key.sign(head, status+assertion+"</samlp:Response>", a.ID, a.SignMessage)
}

// statements returns the text after the assertion's Issuer and Signature.
func (a *IdPAnswer) statements() string {
	var b strings.Builder
	fmt.Fprintf(&b, `<saml:Subject><saml:NameID Format="%s">%s</saml:NameID><saml:SubjectConfirmation Method="urn:oasis:names:tc:SAML:2.0:cm:bearer"><saml:SubjectConfirmationData InResponseTo="%s" NotOnOrAfter="%s" Recipient="%s"></saml:SubjectConfirmationData></saml:SubjectConfirmation></saml:Subject>`,
		attr(a.NameIDFormat), text(a.NameID), attr(a.InResponseTo), stamp(a.NotOnOrAfter), attr(a.Recipient))
	fmt.Fprintf(&b, `<saml:Conditions NotBefore="%s" NotOnOrAfter="%s"><saml:AudienceRestriction><saml:Audience>%s</saml:Audience></saml:AudienceRestriction>%s</saml:Conditions>`,
		stamp(a.NotBefore), stamp(a.NotOnOrAfter), text(a.Audience), a.Conditions)
	session := ""
	if !a.SessionNotOnOrAfter.IsZero() {
		session = fmt.Sprintf(` SessionNotOnOrAfter="%s"`, stamp(a.SessionNotOnOrAfter))
	}
	fmt.Fprintf(&b, `<saml:AuthnStatement AuthnInstant="%s" SessionIndex="%s"%s><saml:AuthnContext><saml:AuthnContextClassRef>urn:oasis:names:tc:SAML:2.0:ac:classes:Password</saml:AuthnContextClassRef></saml:AuthnContext></saml:AuthnStatement>`,
		stamp(a.AuthnInstant), attr(a.SessionIndex), session)
	if len(a.Attributes) == 0 {
		return b.String()
	}
	b.WriteString("<saml:AttributeStatement>")
	for _, attribute := range a.Attributes {
		fmt.Fprintf(&b, `<saml:Attribute Name="%s">`, attr(attribute.Name))
		for _, value := range attribute.Values {
			fmt.Fprintf(&b, "<saml:AttributeValue>%s</saml:AttributeValue>", text(value))
		}
		b.WriteString("</saml:Attribute>")
	}
	b.WriteString("</saml:AttributeStatement>")
	return b.String()
}

// sign puts a signature of the whole element between head and tail (XML Signature
// 1.1, enveloped).
func (k IdPKey) sign(head, tail, id string, wanted bool) (string, error) {
	if !wanted {
		return head + tail, nil
	}
	const open, namespace = "<ds:SignedInfo", ` xmlns:ds="http://www.w3.org/2000/09/xmldsig#"`
	digest := sha256.Sum256([]byte(head + tail))
	info := fmt.Sprintf(`><ds:CanonicalizationMethod Algorithm="http://www.w3.org/2001/10/xml-exc-c14n#"></ds:CanonicalizationMethod><ds:SignatureMethod Algorithm="http://www.w3.org/2001/04/xmldsig-more#ecdsa-sha256"></ds:SignatureMethod><ds:Reference URI="#%s"><ds:Transforms><ds:Transform Algorithm="http://www.w3.org/2000/09/xmldsig#enveloped-signature"></ds:Transform><ds:Transform Algorithm="http://www.w3.org/2001/10/xml-exc-c14n#"></ds:Transform></ds:Transforms><ds:DigestMethod Algorithm="http://www.w3.org/2001/04/xmlenc#sha256"></ds:DigestMethod><ds:DigestValue>%s</ds:DigestValue></ds:Reference></ds:SignedInfo>`,
		attr(id), base64.StdEncoding.EncodeToString(digest[:]))
	// Alone, SignedInfo declares the prefix that it uses.
	digest = sha256.Sum256([]byte(open + namespace + info))
	r, s, err := ecdsa.Sign(rand.Reader, k.key, digest[:])
	if err != nil {
		return "", err
	}
	value := make([]byte, 64) // RFC 4050 3.3: r and s side by side
	r.FillBytes(value[:32])
	s.FillBytes(value[32:])
	return head + "<ds:Signature" + namespace + ">" + open + info +
		"<ds:SignatureValue>" + base64.StdEncoding.EncodeToString(value) + "</ds:SignatureValue></ds:Signature>" + tail, nil
}

// stamp writes an xs:dateTime (SAML Core 1.3.3).
func stamp(t time.Time) string { return t.UTC().Format("2006-01-02T15:04:05.000Z") }

// text and attr escape values as canonical XML does (Canonical XML 1.0, 2.3).
var (
	text = strings.NewReplacer("&", "&amp;", "<", "&lt;", ">", "&gt;", "\r", "&#xD;").Replace
	attr = strings.NewReplacer("&", "&amp;", "<", "&lt;", `"`, "&quot;", "\t", "&#x9;", "\n", "&#xA;", "\r", "&#xD;").Replace
)
