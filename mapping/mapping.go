// Package mapping turns the groups that an identity provider asserts into the
// roles, template and groups of one app.
//
// Rules are what was configured. Compile checks them as a whole, naming every
// fault at once, and makes a RuleSet, which never changes and may be used by
// any number of goroutines:
//
//	rules, err := mapping.Compile(mapping.Rules{Role: []mapping.Line{
//		{To: []string{"Admin"}, From: []string{"grafana-admins"}},
//		{To: []string{"Viewer"}, From: []string{"*"}},
//	}})
//	result := rules.Apply(person.Groups)
//
// A person whom no line matches is refused (Result.Matched is false). Names are
// compared byte for byte: no case folding, no patterns, no normalisation of
// Unicode. The one exception is "*", which stands alone in its line and matches
// everybody, also those without a group; a group that a provider calls "*"
// means nothing.
//
// The package is pure: it does no I/O, knows no clock and keeps no state.
package mapping

import "slices"

// Everyone is the group that, alone in a line, matches every person.
const Everyone = "*"

// Kind is what a line gives. It is the word that begins the line in a
// Caddyfile.
type Kind string

// The kinds of lines, in the order in which they are checked and explained.
const (
	KindRole     Kind = "role"
	KindTemplate Kind = "template"
	KindGroup    Kind = "group"
)

// Rules are one app's rules as configured. The order of role and group lines
// decides the order of the result alone; that of template lines decides which
// template is given.
type Rules struct {
	// Role lines: every line that matches gives its roles.
	Role []Line `json:"role,omitempty"`
	// Template lines: the first line that matches gives the one template.
	Template []Line `json:"template,omitempty"`
	// Group lines: every line that matches gives its app groups.
	Group []Line `json:"group,omitempty"`
}

// Names returns all roles and groups that the rules can tell an app of. Unless
// mapsGroups, those of the provider that they name count, too (Result.Named).
func (r Rules) Names(mapsGroups bool) (roles, groups []string) {
	for _, line := range r.Role {
		roles = append(roles, line.To...)
	}
	for _, line := range r.Group {
		groups = append(groups, line.To...)
	}
	if mapsGroups {
		return roles, groups
	}
	for _, line := range slices.Concat(r.Role, r.Template) {
		groups = append(groups, line.From...)
	}
	return roles, groups
}

// A Line gives names of the app to whoever is in one of the provider's groups.
type Line struct {
	// To are the app's names that the line gives; exactly one in a template
	// line.
	To []string `json:"to"`
	// From are the provider's groups, compared byte for byte; "*" is everybody
	// who signed in.
	From []string `json:"from"`
	// Position says where the line was written ("Caddyfile:12"), for errors
	// and for Explain. Empty: the line's place in the JSON ("role[0]").
	Position string `json:"-"`
}
