package caddymodule

import (
	"errors"
	"slices"
	"strconv"
	"strings"
	"unicode"

	"github.com/caddyserver/caddy/v2/caddyconfig/caddyfile"
	"go.uber.org/zap"

	"github.com/caddy-sso/caddy-sso/gateway"
	"github.com/caddy-sso/caddy-sso/gateway/wording"
	"github.com/caddy-sso/caddy-sso/mapping"
)

// warnOfOpen warns of a path that stands alone where a path and all below it are
// probably meant.
func (h *Handler) warnOfOpen() {
	for _, p := range h.Public {
		if p != "/" && strings.HasSuffix(p, "/") && !slices.Contains(h.Public, p+"*") {
			h.app.warn("this path alone is public, and what is below it needs a login: write `public "+p+"*` if all below it is meant",
				zap.String("site", h.site), zap.String("public", p))
		}
	}
	for _, p := range h.Protect {
		below := strings.TrimSuffix(p, "/") + "/*"
		if !strings.HasSuffix(p, "/*") && !slices.Contains(h.Protect, below) {
			h.app.warn("this path alone is protected, and what is below it is open: write `protect "+below+"` if both are meant",
				zap.String("site", h.site), zap.String("protect", p))
		}
	}
}

// warnOfSecret warns of a client without a secret. If a variable is not set, the next argument
// takes the place of `{$NAME}`. The secret may be the client_id now, and part of the
// provider's name. So this logs neither.
func (a *App) warnOfSecret(p builtProvider) {
	if p.lacksSecret == "" {
		return
	}
	fields := []zap.Field{zap.String("issuer", p.lacksSecret)}
	if p.site != "" {
		fields = append(fields, zap.String("site", p.site))
	}
	a.warn("there is no `client_secret`, so the client is public. "+inSyntax("A {$NAME} whose variable is not set is nothing: set the variable", "Set it")+". If you mean a public client, write `token_auth none`", fields...)
}

// warnOfSpace warns of a suffix or prefix that can't be told from the name itself.
func (a *App) warnOfSpace(named gateway.NamedProvider) {
	var fix string
	switch s := named.Users; {
	case s.Suffix != "" && isWord(s.Suffix[0]):
		fix = "alice is called alice" + s.Suffix + ": write `users suffix @" + s.Suffix + "`, or another sign before it"
	case s.Prefix != "" && isWord(s.Prefix[len(s.Prefix)-1]):
		fix = "alice is called " + s.Prefix + "alice: write `users prefix " + s.Prefix + "-`, or another sign behind it"
	default:
		return
	}
	a.warn("nothing stands between the user names of this provider and their name space", zap.String("provider", named.Name), zap.String("fix", fix))
}

// isWord says whether a character may be one of a name.
func isWord(c byte) bool { return c >= '0' && c <= '9' || c|0x20 >= 'a' && c|0x20 <= 'z' }

// warnOfSigns warns of signs in rules that may not be meant as parts of names. The
// Caddyfile's parser has refused those that change a name (misread), so only JSON can still
// have them.
func (h *Handler) warnOfSigns() {
	for kind, lines := range h.lines() {
		for _, line := range lines {
			written := rule{words(line.To), words(line.From)}
			if !line.Quoted && slices.ContainsFunc(line.From, isExpression) {
				for _, group := range line.From {
					if isExpression(group) {
						h.app.warn("groups are compared exactly, never as regular expressions: if this is no group's name, name each group",
							zap.String("site", h.site), zap.String("rule", written.line(kind)), zap.String("group", group))
					}
				}
				continue
			}
			meant, r := meantBy(written)
			var msg string
			switch {
			case r == hasSigns:
				msg = "signs say nothing in a rule, they are names of groups: if that isn't meant, write `" + meant.line(kind) + "`"
			case line.Quoted || r == asMeant:
				continue
			case r == excludes:
				msg = "no rule excludes anybody, and the ! is a part of the group's name: name all groups that this rule lets in, and write `" + meant.object() + "`; or add `\"quoted\": true` if the ! belongs to the name"
			default:
				msg = "every sign is a part of a name in a rule, and a comma separates no groups: if that isn't meant, write `" + meant.object() + "`; or add `\"quoted\": true` if the sign belongs to the name"
			}
			h.app.warn(msg, zap.String("site", h.site), zap.String("rule", written.line(kind)))
		}
	}
}

// isExpression says whether a group looks like a regular expression.
func isExpression(group string) bool {
	if slices.ContainsFunc([]string{".*", ".+", "(?"}, func(part string) bool { return strings.Contains(group, part) }) {
		return true
	}
	first, last := group[0], group[len(group)-1]
	return len(group) > 2 && (first == '^' || last == '$' || first == '/' && last == '/' || strings.Contains(group[1:len(group)-1], "|"))
}

// noteCommas says that a comma belongs to a name of the app. Older versions separated names
// there.
func (h *Handler) noteCommas() {
	for kind, lines := range h.lines() {
		for _, line := range lines {
			if i := slices.IndexFunc(line.To, func(name string) bool { return strings.Contains(name, ",") }); i >= 0 && !line.Quoted {
				h.app.log.Info("a word in quotes is one name, with its commas: if several names are meant, write a rule for each of them",
					zap.String("site", h.site), zap.String("rule", rule{words(line.To), words(line.From)}.line(kind)), zap.String("name", line.To[i]))
			}
		}
	}
}

// noteTemplate says that the app may not learn of the template.
func (h *Handler) noteTemplate() {
	if len(h.lines()["template"]) > 0 && h.opts.Headers.Template == "" {
		h.app.log.Info("no header has the template; it is in the assertion and in {http.auth.user.template} only: if the app reads a header, write `headers template <name>`",
			zap.String("site", h.site))
	}
}

// misread refuses a rule if signs in it make other names than are probably meant. Words in
// quotes are as they are meant.
func misread(d *caddyfile.Dispenser, kind string, to []string, tokens []caddyfile.Token) error {
	written := rule{to: words(to)}
	if tokens[0].Quoted() {
		written.to = []word{{tokens[0].Text, true}}
	}
	for _, token := range tokens[1:] {
		written.from = append(written.from, word{token.Text, token.Quoted()})
	}
	meant, r := meantBy(written)
	_, args, _ := strings.Cut(meant.line(kind), " ")
	line := wording.Option{Word: kind, Args: args}
	switch r {
	case changesNames:
		return d.WrapErr(wording.Errorf("%s: only blanks separate the words of a rule, and every other sign is a part of a name: write %s, or put the word in quotes if the sign belongs to it", wrongArguments(kind), line))
	case excludes:
		return d.WrapErr(wording.Errorf("%s: no rule excludes anybody: name all groups that this rule lets in, and write %s, or put the word in quotes if the ! belongs to it", wrongArguments(kind), line))
	}
	return nil
}

// A word is a name or a group in a rule. In quotes it is taken as it is written.
type word struct {
	text   string
	quoted bool
}

// words are texts from JSON. Nobody knows whether they were in quotes, except those that
// can't be written without.
func words(texts []string) []word {
	list := make([]word, len(texts))
	for i, text := range texts {
		list[i] = word{text, strings.Contains(text, " ")}
	}
	return list
}

// join joins words as write has each.
func join(words []word, separator string, write func(word) string) string {
	list := make([]string, len(words))
	for i, w := range words {
		list[i] = write(w)
	}
	return strings.Join(list, separator)
}

// A rule is a line of rules, word by word.
type rule struct{ to, from []word }

// line is the rule as a Caddyfile has it.
func (r rule) line(kind string) string {
	write := func(w word) string {
		if w.quoted {
			return `"` + w.text + `"`
		}
		return w.text
	}
	names := slices.Clone(r.to)
	for i, w := range names {
		names[i].quoted = w.quoted || strings.Contains(w.text, ",")
	}
	return kind + " " + join(names, ",", write) + " " + join(r.from, " ", write)
}

// object is the rule as JSON has it.
func (r rule) object() string {
	write := func(w word) string { return strconv.Quote(w.text) }
	return `{"to": [` + join(r.to, ", ", write) + `], "from": [` + join(r.from, ", ", write) + `]}`
}

// A reading says how the written rule differs from the rule that is probably meant.
type reading int

const (
	asMeant reading = iota
	hasSigns
	changesNames
	excludes
)

// meantBy returns the rule that is probably meant. People write a colon after the role, an
// arrow, a comment, a comma between groups, or an exclamation mark for an exception. A word
// of signs alone is no name, except *. The name of a directory's group (CN=…,OU=…) has
// commas of its own.
func meantBy(written rule) (meant rule, r reading) {
	defer func() {
		if len(meant.from) == 0 {
			meant.from = []word{{"<group>…", false}}
		}
	}()
	meant.to, r = rolesMeantBy(written.to)
	negated := false
	for _, group := range written.from {
		before := negated // by a mark of its own
		var text string
		text, negated = strings.CutPrefix(strings.TrimRight(group.text, ";"), "!")
		switch {
		case group.quoted:
			meant.from, negated = append(meant.from, group), false
		case strings.HasPrefix(group.text, "//"):
			return meant, max(r, changesNames)
		case negated || before:
			r, negated = excludes, text == ""
		case isSign(text):
			r = max(r, hasSigns)
		case len(meant.to) == 0:
			meant.to = words([]string{text})
		default:
			if text != group.text {
				r = max(r, changesNames)
			}
			if inner := strings.Trim(text, ","); strings.Contains(inner, ",") && !strings.Contains(inner, "=") {
				meant.from = append(meant.from, words(strings.FieldsFunc(inner, func(c rune) bool { return c == ',' }))...)
				r = max(r, changesNames)
				continue
			}
			meant.from = append(meant.from, word{text, false})
		}
	}
	return meant, r
}

func rolesMeantBy(written []word) (meant []word, r reading) {
	for _, name := range written {
		text := name.text
		if !name.quoted {
			text = strings.TrimSuffix(strings.TrimSuffix(strings.TrimRight(text, ":=;"), "->"), "=>")
		}
		if name.quoted || !isSign(text) {
			meant = append(meant, word{text, name.quoted})
		}
		if text != name.text || !name.quoted && isSign(text) {
			r = changesNames
		}
	}
	return meant, r
}

// isSign says whether a word is made of signs, such as =, -> or :. The * is everybody.
func isSign(word string) bool {
	return word != "*" && !strings.ContainsFunc(word, func(r rune) bool { return !unicode.In(r, unicode.P, unicode.Sm, unicode.Sk, unicode.Zs) })
}

// lines are the rules of the site by their words, those of providers among them.
func (h *Handler) lines() map[string][]mapping.Line { return linesOf(h.Rules, h.From) }

func linesOf(rules mapping.Rules, blocks []From) map[string][]mapping.Line {
	all := map[string][]mapping.Line{"role": rules.Role, "template": rules.Template, "group": rules.Group}
	for _, from := range blocks {
		all["role"] = slices.Concat(all["role"], from.Role)
		all["template"] = slices.Concat(all["template"], from.Template)
		all["group"] = slices.Concat(all["group"], from.Group)
	}
	return all
}

// literals refuses placeholders in what is compared as it is written.
func (h *Handler) literals() error {
	return errors.Join(
		literal("public", h.Public...), literal("protect", h.Protect...),
		literal("prefix", h.Prefix), literal("callback_path", h.CallbackPath), literalLines(h.lines()),
	)
}

func literalLines(lines map[string][]mapping.Line) error {
	var errs []error
	for _, kind := range []string{"role", "template", "group"} {
		for _, line := range lines[kind] {
			errs = append(errs, literal("role, template or group", line.To...), literal("role, template or group", line.From...))
		}
	}
	return errors.Join(errs...)
}

// literal refuses placeholders where none is replaced. As it is written, such a
// path would protect nothing, and such a group have nobody in it.
func literal(name string, values ...string) error {
	for _, value := range values {
		for _, start := range []string{"{env.", "{file.", "{args[", "{vars.", "{http.", "{system."} {
			if strings.Contains(value, start) {
				return wording.Aboutf(name, "'%s' has a placeholder in it, and none is replaced there: write %s", value,
					wording.Choice{Caddyfile: "{$NAME} for a variable of the environment, which Caddy replaces as it reads the Caddyfile", Other: "the value itself"})
			}
		}
	}
	return nil
}
