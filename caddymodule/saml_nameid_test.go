package caddymodule_test

import (
	"encoding/base64"
	"net/http"
	"regexp"
	"strings"
	"testing"
)

// The person at the browser can change an unsigned request, and ask for another
// NameID than name_id_format does.
func TestSAMLNameIDFormat(t *testing.T) {
	w := newWorld(t)
	idp := w.addIdP("corp")
	policy := regexp.MustCompile(`<samlp:NameIDPolicy [^>]*>`)
	const (
		email      = "name_id_format emailAddress"
		id, user   = "id_attribute mail", "username_attribute mail"
		unasked    = ""
		persistent = `<samlp:NameIDPolicy Format="urn:oasis:names:tc:SAML:2.0:nameid-format:persistent"/>`
		transient  = `<samlp:NameIDPolicy Format="urn:oasis:names:tc:SAML:2.0:nameid-format:transient"/>`
		windows    = `<samlp:NameIDPolicy Format="urn:oasis:names:tc:SAML:1.1:nameid-format:WindowsDomainQualifiedName"/>`
	)
	for name, tt := range map[string]struct {
		options  []string
		tampered string
		refused  bool
	}{
		"left out":                      {[]string{email}, unasked, true},
		"another":                       {[]string{email}, windows, true},
		"persistent":                    {[]string{email, user}, persistent, true},
		"transient, beside an id":       {[]string{email, id}, transient, true},
		"where attributes say it all":   {[]string{email, id, user}, windows, false},
		"where nothing was asked for":   {nil, windows, false},
		"where anything is good enough": {[]string{"name_id_format unspecified"}, windows, false},
	} {
		t.Run("D5 the NameID's format "+name, func(t *testing.T) {
			w.loadIn(t, w.global(w.saml("corp", idp, append(tt.options, "request_binding post")...)+"limit off")+samlSite)
			login := w.origin() + "/.sso/login?provider=corp&return=%2Fwanted"
			if status, body := newBrowser(t).samlIn(w, "corp"); status != http.StatusOK || !strings.Contains(body, "of corp") {
				t.Fatalf("the control: %d %.300q", status, body)
			}
			b := newBrowser(t)
			status, body, _ := b.visit(login, func(f *form) bool {
				if doc := f.fields.Get("SAMLRequest"); doc != "" {
					f.fields.Set("SAMLRequest", base64.StdEncoding.EncodeToString([]byte(tamper(t, policy, f.sent(t), tt.tampered))))
				}
				return false
			})
			if !tt.refused {
				if status != http.StatusOK || !strings.Contains(body, "of corp") {
					t.Errorf("%d %.300q", status, body)
				}
				return
			}
			if status != http.StatusBadRequest || !strings.Contains(body, "saml_subject_invalid") || b.cookie(w.origin()) != "" {
				t.Errorf("%d %.300q", status, body)
			}
			if line := lineWith(w.logs(), "saml_subject_invalid"); !strings.Contains(line, "asked for by name_id_format was") {
				t.Errorf("the log says %s", line)
			}
		})
	}
}

// tamper exchanges the NameIDPolicy of a request, or puts one into it.
func tamper(t *testing.T, policy *regexp.Regexp, doc, by string) string {
	t.Helper()
	tampered := strings.Replace(policy.ReplaceAllString(doc, ""), "</samlp:AuthnRequest>", by+"</samlp:AuthnRequest>", 1)
	if tampered == doc {
		t.Fatalf("there is nothing to change in %s", doc)
	}
	return tampered
}
