package oidcop_test

import (
	"errors"
	"fmt"
	"regexp"
	"slices"
	"strconv"
	"strings"
	"testing"
)

// A step is one line of an attack. testdata/attacks/README.md describes the language.
type step struct {
	verb   string
	words  []word
	attack bool // it is left out in the control
	any    bool // it may fail
}

// word is name=value. It changes a parameter, and adds one if more is set.
type word struct {
	name, value  string
	more, attack bool
}

var wordForm = regexp.MustCompile(`^(!?)([A-Za-z0-9_.:-]+?)(\+?)=("(?:[^"\\]|\\.)*"|\S*)(?: +|$)`)

var verbs = []string{"authorize", "exchange", "refresh", "userinfo", "introspect", "revoke", "logout", "return", "wait", "end", "deny", "reload", "keep", "put-back"}

// readScript reads an attack strictly. The attack must differ from the control.
func readScript(body string) (steps []step, err error) {
	differs := false
	for line := range strings.SplitSeq(body, "\n") {
		var s step
		rest := line
		rest, s.attack = strings.CutPrefix(rest, "! ")
		rest, s.any = strings.CutPrefix(rest, "? ")
		s.verb, rest, _ = strings.Cut(rest, " ")
		if !slices.Contains(verbs, s.verb) {
			return nil, fmt.Errorf("reading %q: there is no verb %q", line, s.verb)
		}
		for rest != "" {
			m := wordForm.FindStringSubmatch(rest)
			if m == nil {
				return nil, fmt.Errorf("reading %q: %q is no name=value", line, rest)
			}
			w := word{name: m[2], value: m[4], more: m[3] != "", attack: m[1] != ""}
			if strings.HasPrefix(w.value, `"`) {
				if w.value, err = strconv.Unquote(w.value); err != nil {
					return nil, fmt.Errorf("reading %q: %w", line, err)
				}
			}
			s.words, rest = append(s.words, w), rest[len(m[0]):]
			differs = differs || w.attack
		}
		differs = differs || s.attack
		steps = append(steps, s)
	}
	if !differs {
		return nil, errors.New("nothing in it is an attack")
	}
	return steps, nil
}

// TestScripts: what is wrong in an attack is found.
func TestScripts(t *testing.T) {
	t.Parallel()
	for name, body := range map[string]string{
		"another verb": "autorize !x=y", "no value": "authorize !x", "nothing evil": "authorize x=y", "open quotes": `authorize !x="y`,
	} {
		if steps, err := readScript(body); err == nil {
			t.Errorf("%s is read as %+v", name, steps)
		}
	}
}
