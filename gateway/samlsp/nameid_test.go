package samlsp_test

import (
	"testing"

	"github.com/caddy-sso/caddy-sso/gateway/refusal"
)

// Another format than was asked for refuses only where the NameID says whom the
// answer is about. The attack files have what is refused.
func TestNameIDFormat(t *testing.T) {
	t.Parallel()
	const (
		email      = "urn:oasis:names:tc:SAML:1.1:nameid-format:emailAddress"
		persistent = "urn:oasis:names:tc:SAML:2.0:nameid-format:persistent"
		uid        = "option username_attribute uid"
		id         = "option id_attribute uid"
		another    = "set " + nameID + "@Format " + email
		address    = "set " + nameID + " boss@example.com"
		noMail     = "remove " + statements + "/saml:Attribute[2]"
	)
	asked := func(format string) string { return "option name_id_format " + format }
	for name, tc := range map[string]struct {
		lines          []string
		username, mail string
	}{
		"nothing asked for":                  {[]string{another, address, noMail}, "boss@example.com", "boss@example.com"},
		"unspecified leaves the choice":      {[]string{asked("unspecified"), another, address, noMail}, "boss@example.com", "boss@example.com"},
		"unspecified, by another version":    {[]string{asked("urn:oasis:names:tc:SAML:2.0:nameid-format:unspecified"), another, address, noMail}, "boss@example.com", "boss@example.com"},
		"unspecified, by version 1.0":        {[]string{asked("urn:oasis:names:tc:SAML:1.0:nameid-format:unspecified")}, "alice", "alice@example.com"},
		"unspecified, and it is not said":    {[]string{asked("unspecified"), "unset " + nameID + "@Format"}, "alice", "alice@example.com"},
		"as asked for":                       {[]string{asked(email), address, noMail}, "boss@example.com", "boss@example.com"},
		"as asked for, with blanks":          {[]string{asked(persistent), uid, "set " + nameID + "@Format \" " + persistent + " \""}, "a1ice-0001", "alice@example.com"},
		"a format of the provider's own":     {[]string{asked("urn:corp:number"), "set " + nameID + " 4711"}, "4711", "alice@example.com"},
		"as asked for, for us":               {[]string{asked(persistent), uid, "set " + nameID + "@SPNameQualifier {sp}"}, "a1ice-0001", "alice@example.com"},
		"as asked for, for our address":      {[]string{asked(persistent), uid, "set " + nameID + "@SPNameQualifier {acs}"}, "a1ice-0001", "alice@example.com"},
		"for another, not asked for":         {[]string{"set " + nameID + "@SPNameQualifier urn:affiliation"}, "alice", "alice@example.com"},
		"attributes say who it is":           {[]string{asked(persistent), uid, id, another, address}, "a1ice-0001", "alice@example.com"},
		"and no NameID is the address":       {[]string{asked(persistent), uid, id, another, address, noMail}, "a1ice-0001", ""},
		"nor if no format was asked for":     {[]string{uid, id, another, address, noMail}, "a1ice-0001", ""},
		"nor if unspecified was":             {[]string{asked("unspecified"), uid, id, another, address, noMail}, "a1ice-0001", ""},
		"but it is if it was asked for":      {[]string{asked(email), uid, id, address, noMail}, "a1ice-0001", "boss@example.com"},
		"an id alone leaves it the address":  {[]string{id, another, address, noMail}, "boss@example.com", "boss@example.com"},
		"a name alone leaves it the address": {[]string{uid, another, address, noMail}, "a1ice-0001", "boss@example.com"},
		"transient, and the provider has it": {[]string{asked("transient"), uid, id, "set " + nameID + "@Format urn:oasis:names:tc:SAML:2.0:nameid-format:transient"}, "a1ice-0001", "alice@example.com"},
		"transient, which is not kept":       {[]string{asked("transient"), uid, id, "set " + nameID + "@Format urn:oasis:names:tc:SAML:1.1:nameid-format:unspecified"}, "a1ice-0001", "alice@example.com"},
	} {
		t.Run(name, func(t *testing.T) {
			t.Parallel()
			got, err := completed(t, tc.lines...)
			if err != nil {
				t.Fatal(err)
			}
			if got.Identity.Username != tc.username || got.Identity.Email != tc.mail {
				t.Errorf("got %q and %q, want %q and %q", got.Identity.Username, got.Identity.Email, tc.username, tc.mail)
			}
		})
	}
	t.Run("the refusal says what came and what was asked for", func(t *testing.T) {
		t.Parallel()
		_, err := completed(t, asked(persistent), uid, another)
		wantCode(t, err, refusal.SAMLSubject)
		wantText(t, err, "its format is \""+email+"\", asked for by name_id_format was \""+persistent+"\"")
	})
}
