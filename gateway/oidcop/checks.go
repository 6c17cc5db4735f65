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

// noting returns a check, for check.That, whose error goes to the client. The log hears the
// check's name, too.
func noting[T any](name string, run func(T) error) (string, refusal.Code, func(T) error) {
	return name, "", func(subject T) error {
		return note(run(subject), "", name, "")
	}
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
			check.That(noting("parameters once", requestOnce)),
			check.That(noting("request object", requestNoObject)),
			check.That(noting("response type", requestResponseType)),
			check.That(noting("response mode", requestResponseMode)),
			check.That(noting("scope size", requestScopeSize)),
			check.That(noting("scope openid", requestScope)),
			check.That(noting("nonce size", requestNonce)),
			check.That(noting("PKCE", requestPKCE)),
			check.That(noting("PKCE method", requestPKCEMethod)),
			check.That(noting("PKCE challenge", requestChallenge)),
			check.That(noting("prompt", requestPrompt)),
		),
		person: check.All(
			check.That(noting("person requested", personRequested)),
			check.That(noting("person acr", personACR)),
		),
		credentials: check.All(
			check.That(noting("one method", oneMethod)),
			check.That(noting("one client", oneClient)),
			check.That(noting("client method", clientMethod)),
			check.That(noting("client secret", clientSecret)),
		),
		assertion: check.All(
			check.That(noting("assertion type", assertionTyped)),
			check.That(noting("assertion signature", assertionSigned)),
			check.That(noting("assertion iss", assertionIssuer)),
			check.That(noting("assertion aud", assertionAudience)),
			check.That(noting("assertion exp", assertionExpiry)),
			check.That(noting("assertion life", assertionLife)),
			check.That(noting("assertion begun", assertionBegun)),
			check.That(noting("assertion jti", assertionID)),
			check.That(noting("assertion once", assertionOnce)),
		),
		secret: check.All(
			check.That(noting("token secret", tokenSecret)),
		),
		code: check.All(
			check.That(noting(checkCodeOnce, codeOnce)),
			check.That(noting("code client", grantClient)),
			check.That(noting("code redirect URI", codeRedirectURI)),
			check.That(noting("code verifier", codeVerifier)),
		),
		refresh: check.All(
			check.That(noting(checkRefreshNewest, refreshNewest)),
			check.That(noting("refresh client", grantClient)),
		),
		present: check.All(
			check.That(noting("code expiry", codeExpiry)),
			check.That(noting("redirect URI kept", redirectURIKept)),
			check.That(noting("PKCE waived", pkceWaived)),
			check.That(noting("refresh permitted", refreshPermitted)),
		),
		narrow: check.All(
			check.That(noting("scope narrower", scopeNarrower)),
		),
		access: check.All(
			check.That(noting("access expiry", accessExpiry)),
			check.That(noting("held refresh token", heldRefresh)),
		),
		introspection: check.All(
			check.That(noting("introspection client", introspectionClient)),
		),
		own: check.All(
			check.That(noting("own token", ownGrant)),
		),
		hint: check.All(
			check.That(noting("hint signature", hintSigned)),
			check.That(noting("hint iss", hintIssuer)),
			check.That(noting("hint is an ID token", hintIDToken)),
		),
		logout: check.All(
			check.That("logout parameters once", refusal.BadRequest, logoutOnce),
			check.That("logout client", refusal.BadRequest, logoutClient),
			check.That("logout URI", refusal.BadRequest, logoutRegistered),
		),
		logoutHint: check.All(
			check.That(noting("logout login", hintLogin)),
		),
	}
}
