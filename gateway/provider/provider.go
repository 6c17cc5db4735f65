// Package provider is the contract between the gateway and the identity providers at
// which it signs people in.
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

// The supported protocols.
const (
	OIDC Protocol = "oidc" // OpenID Connect Core 1.0
	SAML Protocol = "saml" // SAML 2.0 Web Browser SSO Profile
)

// A Provider signs people in at one external identity provider.
//
// Implementations are safe for concurrent use, never touch a ResponseWriter, and use
// no network before Begin or Complete is called: a provider that is down must not
// stop the gateway from starting.
//
// Errors are of two kinds and MUST NOT be mixed. For an invalid answer, the error is
// a *refusal.Error with a 4xx code. If the provider can't be reached, or sends
// nonsense outside of the answer itself (discovery, keys, token endpoint), it is a
// *refusal.Error with refusal.ProviderUnavailable.
//
// A Provider may also implement SessionEnder, Publisher or Starter.
type Provider interface {
	// Protocol decides the callback's path and which request parameter carries the
	// flow's state: OIDC's state in a query, SAML's RelayState in a form.
	Protocol() Protocol

	// Issuer returns the provider's identity: the OpenID issuer identifier or the
	// SAML entity ID. With the protocol it keys accounts and sessions. It is empty
	// until it is known (metadata not loaded).
	Issuer() string

	// Definition returns the digest of the provider's Definition. A login and a flow
	// count only under the definition that made them. It is constant and cheap.
	Definition() string

	// Begin makes the request that the browser carries to the provider. Begun.Private
	// is stored with the flow, sealed, and handed to Complete.
	Begin(ctx context.Context, req BeginRequest) (*Begun, error)

	// Complete verifies the provider's answer in full and returns its content. The
	// flow still exists while Complete runs: a code is exchanged, or a signature
	// checked, before the flow is used up.
	Complete(ctx context.Context, req CompleteRequest) (*Answer, error)
}

// ErrRequestRefused is in the cause of a refusal.ProviderRefused if the provider
// refuses our request, not the person (RFC 6749 §4.1.2.1, SAML Core 3.2.2.2).
var ErrRequestRefused = errors.New("it refuses the request, not the person: a setting here or at the provider is wrong")

// ErrUnsupported is in the cause of a refusal if the provider does not do what the request
// asked for. Its setting is wrong, and the person is not at fault.
var ErrUnsupported = errors.New("the provider does not do what the request asked for")

// A BeginRequest carries the input of Begin.
type BeginRequest struct {
	// State identifies the flow: 43 characters of base64url. It is sent as the OAuth
	// state parameter (RFC 6749 §4.1.1) or as SAML RelayState.
	State string
	// CallbackURL is where the answer must arrive: the redirect_uri, or the
	// AssertionConsumerServiceURL. Absolute, without query.
	CallbackURL string
	// MetadataURL is the address of this site's metadata: absolute, without query. It
	// is the default SP entity ID; OIDC does not use it.
	MetadataURL string
	// ForceLogin asks the provider to authenticate the person again.
	ForceLogin bool
	// OtherPerson asks the provider to let somebody else sign in than the person who
	// is signed in there. Complete refuses an answer whose authentication time lies
	// before the login began, and accepts one without that time.
	OtherPerson bool
	// LoginHint and ACRValues are those of a client of our own OpenID provider (OIDC
	// Core §3.1.2.1). SAML has no such hints. Optional.
	LoginHint, ACRValues string
}

// Begun is the result of Begin.
type Begun struct {
	// Location is where the browser is redirected, or where Form is posted.
	Location string
	// Form, when not nil, has the fields that the browser posts to Location (SAML
	// Bindings 3.5) instead of being redirected.
	Form url.Values
	// Private is the provider's own record of the flow (nonce, PKCE verifier,
	// request ID). At most 4 kB.
	Private []byte
}

// A CompleteRequest carries the provider's answer.
type CompleteRequest struct {
	// Params are the answer's parameters, each name with all its values. They come
	// from the query (GET) or the form (POST), never from both.
	Params url.Values
	// Private is Begun.Private of this flow.
	Private []byte
	// CallbackURL and MetadataURL are those of the BeginRequest.
	CallbackURL, MetadataURL string
	// GroupsUnused is set if no rule reads the groups of this provider's people:
	// Complete makes no request for groups alone.
	GroupsUnused bool
}

// An Answer is the verified content of a provider's answer.
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
	// ReplayID, when not empty, is accepted once until ReplayUntil, over all nodes
	// (SAML assertion ID, qualified by issuer).
	ReplayID    string
	ReplayUntil time.Time
	// LogoutHint is kept, sealed, for SessionEnder: the ID token for OIDC.
	// Empty unless the provider is configured to end its session too.
	LogoutHint string
}

// A SessionEnder can also end the session at the provider (OpenID Connect
// RP-Initiated Logout 1.0).
type SessionEnder interface {
	Provider
	// LogoutURL returns where the browser goes to end the provider's session, or ""
	// if the provider does not offer it.
	LogoutURL(ctx context.Context, req LogoutRequest) (string, error)
}

// A LogoutRequest carries the input of LogoutURL.
type LogoutRequest struct {
	// Hint is the LogoutHint of the login that ends.
	Hint string
	// ReturnURL is where the provider sends the browser afterwards. Absolute.
	ReturnURL string
}

// A Publisher has metadata to register us by at the provider (SAML Metadata 2.4.4).
type Publisher interface {
	Provider
	// Metadata returns our metadata at one site for this provider, of the type
	// application/samlmetadata+xml.
	Metadata(ctx context.Context, req MetadataRequest) ([]byte, error)
}

// A MetadataRequest carries the input of Metadata. Both URLs are absolute, without
// query.
type MetadataRequest struct {
	// CallbackURL is the AssertionConsumerService's location.
	CallbackURL string
	// MetadataURL is where the document is served, the default SP entity ID.
	MetadataURL string
}

// A Starter loads something before the first request: the last good copy of the
// provider's documents, so that people stay signed in while the provider is down.
type Starter interface {
	Provider
	// Start loads the copy from the store and returns; it may start a fetch in the
	// background. It also returns when ctx ends. A failure is logged and does not
	// prevent the start. It may be called more than once.
	Start(ctx context.Context)
}
