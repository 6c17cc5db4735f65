//go:build integration

package integration

import (
	"html"
	"net/url"
	"regexp"
	"strings"
	"testing"
)

// secretsOfDocument are what a log must not have of a SAML answer: whoever
// reads them could use it, or knows what is asserted of whom.
var secretsOfDocument = map[string]*regexp.Regexp{
	"assertion's ID":  regexp.MustCompile(`<saml:Assertion[^>]* ID="([^"]+)"`),
	"NameID":          regexp.MustCompile(`<saml:NameID[^>]*>([^<]+)<`),
	"session index":   regexp.MustCompile(`SessionIndex="([^"]+)"`),
	"signature value": regexp.MustCompile(`SignatureValue>([^<]+)<`),
	"digest":          regexp.MustCompile(`DigestValue>([^<]+)<`),
}

// TestSAMLCanarySecrets signs people in and out, and refuses, with access logs
// on and everything at debug level, and looks for every secret that was
// involved in all that was logged and stored.
func TestSAMLCanarySecrets(t *testing.T) {
	t.Parallel()
	transient := map[string]string{"saml_name_id_format": "transient"}
	sites := []samlSite{
		{name: "redirect", client: transient, block: byUID},
		{name: "post", client: transient, block: byUID + "\n\t\trequest_binding post"},
		{name: "unsigned", client: unsigned},
		{name: "sha1", client: sha1},
		{name: "transient", client: transient},
		{name: "php", php: true, options: map[string]any{"NameIDFormat": "urn:oasis:names:tc:SAML:2.0:nameid-format:transient"}, block: byUID},
	}
	o := unlimited()
	o.oneByOne = true
	bothSAMLStores(t, o, sites, func(t *testing.T, w *samlWorld) {
		all := canaries{"store secret": w.secret}
		for _, s := range w.sites {
			c := w.client(0)
			login := c.samlForm(s.base + "/start")
			for _, hop := range c.hops {
				all.keep(s.name+": state", query(t, hop).Get("RelayState"))
				all.keep(s.name+": request", query(t, hop).Get("SAMLRequest"))
			}
			for _, cookie := range c.cookies(s.base) {
				all.keep(s.name+": cookie before the login", cookie.Value)
			}
			answer := c.samlAnswer(login, "alice")
			message := answer.fields.Get("SAMLResponse")
			all.keep(s.name+": state of the answer", answer.fields.Get("RelayState"))
			all.keep(s.name+": answer's begin", message[:64])
			all.keep(s.name+": answer's middle", message[len(message)/2:][:64])
			all.keep(s.name+": answer, escaped", url.QueryEscape(message[len(message)/3:][:400]))
			doc := answer.document(t)
			for name, pattern := range secretsOfDocument {
				for _, m := range pattern.FindAllStringSubmatch(doc, -1) {
					all.keep(s.name+": "+name, html.UnescapeString(strings.TrimSpace(m[1])))
				}
			}
			second := c.secondPost(answer)
			altered := url.Values{"RelayState": {second.fields.Get("RelayState")}, "SAMLResponse": {message[:len(message)/2]}}
			thief := w.as(c, s.base, 0)
			postsAnswer(t, w.client(0), s.acs(), second.fields)
			c.send(second)
			for _, cookie := range c.cookies(s.base) {
				all.keep(s.name+": cookie", cookie.Value)
			}
			postsAnswer(t, thief, s.acs(), second.fields)
			postsAnswer(t, thief, s.acs(), altered)
			c.fetch(s.acs() + "?" + second.fields.Encode())
			c.fetch(s.base + "/.sso/session")
			if sessionCookieOf(c, s.base) != nil {
				c.logOut(s.base)
			}
			bad := w.client(0)
			half := bad.samlAnswer(bad.samlForm(s.base+"/"), "bob")
			half.fields.Set("SAMLResponse", half.fields.Get("SAMLResponse")[:len(message)/2/4*4])
			all.keep(s.name+": half an answer", half.fields.Get("SAMLResponse")[:64])
			bad.carry(bad.send(half))
		}
		w.gw().reload()
		w.gw().stop()

		all.nowhere(t, w.gw(), w.redis, 60, true, `"logger":"http.log.access"`, `"level":"debug"`, `"uri":"/start"`,
			"saml_unsigned", "saml_algorithm_refused", "saml_subject_invalid", "saml_malformed")
		for _, file := range filesWith(t, w.gw().dir, "PRIVATE KEY") {
			if !strings.Contains(file, "/caddy/pki/authorities/") { // Caddy's own
				t.Errorf("a key lies in %s", file)
			}
		}
	})
}
