package samlsp_test

import (
	"crypto"
	"crypto/x509"
	"encoding/base64"
	"encoding/pem"
	"errors"
	"path/filepath"
	"slices"
	"strings"
	"testing"
	"testing/synctest"

	"github.com/beevik/etree"

	"github.com/caddy-sso/caddy-sso/gateway"
	"github.com/caddy-sso/caddy-sso/gateway/gatewaytest"
	"github.com/caddy-sso/caddy-sso/gateway/samlsp"
)

// file returns a captured document. A test calls it in a bubble.
func file(t testing.TB, name string) []byte {
	t.Helper()
	doc, _ := gatewaytest.Captured(t, "testdata/"+name)
	return doc
}

// publicKey returns the key of a certificate, or the key, among the fixtures.
func publicKey(t testing.TB, name string) crypto.PublicKey {
	t.Helper()
	block, _ := pem.Decode(file(t, name))
	if block == nil {
		t.Fatalf("%s is no PEM", name)
	}
	if block.Type == "PUBLIC KEY" {
		key, err := x509.ParsePKIXPublicKey(block.Bytes)
		if err != nil {
			t.Fatal(err)
		}
		return key
	}
	crt, err := x509.ParseCertificate(block.Bytes)
	if err != nil {
		t.Fatal(err)
	}
	return crt.PublicKey
}

// signedElements returns the elements of el that have a signature of their own,
// inner ones first.
func signedElements(el *etree.Element) []*etree.Element {
	var found []*etree.Element
	for _, c := range el.ChildElements() {
		found = append(found, signedElements(c)...)
	}
	if el.SelectElement("Signature") != nil {
		found = append(found, el)
	}
	return found
}

// A real answer of Keycloak's, with a signature over the response and one over
// the assertion.
func TestVerifyKeycloak(t *testing.T) {
	t.Parallel()
	synctest.Test(t, func(t *testing.T) {
		verifyAll(t, file(t, "keycloak-response.xml"), publicKey(t, "keycloak-response.crt"), 2)
	})
}

func verifyAll(t *testing.T, doc []byte, key crypto.PublicKey, signatures int) {
	t.Helper()
	checks := samlsp.Checks()
	root, err := checks.Read(doc)
	if err != nil {
		t.Fatal(err)
	}
	signed := signedElements(root)
	if len(signed) != signatures {
		t.Fatalf("%d elements are signed", len(signed))
	}
	for _, el := range signed {
		verified, err := checks.Verify(el, key)
		if err != nil {
			t.Fatalf("verifying %s: %v", el.Tag, err)
		}
		if verified.FullTag() != el.FullTag() || verified.Parent() != nil || verified.SelectElement("Signature") != nil {
			t.Errorf("got %s, which isn't %s alone without its signature", verified.FullTag(), el.FullTag())
		}
		for _, inner := range signedElements(verified) {
			if _, err := checks.Verify(inner, key); err != nil {
				t.Errorf("verifying %s in what was verified: %v", inner.Tag, err)
			}
		}
	}
}

// The documents in testdata/signed were signed by the Java platform, with the
// key that their name begins with.
func TestVerifySignedByJava(t *testing.T) {
	t.Parallel()
	for _, name := range gatewaytest.CapturedNames(t, "testdata/signed/*.xml", 35) {
		name = filepath.Base(name)
		t.Run(name, func(t *testing.T) {
			t.Parallel()
			synctest.Test(t, func(t *testing.T) { signedByJava(t, name) })
		})
	}
}

func signedByJava(t *testing.T, name string) {
	t.Helper()
	doc := file(t, "signed/"+name)
	kind, _, _ := strings.Cut(name, "-")
	key := publicKey(t, "signed/"+kind+".pem")
	var check string
	switch {
	case strings.HasPrefix(name, "rsa1024-"):
		check = "key size"
	case name == "rsa-sha1.xml":
		check = "signature algorithm"
	case name == "rsa-sha1-digest.xml":
		check = "digest algorithm"
	case strings.Contains(name, "-refused-comments-method-"):
		check = "signature canonicalization"
	case strings.Contains(name, "-refused-comments-"):
		check = "reference transforms"
	default:
		verifyAll(t, doc, key, 1+strings.Count(name, "-both"))
		refusedByOthers(t, doc, kind)
		return
	}
	root, err := samlsp.Checks().Read(doc)
	if err != nil {
		t.Fatal(err)
	}
	want := gateway.CodeSAMLAlgorithm
	if check == "key size" {
		want = gateway.CodeSAMLSignature
	}
	el := signedElements(root)[0]
	if _, err := samlsp.Checks().Verify(el, key); gateway.CodeOf(err) != want {
		t.Errorf("got %v, want %s", err, want)
	}
	if strings.Contains(name, "sha1") {
		if _, err := samlsp.Checks().VerifySHA1(el, key); err != nil {
			t.Errorf("with SHA-1: %v", err)
		}
	}
}

// refusedByOthers holds what verifies by one key against all others.
func refusedByOthers(t *testing.T, doc []byte, kind string) {
	t.Helper()
	root, err := samlsp.Checks().Read(doc)
	if err != nil {
		t.Fatal(err)
	}
	keys := []crypto.PublicKey{publicKey(t, "keycloak-response.crt"), publicKey(t, "signed/rsa1024.pem")}
	for _, other := range []string{"rsa", "p256", "p384", "p521"} {
		if other != kind {
			keys = append(keys, publicKey(t, "signed/"+other+".pem"))
		}
	}
	el := signedElements(root)[0]
	for _, trusted := range [][]crypto.PublicKey{nil, keys} {
		if _, err := samlsp.Checks().Verify(el, trusted...); gateway.CodeOf(err) != gateway.CodeSAMLSignature {
			t.Errorf("by other keys: got %v", err)
		}
	}
	if _, err := samlsp.Checks().Verify(el, append(keys, publicKey(t, "signed/"+kind+".pem"))...); err != nil {
		t.Errorf("by the last of several keys: %v", err)
	}
}

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
	sign   func(*signatory)
	code   gateway.Code
	checks []string
}

const (
	badSignature = gateway.CodeSAMLSignature
	badAlgorithm = gateway.CodeSAMLAlgorithm
)

func sha1(s *signatory) { s.hash, s.method = crypto.SHA1, dsigNS+"rsa-sha1" }

var forgeries = []forgery{
	{"second signature", nil, replace(signatureEnd, signatureEnd+`<ds:Signature xmlns:ds="`+dsigNS+`"/>`), nil, badSignature, []string{"signature single", "digest value"}},
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
	{"method of canonicalization with comments", replace(samlsp.Exclusive+`"/><ds:SignatureMethod`, samlsp.Exclusive+`WithComments"/><ds:SignatureMethod`), nil, nil, badAlgorithm, []string{"signature canonicalization", "signature value"}},
	{"method of canonicalization of one's own", replace(samlsp.Exclusive+`"/><ds:SignatureMethod`, `urn:x"/><ds:SignatureMethod`), nil, nil, badAlgorithm, []string{"signature canonicalization", "signature value"}},
	{"method of canonicalization with a parameter", replace(samlsp.Exclusive+`"/><ds:SignatureMethod`, samlsp.Exclusive+`"><x xmlns="urn:x"/></ds:CanonicalizationMethod><ds:SignatureMethod`), nil, nil, badAlgorithm, []string{"signature canonicalization"}},
	{"long PrefixList", replace(samlsp.Exclusive+`"/></ds:Transforms`, samlsp.Exclusive+`"><e:InclusiveNamespaces xmlns:e="`+samlsp.Exclusive+`" PrefixList="`+strings.Repeat("p ", 513)+`"/></ds:Transform></ds:Transforms`), nil, nil, badAlgorithm, []string{"reference transforms"}},
	{"RSA with SHA-1", nil, nil, sha1, badAlgorithm, []string{"signature algorithm"}},
	{"RSA with MD5", nil, nil, func(s *signatory) { s.method = dsigMoreNS + "rsa-md5" }, badAlgorithm, []string{"signature algorithm", "signature value"}},
	{"HMAC", nil, nil, func(s *signatory) { s.method = dsigMoreNS + "hmac-sha256" }, badAlgorithm, []string{"signature algorithm", "signature value"}},
	{"no algorithm", nil, nil, func(s *signatory) { s.method = "" }, badAlgorithm, []string{"signature algorithm", "signature value"}},
	{"signature cut short by a parameter", replace(`rsa-sha256"/>`, `rsa-sha256"><ds:HMACOutputLength>8</ds:HMACOutputLength></ds:SignatureMethod>`), nil, nil, badAlgorithm, []string{"signature algorithm"}},
	{"RSA key with an ECDSA algorithm", nil, nil, func(s *signatory) { s.method = dsigMoreNS + "ecdsa-sha256" }, badSignature, []string{"signature value"}},
	{"XPath", replace(`<ds:Transform A`, `<ds:Transform Algorithm="http://www.w3.org/TR/1999/REC-xpath-19991116"><ds:XPath>0</ds:XPath></ds:Transform><ds:Transform A`), nil, nil, badAlgorithm, []string{"reference transforms"}},
	{"XSLT instead of a canonicalization", replace(samlsp.Exclusive+`"/></ds:Transforms`, `http://www.w3.org/TR/1999/REC-xslt-19991116"/></ds:Transforms`), nil, nil, badAlgorithm, []string{"reference transforms", "digest value"}},
	{"canonicalization with comments", replace(samlsp.Exclusive+`"/></ds:Transforms`, samlsp.Exclusive+`WithComments"/></ds:Transforms`), nil, nil, badAlgorithm, []string{"reference transforms", "digest value"}},
	{"three transforms", replace(`</ds:Transforms`, `<ds:Transform Algorithm="`+samlsp.Exclusive+`"/></ds:Transforms`), nil, nil, badAlgorithm, []string{"reference transforms"}},
	{"no transform", func(s string) string {
		return s[:strings.Index(s, "<ds:Transform ")] + s[strings.Index(s, "</ds:Transforms>"):]
	}, nil, nil, badAlgorithm, []string{"reference transforms", "digest value"}},
	{"canonicalization alone", replace(`<ds:Transform Algorithm="`+dsigNS+`enveloped-signature"/>`, ``), nil, nil, badAlgorithm, []string{"reference transforms"}},
	{"transforms in the wrong order", func(s string) string {
		env, exc := `<ds:Transform Algorithm="`+dsigNS+`enveloped-signature"/>`, `<ds:Transform Algorithm="`+samlsp.Exclusive+`"/>`
		return replace(env+exc, exc+env)(s)
	}, nil, nil, badAlgorithm, []string{"reference transforms"}},
	{"transform with a parameter", replace(`enveloped-signature"/>`, `enveloped-signature"><x xmlns="urn:x"/></ds:Transform>`), nil, nil, badAlgorithm, []string{"reference transforms"}},
	{"digest with SHA-1", nil, nil, func(s *signatory) { s.digest, s.digURI = crypto.SHA1, dsigNS+"sha1" }, badAlgorithm, []string{"digest algorithm"}},
	{"digest with MD5", nil, nil, func(s *signatory) { s.digURI = dsigMoreNS + "md5" }, badAlgorithm, []string{"digest algorithm", "digest value"}},
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
	}, func(s *signatory) { s.key, s.method = ecKey(), dsigMoreNS+"ecdsa-sha256" }, badSignature, []string{"signature value"}},
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
	}, func(s *signatory) { s.key, s.method = ecKey(), dsigMoreNS+"ecdsa-sha256" }, badSignature, []string{"signature value"}},
	{"ECDSA of nothing", nil, func(s string) string {
		start, end := strings.Index(s, "<ds:SignatureValue>")+len("<ds:SignatureValue>"), strings.Index(s, signatureEnd)
		return s[:start] + base64.StdEncoding.EncodeToString(make([]byte, 64)) + s[end:]
	}, func(s *signatory) { s.key, s.method = ecKey(), dsigMoreNS+"ecdsa-sha256" }, badSignature, []string{"signature value"}},
}

func (f forgery) document(t *testing.T) string {
	t.Helper()
	s := newSignatory()
	if f.sign != nil {
		f.sign(s)
	}
	if f.edit != nil {
		s.edit = f.edit
	}
	doc := s.sign(t, answer(""), "a")
	if f.change != nil {
		doc = f.change(doc)
	}
	return doc
}

func verifyAssertion(t *testing.T, doc string, without ...string) (*etree.Element, error) {
	t.Helper()
	checks := samlsp.Checks(without...)
	root, err := checks.Read([]byte(doc))
	if err != nil {
		t.Fatal(err)
	}
	return checks.Verify(root.SelectElement("Assertion"), &rsaKey().PublicKey, &ecKey().PublicKey)
}

func TestVerifyRefuses(t *testing.T) {
	t.Parallel()
	control := func(t *testing.T, sign func(*signatory)) {
		t.Helper()
		s := newSignatory()
		if sign != nil {
			sign(s)
		}
		if _, err := verifyAssertion(t, s.sign(t, answer(""), "a")); err != nil {
			t.Fatal(err)
		}
	}
	control(t, nil)
	control(t, func(s *signatory) { s.key, s.method = ecKey(), dsigMoreNS+"ecdsa-sha256" })
	for _, f := range forgeries {
		t.Run(f.name, func(t *testing.T) {
			t.Parallel()
			doc := f.document(t)
			if got, err := verifyAssertion(t, doc); gateway.CodeOf(err) != f.code || got != nil {
				t.Fatalf("got %v, %v, want %s", got, err, f.code)
			}
			if _, err := verifyAssertion(t, doc, f.checks...); (err == nil) != (f.checks != nil) {
				t.Errorf("without %q: got %v", f.checks, err)
			}
			for _, one := range f.checks {
				if len(f.checks) == 1 {
					break
				}
				rest := slices.DeleteFunc(slices.Clone(f.checks), func(c string) bool { return c == one })
				if _, err := verifyAssertion(t, doc, rest...); err == nil {
					t.Errorf("%q is no part of what stops it", one)
				}
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
	for _, name := range samlsp.SignatureCheckNames() {
		if !alone[name] {
			t.Errorf("nothing is refused by %q alone", name)
		}
	}

	synctest.Test(t, func(t *testing.T) {
		small, err := samlsp.Checks().Read(file(t, "signed/rsa1024-sha256.xml"))
		if err != nil {
			t.Fatal(err)
		}
		key := publicKey(t, "signed/rsa1024.pem")
		if _, err := samlsp.Checks("key size").Verify(small.SelectElement("Assertion"), key); err != nil {
			t.Errorf("without the key's size: %v", err)
		}
	})

	second := newSignatory().sign(t, replace("</saml:Assertion>", `<ds:Signature xmlns:ds="`+dsigNS+`"/></saml:Assertion>`)(answer("")), "a")
	if _, err := verifyAssertion(t, second); gateway.CodeOf(err) != badSignature {
		t.Errorf("two signatures: got %v", err)
	}
	if _, err := verifyAssertion(t, second, "signature single"); err != nil {
		t.Errorf("two signatures without the check: %v", err)
	}
}

func TestVerifyUnsigned(t *testing.T) {
	t.Parallel()
	for name, doc := range map[string]string{
		"no signature":                   strings.Replace(answer(""), "<sig/>", "", 1),
		"signature around":               newSignatory().sign(t, strings.Replace(answer("<sig/>"), "</saml:Issuer><sig/><saml:Subject>", "</saml:Issuer><saml:Subject>", 1), "r"),
		"signature deeper":               strings.Replace(newSignatory().sign(t, answer(""), "a"), "<ds:Signature", "<x><ds:Signature", 1),
		"signature in another namespace": strings.Replace(answer(""), "<sig/>", `<Signature xmlns="urn:x"/>`, 1),
	} {
		if name == "signature deeper" {
			doc = strings.Replace(doc, "</ds:Signature>", "</ds:Signature></x>", 1)
		}
		if got, err := verifyAssertion(t, doc); !errors.Is(err, samlsp.ErrUnsigned) || got != nil {
			t.Errorf("%s: got %v, %v", name, got, err)
		}
	}
}

// What comes back is what was signed, whatever stands around it.
func TestVerifyReturnsWhatWasSigned(t *testing.T) {
	t.Parallel()
	doc := newSignatory().sign(t, answer(""), "a")
	doc = replace("alice@example.com", "alice<!-- -->@<![CDATA[example]]>&#46;com")(doc)
	got, err := verifyAssertion(t, doc)
	if err != nil {
		t.Fatal(err)
	}
	octets, err := samlsp.Canonical(got, samlsp.Exclusive)
	const want = `<saml:Assertion xmlns:saml="urn:oasis:names:tc:SAML:2.0:assertion" ID="a"><saml:Issuer>idp</saml:Issuer><saml:Subject><saml:NameID>alice@example.com</saml:NameID></saml:Subject></saml:Assertion>`
	if err != nil || string(octets) != want {
		t.Errorf("got %s, %v", octets, err)
	}
}

// An element that was signed elsewhere is verified where it stands, and nothing
// of its new surroundings comes along.
func TestVerifyWrapped(t *testing.T) {
	t.Parallel()
	doc := newSignatory().sign(t, answer(""), "a")
	start, end := strings.Index(doc, "<saml:Assertion"), strings.Index(doc, "</saml:Assertion>")+len("</saml:Assertion>")
	inner := doc[start:end]
	for name, assertion := range map[string]string{
		"evil around":                `<saml:Assertion ID="evil"><saml:Subject/>` + inner + `</saml:Assertion>`,
		"evil with the signature":    strings.Replace(inner, `ID="a"`, `ID="evil"`, 1),
		"original in the signature":  strings.Replace(strings.Replace(inner, `ID="a"`, `ID="evil"`, 1), signatureEnd, "</ds:SignatureValue><ds:Object>"+strings.Replace(inner, "info-a", "i", 1)+"</ds:Object></ds:Signature>", 1),
		"original in the extensions": `<saml:Assertion ID="evil">` + inner[strings.Index(inner, "<ds:Signature"):strings.Index(inner, "<saml:Subject>")] + `<saml:Advice><saml:Assertion ID="a"/></saml:Advice></saml:Assertion>`,
	} {
		wrapped := doc[:start] + assertion + doc[end:]
		if got, err := verifyAssertion(t, wrapped); err == nil || got != nil {
			t.Errorf("%s: got %v, %v", name, got, err)
		}
	}
}

// A person has many groups: as values of one attribute, and as attributes.
func TestVerifyManyGroups(t *testing.T) {
	t.Parallel()
	for name, groups := range map[string]string{
		"values":     `<saml:Attribute Name="groups">` + many(2000, `<saml:AttributeValue xmlns:xs="http://www.w3.org/2001/XMLSchema" xmlns:xsi="http://www.w3.org/2001/XMLSchema-instance" xsi:type="xs:string">group %d</saml:AttributeValue>`) + `</saml:Attribute>`,
		"attributes": many(2000, `<saml:Attribute Name="memberOf" NameFormat="urn:oasis:names:tc:SAML:2.0:attrname-format:basic"><saml:AttributeValue>group %d</saml:AttributeValue></saml:Attribute>`),
	} {
		doc := strings.Replace(answer("<sig/>"), "</saml:Assertion>", "<saml:AttributeStatement>"+groups+"</saml:AttributeStatement></saml:Assertion>", 1)
		doc = newSignatory().sign(t, doc, "a")
		doc = strings.Replace(newSignatory().sign(t, doc, "r"), "<sig/>", "", 1)
		root, err := samlsp.Checks().Read([]byte(doc))
		if err != nil {
			t.Fatal(err)
		}
		for _, el := range []*etree.Element{root, root.SelectElement("Assertion")} {
			if _, err := samlsp.Checks().Verify(el, &rsaKey().PublicKey); err != nil {
				t.Errorf("%s: %s: %v", name, el.Tag, err)
			}
		}
	}
}
