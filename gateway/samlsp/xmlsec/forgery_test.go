package xmlsec_test

import (
	"crypto"
	"encoding/base64"
	"slices"
	"strings"
	"testing"
	"testing/synctest"

	"github.com/beevik/etree"

	"github.com/caddy-sso/caddy-sso/gateway/check/checktest"
	"github.com/caddy-sso/caddy-sso/gateway/refusal"
	"github.com/caddy-sso/caddy-sso/gateway/samlsp/xmlsec"
	"github.com/caddy-sso/caddy-sso/gateway/samlsp/xmlsec/xmlsectest"
)

const (
	response = `<samlp:Response xmlns:samlp="urn:oasis:names:tc:SAML:2.0:protocol" xmlns:saml="urn:oasis:names:tc:SAML:2.0:assertion" xmlns:unused="urn:unused" ID="r">` +
		`<saml:Issuer>idp</saml:Issuer>%<saml:Assertion ID="a"><saml:Issuer>idp</saml:Issuer><sig/><saml:Subject><saml:NameID>alice@example.com</saml:NameID></saml:Subject></saml:Assertion></samlp:Response>`
	signatureEnd = `</ds:SignatureValue></ds:Signature>`
)

func answer(status string) string { return strings.Replace(response, "%", status, 1) }

func replace(old, with string) func(string) string {
	return func(s string) string {
		if !strings.Contains(s, old) {
			panic("nothing to replace: " + old)
		}
		return strings.Replace(s, old, with, 1)
	}
}

// A forgery is a change to a signed answer, with the checks that stop it.
type forgery struct {
	name   string
	edit   func(string) string // of SignedInfo, before it is signed
	change func(string) string // of the document, after
	sign   func(*xmlsectest.Signatory)
	code   refusal.Code
	checks []string
}

const (
	badSignature = refusal.SAMLSignature
	badAlgorithm = refusal.SAMLAlgorithm
)

func sha1(s *xmlsectest.Signatory) { s.Hash, s.Method = crypto.SHA1, xmlsec.DSig+"rsa-sha1" }

var forgeries = []forgery{
	{"second signature", nil, replace(signatureEnd, signatureEnd+`<ds:Signature xmlns:ds="`+xmlsec.DSig+`"/>`), nil, badSignature, []string{"signature single", "digest value"}},
	{"Object", nil, replace(signatureEnd, `</ds:SignatureValue><ds:Object><saml:Assertion/></ds:Object></ds:Signature>`), nil, badSignature, []string{"signature contents"}},
	{"Manifest", nil, replace(signatureEnd, `</ds:SignatureValue><ds:Manifest/></ds:Signature>`), nil, badSignature, []string{"signature contents"}},
	{"assertion within the signature", nil, replace(signatureEnd, `</ds:SignatureValue><saml:Assertion/></ds:Signature>`), nil, badSignature, []string{"signature contents"}},
	{"second SignatureValue", nil, replace(signatureEnd, `</ds:SignatureValue><ds:SignatureValue/></ds:Signature>`), nil, badSignature, []string{"signature contents"}},
	{"second KeyInfo", nil, replace(signatureEnd, `</ds:SignatureValue><ds:KeyInfo/><ds:KeyInfo/></ds:Signature>`), nil, badSignature, []string{"signature contents"}},
	{"signature in KeyInfo", nil, replace(signatureEnd, `</ds:SignatureValue><ds:KeyInfo><x><ds:Signature/></x></ds:KeyInfo></ds:Signature>`), nil, badSignature, []string{"signature not nested"}},
	{"second SignedInfo behind", nil, replace(`<ds:SignatureValue>`, `<ds:SignedInfo/><ds:SignatureValue>`), nil, badSignature, []string{"signed info single"}},
	{"second SignedInfo in front", nil, func(s string) string {
		info := s[strings.Index(s, "<ds:SignedInfo"):strings.Index(s, "<ds:SignatureValue>")]
		return replace("<ds:SignedInfo", strings.Replace(info, `ID="info-a"`, `ID="other"`, 1)+"<ds:SignedInfo")(s)
	}, nil, badSignature, []string{"signed info single", "signature value"}},
	{"SignedInfo in another namespace", nil, func(s string) string {
		return replace("</ds:SignedInfo>", "</SignedInfo>")(replace("<ds:SignedInfo", "<SignedInfo")(s))
	}, nil, badSignature, nil},
	{"Object in SignedInfo", replace(`</ds:Reference>`, `</ds:Reference><ds:Object/>`), nil, nil, badSignature, []string{"signed info contents"}},
	{"foreign element in SignedInfo", replace(`<ds:Reference`, `<x xmlns="urn:x"/><ds:Reference`), nil, nil, badSignature, []string{"signed info contents"}},
	{"second Reference", replace(`</ds:Reference>`, `</ds:Reference><ds:Reference URI="#r"/>`), nil, nil, badSignature, []string{"reference single"}},
	{"second Reference with nothing signed", nil, replace(`</ds:Reference>`, `</ds:Reference><ds:Reference URI="#a"/>`), nil, badSignature, []string{"reference single", "signature value"}},
	{"Reference without a URI", replace(` URI="#a"`, ``), nil, nil, badSignature, []string{"reference uri"}},
	{"Reference to the document from within", replace(`URI="#a"`, `URI=""`), nil, nil, badSignature, []string{"reference uri"}},
	{"Reference to the element around", replace(`URI="#a"`, `URI="#r"`), nil, nil, badSignature, []string{"reference uri"}},
	{"Reference to nothing", replace(`URI="#a"`, `URI="#"`), nil, nil, badSignature, []string{"reference uri"}},
	{"Reference by XPointer", replace(`URI="#a"`, `URI="#xpointer(id('a'))"`), nil, nil, badSignature, []string{"reference uri"}},
	{"Reference to a file", replace(`URI="#a"`, `URI="file:///etc/passwd"`), nil, nil, badSignature, []string{"reference uri"}},
	{"Reference with a blank", replace(`URI="#a"`, `URI=" #a"`), nil, nil, badSignature, []string{"reference uri"}},
	{"ID renamed", nil, replace(`ID="a"`, `Id="a"`), nil, badSignature, []string{"reference uri", "digest value"}},
	{"second DigestValue", replace(`</ds:DigestValue>`, `</ds:DigestValue><ds:DigestValue/>`), nil, nil, badSignature, []string{"reference contents"}},
	{"foreign element in Reference", replace(`<ds:DigestMethod`, `<x xmlns="urn:x"/><ds:DigestMethod`), nil, nil, badSignature, []string{"reference contents"}},
	{"no digest", func(s string) string {
		return s[:strings.Index(s, "<ds:DigestMethod")] + s[strings.Index(s, "</ds:Reference>"):]
	}, nil, nil, badSignature, []string{"reference contents", "digest algorithm", "digest value"}},
	{"comment put into a SignedInfo that is signed with its comments", replace(xmlsec.Exclusive+`"/><ds:SignatureMethod`, xmlsec.Exclusive+`WithComments"/><ds:SignatureMethod`), replace(`<ds:DigestValue>`, `<ds:DigestValue><!--x-->`), nil, badSignature, []string{"signature value"}},
	{"method of canonicalization with comments by another name", replace(xmlsec.Exclusive+`"/><ds:SignatureMethod`, xmlsec.Exclusive+`#WithComments"/><ds:SignatureMethod`), nil, nil, badAlgorithm, []string{"signature canonicalization", "signature value"}},
	{"method of canonicalization of one's own", replace(xmlsec.Exclusive+`"/><ds:SignatureMethod`, `urn:x"/><ds:SignatureMethod`), nil, nil, badAlgorithm, []string{"signature canonicalization", "signature value"}},
	{"method of canonicalization with a parameter", replace(xmlsec.Exclusive+`"/><ds:SignatureMethod`, xmlsec.Exclusive+`"><x xmlns="urn:x"/></ds:CanonicalizationMethod><ds:SignatureMethod`), nil, nil, badAlgorithm, []string{"signature canonicalization"}},
	{"long PrefixList", replace(xmlsec.Exclusive+`"/></ds:Transforms`, xmlsec.Exclusive+`"><e:InclusiveNamespaces xmlns:e="`+xmlsec.Exclusive+`" PrefixList="`+strings.Repeat("p ", 513)+`"/></ds:Transform></ds:Transforms`), nil, nil, badAlgorithm, []string{"reference transforms"}},
	{"RSA with SHA-1", nil, nil, sha1, badAlgorithm, []string{"signature algorithm"}},
	{"RSA with MD5", nil, nil, func(s *xmlsectest.Signatory) { s.Method = xmlsectest.DSigMore + "rsa-md5" }, badAlgorithm, []string{"signature algorithm", "signature value"}},
	{"HMAC", nil, nil, func(s *xmlsectest.Signatory) { s.Method = xmlsectest.DSigMore + "hmac-sha256" }, badAlgorithm, []string{"signature algorithm", "signature value"}},
	{"no algorithm", nil, nil, func(s *xmlsectest.Signatory) { s.Method = "" }, badAlgorithm, []string{"signature algorithm", "signature value"}},
	{"signature cut short by a parameter", replace(`rsa-sha256"/>`, `rsa-sha256"><ds:HMACOutputLength>8</ds:HMACOutputLength></ds:SignatureMethod>`), nil, nil, badAlgorithm, []string{"signature algorithm"}},
	{"RSA key with an ECDSA algorithm", nil, nil, func(s *xmlsectest.Signatory) { s.Method = xmlsectest.DSigMore + "ecdsa-sha256" }, badSignature, []string{"signature value"}},
	{"XPath", replace(`<ds:Transform A`, `<ds:Transform Algorithm="http://www.w3.org/TR/1999/REC-xpath-19991116"><ds:XPath>0</ds:XPath></ds:Transform><ds:Transform A`), nil, nil, badAlgorithm, []string{"reference transforms"}},
	{"XSLT instead of a canonicalization", replace(xmlsec.Exclusive+`"/></ds:Transforms`, `http://www.w3.org/TR/1999/REC-xslt-19991116"/></ds:Transforms`), nil, nil, badAlgorithm, []string{"reference transforms", "digest value"}},
	{"canonicalization with comments by another name", replace(xmlsec.Exclusive+`"/></ds:Transforms`, xmlsec.Exclusive+`withcomments"/></ds:Transforms`), nil, nil, badAlgorithm, []string{"reference transforms", "digest value"}},
	{"three transforms", replace(`</ds:Transforms`, `<ds:Transform Algorithm="`+xmlsec.Exclusive+`"/></ds:Transforms`), nil, nil, badAlgorithm, []string{"reference transforms"}},
	{"no transform", func(s string) string {
		return s[:strings.Index(s, "<ds:Transform ")] + s[strings.Index(s, "</ds:Transforms>"):]
	}, nil, nil, badAlgorithm, []string{"reference transforms", "digest value"}},
	{"canonicalization alone", replace(`<ds:Transform Algorithm="`+xmlsec.DSig+`enveloped-signature"/>`, ``), nil, nil, badAlgorithm, []string{"reference transforms"}},
	{"transforms in the wrong order", func(s string) string {
		env, exc := `<ds:Transform Algorithm="`+xmlsec.DSig+`enveloped-signature"/>`, `<ds:Transform Algorithm="`+xmlsec.Exclusive+`"/>`
		return replace(env+exc, exc+env)(s)
	}, nil, nil, badAlgorithm, []string{"reference transforms"}},
	{"transform with a parameter", replace(`enveloped-signature"/>`, `enveloped-signature"><x xmlns="urn:x"/></ds:Transform>`), nil, nil, badAlgorithm, []string{"reference transforms"}},
	{"digest with SHA-1", nil, nil, func(s *xmlsectest.Signatory) { s.Digest, s.DigestURI = crypto.SHA1, xmlsec.DSig+"sha1" }, badAlgorithm, []string{"digest algorithm"}},
	{"digest with MD5", nil, nil, func(s *xmlsectest.Signatory) { s.DigestURI = xmlsectest.DSigMore + "md5" }, badAlgorithm, []string{"digest algorithm", "digest value"}},
	{"digest with a parameter", replace(`sha256"/><ds:DigestV`, `sha256"><x xmlns="urn:x"/></ds:DigestMethod><ds:DigestV`), nil, nil, badAlgorithm, []string{"digest algorithm"}},
	{"value of blanks", nil, func(s string) string {
		return s[:strings.Index(s, "<ds:SignatureValue>")] + "<ds:SignatureValue> " + s[strings.Index(s, signatureEnd):]
	}, nil, badSignature, []string{"signature value"}},
	{"value that is no Base64", nil, replace("<ds:SignatureValue>", "<ds:SignatureValue>*"), nil, badSignature, []string{"signature value"}},
	{"value with an element", nil, replace("<ds:SignatureValue>", "<ds:SignatureValue><x/>"), nil, badSignature, []string{"signature value"}},
	{"value with bits behind its last byte", nil, func(s string) string {
		before, after, _ := strings.Cut(s, "=="+signatureEnd)
		last := len(before) - 1
		return before[:last] + string(rune(before[last]+1)) + "==" + signatureEnd + after
	}, nil, badSignature, []string{"signature value"}},
	{"huge SignedInfo", replace("<ds:Reference", strings.Repeat(" ", 70000)+"<ds:Reference"), nil, nil, badSignature, nil},
	{"ECDSA with a zero in between", nil, func(s string) string {
		start, end := strings.Index(s, "<ds:SignatureValue>")+len("<ds:SignatureValue>"), strings.Index(s, signatureEnd)
		raw := must(base64.StdEncoding.DecodeString(s[start:end]))
		return s[:start] + base64.StdEncoding.EncodeToString(slices.Insert(raw, 32, 0)) + s[end:]
	}, func(s *xmlsectest.Signatory) { s.Key, s.Method = ecKey(), xmlsectest.DSigMore+"ecdsa-sha256" }, badSignature, []string{"signature value"}},
	{"Reference to nothing, and no ID", replace(`URI="#a"`, `URI="#"`), replace(` ID="a"`, ``), nil, badSignature, []string{"reference uri", "digest value"}},
	{"value with more", nil, replace(signatureEnd, "AAAA"+signatureEnd), nil, badSignature, []string{"signature value"}},
	{"SignedInfo changed", nil, replace(`ID="info-a"`, `ID="other"`), nil, badSignature, []string{"signature value"}},
	{"NameID changed", nil, replace("alice@", "mallory@"), nil, badSignature, []string{"digest value"}},
	{"NameID cut short", nil, replace("alice@example.com", "alice@example.co<!---->"), nil, badSignature, []string{"digest value"}},
	{"element put in", nil, replace("<saml:Subject>", "<saml:Subject><saml:NameID>mallory</saml:NameID>"), nil, badSignature, []string{"digest value"}},
	{"attribute put in", nil, replace("<saml:NameID>", `<saml:NameID Format="x">`), nil, badSignature, []string{"digest value"}},
	{"blank put in", nil, replace("<saml:NameID>", ` <saml:NameID>`), nil, badSignature, []string{"digest value"}},
	{"namespace changed", nil, replace("tc:SAML:2.0:assertion", `tc:SAML:2.0:assertion2`), nil, badSignature, []string{"digest value"}},
	{"ECDSA in ASN.1", nil, func(s string) string {
		start, end := strings.Index(s, "<ds:SignatureValue>")+len("<ds:SignatureValue>"), strings.Index(s, signatureEnd)
		raw := must(base64.StdEncoding.DecodeString(s[start:end]))
		return s[:start] + base64.StdEncoding.EncodeToString(append([]byte{0x30, byte(len(raw))}, raw...)) + s[end:]
	}, func(s *xmlsectest.Signatory) { s.Key, s.Method = ecKey(), xmlsectest.DSigMore+"ecdsa-sha256" }, badSignature, []string{"signature value"}},
	{"ECDSA of nothing", nil, func(s string) string {
		start, end := strings.Index(s, "<ds:SignatureValue>")+len("<ds:SignatureValue>"), strings.Index(s, signatureEnd)
		return s[:start] + base64.StdEncoding.EncodeToString(make([]byte, 64)) + s[end:]
	}, func(s *xmlsectest.Signatory) { s.Key, s.Method = ecKey(), xmlsectest.DSigMore+"ecdsa-sha256" }, badSignature, []string{"signature value"}},
}

func (f forgery) document(t *testing.T) string {
	t.Helper()
	s := xmlsectest.NewSignatory(rsaKey())
	if f.sign != nil {
		f.sign(s)
	}
	if f.edit != nil {
		s.Edit = f.edit
	}
	doc := s.Sign(t, answer(""), "a")
	if f.change != nil {
		doc = f.change(doc)
	}
	return doc
}

func verifyAssertion(t *testing.T, doc string, without ...string) (*etree.Element, error) {
	t.Helper()
	checks := all(without...)
	root, err := checks.read([]byte(doc))
	if err != nil {
		t.Fatal(err)
	}
	return checks.verify(root.SelectElement("Assertion"), &rsaKey().PublicKey, &ecKey().PublicKey)
}

func TestVerifyRefuses(t *testing.T) {
	t.Parallel()
	control := func(t *testing.T, sign func(*xmlsectest.Signatory)) {
		t.Helper()
		s := xmlsectest.NewSignatory(rsaKey())
		if sign != nil {
			sign(s)
		}
		if _, err := verifyAssertion(t, s.Sign(t, answer(""), "a")); err != nil {
			t.Fatal(err)
		}
	}
	control(t, nil)
	control(t, func(s *xmlsectest.Signatory) { s.Key, s.Method = ecKey(), xmlsectest.DSigMore+"ecdsa-sha256" })
	for _, f := range forgeries {
		t.Run(f.name, func(t *testing.T) {
			t.Parallel()
			doc := f.document(t)
			if got, err := verifyAssertion(t, doc); refusal.CodeOf(err) != f.code || got != nil {
				t.Fatalf("got %v, %v, want %s", got, err, f.code)
			}
			if len(f.checks) > 0 {
				checktest.StoppedBy(t, f.checks, func(without ...string) error {
					_, err := verifyAssertion(t, doc, without...)
					return err
				})
			}
		})
	}
}

// Each check of signatures is all that stops some forgery.
func TestVerifyRefusesSwitchOff(t *testing.T) {
	t.Parallel()
	alone := map[string]bool{"key size": true, "signature single": true} // below
	for _, f := range forgeries {
		if len(f.checks) == 1 {
			alone[f.checks[0]] = true
		}
	}
	for _, name := range checkNames() {
		if !strings.HasPrefix(name, "xml ") && !alone[name] {
			t.Errorf("nothing is refused by %q alone", name)
		}
	}

	synctest.Test(t, func(t *testing.T) {
		small, err := all().read(file(t, "signed/rsa1024-sha256.xml"))
		if err != nil {
			t.Fatal(err)
		}
		key := publicKey(t, "signed/rsa1024.pem")
		if _, err := all("key size").verify(small.SelectElement("Assertion"), key); err != nil {
			t.Errorf("without the key's size: %v", err)
		}
	})

	second := xmlsectest.NewSignatory(rsaKey()).Sign(t, replace("</saml:Assertion>", `<ds:Signature xmlns:ds="`+xmlsec.DSig+`"/></saml:Assertion>`)(answer("")), "a")
	if _, err := verifyAssertion(t, second); refusal.CodeOf(err) != badSignature {
		t.Errorf("two signatures: got %v", err)
	}
	if _, err := verifyAssertion(t, second, "signature single"); err != nil {
		t.Errorf("two signatures without the check: %v", err)
	}
}
