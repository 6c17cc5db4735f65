package caddymodule

import (
	"errors"
	"fmt"
	"io"
	"os"
	"regexp"
	"slices"
	"strings"
	"unicode"
	"unicode/utf8"

	"github.com/caddyserver/caddy/v2"

	"github.com/caddy-sso/caddy-sso/gateway/wording"
)

// A Secret is a value that must not be shown: a password, a key, a URL with a password in
// it. All verbs of fmt print "[redacted]". JSON has the value, because Caddy stores the
// configuration as JSON.
//
// Write a placeholder rather than the secret itself: `{env.NAME}` or `{file./path}`. Then
// neither the configuration nor Caddy's autosaved copy contains it.
type Secret string

// Format implements fmt.Formatter for all verbs.
func (Secret) Format(s fmt.State, _ rune) { _, _ = io.WriteString(s, "[redacted]") }

// String implements fmt.Stringer.
func (Secret) String() string { return "[redacted]" }

// An option is a named value that may have placeholders in it.
type option struct {
	name  string
	value *string
}

// resolve replaces the placeholders in the options. It reports every placeholder without
// a value: an option must not become empty unnoticed.
func resolve(options ...option) error {
	var errs []error
	for _, o := range options {
		out, err := replace(*o.value)
		if err == nil {
			err = checkValue(*o.value, out)
		} else if cause := missingValue(*o.value); cause != nil {
			err = cause
		} else {
			err = fmt.Errorf("%w: write {env.NAME} or {file./path}", err)
		}
		if err != nil {
			errs = append(errs, wording.About(o.name, err))
			continue
		}
		*o.value = out
	}
	return errors.Join(errs...)
}

// reveal returns a Secret with its placeholders replaced. Its error quotes only names of
// environment variables and files.
func (s Secret) reveal(name string) (string, error) {
	out, err := replace(string(s))
	if err == nil {
		err = checkValue(string(s), out)
	} else if err = missingValue(string(s)); err == nil {
		err = errors.New("has a placeholder that is empty or not known: write {env.NAME} or {file./path}; for a brace in the value itself write \\{")
	}
	if err != nil {
		return "", wording.About(name, err)
	}
	return out, nil
}

// replace replaces the placeholders in a text.
func replace(text string) (string, error) {
	for _, found := range placeholder.FindAllStringSubmatch(text, -1) {
		if err := regular(found[2]); err != nil && found[1] == "file" {
			return "", err
		}
	}
	return caddy.NewReplacer().ReplaceOrErr(text, true, true)
}

// regular refuses what is there and is no regular file: reading a pipe or a device may
// never end.
func regular(name string) error {
	info, err := os.Stat(name)
	if err == nil && !info.Mode().IsRegular() {
		return fmt.Errorf("%s is no regular file", name)
	}
	return nil
}

// readRegular reads a regular file.
func readRegular(name string) ([]byte, error) {
	if err := regular(name); err != nil {
		return nil, err
	}
	file, err := os.Open(name)
	if err != nil {
		return nil, err
	}
	defer file.Close()
	content, err := io.ReadAll(io.LimitReader(file, maxFile+1))
	if err == nil && len(content) > maxFile {
		err = fmt.Errorf("%s has more than %d MiB", name, maxFile>>20)
	}
	return content, err
}

// maxFile is how large a file can be that an option or variable names.
const maxFile = 16 << 20

var (
	placeholder   = regexp.MustCompile(`\{(env|file)\.([^{}]+)\}`)
	unbraced      = regexp.MustCompile(`^(env\.|file\.[./~]).+$`)
	shellVariable = regexp.MustCompile(`(?:^|[:/@])\$([A-Z][A-Z0-9_]+)(?:$|[:/@])`)
	// variableName is how shells, Kubernetes and Caddyfiles write a variable.
	variableName = `(?:\$[A-Z][A-Z0-9_]*|\$\{\w[^{}]*\}|\$\(\w+\)|\{\$\w[^{}]*\})`
	isName       = regexp.MustCompile(`^(?:` + variableName + `|env\.[A-Z][A-Z0-9_]*|file\.[./~]\S+)$`)
	hasName      = regexp.MustCompile(`[:/@]` + variableName + `(?:$|[:/@])`)
)

// missingValue returns an error for the first placeholder of a text without a value.
func missingValue(text string) error {
	for _, found := range placeholder.FindAllStringSubmatch(text, -1) {
		name := found[2]
		if found[1] == "env" {
			if os.Getenv(name) == "" {
				return fmt.Errorf("%s is empty: set the variable %s for the process that Caddy runs in", found[0], name)
			}
			continue
		}
		switch content, err := readRegular(name); {
		case err != nil:
			return fmt.Errorf("%s has no value: %w: write the file's path, and allow Caddy's user to read it", found[0], err)
		case len(content) == 0 || string(content) == "\n":
			return fmt.Errorf("%s is empty: write the value into the file %s", found[0], name)
		}
	}
	return nil
}

// checkValue refuses a value that is blank or begins with a byte order mark, and a name of
// a variable or file without its placeholder ("$NAME", "file./path"). The value of a
// placeholder may look like such a name: it is accepted, and no message shows it.
func checkValue(written, value string) error {
	literal := placeholder.ReplaceAllLiteralString(written, "x")
	seen := strings.TrimFunc(value, func(r rune) bool { return !unicode.IsGraphic(r) || unicode.IsSpace(r) })
	switch {
	case written != "" && seen == "" && literal == written:
		return errors.New("is blank: write a value, or a placeholder such as {env.NAME} or {file./path}")
	case written != "" && seen == "":
		return errors.New("is blank, or has only invisible characters: write a value into the variable or file")
	case strings.HasPrefix(value, "\ufeff"):
		return errors.New("begins with a byte order mark (U+FEFF), which an editor has written: save the file as UTF-8 without it")
	}
	if found := shellVariable.FindStringSubmatch(literal); found != nil && !fromEnvironment("$"+found[1]) {
		return fmt.Errorf("has $%s in it, which is not replaced: write {env.%[1]s}", found[1])
	}
	if found := unbraced.FindString(written); found != "" && value == written && !fromEnvironment(written) {
		return fmt.Errorf("is %s without braces, which is not replaced: write {%[1]s}", found)
	}
	return nil
}

// notReplaced refuses a value of the environment that is the name of a variable or file. In a
// secret, names inside count, too: it may be a URL with a password.
func notReplaced(value string, secret bool) error {
	value = strings.TrimSpace(value)
	if isName.MatchString(value) || secret && (hasName.MatchString(value) || unbraced.MatchString(value)) {
		return errors.New("the name of a variable or file stands in the value, and nothing replaces it: write the value itself; or, if it really looks so, write it into a file, and name that by __FILE")
	}
	return nil
}

// allVisible refuses invisible characters in a secret that a provider has made. RFC 6749
// appendix A.2 allows none. Most are at its end, as a second line break or a zero width space.
func allVisible(name, secret string) error {
	i := strings.IndexFunc(secret, func(r rune) bool { return r != ' ' && !unicode.IsGraphic(r) || unicode.Is(unicode.Zs, r) && r != ' ' })
	if i < 0 {
		return nil
	}
	r, size := utf8.DecodeRuneInString(secret[i:])
	where := "in the middle"
	switch {
	case i == 0:
		where = "at the beginning"
	case i+size == len(secret):
		where = "at the end"
	}
	return wording.Aboutf(name, "has an invisible character (%U) %s, so the provider would refuse it: remove it from the value, the variable or the file", r, where)
}

// fromEnvironment says whether a text is the value of a variable: in a Caddyfile, {$NAME}
// is replaced before anybody can tell.
func fromEnvironment(text string) bool {
	return slices.ContainsFunc(os.Environ(), func(variable string) bool {
		_, value, _ := strings.Cut(variable, "=")
		return value == text
	})
}
