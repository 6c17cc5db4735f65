package caddymodule_test

import (
	"cmp"
	"encoding/pem"
	"net/http"
	"os"
	"strings"
	"sync/atomic"
	"testing"

	"github.com/caddy-sso/caddy-sso/gateway/gatewaytest"
)

// TestLoginCountsUnderItsDefinition has one issuer in two definitions. A login
// under one of them is none under the other, and counts again under the
// first: the person signs in anew, and the app is told what is true now.
func TestLoginCountsUnderItsDefinition(t *testing.T) {
	w := newWorld(t)
	idp := w.addIdP("corp")
	idp.SetHooks(gatewaytest.IdPHooks{Answer: func(a *gatewaytest.IdPAnswer) {
		a.Attributes = append(a.Attributes, gatewaytest.IdPAttribute{Name: "nick", Values: []string{"root"}}, gatewaytest.IdPAttribute{Name: "self", Values: []string{"admins"}})
	}})
	w.op.SetHooks(gatewaytest.OPHooks{Claims: func(claims map[string]any) { claims["nick"], claims["self"] = "root", []any{"admins"} }})
	oidc := func(name string, options ...string) string {
		return strings.Replace(w.oidc("corp", w.op, options...), "provider corp", "provider "+name, 1)
	}
	saml := func(name string, options ...string) string {
		return strings.Replace(w.saml("corp", idp, options...), "provider corp", "provider "+name, 1)
	}
	const site = `
ORIGIN {
	sso {
		provider PROVIDERS
		role User *
	}
	respond "{http.auth.user.id} of {http.auth.user.provider}, {http.request.header.Remote-User}"
}
`
	at := func(t *testing.T, site, definitions, providers string) {
		t.Helper()
		if strings.Contains(providers, " ") {
			providers += "\n\t\tsame_people " + providers
		}
		w.loadIn(t, w.global(definitions)+strings.Replace(site, "PROVIDERS", providers, 1))
	}
	for protocol, tt := range map[string]struct {
		define  func(string, ...string) string
		changed []string // definitions
		same    []string // what decides nothing
	}{
		"oidc": {
			oidc,
			[]string{"username_claim nick", "groups_claim self", "insecure_no_pkce", "insecure_http_issuer"},
			[]string{"scopes openid email", "lifetime 2h", "display_name Corporate", "logout provider", "token_auth client_secret_post", "username_claim preferred_username"},
		},
		"saml": {
			saml,
			[]string{
				"username_attribute nick", "groups_attribute self", "id_attribute mail", "email_attribute nick", "sp_entity_id urn:other", "name_id_format emailAddress",
				"want_assertions_signed off", "clock_skew 1m", "insecure_sha1", "display_name_attribute nick",
			},
			[]string{"lifetime 2h", "request_binding post", "sign_requests on", "want_assertions_signed on", "entity_id " + idp.EntityID},
		},
	} {
		signedIn := func(t *testing.T, b *browser, want string) {
			t.Helper()
			status, body := b.do(mustRequest(t, w.origin()))
			if want == "" && status != http.StatusUnauthorized || want != "" && (status != http.StatusOK || body != want) {
				t.Errorf("%d %q, want %q", status, body, want)
			}
		}
		t.Run(protocol, func(t *testing.T) {
			at(t, site, tt.define("corp"), "corp")
			b := newBrowser(t)
			if status, body := b.samlIn(w, "corp"); status != http.StatusOK || body != "alice of corp, alice" {
				t.Fatalf("signing in: %d %q", status, body)
			}
			anew := make([]*browser, len(tt.changed))
			for i := range anew {
				anew[i] = newBrowser(t)
				anew[i].samlIn(w, "corp")
			}
			for _, option := range tt.same {
				at(t, site, tt.define("corp", option), "corp")
				signedIn(t, b, "alice of corp, alice")
			}
			at(t, site, tt.define("renamed"), "renamed")
			signedIn(t, b, "alice of renamed, alice")
			for i, option := range tt.changed {
				t.Run(option, func(t *testing.T) {
					at(t, site, tt.define("corp", option), "corp")
					signedIn(t, b, "")
					if _, body := anew[i].samlIn(w, "corp"); strings.Contains(body, "as=other") {
						t.Errorf("whoever signs in anew is asked: %s", body)
					}
					// One site has both: each takes its own.
					at(t, site, tt.define("corp", option)+tt.define("other"), "corp other")
					signedIn(t, b, "alice of other, alice")
				})
			}
			at(t, site, tt.define("corp"), "corp")
			signedIn(t, b, "alice of corp, alice") // nobody was signed out for good
			at(t, site, tt.define("corp", tt.changed[0]), "corp")
			if status, body := b.samlIn(w, "corp"); status != http.StatusOK || body != "root of corp, root" {
				t.Errorf("after the mended option: %d %q", status, body)
			}
			at(t, site, tt.define("other")+tt.define("corp", tt.changed[0]), "other corp")
			signedIn(t, b, "root of corp, root")
		})
	}
}

// TestTwoDefinitionsOfOneHost has two sso at one host. A link to the second one
// does not replace the session of the first without a question.
func TestTwoDefinitionsOfOneHost(t *testing.T) {
	w := newWorld(t)
	idp := w.addIdP("saml")
	var bob atomic.Bool
	idp.SetHooks(gatewaytest.IdPHooks{Answer: func(a *gatewaytest.IdPAnswer) {
		if bob.Load() {
			a.NameID = "bob"
		}
	}})
	w.op.SetHooks(gatewaytest.OPHooks{Claims: func(claims map[string]any) {
		if bob.Load() {
			claims["sub"], claims["preferred_username"] = "b0b-0002", "bob"
		}
	}})
	saml := strings.TrimPrefix(w.saml("saml", idp), "provider saml ")
	w.mustLoad(w.global(w.oidc("oidc-one", w.op)+w.oidc("oidc-two", w.op, "insecure_no_pkce")+"provider saml-one "+saml+
		"\n\t\tprovider saml-two "+strings.Replace(saml, "{", "{\n\t\t\tclock_skew 1m", 1)+"\n\t\tsame_people oidc-one oidc-two saml-one saml-two") + `
ORIGIN {
	handle /two/* {
		sso {
			nested
			app two
			prefix /two/.sso
			provider oidc-two saml-two
			role User *
		}
		respond "{http.auth.user.id} at two"
	}
	handle {
		sso {
			nested
			provider oidc-one saml-one
			role User *
		}
		respond "{http.auth.user.id} at one"
	}
}
`)
	for _, from := range []string{"oidc", "saml"} {
		for _, to := range []string{"oidc", "saml"} {
			t.Run(from+", then "+to, func(t *testing.T) {
				bob.Store(false)
				b := newBrowser(t)
				if status, body := b.samlIn(w, from+"-one"); status != http.StatusOK || body != "alice at one" {
					t.Fatalf("signing in: %d %q", status, body)
				}
				bob.Store(true)
				status, body, _ := b.visit(w.origin()+"/two/.sso/login?provider="+to+"-two&return=%2Ftwo%2Fwanted", nil)
				if status != http.StatusOK || !strings.Contains(body, "<bdi>alice</bdi>") || !strings.Contains(body, `action="/two/.sso/login?as=other`) {
					t.Errorf("nobody is asked: %d %q", status, body)
				}
				if status, body := b.do(mustRequest(t, w.origin())); status != http.StatusOK || body != "alice at one" {
					t.Errorf("afterwards: %d %q", status, body)
				}
			})
		}
	}
}

// TestLoginCountsUnderItsKeys has one issuer whose keys come from two places. A
// login by the keys of one is none where the other's count.
func TestLoginCountsUnderItsKeys(t *testing.T) {
	w := newWorld(t)
	idp := w.addIdP("corp")
	other, err := gatewaytest.NewIdPKey()
	if err != nil {
		t.Fatal(err)
	}
	key, metadata := idp.Key, idp.Metadata()
	idp.Key = other
	foreign := idp.Metadata()
	idp.Key = key
	write := func(name, content string) string {
		if err := os.WriteFile(w.path(name), []byte(content), 0o600); err != nil {
			t.Fatal(err)
		}
		return w.path(name)
	}
	inPEM := func(der []byte) string {
		return string(pem.EncodeToMemory(&pem.Block{Type: "CERTIFICATE", Bytes: der}))
	}
	inline := func(doc string) string { return "metadata <<XML_DOC\n" + doc + "\nXML_DOC" }
	hand := "entity_id " + idp.EntityID + "\nsso_url " + idp.EntityID + gatewaytest.IdPSSOPath
	one, two := write("k1.pem", inPEM(key.Certificate)), write("k2.pem", inPEM(other.Certificate))
	url, ca := "metadata "+idp.EntityID+gatewaytest.IdPMetadataPath, write("ca2.pem", string(idp.Roots))
	opCA, err := os.ReadFile(w.path("ca.pem"))
	if err != nil {
		t.Fatal(err)
	}
	client := "issuer " + w.op.Issuer + "\nclient_id `" + w.op.ClientID + "`\nclient_secret {env.SSO_TEST_CLIENT_SECRET}\nca "
	for name, tt := range map[string]struct{ kind, good, same, partner string }{
		"certificate":      {"saml", hand + "\ncertificate " + one, hand + "\ncertificate {file." + one + "}\nrequest_binding post", hand + "\ncertificate " + two},
		"sso_url":          {"saml", hand + "\ncertificate " + one, "", hand + "?x\ncertificate " + one},
		"file of metadata": {"saml", "metadata " + write("m1.xml", metadata), "", "metadata " + write("m2.xml", foreign)},
		"inline metadata":  {"saml", inline(metadata), inline(metadata + "<!-- -->"), inline(foreign)},
		"ca":               {"saml", url + "\nca " + w.path("corp.pem"), "", url + "\nca " + ca},
		"ca, OIDC":         {"oidc", client + w.path("ca.pem"), "", client + write("ca3.pem", string(opCA))},
	} {
		t.Run(name, func(t *testing.T) {
			at := func(b *browser, options string, want int) {
				t.Helper()
				w.loadIn(t, w.global("limit off\nprovider corp "+tt.kind+" {\n"+options+"\n}\n")+samlSite)
				if status, body := b.do(mustRequest(t, w.origin())); status != want {
					t.Errorf("%d %q, want %d", status, body, want)
				}
			}
			b := newBrowser(t)
			at(b, tt.good, http.StatusUnauthorized)
			if status, body := b.samlIn(w, "corp"); status != http.StatusOK {
				t.Fatalf("signing in: %d %q", status, body)
			}
			at(b, cmp.Or(tt.same, tt.good), http.StatusOK)
			at(b, tt.partner, http.StatusUnauthorized)
			at(b, tt.good, http.StatusOK)
		})
	}
}
