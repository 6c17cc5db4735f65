//go:build integration

package integration

import (
	"html"
	"net/url"
	"path/filepath"
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
	bothSAMLStores(t, unlimited(), sites, func(t *testing.T, w *samlWorld) {
		canaries := map[string]string{"store secret": w.secret}
		keep := func(name, value string) {
			if len(value) >= 16 { // shorter ones are no secrets and may occur by chance
				canaries[name] = value
			}
		}
		for _, s := range w.sites {
			c := w.client(0)
			login := c.samlForm(s.base + "/start")
			for _, hop := range c.hops {
				keep(s.name+": state", query(t, hop).Get("RelayState"))
				keep(s.name+": request", query(t, hop).Get("SAMLRequest"))
			}
			for _, cookie := range c.cookies(s.base) {
				keep(s.name+": cookie before the login", cookie.Value)
			}
			answer := c.samlAnswer(login, "alice")
			message := answer.fields.Get("SAMLResponse")
			keep(s.name+": state of the answer", answer.fields.Get("RelayState"))
			keep(s.name+": answer's begin", message[:64])
			keep(s.name+": answer's middle", message[len(message)/2:][:64])
			keep(s.name+": answer, escaped", url.QueryEscape(message[len(message)/3:][:400]))
			doc := answer.document(t)
			for name, pattern := range secretsOfDocument {
				for _, m := range pattern.FindAllStringSubmatch(doc, -1) {
					keep(s.name+": "+name, html.UnescapeString(strings.TrimSpace(m[1])))
				}
			}
			second := c.secondPost(answer)
			altered := url.Values{"RelayState": {second.fields.Get("RelayState")}, "SAMLResponse": {message[:len(message)/2]}}
			thief := w.as(c, s, 0)
			postsAnswer(t, w.client(0), s.acs(), second.fields)
			c.send(second)
			for _, cookie := range c.cookies(s.base) {
				keep(s.name+": cookie", cookie.Value)
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
			keep(s.name+": half an answer", half.fields.Get("SAMLResponse")[:64])
			bad.carry(bad.send(half))
		}
		w.gw().reload()
		w.gw().stop()

		log := w.gw().log.String()
		for _, proof := range []string{`"logger":"http.log.access"`, `"level":"debug"`, `"uri":"/start"`, "saml_unsigned", "saml_algorithm_refused", "saml_subject_invalid", "saml_malformed"} {
			if !strings.Contains(log, proof) {
				t.Errorf("the log has no %s: it proves little", proof)
			}
		}
		if len(canaries) < 60 {
			t.Fatalf("only %d secrets were collected: %v", len(canaries), canaries)
		}
		for line := range strings.Lines(log) {
			if strings.Contains(line, `"msg":"adjusted config"`) {
				continue // Caddy's own: the literal secret of the store, see TestLiteralSecrets
			}
			for name, value := range canaries {
				if strings.Contains(line, value) {
					t.Errorf("the %s is in the log: %.1500s", name, strings.ReplaceAll(line, value, "<<"+name+">>"))
				}
			}
			for _, word := range []string{"<saml", "PHNhbWw", "SignatureValue", "PRIVATE KEY"} {
				if strings.Contains(line, word) {
					t.Errorf("%s is in the log: %.1500s", word, line)
				}
			}
		}
		stored := ""
		if w.redis != nil {
			stored = dumpRedis(t, w.redis)
		}
		for name, value := range canaries {
			for _, file := range filesWith(t, w.gw().dir, value) {
				if filepath.Base(file) != "Caddyfile" && filepath.Base(file) != "autosave.json" {
					t.Errorf("the %s lies in %s", name, file)
				}
			}
			if strings.Contains(stored, value) {
				t.Errorf("Redis holds the %s", name)
			}
		}
		for _, file := range filesWith(t, w.gw().dir, "PRIVATE KEY") {
			if !strings.Contains(file, "/caddy/pki/authorities/") { // Caddy's own
				t.Errorf("a key lies in %s", file)
			}
		}
	})
}
