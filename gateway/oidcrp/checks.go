package oidcrp

import (
	"errors"
	"fmt"

	"github.com/caddy-sso/caddy-sso/gateway"
	"github.com/caddy-sso/caddy-sso/gateway/check"
)

// A checklist is everything that is checked, and how strictly it is read before
// that. Each provider has the whole of it; a test takes single checks out of its
// own copy, or reads more laxly, to see that they are what stops an attack.
type checklist struct {
	read           func(data []byte) (*document, error)                 // JSON
	split          func(raw string) (header, payload, signature string) // JWS
	json           check.List[*document]
	document       check.List[*gateway.Fetched]
	discovery      check.List[*discoveryDocument]
	keySet         check.List[*keyDocument]
	jwk            check.List[*candidate]
	publicKey      check.List[*candidate]
	fit            check.List[*pairing]
	answer         check.List[*answer]
	token          check.List[*tokenAnswer]
	compact        check.List[string]
	header         check.List[*token]
	signature      check.List[func() error]
	idToken        check.List[*idToken]
	userInfoAnswer check.List[*gateway.Fetched]
	userInfo       check.List[*userInfo]
	profile        check.List[*profile]
}

// allChecks returns the checklist. Within a list the order matters: types come
// first, so that what follows may read a wrong type as missing.
func allChecks() *checklist {
	return &checklist{
		read:  readDocument,
		split: splitCompact,
		json: check.All(
			check.That("json depth", "", jsonDepth),
			check.That("json unique names", "", jsonUnique),
			check.That("json well-formed text", "", jsonText),
		),
		document: check.All(
			check.That("document status", "", documentStatus),
			check.That("document content type", "", documentMediaType),
		),
		discovery: check.All(
			check.That("discovery types", gateway.CodeProviderUnavailable, discoveryTypes),
			check.That("discovery issuer", gateway.CodeOIDCIssuerMismatch, discoveryIssuer),
			check.That("discovery endpoints", gateway.CodeProviderUnavailable, discoveryEndpoints),
		),
		keySet: check.All(
			check.That("key set unique names", "", keySetUnique),
			check.That("key count", "", keyCount),
		),
		jwk: check.All(
			check.That("key types", "", keyTypes),
			check.That("key use", "", keyUse),
			check.That("key operations", "", keyOps),
			check.That("key not private", "", keyPrivate),
		),
		publicKey: check.All(
			check.That("key size", "", keySize),
		),
		fit: check.All(
			check.That("key kid", "", keyKID),
			check.That("key algorithm", "", keyAlgorithm),
		),
		answer: check.All(
			check.That("answer single", gateway.CodeOIDCAnswerInvalid, answerSingle),
			check.That("answer iss", gateway.CodeOIDCIssuerMismatch, answerIssuer),
			check.That("answer error alone", gateway.CodeOIDCAnswerInvalid, answerErrorAlone),
			check.That("answer without tokens", gateway.CodeOIDCAnswerInvalid, answerNoTokens),
			check.That("answer error", gateway.CodeProviderRefused, answerError),
			check.That("answer iss required", gateway.CodeOIDCIssuerMismatch, answerIssuerThere),
			check.That("answer code", gateway.CodeOIDCAnswerInvalid, answerCode),
		),
		token: check.All(
			check.That("token error", gateway.CodeOIDCClientRejected, tokenError),
			check.That("token status", gateway.CodeProviderUnavailable, tokenStatus),
			check.That("token content type", gateway.CodeProviderUnavailable, tokenMediaType),
			check.That("token object", gateway.CodeOIDCTokenMalformed, tokenObject),
			check.That("token types", gateway.CodeOIDCTokenMalformed, tokenTypes),
			check.That("token bearer", gateway.CodeOIDCTokenMalformed, tokenBearer),
			check.That("token access", gateway.CodeOIDCTokenMalformed, tokenAccess),
			check.That("token id", gateway.CodeOIDCTokenMalformed, tokenID),
		),
		compact: check.All(
			check.That("compact form", gateway.CodeOIDCTokenMalformed, compactForm),
		),
		header: check.All(
			check.That("header types", gateway.CodeOIDCTokenMalformed, headerTypes),
			check.That("alg", gateway.CodeOIDCAlgorithm, headerAlg),
			check.That("typ", gateway.CodeOIDCTokenMalformed, headerTyp),
			check.That("crit", gateway.CodeOIDCTokenMalformed, headerCrit),
			check.That("header keys", gateway.CodeOIDCTokenMalformed, headerKeys),
		),
		signature: check.All(
			check.That("signature", gateway.CodeOIDCSignature, signature),
		),
		idToken: check.All(
			check.That("claim types", gateway.CodeOIDCClaimInvalid, idTypes),
			check.That("iss", gateway.CodeOIDCIssuerMismatch, idIssuer),
			check.That("aud", gateway.CodeOIDCAudience, idAudience),
			check.That("azp", gateway.CodeOIDCAudience, idAuthorizedParty),
			check.That("exp", gateway.CodeOIDCTime, idExpiry),
			check.That("iat", gateway.CodeOIDCTime, idIssuedAt),
			check.That("nbf", gateway.CodeOIDCTime, idNotBefore),
			check.That("nonce", gateway.CodeOIDCNonce, idNonce),
			check.That("sub", gateway.CodeOIDCClaimInvalid, idSubject),
			check.That("bounds", gateway.CodeOIDCClaimInvalid, idBounds),
			check.That("at_hash", gateway.CodeOIDCSubjectMismatch, idAccessHash),
			check.That("c_hash", gateway.CodeOIDCSubjectMismatch, idCodeHash),
			check.That("auth_time", gateway.CodeOIDCTime, idAuthTime),
			check.That("second reading", gateway.CodeOIDCTokenMalformed, idLibrary),
		),
		userInfoAnswer: check.All(
			check.That("userinfo status", gateway.CodeProviderUnavailable, userInfoStatus),
			check.That("userinfo content type", gateway.CodeProviderUnavailable, userInfoMediaType),
		),
		userInfo: check.All(
			check.That("userinfo types", gateway.CodeOIDCClaimInvalid, userInfoTypes),
			check.That("userinfo sub", gateway.CodeOIDCSubjectMismatch, userInfoSubject),
			check.That("userinfo iss", gateway.CodeOIDCIssuerMismatch, userInfoIssuer),
			check.That("userinfo aud", gateway.CodeOIDCAudience, userInfoAudience),
			check.That("userinfo time", gateway.CodeOIDCTime, userInfoTime),
		),
		profile: check.All(
			check.That("profile types", gateway.CodeOIDCClaimInvalid, profileTypes),
			check.That("email", gateway.CodeOIDCClaimInvalid, profileEmail),
			check.That("names", gateway.CodeOIDCClaimInvalid, profileNames),
			check.That("groups", gateway.CodeOIDCClaimInvalid, profileGroups),
		),
	}
}

func jsonDepth(d *document) error {
	if d.depth > maxDepth {
		return fmt.Errorf("is nested deeper than %d levels", maxDepth)
	}
	return nil
}

func jsonUnique(d *document) error {
	if d.twice {
		return fmt.Errorf("the name %s stands twice in one object", quoted(d.duplicate))
	}
	return nil
}

func jsonText(d *document) error {
	if d.illFormed {
		return errors.New("has text that is no UTF-8, or half of a surrogate pair")
	}
	return nil
}
