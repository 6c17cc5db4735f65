package caddymodule

import (
	"fmt"
	"net/url"
	"strings"

	"github.com/caddyserver/caddy/v2/caddyconfig/caddyfile"
)

var samlUsage = usages{
	"name":                   "name <name>",
	"display_name":           "display_name <text>",
	"lifetime":               "lifetime <duration>",
	"users":                  peopleUsage["users"],
	"email_domains":          peopleUsage["email_domains"],
	"metadata":               "metadata <url|file|xml>",
	"entity_id":              "entity_id <id>",
	"sso_url":                "sso_url <url>",
	"certificate":            "certificate <pem|base64|file>",
	"sp_entity_id":           "sp_entity_id <id>",
	"request_binding":        "request_binding redirect|post",
	"sign_requests":          "sign_requests on|off",
	"name_id_format":         "name_id_format <format>",
	"id_attribute":           "id_attribute <name>",
	"username_attribute":     "username_attribute <name>",
	"email_attribute":        "email_attribute <name>",
	"first_name_attribute":   "first_name_attribute <name>",
	"last_name_attribute":    "last_name_attribute <name>",
	"display_name_attribute": "display_name_attribute <name>",
	"groups_attribute":       "groups_attribute <name>",
	"want_assertions_signed": "want_assertions_signed on|off",
	"clock_skew":             "clock_skew <duration>",
	"ca":                     "ca <file>",
	"insecure_sha1":          "insecure_sha1",
	"insecure_http_metadata": "insecure_http_metadata",
}

func (*SAML) usages() usages { return samlUsage }

// repeatable: a provider has two certificates while it changes them.
func (*SAML) repeatable(word string) bool { return word == "certificate" }

// unmarshalArguments parses what follows `sso saml` on its line. Syntax:
//
//	[<metadata url|file|xml>]
func (s *SAML) unmarshalArguments(d *caddyfile.Dispenser) error {
	args := d.RemainingArgs()
	if len(args) > 1 || len(args) == 1 && args[0] == "" {
		return d.Err("wrong arguments for 'sso saml': expected `sso saml <metadata url|file|xml>`, or `sso saml` with the provider's options in the block")
	}
	if len(args) == 1 {
		s.Metadata = args[0]
		return checkMetadata(d, s.Metadata)
	}
	return nil
}

// unmarshalOption parses one option of the provider's block. Syntax:
//
//	name         <name>
//	display_name <text>
//	lifetime     <duration>
//	users prefix|suffix|domain <text>
//	email_domains <domain>…
//	metadata     <url|file|xml>
//	entity_id    <id>
//	sso_url      <url>
//	certificate  <pem|base64|file>
//	sp_entity_id    <id>
//	request_binding redirect|post
//	sign_requests   on|off
//	name_id_format  <format>
//	id_attribute           <name>
//	username_attribute     <name>
//	email_attribute        <name>
//	first_name_attribute   <name>
//	last_name_attribute    <name>
//	display_name_attribute <name>
//	groups_attribute       <name>
//	want_assertions_signed on|off
//	clock_skew <duration>
//	ca         <file>
//	insecure_sha1
//	insecure_http_metadata
//
// Each stands once, but for certificate. In a site's own block `lifetime` is the
// site's. In the app's block the name stands before the block.
func (s *SAML) unmarshalOption(d *caddyfile.Dispenser) (known bool, err error) {
	switch word := d.Val(); word {
	case "name":
		if s.Name, err = unmarshalArg(d, samlUsage); err == nil && !validName(s.Name) {
			err = d.Errf("'%s' cannot be a provider's name: %s", s.Name, nameRule)
		}
	case "lifetime":
		s.Lifetime, err = unmarshalDuration(d, samlUsage)
	case "metadata":
		if s.Metadata != "" { // on the line before the block
			return true, d.Errf("'%s' is given twice", word)
		}
		if s.Metadata, err = unmarshalArg(d, samlUsage); err == nil {
			err = checkMetadata(d, s.Metadata)
		}
	case "sso_url":
		if s.SSOURL, err = unmarshalArg(d, samlUsage); err == nil && !strings.Contains(s.SSOURL, "{") && !isWebURL(s.SSOURL) {
			err = d.Errf("'sso_url' cannot be '%s': expected a URL such as https://login.example.com/saml/sso", s.SSOURL)
		}
	case "certificate":
		var certificate string
		if certificate, err = unmarshalArg(d, samlUsage); err != nil {
			return true, fmt.Errorf("%w; a heredoc ends where its marker first occurs: take one that no certificate has in it, such as IDP_PEM", err)
		}
		s.Certificate = append(s.Certificate, certificate)
	case "request_binding":
		s.RequestBinding, err = unmarshalChoice(d, samlUsage, "redirect", "post")
	case "sign_requests":
		s.SignRequests, err = unmarshalSwitch(d, samlUsage)
	case "want_assertions_signed":
		s.WantAssertionsSigned, err = unmarshalSwitch(d, samlUsage)
	case "clock_skew":
		s.ClockSkew, err = unmarshalDuration(d, samlUsage)
	case "insecure_sha1":
		s.InsecureSHA1, err = unmarshalFlag(d, samlUsage)
	case "insecure_http_metadata":
		s.InsecureHTTPMetadata, err = unmarshalFlag(d, samlUsage)
	default:
		return s.unmarshalText(d)
	}
	return true, err
}

func (s *SAML) unmarshalText(d *caddyfile.Dispenser) (known bool, err error) {
	for _, text := range s.texts() {
		if text.name == d.Val() {
			*text.value, err = unmarshalArg(d, samlUsage)
			return true, err
		}
	}
	return s.People.unmarshalOption(d)
}

// checkMetadata refuses an address that metadata can't be fetched from. What
// holds a placeholder is judged when that is resolved, and files are not looked
// for here.
func checkMetadata(d *caddyfile.Dispenser, value string) error {
	if isXML(value) || strings.Contains(value, "{") || !strings.Contains(value, "://") || isWebURL(value) {
		return nil
	}
	return d.Errf("'metadata' cannot be '%s': expected a URL such as https://login.example.com/metadata.xml, a file, or the document itself", value)
}

func isWebURL(s string) bool {
	u, err := url.Parse(s)
	return err == nil && u.Host != "" && (u.Scheme == "https" || u.Scheme == "http") && u.Fragment == ""
}
