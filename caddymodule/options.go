package caddymodule

import (
	"fmt"
	"slices"
	"strconv"
	"strings"
	"time"

	"github.com/caddyserver/caddy/v2"
	"github.com/caddyserver/caddy/v2/caddyconfig/caddyfile"

	"github.com/caddy-sso/caddy-sso/gateway/wording"
)

// An entry is one option of a block in the Caddyfile. The parser uses it,
// also for its errors. Tests compare it with the syntax in comments and the tables of
// docs/.
type entry struct {
	usage string // begins with the option's word; " | " separates alternatives
	set   setter
	more  bool // it may be repeated
}

// A setter parses the arguments of the current option.
type setter func(d *caddyfile.Dispenser, e entry) error

// then adds a check that runs after s.
func (s setter) then(check func(d *caddyfile.Dispenser) error) setter {
	return func(d *caddyfile.Dispenser, e entry) error {
		if err := s(d, e); err != nil {
			return err
		}
		return check(d)
	}
}

func once(usage string, set setter) entry { return entry{usage, set, false} }

func many(usage string, set setter) entry { return entry{usage, set, true} }

func (e entry) word() string {
	word, _, _ := strings.Cut(e.usage, " ")
	return word
}

// wrong returns the error for wrong arguments.
func (e entry) wrong(d *caddyfile.Dispenser) error {
	example := ""
	if strings.HasSuffix(e.usage, " <duration>") {
		example = ", where <duration> is one word, such as 30s or 8h"
	}
	_, args, _ := strings.Cut(e.usage, " ")
	return d.WrapErr(wording.Errorf("%s: expected %s%s", wrongArguments(e.word()), wording.Option{Word: e.word(), Args: args}, example))
}

// wrongArguments begins an error about an option. Before it, the environment names the variable.
func wrongArguments(word string) wording.Choice {
	return wording.Choice{Caddyfile: "wrong arguments for '" + word + "'", Other: "wrong value"}
}

// A block has the options of a block in the Caddyfile. If two have the same word, the
// first counts.
type block []entry

// option returns an option with its usage, for errors.
func (b block) option(word string) wording.Option {
	_, args, _ := strings.Cut(b.usage(word), " ")
	return wording.Option{Word: word, Args: args}
}

// usage returns the usage of an option, or "" if the block has none of that name.
func (b block) usage(word string) string {
	if i := b.index(word); i >= 0 {
		return b[i].usage
	}
	return ""
}

func (b block) index(word string) int {
	return slices.IndexFunc(b, func(e entry) bool { return e.word() == word })
}

// words returns the words of the block, sorted.
func (b block) words() []string {
	var words []string
	for _, e := range b {
		words = append(words, e.word())
	}
	slices.Sort(words)
	return slices.Compact(words)
}

// parse parses a block. The line before it has set the given options.
func (b block) parse(d *caddyfile.Dispenser, given ...string) error {
	for nesting := d.Nesting(); d.NextBlock(nesting); {
		word := d.Val()
		i := b.index(word)
		switch {
		case i < 0:
			return b.unknown(d)
		case slices.Contains(given, word) && !b[i].more:
			return d.Errf("'%s' is given twice: write it once", word)
		}
		given = append(given, word)
		if err := b[i].set(d, b[i]); err != nil {
			return err
		}
	}
	return nil
}

// unknown returns the error for a word that the block does not have. It says where the
// word belongs, or names a similar word and all words of the block.
func (b block) unknown(d *caddyfile.Dispenser) error {
	if err := misplaced(d, b); err != nil {
		return err
	}
	return unknownWord(d, "subdirective", b.words())
}

// text takes one argument, which must not be empty.
func text[T ~string](to *T) setter {
	return func(d *caddyfile.Dispenser, e entry) error {
		if d.CountRemainingArgs() > 1 && strings.Contains(e.usage, "<text>") {
			return d.WrapErr(wording.Errorf("%s: put a text with blanks in quotes: %s", wrongArguments(e.word()),
				wording.Option{Word: e.word(), Args: strconv.Quote(strings.Join(d.RemainingArgs(), " "))}))
		}
		var arg string
		if !d.AllArgs(&arg) || arg == "" {
			return e.wrong(d)
		}
		*to = T(arg)
		return nil
	}
}

// list takes one or more arguments.
func list(to *[]string) setter {
	return func(d *caddyfile.Dispenser, e entry) error {
		args := d.RemainingArgsAsTokens()
		if len(args) == 0 {
			return e.wrong(d)
		}
		if err := joined(d, e.word(), args); err != nil {
			return err
		}
		words, err := listed(d, e.word(), args)
		*to = append(*to, words...)
		return err
	}
}

// flag takes no arguments.
func flag(to *bool) setter {
	return func(d *caddyfile.Dispenser, e entry) error {
		if d.NextArg() {
			return e.wrong(d)
		}
		*to = true
		return nil
	}
}

// choice takes one of the words that the usage names.
func choice(to *string) setter {
	return func(d *caddyfile.Dispenser, e entry) error {
		_, usage, _ := strings.Cut(e.usage, " ")
		words := strings.Split(usage, "|")
		return text(to).then(func(d *caddyfile.Dispenser) error {
			if !slices.Contains(words, *to) {
				return unknownWord(d, "value for '"+e.word()+"':", words)
			}
			return nil
		})(d, e)
	}
}

// duration takes a duration of a second or more.
func duration(to *caddy.Duration) setter {
	return func(d *caddyfile.Dispenser, e entry) error {
		var arg string
		return text(&arg).then(func(d *caddyfile.Dispenser) error {
			dur, err := caddy.ParseDuration(arg)
			if err != nil || dur < time.Second {
				return d.Errf("'%s' cannot be '%s': expected a duration of a second or more, such as 30m, 8h or 7d", e.word(), arg)
			}
			*to = caddy.Duration(dur)
			return nil
		})(d, e)
	}
}

// providerName takes the name of a provider.
func providerName(to *string) setter {
	return text(to).then(func(d *caddyfile.Dispenser) error {
		if !validName(*to) {
			return d.Errf("'%s' cannot be a provider's name: %s", *to, nameRule)
		}
		return nil
	})
}

// joined refuses words that a comma joins (`a,b`), because blanks separate words. In a
// path a comma is allowed, but not before a slash (`/a,/b`).
func joined(d *caddyfile.Dispenser, word string, tokens []caddyfile.Token) error {
	var args []string
	found := false
	for _, token := range tokens {
		words := []string{token.Text}
		inner := strings.Trim(token.Text, ",")
		if strings.Contains(inner, ",") && !token.Quoted() && (inner[0] != '/' || strings.Contains(inner, ",/")) {
			found, words = true, strings.Split(inner, ",")
		}
		for _, w := range words {
			args = append(args, withoutUser(w))
		}
	}
	if !found {
		return nil
	}
	return d.WrapErr(wording.Errorf("%s: only blanks separate the words of this list: write %s, or put the word in quotes if the comma belongs to it",
		wrongArguments(word), wording.Option{Word: word, Args: strings.Join(args, " ")}))
}

// listed returns the words of a list. It refuses a comma at the edge of a word: that was
// meant to separate two words, but blanks do.
func listed(d *caddyfile.Dispenser, word string, tokens []caddyfile.Token) ([]string, error) {
	words := make([]string, len(tokens))
	for i, token := range tokens {
		words[i] = token.Text
		if strings.Trim(token.Text, ",") != token.Text && !token.Quoted() {
			return nil, d.WrapErr(wording.Errorf("%s: there is a comma at the edge of '%s', but only blanks separate the words of this list: remove the comma, or put the word in quotes if the comma belongs to it", wrongArguments(word), withoutUser(token.Text)))
		}
	}
	return words, nil
}

// position returns the file and line of the current token; in a variable's rules, the column.
func position(d *caddyfile.Dispenser) string {
	if strings.HasPrefix(d.File(), variablePrefix) {
		return fmt.Sprintf("%s, column %d", d.File(), d.Line())
	}
	return fmt.Sprintf("%s:%d", d.File(), d.Line())
}
