// Package xmlsec reads hostile XML and verifies its signatures: one strict reader,
// the canonical forms, and XML Signature 1.1 in the profile that SAML Core 5.4
// allows.
//
// # Usage
//
// New returns the checks. Checks.Read reads a document within Bounds. Checks.Verify
// verifies the signature of one element with the keys that the caller trusts. It
// returns the element parsed anew from the digested octets. Use nothing else of the
// document: nobody signed the rest. Attribute, Child, Children and Count find things
// by exact names; the Select functions of etree accept any prefix.
//
// # What is defended against
//
// The attacker chooses every octet. They may have documents that are really signed,
// and put pieces of them anywhere. No key is read from a document, and nothing is
// fetched or opened because of one. A document that can be read in two ways is
// refused.
//
// The reader accepts XML 1.0 with namespaces, in UTF-8. It refuses a document type
// declaration, and so all entities except the five predefined ones (XML 1.0, 4.6). It
// refuses processing instructions, undeclared prefixes, duplicate attributes and IDs,
// and all that is not well-formed. It drops comments (except in a SignedInfo) and
// joins the text around them, so that no comment cuts a value short.
//
// A signature must be enveloped, and a child of the very element that its one
// Reference names (XML Signature 1.1, 4.4.3; SAML Core 5.4.2). Its only transforms
// are enveloped-signature and one canonicalization (SAML Core 5.4.4): Canonical XML
// 1.0 or 1.1, or Exclusive XML Canonicalization 1.0, each with or without comments. A
// SignedInfo can include comments; a reference to an element never does (XML
// Signature 1.1, 4.4.3.3). XPath, XSLT, Object, Manifest and HMAC are refused. The
// algorithms are RSA PKCS #1 v1.5 and ECDSA with SHA-256, SHA-384 or SHA-512. SHA-1
// is accepted only with Trust.SHA1, with RSA and as a digest.
//
// Every cost is bounded before it arises: Bounds for reading, one kilobyte for a
// PrefixList, 64 for the canonical SignedInfo. The element itself, which may be
// large, is digested only after a trusted key has signed the reference to it.
//
// # Why not the libraries
//
// They allow attacks that are refused here. Go's encoding/xml changes the meaning of
// some documents when it writes them again (CVE-2020-29509 to 29511).
// xml-roundtrip-validator, which finds such documents, accepts a document type
// declaration, undeclared prefixes, a duplicate attribute or ID, and a second root.
// goxmldsig verified missing signatures before 1.6.0 (GO-2026-4753), and refuses
// users with many groups since (more than 1,000 elements). Its canonical forms take
// seconds for a document within our bounds, and get xmlns="", #default and the order
// of prefixed attributes wrong. crewjam/saml verifies only one of the two signatures
// of an answer that has both.
//
// # What is not defended against
//
// The owner of a trusted key can sign anything. The caller decides whether the signed
// element is the one that counts, and whether its content is valid.
package xmlsec

import (
	"crypto"

	"github.com/caddy-sso/caddy-sso/gateway/check"
	"github.com/caddy-sso/caddy-sso/gateway/refusal"
)

// Checks are all checks of documents and signatures. Use New: the zero value panics.
type Checks struct {
	checks *checklist
}

// New returns all checks.
func New() Checks { return Checks{allChecks()} }

// A checklist has all checks. Each caller gets all of them. A test removes single
// checks from its own copy to prove that they stop an attack.
type checklist struct {
	xmlDocument    check.List[*reader]
	xmlDeclaration check.List[xmlDeclaration]
	xmlMarkup      check.List[string]
	xmlName        check.List[string]
	xmlReference   check.List[rune]
	xmlOutside     check.List[string]
	xmlElement     check.List[*reader]

	key             check.List[crypto.PublicKey]
	signature       check.List[*signature]
	signatureMethod check.List[*signature]
	reference       check.List[*signature]
	signatureValue  check.List[*signature]
	digestValue     check.List[*signature]
}

// allChecks returns the checklist. Within a list the order matters: checks that bound
// the cost come first, and later ones may rely on earlier ones.
func allChecks() *checklist {
	return &checklist{
		xmlDocument: check.All(
			check.That("xml size", refusal.TooLarge, xmlSize),
			check.That("xml characters", "", xmlCharacters),
		),
		xmlDeclaration: check.All(
			check.That("xml version", "", xmlVersion),
			check.That("xml encoding", "", xmlEncoding),
		),
		xmlMarkup: check.All(
			check.That("xml doctype", "", xmlDoctype),
			check.That("xml processing instructions", "", xmlInstruction),
		),
		xmlName: check.All(
			check.That("xml names", "", xmlQualifiedName),
		),
		xmlReference: check.All(
			check.That("xml references", "", xmlKnownReference),
		),
		xmlOutside: check.All(
			check.That("xml text outside the root", "", xmlBlank),
		),
		xmlElement: check.All(
			check.That("xml one root", "", xmlOneRoot),
			check.That("xml depth", "", xmlDepth),
			check.That("xml elements", "", xmlElements),
			check.That("xml attributes", "", xmlAttributes),
			check.That("xml namespaces", "", xmlNamespaces),
			check.That("xml namespace length", "", xmlNamespaceLength),
			check.That("xml prefixes declared", "", xmlPrefixes),
			check.That("xml unique attributes", "", xmlUniqueAttributes),
			check.That("xml unique ids", "", xmlUniqueIDs),
			check.That("xml signatures", "", xmlSignatures),
		),
		key: check.All(
			check.That("key size", "", CheckKey),
		),
		signature: check.All(
			check.That("signature single", refusal.SAMLSignature, signatureSingle),
			check.That("signature contents", refusal.SAMLSignature, signatureContents),
			check.That("signature not nested", refusal.SAMLSignature, signatureNotNested),
			check.That("signed info single", refusal.SAMLSignature, signedInfoSingle),
			check.That("signed info contents", refusal.SAMLSignature, signedInfoContents),
			check.That("reference single", refusal.SAMLSignature, referenceSingle),
		),
		signatureMethod: check.All(
			check.That("signature canonicalization", refusal.SAMLAlgorithm, signatureCanonicalization),
			check.That("signature algorithm", refusal.SAMLAlgorithm, signatureAlgorithm),
		),
		reference: check.All(
			check.That("reference uri", refusal.SAMLSignature, referenceURI),
			check.That("reference contents", refusal.SAMLSignature, referenceContents),
			check.That("reference transforms", refusal.SAMLAlgorithm, referenceTransforms),
			check.That("digest algorithm", refusal.SAMLAlgorithm, digestAlgorithm),
		),
		signatureValue: check.All(
			check.That("signature value", refusal.SAMLSignature, signatureValue),
		),
		digestValue: check.All(
			check.That("digest value", refusal.SAMLSignature, digestValue),
		),
	}
}
