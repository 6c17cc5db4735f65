package refusal

const (
	tryAgain = "Try again."
	orTell   = "Try again; if that does not help, give your administrator the reference below."
)

// table has the codes in the order of the documentation.
var table = []Meaning{
	{
		Internal, 500, "Something went wrong", "The sign-in of this site met an unexpected error. Try again; if it happens again, give your administrator the reference below.",
		"The error has the cause. Please report it: this code should never appear.",
	},
	{
		NotReady, 503, "Sign-in is starting", "The sign-in of this site is still starting. Try again in a few seconds.",
		"The server accepts requests, but the sso app has not started yet. If this does not end, the log says why.",
	},
	{
		StoreUnavailable, 503, "Sign-in is unavailable", "The session store of this site can't be reached at the moment. Try again in a minute.",
		"Check the store. The error names its address and the fault. Redis must be a writable primary with maxmemory-policy noeviction.",
	},
	{
		StoreReplaced, 503, "Sign-in is unavailable", "The session store of this site was replaced, and your administrator has to confirm the new one. Give your administrator the reference below.",
		"If the error says that the secret does not open the store, write the old one as well (`secret <new> <old>`), and give all nodes the same. If none was set before, copy the file sso/secret in Caddy's storage from the time before. Otherwise the store was emptied or replaced, so blocks of accounts may be lost. Restore it. Or confirm the new one: in Caddy's storage, delete the file whose name begins with sso/store-marker.",
	},
	{
		ProviderUnavailable, 503, "Your identity provider is unavailable", "The identity provider does not answer at the moment. Try again in a minute; people who are signed in already can go on working.",
		"The gateway could not reach the provider or could not use its response, or the provider said that it is busy or has a fault. The error says which request failed, and why. If there is no connection, check network, DNS, proxy and TLS from this machine to the provider. If the certificate is from an internal authority, set `ca`. If the status is not 200, or a web page came instead of JSON or XML, `issuer` or `metadata` is probably not the provider's address.",
	},
	{
		ProviderUnknown, 404, "This way to sign in does not exist", "The link names a way to sign in that this site does not have. Open the application and sign in from there.",
		"The link names a provider that this site does not offer. The error has the name, and those that the site offers. The link may be an old bookmark, or the provider was renamed or removed.",
	},
	{
		Unauthenticated, 401, "Sign in first", "You are not signed in, or your session has ended. Sign in to go on; if you have just sent a form, send it again afterwards.",
		"This is normal: the request had no valid session, and did not open a page. API clients need a session cookie. A POST from another site has no cookie (SameSite=Lax). If it was a SAML provider's answer, register `https://<host>/.sso/saml/acs` at the provider.",
	},
	{
		AccessDenied, 403, "You have no access to this application", "You are in no group that has access here. Ask your administrator for access, or sign in as somebody else.",
		"No `role`, `template` or `group` line of this site, or of the client that the field `client` names, matches the person's groups. The log line names the person, and says how many groups the provider sent. At the level DEBUG, the line before it has the groups and the most similar rule. If the provider sent none, have it send them (OpenID Connect: a scope or mapper, `groups_claim`; SAML: an attribute statement, `groups_attribute`). Otherwise compare the groups with the lines, byte for byte: groups may come as paths, object IDs or `DOMAIN\\Group`. Or add the person to a group.",
	},
	{
		AccountBlocked, 403, "Your account is blocked", "An administrator has blocked your account at this site. Ask your administrator for the reason.",
		"A program that embeds the gateway has blocked the account (`session.Node.BlockAccount`). `session.Node.UnblockAccount` ends the block. `caddy-sso` has no command for it yet.",
	},
	{
		NoUsername, 403, "Your account has no user name", "The identity provider sent no user name for you. Give your administrator the reference below.",
		"The provider sent no user name. The error says where the gateway looked for it, and which claims or attributes came. OpenID Connect: the user name is the claim `username_claim`, by default preferred_username (scope profile). SAML: it is the attribute `username_attribute`, by default the NameID, unless that is persistent or transient.",
	},
	{
		UsernameForeign, 403, "Your user name can't be used here", "At this application your user name could be taken for another person's. Give your administrator the reference below.",
		"This site has several providers, and must not confuse their people. The error says what is wrong with this user name. If it is not an address in the provider's domain, set `username_claim` or `username_attribute` to one that is, or correct `users domain`. If it lies in another provider's name space (case does not matter), change the person's user name, or that provider's name space (`users prefix`, `users suffix`, `users domain`). If two providers name one issuer, nobody can sign in at either. If they sign in the same people, write `same_people` and the same `users`. If not, correct the `metadata` of one of them.",
	},
	{
		BadCharacters, 403, "Your account has characters that can't be used here", "Your account has control characters in a name, an address or another value, or blanks around the user name. Give your administrator the reference below.",
		"A value from the provider has control characters (line breaks, NUL), or the user name has blanks around it, which would be lost on the way to the app. Correct it at the provider. The error names the field.",
	},
	{
		NotFound, 404, "Page not found", "There is no page at this address. Go back, or open the application.",
		"The path is below the gateway's own prefix (by default /.sso/), but no endpoint has it. Or it is one of those of Proxmox VE at which only the gateway signs people in; then the error says so.",
	},
	{
		MethodNotAllowed, 405, "This kind of request is not supported", "This address does not accept the kind of request that your browser sent. Go back, or open the application.",
		"The client used a wrong HTTP method. The header Allow has the right ones.",
	},
	{
		CrossSite, 403, "A request from another site was blocked", "A page of another site tried to act here in your name. If you wanted that, open the application and do it there.",
		"A form or script of another origin posted to the gateway, or a page of another site has the sign-in in a frame. The error names the origin. If it is your own page, write a link to the gateway instead.",
	},
	{
		ForeignOrigin, 403, "A connection from another site was blocked", "A page of another site tried to open a connection here in your name. If you need it, tell your administrator.",
		"A page of another site opened a WebSocket. The error names its origin. If that site may connect, add it to `allowed_origins`.",
	},
	{
		UnknownHost, 421, "Unknown host name", "This site does not have the host name that your browser asked for. Check the address; if it is right, tell your administrator.",
		"The site does not have the host of the request. Set `base_url`, or write the host in the site's address (in a Caddyfile). If the error says that another site has the host, give this site an audience of its own by `app`.",
	},
	{
		InsecureHTTP, 403, "Signing in needs https", "Your browser asked for this page without encryption. Open the address with https://; if you did, tell your administrator.",
		"The request came over plain http, and its host name is not one of loopback. Others could read the session cookie. Serve https. Behind a proxy that ends TLS, set `trusted_proxies` (in a Caddyfile: in the global options), or an https `base_url`. If you accept the risk, set `insecure_http`.",
	},
	{
		TooLarge, 413, "The request is too large", "Your browser sent more than this address accepts. Go back and try again; if it happens again, tell your administrator.",
		"A request to one of the gateway's endpoints exceeds its limit. The error has the limit. An app's request to the OpenID provider has at most 8 KiB with all its parameters: have the app send a shorter `state`. Any other query has at most 64 KiB, and a form 2 MiB. A request to Proxmox VE that has no Content-Length has at most 1 GiB, and 256 KiB without a login: have the client send one.",
	},
	{
		BadRequest, 400, "The request can't be read", "Something in the request is missing or malformed. Go back and try again. If an application sent you here, tell its administrator.",
		"A request to one of the gateway's own endpoints lacks a parameter, has one twice, or is malformed. Or an app sent something to the OpenID provider that is not in its configuration: the client ID, `redirect_uri` or `post_logout_redirect_uri`. The error has what came and what is configured.",
	},
	{
		TooManyAttempts, 429, "Too many sign-ins", "Too many sign-ins from your network failed, or began at once. Wait a minute, then try again.",
		"One client address exceeded the limit on sign-ins. The log line has the address, and the error says which of the numbers it exceeded. Behind a proxy, set `trusted_proxies` (in a Caddyfile: in the global options); otherwise everybody shares the proxy's address. The option `limit` changes the numbers.",
	},
	{
		ClientRefused, 400, "The application's request was refused", "The application sent a request that can't be granted. Tell the application's administrator.",
		"The OpenID provider refused a request of an app. The field `client` names the app, if it is known. `error` has what the app heard, and the check that failed. See “When it does not work” in docs/openid-provider.md.",
	},
	{
		TokenReused, 400, "The application's sign-in was used already", "The application used its sign-in twice, so it has ended. Sign in to the application again.",
		"An app, or somebody else, used a code or a refresh token a second time. All tokens of that sign-in have ended. If the app sends requests twice, or runs on several machines that don't share tokens, mend that. Otherwise somebody may have stolen the token: find out where it leaked.",
	},
	{
		HeaderTooLarge, 431, "The request has too many headers", "Your browser sent more headers than this application reads. Close the other tabs of this site, delete its cookies and try again; if it happens again, tell your administrator.",
		"A node of Proxmox VE reads at most 8 KiB and 63 lines of a request's header, and some of that is the proxy's. The error has the numbers. No cookie but the ticket is passed on. Headers that a proxy before this one adds count: remove those.",
	},
	{
		ProxmoxUnavailable, 503, "The application is unavailable", "The application does not answer at the moment. Try again in a minute.",
		"No node of Proxmox VE could be reached, or what responds is no Proxmox VE. The error names one. Check network, port 8006 and the certificate: `tls_trust_pool` in the `transport` of `reverse_proxy`, or `ca` or `fingerprint` beside `node`.",
	},
	{
		ProxmoxRealm, 503, "Sign-in at the application is not set up", "The application does not know this site's sign-in yet. Give your administrator the reference below.",
		"The realm is missing at the node, or it is no OpenID realm, or it asks for what this site does not give. Make it by `pveum realm add`, as docs/proxmox.md says, or correct `realm`. The error has the node's words.",
	},
	{
		ProxmoxIssuer, 503, "Sign-in at the application is not set up", "The application knows this site's sign-in by another address. Give your administrator the reference below.",
		"The issuer-url of the realm is not this site's issuer, byte for byte, or its client-id is another. The error has both. A slash at the end or another host is enough. Correct it: `pveum realm modify <realm> --issuer-url <issuer> --client-id <id>`.",
	},
	{
		ProxmoxDiscovery, 503, "The application can't reach this site", "The application has to ask this site who you are, and can't. Give your administrator the reference below.",
		"The node could not fetch the OpenID configuration of this site. The error has the node's words, and the issuer-url that the realm has to have: compare it first (`cat /etc/pve/domains.cfg` on the node). A node often says no more than \"Request failed\", whatever the cause; another path in the issuer-url looks the same. If it is right, run `curl <issuer-url>/.well-known/openid-configuration` on the node. If the name or the network is at fault, correct DNS, /etc/hosts or the firewall. If the certificate is, put the gateway's authority into /usr/local/share/ca-certificates, run update-ca-certificates, and restart pveproxy and pvedaemon.",
	},
	{
		ProxmoxSecret, 503, "Sign-in at the application is not set up", "The application and this site don't share a secret. Give your administrator the reference below.",
		"The node did not exchange the code for tokens. Most likely the realm's client-key is not `secret`: then a line before this one has client_refused with invalid_client. Correct it: `pveum realm modify <realm> --client-key <secret>`. Otherwise the node can't reach this site any more.",
	},
	{
		ProxmoxClock, 503, "The application's clock is wrong", "The clocks of the application and of this site differ. Give your administrator the reference below.",
		"The node refused tokens that it had just got, and its clock differs from this machine's. The error says by how much. Check NTP (chrony) on both.",
	},
	{
		ProxmoxGroups, 503, "Your groups could not be set", "The application did not accept your groups. Try again; if it happens again, give your administrator the reference below.",
		"The node refused to set the person's groups by `group_token`. The error names the groups and has the node's words. Make the groups by `pveum group add`. Give the token's user the privilege User.Modify.",
	},
	{
		ProxmoxUser, 403, "Your user name can't be used there", "The application can't have a user with your user name. Give your administrator the reference below.",
		"A user of Proxmox VE has at most 64 bytes with the realm, and none of blanks, quotation marks and : / % \\ < > , ; !, and no @ first. The error says what is wrong. Choose another claim or attribute as the user name, or change it by the provider's options.",
	},
	{
		ProxmoxRefused, 403, "The application doesn't let you in", "The application refused to sign you in. Ask its administrator for access.",
		"The node got the person's tokens and refused nevertheless, or it signed in somebody else. The error says which. Check that the realm has `--autocreate 1` and `--username-claim preferred_username` (to change that, delete the realm and add it again), that the clocks agree, and that the user is neither disabled nor expired. The node's own log (`journalctl -u pvedaemon`) has its reason. The node waits three seconds before each such answer.",
	},
	{
		FlowUnknown, 400, "This sign-in has expired", "The sign-in began too long ago, or is finished already. " + tryAgain,
		"The answer belongs to a sign-in that is not in the store: it is older than 15 minutes, finished, or never began here. Often the person used a bookmark of the provider's page, or the back button. With SAML, the sign-in may have begun at the provider's portal, which is not supported.",
	},
	{
		FlowOtherBrowser, 403, "This sign-in belongs to another browser", "The sign-in began in another browser, or in another tab. " + tryAgain,
		"The answer came twice without this browser's cookie. Usually somebody passed on a link to the provider. If it happens often, it is an attack (login CSRF).",
	},
	{
		CookiesBlocked, 403, "Your browser doesn't keep cookies", "Signing in needs a cookie, and your browser did not send it back. Allow cookies for this site, then try again.",
		"The answer came without the cookie that was set when the sign-in began, even on the second try. Either the browser blocks cookies, or the site has two host names, or http and https are mixed. Compare the callback or AssertionConsumerService that is registered at the provider with the address that people open.",
	},
	// 409 and no 5xx: nothing failed here, and the client can remove the conflict
	// (RFC 9110 §15.5.10).
	{
		RedirectLoop, 409, "The sign-in keeps repeating", "You were signed in several times within a minute, but your browser does not send this site's cookie. Allow cookies for this site, open it by its usual address, and try again in a minute.",
		"The browser got the session cookie, and did not send it back. Possible causes: a browser extension deletes it, a proxy removes Set-Cookie or serves a cached response, or people open the site by two names, or by http and https. Compare the two addresses in the log line, and check `base_url` and `trusted_proxies`.",
	},
	{
		AppLoop, 409, "The application keeps asking you to sign in", "You are signed in, but the application sends you to sign in again and again. Try again in a minute; if it happens again, tell the application's administrator.",
		"The app redirects to the gateway's login although the person is signed in. It does not read the identity from the request. Check that it trusts the headers or the assertion. If the log has the field `client`, that app asks the OpenID provider for a new sign-in each time (prompt=login, max_age): it probably does not keep its own session.",
	},
	{
		AnswerLost, 400, "The provider's answer is empty", "The identity provider's answer arrived here without content. Try again; if it happens again, tell your administrator.",
		"A GET without parameters came to the callback. It was a bookmark, or the provider's POST was redirected and became a GET. Register exactly the address that the error names: with https, the right host, and without a slash at the end. By default it is `https://<host>/.sso/saml/acs` (SAML, binding HTTP-POST) or `https://<host>/.sso/oidc/callback` (OpenID Connect; at a site with several such providers, `…/callback/<name>`). `prefix` and `callback_path` change it.",
	},
	{
		AnswerReplayed, 400, "This sign-in was used already", "The identity provider's answer arrived twice. " + tryAgain,
		"The same answer arrived twice. Usually it was the back button or a double click. If it happens often, it is an attack.",
	},
	{
		ProviderRefused, 403, "Your identity provider refused the sign-in", "The identity provider did not sign you in. Try again; if it happens again, give your administrator the reference below.",
		"The provider answered with an error. The field `error` has its code and, in quotes, its own words. The provider's log may say more. OpenID Connect: access_denied is a decision of the person or of a policy. For invalid_scope, remove the scope from `scopes`, or allow it for the client. Any other code is about a setting of the client at the provider. SAML: AuthnFailed and RequestDenied are about the person. InvalidNameIDPolicy is about `name_id_format`. Any other code is about a setting of this application at the provider.",
	},
	{
		OIDCAnswerInvalid, 400, "The provider's answer can't be used", "The identity provider's answer is incomplete or malformed. " + orTell,
		"The callback's parameters are malformed: there is no code, a parameter is there twice, an error stands beside a code (RFC 6749 §4.1.2), or there are tokens that the gateway did not ask for. The error names the fault. Set the client at the provider to the authorization code flow (response type `code`), not to the implicit or hybrid one.",
	},
	{
		OIDCIssuerMismatch, 400, "Another identity provider answered", "The provider's answer came from another identity provider than the one that was asked. " + orTell,
		"The issuer in the answer, the ID token or the discovery document is not the configured one (RFC 9207; OIDC Discovery §4.3). The error has both. Write `issuer` byte for byte as the provider announces it. Often the difference is a slash at the end, http instead of https, or another realm or tenant. If only one sign-in fails so, another provider answered instead of this one.",
	},
	{
		OIDCCodeRejected, 400, "The sign-in could not be finished", "The identity provider did not confirm its own answer. " + orTell,
		"The token endpoint responded invalid_grant, or 400 without a reason. The code was used, has expired, or belongs to another client or redirect URI. If it happens once, the person waited too long or reloaded the page. If it happens to everybody, compare the redirect URI and client_id with those at the provider, and check that the client there accepts PKCE with S256.",
	},
	{
		OIDCClientRejected, 403, "Your identity provider does not accept this site", "The identity provider refused this site, not you. Give your administrator the reference below.",
		"The token endpoint refused the gateway itself (invalid_client, unauthorized_client, …). The error has its words. Check client_id, client_secret and the client's settings at the provider. If the secret is right and has special characters, try `token_auth client_secret_post`: some providers decode a secret in a header in their own way.",
	},
	{
		OIDCTokenMalformed, 400, "The provider's answer can't be used", "The identity provider's answer is incomplete or malformed. " + orTell,
		"The error says which document is malformed. An ID token must be a signed JWT in compact form, without crit, of the typ JWT. A response of the token endpoint or of userinfo must be a JSON object without duplicate names. If the client is set to encrypt ID tokens, switch that off: the gateway has no key for them. Any other fault is one of the provider's software. Report it to its makers.",
	},
	{
		OIDCSignature, 400, "The provider's answer can't be trusted", "The signature of the identity provider's answer is not valid. " + orTell,
		"The ID token's signature matches none of the provider's signing keys. The error names the token's key and the provider's. After a change of keys at the provider, this ends within a minute. If it does not, the token does not come from this issuer.",
	},
	{
		OIDCAlgorithm, 400, "The provider's answer can't be trusted", "The identity provider signs its answers in a way that this site does not accept. " + orTell,
		"The provider does not announce the ID token's alg, or the gateway does not accept it. Accepted are RS, PS and ES with 256, 384 or 512, and EdDSA, but never none or HS. Change the client's ID token algorithm at the provider.",
	},
	{
		OIDCAudience, 400, "The provider's answer is for another application", "The identity provider's answer names another application than this one. " + orTell,
		"The ID token's aud does not contain the client_id, or its azp is another client, or aud has several entries and there is no azp (OIDC Core §3.1.3.7). Check client_id. If it is right, have the provider issue the token for this client alone, or add azp (authorized party).",
	},
	{
		OIDCTime, 400, "The provider's answer has expired", "The identity provider's answer is too old, or its time lies in the future. " + orTell,
		"exp, iat, nbf or auth_time of the ID token is too early or too late. Compare the clocks of this machine and the provider (NTP). If auth_time is missing, an app asked for a new sign-in (prompt=login or max_age): have the provider send it. If the person wanted to sign in as somebody else, the provider ignored prompt=login: it did not ask again, and answered with the earlier sign-in.",
	},
	{
		OIDCNonce, 400, "The provider's answer belongs to another sign-in", "The identity provider's answer does not belong to this sign-in. " + orTell,
		"The ID token's nonce is not the one that the gateway sent. The token was replayed, or the provider does not return the nonce (OIDC Core §3.1.2.1). If it happens to everybody, report it to the provider.",
	},
	{
		OIDCClaimInvalid, 400, "Your account has a value that can't be used", "The identity provider sent a value about you that this site can't use. Give your administrator the reference below.",
		"A claim that decides who gets in has the wrong type, is empty, or is not a valid e-mail address. Or a part of the path in `username_claim` is not an object. The error names the claim. If a claim only describes a person, an odd value is left out instead.",
	},
	{
		OIDCEmailUnverified, 403, "Your e-mail address is not verified", "This site knows you by your e-mail address, but your identity provider has not verified it. Verify it there, then try again; if you can't, tell your administrator.",
		"The user name, or the group in a rule, is an e-mail address, and the same document does not say `email_verified: true`. The error names the claim, and what the provider says. If email_verified is missing, ask for the scope `email` (`scopes openid profile email`). If it is not true, verify the address at the provider, or set `username_claim` to another claim. AD FS never sends email_verified. If only administrators can change an address there, write `trust_email` in the provider's block.",
	},
	{
		OIDCSubjectMismatch, 400, "The provider's answers are about different people", "The identity provider sent two answers, and they are about different people. " + orTell,
		"The sub of userinfo is not that of the ID token (OIDC Core §5.3.2), or at_hash does not match the access token, or c_hash does not match the code. Report it to the provider.",
	},
	{
		SAMLMalformed, 400, "The provider's answer can't be used", "The identity provider's answer is incomplete or malformed. " + orTell,
		"The SAML answer is not a well-formed XML document of the expected form: one Response, one Assertion, no DOCTYPE, not too large or deep. The error says what is wrong and where. If it happens to everybody, the provider's software is at fault, or a proxy changes the document. If it happens to a person with very many attributes or groups, have the provider send only those of this application.",
	},
	{
		SAMLUnsigned, 400, "The provider's answer is not signed", "The identity provider does not sign its answers as this site requires. Give your administrator the reference below.",
		"The assertion has no signature of its own. Switch on the signing of assertions at the provider (Keycloak: “Sign assertions”; Entra ID: “Sign SAML assertion”). If the provider can sign only the response, set `want_assertions_signed off`. An answer without any signature is never accepted.",
	},
	{
		SAMLSignature, 400, "The provider's answer can't be trusted", "The signature of the identity provider's answer is not valid. " + orTell,
		"The signature matches none of the provider's signing certificates, or does not cover what it must. If the provider changed its certificate, write the new one, or wait until the metadata are refreshed. An authority's certificate (the issuer of another one that is configured) is not used. If it does not end, something changes the answer on its way.",
	},
	{
		SAMLAlgorithm, 400, "The provider's answer can't be trusted", "The identity provider signs its answers in a way that this site does not accept. " + orTell,
		"The signature uses an algorithm or a transform that is not accepted. The error names it. Accepted are RSA and ECDSA with SHA-256, SHA-384 or SHA-512, and exclusive or inclusive canonicalization. Change the algorithm at the provider. Until then, `insecure_sha1` accepts SHA-1.",
	},
	{
		SAMLEncrypted, 400, "The provider's answer can't be read", "The identity provider encrypts its answers, and this site can't decrypt them yet. Give your administrator the reference below.",
		"The assertion, the NameID or an attribute is encrypted, and the gateway has no key to decrypt it. Switch encryption off for this application at the provider. TLS and the signature protect the assertion.",
	},
	{
		SAMLIssuerMismatch, 400, "Another identity provider answered", "The provider's answer came from another identity provider than the one that was asked. " + orTell,
		"The Issuer of the response or of the assertion is not the provider's entity ID, byte for byte. Compare `entity_id` or the metadata with the Issuer in the log.",
	},
	{
		SAMLDestination, 400, "The provider's answer is for another address", "The identity provider's answer names another address than this one. " + orTell,
		"Destination or Recipient is not our AssertionConsumerService. At the provider, register the address that the error names. Behind a proxy, check `base_url` and `trusted_proxies` (http instead of https, another host or port).",
	},
	{
		SAMLRequestMismatch, 400, "The provider's answer belongs to another sign-in", "The identity provider's answer does not belong to this sign-in. " + orTell,
		"InResponseTo is missing, or is not the ID of this browser's request. A sign-in that begins at the provider's portal is not accepted. Begin at the application.",
	},
	{
		SAMLAudience, 400, "The provider's answer is for another application", "The identity provider's answer names another application than this one. " + orTell,
		"The assertion's AudienceRestriction is missing, or does not name our entity ID. Make the entity ID (“Audience”, “Identifier”, “Client ID”) at the provider equal to the one in our metadata, byte for byte, or set `sp_entity_id`.",
	},
	{
		SAMLTime, 400, "The provider's answer has expired", "The identity provider's answer is too old, or its time lies in the future. " + orTell,
		"IssueInstant, NotBefore, a NotOnOrAfter or AuthnInstant is too early or too late by more than `clock_skew` (by default 5 minutes). Compare the clocks of this machine and the provider (NTP). If the person wanted to sign in as somebody else, the provider ignored ForceAuthn: it did not ask again, and answered with the earlier sign-in.",
	},
	{
		SAMLSubject, 400, "The provider's answer does not say who you are", "The identity provider's answer does not say who you are in a form that this site can use. " + orTell,
		"The assertion needs one Subject with one NameID and a valid bearer SubjectConfirmation (SAML Profiles 4.1.4.2). The error says what is missing. A transient NameID identifies nobody: set another `name_id_format`, or `id_attribute`. If the NameID has another format than `name_id_format`, have the provider send that format, or set `name_id_format` to the format that it sends, or remove it. Also remove it if the NameID is for a group of service providers (SPNameQualifier). If only one person is refused so, they may have changed the request in their browser.",
	},
	{
		SAMLCondition, 400, "The provider's answer has a condition that can't be met", "The identity provider's answer has a condition that this site does not know. " + orTell,
		"The assertion has an unknown condition, or no AuthnStatement. The error names the condition. Switch the condition off for this application at the provider, or have it send an AuthnStatement (SAML Profiles 4.1.4.2).",
	},
	{
		SAMLAttribute, 400, "Your account has a value that can't be used", "The identity provider sent a value about you that this site can't use. Give your administrator the reference below.",
		"The user name or `id_attribute` has several values, is empty, not text or too long, or there are too many groups. The error names the attribute. Have the provider send one value, or only the groups of this application. Or set `username_attribute` or `id_attribute` to another attribute. If an attribute only describes a person, an odd value is left out instead.",
	},
}
