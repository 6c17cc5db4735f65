package oidcrp_test

import (
	"maps"
	"net/http"
	"net/url"
	"regexp"
	"slices"
	"strings"
	"sync"
	"testing"

	"github.com/caddy-sso/caddy-sso/gateway"
	"github.com/caddy-sso/caddy-sso/gateway/gatewaytest"
	"github.com/caddy-sso/caddy-sso/gateway/refusal"
)

// inGo are the tests of attacks that are no files in testdata/attacks, with the
// reason.
var inGo = map[string]string{
	"TestAttackOIDCFlow":                 "several browsers, sites, configurations or providers take part, or the request itself is odd: what stops these is the gateway, which has no checks to drop here",
	"TestAttackOIDCMixUpOfCodes":         "two providers take part, and what counts is that one does not see a code",
	"TestAttackOIDCReloadDuringExchange": "the configuration changes while the code is at the provider",
	"TestAttackOIDCSameAnswerAtOnce":     "it is a race",
	"TestAttackKeyFlood":                 "it is a flood, on a clock of its own",
}

// TestAttackInGo holds that inGo is complete.
func TestAttackInGo(t *testing.T) {
	t.Parallel()
	text := gatewaytest.TestText(t, ".")
	for name := range inGo {
		if !strings.Contains(text, "func "+name+"(") {
			t.Errorf("there is no %s", name)
		}
	}
	for _, m := range regexp.MustCompile(`(?m)^func (Test\w*Attack\w*)\(`).FindAllStringSubmatch(text, -1) {
		if ours := []string{"TestAttackOIDC", "TestAttackPromises", "TestAttackInGo"}; !slices.Contains(ours, m[1]) && inGo[m[1]] == "" {
			t.Errorf("nothing says why the attacks of %s are no files", m[1])
		}
	}
}

// A flowAttack is an attack on a login as a whole: by other browsers, other
// sites and other providers, with pieces of real logins.
type flowAttack struct {
	name string
	// play is the control, which signs in, or with evil the attack. It returns
	// what its last request led to.
	play func(s *scene, evil bool) outcome
	code refusal.Code // of the refusal
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

// crossings bring an answer, or a part of one, where it does not belong.
func crossings() []flowAttack {
	rejected, unknown := refusal.OIDCCodeRejected, refusal.FlowUnknown
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
		}, code: refusal.UnknownHost},
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
	unknown := refusal.ProviderUnknown
	return []flowAttack{
		{name: "reload/provider gone", play: under(func(s *scene) { s.load(s.named("evil", s.evil)) }), code: unknown},
		{name: "reload/provider renamed", play: under(func(s *scene) { s.load(s.named("corp2", s.corp)) }), code: unknown},
		{name: "reload/another provider under the name", play: under(func(s *scene) { s.load(s.named("corp", s.evil)) }), code: refusal.FlowUnknown},
		{name: "reload/names exchanged", play: under(func(s *scene) { s.load(s.named("corp", s.evil), s.named("evil", s.corp)) }), code: refusal.FlowUnknown},
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
		}, code: refusal.FlowUnknown},
	}
}

// TestAttackOIDCReloadDuringExchange loads another configuration while the code
// is at the provider. Who was let in by the old one is let in by the new one only
// if it has the provider.
func TestAttackOIDCReloadDuringExchange(t *testing.T) {
	t.Parallel()
	for name, tt := range map[string]struct {
		providers func(s *scene) []gateway.NamedProvider
		user      string
	}{
		"the same":         {func(s *scene) []gateway.NamedProvider { return []gateway.NamedProvider{s.named("corp", s.corp)} }, "alice"},
		"provider renamed": {func(s *scene) []gateway.NamedProvider { return []gateway.NamedProvider{s.named("new", s.corp)} }, "alice"},
		"provider gone":    {func(s *scene) []gateway.NamedProvider { return []gateway.NamedProvider{s.named("evil", s.evil)} }, ""},
		"another under the name": {func(s *scene) []gateway.NamedProvider {
			return []gateway.NamedProvider{s.named("corp", s.evil)}
		}, ""},
	} {
		t.Run(name, func(t *testing.T) {
			t.Parallel()
			s := newScene(t)
			next := tt.providers(s)
			v := s.visitor(hereHost)
			answer := v.answer(s.corp, v.begin("corp"))
			s.corp.SetHooks(gatewaytest.OPHooks{Token: func(map[string]any) { s.load(next...) }})
			if got := v.bring(answer); !got.signedIn {
				t.Fatalf("the old configuration refused: %+v", got)
			}
			if got := v.ask("/"); got.user != tt.user {
				t.Errorf("the new configuration lets %q in, want %q: %+v", got.user, tt.user, got)
			}
			if got := s.visitor(hereHost).ask("/"); got.user != "" || got.location == "" {
				t.Errorf("a stranger got %+v", got)
			}
		})
	}
}

// TestAttackOIDCSameAnswerAtOnce brings one answer several times at once. It signs
// in once.
func TestAttackOIDCSameAnswerAtOnce(t *testing.T) {
	t.Parallel()
	s := newScene(t)
	v := s.visitor(hereHost)
	answer := v.answer(s.corp, v.begin("corp"))
	outcomes := make([]outcome, 8) // fewer than one address may try
	var wg sync.WaitGroup
	for i := range outcomes {
		copied := &visitor{scene: s, host: hereHost, cookies: maps.Clone(v.cookies)}
		wg.Go(func() { outcomes[i] = copied.bring(answer) })
	}
	wg.Wait()
	in := 0
	for _, got := range outcomes {
		switch {
		case got.signedIn:
			in++
		case got.code != refusal.OIDCCodeRejected && got.code != refusal.AnswerReplayed && got.code != refusal.FlowUnknown:
			t.Errorf("got %+v", got)
		}
	}
	if in != 1 || s.kept("login") != 1 {
		t.Errorf("%d of them signed in, %v", in, s.store.Keys())
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
	notAllowed, unknown, notFound := refusal.MethodNotAllowed, refusal.FlowUnknown, refusal.NotFound
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
		{name: "parameters/code twice", play: query(func(q string) string { return q + "&code=x" }), code: refusal.OIDCAnswerInvalid},
		{name: "parameters/code twice, once escaped", play: query(func(q string) string { return "%63ode=x&" + q }), code: refusal.OIDCAnswerInvalid},
		{name: "parameters/semicolons", play: query(func(q string) string { return q + ";code=x" }), code: refusal.BadRequest},
		{name: "parameters/100 kB", play: query(func(q string) string { return q + "&x=" + strings.Repeat("x", 100<<10) }), code: refusal.TooLarge},
		{name: "parameters/10,000 of them", play: query(func(q string) string { return q + strings.Repeat("&a", 10000) }), code: refusal.BadRequest},
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
		{name: "scheme/http", play: changed(func(r *visit) { r.plain = true }), code: refusal.InsecureHTTP},
		{name: "scheme/http, with cookies to match", play: changed(func(r *visit) {
			r.plain = true
			r.Header.Set("Cookie", strings.ReplaceAll(r.Header.Get("Cookie"), "__Host-", ""))
		}), code: refusal.InsecureHTTP},
		{name: "host/another port in it", play: changed(func(r *visit) { r.Host += ":x" }), code: refusal.UnknownHost},
		{name: "host/forwarded by a client", play: changed(func(r *visit) {
			r.Host = "evil.test"
			r.Header.Set("X-Forwarded-Host", hereHost)
		}), code: refusal.UnknownHost},
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
