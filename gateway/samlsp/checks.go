package samlsp

import (
	"crypto"

	"github.com/beevik/etree"

	"github.com/caddy-sso/caddy-sso/gateway"
	"github.com/caddy-sso/caddy-sso/gateway/check"
)

// A checklist is everything that is checked. Each provider has the whole of it;
// a test takes single checks out of its own copy to see that they are what
// stops an attack.
type checklist struct {
	judging

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

// allChecks returns the checklist. Within a list the order matters: what bounds
// the cost comes first, and what follows may rely on what came before.
func allChecks() *checklist {
	return &checklist{
		judging: allJudging(),

		xmlDocument: check.All(
			check.That("xml size", gateway.CodeTooLarge, xmlSize),
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
			check.That("key size", "", checkKey),
		),
		signature: check.All(
			check.That("signature single", gateway.CodeSAMLSignature, signatureSingle),
			check.That("signature contents", gateway.CodeSAMLSignature, signatureContents),
			check.That("signature not nested", gateway.CodeSAMLSignature, signatureNotNested),
			check.That("signed info single", gateway.CodeSAMLSignature, signedInfoSingle),
			check.That("signed info contents", gateway.CodeSAMLSignature, signedInfoContents),
			check.That("reference single", gateway.CodeSAMLSignature, referenceSingle),
		),
		signatureMethod: check.All(
			check.That("signature canonicalization", gateway.CodeSAMLAlgorithm, signatureCanonicalization),
			check.That("signature algorithm", gateway.CodeSAMLAlgorithm, signatureAlgorithm),
		),
		reference: check.All(
			check.That("reference uri", gateway.CodeSAMLSignature, referenceURI),
			check.That("reference contents", gateway.CodeSAMLSignature, referenceContents),
			check.That("reference transforms", gateway.CodeSAMLAlgorithm, referenceTransforms),
			check.That("digest algorithm", gateway.CodeSAMLAlgorithm, digestAlgorithm),
		),
		signatureValue: check.All(
			check.That("signature value", gateway.CodeSAMLSignature, signatureValue),
		),
		digestValue: check.All(
			check.That("digest value", gateway.CodeSAMLSignature, digestValue),
		),
	}
}

// The namespaces that reading and verifying know by name.
const (
	xmlSpace   = "http://www.w3.org/XML/1998/namespace"
	xmlnsSpace = "http://www.w3.org/2000/xmlns/"
	dsigSpace  = "http://www.w3.org/2000/09/xmldsig#"
	excSpace   = "http://www.w3.org/2001/10/xml-exc-c14n#"
)

// attribute returns the value of el's attribute without a prefix, and whether
// there is one.
func attribute(el *etree.Element, name string) (string, bool) {
	for i := range el.Attr {
		if el.Attr[i].Space == "" && el.Attr[i].Key == name {
			return el.Attr[i].Value, true
		}
	}
	return "", false
}
