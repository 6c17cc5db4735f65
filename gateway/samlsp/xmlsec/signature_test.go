package xmlsec_test

import (
	"crypto"
	"path/filepath"
	"strings"
	"testing"
	"testing/synctest"

	"github.com/caddy-sso/caddy-sso/gateway/gatewaytest"
	"github.com/caddy-sso/caddy-sso/gateway/refusal"
	"github.com/caddy-sso/caddy-sso/gateway/samlsp/xmlsec"
	"github.com/caddy-sso/caddy-sso/gateway/samlsp/xmlsec/xmlsectest"
)

// A real answer of Keycloak's, with a signature over the response and one over
// the assertion.
func TestVerifyKeycloak(t *testing.T) {
	t.Parallel()
	synctest.Test(t, func(t *testing.T) {
		doc, key := keycloak(t)
		verifyAll(t, doc, key, 2)
	})
}

func verifyAll(t *testing.T, doc []byte, key crypto.PublicKey, signatures int) {
	t.Helper()
	checks := all()
	root, err := checks.read(doc)
	if err != nil {
		t.Fatal(err)
	}
	signed := signedElements(root)
	if len(signed) != signatures {
		t.Fatalf("%d elements are signed", len(signed))
	}
	for _, el := range signed {
		verified, err := checks.verify(el, key)
		if err != nil {
			t.Fatalf("verifying %s: %v", el.Tag, err)
		}
		if verified.FullTag() != el.FullTag() || verified.Parent() != nil || verified.SelectElement("Signature") != nil {
			t.Errorf("got %s, which isn't %s alone without its signature", verified.FullTag(), el.FullTag())
		}
		for _, inner := range signedElements(verified) {
			if _, err := checks.verify(inner, key); err != nil {
				t.Errorf("verifying %s in what was verified: %v", inner.Tag, err)
			}
		}
	}
}

// The documents in testdata/signed were signed by the Java platform, those whose
// name begins so by xmlsec1, with the key that their name begins with.
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
	default:
		verifyAll(t, doc, key, 1+strings.Count(name, "-both"))
		refusedByOthers(t, doc, kind)
		return
	}
	root, err := all().read(doc)
	if err != nil {
		t.Fatal(err)
	}
	want := refusal.SAMLAlgorithm
	if check == "key size" {
		want = refusal.SAMLSignature
	}
	el := signedElements(root)[0]
	if _, err := all().verify(el, key); refusal.CodeOf(err) != want {
		t.Errorf("got %v, want %s", err, want)
	}
	if strings.Contains(name, "sha1") {
		if _, err := all().Verify(el, xmlsec.Trust{Keys: []crypto.PublicKey{key}, SHA1: true}, xmlsectest.Bounds); err != nil {
			t.Errorf("with SHA-1: %v", err)
		}
	}
}

// A comment within a NameID changes no value, and no digest: xmlsec1 signed it,
// and it verifies without as well.
func TestCommentsChangeNoValue(t *testing.T) {
	t.Parallel()
	for _, name := range gatewaytest.CapturedNames(t, "testdata/signed/xmlsec1-comments-*.xml", 10) {
		name = filepath.Base(name)
		t.Run(name, func(t *testing.T) {
			t.Parallel()
			synctest.Test(t, func(t *testing.T) {
				doc, key := file(t, "signed/"+name), publicKey(t, "signed/xmlsec1.pem")
				if !strings.Contains(string(doc), "alice<!-- in the NameID -->@example.com") {
					t.Fatal("there is no comment")
				}
				for _, doc := range []string{string(doc), strings.Replace(string(doc), "<!-- in the NameID -->", "", 1)} {
					root, err := all().read([]byte(doc))
					if err != nil {
						t.Fatal(err)
					}
					verified, err := all().verify(signedElements(root)[0], key)
					if err != nil {
						t.Fatal(err)
					}
					id := verified.FindElement("//NameID")
					if id == nil || len(id.Child) != 1 || id.Text() != "alice@example.com" {
						t.Errorf("got %v", id)
					}
				}
				// Those in a SignedInfo that is signed with its comments count.
				changed := strings.Replace(string(doc), "<!-- in the Reference -->", "", 1)
				root, err := all().read([]byte(changed))
				if err != nil {
					t.Fatal(err)
				}
				_, err = all().verify(signedElements(root)[0], key)
				if signed := !strings.HasSuffix(name, "-transform.xml"); signed != (refusal.CodeOf(err) == refusal.SAMLSignature) {
					t.Errorf("without the comment in the Reference: got %v", err)
				}
			})
		})
	}
}

// refusedByOthers holds what verifies by one key against all others.
func refusedByOthers(t *testing.T, doc []byte, kind string) {
	t.Helper()
	root, err := all().read(doc)
	if err != nil {
		t.Fatal(err)
	}
	_, keycloakKey := keycloak(t)
	keys := []crypto.PublicKey{keycloakKey, publicKey(t, "signed/rsa1024.pem")}
	for _, other := range []string{"rsa", "p256", "p384", "p521"} {
		if other != kind {
			keys = append(keys, publicKey(t, "signed/"+other+".pem"))
		}
	}
	el := signedElements(root)[0]
	for _, trusted := range [][]crypto.PublicKey{nil, keys} {
		if _, err := all().verify(el, trusted...); refusal.CodeOf(err) != refusal.SAMLSignature {
			t.Errorf("by other keys: got %v", err)
		}
	}
	if _, err := all().verify(el, append(keys, publicKey(t, "signed/"+kind+".pem"))...); err != nil {
		t.Errorf("by the last of several keys: %v", err)
	}
}

func TestVerifyUnsigned(t *testing.T) {
	t.Parallel()
	for name, doc := range map[string]string{
		"no signature":                   strings.Replace(answer(""), "<sig/>", "", 1),
		"signature around":               xmlsectest.NewSignatory(rsaKey()).Sign(t, strings.Replace(answer("<sig/>"), "</saml:Issuer><sig/><saml:Subject>", "</saml:Issuer><saml:Subject>", 1), "r"),
		"signature deeper":               strings.Replace(xmlsectest.NewSignatory(rsaKey()).Sign(t, answer(""), "a"), "<ds:Signature", "<x><ds:Signature", 1),
		"signature in another namespace": strings.Replace(answer(""), "<sig/>", `<Signature xmlns="urn:x"/>`, 1),
	} {
		if name == "signature deeper" {
			doc = strings.Replace(doc, "</ds:Signature>", "</ds:Signature></x>", 1)
		}
		if got, err := verifyAssertion(t, doc); refusal.CodeOf(err) != refusal.SAMLUnsigned || got != nil {
			t.Errorf("%s: got %v, %v", name, got, err)
		}
	}
}

// What comes back is what was signed, whatever stands around it.
func TestVerifyReturnsWhatWasSigned(t *testing.T) {
	t.Parallel()
	doc := xmlsectest.NewSignatory(rsaKey()).Sign(t, answer(""), "a")
	doc = replace("alice@example.com", "alice<!-- -->@<![CDATA[example]]>&#46;com")(doc)
	got, err := verifyAssertion(t, doc)
	if err != nil {
		t.Fatal(err)
	}
	octets, err := xmlsec.Canonical(got, xmlsec.Exclusive)
	const want = `<saml:Assertion xmlns:saml="urn:oasis:names:tc:SAML:2.0:assertion" ID="a"><saml:Issuer>idp</saml:Issuer><saml:Subject><saml:NameID>alice@example.com</saml:NameID></saml:Subject></saml:Assertion>`
	if err != nil || string(octets) != want {
		t.Errorf("got %s, %v", octets, err)
	}
}
