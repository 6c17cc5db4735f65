package caddymodule

import (
	"cmp"
	"errors"
	"fmt"
	"maps"
	"slices"
	"strconv"
	"strings"

	"github.com/caddyserver/caddy/v2/caddyconfig/caddyfile"
	"go.uber.org/zap"
)

// An environment is what the variables that begin with SSO_ configure.
type environment struct {
	all      variables
	settings []setting // by name
	errs     []error
	files    []string // their contents, each with the text in its place

	sidecar   map[string]setting // by the name behind SSO_
	site, app []line
	providers []*envProvider
	rules     map[string][]line // for the people of all providers of a protocol
	defaults  map[string][]line // the last of these rules
	notes     []Note
}

// An envProvider is a provider of the environment.
type envProvider struct {
	protocol string
	variable string // its name in variables
	name     string // in addresses and logs
	fields   map[string]variable
	settings map[string]setting
	lines    []line
	rules    []line
}

func (p *envProvider) prefix() string {
	return variablePrefix + upper(p.protocol) + "_" + p.variable + "_"
}

// A Note is a variable that has no effect, or whose absence has one that may surprise.
type Note struct {
	Variable, Why string
	absent        bool
}

// Log logs a note.
func (n Note) Log(log *zap.Logger) {
	fields := []zap.Field{zap.String("variable", n.Variable), zap.String("why", n.Why)}
	if n.absent {
		log.Info("this variable is not set", fields...)
		return
	}
	log.Warn("this variable has no effect", fields...)
}

// readEnvironment reads variables in the form of os.Environ. Each of errs begins with the name
// of a variable.
func readEnvironment(environ []string) *environment {
	env, unknown := newEnvironment(environ)
	for _, name := range unknown {
		env.fault(name, env.unknown(name))
	}
	for _, s := range env.switches() {
		if s.provider != "" && !env.hits(s) {
			env.notes = append(env.notes, Note{Variable: s.full, Why: "there is no provider of this name, so it switches none off"})
		}
	}
	env.read()
	return env
}

// readGlobal reads only the variables that belong to the global option. Other variables that
// begin with SSO_ are no faults: the Caddyfile may use them.
func readGlobal(environ []string) (*environment, error) {
	env, unknown := newEnvironment(environ)
	for _, name := range unknown {
		env.notes = append(env.notes, Note{Variable: name, Why: env.unknown(name).Error()})
	}
	env.settings = slices.DeleteFunc(env.settings, func(s setting) bool {
		local := s.owner == ofSidecar || s.owner == ofSite || slices.Contains(ruleWords, s.word)
		if local {
			env.notes = append(env.notes, Note{Variable: s.full, Why: "it is for the sidecar: write the option in the site's block"})
		}
		return local
	})
	env.read()
	return env, env.err(nil)
}

func newEnvironment(environ []string) (env *environment, unknown []string) {
	env = &environment{
		all: theVariables(), sidecar: map[string]setting{}, rules: map[string][]line{}, defaults: map[string][]line{},
	}
	unknown = env.collect(environ)
	env.group()
	env.unfinished(&unknown)
	env.name()
	env.noteSwitches()
	return env, unknown
}

// err joins errs and one more.
func (env *environment) err(more error) error {
	return env.masked(errors.Join(append(env.errs, more)...))
}

// masked shows nothing in an error that is in a file: if the file is the wrong one, it may be a
// secret.
func (env *environment) masked(err error) error {
	if err == nil || len(env.files) == 0 {
		return err
	}
	return errors.New(strings.NewReplacer(env.files...).Replace(err.Error()))
}

func (env *environment) fault(name string, err error) {
	for fault := range strings.SplitSeq(err.Error(), "\n") {
		env.errs = append(env.errs, errors.New(name+": "+fault))
	}
}

// shortestSecret is how many bytes in a file can be a secret.
const shortestSecret = 6

// collect finds the settings, and returns the names that are not known. An empty value
// counts as not set.
func (env *environment) collect(environ []string) (unknown []string) {
	values := map[string]string{}
	for _, variable := range environ {
		name, value, _ := strings.Cut(variable, "=")
		if strings.HasPrefix(name, variablePrefix) && value != "" && !fromKubernetes(name) {
			values[name] = value
		}
	}
	for _, name := range slices.Sorted(maps.Keys(values)) {
		if err := unquoted(values[name], "'"); err != nil {
			env.fault(name, err)
			values[name] = strings.Trim(values[name], "'")
		}
		base, isFile := strings.CutSuffix(name, "__FILE")
		f, ok := env.all.find(base)
		s := setting{found: f, full: name, value: values[name]}
		if isFile {
			s.file, s.value = s.value, ""
		}
		unreplaced := notReplaced(s.value, false)
		switch {
		case !ok:
			unknown = append(unknown, name)
			continue
		case unreplaced != nil:
			env.fault(name, unreplaced)
			continue
		case isFile && values[base] != "":
			env.fault(name, fmt.Errorf("%s is set, too: remove one of them", base))
			continue
		case isFile:
			content, err := s.checkFile()
			if err != nil {
				env.fault(name, err)
				continue
			}
			if quoted := strconv.Quote(content); len(content) >= shortestSecret {
				env.files = append(env.files, content, "…", quoted[1:len(quoted)-1], "…")
			}
		}
		env.settings = append(env.settings, s)
	}
	return unknown
}

// group gives each provider its settings, and leaves out those that are switched off.
func (env *environment) group() {
	off := map[string]bool{} // by protocol and provider; empty: all
	providers := map[[2]string]*envProvider{}
	for _, s := range env.settings {
		key := [2]string{s.protocol, s.provider}
		switch {
		case s.name == "ENABLED":
			on, err := s.truth()
			if err != nil {
				env.fault(s.full, err)
			}
			off[s.protocol+"/"+s.provider] = err == nil && !on
			fallthrough
		case s.owner == ofProvider:
			if s.provider == "" {
				continue
			}
			if providers[key] == nil {
				providers[key] = &envProvider{
					protocol: s.protocol, variable: s.provider, fields: env.all.provider[s.protocol], settings: map[string]setting{},
				}
			}
			providers[key].settings[s.name] = s
		}
	}
	for _, p := range providers {
		if !off["/"] && !off[p.protocol+"/"] && !off[p.protocol+"/"+p.variable] {
			env.providers = append(env.providers, p)
		}
	}
	slices.SortFunc(env.providers, func(a, b *envProvider) int {
		return cmp.Or(cmp.Compare(a.variable, b.variable), cmp.Compare(a.protocol, b.protocol))
	})
}

// unfinished finds providers that only a misspelt variable of another provider makes:
// SSO_SAML_CORP_DISPLY_NAME would be the name of CORP_DISPLY.
func (env *environment) unfinished(unknown *[]string) {
	env.providers = slices.DeleteFunc(env.providers, func(p *envProvider) bool {
		of := func(other *envProvider) bool {
			return other.protocol == p.protocol && strings.HasPrefix(p.variable, other.variable+"_")
		}
		if len(p.settings) > 1 || p.settings["METADATA"].full != "" || !slices.ContainsFunc(env.providers, of) {
			return false
		}
		for _, s := range p.settings {
			*unknown = append(*unknown, s.full)
		}
		return true
	})
}

// name names the providers. Two of one name, at different protocols, get the protocol's name
// at the end.
func (env *environment) name() {
	for _, p := range env.providers {
		p.name = strings.ToLower(p.variable)
		if slices.ContainsFunc(env.providers, func(other *envProvider) bool { return other != p && other.variable == p.variable }) {
			p.name += "_" + p.protocol
		}
	}
}

// read makes lines of all settings.
func (env *environment) read() {
	for _, s := range env.settings {
		switch s.owner {
		case ofSidecar:
			env.sidecar[s.name] = s
		case ofSite:
			env.site = append(env.site, env.linesOf(s)...)
		case ofApp:
			env.app = append(env.app, env.linesOf(s)...)
		case ofProtocol:
			env.readProtocol(s)
		}
		if s.note != "" && s.owner != ofProvider {
			env.noteOf(s)
		}
	}
	env.app = append(env.app, env.storeLines()...)
	named := map[string]*envProvider{}
	for _, p := range env.providers {
		if other := named[p.name]; other != nil {
			env.fault(p.prefix()+"…", fmt.Errorf("%s… is a provider of the same name, %s: give one of them another, such as %s%s_%s_2_…", other.prefix(), p.name, variablePrefix, upper(p.protocol), p.variable))
		}
		named[p.name] = p
		env.readProvider(p)
	}
}

// readProtocol reads a setting for all providers of a protocol.
func (env *environment) readProtocol(s setting) {
	of := func(p *envProvider) bool { return p.protocol == s.protocol }
	if s.word != "" && !slices.ContainsFunc(env.providers, of) {
		env.notes = append(env.notes, Note{Variable: s.full, Why: "there is no provider of this protocol"})
	}
	switch {
	case s.name == "DEFAULT_PERMISSION_TEMPLATE":
		env.defaults[s.protocol] = env.linesOf(s)
	case s.read != nil:
		env.rules[s.protocol] = append(env.rules[s.protocol], env.linesOf(s)...)
	case s.word != "": // SP_…: of each provider that has none of its own
		for _, p := range env.providers {
			if own := upper(s.word); of(p) && p.settings[own].full == "" {
				p.settings[own] = setting{found: found{p.fields[own], s.protocol, p.variable}, full: s.full, value: s.value, file: s.file}
			}
		}
	}
}

// noteOf notes a variable without effect, or refuses its value if that would need one.
func (env *environment) noteOf(s setting) {
	value, err := s.content()
	if on, fault := s.truth(); fault == nil {
		value = strconv.FormatBool(on)
	}
	switch {
	case err != nil:
		env.fault(s.full, err)
	case s.same != "" && value == s.same:
	case s.strict:
		env.fault(s.full, fmt.Errorf("it can't be '%s', only '%s': %s", value, s.same, s.note))
	default:
		env.notes = append(env.notes, Note{Variable: s.full, Why: s.note})
	}
}

// storeLines are those of the store and the secret, each of which has several variables.
func (env *environment) storeLines() []line {
	set := map[string]setting{}
	for _, s := range env.settings {
		if s.owner == ofApp && s.read == nil {
			set[s.name] = s
		}
	}
	return slices.Concat(env.secretLine(set["SECRET"], set["SECRET_PREVIOUS"]), env.storeLine(set["REDIS_URL"], set["REDIS_PREFIX"], set["STORE_FILE"]))
}

// secretLine is the line with the secret, or none.
func (env *environment) secretLine(now, old setting) []line {
	switch {
	case now.full != "" && old.full != "":
		return []line{now.newLine(1).with(env.secretOf(now), true).with(env.secretOf(old), true)}
	case now.full != "":
		return []line{now.newLine(1).with(env.secretOf(now), true)}
	case old.full != "":
		env.fault(old.full, errors.New("it stands beside SSO_SECRET, which is not set"))
	}
	return nil
}

// storeLine is the line with the store, or none.
func (env *environment) storeLine(redis, prefix, file setting) []line {
	switch {
	case redis.full != "" && file.full != "":
		env.fault(file.full, fmt.Errorf("%s is set, too: there is one store, so remove one of them", redis.full))
	case prefix.full != "" && redis.full == "":
		env.fault(prefix.full, errors.New("it stands beside SSO_REDIS_URL, which is not set"))
	case redis.full != "":
		l := redis.newLine(1).with("redis", false).with(env.secretOf(redis), true)
		if prefix.full != "" {
			value, err := prefix.text()
			if err != nil {
				env.fault(prefix.full, err)
			}
			l = l.with("{", false)
			l = slices.Concat(l, setting{full: prefix.full, found: found{variable: variable{word: "prefix"}}}.newLine(1).with(value, true),
				line{{File: redis.full, Line: 2, Text: "}"}})
		}
		return []line{l}
	case file.full != "":
		path, err := file.text()
		if err != nil {
			env.fault(file.full, err)
		}
		return []line{file.newLine(1).with("bolt", false).with(path, true)}
	}
	return nil
}

// secretOf is the placeholder of a setting, whose value then stands in no configuration.
func (env *environment) secretOf(s setting) string {
	value, err := s.placeholder()
	if err != nil {
		env.fault(s.full, err)
	}
	return value
}

// linesOf reads a setting, and has the option's own parser check each line.
func (env *environment) linesOf(s setting) []line {
	if s.read == nil {
		return nil
	}
	lines, err := s.read(s)
	if err != nil {
		env.fault(s.full, err)
		return nil
	}
	b := s.block()
	for _, l := range lines {
		d := caddyfile.NewDispenser(l)
		d.Next()
		e := b[b.index(d.Val())]
		if err := e.set(d, e); err != nil {
			env.errs = append(env.errs, env.named(err))
		}
	}
	return lines
}
