package samlsp

import (
	"crypto"
	"errors"

	"github.com/beevik/etree"

	"github.com/caddy-sso/caddy-sso/gateway"
)

// A check is one thing that must hold before a T is believed.
type check[T any] struct {
	name string
	code gateway.Code // of the refusal; empty: the caller decides
	run  func(T) error
}

// judge runs checks in order and returns the first refusal, with its check's
// code unless it brings one along.
func judge[T any](checks []check[T], subject T) error {
	for _, c := range checks {
		err := c.run(subject)
		if err == nil {
			continue
		}
		if _, coded := errors.AsType[*gateway.Error](err); coded || c.code == "" {
			return err
		}
		return gateway.NewError(c.code, err)
	}
	return nil
}

// A checklist is everything that is checked. Each provider has the whole of it;
// a test takes single checks out of its own copy to see that they are what
// stops an attack.
type checklist struct {
	judging

	xmlDocument    []check[*reader]
	xmlDeclaration []check[xmlDeclaration]
	xmlMarkup      []check[string]
	xmlName        []check[string]
	xmlReference   []check[rune]
	xmlOutside     []check[string]
	xmlElement     []check[*reader]

	key             []check[crypto.PublicKey]
	signature       []check[*signature]
	signatureMethod []check[*signature]
	reference       []check[*signature]
	signatureValue  []check[*signature]
	digestValue     []check[*signature]
}

// allChecks returns the checklist. Within a list the order matters: what bounds
// the cost comes first, and what follows may rely on what came before.
func allChecks() *checklist {
	return &checklist{
		judging: allJudging(),

		xmlDocument: []check[*reader]{
			{"xml size", gateway.CodeTooLarge, xmlSize},
			{"xml characters", "", xmlCharacters},
		},
		xmlDeclaration: []check[xmlDeclaration]{
			{"xml version", "", xmlVersion},
			{"xml encoding", "", xmlEncoding},
		},
		xmlMarkup: []check[string]{
			{"xml doctype", "", xmlDoctype},
			{"xml processing instructions", "", xmlInstruction},
		},
		xmlName: []check[string]{
			{"xml names", "", xmlQualifiedName},
		},
		xmlReference: []check[rune]{
			{"xml references", "", xmlKnownReference},
		},
		xmlOutside: []check[string]{
			{"xml text outside the root", "", xmlBlank},
		},
		xmlElement: []check[*reader]{
			{"xml one root", "", xmlOneRoot},
			{"xml depth", "", xmlDepth},
			{"xml elements", "", xmlElements},
			{"xml attributes", "", xmlAttributes},
			{"xml namespaces", "", xmlNamespaces},
			{"xml namespace length", "", xmlNamespaceLength},
			{"xml prefixes declared", "", xmlPrefixes},
			{"xml unique attributes", "", xmlUniqueAttributes},
			{"xml unique ids", "", xmlUniqueIDs},
			{"xml signatures", "", xmlSignatures},
		},
		key: []check[crypto.PublicKey]{
			{"key size", "", checkKey},
		},
		signature: []check[*signature]{
			{"signature single", gateway.CodeSAMLSignature, signatureSingle},
			{"signature contents", gateway.CodeSAMLSignature, signatureContents},
			{"signature not nested", gateway.CodeSAMLSignature, signatureNotNested},
			{"signed info single", gateway.CodeSAMLSignature, signedInfoSingle},
			{"signed info contents", gateway.CodeSAMLSignature, signedInfoContents},
			{"reference single", gateway.CodeSAMLSignature, referenceSingle},
		},
		signatureMethod: []check[*signature]{
			{"signature canonicalization", gateway.CodeSAMLAlgorithm, signatureCanonicalization},
			{"signature algorithm", gateway.CodeSAMLAlgorithm, signatureAlgorithm},
		},
		reference: []check[*signature]{
			{"reference uri", gateway.CodeSAMLSignature, referenceURI},
			{"reference contents", gateway.CodeSAMLSignature, referenceContents},
			{"reference transforms", gateway.CodeSAMLAlgorithm, referenceTransforms},
			{"digest algorithm", gateway.CodeSAMLAlgorithm, digestAlgorithm},
		},
		signatureValue: []check[*signature]{
			{"signature value", gateway.CodeSAMLSignature, signatureValue},
		},
		digestValue: []check[*signature]{
			{"digest value", gateway.CodeSAMLSignature, digestValue},
		},
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
