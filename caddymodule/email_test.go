package caddymodule_test

import (
	"net/http"
	"strings"
	"testing"

	"github.com/caddy-sso/caddy-sso/gateway/gatewaytest"
)

// mailSite shows all that an app is told.
const mailSite = `
ORIGIN {
	log
	PROVIDER
		OPTIONS
		role User *
	}
	respond "{http.request.header.Remote-User}|{http.request.header.Remote-Email}|{http.auth.user.email}|{http.request.header.X-Sso-Assertion}"
}
`

// told is what the app was told: the plain user name and e-mail, and the
// assertion's user name, e-mail and flag.
type told struct {
	user, email string
	claims      struct {
		Username string `json:"preferred_username"`
		Email    string `json:"email"`
		Verified bool   `json:"email_verified"`
	}
}

func toldBy(t *testing.T, body string) (got told) {
	t.Helper()
	parts := strings.Split(body, "|")
	if len(parts) != 4 || parts[1] != parts[2] {
		t.Fatalf("the app was told %q", body)
	}
	got.user, got.email = parts[0], parts[1]
	readClaims(t, body, &got.claims)
	if got.claims.Username != got.user || got.claims.Email != got.email {
		t.Errorf("the headers say %+v, the assertion %+v", got, got.claims)
	}
	return got
}

// TestUnverifiedEmail signs people in whose address is verified, is not, and is
// said nothing of, by OpenID Connect.
func TestUnverifiedEmail(t *testing.T) {
	w := newWorld(t)
	const alice = "alice@example.com"
	for _, tt := range []struct {
		name, options string
		flag          any // "missing": none
		called        any // preferred_username, if any
		user, email   string
		verified      bool
	}{
		{name: "verified", flag: true, user: "alice", email: alice, verified: true},
		{name: "verified, as a string", flag: "true", user: "alice", email: alice, verified: true},
		{name: "unverified is in no header", flag: false, user: "alice"},
		{name: "unverified, as a string", flag: "false", user: "alice"},
		{name: "anything else is false", flag: 1, user: "alice"},
		{name: "missing may be in a header", flag: "missing", user: "alice", email: alice},
		{name: "user name, verified", options: "username_claim email", flag: true, user: alice, email: alice, verified: true},
		{name: "user name, unverified", options: "username_claim email", flag: false},
		{name: "user name, unverified, as a string", options: "username_claim email", flag: "false"},
		{name: "user name, something else", options: "username_claim email", flag: "yes"},
		{name: "user name, null", options: "username_claim email", flag: nil},
		{name: "user name, missing", options: "username_claim email", flag: "missing"},
		{name: "user name, missing, trusted", options: "username_claim email\n\t\ttrust_email", flag: "missing", user: alice, email: alice},
		{name: "user name, unverified, trusted", options: "username_claim email\n\t\ttrust_email", flag: false, user: alice, email: alice},
		{name: "the usual claim is the unverified address", flag: false, called: "Alice@example.com"},
		{name: "the usual claim is the address, missing", flag: "missing", called: alice, user: alice, email: alice},
	} {
		t.Run("C7 "+tt.name, func(t *testing.T) {
			w.op.SetHooks(gatewaytest.OPHooks{Claims: func(claims map[string]any) {
				if claims["email_verified"] = tt.flag; tt.flag == "missing" {
					delete(claims, "email_verified")
				}
				if tt.called != nil {
					claims["preferred_username"] = tt.called
				}
			}})
			w.loadIn(t, w.global("limit off")+strings.Replace(mailSite, "OPTIONS", tt.options, 1))
			b := newBrowser(t)
			status, body := b.get(w.origin() + "/")
			if tt.user == "" {
				if status != http.StatusForbidden || !strings.Contains(body, "oidc_email_unverified") || b.cookie(w.origin()) != "" {
					t.Errorf("%d %.300q", status, body)
				}
				return
			}
			if status != http.StatusOK {
				t.Fatalf("%d %.300q", status, body)
			}
			if got := toldBy(t, body); got.user != tt.user || got.email != tt.email || got.claims.Verified != tt.verified {
				t.Errorf("got %+v", got)
			}
		})
	}
	t.Run("C7 the log names the option", func(t *testing.T) {
		line := lineWith(w.logs(), "oidc_email_unverified")
		if !strings.Contains(line, `"provider":"`) || !strings.Contains(line, `the subject \"a1ice-0001\"`) {
			t.Errorf("it does not say whose address: %s", line)
		}
		if !strings.Contains(line, "trust_email") || !strings.Contains(line, "email_verified is") {
			t.Errorf("it says %s", line)
		}
	})
}

// By SAML an address may be the user name as any NameID, and is told: there is
// no word for unverified.
func TestEmailBySAML(t *testing.T) {
	w := newWorld(t)
	idp := w.addIdP("corp")
	idp.SetHooks(gatewaytest.IdPHooks{Answer: func(a *gatewaytest.IdPAnswer) {
		a.NameID, a.NameIDFormat = "alice@corp.example", "urn:oasis:names:tc:SAML:1.1:nameid-format:emailAddress"
		a.Attributes = append(a.Attributes, gatewaytest.IdPAttribute{Name: "email_verified", Values: []string{"false"}})
	}})
	for option, user := range map[string]string{"clock_skew 5m": "alice@corp.example", "username_attribute mail": "alice@example.com"} {
		caddyfile := strings.NewReplacer("\tPROVIDER\n", "\tsso {\n", "OPTIONS", "provider corp").Replace(mailSite)
		w.loadIn(t, w.global(w.saml("corp", idp, option))+caddyfile)
		status, body := newBrowser(t).samlIn(w, "corp")
		if status != http.StatusOK {
			t.Fatalf("%d %.300q", status, body)
		}
		if got := toldBy(t, body); got.user != user || got.email != "alice@example.com" || got.claims.Verified {
			t.Errorf("%s: got %+v", option, got)
		}
	}
}
