package mapping

import "slices"

// A Result is what an app's rules give to one person. Its slices belong to the
// caller.
type Result struct {
	// Roles and Groups of the app, in the order of the rules, each once.
	Roles  []string `json:"roles,omitempty"`
	Groups []string `json:"groups,omitempty"`
	// Template is that of the first template line that matched; empty if none
	// did.
	Template string `json:"template,omitempty"`
	// Named are those of the person's groups that a line of any kind names, in
	// the person's order, each once. They, and no other groups, concern the
	// app. Never "*".
	Named []string `json:"named,omitempty"`
	// TemplateUnknown says that a template line matched, but not all groups of the
	// person are known, and a line before it might match too. It gives nothing.
	TemplateUnknown bool `json:"template_unknown,omitempty"`
	// Matched says that at least one line matched and holds. If not, the person
	// must not be let in.
	Matched bool `json:"matched"`
}

// Apply maps the groups of one person, as the provider asserted them. Its cost
// grows with the number of groups and of lines that match, not with that of
// the other lines.
func (s *RuleSet) Apply(groups []string) Result { return s.apply(groups, false) }

// ApplyPartial maps the groups of a person who may be in others as well. What
// depends on not being in a group does not hold: a template line after the first.
func (s *RuleSet) ApplyPartial(groups []string) Result { return s.apply(groups, true) }

func (s *RuleSet) apply(groups []string, partial bool) Result {
	var named nameSet
	matching := slices.Clone(s.everyone)
	for _, group := range groups {
		// A group called "*" is never found: lines for everyone are not in the
		// map.
		if lines, found := s.byGroup[group]; found && named.add(group) {
			matching = append(matching, lines...)
		}
	}
	slices.Sort(matching)
	return s.result(slices.Compact(matching), named.names, partial)
}

// result gathers what the lines at the given indices give; the indices ascend.
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

// A nameSet keeps names in the order of their arrival, each once. Few are
// searched one by one, since that is faster and needs no map; many are not, so
// that the cost stays linear.
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
