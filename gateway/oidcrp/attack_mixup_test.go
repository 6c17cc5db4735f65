package oidcrp_test

import (
	"net/http"
	"net/url"
	"testing"

	"github.com/caddy-sso/caddy-sso/gateway/gatewaytest"
	"github.com/caddy-sso/caddy-sso/gateway/refusal"
)

// mixUps confuse one provider with another (RFC 9700 §4.4).
func mixUps() []flowAttack {
	mismatch := refusal.OIDCIssuerMismatch
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
		{name: "mix-up/an honest provider's token passed on", play: func(s *scene, evil bool) outcome {
			return atEvil(s, evil, func(*visitor) gatewaytest.OPHooks {
				return gatewaytest.OPHooks{IDToken: func(jws string) string {
					return gatewaytest.SignJWS(map[string]any{"alg": "ES256", "kid": s.corp.Key.KID}, payloadOf(jws), s.corp.Key.Signer)
				}}
			})
		}, code: refusal.OIDCSignature},
	}
}

// TestAttackOIDCMixUpOfCodes has a malicious provider send a victim on to an
// honest one, with the challenge and nonce of the attacker's own login there.
// The code must not reach the malicious provider, whether the honest one names
// itself in its answer or not.
func TestAttackOIDCMixUpOfCodes(t *testing.T) {
	t.Parallel()
	for name, named := range map[string]bool{"the provider names itself": true, "the provider does not": false} {
		t.Run(name, func(t *testing.T) {
			t.Parallel()
			s := newScene(t)
			if !named {
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
			state := param(t, atCorp, "state")
			answer := victim.answer(s.corp, withParam(t, atCorp, "state", param(t, atEvil, "state")))
			// corp sends the browser to the redirect_uri that it knows.
			got := victim.ask(s.callback(state) + "?" + answer.Encode())
			if got.signedIn || got.code != refusal.OIDCIssuerMismatch {
				t.Errorf("the victim got %+v", got)
			}
			if code != "" {
				t.Error("the code was sent to the malicious provider")
			}
			if in := attacker.bring(url.Values{"code": {code}, "state": {state}}); in.signedIn {
				t.Errorf("the attacker got %+v", in)
			}
			// The control: the attack is in the way that the answer took alone.
			own := s.visitor(hereHost)
			if got := own.bring(own.answer(s.corp, own.begin("corp"))); !got.signedIn {
				t.Errorf("the control does not sign in: %+v", got)
			}
		})
	}
}
