//go:build integration

package integration

import (
	"bytes"
	"compress/flate"
	"encoding/base64"
	"encoding/xml"
	"fmt"
	"io"
	"net/http"
	"net/url"
	"os"
	"path/filepath"
	"slices"
	"strings"
	"testing"
)

// idpMetadata is what the tests read of a provider's metadata.
type idpMetadata struct {
	EntityID     string        `xml:"entityID,attr"`
	Certificates []string      `xml:"IDPSSODescriptor>KeyDescriptor>KeyInfo>X509Data>X509Certificate"`
	SSO          []idpEndpoint `xml:"IDPSSODescriptor>SingleSignOnService"`
}

type idpEndpoint struct {
	Binding  string `xml:",attr"`
	Location string `xml:",attr"`
}

func (w *samlWorld) readMetadata(s *samlSite) *idpMetadata {
	w.t.Helper()
	var m idpMetadata
	if err := xml.Unmarshal([]byte(w.metadataOf(s)), &m); err != nil || m.EntityID == "" || len(m.Certificates) == 0 {
		w.t.Fatalf("the provider's metadata: %v, %+v", err, m)
	}
	return &m
}

// byHand is a provider whose address and certificate are given in place of its
// metadata; shape makes the option of the certificate.
func byHand(shape func(w *samlWorld, s *samlSite, base64 string) string) func(w *samlWorld, s *samlSite) string {
	return func(w *samlWorld, s *samlSite) string {
		m := w.readMetadata(s)
		at := slices.IndexFunc(m.SSO, func(b idpEndpoint) bool { return strings.HasSuffix(b.Binding, "HTTP-Redirect") })
		return fmt.Sprintf("saml {\n\t\tentity_id %s\n\t\tsso_url %s\n%s", m.EntityID, m.SSO[at].Location, shape(w, s, m.Certificates[0]))
	}
}

// broken breaks Base64 into lines, as certificates are exported.
func broken(text, end string) string {
	var b strings.Builder
	for len(text) > 64 {
		b.WriteString(text[:64] + end)
		text = text[64:]
	}
	return b.String() + text
}

// TestSAMLMetadata gives what is known of the provider in every way, with both
// stores.
func TestSAMLMetadata(t *testing.T) {
	t.Parallel()
	pem := func(cert, end string) string {
		return "-----BEGIN CERTIFICATE-----" + end + broken(strings.Join(strings.Fields(cert), ""), end) + end + "-----END CERTIFICATE-----" + end
	}
	inFile := func(w *samlWorld, s *samlSite, content string) string {
		file := filepath.Join(w.gw().dir, s.name+".pem")
		if err := os.WriteFile(file, []byte(content), 0o600); err != nil {
			w.t.Fatal(err)
		}
		return "\t\tcertificate " + file
	}
	sites := []samlSite{
		{name: "url"},
		{name: "file", provider: func(w *samlWorld, s *samlSite) string { return "saml " + w.metadataFile(s) }},
		{name: "inline", provider: func(w *samlWorld, s *samlSite) string { return "saml `" + w.metadataOf(s) + "`" }},
		{name: "heredoc", provider: func(w *samlWorld, s *samlSite) string {
			return "saml {\n\t\tmetadata <<XML\n" + w.metadataOf(s) + "\nXML"
		}},
		{name: "hand-pem-file", provider: byHand(func(w *samlWorld, s *samlSite, cert string) string { return inFile(w, s, pem(cert, "\n")) })},
		{name: "hand-crlf-file", provider: byHand(func(w *samlWorld, s *samlSite, cert string) string {
			return inFile(w, s, "\r\n \t"+pem(cert, "\r\n")+"\r\n  ")
		})},
		{name: "hand-base64", provider: byHand(func(_ *samlWorld, _ *samlSite, cert string) string { return "\t\tcertificate " + cert })},
		{name: "hand-lines", provider: byHand(func(_ *samlWorld, _ *samlSite, cert string) string {
			return "\t\tcertificate `" + broken(cert, "\n\t\t") + "`"
		})},
		{name: "php-url", php: true},
		{name: "php-file", php: true, provider: func(w *samlWorld, s *samlSite) string { return "saml " + w.metadataFile(s) }},
		{name: "php-hand", php: true, provider: byHand(func(_ *samlWorld, _ *samlSite, cert string) string {
			return "\t\tcertificate `" + pem(cert, "\n") + "`"
		})},
		{name: "own-entity-id", unregistered: true, block: "\t\tsp_entity_id urn:example:of-our-own"},
	}
	bothSAMLStores(t, samlOptions{stopped: true}, sites, func(t *testing.T, w *samlWorld) {
		own := w.site("own-entity-id")
		id := "urn:example:" + randomHex(8)
		own.block = "\t\tsp_entity_id " + id
		w.kc.samlClient(t, id, own.acs(), nil)
		w.configure(w.nodes[0])
		w.gw().start()
		for _, s := range w.sites {
			t.Run("C6 "+s.name, func(t *testing.T) {
				c := w.client(0)
				if r := c.echoed(c.samlSignIn(s.base+"/", "bob")); r.Identity == nil || r.Identity.Username != "bob" {
					t.Errorf("the assertion says %+v, %s", r.Identity, r.AssertionError)
				}
			})
		}
	})
	t.Run("D4 with another provider's certificate nothing is taken", func(t *testing.T) {
		w := newSAMLWorld(t, samlOptions{oneByOne: true}, samlSite{name: "wrong-key", provider: byHand(func(_ *samlWorld, _ *samlSite, _ string) string {
			return "\t\tcertificate " + encryptionCertificate()
		})})
		s := w.site("wrong-key")
		c := w.client(0)
		w.refused(t, s, c, c.samlSignIn(s.base+"/wanted", "bob"), "saml_signature_invalid", "")
	})
}

// TestSAMLRequest looks at the request on its way to the provider.
func TestSAMLRequest(t *testing.T) {
	t.Parallel()
	sites := []samlSite{
		{name: "redirect", block: "\t\trequest_binding redirect\n\t\tsign_requests off"},
		{name: "redirect-signed", unregistered: true, block: "\t\trequest_binding redirect\n\t\tsign_requests on"},
		{name: "post", block: "\t\trequest_binding post\n\t\tsign_requests off"},
		{name: "post-signed", unregistered: true, block: "\t\trequest_binding post\n\t\tsign_requests on"},
		{name: "php-redirect-signed", php: true, unregistered: true, block: "\t\tsign_requests on"},
	}
	bothSAMLStores(t, samlOptions{oneByOne: true}, sites, func(t *testing.T, w *samlWorld) {
		w.settle(t)
		for _, s := range w.sites {
			t.Run("C9 "+s.name, func(t *testing.T) {
				if s.unregistered {
					w.registerByMetadata(t, s)
				}
				c := w.client(0)
				p := c.stopBefore(w.providerOf(s), func() *page { return c.navigate(s.base + "/wanted") })
				request, signed := w.request(t, s, p)
				for _, want := range []string{s.entityID(), s.acs(), `Version="2.0"`} {
					if !strings.Contains(request, want) {
						t.Errorf("no %s in %s", want, request)
					}
				}
				if want := strings.HasSuffix(s.name, "signed"); signed != want {
					t.Errorf("signed is %t: %s", signed, request)
				}
				if r := c.echoed(c.samlSignIn(s.base+"/wanted", "bob")); r.Target != "/wanted" || r.Identity == nil {
					t.Errorf("the app was asked for %s by %+v", r.Target, r.Identity)
				}
			})
		}
		t.Run("C9 the control: Keycloak refuses a request that is not signed", func(t *testing.T) {
			s := w.site("redirect-signed")
			c := w.client(0)
			forged := authnRequest(t, w.idpBase()+samlPath, s.entityID(), s.acs())
			if p := c.navigate(forged); p.isLoginForm() || p.status/100 != 4 {
				t.Errorf("got %s", p)
			}
		})
	})
}

// settle waits until every site answers with its provider: the first keys of
// ours are made after the start.
func (w *samlWorld) settle(t *testing.T) {
	t.Helper()
	for _, s := range w.sites {
		eventually(t, s.name+"'s metadata", patience, func() bool {
			return w.client(0).fetch(s.entityID()).status == http.StatusOK
		})
	}
}

// providerOf is what addresses at a site's provider begin with.
func (w *samlWorld) providerOf(s *samlSite) string {
	if s.php {
		return theSimpleSAMLphp(w.t).base()
	}
	return w.idpBase()
}

// request reads the request that a page sends the browser to the provider with,
// and says whether it is signed.
func (w *samlWorld) request(t *testing.T, s *samlSite, p *page) (document string, signed bool) {
	t.Helper()
	if f := p.formWith("SAMLRequest"); f != nil {
		if !strings.HasPrefix(f.target(), w.providerOf(s)) || len(f.fields.Get("RelayState")) != 43 {
			t.Errorf("the form goes to %s with %d characters of RelayState", f.target(), len(f.fields.Get("RelayState")))
		}
		document = f.document(t)
		return document, strings.Contains(document, "SignatureValue>")
	}
	q := query(t, p.header.Get("Location"))
	deflated, err := base64.StdEncoding.DecodeString(q.Get("SAMLRequest"))
	if err != nil || len(deflated) == 0 {
		t.Fatalf("there is no request: %v, %s", err, p)
	}
	b, err := io.ReadAll(flate.NewReader(bytes.NewReader(deflated)))
	if err != nil {
		t.Fatal(err)
	}
	if len(q.Get("RelayState")) != 43 {
		t.Errorf("RelayState has %d characters", len(q.Get("RelayState")))
	}
	return string(b), q.Get("Signature") != "" && strings.HasSuffix(q.Get("SigAlg"), "rsa-sha256")
}

// registerByMetadata makes a site known by the metadata that it publishes, as
// an administrator does who uploads them.
func (w *samlWorld) registerByMetadata(t *testing.T, s *samlSite) map[string]any {
	t.Helper()
	p := w.client(0).fetch(s.entityID())
	if p.status != http.StatusOK || !strings.HasPrefix(p.header.Get("Content-Type"), "application/samlmetadata+xml") {
		t.Fatalf("the metadata of %s: %s, %s", s.name, p, p.header.Get("Content-Type"))
	}
	if s.php {
		theSimpleSAMLphp(t).register(t, p.body, map[string]any{"validate.authnrequest": true})
		return nil
	}
	return w.kc.samlImport(t, []byte(p.body))
}

// TestSAMLMetadataOfOurs has Keycloak register a site by its metadata, and
// signs in with what Keycloak made of them.
func TestSAMLMetadataOfOurs(t *testing.T) {
	t.Parallel()
	sites := []samlSite{{name: "imported", unregistered: true, block: "\t\tsign_requests on"}, {name: "message-only", unregistered: true, block: messageOnly}}
	bothSAMLStores(t, samlOptions{oneByOne: true}, sites, func(t *testing.T, w *samlWorld) {
		w.settle(t)
		for row, want := range map[string]struct{ site, assertions string }{
			"A3 C5 Keycloak imports our metadata, and signs as they ask":                            {"imported", "true"},
			"A3 C5 Keycloak imports our metadata, which ask for no signed assertions, if we do not": {"message-only", "false"},
		} {
			t.Run(row, func(t *testing.T) {
				s := w.site(want.site)
				made := w.registerByMetadata(t, s)
				attributes, _ := made["attributes"].(map[string]any)
				if made["clientId"] != s.entityID() || attributes["saml_assertion_consumer_url_post"] != s.acs() {
					t.Errorf("the registration is %v", made)
				}
				if got := attributes["saml.assertion.signature"]; got != want.assertions && !(got == nil && want.assertions == "false") {
					t.Errorf("saml.assertion.signature is %v", got)
				}
				c := w.client(0)
				if r := c.echoed(c.samlSignIn(s.base+"/", "alice")); r.Identity == nil || r.Identity.Username != "alice" {
					t.Errorf("the assertion says %+v, %s", r.Identity, r.AssertionError)
				}
			})
		}
		t.Run("A3 the metadata are public, also without a login, and stay the same over a restart", func(t *testing.T) {
			at := w.site("imported").entityID()
			before := w.client(0).fetch(at).body
			w.gw().restart()
			w.settle(t)
			if after := w.client(0).fetch(at).body; certificateIn(after) != certificateIn(before) || certificateIn(before) == "" {
				t.Error("our certificate changed")
			}
		})
	})
}

// certificateIn returns the first certificate of a metadata document.
func certificateIn(document string) string {
	_, rest, _ := strings.Cut(document, "X509Certificate>")
	cert, _, _ := strings.Cut(rest, "<")
	return cert
}

// TestSAMLSeveralProviders has one site with two SAML providers and an OpenID
// Provider.
func TestSAMLSeveralProviders(t *testing.T) {
	t.Parallel()
	eachStore(t, func(t *testing.T, store string) {
		var oidc kcClient
		p := certificates(t)
		w := newSAMLWorld(t, samlOptions{oneByOne: true, store: store, stopped: true, global: func(w *samlWorld) string {
			return fmt.Sprintf("\t\tprovider one saml {\n\t\t\tmetadata %s\n\t\t\tca %s\n\t\t\tdisplay_name \"Saml of Keycloak\"\n\t\t}\n", w.idpBase()+samlPath+"/descriptor", p.caFile) +
				fmt.Sprintf("\t\tprovider two saml {\n\t\t\tmetadata %s\n\t\t\tdisplay_name \"Saml of PHP\"\n\t\t}\n", theSimpleSAMLphp(w.t).metadataURL()) +
				fmt.Sprintf("\t\tprovider three oidc {\n\t\t\tissuer %s\n\t\t\tclient_id `%s`\n\t\t\tclient_secret `%s`\n\t\t\tca %s\n\t\t\tdisplay_name \"OpenID of Keycloak\"\n\t\t}\n",
					w.idpEntityID(), oidc.id, oidc.secret, p.caFile) +
				"\t\tsame_people one two three\n"
		}}, samlSite{name: "several", provider: func(*samlWorld, *samlSite) string { return "" }})
		s := w.site("several")
		theSimpleSAMLphp(t).register(t, spMetadata(s.entityID(), s.acs()), nil)
		oidc = w.kc.client(t, s.base, func(rep map[string]any) {
			rep["redirectUris"] = []string{s.base + "/.sso/oidc/callback", s.base + "/.sso/oidc/callback/three"}
		})
		w.configure(w.nodes[0])
		w.gw().start()
		via := func(name string) string {
			return s.base + "/.sso/login?" + url.Values{"provider": {name}, "return": {"/wanted"}}.Encode()
		}
		t.Run("A1 C11 the chooser shows them all, in their order", func(t *testing.T) {
			page := w.client(0).navigate(s.base + "/wanted")
			at := -1
			for _, name := range []string{"Saml of Keycloak", "Saml of PHP", "OpenID of Keycloak"} {
				i := strings.Index(page.body, name)
				if page.status != http.StatusOK || i <= at {
					t.Errorf("%s is not where it belongs: %s", name, page)
				}
				at = i
			}
		})
		subjects := map[string]string{}
		for _, name := range []string{"one", "two", "three"} {
			t.Run("A1 C11 sign in at "+name+", two SAML providers at one address", func(t *testing.T) {
				c := w.client(0)
				r := c.echoed(c.samlSignIn(via(name), "bob"))
				if r.Target != "/wanted" || r.Identity == nil || r.Identity.Username != "bob" {
					t.Fatalf("the app was asked for %s by %+v, %s", r.Target, r.Identity, r.AssertionError)
				}
				if got := c.session(s.base).Provider; got != name {
					t.Errorf("the session's provider is %s", got)
				}
				subjects[r.Identity.Subject] = name
			})
		}
		t.Run("A1 each provider has accounts of its own", func(t *testing.T) {
			if len(subjects) != 3 {
				t.Errorf("the subjects are %v", subjects)
			}
		})
		t.Run("C11 the flow tells the provider: another's answer is refused", func(t *testing.T) {
			c := w.client(0)
			asked := c.samlForm(via("one"))
			wanted := c.samlAnswer(asked, "bob")
			d := w.client(0)
			other := d.samlAnswer(d.samlForm(via("two")), "bob")
			other.fields.Set("RelayState", wanted.fields.Get("RelayState"))
			p := c.carry(c.send(&form{wanted.page, wanted.action, other.fields}))
			if p.status/100 != 4 || !strings.HasPrefix(codeOf(p), "saml_") || sessionCookieOf(c, s.base) != nil {
				t.Errorf("got %s", p)
			}
		})
		t.Run("C5 metadata for each provider, and none for all where there are several", func(t *testing.T) {
			for path, want := range map[string]int{"/one": 200, "/two": 200, "/three": 404, "": 404, "/nobody": 404} {
				if p := w.client(0).fetch(s.entityID() + path); p.status != want {
					t.Errorf("%s: %s", path, p)
				}
			}
		})
	})
}
