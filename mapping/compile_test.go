package mapping_test

import (
	"errors"
	"slices"
	"strings"
	"testing"

	"github.com/caddy-sso/caddy-sso/mapping"
)

func line(position, to string, from ...string) mapping.Line {
	return mapping.Line{To: strings.Split(to, ","), From: from, Position: position}
}

func TestCompileRefuses(t *testing.T) {
	t.Parallel()
	role := func(lines ...mapping.Line) mapping.Rules { return mapping.Rules{Role: lines} }
	template := func(lines ...mapping.Line) mapping.Rules { return mapping.Rules{Template: lines} }
	tests := []struct {
		name  string
		rules mapping.Rules
		want  []string // each the whole text of one error, in order
	}{
		{
			"no line at all",
			mapping.Rules{},
			[]string{"no role, template or group line: nobody could be let in; add lines in a block behind it, or let in everyone who signs in: `sso … { role <name> * }`"},
		},
		{
			"nothing to give", role(mapping.Line{From: []string{"a"}, Position: "f:1"}),
			[]string{"f:1: role line: gives nothing; write `role <name> <group>…`"},
		},
		{
			"no group",
			mapping.Rules{Group: []mapping.Line{line("f:1", "X")}},
			[]string{"f:1: group line: names no group of the provider; add one, or * for everyone who signs in"},
		},
		{
			"position from the place in the JSON",
			mapping.Rules{Group: []mapping.Line{line("", "X", "a"), line("", "Y")}},
			[]string{"group[1]: group line: names no group of the provider; add one, or * for everyone who signs in"},
		},
		{
			"empty names", role(line("f:1", "", "")),
			[]string{
				"f:1: role line: a name is empty; write the name, or remove the stray comma or quotes",
				"f:1: role line: a name is empty; write the name, or remove the stray comma or quotes",
			},
		},
		{
			"blank before", role(line("f:1", "X", " a")),
			[]string{`f:1: role line: name " a" begins or ends with a blank or an invisible character; remove it`},
		},
		{
			"no-break space behind", role(line("f:1", "X", "a\u00a0")),
			[]string{`f:1: role line: name "a\u00a0" begins or ends with a blank or an invisible character; remove it`},
		},
		{
			"byte order mark before", role(line("f:1", "\ufeffX", "a")),
			[]string{`f:1: role line: name "\ufeffX" begins or ends with a blank or an invisible character; remove it`},
		},
		{
			"control character inside", role(line("f:1", "X", "a\x00b")),
			[]string{`f:1: role line: name "a\x00b" contains a control character or line break; remove it`},
		},
		{
			"line break at the end is one fault", role(line("f:1", "X", "a\n")),
			[]string{`f:1: role line: name "a\n" contains a control character or line break; remove it`},
		},
		{
			"C1 control and line separator", role(line("f:1", "X\u0085Y", "a\u2028b")),
			[]string{
				`f:1: role line: name "X\u0085Y" contains a control character or line break; remove it`,
				`f:1: role line: name "a\u2028b" contains a control character or line break; remove it`,
			},
		},
		{
			"two faults of one name", role(line("f:1", "X", " a\tb")),
			[]string{
				`f:1: role line: name " a\tb" contains a control character or line break; remove it`,
				`f:1: role line: name " a\tb" begins or ends with a blank or an invisible character; remove it`,
			},
		},
		{
			"invalid UTF-8", role(line("f:1", "X", "M\xfcller")),
			[]string{`f:1: role line: name "M\xfcller" is not valid UTF-8; save the configuration as UTF-8`},
		},
		{
			"bytes that a reader has already replaced", role(line("f:1", "X", "M\ufffdller")),
			[]string{`f:1: role line: name "M�ller" contains U+FFFD, which stands for lost bytes; save the configuration as UTF-8`},
		},
		{
			"two templates in a line", template(line("f:1", "X,Y", "a")),
			[]string{`f:1: template line: gives 2 templates ("X", "Y"), but a person gets exactly one; keep one name`},
		},
		{
			"no template in a line", template(mapping.Line{From: []string{"a"}, Position: "f:1"}),
			[]string{"f:1: template line: gives nothing; write `template <name> <group>…`"},
		},
		{
			"the same group three times is one fault", role(line("f:1", "X", "a", "b", "a", "a")),
			[]string{`f:1: role line: names group "a" more than once; keep one`},
		},
		{
			"the same app name twice", role(line("f:1", "X,Y,X", "a")),
			[]string{`f:1: role line: gives "X" more than once; keep one`},
		},
		{
			"everyone beside groups", role(line("f:1", "X", "a", "*")),
			[]string{"f:1: role line: has * beside other groups, which makes them pointless; " +
				"remove the * to let in only these groups, or the groups to let in everyone who signs in"},
		},
		{
			"everyone twice", role(line("f:1", "X", "*", "*")),
			[]string{`f:1: role line: names group "*" more than once; keep one`},
		},
		{
			"names and groups the wrong way round", role(line("f:1", "*", "Viewer")),
			[]string{"f:1: role line: gives \"*\", which is no name of the app; the app's name comes first: `role <name> *`"},
		},
		{
			"patterns", role(line("f:1", "X", "net-*", "*ops", "a*b")),
			[]string{
				`f:1: role line: group "net-*" looks like a pattern, but groups are compared exactly; name each group, or write * alone for everyone who signs in`,
				`f:1: role line: group "*ops" looks like a pattern, but groups are compared exactly; name each group, or write * alone for everyone who signs in`,
			},
		},
		{
			"single quotes torn apart", role(line("f:1", "X", "'Net", "Ops'")),
			[]string{`f:1: role line: names "'Net" to "Ops'" are in quotes that became part of the name; use plain double quotes ("…")`},
		},
		{
			"single quotes torn apart between name and group", role(line("f:1", "'Super", "User'", "a")),
			[]string{`f:1: role line: names "'Super" to "User'" are in quotes that became part of the name; use plain double quotes ("…")`},
		},
		{
			"typographic quotes", role(line("f:1", "X", "“ops”")),
			[]string{`f:1: role line: name "“ops”" is in quotes that became part of the name; use plain double quotes ("…")`},
		},
		{
			"line said twice", role(line("f:1", "X,Y", "a", "b"), line("f:2", "Z", "a"), line("f:3", "Y,X", "b", "a")),
			[]string{"f:3: role line: says the same as the line at f:1; remove one"},
		},
		{
			"template behind the one for everyone", template(line("f:1", "X", "a"), line("f:2", "Y", "*"), line("f:3", "Z", "b")),
			[]string{"f:3: template line: can never be reached, since the line at f:2 gives everyone a template and the first match wins; move this line before it"},
		},
		{
			"template whose every group is taken", template(line("f:1", "X", "a"), line("f:2", "Y", "b", "c"), line("f:3", "Z", "c", "a", "b")),
			[]string{"f:3: template line: can never be reached, since lines before it name its every group (f:2, f:1) and the first match wins; remove it or move it up"},
		},
		{
			"template said twice is one fault", template(line("f:1", "X", "a"), line("f:2", "X", "a")),
			[]string{"f:2: template line: can never be reached, since lines before it name its every group (f:1) and the first match wins; remove it or move it up"},
		},
		{
			"every fault of every kind of line at once",
			mapping.Rules{
				Role:     []mapping.Line{line("f:4", "A,A", "a", "*"), line("f:5", "B", "b")},
				Template: []mapping.Line{line("f:2", "T,U", "a\x7f")},
				Group:    []mapping.Line{line("f:1", "G")},
			},
			[]string{
				`f:4: role line: gives "A" more than once; keep one`,
				"f:4: role line: has * beside other groups, which makes them pointless; " +
					"remove the * to let in only these groups, or the groups to let in everyone who signs in",
				`f:2: template line: gives 2 templates ("T", "U"), but a person gets exactly one; keep one name`,
				`f:2: template line: name "a\x7f" contains a control character or line break; remove it`,
				"f:1: group line: names no group of the provider; add one, or * for everyone who signs in",
			},
		},
	}
	for _, tt := range tests {
		t.Run(tt.name, func(t *testing.T) {
			t.Parallel()
			set, err := mapping.Compile(tt.rules)
			if set != nil {
				t.Error("a faulty rule set was compiled")
			}
			var got []string
			for _, fault := range ruleErrors(t, err) {
				got = append(got, fault.Error())
			}
			if !slices.Equal(got, tt.want) {
				t.Errorf("errors:\n%s\nwant:\n%s", strings.Join(got, "\n"), strings.Join(tt.want, "\n"))
			}
		})
	}
}

// ruleErrors takes what Compile returned apart, and fails for anything in it
// that is no *RuleError or names no position, kind, fault and fix.
func ruleErrors(t *testing.T, err error) []*mapping.RuleError {
	t.Helper()
	all := []error{err}
	if joined, ok := err.(interface{ Unwrap() []error }); ok {
		all = joined.Unwrap()
	}
	var faults []*mapping.RuleError
	for _, err := range all {
		fault, ok := errors.AsType[*mapping.RuleError](err)
		if !ok {
			t.Fatalf("got %v, want a *RuleError", err)
		}
		if (fault.Position == "") != (fault.Kind == "") || !strings.Contains(fault.Msg, "; ") {
			t.Errorf("no position, kind, fault and fix in %#v", fault)
		}
		faults = append(faults, fault)
	}
	return faults
}

func TestCompileAccepts(t *testing.T) {
	t.Parallel()
	tests := map[string]mapping.Rules{
		"a SID, a GUID, paths and Windows names": {Role: []mapping.Line{line("", "X",
			"S-1-5-21-1004336348-1177238915-682003330-512", "3f2504e0-4f89-11d3-9a0c-0305e82c3301",
			"/corp/net ops", `DOMAIN\Domain Admins`, `example.com\Group`, "urn:example:group:a")}},
		"punctuation":                           {Role: []mapping.Line{line("", "X", "comma,group", "semi;group", `a&b <c> "q"`, "a*b", "CN=A,OU=B,DC=c")}},
		"non-ASCII, with a joiner inside":       {Role: []mapping.Line{line("", "X", "Müller", "管理者", "می\u200cخواهم")}},
		"an apostrophe before":                  {Role: []mapping.Line{line("", "X", "'s-Hertogenbosch", "O'Brien")}},
		"the same name composed and decomposed": {Role: []mapping.Line{line("", "X", "\u00fc", "u\u0308")}},
		"names that differ in case":             {Role: []mapping.Line{line("", "X,x", "a", "A")}},
		"one name in lines of every kind": {
			Role: []mapping.Line{line("", "X", "a")}, Template: []mapping.Line{line("", "X", "a")}, Group: []mapping.Line{line("", "X", "a")},
		},
		"lines that overlap":                   {Role: []mapping.Line{line("", "X", "a", "b"), line("", "X", "b", "c"), line("", "X", "*")}},
		"a role and a group line for everyone": {Role: []mapping.Line{line("", "X", "*"), line("", "Y", "a")}, Group: []mapping.Line{line("", "G", "*")}},
		"templates of which one is new":        {Template: []mapping.Line{line("", "X", "a"), line("", "Y", "a", "b"), line("", "Z", "*")}},
	}
	for name, rules := range tests {
		t.Run(name, func(t *testing.T) {
			t.Parallel()
			if _, err := mapping.Compile(rules); err != nil {
				t.Error(err)
			}
		})
	}
}

func TestCompileCopies(t *testing.T) {
	t.Parallel()
	rules := mapping.Rules{Role: []mapping.Line{line("f:1", "User", "staff")}}
	set := compile(t, rules)
	rules.Role[0].To[0], rules.Role[0].From[0] = "Admin", "*"
	if got := set.Apply([]string{"staff"}); !slices.Equal(got.Roles, []string{"User"}) {
		t.Errorf("roles %q after the caller changed his rules", got.Roles)
	}
	if set.Apply(nil).Matched {
		t.Error("everyone is let in after the caller changed his rules")
	}
}

func compile(tb testing.TB, rules mapping.Rules) *mapping.RuleSet {
	tb.Helper()
	set, err := mapping.Compile(rules)
	if err != nil {
		tb.Fatalf("compiling sound rules: %v", err)
	}
	return set
}
