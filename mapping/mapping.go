// Package mapping turns the groups that an identity provider asserts into the
// roles, template and groups of one app.
package mapping

// Rules are one app's rules as configured. The order of lines matters for
// Template alone.
type Rules struct {
	// Role lines: every line that matches gives its roles.
	Role []Line `json:"role,omitempty"`
	// Template lines: the first line that matches gives the one template.
	Template []Line `json:"template,omitempty"`
	// Group lines: every line that matches gives its app groups.
	Group []Line `json:"group,omitempty"`
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
	// and for Explain.
	Position string `json:"-"`
}
