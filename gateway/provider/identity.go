package provider

import (
	"fmt"
	"slices"
	"strings"
	"time"
	"unicode"
	"unicode/utf8"
)

// An Identity is what a provider asserted about a person at one login, normalised.
// Rules, headers and claims are made from it.
type Identity struct {
	Username string `json:"u,omitempty"`
	// UsernameNote says for the operator why there is no Username, and where it was
	// looked for. No login is made then.
	UsernameNote string `json:"-"`
	// Email satisfies ValidEmail or is empty. It is empty, too, if the provider calls
	// it unverified and is not trusted for it. EmailVerified is the provider's
	// statement, false without one.
	Email         string `json:"e,omitempty"`
	EmailVerified bool   `json:"ev,omitempty"`
	FirstName     string `json:"fn,omitempty"`
	LastName      string `json:"ln,omitempty"`
	DisplayName   string `json:"dn,omitempty"`
	// Groups as the provider names them, in its order, without duplicates.
	Groups []string `json:"g,omitempty"`
	// GroupsPartial is set if there may be more groups: an entry was left out, or
	// their source could not be read. A rule that depends on not being in a group
	// does not hold then.
	GroupsPartial bool `json:"gp,omitempty"`
	// GroupsNote tells the operator why groups are missing, and where they were
	// looked for. Empty: none is missing.
	GroupsNote string `json:"gn,omitempty"`
	// NoGroups tells the operator, if the answer has no claim or attribute of groups at
	// all, which one was looked for, which came, and what to do.
	NoGroups string `json:"-"`
	// ACR is the authentication context class, AMR the methods (OIDC Core §2).
	ACR string   `json:"acr,omitempty"`
	AMR []string `json:"amr,omitempty"`
	// AuthTime is when the person authenticated; zero if unknown.
	AuthTime time.Time `json:"at,omitzero"`
}

// Bounds on what a provider may say about a person.
const (
	MaxGroups = 10000
	MaxGroup  = 512  // bytes of one group
	MaxName   = 1024 // bytes of a user name, or of another name
)

// Overage is the GroupsNote of groups that the provider names elsewhere.
const Overage = "the provider names them elsewhere, because they are too many (an overage); have it send the groups of this application alone"

// maxEmail is in bytes: 64 before the @, 255 behind (RFC 5321 §4.5.3.1).
const maxEmail = 320

// ValidEmail reports whether an e-mail address can be read in one way only: exactly
// one @ with text on both sides, no blanks, no commas, nothing invisible, nothing
// that becomes an @ or a comma when normalised (Unicode NFKC), and none of the
// specials of RFC 5322 §3.2.3, which can enclose another address
// ("x<root@example.com>").
func ValidEmail(s string) bool {
	local, domain, _ := strings.Cut(s, "@")
	odd := func(r rune) bool {
		return strings.ContainsRune(` ,@＠﹫，﹐︐()<>[]:;\"`, r) || !unicode.IsPrint(r)
	}
	return len(s) <= maxEmail && local != "" && domain != "" && !strings.ContainsFunc(local+domain, odd)
}

// Name returns the display name, or else first and last name. It may be empty.
func (id *Identity) Name() string {
	if id.DisplayName != "" {
		return id.DisplayName
	}
	return strings.TrimSpace(id.FirstName + " " + id.LastName)
}

// Unfit returns the name of a field whose value is Unfit, or "". Groups do not count:
// an app gets only those that its rules name.
func (id *Identity) Unfit() string {
	for _, field := range []struct {
		name   string
		values []string
	}{
		{"user name", []string{id.Username}},
		{"e-mail", []string{id.Email}},
		{"name", []string{id.Name()}},
		{"acr", []string{id.ACR}},
		{"amr", id.AMR},
	} {
		if slices.ContainsFunc(field.values, Unfit) {
			return field.name
		}
	}
	return ""
}

// Unfit reports whether a value can't be sent in a header or a JSON string that every
// app reads alike: it is not UTF-8, or has control characters or line separators.
func Unfit(s string) bool {
	if !utf8.ValidString(s) {
		return true
	}
	for _, c := range s {
		if c < ' ' || c >= 0x7f && c < 0xa0 || c == '\u2028' || c == '\u2029' {
			return true
		}
	}
	return false
}

// Odd says why a text that only describes a person is left out, "" if it can be used.
func Odd(s string, limit int) string {
	switch {
	case len(s) > limit:
		return fmt.Sprintf("is longer than %d bytes", limit)
	case Unfit(s):
		return "has control characters"
	}
	return ""
}

// Unique returns the entries of a list, each once, in their order. It changes list.
func Unique(list []string) []string {
	seen := make(map[string]struct{}, len(list))
	return slices.DeleteFunc(list, func(s string) bool {
		_, twice := seen[s]
		seen[s] = struct{}{}
		return twice
	})
}

// Moment shows a time in errors; the zero time is missing.
func Moment(t time.Time) string {
	if t.IsZero() {
		return "missing"
	}
	return t.UTC().Format(time.RFC3339)
}
