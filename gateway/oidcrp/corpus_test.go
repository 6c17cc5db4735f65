package oidcrp_test

import (
	"context"
	"fmt"
	"maps"
	"net/url"
	"slices"
	"strings"
	"testing"
	"testing/synctest"
	"unicode"

	"github.com/caddy-sso/caddy-sso/gateway"
	"github.com/caddy-sso/caddy-sso/gateway/check/checktest"
	"github.com/caddy-sso/caddy-sso/gateway/gatewaytest"
	"github.com/caddy-sso/caddy-sso/gateway/oidcrp"
	"github.com/caddy-sso/caddy-sso/gateway/provider"
)

// corpus is every attack on an answer of a provider, one file each. Attacks
// that need more than one are Go: see flowAttacks.
func corpus(tb testing.TB) []gatewaytest.Attack {
	tb.Helper()
	return gatewaytest.Corpus(tb, "testdata/attacks")
}

// gatewayLayers are what the gateway refuses once more. They are dropped by
// mending what it would refuse.
var gatewayLayers = []string{"gateway subject", "gateway characters"}

// A client is a provider as the gateway has it in these tests.
type client struct {
	*oidcrp.Provider
	force bool            // asks for a new sign-in
	other bool            // asks for somebody else
	mends map[string]bool // gatewayLayers that are dropped
}

func (c client) Begin(ctx context.Context, req provider.BeginRequest) (*provider.Begun, error) {
	req.ForceLogin, req.OtherPerson = c.force, c.other
	return c.Provider.Begin(ctx, req)
}

func (c client) Complete(ctx context.Context, req provider.CompleteRequest) (*provider.Answer, error) {
	got, err := c.Provider.Complete(ctx, req)
	if err != nil {
		return nil, err
	}
	if got.Subject == "" && c.mends["gateway subject"] {
		got.Subject = "nobody"
	}
	if c.mends["gateway characters"] {
		visible := func(r rune) rune {
			if unicode.IsControl(r) {
				return '?'
			}
			return r
		}
		got.Identity.Email, got.Identity.Username = strings.Map(visible, got.Identity.Email), strings.TrimSpace(strings.Map(visible, got.Identity.Username))
	}
	return got, nil
}

// A stage is where one attack is played: a gateway with its store, and a
// provider.
type stage struct {
	*scene
	mutator *mutator
}

func newStage(t *testing.T, a gatewaytest.Attack) *stage {
	t.Helper()
	s := &stage{scene: newScene(t)}
	var err error
	if s.mutator, err = newMutator(s.corp, a.Body); err != nil {
		t.Fatal(err)
	}
	s.mutator.play(false)
	user := "alice"
	s.mutator.each("", "user", func(st statement) { user = st.args[0] })
	if got := s.signIn(s.provider()); got.user != user || s.kept("login") != 1 || s.kept("account") != 1 {
		t.Fatalf("the control does not sign %s in: %+v", user, got.outcome)
	}
	s.mutator.play(true)
	return s
}

// provider is one with the attack's options.
func (s *stage) provider() *oidcrp.Provider {
	s.t.Helper()
	return newProvider(s.t, s.corp, s.options)
}

func (s *stage) options(c *oidcrp.Config) {
	s.mutator.each("", "option", func(st statement) {
		if st.args[0] == "groups_claim" {
			c.GroupsClaim = st.args[1]
		} else {
			c.UsernameClaim = st.args[1]
		}
	})
}

// A result is how far a browser came.
type result struct {
	outcome
	new []string // keys that the answer left in the store
}

// signIn signs in by a provider that is new to the gateway, in a new browser,
// and asks for a page of the app.
func (s *stage) signIn(p *oidcrp.Provider, dropped ...string) result {
	s.t.Helper()
	c := client{Provider: p, mends: map[string]bool{}}
	s.mutator.each("", "force", func(statement) { c.force = true })
	s.mutator.each("", "other", func(statement) { c.other = true })
	ours := slices.DeleteFunc(slices.Clone(dropped), func(name string) bool {
		c.mends[name] = slices.Contains(gatewayLayers, name)
		return c.mends[name]
	})
	if len(ours) > 0 {
		oidcrp.Drop(p, s.corp.Transport(), ours...)
	}
	s.load(gateway.NamedProvider{Name: "corp", Provider: c})
	v := s.visitor(hereHost)
	before := s.store.Keys()
	begun := v.ask("/.sso/login?provider=corp&return=/wanted")
	if begun.code == "" {
		before = s.store.Keys()
		if begun = v.ask(s.answer(begun.location)); begun.signedIn {
			before = s.store.Keys() // the session may be used
			begun.user = v.ask("/wanted").user
		}
	}
	return result{begun, slices.DeleteFunc(s.store.Keys(), func(key string) bool { return slices.Contains(before, key) })}
}

// answer sends a browser to the provider and returns where it is sent back. It
// goes wherever it is sent, by whatever scheme.
func (s *stage) answer(location string) string {
	s.t.Helper()
	_, query, _ := strings.Cut(location, "?")
	request, err := url.ParseQuery(query)
	if err != nil {
		s.t.Fatal(err)
	}
	back := request.Get("redirect_uri")
	s.mutator.params("request", request)
	answer, err := s.corp.Visit(s.corp.Issuer + gatewaytest.OPAuthorizePath + "?" + request.Encode())
	if err != nil {
		s.t.Fatal(err)
	}
	return strings.TrimPrefix(back, "https://"+hereHost) + "?" + answer.Encode()
}

// TestAttackOIDC plays every attack behind its control.
func TestAttackOIDC(t *testing.T) {
	t.Parallel()
	for _, a := range corpus(t) {
		t.Run(a.Name, func(t *testing.T) {
			t.Parallel()
			s := newStage(t, a)
			got := s.signIn(s.provider())
			if got.code != a.Code {
				t.Errorf("got %v, want %s", got.err, a.Code)
			}
			if got.signedIn || got.user != "" || got.location != "" {
				t.Errorf("got in: %+v", got.outcome)
			}
			if len(got.new) > 0 || s.kept("login") != 1 || s.kept("account") != 1 {
				t.Errorf("state is left: %v", got.new)
			}
			for _, complaint := range s.mutator.complaints() {
				t.Error(complaint)
			}
		})
	}
}

// TestSwitchOffOIDC shows that it is the named checks that stop each attack:
// it gets in without them, and as long as one of them is there it does not. A
// fixed one does not get in without any check.
func TestSwitchOffOIDC(t *testing.T) {
	t.Parallel()
	unused := map[string]bool{}
	for _, name := range slices.Concat(oidcrp.CheckNames(), oidcrp.LayerNames(), gatewayLayers) {
		unused[name] = true
	}
	fixed := 0
	for _, a := range corpus(t) {
		maps.DeleteFunc(unused, func(name string, _ bool) bool { return slices.Contains(a.Checks, name) })
		if a.Fixed != "" {
			fixed++
		}
		t.Run(a.Name, func(t *testing.T) {
			t.Parallel()
			// In a bubble no deadline passes while the machine is busy.
			synctest.Test(t, func(t *testing.T) {
				s := newStage(t, a)
				try := func(dropped ...string) error {
					got := s.signIn(s.provider(), dropped...)
					switch {
					case !got.signedIn:
						return fmt.Errorf("refused: %w", got.err)
					case got.user == "":
						t.Errorf("is signed in without %q, but the app is not reached", dropped)
					}
					return nil
				}
				if a.Fixed != "" {
					if try(oidcrp.CheckNames()...) == nil {
						t.Error("gets in without any check, and is not fixed")
					}
					return
				}
				checktest.StoppedBy(t, a.Checks, try)
			})
		})
	}
	for name := range unused {
		if !slices.Contains(withoutAttack, name) {
			t.Errorf("no attack shows what %q is good for", name)
		}
	}
	if fixed != wantFixed {
		t.Errorf("%d attacks are fixed, want %d", fixed, wantFixed)
	}
}

// withoutAttack are checks that only tell refusals apart: without them the
// login fails at the next step.
var withoutAttack = []string{"token object"}

// wantFixed is how many attacks are fixed. It rises only by what leaves nothing
// that could be let in; anything else gets a check or a layer.
const wantFixed = 5
