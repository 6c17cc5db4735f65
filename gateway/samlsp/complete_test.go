package samlsp_test

import (
	"bytes"
	"encoding/base64"
	"encoding/json"
	"net/url"
	"reflect"
	"testing"
	"testing/synctest"
	"time"

	"github.com/caddy-sso/caddy-sso/gateway"
	"github.com/caddy-sso/caddy-sso/gateway/samlsp"
)

// A fixture is a provider's real answer, and what it was an answer to.
type fixture struct {
	IdP     string    `json:"idp_entity_id"`
	SP      string    `json:"sp_entity_id"`
	ACS     string    `json:"acs_url"`
	Request string    `json:"in_response_to"`
	Time    time.Time `json:"time"`
}

func keycloak(t testing.TB) (f fixture) {
	t.Helper()
	if err := json.Unmarshal(file(t, "keycloak-response.json"), &f); err != nil {
		t.Fatal(err)
	}
	return f
}

// judge judges a document as the answer, at its time. It runs in a bubble.
func (f *fixture) judge(t testing.TB, doc, cert []byte, want samlsp.Switch) (*gateway.Answer, error) {
	t.Helper()
	time.Sleep(time.Until(f.Time))
	p := must(samlsp.New(samlsp.Config{
		EntityID: f.IdP, SSOURL: f.IdP, Certificates: []string{string(cert)}, WantAssertionsSigned: want,
	}, samlsp.Deps{}))
	return p.Complete(t.Context(), gateway.CompleteRequest{
		Params:  url.Values{"SAMLResponse": {base64.StdEncoding.EncodeToString(doc)}},
		Private: samlsp.Flow(f.Request, f.IdP, f.Time.Add(-time.Minute), false), CallbackURL: f.ACS, MetadataURL: f.SP,
	})
}

// TestCompleteKeycloak signs in by an answer of a real provider, both signed.
func TestCompleteKeycloak(t *testing.T) {
	t.Parallel()
	f := keycloak(t)
	doc, cert := file(t, "keycloak-response.xml"), file(t, "keycloak-response.crt")
	for name, want := range map[string]samlsp.Switch{"D4 assertions": samlsp.On, "D4 responses": samlsp.Off} {
		t.Run(name, func(t *testing.T) {
			t.Parallel()
			synctest.Test(t, func(t *testing.T) {
				got, err := f.judge(t, doc, cert, want)
				if err != nil {
					t.Fatal(err)
				}
				if got.Identity.Username != "alice" || got.Identity.Email == "" || got.Subject == "" || got.SessionID == "" || !got.NotAfter.After(f.Time) {
					t.Errorf("got %+v", got)
				}
			})
		})
	}
}

// FuzzComplete judges a changed answer: none may panic, and none gets in but
// what says the same.
func FuzzComplete(f *testing.F) {
	about := keycloak(f)
	doc, cert := file(f, "keycloak-response.xml"), file(f, "keycloak-response.crt")
	f.Add(doc)
	f.Add(bytes.Replace(doc, []byte(">alice<"), []byte("><!-- -->al<![CDATA[i]]>&#99;e<"), 1))
	f.Add([]byte(control))
	f.Fuzz(func(t *testing.T, changed []byte) {
		synctest.Test(t, func(t *testing.T) {
			want, err := about.judge(t, doc, cert, samlsp.On)
			if err != nil {
				t.Fatal(err)
			}
			got, err := about.judge(t, changed, cert, samlsp.On)
			if err == nil && !reflect.DeepEqual(got, want) {
				t.Errorf("got %+v, want %+v", got, want)
			}
			if err != nil && (got != nil || gateway.RefusalOf(gateway.CodeOf(err)).Status >= 500) {
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
			p, err := parsePlan("signed " + signed + "\nsign")
			if err != nil {
				t.Fatal(err)
			}
			a := &attack{plan: p}
			got, err := a.try(t, l, a.form(t, l, false))
			if err != nil {
				t.Fatal(err)
			}
			want := &gateway.Answer{
				Identity: gateway.Identity{
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
	for code, tc := range map[gateway.Code]struct{ lines, log string }{
		gateway.CodeSAMLMalformed:       {"sign\nprepend \"<!DOCTYPE x>\"", "line 1"},
		gateway.CodeSAMLUnsigned:        {"sign .", "want_assertions_signed off"},
		gateway.CodeSAMLSignature:       {"sign saml:Assertion key=evil", "no trusted key"},
		gateway.CodeSAMLAlgorithm:       {"sign saml:Assertion alg=rsa-sha1", "SHA-1"},
		gateway.CodeSAMLEncrypted:       {"insert into . <saml:EncryptedAssertion/>", "encrypted"},
		gateway.CodeSAMLIssuerMismatch:  {"set saml:Assertion/saml:Issuer urn:other", "it is \"urn:other\", expected is \"" + idpEntity + "\""},
		gateway.CodeSAMLDestination:     {"set .@Destination http://here.test/", "it is \"http://here.test/\", ours is \"" + acsURL + "\""},
		gateway.CodeSAMLRequestMismatch: {"unset .@InResponseTo", "was not asked for"},
		gateway.CodeSAMLAudience:        {"set " + conditions + "/saml:AudienceRestriction/saml:Audience urn:x", "it is \"urn:x\", we are \"" + spEntity + "\""},
		gateway.CodeSAMLTime:            {"set " + conditions + "@NotOnOrAfter 2001-01-01T00:00:00Z", "2001-01-01T00:00:00Z"},
		gateway.CodeSAMLSubject:         {"remove saml:Assertion/saml:Subject/saml:NameID", "NameID stands 0 times"},
		gateway.CodeSAMLCondition:       {"remove " + statement, "no AuthnStatement"},
		gateway.CodeSAMLAttribute:       {"option id_attribute no\npad 0", "id attribute"},
		gateway.CodeTooLarge:            {"pad 0\nappend \"{ *1048576}\"", "larger than"},
		gateway.CodeProviderRefused:     {"set samlp:Status/samlp:StatusCode@Value urn:oasis:names:tc:SAML:2.0:status:Responder", "the provider says Responder"},
	} {
		t.Run(string(code), func(t *testing.T) {
			t.Parallel()
			_, err := judged(t, tc.lines)
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
	p := byURL(t, from, samlsp.Deps{})
	l := newLogin()
	complete := func(lines string) error {
		_, err := p.Complete(t.Context(), gateway.CompleteRequest{
			Params:  must(must(parsePlan(lines)).message(l)),
			Private: samlsp.Flow(l.request, idpEntity, l.begun, false), CallbackURL: acsURL, MetadataURL: spEntity,
		})
		return err
	}
	if err := complete("sign saml:Assertion alg=ecdsa-sha256 key=idp-ec"); err != nil {
		t.Fatal(err)
	}
	before := from.asked()
	e.keys = []string{keyDescriptor("signing", b64(certificates()["idp"]))}
	from.serve(e)
	if err := complete("sign"); err != nil {
		t.Errorf("the new key: %v", err)
	}
	wantCode(t, complete("sign saml:Assertion alg=ecdsa-sha256 key=idp-ec"), gateway.CodeSAMLSignature)
	for range 20 {
		wantCode(t, complete("sign saml:Assertion key=evil"), gateway.CodeSAMLSignature)
	}
	if n := from.asked() - before; n != 1 {
		t.Errorf("the metadata were fetched %d times", n)
	}
}
