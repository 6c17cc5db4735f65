package caddymodule_test

import (
	"net/http"
	"net/http/httptest"
	"strings"
	"testing"

	"github.com/caddy-sso/caddy-sso/gateway/gatewaytest"
)

// oddSite lets staff in, and shows whom it is told of.
const oddSite = `
ORIGIN {
	log
	PROVIDER
		RULES
	}
	respond "{http.request.header.Remote-User}|{http.request.header.Remote-Email}|{http.request.header.Remote-Name}"
}
`

const (
	byRole     = "role User staff"
	byTemplate = "template Guest guests\n\t\ttemplate Full staff"
	byAbsence  = "template Guest guests\n\t\ttemplate Full *"
	everybody  = "role User *"
)

// TestOddOIDC signs people in whose provider says odd things, each beside its
// control: what decides nothing keeps nobody out, and what is not known denies.
func TestOddOIDC(t *testing.T) {
	w := newWorld(t)
	refuses := func(status int, header ...string) map[string]http.HandlerFunc {
		return map[string]http.HandlerFunc{gatewaytest.OPUserInfoPath: func(rw http.ResponseWriter, _ *http.Request) {
			for i := 0; i < len(header); i += 2 {
				rw.Header().Set(header[i], header[i+1])
			}
			rw.WriteHeader(status)
		}}
	}
	set := func(name string, value any) func(map[string]any) { return func(m map[string]any) { m[name] = value } }
	without := func(name string) func(map[string]any) { return func(m map[string]any) { delete(m, name) } }
	plain := func(op *gatewaytest.OP, path string) map[string]http.HandlerFunc {
		return map[string]http.HandlerFunc{path: func(rw http.ResponseWriter, r *http.Request) {
			rec := httptest.NewRecorder()
			op.ServeAltered(rec, r, http.StatusOK, "application/json")
			rw.Header().Set("Content-Type", "text/plain")
			_, _ = rw.Write(append([]byte("\ufeff"), rec.Body.Bytes()...))
		}}
	}
	typed := func(op *gatewaytest.OP, contentType string) map[string]http.HandlerFunc {
		serve := func(rw http.ResponseWriter, r *http.Request) { op.ServeAltered(rw, r, http.StatusOK, contentType) }
		return map[string]http.HandlerFunc{gatewaytest.OPTokenPath: serve, gatewaytest.OPUserInfoPath: serve, gatewaytest.OPJWKSPath: serve, gatewaytest.OPDiscoveryPath: serve}
	}
	const alice = "alice|alice@example.com|Alice %C3%85ngstr%C3%B6m"
	for rules, cases := range map[string][]struct {
		name   string
		hooks  gatewaytest.OPHooks
		status int
		want   string // of the app, or the code of the refusal
		log    string
	}{
		byRole: {
			{"as it is", gatewaytest.OPHooks{}, 200, alice, ""},
			{"name: null", gatewaytest.OPHooks{Claims: set("name", nil)}, 200, alice, ""},
			{"name: a list", gatewaytest.OPHooks{Claims: set("name", []string{"A", "B"})}, 200, alice, `"claim":"name"`},
			{"amr: text", gatewaytest.OPHooks{Claims: set("amr", "pwd")}, 200, alice, `"claim":"amr"`},
			{"auth_time: text", gatewaytest.OPHooks{Claims: set("auth_time", "1")}, 200, alice, `"claim":"auth_time"`},
			{"jku", gatewaytest.OPHooks{Header: set("jku", "https://evil.test/jwks")}, 200, alice, ""},
			{"an odd group among others", gatewaytest.OPHooks{Claims: set("groups", []any{"staff", nil, ""})}, 200, alice, `"claim":"groups"`},
			{"an e-mail that is none", gatewaytest.OPHooks{Claims: set("email", "n/a"), UserInfo: without("email")}, 200, "alice||Alice %C3%85ngstr%C3%B6m", `"claim":"email"`},
			{"empty endpoints", gatewaytest.OPHooks{Discovery: set("end_session_endpoint", "")}, 200, alice, ""},
			{"discovery as text, with a mark", gatewaytest.OPHooks{Serve: plain(w.op, gatewaytest.OPDiscoveryPath)}, 200, alice, ""},
			{"sub: a number", gatewaytest.OPHooks{Claims: set("sub", 7)}, 400, "oidc_claim_invalid", ""},
			{"user name: a list", gatewaytest.OPHooks{Claims: set("preferred_username", []string{"alice"})}, 400, "oidc_claim_invalid", ""},
			{"groups refused by userinfo", gatewaytest.OPHooks{Claims: without("groups"), Serve: refuses(401)}, 403, "access_denied", `the claim \"groups\" is not in the ID token, and userinfo can't be had`},
			{"groups, userinfo is busy", gatewaytest.OPHooks{Claims: without("groups"), Serve: refuses(429, "Retry-After", "17")}, 503, "provider_unavailable", ""},
		},
		byTemplate: {
			{"as it is, by a template", gatewaytest.OPHooks{}, 200, alice, ""},
			{"an odd group before a template", gatewaytest.OPHooks{Claims: set("groups", []any{"staff", nil})}, 403, "access_denied", "not all groups could be read"},
		},
		byAbsence: { // by a request whose scope the person has changed, as the provider says
			{"profile taken out, with groups", gatewaytest.OPHooks{Token: set("scope", "openid email")}, 200, alice, ""},
			{"profile taken out, with the groups", gatewaytest.OPHooks{Token: set("scope", "openid email"), Claims: without("groups"), UserInfo: without("groups")}, 403, "access_denied", `not granted the scope \"profile\"`},
			{"groups that are none", gatewaytest.OPHooks{Token: set("scope", "openid email profile"), Claims: without("groups"), UserInfo: without("groups")}, 200, alice, ""},
		},
		everybody: {
			{"a name that is an unverified address", gatewaytest.OPHooks{Claims: func(m map[string]any) {
				m["name"], m["email"], m["email_verified"] = "o'brien@example.com", "o'brien@example.com", false
			}}, 200, "alice||Alice %C3%85ngstr%C3%B6m", "leaving out an e-mail address"},
			{"odd parameters of a content type", gatewaytest.OPHooks{Claims: without("groups"), Serve: typed(w.op, "application/json; utf-8")}, 200, alice, ""},
			{"groups that nobody needs", gatewaytest.OPHooks{Claims: without("groups"), Serve: refuses(401)}, 200, alice, ""},
			{"no user name", gatewaytest.OPHooks{Claims: without("preferred_username"), Serve: refuses(401)}, 403, "no_username", `the claim \"preferred_username\" is not in the ID token`},
		},
	} {
		for i, tt := range cases {
			t.Run(tt.name, func(t *testing.T) {
				w.op.SetHooks(tt.hooks)
				if _, again := tt.hooks.Serve[gatewaytest.OPDiscoveryPath]; i == 0 || again || tt.hooks.Discovery != nil {
					w.loadIn(t, w.global("limit off")+strings.Replace(oddSite, "RULES", rules, 1))
				}
				before := len(w.logs())
				b := newBrowser(t)
				status, body := b.get(w.origin() + "/")
				if status != tt.status || !strings.Contains(body, tt.want) || status == 200 && body != tt.want || (status == 200) != (b.cookie(w.origin()) != "") {
					t.Errorf("%d %.300q", status, body)
				}
				if log := w.logs()[before:]; !strings.Contains(log, tt.log) {
					t.Errorf("the log lacks %s", tt.log)
				}
			})
		}
	}
}

// TestOddSAML does the same for SAML.
func TestOddSAML(t *testing.T) {
	w := newWorld(t)
	idp := w.addIdP("corp")
	attribute := func(name string, values ...string) func(*gatewaytest.IdPAnswer) {
		return func(a *gatewaytest.IdPAnswer) {
			for i := range a.Attributes {
				if a.Attributes[i].Name == name {
					a.Attributes[i].Values = values
					return
				}
			}
			a.Attributes = append(a.Attributes, gatewaytest.IdPAttribute{Name: name, Values: values})
		}
	}
	const alice = "alice|alice@example.com|Alice %C3%85ngstr%C3%B6m"
	for rules, cases := range map[string][]struct {
		name   string
		answer func(*gatewaytest.IdPAnswer)
		status int
		want   string
		log    string
	}{
		byRole: {
			{"as it is", nil, 200, alice, ""},
			{"two e-mails, the first counts", attribute("mail", "alice@example.com", "al@example.com"), 200, alice, ""},
			{"an e-mail that is none", attribute("mail", "n/a"), 200, "alice||Alice %C3%85ngstr%C3%B6m", `"attribute":"mail"`},
			{"an empty group among others", attribute("groups", "staff", ""), 200, alice, `"attribute":"groups"`},
			{"blanks around the audience", func(a *gatewaytest.IdPAnswer) { a.Audience = "\n\t" + a.Audience + "\n" }, 200, alice, ""},
			{"another audience", func(a *gatewaytest.IdPAnswer) { a.Audience += "x" }, 400, "saml_audience_mismatch", ""},
		},
		byTemplate: {
			{"as it is, by a template", nil, 200, alice, ""},
			{"an empty group before a template", attribute("groups", "staff", ""), 403, "access_denied", "not all groups could be read"},
		},
	} {
		w.mustLoad(w.global("limit off\n\t\t"+w.saml("corp", idp)) + strings.NewReplacer("\tPROVIDER\n", "\tsso {\n", "RULES", rules).Replace(oddSite))
		for _, tt := range cases {
			t.Run(tt.name, func(t *testing.T) {
				idp.SetHooks(gatewaytest.IdPHooks{Answer: tt.answer})
				before := len(w.logs())
				b := newBrowser(t)
				status, body := b.samlIn(w, "corp")
				if status != tt.status || !strings.Contains(body, tt.want) || status == 200 && body != tt.want {
					t.Errorf("%d %.300q", status, body)
				}
				if log := w.logs()[before:]; !strings.Contains(log, tt.log) {
					t.Errorf("the log lacks %s", tt.log)
				}
			})
		}
	}
}
