package samlsp_test

import (
	"bytes"
	"encoding/base64"
	"encoding/json"
	"net/url"
	"reflect"
	"strings"
	"testing"
	"testing/synctest"
	"time"

	"github.com/caddy-sso/caddy-sso/gateway/gatewaytest"
	"github.com/caddy-sso/caddy-sso/gateway/provider"
	"github.com/caddy-sso/caddy-sso/gateway/refusal"
	"github.com/caddy-sso/caddy-sso/gateway/samlsp"
)

// A fixture is a provider's real answer, and what it was an answer to.
type fixture struct {
	IdP     string `json:"idp_entity_id"`
	SP      string `json:"sp_entity_id"`
	ACS     string `json:"acs_url"`
	Request string `json:"in_response_to"`

	doc, cert []byte
	now       func() time.Time
}

func keycloak(t testing.TB) (f fixture) {
	t.Helper()
	about, now := gatewaytest.Captured(t, "testdata/keycloak-response.json")
	if err := json.Unmarshal(about, &f); err != nil {
		t.Fatal(err)
	}
	f.doc, f.cert, f.now = file(t, "keycloak-response.xml"), file(t, "keycloak-response.crt"), now
	return f
}

// provider returns the service provider with the fixture's clock.
func (f *fixture) provider(want samlsp.Switch) *samlsp.Provider {
	p := must(samlsp.New(samlsp.Config{
		EntityID: f.IdP, SSOURL: f.IdP, Certificates: []string{string(f.cert)}, WantAssertionsSigned: want,
	}, samlsp.Deps{}))
	samlsp.SetClock(p, f.now)
	return p
}

// request hands in a document as the answer.
func (f *fixture) request(doc []byte) provider.CompleteRequest {
	return provider.CompleteRequest{
		Params:  url.Values{"SAMLResponse": {base64.StdEncoding.EncodeToString(doc)}},
		Private: samlsp.Flow(f.Request, f.IdP, f.now().Add(-time.Minute), false), CallbackURL: f.ACS, MetadataURL: f.SP,
	}
}

// TestCapturedAnswerOnAnyDate verifies the real answer while the real clock shows
// another century. It fails if anything but the fixture's clock is asked.
func TestCapturedAnswerOnAnyDate(t *testing.T) {
	t.Parallel()
	var f fixture
	synctest.Test(t, func(t *testing.T) { f = keycloak(t) })
	for name, later := range map[string]time.Duration{"in 2000": 0, "in 2100": 100 * 366 * 24 * time.Hour} {
		t.Run(name, func(t *testing.T) {
			t.Parallel()
			synctest.Test(t, func(t *testing.T) {
				time.Sleep(later)
				if _, err := f.provider(samlsp.On).Complete(t.Context(), f.request(f.doc)); err != nil {
					t.Error(err)
				}
			})
		})
	}
}

// TestCompleteKeycloak signs in by an answer of a real provider, both signed.
func TestCompleteKeycloak(t *testing.T) {
	t.Parallel()
	for name, want := range map[string]samlsp.Switch{"D4 assertions": samlsp.On, "D4 responses": samlsp.Off} {
		t.Run(name, func(t *testing.T) {
			t.Parallel()
			synctest.Test(t, func(t *testing.T) {
				f := keycloak(t)
				got, err := f.provider(want).Complete(t.Context(), f.request(f.doc))
				if err != nil {
					t.Fatal(err)
				}
				if got.Identity.Username != "alice" || got.Identity.Email == "" || got.Subject == "" || got.SessionID == "" || !got.NotAfter.After(f.now()) {
					t.Errorf("got %+v", got)
				}
			})
		})
	}
}

// FuzzComplete verifies a changed answer: none may panic, and none gets in but
// what says the same.
func FuzzComplete(f *testing.F) {
	about := keycloak(f)
	f.Add(about.doc)
	f.Add(bytes.Replace(about.doc, []byte(">alice<"), []byte("><!-- -->al<![CDATA[i]]>&#99;e<"), 1))
	f.Add([]byte(control))
	f.Fuzz(func(t *testing.T, changed []byte) {
		synctest.Test(t, func(t *testing.T) {
			p := about.provider(samlsp.On)
			want, err := p.Complete(t.Context(), about.request(about.doc))
			if err != nil {
				t.Fatal(err)
			}
			got, err := p.Complete(t.Context(), about.request(changed))
			if err == nil && !reflect.DeepEqual(got, want) {
				t.Errorf("got %+v, want %+v", got, want)
			}
			if err != nil && (got != nil || refusal.CodeOf(err).Meaning().Status >= 500) {
				t.Errorf("got %+v, %v", got, err)
			}
		})
	})
}

func TestComplete(t *testing.T) {
	t.Parallel()
	l := newLogin()
	second := l.begun.UTC().Truncate(time.Second)
	for _, signed := range []string{"assertion", "both"} {
		t.Run(signed, func(t *testing.T) {
			t.Parallel()
			a := planned(t, "signed "+signed)
			got, err := a.try(t, l, a.form(t, l, false))
			if err != nil {
				t.Fatal(err)
			}
			want := &provider.Answer{
				Identity: provider.Identity{
					Username: "alice", Email: "alice@example.com", Groups: []string{"staff", "users"},
					ACR: "urn:oasis:names:tc:SAML:2.0:ac:classes:PasswordProtectedTransport", AuthTime: second,
				},
				Subject: "nameid=alice", NotAfter: second.Add(8 * time.Hour), SessionID: "_session",
				ReplayID: "_assertion", ReplayUntil: second.Add(10 * time.Minute),
			}
			if !reflect.DeepEqual(got, want) {
				t.Errorf("got  %+v\nwant %+v", got, want)
			}
		})
	}
}

// TestRefusals has each code, and what the log needs to say beside it.
func TestRefusals(t *testing.T) {
	t.Parallel()
	const conditions, statement = "saml:Assertion/saml:Conditions", "saml:Assertion/saml:AuthnStatement"
	for code, tc := range map[refusal.Code]struct{ lines, log string }{
		refusal.SAMLMalformed:       {"sign\nprepend \"<!DOCTYPE x>\"", "line 1"},
		refusal.SAMLUnsigned:        {"sign .", "want_assertions_signed off"},
		refusal.SAMLSignature:       {"sign saml:Assertion key=evil", "it is by none of the provider's keys"},
		refusal.SAMLAlgorithm:       {"sign saml:Assertion alg=rsa-sha1", "SHA-1"},
		refusal.SAMLEncrypted:       {"insert into . <saml:EncryptedAssertion/>", "encrypted"},
		refusal.SAMLIssuerMismatch:  {"set saml:Assertion/saml:Issuer urn:other", "it is \"urn:other\", expected is \"" + idpEntity + "\""},
		refusal.SAMLDestination:     {"set .@Destination http://here.test/", "it is \"http://here.test/\", ours is \"" + acsURL + "\""},
		refusal.SAMLRequestMismatch: {"unset .@InResponseTo", "was not asked for"},
		refusal.SAMLAudience:        {"set " + conditions + "/saml:AudienceRestriction/saml:Audience urn:x", "it is \"urn:x\", we are \"" + spEntity + "\""},
		refusal.SAMLTime:            {"set " + conditions + "@NotOnOrAfter 2001-01-01T00:00:00Z", "2001-01-01T00:00:00Z"},
		refusal.SAMLSubject:         {"remove saml:Assertion/saml:Subject/saml:NameID", "NameID stands 0 times"},
		refusal.SAMLCondition:       {"remove " + statement, "no AuthnStatement"},
		refusal.SAMLAttribute:       {"option id_attribute no\npad 0", "id attribute"},
		refusal.TooLarge:            {"pad 0\nappend \"{ *1048576}\"", "larger than"},
		refusal.ProviderRefused:     {"set samlp:Status/samlp:StatusCode@Value urn:oasis:names:tc:SAML:2.0:status:Responder", "the provider says Responder"},
	} {
		t.Run(string(code), func(t *testing.T) {
			t.Parallel()
			_, err := completed(t, tc.lines)
			wantCode(t, err, code)
			wantText(t, err, tc.log)
		})
	}
}

// TestKeyChange signs in with a key that is new in the metadata, which are then
// fetched once. Forgeries don't have them fetched again and again.
func TestKeyChange(t *testing.T) {
	t.Parallel()
	e := goodEntity()
	e.entityID = idpEntity
	e.keys = []string{keyDescriptor("signing", b64(certificates()["idp-ec"]))}
	from := publish(e)
	complete := completing(t, byURL(t, from, samlsp.Deps{}))
	if err := complete("sign saml:Assertion alg=ecdsa-sha256 key=idp-ec"); err != nil {
		t.Fatal(err)
	}
	before := from.asked()
	e.keys = []string{keyDescriptor("signing", b64(certificates()["idp"]))}
	from.serve(e)
	if err := complete("sign"); err != nil {
		t.Errorf("the new key: %v", err)
	}
	wantCode(t, complete("sign saml:Assertion alg=ecdsa-sha256 key=idp-ec"), refusal.SAMLSignature)
	for range 20 {
		wantCode(t, complete("sign saml:Assertion key=evil"), refusal.SAMLSignature)
	}
	if n := from.asked() - before; n != 1 {
		t.Errorf("the metadata were fetched %d times", n)
	}
}

// TestKeyChangeWhileDown has the metadata gone when a forgery asks for them: it
// is a forgery all the same, and the known key still good.
func TestKeyChangeWhileDown(t *testing.T) {
	t.Parallel()
	e := goodEntity()
	e.entityID = idpEntity
	e.keys = []string{keyDescriptor("signing", b64(certificates()["idp"]))}
	for name, breaks := range map[string]func(from *publisher){
		"down":             (*publisher).down,
		"another provider": func(from *publisher) { from.serve(goodEntity()) },
	} {
		t.Run(name, func(t *testing.T) {
			t.Parallel()
			from := publish(e)
			complete := completing(t, byURL(t, from, samlsp.Deps{}))
			if err := complete("sign"); err != nil {
				t.Fatal(err)
			}
			breaks(from)
			wantCode(t, complete("sign saml:Assertion key=evil"), refusal.SAMLSignature)
			if err := complete("sign"); err != nil {
				t.Errorf("afterwards: %v", err)
			}
		})
	}
}

// TestSame is what makes an assertion another one than a signed response has.
func TestSame(t *testing.T) {
	t.Parallel()
	const doc = `<a:x xmlns:a="urn:a" xmlns:b="urn:b" b:i="1" j="2">text<a:y/>tail<a:z>in</a:z></a:x>`
	for name, tc := range map[string]struct {
		doc  string
		same bool
	}{
		"itself":                     {doc, true},
		"other prefixes":             {`<c:x xmlns:c="urn:a" j="2" xmlns:d="urn:b" d:i="1">text<c:y/>tail<z xmlns="urn:a">in</z></c:x>`, true},
		"another name":               {strings.ReplaceAll(doc, "a:x", "a:w"), false},
		"another namespace":          {strings.ReplaceAll(doc, "urn:a", "urn:c"), false},
		"another attribute":          {strings.Replace(doc, `j="2"`, `k="2"`, 1), false},
		"another value":              {strings.Replace(doc, `j="2"`, `j="3"`, 1), false},
		"an attribute's namespace":   {strings.Replace(doc, `urn:b`, `urn:c`, 1), false},
		"an attribute's prefix gone": {strings.Replace(doc, `b:i`, `i`, 1), false},
		"an attribute more":          {strings.Replace(doc, `j="2"`, `j="2" k=""`, 1), false},
		"another text":               {strings.Replace(doc, "tail", "tale", 1), false},
		"another text inside":        {strings.Replace(doc, ">in<", ">out<", 1), false},
		"text in another place":      {strings.Replace(strings.Replace(doc, "tail", "", 1), "text", "texttail", 1), false},
		"an element less":            {strings.Replace(doc, "<a:y/>", "", 1), false},
		"an element more":            {strings.Replace(doc, "<a:y/>", "<a:y/><a:y/>", 1), false},
		"elements exchanged":         {strings.Replace(strings.Replace(doc, "<a:y/>", "<a:z>in</a:z>", 1), "tail<a:z>in</a:z>", "tail<a:y/>", 1), false},
	} {
		a, b := must(samlsp.Read([]byte(doc))), must(samlsp.Read([]byte(tc.doc)))
		if samlsp.Same(a, b) != tc.same || samlsp.Same(b, a) != tc.same {
			t.Errorf("%s: got %v", name, !tc.same)
		}
	}
}
