package mapping_test

import (
	"fmt"
	"reflect"
	"slices"
	"sync"
	"testing"

	"github.com/caddy-sso/caddy-sso/mapping"
)

func TestApply(t *testing.T) {
	t.Parallel()
	all := mapping.Rules{
		Role: []mapping.Line{
			line("f:1", "Admin", "admins"),
			line("f:2", "Editor,Viewer", "staff", "net ops"),
			line("f:3", "Viewer,Auditor", "audit", "admins"),
		},
		Template: []mapping.Line{
			line("f:4", "Full", "admins"),
			line("f:5", "Limited", "staff", "admins"),
		},
		Group: []mapping.Line{
			line("f:6", "operators", "net ops", `DOMAIN\Net Ops`),
			line("f:7", "people,operators", "staff"),
		},
	}
	forEveryone := mapping.Rules{
		Role:     []mapping.Line{line("f:1", "Viewer", "*"), line("f:2", "Admin", "admins")},
		Template: []mapping.Line{line("f:3", "Full", "admins"), line("f:4", "Basic", "*")},
	}
	tests := []struct {
		name   string
		rules  mapping.Rules
		groups []string
		want   mapping.Result
	}{
		{"no groups", all, nil, mapping.Result{}},
		{"only groups that no line names", all, []string{"x", "y"}, mapping.Result{}},
		{"another case is another name", all, []string{"Admins", "STAFF"}, mapping.Result{}},
		{"a longer name, a shorter one, blanks, a slash", all, []string{"admins2", "admin", " admins", "/admins", "netops"}, mapping.Result{}},
		{"lines of every kind", all, []string{"admins"}, mapping.Result{
			Roles: []string{"Admin", "Viewer", "Auditor"}, Template: "Full", Named: []string{"admins"}, Matched: true,
		}},
		{"a name that two lines give comes once", all, []string{"audit", "staff"}, mapping.Result{
			Roles: []string{"Editor", "Viewer", "Auditor"}, Template: "Limited", Groups: []string{"people", "operators"},
			Named: []string{"audit", "staff"}, Matched: true,
		}},
		{"order of the rules for the result, of the person for Named", all, []string{"staff", "x", "net ops", "admins"}, mapping.Result{
			Roles: []string{"Admin", "Editor", "Viewer", "Auditor"}, Template: "Full", Groups: []string{"operators", "people"},
			Named: []string{"staff", "net ops", "admins"}, Matched: true,
		}},
		{"groups asserted twice", all, []string{"audit", "audit", "x", "audit"}, mapping.Result{
			Roles: []string{"Viewer", "Auditor"}, Named: []string{"audit"}, Matched: true,
		}},
		{"a group line alone lets in", all, []string{`DOMAIN\Net Ops`}, mapping.Result{
			Groups: []string{"operators"}, Named: []string{`DOMAIN\Net Ops`}, Matched: true,
		}},
		{"a group called * is nobody where no line is for everyone", all, []string{"*"}, mapping.Result{}},
		{"everyone, without groups", forEveryone, nil, mapping.Result{Roles: []string{"Viewer"}, Template: "Basic", Matched: true}},
		{"everyone, with other groups", forEveryone, []string{"x"}, mapping.Result{Roles: []string{"Viewer"}, Template: "Basic", Matched: true}},
		{"everyone, and a named group", forEveryone, []string{"x", "admins"}, mapping.Result{
			Roles: []string{"Viewer", "Admin"}, Template: "Full", Named: []string{"admins"}, Matched: true,
		}},
		{"a group called * gets what everyone gets", forEveryone, []string{"*", "*"}, mapping.Result{
			Roles: []string{"Viewer"}, Template: "Basic", Matched: true,
		}},
	}
	for _, tt := range tests {
		t.Run(tt.name, func(t *testing.T) {
			t.Parallel()
			given := slices.Clone(tt.groups)
			if got := compile(t, tt.rules).Apply(given); !reflect.DeepEqual(got, tt.want) {
				t.Errorf("got  %v\nwant %v", got, tt.want)
			}
			if !slices.Equal(given, tt.groups) {
				t.Errorf("groups were changed to %q", given)
			}
		})
	}
}

func TestApplyManyGroupsAndLines(t *testing.T) {
	t.Parallel()
	const lines, groups = 10_000, 2_000
	set := compile(t, wideRules(lines))
	person := personIn(groups)
	got := set.Apply(person)
	if !got.Matched || !slices.Equal(got.Named, person) {
		t.Fatalf("%d groups named, want all %d", len(got.Named), groups)
	}
	for i, role := range got.Roles {
		if want := fmt.Sprintf("role %d", i); role != want {
			t.Fatalf("role %d is %q, want %q", i, role, want)
		}
	}
	if len(got.Roles) != groups {
		t.Errorf("%d roles, want %d", len(got.Roles), groups)
	}
}

func TestApplyOneGroupInEveryLine(t *testing.T) {
	t.Parallel()
	var rules mapping.Rules
	for i := range 10_000 {
		rules.Role = append(rules.Role, line("", fmt.Sprintf("role %d,common", i), "staff", fmt.Sprintf("group %d", i)))
	}
	set := compile(t, rules)
	// The same group 2,000 times must not cost 2,000 times the lines.
	got := set.Apply(slices.Repeat([]string{"staff"}, 2_000))
	if len(got.Roles) != 10_001 || !slices.Equal(got.Roles[:3], []string{"role 0", "common", "role 1"}) {
		t.Errorf("%d roles that begin with %q", len(got.Roles), got.Roles[:3])
	}
}

func TestApplySharesNothing(t *testing.T) {
	t.Parallel()
	set := compile(t, mapping.Rules{
		Role:  []mapping.Line{line("", "A,B", "*")},
		Group: []mapping.Line{line("", "G,H", "staff")},
	})
	groups := []string{"staff"}
	want := set.Apply(groups)
	var wg sync.WaitGroup
	for range 8 {
		wg.Go(func() {
			got := set.Apply(groups)
			if !reflect.DeepEqual(got, want) {
				t.Errorf("got %v, want %v", got, want)
			}
			// Whoever gets a result may do with it as he likes.
			got.Roles[0], got.Groups[1], got.Named[0] = "x", "y", "z"
			_ = append(got.Roles[:1], "w")
		})
	}
	wg.Wait()
	if got := set.Apply(groups); !reflect.DeepEqual(got, want) {
		t.Errorf("got %v after results were changed, want %v", got, want)
	}
}

// One person's lines must not get into the list of lines for everyone, which
// has room behind its end.
func TestApplyLeavesNothingForTheNext(t *testing.T) {
	t.Parallel()
	set := compile(t, mapping.Rules{Role: []mapping.Line{
		line("", "A", "*"), line("", "Admin", "admins"), line("", "B", "*"), line("", "C", "*"),
	}})
	if got, want := set.Apply([]string{"admins"}).Roles, []string{"A", "Admin", "B", "C"}; !slices.Equal(got, want) {
		t.Errorf("roles of an admin %q, want %q", got, want)
	}
	if got, want := set.Apply(nil).Roles, []string{"A", "B", "C"}; !slices.Equal(got, want) {
		t.Errorf("roles of the next person %q, want %q", got, want)
	}
}

func TestZeroRuleSetDenies(t *testing.T) {
	t.Parallel()
	var set mapping.RuleSet
	if got := set.Apply([]string{"a", "*"}); !reflect.DeepEqual(got, mapping.Result{}) {
		t.Errorf("got %v, want nothing", got)
	}
}

// wideRules has so many lines, each for a group of its own.
func wideRules(lines int) mapping.Rules {
	var rules mapping.Rules
	for i := range lines {
		rules.Role = append(rules.Role, line("", fmt.Sprintf("role %d", i), fmt.Sprintf("group %d", i)))
	}
	return rules
}

// personIn is in the first so many groups of wideRules.
func personIn(groups int) []string {
	var person []string
	for i := range groups {
		person = append(person, fmt.Sprintf("group %d", i))
	}
	return person
}

func BenchmarkApply(b *testing.B) {
	person := personIn(10)
	for _, lines := range []int{10, 10_000} {
		b.Run(fmt.Sprintf("groups=10/lines=%d", lines), func(b *testing.B) {
			set := compile(b, wideRules(lines))
			b.ReportAllocs()
			for b.Loop() {
				if got := set.Apply(person); len(got.Roles) != len(person) {
					b.Fatalf("%d roles", len(got.Roles))
				}
			}
		})
	}
}
