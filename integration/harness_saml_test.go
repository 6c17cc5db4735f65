//go:build integration

package integration

import (
	"bytes"
	"compress/flate"
	"encoding/base64"
	"fmt"
	"net/http"
	"net/url"
	"testing"
	"time"
)

// TestBrowserJar holds that the jar withholds from a cross-site POST what a browser does.
func TestBrowserJar(t *testing.T) {
	t.Parallel()
	jar, u := newBrowserJar(), &url.URL{Scheme: "https", Host: "app.test", Path: "/"}
	jar.SetCookies(u, []*http.Cookie{{Name: "lax", Value: "1", SameSite: http.SameSiteLaxMode}, {Name: "none", Value: "1", SameSite: http.SameSiteNoneMode}})
	if n := len(jar.Cookies(u)); n != 2 {
		t.Errorf("%d cookies", n)
	}
	jar.setCrossSite(true)
	if got := jar.Cookies(u); len(got) != 1 || got[0].Name != "none" {
		t.Errorf("%v", got)
	}
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
