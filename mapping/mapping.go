// Package mapping turns the groups that an identity provider asserts into the
// roles, template and groups of one app.
//
// Rules are the configuration. Compile checks them as a whole, reports every fault at
// once, and returns a RuleSet, which is immutable and safe for concurrent use:
//
//	rules, err := mapping.Compile(mapping.Rules{Role: []mapping.Line{
//		{To: []string{"Admin"}, From: []string{"grafana-admins"}},
//		{To: []string{"Viewer"}, From: []string{"*"}},
//	}})
//	result := rules.Apply(person.Groups)
//
// A person whom no line matches must be refused (Result.Matched is false). Names are
// compared byte for byte: no case folding, no patterns, no normalisation of Unicode.
// The one exception is "*". Alone in a line it matches everybody, also people without
// a group; a provider's group called "*" means nothing.
//
// The package is pure: it does no I/O, and uses no clock and no global variables.
package mapping

import "slices"

// Everyone is the group that, alone in a line, matches every person.
const Everyone = "*"

// Kind is what a line gives, and the first word of the line in a Caddyfile.
type Kind string

// The kinds of lines, in the order of checks and explanations.
const (
	KindRole     Kind = "role"
	KindTemplate Kind = "template"
	KindGroup    Kind = "group"
)

// Rules are the configured rules of one app. The order of role and group lines only
// decides the order of the result; that of template lines decides which template is
// given.
type Rules struct {
	// Rules that give roles: all lines that match count.
	Role []Line `json:"role,omitempty"`
	// Rules that give one template: the first line that matches counts.
	Template []Line `json:"template,omitempty"`
	// Rules that give the app's groups: all lines that match count.
	Group []Line `json:"group,omitempty"`
}

// Names returns all roles and groups that the app can get by the rules. Without
// mapsGroups these include the provider's groups that the rules name (Result.Named).
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

// A Line gives names of the app to the members of the provider's groups.
type Line struct {
	// To has the app's names that the line gives; exactly one in a template line.
	To []string `json:"to"`
	// From has the provider's groups, compared byte for byte; "*" is everybody who
	// signed in.
	From []string `json:"from"`
	// Quoted says that the signs in the names belong to them, as in "admins,ops". Nothing
	// warns of them then. A Caddyfile says it by quotes. Rules mean the same with and without.
	Quoted bool `json:"quoted,omitempty"`
	// Position is the line's place in the source ("Caddyfile:12"), for errors and for
	// Explain. Empty: its place in the JSON ("role[0]").
	Position string `json:"-"`
}
