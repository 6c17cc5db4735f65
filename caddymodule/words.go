package caddymodule

import (
	"slices"
	"strings"

	"github.com/caddyserver/caddy/v2/caddyconfig/caddyfile"

	"github.com/caddy-sso/caddy-sso/mapping"
)

// unknownWord returns the error for a token that is none of words. The error names a
// similar word, if there is one, and all words. If the token is a URL, the error does not
// quote it: a URL may have a password in it.
func unknownWord(d *caddyfile.Dispenser, what string, words []string) error {
	slices.Sort(words)
	word := d.Val()
	if strings.Contains(word, "://") {
		return d.Errf("found a URL where a %s is expected: it can be %s", what, strings.Join(words, ", "))
	}
	if near := nearest(word, words); near != "" {
		return d.Errf("unrecognized %s '%s': did you mean '%s'? It can be %s", what, word, near, strings.Join(words, ", "))
	}
	return d.Errf("unrecognized %s '%s': it can be %s", what, word, strings.Join(words, ", "))
}

// nearest returns the most similar of words: one that is one edit away, or else one that
// contains word, or else the one with the fewest edits. If several are equal, it returns
// the first. It returns "" if the edits are more than a third of word.
func nearest(word string, words []string) string {
	word = strings.ToLower(word)
	best, least := "", (len(word)+2)/3+1
	for _, w := range words {
		n := mapping.Edits(word, w)
		if n > 1 && len(word) > 3 && strings.Contains(w, word) {
			n = 2
		}
		if n < least {
			best, least = w, n
		}
	}
	return best
}
