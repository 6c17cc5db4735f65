package mapping_test

import (
	"testing"

	"github.com/caddy-sso/caddy-sso/mapping"
)

func TestFingerprintGolden(t *testing.T) {
	t.Parallel()
	set := compile(t, mapping.Rules{
		Role:     []mapping.Line{line("f:1", "Admin,Editor", "admins", "net ops")},
		Template: []mapping.Line{line("f:2", "Full", "*")},
		Group:    []mapping.Line{line("f:3", "operators", "ops")},
	})
	// A new value means that fingerprintVersion must change too.
	const want = "2b93b14a91075955ae4d624a5a88f6d1ce8d07228a08c917f5a2a99dd19d401e"
	if got := set.Fingerprint(); got != want {
		t.Errorf("fingerprint %s, want %s", got, want)
	}
}

func TestFingerprintEqual(t *testing.T) {
	t.Parallel()
	one := compile(t, mapping.Rules{Role: []mapping.Line{line("Caddyfile:3", "A", "a")}, Group: []mapping.Line{}})
	other := compile(t, mapping.Rules{Role: []mapping.Line{line("", "A", "a")}})
	if one.Fingerprint() != other.Fingerprint() {
		t.Error("positions count in the fingerprint")
	}
}

func TestFingerprintDiffers(t *testing.T) {
	t.Parallel()
	lines := func(lines ...mapping.Line) []mapping.Line { return lines }
	of := func(to []string, from ...string) mapping.Line { return mapping.Line{To: to, From: from} }
	all := map[string]mapping.Rules{
		"one line":                       {Role: lines(line("", "A", "a", "b"))},
		"another role":                   {Role: lines(line("", "B", "a", "b"))},
		"a role in another case":         {Role: lines(line("", "a", "a", "b"))},
		"another group":                  {Role: lines(line("", "A", "a", "c"))},
		"a group more":                   {Role: lines(line("", "A", "a", "b", "c"))},
		"groups the other way round":     {Role: lines(line("", "A", "b", "a"))},
		"groups as one name":             {Role: lines(line("", "A", "ab"))},
		"groups as one name, blank":      {Role: lines(line("", "A", "a b"))},
		"groups as one name, comma":      {Role: lines(line("", "A", "a,b"))},
		"group line":                     {Group: lines(line("", "A", "a", "b"))},
		"template line":                  {Template: lines(line("", "A", "a", "b"))},
		"everyone":                       {Role: lines(line("", "A", "*"))},
		"a name moves over to the other": {Role: lines(of([]string{"A", "a"}, "b"))},
		"a role more":                    {Role: lines(of([]string{"A", "B"}, "a", "b"))},
		"roles the other way round":      {Role: lines(of([]string{"B", "A"}, "a", "b"))},
		"roles as one name":              {Role: lines(of([]string{"A,B"}, "a", "b"))},
		"two lines":                      {Role: lines(line("", "A", "a"), line("", "A", "b"))},
		"two lines the other way round":  {Role: lines(line("", "A", "b"), line("", "A", "a"))},
		"two kinds":                      {Role: lines(line("", "A", "a")), Group: lines(line("", "A", "b"))},
		"two kinds, swapped":             {Role: lines(line("", "A", "b")), Group: lines(line("", "A", "a"))},
		"names like a kind":              {Role: lines(line("", "A", "a"), line("", "group", "b"))},
		"lines as one line":              {Role: lines(line("", "A", "a", "A", "b"))},
		"composed":                       {Role: lines(line("", "A", "\u00fc"))},
		"decomposed":                     {Role: lines(line("", "A", "u\u0308"))},
	}
	seen := map[string]string{}
	for name, rules := range all {
		fingerprint := compile(t, rules).Fingerprint()
		if other, found := seen[fingerprint]; found {
			t.Errorf("%q and %q have one fingerprint", name, other)
		}
		seen[fingerprint] = name
	}
}
