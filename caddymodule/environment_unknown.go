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
	case near != "":
		hint = ": did you mean " + near + strings.TrimPrefix(name, base) + "?"
	}
	if linked.MatchString(name) {
		hint += ": if Kubernetes sets it for a service of that name, write `enableServiceLinks: false` in the pod's spec"
	}
	return errors.New("there is no such variable" + cmp.Or(hint, ": docs/environment.md has all"))
}

// similar returns the variable whose name behind SSO_ is a few edits away, or begins or goes
// on with that of base.
func similar(base string, names []string) string {
	rest := strings.ToLower(strings.TrimPrefix(base, variablePrefix))
	near := nearest(rest, slices.DeleteFunc(names, func(other string) bool { return other == rest }))
	if near == "" || mapping.Edits(rest, near) > 2 && !strings.Contains(near, rest) {
		return ""
	}
	return variablePrefix + strings.ToUpper(near)
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
