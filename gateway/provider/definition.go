package provider

import (
	"crypto/sha256"
	"encoding/base64"
	"fmt"
	"maps"
	"slices"
)

// A Definition holds the options of a provider that decide which person an answer is
// about and whether the answer is valid: the protocol, our name at the provider, the
// claims for subject, user name, e-mail and groups, and all that an answer is
// verified by. Scopes, lifetimes, secrets, keys and texts do not belong: they may
// change while people stay the same.
type Definition map[string]string

// Digest identifies the definition. Empty options do not count, so a new option at
// its default changes no digest.
func (d Definition) Digest() string {
	h := sha256.New()
	for _, name := range slices.Sorted(maps.Keys(d)) {
		if d[name] != "" {
			_, _ = fmt.Fprintf(h, "%q=%q\n", name, d[name]) // a hash takes everything
		}
	}
	return base64.RawURLEncoding.EncodeToString(h.Sum(nil)[:16])
}

// Enabled returns "on" or "", as values of a Definition.
func Enabled(on bool) string {
	if on {
		return "on"
	}
	return ""
}
