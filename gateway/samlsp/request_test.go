package samlsp_test

import (
	"bytes"
	"compress/flate"
	"crypto"
	"crypto/rsa"
	"crypto/sha256"
	"encoding/base64"
	"encoding/xml"
	"errors"
	"io"
	"net/url"
	"regexp"
	"strings"
	"testing"
	"time"

	"github.com/caddy-sso/caddy-sso/gateway/provider"
	"github.com/caddy-sso/caddy-sso/gateway/refusal"
	"github.com/caddy-sso/caddy-sso/gateway/samlsp"
	"github.com/caddy-sso/caddy-sso/gateway/samlsp/xmlsec"
	"github.com/caddy-sso/caddy-sso/gateway/samlsp/xmlsec/xmlsectest"
)

// A receivedRequest is an AuthnRequest as a provider reads it.
type receivedRequest struct {
	XMLName      xml.Name  `xml:"urn:oasis:names:tc:SAML:2.0:protocol AuthnRequest"`
	ID           string    `xml:",attr"`
	Version      string    `xml:",attr"`
	IssueInstant time.Time `xml:",attr"`
	Destination  string    `xml:",attr"`
	ForceAuthn   string    `xml:",attr"`
	Binding      string    `xml:"ProtocolBinding,attr"`
	ACS          string    `xml:"AssertionConsumerServiceURL,attr"`
	Issuer       string    `xml:"urn:oasis:names:tc:SAML:2.0:assertion Issuer"`
	Policy       *struct {
		Format      string `xml:",attr"`
		AllowCreate string `xml:",attr"`
	} `xml:"urn:oasis:names:tc:SAML:2.0:protocol NameIDPolicy"`
	Elements []struct {
		XMLName xml.Name
	} `xml:",any"`
}

func readRequest(t *testing.T, doc []byte) *receivedRequest {
	t.Helper()
	var r receivedRequest
	if err := xml.Unmarshal(doc, &r); err != nil {
		t.Fatal(err)
	}
	return &r
}

// fromRedirect undoes the HTTP-Redirect binding, and returns what is signed
// beside the parameters.
func fromRedirect(t *testing.T, location string) (doc []byte, params url.Values, signed string) {
	t.Helper()
	_, query, _ := strings.Cut(location, "?")
	params, err := url.ParseQuery(query)
	if err != nil {
		t.Fatal(err)
	}
	packed, err := base64.StdEncoding.DecodeString(params.Get("SAMLRequest"))
	if err != nil {
		t.Fatal(err)
	}
	doc, err = io.ReadAll(flate.NewReader(bytes.NewReader(packed)))
	if err != nil {
		t.Fatal(err)
	}
	signed, _, _ = strings.Cut(query[strings.Index(query, "SAMLRequest="):], "&Signature=")
	return doc, params, signed
}

func TestAuthnRequest(t *testing.T) {
	t.Parallel()
	begun := begin(t, newProvider(t, goodEntity()))
	if begun.Form != nil || !strings.HasPrefix(begun.Location, idpRedirect+"?SAMLRequest=") {
		t.Fatalf("sent to %s with the form %v", begun.Location, begun.Form)
	}
	doc, params, _ := fromRedirect(t, begun.Location)
	if got := params.Get("RelayState"); got != beginRequest.State {
		t.Errorf("RelayState is %q", got)
	}
	if params.Has("SigAlg") || params.Has("Signature") {
		t.Error("is signed unasked")
	}
	r := readRequest(t, doc)
	if !regexp.MustCompile(`^_[0-9a-f]{40}$`).MatchString(r.ID) {
		t.Errorf("ID is %q", r.ID)
	}
	if age := time.Since(r.IssueInstant); age < -time.Second || age > time.Minute {
		t.Errorf("IssueInstant is %v", r.IssueInstant)
	}
	for name, pair := range map[string][2]string{
		"Version":         {r.Version, "2.0"},
		"Destination":     {r.Destination, idpRedirect},
		"ForceAuthn":      {r.ForceAuthn, ""},
		"ProtocolBinding": {r.Binding, "urn:oasis:names:tc:SAML:2.0:bindings:HTTP-POST"},
		"ACS":             {r.ACS, siteACS},
		"Issuer":          {r.Issuer, siteMD},
	} {
		if pair[0] != pair[1] {
			t.Errorf("%s is %q, want %q", name, pair[0], pair[1])
		}
	}
	if r.Policy != nil || len(r.Elements) != 0 {
		t.Errorf("asks for more: %+v, %+v", r.Policy, r.Elements)
	}
	if again := begin(t, newProvider(t, goodEntity())); bytes.Equal(again.Private, begun.Private) {
		t.Error("two requests have the same ID")
	}
}

func TestAuthnRequestOptions(t *testing.T) {
	t.Parallel()
	request := func(t *testing.T, change func(*provider.BeginRequest), config ...func(*samlsp.Config)) (*receivedRequest, []byte) {
		t.Helper()
		req := beginRequest
		change(&req)
		begun, err := newProvider(t, goodEntity(), config...).Begin(t.Context(), req)
		if err != nil {
			t.Fatal(err)
		}
		doc, _, _ := fromRedirect(t, begun.Location)
		return readRequest(t, doc), begun.Private
	}
	as := func(*provider.BeginRequest) {}
	for name, change := range map[string]func(*provider.BeginRequest){
		"a new login": func(r *provider.BeginRequest) { r.ForceLogin = true }, "another person": func(r *provider.BeginRequest) { r.OtherPerson = true },
	} {
		t.Run(name, func(t *testing.T) {
			t.Parallel()
			got, private := request(t, change)
			if got.ForceAuthn != "true" {
				t.Errorf("ForceAuthn is %q", got.ForceAuthn)
			}
			if !bytes.Contains(private, []byte(`"f":true`)) {
				t.Errorf("the answer will not be held to it: %s", private)
			}
		})
	}
	t.Run("an entity ID of our own", func(t *testing.T) {
		t.Parallel()
		const id = `urn:sp:"a"&<b>'c'`
		if got, _ := request(t, as, func(c *samlsp.Config) { c.SPEntityID = id }); got.Issuer != id {
			t.Errorf("Issuer is %q", got.Issuer)
		}
	})
	for format, want := range map[string][2]string{
		"emailAddress": {"urn:oasis:names:tc:SAML:1.1:nameid-format:emailAddress", "true"},
		"persistent":   {"urn:oasis:names:tc:SAML:2.0:nameid-format:persistent", "true"},
		"transient":    {"urn:oasis:names:tc:SAML:2.0:nameid-format:transient", ""},
		"urn:x:own":    {"urn:x:own", "true"},
	} {
		t.Run("name id format "+format, func(t *testing.T) {
			t.Parallel()
			r, _ := request(t, as, func(c *samlsp.Config) {
				c.NameIDFormat, c.UsernameAttribute, c.IDAttribute = format, "uid", "uid"
			})
			if r.Policy == nil || r.Policy.Format != want[0] || r.Policy.AllowCreate != want[1] {
				t.Errorf("NameIDPolicy is %+v", r.Policy)
			}
		})
	}
}

func TestRedirectKeepsQuery(t *testing.T) {
	t.Parallel()
	for location, want := range map[string]string{
		"https://idp.example.com/sso":              "https://idp.example.com/sso?SAMLRequest=",
		"https://idp.example.com/sso?":             "https://idp.example.com/sso?SAMLRequest=",
		"https://idp.example.com/sso?tenant=a%20b": "https://idp.example.com/sso?tenant=a%20b&SAMLRequest=",
		"https://idp.example.com/sso?a=1&amp;b=2&": "https://idp.example.com/sso?a=1&b=2&SAMLRequest=",
	} {
		e := goodEntity()
		e.redirect = strings.ReplaceAll(location, "&b", "&amp;b")
		if strings.HasSuffix(location, "&") {
			e.redirect = "https://idp.example.com/sso?a=1&amp;b=2&amp;"
		}
		if got := begin(t, newProvider(t, e, signs)).Location; !strings.HasPrefix(got, want) {
			t.Errorf("%s becomes %s", location, got)
		}
	}
}

// verifyDetached checks a signature of SAML Bindings 3.4.4.1.
func verifyDetached(t *testing.T, begun *provider.Begun) error {
	t.Helper()
	_, params, signed := fromRedirect(t, begun.Location)
	if got := params.Get("SigAlg"); got != "http://www.w3.org/2001/04/xmldsig-more#rsa-sha256" {
		t.Errorf("SigAlg is %q", got)
	}
	signature, err := base64.StdEncoding.DecodeString(params.Get("Signature"))
	if err != nil {
		t.Fatal(err)
	}
	digest := sha256.Sum256([]byte(signed))
	return rsa.VerifyPKCS1v15(&spKey().PublicKey, crypto.SHA256, digest[:], signature)
}

func TestSignedRedirect(t *testing.T) {
	t.Parallel()
	p := newProvider(t, goodEntity(), signs)
	begun := begin(t, p)
	if err := verifyDetached(t, begun); err != nil {
		t.Error(err)
	}
	doc, _, signed := fromRedirect(t, begun.Location)
	if bytes.Contains(doc, []byte("Signature")) {
		t.Error("the document is signed within as well")
	}
	order := regexp.MustCompile(`^SAMLRequest=[^&]+&RelayState=[^&]+&SigAlg=[^&]+$`)
	if !order.MatchString(signed) {
		t.Errorf("what is signed has another form: %s", signed)
	}
	begun.Location = strings.Replace(begun.Location, "RelayState=s", "RelayState=t", 1)
	if err := verifyDetached(t, begun); err == nil {
		t.Error("the signature does not cover RelayState")
	}
}

func byPOST(c *samlsp.Config) { c.RequestBinding = samlsp.BindingPOST }

func fromForm(t *testing.T, begun *provider.Begun) []byte {
	t.Helper()
	if begun.Location != idpPOST || len(begun.Form) != 2 || begun.Form.Get("RelayState") != beginRequest.State {
		t.Fatalf("posted to %s: %v", begun.Location, begun.Form)
	}
	doc, err := base64.StdEncoding.DecodeString(begun.Form.Get("SAMLRequest"))
	if err != nil {
		t.Fatal(err)
	}
	return doc
}

func TestPOST(t *testing.T) {
	t.Parallel()
	r := readRequest(t, fromForm(t, begin(t, newProvider(t, goodEntity(), byPOST))))
	if r.Destination != idpPOST || r.ACS != siteACS || len(r.Elements) != 0 {
		t.Errorf("got %+v", r)
	}
}

func TestSignedPOST(t *testing.T) {
	t.Parallel()
	p := newProvider(t, goodEntity(), byPOST, func(c *samlsp.Config) {
		c.SignRequests, c.NameIDFormat, c.SPEntityID = samlsp.On, "emailAddress", "urn:sp:a&b"
	})
	doc := fromForm(t, begin(t, p))
	if !bytes.Contains(doc, []byte("</saml:Issuer><ds:Signature ")) {
		t.Error("the signature does not follow the Issuer, as the schema wants")
	}
	verify := func(doc []byte) error {
		root, err := samlsp.Read(doc)
		if err != nil {
			return err
		}
		signed, err := xmlsec.New().Verify(root, xmlsec.Trust{Keys: []crypto.PublicKey{spKey().Public()}}, xmlsectest.Bounds)
		if err == nil && signed.SelectAttrValue("ID", "") != readRequest(t, doc).ID {
			return errors.New("something else is signed")
		}
		return err
	}
	if err := verify(doc); err != nil {
		t.Error(err)
	}
	if err := verify(bytes.Replace(doc, []byte(siteACS), []byte("https://evil.example.com"), 1)); err == nil {
		t.Error("the signature does not cover the request")
	}
}

func TestWhoSigns(t *testing.T) {
	t.Parallel()
	for _, tt := range []struct {
		name   string
		wants  string
		option samlsp.Switch
		noKeys bool
		signed bool
	}{
		{"nobody asks", "", samlsp.Default, false, false},
		{"the metadata ask", "true", samlsp.Default, false, true},
		{"the metadata ask by a digit", "1", samlsp.Default, false, true},
		{"the metadata don't ask", "false", samlsp.Default, false, false},
		{"the metadata ask, and there are no keys", "true", samlsp.Default, true, false},
		{"the metadata ask, the option says no", "true", samlsp.Off, false, false},
		{"the option asks", "false", samlsp.On, false, true},
	} {
		t.Run(tt.name, func(t *testing.T) {
			t.Parallel()
			e := goodEntity()
			if tt.wants != "" {
				e.roleAttrs = `WantAuthnRequestsSigned="` + tt.wants + `"`
			}
			deps := samlsp.Deps{Keys: spKeys{}}
			if tt.noKeys {
				deps.Keys = nil
			}
			p := newWith(t, e, deps, func(c *samlsp.Config) { c.SignRequests = tt.option })
			_, params, _ := fromRedirect(t, begin(t, p).Location)
			if params.Has("Signature") != tt.signed {
				t.Errorf("signed is %t", params.Has("Signature"))
			}
		})
	}
	t.Run("the key can't be had", func(t *testing.T) {
		t.Parallel()
		down := refusal.New(refusal.StoreUnavailable, errors.New("the store is down"))
		wantCode(t, beginErr(t, newWith(t, goodEntity(), samlsp.Deps{Keys: spKeys{err: down}}, signs)), refusal.StoreUnavailable)
	})
	t.Run("there is no key", func(t *testing.T) {
		t.Parallel()
		p := newWith(t, goodEntity(), samlsp.Deps{}, signs)
		wantCode(t, beginErr(t, p), refusal.NotReady)
		p.KeepIn(nil, spKeys{})
		if _, params, _ := fromRedirect(t, begin(t, p).Location); !params.Has("Signature") {
			t.Error("with a key the request is not signed")
		}
	})
}
