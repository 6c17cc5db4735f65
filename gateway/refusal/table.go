package refusal

const (
	signInAgain = "Sign in again."
	orTell      = "Sign in again; if that does not help, give your administrator the reference below."
)

// table has the codes in the order of the documentation.
var table = []Meaning{
	{
		Internal, 500, "Something went wrong", "The sign-in of this site met an unexpected error. Try again; if it happens again, give your administrator the reference below.",
		"The log line with this reference has the cause. Please report it: this code should never appear.",
	},
	{
		NotReady, 503, "Sign-in is starting", "The sign-in of this site is still starting. Try again in a few seconds.",
		"The server answers before the sso app has started. If it stays, the log says why the sso app did not start.",
	},
	{
		StoreUnavailable, 503, "Sign-in is unavailable", "The session store of this site can't be reached at the moment. Try again in a minute.",
		"Check that the store answers: the log names the address and the fault. Redis must be a writable primary with maxmemory-policy noeviction.",
	},
	{
		StoreReplaced, 503, "Sign-in is unavailable", "The session store of this site was replaced, and your administrator has to confirm the new one. Give your administrator the reference below.",
		"The store was emptied or swapped: blocked accounts and replay marks may be lost. Restore it, or confirm the new one by deleting the file that begins with sso/store-marker in Caddy's storage. If the log asks whether all nodes have the same secret, give them the same; after a change of Caddy's `storage`, copy sso/secret from the one used before.",
	},
	{
		ProviderUnavailable, 503, "Your identity provider is unavailable", "The identity provider does not answer at the moment. Try again in a minute; people who are signed in already can go on working.",
		"The gateway could not reach the provider or could not use its answer, or the provider said that it is busy or has a fault. The log says which request failed, and how. If there is no connection: check network, DNS, proxy and TLS from this machine to the provider (`ca` for a certificate of an internal authority). If the status is not 200, or a web page came instead of JSON or XML: `issuer` or `metadata` is probably not the provider's address.",
	},
	{
		ProviderUnknown, 404, "This way to sign in does not exist", "The link names a way to sign in that this site does not have. Open the application and sign in from there.",
		"The link names a provider that this site does not offer; the log has both. Look for an old bookmark, or a provider that was renamed or removed.",
	},
	{
		Unauthenticated, 401, "Sign in first", "You are not signed in, or your session has ended. Sign in to go on; if you have just sent a form, send it again afterwards.",
		"Nothing to mend: the request had no valid session and was no page navigation. API clients need a session cookie. Posts from other sites carry no cookie (SameSite=Lax). If it was a SAML provider's answer, register `https://<host>/.sso/saml/acs` there.",
	},
	{
		AccessDenied, 403, "You have no access to this application", "You are in no group that has access here. Ask your administrator for access, or sign in as somebody else.",
		"No role, template or group line of this site matches the person's groups. The log says who it is, and how many groups the provider named; at the level DEBUG, the line before it has the groups, and the rule that is nearest. If the provider named none: have it name them (OpenID Connect: a scope or mapper, `groups_claim`; SAML: an attribute statement, `groups_attribute`). Else compare them with the lines byte for byte: groups may come as paths, object IDs or `DOMAIN\\Group`. Or add the person to a group.",
	},
	{
		AccountBlocked, 403, "Your account is blocked", "An administrator has blocked your account at this site. Ask your administrator for the reason.",
		"The account was blocked by a program that embeds the gateway (`session.Node.BlockAccount`), and `session.Node.UnblockAccount` lets it in again; `caddy-sso` itself has no command for it yet.",
	},
	{
		NoUsername, 403, "Your account has no user name", "The identity provider sent no user name for you. Give your administrator the reference below.",
		"The provider sent no value for the user name. The log says where it was looked for, and which claims or attributes came. OpenID Connect: it is the claim preferred_username (scope profile), or the one that `username_claim` names. SAML: it is the NameID, unless that is persistent or transient, or the attribute that `username_attribute` names.",
	},
	{
		UsernameForeign, 403, "Your user name can't be used here", "At this application your user name could be taken for another person's. Give your administrator the reference below.",
		"User names of several providers are kept apart here; the log says what is wrong with this one. If it is no address in the provider's domain: let `username_claim` or `username_attribute` name one, or mend `users domain`. If it falls into the name space of another provider, whatever its case: give the person another user name, or that provider another name space (`users prefix`, `users suffix`, `users domain`). If two providers name one issuer, nobody of either gets in: write `same_people` and the same `users` if they are the same people; if not, mend the `metadata` of one of them.",
	},
	{
		BadCharacters, 403, "Your account has characters that can't be used here", "A name or group of your account has control characters in it, or blanks around it. Give your administrator the reference below.",
		"A value from the provider contains control characters (line breaks, NUL), or the user name has blanks around it, which would be lost on the way to the app. Mend it at the provider: the log names the field.",
	},
	{
		NotFound, 404, "Page not found", "There is no page at this address. Go back, or open the application.",
		"The path lies below the gateway's own prefix (/.sso/ unless set) and is none of its endpoints.",
	},
	{
		MethodNotAllowed, 405, "This kind of request is not supported", "This address does not take the kind of request that your browser sent. Go back, or open the application.",
		"A client used the wrong HTTP method. The Allow header names the right ones.",
	},
	{
		CrossSite, 403, "A request from another site was blocked", "A page of another site tried to act here in your name. If you wanted that, open the application and do it there.",
		"A form or script of another origin posted to the gateway, or a page of another site embeds the sign-in: the log names the origin. If it is your own page, link to the gateway instead.",
	},
	{
		ForeignOrigin, 403, "A connection from another site was blocked", "A page of another site tried to open a connection here in your name. If you need it, tell your administrator.",
		"A page of another site opened a WebSocket: the log names its origin. If that site may connect, add it to `allowed_origins`.",
	},
	{
		UnknownHost, 421, "Unknown host name", "This site does not have the host name that your browser asked for. Check the address; if it is right, tell your administrator.",
		"The Host header is none of the site's hosts: set `base_url`, or name the host in the site's address. If the log says that it is another site's, give this site an audience of its own by `app`.",
	},
	{
		InsecureHTTP, 403, "Signing in needs https", "Your browser asked for this page without encryption. Open the address with https://; if you did, tell your administrator.",
		"The request came over plain http on a name that is not loopback, where session cookies would be readable. Serve https; behind a TLS-terminating proxy set `trusted_proxies` in Caddy's global options, or an https `base_url`; or, knowing the risk, `insecure_http`.",
	},
	{
		TooLarge, 413, "The request is too large", "Your browser sent more than this address takes. Go back and try again; if it happens again, tell your administrator.",
		"A request to one of the gateway's endpoints exceeds its limit (64 kB of query, 2 MB of form).",
	},
	{
		BadRequest, 400, "The request can't be read", "Something in the request is missing or malformed. " + signInAgain,
		"A request to one of the gateway's own endpoints lacks a parameter, has one twice, or is malformed.",
	},
	{
		TooManyAttempts, 429, "Too many sign-ins", "Too many sign-ins from your network failed, or began at once. Wait a minute, then try again.",
		"One client address exceeds the limit on sign-ins, over all nodes: the log has the address, and which of the numbers it was. Behind a proxy, set `trusted_proxies` in Caddy's global options, else everybody shares the proxy's address. The option `limit` changes the numbers.",
	},
	{
		FlowUnknown, 400, "This sign-in has expired", "The sign-in began too long ago, or is finished already. " + signInAgain,
		"The answer names a login that is not in the store: older than 15 minutes, finished, or never started here. Often a bookmarked provider page or the back button; SAML: a sign-in that began at the provider's portal, which is not taken.",
	},
	{
		FlowOtherBrowser, 403, "This sign-in belongs to another browser", "The sign-in began in another browser, or in another tab. " + signInAgain,
		"The answer came twice without this browser's cookie. Usually a link to the provider that was passed on; many of them are an attack (login CSRF).",
	},
	{
		CookiesBlocked, 403, "Your browser doesn't keep cookies", "Signing in needs a cookie, and your browser did not send it back. Allow cookies for this site, then sign in again.",
		"The answer came without the cookie that was set when the login began, also on the second try. Cookies are blocked, the site is reached by two host names, or http and https are mixed: compare the callback or AssertionConsumerService that is registered at the provider with the address that people open.",
	},
	// 409 and no 5xx: nothing failed here, and the client can remove the conflict
	// (RFC 9110 §15.5.10).
	{
		RedirectLoop, 409, "The sign-in keeps repeating", "You were signed in several times within a minute, but your browser does not send the cookie that says so. Allow cookies for this site, open it by its usual address, and try again in a minute.",
		"The session cookie was set and did not come back. A browser extension deletes it, a proxy drops Set-Cookie or serves a cached answer, or the site is opened by two names, or by http and https. Compare the two addresses in the log line, and check `base_url` and `trusted_proxies`.",
	},
	{
		AppLoop, 409, "The application keeps asking you to sign in", "You are signed in, but the application sends you to sign in again and again. Try again in a minute; if it happens again, tell the application's administrator.",
		"The app redirects to the gateway's login although the person is signed in. It does not read the identity from the request: check that it trusts the headers or the assertion.",
	},
	{
		AnswerLost, 400, "The provider's answer is empty", "The identity provider's answer arrived here without content. Sign in again; if it happens again, tell your administrator.",
		"The callback was asked for by GET without parameters: a bookmark, or the provider's POST met a redirect, which made it a GET. Register the very address that the log names, with https, the right host and without a slash at the end. By default it is `https://<host>/.sso/saml/acs` (SAML, binding HTTP-POST) or `https://<host>/.sso/oidc/callback` (OpenID Connect; where a site has several of those providers, with a slash and the provider's name behind it); `prefix` and `callback_path` change it.",
	},
	{
		AnswerReplayed, 400, "This sign-in was used already", "The identity provider's answer arrived twice. " + signInAgain,
		"The same answer arrived twice. Usually the back button or a double click; many of them are an attack.",
	},
	{
		ProviderRefused, 403, "Your identity provider refused the sign-in", "The identity provider did not sign you in. Try again; if it happens again, give your administrator the reference below.",
		"The provider answered with an error. The log has its code and, in quotes, its own words; the provider's log may say more. OpenID Connect: access_denied is the choice of the person or of a policy; for invalid_scope, take the scope out of `scopes` or permit it to the client; anything else is a setting of the client at the provider. SAML: AuthnFailed and RequestDenied are about the person; InvalidNameIDPolicy is about `name_id_format`; anything else is a setting of this application at the provider.",
	},
	{
		OIDCAnswerInvalid, 400, "The provider's answer can't be used", "The identity provider's answer is incomplete or malformed. " + orTell,
		"The callback's parameters are malformed: code missing, a parameter twice, error beside code (RFC 6749 §4.1.2), or tokens that nobody asked for: the log names it. Set the client at the provider to the authorization code flow (response type `code`), not to the implicit or hybrid one.",
	},
	{
		OIDCIssuerMismatch, 400, "Another identity provider answered", "The provider's answer came from another identity provider than the one that was asked. " + orTell,
		"The issuer in the answer, the ID token or discovery differs from the configured one (RFC 9207; OIDC Discovery §4.3): the log has both. Configure the issuer byte for byte as the provider announces it: often it is a slash at the end, http for https, or another realm or tenant. If they are equal but for one sign-in, another provider answered in its place.",
	},
	{
		OIDCCodeRejected, 400, "The sign-in could not be finished", "The identity provider did not confirm its own answer. " + orTell,
		"The token endpoint answered invalid_grant, or 400 without saying why: the code was used, has expired, or belongs to another client or redirect URI. A single one is somebody who waited too long or reloaded. If it is everybody: compare the redirect URI and client_id with those at the provider, and check that the client there takes PKCE with S256.",
	},
	{
		OIDCClientRejected, 403, "Your identity provider does not accept this site", "The identity provider refused this site, not you. Give your administrator the reference below.",
		"The token endpoint refused the gateway itself (invalid_client, unauthorized_client, …); the log has its words. Check client_id, client_secret and the client's settings at the provider. If the secret is right and has special characters, try `token_auth client_secret_post`: some providers decode a secret in a header otherwise.",
	},
	{
		OIDCTokenMalformed, 400, "The provider's answer can't be used", "The identity provider's answer is incomplete or malformed. " + orTell,
		"The log says which document is malformed: the ID token (it must be a signed JWT in compact form, without crit, of the typ JWT), or an answer of the token endpoint or of userinfo (it must be a JSON object in which no name stands twice). If the client is set to encrypt ID tokens, switch that off: the gateway has no key for them. Anything else is a fault of the provider's software: report it there.",
	},
	{
		OIDCSignature, 400, "The provider's answer can't be trusted", "The signature of the identity provider's answer is not valid. " + orTell,
		"The ID token's signature matches none of the provider's signing keys; the log names both. After a change of keys at the provider, this ends within a minute. If it stays, the token does not come from this issuer.",
	},
	{
		OIDCAlgorithm, 400, "The provider's answer can't be trusted", "The identity provider signs its answers in a way that this site does not accept. " + orTell,
		"The ID token's alg is not among those that the provider announces and the gateway takes (RS, PS, ES with 256, 384 or 512, and EdDSA; never none, never HS). Change the client's ID token algorithm at the provider.",
	},
	{
		OIDCAudience, 400, "The provider's answer is for another application", "The identity provider's answer names another application than this one. " + orTell,
		"The ID token's aud does not contain the client_id, or its azp is another client's, or aud is a list of several and there is no azp that says whose the token is (OIDC Core §3.1.3.7). Check client_id; if it is right, have the provider issue the token for this client alone, or add azp (authorized party).",
	},
	{
		OIDCTime, 400, "The provider's answer has expired", "The identity provider's answer is too old, or its time lies in the future. " + orTell,
		"exp, iat, nbf or auth_time of the ID token are out of bounds. Compare the clocks of this machine and the provider (NTP). If the person wanted to sign in as somebody else: the provider did not ask anew (prompt=login) and answered with the sign-in of before.",
	},
	{
		OIDCNonce, 400, "The provider's answer belongs to another sign-in", "The identity provider's answer does not belong to this sign-in. " + orTell,
		"The ID token's nonce is not the one that was sent: a replayed token, or a provider that does not return the nonce. If it is everybody, report it to the provider (OIDC Core §3.1.2.1).",
	},
	{
		OIDCClaimInvalid, 400, "Your account has a value that can't be used", "The identity provider sent a value about you that this site can't use. Give your administrator the reference below.",
		"A claim that decides has the wrong type, is empty where it must not be, or is no valid e-mail address; or the path that `username_claim` names leads through something that is no object. The log names the claim. A claim that only describes a person is left out instead.",
	},
	{
		OIDCEmailUnverified, 403, "Your e-mail address is not verified", "You are known here by your e-mail address, and your identity provider has not verified that it is yours. Verify it there, then sign in again; if you can't, tell your administrator.",
		"The user name, or the group that a rule is about, is an e-mail address, and the provider doesn't say `email_verified: true` of it in the same document. The log names the claim, and what the provider says. If email_verified is missing, ask for the scope `email`, with which providers send it (`scopes openid profile email`). If it is not true, verify the address at the provider, or name another claim by `username_claim`. If only the provider's administrators can change an address there, as in AD FS, which never sends the claim, write `trust_email` in the provider's block.",
	},
	{
		OIDCSubjectMismatch, 400, "The provider's answers are about different people", "The identity provider sent two answers, and they are about different people. " + orTell,
		"The sub of userinfo differs from the ID token's (OIDC Core §5.3.2), or at_hash does not fit the access token, or c_hash the code. Report it to the provider.",
	},
	{
		SAMLMalformed, 400, "The provider's answer can't be used", "The identity provider's answer is incomplete or malformed. " + orTell,
		"The SAML response is no well-formed, plain XML document of the expected shape (one Response, one Assertion, no DOCTYPE, bounded in size and depth): the log says what is wrong and where. If it is everybody, the provider's software sends it so, or a proxy changes it: report it there. If it is one person with very many attributes or groups, have the provider send those of this application alone.",
	},
	{
		SAMLUnsigned, 400, "The provider's answer is not signed", "The identity provider does not sign its answers as this site requires. Give your administrator the reference below.",
		"The assertion has no signature of its own. Switch on the signing of assertions at the provider (Keycloak: “Sign assertions”; Entra ID: “Sign SAML assertion”). If only the message can be signed there, `want_assertions_signed off` takes that instead. An answer without any signature is never taken.",
	},
	{
		SAMLSignature, 400, "The provider's answer can't be trusted", "The signature of the identity provider's answer is not valid. " + orTell,
		"The XML signature is by none of the provider's signing certificates, or doesn't cover what it must. After a change of certificate at the provider, give the new one, or wait until the metadata are refreshed. The key of an authority (a certificate that issued another of those given) doesn't count. If it stays, the answer was altered on its way.",
	},
	{
		SAMLAlgorithm, 400, "The provider's answer can't be trusted", "The identity provider signs its answers in a way that this site does not accept. " + orTell,
		"The signature uses an algorithm or a transform that is not accepted; the log names it. Accepted are RSA and ECDSA with SHA-256, SHA-384 or SHA-512, and exclusive or inclusive canonicalization. Change the algorithm at the provider; `insecure_sha1` accepts SHA-1 until then.",
	},
	{
		SAMLEncrypted, 400, "The provider's answer can't be read", "The identity provider encrypts its answers, and this site can't decrypt them yet. Give your administrator the reference below.",
		"The assertion, the NameID or an attribute is encrypted, and the gateway has no key to decrypt it. Switch encryption off for this application at the provider; TLS and the signature protect the assertion.",
	},
	{
		SAMLIssuerMismatch, 400, "Another identity provider answered", "The provider's answer came from another identity provider than the one that was asked. " + orTell,
		"The Issuer of the response or of the assertion is not the provider's entity ID, byte for byte. Compare `entity_id`, or the metadata, with what the log names.",
	},
	{
		SAMLDestination, 400, "The provider's answer is for another address", "The identity provider's answer names another address than this one. " + orTell,
		"Destination or Recipient is not our AssertionConsumerService. Register the address that the log names at the provider; behind a proxy, check `base_url` and `trusted_proxies` (http instead of https, another host or port).",
	},
	{
		SAMLRequestMismatch, 400, "The provider's answer belongs to another sign-in", "The identity provider's answer does not belong to this sign-in. " + orTell,
		"InResponseTo is not the ID of the request that this browser was sent with, or is missing. Sign-ins that begin at the provider's portal are not taken; begin at the application.",
	},
	{
		SAMLAudience, 400, "The provider's answer is for another application", "The identity provider's answer names another application than this one. " + orTell,
		"The assertion's AudienceRestriction is missing, or doesn't name our entity ID. Make the entity ID (“Audience”, “Identifier”, “Client ID”) at the provider equal to the one in our metadata, byte for byte, or set `sp_entity_id`.",
	},
	{
		SAMLTime, 400, "The provider's answer has expired", "The identity provider's answer is too old, or its time lies in the future. " + orTell,
		"IssueInstant, NotBefore, a NotOnOrAfter or AuthnInstant is out of bounds by more than `clock_skew` (5 minutes unless set). Compare the clocks of this machine and the provider (NTP). If the person wanted to sign in as somebody else: the provider did not ask anew (ForceAuthn) and answered with the sign-in of before.",
	},
	{
		SAMLSubject, 400, "The provider's answer does not say who you are", "The identity provider's answer does not say who you are in a form that this site can use. " + orTell,
		"The assertion needs one Subject with one NameID and a valid bearer SubjectConfirmation (SAML Profiles 4.1.4.2): the log says what is missing. A transient NameID identifies nobody: set another `name_id_format`, or `id_attribute`. If the NameID's format is not the one that `name_id_format` asks for: have the provider send that one, or set `name_id_format` to the one that it sends, or leave it out, also if the NameID is one for a group of service providers (SPNameQualifier). If only one person is refused so, they may have changed the request in their browser.",
	},
	{
		SAMLCondition, 400, "The provider's answer has a condition that can't be met", "The identity provider's answer has a condition that this site does not know. " + orTell,
		"The assertion has an unknown condition, which the log names, or no AuthnStatement. Switch the condition off for this application at the provider, or have it send an AuthnStatement (SAML Profiles 4.1.4.2).",
	},
	{
		SAMLAttribute, 400, "Your account has a value that can't be used", "The identity provider sent a value about you that this site can't use. Give your administrator the reference below.",
		"The user name or the id attribute has several values, is empty where it must not be, is no text, or exceeds the bounds, or there are too many groups. The log names the attribute. Have the provider send one value, or only the groups of this application; or name another attribute by `username_attribute` or `id_attribute`. An attribute that only describes a person is left out instead.",
	},
}
