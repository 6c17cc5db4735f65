package gatewaytest

import (
	"os"
	"strings"
	"testing"
)

// Section requires that a page's section under "## heading" equals want, or with
// update replaces it. The heading must exist.
func Section(tb testing.TB, file, heading, want string, update bool) {
	tb.Helper()
	page, err := os.ReadFile(file)
	if err != nil {
		tb.Fatal(err)
	}
	head := "\n## " + heading + "\n"
	before, rest, found := strings.Cut(string(page), head)
	if !found {
		tb.Fatalf("%s has no section %q", file, heading)
	}
	got, after := rest, ""
	if next := strings.Index(rest, "\n## "); next >= 0 {
		got, after = rest[:next], rest[next:]
	}
	if got == want {
		return
	}
	if !update {
		tb.Errorf("%s: the section %q is not what happens: run the test with -update, and read the diff", file, heading)
		return
	}
	if err := os.WriteFile(file, []byte(before+head+want+after), 0o600); err != nil {
		tb.Fatal(err)
	}
}

// A Table builds a table of Markdown.
type Table struct{ b strings.Builder }

// Row adds a row. The first one is the header.
func (t *Table) Row(cells ...string) {
	first := t.b.Len() == 0
	t.b.WriteString("| " + strings.Join(cells, " | ") + " |\n")
	if first {
		t.b.WriteString("|" + strings.Repeat("---|", len(cells)) + "\n")
	}
}

func (t *Table) String() string { return t.b.String() }
