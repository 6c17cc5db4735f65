package caddymodule

import (
	"errors"
	"fmt"
	"io"
	"strings"

	"github.com/caddyserver/caddy/v2"
)

// A Secret is a value that must not be shown: a password, a key, a URL with a
// password in it. Printed in whatever way it reads "[redacted]"; only as JSON
// it is itself, because that is how a configuration is stored.
//
// Better than the secret itself, write a placeholder: `{env.NAME}` or
// `{file./path}`. Then neither the configuration nor Caddy's autosaved copy
// contains it.
type Secret string

// Format implements fmt.Formatter for all verbs.
func (Secret) Format(s fmt.State, _ rune) { _, _ = io.WriteString(s, "[redacted]") }

// String implements fmt.Stringer.
func (Secret) String() string { return "[redacted]" }

// An option is a named value that may hold placeholders.
type option struct {
	name  string
	value *string
}

// resolve replaces the placeholders in the options, and reports all that are
// empty or unknown: a value that is missing must not become an empty one.
func resolve(options ...option) error {
	var errs []error
	for _, o := range options {
		out, err := caddy.NewReplacer().ReplaceOrErr(*o.value, true, true)
		if err != nil {
			errs = append(errs, fmt.Errorf("%s: %w; is the variable set, is the file there and readable?", o.name, err))
			continue
		}
		*o.value = out
	}
	return errors.Join(errs...)
}

// reveal returns a Secret with its placeholders replaced. Its error quotes
// nothing but the names of environment variables and files.
func (s Secret) reveal(name string) (string, error) {
	out, err := caddy.NewReplacer().ReplaceOrErr(string(s), true, true)
	if err == nil {
		return out, nil
	}
	if !strings.HasPrefix(string(s), "{env.") && !strings.HasPrefix(string(s), "{file.") {
		return "", fmt.Errorf("%s: holds a placeholder that is empty or not known: write {env.NAME} or {file./path}; a brace that means itself is written \\{", name)
	}
	return "", fmt.Errorf("%s: %w; is the variable set, is the file there and readable?", name, err)
}
