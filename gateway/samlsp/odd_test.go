package samlsp_test

import (
	"errors"
	"reflect"
	"slices"
	"strings"
	"testing"

	"go.uber.org/zap"
	"go.uber.org/zap/zapcore"
	"go.uber.org/zap/zaptest/observer"

	"github.com/caddy-sso/caddy-sso/gateway/provider"
	"github.com/caddy-sso/caddy-sso/gateway/refusal"
	"github.com/caddy-sso/caddy-sso/gateway/samlsp"
)

// logged is completed, with what the log says.
func logged(t *testing.T, lines ...string) (*provider.Answer, string, error) {
	t.Helper()
	a, l := planned(t, lines...), newLogin()
	core, logs := observer.New(zapcore.InfoLevel)
	p := must(samlsp.New(a.config, samlsp.Deps{Transport: noNetwork{t}, Logger: zap.New(core)}))
	got, err := p.Complete(t.Context(), l.answer(a.form(t, l, true), a.forced))
	var text strings.Builder
	for _, line := range logs.All() {
		if name, ok := line.ContextMap()["attribute"].(string); ok {
			text.WriteString(name + ": " + line.ContextMap()["reason"].(string) + "\n")
		}
	}
	return got, text.String(), err
}

// put adds an attribute in front of the control's.
func put(name string, values ...string) string {
	text := ""
	for _, v := range values {
		if !strings.HasPrefix(v, "<saml:") {
			v = "<saml:AttributeValue>" + v + "</saml:AttributeValue>"
		}
		text += v
	}
	return "insert first " + statements + " `<saml:Attribute Name=\"" + name + "\">" + text + "</saml:Attribute>`"
}

const (
	noMail   = "remove " + statements + "/saml:Attribute[2]"
	noGroups = "remove " + statements + "/saml:Attribute[3]"
	nilValue = `<saml:AttributeValue xsi:nil="true"/>`
	element  = `<saml:AttributeValue><saml:NameID>x</saml:NameID></saml:AttributeValue>`
)

// TestWhatDecidesNothing changes what only describes a person: the sign-in goes
// on, the rest stays as it was, and the log names what was left out.
func TestWhatDecidesNothing(t *testing.T) {
	t.Parallel()
	long := strings.Repeat("x", 1025)
	email := func(s string) func(*provider.Identity) { return func(id *provider.Identity) { id.Email = s } }
	named := func(s string) func(*provider.Identity) { return func(id *provider.Identity) { id.DisplayName = s } }
	const class = "saml:Assertion/saml:AuthnStatement/saml:AuthnContext/saml:AuthnContextClassRef"
	for name, tt := range map[string]struct {
		lines []string
		want  func(*provider.Identity)
		log   string // what is left out; empty: nothing
	}{
		"as it is":                       {nil, func(*provider.Identity) {}, ""},
		"an e-mail that is none":         {[]string{noMail, put("mail", "n/a")}, email(""), "mail"},
		"an e-mail with two @":           {[]string{noMail, put("mail", "a@b@c")}, email(""), "mail"},
		"an e-mail of XML":               {[]string{noMail, put("mail", element)}, email(""), "mail"},
		"a long e-mail":                  {[]string{noMail, put("mail", long)}, email(""), "mail"},
		"an empty e-mail":                {[]string{noMail, put("mail", "")}, email(""), ""},
		"a nil e-mail":                   {[]string{noMail, put("mail", nilValue)}, email(""), ""},
		"two e-mails, the first counts":  {[]string{noMail, put("mail", "al@example.com", "root@example.com")}, email("al@example.com"), ""},
		"two e-mails, the first is none": {[]string{noMail, put("mail", "n/a", "root@example.com")}, email(""), "mail"},
		"an e-mail of two formats":       {[]string{"insert into " + statements + " `<saml:Attribute Name=\"email\" NameFormat=\"urn:x\"><saml:AttributeValue>root@example.com</saml:AttributeValue></saml:Attribute>`"}, email(""), "email"},
		"a NameID that is no address":    {[]string{noMail, "set " + nameID + "@Format urn:oasis:names:tc:SAML:1.1:nameid-format:emailAddress"}, email(""), "NameID"},
		"a name of XML":                  {[]string{put("displayName", element)}, named(""), "displayName"},
		"a long name":                    {[]string{put("displayName", long)}, named(""), "displayName"},
		"two names, none is the one":     {[]string{put("displayName", "A", "B")}, named(""), ""},
		"a long class":                   {[]string{"set " + class + " " + long}, func(id *provider.Identity) { id.ACR = "" }, "AuthnContextClassRef"},
		"a long session":                 {[]string{"set saml:Assertion/saml:AuthnStatement@SessionIndex " + long}, func(*provider.Identity) {}, "SessionIndex"},
	} {
		t.Run(name, func(t *testing.T) {
			t.Parallel()
			control, err := completed(t)
			if err != nil {
				t.Fatal(err)
			}
			want := control.Identity
			tt.want(&want)
			got, text, err := logged(t, tt.lines...)
			if err != nil {
				t.Fatal(err)
			}
			want.AuthTime = got.Identity.AuthTime
			if !reflect.DeepEqual(got.Identity, want) {
				t.Errorf("got  %+v\nwant %+v", got.Identity, want)
			}
			if (tt.log != "") != strings.HasPrefix(text, tt.log+": ") || tt.log == "" && text != "" || strings.Contains(text, "xxx") {
				t.Errorf("the log says %q", text)
			}
			if (got.SessionID == "") != (tt.log == "SessionIndex") {
				t.Errorf("the session is %q", got.SessionID)
			}
		})
	}
}

// TestOddGroups leaves odd values out of the groups, and says that these are not
// all.
func TestOddGroups(t *testing.T) {
	t.Parallel()
	for name, tt := range map[string]struct {
		values []string
		want   []string
		note   string
	}{
		"all in order":    {[]string{"staff", "admins"}, []string{"staff", "admins"}, ""},
		"an empty one":    {[]string{"staff", "", "admins"}, []string{"staff", "admins"}, "1 of 3 values"},
		"a nil":           {[]string{nilValue, "staff"}, []string{"staff"}, "1 of 2 values"},
		"an element":      {[]string{element, "staff"}, []string{"staff"}, "1 of 2 values"},
		"too long":        {[]string{"staff", strings.Repeat("x", 513)}, []string{"staff"}, "1 of 2 values"},
		"a line break":    {[]string{"a&#10;b", "staff"}, []string{"staff"}, "1 of 2 values"},
		"nothing but odd": {[]string{"", element}, []string{}, "2 of 2 values"},
		"one empty value": {[]string{""}, []string{}, ""},
		"one nil":         {[]string{nilValue}, []string{}, ""},
		"two nils":        {[]string{nilValue, nilValue}, []string{}, "2 of 2 values"},
		"nil and empty":   {[]string{nilValue, ""}, []string{}, "2 of 2 values"},
		"two empty":       {[]string{"", ""}, []string{}, "2 of 2 values"},
		"one element":     {[]string{element}, []string{}, "1 of 1 values"},
		"one too long":    {[]string{strings.Repeat("x", 513)}, []string{}, "1 of 1 values"},
	} {
		t.Run(name, func(t *testing.T) {
			t.Parallel()
			// No other attribute takes the place of one that is odd.
			got, text, err := logged(t, noGroups, put("memberOf", "guests"), put("groups", tt.values...))
			if err != nil {
				t.Fatal(err)
			}
			id := got.Identity
			if !slices.Equal(id.Groups, tt.want) || id.GroupsPartial != (tt.note != "") || !strings.Contains(id.GroupsNote, tt.note) {
				t.Errorf("got %q, partial %t, %q", id.Groups, id.GroupsPartial, id.GroupsNote)
			}
			if strings.HasPrefix(text, "groups: ") != (tt.note != "") {
				t.Errorf("the log says %q", text)
			}
		})
	}
}

// TestOverage: whoever is in too many groups for Entra ID is in none of the
// assertion, and they are not known.
func TestOverage(t *testing.T) {
	t.Parallel()
	const (
		link   = "http://schemas.microsoft.com/claims/groups.link"
		groups = "http://schemas.microsoft.com/ws/2008/06/identity/claims/groups"
	)
	linked := put(link, "https://graph.windows.net/x/users/y/getMemberObjects")
	for name, tt := range map[string]struct {
		lines   []string
		overage bool
	}{
		"instead of the groups":        {[]string{noGroups, linked}, true},
		"nil":                          {[]string{noGroups, put(link, nilValue)}, true},
		"the groups' attribute named":  {[]string{"option groups_attribute " + groups, noGroups, linked}, true},
		"that has some":                {[]string{"option groups_attribute " + groups, noGroups, linked, put(groups, "g")}, true},
		"another that is missing":      {[]string{"option groups_attribute roles", noGroups, linked}, true},
		"beside another":               {[]string{noGroups, linked, put("urn:mace:dir:attribute-def:eduPersonAffiliation", "member")}, true},
		"beside another that is named": {[]string{"option groups_attribute groups", linked}, false},
		"another link":                 {[]string{noGroups, put(link+"s", "x")}, false},
	} {
		t.Run(name, func(t *testing.T) {
			t.Parallel()
			got, err := completed(t, tt.lines...)
			if err != nil {
				t.Fatal(err)
			}
			if id := got.Identity; id.GroupsPartial != tt.overage || strings.Contains(id.GroupsNote, "overage") != tt.overage {
				t.Errorf("partial %t, %q", id.GroupsPartial, id.GroupsNote)
			}
		})
	}
}

// TestWithComments takes signatures made with comments (SAML Core 5.4.3).
func TestWithComments(t *testing.T) {
	t.Parallel()
	for name, line := range map[string]string{
		"exclusive, of the SignedInfo": "sign saml:Assertion c14n=exc-comments",
		"exclusive, of the assertion":  "sign saml:Assertion transforms=enveloped,exc-comments",
		"both inclusive":               "sign saml:Assertion c14n=c14n10-comments transforms=enveloped,c14n10-comments",
	} {
		t.Run(name, func(t *testing.T) {
			t.Parallel()
			got, err := completed(t, line)
			if err != nil || got.Identity.Username != "alice" {
				t.Fatalf("got %+v, %v", got, err)
			}
			got, err = completed(t, line, "replace >alice< >al<!--x-->ice<")
			if err != nil || got.Identity.Username != "alice" {
				t.Errorf("with a comment in the NameID: got %+v, %v", got, err)
			}
		})
	}
}

// TestPassingStatus: a provider that has nobody to ask at the moment refuses
// nobody; what it says otherwise is a refusal.
func TestPassingStatus(t *testing.T) {
	t.Parallel()
	for name, tt := range map[string]struct {
		first, second string
		code          refusal.Code
		request       bool // is what is refused, and not the person
	}{
		"nobody to ask":             {"Responder", "NoAvailableIDP", refusal.ProviderUnavailable, false},
		"nothing more is said":      {"Responder", "", refusal.ProviderRefused, false},
		"a failed sign-in":          {"Responder", "AuthnFailed", refusal.ProviderRefused, false},
		"denied":                    {"Responder", "RequestDenied", refusal.ProviderRefused, false},
		"our own fault":             {"Requester", "NoAvailableIDP", refusal.ProviderRefused, false},
		"no such format of NameIDs": {"Responder", "InvalidNameIDPolicy", refusal.ProviderRefused, true},
		"no such way to sign in":    {"Requester", "NoAuthnContext", refusal.ProviderRefused, true},
		"our request, no more":      {"Requester", "", refusal.ProviderRefused, true},
		"another version":           {"VersionMismatch", "", refusal.ProviderRefused, true},
	} {
		t.Run(name, func(t *testing.T) {
			t.Parallel()
			const code, status = "samlp:Status/samlp:StatusCode", "urn:oasis:names:tc:SAML:2.0:status:"
			lines := []string{"set " + code + "@Value " + status + tt.first}
			if tt.second != "" {
				lines = append(lines, "insert into "+code+" `<samlp:StatusCode Value=\""+status+tt.second+"\"/>`")
			}
			_, err := completed(t, lines...)
			wantCode(t, err, tt.code)
			wantText(t, err, tt.second)
			if errors.Is(err, provider.ErrRequestRefused) != tt.request {
				t.Error(err)
			}
		})
	}
}

// TestRegisteredNames takes the attributes by the names that were registered for
// them, OIDs and those of MACE-Dir before them.
func TestRegisteredNames(t *testing.T) {
	t.Parallel()
	const mace, claims = "urn:mace:dir:attribute-def:", "http://schemas.xmlsoap.org/ws/2005/05/identity/claims/"
	persistent := "set " + nameID + "@Format urn:oasis:names:tc:SAML:2.0:nameid-format:persistent"
	want := provider.Identity{Username: "ally", Email: "al@example.com", FirstName: "Al", LastName: "Ash", DisplayName: "Al Ash", Groups: []string{"g"}}
	for name, names := range map[string][6]string{
		"plain": {"urn:oid:0.9.2342.19200300.100.1.1", "mail", "givenName", "sn", "displayName", "memberOf"},
		"claims of Entra ID": {
			mace + "uid", claims + "emailaddress", claims + "givenname", claims + "surname",
			"http://schemas.microsoft.com/identity/claims/displayname", "http://schemas.microsoft.com/ws/2008/06/identity/claims/groups",
		},
		"OIDs":                {"urn:oid:0.9.2342.19200300.100.1.1", "urn:oid:0.9.2342.19200300.100.1.3", "urn:oid:2.5.4.42", "urn:oid:2.5.4.4", "urn:oid:2.16.840.1.113730.3.1.241", "urn:oid:1.3.6.1.4.1.5923.1.5.1.1"},
		"MACE-Dir":            {mace + "uid", mace + "mail", mace + "givenName", mace + "sn", mace + "displayName", mace + "isMemberOf"},
		"eduPerson, OIDs":     {"urn:oid:1.3.6.1.4.1.5923.1.1.1.6", "urn:oid:0.9.2342.19200300.100.1.3", "urn:oid:2.5.4.42", "urn:oid:2.5.4.4", "urn:oid:2.5.4.3", "urn:oid:1.3.6.1.4.1.5923.1.1.1.7"},
		"eduPerson, MACE-Dir": {mace + "eduPersonPrincipalName", mace + "mail", mace + "givenName", mace + "sn", mace + "cn", mace + "eduPersonEntitlement"},
		"affiliation":         {mace + "uid", mace + "mail", mace + "givenName", mace + "sn", mace + "cn", mace + "eduPersonAffiliation"},
	} {
		t.Run(name, func(t *testing.T) {
			t.Parallel()
			lines := []string{noGroups, noMail, persistent}
			for i, value := range []string{"ally", "al@example.com", "Al", "Ash", "Al Ash", "g"} {
				lines = append(lines, put(names[i], value))
			}
			got, err := completed(t, lines...)
			if err != nil {
				t.Fatal(err)
			}
			id := got.Identity
			id.ACR, id.AuthTime = "", want.AuthTime
			if !reflect.DeepEqual(id, want) {
				t.Errorf("got  %+v\nwant %+v", id, want)
			}
		})
	}
}

// TestNoGroups: only an assertion without any attribute of groups says so.
func TestNoGroups(t *testing.T) {
	t.Parallel()
	const teams = "option groups_attribute teams"
	for name, tt := range map[string]struct {
		lines []string
		want  bool
	}{
		"none":                         {[]string{noGroups}, true},
		"another than the named":       {[]string{teams}, true},
		"well known":                   {nil, false},
		"named":                        {[]string{teams, noGroups, put("teams", "g")}, false},
		"without a value":              {[]string{noGroups, put("groups", "")}, false},
		"nil":                          {[]string{noGroups, put("memberOf", nilValue)}, false},
		"an overage":                   {[]string{noGroups, put("http://schemas.microsoft.com/claims/groups.link", "x")}, false},
		"a value that is of no use":    {[]string{noGroups, put("groups", strings.Repeat("x", 2000))}, false},
		"an attribute without a value": {[]string{noGroups, "insert into //saml:AttributeStatement `<saml:Attribute Name=\"groups\"/>`"}, false},
	} {
		t.Run(name, func(t *testing.T) {
			t.Parallel()
			got, err := completed(t, tt.lines...)
			if err != nil {
				t.Fatal(err)
			}
			if why := got.Identity.NoGroups; tt.want != (why != "") || tt.want && !strings.Contains(why, "`groups_attribute`") {
				t.Errorf("got %q", why)
			}
		})
	}
}
