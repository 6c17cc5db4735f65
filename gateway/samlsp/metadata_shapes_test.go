package samlsp_test

import (
	"strings"
	"testing"

	"github.com/caddy-sso/caddy-sso/gateway/samlsp"
)

const bom = "\ufeff"

// Federation servers publish one document for all that they speak: descriptors
// of WS-Federation with keys of their own, a service provider's role, claims,
// a signature over it all. The identity provider's role alone is read; a key
// of another role signs nothing that is believed.
func TestMetadataShapes(t *testing.T) {
	t.Parallel()
	foreign := b64(certify(ecKey()))
	key := func(use, cert string) string {
		return `<KeyDescriptor use="` + use + `"><KeyInfo xmlns="http://www.w3.org/2000/09/xmldsig#"><X509Data><X509Certificate>` + cert + `</X509Certificate></X509Data></KeyInfo></KeyDescriptor>`
	}
	const signature = `<ds:Signature xmlns:ds="http://www.w3.org/2000/09/xmldsig#"><ds:SignedInfo><ds:CanonicalizationMethod Algorithm="http://www.w3.org/2001/10/xml-exc-c14n#"/></ds:SignedInfo><ds:SignatureValue>AAAA</ds:SignatureValue></ds:Signature>`
	const fed = ` xmlns:xsi="http://www.w3.org/2001/XMLSchema-instance" xmlns:fed="http://docs.oasis-open.org/wsfed/federation/200706" protocolSupportEnumeration="http://docs.oasis-open.org/wsfed/federation/200706"`
	const claims = `<fed:ClaimTypesOffered><auth:ClaimType xmlns:auth="http://docs.oasis-open.org/wsfed/authorization/200706" Uri="http://schemas.xmlsoap.org/ws/2005/05/identity/claims/name" Optional="true"><auth:DisplayName>Name</auth:DisplayName></auth:ClaimType></fed:ClaimTypesOffered>`
	tokens := `<RoleDescriptor xsi:type="fed:SecurityTokenServiceType"` + fed + `>` + key("signing", foreign) + claims + `<fed:PassiveRequestorEndpoint><EndpointReference xmlns="http://www.w3.org/2005/08/addressing"><Address>https://idp.example.com/wsfed</Address></EndpointReference></fed:PassiveRequestorEndpoint></RoleDescriptor>`
	services := `<SingleLogoutService Binding="urn:oasis:names:tc:SAML:2.0:bindings:HTTP-Redirect" Location="https://idp.example.com/saml2"/>` +
		`<NameIDFormat>urn:oasis:names:tc:SAML:1.1:nameid-format:emailAddress</NameIDFormat>` +
		`<SingleSignOnService Binding="urn:oasis:names:tc:SAML:2.0:bindings:HTTP-Redirect" Location="` + idpRedirect + `"/>` +
		`<SingleSignOnService Binding="urn:oasis:names:tc:SAML:2.0:bindings:HTTP-POST" Location="` + idpPOST + `"/>`
	const root = `<EntityDescriptor ID="_1" entityID="` + idpEntityID + `" xmlns="urn:oasis:names:tc:SAML:2.0:metadata">`
	for name, doc := range map[string]string{
		"of a directory in the cloud": `<?xml version="1.0" encoding="utf-8"?>` + root + signature + tokens +
			strings.Replace(tokens, "SecurityTokenServiceType", "ApplicationServiceType", 1) +
			`<IDPSSODescriptor ` + saml2 + `>` + key("signing", b64(idpCert())) + services + `</IDPSSODescriptor></EntityDescriptor>`,
		"of a federation server": bom + root + signature + tokens +
			`<SPSSODescriptor WantAssertionsSigned="true" ` + saml2 + `>` + key("signing", foreign) + key("encryption", foreign) +
			`<AssertionConsumerService Binding="urn:oasis:names:tc:SAML:2.0:bindings:HTTP-POST" Location="https://idp.example.com/adfs/ls/" index="0" isDefault="true"/></SPSSODescriptor>` +
			`<IDPSSODescriptor ` + saml2 + `>` + key("encryption", foreign) + key("signing", b64(idpCert())) + services +
			`<Attribute Name="http://schemas.xmlsoap.org/ws/2005/05/identity/claims/emailaddress" NameFormat="urn:oasis:names:tc:SAML:2.0:attrname-format:uri" FriendlyName="E-Mail Address" xmlns="urn:oasis:names:tc:SAML:2.0:assertion"/></IDPSSODescriptor>` +
			`<Organization><OrganizationName xml:lang="en">Example</OrganizationName></Organization><ContactPerson contactType="support"/></EntityDescriptor>`,
		"with comments and blanks": "<!-- made by hand -->\n" + root + "\n\t<!-- roles -->\n\t<IDPSSODescriptor " + saml2 + ">\n\t\t" +
			key("signing", "\n"+b64(idpCert())+"\n\t") + "\n" + services + "\n\t</IDPSSODescriptor>\n</EntityDescriptor>\n",
	} {
		t.Run(name, func(t *testing.T) {
			t.Parallel()
			k, err := samlsp.ReadMetadata(reader(t), []byte(doc))
			if err != nil {
				t.Fatal(err)
			}
			if k.EntityID != idpEntityID || k.Redirect != idpRedirect || k.POST != idpPOST || k.WantSigned || !holds(k, rsaKey().Public()) {
				t.Errorf("got %+v", k)
			}
		})
	}
}
