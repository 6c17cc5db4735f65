package main

import (
	"io/fs"
	"os"
	"path"
	"path/filepath"
	"regexp"
	"strings"
)

var (
	modulePath = regexp.MustCompile(`(?m)^module (\S+)`)
	testFunc   = regexp.MustCompile(`(?m)^func ((?:Test|Benchmark|Fuzz)(?:[^a-z(]\w*)?)\(\w+ \*testing\.[TBF]\) {`)
)

// declared returns every test, benchmark and fuzz target in the test files of the module
// at root, with any build tags. So a test that no suite runs is noticed. It skips the
// directories that ./... skips.
func declared(root string) (found []testID, err error) {
	mod, err := os.ReadFile(filepath.Join(root, "go.mod"))
	if err != nil {
		return nil, err
	}
	module := string(modulePath.FindSubmatch(mod)[1])
	err = filepath.WalkDir(root, func(file string, d fs.DirEntry, err error) error {
		if err != nil {
			return err
		}
		if d.IsDir() && file != root {
			_, nested := os.Stat(filepath.Join(file, "go.mod"))
			if nested == nil || d.Name() == "testdata" || strings.HasPrefix(d.Name(), ".") || strings.HasPrefix(d.Name(), "_") {
				return filepath.SkipDir
			}
		}
		if !strings.HasSuffix(file, "_test.go") {
			return nil
		}
		text, err := os.ReadFile(file)
		if err != nil {
			return err
		}
		dir, err := filepath.Rel(root, filepath.Dir(file))
		for _, m := range testFunc.FindAllSubmatch(text, -1) {
			found = append(found, testID{path.Join(module, filepath.ToSlash(dir)), string(m[1])})
		}
		return err
	})
	return found, err
}
