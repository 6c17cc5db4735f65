package samlsp

// The namespaces (SAML Core 1.2, SAML Metadata 1.1), and that of xsi:type and
// xsi:nil.
const (
	nsMetadata  = "urn:oasis:names:tc:SAML:2.0:metadata"
	nsProtocol  = "urn:oasis:names:tc:SAML:2.0:protocol"
	nsAssertion = "urn:oasis:names:tc:SAML:2.0:assertion"
	nsInstance  = "http://www.w3.org/2001/XMLSchema-instance"
)

// The bindings that we have (SAML Bindings 3.4, 3.5).
const (
	uriRedirect = "urn:oasis:names:tc:SAML:2.0:bindings:HTTP-Redirect"
	uriPOST     = "urn:oasis:names:tc:SAML:2.0:bindings:HTTP-POST"
)

// The NameID formats with a meaning here (SAML Core 8.3), and the one that asks
// for encryption (3.4.1.1).
const (
	formatUnspecified = "urn:oasis:names:tc:SAML:1.1:nameid-format:unspecified"
	formatEmail       = "urn:oasis:names:tc:SAML:1.1:nameid-format:emailAddress"
	formatPersistent  = "urn:oasis:names:tc:SAML:2.0:nameid-format:persistent"
	formatEntity      = "urn:oasis:names:tc:SAML:2.0:nameid-format:entity"
	formatTransient   = "urn:oasis:names:tc:SAML:2.0:nameid-format:transient"
	formatEncrypted   = "urn:oasis:names:tc:SAML:2.0:nameid-format:encrypted"
)
