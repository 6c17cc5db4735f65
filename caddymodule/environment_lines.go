package caddymodule

import (
	"errors"
	"fmt"
	"maps"
	"reflect"
	"slices"
	"strings"

	"github.com/caddyserver/caddy/v2/caddyconfig/caddyfile"
)

// readProvider makes the lines of a provider's block.
func (env *environment) readProvider(p *envProvider) {
	set := map[string]string{}
	if err := p.derive(); err != nil {
		env.errs = append(env.errs, err)
	}
	b := newProvider(p.protocol).block()
	for _, name := range slices.Sorted(maps.Keys(p.settings)) {
		s := p.settings[name]
		i := b.index(s.word)
		switch {
		case s.note != "":
			env.noteOf(s)
			continue
		case i < 0:
			p.rules = append(p.rules, env.linesOf(s)...)
			continue
		case set[s.word] != "" && !b[i].more:
			env.fault(s.full, fmt.Errorf("%s sets the same: remove one of them", set[s.word]))
			continue
		}
		set[s.word] = s.full
		p.lines = append(p.lines, env.linesOf(s)...)
	}
	if slices.ContainsFunc(env.errs, func(err error) bool { return strings.HasPrefix(err.Error(), p.prefix()) }) {
		return
	}
	provider := newProvider(p.protocol)
	d := caddyfile.NewDispenser(new(tokens).block(p.lines, "provider"))
	d.Next()
	if err := errors.Join(provider.block().parse(d), provider.complete()); err != nil {
		text, named := env.words(err, p)
		if !named {
			text = p.prefix() + "…: " + text
		}
		env.errs = append(env.errs, errors.New(text))
	}
}

// derive sets what other variables say in place of ISSUER and DISPLAY_NAME.
func (p *envProvider) derive() error {
	if s, ok := p.settings["NAME"]; ok && p.settings["DISPLAY_NAME"].full == "" {
		if err := p.set("DISPLAY_NAME", s, nil); err != nil {
			return err
		}
	}
	if p.protocol != "oidc" {
		return nil
	}
	return p.deriveIssuer()
}

// deriveIssuer sets the issuer by what else may say it.
func (p *envProvider) deriveIssuer() error {
	var names []string // of those that say the issuer
	for _, name := range []string{"ISSUER", "METADATA_URL", "TENANT", "REALM"} {
		if s, ok := p.settings[name]; ok {
			names = append(names, s.full)
		}
	}
	switch {
	case len(names) > 1:
		return fmt.Errorf("%s: %s says the issuer, too: remove one of them", names[1], names[0])
	case p.settings["ISSUER"].full != "":
		return nil
	}
	if s, ok := p.settings["METADATA_URL"]; ok {
		return p.set("ISSUER", s, func(address string) (string, error) {
			issuer, ok := strings.CutSuffix(address, "/.well-known/openid-configuration")
			if !ok {
				return "", errors.New("expected an address that ends in /.well-known/openid-configuration")
			}
			return issuer, nil
		})
	}
	if s, ok := p.settings["TENANT"]; ok {
		return p.set("ISSUER", s, func(tenant string) (string, error) {
			if tenant = strings.TrimSpace(tenant); !tenantID.MatchString(tenant) && !strings.Contains(tenant, "{") {
				return "", fmt.Errorf("'%s' is no tenant's ID: write the Directory (tenant) ID of your organization in Entra (for personal Microsoft accounts, %s)", tenant, personalTenant)
			}
			return "https://login.microsoftonline.com/" + tenant + "/v2.0", nil
		})
	}
	base, realm := p.settings["BASE_URL"], p.settings["REALM"]
	switch {
	case base.full == "" && realm.full == "":
		return p.deriveGoogle()
	case base.full == "" || realm.full == "":
		return fmt.Errorf("%s: %sBASE_URL and %[2]sREALM stand together: write both, or %[2]sISSUER", base.full+realm.full, p.prefix())
	}
	return p.set("ISSUER", base, func(base string) (string, error) {
		name, err := realm.text()
		return strings.TrimRight(base, "/") + "/realms/" + name, err
	})
}

// deriveGoogle sets what the DNS console knows of Google, which names nobody by
// preferred_username.
func (p *envProvider) deriveGoogle() error {
	s := p.settings["CLIENT_ID"]
	if p.variable != "GOOGLE" || s.full == "" {
		return nil
	}
	err := p.set("ISSUER", s, func(string) (string, error) { return "https://accounts.google.com", nil })
	if err == nil && p.settings["USERNAME_CLAIM"].full == "" && p.settings["USERNAME_ATTR"].full == "" {
		err = p.set("USERNAME_CLAIM", s, func(string) (string, error) { return "email", nil })
	}
	return err
}

// set gives a variable the value that another has, changed.
func (p *envProvider) set(name string, s setting, change func(string) (string, error)) error {
	value, err := s.text()
	if err == nil && change != nil {
		value, err = change(value)
	}
	if err != nil {
		return fmt.Errorf("%s: %w", s.full, err)
	}
	s.variable = p.fields[name]
	s.value, s.file = value, ""
	p.settings[name] = s
	return nil
}

// tokens are those of a Caddyfile. Each has the name of its variable as file name. Tokens
// without a variable have another file name.
type tokens struct {
	list []caddyfile.Token
	n    int
}

// noVariable is the file of tokens that belong to none.
const noVariable = "environment"

func (t *tokens) line(words ...string) {
	t.n++
	for _, word := range words {
		t.list = append(t.list, caddyfile.Token{File: noVariable, Line: t.n, Text: word})
	}
}

// segment makes a directive of words. The word "\n" ends a line.
func segment(words ...string) caddyfile.Segment {
	t := new(tokens)
	for len(words) > 0 {
		end := slices.Index(append(words, "\n"), "\n")
		t.line(words[:end]...)
		words = words[min(end+1, len(words)):]
	}
	return t.list
}

// lines adds lines. If one variable says two options, they get numbers of their own.
func (t *tokens) lines(lines []line) {
	for _, l := range lines {
		last := t.list[len(t.list)-1]
		same := last.File == l[0].File && last.Line+last.NumLineBreaks() >= l[0].Line
		for _, token := range l {
			if same {
				token.Line = last.Line + last.NumLineBreaks() + 1
			}
			t.list = append(t.list, token)
		}
	}
}

// block adds a block.
func (t *tokens) block(lines []line, words ...string) []caddyfile.Token {
	t.line(append(words, "{")...)
	t.lines(lines)
	t.line("}")
	return t.list
}

// global is the global option.
func (env *environment) global() []caddyfile.Token {
	t := new(tokens)
	t.line("sso", "{")
	t.lines(env.app)
	for _, p := range env.providers {
		t.block(p.lines, "provider", p.name, p.protocol)
	}
	t.line("}")
	return t.list
}

// directive is the directive of the one site.
func (env *environment) directive() []caddyfile.Token {
	t := new(tokens)
	t.line("sso", "{")
	t.lines(env.site)
	byProtocol := map[string][]string{}
	for _, p := range env.providers {
		if len(p.rules) > 0 {
			t.block(p.rules, "from", p.name)
		}
		byProtocol[p.protocol] = append(byProtocol[p.protocol], p.name)
	}
	for _, protocol := range slices.Sorted(maps.Keys(byProtocol)) {
		if rules := slices.Concat(env.rules[protocol], env.defaults[protocol]); len(rules) > 0 {
			t.block(rules, append([]string{"from"}, byProtocol[protocol]...)...)
		}
	}
	t.line("}")
	return t.list
}

// hasRules reports whether there is a rule, right or wrong, that could let somebody in.
func (env *environment) hasRules() bool {
	return slices.ContainsFunc(env.settings, func(s setting) bool {
		of := func(p *envProvider) bool {
			return s.owner == ofSite || p.protocol == s.protocol && (s.provider == "" || p.variable == s.provider)
		}
		return slices.Contains(ruleWords, s.word) && slices.ContainsFunc(env.providers, of)
	})
}

// addEnvironment adds what the environment configures, if the option says so. An
// option that the Caddyfile sets, too, is refused. Variables of a site, or that are not known, change nothing.
func (a *App) addEnvironment(environ []string) error {
	if !a.Environment {
		return nil
	}
	env, err := readGlobal(environ)
	if err != nil {
		return err
	}
	for _, note := range env.notes {
		note.Log(a.log)
	}
	if err := env.checkSwitches(a.ProvidersRaw); err != nil {
		return err
	}
	other := new(App)
	if err := other.UnmarshalCaddyfile(caddyfile.NewDispenser(env.global())); err != nil {
		return env.named(err)
	}
	return a.merge(other)
}

// merge adds what another app configures. Lists of providers are joined; any other option is set in one of them.
func (a *App) merge(other *App) error {
	var errs []error
	here, there := reflect.ValueOf(a).Elem(), reflect.ValueOf(other).Elem()
	for i := range here.NumField() {
		key, _, isOption := strings.Cut(here.Type().Field(i).Tag.Get("json"), ",")
		switch mine, theirs := here.Field(i), there.Field(i); {
		case !isOption || theirs.IsZero():
		case mine.IsZero():
			mine.Set(theirs)
		case key == "providers" || key == "same_people":
			mine.Set(reflect.AppendSlice(mine, theirs))
		default:
			errs = append(errs, fmt.Errorf("the configuration and the environment both set `%s`: remove one of them", key))
		}
	}
	return errors.Join(errs...)
}
