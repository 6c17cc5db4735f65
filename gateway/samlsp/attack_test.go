package samlsp_test

import (
	"fmt"
	"maps"
	"net/url"
	"slices"
	"strings"
	"testing"
	"time"

	"github.com/caddy-sso/caddy-sso/gateway/check/checktest"
	"github.com/caddy-sso/caddy-sso/gateway/gatewaytest"
	"github.com/caddy-sso/caddy-sso/gateway/provider"
	"github.com/caddy-sso/caddy-sso/gateway/samlsp"
)

// An attack is a file of the corpus with its mutation read.
type attack struct {
	gatewaytest.Attack
	*plan
}

func corpus(tb testing.TB) []attack {
	tb.Helper()
	var list []attack
	for _, a := range gatewaytest.Corpus(tb, "testdata/attacks") {
		p, err := parsePlan(a.Body)
		if err != nil {
			tb.Fatalf("%s: %v", a.Name, err)
		}
		list = append(list, attack{a, p})
	}
	return list
}

// planned reads a mutation. Without a line it is the control.
func planned(t *testing.T, lines ...string) *attack {
	t.Helper()
	p, err := parsePlan(strings.Join(append(lines, "pad 0"), "\n"))
	if err != nil {
		t.Fatal(err)
	}
	return &attack{plan: p}
}

// form is the message, or the control without the mutation.
func (a *attack) form(t *testing.T, l login, evil bool) url.Values {
	t.Helper()
	play := a.control
	if evil {
		play = a.message
	}
	form, err := play(l)
	if err != nil {
		t.Fatal(err)
	}
	return form
}

// try completes a login at a new provider, without the named checks.
func (a *attack) try(t *testing.T, l login, form url.Values, drop ...string) (*provider.Answer, error) {
	t.Helper()
	p := must(samlsp.New(a.config, samlsp.Deps{Transport: noNetwork{t}}))
	samlsp.Drop(p, drop...)
	return p.Complete(t.Context(), l.answer(form, a.forced))
}

// answer is an answer to the login.
func (l login) answer(form url.Values, forced bool) provider.CompleteRequest {
	return provider.CompleteRequest{
		Params: form, Private: samlsp.Flow(l.request, idpEntity, l.begun, forced), CallbackURL: acsURL, MetadataURL: spEntity,
	}
}

// completing completes logins at one provider.
func completing(t *testing.T, p *samlsp.Provider) func(lines ...string) error {
	l := newLogin()
	return func(lines ...string) error {
		t.Helper()
		_, err := p.Complete(t.Context(), l.answer(planned(t, lines...).form(t, l, true), false))
		return err
	}
}

func newLogin() login { return login{request: requestID, begun: time.Now()} }

// TestAttackSAML plays every attack, each behind its control, through a whole
// gateway: it is refused with its code, and nothing is left of it.
func TestAttackSAML(t *testing.T) {
	t.Parallel()
	for _, a := range corpus(t) {
		t.Run(a.Name, func(t *testing.T) {
			t.Parallel()
			l := newLogin()
			if _, err := a.try(t, l, a.form(t, l, false)); err != nil {
				t.Fatalf("the control is refused: %v", err)
			}
			answer, err := a.try(t, l, a.form(t, l, true))
			wantCode(t, err, a.Code)
			if answer != nil {
				t.Errorf("an answer comes with the error: %+v", answer)
			}
			if text := fmt.Sprint(err); len(text) > 700 || strings.Contains(text, "\n") || strings.Contains(text, "<saml") || strings.Contains(text, "a1ice") {
				t.Errorf("the log gets %q", text)
			}
			if !a.forced { // who asks for a new sign-in is in the gateway's own tests
				a.throughGateway(t)
			}
		})
	}
}

func (a *attack) throughGateway(t *testing.T) {
	t.Helper()
	s := oneProvider(t, a.config)
	v := s.visitor()
	l := v.begin("corp")
	if got := v.bring(l.state, a.form(t, l.login, false)); !got.signedIn || s.left() == 0 {
		t.Fatalf("the control does not sign in: %+v, %v", got, s.store.Keys())
	}
	s = oneProvider(t, a.config)
	v = s.visitor()
	l = v.begin("corp")
	form := a.form(t, l.login, true)
	want := a.Code
	if a.front != "" {
		want = a.front
	}
	if got := v.bring(l.state, form); got.signedIn || got.location != "" || got.code != want {
		t.Errorf("got %+v, want %s", got, want)
	}
	if s.left() != 0 {
		t.Errorf("state is left: %v", s.store.Keys())
	}
	if got := v.open("/"); got.user != "" {
		t.Errorf("the app was reached: %+v", got)
	}
}

// TestSwitchOffSAML shows that it is the named checks that stop each attack: it
// gets in without them, and as long as one of them is there it does not.
func TestSwitchOffSAML(t *testing.T) {
	t.Parallel()
	unused := map[string]bool{}
	for _, name := range samlsp.CheckNames() {
		unused[name] = true
	}
	for _, a := range corpus(t) {
		maps.DeleteFunc(unused, func(name string, _ bool) bool { return slices.Contains(a.Checks, name) })
		t.Run(a.Name, func(t *testing.T) {
			t.Parallel()
			l := newLogin()
			form := a.form(t, l, true)
			try := func(without ...string) error {
				_, err := a.try(t, l, form, without...)
				return err
			}
			if a.Fixed != "" { // then there is nothing to let in, whatever is dropped
				if try(samlsp.CheckNames()...) == nil {
					t.Errorf("gets in without any check, though %q", a.Fixed)
				}
				return
			}
			checktest.StoppedBy(t, a.Checks, try)
		})
	}
	for name := range unused {
		if !slices.Contains(withoutAttack, name) {
			t.Errorf("no attack shows what the check %q is good for", name)
		}
	}
}

// withoutAttack are checks that no message can show.
var withoutAttack = []string{
	"key size", // weak keys are refused when configuration or metadata are read
}
