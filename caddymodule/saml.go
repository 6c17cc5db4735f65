package caddymodule

import (
	"cmp"
	"crypto/x509"
	"errors"
	"fmt"
	"io/fs"
	"path/filepath"
	"strings"
	"time"

	"github.com/caddyserver/caddy/v2"
	"go.uber.org/zap"

	"github.com/caddy-sso/caddy-sso/gateway"
	"github.com/caddy-sso/caddy-sso/gateway/samlsp"
	"github.com/caddy-sso/caddy-sso/gateway/wording"
)

func init() { caddy.RegisterModule(SAML{}) }

// SAML is an identity provider. People sign in at it by the SAML 2.0 Web Browser SSO
// Profile.
//
// Its metadata describe it, or the options `entity_id`, `sso_url` and `certificate`. The
// metadata are fetched in the background, at start and every hour, and the last good copy
// is kept in the store. If the provider is down, Caddy starts all the same, and people who
// are signed in stay so.
//
// Register each site there: import its metadata from `https://<site>/.sso/saml/metadata`,
// or write that address as entity ID and `https://<site>/.sso/saml/acs` as
// AssertionConsumerService.
type SAML struct {
	// The provider's name in the configuration, in addresses and in logs:
	// letters, digits, dots, dashes and underscores. Default: made of the metadata's
	// address or the entity ID, and of sp_entity_id.
	Name string `json:"name,omitempty"`

	// The name that our pages show. Default: the provider's name; without a name, the host
	// of the metadata or of the entity ID.
	DisplayName string `json:"display_name,omitempty"`

	// How long a login at this provider may live. SessionNotOnOrAfter in its answer can
	// shorten that. Default: the global `lifetime`.
	Lifetime caddy.Duration `json:"lifetime,omitempty"`

	People

	// The provider's metadata: their http(s) address, a file, or the document itself,
	// which begins with "<". Required without entity_id, sso_url and certificate. May be a
	// placeholder; placeholders inside of a document are not replaced. Metadata at an
	// address are refreshed while Caddy runs, so a new certificate at the provider needs
	// no change here. A file is read when the configuration is loaded.
	Metadata string `json:"metadata,omitempty"`

	// The provider's entity ID, byte for byte. Beside metadata it accepts only this
	// provider, and selects it among several. Without it, the server of the metadata can
	// use the entity ID of another of your providers and sign in as its people. May be a
	// placeholder.
	EntityID string `json:"entity_id,omitempty"`

	// The URL at which people sign in (SingleSignOnService), in place of metadata. May be
	// a placeholder.
	SSOURL string `json:"sso_url,omitempty"`

	// The provider's signing certificates, in place of metadata. Each is PEM, bare Base64
	// with or without line breaks, or the name of a file with PEM, Base64 or DER. Before
	// the provider changes its certificate, add the new one. May be placeholders.
	Certificate []string `json:"certificate,omitempty"`

	// Our entity ID, if the provider knows us by another than the default. May be
	// a placeholder. Default: `https://<site>/.sso/saml/metadata`, so another at
	// each site.
	SPEntityID string `json:"sp_entity_id,omitempty"`

	// The binding of the request: "redirect" or "post". Default: a binding of the
	// metadata, preferably redirect; without metadata redirect.
	RequestBinding string `json:"request_binding,omitempty"`

	// "on" signs the requests, with the key in our metadata; "off" does not. Default: as
	// the provider's metadata demand; without metadata off.
	SignRequests string `json:"sign_requests,omitempty"`

	// The format of the NameID to ask for: unspecified, emailAddress, persistent,
	// transient or another of SAML Core 8.3, or a URN. Default: none.
	NameIDFormat string `json:"name_id_format,omitempty"`

	// The attribute that identifies the account in place of the NameID, by its exact
	// Name. It must have one value that never changes and is never given to somebody
	// else. A person who can change it at will can take over another account.
	IDAttribute string `json:"id_attribute,omitempty"`

	// The attribute with the user name, by its exact Name. Default: the NameID,
	// unless that is transient or persistent. If it is missing, the sign-in is refused.
	// If people can change the attribute at will, they can take each other's names.
	UsernameAttribute string `json:"username_attribute,omitempty"`

	// The attribute with the e-mail address, by its exact Name. Default: the first
	// well-known one in the answer, or else a NameID of the format emailAddress.
	EmailAttribute string `json:"email_attribute,omitempty"`

	// The attribute with the first name. Default: as for email_attribute.
	FirstNameAttribute string `json:"first_name_attribute,omitempty"`

	// The attribute with the last name. Default: as for email_attribute.
	LastNameAttribute string `json:"last_name_attribute,omitempty"`

	// The attribute with the full name. Default: as for email_attribute.
	DisplayNameAttribute string `json:"display_name_attribute,omitempty"`

	// The attribute with the groups. Default: as for email_attribute.
	GroupsAttribute string `json:"groups_attribute,omitempty"`

	// "off" requires a signature on the message instead of the assertion, for a provider
	// that can't sign assertions. The message contains the assertion, so the signature
	// covers it. But a system that only sends messages can then make assertions, too. An
	// answer without any signature is always refused. Default: on.
	WantAssertionsSigned string `json:"want_assertions_signed,omitempty"`

	// How much the provider's clock may differ from ours. An answer can be used, once,
	// for that much longer. Default: 5m.
	ClockSkew caddy.Duration `json:"clock_skew,omitempty"`

	// A file of PEM certificates that verify the TLS certificate of the metadata's
	// server. Default: the system's.
	CA string `json:"ca,omitempty"`

	// Accept signatures with SHA-1, for a provider that makes no others. Collisions of
	// SHA-1 can be computed: an attacker who can have the provider sign a text of theirs
	// may then sign in as somebody else.
	InsecureSHA1 bool `json:"insecure_sha1,omitempty"`

	// Allow plain http to a provider beyond loopback, for its metadata and its single
	// sign-on service. An attacker in between can then sign in as anybody.
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

// texts returns the options that may be any text.
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
	metadata, entityID, ssoURL, certificate := wording.Option{Word: "metadata"}, wording.Option{Word: "entity_id"}, wording.Option{Word: "sso_url"}, wording.Option{Word: "certificate"}
	if s.Metadata != "" {
		if s.SSOURL != "" || len(s.Certificate) > 0 {
			return wording.Errorf("%s and %s replace %s: remove these two, or remove %[3]s", ssoURL, certificate, metadata)
		}
		return nil
	}
	for _, need := range []struct {
		option  string
		missing bool
	}{{"entity_id", s.EntityID == ""}, {"sso_url", s.SSOURL == ""}, {"certificate", len(s.Certificate) == 0}} {
		if need.missing {
			return wording.Errorf("a SAML provider needs %s, or %s, %s and %s: there is no %s", metadata, entityID, ssoURL, certificate, s.block().option(need.option))
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
		err = &wording.ProviderError{Provider: label, Err: err}
	}
	return named, err
}

// label identifies a provider without a name in messages.
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
	provider, err := samlsp.New(cfg, samlsp.Deps{Logger: loggerOf(ctx).With(zap.String("provider", s.Name))})
	if err != nil {
		return builtProvider{}, err
	}
	s.nameAfter(provider.Issuer())
	if !validName(s.Name) {
		return builtProvider{}, wording.Aboutf("name", "'%s' cannot be a provider's name: %s", s.Name, nameRule)
	}
	return builtProvider{
		NamedProvider: gateway.NamedProvider{
			Name: s.Name, DisplayName: s.DisplayName, Lifetime: time.Duration(s.Lifetime), Provider: provider,
			Users: s.Users, EmailDomains: s.EmailDomains,
		},
		bind: func(ps *pooledSessions) { provider.KeepIn(ps.Vault(), ps.spKeys) },
	}, nil
}

// nameAfter gives a provider without a name one that is made of idp, the address of its
// metadata or its entity ID.
func (s *SAML) nameAfter(idp string) {
	if s.Name == "" && idp != "" {
		s.Name = defaultName(withoutScheme(idp), withoutScheme(s.SPEntityID))
		s.DisplayName = cmp.Or(s.DisplayName, hostOf(idp))
	}
}

// config resolves placeholders, reads files and returns the provider's configuration.
func (s *SAML) config() (samlsp.Config, error) {
	if err := errors.Join(s.resolve(), s.complete()); err != nil {
		return samlsp.Config{}, err
	}
	if s.Lifetime < 0 {
		return samlsp.Config{}, wording.Aboutf("lifetime", "must not be negative")
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

// resolve replaces the placeholders, but none in a document: a brace there is part of its
// text.
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

// isXML says whether a value is a document, not an address or a file.
func isXML(value string) bool {
	return strings.HasPrefix(strings.TrimLeft(value, "\ufeff \t\r\n"), "<")
}

// readCertificate returns a certificate from its option, or from the file that the option
// names: PEM, Base64 or DER. Errors quote the name of a file, and must never quote a
// private key. In Base64, every DER certificate and every private key begins with M, so a
// text that does is not the name of a file.
func readCertificate(value string) (string, error) {
	const shortest = 60 // characters of the shortest key
	text := strings.TrimSpace(strings.TrimPrefix(value, "\ufeff"))
	if strings.HasPrefix(text, "M") && len(text) >= shortest || strings.Contains(text, "-----BEGIN") || strings.ContainsAny(text, "\r\n") {
		return value, nil
	}
	if len(text) > 255 {
		return "", wording.Aboutf("certificate", "expected PEM, which begins with -----BEGIN CERTIFICATE, Base64, which begins with M, or the name of a file")
	}
	content, err := readFile("certificate", value)
	return string(content), err
}

// readFile returns the content of a file. It refuses an empty file, because that would
// count as an option that is not set.
func readFile(option, name string) ([]byte, error) {
	content, err := readRegular(name)
	if err != nil {
		return nil, wording.About(option, fmt.Errorf("%w: write the name of a file that Caddy's user can read", err))
	}
	if len(content) == 0 {
		return nil, wording.Aboutf(option, "%s is empty: write the name of a file that is not empty", name)
	}
	return content, nil
}

// readCA reads a file of PEM certificates.
func readCA(name string) ([]byte, error) {
	certificates, err := readFile("ca", name)
	if err == nil && !x509.NewCertPool().AppendCertsFromPEM(certificates) {
		err = wording.Aboutf("ca", "%s has no certificate in PEM form: expected one that begins with -----BEGIN CERTIFICATE-----", name)
	}
	return certificates, err
}

// withoutScheme shortens a URL or URN for a provider's name.
func withoutScheme(id string) string {
	if _, after, ok := strings.Cut(withoutUser(id), "://"); ok {
		id = after
	}
	return strings.Trim(strings.TrimPrefix(id, "urn:"), "/")
}

// withoutUser removes user and password from an address, for names and messages.
func withoutUser(address string) string {
	scheme, rest, ok := strings.Cut(address, "://")
	if at := strings.LastIndex(rest, "@"); ok && at >= 0 {
		return scheme + "://" + rest[at+1:]
	}
	return address
}

// Interface guard
var _ providerModule = (*SAML)(nil)
