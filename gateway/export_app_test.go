package gateway

import (
	"github.com/caddy-sso/caddy-sso/gateway/forward"
	"github.com/caddy-sso/caddy-sso/gateway/session"
	"github.com/caddy-sso/caddy-sso/gateway/strip"
)

// NameFilter tells names that are ours from those of others.
type NameFilter = strip.Filter

// NewNameFilter makes a filter as a Gateway does.
func NewNameFilter(sets ...forward.HeaderNames) *NameFilter {
	var names [][]string
	for _, set := range sets {
		names = append(names, set.All())
	}
	return strip.New(names...)
}

// IsOurs says whether a header of that name is ours.
func IsOurs(f *NameFilter, name string) bool { return f.Claim(name, strip.Names{}) == strip.Ours }

// IsAlias says whether a header of that name is an alias.
func IsAlias(f *NameFilter, name string) bool { return f.Claim(name, strip.Names{}) == strip.Alias }

// Views returns how many views a login has.
func Views(f session.Session) (n int) {
	first, _ := f.Memo().(*decision)
	for v := first; v != nil; v = v.next {
		n++
	}
	return n
}
