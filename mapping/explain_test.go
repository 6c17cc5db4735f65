package mapping_test

import (
	"encoding/json"
	"fmt"
	"math/rand/v2"
	"reflect"
	"slices"
	"strings"
	"testing"

	"github.com/caddy-sso/caddy-sso/mapping"
)

// TestPartial holds that what depends on not being in a group does not hold if
// not all groups are known, and that the trace says so.
func TestPartial(t *testing.T) {
	t.Parallel()
	set := compile(t, mapping.Rules{
		Role:     []mapping.Line{line("f:1", "User", "staff")},
		Template: []mapping.Line{line("f:2", "Guest", "guests"), line("f:3", "Some", "ops"), line("f:4", "Full", "*")},
	})
	for name, tt := range map[string]struct {
		groups         []string
		whole, partial mapping.Result
		explained      string // the last two lines of the trace
	}{
		"a template line after one that might match": {
			[]string{"ops"},
			mapping.Result{Template: "Some", Named: []string{"ops"}, Matched: true},
			mapping.Result{Named: []string{"ops"}, TemplateUnknown: true},
			`f:4: template "Full": matched by "*", but not all groups could be read, and a template line before it might match: gives nothing
denied: the only line that matched does not hold, since not all groups could be read`,
		},
		"the line for everyone": {
			nil,
			mapping.Result{Template: "Full", Matched: true},
			mapping.Result{TemplateUnknown: true},
			`f:4: template "Full": matched by "*", but not all groups could be read, and a template line before it might match: gives nothing
denied: the only line that matched does not hold, since not all groups could be read`,
		},
		"the first template line": {
			[]string{"guests", "ops"},
			mapping.Result{Template: "Guest", Named: []string{"guests", "ops"}, Matched: true},
			mapping.Result{Template: "Guest", Named: []string{"guests", "ops"}, Matched: true},
			`f:4: template "Full": matched by "*", but a template line before it won
let in: roles none; template "Guest"; groups none; the rules name "guests", "ops"`,
		},
		"a role beside it": {
			[]string{"staff"},
			mapping.Result{Roles: []string{"User"}, Template: "Full", Named: []string{"staff"}, Matched: true},
			mapping.Result{Roles: []string{"User"}, Named: []string{"staff"}, TemplateUnknown: true, Matched: true},
			`f:4: template "Full": matched by "*", but not all groups could be read, and a template line before it might match: gives nothing
let in: roles "User"; template unknown; groups none; the rules name "staff"`,
		},
	} {
		t.Run(name, func(t *testing.T) {
			t.Parallel()
			if got := set.Apply(tt.groups); !reflect.DeepEqual(got, tt.whole) {
				t.Errorf("known in full: got %+v, want %+v", got, tt.whole)
			}
			if got := set.ApplyPartial(tt.groups); !reflect.DeepEqual(got, tt.partial) {
				t.Errorf("known in part: got %+v, want %+v", got, tt.partial)
			}
			trace := set.ExplainPartial(tt.groups)
			lines := strings.Split(trace.String(), "\n")
			if got := strings.Join(lines[len(lines)-2:], "\n"); got != tt.explained || !trace.Partial || !reflect.DeepEqual(trace.Result, tt.partial) {
				t.Errorf("got\n%s\nwant\n%s", got, tt.explained)
			}
			if !strings.HasSuffix(lines[0], "and perhaps others, which could not be read") {
				t.Errorf("the groups are %s", lines[0])
			}
			if set.ReadsGroups() != true {
				t.Error("no groups are read")
			}
		})
	}
	if compile(t, mapping.Rules{Role: []mapping.Line{line("f:1", "User", "*")}}).ReadsGroups() {
		t.Error("groups are read where everyone gets in")
	}
}

func TestExplain(t *testing.T) {
	t.Parallel()
	set := compile(t, mapping.Rules{
		Role:     []mapping.Line{line("Caddyfile:3", "Admin", "admins", "root"), line("Caddyfile:4", "Viewer,Guest", "*")},
		Template: []mapping.Line{line("Caddyfile:6", "Full", "admins"), line("Caddyfile:7", "Some", "staff", "Net Ops"), line("Caddyfile:8", "Basic", "*")},
		Group:    []mapping.Line{line("", "people", "Net Ops", "audit", "staff")},
	})
	tests := []struct {
		name   string
		groups []string
		want   string
	}{
		{
			"a person of some groups",
			[]string{"staff", "x\u200b", "Net Ops"},
			`groups of the person: "staff", "x\u200b", "Net Ops"
Caddyfile:3: role "Admin": no match, asks for "admins", "root"
Caddyfile:4: role "Viewer", "Guest": matched, as it is for everyone
Caddyfile:6: template "Full": no match, asks for "admins"
Caddyfile:7: template "Some": matched by "staff", "Net Ops"
Caddyfile:8: template "Basic": matched by "*", but a template line before it won
group[0]: group "people": matched by "Net Ops", "staff"
let in: roles "Viewer", "Guest"; template "Some"; groups "people"; the rules name "staff", "Net Ops"`,
		},
		{
			"a person without groups", nil,
			`groups of the person: none
Caddyfile:3: role "Admin": no match, asks for "admins", "root"
Caddyfile:4: role "Viewer", "Guest": matched, as it is for everyone
Caddyfile:6: template "Full": no match, asks for "admins"
Caddyfile:7: template "Some": no match, asks for "staff", "Net Ops"
Caddyfile:8: template "Basic": matched, as it is for everyone
group[0]: group "people": no match, asks for "Net Ops", "audit", "staff"
let in: roles "Viewer", "Guest"; template "Basic"; groups none; the rules name none`,
		},
	}
	for _, tt := range tests {
		t.Run(tt.name, func(t *testing.T) {
			t.Parallel()
			trace := set.Explain(tt.groups)
			if got := trace.String(); got != tt.want {
				t.Errorf("got\n%s\nwant\n%s", got, tt.want)
			}
		})
	}
}

func TestExplainDenied(t *testing.T) {
	t.Parallel()
	set := compile(t, mapping.Rules{Role: []mapping.Line{line("f:1", "Admin", "admins")}})
	got := set.Explain([]string{"*"}).String()
	const want = `groups of the person: "*"
f:1: role "Admin": no match, asks for "admins"
denied: no line matched`
	if got != want {
		t.Errorf("got\n%s\nwant\n%s", got, want)
	}
}

func TestExplainCutsLongLists(t *testing.T) {
	t.Parallel()
	set := compile(t, mapping.Rules{Role: []mapping.Line{line("f:1", "Admin", personIn(100)...)}})
	got := set.Explain(personIn(2_000)).String()
	for _, want := range []string{`"group 19" and 1980 more`, `"group 19" and 80 more`} {
		if !strings.Contains(got, want) {
			t.Errorf("no %s in %s", want, got)
		}
	}
}

func TestExplainSharesNothing(t *testing.T) {
	t.Parallel()
	set := compile(t, mapping.Rules{Role: []mapping.Line{line("f:1", "Admin", "admins")}})
	groups := []string{"admins"}
	want := set.Explain(groups)
	spoilt := set.Explain(groups)
	spoilt.Groups[0], spoilt.Lines[0].To[0], spoilt.Lines[0].From[0], spoilt.Lines[0].By[0] = "w", "x", "y", "z"
	if got := set.Explain(groups); !reflect.DeepEqual(got, want) {
		t.Errorf("got %v after a trace was changed, want %v", got, want)
	}
}

func TestTraceJSON(t *testing.T) {
	t.Parallel()
	set := compile(t, mapping.Rules{Template: []mapping.Line{line("f:1", "T", "a"), line("f:2", "U", "*")}})
	got, err := json.Marshal(set.Explain([]string{"a"}))
	if err != nil {
		t.Fatal(err)
	}
	const want = `{"groups":["a"],"lines":[` +
		`{"kind":"template","position":"f:1","to":["T"],"from":["a"],"by":["a"]},` +
		`{"kind":"template","position":"f:2","to":["U"],"from":["*"],"by":["*"],"shadowed":true}],` +
		`"result":{"template":"T","named":["a"],"matched":true}}`
	if string(got) != want {
		t.Errorf("got  %s\nwant %s", got, want)
	}
}

// Random rules over few names, so that lines overlap in every way.
func TestApplyExplainAgree(t *testing.T) {
	t.Parallel()
	const rounds = 5_000
	random := rand.New(rand.NewPCG(1, 2))
	names := func(most int) []string {
		list := make([]string, random.IntN(most+1))
		for i := range list {
			list[i] = string(rune('a' + random.IntN(8)))
		}
		return list
	}
	lines := func() []mapping.Line {
		list := make([]mapping.Line, random.IntN(5))
		for i := range list {
			list[i] = mapping.Line{To: names(2), From: names(3)}
			if random.IntN(5) == 0 {
				list[i].From = []string{"*"}
			}
		}
		return list
	}
	sound := 0
	for range rounds {
		rules := mapping.Rules{Role: lines(), Template: lines(), Group: lines()}
		if set, err := mapping.Compile(rules); err == nil {
			sound++
			agree(t, set, rules, append(names(6), "*"))
			namesAll(t, set, rules, append(names(6), "*"))
		}
	}
	if sound < rounds/50 {
		t.Errorf("only %d of %d random rule sets were sound: the test tests nothing", sound, rounds)
	}
}

// namesAll holds that an app is told of nothing that Names does not name.
func namesAll(t *testing.T, set *mapping.RuleSet, rules mapping.Rules, person []string) {
	t.Helper()
	res := set.Apply(person)
	for _, mapsGroups := range []bool{true, false} {
		roles, groups := rules.Names(mapsGroups)
		told := res.Groups
		if !mapsGroups {
			told = append(slices.Clone(told), res.Named...)
			for _, line := range rules.Group {
				groups = append(groups, line.From...) // of no app without mapsGroups
			}
		}
		for _, name := range res.Roles {
			if !slices.Contains(roles, name) {
				t.Errorf("role %q of %v is not named", name, rules)
			}
		}
		for _, name := range told {
			if !slices.Contains(groups, name) {
				t.Errorf("group %q of %v is not named, mapsGroups %v", name, rules, mapsGroups)
			}
		}
	}
}

// FuzzApplyExplain reads rules as lines "role A,B g1 g2" and groups separated
// by blanks.
func FuzzApplyExplain(f *testing.F) {
	f.Add("role Admin admins\nrole Viewer *", "admins x admins")
	f.Add("template T a b\ntemplate U b c\ntemplate V *\ngroup G,H a", "c b *")
	f.Add("role A a", "")
	f.Add("group A *", "*")
	f.Add("role A 'a b'\nrole * a\nrole\nrole A \xff", "a")
	f.Fuzz(func(t *testing.T, text, person string) {
		var rules mapping.Rules
		for i, row := range strings.Split(text, "\n") {
			words := strings.Split(row, " ")
			line := mapping.Line{Position: fmt.Sprintf("f:%d", i+1)}
			if len(words) > 1 {
				line.To, line.From = strings.Split(words[1], ","), words[2:]
			}
			switch words[0] {
			case "role":
				rules.Role = append(rules.Role, line)
			case "template":
				rules.Template = append(rules.Template, line)
			case "group":
				rules.Group = append(rules.Group, line)
			}
		}
		set, err := mapping.Compile(rules)
		if err != nil {
			ruleErrors(t, err)
			return
		}
		agree(t, set, rules, strings.Split(person, " "))
	})
}

// agree compares Apply with the plainest reading of the rules, and with what
// the trace's lines say.
func agree(t *testing.T, set *mapping.RuleSet, rules mapping.Rules, groups []string) {
	t.Helper()
	got, trace := set.Apply(groups), set.Explain(groups)
	if want := plainly(rules, groups); !reflect.DeepEqual(got, want) {
		t.Fatalf("rules %v, groups %q: got %v, want %v", rules, groups, got, want)
	}
	if !reflect.DeepEqual(trace.Result, got) {
		t.Fatalf("rules %v, groups %q: Explain %v, Apply %v", rules, groups, trace.Result, got)
	}
	if told := retold(trace); !reflect.DeepEqual(told, got) {
		t.Fatalf("rules %v, groups %q: the lines of\n%v\ngive %v, Apply %v", rules, groups, trace, told, got)
	}
	if len(trace.Lines) != len(rules.Role)+len(rules.Template)+len(rules.Group) {
		t.Fatalf("%d lines in the trace of %v", len(trace.Lines), rules)
	}
}

// plainly maps groups without any index.
func plainly(rules mapping.Rules, groups []string) mapping.Result {
	var result mapping.Result
	named := map[string]bool{}
	matches := func(line mapping.Line) bool {
		matched := false
		for _, from := range line.From {
			named[from] = from != "*"
			if from == "*" || slices.Contains(groups, from) {
				matched = true
			}
		}
		result.Matched = result.Matched || matched
		return matched
	}
	for _, line := range rules.Role {
		if matches(line) {
			result.Roles = appendNew(result.Roles, line.To...)
		}
	}
	for _, line := range rules.Template {
		if matches(line) && result.Template == "" {
			result.Template = line.To[0]
		}
	}
	for _, line := range rules.Group {
		if matches(line) {
			result.Groups = appendNew(result.Groups, line.To...)
		}
	}
	for _, group := range groups {
		if named[group] {
			result.Named = appendNew(result.Named, group)
		}
	}
	return result
}

// retold is the result that a reader of the trace's lines would expect.
func retold(trace mapping.Trace) mapping.Result {
	var result mapping.Result
	var by []string
	for _, line := range trace.Lines {
		if len(line.By) == 0 {
			continue
		}
		result.Matched = true
		by = append(by, line.By...)
		switch {
		case line.Kind == mapping.KindRole:
			result.Roles = appendNew(result.Roles, line.To...)
		case line.Kind == mapping.KindGroup:
			result.Groups = appendNew(result.Groups, line.To...)
		case !line.Shadowed:
			result.Template += line.To[0]
		}
	}
	for _, group := range trace.Groups {
		if group != mapping.Everyone && slices.Contains(by, group) {
			result.Named = appendNew(result.Named, group)
		}
	}
	return result
}

func appendNew(list []string, names ...string) []string {
	for _, name := range names {
		if !slices.Contains(list, name) {
			list = append(list, name)
		}
	}
	return list
}
