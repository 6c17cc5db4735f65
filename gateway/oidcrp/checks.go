package oidcrp

import (
	"errors"
	"fmt"

	"github.com/caddy-sso/caddy-sso/gateway/check"
	"github.com/caddy-sso/caddy-sso/gateway/fetch"
	"github.com/caddy-sso/caddy-sso/gateway/refusal"
	"github.com/caddy-sso/caddy-sso/gateway/wording"
)

// A checklist is everything that is checked, and how strictly it is read before
// that. Each provider has the whole of it; a test takes single checks out of its
// own copy, or reads more laxly, to see that they are what stops an attack.
type checklist struct {
	read           func(data []byte) (*document, error)                 // JSON
	split          func(raw string) (header, payload, signature string) // JWS
	json           check.List[*document]
	document       check.List[*fetch.Response]
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
	userInfoAnswer check.List[*fetch.Response]
	userInfo       check.List[*userInfo]
	profile        check.List[*profile]
	person         check.List[*person]
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
			check.That("document status", "", statusOK),
			check.That("document content type", "", documentMediaType),
		),
		discovery: check.All(
			check.That("discovery types", refusal.ProviderUnavailable, discoveryTypes),
			check.That("discovery issuer", refusal.OIDCIssuerMismatch, discoveryIssuer),
			check.That("discovery endpoints", refusal.ProviderUnavailable, discoveryEndpoints),
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
			check.That("answer single", refusal.OIDCAnswerInvalid, answerSingle),
			check.That("answer iss", refusal.OIDCIssuerMismatch, answerIssuer),
			check.That("answer error alone", refusal.OIDCAnswerInvalid, answerErrorAlone),
			check.That("answer without tokens", refusal.OIDCAnswerInvalid, answerNoTokens),
			check.That("answer error", refusal.ProviderRefused, answerError),
			check.That("answer iss required", refusal.OIDCIssuerMismatch, answerIssuerThere),
			check.That("answer code", refusal.OIDCAnswerInvalid, answerCode),
		),
		token: check.All(
			check.That("token error", refusal.OIDCClientRejected, tokenError),
			check.That("token status", refusal.ProviderUnavailable, tokenStatus),
			check.That("token content type", refusal.ProviderUnavailable, tokenMediaType),
			check.That("token object", refusal.OIDCTokenMalformed, tokenObject),
			check.That("token types", refusal.OIDCTokenMalformed, tokenTypes),
			check.That("token bearer", refusal.OIDCTokenMalformed, tokenBearer),
			check.That("token access", refusal.OIDCTokenMalformed, tokenAccess),
			check.That("token id", refusal.OIDCTokenMalformed, tokenID),
		),
		compact: check.All(
			check.That("compact form", refusal.OIDCTokenMalformed, compactForm),
		),
		header: check.All(
			check.That("header types", refusal.OIDCTokenMalformed, headerTypes),
			check.That("alg", refusal.OIDCAlgorithm, headerAlg),
			check.That("typ", refusal.OIDCTokenMalformed, headerTyp),
			check.That("crit", refusal.OIDCTokenMalformed, headerCrit),
		),
		signature: check.All(
			check.That("signature", refusal.OIDCSignature, signature),
		),
		idToken: check.All(
			check.That("claim types", refusal.OIDCClaimInvalid, idTypes),
			check.That("iss", refusal.OIDCIssuerMismatch, idIssuer),
			check.That("aud", refusal.OIDCAudience, idAudience),
			check.That("azp", refusal.OIDCAudience, idAuthorizedParty),
			check.That("exp", refusal.OIDCTime, idExpiry),
			check.That("iat", refusal.OIDCTime, idIssuedAt),
			check.That("nbf", refusal.OIDCTime, idNotBefore),
			check.That("nonce", refusal.OIDCNonce, idNonce),
			check.That("sub", refusal.OIDCClaimInvalid, idSubject),
			check.That("at_hash", refusal.OIDCSubjectMismatch, idAccessHash),
			check.That("c_hash", refusal.OIDCSubjectMismatch, idCodeHash),
			check.That("auth_time", refusal.OIDCTime, idAuthTime),
			check.That("second reading", refusal.OIDCTokenMalformed, idLibrary),
		),
		userInfoAnswer: check.All(
			check.That("userinfo status", refusal.ProviderUnavailable, userInfoStatus),
			check.That("userinfo content type", refusal.ProviderUnavailable, userInfoMediaType),
		),
		userInfo: check.All(
			check.That("userinfo types", refusal.OIDCClaimInvalid, userInfoTypes),
			check.That("userinfo sub", refusal.OIDCSubjectMismatch, userInfoSubject),
			check.That("userinfo iss", refusal.OIDCIssuerMismatch, userInfoIssuer),
			check.That("userinfo aud", refusal.OIDCAudience, userInfoAudience),
			check.That("userinfo time", refusal.OIDCTime, userInfoTime),
		),
		profile: check.All(
			check.That("profile types", refusal.OIDCClaimInvalid, profileTypes),
			check.That("email", refusal.OIDCClaimInvalid, profileEmail),
			check.That("user name", refusal.OIDCClaimInvalid, profileUsername),
			check.That("groups", refusal.OIDCClaimInvalid, profileGroups),
		),
		person: check.All(
			check.That("email verified", refusal.OIDCEmailUnverified, personEmail),
			check.That("email groups verified", refusal.OIDCEmailUnverified, personGroups),
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
		return twiceError(d.duplicate)
	}
	return nil
}

// A twiceError is a name that stands twice in one object.
type twiceError string

func (e twiceError) Error() string {
	return fmt.Sprintf("the name %s stands twice in one object", wording.Quoted(string(e)))
}

func jsonText(d *document) error {
	if d.illFormed {
		return errors.New("has text that is no UTF-8, or half of a surrogate pair")
	}
	return nil
}
