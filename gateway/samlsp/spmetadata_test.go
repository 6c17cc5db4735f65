package samlsp_test

import (
	"encoding/xml"
	"errors"
	"slices"
	"strconv"
	"strings"
	"testing"

	"github.com/caddy-sso/caddy-sso/gateway/provider"
	"github.com/caddy-sso/caddy-sso/gateway/refusal"
	"github.com/caddy-sso/caddy-sso/gateway/samlsp"
)

// A registered document is our metadata as a provider reads them.
type registered struct {
	XMLName  xml.Name `xml:"urn:oasis:names:tc:SAML:2.0:metadata EntityDescriptor"`
	EntityID string   `xml:"entityID,attr"`
	Roles    []struct {
		Signed       string `xml:"AuthnRequestsSigned,attr"`
		WantSigned   string `xml:"WantAssertionsSigned,attr"`
		Protocols    string `xml:"protocolSupportEnumeration,attr"`
		Certificates []struct {
			Use         string `xml:"use,attr"`
			Certificate string `xml:"http://www.w3.org/2000/09/xmldsig# KeyInfo>X509Data>X509Certificate"`
		} `xml:"urn:oasis:names:tc:SAML:2.0:metadata KeyDescriptor"`
		Formats  []string `xml:"urn:oasis:names:tc:SAML:2.0:metadata NameIDFormat"`
		Services []struct {
			Binding   string `xml:",attr"`
			Location  string `xml:",attr"`
			Index     string `xml:"index,attr"`
			IsDefault string `xml:"isDefault,attr"`
		} `xml:"urn:oasis:names:tc:SAML:2.0:metadata AssertionConsumerService"`
		Rest []struct{ XMLName xml.Name } `xml:",any"`
	} `xml:"urn:oasis:names:tc:SAML:2.0:metadata SPSSODescriptor"`
}

var metadataRequest = provider.MetadataRequest{CallbackURL: siteACS, MetadataURL: siteMD}

func spMetadata(t *testing.T, p *samlsp.Provider) *registered {
	t.Helper()
	doc, err := p.Metadata(t.Context(), metadataRequest)
	if err != nil {
		t.Fatal(err)
	}
	if _, err := samlsp.Read(doc); err != nil {
		t.Errorf("our own strict reader refuses it: %v", err)
	}
	// The schema's order (SAML Metadata 2.4.2, 2.4.4): KeyDescriptor,
	// NameIDFormat, AssertionConsumerService.
	var at []int
	for _, name := range []string{"<md:KeyDescriptor", "<md:NameIDFormat", "<md:AssertionConsumerService"} {
		if i := strings.Index(string(doc), name); i >= 0 {
			at = append(at, i)
		}
	}
	if !slices.IsSorted(at) {
		t.Errorf("the elements are not in the schema's order: %s", doc)
	}
	var r registered
	if err := xml.Unmarshal(doc, &r); err != nil {
		t.Fatal(err)
	}
	if len(r.Roles) != 1 || len(r.Roles[0].Services) != 1 || len(r.Roles[0].Rest) != 0 {
		t.Fatalf("got %+v", r)
	}
	return &r
}

func TestSPMetadata(t *testing.T) {
	t.Parallel()
	t.Run("C5 as it is", func(t *testing.T) {
		t.Parallel()
		r := spMetadata(t, newProvider(t, goodEntity()))
		role := r.Roles[0]
		for name, pair := range map[string][2]string{
			"entityID":                   {r.EntityID, siteMD},
			"AuthnRequestsSigned":        {role.Signed, "false"},
			"WantAssertionsSigned":       {role.WantSigned, "true"},
			"protocolSupportEnumeration": {role.Protocols, "urn:oasis:names:tc:SAML:2.0:protocol"},
			"Binding":                    {role.Services[0].Binding, "urn:oasis:names:tc:SAML:2.0:bindings:HTTP-POST"},
			"Location":                   {role.Services[0].Location, siteACS},
			"index":                      {role.Services[0].Index, "0"},
			"isDefault":                  {role.Services[0].IsDefault, "true"},
		} {
			if pair[0] != pair[1] {
				t.Errorf("%s is %q, want %q", name, pair[0], pair[1])
			}
		}
		if len(role.Certificates) != 1 || role.Certificates[0].Use != "signing" || role.Certificates[0].Certificate != b64(spCert()) {
			t.Errorf("KeyDescriptor is %+v", role.Certificates)
		}
		if len(role.Formats) != 0 {
			t.Errorf("has more: %+v", role)
		}
	})
	t.Run("with options", func(t *testing.T) {
		t.Parallel()
		r := spMetadata(t, newProvider(t, goodEntity(), func(c *samlsp.Config) {
			c.SignRequests, c.WantAssertionsSigned, c.NameIDFormat, c.SPEntityID = samlsp.On, samlsp.Off, "emailAddress", `urn:sp:"<&>`
		}))
		role := r.Roles[0]
		if r.EntityID != `urn:sp:"<&>` || role.Signed != "true" || role.WantSigned != "false" {
			t.Errorf("got %+v", r)
		}
		if !slices.Equal(role.Formats, []string{"urn:oasis:names:tc:SAML:1.1:nameid-format:emailAddress"}) {
			t.Errorf("NameIDFormat is %v", role.Formats)
		}
		if len(role.Certificates) != 1 || role.Certificates[0].Use != "signing" || role.Certificates[0].Certificate != b64(spCert()) {
			t.Errorf("KeyDescriptor is %+v", role.Certificates)
		}
	})
	t.Run("the provider wants signed requests", func(t *testing.T) {
		t.Parallel()
		e := goodEntity()
		e.roleAttrs = `WantAuthnRequestsSigned="true"`
		if role := spMetadata(t, newProvider(t, e)).Roles[0]; role.Signed != "true" || len(role.Certificates) != 1 {
			t.Errorf("got %+v", role)
		}
	})
	// Lasso and LemonLDAP::NG refuse a service provider without a key.
	t.Run("the key always stands there", func(t *testing.T) {
		t.Parallel()
		for _, sign := range []samlsp.Switch{samlsp.Default, samlsp.On, samlsp.Off} {
			for _, wants := range []string{"true", "false"} {
				e := goodEntity()
				e.roleAttrs = `WantAuthnRequestsSigned="` + wants + `"`
				role := spMetadata(t, newProvider(t, e, func(c *samlsp.Config) { c.SignRequests = sign })).Roles[0]
				signed := sign == samlsp.On || sign == samlsp.Default && wants == "true"
				if len(role.Certificates) != 1 || role.Signed != strconv.FormatBool(signed) {
					t.Errorf("sign_requests %q, the provider wants it %s: got %+v", sign, wants, role)
				}
			}
		}
	})
	t.Run("the key can't be had", func(t *testing.T) {
		t.Parallel()
		down := refusal.New(refusal.StoreUnavailable, errors.New("the store is down"))
		_, err := newWith(t, goodEntity(), samlsp.Deps{Keys: spKeys{err: down}}, signs).Metadata(t.Context(), metadataRequest)
		wantCode(t, err, refusal.StoreUnavailable)
	})
	inBubble(t, "whether to sign is not known yet", func(t *testing.T) {
		from := publish(goodEntity())
		from.down()
		role := spMetadata(t, byURL(t, from, samlsp.Deps{Keys: spKeys{}})).Roles[0]
		if role.Signed != "false" || len(role.Certificates) != 1 {
			t.Errorf("got %+v, want our key without the promise to sign", role)
		}
		if role := spMetadata(t, byURL(t, from, samlsp.Deps{})).Roles[0]; role.Signed != "false" || len(role.Certificates) != 0 {
			t.Errorf("without a key: got %+v", role)
		}
		for option, want := range map[samlsp.Switch]string{samlsp.On: "true", samlsp.Off: "false"} {
			p := byURL(t, from, samlsp.Deps{Keys: spKeys{}}, func(c *samlsp.Config) { c.SignRequests = option })
			if got := spMetadata(t, p).Roles[0]; got.Signed != want || len(got.Certificates) != 1 {
				t.Errorf("sign_requests %s: got %+v", option, got)
			}
		}
	})
}
