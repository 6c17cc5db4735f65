//go:build integration

package integration

import (
	"encoding/json"
	"fmt"
	"slices"
	"strings"
	"testing"
	"time"
)

// bothSAMLStores runs a test against a world with each store.
func bothSAMLStores(t *testing.T, o samlOptions, sites []samlSite, f func(t *testing.T, w *samlWorld)) {
	t.Helper()
	eachStore(t, func(t *testing.T, store string) {
		own := o
		own.store = store
		f(t, newSAMLWorld(t, own, sites...))
	})
}

// TestSAMLPeople signs everybody of the lab in at Keycloak and at
// SimpleSAMLphp, with both stores.
func TestSAMLPeople(t *testing.T) {
	t.Parallel()
	sites := []samlSite{{name: "keycloak"}, {name: "simplesamlphp", php: true}}
	bothSAMLStores(t, samlOptions{}, sites, func(t *testing.T, w *samlWorld) {
		for _, s := range w.sites {
			t.Run(s.name, func(t *testing.T) {
				everybodySignsIn(t, "D4", s.app, s.base, false, func(target, user string) (*client, *page) {
					c := w.client(0)
					return c, c.samlSignIn(target, user)
				})
			})
		}
		t.Run("D4 two thousand groups pass", func(t *testing.T) {
			s := w.site("simplesamlphp")
			c := w.client(0)
			r := c.echoed(c.samlSignIn(s.base+"/", legion))
			if r.Identity == nil || r.Identity.Username != legion || !slices.Equal(r.Identity.Roles, []string{"Viewer"}) {
				t.Errorf("the assertion says %+v, %s", r.Identity, r.AssertionError)
			}
			c.echoed(c.fetch(s.base + "/again"))
		})
	})
}

// A samlVariant is what a provider may be set to, and what becomes of bob's
// sign-in then: he is who user says, or the code is the refusal's.
type samlVariant struct {
	samlSite
	user, code string
	// why is in the log, with the refusal.
	why string
}

const (
	inclusive    = "http://www.w3.org/TR/2001/REC-xml-c14n-20010315"
	insecureSHA1 = "\t\tinsecure_sha1"
	messageOnly  = "\t\twant_assertions_signed off"
	byUID        = "\t\tid_attribute uid\n\t\tusername_attribute uid"
)

var (
	assertionOnly = map[string]string{"saml.server.signature": "false"}
	responseOnly  = map[string]string{"saml.assertion.signature": "false"}
	unsigned      = map[string]string{"saml.server.signature": "false", "saml.assertion.signature": "false"}
	sha1          = map[string]string{"saml.signature.algorithm": "RSA_SHA1"}
)

func keycloakVariants() []samlVariant {
	nameID := func(format string) map[string]string { return map[string]string{"saml_name_id_format": format} }
	k := func(name string, client map[string]string, block string) samlSite {
		return samlSite{name: name, client: client, block: block}
	}
	const claims = "http://schemas.xmlsoap.org/ws/2005/05/identity/claims/"
	return []samlVariant{
		{k("both-signed", nil, ""), "bob", "", ""},
		{k("both-signed-off", nil, messageOnly), "bob", "", ""},
		{k("assertion-only", assertionOnly, ""), "bob", "", ""},
		{k("assertion-only-off", assertionOnly, messageOnly), "", "saml_unsigned", ""},
		{k("response-only", responseOnly, ""), "", "saml_unsigned", "want_assertions_signed off"},
		{k("response-only-off", responseOnly, messageOnly), "bob", "", ""},
		{k("unsigned", unsigned, ""), "", "saml_unsigned", ""},
		{k("unsigned-off", unsigned, messageOnly), "", "saml_unsigned", ""},
		{k("unsigned-all-off", unsigned, messageOnly+"\n"+insecureSHA1), "", "saml_unsigned", ""},
		{k("sha1", sha1, ""), "", "saml_algorithm_refused", "insecure_sha1"},
		{k("sha1-insecure", sha1, insecureSHA1), "bob", "", ""},
		{k("sha512", map[string]string{"saml.signature.algorithm": "RSA_SHA512"}, ""), "bob", "", ""},
		// Inclusive canonical form, of the message: Keycloak makes an assertion's
		// out of the message's context, where it is never right.
		{k("inclusive", map[string]string{"saml_signature_canonicalization_method": inclusive, "saml.assertion.signature": "false"}, messageOnly), "bob", "", ""},
		{k("email", nameID("email"), ""), "bob@example.test", "", ""},
		{k("email-asked-for-in-vain", nil, "\t\tname_id_format emailAddress"), "", "saml_subject_invalid", "name_id_format"},
		{k("persistent", nameID("persistent"), ""), "", "no_username", ""},
		{k("persistent-uid", nameID("persistent"), "\t\tusername_attribute uid"), "bob", "", ""},
		{k("transient", nameID("transient"), ""), "", "saml_subject_invalid", "id_attribute"},
		{k("transient-name", nameID("transient"), "\t\tusername_attribute uid"), "", "saml_subject_invalid", "id_attribute"},
		{k("transient-uid", nameID("transient"), byUID), "bob", "", ""},
		{k("missing-id", nil, "\t\tid_attribute employeeNumber"), "", "saml_attribute_invalid", "the id attribute"},
		{k("encrypted", map[string]string{"saml.encrypt": "true", "saml.encryption.certificate": encryptionCertificate()}, ""), "", "saml_encrypted", ""},
		{samlSite{name: "repeated", mappers: []map[string]any{samlGroups("groups", false)}}, "bob", "", ""},
		{samlSite{name: "member-of", mappers: []map[string]any{samlGroups("memberOf", true)}}, "bob", "", ""},
		{samlSite{name: "teams", mappers: []map[string]any{samlGroups("teams", true)}, block: "\t\tgroups_attribute teams"}, "bob", "", ""},
		{samlSite{name: "claims", mappers: []map[string]any{
			samlGroups("http://schemas.microsoft.com/ws/2008/06/identity/claims/groups", true),
			samlProperty("email", claims+"emailaddress"), samlProperty("firstName", claims+"givenname"), samlProperty("lastName", claims+"surname"),
		}}, "bob", "", ""},
	}
}

func simpleSAMLphpVariants() []samlVariant {
	p := func(name string, options map[string]any, block string) samlSite {
		return samlSite{name: "php-" + name, php: true, options: options, block: block}
	}
	nameID := func(format string) map[string]any { return map[string]any{"NameIDFormat": format} }
	const (
		response, assertion, algorithm = "saml20.sign.response", "saml20.sign.assertion", "signature.algorithm"
		emailAddress                   = "urn:oasis:names:tc:SAML:1.1:nameid-format:emailAddress"
		transient                      = "urn:oasis:names:tc:SAML:2.0:nameid-format:transient"
		persistent                     = "urn:oasis:names:tc:SAML:2.0:nameid-format:persistent"
		dsigMore                       = "http://www.w3.org/2001/04/xmldsig-more#"
	)
	return []samlVariant{
		{p("assertion-only", map[string]any{response: false}, ""), "bob", "", ""},
		{p("response-only", map[string]any{assertion: false}, ""), "", "saml_unsigned", "want_assertions_signed off"},
		{p("response-only-off", map[string]any{assertion: false}, messageOnly), "bob", "", ""},
		{p("unsigned", map[string]any{assertion: false, response: false}, ""), "", "saml_unsigned", ""},
		{p("unsigned-off", map[string]any{assertion: false, response: false}, messageOnly), "", "saml_unsigned", ""},
		{p("sha512", map[string]any{algorithm: dsigMore + "rsa-sha512"}, ""), "bob", "", ""},
		{p("sha384", map[string]any{algorithm: dsigMore + "rsa-sha384"}, ""), "bob", "", ""},
		{p("sha1", map[string]any{algorithm: "http://www.w3.org/2000/09/xmldsig#rsa-sha1"}, ""), "", "saml_algorithm_refused", "insecure_sha1"},
		{p("sha1-insecure", map[string]any{algorithm: "http://www.w3.org/2000/09/xmldsig#rsa-sha1"}, insecureSHA1), "bob", "", ""},
		{p("email", nameID(emailAddress), ""), "bob@example.test", "", ""},
		{p("email-asked-for", nil, "\t\tname_id_format emailAddress"), "bob@example.test", "", ""},
		{p("transient", nameID(transient), ""), "", "saml_subject_invalid", "id_attribute"},
		{p("transient-uid", nameID(transient), byUID), "bob", "", ""},
		{p("persistent-asked-for", nil, "\t\tname_id_format persistent\n\t\tusername_attribute uid"), "bob", "", ""},
		{p("persistent", nameID(persistent), ""), "", "no_username", ""},
		{p("oids", map[string]any{
			"authproc":              map[string]any{"50": map[string]any{"class": "core:AttributeMap", "0": "name2oid"}},
			"attributes.NameFormat": "urn:oasis:names:tc:SAML:2.0:attrname-format:uri",
		}, ""), "bob", "", ""},
	}
}

// TestSAMLVariants signs in at providers that are set up in every way that they
// can be, with both stores.
func TestSAMLVariants(t *testing.T) {
	t.Parallel()
	for idp, variants := range map[string][]samlVariant{"Keycloak": keycloakVariants(), "SimpleSAMLphp": simpleSAMLphpVariants()} {
		t.Run(idp, func(t *testing.T) {
			var sites []samlSite
			for _, v := range variants {
				sites = append(sites, v.samlSite)
			}
			o := unlimited()
			o.oneByOne = true
			bothSAMLStores(t, o, sites, func(t *testing.T, w *samlWorld) {
				for _, v := range variants {
					t.Run("D4 "+v.name, func(t *testing.T) {
						s := w.site(v.name)
						c := w.client(0)
						p := c.samlSignIn(s.base+"/wanted", "bob")
						if v.code != "" {
							w.refused(t, s, c, p, v.code, v.why)
							return
						}
						r := c.echoed(p)
						if r.Target != "/wanted" || r.Identity == nil || r.Identity.Username != v.user || !slices.Equal(r.Identity.Roles, []string{"Viewer"}) {
							t.Errorf("the app was asked for %s by %+v, %s", r.Target, r.Identity, r.AssertionError)
						}
					})
				}
			})
		})
	}
	t.Run("D4 a transient NameID beside an id attribute is the same account every time", func(t *testing.T) {
		w := newSAMLWorld(t, samlOptions{oneByOne: true}, samlSite{name: "again", php: true, block: byUID, options: map[string]any{"NameIDFormat": "urn:oasis:names:tc:SAML:2.0:nameid-format:transient"}})
		s := w.site("again")
		var subjects []string
		for range 2 {
			c := w.client(0)
			r := c.echoed(c.samlSignIn(s.base+"/", "bob"))
			subjects = append(subjects, r.Identity.Subject)
		}
		if subjects[0] != subjects[1] || subjects[0] == "" {
			t.Errorf("the subjects are %q", subjects)
		}
	})
}

// refused says that p is the refusal with a code, that nobody is signed in by
// it, and that the log has the code, its fix and why.
func (w *samlWorld) refused(t *testing.T, s *samlSite, c *client, p *page, code, why string) {
	t.Helper()
	if p.status/100 != 4 || codeOf(p) != code {
		t.Errorf("got %s, want %s\nby %s", p, code, strings.Join(c.hops, " → "))
	}
	if sessionCookieOf(c, s.base) != nil {
		t.Error("there is a session")
	}
	if n := len(s.app.seen("/wanted")); n != 0 {
		t.Errorf("the app saw %d requests", n)
	}
	eventually(t, fmt.Sprintf("a line of the log with %s, its fix and %q", code, why), 30*time.Second, func() bool {
		return slices.ContainsFunc(w.nodes, func(n *node) bool { return n.tellsOf(s.host, code, why) })
	})
}

// tellsOf says whether the log has a refusal at a site, with its fix and why.
func (n *node) tellsOf(host, code, why string) bool {
	for line := range strings.Lines(n.log.String()) {
		var entry struct{ App, Code, Fix string }
		if strings.Contains(line, why) && json.Unmarshal([]byte(line), &entry) == nil && entry.App == host && entry.Code == code && entry.Fix != "" {
			return true
		}
	}
	return false
}
