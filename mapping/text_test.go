package mapping_test

import (
	"reflect"
	"strings"
	"testing"

	"github.com/caddy-sso/caddy-sso/mapping"
)

// forget clears columns, for comparing.
func forget(rules []mapping.TextRule) []mapping.TextRule {
	for i := range rules {
		rules[i].Column = 0
	}
	return rules
}

func TestParseText(t *testing.T) {
	t.Parallel()
	for name, tt := range map[string]struct{ text, want string }{
		"C10 one rule":                {"admins=Administrator", "admins=Administrator"},
		"C10 several names":           {"team1=Editors|Viewers,team2=Administrators", "team1=Editors|Viewers,team2=Administrators"},
		"C10 blanks are trimmed":      {"  team1 = Editors | Viewers ,\n\tteam2\t=Administrators\r\n", "team1=Editors|Viewers,team2=Administrators"},
		"C10 colons":                  {"urn:mace:example:admins=urn:app:Admin", "urn:mace:example:admins=urn:app:Admin"},
		"C10 blanks inside":           {`DOMAIN\Net Ops=Server Operators`, `DOMAIN\Net Ops=Server Operators`},
		"C10 quotes":                  {`"CN=admins,OU=Groups" = "a|b"|c`, `"CN=admins,OU=Groups"="a|b"|c`},
		"C10 a quote in quotes":       {`"say ""hi"""=A`, `"say ""hi"""=A`},
		"C10 quotes that are kept":    {`" padded "=A`, `" padded "=A`},
		"C10 everybody":               {"*=Viewer", "*=Viewer"},
		"C10 the same group twice":    {"a=B,a=C", "a=B,a=C"},
		"C10 letters beyond ASCII":    {"Vertrieb Süd=Käufer", "Vertrieb Süd=Käufer"},
		"C10 an apostrophe is a sign": {"O'Neil's=A", "O'Neil's=A"},
		"C10 one at the edge":         {`"Managers'"=A`, `"Managers'"=A`},
	} {
		t.Run(name, func(t *testing.T) {
			t.Parallel()
			rules, err := mapping.ParseText(tt.text)
			if err != nil {
				t.Fatal(err)
			}
			if got := mapping.FormatText(rules); got != tt.want {
				t.Errorf("got %s, want %s", got, tt.want)
			}
		})
	}
}

func TestParseTextFaults(t *testing.T) {
	t.Parallel()
	for text, want := range map[string]string{
		"":                                     "column 1: a group is missing",
		"admins":                               "column 7: expected = behind the group \"admins\", as in `admins=Role`",
		"urn:x:y":                              "column 8: expected =",
		"a=B,":                                 "column 5: a group is missing",
		"a=B,,c=D":                             "column 5: a group is missing",
		"a=":                                   "column 3: a name is missing",
		"a=B|":                                 "column 5: a name is missing",
		"=B":                                   "column 1: a group is missing",
		"CN=admins,OU=x=Admin":                 "column 15: this rule has a second =",
		"a=A;b=B":                              "column 6: this rule has a second =: a comma separates it from the next rule",
		"a=A\nb=B":                             "column 6: this rule has a second =: a comma separates it from the next rule",
		"a=A;":                                 "column 3: A; ends in a semicolon, but commas separate rules",
		"a|b=C":                                "column 2: only names behind the = are separated by |",
		`a="B`:                                 "column 3: this quote has no end",
		`"a"b=C`:                               "column 4: found 'b' behind a name in quotes",
		`a"b=C`:                                "column 2: there is a quote inside of a name",
		`""=C`:                                 "column 3: a name is empty",
		`a=B,"*"=C`:                            "column 8: no rule can be for a group with the name *: write * without quotes",
		"'a=B,c=D'":                            "column 1: 'a has a single quote at its edge\ncolumn 8: D' has a single quote at its edge",
		"a=B, 'it staff'=C":                    "column 6: 'it staff' has a single quote at its edge",
		`"a=B, c=D"`:                           "column 11: expected = behind the group \"a=B, c=D\", as in `\"a=B, c=D\"=Role`; or, if the quotes stand around whole rules, remove them",
		"ä=B,ö":                                "column 6: expected =",
		"a=\xff":                               "not valid UTF-8",
		"a,b=C,d":                              "column 2: expected = behind the group \"a\", as in `a=Role`\ncolumn 8: expected =",
		"admins=Administrator, editors:Viewer": "column 37: expected = behind \"editors:Viewer\": a colon is a part of the name",
	} {
		t.Run("C10 "+text, func(t *testing.T) {
			t.Parallel()
			_, err := mapping.ParseText(text)
			if err == nil {
				t.Fatal("the fault was not found")
			}
			for line := range strings.SplitSeq(want, "\n") {
				if !strings.Contains(err.Error(), line) {
					t.Errorf("got %v, want %s", err, line)
				}
			}
		})
	}
}

// FuzzText prints what it parsed, and parses that again: the rules are the same.
func FuzzText(f *testing.F) {
	for _, seed := range []string{
		"a=B|C,d=E", " team1 = Editors | Viewers ,team2=Administrators", `"CN=a,OU=b"="x|y"|z`, `"say ""hi"""=A`, "urn:a:b=C", "*=V", "a", "a=\"", "a=B;", `a="B;"`, "\x00=\xc3\x28", "a==b",
	} {
		f.Add(seed)
	}
	f.Fuzz(func(t *testing.T, text string) {
		rules, err := mapping.ParseText(text)
		if err != nil {
			return
		}
		printed := mapping.FormatText(rules)
		again, err := mapping.ParseText(printed)
		if err != nil {
			t.Fatalf("%q is printed as %q: %v", text, printed, err)
		}
		if !reflect.DeepEqual(forget(rules), forget(again)) {
			t.Fatalf("%q is printed as %q, which has other rules: %v, %v", text, printed, rules, again)
		}
		for _, rule := range rules {
			if rule.Group.Text == "" || len(rule.To) == 0 {
				t.Fatalf("%q has a rule without a group or a name: %v", text, rule)
			}
		}
	})
}
