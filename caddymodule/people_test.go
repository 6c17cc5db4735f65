package caddymodule_test

import (
	"encoding/base64"
	"encoding/json"
	"fmt"
	"net/http"
	"os"
	"strings"
	"testing"

	"github.com/caddy-sso/caddy-sso/gateway/gatewaytest"
	"github.com/caddy-sso/caddy-sso/gateway/refusal"
)

// oidc is a provider for the global option sso.
func (w *world) oidc(name string, op *gatewaytest.OP, options ...string) string {
	w.t.Helper()
	ca := w.path(name + ".pem")
	if err := os.WriteFile(ca, op.Roots, 0o600); err != nil {
		w.t.Fatal(err)
	}
	return fmt.Sprintf("provider %s oidc {\n\t\t\tissuer %s\n\t\t\tclient_id `%s`\n\t\t\tclient_secret `%s`\n\t\t\tca %s\n\t\t\t%s\n\t\t}\n\t\t",
		name, op.Issuer, op.ClientID, op.ClientSecret, ca, strings.Join(options, "\n\t\t\t"))
}

// A source is a provider of either protocol whose one person can be renamed.
type source struct {
	provider func(options ...string) string
	rename   func(username, email string)
}

func (w *world) source(name, protocol string) source {
	w.t.Helper()
	if protocol == "saml" {
		idp := w.addIdP(name)
		return source{
			func(options ...string) string { return w.saml(name, idp, options...) },
			func(username, email string) {
				idp.SetHooks(gatewaytest.IdPHooks{Answer: func(a *gatewaytest.IdPAnswer) {
					a.NameID = username
					for i := range a.Attributes {
						if strings.Contains(strings.ToLower(a.Attributes[i].Name), "mail") {
							a.Attributes[i].Values = []string{email}
						}
					}
				}})
			},
		}
	}
	op := gatewaytest.NewOP(w.t, gatewaytest.OPOptions{})
	return source{
		func(options ...string) string { return w.oidc(name, op, options...) },
		func(username, email string) {
			op.SetHooks(gatewaytest.OPHooks{Claims: func(claims map[string]any) { claims["preferred_username"], claims["email"] = username, email }})
		},
	}
}

// twoPeoples is a site with the providers corp and partner, whose people are not
// the same.
const twoPeoples = `
ORIGIN {
	log
	sso {
		from corp {
			role Admin admins
			template full admins
			group team staff
		}
		from partner {
			role Guest *
			template guest *
			group guests staff admins
		}
		headers provider Remote-Provider
	}
	respond "{http.request.header.Remote-User}|{http.request.header.Remote-Email}|{http.request.header.Remote-Groups}|{http.request.header.Remote-Roles}|{http.request.header.Remote-Provider}|{http.auth.user.id} {http.auth.user.username}|{http.auth.user.email}|{http.auth.user.groups}|{http.auth.user.roles}|{http.auth.user.template}|{http.auth.user.provider}|{http.auth.user.account}|{http.auth.user.session}
{http.request.header.X-Sso-Assertion}"
}
`

// readClaims reads the assertion at the end of what the site answers.
func readClaims(t *testing.T, body string, into any) {
	t.Helper()
	parts := strings.Split(body, ".")
	if len(parts) < 3 {
		t.Fatalf("no assertion in %q", body)
	}
	payload, err := base64.RawURLEncoding.DecodeString(parts[len(parts)-2])
	if err != nil {
		t.Fatal(err)
	}
	if err := json.Unmarshal(payload, into); err != nil {
		t.Fatal(err)
	}
}

// TestPartnerSpeaksForNobodyElse has a partner assert of its alice, word for word,
// what corp asserts of its own: no header, claim or placeholder that an app could
// take her for corp's by is the same.
func TestPartnerSpeaksForNobodyElse(t *testing.T) {
	for _, protocols := range [][2]string{{"oidc", "oidc"}, {"saml", "saml"}, {"oidc", "saml"}, {"saml", "oidc"}} {
		t.Run(protocols[0]+" and "+protocols[1], func(t *testing.T) {
			w := newWorld(t)
			corp, partner := w.source("corp", protocols[0]), w.source("partner", protocols[1])
			load := func(space string) {
				t.Helper()
				w.loadIn(t, w.global(corp.provider("email_domains example.com")+partner.provider(space))+twoPeoples)
			}
			load("users prefix partner-")
			ours, theirs := newBrowser(t), newBrowser(t)
			status, ourBody := ours.samlIn(w, "corp")
			if plain, _, _ := strings.Cut(ourBody, "\n"); status != http.StatusOK || !strings.HasPrefix(plain, "alice|alice@example.com|team|Admin|corp|alice alice|alice@example.com|team|Admin|full|corp|") {
				t.Fatalf("corp's alice: %d %s", status, ourBody)
			}
			status, theirBody := theirs.samlIn(w, "partner")
			if plain, _, _ := strings.Cut(theirBody, "\n"); status != http.StatusOK || !strings.HasPrefix(plain, "partner-alice||guests|Guest|partner|partner-alice partner-alice||guests|Guest|guest|partner|") {
				t.Fatalf("the partner's alice: %d %s", status, theirBody)
			}
			ourValues, theirValues := strings.Split(ourBody, "|"), strings.Split(theirBody, "|")
			for i, value := range ourValues {
				if value == theirValues[i] {
					t.Errorf("value %d of both is %q", i, value)
				}
			}
			var our, their map[string]any
			readClaims(t, ourBody, &our)
			readClaims(t, theirBody, &their)
			for _, same := range []string{"iss", "aud", "name", "given_name", "family_name", "email_verified", "acr", "amr", "auth_time", "iat", "nbf", "exp"} { // nothing that an app knows people by
				delete(our, same)
				delete(their, same)
			}
			for name, value := range our {
				if fmt.Sprint(value) == fmt.Sprint(their[name]) {
					t.Errorf("the claim %s of both is %v", name, value)
				}
			}
			if len(our) < 9 {
				t.Errorf("only the claims %v were compared", our)
			}
			if status, body := theirs.do(mustRequest(t, w.origin()+"/.sso/session")); status != http.StatusOK || !strings.Contains(body, `"username":"partner-alice"`) || strings.Contains(body, "alice@example.com") {
				t.Errorf("the session is %d %s", status, body)
			}
			if line := lineWith(w.logs(), `"logger":"sso.audit","msg":"login","app":"localhost","provider":"partner"`); !strings.Contains(line, `"user":"partner-alice"`) {
				t.Errorf("the audit log has %s", line)
			}
			if !strings.Contains(w.logs(), `"user_id":"partner-alice"`) {
				t.Error("the access log does not name partner-alice")
			}

			// Another space holds at once for who is signed in.
			load("users suffix @partner")
			if status, body := theirs.do(mustRequest(t, w.origin())); status != http.StatusOK || !strings.HasPrefix(body, "alice@partner|") {
				t.Errorf("with another space: %d %s", status, body)
			}
			load("users domain partner.example")
			if status, body := theirs.do(mustRequest(t, w.origin())); status != http.StatusForbidden || !strings.Contains(body, string(refusal.UsernameForeign)) {
				t.Errorf("with a domain: %d %s", status, body)
			}
			load("users prefix ALI")
			if status, body := ours.do(mustRequest(t, w.origin())); status != http.StatusForbidden || !strings.Contains(body, string(refusal.UsernameForeign)) {
				t.Errorf("corp's alice beside a space that she falls into: %d %s", status, body)
			}
			load("users prefix partner-")
			for _, b := range []*browser{ours, theirs} {
				if status, body := b.do(mustRequest(t, w.origin())); status != http.StatusOK {
					t.Errorf("as at first: %d %s", status, body)
				}
			}

			// Nobody gets in by a name or an address of the other's.
			corp.rename("Partner-Alice", "alice@example.com")
			if status, body := newBrowser(t).samlIn(w, "corp"); status != http.StatusForbidden || !strings.Contains(body, string(refusal.UsernameForeign)) {
				t.Errorf("corp's Partner-Alice: %d %s", status, body)
			}
			load("users prefix partner-\nemail_domains partner.example")
			for email, want := range map[string]string{"bob@partner.example": "bob@partner.example", "alice@example.com": "", "bob@sub.partner.example": ""} {
				partner.rename("bob", email)
				if status, body := newBrowser(t).samlIn(w, "partner"); status != http.StatusOK || !strings.HasPrefix(body, "partner-bob|"+want+"|") {
					t.Errorf("the partner's %s: %d %s", email, status, body)
				}
			}
		})
	}
}

// TestTwoProvidersTurnOutToBeOne has two addresses of metadata that name one entity
// ID: nobody of either gets in, and the log says why.
func TestTwoProvidersTurnOutToBeOne(t *testing.T) {
	w := newWorld(t)
	idp := w.addIdP("corp")
	partner := strings.Replace(w.saml("corp", idp, "users prefix partner-"), "provider corp", "provider partner", 1)
	w.mustLoad(w.global(w.saml("corp", idp)+partner) + twoPeoples)
	for _, name := range []string{"corp", "partner"} {
		if status, body := newBrowser(t).samlIn(w, name); status != http.StatusForbidden || !strings.Contains(body, string(refusal.UsernameForeign)) {
			t.Errorf("%s: %d %s", name, status, body)
		}
	}
	line := lineWith(w.logs(), "two providers have the same issuer")
	for _, want := range []string{`"level":"error"`, "providers corp and partner name one issuer", "write `same_people corp partner`"} {
		if !strings.Contains(line, want) {
			t.Errorf("the log has no %q: %s", want, line)
		}
	}
}

// TestPeopleAtEverySite gives a provider's people the same name at a site of
// their own as at one that they share.
func TestPeopleAtEverySite(t *testing.T) {
	w := newWorld(t)
	w.mustLoad(w.global("") + strings.Replace(site, "PROVIDER\n", "PROVIDER\n\t\tusers suffix @op\n\t\temail_domains elsewhere.example\n", 1))
	status, body := newBrowser(t).get(w.origin())
	if status != http.StatusOK || !strings.HasPrefix(body, "id=alice@op email=alice@example.com roles=Admin groups=team ") {
		t.Errorf("%d %s", status, body)
	}
}

// TestDomainInUnicode has providers that say a domain in its other form.
func TestDomainInUnicode(t *testing.T) {
	for _, protocol := range []string{"oidc", "saml"} {
		w := newWorld(t)
		corp, partner := w.source("corp", "oidc"), w.source("partner", protocol)
		w.loadIn(t, w.global(corp.provider("email_domains example.com")+partner.provider("users domain xn--bcher-kva.example\nemail_domains bücher.example"))+twoPeoples)
		partner.rename("alice@bücher.example", "alice@xn--bcher-kva.example")
		if status, body := newBrowser(t).samlIn(w, "partner"); status != http.StatusOK || !strings.HasPrefix(body, "alice@b%C3%BCcher.example|alice@xn--bcher-kva.example|") {
			t.Errorf("%s: %d %s", protocol, status, body)
		}
		corp.rename("bob@bücher.example", "bob@example.com")
		if status, body := newBrowser(t).samlIn(w, "corp"); status != http.StatusForbidden || !strings.Contains(body, string(refusal.UsernameForeign)) {
			t.Errorf("corp's bob in the partner's domain: %d %s", status, body)
		}
	}
}
