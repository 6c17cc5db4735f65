package provider

import (
	"crypto/sha256"
	"encoding/base64"
	"fmt"
	"maps"
	"slices"
)

// A Definition has the options of a provider that decide whom an answer is about
// and whether it is believed: our name at the provider, the claims for subject,
// user name, e-mail and groups, and all that an answer is verified by. The
// protocol is one of them. Scopes, lifetimes, secrets, keys and texts are not:
// they change while the same people stay who they are.
type Definition map[string]string

// Digest names the definition. Options that are empty do not count: an option
// that is new and at its default leaves all digests as they were.
func (d Definition) Digest() string {
	h := sha256.New()
	for _, name := range slices.Sorted(maps.Keys(d)) {
		if d[name] != "" {
			_, _ = fmt.Fprintf(h, "%q=%q\n", name, d[name]) // a hash takes everything
		}
	}
	return base64.RawURLEncoding.EncodeToString(h.Sum(nil)[:16])
}

// Enabled returns "on" for an option that is switched on, else nothing.
func Enabled(on bool) string {
	if on {
		return "on"
	}
	return ""
}
