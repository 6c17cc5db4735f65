// Package provider is the contract between the gateway and the identity
// providers at which it signs people in: what a provider does, and what it says
// about a person.
package provider

import (
	"context"
	"errors"
	"net/url"
	"time"
)

// Protocol names the federation protocol of a provider. It is part of every
// account's key, so its values are fixed for good.
type Protocol string

// The protocols a provider can speak.
const (
	OIDC Protocol = "oidc" // OpenID Connect Core 1.0
	SAML Protocol = "saml" // SAML 2.0 Web Browser SSO Profile
)

// A Provider signs people in at one external identity provider.
//
// Implementations are safe for concurrent use, never touch a ResponseWriter,
// and wait for no network before Begin or Complete is called: a provider that is
// down must not stop the gateway from starting.
//
// Errors are of two kinds and MUST NOT be mixed. An answer that was judged bad
// is a *refusal.Error with a 4xx code. A provider that could not be reached, or that
// answered nonsense outside of the answer itself (discovery, keys, token
// endpoint down), is a *refusal.Error with refusal.ProviderUnavailable.
//
// More can be offered by also implementing SessionEnder, Publisher or
// Starter.
type Provider interface {
	// Protocol returns the protocol. It decides the callback's path and which
	// request parameter carries the flow's state: OIDC's state in a query,
	// SAML's RelayState in a form.
	Protocol() Protocol

	// Issuer returns the provider's identity: the OpenID issuer identifier or
	// the SAML entity ID. With the protocol it keys accounts and sessions. It
	// is empty while it is not known yet (metadata not loaded).
	Issuer() string

	// Definition returns the digest of the options that decide, beside the issuer,
	// whom an answer is about and whether it is believed (see Definition). A login
	// and a flow count only under the definition that made them. It is constant,
	// and cheap to ask for.
	Definition() string

	// Begin makes the request that the browser carries to the provider. What
	// it returns in Begun.Private is stored with the flow, sealed, and handed
	// to Complete.
	Begin(ctx context.Context, req BeginRequest) (*Begun, error)

	// Complete judges the provider's answer in full and returns what it says.
	// The flow still exists while Complete runs: a code is exchanged or a
	// signature checked before the flow is used up.
	Complete(ctx context.Context, req CompleteRequest) (*Answer, error)
}

// ErrRequestRefused is in the cause of a refusal.ProviderRefused if the provider refuses
// the way in which it was asked, and not the person (RFC 6749 §4.1.2.1, SAML Core
// 3.2.2.2).
var ErrRequestRefused = errors.New("it refuses the request, not the person: a setting here or at the provider is wrong")

// A BeginRequest is what a provider needs to start one login.
type BeginRequest struct {
	// State is the flow's handle, 43 characters of base64url. It goes out as
	// the OAuth state parameter (RFC 6749 §4.1.1) or as SAML RelayState.
	State string
	// CallbackURL is where the answer must arrive: the redirect_uri, or the
	// AssertionConsumerServiceURL. Absolute, without query.
	CallbackURL string
	// MetadataURL is where this site's metadata are, an absolute URL without
	// query. It is the default SP entity ID; OIDC has no use for it.
	MetadataURL string
	// ForceLogin asks the provider to authenticate the person anew.
	ForceLogin bool
	// OtherPerson asks the provider to let another person sign in than the one who
	// is signed in there. Complete refuses an answer whose time of sign-in lies before
	// the login began; one without that time is taken.
	OtherPerson bool
}

// Begun is the outcome of Begin.
type Begun struct {
	// Location is where the browser is redirected, or where Form is posted.
	Location string
	// Form, when not nil, are the fields that the browser posts to Location
	// (SAML Bindings 3.5) instead of being redirected.
	Form url.Values
	// Private is the provider's own record of the flow (nonce, PKCE verifier,
	// request ID). At most 4 kB.
	Private []byte
}

// A CompleteRequest carries the provider's answer.
type CompleteRequest struct {
	// Params are the answer's parameters, each name with all its values, from
	// the query (GET) or the form (POST), never mixed.
	Params url.Values
	// Private is what Begin returned for this flow.
	Private []byte
	// CallbackURL and MetadataURL are those that Begin was given.
	CallbackURL, MetadataURL string
	// GroupsUnused says that no rule reads the groups of this provider's people:
	// nothing more is asked for because of them.
	GroupsUnused bool
}

// An Answer is what a provider said about a person, judged good.
type Answer struct {
	Identity Identity
	// Subject is the account key's last part: OIDC sub, or the SAML NameID
	// with its qualifiers. Never empty.
	Subject string
	// NotAfter bounds the login (SAML SessionNotOnOrAfter). Zero: no bound.
	NotAfter time.Time
	// SessionID is the provider's handle for its own session: OIDC sid or SAML
	// SessionIndex. May be empty.
	SessionID string
	// ReplayID, when not empty, works once until ReplayUntil over all nodes
	// (SAML assertion ID, qualified by issuer).
	ReplayID    string
	ReplayUntil time.Time
	// LogoutHint is kept, sealed, for SessionEnder: the ID token for OIDC.
	// Empty unless the provider is configured to end its session too.
	LogoutHint string
}

// A SessionEnder can end the session at the provider as well
// (OpenID Connect RP-Initiated Logout 1.0).
type SessionEnder interface {
	Provider
	// LogoutURL returns where the browser goes to end the provider's session.
	// An empty URL means that the provider offers no such thing.
	LogoutURL(ctx context.Context, req LogoutRequest) (string, error)
}

// A LogoutRequest is what a SessionEnder needs.
type LogoutRequest struct {
	// Hint is Answer.LogoutHint of the login that ends.
	Hint string
	// ReturnURL is where the provider sends the browser afterwards. Absolute.
	ReturnURL string
}

// A Publisher can tell the other side how to register us (SAML Metadata
// 2.4.4).
type Publisher interface {
	Provider
	// Metadata returns our metadata at one site for this provider, as a
	// document of the type application/samlmetadata+xml.
	Metadata(ctx context.Context, req MetadataRequest) ([]byte, error)
}

// A MetadataRequest says what our metadata are made from. Both URLs are
// absolute, without query.
type MetadataRequest struct {
	// CallbackURL is the AssertionConsumerService's location.
	CallbackURL string
	// MetadataURL is where the document is served, the default SP entity ID.
	MetadataURL string
}

// A Starter has something to load before the first request: the last good copy
// of what it was told by the provider, so that who is signed in stays so while
// the provider is down.
type Starter interface {
	Provider
	// Start loads what was kept, from the store alone, and may have what is new
	// fetched in the background. It returns when the first is done, or ctx ends;
	// what goes wrong is logged, and is no reason not to start. It may be called
	// more than once.
	Start(ctx context.Context)
}
