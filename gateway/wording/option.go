package wording

import (
	"fmt"
	"strings"
)

// An Option is an option of the configuration that the text of an error names.
type Option struct {
	Word, Args string
	// Provider is whose option it is, if the error is not about that provider alone.
	Provider string
}

// String writes the option as a Caddyfile does.
func (o Option) String() string {
	text := "`" + strings.TrimSpace(o.Word+" "+o.Args) + "`"
	if o.Provider != "" {
		text += " in the block of provider " + o.Provider
	}
	return text
}

// Options are several, with a text between them.
type Options struct {
	Between string
	List    []Option
}

// String writes the options as a Caddyfile does.
func (o Options) String() string {
	var texts []string
	for _, option := range o.List {
		texts = append(texts, option.String())
	}
	return strings.Join(texts, o.Between)
}

// Blocks are blocks with rules, each for providers with blanks between them.
func Blocks(between string, providers ...string) Options {
	o := Options{Between: between}
	for _, names := range providers {
		o.List = append(o.List, Option{Word: "from", Args: names + " { … }"})
	}
	return o
}

// A Choice is a text about a Caddyfile, and the text in its place if the configuration is
// written in another syntax.
type Choice struct{ Caddyfile, Other string }

// String is the text about a Caddyfile.
func (c Choice) String() string { return c.Caddyfile }

// A Phrase is an error whose text names options. Each Option, Options and Choice among Args can be
// written in another syntax.
type Phrase struct {
	Format string
	Args   []any
}

// Errorf returns a Phrase. It wraps no error.
func Errorf(format string, args ...any) error { return &Phrase{format, args} }

func (p *Phrase) Error() string { return fmt.Sprintf(p.Format, p.Args...) }

// A Fault is an error about an option.
type Fault struct {
	Word string
	Err  error
}

// About returns a Fault, or nil if err is nil.
func About(word string, err error) error {
	if err == nil {
		return nil
	}
	return &Fault{word, err}
}

// Aboutf returns a Fault whose error is made by Errorf.
func Aboutf(word, format string, args ...any) error { return &Fault{word, Errorf(format, args...)} }

func (f *Fault) Error() string { return f.Word + ": " + f.Err.Error() }

func (f *Fault) Unwrap() error { return f.Err }

// A ProviderFault is an error about a provider.
type ProviderFault struct {
	Provider string
	Err      error
}

func (f *ProviderFault) Error() string { return "provider " + f.Provider + ": " + f.Err.Error() }

func (f *ProviderFault) Unwrap() error { return f.Err }
