// Package wording puts into an error what came from outside: values and words of a
// provider or a client are quoted and bounded, and the errors of network and TLS get
// their meaning and a remedy.
package wording

import (
	"fmt"
	"net/url"
	"regexp"
	"strings"
)

const (
	// maxTheirs bounds what Theirs shows, in characters.
	maxTheirs = 200
	masked    = "[…]"
)

// token finds unbroken runs of letters and digits that are as long as a token's. An
// identifier such as a UUID is shorter.
var token = regexp.MustCompile(`[-\w+=~%]{40,}`)

// Quoted shows a value that came from outside in an error: at most 100 characters,
// in quotes, on one line, in ASCII.
func Quoted(value string) string { return fmt.Sprintf("%+.100q", value) }

// Theirs shows words of a provider in an error: quoted, on one line, bounded. It
// leaves out what looks like a token, and the given secrets: some providers repeat in
// their message what they were sent.
func Theirs(words string, secrets ...string) string {
	for _, secret := range secrets {
		if secret != "" {
			words = strings.NewReplacer(secret, masked, url.QueryEscape(secret), masked).Replace(words)
		}
	}
	words = strings.Join(strings.Fields(token.ReplaceAllString(words, masked)), " ")
	shown := []rune(words)
	if len(shown) > maxTheirs {
		words = string(shown[:maxTheirs]) + "…"
	}
	return fmt.Sprintf("%q", words)
}

// List shows names that came from outside in an error: so many as one can read, and how
// many more there are.
func List(names []string) string {
	const most = 10
	if len(names) == 0 {
		return "none"
	}
	shown := make([]string, 0, most+1)
	for _, name := range names[:min(len(names), most)] {
		shown = append(shown, Quoted(name))
	}
	if len(names) > most {
		shown = append(shown, fmt.Sprintf("and %d more", len(names)-most))
	}
	return strings.Join(shown, ", ")
}
