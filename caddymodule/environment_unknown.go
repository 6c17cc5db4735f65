package caddymodule

import (
	"cmp"
	"errors"
	"regexp"
	"slices"
	"strings"

	"github.com/caddy-sso/caddy-sso/mapping"
)

// unknown is the error for a name that is no variable's.
func (env *environment) unknown(name string) error {
	base := strings.TrimSuffix(name, "__FILE")
	var names []string
	for global := range env.all.global {
		names = append(names, strings.ToLower(global))
	}
	for protocol, own := range env.all.protocol {
		for field := range own {
			names = append(names, strings.ToLower(protocol+"_"+field))
		}
		for _, provider := range env.guesses(base, protocol) {
			for field := range env.all.provider[protocol] {
				names = append(names, strings.ToLower(protocol+"_"+provider+"_"+field))
			}
		}
	}
	slices.Sort(names)
	hint := ""
	exception := slices.IndexFunc(exceptions, func(e exception) bool { return e.owner != ofProvider && variablePrefix+upper(e.word) == base })
	_, capitals := env.all.find(strings.ToUpper(base))
	withoutFile, file := strings.CutSuffix(base, "_FILE")
	_, known := env.all.find(withoutFile)
	switch near := similar(base, names); {
	case exception >= 0:
		hint = ": " + exceptions[exception].why
	case capitals && base != strings.ToUpper(base):
		hint = ": write it in capitals"
	case file && known:
		hint = ": did you mean " + withoutFile + "__FILE, with two underscores?"
	case env.nameless(base) != "":
		hint = ": it names no provider: write " + env.nameless(base) + strings.TrimPrefix(name, base)
	case near != "":
		hint = ": did you mean " + near + strings.TrimPrefix(name, base) + "?"
	}
	if linked.MatchString(name) {
		hint += ": if Kubernetes sets it for a service of that name, write `enableServiceLinks: false` in the pod's spec"
	}
	return errors.New("there is no such variable" + cmp.Or(hint, ": docs/environment.md has all"))
}

// nameless returns the variable of a provider whose name base leaves out, or "".
func (env *environment) nameless(base string) string {
	for protocol, fields := range env.all.provider {
		prefix := variablePrefix + upper(protocol) + "_"
		if field, ok := strings.CutPrefix(base, prefix); ok && fields[field].name != "" {
			return prefix + "<NAME>_" + field
		}
	}
	return ""
}

// similar returns the variable whose name behind SSO_ is a few edits away, has one word more or
// less, or has base in it.
func similar(base string, names []string) string {
	rest := strings.ToLower(strings.TrimPrefix(base, variablePrefix))
	near := nearest(rest, slices.DeleteFunc(names, func(other string) bool { return other == rest }))
	if near == "" || mapping.Edits(rest, near) > 2 {
		near = cmp.Or(byWords(rest, names), near)
	}
	if near == "" || mapping.Edits(rest, near) > 2 && !strings.Contains(near, rest) && byWords(rest, []string{near}) == "" {
		return ""
	}
	return variablePrefix + strings.ToUpper(near)
}

// byWords returns the name that has all words of base and at most one more, or one less. Of
// several, an address counts.
func byWords(base string, names []string) string {
	own, best := wordsOf(base), ""
	for _, name := range names {
		words := wordsOf(name)
		more, less := without(words, own), without(own, words)
		if more+less <= 1 && (best == "" || more+less == 0 || strings.HasSuffix(name, "_url")) {
			best = name
		}
	}
	return best
}

// wordsOf are the words of a name, in the singular.
func wordsOf(name string) []string {
	words := strings.Split(name, "_")
	for i, word := range words {
		if singular, ok := strings.CutSuffix(word, "ies"); ok {
			words[i] = singular + "y"
			continue
		}
		words[i] = strings.TrimSuffix(word, "s")
	}
	return words
}

// without counts the words that are not among others.
func without(words, others []string) (n int) {
	for _, word := range words {
		if !slices.Contains(others, word) {
			n++
		}
	}
	return n
}

// linked matches what Kubernetes sets for services.
var linked = regexp.MustCompile(`_SERVICE_(HOST|PORT)|_PORT(_[0-9]+_(TCP|UDP)|$)`)

// guesses returns the names of providers that a misspelt variable may mean: those that there
// are, and each beginning of what stands behind the protocol.
func (env *environment) guesses(name, protocol string) []string {
	rest, ok := strings.CutPrefix(name, variablePrefix+upper(protocol)+"_")
	if !ok {
		return nil
	}
	var names []string
	for _, p := range env.providers {
		if p.protocol == protocol {
			names = append(names, p.variable)
		}
	}
	for at := range len(rest) {
		if rest[at] == '_' && validVariable(upper(rest[:at])) {
			names = append(names, rest[:at])
		}
	}
	return names
}
