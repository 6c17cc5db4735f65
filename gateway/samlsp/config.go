package samlsp

import (
	"cmp"
	"context"
	"crypto"
	"errors"
	"maps"
	"net/http"
	"slices"
	"strings"
	"time"
	"unicode"
	"unicode/utf8"

	"go.uber.org/zap"

	"github.com/caddy-sso/caddy-sso/gateway/fetch"
	"github.com/caddy-sso/caddy-sso/gateway/provider"
)

// Config describes one SAML identity provider and how we meet it. Either
// Metadata or the hand-given form (EntityID, SSOURL, Certificates) is required;
// the zero value of everything else is the safe default.
type Config struct {
	// MetadataURL is where the provider publishes its metadata. They are
	// fetched, and refreshed every hour, in the background.
	MetadataURL string
	// Metadata is the metadata document itself, from a file or inline.
	Metadata []byte
	// MetadataFile is where Metadata were read from. Empty: they are inline.
	MetadataFile string

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
	// by its last part ("emailAddress", "persistent"). An answer with another
	// format is refused, unless IDAttribute and UsernameAttribute say whom it is
	// about, or unspecified was asked for. Default: none, and any is taken.
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
	// certificate by. Default: the system's. CAFile is where they were read from.
	RootCAs []byte
	CAFile  string
	// InsecureSHA1 takes signatures with SHA-1, which can be forged with
	// effort. For a provider that can't be changed yet.
	InsecureSHA1 bool
	// InsecureHTTP permits plain http beyond loopback: to the metadata, and for
	// the SingleSignOnService. An attacker on the network in between can then
	// sign in as anybody.
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
	LastGood fetch.LastGood
	// Keys sign requests and stand in our metadata. Nil: a request is not signed, and
	// not made if the configuration wants it signed.
	Keys Keys
	// Logger receives operational messages. Nil: none.
	Logger *zap.Logger
	// Transport replaces the network, for tests. Nil: a hardened transport (see
	// fetch.Client).
	Transport http.RoundTripper
}

// Keys hold the key that our requests are signed with, the same one on every
// node: providers pin it.
type Keys interface {
	// KeyPair returns the private RSA key and its certificate in DER. Both are
	// made when they are asked for the first time. Its errors are
	// *refusal.Error.
	KeyPair(ctx context.Context) (key crypto.Signer, certificate []byte, err error)
}

// The bounds of options.
const (
	maxText      = 1024 // bytes; of entity IDs: SAML Core 8.3.6
	defaultSkew  = 5 * time.Minute
	maxClockSkew = time.Hour
)

// withDefaults returns c with every default filled in that does not depend on
// the provider.
func (c Config) withDefaults() Config {
	c.ClockSkew = cmp.Or(c.ClockSkew, defaultSkew)
	if format, ok := nameIDFormats[c.NameIDFormat]; ok {
		c.NameIDFormat = format
	}
	return c
}

// validate reports every fault of c, which has its defaults, at once.
func (c Config) validate(outbound *fetch.Client) error {
	return errors.Join(c.validateProvider(outbound), c.validateRequest(), c.validateNameID(), c.validateAttributes(), c.validateChecking())
}

// byHand reports whether the provider is given without metadata.
func (c Config) byHand() bool { return c.MetadataURL == "" && len(c.Metadata) == 0 }

// identityOption is the option that says what the provider's keys are.
func (c Config) identityOption() string {
	if c.byHand() {
		return "certificate"
	}
	return "metadata"
}

func (c Config) validateProvider(outbound *fetch.Client) error {
	if c.byHand() {
		return errors.Join(plainOption("entity_id", c.EntityID), c.validateByHand(outbound))
	}
	return errors.Join(
		plainOption("entity_id", c.EntityID),
		provider.Fault(c.MetadataURL != "" && len(c.Metadata) > 0, "metadata", "a document stands beside a URL; keep one of them"),
		checkURL(outbound, c.MetadataURL, "metadata", "the URL "),
		provider.Fault(c.SSOURL != "", "sso_url", "the metadata say it; leave sso_url or metadata out"),
		provider.Fault(len(c.Certificates) > 0, "certificate", "the metadata hold it; leave certificate or metadata out"),
	)
}

func (c Config) validateByHand(outbound *fetch.Client) error {
	if c.EntityID == "" && c.SSOURL == "" && len(c.Certificates) == 0 {
		return provider.Fault(true, "metadata", "is missing; give the URL or the file of the provider's metadata, or else entity_id, sso_url and certificate")
	}
	errs := []error{
		provider.Fault(c.EntityID == "", "entity_id", "is missing; without metadata give the provider's entity ID, which it may call Issuer or Identifier"),
		provider.Fault(c.SSOURL == "", "sso_url", "is missing; without metadata give the address of the provider's single sign-on service"),
		checkURL(outbound, c.SSOURL, "sso_url", ""),
		provider.Fault(len(c.Certificates) == 0, "certificate", "is missing; without metadata give the certificate that the provider signs with"),
	}
	for _, text := range c.Certificates {
		_, err := parseCertificates(text)
		errs = append(errs, provider.Fault(err != nil, "certificate", "%w", err))
	}
	return errors.Join(errs...)
}

// checkURL checks an address that is not empty.
func checkURL(outbound *fetch.Client, address, option, what string) error {
	err := outbound.CheckURL(address)
	return provider.Fault(address != "" && err != nil, option, "%s%w", what, err)
}

// plainOption checks a text that is not empty.
func plainOption(option, text string) error {
	return provider.Fault(text != "" && !isPlain(text), option, "must be 1 to %d bytes without blanks around it or control characters", maxText)
}

func (c Config) validateRequest() error {
	return errors.Join(
		plainOption("sp_entity_id", c.SPEntityID),
		provider.OneOf("request_binding", c.RequestBinding, BindingRedirect, BindingPOST),
		provider.OneOf("sign_requests", c.SignRequests, On, Off),
	)
}

// nameIDFormats are the formats of SAML Core 8.3 by their last part. That of
// encrypted ones is missing on purpose.
var nameIDFormats = map[string]string{
	"unspecified":                formatUnspecified,
	"emailAddress":               formatEmail,
	"X509SubjectName":            "urn:oasis:names:tc:SAML:1.1:nameid-format:X509SubjectName",
	"WindowsDomainQualifiedName": "urn:oasis:names:tc:SAML:1.1:nameid-format:WindowsDomainQualifiedName",
	"kerberos":                   "urn:oasis:names:tc:SAML:2.0:nameid-format:kerberos",
	"entity":                     formatEntity,
	"persistent":                 formatPersistent,
	"transient":                  formatTransient,
}

// heldFormat is the format that a NameID must have, empty if it may have any:
// nothing was asked for, or two attributes say whom the answer is about. c has its
// defaults.
func (c Config) heldFormat() string {
	if isUnspecified(c.NameIDFormat) || c.namesByAttributes() {
		return ""
	}
	return c.NameIDFormat
}

// namesByAttributes reports whether two attributes say whom the answer is about.
func (c Config) namesByAttributes() bool { return c.IDAttribute != "" && c.UsernameAttribute != "" }

// isUnspecified reports whether a format leaves the choice to the provider. It is one
// of SAML 1.1, which some write with 2.0.
func isUnspecified(format string) bool {
	version, saml := strings.CutPrefix(format, "urn:oasis:names:tc:SAML:")
	version, unspecified := strings.CutSuffix(version, ":nameid-format:unspecified")
	return saml && unspecified && strings.Trim(version, "0123456789") == "."
}

func (c Config) validateNameID() error {
	format := c.NameIDFormat
	uri := strings.Contains(format, ":") && isPlain(format)
	return errors.Join(
		provider.Fault(format == formatEncrypted, "name_id_format", "an encrypted NameID can't be read here; choose another format"),
		provider.Fault(format == formatTransient && c.IDAttribute == "",
			"id_attribute", "is missing; a transient NameID changes at each sign-in, so write the attribute that identifies an account"),
		provider.Fault((format == formatTransient || format == formatPersistent) && c.UsernameAttribute == "",
			"username_attribute", "is missing; a persistent or transient NameID is no user name, so write the attribute that has the user name"),
		provider.Fault(format != "" && !uri, "name_id_format", "%.100q is neither a URI nor one of %s%s",
			format, strings.Join(slices.Sorted(maps.Keys(nameIDFormats)), ", "), meantFormat(format)),
	)
}

// meantFormat asks for the format that begins like name, if there is one.
func meantFormat(name string) string {
	const alike = 4
	for format := range nameIDFormats {
		if len(name) >= alike && strings.EqualFold(name[:alike], format[:alike]) {
			return ": did you mean " + format + "?"
		}
	}
	return ""
}

func (c Config) validateAttributes() error {
	return errors.Join(
		plainOption("id_attribute", c.IDAttribute),
		plainOption("username_attribute", c.UsernameAttribute),
		plainOption("email_attribute", c.EmailAttribute),
		plainOption("first_name_attribute", c.FirstNameAttribute),
		plainOption("last_name_attribute", c.LastNameAttribute),
		plainOption("display_name_attribute", c.DisplayNameAttribute),
		plainOption("groups_attribute", c.GroupsAttribute),
	)
}

func (c Config) validateChecking() error {
	return errors.Join(
		provider.OneOf("want_assertions_signed", c.WantAssertionsSigned, On, Off),
		provider.Fault(c.ClockSkew < 0 || c.ClockSkew > maxClockSkew, "clock_skew", "must lie between 0 and %v; correct the clocks (NTP) if they differ by more", maxClockSkew),
	)
}

// isPlain reports whether s can stand in XML and in a log as it is.
func isPlain(s string) bool {
	return s != "" && len(s) <= maxText && utf8.ValidString(s) && strings.TrimSpace(s) == s &&
		!strings.ContainsFunc(s, func(r rune) bool { return unicode.IsControl(r) || r == 0xFFFE || r == 0xFFFF })
}
