package samlsp_test

import (
	"maps"
	"net/url"
	"strings"
	"sync"
	"testing"

	"github.com/caddy-sso/caddy-sso/gateway/gatewaytest"
	"github.com/caddy-sso/caddy-sso/gateway/refusal"
	"github.com/caddy-sso/caddy-sso/gateway/samlsp"
)

// The second provider of these tests, which an attacker runs.
const evilEntity = "https://evil.test/metadata"

// twoProviders has corp, which is honest, and evil.
func twoProviders() map[string]samlsp.Config {
	return map[string]samlsp.Config{
		"corp": baseConfig(),
		"evil": {EntityID: evilEntity, SSOURL: "https://evil.test/sso", Certificates: []string{certificatePEM("evil")}},
	}
}

// reply is the control's message for a login, changed by steps.
func reply(t *testing.T, l login, steps ...string) url.Values {
	t.Helper()
	return planned(t, steps...).form(t, l, true)
}

// A flowAttack is an attack on a login as a whole, with genuine messages.
type flowAttack struct {
	// play is the control, which signs in, or with evil the attack. It returns
	// what its last request led to, and what was left by others before it.
	play func(s *scene, evil bool) (outcome, int)
	code refusal.Code
	// restarts is for attacks that lead to a login begun anew instead.
	restarts bool
}

// TestAttackSAMLFlow plays every attack, each behind its control, and looks for
// what it left.
func TestAttackSAMLFlow(t *testing.T) {
	t.Parallel()
	for name, a := range flowAttacks(t) {
		t.Run(name, func(t *testing.T) {
			t.Parallel()
			s := newScene(t, gatewaytest.NewMemStore(), twoProviders())
			if got, _ := a.play(s, false); !got.signedIn || s.left() == 0 {
				t.Fatalf("the control does not sign in: %+v, %v", got, s.store.Keys())
			}
			s = newScene(t, gatewaytest.NewMemStore(), twoProviders())
			got, before := a.play(s, true)
			if got.signedIn || got.user != "" || got.code != a.code || a.restarts != strings.HasPrefix(got.location, idpSSO) {
				t.Errorf("got %+v, want %q", got, a.code)
			}
			if s.left() != before {
				t.Errorf("state is left: %v", s.store.Keys())
			}
		})
	}
}

func flowAttacks(t *testing.T) map[string]flowAttack {
	// swapped brings an answer to one login under the state of another one.
	swapped := func(other func(s *scene, v *visitor) *visitor) func(*scene, bool) (outcome, int) {
		return func(s *scene, evil bool) (outcome, int) {
			v := s.visitor()
			first, second := other(s, v).begin("corp"), v.begin("corp")
			if evil {
				return v.bring(second.state, reply(t, first.login)), 0
			}
			return v.bring(second.state, reply(t, second.login)), 0
		}
	}
	// stated brings a genuine answer under another RelayState.
	stated := func(state string) func(*scene, bool) (outcome, int) {
		return func(s *scene, evil bool) (outcome, int) {
			v := s.visitor()
			l := v.begin("corp")
			if evil {
				return v.bring(state, reply(t, l.login)), 0
			}
			return v.bring(l.state, reply(t, l.login)), 0
		}
	}
	// crossed brings the answer of corp, changed by steps, to a login at evil or
	// the other way round.
	crossed := func(at string, honest []string, steps ...string) func(*scene, bool) (outcome, int) {
		return func(s *scene, evil bool) (outcome, int) {
			v := s.visitor()
			l := v.begin(at)
			if evil {
				honest = steps
			}
			return v.bring(l.state, reply(t, l.login, honest...)), 0
		}
	}
	// planted has a browser post the answer to an attacker's login.
	planted := func(underWay bool) func(*scene, bool) (outcome, int) {
		return func(s *scene, evil bool) (outcome, int) {
			attacker, victim := s.visitor(), s.visitor()
			l := attacker.begin("corp")
			if underWay {
				victim.begin("corp")
			}
			if evil {
				return victim.bring(l.state, reply(t, l.login)), 0
			}
			return attacker.bring(l.state, reply(t, l.login)), 0
		}
	}
	evils := []string{"set saml:Issuer " + evilEntity, "set saml:Assertion/saml:Issuer " + evilEntity, "sign saml:Assertion key=evil"}
	again := func(change func(v *visitor) *visitor) func(*scene, bool) (outcome, int) {
		return func(s *scene, evil bool) (outcome, int) {
			v := s.visitor()
			l := v.begin("corp")
			form := reply(t, l.login)
			first := v.bring(l.state, form)
			if !evil {
				return first, 0
			}
			return change(v).bring(l.state, form), s.left()
		}
	}
	unknown, mismatch := refusal.FlowUnknown, refusal.SAMLRequestMismatch
	return map[string]flowAttack{
		"replay/the same answer again": {play: again(func(v *visitor) *visitor {
			delete(v.cookies, "__Host-sso")
			return v
		}), code: unknown},
		"replay/the same answer in another browser":        {play: again(func(v *visitor) *visitor { return v.scene.visitor() }), code: unknown},
		"replay/a stolen answer in a login of the thief's": {play: swapped(func(s *scene, _ *visitor) *visitor { return s.visitor() }), code: mismatch},
		"replay/the assertion's ID in a new answer": {play: func(s *scene, evil bool) (outcome, int) {
			v := s.visitor()
			l := v.begin("corp")
			first := v.bring(l.state, reply(t, l.login))
			if !evil {
				return first, 0
			}
			v = s.visitor()
			l = v.begin("corp")
			return v.bring(l.state, reply(t, l.login)), s.left()
		}, code: refusal.AnswerReplayed},
		"state/of another tab": {play: swapped(func(_ *scene, v *visitor) *visitor { return v }), code: mismatch},
		"state/none":           {play: stated(""), code: unknown},
		"state/guessed":        {play: stated(strings.Repeat("A", 43)), code: unknown},
		"state/a path, as with unsolicited answers":                {play: stated("/admin"), code: unknown},
		"state/an address":                                         {play: stated("https://evil.test/"), code: unknown},
		"state/of an attacker's login":                             {play: planted(false), code: refusal.CookiesBlocked},
		"state/of an attacker's login, beside an own one":          {play: planted(true), restarts: true},
		"mix-up/an honest provider's answer in a login at another": {play: crossed("evil", evils, "sign"), code: refusal.SAMLSignature},
		"mix-up/an answer of another provider":                     {play: crossed("corp", nil, evils...), code: refusal.SAMLSignature},
		"mix-up/another provider in an honest one's name":          {play: crossed("corp", nil, "sign saml:Assertion key=evil"), code: refusal.SAMLSignature},
		"mix-up/an honest provider's name at another":              {play: crossed("evil", evils, "sign saml:Assertion key=evil"), code: refusal.SAMLIssuerMismatch},
	}
}

// TestAttackSAMLSameAnswerAtOnce brings one answer several times at once, to two
// nodes with one store. It signs in once.
func TestAttackSAMLSameAnswerAtOnce(t *testing.T) {
	t.Parallel()
	for name, logins := range map[string]int{"D4 one login": 1, "D4 the same assertion ID in two logins": 2} {
		t.Run(name, func(t *testing.T) {
			t.Parallel()
			store := gatewaytest.NewMemStore()
			nodes := []*scene{newScene(t, store, twoProviders()), newScene(t, store, twoProviders())}
			type post struct {
				v    *visitor
				l    pending
				form url.Values
			}
			var posts []post
			for i := range logins {
				v := nodes[i%2].visitor()
				l := v.begin("corp")
				form := reply(t, l.login)
				for j := range 8 / logins { // fewer than one address may try
					posts = append(posts, post{&visitor{scene: nodes[j%2], cookies: maps.Clone(v.cookies)}, l, form})
				}
			}
			outcomes := make([]outcome, len(posts))
			var wg sync.WaitGroup
			for i, p := range posts {
				wg.Go(func() { outcomes[i] = p.v.bring(p.l.state, p.form) })
			}
			wg.Wait()
			in := 0
			for _, got := range outcomes {
				switch {
				case got.signedIn:
					in++
				case got.code != refusal.AnswerReplayed && got.code != refusal.FlowUnknown:
					t.Errorf("got %+v", got)
				}
			}
			if in != 1 {
				t.Errorf("%d of them signed in, %v", in, store.Keys())
			}
		})
	}
}

// TestAttackSAMLText changes how values are written behind the signature, where
// canonicalisation leaves no trace of it. Each value stays what it is.
func TestAttackSAMLText(t *testing.T) {
	t.Parallel()
	const full = "admin@example.com.evil.test"
	cut := "replace >" + full + "< "
	for name, steps := range map[string][]string{
		"D4 CVE-2017-11427 a comment in the NameID":             {"sign", cut + "`>admin@example.com<!---->.evil.test<`"},
		"CVE-2017-11428 a comment with text":                    {"sign", cut + "`>admin@example.com<!-- x -->.evil.test<`"},
		"CVE-2017-11429 comments before and behind":             {"sign", cut + "`><!--x-->admin@example.com.evil.test<!--x--><`"},
		"CVE-2017-11430 a comment with a forged end tag":        {"sign", cut + "`>admin@example.com<!--</saml:NameID>-->.evil.test<`"},
		"a CDATA section behind":                                {"sign", cut + "`>admin@example.com<![CDATA[.evil.test]]><`"},
		"a CDATA section in front":                              {"sign", cut + "`><![CDATA[admin@example.com]]>.evil.test<`"},
		"an empty CDATA section":                                {"sign", cut + "`>admin@example.com<![CDATA[]]>.evil.test<`"},
		"character references":                                  {"sign", cut + "`>admin@example.com&#46;evil&#x2E;test<`"},
		"a CDATA section and a comment":                         {"sign", cut + "`>admin@<![CDATA[example.com]]><!---->.evil.test<`"},
		"a comment before signing, with who signs comments out": {cut + "`>admin@example.com<!---->.evil.test<`"},
	} {
		t.Run(name, func(t *testing.T) {
			t.Parallel()
			steps = append([]string{"set saml:Assertion/saml:Subject/saml:NameID " + full}, steps...)
			s := oneProvider(t, baseConfig())
			v := s.visitor()
			l := v.begin("corp")
			if got := v.bring(l.state, reply(t, l.login, steps...)); !got.signedIn {
				t.Fatalf("got %+v", got)
			}
			if got := v.open("/"); got.user != full {
				t.Errorf("the app sees %q", got.user)
			}
		})
	}
}
