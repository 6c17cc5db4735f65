package caddymodule

import (
	"cmp"
	"crypto/x509"
	"errors"
	"fmt"
	"io/fs"
	"os"
	"path/filepath"
	"strings"
	"time"

	"github.com/caddyserver/caddy/v2"
	"go.uber.org/zap"

	"github.com/caddy-sso/caddy-sso/gateway"
	"github.com/caddy-sso/caddy-sso/gateway/samlsp"
)

func init() { caddy.RegisterModule(SAML{}) }

// SAML is an identity provider that people sign in at by the SAML 2.0 Web
// Browser SSO Profile.
//
// Its metadata describe it, or the options do: `entity_id`,
// `sso_url` and `certificate`. A provider that is down stops neither Caddy nor
// those who are signed in: its metadata are fetched in the background, at the
// start and every hour, and the last good copy is kept in the store.
//
// Register the gateway there with its own metadata,
// `https://<site>/.sso/saml/metadata`, one for each site; or by hand, with that
// address as entity ID and `https://<site>/.sso/saml/acs` as
// AssertionConsumerService.
type SAML struct {
	// The provider's name in the configuration, in addresses and in logs:
	// letters, digits, dots, dashes and underscores. Default: made of the
	// metadata's address, or else of the entity ID, and of sp_entity_id.
	Name string `json:"name,omitempty"`

	// The name that our pages show. Default: the provider's name.
	DisplayName string `json:"display_name,omitempty"`

	// How long a login at this provider may live; SessionNotOnOrAfter in its
	// answer can shorten it. Default: the app's lifetime.
	Lifetime caddy.Duration `json:"lifetime,omitempty"`

	People

	// The provider's metadata: their http(s) address, a file, or the document
	// itself, which begins with "<". Required, unless entity_id, sso_url and
	// certificate are given. May be a placeholder, but for one inside of a
	// document. From an address they are refreshed while Caddy runs, and so a
	// change of certificate at the provider needs no change here; a file is read
	// when the configuration is loaded.
	Metadata string `json:"metadata,omitempty"`

	// The provider's entity ID, byte for byte. Beside metadata it says which of
	// several providers in them is meant, and refuses others: without it, whoever
	// serves the metadata can name the entity ID of another of your providers,
	// and sign in as its people. May be a placeholder.
	EntityID string `json:"entity_id,omitempty"`

	// Where browsers are sent to sign in (SingleSignOnService), in place of
	// metadata. May be a placeholder.
	SSOURL string `json:"sso_url,omitempty"`

	// The provider's signing certificates, in place of metadata. Each is PEM,
	// bare Base64, with or without line breaks, or the name of a file with
	// either, or with DER. Give the next one beside the present one before the
	// provider changes. May be placeholders.
	Certificate []string `json:"certificate,omitempty"`

	// Our entity ID, if the provider knows us by another than the default. May be
	// a placeholder. Default: `https://<site>/.sso/saml/metadata`, so another at
	// each site.
	SPEntityID string `json:"sp_entity_id,omitempty"`

	// How the request for a sign-in travels: "redirect" or "post". Default: as
	// the metadata say, redirect before post; without metadata redirect.
	RequestBinding string `json:"request_binding,omitempty"`

	// "on" signs the requests with the key that our metadata name, "off" never
	// does. Default: as the provider's metadata want it; without metadata off.
	SignRequests string `json:"sign_requests,omitempty"`

	// Which kind of NameID to ask for: unspecified, emailAddress, persistent,
	// transient or another of SAML Core 8.3, or a URN. Default: none.
	NameIDFormat string `json:"name_id_format,omitempty"`

	// The attribute that identifies the account in place of the NameID, by its
	// exact Name. One value, which never changes and is never given to somebody
	// else. A person who can change it at will takes over another's account.
	IDAttribute string `json:"id_attribute,omitempty"`

	// The attribute with the user name, by its exact Name. Default: the NameID,
	// unless that is transient or persistent. Nothing takes its place when it is
	// missing: the login is refused. An attribute that its owner can change at
	// will lets him take another's name.
	UsernameAttribute string `json:"username_attribute,omitempty"`

	// The attribute with the e-mail address, by its exact Name. Default: the
	// first that is there of the well-known ones, or else a NameID of the format
	// emailAddress.
	EmailAttribute string `json:"email_attribute,omitempty"`

	// The attribute with the first name. Default: as for email_attribute.
	FirstNameAttribute string `json:"first_name_attribute,omitempty"`

	// The attribute with the last name. Default: as for email_attribute.
	LastNameAttribute string `json:"last_name_attribute,omitempty"`

	// The attribute with the full name. Default: as for email_attribute.
	DisplayNameAttribute string `json:"display_name_attribute,omitempty"`

	// The attribute with the groups. Default: as for email_attribute.
	GroupsAttribute string `json:"groups_attribute,omitempty"`

	// "off" requires the message's signature in place of the assertion's, for a
	// provider that can't sign that. The message holds the assertion, so no less
	// is signed; but what signs and keeps assertions is no longer told apart from
	// what sends them. An answer without any signature is never taken. Default: on.
	WantAssertionsSigned string `json:"want_assertions_signed,omitempty"`

	// By how much the provider's clock may differ from ours. So much longer can
	// an answer be used, once. Default: 5m.
	ClockSkew caddy.Duration `json:"clock_skew,omitempty"`

	// A file of PEM certificates to verify the TLS certificate of the metadata's
	// server by. Default: the system's.
	CA string `json:"ca,omitempty"`

	// Take signatures with SHA-1, for a provider that makes no others.
	// Collisions of SHA-1 can be bought: who can make the provider sign what he
	// chooses may then sign in as somebody else.
	InsecureSHA1 bool `json:"insecure_sha1,omitempty"`

	// Permit plain http to a provider that is not on this machine, for its
	// metadata and its single sign-on service. An attacker on the network in
	// between can then sign in as anybody.
	InsecureHTTPMetadata bool `json:"insecure_http_metadata,omitempty"`
}

// CaddyModule returns the Caddy module information.
func (SAML) CaddyModule() caddy.ModuleInfo {
	return caddy.ModuleInfo{
		ID:  "sso.providers.saml",
		New: func() caddy.Module { return new(SAML) },
	}
}

func (s *SAML) setName(name string) { s.Name = name }

// texts are the options that are any text.
func (s *SAML) texts() []option {
	return []option{
		{"display_name", &s.DisplayName},
		{"entity_id", &s.EntityID},
		{"sp_entity_id", &s.SPEntityID},
		{"name_id_format", &s.NameIDFormat},
		{"id_attribute", &s.IDAttribute},
		{"username_attribute", &s.UsernameAttribute},
		{"email_attribute", &s.EmailAttribute},
		{"first_name_attribute", &s.FirstNameAttribute},
		{"last_name_attribute", &s.LastNameAttribute},
		{"display_name_attribute", &s.DisplayNameAttribute},
		{"groups_attribute", &s.GroupsAttribute},
		{"ca", &s.CA},
	}
}

func (s *SAML) complete() error {
	const either = "a SAML provider needs `metadata`, or `entity_id`, `sso_url` and `certificate`"
	if s.Metadata != "" {
		if s.SSOURL != "" || len(s.Certificate) > 0 {
			return errors.New("`sso_url` and `certificate` stand in place of `metadata`, not beside it: remove the one or the others")
		}
		return nil
	}
	for _, need := range []struct {
		option  string
		missing bool
	}{{"entity_id", s.EntityID == ""}, {"sso_url", s.SSOURL == ""}, {"certificate", len(s.Certificate) == 0}} {
		if need.missing {
			return fmt.Errorf("%s: there is no `%s`", either, s.block().usage(need.option))
		}
	}
	return nil
}

// build implements providerModule.
func (s *SAML) build(ctx caddy.Context) (builtProvider, error) {
	label := s.Name
	if label == "" {
		label = s.label()
	}
	named, err := s.configure(ctx)
	if err != nil {
		err = fmt.Errorf("provider %s: %w", label, err)
	}
	return named, err
}

// label tells a provider without a name from others, in messages.
func (s *SAML) label() string {
	switch {
	case s.EntityID != "":
		return s.EntityID
	case s.Metadata != "" && !isXML(s.Metadata):
		label, _, _ := strings.Cut(s.Metadata, "?")
		return withoutUser(label)
	}
	return "saml"
}

func (s *SAML) configure(ctx caddy.Context) (builtProvider, error) {
	cfg, err := s.config()
	if err != nil {
		return builtProvider{}, err
	}
	s.nameAfter(cmp.Or(cfg.MetadataURL, cfg.EntityID))
	provider, err := samlsp.New(cfg, samlsp.Deps{Logger: ctx.Logger().With(zap.String("provider", s.Name))})
	if err != nil {
		return builtProvider{}, err
	}
	s.nameAfter(provider.Issuer())
	if !validName(s.Name) {
		return builtProvider{}, fmt.Errorf("name: '%s' cannot be a provider's name: %s", s.Name, nameRule)
	}
	return builtProvider{
		NamedProvider: gateway.NamedProvider{
			Name: s.Name, DisplayName: s.DisplayName, Lifetime: time.Duration(s.Lifetime), Provider: provider,
			Users: s.Users, EmailDomains: s.EmailDomains,
		},
		bind: func(ps *pooledSessions) { provider.KeepIn(ps.Vault(), ps.spKeys) },
	}, nil
}

// nameAfter gives a provider without a name one that is made of what identifies it,
// once that is known.
func (s *SAML) nameAfter(idp string) {
	if s.Name == "" && idp != "" {
		s.Name = defaultName(withoutScheme(idp), withoutScheme(s.SPEntityID))
	}
}

// config makes of the options, with placeholders replaced and files read, what
// the provider is made of.
func (s *SAML) config() (samlsp.Config, error) {
	if err := errors.Join(s.resolve(), s.complete()); err != nil {
		return samlsp.Config{}, err
	}
	if s.Lifetime < 0 {
		return samlsp.Config{}, errors.New("lifetime: must not be negative")
	}
	cfg := samlsp.Config{
		EntityID: s.EntityID, SSOURL: s.SSOURL, SPEntityID: s.SPEntityID,
		RequestBinding: samlsp.Binding(s.RequestBinding), SignRequests: samlsp.Switch(s.SignRequests), NameIDFormat: s.NameIDFormat,
		IDAttribute: s.IDAttribute, UsernameAttribute: s.UsernameAttribute, EmailAttribute: s.EmailAttribute,
		FirstNameAttribute: s.FirstNameAttribute, LastNameAttribute: s.LastNameAttribute,
		DisplayNameAttribute: s.DisplayNameAttribute, GroupsAttribute: s.GroupsAttribute,
		WantAssertionsSigned: samlsp.Switch(s.WantAssertionsSigned), ClockSkew: time.Duration(s.ClockSkew),
		InsecureSHA1: s.InsecureSHA1, InsecureHTTP: s.InsecureHTTPMetadata,
	}
	return cfg, s.read(&cfg)
}

// resolve replaces the placeholders. A document is taken as it is written: a
// brace in it means itself.
func (s *SAML) resolve() error {
	options := append(s.texts(), option{"sso_url", &s.SSOURL})
	if !isXML(s.Metadata) {
		options = append(options, option{"metadata", &s.Metadata})
	}
	for i := range s.Certificate {
		options = append(options, option{"certificate", &s.Certificate[i]})
	}
	return resolve(options...)
}

// read reads the files that the options name.
func (s *SAML) read(cfg *samlsp.Config) (err error) {
	if s.CA != "" {
		if cfg.RootCAs, err = readCA(s.CA); err != nil {
			return err
		}
		cfg.CAFile = s.CA
	}
	switch {
	case s.Metadata == "":
	case isXML(s.Metadata):
		cfg.Metadata = []byte(strings.TrimSpace(s.Metadata))
	case strings.Contains(s.Metadata, "://"):
		cfg.MetadataURL = s.Metadata
	default:
		cfg.MetadataFile = s.Metadata
		cfg.Metadata, err = readFile("metadata", s.Metadata)
		if errors.Is(err, fs.ErrNotExist) && !filepath.IsAbs(s.Metadata) {
			err = fmt.Errorf("%w; an address begins with https://", err)
		}
		if err != nil {
			return err
		}
	}
	for _, value := range s.Certificate {
		certificate, err := readCertificate(value)
		if err != nil {
			return err
		}
		cfg.Certificates = append(cfg.Certificates, certificate)
	}
	return nil
}

// isXML says whether a value is a document rather than where to find one.
func isXML(value string) bool {
	return strings.HasPrefix(strings.TrimLeft(value, "\ufeff \t\r\n"), "<")
}

// readCertificate returns what a certificate's option holds or names: PEM, Base64
// or DER. Every DER certificate, and every private key, begins with M in Base64.
// So what can be the name of a file, and gets into a message as such, is neither.
func readCertificate(value string) (string, error) {
	const shortest = 60 // characters of the shortest key
	text := strings.TrimSpace(strings.TrimPrefix(value, "\ufeff"))
	if strings.HasPrefix(text, "M") && len(text) >= shortest || strings.Contains(text, "-----BEGIN") || strings.ContainsAny(text, "\r\n") {
		return value, nil
	}
	if len(text) > 255 {
		return "", errors.New("certificate: expected PEM, which begins with -----BEGIN CERTIFICATE, Base64, which begins with M, or the name of a file")
	}
	content, err := readFile("certificate", value)
	return string(content), err
}

// readFile returns what a file holds, which is not nothing: that would stand
// for an option that is not given.
func readFile(option, name string) ([]byte, error) {
	content, err := os.ReadFile(name)
	if err != nil {
		return nil, fmt.Errorf("%s: %w: write the name of a file that Caddy's user can read", option, err)
	}
	if len(content) == 0 {
		return nil, fmt.Errorf("%s: %s is empty: write the name of a file that has something in it", option, name)
	}
	return content, nil
}

// readCA reads a file of PEM certificates.
func readCA(name string) ([]byte, error) {
	certificates, err := readFile("ca", name)
	if err == nil && !x509.NewCertPool().AppendCertsFromPEM(certificates) {
		err = fmt.Errorf("ca: %s has no certificate in PEM form: expected one that begins with -----BEGIN CERTIFICATE-----", name)
	}
	return certificates, err
}

// withoutScheme returns what is readable of a URL or URN.
func withoutScheme(id string) string {
	if _, after, ok := strings.Cut(withoutUser(id), "://"); ok {
		id = after
	}
	return strings.Trim(strings.TrimPrefix(id, "urn:"), "/")
}

// withoutUser returns an address without the user and password that may stand in
// it: it becomes part of names and messages.
func withoutUser(address string) string {
	scheme, rest, ok := strings.Cut(address, "://")
	if at := strings.LastIndex(rest, "@"); ok && at >= 0 {
		return scheme + "://" + rest[at+1:]
	}
	return address
}

// Interface guard
var _ providerModule = (*SAML)(nil)
