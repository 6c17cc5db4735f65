package gatewaytest

import (
	"errors"
	"fmt"
	"io/fs"
	"os"
	"path/filepath"
	"regexp"
	"slices"
	"strconv"
	"strings"
	"testing"

	"github.com/caddy-sso/caddy-sso/gateway/refusal"
)

// An Attack is one file of an attack corpus: a mutation of something that is accepted
// without it. Each corpus has its own language for the mutation; the part above it is
// the same in all of them:
//
//	What the attack is and where it is known from (CVE, clause of a standard).
//
//	code: saml_signature
//	checks: signature, second reading
//	promise: signature
//
//	The mutation, down to the end of the file.
type Attack struct {
	// Name is the file's name without ".txt", and the subtest's name: a CVE or the
	// technique, of letters, digits and hyphens.
	Name string
	// About is the first paragraph, in one line.
	About string
	// Code is the expected refusal ("code:").
	Code refusal.Code
	// Checks are the checks that stop the attack ("checks:", separated by commas). It
	// must get in without all of them, and be refused with any one.
	Checks []string
	// Fixed is the reason why no check can be dropped, instead of Checks ("fixed:").
	Fixed string
	// Promises are the promises that it belongs to ("promise:", one line each).
	Promises []string
	// VariantOf is the attack whose mutation it varies ("variant of:"): for a promise
	// both count once. Optional.
	VariantOf string
	Body      string
}

// Corpus reads the attacks in a directory with ReadCorpus. The test fails on any
// error.
func Corpus(tb testing.TB, dir string) []Attack {
	tb.Helper()
	attacks, err := ReadCorpus(os.DirFS(dir))
	if err != nil {
		tb.Fatalf("reading the corpus %s: %v", dir, err)
	}
	return attacks
}

// ReadCorpus reads the attacks in dir, by name. The only other file may be README.md.
// It is an error if there is no attack, another file, a fault in a file, or a variant
// of an unknown attack.
func ReadCorpus(dir fs.FS) ([]Attack, error) {
	entries, err := fs.ReadDir(dir, ".")
	if err != nil {
		return nil, err
	}
	var attacks []Attack
	known := map[string]Attack{}
	for _, entry := range entries {
		if entry.Name() == "README.md" {
			continue
		}
		text, err := fs.ReadFile(dir, entry.Name())
		if err != nil {
			return nil, err
		}
		a, err := ParseAttack(entry.Name(), string(text))
		if err != nil {
			return nil, fmt.Errorf("reading %s: %w", entry.Name(), err)
		}
		known[a.Name] = a
		attacks = append(attacks, a)
	}
	if len(attacks) == 0 {
		return nil, errors.New("there are no attacks in it")
	}
	for _, a := range attacks {
		if of := a.VariantOf; of != "" && (known[of].Name == "" || known[of].VariantOf != "") {
			return nil, fmt.Errorf("reading %s.txt: %s is no attack, or a variant itself", a.Name, of)
		}
	}
	return attacks, nil
}

var attackFile = regexp.MustCompile(`^([A-Za-z0-9]+(?:-[A-Za-z0-9]+)*)\.txt$`)

// ParseAttack parses one file of a corpus. Any deviation from the form in Attack is
// an error: an unknown or repeated word, none or both of checks and fixed, no
// paragraph about the attack, no mutation.
func ParseAttack(file, text string) (Attack, error) {
	name := attackFile.FindStringSubmatch(file)
	if name == nil {
		return Attack{}, errors.New("its name is not letters, digits and single hyphens with .txt")
	}
	about, rest, _ := strings.Cut(text, "\n\n")
	head, body, _ := strings.Cut(rest, "\n\n")
	a := Attack{Name: name[1], About: strings.Join(strings.Fields(about), " "), Body: strings.Trim(body, "\n")}
	for line := range strings.SplitSeq(head, "\n") {
		if err := a.set(line); err != nil {
			return Attack{}, err
		}
	}
	return a, a.complete()
}

func (a *Attack) set(line string) error {
	key, value, ok := strings.Cut(line, ": ")
	if value = strings.TrimSpace(value); !ok || value == "" {
		return fmt.Errorf("the line %q is not a word, a colon and a value", line)
	}
	once := func(into *string) error {
		if *into != "" {
			return fmt.Errorf("%s stands twice", key)
		}
		*into = value
		return nil
	}
	switch key {
	case "code":
		return once((*string)(&a.Code))
	case "fixed":
		return once(&a.Fixed)
	case "variant of":
		return once(&a.VariantOf)
	case "promise":
		return appendNew(&a.Promises, value)
	case "checks":
		if a.Checks != nil {
			return errors.New("checks stands twice")
		}
		for name := range strings.SplitSeq(value, ",") {
			if err := appendNew(&a.Checks, strings.TrimSpace(name)); err != nil {
				return err
			}
		}
		return nil
	}
	return fmt.Errorf("there is no %q among the words above the mutation", key)
}

func appendNew(list *[]string, value string) error {
	if value == "" || slices.Contains(*list, value) {
		return fmt.Errorf("the value %q is empty or stands twice", value)
	}
	*list = append(*list, value)
	return nil
}

func (a *Attack) complete() error {
	switch {
	case a.About == "":
		return errors.New("no paragraph says what it is")
	case a.Code == "":
		return errors.New("no code is named")
	case (len(a.Checks) == 0) == (a.Fixed == ""):
		return errors.New("it must have either checks or fixed")
	case len(a.Promises) == 0:
		return errors.New("it belongs to no promise")
	case a.Body == "":
		return errors.New("there is no mutation")
	}
	return nil
}

// Named says whether a package's tests, in dir, have a test of that name:
// Test… alone, or with a subtest that they name.
func Named(tb testing.TB, dir, name string) bool {
	tb.Helper()
	test, subtest, _ := strings.Cut(name, "/")
	text := TestText(tb, dir)
	return strings.Contains(text, "func "+test+"(") && (subtest == "" || strings.Contains(text, strconv.Quote(subtest)))
}

// TestText returns the text of a directory's tests.
func TestText(tb testing.TB, dir string) string {
	tb.Helper()
	files, err := filepath.Glob(filepath.Join(dir, "*_test.go"))
	if err != nil || len(files) == 0 {
		tb.Fatalf("there are no tests in %s: %v", dir, err)
	}
	var all strings.Builder
	for _, file := range files {
		b, err := os.ReadFile(file)
		if err != nil {
			tb.Fatal(err)
		}
		all.Write(b)
	}
	return all.String()
}
