package oidcrp_test

import (
	"encoding/json"
	"errors"
	"fmt"
	"regexp"
	"slices"
	"strconv"
	"strings"
)

// A statement is one line of a mutation. testdata/attacks/README.md describes
// the language.
type statement struct {
	line    string
	control bool // in place for the control as well
	verb    string
	doc     string   // what it changes, empty for verbs without
	path    []string // within doc
	args    []string // expanded, texts unquoted
}

// A form is what a verb stands with.
type form struct {
	docs string // separated by blanks; empty: none
	path bool
	args string // one letter each: see argument
}

const (
	objects   = "discovery jwks header claims token userinfo userinfo-header "
	endpoints = "discovery jwks token userinfo"
)

var forms = map[string]form{
	"set":      {docs: objects + "answer request", path: true, args: "j"},
	"delete":   {docs: objects + "answer request", path: true},
	"rename":   {docs: objects + "answer request", path: true, args: "w"},
	"wrap":     {docs: objects, path: true},
	"append":   {docs: objects, path: true, args: "j"},
	"add":      {docs: "answer", path: true, args: "j"},
	"front":    {docs: endpoints + " claims", args: "t"},
	"back":     {docs: endpoints + " claims", args: "t"},
	"behind":   {docs: endpoints + " claims", args: "t"},
	"text":     {docs: endpoints + " claims header", args: "t"},
	"status":   {docs: endpoints, args: "n"},
	"type":     {docs: endpoints, args: "t"},
	"redirect": {docs: endpoints, args: "n"},
	"jwt":      {docs: "userinfo"},
	"sign":     {docs: "claims userinfo", args: "ww"},
	"hmac":     {docs: "claims userinfo", args: "t"},
	"input":    {docs: "claims userinfo", args: "t"},
	"forge":    {docs: "claims userinfo", args: "tt"},
	"jws":      {docs: "claims userinfo", args: "t"},
	"replay":   {docs: "claims"},
	"code":     {args: "t"},
	"force":    {},
	"option":   {args: "ww"},
	"other":    {},
	"user":     {args: "t"},
}

// readMutation reads a mutation strictly: an unknown word, one too many or too
// few, or a value that is none is an error. expand replaces what stands between
// ${ and }.
func readMutation(body string, expand func(string) (string, bool)) ([]statement, error) {
	var list []statement
	changes := false
	for line := range strings.SplitSeq(body, "\n") {
		if line == "" {
			continue
		}
		st, err := readStatement(line, expand)
		if err != nil {
			return nil, fmt.Errorf("reading %.80q: %w", line, err)
		}
		changes = changes || !st.control
		list = append(list, st)
	}
	if !changes {
		return nil, errors.New("nothing is changed behind the control")
	}
	return list, nil
}

func readStatement(line string, expand func(string) (string, bool)) (statement, error) {
	st := statement{line: line}
	rest := line
	rest, st.control = strings.CutPrefix(rest, "control ")
	st.verb, rest, _ = strings.Cut(rest, " ")
	f, ok := forms[st.verb]
	if !ok {
		return st, fmt.Errorf("there is no verb %q", st.verb)
	}
	if f.docs != "" {
		var target string
		target, rest, _ = strings.Cut(rest, " ")
		names := strings.Split(target, "/")
		st.doc, st.path = names[0], names[1:]
		if !slices.Contains(strings.Fields(f.docs), st.doc) || f.path == (len(st.path) == 0) || slices.Contains(st.path, "") {
			return st, fmt.Errorf("%s can't change %q", st.verb, target)
		}
	}
	for _, kind := range f.args {
		arg, more, err := argument(kind, rest, expand)
		if err != nil {
			return st, err
		}
		st.args, rest = append(st.args, arg), more
	}
	if rest != "" {
		return st, fmt.Errorf("%q is one word too many", rest)
	}
	if st.verb == "option" && (!st.control || st.args[0] != "username_claim" && st.args[0] != "groups_claim") {
		return st, errors.New("an option is the control's too, and names the claim of the user name or of the groups")
	}
	if st.verb == "user" && (!st.control || st.args[0] == "alice") {
		return st, errors.New("the user is the control's, and alice unless said")
	}
	return st, nil
}

// argument reads one argument: j is JSON, down to the end of the line; t a text
// in quotes as in Go; w a word; n a number.
func argument(kind rune, rest string, expand func(string) (string, bool)) (arg, more string, err error) {
	switch kind {
	case 'j':
		arg, err = expandAll(rest, expand)
		if err == nil && !json.Valid([]byte(arg)) {
			err = errors.New("the value is no JSON")
		}
		return arg, "", err
	case 't':
		quoted, err := strconv.QuotedPrefix(rest)
		if err != nil || quoted[0] == '\'' {
			return "", "", errors.New("the text is not in quotes")
		}
		if arg, err = strconv.Unquote(quoted); err != nil {
			return "", "", err
		}
		arg, err = expandAll(arg, expand)
		return arg, strings.TrimPrefix(rest[len(quoted):], " "), err
	}
	arg, more, _ = strings.Cut(rest, " ")
	if _, bad := strconv.Atoi(arg); arg == "" || kind == 'n' && bad != nil {
		return "", "", errors.New("a word or a number is missing")
	}
	return arg, more, nil
}

var (
	placeholder = regexp.MustCompile(`\$\{([^}]*)\}`)
	repetition  = regexp.MustCompile(`^([0-9]{1,7})\*(.+)$`)
)

func expandAll(s string, expand func(string) (string, bool)) (string, error) {
	const most = 4 << 20 // bytes that repetitions may make
	var err error
	made := 0
	s = placeholder.ReplaceAllStringFunc(s, func(found string) string {
		name := found[2 : len(found)-1]
		if m := repetition.FindStringSubmatch(name); m != nil {
			n, _ := strconv.Atoi(m[1])
			if made += n * len(m[2]); made > most {
				err = fmt.Errorf("%.20q makes more than %d bytes", found, most)
				return ""
			}
			return strings.Repeat(m[2], n)
		}
		value, ok := expand(name)
		if !ok {
			err = fmt.Errorf("there is no %q", found)
		}
		return value
	})
	return s, err
}
