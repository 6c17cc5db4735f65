package checktest

import (
	"fmt"
	"go/ast"
	"go/parser"
	"go/token"
	"os"
	"path/filepath"
	"regexp"
	"slices"
	"strings"
	"testing"
)

// Private requires that only the tests of a package can drop its checks: no option,
// variable, build tag or exported name of the product can. The package has a type
// checklist, which allChecks makes and only New uses.
type Private struct {
	// Types are the types of the checks. No exported declaration may use them.
	Types []string
	// Fields hold the checks. Only New sets them.
	Fields []string
}

// Check inspects the package in whose directory the test runs. It fails the test on
// every leak, and unless exactly one checklist is made.
func (p Private) Check(tb testing.TB) {
	tb.Helper()
	files, err := filepath.Glob("*.go")
	if err != nil {
		tb.Fatal(err)
	}
	made, product := 0, ""
	for _, file := range files {
		if strings.HasSuffix(file, "_test.go") {
			continue
		}
		text, err := os.ReadFile(file)
		if err != nil {
			tb.Fatal(err)
		}
		found, n := p.Leaks(tb, string(text))
		made, product = made+n, product+string(text)
		for _, leak := range found {
			tb.Errorf("%s: %s", file, leak)
		}
	}
	for _, name := range slices.Concat(p.Types, p.Fields) {
		if !regexp.MustCompile(`\b` + name + `\b`).MatchString(product) {
			tb.Errorf("nothing is called %s any more: what is to be guarded?", name)
		}
	}
	if made != 1 {
		tb.Errorf("a checklist is made %d times, want once, in New", made)
	}
}

// Leaks returns the ways to drop a check in a product file, and the number of
// checklists made there.
func (p Private) Leaks(tb testing.TB, text string) (found []string, made int) {
	tb.Helper()
	file, err := parser.ParseFile(token.NewFileSet(), "x.go", text, parser.ParseComments|parser.SkipObjectResolution)
	if err != nil {
		tb.Fatal(err)
	}
	add := func(format string, args ...any) { found = append(found, fmt.Sprintf(format, args...)) }
	for _, group := range file.Comments {
		for _, c := range group.List {
			if strings.HasPrefix(c.Text, "//go:") {
				add("has %s", c.Text)
			}
		}
	}
	for _, imported := range file.Imports {
		path := strings.Trim(imported.Path.Value, "`\"")
		if slices.Contains([]string{"os", "flag", "unsafe", "reflect", "syscall"}, path) || strings.HasSuffix(path, "test") {
			add("imports %s", path)
		}
	}
	for _, decl := range file.Decls {
		switch decl := decl.(type) {
		case *ast.GenDecl:
			p.leaksOf(decl, add)
		case *ast.FuncDecl:
			if decl.Name.IsExported() && mentions(decl.Type, p.Types) {
				add("%s is exported and has a part in the checks", decl.Name.Name)
			}
			if decl.Body != nil {
				made += p.leaksIn(decl, add)
			}
		}
	}
	return found, made
}

// leaksOf inspects declarations outside of functions.
func (p Private) leaksOf(decl *ast.GenDecl, add func(string, ...any)) {
	for _, spec := range decl.Specs {
		switch spec := spec.(type) {
		case *ast.ValueSpec:
			for _, name := range spec.Names {
				if decl.Tok == token.VAR && (name.IsExported() || mentions(spec, append(slices.Clone(p.Types), "allChecks"))) && name.Name != "_" {
					add("the variable %s could change the checks", name.Name)
				}
			}
		case *ast.TypeSpec:
			if spec.Assign.IsValid() && mentions(spec.Type, p.Types) {
				add("%s is another name for a part of the checks", spec.Name.Name)
			}
			if fields, ok := spec.Type.(*ast.StructType); ok {
				for _, f := range fields.Fields.List {
					for _, name := range f.Names {
						if name.IsExported() && mentions(f.Type, p.Types) {
							add("the field %s.%s is exported", spec.Name.Name, name.Name)
						}
					}
				}
			}
		}
	}
}

// leaksIn inspects a function's body. It returns the number of checklists made there.
func (p Private) leaksIn(fn *ast.FuncDecl, add func(string, ...any)) (made int) {
	ast.Inspect(fn.Body, func(n ast.Node) bool {
		switch n := n.(type) {
		case *ast.AssignStmt:
			for _, left := range n.Lhs {
				if fn.Name.Name != "New" && mentions(left, p.Fields) {
					add("%s exchanges a part of the checks", fn.Name.Name)
				}
			}
		case *ast.UnaryExpr:
			if _, literal := n.X.(*ast.CompositeLit); n.Op == token.AND && !literal && mentions(n.X, p.Fields) {
				add("%s takes the address of a part of the checks", fn.Name.Name)
			}
		case *ast.CompositeLit:
			if name, ok := n.Type.(*ast.Ident); ok && name.Name == "checklist" && fn.Name.Name != "allChecks" {
				add("%s makes a checklist of its own", fn.Name.Name)
			}
			if sel, ok := n.Type.(*ast.IndexExpr); ok && mentions(sel.X, []string{"List"}) {
				add("%s makes a list without checks", fn.Name.Name)
			}
		case *ast.SelectorExpr:
			if pkg, ok := n.X.(*ast.Ident); ok && pkg.Name == "check" && n.Sel.Name != "List" && n.Sel.Name != "FailedError" && fn.Name.Name != "allChecks" {
				add("%s makes a list of its own", fn.Name.Name)
			}
		case *ast.CallExpr:
			if name, ok := n.Fun.(*ast.Ident); ok && name.Name == "allChecks" {
				made++
			}
		}
		return true
	})
	return made
}

// mentions reports whether one of the names occurs in a piece of source.
func mentions(n ast.Node, names []string) (found bool) {
	ast.Inspect(n, func(n ast.Node) bool {
		if id, ok := n.(*ast.Ident); ok && slices.Contains(names, id.Name) {
			found = true
		}
		return !found
	})
	return found
}
