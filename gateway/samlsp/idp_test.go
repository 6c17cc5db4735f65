package samlsp_test

import (
	"cmp"
	"crypto"
	"crypto/hmac"
	_ "crypto/md5"
	"crypto/rand"
	"crypto/rsa"
	_ "crypto/sha1"
	"crypto/sha256"
	_ "crypto/sha512"
	"encoding/asn1"
	"encoding/base64"
	"fmt"
	"math/big"
	"regexp"
	"slices"
	"strconv"
	"strings"
	"sync"
	"time"

	"github.com/beevik/etree"
	dsig "github.com/russellhaering/goxmldsig"
	"github.com/russellhaering/goxmldsig/etreeutils"

	"github.com/caddy-sso/caddy-sso/gateway/gatewaytest"
	"github.com/caddy-sso/caddy-sso/gateway/samlsp"
	"github.com/caddy-sso/caddy-sso/gateway/samlsp/xmlsec"
)

// What the identity provider of these tests is called, and we are.
const (
	idpEntity = "https://idp.test/metadata"
	idpSSO    = "https://idp.test/sso"
	spOrigin  = "https://here.test"
	spEntity  = spOrigin + "/.sso/saml/metadata"
	acsURL    = spOrigin + "/.sso/saml/acs"
	requestID = "_e1f2a3b4c5d6"
)

// control is the message that attacks are a mutation of. What is in braces is
// filled in.
const control = `<samlp:Response xmlns:samlp="urn:oasis:names:tc:SAML:2.0:protocol" xmlns:saml="urn:oasis:names:tc:SAML:2.0:assertion" xmlns:xs="http://www.w3.org/2001/XMLSchema" xmlns:xsi="http://www.w3.org/2001/XMLSchema-instance" ID="_response" Version="2.0" IssueInstant="{now}" Destination="{acs}" InResponseTo="{request}">` +
	`<saml:Issuer>{idp}</saml:Issuer>` +
	`<samlp:Status><samlp:StatusCode Value="urn:oasis:names:tc:SAML:2.0:status:Success"/></samlp:Status>` +
	`<saml:Assertion ID="_assertion" Version="2.0" IssueInstant="{now}">` +
	`<saml:Issuer>{idp}</saml:Issuer>` +
	`<saml:Subject>` +
	`<saml:NameID Format="` + gatewaytest.NameIDUnspecified + `">alice</saml:NameID>` +
	`<saml:SubjectConfirmation Method="urn:oasis:names:tc:SAML:2.0:cm:bearer"><saml:SubjectConfirmationData NotOnOrAfter="{now+5m}" Recipient="{acs}" InResponseTo="{request}"/></saml:SubjectConfirmation>` +
	`</saml:Subject>` +
	`<saml:Conditions NotBefore="{now-1m}" NotOnOrAfter="{now+5m}"><saml:AudienceRestriction><saml:Audience>{sp}</saml:Audience></saml:AudienceRestriction></saml:Conditions>` +
	`<saml:AuthnStatement AuthnInstant="{now}" SessionIndex="_session" SessionNotOnOrAfter="{now+8h}"><saml:AuthnContext><saml:AuthnContextClassRef>urn:oasis:names:tc:SAML:2.0:ac:classes:PasswordProtectedTransport</saml:AuthnContextClassRef></saml:AuthnContext></saml:AuthnStatement>` +
	`<saml:AttributeStatement>` +
	`<saml:Attribute Name="uid"><saml:AttributeValue xsi:type="xs:string">a1ice-0001</saml:AttributeValue></saml:Attribute>` +
	`<saml:Attribute Name="email"><saml:AttributeValue xsi:type="xs:string">alice@example.com</saml:AttributeValue></saml:Attribute>` +
	`<saml:Attribute Name="groups"><saml:AttributeValue xsi:type="xs:string">staff</saml:AttributeValue><saml:AttributeValue xsi:type="xs:string">users</saml:AttributeValue></saml:Attribute>` +
	`</saml:AttributeStatement>` +
	`</saml:Assertion></samlp:Response>`

// controlFor is the control of a provider that sends the format that is asked for.
func controlFor(format string) string {
	return strings.Replace(control, gatewaytest.NameIDUnspecified, cmp.Or(format, gatewaytest.NameIDUnspecified), 1)
}

// A login is what a message must fit.
type login struct {
	request string
	begun   time.Time
}

var placeholder = regexp.MustCompile(`\{(now|acs|sp|idp|request)([+-][0-9a-z]+)?\}`)

var repetition = regexp.MustCompile(`\{([^{}*]+)\*([0-9]+)\}`)

// fill fills in what is in braces. {x*3} is xxx, and a # in it counts up.
func (l login) fill(text string) string {
	text = repetition.ReplaceAllStringFunc(text, func(s string) string {
		part := repetition.FindStringSubmatch(s)
		var b strings.Builder
		for i := range must(strconv.Atoi(part[2])) {
			b.WriteString(strings.ReplaceAll(part[1], "#", strconv.Itoa(i)))
		}
		return b.String()
	})
	return placeholder.ReplaceAllStringFunc(text, func(s string) string {
		part := placeholder.FindStringSubmatch(s)
		switch part[1] {
		case "acs":
			return acsURL
		case "sp":
			return spEntity
		case "idp":
			return idpEntity
		case "request":
			return l.request
		}
		shift := time.Duration(0)
		if part[2] != "" {
			var err error
			if shift, err = time.ParseDuration(part[2]); err != nil {
				panic(err)
			}
		}
		return l.begun.Add(shift).UTC().Format("2006-01-02T15:04:05Z")
	})
}

// keys are made once: the provider's, RSA and ECDSA, an attacker's, and those of
// authorities.
var keys = sync.OnceValue(func() map[string]crypto.Signer {
	return map[string]crypto.Signer{
		"idp": rsaKey(), "idp-ec": ecKey(), "evil": must(rsa.GenerateKey(rand.Reader, 2048)),
		"ca": chainKeys()["ca"], "root": chainKeys()["root"],
	}
})

// certificates are self-signed ones of the keys, in DER, and those of the key
// idp that authorities issued.
var certificates = sync.OnceValue(func() map[string][]byte {
	made := map[string][]byte{
		"issued": issued.der(), "ca": ca.der(), "root": anotherCA.der(),
		"ca-by-root":       link{key: "ca", subject: "ca", issuer: "root", by: "root", change: isCA}.der(),
		"ca-without-flag":  link{key: "ca", subject: "ca", issuer: "ca"}.der(),
		"issued-otherwise": link{key: "idp", subject: "idp", issuer: "ca", by: "idp"}.der(),
		"issued-in-UTF-8":  link{key: "idp", subject: "idp", issuer: typed(asn1.TagUTF8String, "CA"), by: "ca"}.der(),
	}
	for name, key := range keys() {
		if made[name] == nil {
			made[name] = certify(key)
		}
	}
	return made
})

func certificatePEM(name string) string { return pemOf("CERTIFICATE", certificates()[name]) }

func baseConfig() samlsp.Config {
	return samlsp.Config{EntityID: idpEntity, SSOURL: idpSSO, Certificates: []string{certificatePEM("idp"), certificatePEM("idp-ec")}}
}

// certify gives the provider's certificates by name. Those with a plus sign
// between them come together: in one option, or in one X509Data.
func (p *plan) certify(by string, words []string) error {
	var options, descriptors []string
	for _, word := range words {
		var ders [][]byte
		for name := range strings.SplitSeq(word, "+") {
			der, ok := certificates()[name]
			if !ok {
				return fmt.Errorf("there is no certificate %s", name)
			}
			ders = append(ders, der)
		}
		options = append(options, strings.Join(each(ders, pemCert), ""))
		descriptors = append(descriptors, keyDescriptor("signing", each(ders, b64)...))
	}
	if by == "certificates" {
		p.config.Certificates = options
		return nil
	}
	e := entity{entityID: idpEntity, redirect: idpSSO, keys: descriptors}
	p.config.SSOURL, p.config.Certificates, p.config.Metadata = "", nil, []byte(e.xml())
	return nil
}

// short are the algorithms' names in the corpus.
var short = map[string]string{
	"rsa-sha1":        "http://www.w3.org/2000/09/xmldsig#rsa-sha1",
	"rsa-sha256":      "http://www.w3.org/2001/04/xmldsig-more#rsa-sha256",
	"rsa-sha384":      "http://www.w3.org/2001/04/xmldsig-more#rsa-sha384",
	"rsa-sha512":      "http://www.w3.org/2001/04/xmldsig-more#rsa-sha512",
	"rsa-md5":         "http://www.w3.org/2001/04/xmldsig-more#rsa-md5",
	"ecdsa-sha256":    "http://www.w3.org/2001/04/xmldsig-more#ecdsa-sha256",
	"ecdsa-sha512":    "http://www.w3.org/2001/04/xmldsig-more#ecdsa-sha512",
	"hmac-sha256":     "http://www.w3.org/2001/04/xmldsig-more#hmac-sha256",
	"hmac-sha1":       "http://www.w3.org/2000/09/xmldsig#hmac-sha1",
	"none":            "http://www.w3.org/2000/09/xmldsig#none",
	"sha1":            "http://www.w3.org/2000/09/xmldsig#sha1",
	"md5":             "http://www.w3.org/2001/04/xmldsig-more#md5",
	"sha256":          "http://www.w3.org/2001/04/xmlenc#sha256",
	"sha384":          "http://www.w3.org/2001/04/xmldsig-more#sha384",
	"sha512":          "http://www.w3.org/2001/04/xmlenc#sha512",
	"exc":             "http://www.w3.org/2001/10/xml-exc-c14n#",
	"exc-comments":    "http://www.w3.org/2001/10/xml-exc-c14n#WithComments",
	"c14n10":          "http://www.w3.org/TR/2001/REC-xml-c14n-20010315",
	"c14n10-comments": "http://www.w3.org/TR/2001/REC-xml-c14n-20010315#WithComments",
	"c14n11":          "http://www.w3.org/2006/12/xml-c14n11",
	"enveloped":       "http://www.w3.org/2000/09/xmldsig#enveloped-signature",
	"xslt":            "http://www.w3.org/TR/1999/REC-xslt-19991116",
	"xpath":           "http://www.w3.org/TR/1999/REC-xpath-19991116",
	"xpath2":          "http://www.w3.org/2002/06/xmldsig-filter2",
	"base64":          "http://www.w3.org/2000/09/xmldsig#base64",
	"void":            "urn:void",
}

// A signer makes a signature as an identity provider would, by goxmldsig's
// canonicalization, and not as well if it is told so.
type signer struct {
	alg, digest, c14n, key, uri string
	transforms                  []string
	extra                       string // in front of the closing tag of SignedInfo
}

func defaultSigner() signer {
	return signer{alg: "rsa-sha256", digest: "sha256", c14n: "exc", key: "idp", transforms: []string{"enveloped", "exc"}}
}

func canonicalizer(name string) dsig.Canonicalizer {
	switch name {
	case "exc-comments":
		return dsig.MakeC14N10ExclusiveWithCommentsCanonicalizerWithPrefixList("")
	case "c14n10":
		return dsig.MakeC14N10RecCanonicalizer()
	case "c14n10-comments":
		return dsig.MakeC14N10WithCommentsCanonicalizer()
	case "c14n11":
		return dsig.MakeC14N11Canonicalizer()
	}
	return dsig.MakeC14N10ExclusiveCanonicalizerWithPrefixList("")
}

// canonical is the canonical form of an element where it stands. goxmldsig's
// has a limit on the number of elements; beyond it ours is taken.
func canonical(el *etree.Element, algorithm string) []byte {
	if len(el.FindElements(".//*")) > 900 {
		return must(xmlsec.Canonicalize(el, short[algorithm], 1<<20))
	}
	if algorithm == "c14n10" { // which looks for what is inherited itself
		return must(canonicalizer(algorithm).Canonicalize(el))
	}
	scope, err := etreeutils.NSBuildParentContext(el)
	if err != nil {
		panic(err)
	}
	detached, err := etreeutils.NSDetatch(scope, el)
	if err != nil {
		panic(err)
	}
	octets, err := canonicalizer(algorithm).Canonicalize(detached)
	if err != nil {
		panic(err)
	}
	return octets
}

// sign puts a signature into el, behind its Issuer.
func (s signer) sign(el *etree.Element) {
	uri := s.uri
	if uri == "" {
		uri = "#" + el.SelectAttrValue("ID", "")
	}
	c14n, transforms := "c14n10", "" // what is due without such a transform
	for _, t := range s.transforms {
		transforms += `<ds:Transform Algorithm="` + algorithm(t) + `"/>`
		if strings.HasPrefix(t, "c14n") || strings.HasPrefix(t, "exc") {
			c14n = t
		}
	}
	text := `<ds:Signature xmlns:ds="http://www.w3.org/2000/09/xmldsig#"><ds:SignedInfo>` +
		`<ds:CanonicalizationMethod Algorithm="` + algorithm(s.c14n) + `"/><ds:SignatureMethod Algorithm="` + algorithm(s.alg) + `"/>` +
		`<ds:Reference URI="` + uri + `"><ds:Transforms>` + transforms + `</ds:Transforms><ds:DigestMethod Algorithm="` + algorithm(s.digest) + `"/>` +
		`<ds:DigestValue>` + base64.StdEncoding.EncodeToString(hashed(s.digest, canonical(el, c14n))) + `</ds:DigestValue></ds:Reference>` + s.extra + `</ds:SignedInfo>` +
		`<ds:SignatureValue></ds:SignatureValue>` +
		`<ds:KeyInfo><ds:X509Data><ds:X509Certificate>` + base64.StdEncoding.EncodeToString(certificates()[s.key]) + `</ds:X509Certificate></ds:X509Data></ds:KeyInfo></ds:Signature>`
	signature := fragment(text)[0]
	at := 0
	if issuer := el.SelectElement("Issuer"); issuer != nil {
		at = issuer.Index() + 1
	}
	el.InsertChildAt(at, signature)
	value := signature.SelectElement("SignatureValue")
	value.SetText(base64.StdEncoding.EncodeToString(s.value(canonical(signature.SelectElement("SignedInfo"), s.c14n))))
}

func (s signer) value(octets []byte) []byte {
	if s.alg == "none" {
		return nil
	}
	if strings.HasPrefix(s.alg, "hmac") { // by what everybody knows
		mac := hmac.New(sha256.New, []byte(certificatePEM("idp")))
		mac.Write(octets)
		return mac.Sum(nil)
	}
	_, name, _ := strings.Cut(s.alg, "-")
	hash := hashes[name]
	signed, err := keys()[s.key].Sign(rand.Reader, hashed(name, octets), hash)
	if err != nil {
		panic(err)
	}
	if strings.HasPrefix(s.alg, "ecdsa") {
		return joined(signed)
	}
	return signed
}

// joined makes r||s of an ASN.1 signature on P-256.
func joined(der []byte) []byte {
	var rs struct{ R, S *big.Int }
	if _, err := asn1.Unmarshal(der, &rs); err != nil {
		panic(err)
	}
	out := make([]byte, 64)
	rs.R.FillBytes(out[:32])
	rs.S.FillBytes(out[32:])
	return out
}

var hashes = map[string]crypto.Hash{
	"md5": crypto.MD5, "sha1": crypto.SHA1, "sha256": crypto.SHA256, "sha384": crypto.SHA384, "sha512": crypto.SHA512,
}

func hashed(name string, data []byte) []byte {
	h := hashes[name].New()
	h.Write(data)
	return h.Sum(nil)
}

// algorithm is the URI of a short name, or what is no short name.
func algorithm(name string) string {
	if uri, ok := short[name]; ok {
		return uri
	}
	panic(fmt.Sprintf("no algorithm is called %q", name))
}

// fragment reads elements with the prefixes that control declares.
func fragment(xml string) []*etree.Element {
	doc := etree.NewDocument()
	doc.ReadSettings.PreserveCData = true
	open := control[:strings.Index(control, " ID=")] + ` xmlns:ds="http://www.w3.org/2000/09/xmldsig#">`
	if err := doc.ReadFromString(open + xml + "</samlp:Response>"); err != nil {
		panic(fmt.Sprintf("reading %s: %v", xml, err))
	}
	list := doc.Root().ChildElements()
	for _, el := range slices.Backward(list) { // from the end: removing moves all that follow
		doc.Root().RemoveChild(el)
	}
	return list
}
