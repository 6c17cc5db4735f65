//go:build integration

package integration

import (
	"bytes"
	"compress/flate"
	"encoding/base64"
	"fmt"
	"net/http"
	"net/url"
	"strings"
	"testing"
	"time"
)

// TestHarnessSAML asks both identity providers by a request of the test's own:
// what they answer does not hang on the product.
func TestHarnessSAML(t *testing.T) {
	t.Parallel()
	const acs = "https://app.test:1/.sso/saml/acs"
	for name, idp := range map[string]struct {
		register func(t *testing.T, entityID string)
		sso      func(t *testing.T) string
	}{
		"Keycloak": {
			func(t *testing.T, id string) { theKeycloak(t).samlClient(t, id, acs, nil) },
			func(t *testing.T) string { return theKeycloak(t).base() + samlPath },
		},
		"SimpleSAMLphp": {
			func(t *testing.T, id string) { theSimpleSAMLphp(t).register(t, spMetadata(id, acs), nil) },
			func(t *testing.T) string { return theSimpleSAMLphp(t).base() + "/saml2/idp/SSOService.php" },
		},
	} {
		t.Run(name, func(t *testing.T) {
			id := "https://app.test:1/" + randomHex(4)
			idp.register(t, id)
			sso := idp.sso(t)
			for user, signs := range map[string]bool{"bob": true, "erin": true, "mallory": false} {
				c := newClient(t)
				login := c.navigate(authnRequest(t, sso, id, acs))
				if !signs {
					if p := c.enterAnywhere(login, user, user); p.message() != nil || p.status >= 500 {
						t.Errorf("%s gets %s", user, p)
					}
					continue
				}
				answer := c.samlAnswer(login, user)
				doc := answer.document(t)
				if answer.target() != acs || answer.fields.Get("RelayState") != "there" || strings.Count(doc, ":Signature>") != 2 || !strings.Contains(doc, user+"@example.test") {
					t.Errorf("%s: to %s, %s, %.2000s", user, answer.target(), answer.fields.Get("RelayState"), doc)
				}
			}
		})
	}
	t.Run("SimpleSAMLphp, two thousand groups", func(t *testing.T) {
		id := "https://app.test:1/" + randomHex(4)
		s := theSimpleSAMLphp(t)
		s.register(t, spMetadata(id, acs), nil)
		c := newClient(t)
		doc := c.samlAnswer(c.navigate(authnRequest(t, s.base()+"/saml2/idp/SSOService.php", id, acs)), legion).document(t)
		if n := strings.Count(doc, "<saml:AttributeValue"); n != legionGroups+5 {
			t.Errorf("%d values in %d bytes", n, len(doc))
		}
		t.Logf("%d bytes", len(doc))
	})
	t.Run("a cookie jar that withholds from a cross-site POST what a browser does", func(t *testing.T) {
		jar := newBrowserJar()
		u := newClient(t).url("https://app.test/")
		jar.SetCookies(u, []*http.Cookie{{Name: "lax", Value: "1", SameSite: http.SameSiteLaxMode}, {Name: "none", Value: "1", SameSite: http.SameSiteNoneMode}})
		if n := len(jar.Cookies(u)); n != 2 {
			t.Errorf("%d cookies", n)
		}
		jar.setCrossSite(true)
		if got := jar.Cookies(u); len(got) != 1 || got[0].Name != "none" {
			t.Errorf("%v", got)
		}
	})
}

// authnRequest is the URL of a request of a test's own.
func authnRequest(t *testing.T, sso, entityID, acs string) string {
	t.Helper()
	request := fmt.Sprintf(`<samlp:AuthnRequest xmlns:samlp="urn:oasis:names:tc:SAML:2.0:protocol" xmlns:saml="urn:oasis:names:tc:SAML:2.0:assertion"`+
		` ID="_%s" Version="2.0" IssueInstant="%s" Destination="%s" AssertionConsumerServiceURL="%s"><saml:Issuer>%s</saml:Issuer></samlp:AuthnRequest>`,
		randomHex(16), time.Now().UTC().Format(time.RFC3339), sso, acs, entityID)
	var deflated bytes.Buffer
	w, err := flate.NewWriter(&deflated, flate.BestCompression)
	if err != nil {
		t.Fatal(err)
	}
	if _, err := w.Write([]byte(request)); err != nil {
		t.Fatal(err)
	}
	if err := w.Close(); err != nil {
		t.Fatal(err)
	}
	return sso + "?" + url.Values{"SAMLRequest": {base64.StdEncoding.EncodeToString(deflated.Bytes())}, "RelayState": {"there"}}.Encode()
}

// document is the message that a form carries.
func (f *form) document(t *testing.T) string {
	t.Helper()
	for _, field := range []string{"SAMLResponse", "SAMLRequest"} {
		if f.fields.Has(field) {
			b, err := base64.StdEncoding.DecodeString(f.fields.Get(field))
			if err != nil {
				t.Fatal(err)
			}
			return string(b)
		}
	}
	t.Fatal("the form has no message")
	return ""
}
