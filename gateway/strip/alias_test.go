package strip_test

import (
	"os"
	"slices"
	"strings"
	"testing"

	"github.com/caddy-sso/caddy-sso/gateway/strip"
)

// A name of the list, with other characters in the place of hyphens, is an alias;
// with one character less, it is not.
func TestAliasesAreExact(t *testing.T) {
	t.Parallel()
	f := strip.New(ourNames[0])
	for _, name := range strip.Aliases {
		concrete := strings.Replace(name, "*", "Some", 1)
		for _, spelling := range []string{concrete, strings.ToUpper(concrete), strings.ReplaceAll(concrete, "-", "_"), "\t" + concrete} {
			if f.Claim(spelling, strip.Names{}) != strip.Alias {
				t.Errorf("%q is no alias", spelling)
			}
		}
		cut := name[:len(name)-1]
		if !slices.Contains(strip.Aliases, cut) && !strings.Contains(name, "*") && f.Claim(cut, strip.Names{}) == strip.Alias {
			t.Errorf("%q is an alias", cut)
		}
	}
}

// docs/headers.md lists the aliases, all of them and no others.
func TestAliasesAreDescribed(t *testing.T) {
	t.Parallel()
	page, err := os.ReadFile("../../docs/headers.md")
	if err != nil {
		t.Fatal(err)
	}
	_, text, _ := strings.Cut(string(page), "\n## Headers that a client can't send\n")
	_, table, _ := strings.Cut(text, "|---|---|\n")
	table, _, _ = strings.Cut(table, "\n\n")
	var described []string
	for i, part := range strings.Split(table, "`") {
		if i%2 == 1 {
			described = append(described, part)
		}
	}
	if !slices.Equal(described, strip.Aliases) {
		t.Errorf("described: %q\nwant: %q", described, strip.Aliases)
	}
}

// docs/verify/php/prepend.php removes them all, but a token that proves itself to the app.
func TestAliasesInPHP(t *testing.T) {
	t.Parallel()
	script, err := os.ReadFile("../../docs/verify/php/prepend.php")
	if err != nil {
		t.Fatal(err)
	}
	_, list, _ := strings.Cut(string(script), "\nconst ALIASES = '")
	list, _, _ = strings.Cut(list, "'")
	want := slices.DeleteFunc(slices.Clone(strip.Aliases), func(name string) bool { return name == "X-Access-Token" })
	if got := strings.Fields(list); !slices.Equal(got, want) {
		t.Errorf("prepend.php removes %q\nwant: %q", got, want)
	}
}
