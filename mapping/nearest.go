package mapping

import (
	"fmt"
	"strings"
)

// A Near is a pair of similar but different names. The zero value means none.
type Near struct {
	// Group is one of the person's groups.
	Group string
	// From is the group in the line at Position, which reads Rule.
	From, Position, Rule string
}

// String describes the pair to a person.
func (n Near) String() string {
	if n == (Near{}) {
		return "none"
	}
	return fmt.Sprintf("%+.100q is not %+.100q, which the line at %s asks for (`%.200s`)", n.Group, n.From, n.Position, n.Rule)
}

// Bounds of the comparison.
const (
	nearGroups = 200
	nearLength = 64 // bytes
	nearEdits  = 2
)

// Nearest returns the person's group that is most similar to one in a line. It helps
// to find out why no line matched: providers send paths, distinguished names and
// other cases. It decides nothing.
func (s *RuleSet) Nearest(groups []string) (near Near) {
	best := nearEdits + 1
	for _, group := range groups[:min(len(groups), nearGroups)] {
		for _, line := range s.lines {
			for _, from := range line.From {
				if d := distance(bare(group), bare(from)); d < best && from != Everyone {
					best, near = d, Near{group, from, line.Position, line.written()}
				}
			}
		}
	}
	return near
}

// written returns the line as a Caddyfile has it.
func (l compiledLine) written() string {
	words := []string{string(l.kind), word(strings.Join(l.To, ","))}
	for _, from := range l.From {
		words = append(words, word(from))
	}
	return strings.Join(words, " ")
}

// word puts a name in quotes where it needs them.
func word(name string) string {
	if quoted := fmt.Sprintf("%+q", name); strings.Contains(name, " ") || len(quoted) != len(name)+2 {
		return quoted
	}
	return name
}

// bare returns a group's last name in lower case: "staff" of "/corp/Staff",
// `CORP\staff` and "CN=Staff,OU=Groups".
func bare(group string) string {
	group = strings.ToLower(strings.TrimSpace(group))
	if name, isDN := strings.CutPrefix(group, "cn="); isDN {
		group, _, _ = strings.Cut(name, ",")
	}
	return group[strings.LastIndexAny(group, `/\:`)+1:]
}

// distance is Edits. Very short and very long texts are similar only if they are equal.
func distance(a, b string) int {
	const far = nearEdits + 1
	if a == b {
		return 0
	}
	if min(len(a), len(b)) <= 2*nearEdits || max(len(a), len(b)) > nearLength || len(a)-len(b) > nearEdits || len(b)-len(a) > nearEdits {
		return far
	}
	return Edits(a, b)
}

// Edits is the number of bytes to change to turn a into b (Levenshtein).
func Edits(a, b string) int {
	row := make([]int, len(b)+1)
	for j := range row {
		row[j] = j
	}
	for i := range len(a) {
		diagonal := row[0]
		row[0] = i + 1
		for j := range len(b) {
			changed := diagonal
			if a[i] != b[j] {
				changed++
			}
			diagonal = row[j+1]
			row[j+1] = min(changed, row[j]+1, diagonal+1)
		}
	}
	return row[len(b)]
}
