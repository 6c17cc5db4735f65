package samlsp_test

import (
	"reflect"
	"strings"
	"testing"
	"time"

	"github.com/caddy-sso/caddy-sso/gateway/provider"
	"github.com/caddy-sso/caddy-sso/gateway/refusal"
	"github.com/caddy-sso/caddy-sso/gateway/samlsp"
)

const (
	nameID     = "saml:Assertion/saml:Subject/saml:NameID"
	statements = "saml:Assertion/saml:AttributeStatement"
)

// completed is what comes of the control, changed by the lines of a mutation.
func completed(t *testing.T, lines ...string) (*provider.Answer, error) {
	t.Helper()
	a, l := planned(t, lines...), newLogin()
	return a.try(t, l, a.form(t, l, true))
}

// TestAccepted holds that answers of real providers are accepted. Values with blanks around
// them are in TestOddTable (XML Schema 2, 4.3.6).
func TestAccepted(t *testing.T) {
	t.Parallel()
	for name, lines := range map[string]string{
		"both signed":                     "signed both",
		"response signed":                 "option want_assertions_signed off\nsigned response",
		"both signed, response required":  "option want_assertions_signed off\nsigned both",
		"SHA-512":                         "sign saml:Assertion alg=rsa-sha512 digest=sha512",
		"SHA-384":                         "sign saml:Assertion alg=rsa-sha384 digest=sha384",
		"ECDSA":                           "sign saml:Assertion alg=ecdsa-sha256 key=idp-ec",
		"inclusive canonicalisation":      "sign saml:Assertion c14n=c14n10 transforms=enveloped,c14n10",
		"canonicalisation 1.1":            "sign saml:Assertion c14n=c14n11 transforms=enveloped,c14n11",
		"no canonicalisation transform":   "sign saml:Assertion transforms=enveloped c14n=c14n10",
		"no KeyInfo":                      "sign\nremove saml:Assertion/ds:Signature/ds:KeyInfo",
		"an XML declaration":              "sign\nprepend \"<?xml version=\\\"1.0\\\" encoding=\\\"UTF-8\\\"?>\\n\"",
		"a byte order mark":               "sign\nprepend \"\\ufeff\"",
		"an indented message":             "replace-all \"><\" \">\\n  <\"",
		"blanks behind the root":          "sign\nappend \"\\n\\n\"",
		"no Destination":                  "unset .@Destination",
		"no Issuer in the response":       "remove saml:Issuer",
		"Issuer with a format":            "set saml:Assertion/saml:Issuer@Format urn:oasis:names:tc:SAML:2.0:nameid-format:entity",
		"Consent":                         "set .@Consent urn:oasis:names:tc:SAML:2.0:consent:unspecified",
		"extensions":                      "insert after saml:Issuer `<samlp:Extensions><e:x xmlns:e=\"urn:e\">text<e:y/></e:x></samlp:Extensions>`",
		"a status message":                "insert into samlp:Status `<samlp:StatusMessage>fine</samlp:StatusMessage><samlp:StatusDetail><e:x xmlns:e=\"urn:e\"/></samlp:StatusDetail>`",
		"advice":                          "insert after saml:Assertion/saml:Conditions `<saml:Advice><e:x xmlns:e=\"urn:e\"/></saml:Advice>`",
		"clock ahead":                     "set saml:Assertion@IssueInstant {now+4m}\nset saml:Assertion/saml:Conditions@NotBefore {now+4m}",
		"clock behind":                    "set .@IssueInstant {now-4m}\nset saml:Assertion/saml:Conditions@NotBefore {now-9m}\nset saml:Assertion/saml:Conditions@NotOnOrAfter {now-4m}\nset saml:Assertion/saml:Subject/saml:SubjectConfirmation/saml:SubjectConfirmationData@NotOnOrAfter {now-4m}",
		"no NotBefore and NotOnOrAfter":   "unset saml:Assertion/saml:Conditions@NotBefore\nunset saml:Assertion/saml:Conditions@NotOnOrAfter",
		"several audiences":               "insert first saml:Assertion/saml:Conditions/saml:AudienceRestriction <saml:Audience>https://other.test</saml:Audience>",
		"two restrictions":                "insert into saml:Assertion/saml:Conditions <saml:AudienceRestriction><saml:Audience>{sp}</saml:Audience></saml:AudienceRestriction>",
		"OneTimeUse":                      "insert into saml:Assertion/saml:Conditions <saml:OneTimeUse/>",
		"ProxyRestriction":                "insert into saml:Assertion/saml:Conditions `<saml:ProxyRestriction Count=\"0\"/>`",
		"a session without an end":        "unset saml:Assertion/saml:AuthnStatement@SessionNotOnOrAfter",
		"no SessionIndex":                 "unset saml:Assertion/saml:AuthnStatement@SessionIndex",
		"signed in hours ago":             "set saml:Assertion/saml:AuthnStatement@AuthnInstant {now-5h}",
		"signed in anew, as asked":        "force",
		"a locality and an authority":     "insert first saml:Assertion/saml:AuthnStatement `<saml:SubjectLocality Address=\"192.0.2.1\"/>`\ninsert into saml:Assertion/saml:AuthnStatement/saml:AuthnContext <saml:AuthenticatingAuthority>https://idp.test/up</saml:AuthenticatingAuthority>",
		"no attributes":                   "remove " + statements,
		"an attribute of XML, not used":   "insert into " + statements + " `<saml:Attribute Name=\"urn:oid:1.3.6.1.4.1.5923.1.1.1.10\"><saml:AttributeValue><saml:NameID>x</saml:NameID></saml:AttributeValue></saml:Attribute>`",
		"an attribute without values":     "insert into " + statements + " `<saml:Attribute Name=\"mail\"/>`",
		"a nil value":                     "insert into " + statements + " `<saml:Attribute Name=\"mail\"><saml:AttributeValue xsi:nil=\"true\"/></saml:Attribute>`",
		"attributes in two statements":    "insert into saml:Assertion `<saml:AttributeStatement><saml:Attribute Name=\"x\"><saml:AttributeValue>y</saml:AttributeValue></saml:Attribute></saml:AttributeStatement>`",
		"the subject named once more":     "insert first saml:Assertion/saml:Subject/saml:SubjectConfirmation <saml:NameID>alice</saml:NameID>",
		"named once more, by all":         "set " + nameID + "@NameQualifier {idp}\nset " + nameID + "@SPNameQualifier {sp}\ninsert first saml:Assertion/saml:Subject/saml:SubjectConfirmation `<saml:NameID NameQualifier=\"{idp}\" SPNameQualifier=\"{sp}\" Format=\"urn:oasis:names:tc:SAML:1.1:nameid-format:unspecified\">alice</saml:NameID>`",
		"a bad confirmation in front":     "insert after " + nameID + " `<saml:SubjectConfirmation Method=\"urn:oasis:names:tc:SAML:2.0:cm:holder-of-key\"/>`",
		"a bad bearer behind":             "insert into saml:Assertion/saml:Subject `<saml:SubjectConfirmation Method=\"urn:oasis:names:tc:SAML:2.0:cm:bearer\"><saml:SubjectConfirmationData Recipient=\"https://evil.test\"/></saml:SubjectConfirmation>`",
		"a bad time behind":               "insert into saml:Assertion/saml:Subject `<saml:SubjectConfirmation Method=\"urn:oasis:names:tc:SAML:2.0:cm:holder-of-key\"><saml:SubjectConfirmationData NotOnOrAfter=\"soon\"/></saml:SubjectConfirmation>`",
		"two data behind":                 "insert into saml:Assertion/saml:Subject `<saml:SubjectConfirmation Method=\"urn:oasis:names:tc:SAML:2.0:cm:bearer\"><saml:SubjectConfirmationData/><saml:SubjectConfirmationData/></saml:SubjectConfirmation>`",
		"blanks around a method":          "set saml:Assertion/saml:Subject/saml:SubjectConfirmation@Method \" urn:oasis:names:tc:SAML:2.0:cm:bearer \"",
		"blanks in a confirmation":        "set saml:Assertion/saml:Subject/saml:SubjectConfirmation/saml:SubjectConfirmationData@InResponseTo \"{request} \"",
		"blanks around the status":        "set samlp:Status/samlp:StatusCode@Value \" urn:oasis:names:tc:SAML:2.0:status:Success\"",
		"blanks around a format":          "set saml:Assertion/saml:Issuer@Format \" urn:oasis:names:tc:SAML:2.0:nameid-format:entity \"",
		"blanks around a NameFormat":      "set " + statements + "/saml:Attribute[3]@NameFormat \" urn:oasis:names:tc:SAML:2.0:attrname-format:basic \"",
		"times with an offset":            "replace-all \"Z\\\"\" \"+00:00\\\"\"",
		"a transient NameID beside an id": "option id_attribute uid\noption username_attribute uid\nset " + nameID + "@Format urn:oasis:names:tc:SAML:2.0:nameid-format:transient",
	} {
		t.Run(name, func(t *testing.T) {
			t.Parallel()
			got, err := completed(t, lines)
			if err != nil {
				t.Fatal(err)
			}
			if u := got.Identity.Username; u != "alice" && u != "a1ice-0001" {
				t.Errorf("got %+v", got)
			}
		})
	}
}

// Line breaks and blanks in Base64 are what real providers send.
func TestAcceptedBase64(t *testing.T) {
	t.Parallel()
	for name, width := range map[string]int{"lines of 76": 76, "lines of 64": 64, "lines of one": 1} {
		t.Run(name, func(t *testing.T) {
			t.Parallel()
			a, l := planned(t), newLogin()
			form := a.form(t, l, true)
			var b strings.Builder
			for i, c := range form.Get("SAMLResponse") {
				if i%width == 0 {
					b.WriteString("\r\n \t")
				}
				b.WriteRune(c)
			}
			form.Set("SAMLResponse", b.String())
			if _, err := a.try(t, l, form); err != nil {
				t.Error(err)
			}
		})
	}
}

// TestManyGroups has 2,000 groups, in one Attribute and in as many.
func TestManyGroups(t *testing.T) {
	t.Parallel()
	for name, line := range map[string]string{
		"one Attribute":    "insert into " + statements + "/saml:Attribute[3] {<saml:AttributeValue>g#</saml:AttributeValue>*2000}",
		"2,000 Attributes": "insert into " + statements + " `{<saml:Attribute Name=\"groups\"><saml:AttributeValue>g#</saml:AttributeValue></saml:Attribute>*2000}`",
	} {
		t.Run(name, func(t *testing.T) {
			t.Parallel()
			got, err := completed(t, "signed both", line)
			if err != nil {
				t.Fatal(err)
			}
			if groups := got.Identity.Groups; len(groups) != 2002 || groups[0] != "staff" || groups[2] != "g0" || groups[2001] != "g1999" {
				t.Errorf("got %d groups", len(groups))
			}
		})
	}
}

// TestIdentity is what is made of attributes and NameIDs.
func TestIdentity(t *testing.T) {
	t.Parallel()
	format := func(f string) string {
		return "set " + nameID + "@Format urn:oasis:names:tc:SAML:" + f
	}
	bare := noGroups + "\n" + noMail
	for name, tc := range map[string]struct {
		lines []string
		want  provider.Identity
	}{
		"the first of the list alone": {
			[]string{put("mail", "other@example.com"), put("memberOf", "admins")},
			provider.Identity{Username: "alice", Email: "alice@example.com", Groups: []string{"staff", "users"}},
		},
		"configured names": {
			[]string{"option email_attribute work", "option groups_attribute teams", "option username_attribute uid", put("work", "w@example.com"), put("teams", "red", "blue", "red")},
			provider.Identity{Username: "a1ice-0001", Email: "w@example.com", Groups: []string{"red", "blue"}},
		},
		"configured, and not there":  {[]string{"option email_attribute work", "option groups_attribute teams"}, provider.Identity{Username: "alice"}},
		"one name in several pieces": {[]string{put("groups", "more", "staff"), put("groups", "most")}, provider.Identity{Username: "alice", Email: "alice@example.com", Groups: []string{"most", "more", "staff", "users"}}},
		"nil is no value": {
			[]string{bare, "insert into " + statements + " `<saml:Attribute Name=\"email\"><saml:AttributeValue xsi:nil=\"true\"/><saml:AttributeValue xsi:nil=\"1\">x</saml:AttributeValue></saml:Attribute>`", put("mail", "a@example.com")},
			provider.Identity{Username: "alice", Email: "a@example.com"},
		},
		"what is not nil": {
			[]string{bare, "insert into " + statements + " `<saml:Attribute Name=\"groups\"><saml:AttributeValue xsi:nil=\"false\">a</saml:AttributeValue><saml:AttributeValue xs:nil=\"true\">b</saml:AttributeValue><saml:AttributeValue nil=\"true\">c</saml:AttributeValue><saml:AttributeValue xsi:nill=\"true\">d</saml:AttributeValue></saml:Attribute>`"},
			provider.Identity{Username: "alice", Groups: []string{"a", "b", "c", "d"}},
		},
		"an empty value is none, and nothing takes its place": {
			[]string{bare, put("email", ""), put("mail", "a@example.com"), put("groups", ""), put("memberOf", "g")},
			provider.Identity{Username: "alice"},
		},
		"several names to show": {
			[]string{bare, put("displayName", "A", "B"), put("cn", "Alice"), put("sn", "Ash", "Ashe"), put("givenName", "A", "B"), put("firstName", "Alice")},
			provider.Identity{Username: "alice", FirstName: "Alice", DisplayName: "Alice"},
		},
		"an empty e-mail":      {[]string{bare, put("email", "")}, provider.Identity{Username: "alice"}},
		"an address as NameID": {[]string{bare, format("1.1:nameid-format:emailAddress"), "set " + nameID + " a@example.com"}, provider.Identity{Username: "a@example.com", Email: "a@example.com"}},
		"an address as NameID, beside an empty attribute": {
			[]string{bare, put("email", ""), format("1.1:nameid-format:emailAddress"), "set " + nameID + " a@example.com"},
			provider.Identity{Username: "a@example.com"},
		},
		"an address as NameID, beside an attribute": {
			[]string{format("1.1:nameid-format:emailAddress"), "set " + nameID + " a@example.com"},
			provider.Identity{Username: "a@example.com", Email: "alice@example.com", Groups: []string{"staff", "users"}},
		},
		"a persistent NameID names nobody": {[]string{bare, format("2.0:nameid-format:persistent")}, provider.Identity{}},
		"the next names whom a nil does not": {
			[]string{bare, format("2.0:nameid-format:persistent"), put("urn:oid:1.3.6.1.4.1.5923.1.1.1.6", "al@x"), "insert into " + statements + " `<saml:Attribute Name=\"urn:oid:0.9.2342.19200300.100.1.1\"><saml:AttributeValue xsi:nil=\"true\"/></saml:Attribute>`"},
			provider.Identity{Username: "al@x"},
		},
		"the next names whom an empty one does not": {
			[]string{bare, format("2.0:nameid-format:persistent"), put("urn:oid:1.3.6.1.4.1.5923.1.1.1.6", "al@x"), put("urn:oid:0.9.2342.19200300.100.1.1", "")},
			provider.Identity{Username: "al@x"},
		},
		"values are taken exactly":            {[]string{bare, put("displayName", " Alice  Ash ")}, provider.Identity{Username: "alice", DisplayName: " Alice  Ash "}},
		"a group with what looks like a list": {[]string{bare, put("groups", "a,b;c d")}, provider.Identity{Username: "alice", Groups: []string{"a,b;c d"}}},
		"friendly names are no names":         {[]string{bare, "insert into " + statements + " `<saml:Attribute Name=\"x\" FriendlyName=\"email\"><saml:AttributeValue>a@example.com</saml:AttributeValue></saml:Attribute>`"}, provider.Identity{Username: "alice"}},
	} {
		t.Run(name, func(t *testing.T) {
			t.Parallel()
			options, steps := []string{}, []string{}
			for _, line := range tc.lines {
				if strings.HasPrefix(line, "option") {
					options = append(options, line)
				} else {
					steps = append(steps, line)
				}
			}
			got, err := completed(t, append(options, steps...)...)
			if err != nil {
				t.Fatal(err)
			}
			id := got.Identity
			if (id.Username == "") != strings.Contains(id.UsernameNote, "the attributes that came") {
				t.Errorf("the user name is %q: %s", id.Username, id.UsernameNote)
			}
			id.ACR, id.AuthTime, id.GroupsNote, id.NoGroups, id.UsernameNote = "", time.Time{}, "", "", ""
			if len(id.Groups) == 0 {
				id.Groups = nil
			}
			if !reflect.DeepEqual(id, tc.want) {
				t.Errorf("got  %+v\nwant %+v", id, tc.want)
			}
		})
	}
}

// TestAccount is what tells people apart, and what does not.
func TestAccount(t *testing.T) {
	t.Parallel()
	subjects := map[string]string{}
	for name, lines := range map[string][]string{
		"plain":                {},
		"another value":        {"set " + nameID + " bob"},
		"other case":           {"set " + nameID + " Alice"},
		"persistent":           {"option username_attribute uid", "set " + nameID + "@Format urn:oasis:names:tc:SAML:2.0:nameid-format:persistent"},
		"qualifier":            {"set " + nameID + "@NameQualifier https://other.test"},
		"SP qualifier":         {"set " + nameID + "@SPNameQualifier https://other.test"},
		"value like a format":  {"set " + nameID + " \"alice;format=urn:oasis:names:tc:SAML:2.0:nameid-format:persistent\""},
		"value like an escape": {"set " + nameID + " alice%3Bformat=x"},
		"attribute":            {"option id_attribute uid"},
		"attribute of alice":   {"option id_attribute uid", "set " + statements + "/saml:Attribute[1]/saml:AttributeValue alice"},
		"another attribute":    {"option id_attribute email"},
	} {
		got, err := completed(t, lines...)
		if err != nil {
			t.Fatalf("%s: %v", name, err)
		}
		if other, there := subjects[got.Subject]; there {
			t.Errorf("%s and %s are one account: %s", name, other, got.Subject)
		}
		subjects[got.Subject] = name
	}
	for name, line := range map[string]string{
		"no format":                "unset " + nameID + "@Format",
		"the provider's qualifier": "set " + nameID + "@NameQualifier {idp}",
		"our qualifier":            "set " + nameID + "@SPNameQualifier {sp}",
		"our address":              "set " + nameID + "@SPNameQualifier {acs}",
		"an ID of ours":            "set " + nameID + "@SPProvidedID x",
	} {
		got, err := completed(t, line)
		if err != nil {
			t.Fatalf("%s: %v", name, err)
		}
		if subjects[got.Subject] != "plain" {
			t.Errorf("%s makes another account: %s", name, got.Subject)
		}
	}
}

// TestReplayUntil is how long an assertion could be used.
func TestReplayUntil(t *testing.T) {
	t.Parallel()
	const confirmation = "saml:Assertion/saml:Subject/saml:SubjectConfirmation"
	for name, tc := range map[string]struct {
		line string
		want time.Duration // from now, with five minutes for the clocks
	}{
		"both alike":                 {"pad 0", 10 * time.Minute},
		"the conditions' end":        {"set saml:Assertion/saml:Conditions@NotOnOrAfter {now+2m}", 7 * time.Minute},
		"no end of the conditions":   {"unset saml:Assertion/saml:Conditions@NotOnOrAfter", 10 * time.Minute},
		"the confirmation's end":     {"set " + confirmation + "/saml:SubjectConfirmationData@NotOnOrAfter {now+1m}", 6 * time.Minute},
		"the year 9999":              {"set saml:Assertion/saml:Conditions@NotOnOrAfter 9999-12-31T23:59:59Z\nset " + confirmation + "/saml:SubjectConfirmationData@NotOnOrAfter 9999-12-31T23:59:59Z", 24*time.Hour + 5*time.Minute},
		"the later of confirmations": {"set saml:Assertion/saml:Conditions@NotOnOrAfter {now+2h}\ncopy c " + confirmation + "\npaste c after " + confirmation + "\nset " + confirmation + "[2]/saml:SubjectConfirmationData@NotOnOrAfter {now+1h}", 65 * time.Minute},
		"a later one that is bad":    {"set saml:Assertion/saml:Conditions@NotOnOrAfter {now+2h}\ncopy c " + confirmation + "\npaste c after " + confirmation + "\nset " + confirmation + "[2]/saml:SubjectConfirmationData@NotOnOrAfter {now+1h}\nset " + confirmation + "[2]/saml:SubjectConfirmationData@Recipient x", 10 * time.Minute},
	} {
		t.Run(name, func(t *testing.T) {
			t.Parallel()
			begun := time.Now()
			got, err := completed(t, tc.line)
			if err != nil {
				t.Fatal(err)
			}
			if d := got.ReplayUntil.Sub(begun); d > tc.want+time.Minute || d < tc.want-2*time.Second {
				t.Errorf("got %s, want %s", d, tc.want)
			}
		})
	}
}

// TestFlowOf refuses what was not begun here.
func TestFlowOf(t *testing.T) {
	t.Parallel()
	l := newLogin()
	form := planned(t).form(t, l, true)
	for name, private := range map[string][]byte{
		"nothing":             nil,
		"no JSON":             []byte("x"),
		"without a request":   samlsp.Flow("", idpEntity, l.begun, false),
		"at another provider": samlsp.Flow(l.request, evilEntity, l.begun, false),
	} {
		p := must(samlsp.New(baseConfig(), samlsp.Deps{}))
		_, err := p.Complete(t.Context(), provider.CompleteRequest{Params: form, Private: private, CallbackURL: acsURL, MetadataURL: spEntity})
		if refusal.CodeOf(err) != refusal.FlowUnknown {
			t.Errorf("%s: got %v", name, err)
		}
	}
}
