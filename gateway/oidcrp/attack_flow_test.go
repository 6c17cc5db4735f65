package oidcrp_test

import (
	"maps"
	"net/http"
	"net/url"
	"strings"
	"testing"

	"github.com/caddy-sso/caddy-sso/gateway"
	"github.com/caddy-sso/caddy-sso/gateway/gatewaytest"
)

// A flowAttack is an attack on a login as a whole: by other browsers, other
// sites and other providers, with pieces of real logins.
type flowAttack struct {
	name string
	// play is the control, which signs in, or with evil the attack. It returns
	// what its last request led to.
	play func(s *scene, evil bool) outcome
	code gateway.Code // of the refusal
	// restarts is for attacks that lead to a login begun anew instead, at corp.
	restarts bool
}

// TestAttackOIDCFlow plays every attack, each behind its control, and looks
// for what it left.
func TestAttackOIDCFlow(t *testing.T) {
	t.Parallel()
	seen := map[string]bool{}
	for _, a := range flowAttacks() {
		if seen[a.name] {
			t.Errorf("two attacks are called %s", a.name)
		}
		seen[a.name] = true
		t.Run(a.name, func(t *testing.T) {
			t.Parallel()
			s := newScene(t)
			if got := a.play(s, false); got.code != "" || !got.signedIn || s.kept("login") != 1 || s.kept("account") != 1 {
				t.Fatalf("the control does not sign in: %+v, %v", got, s.store.Keys())
			}
			s = newScene(t)
			got := a.play(s, true)
			if got.signedIn || got.user != "" || got.code != a.code {
				t.Errorf("got %+v, want %q", got, a.code)
			}
			if a.restarts != strings.HasPrefix(got.location, s.corp.Issuer) || !a.restarts && got.location != "" {
				t.Errorf("is sent to %q", got.location)
			}
			if s.left() != s.noted {
				t.Errorf("state is left: %v", s.store.Keys())
			}
		})
	}
}

func flowAttacks() []flowAttack {
	list := append(mixUps(), crossings()...)
	list = append(list, changes()...)
	return append(list, requests()...)
}

// mixUps confuse one provider with another (RFC 9700 §4.4).
func mixUps() []flowAttack {
	mismatch := gateway.CodeOIDCIssuerMismatch
	atEvil := func(s *scene, evil bool, hooks func(v *visitor) gatewaytest.OPHooks) outcome {
		v := s.visitor(hereHost)
		if evil {
			s.evil.SetHooks(hooks(v))
		}
		return v.bring(v.answer(s.evil, v.begin("evil")))
	}
	return []flowAttack{
		{name: "mix-up/an honest provider's answer in a login at another", play: func(s *scene, evil bool) outcome {
			v := s.visitor(hereHost)
			at := v.begin("evil")
			if !evil {
				return v.bring(v.answer(s.evil, at))
			}
			// evil sends the browser on to corp, as the gateway would.
			other := s.visitor(hereHost).begin("corp")
			return v.bring(v.answer(s.corp, withParam(s.t, other, "state", param(s.t, at, "state"))))
		}, code: mismatch},
		{name: "mix-up/an answer that claims to be an honest provider's", play: func(s *scene, evil bool) outcome {
			return atEvil(s, evil, func(*visitor) gatewaytest.OPHooks {
				return gatewaytest.OPHooks{Answer: func(p url.Values) { p.Set("iss", s.corp.Issuer) }}
			})
		}, code: mismatch},
		{name: "mix-up/a token in an honest provider's name", play: func(s *scene, evil bool) outcome {
			return atEvil(s, evil, func(*visitor) gatewaytest.OPHooks { return gatewaytest.OPHooks{Claims: setIn("iss", s.corp.Issuer)} })
		}, code: mismatch},
		{name: "mix-up/an honest provider's token passed on", play: func(s *scene, evil bool) outcome {
			return atEvil(s, evil, func(*visitor) gatewaytest.OPHooks {
				return gatewaytest.OPHooks{IDToken: func(jws string) string {
					return gatewaytest.SignJWS(map[string]any{"alg": "ES256", "kid": s.corp.Key.KID}, payloadOf(jws), s.corp.Key.Signer)
				}}
			})
		}, code: gateway.CodeOIDCSignature},
		{name: "mix-up/a document in an honest provider's name", play: func(s *scene, evil bool) outcome {
			v := s.visitor(hereHost)
			if evil {
				s.evil.SetHooks(gatewaytest.OPHooks{Discovery: setIn("issuer", s.corp.Issuer)})
				return v.ask("/.sso/login?provider=evil")
			}
			return v.bring(v.answer(s.evil, v.begin("evil")))
		}, code: mismatch},
		{name: "mix-up/an error of another provider", play: func(s *scene, evil bool) outcome {
			v := s.visitor(hereHost)
			got := v.answer(s.corp, v.begin("corp"))
			if evil {
				got.Del("code")
				got.Set("error", "access_denied")
				got.Set("iss", s.evil.Issuer)
			}
			return v.bring(got)
		}, code: mismatch},
	}
}

// TestAttackOIDCMixUpWithoutIss plays what a malicious provider can do where
// another one of the app does not name itself in its answers, as SECURITY.md
// says. If this test fails because it no longer can, that is good news for
// SECURITY.md.
func TestAttackOIDCMixUpWithoutIss(t *testing.T) {
	t.Parallel()
	for _, tt := range []struct {
		name  string
		named bool // corp names itself
		code  gateway.Code
	}{
		{"the provider names itself", true, gateway.CodeOIDCIssuerMismatch},
		{"the provider does not", false, gateway.CodeProviderUnavailable},
	} {
		t.Run(tt.name, func(t *testing.T) {
			t.Parallel()
			s := newScene(t)
			if !tt.named {
				s.corp.SetHooks(gatewaytest.OPHooks{
					Answer: func(p url.Values) { p.Del("iss") }, Discovery: deleteFrom("authorization_response_iss_parameter_supported"),
				})
			}
			var code string
			s.evil.SetHooks(gatewaytest.OPHooks{
				Discovery: deleteFrom("authorization_response_iss_parameter_supported"),
				Serve: map[string]http.HandlerFunc{gatewaytest.OPTokenPath: func(w http.ResponseWriter, r *http.Request) {
					code = r.PostFormValue("code")
					w.WriteHeader(http.StatusInternalServerError)
				}},
			})
			attacker, victim := s.visitor(hereHost), s.visitor(hereHost)
			atCorp, atEvil := attacker.begin("corp"), victim.begin("evil")
			// evil sends the victim on to corp with the attacker's own challenge and
			// nonce, so that the code fits the attacker's login.
			got := victim.bring(victim.answer(s.corp, withParam(t, atCorp, "state", param(t, atEvil, "state"))))
			if got.signedIn || got.code != tt.code {
				t.Errorf("the victim got %+v, want %s", got, tt.code)
			}
			in := attacker.bring(url.Values{"code": {code}, "state": {param(t, atCorp, "state")}})
			if in.signedIn == tt.named || (code == "") != tt.named {
				t.Errorf("the attacker got %+v", in)
			}
		})
	}
}

// crossings bring an answer, or a part of one, where it does not belong.
func crossings() []flowAttack {
	rejected, unknown := gateway.CodeOIDCCodeRejected, gateway.CodeFlowUnknown
	// swapped brings the second login's answer with one parameter of the first.
	swapped := func(first func(s *scene, second *visitor) *visitor, name string) func(*scene, bool) outcome {
		return func(s *scene, evil bool) outcome {
			v := s.visitor(hereHost)
			other := first(s, v)
			one, two := other.answer(s.corp, other.begin("corp")), v.answer(s.corp, v.begin("corp"))
			if evil {
				two.Set(name, one.Get(name))
			}
			return v.bring(two)
		}
	}
	same := func(_ *scene, second *visitor) *visitor { return second }
	another := func(s *scene, _ *visitor) *visitor { return s.visitor(hereHost) }
	elsewhere := func(s *scene, _ *visitor) *visitor { return s.visitor(thereHost) }
	return []flowAttack{
		{name: "code/of another browser's login", play: swapped(another, "code"), code: rejected},
		{name: "code/of another tab", play: swapped(same, "code"), code: rejected},
		{name: "code/of another site", play: swapped(elsewhere, "code"), code: rejected},
		{name: "code/used before, under a new state", play: func(s *scene, evil bool) outcome {
			victim, v := s.visitor(hereHost), s.visitor(hereHost)
			used, fresh := victim.answer(s.corp, victim.begin("corp")), v.answer(s.corp, v.begin("corp"))
			if evil {
				s.redeem(used)
				fresh.Set("code", used.Get("code"))
			}
			return v.bring(fresh)
		}, code: rejected},
		{name: "state/of another browser's login", play: swapped(another, "state"), restarts: true},
		{name: "state/of another tab", play: swapped(same, "state"), code: rejected},
		{name: "state/of another site", play: swapped(elsewhere, "state"), code: unknown},
		{name: "state/guessed", play: func(s *scene, evil bool) outcome {
			v := s.visitor(hereHost)
			got := v.answer(s.corp, v.begin("corp"))
			if evil {
				got.Set("state", strings.Repeat("A", 43))
			}
			return v.bring(got)
		}, code: unknown},
		{name: "answer/of an attacker, in a browser without a login", play: func(s *scene, evil bool) outcome {
			attacker, victim := s.visitor(hereHost), s.visitor(hereHost)
			got := attacker.answer(s.corp, attacker.begin("corp"))
			if evil {
				return victim.bring(got)
			}
			return attacker.bring(got)
		}, restarts: true},
		{name: "answer/of an attacker, in a browser with a login under way", play: func(s *scene, evil bool) outcome {
			attacker, victim := s.visitor(hereHost), s.visitor(hereHost)
			mine, theirs := attacker.answer(s.corp, attacker.begin("corp")), victim.answer(s.corp, victim.begin("corp"))
			if evil {
				return victim.bring(mine)
			}
			return victim.bring(theirs)
		}, restarts: true},
		{name: "answer/at another site, with the cookies", play: func(s *scene, evil bool) outcome {
			v := s.visitor(hereHost)
			got := v.answer(s.corp, v.begin("corp"))
			if evil {
				v.host = thereHost
			}
			return v.bring(got)
		}, code: unknown},
		{name: "answer/under a foreign name", play: func(s *scene, evil bool) outcome {
			v := s.visitor(hereHost)
			return v.bring(v.answer(s.corp, v.begin("corp")), func(r *visit) {
				if evil {
					r.Host = "evil.test"
				}
			})
		}, code: gateway.CodeUnknownHost},
		{name: "token/of an earlier login", play: func(s *scene, evil bool) outcome {
			v := s.visitor(hereHost)
			if evil {
				var earlier string
				s.corp.SetHooks(gatewaytest.OPHooks{IDToken: func(jws string) string { earlier = jws; return jws }, Claims: deleteFrom("at_hash")})
				mustLogin(s.t, s.corp, newProvider(s.t, s.corp))
				s.corp.SetHooks(gatewaytest.OPHooks{IDToken: func(string) string { return earlier }})
			}
			return v.bring(v.answer(s.corp, v.begin("corp")))
		}, code: gateway.CodeOIDCNonce},
		{name: "challenge/taken out on the way", play: func(s *scene, evil bool) outcome {
			v := s.visitor(hereHost)
			at := v.begin("corp")
			if evil {
				at = withoutParams(s.t, at, "code_challenge", "code_challenge_method")
			}
			return v.bring(v.answer(s.corp, at))
		}, code: rejected},
		{name: "challenge/of an attacker", play: func(s *scene, evil bool) outcome {
			v := s.visitor(hereHost)
			at := v.begin("corp")
			if evil {
				at = withParam(s.t, at, "code_challenge", param(s.t, s.visitor(hereHost).begin("corp"), "code_challenge"))
			}
			return v.bring(v.answer(s.corp, at))
		}, code: rejected},
		{name: "nonce/of an attacker", play: func(s *scene, evil bool) outcome {
			v := s.visitor(hereHost)
			at := v.begin("corp")
			if evil {
				at = withParam(s.t, at, "nonce", param(s.t, s.visitor(hereHost).begin("corp"), "nonce"))
			}
			return v.bring(v.answer(s.corp, at))
		}, code: gateway.CodeOIDCNonce},
	}
}

// changes change the configuration or end a login while another is under way.
func changes() []flowAttack {
	// under loads another configuration between redirect and answer.
	under := func(load func(s *scene)) func(*scene, bool) outcome {
		return func(s *scene, evil bool) outcome {
			v := s.visitor(hereHost)
			got := v.answer(s.corp, v.begin("corp"))
			if evil {
				load(s)
			} else {
				s.load(s.named("corp", s.corp), s.named("evil", s.evil)) // the same
			}
			return v.bring(got)
		}
	}
	unknown := gateway.CodeProviderUnknown
	return []flowAttack{
		{name: "reload/provider gone", play: under(func(s *scene) { s.load(s.named("evil", s.evil)) }), code: unknown},
		{name: "reload/provider renamed", play: under(func(s *scene) { s.load(s.named("corp2", s.corp)) }), code: unknown},
		{name: "reload/another provider under the name", play: under(func(s *scene) { s.load(s.named("corp", s.evil)) }), code: gateway.CodeFlowUnknown},
		{name: "reload/names exchanged", play: under(func(s *scene) { s.load(s.named("corp", s.evil), s.named("evil", s.corp)) }), code: gateway.CodeFlowUnknown},
		{name: "reload/state used before, with a new code", play: func(s *scene, evil bool) outcome {
			v := s.visitor(hereHost)
			at := v.begin("corp")
			if !evil {
				return v.bring(v.answer(s.corp, at))
			}
			if first := v.bring(v.answer(s.corp, at)); !first.signedIn {
				s.t.Fatalf("the first answer is refused: %+v", first)
			}
			delete(v.cookies, "__Host-sso")
			s.load(s.named("corp", s.corp))
			s.note()
			return v.bring(v.answer(s.corp, at))
		}, code: gateway.CodeFlowUnknown},
	}
}

// requests are unusual requests for the callback. They use nothing up: the same
// answer, brought as it should be, still signs in.
func requests() []flowAttack {
	changed := func(change func(r *visit)) func(*scene, bool) outcome {
		return func(s *scene, evil bool) outcome {
			v := s.visitor(hereHost)
			got := v.answer(s.corp, v.begin("corp"))
			if !evil {
				return v.bring(got)
			}
			owner := &visitor{scene: s, host: hereHost, cookies: maps.Clone(v.cookies)}
			bad := v.bring(got, change)
			if s.left() != 0 {
				s.t.Errorf("state is left: %v", s.store.Keys())
			}
			if after := owner.bring(got); !after.signedIn {
				s.t.Errorf("the owner's answer is spoilt: %+v", after)
			}
			s.note()
			return bad
		}
	}
	query := func(change func(q string) string) func(*scene, bool) outcome {
		return changed(func(r *visit) {
			r.URL.RawQuery = change(r.URL.RawQuery)
			r.RequestURI = r.URL.RequestURI()
		})
	}
	cookies := func(change func(line string) []string) func(*scene, bool) outcome {
		return changed(func(r *visit) { r.Header["Cookie"] = change(r.Header.Get("Cookie")) })
	}
	method := func(m string) func(*scene, bool) outcome { return changed(func(r *visit) { r.Method = m }) }
	form := changed(func(r *visit) {
		body := r.URL.RawQuery
		r.Request = &http.Request{
			Method: http.MethodPost, URL: &url.URL{Path: callback}, RequestURI: callback, Host: r.Host, Header: r.Header.Clone(),
			Body: http.NoBody, Form: url.Values{}, Proto: "HTTP/1.1", ProtoMajor: 1, ProtoMinor: 1,
		}
		r.Header.Set("Content-Type", "application/x-www-form-urlencoded")
		r.PostForm, _ = url.ParseQuery(body)
	})
	path := func(to string) func(*scene, bool) outcome {
		return changed(func(r *visit) { r.RequestURI = to + "?" + r.URL.RawQuery })
	}
	const attackers = "AAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAA"
	notAllowed, unknown, notFound := gateway.CodeMethodNotAllowed, gateway.CodeFlowUnknown, gateway.CodeNotFound
	return []flowAttack{
		{name: "method/POST", play: method(http.MethodPost), code: notAllowed},
		{name: "method/POST of a form", play: form, code: notAllowed},
		{name: "method/HEAD", play: method(http.MethodHead), code: notAllowed},
		{name: "method/OPTIONS", play: method(http.MethodOptions), code: notAllowed},
		{name: "path/slash at the end", play: path(callback + "/"), code: notFound},
		{name: "path/escaped", play: path("/.sso/oidc/%63allback"), code: notFound},
		{name: "path/around a corner", play: path("/.sso/x/../oidc/callback"), code: notFound},
		{name: "parameters/state twice", play: query(func(q string) string { return q + "&state=" + attackers }), code: unknown},
		{name: "parameters/state in front", play: query(func(q string) string { return "state=" + attackers + "&" + q }), code: unknown},
		{name: "parameters/code twice", play: query(func(q string) string { return q + "&code=x" }), code: gateway.CodeOIDCAnswerInvalid},
		{name: "parameters/code twice, once escaped", play: query(func(q string) string { return "%63ode=x&" + q }), code: gateway.CodeOIDCAnswerInvalid},
		{name: "parameters/semicolons", play: query(func(q string) string { return q + ";code=x" }), code: gateway.CodeBadRequest},
		{name: "parameters/100 kB", play: query(func(q string) string { return q + "&x=" + strings.Repeat("x", 100<<10) }), code: gateway.CodeTooLarge},
		{name: "parameters/10,000 of them", play: query(func(q string) string { return q + strings.Repeat("&a", 10000) }), code: gateway.CodeBadRequest},
		{name: "parameters/error beside code", play: query(func(q string) string { return q + "&error=x" }), code: gateway.CodeOIDCAnswerInvalid},
		{name: "cookies/none", play: cookies(func(string) []string { return nil }), restarts: true},
		{name: "cookies/without the prefix", play: cookies(func(line string) []string { return []string{strings.ReplaceAll(line, "__Host-", "")} }), restarts: true},
		{name: "cookies/with another prefix", play: cookies(func(line string) []string { return []string{strings.ReplaceAll(line, "__Host-", "__Secure-")} }), restarts: true},
		{name: "cookies/in capitals", play: cookies(func(line string) []string { return []string{strings.ReplaceAll(line, "__Host-", "__HOST-")} }), restarts: true},
		{name: "cookies/a planted one beside it", play: cookies(func(line string) []string { return []string{line + "; __Host-sso-b=" + attackers} }), restarts: true},
		{name: "cookies/a planted one in front", play: cookies(func(line string) []string { return []string{"__Host-sso-b=" + attackers, line} }), restarts: true},
		{name: "cookies/in quotes", play: cookies(func(line string) []string {
			name, value, _ := strings.Cut(line, "=")
			return []string{name + `="` + value + `"`}
		}), restarts: true},
		{name: "cookies/shortened", play: cookies(func(line string) []string { return []string{line[:len(line)-1]} }), restarts: true},
		{name: "scheme/http", play: changed(func(r *visit) { r.plain = true }), code: gateway.CodeInsecureHTTP},
		{name: "scheme/http, with cookies to match", play: changed(func(r *visit) {
			r.plain = true
			r.Header.Set("Cookie", strings.ReplaceAll(r.Header.Get("Cookie"), "__Host-", ""))
		}), code: gateway.CodeInsecureHTTP},
		{name: "host/another port in it", play: changed(func(r *visit) { r.Host += ":x" }), code: gateway.CodeUnknownHost},
		{name: "host/forwarded by a client", play: changed(func(r *visit) {
			r.Host = "evil.test"
			r.Header.Set("X-Forwarded-Host", hereHost)
		}), code: gateway.CodeUnknownHost},
	}
}

// redeem uses a code up without signing anybody in: a provider takes it back if
// the verifier is wrong.
func (s *scene) redeem(answer url.Values) {
	s.t.Helper()
	form := url.Values{
		"grant_type": {"authorization_code"}, "code": answer["code"], "client_id": {s.corp.ClientID}, "client_secret": {s.corp.ClientSecret},
	}
	r, err := http.NewRequest(http.MethodPost, s.corp.Issuer+gatewaytest.OPTokenPath, strings.NewReader(form.Encode()))
	if err != nil {
		s.t.Fatal(err)
	}
	r.Header.Set("Content-Type", "application/x-www-form-urlencoded")
	resp, err := s.corp.Transport().RoundTrip(r)
	if err != nil {
		s.t.Fatal(err)
	}
	_ = resp.Body.Close()
}
