package main

import (
	"os"
	"path/filepath"
	"testing"
)

func TestDeclared(t *testing.T) {
	t.Parallel()
	root := t.TempDir()
	for name, text := range map[string]string{
		"go.mod":    "module m\n",
		"a_test.go": "package a\nimport \"testing\"\nfunc TestMain(m *testing.M) {}\nfunc TestA(t *testing.T) {}\nfunc Testify(t *testing.T) {}\nfunc TestHelper(t *testing.T, x int) {}\n",
		"a.go":      "package a\nimport \"testing\"\nfunc TestNotHere(t *testing.T) {}\n",
		"b/b_test.go": "//go:build integration && never\n\npackage b\nimport \"testing\"\nfunc FuzzB(f *testing.F) {}\nfunc BenchmarkB(b *testing.B) {}\n" +
			"func TestWrong(b *testing.B) {}\n",
		"testdata/x_test.go": "package x\nimport \"testing\"\nfunc TestX(t *testing.T) {}\n",
		"_old/x_test.go":     "package x\nimport \"testing\"\nfunc TestX(t *testing.T) {}\n",
		"nested/go.mod":      "module n\n",
		"nested/x_test.go":   "package x\nimport \"testing\"\nfunc TestX(t *testing.T) {}\n",
	} {
		file := filepath.Join(root, name)
		if err := os.MkdirAll(filepath.Dir(file), 0o755); err != nil {
			t.Fatal(err)
		}
		if err := os.WriteFile(file, []byte(text), 0o600); err != nil {
			t.Fatal(err)
		}
	}
	got, err := declared(root, "m")
	if err != nil {
		t.Fatal(err)
	}
	if want := "m.TestA m/b.FuzzB m/b.BenchmarkB"; join(got) != want {
		t.Errorf("found %s, want %s", join(got), want)
	}
}
