package samlsp_test

import (
	"encoding/json"
	"flag"
	"reflect"
	"strings"
	"testing"
	"time"

	"github.com/caddy-sso/caddy-sso/gateway/gatewaytest"
	"github.com/caddy-sso/caddy-sso/gateway/provider"
)

var update = flag.Bool("update", false, "write the table of docs/odd-values.md anew")

const oddText = "ODD"

// oddities are the columns of the table. A mutation is made of each for what
// stands in an element (E), in an attribute of XML (A at @), or in a SAML
// attribute (its Attribute S, its value V). Empty: there is no such thing.
var oddities = []struct{ name, element, xml, saml string }{
	{"none or nil", "remove E", "unset A", "set V@xsi:nil true"},
	{"empty", `set E ""`, `set A ""`, `set V ""`},
	{"a number", "set E 7", "set A 7", "set V 7"},
	{"another text", "set E ODD", "set A ODD", "set V ODD"},
	{"two values", "copy c E\npaste c after E", "", "insert into S <saml:AttributeValue>ODD</saml:AttributeValue>"},
	{"an element in it", `insert into E "<e:x xmlns:e=\"urn:e\">ODD</e:x>"`, "", `insert into V "<e:x xmlns:e=\"urn:e\">ODD</e:x>"`},
	{"too long", "set E {ODD*700}", "set A {ODD*700}", "set V {ODD*700}"},
	{"line break", `set E "ODD\nx"`, "", `set V "ODD\nx"`},
	{"blanks around", "BLANKS E", "BLANKS A", "BLANKS V"},
	{"name in capitals", "", "", "CAPITALS S"},
	{"there twice", "", "TWICE A", "copy c S\npaste c after S"},
}

// TestOddTable holds the table of docs/odd-values.md.
func TestOddTable(t *testing.T) {
	t.Parallel()
	const (
		conditions   = "saml:Assertion/saml:Conditions"
		confirmation = "saml:Assertion/saml:Subject/saml:SubjectConfirmation/saml:SubjectConfirmationData"
		statement    = "saml:Assertion/saml:AuthnStatement"
		uid          = statements + "/saml:Attribute[1]"
		groups       = statements + "/saml:Attribute[3]"
		named        = "insert first " + statements + " `<saml:Attribute Name=\"displayName\"><saml:AttributeValue>Alice</saml:AttributeValue></saml:Attribute>`"
	)
	var table gatewaytest.Table
	head := []string{"part of the answer"}
	for _, o := range oddities {
		head = append(head, o.name)
	}
	table.Row(head...)
	for _, row := range []struct {
		name, path, value string
		before            string // what holds for the control too
	}{
		{"Issuer of the assertion", "saml:Assertion/saml:Issuer", "{idp}", ""},
		{"Audience", conditions + "/saml:AudienceRestriction/saml:Audience", "{sp}", ""},
		{"Destination", ".@Destination", "{acs}", ""},
		{"Recipient", confirmation + "@Recipient", "{acs}", ""},
		{"InResponseTo", ".@InResponseTo", "{request}", ""},
		{"ID of the assertion", "saml:Assertion@ID", "_assertion", ""},
		{"Version", "saml:Assertion@Version", "2.0", ""},
		{"IssueInstant", "saml:Assertion@IssueInstant", "{now}", ""},
		{"NotOnOrAfter of the confirmation", confirmation + "@NotOnOrAfter", "{now+5m}", ""},
		{"NotOnOrAfter of the conditions", conditions + "@NotOnOrAfter", "{now+5m}", ""},
		{"AuthnInstant", statement + "@AuthnInstant", "{now}", ""},
		{"SessionNotOnOrAfter", statement + "@SessionNotOnOrAfter", "{now+8h}", ""},
		{"NameID", nameID, "alice", ""},
		{"Format of the NameID", nameID + "@Format", "urn:oasis:names:tc:SAML:1.1:nameid-format:unspecified", ""},
		{"attribute of `username_attribute`", uid, "a1ice-0001", "option username_attribute uid"},
		{"attribute of `id_attribute`", uid, "a1ice-0001", "option id_attribute uid"},
		{"attribute for groups", groups, "staff", ""},
		{"the only one of the groups", groups, "staff", "remove " + groups + "/saml:AttributeValue[2]"},
		{"one of two groups, the other nil", groups, "staff", "set " + groups + "/saml:AttributeValue[2]@xsi:nil true"},
		{"attribute for the e-mail", statements + "/saml:Attribute[2]", "alice@example.com", ""},
		{"attribute for the name", statements + "/saml:Attribute[1]", "Alice", named},
		{"any other attribute", uid, "a1ice-0001", ""},
		{"AuthnContextClassRef", statement + "/saml:AuthnContext/saml:AuthnContextClassRef", "urn:oasis:names:tc:SAML:2.0:ac:classes:PasswordProtectedTransport", ""},
		{"SessionIndex", statement + "@SessionIndex", "_session", ""},
	} {
		control := oddLogin(t, row.before)
		if control.code != "" {
			t.Fatalf("%s: the control is refused: %s", row.name, control.code)
		}
		cells := []string{row.name}
		for _, o := range oddities {
			cells = append(cells, oddCell(t, control, row.before, mutation(o.element, o.xml, o.saml, row.path, row.value)))
		}
		table.Row(cells...)
	}
	gatewaytest.Section(t, "../../docs/odd-values.md", "SAML", "\n"+table.String(), *update)
}

// mutation fills in the lines of an oddity for what stands at path, with the value
// that it has in the control.
func mutation(element, xml, saml, path, value string) string {
	_, attribute, isXML := strings.Cut(path, "@")
	lines := element
	switch {
	case isXML:
		lines = xml
	case strings.Contains(path, "saml:Attribute["):
		lines = saml
	}
	first := path + "/saml:AttributeValue"
	if strings.HasSuffix(path, "[3]") { // it has two
		first += "[1]"
	}
	switch word, _, _ := strings.Cut(lines, " "); word {
	case "BLANKS":
		at := path
		if strings.HasSuffix(lines, " V") {
			at = first
		}
		return "set " + at + " \" " + value + " \""
	case "CAPITALS":
		names := map[string]string{"a1ice-0001": "UID", "staff": "GROUPS", "alice@example.com": "EMAIL", "Alice": "DISPLAYNAME"}
		return "set " + path + "@Name " + names[value]
	case "TWICE":
		return "sign\nreplace-all \" " + attribute + "=\\\"\" \" " + attribute + "=\\\"x\\\" " + attribute + "=\\\"\""
	}
	return strings.NewReplacer(" E", " "+path, " A", " "+path, " S", " "+path, " V", " "+first).Replace(lines)
}

// An oddOutcome is what came of a login through a whole gateway.
type oddOutcome struct {
	code   string
	answer *provider.Answer
}

func oddLogin(t *testing.T, lines ...string) oddOutcome {
	t.Helper()
	a := planned(t, lines...)
	s := oneProvider(t, a.config)
	v := s.visitor()
	begun := v.begin("corp")
	form := a.form(t, begun.login, true)
	got := v.bring(begun.state, form)
	if got.code != "" {
		return oddOutcome{code: string(got.code)}
	}
	if !got.signedIn {
		t.Fatalf("neither refused nor signed in: %+v", got)
	}
	answer, err := a.try(t, begun.login, form)
	if err != nil {
		t.Fatal(err)
	}
	return oddOutcome{answer: answer}
}

func oddCell(t *testing.T, control oddOutcome, lines ...string) string {
	t.Helper()
	if lines[1] == "" {
		return ""
	}
	got := oddLogin(t, lines...)
	if got.code != "" {
		return "`" + got.code + "`"
	}
	same, said := *got.answer, *control.answer
	for _, answer := range []*provider.Answer{&same, &said} {
		answer.Identity.GroupsNote, answer.Identity.AuthTime, answer.NotAfter, answer.ReplayUntil = "", time.Time{}, time.Time{}, time.Time{}
	}
	text, err := json.Marshal(same)
	switch {
	case err != nil:
		t.Fatal(err)
	case same.Identity.GroupsPartial:
		return "in part"
	case got.answer.NotAfter.IsZero() != control.answer.NotAfter.IsZero():
		return "left out"
	case reflect.DeepEqual(same, said):
		return "no matter"
	case strings.Contains(string(text), oddText), strings.Contains(string(text), `"7"`), strings.Contains(string(text), `" alice`), strings.Contains(string(text), "=7"),
		strings.Contains(string(text), `" `):
		return "taken"
	}
	return "left out"
}
