package oidcop

import (
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

// allChecks returns the checklist. Within a list the order matters: what a client may hear
// comes last.
func allChecks() *checklist {
	return &checklist{
		parameters: check.All(
			check.That("parameters once", refusal.BadRequest, parametersOnce),
			check.That("parameters size", refusal.TooLarge, parametersSize),
		),
		redirect: check.All(
			check.That("redirect URI", refusal.BadRequest, redirectRegistered),
		),
		request: check.All(
			check.That("request object", "", noting("request object", requestNoObject)),
			check.That("response type", "", noting("response type", requestResponseType)),
			check.That("response mode", "", noting("response mode", requestResponseMode)),
			check.That("scope size", "", noting("scope size", requestScopeSize)),
			check.That("scope openid", "", noting("scope openid", requestScope)),
			check.That("nonce size", "", noting("nonce size", requestNonce)),
			check.That("PKCE", "", noting("PKCE", requestPKCE)),
			check.That("PKCE method", "", noting("PKCE method", requestPKCEMethod)),
			check.That("PKCE challenge", "", noting("PKCE challenge", requestChallenge)),
			check.That("prompt", "", noting("prompt", requestPrompt)),
		),
		person: check.All(
			check.That("person requested", "", noting("person requested", personRequested)),
			check.That("person acr", "", noting("person acr", personACR)),
		),
		credentials: check.All(
			check.That("one method", "", noting("one method", oneMethod)),
			check.That("one client", "", noting("one client", oneClient)),
			check.That("client method", "", noting("client method", clientMethod)),
			check.That("client secret", "", noting("client secret", clientSecret)),
		),
		assertion: check.All(
			check.That("assertion type", "", noting("assertion type", assertionTyped)),
			check.That("assertion signature", "", noting("assertion signature", assertionSigned)),
			check.That("assertion iss", "", noting("assertion iss", assertionIssuer)),
			check.That("assertion aud", "", noting("assertion aud", assertionAudience)),
			check.That("assertion exp", "", noting("assertion exp", assertionExpiry)),
			check.That("assertion life", "", noting("assertion life", assertionLife)),
			check.That("assertion begun", "", noting("assertion begun", assertionBegun)),
			check.That("assertion jti", "", noting("assertion jti", assertionID)),
			check.That("assertion once", "", noting("assertion once", assertionOnce)),
		),
		secret: check.All(
			check.That("token secret", "", noting("token secret", tokenSecret)),
		),
		code: check.All(
			check.That(checkCodeOnce, "", noting(checkCodeOnce, codeOnce)),
			check.That("code expiry", "", noting("code expiry", codeExpiry)),
			check.That("code client", "", noting("code client", grantClient)),
			check.That("code redirect URI", "", noting("code redirect URI", codeRedirectURI)),
			check.That("code verifier", "", noting("code verifier", codeVerifier)),
		),
		refresh: check.All(
			check.That(checkRefreshNewest, "", noting(checkRefreshNewest, refreshNewest)),
			check.That("refresh client", "", noting("refresh client", grantClient)),
			check.That("refresh permitted", "", noting("refresh permitted", refreshPermitted)),
		),
		narrow: check.All(
			check.That("scope narrower", "", noting("scope narrower", scopeNarrower)),
		),
		access: check.All(
			check.That("access expiry", "", noting("access expiry", accessExpiry)),
			check.That("held refresh token", "", noting("held refresh token", heldRefresh)),
		),
		introspection: check.All(
			check.That("introspection client", "", noting("introspection client", introspectionClient)),
		),
		own: check.All(
			check.That("own token", "", noting("own token", ownGrant)),
		),
		hint: check.All(
			check.That("hint signature", "", noting("hint signature", hintSigned)),
			check.That("hint iss", "", noting("hint iss", hintIssuer)),
			check.That("hint is an ID token", "", noting("hint is an ID token", hintIDToken)),
		),
		logout: check.All(
			check.That("logout client", refusal.BadRequest, logoutClient),
			check.That("logout URI", refusal.BadRequest, logoutRegistered),
		),
		logoutHint: check.All(
			check.That("logout login", "", noting("logout login", hintLogin)),
		),
	}
}
