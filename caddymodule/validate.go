package caddymodule

import (
	"errors"
	"fmt"
	"slices"
	"strings"
	"unicode"

	"github.com/caddyserver/caddy/v2/caddyconfig/caddyfile"
	"go.uber.org/zap"

	"github.com/caddy-sso/caddy-sso/gateway"
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

// warnOfSigns warns of groups that are signs alone, such as the = of `role Admin =
// admins`. Nobody is in such a group, so the rule does what is meant without it.
func (h *Handler) warnOfSigns() {
	for kind, lines := range h.lines() {
		for _, line := range lines {
			if meant, r := meantBy(words(line.To), words(line.From)); r == hasSigns {
				h.app.warn("signs say nothing in a rule, they are names of groups: if that isn't meant, write `"+ruleLine(kind, meant)+"`",
					zap.String("site", h.site), zap.String("rule", ruleLine(kind, line)))
			}
		}
	}
}

// misread refuses a rule that says something else than is probably meant.
func misread(d *caddyfile.Dispenser, kind string, to []string, tokens []caddyfile.Token) error {
	names, groups := words(to), []word(nil)
	if tokens[0].Quoted() {
		names = []word{{tokens[0].Text, true}}
	}
	for _, token := range tokens[1:] {
		groups = append(groups, word{token.Text, token.Quoted()})
	}
	meant, r := meantBy(names, groups)
	line := "write `" + ruleLine(kind, meant) + "`"
	switch r {
	case changesNames:
		return d.Errf("wrong arguments for '%s': blanks alone separate the words of a rule, and every other sign is part of a name: %s, or put the word in quotes if the sign belongs to it", kind, line)
	case excludes:
		return d.Errf("wrong arguments for '%s': no rule excludes anybody: name all groups that this rule lets in, and %s, or put the word in quotes if the ! belongs to it", kind, line)
	}
	return nil
}

// A word is a name or a group in a rule. In quotes it is taken as it is written.
type word struct {
	text   string
	quoted bool
}

func words(texts []string) []word {
	list := make([]word, len(texts))
	for i, text := range texts {
		list[i] = word{text, strings.Contains(text, " ")}
	}
	return list
}

func (w word) String() string {
	if w.quoted {
		return `"` + w.text + `"`
	}
	return w.text
}

// ruleLine is a rule as a Caddyfile has it.
func ruleLine(kind string, line mapping.Line) string {
	if len(line.From) == 0 {
		line.From = []string{"<group>…"}
	}
	return kind + " " + strings.Join(line.To, ",") + " " + strings.Join(line.From, " ")
}

// A reading says how what is written differs from what is probably meant.
type reading int

const (
	asMeant reading = iota
	hasSigns
	changesNames
	excludes
)

// meantBy returns the rule that is probably meant: a colon after the role, an arrow, a
// comment, a comma between groups, an exclamation mark for an exception. A word of
// signs alone is no name, but for *. The name of a directory's group (CN=…,OU=…) has
// commas of its own.
func meantBy(to, from []word) (meant mapping.Line, r reading) {
	for _, name := range to {
		text := name.text
		if !name.quoted {
			text = strings.TrimSuffix(strings.TrimSuffix(strings.TrimRight(text, ":=;"), "->"), "=>")
		}
		if name.quoted || !isSign(text) {
			meant.To = append(meant.To, word{text, name.quoted}.String())
		}
		if text != name.text || !name.quoted && isSign(text) {
			r = changesNames
		}
	}
	negated := false
	for _, group := range from {
		before := negated // by a mark of its own
		var text string
		text, negated = strings.CutPrefix(strings.TrimRight(group.text, ";"), "!")
		switch {
		case group.quoted:
			meant.From, negated = append(meant.From, group.String()), false
		case strings.HasPrefix(group.text, "//"):
			return meant, max(r, changesNames)
		case negated || before:
			r, negated = excludes, text == ""
		case isSign(text):
			r = max(r, hasSigns)
		case len(meant.To) == 0:
			meant.To = []string{text}
		default:
			if text != group.text {
				r = max(r, changesNames)
			}
			if inner := strings.Trim(text, ","); strings.Contains(inner, ",") && !strings.Contains(inner, "=") {
				meant.From = append(meant.From, strings.FieldsFunc(inner, func(c rune) bool { return c == ',' })...)
				r = max(r, changesNames)
				continue
			}
			meant.From = append(meant.From, text)
		}
	}
	return meant, r
}

// isSign says whether a word is made of signs, such as =, -> or :. The * is everybody.
func isSign(word string) bool {
	return word != "*" && !strings.ContainsFunc(word, func(r rune) bool { return !unicode.In(r, unicode.P, unicode.Sm, unicode.Sk, unicode.Zs) })
}

// lines are the rules of the site by their words, those of providers among them.
func (h *Handler) lines() map[string][]mapping.Line {
	all := map[string][]mapping.Line{"role": h.Role, "template": h.Template, "group": h.Group}
	for _, from := range h.From {
		all["role"] = slices.Concat(all["role"], from.Role)
		all["template"] = slices.Concat(all["template"], from.Template)
		all["group"] = slices.Concat(all["group"], from.Group)
	}
	return all
}

// literals refuses placeholders in what is compared as it is written.
func (h *Handler) literals() error {
	errs := []error{
		literal("public", h.Public...), literal("protect", h.Protect...),
		literal("prefix", h.Prefix), literal("callback_path", h.CallbackPath),
	}
	lines := h.lines()
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
				return fmt.Errorf("%s: '%s' has a placeholder in it, and none is replaced there: write {$NAME} for a variable of the environment, which Caddy replaces as it reads the Caddyfile", name, value)
			}
		}
	}
	return nil
}
