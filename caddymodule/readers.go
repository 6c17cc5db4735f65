package caddymodule

import (
	"cmp"
	"errors"
	"fmt"
	"os"
	"slices"
	"strings"
	"unicode"
	"unicode/utf8"

	"github.com/caddyserver/caddy/v2/caddyconfig/caddyfile"

	"github.com/caddy-sso/caddy-sso/mapping"
)

// A setting is a variable that is set.
type setting struct {
	found
	full  string // its name
	value string
	file  string // in place of the value, with __FILE
}

// A line is an option with its arguments, as tokens of a Caddyfile. Their file is the name
// of the variable, so that errors name it.
type line []caddyfile.Token

// A reader makes lines of a value.
type reader func(setting) ([]line, error)

// readerOf returns the reader for the arguments that an option takes.
func readerOf(e entry) reader {
	_, usage, _ := strings.Cut(e.usage, " ")
	switch {
	case usage == "":
		return readFlag
	case e.word() == "client_secret":
		return readSecret
	case usage == "on|off":
		return readSwitch
	case strings.ContainsAny(usage, " …"):
		return readWords
	case strings.Contains(usage, "file>"):
		return readDocument
	}
	return readText
}

// quotedToken is a token in quotes: nothing else makes one.
var quotedToken = func() caddyfile.Token {
	tokens, err := caddyfile.Tokenize([]byte(`"x"`), "")
	if err != nil || len(tokens) != 1 {
		panic("Caddy does not read a word in quotes")
	}
	return tokens[0]
}()

// newLine begins a line with the option's word.
func (s setting) newLine(at int) line { return line{{File: s.full, Line: at, Text: s.word}} }

// with adds an argument.
func (l line) with(text string, quoted bool) line {
	t := caddyfile.Token{Text: text}
	if quoted {
		t = quotedToken
		t.Text = text
	}
	t.File, t.Line = l[0].File, l[0].Line
	return append(l, t)
}

// raw returns the value, or the bytes of the file.
func (s setting) raw() (string, error) {
	if s.file == "" {
		return s.value, nil
	}
	content, err := readRegular(s.file)
	if err != nil {
		return "", err
	}
	return strings.TrimRight(string(content), "\r\n"), nil
}

// content returns the value, or that of the file.
func (s setting) content() (string, error) {
	value, err := s.raw()
	control := func(r rune) bool { return unicode.IsControl(r) && !strings.ContainsRune("\t\r\n", r) }
	switch {
	case err != nil:
		return "", err
	case strings.HasPrefix(value, "\ufeff"):
		return "", errors.New("it begins with a byte order mark (U+FEFF), which an editor has written: save the file as UTF-8 without it")
	case !utf8.ValidString(value) || strings.ContainsFunc(value, control):
		return "", errors.New("it is no text in UTF-8, or has control characters in it")
	}
	return value, nil
}

// unquoted refuses a value in quotes, which a shell removes, but docker's --env-file does not.
func unquoted(value, quote string) error {
	if value = strings.TrimSpace(value); len(value) > 1 && strings.HasPrefix(value, quote) && strings.HasSuffix(value, quote) {
		return fmt.Errorf("the value has the quotes %s around it, which a shell removes, but an env file of Docker does not: remove them; or, if they belong to the value, write it into a file, and name that by __FILE", quote)
	}
	return nil
}

// text returns a value in which double quotes have no meaning.
func (s setting) text() (string, error) {
	value, err := s.content()
	return value, cmp.Or(err, unquoted(s.value, `"`))
}

// readText takes the value as the one argument.
func readText(s setting) ([]line, error) {
	value, err := s.text()
	return []line{s.newLine(1).with(value, true)}, err
}

// readDocument takes a value that may be the name of a file: so may __FILE.
func readDocument(s setting) ([]line, error) {
	if s.file != "" {
		return []line{s.newLine(1).with(s.file, true)}, nil
	}
	value := s.value
	if strings.Contains(value, "-----BEGIN") {
		value = strings.ReplaceAll(value, `\n`, "\n") // as tools write it that allow one line only
	}
	return []line{s.newLine(1).with(value, true)}, unquoted(value, `"`)
}

// readSecret takes a placeholder, so that the configuration does not have the secret.
func readSecret(s setting) ([]line, error) {
	secret, err := s.placeholder()
	return []line{s.newLine(1).with(secret, true)}, err
}

// placeholder stands for the value of the variable or of its file.
func (s setting) placeholder() (string, error) {
	inside := placeholder.FindString(s.value)
	switch {
	case s.file == "" && inside != "" && (inside == s.value || s.name == "REDIS_URL"):
		return s.value, nil
	case s.file == "" && inside != "":
		return "", fmt.Errorf("it has the placeholder %s inside: if that belongs to the secret, write the secret into a file, and name that by %s__FILE", inside, s.full)
	case s.file == "":
		return "{env." + s.full + "}", cmp.Or(unquoted(s.value, `"`), notReplaced(s.value, true))
	case strings.ContainsAny(s.file, "{}"):
		return "", fmt.Errorf("the file can't have a brace in its name: %s", s.file)
	}
	return "{file." + s.file + "}", nil
}

// checkFile returns what is in the file. It refuses a file that can't be read or is empty.
func (s setting) checkFile() (string, error) {
	content, err := s.raw()
	if err != nil {
		return "", fmt.Errorf("%w: write the name of a file that this user (%d) can read", err, os.Getuid())
	}
	if content = strings.TrimSpace(content); content == "" {
		err = fmt.Errorf("the file %s is empty", s.file)
	}
	return content, err
}

// readWords takes the words of the value as arguments. If the option may be repeated, each
// line of the value is one.
func readWords(s setting) ([]line, error) {
	value, err := s.content()
	if inside := strings.Trim(strings.TrimSpace(s.value), `"`); err == nil && strings.ContainsAny(inside, " \t\r\n") && !strings.Contains(inside, `"`) {
		err = unquoted(s.value, `"`) // several words, so the quotes are around the list
	}
	if err != nil {
		return nil, err
	}
	rows := []string{value}
	if s.repeats() {
		rows = strings.Split(value, "\n")
	}
	var lines []line
	for i, row := range rows {
		if strings.TrimSpace(row) == "" {
			continue
		}
		l := s.newLine(i + 1)
		for rest := strings.TrimSpace(row); rest != ""; rest = strings.TrimSpace(rest) {
			var word string
			quoted := rest[0] == '"'
			if quoted {
				var closed bool
				if word, rest, closed = strings.Cut(rest[1:], `"`); !closed {
					return nil, fmt.Errorf("a quote has no end: %s", row)
				}
			} else {
				end := strings.IndexAny(rest+" ", " \t\r\n")
				word, rest = rest[:end], rest[end:]
			}
			l = l.with(word, quoted)
		}
		lines = append(lines, l)
	}
	return lines, nil
}

// repeats reports whether the option may be repeated.
func (s setting) repeats() bool {
	b := s.block()
	i := b.index(s.word)
	return i >= 0 && b[i].more
}

// block returns the options of the setting's owner.
func (s setting) block() block {
	switch s.owner {
	case ofApp:
		return new(App).block()
	case ofProvider:
		if own := newProvider(s.protocol).block(); own.index(s.word) >= 0 {
			return own
		}
	}
	return new(Handler).block()
}

var yes, no = []string{"true", "on", "yes", "1"}, []string{"false", "off", "no", "0"}

// truth parses a value that is true or false.
func (s setting) truth() (bool, error) {
	value, err := s.text()
	word := strings.ToLower(strings.TrimSpace(value))
	switch {
	case err != nil:
		return false, err
	case slices.Contains(yes, word):
		return true, nil
	case slices.Contains(no, word):
		return false, nil
	}
	return false, fmt.Errorf("it can be true or false, not '%s'", value)
}

// readFlag writes an option without arguments if the value is true.
func readFlag(s setting) ([]line, error) {
	if on, err := s.truth(); !on || err != nil {
		return nil, err
	}
	return []line{s.newLine(1)}, nil
}

// readSwitch writes on or off.
func readSwitch(s setting) ([]line, error) {
	on, err := s.truth()
	word := "off"
	if on {
		word = "on"
	}
	return []line{s.newLine(1).with(word, false)}, err
}

// readRules takes rules of the short form. The place of a line is its column.
func readRules(s setting) ([]line, error) {
	value, err := s.content()
	if err != nil {
		return nil, err
	}
	rules, err := mapping.ParseText(value)
	if err != nil {
		return nil, err
	}
	var lines []line
	for _, rule := range rules {
		names := rule.To
		if !slices.ContainsFunc(names, inQuotes) {
			var texts []string
			for _, name := range names {
				texts = append(texts, name.Text)
			}
			names = []mapping.Name{{Text: strings.Join(texts, ",")}}
		}
		for _, name := range names { // a word in quotes is one name
			l := s.newLine(rule.Column).with(name.Text, inQuotes(name))
			lines = append(lines, l.with(rule.Group.Text, inQuotes(rule.Group)))
		}
	}
	return lines, nil
}

// inQuotes says whether a Caddyfile has a name in quotes.
func inQuotes(n mapping.Name) bool { return n.Quoted || strings.ContainsAny(n.Text, ` "`) }

// readDefault gives a template to everybody.
func readDefault(s setting) ([]line, error) {
	value, err := s.text()
	return []line{s.newLine(1).with(value, true).with("*", false)}, err
}
