package main

import (
	"fmt"
	"go/ast"
	"go/parser"
	"go/token"
	"io/fs"
	"os"
	"path"
	"path/filepath"
	"strings"
	"unicode"
	"unicode/utf8"
)

// declared returns every test, benchmark and fuzz target that the test files
// below root declare, whatever their build tags: what no suite runs must not
// go unnoticed. module is the module's path.
func declared(root, module string) ([]testID, error) {
	var found []testID
	err := filepath.WalkDir(root, func(file string, d fs.DirEntry, err error) error {
		if err != nil {
			return err
		}
		if d.IsDir() {
			if file != root && ignoredDir(file, d.Name()) {
				return filepath.SkipDir
			}
			return nil
		}
		if !strings.HasSuffix(file, "_test.go") {
			return nil
		}
		names, err := declaredIn(file)
		if err != nil {
			return err
		}
		dir, err := filepath.Rel(root, filepath.Dir(file))
		if err != nil {
			return err
		}
		for _, name := range names {
			found = append(found, testID{path.Join(module, filepath.ToSlash(dir)), name})
		}
		return nil
	})
	if err != nil {
		return nil, fmt.Errorf("looking for the declared tests: %w", err)
	}
	return found, nil
}

// ignoredDir says whether the go command ignores a directory in ./..., too.
func ignoredDir(dir, name string) bool {
	if name == "testdata" || strings.HasPrefix(name, ".") || strings.HasPrefix(name, "_") {
		return true
	}
	_, err := os.Stat(filepath.Join(dir, "go.mod"))
	return err == nil
}

func declaredIn(file string) ([]string, error) {
	f, err := parser.ParseFile(token.NewFileSet(), file, nil, parser.SkipObjectResolution)
	if err != nil {
		return nil, err
	}
	var names []string
	for _, decl := range f.Decls {
		fn, ok := decl.(*ast.FuncDecl)
		if !ok || fn.Recv != nil || fn.Type.Params.NumFields() != 1 {
			continue
		}
		param := paramOf(fn)
		for prefix, want := range map[string]string{"Test": "T", "Benchmark": "B", "Fuzz": "F"} {
			if param == want && isTestName(fn.Name.Name, prefix) {
				names = append(names, fn.Name.Name)
			}
		}
	}
	return names, nil
}

// paramOf returns X if the only parameter of fn is a *testing.X.
func paramOf(fn *ast.FuncDecl) string {
	star, ok := fn.Type.Params.List[0].Type.(*ast.StarExpr)
	if !ok {
		return ""
	}
	sel, ok := star.X.(*ast.SelectorExpr)
	if !ok {
		return ""
	}
	if pkg, ok := sel.X.(*ast.Ident); !ok || pkg.Name != "testing" {
		return ""
	}
	return sel.Sel.Name
}

// isTestName follows the go command: what comes after the prefix must not
// begin in lower case.
func isTestName(name, prefix string) bool {
	rest, ok := strings.CutPrefix(name, prefix)
	if !ok {
		return false
	}
	first, _ := utf8.DecodeRuneInString(rest)
	return rest == "" || !unicode.IsLower(first)
}
