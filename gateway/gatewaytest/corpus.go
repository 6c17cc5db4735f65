package gatewaytest

import (
	"errors"
	"fmt"
	"io/fs"
	"maps"
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
	words := map[string][]string{}
	for line := range strings.SplitSeq(head, "\n") {
		word, value, ok := strings.Cut(line, ": ")
		if value = strings.TrimSpace(value); !ok || value == "" {
			return Attack{}, fmt.Errorf("the line %q is not a word, a colon and a value", line)
		}
		if word != "promise" && words[word] != nil || slices.Contains(words[word], value) {
			return Attack{}, fmt.Errorf("%s stands twice", word)
		}
		words[word] = append(words[word], value)
	}
	take := func(word string) []string {
		defer delete(words, word)
		return words[word]
	}
	once := func(word string) string { return strings.Join(take(word), "") }
	a := Attack{
		Name: name[1], About: strings.Join(strings.Fields(about), " "), Code: refusal.Code(once("code")), Promises: take("promise"),
		Fixed: once("fixed"), VariantOf: once("variant of"), Body: strings.Trim(body, "\n"),
	}
	if words["checks"] != nil {
		for check := range strings.SplitSeq(once("checks"), ",") {
			if check = strings.TrimSpace(check); check == "" || slices.Contains(a.Checks, check) {
				return Attack{}, fmt.Errorf("the check %q is empty or stands twice", check)
			}
			a.Checks = append(a.Checks, check)
		}
	}
	switch {
	case len(words) > 0:
		return Attack{}, fmt.Errorf("among the words above the mutation are %q", slices.Collect(maps.Keys(words)))
	case a.About == "" || a.Code == "" || len(a.Promises) == 0 || a.Body == "":
		return Attack{}, errors.New("it needs a paragraph that says what it is, a code, a promise and a mutation")
	case (len(a.Checks) == 0) == (a.Fixed == ""):
		return Attack{}, errors.New("it must have either checks or fixed")
	}
	return a, nil
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
