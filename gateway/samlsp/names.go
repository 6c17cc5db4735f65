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

// mace begins the names of the MACE-Dir profile, which came before the OIDs.
const mace = "urn:mace:dir:attribute-def:"

// Well-known attribute names. Of each list the first that has a value is taken,
// and no other: values of two attributes are never mixed. They are plain names,
// the OIDs of inetOrgPerson and eduPerson (SAML X.500/LDAP profile), and the
// claims of Entra ID and AD FS.
var (
	emailNames = []string{
		"email", "mail", "urn:oid:0.9.2342.19200300.100.1.3", mace + "mail", "urn:oid:1.2.840.113549.1.9.1",
		"http://schemas.xmlsoap.org/ws/2005/05/identity/claims/emailaddress", "emailAddress",
	}
	firstNameNames = []string{
		"givenName", "firstName", "given_name", "urn:oid:2.5.4.42", mace + "givenName",
		"http://schemas.xmlsoap.org/ws/2005/05/identity/claims/givenname",
	}
	lastNameNames = []string{
		"sn", "surname", "lastName", "family_name", "urn:oid:2.5.4.4", mace + "sn",
		"http://schemas.xmlsoap.org/ws/2005/05/identity/claims/surname",
	}
	displayNameNames = []string{
		"displayName", "urn:oid:2.16.840.1.113730.3.1.241", mace + "displayName",
		"http://schemas.microsoft.com/identity/claims/displayname", "cn", "urn:oid:2.5.4.3", mace + "cn",
	}
	groupsNames = []string{
		"groups", "memberOf", "isMemberOf", "member", "urn:oid:1.3.6.1.4.1.5923.1.5.1.1", mace + "isMemberOf",
		"urn:oid:1.2.840.113556.1.2.102", mace + "memberOf",
		entraGroups, "http://schemas.xmlsoap.org/claims/Group",
		"urn:oid:1.3.6.1.4.1.5923.1.1.1.7", mace + "eduPersonEntitlement",
		"urn:oid:1.3.6.1.4.1.5923.1.1.1.1", mace + "eduPersonAffiliation",
	}
	// usernameNames say by a registered name that they are user names: uid, then
	// eduPersonPrincipalName. A plain name could mean anything.
	usernameNames = []string{
		"urn:oid:0.9.2342.19200300.100.1.1", mace + "uid",
		"urn:oid:1.3.6.1.4.1.5923.1.1.1.6", mace + "eduPersonPrincipalName",
	}
)
