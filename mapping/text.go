package mapping

import (
	"errors"
	"fmt"
	"strings"
	"unicode/utf8"
)

// A TextRule is a rule of the short form, such as `admins=Admin|Auditor`.
type TextRule struct {
	Group Name
	To    []Name
	// Column is where the rule begins, in characters from 1.
	Column int
}

// A Name of the short form. In quotes it is taken as it is written.
type Name struct {
	Text   string
	Quoted bool
}

// blanks around a name are removed, so that the rules may stand on several lines.
const blanks = " \t\r\n"

// signs are those that separate names. A name with one of them must be in quotes.
const signs = "=|,"

// ParseText parses rules of the short form. Syntax:
//
//	<group>=<name>[|<name>…][,<group>=…]
//
// Blanks around names are removed. A name in double quotes may have any sign in it; a quote
// within it is written twice. A name without them neither begins nor ends with a single
// quote, and does not end in a semicolon. `*` is written without quotes. The error joins the first fault of each rule, with its column.
func ParseText(text string) ([]TextRule, error) {
	if !utf8.ValidString(text) {
		return nil, errors.New("the text is not valid UTF-8")
	}
	var rules []TextRule
	var errs []error
	for p := (&textParser{text: []rune(text)}); ; p.at++ { // behind a comma
		rule, err := p.rule()
		if err != nil {
			errs = append(errs, err)
			p.skip()
		}
		rules = append(rules, rule)
		if p.next() != ',' {
			break
		}
	}
	if err := errors.Join(errs...); err != nil {
		return nil, err
	}
	return rules, nil
}

// FormatText writes rules in the short form.
func FormatText(rules []TextRule) string {
	var b strings.Builder
	for i, rule := range rules {
		if i > 0 {
			b.WriteByte(',')
		}
		b.WriteString(rule.Group.format())
		for j, name := range rule.To {
			b.WriteByte("=|"[min(j, 1)])
			b.WriteString(name.format())
		}
	}
	return b.String()
}

func (n Name) format() string {
	if n.Quoted || n.Text == "" || strings.ContainsAny(n.Text, signs+`"`) || strings.Trim(n.Text, blanks) != n.Text {
		return `"` + strings.ReplaceAll(n.Text, `"`, `""`) + `"`
	}
	return n.Text
}

type textParser struct {
	text []rune
	at   int
}

// next returns the next character, or 0 at the end.
func (p *textParser) next() rune {
	if p.at < len(p.text) {
		return p.text[p.at]
	}
	return 0
}

func (p *textParser) atEnd() bool { return p.at >= len(p.text) }

// is reports whether the next character is one of set.
func (p *textParser) is(set string) bool { return !p.atEnd() && strings.ContainsRune(set, p.next()) }

func (p *textParser) errorf(format string, args ...any) error {
	return fmt.Errorf("column %d: %w", p.at+1, fmt.Errorf(format, args...))
}

// skip goes to the comma before the next rule.
func (p *textParser) skip() {
	for !p.atEnd() && p.next() != ',' {
		p.at++
	}
}

func (p *textParser) blanks() {
	for p.is(blanks) {
		p.at++
	}
}

func (p *textParser) rule() (rule TextRule, err error) {
	p.blanks()
	rule.Column = p.at + 1
	if rule.Group, err = p.name("group"); err != nil {
		return rule, err
	}
	switch {
	case rule.Group.Quoted && rule.Group.Text == "*":
		return rule, p.errorf("no rule can be for a group with the name *: write * without quotes for everybody, or remove the rule")
	case p.atEnd() && rule.Group.Quoted && strings.Contains(rule.Group.Text, "="):
		return rule, p.errorf("expected = behind the group %q, as in `%s=Role`; or, if the quotes stand around whole rules, remove them", rule.Group.Text, rule.Group.format())
	case p.is("|"):
		return rule, p.errorf("only names behind the = are separated by |: write a rule for each group, as in `a=Role,b=Role`")
	case !p.is("=") && strings.Contains(rule.Group.Text, ":"):
		return rule, p.errorf("expected = behind %q: a colon is a part of the name", rule.Group.Text)
	case !p.is("="):
		return rule, p.errorf("expected = behind the group %q, as in `%s=Role`", rule.Group.Text, rule.Group.format())
	}
	for p.is("=|") {
		if p.is("=") && len(rule.To) > 0 {
			return rule, p.errorf("this rule has a second =: a comma separates it from the next rule; if the = is a part of a name, put that name in double quotes")
		}
		p.at++
		name, err := p.name("name")
		if err != nil {
			return rule, err
		}
		rule.To = append(rule.To, name)
	}
	return rule, nil
}

// name parses a name and goes to the sign behind it.
func (p *textParser) name(what string) (Name, error) {
	p.blanks()
	if p.is(`"`) {
		return p.quoted()
	}
	start := p.at
	for !p.atEnd() && !p.is(signs) {
		if p.is(`"`) {
			return Name{}, p.errorf("there is a quote inside of a name: put the whole name in double quotes, and write each quote in it twice")
		}
		p.at++
	}
	name := strings.TrimRight(string(p.text[start:p.at]), blanks)
	if name == "" {
		return Name{}, p.errorf("a %s is missing: write it, or remove the sign before or behind it", what)
	}
	var fault string
	switch {
	case strings.HasPrefix(name, "'") || strings.HasSuffix(name, "'"):
		fault = "has a single quote at its edge, and single quotes do not quote: remove it"
	case strings.HasSuffix(name, ";"):
		fault = "ends in a semicolon, but commas separate rules: remove it"
	default:
		return Name{Text: name}, nil
	}
	defer func(end int) { p.at = end }(p.at)
	p.at = start
	return Name{}, p.errorf("%s %s; or, if it belongs to the name, put the name in double quotes", name, fault)
}

func (p *textParser) quoted() (Name, error) {
	start := p.at
	var b strings.Builder
	for p.at++; ; p.at++ {
		switch {
		case p.atEnd():
			p.at = start
			defer func() { p.at = len(p.text) }()
			return Name{}, p.errorf("this quote has no end")
		case !p.is(`"`):
			b.WriteRune(p.next())
			continue
		}
		if p.at++; p.is(`"`) {
			b.WriteByte('"')
			continue
		}
		break
	}
	p.blanks()
	switch {
	case !p.atEnd() && !p.is(signs):
		return Name{}, p.errorf("found %q behind a name in quotes: expected one of = | ,", p.next())
	case b.Len() == 0:
		return Name{}, p.errorf("a name is empty")
	}
	return Name{Text: b.String(), Quoted: true}, nil
}
