package caddymodule_test

import (
	"encoding/base64"
	"encoding/xml"
	"net/http"
	"net/url"
	"regexp"
	"slices"
	"strings"
	"testing"

	"github.com/caddyserver/caddy/v2"

	"github.com/caddy-sso/caddy-sso/gateway/gatewaytest"
)

// spMetadata is what a provider reads of our metadata.
type spMetadata struct {
	XMLName  xml.Name `xml:"urn:oasis:names:tc:SAML:2.0:metadata EntityDescriptor"`
	EntityID string   `xml:"entityID,attr"`
	SP       struct {
		WantAssertionsSigned string `xml:",attr"`
		Certificate          string `xml:"KeyDescriptor>KeyInfo>X509Data>X509Certificate"`
		ACS                  []struct {
			Binding  string `xml:",attr"`
			Location string `xml:",attr"`
		} `xml:"AssertionConsumerService"`
	} `xml:"SPSSODescriptor"`
}

func (w *world) metadata(path string) (*spMetadata, int) {
	w.t.Helper()
	status, body := newBrowser(w.t).do(mustRequest(w.t, w.origin()+path))
	meta := new(spMetadata)
	if status == http.StatusOK {
		if err := xml.Unmarshal([]byte(body), meta); err != nil {
			w.t.Fatalf("%s: %v: %s", path, err, body)
		}
	}
	return meta, status
}

// TestSAMLBesideOIDC has people choose among providers of both protocols.
func TestSAMLBesideOIDC(t *testing.T) {
	w := newWorld(t)
	corp, partners := w.addIdP("corp"), w.addIdP("partners")
	partners.SetHooks(gatewaytest.IdPHooks{Answer: func(a *gatewaytest.IdPAnswer) { a.SignMessage = true }})
	oidc := w.oidc("google", w.op, `display_name "People of google"`)
	w.mustLoad(w.global(oidc+w.saml("corp", corp)+w.saml("partners", partners, "request_binding post")+"same_people google corp partners") + samlSite)

	t.Run("A1 SAML and OpenID Connect side by side, by the chooser", func(t *testing.T) {
		status, body := newBrowser(t).get(w.origin() + "/wanted")
		for _, name := range []string{"google", "corp", "partners"} {
			if status != http.StatusOK || !strings.Contains(body, "<bdi>People of "+name+"</bdi>") {
				t.Errorf("the chooser lacks %s: %d %q", name, status, body)
			}
			b := newBrowser(t)
			if status, body := b.samlIn(w, name); status != http.StatusOK || body != aliceOf+name {
				t.Errorf("%s: %d %q", name, status, body)
			}
			if last := b.seen[len(b.seen)-1]; last != w.origin()+"/wanted" {
				t.Errorf("%s: ended at %s", name, last)
			}
		}
	})
	t.Run("C11 several providers share one ACS, the flow says which is due", func(t *testing.T) {
		answers := map[string]*form{}
		browsers := map[string]*browser{}
		for _, name := range []string{"corp", "partners"} {
			b := newBrowser(t)
			_, _, forms := b.visit(w.origin()+"/.sso/login?provider="+name, func(f *form) bool { return f.fields.Has("SAMLResponse") })
			answers[name], browsers[name] = forms[len(forms)-1], b
			if acs := answers[name].action.String(); acs != w.origin()+"/.sso/saml/acs" {
				t.Errorf("%s answers at %s", name, acs)
			}
		}
		// A provider of the same site says to the flow of another whatever it
		// likes: who it is, and which request it answers.
		b, due := browsers["corp"], answers["corp"]
		request := regexp.MustCompile(` InResponseTo="([^"]+)"`).FindStringSubmatch(due.sent(t))
		for _, issuer := range []string{partners.EntityID, corp.EntityID} {
			partners.SetHooks(gatewaytest.IdPHooks{Answer: func(a *gatewaytest.IdPAnswer) { a.Issuer, a.InResponseTo = issuer, request[1] }})
			_, _, forms := newBrowser(t).visit(w.origin()+"/.sso/login?provider=partners", func(f *form) bool { return f.fields.Has("SAMLResponse") })
			crossed := *due
			crossed.fields = url.Values{"SAMLResponse": forms[len(forms)-1].fields["SAMLResponse"], "RelayState": due.fields["RelayState"]}
			if status, body := b.answer(&crossed); status != http.StatusBadRequest || !strings.Contains(body, "saml_") || b.cookie(w.origin()) != "" {
				t.Errorf("another provider's answer as %s: %d %q", issuer, status, body)
			}
		}
		partners.SetHooks(gatewaytest.IdPHooks{})
		for name, f := range answers { // the control: each of its own is taken, now too
			if status, body := browsers[name].answer(f); status != http.StatusOK || body != aliceOf+name {
				t.Errorf("%s: %d %q", name, status, body)
			}
		}
	})
	t.Run("A3 metadata to download", func(t *testing.T) {
		for _, name := range []string{"corp", "partners"} {
			meta, status := w.metadata("/.sso/saml/metadata/" + name)
			if status != http.StatusOK || meta.EntityID != w.origin()+"/.sso/saml/metadata" || meta.SP.WantAssertionsSigned != "true" || meta.SP.Certificate == "" {
				t.Errorf("%s: %d %+v", name, status, meta)
			}
			if len(meta.SP.ACS) != 1 || meta.SP.ACS[0].Location != w.origin()+"/.sso/saml/acs" || !strings.HasSuffix(meta.SP.ACS[0].Binding, ":HTTP-POST") {
				t.Errorf("%s: the ACS is %+v", name, meta.SP.ACS)
			}
		}
	})
	t.Run("C5 metadata for each provider", func(t *testing.T) {
		for _, path := range []string{"", "/google", "/nobody"} {
			if _, status := w.metadata("/.sso/saml/metadata" + path); status != http.StatusNotFound {
				t.Errorf("%q: %d", path, status)
			}
		}
		w.loadIn(t, w.global(w.saml("corp", corp, "sp_entity_id urn:example:gateway", "want_assertions_signed off"))+samlSite)
		meta, status := w.metadata("/.sso/saml/metadata")
		if status != http.StatusOK || meta.EntityID != "urn:example:gateway" || meta.SP.WantAssertionsSigned == "true" {
			t.Errorf("%d %+v", status, meta)
		}
	})
}

// TestSAMLKeys signs requests with the key that our metadata name, which stays
// the same over reloads and restarts.
func TestSAMLKeys(t *testing.T) {
	w := newWorld(t)
	idp := w.addIdP("corp")
	var certificates []string
	for _, binding := range []string{"redirect", "post", "redirect"} {
		w.loadIn(t, w.global(w.saml("corp", idp, "sign_requests on", "request_binding "+binding))+samlSite)
		if status, body := newBrowser(t).samlIn(w, "corp"); status != http.StatusOK || body != aliceOf+"corp" {
			t.Fatalf("%s: %d %q", binding, status, body)
		}
		request := idp.LastRequest()
		if signed := request.Get("Signature") != ""; signed != (binding == "redirect") {
			t.Errorf("%s: the query is signed: %t", binding, signed)
		}
		doc, err := base64.StdEncoding.DecodeString(request.Get("SAMLRequest"))
		if err != nil {
			t.Fatal(err)
		}
		if signed := strings.Contains(string(doc), "SignatureValue>"); signed != (binding == "post") {
			t.Errorf("%s: the document is signed: %t", binding, signed)
		}
		meta, _ := w.metadata("/.sso/saml/metadata")
		certificates = append(certificates, meta.SP.Certificate)
		if len(certificates) == 2 {
			if err := caddy.Stop(); err != nil {
				t.Fatal(err)
			}
		}
	}
	if certificates[0] == "" || len(slices.Compact(certificates)) != 1 {
		t.Errorf("the certificates are %q", certificates)
	}
}

// TestSAMLProviderDown keeps who is signed in while the provider's metadata can't
// be fetched, over a restart too.
func TestSAMLProviderDown(t *testing.T) {
	w := newWorld(t)
	idp := w.addIdP("corp")
	w.mustLoad(w.global(w.saml("corp", idp)) + samlSite)
	b := newBrowser(t)
	if status, body := b.samlIn(w, "corp"); status != http.StatusOK {
		t.Fatalf("signing in: %d %q", status, body)
	}
	down := func(rw http.ResponseWriter, _ *http.Request) { rw.WriteHeader(http.StatusServiceUnavailable) }
	idp.SetHooks(gatewaytest.IdPHooks{Serve: map[string]http.HandlerFunc{gatewaytest.IdPMetadataPath: down, gatewaytest.IdPSSOPath: down}})
	if err := caddy.Stop(); err != nil {
		t.Fatal(err)
	}
	w.mustLoad(w.global(w.saml("corp", idp)) + samlSite)
	if status, body := b.do(mustRequest(t, w.origin())); status != http.StatusOK || body != aliceOf+"corp" {
		t.Errorf("signed in: %d %q", status, body)
	}
	if status, _, _ := newBrowser(t).visit(w.origin(), nil); status != http.StatusServiceUnavailable {
		t.Errorf("not signed in: %d", status)
	}
}

// TestSAMLNoCredentialsInLogs signs in, and is refused, and looks for all that
// came by the browser in all that was logged.
func TestSAMLNoCredentialsInLogs(t *testing.T) {
	for _, tt := range []struct{ name, option, errors, prefix string }{
		{"own pages", "", "", "/.sso"},
		{"another prefix", "prefix /auth", "", "/auth"},
		{"errors caddy", "errors caddy", "handle_errors {\n\t\trespond \"error {http.error.sso.code} {http.error.status_code}\"\n\t}", "/.sso"},
	} {
		t.Run(tt.name, func(t *testing.T) {
			w := newWorld(t)
			idp := w.addIdP("corp")
			canaries := []string{"canary-of-an-attribute"}
			idp.SetHooks(gatewaytest.IdPHooks{Answer: func(a *gatewaytest.IdPAnswer) {
				a.Attributes = append(a.Attributes, gatewaytest.IdPAttribute{Name: "other", Values: canaries[:1]})
				canaries = append(canaries, a.InResponseTo, a.ID, a.AssertionID, a.SessionIndex)
			}})
			caddyfile := strings.NewReplacer("\tlog\n", "\tlog\n\t"+tt.errors+"\n", "role User *", "role User *\n\t\t"+tt.option).Replace(samlSite)
			global := strings.Replace(w.global(w.saml("corp", idp, "request_binding post", "sign_requests on")), "\tadmin off\n", "\tadmin off\n\tservers {\n\t\ttrace\n\t}\n", 1)
			w.loadIn(t, global+caddyfile)

			b := newBrowser(t)
			status, body, forms := b.visit(w.origin()+"/", nil)
			if status != http.StatusOK || body != aliceOf+"corp" || len(forms) != 3 {
				t.Fatalf("signing in: %d %q by %d forms", status, body, len(forms))
			}
			canaries = append(canaries, b.cookie(w.origin()))
			again := newBrowser(t) // with the answer once more: refused
			answer := forms[len(forms)-1]
			if status, body := again.post(answer); status/100 != 4 || tt.errors != "" && !strings.HasPrefix(body, "error flow_unknown 400") {
				t.Errorf("the answer once more: %d %q", status, body)
			}
			// And one that was tampered with, in the browser that is due.
			_, _, forms = again.visit(w.origin()+"/", func(f *form) bool { return f.fields.Has("SAMLResponse") && f.from.Host == f.action.Host })
			bad := forms[len(forms)-1]
			doc := strings.Replace(bad.sent(t), ">alice<", ">admin<", 1)
			canaries = append(canaries, "another-canary", bad.fields.Get("RelayState"), bad.fields.Get("SAMLResponse")[:60])
			bad.fields.Set("SAMLResponse", base64.StdEncoding.EncodeToString([]byte(doc)))
			bad.fields.Set("Other", "another-canary")
			if status, body := again.post(bad); status/100 != 4 || again.cookie(w.origin()) != "" {
				t.Errorf("an altered answer: %d %q", status, body)
			}
			for _, f := range append(forms, answer) {
				canaries = append(canaries, f.fields.Get("RelayState"))
				message := f.fields.Get("SAMLRequest") + f.fields.Get("SAMLResponse")
				canaries = append(canaries, message[:80], message[len(message)/2:len(message)/2+80])
			}
			status, _ = newBrowser(t).do(mustRequest(t, w.origin()+tt.prefix+"/saml/acs?SAMLResponse=query-canary"))
			if status != http.StatusMethodNotAllowed {
				t.Errorf("a GET at the ACS: %d", status)
			}
			lookFor(t, w.logs(), append(canaries, "query-canary"))
			if !regexp.MustCompile(`"method":"POST"[^\n]*"uri":"` + regexp.QuoteMeta(tt.prefix) + `/saml/acs","redacted":true[^\n]*"status":303`).MatchString(w.logs()) {
				t.Error("the logs have no line in the answer's stead")
			}
		})
	}
}

// lookFor looks for secrets in logs.
func lookFor(t *testing.T, logs string, secrets []string) {
	t.Helper()
	for _, secret := range secrets {
		if len(secret) < 8 {
			t.Fatalf("%q is no secret to look for", secret)
		}
		if strings.Contains(logs, secret) || strings.Contains(logs, url.QueryEscape(secret)) {
			t.Errorf("the logs contain %s: %.900s", secret, lineWith(logs, secret))
		}
	}
}
