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

// A TextError is an error whose text names options. Each Option, Options and Choice among Args can be
// written in another syntax.
type TextError struct {
	Format string
	Args   []any
}

// Errorf returns a TextError. It wraps no error.
func Errorf(format string, args ...any) error { return &TextError{format, args} }

func (p *TextError) Error() string { return fmt.Sprintf(p.Format, p.Args...) }

// An OptionError is an error about an option.
type OptionError struct {
	Word string
	Err  error
}

// About returns an OptionError, or nil if err is nil.
func About(word string, err error) error {
	if err == nil {
		return nil
	}
	return &OptionError{word, err}
}

// Aboutf returns an OptionError whose error is made by Errorf.
func Aboutf(word, format string, args ...any) error {
	return &OptionError{word, Errorf(format, args...)}
}

func (f *OptionError) Error() string { return f.Word + ": " + f.Err.Error() }

func (f *OptionError) Unwrap() error { return f.Err }

// A ProviderError is an error about a provider.
type ProviderError struct {
	Provider string
	Err      error
}

func (f *ProviderError) Error() string { return "provider " + f.Provider + ": " + f.Err.Error() }

func (f *ProviderError) Unwrap() error { return f.Err }
