package mapping

import (
	"fmt"
	"slices"
	"strings"
)

// A Trace tells which lines matched for one person, and why.
type Trace struct {
	Groups []string `json:"groups"`
	// Partial is set if the person may be in other groups as well.
	Partial bool `json:"partial,omitempty"`
	// Lines are all lines in order: role, template, group.
	Lines []TraceLine `json:"lines"`
	// Result is what Apply returns for the same groups.
	Result Result `json:"result"`
}

// A TraceLine is one line of the rules and its outcome.
type TraceLine struct {
	Kind     Kind     `json:"kind"`
	Position string   `json:"position"`
	To       []string `json:"to"`
	From     []string `json:"from"`
	// By has the line's groups that the person is in, in the line's order, or only
	// "*" in a line for everyone. Empty: the line did not match.
	By []string `json:"by,omitempty"`
	// Shadowed marks a template line that matched, but gave nothing because an
	// earlier one matched.
	Shadowed bool `json:"shadowed,omitempty"`
	// Unknown marks a template line that matched, but gave nothing: not all groups of
	// the person are known, and an earlier line might match too.
	Unknown bool `json:"unknown,omitempty"`
}

// Explain traces Apply for the same groups. It visits every line, so it is for
// people, not for requests.
func (s *RuleSet) Explain(groups []string) Trace { return s.explain(groups, false) }

// ExplainPartial traces ApplyPartial.
func (s *RuleSet) ExplainPartial(groups []string) Trace { return s.explain(groups, true) }

func (s *RuleSet) explain(groups []string, partial bool) Trace {
	trace := Trace{
		Groups:  slices.Clone(groups),
		Partial: partial,
		Lines:   make([]TraceLine, len(s.lines)),
		Result:  s.apply(groups, partial),
	}
	has := make(map[string]bool, len(groups))
	for _, group := range groups {
		has[group] = true
	}
	given := false
	for i, line := range s.lines {
		traced := TraceLine{
			Kind: line.kind, Position: line.Position,
			To: slices.Clone(line.To), From: slices.Clone(line.From),
		}
		for _, group := range line.From {
			if has[group] || line.forEveryone() {
				traced.By = append(traced.By, group)
			}
		}
		if line.kind == KindTemplate && len(traced.By) > 0 {
			traced.Unknown = trace.Result.TemplateUnknown
			traced.Shadowed, given = given && !traced.Unknown, true
		}
		trace.Lines[i] = traced
	}
	return trace
}

// String formats the trace for people: the groups, one row for each line, the result,
// without a line break at the end. Names are quoted to show blanks and invisible
// characters; long lists are shortened.
func (t Trace) String() string {
	var b strings.Builder
	more := ""
	if t.Partial {
		more = ", and perhaps others, which could not be read"
	}
	fmt.Fprintf(&b, "groups of the person: %s%s\n", some(t.Groups), more)
	for _, line := range t.Lines {
		fmt.Fprintf(&b, "%s: %s %s: %s\n", line.Position, line.Kind, some(line.To), line.outcome())
	}
	b.WriteString(t.Result.String())
	return b.String()
}

func (l TraceLine) outcome() string {
	switch {
	case len(l.By) == 0:
		return "no match, asks for " + some(l.From)
	case l.Unknown:
		return "matched by " + some(l.By) + ", but not all groups could be read, and a template line before it might match: gives nothing"
	case l.Shadowed:
		return "matched by " + some(l.By) + ", but a template line before it won"
	case l.By[0] == Everyone:
		return "matched, as it is for everyone"
	}
	return "matched by " + some(l.By)
}

// String formats the result as one row.
func (r Result) String() string {
	switch {
	case !r.Matched && r.TemplateUnknown:
		return "denied: the only line that matched does not hold, since not all groups could be read"
	case !r.Matched:
		return "denied: no line matched"
	}
	template := "none"
	if r.TemplateUnknown {
		template = "unknown"
	}
	if r.Template != "" {
		template = fmt.Sprintf("%q", r.Template)
	}
	return fmt.Sprintf("let in: roles %s; template %s; groups %s; the rules name %s",
		some(r.Roles), template, some(r.Groups), some(r.Named))
}

// some lists the first names and counts the rest.
func some(names []string) string {
	const most = 20
	switch {
	case len(names) == 0:
		return "none"
	case len(names) > most:
		return fmt.Sprintf("%s and %d more", quoteAll(names[:most]), len(names)-most)
	}
	return quoteAll(names)
}
