package caddymodule_test

import (
	"crypto/ed25519"
	"crypto/x509"
	"encoding/base64"
	"encoding/binary"
	"encoding/pem"
	"net/http"
	"os"
	"reflect"
	"regexp"
	"slices"
	"strings"
	"testing"
	"time"
	"unicode/utf16"

	"github.com/caddyserver/caddy/v2"

	"github.com/caddy-sso/caddy-sso/caddymodule"
	"github.com/caddy-sso/caddy-sso/gateway/gatewaytest"
	"github.com/caddy-sso/caddy-sso/gateway/refusal"
	"github.com/caddy-sso/caddy-sso/gateway/samlsp"
)

// TestSAMLByHand gives all that metadata would say, in the shapes that providers
// export certificates in.
func TestSAMLByHand(t *testing.T) {
	w := newWorld(t)
	idp := w.addIdP("corp")
	other, err := gatewaytest.NewIdPKey()
	if err != nil {
		t.Fatal(err)
	}
	der := idp.Key.Certificate
	text := string(pem.EncodeToMemory(&pem.Block{Type: "CERTIFICATE", Bytes: der}))
	bare := base64.StdEncoding.EncodeToString(der)
	wrapped := strings.Join(strings.Split(strings.TrimSpace(text), "\n")[1:], "\n")
	wrapped = wrapped[:strings.LastIndex(wrapped, "\n")]
	files := map[string]string{"idp.pem": text, "idp.b64": bare, "idp.cer": string(der), "crlf.pem": "\ufeff\r\n" + strings.ReplaceAll(text, "\n", "\r\n") + "\r\n", "none.pem": "", "key.pem": "-----BEGIN PRIVATE KEY-----\nMC4CAQ==\n-----END PRIVATE KEY-----\n"}
	for name, content := range files {
		if err := os.WriteFile(w.path(name), []byte(content), 0o600); err != nil {
			t.Fatal(err)
		}
	}
	t.Setenv("SSO_TEST_CERTIFICATE", text)
	_, private, err := ed25519.GenerateKey(nil) // the shortest kind of key
	if err != nil {
		t.Fatal(err)
	}
	if private, err = x509.MarshalPKCS8PrivateKey(private); err != nil {
		t.Fatal(err)
	}
	secret := base64.StdEncoding.EncodeToString(private)
	heredoc := func(s string) string { return "<<IDP_PEM\n" + strings.TrimSpace(s) + "\nIDP_PEM" }
	byHand := func(options ...string) string {
		options = append([]string{"entity_id " + idp.EntityID, "sso_url " + idp.EntityID + gatewaytest.IdPSSOPath}, options...)
		return w.global("provider corp saml {\n"+strings.Join(options, "\n")+"\n}\n") + samlSite
	}
	for _, tt := range []struct{ name, certificate string }{
		{"PEM", heredoc(text)},
		{"PEM on one line", "`" + strings.ReplaceAll(text, "\n", " ") + "`"},
		{"PEM with CRLF and blanks around it", "\" \r\n" + strings.ReplaceAll(text, "\n", "\r\n") + "\r\n \""},
		{"Base64", bare},
		{"Base64 with line breaks", heredoc(wrapped)},
		{"file of PEM", w.path("idp.pem")},
		{"file of PEM from Windows", w.path("crlf.pem")},
		{"file of Base64", w.path("idp.b64")},
		{"file of DER", w.path("idp.cer")},
		{"placeholder of a file", "{file." + w.path("idp.pem") + "}"},
		{"placeholder of the environment", "{env.SSO_TEST_CERTIFICATE}"},
		{"the next one beside it", base64.StdEncoding.EncodeToString(other.Certificate) + "\ncertificate " + bare},
	} {
		t.Run("C7 certificate as "+tt.name, func(t *testing.T) {
			w.loadIn(t, byHand("certificate "+tt.certificate))
			if status, body := newBrowser(t).samlIn(w, "corp"); status != http.StatusOK || body != aliceOf+"corp" {
				t.Errorf("%d %q", status, body)
			}
		})
	}
	t.Run("C7 certificate of another", func(t *testing.T) {
		w.loadIn(t, byHand("certificate "+base64.StdEncoding.EncodeToString(other.Certificate)))
		if status, body := newBrowser(t).samlIn(w, "corp"); status != http.StatusBadRequest || !strings.Contains(body, string(refusal.SAMLSignature)) {
			t.Errorf("%d %q", status, body)
		}
	})
	for _, tt := range []struct{ name, certificate, want string }{
		{"nothing in it", w.path("none.pem"), "certificate: " + w.path("none.pem") + " is empty"},
		{"no such file", w.path("no.pem"), "certificate: open " + w.path("no.pem")},
		{"a private key", w.path("key.pem"), "private key"},
		{"a private key in Base64", secret, "private key"},
		{"cut off", bare[:200], "cut off"},
		{"no certificate", strings.Repeat("no certificate/", 20), "expected PEM, which begins with -----BEGIN"},
	} {
		t.Run("C7 bad certificate: "+tt.name, func(t *testing.T) {
			err := w.load(byHand("certificate `" + tt.certificate + "`"))
			if err == nil || !strings.Contains(err.Error(), tt.want) || !strings.Contains(err.Error(), "provider corp: ") || strings.Contains(err.Error(), "MC4C") || strings.Contains(err.Error(), secret) {
				t.Errorf("want %q, got %v", tt.want, err)
			}
		})
	}
	t.Run("C6 every field of a provider", func(t *testing.T) {
		idp.SetHooks(gatewaytest.IdPHooks{Answer: func(a *gatewaytest.IdPAnswer) {
			a.NameIDFormat, a.NameID = gatewaytest.NameIDTransient, "t-1"
			a.Attributes = append(a.Attributes,
				gatewaytest.IdPAttribute{Name: "urn:id", Values: []string{"4711"}}, gatewaytest.IdPAttribute{Name: "urn:user", Values: []string{"alicia"}},
				gatewaytest.IdPAttribute{Name: "urn:mail", Values: []string{"a@example.org"}}, gatewaytest.IdPAttribute{Name: "urn:first", Values: []string{"A."}},
				gatewaytest.IdPAttribute{Name: "urn:last", Values: []string{"L."}}, gatewaytest.IdPAttribute{Name: "urn:name", Values: []string{"A. L."}},
				gatewaytest.IdPAttribute{Name: "urn:groups", Values: []string{"other", "staff"}})
		}})
		w.loadIn(t, byHand("certificate "+bare, `display_name "Corp & Co"`, "id_attribute urn:id", "username_attribute urn:user", "email_attribute urn:mail",
			"first_name_attribute urn:first", "last_name_attribute urn:last", "display_name_attribute urn:name", "groups_attribute urn:groups"))
		if status, body := newBrowser(t).samlIn(w, "corp"); status != http.StatusOK || body != "alicia a@example.org A. L. team of corp" {
			t.Errorf("%d %q", status, body)
		}
	})
}

// TestSAMLWellKnownNames has each attribute that docs/saml.md calls well known
// taken for what it says there.
func TestSAMLWellKnownNames(t *testing.T) {
	w := newWorld(t)
	idp := w.addIdP("corp")
	w.mustLoad(w.global(w.saml("corp", idp)) + samlSite)
	page, err := os.ReadFile("../docs/saml.md")
	if err != nil {
		t.Fatal(err)
	}
	for row, tt := range map[string]struct{ value, shown string }{
		"e-mail":     {"a@example.org", "alice a@example.org   of corp"},
		"first name": {"Ada", "alice  Ada  of corp"},
		"last name":  {"Lovelace", "alice  Lovelace  of corp"},
		"full name":  {"Ada L.", "alice  Ada L.  of corp"},
		"groups":     {"staff", "alice   team of corp"},
	} {
		_, cell, _ := strings.Cut(string(page), "\n| "+row+" | ")
		cell, _, _ = strings.Cut(cell, " |\n")
		names := regexp.MustCompile("`([^`]+)`").FindAllStringSubmatch(cell, -1)
		if len(names) < 4 {
			t.Fatalf("%s: only %q", row, names)
		}
		for _, name := range names {
			idp.SetHooks(gatewaytest.IdPHooks{Answer: func(a *gatewaytest.IdPAnswer) {
				a.Attributes = []gatewaytest.IdPAttribute{{Name: name[1], Values: []string{tt.value}}}
			}})
			if status, body := newBrowser(t).samlIn(w, "corp"); status != http.StatusOK || body != tt.shown {
				t.Errorf("%s as %s: %d %q", row, name[1], status, body)
			}
		}
	}
}

// TestSAMLMetadataForms takes metadata from wherever they may stand, and gives a
// provider without a name one that says where that is.
func TestSAMLMetadataForms(t *testing.T) {
	w := newWorld(t)
	idp := w.addIdP("corp")
	if err := os.WriteFile(w.path("idp.xml"), []byte(idp.Metadata()), 0o600); err != nil {
		t.Fatal(err)
	}
	wide := []byte{0xFF, 0xFE} // UTF-16, with a stylesheet
	for _, unit := range utf16.Encode([]rune(strings.Replace(idp.Metadata(), `"UTF-8"?>`, `"utf-16"?><?xml-stylesheet href="x.xsl"?>`, 1))) {
		wide = binary.LittleEndian.AppendUint16(wide, unit)
	}
	if err := os.WriteFile(w.path("wide.xml"), wide, 0o600); err != nil {
		t.Fatal(err)
	}
	t.Setenv("SSO_TEST_METADATA", idp.EntityID+gatewaytest.IdPMetadataPath)
	host := strings.ReplaceAll(strings.TrimPrefix(idp.EntityID, "https://"), ":", "-")
	for _, tt := range []struct{ name, metadata, provider string }{
		{"address", idp.EntityID + gatewaytest.IdPMetadataPath, host + "-metadata"},
		{"address in the environment", "{env.SSO_TEST_METADATA}", host + "-metadata"},
		{"file", w.path("idp.xml"), host},
		{"file in UTF-16", w.path("wide.xml"), host},
		{"document in a file", "{file." + w.path("idp.xml") + "}", host},
		{"document", "<<IDP_XML\n" + strings.TrimSpace(idp.Metadata()) + "<!-- {braces} -->\nIDP_XML", host},
	} {
		t.Run(tt.name, func(t *testing.T) {
			w.loadIn(t, w.global("")+strings.Replace(samlSite, "sso {", "sso saml "+tt.metadata+" {\n\t\tca "+w.path("corp.pem"), 1))
			if status, body, _ := newBrowser(t).visit(w.origin(), nil); status != http.StatusOK || body != aliceOf+tt.provider {
				t.Errorf("%d %q", status, body)
			}
		})
	}
}

// TestSAMLOptionsArrive gives every option, in two configurations that exclude
// each other, and looks for it in what the provider is made of.
func TestSAMLOptionsArrive(t *testing.T) {
	t.Parallel()
	ctx, cancel := caddy.NewContext(caddy.Context{Context: t.Context()})
	defer cancel()
	key, err := gatewaytest.NewIdPKey()
	if err != nil {
		t.Fatal(err)
	}
	ca := t.TempDir() + "/ca.pem"
	if err := os.WriteFile(ca, pem.EncodeToMemory(&pem.Block{Type: "CERTIFICATE", Bytes: key.Certificate}), 0o600); err != nil {
		t.Fatal(err)
	}
	full := caddymodule.SAML{
		Name: "corp", DisplayName: "Corp", Lifetime: caddy.Duration(time.Hour), Metadata: "http://login.example.com/metadata.xml",
		EntityID: "urn:idp", SPEntityID: "urn:sp", RequestBinding: "post", SignRequests: "on", NameIDFormat: "persistent",
		IDAttribute: "id", UsernameAttribute: "user", EmailAttribute: "mail", FirstNameAttribute: "first", LastNameAttribute: "last",
		DisplayNameAttribute: "display", GroupsAttribute: "groups", WantAssertionsSigned: "off", ClockSkew: caddy.Duration(time.Minute),
		CA: ca, InsecureSHA1: true, InsecureHTTPMetadata: true,
	}
	byHand := caddymodule.SAML{EntityID: "urn:idp", SSOURL: "https://login.example.com/sso", Certificate: []string{ca}}
	got, named, err := caddymodule.BuildSAML(ctx, &full)
	if err != nil {
		t.Fatal(err)
	}
	want := samlsp.Config{
		MetadataURL: full.Metadata, EntityID: "urn:idp", SPEntityID: "urn:sp", RequestBinding: samlsp.BindingPOST, SignRequests: samlsp.On,
		NameIDFormat: "persistent", IDAttribute: "id", UsernameAttribute: "user", EmailAttribute: "mail", FirstNameAttribute: "first",
		LastNameAttribute: "last", DisplayNameAttribute: "display", GroupsAttribute: "groups", WantAssertionsSigned: samlsp.Off,
		ClockSkew: time.Minute, RootCAs: got.RootCAs, CAFile: ca, InsecureSHA1: true, InsecureHTTP: true,
	}
	if !reflect.DeepEqual(got, want) || len(got.RootCAs) == 0 {
		t.Errorf("got  %+v\nwant %+v", got, want)
	}
	if named.Name != "corp" || named.DisplayName != "Corp" || named.Lifetime != time.Hour {
		t.Errorf("the provider is %+v", named)
	}
	hand, named, err := caddymodule.BuildSAML(ctx, &byHand)
	if err != nil || named.Name != "idp" {
		t.Fatalf("%+v, %v", named, err)
	}
	for i := range reflect.TypeFor[samlsp.Config]().NumField() {
		field := reflect.TypeFor[samlsp.Config]().Field(i).Name
		set := !reflect.ValueOf(got).Field(i).IsZero() || !reflect.ValueOf(hand).Field(i).IsZero()
		if !set && field != "Metadata" && field != "MetadataFile" { // see TestSAMLMetadataForms
			t.Errorf("no option sets %s", field)
		}
	}
}

// TestSAMLCodesAreDescribed holds the links of docs/saml.md against the codes that
// there are.
func TestSAMLCodesAreDescribed(t *testing.T) {
	t.Parallel()
	page, err := os.ReadFile("../docs/saml.md")
	if err != nil {
		t.Fatal(err)
	}
	links := regexp.MustCompile(`errors\.md#([a-z_]+)`).FindAllStringSubmatch(string(page), -1)
	if len(links) < 10 {
		t.Fatalf("only %d links to errors", len(links))
	}
	for _, link := range links {
		if !slices.Contains(refusal.Codes(), refusal.Code(link[1])) {
			t.Errorf("there is no code %s", link[1])
		}
	}
}
