package caddymodule

import (
	"fmt"
	"net/url"
	"strings"

	"github.com/caddyserver/caddy/v2/caddyconfig/caddyfile"
)

// unmarshalArguments parses the rest of the line that begins with `sso saml`. Syntax:
//
//	[<metadata url|file|xml>]
func (s *SAML) unmarshalArguments(d *caddyfile.Dispenser) (given []string, err error) {
	args := d.RemainingArgs()
	if len(args) > 1 || len(args) == 1 && args[0] == "" {
		return nil, d.Err("wrong arguments for 'sso saml': expected `sso saml <metadata url|file|xml>`, or `sso saml` with the provider's options in the block")
	}
	if len(args) == 0 {
		return nil, nil
	}
	s.Metadata = args[0]
	return []string{"metadata"}, s.checkMetadata(d)
}

// block implements providerModule. Syntax:
//
//	name <name>
//	display_name <text>
//	lifetime <duration>
//	users prefix|suffix|domain <text>
//	email_domains <domain>…
//	metadata <url|file|xml>
//	entity_id <id>
//	sso_url <url>
//	certificate <pem|base64|file>
//	sp_entity_id <id>
//	request_binding redirect|post
//	sign_requests on|off
//	name_id_format <format>
//	id_attribute <name>
//	username_attribute <name>
//	email_attribute <name>
//	first_name_attribute <name>
//	last_name_attribute <name>
//	display_name_attribute <name>
//	groups_attribute <name>
//	want_assertions_signed on|off
//	clock_skew <duration>
//	ca <file>
//	insecure_sha1
//	insecure_http_metadata
//
// certificate may be repeated: a provider has two while it changes them. In a site's
// block, `lifetime` is the site's. In the global option, the name stands before the block.
func (s *SAML) block() block {
	return append(block{
		once("name <name>", providerName(&s.Name)),
		once("display_name <text>", text(&s.DisplayName)),
		once("lifetime <duration>", duration(&s.Lifetime)),
		once("metadata <url|file|xml>", text(&s.Metadata).then(s.checkMetadata)),
		once("entity_id <id>", text(&s.EntityID)),
		once("sso_url <url>", text(&s.SSOURL).then(s.checkSSOURL)),
		many("certificate <pem|base64|file>", s.setCertificate),
		once("sp_entity_id <id>", text(&s.SPEntityID)),
		once("request_binding redirect|post", choice(&s.RequestBinding)),
		once("sign_requests on|off", choice(&s.SignRequests)),
		once("name_id_format <format>", text(&s.NameIDFormat)),
		once("id_attribute <name>", text(&s.IDAttribute)),
		once("username_attribute <name>", text(&s.UsernameAttribute)),
		once("email_attribute <name>", text(&s.EmailAttribute)),
		once("first_name_attribute <name>", text(&s.FirstNameAttribute)),
		once("last_name_attribute <name>", text(&s.LastNameAttribute)),
		once("display_name_attribute <name>", text(&s.DisplayNameAttribute)),
		once("groups_attribute <name>", text(&s.GroupsAttribute)),
		once("want_assertions_signed on|off", choice(&s.WantAssertionsSigned)),
		once("clock_skew <duration>", duration(&s.ClockSkew)),
		once("ca <file>", text(&s.CA)),
		once("insecure_sha1", flag(&s.InsecureSHA1)),
		once("insecure_http_metadata", flag(&s.InsecureHTTPMetadata)),
	}, s.People.block()...)
}

func (s *SAML) setCertificate(d *caddyfile.Dispenser, e entry) error {
	var certificate string
	if err := text(&certificate)(d, e); err != nil {
		return fmt.Errorf("%w; a heredoc ends where its marker first occurs: choose a marker that is in no certificate, such as IDP_PEM", err)
	}
	s.Certificate = append(s.Certificate, certificate)
	return nil
}

func (s *SAML) checkSSOURL(d *caddyfile.Dispenser) error {
	if !strings.Contains(s.SSOURL, "{") && !isWebURL(s.SSOURL) {
		return d.Errf("'sso_url' cannot be '%s': expected a URL such as https://login.example.com/saml/sso", s.SSOURL)
	}
	return nil
}

// checkMetadata refuses an address whose scheme is not http or https. A value with a
// placeholder is checked after that is resolved, and a file when it is read.
func (s *SAML) checkMetadata(d *caddyfile.Dispenser) error {
	value := s.Metadata
	if isXML(value) || strings.Contains(value, "{") || !strings.Contains(value, "://") || isWebURL(value) {
		return nil
	}
	return d.Errf("'metadata' cannot be '%s': expected a URL such as https://login.example.com/metadata.xml, a file, or the document itself", value)
}

func isWebURL(s string) bool {
	u, err := url.Parse(s)
	return err == nil && u.Host != "" && (u.Scheme == "https" || u.Scheme == "http") && u.Fragment == ""
}
