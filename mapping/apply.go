package mapping

import "slices"

// A Result is what one person gets by an app's rules. Its slices belong to the
// caller.
type Result struct {
	// Roles and Groups of the app, in the order of the rules, without duplicates.
	Roles  []string `json:"roles,omitempty"`
	Groups []string `json:"groups,omitempty"`
	// Template is that of the first matching template line; empty if none matched.
	Template string `json:"template,omitempty"`
	// Named are the person's groups that a line of any kind names, in the person's
	// order, without duplicates. Only these concern the app. Never "*".
	Named []string `json:"named,omitempty"`
	// TemplateUnknown is set if a template line matched, but not all groups of the
	// person are known and an earlier line might match too. The line gives nothing.
	TemplateUnknown bool `json:"template_unknown,omitempty"`
	// Matched is set if at least one line matched and gave something. Otherwise the
	// person must be refused.
	Matched bool `json:"matched"`
}

// Apply maps the groups of one person, as the provider asserted them. Its cost grows
// with the number of groups and of matching lines, not with that of other lines.
func (s *RuleSet) Apply(groups []string) Result { return s.apply(groups, false) }

// ApplyPartial maps the groups of a person who may be in others as well. If a
// template line after the first matches, it gives nothing: an earlier one might match
// too.
func (s *RuleSet) ApplyPartial(groups []string) Result { return s.apply(groups, true) }

func (s *RuleSet) apply(groups []string, partial bool) Result {
	var named nameSet
	matching := slices.Clone(s.everyone)
	for _, group := range groups {
		// A group called "*" is never found: lines for everyone are not in the map.
		if lines, found := s.byGroup[group]; found && named.add(group) {
			matching = append(matching, lines...)
		}
	}
	slices.Sort(matching)
	return s.result(slices.Compact(matching), named.names, partial)
}

// result collects what the lines at the given ascending indices give.
func (s *RuleSet) result(matching []int, named []string, partial bool) Result {
	var roles, groups nameSet
	var template string
	held, unknown := 0, false
	for _, i := range matching {
		switch line := &s.lines[i]; line.kind {
		case KindRole:
			roles.add(line.To...)
		case KindGroup:
			groups.add(line.To...)
		case KindTemplate:
			if unknown = unknown || template == "" && partial && i != s.firstTemplate; unknown {
				continue
			}
			if template == "" {
				template = line.To[0]
			}
		}
		held++
	}
	return Result{
		Roles: roles.names, Groups: groups.names, Template: template, Named: named, TemplateUnknown: unknown, Matched: held > 0,
	}
}

// A nameSet keeps names in the order of arrival, without duplicates. It searches few
// names one by one, which is faster and needs no map, and many in a map, so that the
// cost stays linear.
type nameSet struct {
	names []string
	index map[string]struct{}
}

const fewNames = 16

// add reports whether any of the names was new.
func (s *nameSet) add(names ...string) bool {
	before := len(s.names)
	for _, name := range names {
		if s.has(name) {
			continue
		}
		s.names = append(s.names, name)
		if s.index != nil {
			s.index[name] = struct{}{}
		}
	}
	return len(s.names) > before
}

func (s *nameSet) has(name string) bool {
	if len(s.names) < fewNames {
		return slices.Contains(s.names, name)
	}
	if s.index == nil {
		s.index = make(map[string]struct{}, 2*fewNames)
		for _, name := range s.names {
			s.index[name] = struct{}{}
		}
	}
	_, found := s.index[name]
	return found
}
