package oidcrp

import (
	"errors"
	"fmt"

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

// A checklist is everything that is checked, and how strictly it is read before
// that. Each provider has the whole of it; a test takes single checks out of its
// own copy, or reads more laxly, to see that they are what stops an attack.
type checklist struct {
	read           func(data []byte) (*document, error)                 // JSON
	split          func(raw string) (header, payload, signature string) // JWS
	json           []check[*document]
	document       []check[*gateway.Fetched]
	discovery      []check[*discoveryDocument]
	keySet         []check[*keyDocument]
	jwk            []check[*candidate]
	publicKey      []check[*candidate]
	fit            []check[*pairing]
	answer         []check[*answer]
	token          []check[*tokenAnswer]
	compact        []check[string]
	header         []check[*token]
	signature      []check[func() error]
	idToken        []check[*idToken]
	userInfoAnswer []check[*gateway.Fetched]
	userInfo       []check[*userInfo]
	profile        []check[*profile]
}

// allChecks returns the checklist. Within a list the order matters: types come
// first, so that what follows may read a wrong type as missing.
func allChecks() *checklist {
	return &checklist{
		read:  readDocument,
		split: splitCompact,
		json: []check[*document]{
			{"json depth", "", jsonDepth},
			{"json unique names", "", jsonUnique},
			{"json well-formed text", "", jsonText},
		},
		document: []check[*gateway.Fetched]{
			{"document status", "", documentStatus},
			{"document content type", "", documentMediaType},
		},
		discovery: []check[*discoveryDocument]{
			{"discovery types", gateway.CodeProviderUnavailable, discoveryTypes},
			{"discovery issuer", gateway.CodeOIDCIssuerMismatch, discoveryIssuer},
			{"discovery endpoints", gateway.CodeProviderUnavailable, discoveryEndpoints},
		},
		keySet: []check[*keyDocument]{
			{"key set unique names", "", keySetUnique},
			{"key count", "", keyCount},
		},
		jwk: []check[*candidate]{
			{"key types", "", keyTypes},
			{"key use", "", keyUse},
			{"key operations", "", keyOps},
			{"key not private", "", keyPrivate},
		},
		publicKey: []check[*candidate]{
			{"key size", "", keySize},
		},
		fit: []check[*pairing]{
			{"key kid", "", keyKID},
			{"key algorithm", "", keyAlgorithm},
		},
		answer: []check[*answer]{
			{"answer single", gateway.CodeOIDCAnswerInvalid, answerSingle},
			{"answer iss", gateway.CodeOIDCIssuerMismatch, answerIssuer},
			{"answer error alone", gateway.CodeOIDCAnswerInvalid, answerErrorAlone},
			{"answer without tokens", gateway.CodeOIDCAnswerInvalid, answerNoTokens},
			{"answer error", gateway.CodeProviderRefused, answerError},
			{"answer iss required", gateway.CodeOIDCIssuerMismatch, answerIssuerThere},
			{"answer code", gateway.CodeOIDCAnswerInvalid, answerCode},
		},
		token: []check[*tokenAnswer]{
			{"token error", gateway.CodeOIDCClientRejected, tokenError},
			{"token status", gateway.CodeProviderUnavailable, tokenStatus},
			{"token content type", gateway.CodeProviderUnavailable, tokenMediaType},
			{"token object", gateway.CodeOIDCTokenMalformed, tokenObject},
			{"token types", gateway.CodeOIDCTokenMalformed, tokenTypes},
			{"token bearer", gateway.CodeOIDCTokenMalformed, tokenBearer},
			{"token access", gateway.CodeOIDCTokenMalformed, tokenAccess},
			{"token id", gateway.CodeOIDCTokenMalformed, tokenID},
		},
		compact: []check[string]{
			{"compact form", gateway.CodeOIDCTokenMalformed, compactForm},
		},
		header: []check[*token]{
			{"header types", gateway.CodeOIDCTokenMalformed, headerTypes},
			{"alg", gateway.CodeOIDCAlgorithm, headerAlg},
			{"typ", gateway.CodeOIDCTokenMalformed, headerTyp},
			{"crit", gateway.CodeOIDCTokenMalformed, headerCrit},
			{"header keys", gateway.CodeOIDCTokenMalformed, headerKeys},
		},
		signature: []check[func() error]{
			{"signature", gateway.CodeOIDCSignature, signature},
		},
		idToken: []check[*idToken]{
			{"claim types", gateway.CodeOIDCClaimInvalid, idTypes},
			{"iss", gateway.CodeOIDCIssuerMismatch, idIssuer},
			{"aud", gateway.CodeOIDCAudience, idAudience},
			{"azp", gateway.CodeOIDCAudience, idAuthorizedParty},
			{"exp", gateway.CodeOIDCTime, idExpiry},
			{"iat", gateway.CodeOIDCTime, idIssuedAt},
			{"nbf", gateway.CodeOIDCTime, idNotBefore},
			{"nonce", gateway.CodeOIDCNonce, idNonce},
			{"sub", gateway.CodeOIDCClaimInvalid, idSubject},
			{"bounds", gateway.CodeOIDCClaimInvalid, idBounds},
			{"at_hash", gateway.CodeOIDCSubjectMismatch, idAccessHash},
			{"c_hash", gateway.CodeOIDCSubjectMismatch, idCodeHash},
			{"auth_time", gateway.CodeOIDCTime, idAuthTime},
			{"second reading", gateway.CodeOIDCTokenMalformed, idLibrary},
		},
		userInfoAnswer: []check[*gateway.Fetched]{
			{"userinfo status", gateway.CodeProviderUnavailable, userInfoStatus},
			{"userinfo content type", gateway.CodeProviderUnavailable, userInfoMediaType},
		},
		userInfo: []check[*userInfo]{
			{"userinfo types", gateway.CodeOIDCClaimInvalid, userInfoTypes},
			{"userinfo sub", gateway.CodeOIDCSubjectMismatch, userInfoSubject},
			{"userinfo iss", gateway.CodeOIDCIssuerMismatch, userInfoIssuer},
			{"userinfo aud", gateway.CodeOIDCAudience, userInfoAudience},
			{"userinfo time", gateway.CodeOIDCTime, userInfoTime},
		},
		profile: []check[*profile]{
			{"profile types", gateway.CodeOIDCClaimInvalid, profileTypes},
			{"email", gateway.CodeOIDCClaimInvalid, profileEmail},
			{"names", gateway.CodeOIDCClaimInvalid, profileNames},
			{"groups", gateway.CodeOIDCClaimInvalid, profileGroups},
		},
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
