package samlsp_test

import (
	"crypto"
	"fmt"
	"strings"
	"testing"
	"time"

	"go.uber.org/zap"
	"go.uber.org/zap/zapcore"
	"go.uber.org/zap/zaptest/observer"

	"github.com/caddy-sso/caddy-sso/gateway/fetch"
	"github.com/caddy-sso/caddy-sso/gateway/refusal"
	"github.com/caddy-sso/caddy-sso/gateway/samlsp"
)

// reader returns a provider that reads metadata by URL, and never does.
func reader(tb testing.TB, change ...func(*samlsp.Config)) *samlsp.Provider {
	tb.Helper()
	config := samlsp.Config{MetadataURL: "https://idp.example.com/metadata"}
	for _, c := range change {
		c(&config)
	}
	p, err := samlsp.New(config, samlsp.Deps{Keys: spKeys{}})
	if err != nil {
		tb.Fatal(err)
	}
	return p
}

func holds(k *samlsp.Known, want ...crypto.PublicKey) bool {
	if len(k.Keys) != len(want) {
		return false
	}
	for i, key := range k.Keys {
		if !key.(interface{ Equal(crypto.PublicKey) bool }).Equal(want[i]) {
			return false
		}
	}
	return true
}

func group(attrs string, entities ...string) string {
	return fmt.Sprintf("<md:EntitiesDescriptor %s %s>%s</md:EntitiesDescriptor>", mdNamespace, attrs, strings.Join(entities, "\n"))
}

const spRole = `<md:EntityDescriptor ` + mdNamespace + ` entityID="urn:some:sp"><md:SPSSODescriptor ` + saml2 + `/></md:EntityDescriptor>`

// with returns the metadata of the good entity, changed.
func with(change func(*entity)) string {
	e := goodEntity()
	change(e)
	return e.xml()
}

func TestMetadata(t *testing.T) {
	t.Parallel()
	rsaPublic, ecPublic := rsaKey().Public(), ecKey().Public()
	signing := keyDescriptor("signing", b64(idpCert()))
	ec := b64(certify(ecKey()))
	other := with(func(e *entity) { e.entityID = "urn:other" })
	for _, tt := range []struct {
		name, doc, entityID string
		check               func(*samlsp.Known) bool
	}{
		{"as it is", goodEntity().xml(), "", func(k *samlsp.Known) bool {
			return k.EntityID == idpEntityID && k.Redirect == idpRedirect && k.POST == idpPOST && !k.WantSigned && k.ValidUntil.IsZero() && holds(k, rsaPublic)
		}},
		{"with an XML declaration, a byte order mark and comments", "\ufeff<?xml version=\"1.0\" encoding=\"utf-8\"?>\n<!-- one -->" + strings.Replace(goodEntity().xml(), "<md:KeyD", "<!-- two --><md:KeyD", 1), "", nil},
		{"in the default namespace", strings.NewReplacer("<md:", "<", "</md:", "</", "xmlns:md=", "xmlns=").Replace(goodEntity().xml()), "", nil},
		{"with other roles", strings.Replace(goodEntity().xml(), "<md:IDPSSODescriptor", `<md:AttributeAuthorityDescriptor `+saml2+`/><md:SPSSODescriptor `+saml2+`/><md:IDPSSODescriptor`, 1), "", nil},
		{"with SAML 1.1 beside", strings.Replace(goodEntity().xml(), saml2, `protocolSupportEnumeration="urn:oasis:names:tc:SAML:1.1:protocol urn:oasis:names:tc:SAML:2.0:protocol"`, 1), "", nil},
		{"a role for SAML 1.1 beside", strings.Replace(goodEntity().xml(), "<md:IDPSSODescriptor", `<md:IDPSSODescriptor protocolSupportEnumeration="urn:oasis:names:tc:SAML:1.1:protocol"/><md:IDPSSODescriptor`, 1), "", nil},
		{"certificate in lines", with(func(e *entity) {
			e.keys = []string{keyDescriptor("signing", "\n"+inLines(b64(idpCert()), 64, "\r\n")+"  ")}
		}), "", func(k *samlsp.Known) bool { return holds(k, rsaPublic) }},
		{"key without use", with(func(e *entity) { e.keys = []string{keyDescriptor("", b64(idpCert()))} }), "", func(k *samlsp.Known) bool { return holds(k, rsaPublic) }},
		{"two keys", with(func(e *entity) { e.keys = append(e.keys, keyDescriptor("signing", ec)) }), "", func(k *samlsp.Known) bool { return holds(k, rsaPublic, ecPublic) }},
		{"one key twice", with(func(e *entity) { e.keys = append(e.keys, keyDescriptor("signing", b64(certify(rsaKey())))) }), "", func(k *samlsp.Known) bool { return holds(k, rsaPublic) }},
		{"an encryption key beside", with(func(e *entity) { e.keys = append(e.keys, keyDescriptor("encryption", ec)) }), "", func(k *samlsp.Known) bool { return holds(k, rsaPublic) }},
		{"a broken key beside", with(func(e *entity) { e.keys = []string{keyDescriptor("signing", "x!"), signing} }), "", func(k *samlsp.Known) bool { return holds(k, rsaPublic) }},
		{"a key with its chain: the chain signs nothing", with(func(e *entity) { e.keys = []string{keyDescriptor("signing", b64(issued.der()), b64(ca.der()))} }), "", func(k *samlsp.Known) bool { return holds(k, rsaPublic) }},
		{"two keys in one", with(func(e *entity) { e.keys = []string{keyDescriptor("signing", b64(idpCert()), ec)} }), "", func(k *samlsp.Known) bool { return holds(k, rsaPublic, ecPublic) }},
		{"an expired certificate", with(func(e *entity) { e.keys = []string{keyDescriptor("signing", b64(certify(rsaKey(), expired)))} }), "", func(k *samlsp.Known) bool { return holds(k, rsaPublic) }},
		{"wants signed requests", with(func(e *entity) { e.roleAttrs = `WantAuthnRequestsSigned="true"` }), "", func(k *samlsp.Known) bool { return k.WantSigned }},
		{"only post", with(func(e *entity) { e.redirect = "" }), "", func(k *samlsp.Known) bool { return k.Redirect == "" && k.POST == idpPOST }},
		{"redirect by http: as if it were not there", with(func(e *entity) { e.redirect = "http://idp.example.com" }), "", func(k *samlsp.Known) bool { return k.Redirect == "" && k.POST == idpPOST }},
		{"location with an ampersand", with(func(e *entity) { e.redirect += "?a=1&amp;b=2" }), "", func(k *samlsp.Known) bool { return k.Redirect == idpRedirect+"?a=1&b=2" }},
		{"validUntil", with(func(e *entity) { e.attrs = `validUntil="2100-01-02T03:04:05.678Z"` }), "", func(k *samlsp.Known) bool { return k.ValidUntil.Year() == 2100 }},
		{"validUntil without a zone", with(func(e *entity) { e.attrs = `validUntil="2100-01-02T03:04:05"` }), "", func(k *samlsp.Known) bool { return k.ValidUntil.Hour() == 3 }},
		{"the earliest validUntil", group(`validUntil="2100-01-01T00:00:00Z"`, with(func(e *entity) {
			e.attrs, e.roleAttrs = `validUntil="2099-01-01T00:00:00Z"`, `validUntil="2101-01-01T00:00:00Z"`
		})), "", func(k *samlsp.Known) bool { return k.ValidUntil.Year() == 2099 }},
		{"the group's validUntil", group(`validUntil="2090-01-01T00:00:00Z"`, goodEntity().xml()), "", func(k *samlsp.Known) bool { return k.ValidUntil.Year() == 2090 }},
		{"one identity provider in a group", group("", spRole, goodEntity().xml()), "", nil},
		{"in a group in a group", group("", spRole, group("", group("", goodEntity().xml()), spRole)), "", nil},
		{"one of two, picked", group("", other, goodEntity().xml()), idpEntityID, nil},
		{"the other of two, picked", group("", goodEntity().xml(), group("", other)), "urn:other", func(k *samlsp.Known) bool { return k.EntityID == "urn:other" }},
	} {
		t.Run(tt.name, func(t *testing.T) {
			t.Parallel()
			p := reader(t, func(c *samlsp.Config) { c.EntityID = tt.entityID })
			got, err := samlsp.ReadMetadata(p, []byte(tt.doc))
			if err != nil {
				t.Fatal(err)
			}
			if tt.check != nil && !tt.check(got) {
				t.Errorf("got %+v", got)
			}
			if tt.check == nil && got.EntityID != idpEntityID {
				t.Errorf("got %s", got.EntityID)
			}
		})
	}
}

func TestMetadataFaults(t *testing.T) {
	t.Parallel()
	within := func(doc string) string {
		return strings.Replace(spRole, "<md:SPSSODescriptor", doc+"<md:SPSSODescriptor", 1)
	}
	good := goodEntity().xml()
	other := with(func(e *entity) { e.entityID = "urn:other" })
	for _, tt := range []struct{ name, doc, entityID, want string }{
		{"nothing", "", "", "no root element"},
		{"no XML", "x", "", "it is no XML"},
		{"a web page", "\n <!DOCTYPE html><html></html>", "", "is a web page"},
		{"a discovery document", "\n {\"issuer\": \"https://id.example.com\"}", "", "is JSON"},
		{"a web page of XHTML", "<html xmlns=\"http://www.w3.org/1999/xhtml\"/>", "", "is a web page"},
		{"an entity that is declared", `<!DOCTYPE x [<!ENTITY a "b">]>` + good, "", "document type declaration"},
		{"an entity of a file", `<!DOCTYPE x SYSTEM "file:///etc/passwd">` + good, "", "document type declaration"},
		{"a processing instruction without a name", `<? href="https://evil.example.com"?>` + good, "", "processing instruction"},
		{"a declaration behind a line break", "\n<?xml version=\"1.0\"?>" + good, "", "the XML declaration is not at the very start"},
		{"a second root", good + good, "", "second root"},
		{"another document", `<x/>`, "", `"x" without a namespace (xmlns is missing); expected is an EntityDescriptor`},
		{"another namespace", strings.Replace(good, "SAML:2.0:metadata", "SAML:3.0:metadata", 1), "", `in the namespace "urn:oasis:names:tc:SAML:3.0:metadata"; expected`},
		{"a response", `<samlp:Response xmlns:samlp="urn:oasis:names:tc:SAML:2.0:protocol"/>`, "", `"Response"`},
		{"a service provider", spRole, "", "no identity provider for SAML 2.0"},
		{"SAML 1.1 alone", strings.Replace(good, "SAML:2.0:protocol", "SAML:1.1:protocol", 1), "", "no identity provider for SAML 2.0"},
		{"an entity in another", within(good), idpEntityID, "no identity provider"},
		{"a group in an entity", within(group("", good)), idpEntityID, "no identity provider"},
		{"an empty group", group(""), "", "no identity provider"},
		{"two and no choice", group("", good, other), "", `2 identity providers in it; set entity_id to one of "https://idp.example.com/metadata", "urn:other"`},
		{"in Base64", b64([]byte(good)), "", "is XML in Base64; decode it once"},
		{"in Base64 with a mark", b64([]byte("\xEF\xBB\xBF" + good)), "", "is XML in Base64; decode it once"},
		{"no namespace", strings.Replace(good, `xmlns:md="urn:oasis:names:tc:SAML:2.0:metadata"`, `xmlns:md2="urn:x"`, 1), "", "the prefix md is not declared (xmlns:md=… is missing)"},
		{"many and no choice", group("", strings.Repeat(other, 14)), "", "4 more"},
		{"the wrong choice", group("", good, other), "urn:Other", "correct entity_id"},
		{"the same twice", group("", good, good), idpEntityID, "2 times"},
		{"two roles", strings.Replace(good, "<md:IDPSSODescriptor", "<md:IDPSSODescriptor "+saml2+"/><md:IDPSSODescriptor", 1), "", "2 identity providers"},
		{"no entity ID", with(func(e *entity) { e.entityID = "" }), "", "entity ID is empty"},
		{"an entity ID with a no-break space", with(func(e *entity) { e.entityID = "\u00a0urn:x" }), "", "blanks around it"},
		{"an entity ID under a prefix", strings.Replace(good, ` entityID="`, ` md:entityID="`, 1), "", "entity ID is empty"},
		{"no keys", with(func(e *entity) { e.keys = nil }), "", "no signing certificate"},
		{"only an encryption key", with(func(e *entity) { e.keys = []string{keyDescriptor("encryption", b64(idpCert()))} }), "", "no signing certificate"},
		{"only a broken key", with(func(e *entity) { e.keys = []string{keyDescriptor("signing", "!")} }), "", "neither PEM nor Base64"},
		{"no service", with(func(e *entity) { e.redirect, e.post = "", "" }), "", "no usable SingleSignOnService"},
		{"services by http", with(func(e *entity) { e.redirect, e.post = "http://idp.example.com", "" }), "", "plain http beyond loopback"},
		{"a script for a service", with(func(e *entity) { e.redirect, e.post = "javascript:alert(1)", "" }), "", "no usable SingleSignOnService"},
		{"validUntil is no time", with(func(e *entity) { e.attrs = `validUntil="tomorrow"` }), "", `validUntil is "tomorrow"`},
		{"WantAuthnRequestsSigned is no boolean", with(func(e *entity) { e.roleAttrs = `WantAuthnRequestsSigned="yes"` }), "", `WantAuthnRequestsSigned is "yes"`},
		{"a federation", good + strings.Repeat(" ", samlsp.MaxMetadata), "", "larger than 10485760 bytes; give this provider's own metadata"},
		{"deep", strings.Repeat("<a>", 100), "", "nested deeper"},
	} {
		t.Run(tt.name, func(t *testing.T) {
			t.Parallel()
			_, err := samlsp.ReadMetadata(reader(t, func(c *samlsp.Config) { c.EntityID = tt.entityID }), []byte(tt.doc))
			wantText(t, err, tt.want)
			if err != nil && strings.Contains(err.Error(), "saml_") {
				t.Errorf("the error has the code of an answer: %v", err)
			}
		})
	}
}

// TestAggregate reads a federation's metadata of the size that is permitted.
func TestAggregate(t *testing.T) {
	t.Parallel()
	filler := goodEntity()
	var b strings.Builder
	for i := 0; b.Len() < samlsp.MaxMetadata-10_000; i++ {
		filler.entityID = fmt.Sprintf("urn:idp:%d", i)
		b.WriteString(filler.xml())
	}
	doc := []byte(group("", b.String(), goodEntity().xml()))
	if len(doc) > samlsp.MaxMetadata || len(doc) < samlsp.MaxMetadata*9/10 {
		t.Fatalf("the document has %d bytes", len(doc))
	}
	got, err := samlsp.ReadMetadata(reader(t, func(c *samlsp.Config) { c.EntityID = idpEntityID }), doc)
	if err != nil || got.EntityID != idpEntityID {
		t.Errorf("got %v, %v", got, err)
	}
}

func TestInlineMetadataExpire(t *testing.T) {
	t.Parallel()
	e := goodEntity()
	e.attrs = `validUntil="2001-01-01T00:00:00Z"`
	core, logs := observer.New(zapcore.ErrorLevel)
	p, err := samlsp.New(samlsp.Config{Metadata: []byte(e.xml())}, samlsp.Deps{Logger: zap.New(core)})
	if err != nil {
		t.Fatalf("an old file stops the gateway: %v", err)
	}
	if logs.Len() != 1 {
		t.Errorf("got %d errors in the log", logs.Len())
	}
	if p.Issuer() != idpEntityID {
		t.Errorf("the issuer is %q: whoever is signed in would be signed out", p.Issuer())
	}
	_, err = p.Begin(t.Context(), beginRequest)
	wantCode(t, err, refusal.ProviderUnavailable)
	wantText(t, err, "valid until 2001-01-01T00:00:00Z")
	_, err = samlsp.IdentityProvider(t.Context(), p)
	wantCode(t, err, refusal.ProviderUnavailable)
}

func TestByHand(t *testing.T) {
	t.Parallel()
	for binding, want := range map[samlsp.Binding]string{"": "redirect", samlsp.BindingRedirect: "redirect", samlsp.BindingPOST: "post"} {
		p, err := samlsp.New(samlsp.Config{
			EntityID: idpEntityID, SSOURL: "https://idp.example.com/sso", RequestBinding: binding,
			Certificates: []string{pemOf("CERTIFICATE", idpCert()), b64(certify(ecKey())) + b64(idpCert())},
		}, samlsp.Deps{})
		if err != nil {
			t.Fatal(err)
		}
		begun := begin(t, p)
		if !strings.HasPrefix(begun.Location, "https://idp.example.com/sso") || (begun.Form != nil) != (want == "post") {
			t.Errorf("%q: sent to %s with %v", binding, begun.Location, begun.Form)
		}
		k, err := samlsp.IdentityProvider(t.Context(), p)
		if err != nil || k.EntityID != idpEntityID || !holds(k, rsaKey().Public(), ecKey().Public()) {
			t.Errorf("got %+v, %v", k, err)
		}
		if again, err := samlsp.RenewKeys(t.Context(), p); err != nil || again.EntityID != k.EntityID {
			t.Errorf("renewed: %+v, %v", again, err)
		}
		p.Start(t.Context()) // has nothing to load
		if p.Issuer() != idpEntityID {
			t.Errorf("the issuer is %q", p.Issuer())
		}
	}
}

func FuzzMetadata(f *testing.F) {
	seed := goodEntity() // with a certificate that is the same each time
	seed.keys = []string{keyDescriptor("", string(file(f, "keycloak-response.crt")))}
	f.Add(seed.xml(), "")
	f.Add(group(`validUntil="2100-01-01T00:00:00Z"`, spRole, group("", seed.xml())), idpEntityID)
	f.Add("<!doctype html>", "x")
	f.Add(spRole, "")
	f.Fuzz(func(t *testing.T, doc, entityID string) {
		config := samlsp.Config{MetadataURL: "https://idp.example.com/metadata", EntityID: entityID}
		p, err := samlsp.New(config, samlsp.Deps{})
		if err != nil {
			return
		}
		k, err := samlsp.ReadMetadata(p, []byte(doc))
		if err != nil {
			return
		}
		outbound := fetch.New(fetch.Options{})
		for _, location := range []string{k.Redirect, k.POST} {
			if location != "" && outbound.CheckURL(location) != nil {
				t.Errorf("a browser would be sent to %q", location)
			}
		}
		if k.EntityID == "" || entityID != "" && k.EntityID != entityID || len(k.Keys) == 0 || k.Redirect+k.POST == "" {
			t.Errorf("got %+v", k)
		}
		p, err = samlsp.New(samlsp.Config{Metadata: []byte(doc), EntityID: entityID}, samlsp.Deps{})
		if err != nil {
			t.Fatalf("read once, not twice: %v", err)
		}
		if begun, err := p.Begin(t.Context(), beginRequest); err != nil && (k.ValidUntil.IsZero() || time.Now().Before(k.ValidUntil)) {
			t.Errorf("no login can begin: %v", err)
		} else if err == nil && begun.Location == "" {
			t.Error("sent nowhere")
		}
	})
}
