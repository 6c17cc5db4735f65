package samlsp_test

import (
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

// TestCompleteKeycloak signs in by an answer of a real provider, both signed.
func TestCompleteKeycloak(t *testing.T) {
	t.Parallel()
	var about struct {
		IdP     string    `json:"idp_entity_id"`
		SP      string    `json:"sp_entity_id"`
		ACS     string    `json:"acs_url"`
		Request string    `json:"in_response_to"`
		Time    time.Time `json:"time"`
	}
	if err := json.Unmarshal(file(t, "keycloak-response.json"), &about); err != nil {
		t.Fatal(err)
	}
	for name, want := range map[string]samlsp.Switch{"assertions": samlsp.On, "responses": samlsp.Off} {
		t.Run(name, func(t *testing.T) {
			t.Parallel()
			doc, cert := file(t, "keycloak-response.xml"), file(t, "keycloak-response.crt")
			synctest.Test(t, func(t *testing.T) {
				time.Sleep(time.Until(about.Time))
				p, err := samlsp.New(samlsp.Config{
					EntityID: about.IdP, SSOURL: about.IdP, Certificates: []string{string(cert)}, WantAssertionsSigned: want,
				}, samlsp.Deps{})
				if err != nil {
					t.Fatal(err)
				}
				got, err := p.Complete(t.Context(), gateway.CompleteRequest{
					Params:  url.Values{"SAMLResponse": {base64.StdEncoding.EncodeToString(doc)}},
					Private: samlsp.Flow(about.Request, about.IdP, about.Time.Add(-time.Minute), false), CallbackURL: about.ACS, MetadataURL: about.SP,
				})
				if err != nil {
					t.Fatal(err)
				}
				t.Logf("%+v", got)
			})
		})
	}
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
