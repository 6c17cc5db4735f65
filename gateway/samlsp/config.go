package samlsp

import (
	"context"
	"crypto"
	"net/http"
	"time"

	"go.uber.org/zap"

	"github.com/caddy-sso/caddy-sso/gateway"
)

// Config describes one SAML identity provider and how we meet it. Either
// Metadata or the hand-given form (EntityID, SSOURL, Certificates) is required;
// the zero value of everything else is the safe default.
type Config struct {
	// MetadataURL is where the provider publishes its metadata. They are
	// fetched at first use, and refreshed in the background.
	MetadataURL string
	// Metadata is the metadata document itself, from a file or inline.
	Metadata []byte

	// EntityID is the provider's entity ID. With metadata it picks one of
	// several entities, and must be the one there.
	EntityID string
	// SSOURL is the SingleSignOnService's location, without metadata.
	SSOURL string
	// Certificates are the provider's signing certificates, without metadata:
	// PEM or bare Base64, with or without line breaks.
	Certificates []string

	// SPEntityID is our entity ID. Default: the metadata's URL of the site.
	SPEntityID string
	// RequestBinding is how the request travels. Default: what the metadata
	// offer, redirect before post; redirect without metadata.
	RequestBinding Binding
	// SignRequests signs the request. Default: off; the metadata's
	// WantAuthnRequestsSigned switches it on.
	SignRequests Switch
	// NameIDFormat is asked for in the request, as a URN of SAML Core 8.3, or
	// by its last part ("emailAddress", "persistent"). Default: none.
	NameIDFormat string

	// IDAttribute is the attribute that identifies the account, instead of the
	// NameID. Single and not empty.
	IDAttribute string
	// The attributes that become the identity, each by its exact Name.
	// UsernameAttribute's default is the NameID itself; the others have lists
	// of well-known names.
	UsernameAttribute, EmailAttribute, FirstNameAttribute, LastNameAttribute, DisplayNameAttribute, GroupsAttribute string

	// WantAssertionsSigned requires the assertion's own signature. Default: on.
	// Off: the response's signature is required instead.
	WantAssertionsSigned Switch
	// ClockSkew is by how much the clocks may differ. Default 5 minutes.
	ClockSkew time.Duration

	// RootCAs are PEM certificates to verify the metadata server's TLS
	// certificate by. Default: the system's.
	RootCAs []byte
	// InsecureSHA1 takes signatures with SHA-1, which can be forged with
	// effort. For a provider that can't be changed yet.
	InsecureSHA1 bool
	// InsecureHTTP permits to fetch metadata over plain http beyond loopback.
	// Whoever sits on the network in between can then sign in as anybody.
	InsecureHTTP bool
}

// A Binding is how a message travels through the browser (SAML Bindings 3).
type Binding string

// The bindings of the authentication request.
const (
	BindingRedirect Binding = "redirect" // HTTP-Redirect, SAML Bindings 3.4
	BindingPOST     Binding = "post"     // HTTP-POST, SAML Bindings 3.5
)

// A Switch is on, off, or left at its default.
type Switch string

// The positions of a Switch.
const (
	Default Switch = ""
	On      Switch = "on"
	Off     Switch = "off"
)

// Deps are what a Provider works with.
type Deps struct {
	// LastGood keeps the metadata for the time when they can't be fetched. Nil:
	// they are lost on restart.
	LastGood gateway.LastGood
	// Keys sign requests and stand in our metadata. Nil: nothing is signed, and
	// a configuration that asks for it is refused.
	Keys Keys
	// Logger receives operational messages. Nil: none.
	Logger *zap.Logger
	// Transport replaces the network, for tests. Nil: a hardened transport (see
	// gateway.Outbound).
	Transport http.RoundTripper
}

// Keys hold the key that our requests are signed with, the same one on every
// node: providers pin it.
type Keys interface {
	// KeyPair returns the private RSA key and its certificate in DER. Both are
	// made when they are asked for the first time. Its errors are
	// *gateway.Error.
	KeyPair(ctx context.Context) (key crypto.Signer, certificate []byte, err error)
}
