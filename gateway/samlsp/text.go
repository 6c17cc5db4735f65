package samlsp

import (
	"strings"
	"unicode"
)

// maxValue bounds a user name, a NameID or another name, in bytes.
const maxValue = 1024

// plain says whether a value can name a person: not empty, bounded, no control
// characters, no blanks around it.
func plain(s string) bool {
	return s != "" && len(s) <= maxValue && !strings.ContainsFunc(s, unicode.IsControl) && strings.TrimSpace(s) == s
}

func unprintable(c rune) bool { return c == ' ' || !unicode.IsPrint(c) }
