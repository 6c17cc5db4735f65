package oidcop

import (
	"errors"
	"net/url"

	"github.com/caddy-sso/caddy-sso/gateway/check"
	"github.com/caddy-sso/caddy-sso/gateway/refusal"
)

// A checklist is everything that is checked about a request. Each provider has the whole
// of it; a test takes single checks out of its own copy, to see that they are what stops an
// attack.
type checklist struct {
	// The authorization endpoint: before and after there is a client to redirect to.
	parameters check.List[url.Values]
	redirect   check.List[*Authorization]
	request    check.List[*Authorization]
	person     check.List[*requested]
	// Client authentication.
	credentials check.List[*credentials]
	assertion   check.List[*assertion]
	// Codes and tokens.
	secret  check.List[*shown]
	code    check.List[*use]
	refresh check.List[*use]
	// present is about this node's configuration and clock. Those of other nodes may differ, so it
	// ends no grant, unlike code and refresh.
	present check.List[*use]
	narrow  check.List[*narrowed]
	access  check.List[*holder]
	// Introspection and revocation.
	introspection check.List[*client]
	own           check.List[*owned]
	// ID tokens that come back, and logout.
	hint       check.List[*hint]
	logout     check.List[*Logout]
	logoutHint check.List[*hinted]
}

// The checks that notice a second use.
const (
	checkCodeOnce      = "code once"
	checkRefreshNewest = "refresh newest"
)

// failedCheck returns the name of the check that failed, or "".
func failedCheck(err error) string {
	if failed, ok := errors.AsType[*check.FailedError](err); ok {
		return failed.Name
	}
	return ""
}

// allChecks returns the checklist. Within a list the order matters: what a client may hear
// comes last.
func allChecks() *checklist {
	return &checklist{
		parameters: check.All(
			check.That("parameters size", refusal.TooLarge, parametersSize),
		),
		redirect: check.All(
			check.That("client once", refusal.BadRequest, clientOnce),
			check.That("redirect URI", refusal.BadRequest, redirectRegistered),
		),
		request: check.All(
			check.That("parameters once", "", requestOnce),
			check.That("request object", "", requestNoObject),
			check.That("response type", "", requestResponseType),
			check.That("response mode", "", requestResponseMode),
			check.That("scope size", "", requestScopeSize),
			check.That("scope openid", "", requestScope),
			check.That("nonce size", "", requestNonce),
			check.That("PKCE", "", requestPKCE),
			check.That("PKCE method", "", requestPKCEMethod),
			check.That("PKCE challenge", "", requestChallenge),
			check.That("prompt", "", requestPrompt),
		),
		person: check.All(
			check.That("person requested", "", personRequested),
			check.That("person acr", "", personACR),
		),
		credentials: check.All(
			check.That("one method", "", oneMethod),
			check.That("one client", "", oneClient),
			check.That("client method", "", clientMethod),
			check.That("client secret", "", clientSecret),
		),
		assertion: check.All(
			check.That("assertion type", "", assertionTyped),
			check.That("assertion signature", "", assertionSigned),
			check.That("assertion iss", "", assertionIssuer),
			check.That("assertion aud", "", assertionAudience),
			check.That("assertion exp", "", assertionExpiry),
			check.That("assertion life", "", assertionLife),
			check.That("assertion begun", "", assertionBegun),
			check.That("assertion jti", "", assertionID),
			check.That("assertion once", "", assertionOnce),
		),
		secret: check.All(
			check.That("token secret", "", tokenSecret),
		),
		code: check.All(
			check.That(checkCodeOnce, "", codeOnce),
			check.That("code client", "", grantClient),
			check.That("code redirect URI", "", codeRedirectURI),
			check.That("code verifier", "", codeVerifier),
		),
		refresh: check.All(
			check.That(checkRefreshNewest, "", refreshNewest),
			check.That("refresh client", "", grantClient),
		),
		present: check.All(
			check.That("code expiry", "", codeExpiry),
			check.That("redirect URI kept", "", redirectURIKept),
			check.That("PKCE waived", "", pkceWaived),
			check.That("refresh permitted", "", refreshPermitted),
		),
		narrow: check.All(
			check.That("scope narrower", "", scopeNarrower),
		),
		access: check.All(
			check.That("access expiry", "", accessExpiry),
			check.That("held refresh token", "", heldRefresh),
		),
		introspection: check.All(
			check.That("introspection client", "", introspectionClient),
		),
		own: check.All(
			check.That("own token", "", ownGrant),
		),
		hint: check.All(
			check.That("hint signature", "", hintSigned),
			check.That("hint iss", "", hintIssuer),
			check.That("hint is an ID token", "", hintIDToken),
		),
		logout: check.All(
			check.That("logout parameters once", refusal.BadRequest, logoutOnce),
			check.That("logout client", refusal.BadRequest, logoutClient),
			check.That("logout URI", refusal.BadRequest, logoutRegistered),
		),
		logoutHint: check.All(
			check.That("logout login", "", hintLogin),
		),
	}
}
