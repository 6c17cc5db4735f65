package oidcop_test

import (
	"cmp"
	"fmt"
	"maps"
	"regexp"
	"slices"
	"strings"
	"testing"
	"testing/synctest"

	"github.com/caddy-sso/caddy-sso/gateway/check/checktest"
	"github.com/caddy-sso/caddy-sso/gateway/gatewaytest"
	"github.com/caddy-sso/caddy-sso/gateway/oidcop"
)

func corpus(tb testing.TB) []gatewaytest.Attack {
	tb.Helper()
	return gatewaytest.Corpus(tb, "testdata/attacks")
}

// stage plays an attack, or its control, in a lab of its own, without some checks.
func stage(t *testing.T, a gatewaytest.Attack, evil bool, without ...string) (outcome string, store *gatewaytest.MemStore, kept int) {
	t.Helper()
	steps, err := readScript(a.Body)
	if err != nil {
		t.Fatal(err)
	}
	store = gatewaytest.NewMemStore()
	p := newPlayer(t, newLabOver(t, store), without...)
	last := len(steps) - 1
	for last > 0 && steps[last].attack && !evil {
		last--
	}
	if outcome, err = p.play(steps[:last], evil); err != nil {
		t.Fatal(err)
	}
	if kept = grants(store); outcome != "" {
		return outcome, store, kept
	}
	if outcome, err = p.play(steps[last:last+1], evil); err != nil {
		t.Fatal(err)
	}
	return outcome, store, kept
}

func grants(store *gatewaytest.MemStore) int {
	return len(slices.DeleteFunc(store.Keys(), func(key string) bool { return !strings.HasPrefix(key, "grant:") }))
}

// TestAttackOP plays every attack behind its control.
func TestAttackOP(t *testing.T) {
	t.Parallel()
	for _, a := range corpus(t) {
		t.Run(a.Name, func(t *testing.T) {
			t.Parallel()
			synctest.Test(t, func(t *testing.T) {
				if got, _, _ := stage(t, a, false); got != "" {
					t.Fatalf("the control is refused: %s", got)
				}
				got, store, kept := stage(t, a, true)
				if got != string(a.Code) {
					t.Errorf("got %q, want %s", got, a.Code)
				}
				if grants(store) > kept {
					t.Error("a grant is left")
				}
			})
		})
	}
}

// TestSwitchOffOP shows that it is the named checks that stop each attack: it gets in without
// them, and as long as one of them is there it does not. A fixed one does not get in without
// any check.
func TestSwitchOffOP(t *testing.T) {
	t.Parallel()
	unused := map[string]bool{}
	for _, name := range oidcop.CheckNames() {
		unused[name] = true
	}
	for _, a := range corpus(t) {
		maps.DeleteFunc(unused, func(name string, _ bool) bool { return slices.Contains(a.Checks, name) })
		t.Run(a.Name, func(t *testing.T) {
			t.Parallel()
			synctest.Test(t, func(t *testing.T) {
				try := func(without ...string) error {
					if got, _, _ := stage(t, a, true, without...); got != "" {
						return fmt.Errorf("refused: %s", got)
					}
					return nil
				}
				if a.Fixed == "" {
					checktest.StoppedBy(t, a.Checks, try)
				} else if try(oidcop.CheckNames()...) == nil {
					t.Error("gets in without any check, and is not fixed")
				}
			})
		})
	}
	for name := range unused {
		t.Errorf("no attack shows what %q is good for", name)
	}
}

// promises are what is promised of the provider, by the key that attacks name.
var promises = map[string]string{
	"redirect-uri":   "A code goes to a registered redirect URI alone, byte for byte",
	"loopback":       "Only the port of a loopback redirect of a public client may differ",
	"code-once":      "A code works once, for a minute; a second use ends the tokens of the first",
	"code-binding":   "A code belongs to its client, redirect URI, issuer and login",
	"pkce":           "PKCE with S256, and no way around it",
	"client-auth":    "A client proves who it is, in its own way and in one alone",
	"assertion-key":  "An assertion is signed by a key of this client, whatever its header says",
	"assertion":      "An assertion is for us, from this client, now",
	"assertion-once": "An assertion works once",
	"response":       "Codes alone, by query or form: nothing in fragments",
	"request-object": "No request by value, by reference or with a registration",
	"bounds":         "A request is bounded, and has no parameter twice",
	"token-kind":     "A token counts as what it is alone, and a part of one is worth nothing",
	"token-end":      "Tokens end in time and with the login",
	"refresh":        "A refresh token works once, for its client; an old one ends all",
	"scope":          "No scope without openid, and none that was not granted",
	"other-clients":  "A client learns and ends only what is its own",
	"person":         "A client that wants one person does not get another, nor a weaker sign-in",
	"prompt":         "No page where none may be shown, and no sign-in that is only pretended",
	"logout":         "Only the holder of an ID token of this very login ends it without a question",
	"logout-return":  "A logout returns to a registered URI alone",
}

var source = regexp.MustCompile(`CVE-[0-9]|CWE-[0-9]|RFC [0-9]+ (§|appendix )[A-Z0-9]|OpenID Connect [A-Z][A-Za-z0-9. -]+ §[0-9]`)

// TestAttackPromises: each promise is shown by three distinct attacks at least, and each file
// says where it is known from.
func TestAttackPromises(t *testing.T) {
	t.Parallel()
	files, distinct := map[string]map[string]bool{}, map[string]bool{}
	for key := range promises {
		files[key] = map[string]bool{}
	}
	for _, a := range corpus(t) {
		if !source.MatchString(a.About) {
			t.Errorf("%s does not say where it is known from", a.Name)
		}
		distinct[cmp.Or(a.VariantOf, a.Name)] = true
		for _, key := range a.Promises {
			if files[key] == nil {
				t.Fatalf("%s belongs to %s, which nobody promises", a.Name, key)
			}
			files[key][cmp.Or(a.VariantOf, a.Name)] = true
		}
	}
	for key, text := range promises {
		if len(files[key]) < 3 {
			t.Errorf("%s: %d distinct attacks, want three", text, len(files[key]))
		}
	}
	if len(distinct) < 60 {
		t.Errorf("%d distinct attacks", len(distinct))
	}
}
