package caddymodule

import (
	"cmp"
	"errors"
	"fmt"
	"slices"
	"strings"
	"time"
	"unicode"

	"go.uber.org/zap"

	"github.com/caddy-sso/caddy-sso/gateway"
	"github.com/caddy-sso/caddy-sso/mapping"
)

// warnOfOpen warns of protected paths below which all is open.
func (h *Handler) warnOfOpen() {
	for _, p := range h.Protect {
		below := strings.TrimSuffix(p, "/") + "/*"
		if !strings.HasSuffix(p, "/*") && !slices.Contains(h.Protect, below) {
			h.log.Warn("this path alone is protected, and what is below it is open: write `protect "+below+"` if both are meant",
				zap.String("site", h.site), zap.String("protect", p))
		}
	}
}

// warnOfIdle warns of a limit of idleness that no login reaches.
func (a *App) warnOfIdle() {
	longest := time.Duration(0)
	for _, p := range a.providers {
		longest = max(longest, cmp.Or(p.Lifetime, time.Duration(a.Lifetime), gateway.DefaultLifetime))
	}
	if idle := time.Duration(a.Idle); idle > 0 && idle >= longest {
		a.warn("`idle` has no effect, for every login ends by `lifetime` before: write a shorter `idle`, or a longer `lifetime`",
			zap.Duration("idle", idle), zap.Duration("lifetime", longest))
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

// warnOfSigns warns of signs in rules that may have been meant to say something: to
// them, they are parts of names.
func (h *Handler) warnOfSigns() {
	for kind, lines := range h.lines() {
		for _, line := range lines {
			h.warnOfCommas(kind, line)
			to, from, excludes := withoutSigns(line)
			if slices.Equal(to, line.To) && slices.Equal(from, line.From) {
				continue
			}
			msg := "signs say nothing in a rule, they are parts of names: if that isn't meant, write `" + ruleLine(kind, to, from) + "`"
			if excludes {
				msg = "no rule excludes anybody, and the ! is a part of the group's name: if that isn't meant, name all groups that are let in by this rule, and write `" + ruleLine(kind, to, from) + "`"
			}
			h.app.warn(msg, zap.String("site", h.site), zap.String("rule", ruleLine(kind, line.To, line.From)))
		}
	}
}

// warnOfCommas warns of groups that a comma may have been meant to separate. The
// name of a directory's group (CN=…,OU=…) has commas of its own, and so may a group
// with a blank or with a comma at its edge, which only quotes can write.
func (h *Handler) warnOfCommas(kind string, line mapping.Line) {
	for _, group := range line.From {
		if strings.Contains(group, ",") && strings.Trim(group, ",") == group && !strings.ContainsAny(group, "= ") {
			h.app.warn("this is one group with a comma in its name, for blanks separate groups: if several are meant, write `"+ruleLine(kind, line.To, strings.FieldsFunc(group, func(r rune) bool { return r == ',' }))+"`",
				zap.String("site", h.site), zap.String("group", group))
		}
	}
}

// ruleLine is a rule as a Caddyfile has it.
func ruleLine(kind string, to, from []string) string {
	if len(from) == 0 {
		from = []string{"<group>…"}
	}
	line := kind + " " + strings.Join(to, ",")
	for _, group := range from {
		if strings.Contains(group, " ") && group[0] != '<' {
			group = `"` + group + `"`
		}
		line += " " + group
	}
	return line
}

// withoutSigns returns what a rule may have been meant to be: a colon behind the role,
// an arrow, a comment, an exclamation mark for an exception. A word of signs alone is
// no name, but for *. excludes says that an exception was left out.
func withoutSigns(line mapping.Line) (to, from []string, excludes bool) {
	for _, name := range line.To {
		name = strings.TrimSuffix(strings.TrimSuffix(strings.TrimRight(name, ":=;"), "->"), "=>")
		if !isSign(name) {
			to = append(to, name)
		}
	}
	negated := false
	for _, group := range line.From {
		before := negated // by a mark of its own
		var name string
		name, negated = strings.CutPrefix(strings.TrimRight(group, ";"), "!")
		switch {
		case strings.HasPrefix(group, "//"):
			return to, from, excludes
		case negated || before:
			excludes, negated = true, name == ""
		case isSign(name):
		case len(to) == 0:
			to = []string{name}
		default:
			from = append(from, name)
		}
	}
	return to, from, excludes
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
