package mapping_test

import (
	"slices"
	"strings"
	"testing"
	"unicode"
	"unicode/utf8"

	"github.com/caddy-sso/caddy-sso/mapping"
)

func TestSplitNames(t *testing.T) {
	t.Parallel()
	tests := []struct {
		name, in string
		want     []string
		faults   []string // parts of the error's lines, in order
	}{
		{name: "one", in: "Admin", want: []string{"Admin"}},
		{name: "several", in: "Admin,Editor,Viewer", want: []string{"Admin", "Editor", "Viewer"}},
		{name: "blanks around", in: " Admin ,\tEditor\t", want: []string{"Admin", "Editor"}},
		{name: "blanks inside", in: "Super User,Net  Ops", want: []string{"Super User", "Net  Ops"}},
		{name: "duplicates are left to Compile", in: "A,A", want: []string{"A", "A"}},
		{name: "empty", in: "", faults: []string{`reading names "": a name is empty`}},
		{name: "blank", in: " \t ", faults: []string{"a name is empty"}},
		{name: "comma before", in: ",A", faults: []string{"a name is empty"}},
		{name: "comma behind", in: "A,", faults: []string{"a name is empty"}},
		{name: "commas in a row", in: "A,, ,B", faults: []string{"a name is empty", "a name is empty"}},
		{name: "line break", in: "A\n,B", faults: []string{`name "A\n" contains a control character`}},
		{name: "zero byte", in: "A,B\x00C", faults: []string{`name "B\x00C" contains a control character`}},
		{name: "delete", in: "A\x7f", faults: []string{`name "A\x7f" contains a control character`}},
		{name: "no-break space around", in: "A,\u00a0B", faults: []string{`name "\u00a0B" begins or ends with a blank`}},
		{name: "invalid UTF-8", in: "A,\xff", faults: []string{`name "\xff" is not valid UTF-8`}},
		{name: "all faults at once", in: "A,,B\x01,\xff", faults: []string{"a name is empty", "a control character", "not valid UTF-8"}},
	}
	for _, tt := range tests {
		t.Run(tt.name, func(t *testing.T) {
			t.Parallel()
			got, err := mapping.SplitNames(tt.in)
			if !slices.Equal(got, tt.want) {
				t.Errorf("names %q, want %q", got, tt.want)
			}
			if err == nil {
				if len(tt.faults) > 0 {
					t.Fatalf("no error, want %q", tt.faults)
				}
				return
			}
			faults := strings.Split(err.Error(), "\n")
			if !slices.EqualFunc(faults, tt.faults, strings.Contains) {
				t.Errorf("errors %q, want ones with %q", faults, tt.faults)
			}
		})
	}
}

func FuzzSplitNames(f *testing.F) {
	for _, seed := range []string{"", "Admin", " Admin , Editor\t", "A,,B", "A\x00,B", "\xff", "\u00a0A", "M\ufffdller,x", "管理者,a b"} {
		f.Add(seed)
	}
	f.Fuzz(func(t *testing.T, s string) {
		names, err := mapping.SplitNames(s)
		if err != nil {
			if names != nil {
				t.Fatalf("names %q beside error %v", names, err)
			}
			return
		}
		if len(names) != strings.Count(s, ",")+1 {
			t.Fatalf("%d names in %q", len(names), s)
		}
		for _, name := range names {
			if name == "" || !utf8.ValidString(name) || strings.ContainsFunc(name, unicode.IsControl) || strings.TrimSpace(name) != name {
				t.Fatalf("accepted name %q in %q", name, s)
			}
		}
		again, err := mapping.SplitNames(strings.Join(names, ","))
		if err != nil || !slices.Equal(again, names) {
			t.Fatalf("reading %q once more: %q, %v", names, again, err)
		}
	})
}
