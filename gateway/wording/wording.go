// Package wording puts into an error what came from outside: values and words of a
// provider or a client are quoted and bounded, and the errors of network and TLS get
// their meaning and a remedy.
package wording

import (
	"fmt"
	"net/url"
	"strings"
)

const (
	// maxTheirs bounds what Theirs shows, in characters.
	maxTheirs = 200
	// tokenLength is how long an unbroken run of letters and digits must be to count as
	// a token. An identifier such as a UUID is shorter.
	tokenLength = 40
	masked      = "[…]"
)

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
	words = strings.Join(strings.Fields(withoutTokens(words)), " ")
	shown := []rune(words)
	if len(shown) > maxTheirs {
		words = string(shown[:maxTheirs]) + "…"
	}
	return fmt.Sprintf("%q", words)
}

// withoutTokens masks runs of characters that are as long as a token's.
func withoutTokens(words string) string {
	var b strings.Builder
	for words != "" {
		end := strings.IndexFunc(words, notOfToken)
		switch {
		case end < 0:
			end = len(words)
		case end == 0: // what stands between two runs
			if end = strings.IndexFunc(words, ofToken); end < 0 {
				end = len(words)
			}
			b.WriteString(words[:end])
			words = words[end:]
			continue
		}
		if end < tokenLength {
			b.WriteString(words[:end])
		} else {
			b.WriteString(masked)
		}
		words = words[end:]
	}
	return b.String()
}

func ofToken(r rune) bool {
	return r >= 'a' && r <= 'z' || r >= 'A' && r <= 'Z' || r >= '0' && r <= '9' || strings.ContainsRune("-_+=~%", r)
}

func notOfToken(r rune) bool { return !ofToken(r) }

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
