package caddymodule

import (
	"cmp"
	"errors"
	"fmt"
	"maps"
	"slices"
	"strings"
	"sync/atomic"

	"github.com/caddy-sso/caddy-sso/gateway/wording"
	"github.com/caddy-sso/caddy-sso/mapping"
)

// lastFault is the last error about the configuration. Caddy keeps only the text of what
// Provision and Start return.
var lastFault atomic.Pointer[error]

// noted keeps an error for Explain, unless it only tells again what is kept.
func noted(err error) error {
	if last := lastFault.Load(); err != nil && (last == nil || !strings.Contains(err.Error(), (*last).Error())) {
		lastFault.Store(&err)
	}
	return err
}

// named begins an error with the variable that it is about, and names variables in place of
// options.
func (env *environment) named(err error) error {
	text, _ := env.words(err, nil)
	return env.masked(errors.New(strings.ReplaceAll(text, "Caddy's user", "this process's user")))
}

// words writes an error in words of the environment. It says whether the text begins with a
// variable: what comes before that, such as a file, is left out then. An option that is not
// said to be another's is that of p, if p is not nil.
func (env *environment) words(err error, p *envProvider) (text string, named bool) {
	switch e := err.(type) { //nolint:errorlint // it takes the error apart itself
	case *wording.TextError:
		return env.phrase(e, p), false
	case *wording.OptionError:
		text, named = env.words(e.Err, p)
		if name := env.variableOf(e.Word, p); !named && name != "" {
			return name + ": " + text, true
		}
		return text, named
	case *wording.ProviderError:
		text, named = env.words(e.Err, env.provider(e.Provider))
		if !named {
			text = "provider " + e.Provider + ": " + text
		}
		return text, named
	case *mapping.RuleError:
		if strings.HasPrefix(e.Position, variablePrefix) { // the variable says the kind of line
			return e.Position + ": " + e.Msg, true
		}
		return e.Error(), false
	case interface{ Unwrap() []error }:
		var lines []string
		for _, one := range e.Unwrap() {
			line, begins := env.words(one, p)
			lines, named = append(lines, line), named || begins
		}
		return strings.Join(lines, "\n"), named
	case interface{ Unwrap() error }:
		return env.wrapped(err, e.Unwrap(), p)
	}
	return err.Error(), false
}

// wrapped writes an error with another one inside.
func (env *environment) wrapped(err, inner error, p *envProvider) (text string, named bool) {
	before, after, found := strings.Cut(err.Error(), inner.Error())
	if !found {
		return err.Error(), false
	}
	if token, ok := strings.CutPrefix(after, ", at "); ok { // as Dispenser.WrapErr writes
		name, number, _ := strings.Cut(token, ":")
		if f, ok := env.all.find(strings.TrimSuffix(name, "__FILE")); ok {
			if fault, ok := errors.AsType[*wording.OptionError](inner); ok { // the variable says the option
				inner = fault.Err
			}
			text, _ = env.words(inner, env.providerOf(f))
			text = strings.ReplaceAll(text, " (by "+env.variableOf(f.word, nil)+")", " (by "+name+")")
			return f.place(name, number) + before + withoutWord(text, f.word), true
		}
		if name == noVariable {
			after = ""
		}
	}
	if text, named = env.words(inner, p); named {
		before = ""
	}
	return before + text + after, named
}

// withoutWord leaves an option out at the beginning of a text: the variable stands there.
func withoutWord(text, word string) string {
	if rest, ok := strings.CutPrefix(text, "'"+word); ok {
		_, rest, _ = strings.Cut(rest, "'") // of "'users prefix'"
		if why, ok := strings.CutPrefix(rest, ": "); ok {
			return why
		}
		return "it" + rest
	}
	return strings.TrimPrefix(text, word+": ")
}

// place is how an error at a token begins: with the variable, and the column or line in its
// value.
func (f found) place(name, number string) string {
	switch {
	case slices.Contains(ruleWords, f.word):
		name += ": column " + number
	case number != "1":
		name += ": line " + number
	}
	return name + ": "
}

// phrase writes the options that an error names as variables.
func (env *environment) phrase(e *wording.TextError, p *envProvider) string {
	args := slices.Clone(e.Args)
	for i, arg := range args {
		switch a := arg.(type) {
		case wording.Option:
			args[i] = env.mention(a, p)
		case wording.Options:
			var list []string
			for _, o := range a.List {
				list = append(list, env.mention(o, p))
			}
			args[i] = strings.Join(list, a.Between)
		case wording.Choice:
			args[i] = a.Other
		}
	}
	return fmt.Sprintf(e.Format, args...)
}

func (env *environment) mention(o wording.Option, p *envProvider) string {
	if o.Provider != "" {
		p = env.provider(o.Provider)
	}
	name, args := env.variableOf(o.Word, p), o.Args
	if o.Word == "store" { // its kind is in the variable's name
		_, args, _ = strings.Cut(args, " ")
	}
	switch {
	case name == "":
		return o.String()
	case o.Word == "secret" && strings.Contains(args, " "): // both have a variable
		return name + " and " + variablePrefix + "SECRET_PREVIOUS"
	case slices.Contains(ruleWords, o.Word) && args != "":
		return o.String() + " (by " + name + ")"
	case o.Word == "from":
		return env.mappingOf(args)
	case args != "" && !(strings.HasPrefix(args, "<") && !strings.Contains(args, " ")):
		return "`" + name + "=" + strings.ReplaceAll(args, " | "+o.Word+" ", " | "+name+"=") + "`"
	}
	return name
}

// provider returns a provider by its name, or nil.
func (env *environment) provider(name string) *envProvider {
	for _, p := range env.providers {
		if p.name == name {
			return p
		}
	}
	return nil
}

// providerOf returns the provider that a variable is of, or nil.
func (env *environment) providerOf(f found) *envProvider {
	for _, p := range env.providers {
		if p.protocol == f.protocol && p.variable == f.provider {
			return p
		}
	}
	return nil
}

// mappingOf returns the variables for the rules of providers, which begin args.
func (env *environment) mappingOf(args string) string {
	names, _, _ := strings.Cut(args, " {")
	var list []string
	for name := range strings.FieldsSeq(names) {
		if p := env.provider(name); p != nil {
			list = append(list, p.prefix()+"ROLE_MAPPING")
		}
	}
	return cmp.Or(strings.Join(list, " and "), "SSO_<PROTOCOL>_<NAME>_ROLE_MAPPING")
}

var ruleWords = []string{"role", "template", "group"}

// variableOf returns the name of an option's variable: of p, if it has the option, or else of
// the site or all sites. If no provider is known, it is of the only one, or as docs/environment.md
// writes it.
func (env *environment) variableOf(word string, p *envProvider) string {
	word, _, _ = strings.Cut(word, " ") // "store redis"
	if p != nil && p.fields[upper(word)].word == word {
		if s := p.by(word); s.full != "" {
			return s.full
		}
		return p.prefix() + upper(word)
	}
	for _, s := range env.settings { // by the name that is used
		if s.word == word && s.protocol == "" && s.owner != ofSidecar {
			return s.full
		}
	}
	switch {
	case slices.Contains(ruleWords, word):
		return variablePrefix + upper(word) + "_MAPPING"
	case word == "from":
		return env.mappingOf("")
	case env.all.global[upper(word)].word == word, env.all.isSidecars(upper(word)):
		return variablePrefix + upper(word)
	}
	if len(env.providers) == 1 && p == nil && env.providers[0].fields[upper(word)].word == word {
		return env.variableOf(word, env.providers[0])
	}
	for _, own := range env.all.provider {
		if own[upper(word)].word == word {
			return "SSO_<PROTOCOL>_<NAME>_" + upper(word)
		}
	}
	return ""
}

// by returns the setting of an option.
func (p *envProvider) by(word string) setting {
	for _, name := range slices.Sorted(maps.Keys(p.settings)) {
		if s := p.settings[name]; s.word == word {
			return s
		}
	}
	return setting{}
}
