package mapping

import (
	"errors"
	"fmt"
	"slices"
	"strings"
)

// A RuleError is one fault in a rule set.
type RuleError struct {
	// Position is Line.Position, or the line's place in the JSON ("role[0]"). Empty
	// if the fault is that there is no line.
	Position string
	// Kind is that of the faulty line. Empty if there is no line.
	Kind Kind
	// Msg names the fault and the fix.
	Msg string
}

func (e *RuleError) Error() string {
	if e.Kind == "" {
		return e.Msg
	}
	return fmt.Sprintf("%s: %s line: %s", e.Position, e.Kind, e.Msg)
}

// A RuleSet is the result of Compile. It is immutable and safe for concurrent use.
// The zero value lets nobody in.
type RuleSet struct {
	lines []compiledLine
	// byGroup has, for each named group, the indices of its lines in ascending order.
	byGroup map[string][]int
	// everyone are the indices of the lines that match every person.
	everyone      []int
	firstTemplate int // the index of the first template line
}

// A compiledLine always has a position.
type compiledLine struct {
	Line
	kind Kind
}

// Compile checks rules and prepares them for Apply. The error joins one *RuleError
// for every fault of every line. Rules without a line are a fault, because they would
// let nobody in. The rules are copied.
func Compile(rules Rules) (*RuleSet, error) {
	set := &RuleSet{lines: flatten(rules), byGroup: map[string][]int{}}
	if err := check(set.lines); err != nil {
		return nil, err
	}
	set.firstTemplate = slices.IndexFunc(set.lines, func(l compiledLine) bool { return l.kind == KindTemplate })
	for i, line := range set.lines {
		if line.forEveryone() {
			set.everyone = append(set.everyone, i)
			continue
		}
		for _, group := range line.From {
			set.byGroup[group] = append(set.byGroup[group], i)
		}
	}
	return set, nil
}

// ReadsGroups reports whether any line depends on a person's groups.
func (s *RuleSet) ReadsGroups() bool { return len(s.byGroup) > 0 }

func flatten(rules Rules) []compiledLine {
	var lines []compiledLine
	add := func(kind Kind, of []Line) {
		for i, line := range of {
			line.To, line.From = slices.Clone(line.To), slices.Clone(line.From)
			if line.Position == "" {
				line.Position = fmt.Sprintf("%s[%d]", kind, i)
			}
			lines = append(lines, compiledLine{Line: line, kind: kind})
		}
	}
	add(KindRole, rules.Role)
	add(KindTemplate, rules.Template)
	add(KindGroup, rules.Group)
	return lines
}

func (l compiledLine) forEveryone() bool {
	return len(l.From) == 1 && l.From[0] == Everyone
}

func check(lines []compiledLine) error {
	if len(lines) == 0 {
		return &RuleError{Msg: "no role, template or group line: nobody could be let in; " +
			"add lines in a block behind it, or let in everyone who signs in: `sso … { role <name> * }`"}
	}
	var errs []error
	repeated, unreachable := repeats(), shadows()
	for _, line := range lines {
		faults := slices.Concat(toFaults(line), fromFaults(line))
		if first, last, found := quotedNames(slices.Concat(line.To, line.From)); found {
			faults = append(faults, quoteFault(first, last))
		}
		// Both remember earlier lines, so both must see every line.
		again, never := repeated(line), unreachable(line)
		switch {
		case never != "":
			faults = append(faults, never)
		case again != "":
			faults = append(faults, again)
		}
		for _, fault := range faults {
			errs = append(errs, &RuleError{Position: line.Position, Kind: line.kind, Msg: fault})
		}
	}
	return errors.Join(errs...)
}

// toFaults returns the faults of the names that a line gives.
func toFaults(line compiledLine) []string {
	var faults []string
	switch {
	case len(line.To) == 0:
		faults = append(faults, fmt.Sprintf("gives nothing; write `%s <name> <group>…`", line.kind))
	case line.kind == KindTemplate && len(line.To) > 1:
		faults = append(faults, fmt.Sprintf("gives %d templates (%s), but a person gets exactly one; keep one name",
			len(line.To), quoteAll(line.To)))
	}
	for _, name := range distinct(line.To) {
		faults = append(faults, nameFaults(name)...)
		if name == Everyone {
			faults = append(faults, fmt.Sprintf("gives %q, which is no name of the app; "+
				"the app's name comes first: `%s <name> *`", name, line.kind))
		}
	}
	for _, name := range duplicates(line.To) {
		faults = append(faults, fmt.Sprintf("gives %q more than once; keep one", name))
	}
	return faults
}

// fromFaults returns the faults of the groups that a line names.
func fromFaults(line compiledLine) []string {
	if len(line.From) == 0 {
		return []string{"names no group of the provider; add one, or * for everyone who signs in"}
	}
	var faults []string
	groups := distinct(line.From)
	for _, name := range groups {
		faults = append(faults, nameFaults(name)...)
		if name != Everyone && (strings.HasPrefix(name, "*") || strings.HasSuffix(name, "*")) {
			faults = append(faults, fmt.Sprintf("group %q looks like a pattern, but groups are compared exactly; "+
				"name each group, or write * alone for everyone who signs in", name))
		}
	}
	for _, name := range duplicates(line.From) {
		faults = append(faults, fmt.Sprintf("names group %q more than once; keep one", name))
	}
	if len(groups) > 1 && slices.Contains(groups, Everyone) {
		faults = append(faults, "has * beside other groups, which makes them pointless; "+
			"remove the * to let in only these groups, or the groups to let in everyone who signs in")
	}
	return faults
}

func quoteFault(first, last string) string {
	which := fmt.Sprintf("name %q is", first)
	if first != last {
		which = fmt.Sprintf("names %q to %q are", first, last)
	}
	return which + ` in quotes that became part of the name; use plain double quotes ("…")`
}

// repeats returns a check for lines that repeat an earlier one, with the names in any
// order.
func repeats() func(compiledLine) string {
	seen := map[string]string{}
	return func(line compiledLine) string {
		line.To, line.From = slices.Sorted(slices.Values(line.To)), slices.Sorted(slices.Values(line.From))
		key := fmt.Sprintf("%s %q %q", line.kind, line.To, line.From)
		if position, found := seen[key]; found {
			return fmt.Sprintf("says the same as the line at %s; remove one", position)
		}
		seen[key] = line.Position
		return ""
	}
}

// shadows returns a check for template lines that can never apply, because everybody
// who matches one also matches an earlier one.
func shadows() func(compiledLine) string {
	taken := map[string]string{} // group to the first line that names it
	return func(line compiledLine) string {
		if line.kind != KindTemplate || len(line.From) == 0 {
			return ""
		}
		if position, found := taken[Everyone]; found {
			return fmt.Sprintf("can never be reached, since the line at %s gives everyone a template "+
				"and the first match wins; move this line before it", position)
		}
		fresh, positions := false, []string(nil)
		for _, group := range line.From {
			if position, found := taken[group]; found {
				positions = append(positions, position)
				continue
			}
			taken[group], fresh = line.Position, true
		}
		if fresh {
			return ""
		}
		return fmt.Sprintf("can never be reached, since lines before it name its every group (%s) "+
			"and the first match wins; remove it or move it up", strings.Join(distinct(positions), ", "))
	}
}

// duplicates returns the names that occur more than once, without duplicates.
func duplicates(names []string) []string {
	var seen, again nameSet
	for _, name := range names {
		if !seen.add(name) {
			again.add(name)
		}
	}
	return again.names
}

func distinct(names []string) []string {
	var seen nameSet
	seen.add(names...)
	return seen.names
}

func quoteAll(names []string) string {
	quoted := make([]string, len(names))
	for i, name := range names {
		quoted[i] = fmt.Sprintf("%q", name)
	}
	return strings.Join(quoted, ", ")
}
