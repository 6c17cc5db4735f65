package caddymodule

import (
	"maps"
	"slices"
	"strings"

	"github.com/caddyserver/caddy/v2/caddyconfig/caddyfile"
)

// usages maps each word of a block to its grammar, for errors and for
// suggestions.
type usages map[string]string

// unknown is the error for a word that the block does not have: it says which
// is meant, or which there are.
func (u usages) unknown(d *caddyfile.Dispenser) error {
	return unknownWord(d, "subdirective", slices.Collect(maps.Keys(u)))
}

// wrong is the error for a known word with the wrong arguments.
func (u usages) wrong(d *caddyfile.Dispenser, word string) error {
	return d.Errf("wrong arguments for '%s': expected `%s`", word, u[word])
}

// unknownWord says that the current token is none of words, and which one is
// nearest.
func unknownWord(d *caddyfile.Dispenser, what string, words []string) error {
	slices.Sort(words)
	return d.Errf("unrecognized %s '%s': did you mean '%s'? It can be %s",
		what, d.Val(), nearest(d.Val(), words), strings.Join(words, ", "))
}

// nearest returns the one of words that contains word, or else takes the
// fewest edits to reach from it; of several, the first.
func nearest(word string, words []string) string {
	word = strings.ToLower(word)
	best, least := "", -1
	for _, w := range words {
		if len(word) > 3 && strings.Contains(w, word) {
			return w
		}
		if n := edits(word, w); least < 0 || n < least {
			best, least = w, n
		}
	}
	return best
}

// edits is the Levenshtein distance between a and b in bytes.
func edits(a, b string) int {
	row := make([]int, len(b)+1)
	for j := range row {
		row[j] = j
	}
	for i := range len(a) {
		diagonal := row[0]
		row[0] = i + 1
		for j := range len(b) {
			cost := 1
			if a[i] == b[j] {
				cost = 0
			}
			diagonal, row[j+1] = row[j+1], min(diagonal+cost, row[j]+1, row[j+1]+1)
		}
	}
	return row[len(b)]
}
